/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tile.c: one micro-tile of C through the chunks of a step.
 *
 * Sums that wait for others lie in slots: tiles of their own, as the micro-kernel likes to write
 * them. Those that end within the step never leave the first-level cache.
 */
#include "clvi_micro.h"

#include "clvi_vector.h"

size_t clvi_tile_bytes(const clvi_micro *micro)
{
    return (size_t)(micro->left.width * micro->right.width) * clv_dtype_size(micro->dtype);
}

/* A tile in memory: lines of `length` elements, ld apart. */
typedef struct {
    void *data;
    int64_t lines, length, ld;
} tile;

/* Eight elements at any address. */
typedef float eight_f32 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double eight_f64 __attribute__((vector_size(64), aligned(8), may_alias));

#define ARITHMETIC(real, suffix)                                                               \
    /* The sum in x[0] onto the one that waits in x[1], theirs onto x[2], ... into x[n]. */    \
    CLVI_VECTOR static void fold_##suffix(int n, const tile x[])                               \
    {                                                                                          \
        int64_t lines = x[n].lines, length = x[n].length;                                      \
        for (int64_t i = 0; i < lines; i++) {                                                  \
            int64_t j = 0;                                                                     \
            for (; j + 8 <= length; j += 8) {                                                  \
                eight_##suffix sum = *(eight_##suffix *)((real *)x[0].data + i * x[0].ld + j); \
                for (int t = 1; t <= n; t++)                                                   \
                    sum = *(eight_##suffix *)((real *)x[t].data + i * x[t].ld + j) + sum;      \
                *(eight_##suffix *)((real *)x[n].data + i * x[n].ld + j) = sum;                \
            }                                                                                  \
            for (; j < length; j++) {                                                          \
                real sum = ((real *)x[0].data)[i * x[0].ld + j];                               \
                for (int t = 1; t <= n; t++) sum = ((real *)x[t].data)[i * x[t].ld + j] + sum; \
                ((real *)x[n].data)[i * x[n].ld + j] = sum;                                    \
            }                                                                                  \
        }                                                                                      \
    }                                                                                          \
    /* C := alpha S + beta C, as clvi_axpby computes it. */                                    \
    CLVI_VECTOR static void finish_##suffix(real alpha, tile sum, real beta, tile C)           \
    {                                                                                          \
        for (int64_t i = 0; i < C.lines; i++) {                                                \
            const real *S = (real *)sum.data + i * sum.ld;                                     \
            real *c = (real *)C.data + i * C.ld;                                               \
            if (beta == 0)                                                                     \
                for (int64_t j = 0; j < C.length; j++) c[j] = alpha * S[j];                    \
            else                                                                               \
                for (int64_t j = 0; j < C.length; j++) c[j] = alpha * S[j] + beta * c[j];      \
        }                                                                                      \
    }
ARITHMETIC(float, f32)
ARITHMETIC(double, f64)

static void finish(const clvi_tiling *t, tile sum, tile C)
{
    if (t->micro->dtype == CLV_F32)
        finish_f32((float)t->alpha, sum, (float)t->beta, C);
    else
        finish_f64(t->alpha, sum, t->beta, C);
}

/* Lines are rows where the kernel likes rows, else columns. */
static tile tile_of(const clvi_micro *micro, int64_t m, int64_t n, void *data, int64_t ld)
{
    return micro->rows ? (tile){data, m, n, ld} : (tile){data, n, m, ld};
}

/* Slot s of the column's tile i, of which C has m rows. */
static tile slot_of(const clvi_tiling *t, const clvi_step *step, const clvi_column *x, int s,
                    int64_t i, int64_t m)
{
    const clvi_micro *k = t->micro;
    int64_t mr = k->left.width, nr = k->right.width;
    if (s == 0 && t->direct) {
        int64_t at = i * mr * (k->rows ? x->ldc : 1);
        return tile_of(k, m, x->n, (char *)x->C + at * (int64_t)clv_dtype_size(k->dtype), x->ldc);
    }
    bool kept = s < step->kept;
    int64_t at = kept ? i * x->slots_of_tile + s : i * CLVI_SLOTS + s;
    char *data = (kept ? x->slots : x->scratch) + (size_t)at * clvi_tile_bytes(k);
    return tile_of(k, mr, nr, data, k->rows ? nr : mr);
}

/* The micro-kernel is done with C by the time it is read. */
static void prefetch(const clvi_micro *micro, tile x)
{
    size_t size = clv_dtype_size(micro->dtype);
    for (int64_t i = 0; i < x.lines; i++) {
        const char *line = (const char *)x.data + (size_t)(i * x.ld) * size;
        for (size_t b = 0; b < (size_t)x.length * size; b += 64) __builtin_prefetch(line + b, 1);
    }
}

/* One chunk of all tiles: the right panel stays in the first-level cache. */
static void run_chunk(const clvi_tiling *t, const clvi_step *step, const clvi_column *x,
                      const clvi_chunk *c)
{
    const clvi_micro *k = t->micro;
    int64_t mr = k->left.width;
    size_t size = clv_dtype_size(k->dtype), panel = (size_t)(step->depth * k->left.ld) * size;
    const char *left = (const char *)x->left + (size_t)(c->offset * k->left.ld) * size;
    const char *right = (const char *)x->right + (size_t)(c->offset * k->right.ld) * size;
    const void *beta = c->add ? k->one : c->slot == 0 && t->direct ? t->typed_beta : k->zero;
    for (int64_t i = 0; i * mr < x->m; i++, left += panel) {
        int64_t m = x->m - i * mr < mr ? x->m - i * mr : mr;
        tile to = slot_of(t, step, x, c->slot, i, m);
        for (int j = 1; j <= c->merges; j++) prefetch(k, slot_of(t, step, x, c->slot - j, i, m));
        k->multiply(k->rows ? to.lines : to.length, k->rows ? to.length : to.lines, c->depth,
                    t->typed_alpha, left, right, beta, to.data, k->rows ? to.ld : 1,
                    k->rows ? 1 : to.ld, k->hints, k->context);
        if (c->merges == 0) continue;
        tile sums[CLVI_SLOTS] = {to};
        for (int j = 1; j <= c->merges; j++) sums[j] = slot_of(t, step, x, c->slot - j, i, m);
        CLVI_DISPATCH(k->dtype, fold, c->merges, sums);
    }
}

/* All of a product without a tree, and most of one with: nothing but the micro-kernel. */
static void run_plain(const clvi_tiling *t, const clvi_step *step, const clvi_column *x)
{
    const clvi_micro *k = t->micro;
    int64_t mr = k->left.width, ldc = x->ldc, rs = k->rows ? ldc : 1, cs = k->rows ? 1 : ldc;
    size_t size = clv_dtype_size(k->dtype), panel = (size_t)(step->depth * k->left.ld) * size;
    const char *left = x->left;
    char *C = x->C;
    const void *beta = step->chunks[0].add ? k->one : t->typed_beta;
    for (int64_t i = 0; i < x->m; i += mr, left += panel, C += (size_t)(mr * rs) * size)
        k->multiply(x->m - i < mr ? x->m - i : mr, x->n, step->depth, t->typed_alpha, left,
                    x->right, beta, C, rs, cs, k->hints, k->context);
}

void clvi_column_run(const clvi_tiling *t, const clvi_step *step, const clvi_column *x)
{
    assert(clvi_tile_bytes(t->micro) % 64 == 0);
    if (step->count == 1 && t->direct && step->chunks[0].slot == 0 && !step->chunks[0].merges) {
        run_plain(t, step, x);
        return;
    }
    for (int i = 0; i < step->count; i++) run_chunk(t, step, x, &step->chunks[i]);
    if (!step->last || t->direct) return;
    int64_t mr = t->micro->left.width;
    for (int64_t i = 0; i * mr < x->m; i++) {
        int64_t m = x->m - i * mr < mr ? x->m - i * mr : mr;
        clvi_tiling C = *t;
        C.direct = true;
        finish(t, slot_of(t, step, x, 0, i, m), slot_of(&C, step, x, 0, i, m));
    }
}
