/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pack.c: micro-panels out of operands in tiles.
 *
 * Each tile gives what it has of a block. Panels that lie in it with their whole width go through
 * BLIS's packing kernel, or a conversion in front of it; the others, at the seams between tiles and
 * at the end of the operand, element by element.
 */
#include "clvi_micro.h"

#include "clvi_vector.h"

enum { STRIP = 2048 }; /* elements converted at a time: they stay in the first-level cache */

/* A rectangle of vectors and k that lies in one tile. */
typedef struct {
    const char *data; /* its first element                               */
    int64_t inc, lda; /* elements from one vector, from one k to the next */
    int64_t v0, v1, k0, k1;
} piece;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

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
                 .v0 = most(v0, tv),
                 .v1 = least(v1, tv + (rows ? tile->m : tile->n)),
                 .k0 = most(k0, tk),
                 .k1 = least(k1, tk + (rows ? tile->n : tile->m))};
    if (p->v0 >= p->v1 || p->k0 >= p->k1) return false;
    p->data = (const char *)tile->data + (size_t)((p->v0 - tv) * p->inc + (p->k0 - tk) * p->lda) *
                                             clv_dtype_size(o->dtype);
    return true;
}

/* Any lanes of a panel, any strides. */
#define LANES(name, from, to, convert)                                                      \
    static void name(const from *a, int64_t inc, int64_t lda, int64_t lanes, int64_t depth, \
                     to *panel, int64_t ld)                                                 \
    {                                                                                       \
        if (lda == 1)                                                                       \
            for (int64_t i = 0; i < lanes; i++)                                             \
                for (int64_t l = 0; l < depth; l++)                                         \
                    panel[l * ld + i] = convert(a[i * inc + l]);                            \
        else                                                                                \
            for (int64_t l = 0; l < depth; l++)                                             \
                for (int64_t i = 0; i < lanes; i++)                                         \
                    panel[l * ld + i] = convert(a[i * inc + l * lda]);                      \
    }

CLVI_INLINE float widen(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof y);
    return y;
}

LANES(lanes_f32, float, float, )
LANES(lanes_f64, double, double, )
LANES(lanes_bf16, uint16_t, float, widen)

CLVI_VECTOR static void widen_run(int64_t n, const uint16_t *restrict x, float *restrict y)
{
    for (int64_t i = 0; i < n; i++) y[i] = widen(x[i]);
}

static void kernel(const clvi_vectors *x, const void *a, int64_t inc, int64_t lda, int64_t depth,
                   void *panel)
{
    const clvi_micro_side *s = x->side;
    s->pack(0, s->schema, s->width, depth, depth, x->micro->one, a, inc, lda, panel, s->ld,
            x->micro->context);
}

static void lanes(const clvi_vectors *x, const void *a, int64_t inc, int64_t lda, int64_t n,
                  int64_t depth, void *panel)
{
    int64_t ld = x->side->ld;
    switch (x->operand->dtype) {
    case CLV_F32: lanes_f32(a, inc, lda, n, depth, panel, ld); break;
    case CLV_F64: lanes_f64(a, inc, lda, n, depth, panel, ld); break;
    default: lanes_bf16(a, inc, lda, n, depth, panel, ld);
    }
}

/* A strip of k at a time is converted in the order in which it lies, then packed. */
static void whole_bf16(const clvi_vectors *x, const uint16_t *a, int64_t inc, int64_t lda,
                       int64_t depth, float *panel)
{
    float strip[STRIP];
    int64_t width = x->side->width, run = STRIP / width;
    for (int64_t l = 0; l < depth; l += run) {
        int64_t d = least(run, depth - l);
        if (lda == 1) {
            for (int64_t i = 0; i < width; i++) widen_run(d, a + i * inc + l, strip + i * d);
            kernel(x, strip, d, 1, d, panel + l * x->side->ld);
        } else {
            for (int64_t j = 0; j < d; j++) widen_run(width, a + (l + j) * lda, strip + j * width);
            kernel(x, strip, 1, width, d, panel + l * x->side->ld);
        }
    }
}

static void whole(const clvi_vectors *x, const piece *p, const char *a, void *panel)
{
    int64_t depth = p->k1 - p->k0;
    if (!x->side->pack)
        lanes(x, a, p->inc, p->lda, x->side->width, depth, panel);
    else if (x->operand->dtype == CLV_BF16)
        whole_bf16(x, (const uint16_t *)a, p->inc, p->lda, depth, panel);
    else
        kernel(x, a, p->inc, p->lda, depth, panel);
}

/* A piece into the panels that it meets. */
static void spread(const clvi_vectors *x, const piece *p, int64_t v0, int64_t k0, int64_t depth,
                   char *panels)
{
    int64_t width = x->side->width;
    size_t size = clv_dtype_size(x->micro->dtype);
    size_t stored = clv_dtype_size(x->operand->dtype);
    for (int64_t v = p->v0, next; v < p->v1; v = next) {
        int64_t i = (v - v0) / width, lane = v - v0 - i * width;
        next = least(v0 + (i + 1) * width, p->v1);
        char *panel = panels + (size_t)((i * depth + p->k0 - k0) * x->side->ld + lane) * size;
        const char *a = p->data + (size_t)((v - p->v0) * p->inc) * stored;
        if (next - v == width)
            whole(x, p, a, panel);
        else
            lanes(x, a, p->inc, p->lda, next - v, p->k1 - p->k0, panel);
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
    int64_t begin = v0 + first * width, end = least(v0 + last * width, x->count);
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
