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

/* Lines are added EIGHT elements at a time, for which compilers need no loop; whole tiles have no
 * others. (Vector types would be taken apart before the clones of a function are made.) */
enum { EIGHT = 8 };

#define SUM_1(j) (a[j] + x[j])
#define SUM_2(j) (b[j] + SUM_1(j))
#define SUM_3(j) (c[j] + SUM_2(j))
#define ADD_LINE(real, y, sum)                                               \
    do {                                                                     \
        int64_t j = 0;                                                       \
        for (; j + EIGHT <= n; j += EIGHT)                                   \
            CLVI_EACH for (int64_t e = j; e < j + EIGHT; e++) y[e] = sum(e); \
        for (; j < n; j++) y[j] = sum(j);                                    \
    } while (0)

#define ARITHMETIC(real, suffix)                                                              \
    CLVI_INLINE real *line_##suffix(tile t, int64_t i)                                        \
    {                                                                                         \
        return (real *)t.data + i * t.ld;                                                     \
    }                                                                                         \
    /* The sum in t[0] onto the one that waits in t[1], theirs onto t[2], and onto t[3]; what \
     * t[1] and t[2] hold afterwards does not matter. */                                      \
    CLVI_VECTOR static void fold_##suffix(int count, const tile t[])                          \
    {                                                                                         \
        int64_t n = t[count].length;                                                          \
        for (int64_t i = 0; i < t[count].lines; i++) {                                        \
            const real *restrict x = line_##suffix(t[0], i);                                  \
            real *restrict a = line_##suffix(t[1], i);                                        \
            real *restrict b = count > 1 ? line_##suffix(t[2], i) : NULL;                     \
            real *restrict c = count > 2 ? line_##suffix(t[3], i) : NULL;                     \
            if (count == 1)                                                                   \
                ADD_LINE(real, a, SUM_1);                                                     \
            else if (count == 2)                                                              \
                ADD_LINE(real, b, SUM_2);                                                     \
            else                                                                              \
                ADD_LINE(real, c, SUM_3);                                                     \
        }                                                                                     \
    }                                                                                         \
    /* C := alpha S + beta C, as clvi_axpby computes it. */                                   \
    CLVI_VECTOR static void finish_##suffix(real alpha, tile sum, real beta, tile C)          \
    {                                                                                         \
        for (int64_t i = 0; i < C.lines; i++) {                                               \
            const real *S = (real *)sum.data + i * sum.ld;                                    \
            real *c = (real *)C.data + i * C.ld;                                              \
            if (beta == 0)                                                                    \
                for (int64_t j = 0; j < C.length; j++) c[j] = alpha * S[j];                   \
            else                                                                              \
                for (int64_t j = 0; j < C.length; j++) c[j] = alpha * S[j] + beta * c[j];     \
        }                                                                                     \
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

/* Slot s of a column: its first tile, and bytes from one tile to the next. */
typedef struct {
    tile first;
    size_t step;
} series;

static series C_of(const clvi_tiling *t, const clvi_column *x)
{
    const clvi_micro *k = t->micro;
    int64_t mr = k->left.width;
    return (series){tile_of(k, mr, x->n, x->C, x->ldc),
                    (size_t)(mr * (k->rows ? x->ldc : 1)) * clv_dtype_size(k->dtype)};
}

static series slot_of(const clvi_tiling *t, const clvi_step *step, const clvi_column *x, int s)
{
    const clvi_micro *k = t->micro;
    int64_t mr = k->left.width, nr = k->right.width;
    size_t bytes = clvi_tile_bytes(k);
    if (s == 0 && t->direct) return C_of(t, x);
    bool kept = s < step->kept;
    char *data = kept ? x->slots + (size_t)(s - t->direct) * bytes : x->scratch + (size_t)s * bytes;
    return (series){tile_of(k, mr, nr, data, k->rows ? nr : mr),
                    bytes * (size_t)(kept ? x->slots_of_tile : CLVI_SLOTS)};
}

/* Tile i of m rows. */
static tile tile_at(const clvi_micro *micro, const series *s, int64_t i, int64_t m)
{
    tile t = s->first;
    t.data = (char *)t.data + (size_t)i * s->step;
    *(micro->rows ? &t.lines : &t.length) = m;
    return t;
}

/* The micro-kernel is done with C by the time it is read. Into the second-level cache, and not to
 * be written: that takes fewer of the few lines that can be on their way at once, for which the
 * micro-kernel would wait. */
static void prefetch(const clvi_micro *micro, tile x)
{
    size_t size = clv_dtype_size(micro->dtype);
    for (int64_t i = 0; i < x.lines; i++) {
        const char *line = (const char *)x.data + (size_t)(i * x.ld) * size;
        for (size_t b = 0; b < (size_t)x.length * size; b += 64) __builtin_prefetch(line + b, 0, 2);
    }
}

/* The sums of tile i in the slots that a chunk ends. */
static void merge(const clvi_micro *micro, const series slots[], int merges, int64_t i, int64_t m)
{
    tile sums[CLVI_SLOTS];
    for (int j = 0; j <= merges; j++) sums[j] = tile_at(micro, &slots[j], i, m);
    for (int j = 0; j < merges; j += 3)
        CLVI_DISPATCH(micro->dtype, fold, merges - j < 3 ? merges - j : 3, sums + j);
}

/* One chunk of all tiles: the right panel stays in the first-level cache. A tile is added to others
 * after the next one is multiplied: to read what the micro-kernel has just written is to wait. */
static void run_chunk(const clvi_tiling *t, const clvi_step *step, const clvi_column *x,
                      const clvi_chunk *c)
{
    const clvi_micro *k = t->micro;
    int64_t mr = k->left.width, tiles = (x->m + mr - 1) / mr, end = x->m - (tiles - 1) * mr;
    size_t size = clv_dtype_size(k->dtype), panel = (size_t)(step->depth * k->left.ld) * size;
    const char *left = (const char *)x->left + (size_t)(c->offset * k->left.ld) * size;
    const char *right = (const char *)x->right + (size_t)(c->offset * k->right.ld) * size;
    const void *beta = c->add ? k->one : c->slot == 0 && t->direct ? t->typed_beta : k->zero;
    series slots[CLVI_SLOTS];
    for (int j = 0; j <= c->merges; j++) slots[j] = slot_of(t, step, x, c->slot - j);
    for (int64_t i = 0; i < tiles; i++, left += panel) {
        int64_t m = i + 1 < tiles ? mr : end;
        tile to = tile_at(k, &slots[0], i, m);
        for (int j = 1; j <= c->merges; j++) prefetch(k, tile_at(k, &slots[j], i, m));
        k->multiply(k->rows ? to.lines : to.length, k->rows ? to.length : to.lines, c->depth,
                    t->typed_alpha, left, right, beta, to.data, k->rows ? to.ld : 1,
                    k->rows ? 1 : to.ld, k->hints, k->context);
        if (c->merges > 0 && i > 0) merge(k, slots, c->merges, i - 1, mr);
    }
    if (c->merges > 0) merge(k, slots, c->merges, tiles - 1, end);
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
    series sum = slot_of(t, step, x, 0), C = C_of(t, x);
    for (int64_t i = 0; i * mr < x->m; i++) {
        int64_t m = x->m - i * mr < mr ? x->m - i * mr : mr;
        finish(t, tile_at(t->micro, &sum, i, m), tile_at(t->micro, &C, i, m));
    }
}
