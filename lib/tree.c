/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tree.c: the order of a sum over k: chunks within leaves, leaves in a binary tree.
 *
 * Leaf i is added as a binary counter counts: it takes the next free slot, and as many pairs of
 * slots are added as i has trailing ones in binary. An odd leaf of one chunk is accumulated onto
 * its even neighbour by the micro-kernel itself; its sum is rounded before it is added, as
 * elsewhere. An empty leaf is a chunk of no length: its sum is +0.
 */
#include "clvi_micro.h"

clvi_tree clvi_tree_begin(int nleaves, const int64_t edges[], int64_t chunk)
{
    assert(chunk > 0 && edges[0] == 0);
    return (clvi_tree){.nleaves = nleaves, .edges = edges, .chunk = chunk};
}

static int trailing_ones(int i)
{
    return __builtin_ctz(~(unsigned)i);
}

/* The next chunk, and the walk after it. */
static clvi_chunk next_chunk(clvi_tree *t)
{
    int64_t begin = t->edges[t->leaf], end = t->edges[t->leaf + 1];
    int64_t depth = end - t->k < t->chunk ? end - t->k : t->chunk;
    bool onto_even = t->leaf & 1 && end - begin <= t->chunk;
    clvi_chunk c = {.depth = depth,
                    .slot = onto_even ? t->waiting - 1 : t->waiting,
                    .add = onto_even || t->k > begin};
    t->k += depth;
    if (t->k < end) return c;
    c.merges = trailing_ones(t->leaf) - onto_even;
    t->waiting = c.slot - c.merges + 1;
    t->leaf++;
    return c;
}

/* Sums that are there between two chunks, a leaf begun included. */
static int alive(const clvi_tree *t)
{
    return t->waiting + (t->leaf < t->nleaves && t->k > t->edges[t->leaf]);
}

bool clvi_tree_step(clvi_tree *t, clvi_step *step)
{
    if (t->leaf >= t->nleaves) return false;
    int before = alive(t);
    *step = (clvi_step){.k0 = t->k, .first = t->leaf == 0 && t->k == 0};
    while (t->leaf < t->nleaves && step->count < CLVI_STEP) {
        clvi_tree ahead = *t;
        clvi_chunk c = next_chunk(&ahead);
        if (step->count > 0 && step->depth + c.depth > t->chunk) break;
        c.offset = step->depth;
        step->depth += c.depth;
        step->chunks[step->count++] = c;
        *t = ahead;
    }
    int after = alive(t);
    step->last = t->leaf >= t->nleaves;
    step->kept = before > after || step->last ? before : after;
    return true;
}

int clvi_tree_kept(clvi_tree t)
{
    int most = 0;
    clvi_step step;
    while (clvi_tree_step(&t, &step))
        if (step.kept > most) most = step.kept;
    return most;
}
