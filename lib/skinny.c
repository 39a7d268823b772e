/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny.c: products with few rows, C[m,n] := alpha op(A)[m,k] op(B)[k,n] + beta C, at the speed at
 * which B comes from memory.
 *
 * Threads share the columns of C. A thread takes as many columns as sums of them fit in the first
 * cache, and reads its columns of B once, in order. The sum of an element has one fixed order,
 * leaves or not: chunks of k from +0 in ascending k, chunks from left to right, leaves in a tree.
 */
#include "clvi_skinny.h"

enum {
    CHUNK = 256,            /* elements of k in one chain, the same for every dtype       */
    LDA = CHUNK + 16,       /* rows of a chunk of op(A) lie in different sets of a cache  */
    SUMS = 4096,            /* of a block of C                                            */
    LEVELS = 7,             /* sums that wait in a tree of 64 leaves                      */
    LINE = 16,              /* columns that threads do not share                          */
    POLL_AFTER = 256 * 1024 /* elements of B                                              */
};

/* Operations that one thread does sooner than two: it takes as long to wake the other. */
static const double worth_threads = 256 * 1024;

typedef struct {
    const clvi_product_args *args;
    size_t size;      /* of an element                     */
    int64_t width;    /* columns of a block                */
    int64_t unpolled; /* elements of B since the last poll */
    bool polls;
} worker;

typedef struct {
    double a[CLVI_SKINNY * LDA];
    double chunk[SUMS];
    double sums[LEVELS + 1][SUMS];
} __attribute__((aligned(64))) workspace;

typedef struct {
    int64_t begin, end;
} range;

static range intersection(range x, range y)
{
    range z = {x.begin > y.begin ? x.begin : y.begin, x.end < y.end ? x.end : y.end};
    return z;
}

/* Rows and columns of a tile as those of op(X). */
static range tile_rows(const clvi_operand *X, const clvi_tile *tile)
{
    int64_t begin = X->trans ? tile->col0 - X->col0 : tile->row0 - X->row0;
    return (range){begin, begin + (X->trans ? tile->n : tile->m)};
}

static range tile_columns(const clvi_operand *X, const clvi_tile *tile)
{
    int64_t begin = X->trans ? tile->row0 - X->row0 : tile->col0 - X->col0;
    return (range){begin, begin + (X->trans ? tile->m : tile->n)};
}

/* Address of the element (i, j) of op(X), which lies in this tile. */
static const char *element(const clvi_operand *X, const clvi_tile *tile, int64_t i, int64_t j)
{
    int64_t row = i - tile_rows(X, tile).begin, column = j - tile_columns(X, tile).begin;
    int64_t offset = X->trans ? column * tile->ld + row : row * tile->ld + column;
    return (const char *)tile->data + (size_t)offset * clv_dtype_size(X->dtype);
}

/* a[m, LDA] := columns k of op(A). */
static void gather(const worker *w, range k, char *a)
{
    const clvi_product_args *p = w->args;
    for (int t = 0; t < p->A.ntiles; t++) {
        const clvi_tile *tile = &p->A.tiles[t];
        range i = intersection(tile_rows(&p->A, tile), (range){0, p->m});
        range l = intersection(tile_columns(&p->A, tile), k);
        if (i.begin >= i.end || l.begin >= l.end) continue;
        char *to = a + (size_t)(i.begin * LDA + l.begin - k.begin) * w->size;
        const char *from = element(&p->A, tile, i.begin, l.begin);
        size_t step = (size_t)tile->ld * clv_dtype_size(p->A.dtype);
        if (p->A.trans)
            clvi_skinny_transpose(p->dtype, p->A.dtype, i.end - i.begin, l.end - l.begin, from,
                                  tile->ld, to, LDA);
        else
            for (int64_t r = 0; r < i.end - i.begin; r++)
                clvi_convert(l.end - l.begin, p->A.dtype, from + (size_t)r * step, p->dtype,
                             to + (size_t)(r * LDA) * w->size);
    }
}

/* Where the next tile begins or ends between k and end: until there every tile that holds row k
 * holds all rows. */
static int64_t next_cut(const clvi_operand *B, range columns, int64_t k, int64_t end)
{
    for (int t = 0; t < B->ntiles; t++) {
        range j = intersection(tile_columns(B, &B->tiles[t]), columns);
        range l = tile_rows(B, &B->tiles[t]);
        if (j.begin >= j.end) continue;
        if (l.begin > k && l.begin < end) end = l.begin;
        if (l.end > k && l.end < end) end = l.end;
    }
    return end;
}

