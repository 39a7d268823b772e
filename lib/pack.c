/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pack.c: micro-panels out of operands in tiles.
 *
 * Each tile gives what it has of a block: some panels with their whole width, at the seams between
 * tiles and at the end of the operand some lanes of one.
 */
#include "clvi_micro.h"
#include "clvi_panel.h"

#include <string.h>

/* A rectangle of vectors and k that lies in one tile. */
typedef struct {
    const char *data; /* its first element                               */
    int64_t inc, lda; /* elements from one vector, from one k to the next */
    int64_t v0, v1, k0, k1;
} piece;

/* What tile has of the block; false if nothing. */
static bool cut(const clvi_vectors *x, const clvi_tile *tile, int64_t v0, int64_t v1, int64_t k0,
                int64_t k1, piece *p)
{
    const clvi_operand *o = x->operand;
    bool rows = x->vectors_are_rows;
    int64_t tv = rows ? tile->row0 - o->row0 : tile->col0 - o->col0;
    int64_t tk = rows ? tile->col0 - o->col0 : tile->row0 - o->row0;
    *p = (piece){.inc = rows ? tile->ld : 1,
                 .lda = rows ? 1 : tile->ld,
                 .v0 = clvi_larger(v0, tv),
                 .v1 = clvi_smaller(v1, tv + (rows ? tile->m : tile->n)),
                 .k0 = clvi_larger(k0, tk),
                 .k1 = clvi_smaller(k1, tk + (rows ? tile->n : tile->m))};
    if (p->v0 >= p->v1 || p->k0 >= p->k1) return false;
    p->data = (const char *)tile->data +
              (size_t)((p->v0 - tv) * p->inc + (p->k0 - tk) * p->lda) * clv_dtype_size(o->dtype);
    return true;
}

/* Into `count` panels, or some lanes of one: `width` vectors each, panels lie `depth` rows apart.
 */
static void fill(const clvi_vectors *x, const piece *p, int64_t count, int64_t width, int64_t depth,
                 const char *a, char *panel)
{
    int64_t ld = x->side->ld, k = p->k1 - p->k0;
    size_t size = clv_dtype_size(x->micro->dtype), stored = clv_dtype_size(x->operand->dtype);
    if (p->inc == 1) {
        clvi_panel_copy(x->operand->dtype, count, k, width, a, p->lda, panel, ld, depth * ld);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        clvi_panel_transpose(x->operand->dtype, k, width, a + (size_t)(i * width * p->inc) * stored,
                             p->inc, panel + (size_t)(i * depth * ld) * size, ld);
}

/* A piece into the panels that it meets. */
static void spread(const clvi_vectors *x, const piece *p, int64_t v0, int64_t k0, int64_t depth,
                   char *panels)
{
    int64_t width = x->side->width;
    size_t size = clv_dtype_size(x->micro->dtype), stored = clv_dtype_size(x->operand->dtype);
    for (int64_t v = p->v0, next; v < p->v1; v = next) {
        int64_t i = (v - v0) / width, lane = (v - v0) % width, left = p->v1 - v;
        int64_t count = lane == 0 && left >= width ? left / width : 1;
        int64_t lanes = clvi_smaller(width - lane, left);
        fill(x, p, count, lanes, depth, p->data + (size_t)((v - p->v0) * p->inc) * stored,
             panels + (size_t)((i * depth + p->k0 - k0) * x->side->ld + lane) * size);
        next = v + count * lanes;
    }
}

/* Lanes of the last panel beyond the operand. */
static void fill_end(const clvi_vectors *x, int64_t used, int64_t depth, char *panel)
{
    size_t size = clv_dtype_size(x->micro->dtype);
    for (int64_t l = 0; l < depth; l++)
        memset(panel + (size_t)(l * x->side->ld + used) * size, 0,
               (size_t)(x->side->width - used) * size);
}

void clvi_pack(const clvi_vectors *x, int64_t v0, int64_t first, int64_t last, int64_t k0,
               int64_t depth, void *panels)
{
    int64_t width = x->side->width;
    int64_t begin = v0 + first * width, end = clvi_smaller(v0 + last * width, x->count);
    if (begin >= end || depth == 0) return;
    for (int i = 0; i < x->operand->ntiles; i++) {
        piece p;
        if (cut(x, &x->operand->tiles[i], begin, end, k0, k0 + depth, &p))
            spread(x, &p, v0, k0, depth, panels);
    }
    int64_t full = (end - v0) / width, used = end - v0 - full * width;
    if (used > 0)
        fill_end(x, used, depth,
                 (char *)panels +
                     (size_t)(full * depth * x->side->ld) * clv_dtype_size(x->micro->dtype));
}