/* c[m, width] += a[m, LDA] op(B) for a chunk of k and the columns of a block, tile by tile. */
static void multiply(const worker *w, range k, range columns, const char *a, char *c)
{
    const clvi_product_args *p = w->args;
    for (int64_t cut, l = k.begin; l < k.end; l = cut) {
        cut = next_cut(&p->B, columns, l, k.end);
        for (int t = 0; t < p->B.ntiles; t++) {
            const clvi_tile *tile = &p->B.tiles[t];
            range rows = tile_rows(&p->B, tile);
            range j = intersection(tile_columns(&p->B, tile), columns);
            if (j.begin >= j.end || l < rows.begin || l >= rows.end) continue;
            clvi_skinny_update(p->dtype, p->B.dtype, p->B.trans, p->m, cut - l, j.end - j.begin,
                               a + (size_t)(l - k.begin) * w->size, LDA,
                               element(&p->B, tile, l, j.begin), tile->ld,
                               c + (size_t)(j.begin - columns.begin) * w->size, w->width);
        }
    }
}

static void poll(worker *w, int64_t elements)
{
    w->unpolled += elements;
    if (!w->polls || w->unpolled < POLL_AFTER) return;
    w->unpolled = 0;
    w->args->poll(w->args->context);
}

/* sum[m, width] := the leaf k of the columns. */
static void add_leaf(worker *w, range k, range columns, workspace *space, void *sum)
{
    const clvi_product_args *p = w->args;
    int64_t count = p->m * w->width;
    clvi_fill(p->dtype, count, 0, sum);
    for (int64_t l = k.begin; l < k.end; l += CHUNK) {
        range chunk = intersection((range){l, l + CHUNK}, k);
        bool first = l == k.begin;
        if (!first) clvi_fill(p->dtype, count, 0, space->chunk);
        gather(w, chunk, (char *)space->a);
        multiply(w, chunk, columns, (char *)space->a, first ? sum : (char *)space->chunk);
        if (!first) clvi_axpby(p->dtype, count, 1, space->chunk, 1, sum);
        poll(w, (chunk.end - chunk.begin) * (columns.end - columns.begin));
    }
}

/* C := alpha sum + beta C in the columns of a block. */
static void finish(const worker *w, range columns, const char *sum)
{
    const clvi_product_args *p = w->args;
    int64_t n = columns.end - columns.begin;
    for (int64_t i = 0; i < p->m; i++) {
        const char *row = sum + (size_t)(i * w->width) * w->size;
        char *c = (char *)p->C + (size_t)(i * p->ldc + columns.begin) * w->size;
        if (p->alpha == 1 && (p->beta == 0 || p->beta == 1))
            clvi_axpby(p->dtype, n, 1, row, p->beta, c);
        else
            clvi_skinny_finish(p->dtype, n, p->alpha, row, p->beta, c);
    }
}

/* Leaf i is added as a binary counter counts: as many pairs of waiting sums join as i has trailing
 * ones. */
static void block(worker *w, range columns, workspace *space)
{
    const clvi_product_args *p = w->args;
    int leaves = p->nleaves > 0 ? p->nleaves : 1, waiting = 0;
    const int64_t whole[] = {0, p->k}, *edges = p->nleaves > 0 ? p->edges : whole;
    for (int leaf = 0; leaf < leaves; leaf++) {
        add_leaf(w, (range){edges[leaf], edges[leaf + 1]}, columns, space, space->sums[waiting]);
        for (int bits = leaf; bits & 1; bits >>= 1, waiting--)
            clvi_axpby(p->dtype, p->m * w->width, 1, space->sums[waiting], 1,
                       space->sums[waiting - 1]);
        waiting++;
    }
    finish(w, columns, (const char *)space->sums[0]);
}

static void share(const clvi_product_args *p, int thread, int threads)
{
    int64_t lines = (p->n + LINE - 1) / LINE;
    range mine = intersection(
        (range){lines * thread / threads * LINE, lines * (thread + 1) / threads * LINE},
        (range){0, p->n});
    workspace space;
    int64_t most = SUMS / p->m / LINE * LINE;
    worker w = {.args = p,
                .size = clv_dtype_size(p->dtype),
                .polls = p->poll && thread == 0,
                .width = most < mine.end - mine.begin ? most : mine.end - mine.begin};
    for (int64_t j = mine.begin; j < mine.end; j += w.width)
        block(&w, intersection((range){j, j + w.width}, mine), &space);
}

static int threads_for(const clvi_product_args *p)
{
    double work = (double)p->n * (double)p->k * (p->m > 4 ? (double)p->m / 4 : 1);
    int64_t lines = (p->n + LINE - 1) / LINE;
    int threads = work < worth_threads ? 1 : clvi_threads();
    return threads < lines ? threads : (int)lines;
}

void clvi_gemm_skinny(const clvi_product_args *args)
{
    assert(args->m <= CLVI_SKINNY && args->nleaves <= 1 << (LEVELS - 1));
    if (args->m <= 0 || args->n <= 0) return;
    int threads = threads_for(args);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int thread = 0; thread < threads; thread++) share(args, thread, threads);
}
