/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny.c: products with few rows, C[m,n] := alpha op(A)[m,k] op(B)[k,n] + beta C, at the speed at
 * which B comes from memory; with few columns, the transposed product, C^T = op(B)^T op(A)^T.
 *
 * Threads share the columns of C. A thread takes as many columns as sums of them fit near it, and
 * reads its columns of B once, in order. The sum of an element has one fixed order: chunks of k
 * from +0 in ascending k, chunks from left to right, leaves in a tree.
 *
 * Where no leaves are asked for, the order is free, and B is read as it lies in memory: stored by
 * columns, it is summed in vectors along k without transposing; stored by rows, threads share k, so
 * that each reads whole rows.
 */
#include "clvi_panel.h"
#include "clvi_skinny.h"
#include <omp.h>
#include <string.h>

enum {
    CHUNK = 256,             /* elements of k in one sum where there are no leaves */
    ROOM = 320 << 10,        /* bytes for op(A), or as much of it as fits                   */
    SUMS = 272 << 10,        /* bytes of sums: half of a second cache                       */
    LEVELS = 7,              /* sums that wait in a tree of 64 leaves                       */
    LINE = 16,               /* columns that threads do not share                           */
    NARROW = 48,             /* columns of a block whose columns are stored as rows         */
    POLL_AFTER = 256 * 1024, /* elements of B                                              */
    MOST_SHARING = 64        /* threads that share k                                        */
};

/* Operations that one thread does sooner than two: it takes as long to wake the other. */
static const double worth_threads = 256 * 1024;

typedef struct {
    const clvi_product_args *args;
    size_t size;      /* of an element                                     */
    int64_t width;    /* columns of a block                                */
    int64_t ld;       /* elements from one row of sums to the next         */
    const char *A;    /* op(A) if all of it is at hand, or NULL            */
    int64_t lda;      /* elements from one row of what is at hand to the next */
    int64_t chunk;    /* elements of k in one sum                          */
    int64_t unpolled; /* elements of B since the last poll                 */
    bool dots;        /* vectors along k                                   */
    bool polls;
    char a[ROOM] __attribute__((aligned(64))); /* all of op(A), or a chunk */
    char sums[SUMS] __attribute__((aligned(64)));
} worker;

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

/* a[m, lda] := columns k of op(A). */
static void gather(worker *w, range k)
{
    const clvi_product_args *p = w->args;
    for (int t = 0; t < p->A.ntiles; t++) {
        const clvi_tile *tile = &p->A.tiles[t];
        range i = intersection(tile_rows(&p->A, tile), (range){0, p->m});
        range l = intersection(tile_columns(&p->A, tile), k);
        if (i.begin >= i.end || l.begin >= l.end) continue;
        char *to = w->a + (size_t)(i.begin * w->lda + l.begin - k.begin) * w->size;
        const char *from = element(&p->A, tile, i.begin, l.begin);
        size_t step = (size_t)tile->ld * clv_dtype_size(p->A.dtype);
        if (p->A.trans)
            clvi_panel_transpose(p->A.dtype, i.end - i.begin, l.end - l.begin, from, tile->ld, to,
                                 w->lda);
        else
            for (int64_t r = 0; r < i.end - i.begin; r++)
                clvi_convert(l.end - l.begin, p->A.dtype, from + (size_t)r * step, p->dtype,
                             to + (size_t)(r * w->lda) * w->size);
    }
}

/* Rows an odd number of lines apart lie in different sets of a cache. */
static int64_t odd_lines(int64_t elements)
{
    return (elements + LINE - 1) / LINE * LINE | LINE;
}

/* Where the order is free, rows of B come in whole groups, and vectors along k are as long as there
 * is room. */
static void choose_chunk(worker *w)
{
    const clvi_product_args *p = w->args;
    int64_t room = ROOM / (p->m * (int64_t)w->size) / LINE * LINE - LINE;
    w->dots = p->B.trans && p->nleaves == 0;
    w->chunk =
        p->nleaves > 0 ? clvi_chain(p->dtype) : CHUNK / CLVI_SKINNY_DEPTH * CLVI_SKINNY_DEPTH;
    if (w->dots) w->chunk = room < p->k ? room : p->k;
}

/* One row of op(A) is used where it lies, several are gathered: at once if there is room. */
static void bring_a(worker *w)
{
    const clvi_product_args *p = w->args;
    w->A = NULL;
    w->lda = odd_lines(p->k);
    if (p->m == 1 && p->A.ntiles == 1 && !p->A.trans && p->A.dtype == p->dtype) {
        w->A = element(&p->A, p->A.tiles, 0, 0);
    } else if ((size_t)(p->m * w->lda) * w->size <= ROOM) {
        gather(w, (range){0, p->k});
        w->A = w->a;
    } else {
        w->lda = odd_lines(w->chunk);
    }
}

/* Where the next tile begins between k and end: until there every tile that holds row k holds all
 * rows, since a tile ends where the next begins. */
static int64_t next_cut(const clvi_operand *B, range columns, int64_t k, int64_t end)
{
    for (int t = 0; t < B->ntiles; t++) {
        range j = intersection(tile_columns(B, &B->tiles[t]), columns);
        range l = tile_rows(B, &B->tiles[t]);
        if (j.begin >= j.end) continue;
        if (l.begin > k && l.begin < end) end = l.begin;
    }
    return end;
}

/* c[m, width] += a[m, lda] op(B) for a chunk of k and the columns of a block, tile by tile. */
static void multiply(const worker *w, range k, range columns, const char *a, int64_t lda, char *c)
{
    const clvi_product_args *p = w->args;
    for (int64_t cut, l = k.begin; l < k.end; l = cut) {
        cut = next_cut(&p->B, columns, l, k.end);
        for (int t = 0; t < p->B.ntiles; t++) {
            const clvi_tile *tile = &p->B.tiles[t];
            range rows = tile_rows(&p->B, tile);
            range j = intersection(tile_columns(&p->B, tile), columns);
            if (j.begin >= j.end || l < rows.begin || l >= rows.end) continue;
            const char *x = a + (size_t)(l - k.begin) * w->size;
            const char *b = element(&p->B, tile, l, j.begin);
            char *to = c + (size_t)(j.begin - columns.begin) * w->size;
            if (w->dots)
                clvi_skinny_streams_for(p->B.dtype)
                    ->dots(p->m, cut - l, j.end - j.begin, x, lda, b, tile->ld, to, w->ld);
            else
                clvi_skinny_update(p->dtype, p->B.dtype, p->B.trans, p->nleaves > 0, p->m, cut - l,
                                   j.end - j.begin, x, lda, b, tile->ld, to, w->ld);
        }
    }
}

/* c[m, width] += the chunk k of the columns. */
static void add_chunk(worker *w, range k, range columns, char *c)
{
    if (w->A) {
        multiply(w, k, columns, w->A + (size_t)k.begin * w->size, w->lda, c);
    } else {
        gather(w, k);
        multiply(w, k, columns, w->a, w->lda, c);
    }
}

static void poll(worker *w, int64_t elements)
{
    w->unpolled += elements;
    if (!w->polls || w->unpolled < POLL_AFTER) return;
    w->unpolled = 0;
    w->args->poll(w->args->context);
}

static char *slot(worker *w, int i)
{
    return w->sums + (size_t)(i * w->args->m * w->ld) * w->size;
}

/* Slot i - 1 += slot i. */
static void add_slot(worker *w, int i)
{
    clvi_axpby(w->args->dtype, w->args->m * w->ld, 1, slot(w, i), 1, slot(w, i - 1));
}

static void clear_slot(worker *w, int i)
{
    memset(slot(w, i), 0, (size_t)(w->args->m * w->ld) * w->size);
}

/* Slot i := the leaf k of the columns: chunks are summed apart only where the order asks for it. */
static void sum_leaf(worker *w, range k, range columns, int i)
{
    bool ordered = w->args->nleaves > 0;
    clear_slot(w, i);
    for (int64_t l = k.begin; l < k.end; l += w->chunk) {
        int to = ordered && l > k.begin ? i + 1 : i;
        if (to > i) clear_slot(w, to);
        add_chunk(w, intersection(k, (range){l, l + w->chunk}), columns, slot(w, to));
        if (to > i) add_slot(w, to);
        poll(w, w->chunk * (columns.end - columns.begin));
    }
}

/* The same as finish where C is stored as its transpose, whose rows are columns of the sums. */
static void finish_transposed(const worker *w, range block, range columns, const char *sums)
{
    enum { ROWS = 64 };
    char rows[ROWS * CLVI_SKINNY * sizeof(double)];
    const clvi_product_args *p = w->args;
    for (int64_t j = columns.begin; j < columns.end; j += ROWS) {
        int64_t count = columns.end - j < ROWS ? columns.end - j : ROWS;
        const char *sum = sums + (size_t)(j - block.begin) * w->size;
        char *c = (char *)p->C + (size_t)(j * p->ldc) * w->size;
        clvi_panel_transpose(p->dtype, count, p->m, sum, w->ld, rows, p->m);
        clvi_axpby_rows(p->dtype, count, p->m, p->alpha, rows, p->m, p->beta, c, p->ldc);
    }
}

/* C := alpha sum + beta C in some columns of a block. */
static void finish(const worker *w, range block, range columns, const char *sums)
{
    const clvi_product_args *p = w->args;
    int64_t n = columns.end - columns.begin;
    if (n <= 0) return;
    if (p->c_trans) {
        finish_transposed(w, block, columns, sums);
        return;
    }
    for (int64_t i = 0; i < p->m; i++) {
        const char *sum = sums + (size_t)(i * w->ld + columns.begin - block.begin) * w->size;
        char *c = (char *)p->C + (size_t)(i * p->ldc + columns.begin) * w->size;
        clvi_axpby(p->dtype, n, p->alpha, sum, p->beta, c);
    }
}

/* Leaf i is added as a binary counter counts: as many pairs of waiting sums join as i has trailing
 * ones. */
static void block(worker *w, range columns)
{
    const clvi_product_args *p = w->args;
    int leaves = p->nleaves > 0 ? p->nleaves : 1, waiting = 0;
    const int64_t whole[] = {0, p->k}, *edges = p->nleaves > 0 ? p->edges : whole;
    for (int leaf = 0; leaf < leaves; leaf++) {
        sum_leaf(w, (range){edges[leaf], edges[leaf + 1]}, columns, waiting);
        for (int bits = leaf; bits & 1; bits >>= 1) add_slot(w, waiting--);
        waiting++;
    }
    finish(w, columns, columns, slot(w, 0));
}

/* Rows of B are read along as far as their sums fit; columns that are stored as rows from end to
 * end, a few at a time, unless a chunk of op(A) has to be gathered again for each few. */
static int64_t block_width(const worker *w)
{
    const clvi_product_args *p = w->args;
    int slots = 2;
    for (int leaves = p->nleaves; leaves > 1; leaves /= 2) slots++;
    if (p->B.trans) return w->A ? NARROW : 8 * NARROW;
    return SUMS / (int64_t)w->size / (p->m * slots) / LINE * LINE - LINE;
}

/* Part `thread` of some columns, in whole lines. */
static range part(range columns, int thread, int threads)
{
    int64_t lines = (columns.end - columns.begin + LINE - 1) / LINE;
    range r = {columns.begin + lines * thread / threads * LINE,
               columns.begin + lines * (thread + 1) / threads * LINE};
    return intersection(r, columns);
}

/* For blocks of these columns, all of about the same width. */
static void prepare(worker *w, const clvi_product_args *p, range columns, bool first)
{
    int64_t n = columns.end - columns.begin;
    w->args = p;
    w->size = clv_dtype_size(p->dtype);
    w->polls = p->poll && first;
    w->unpolled = 0;
    choose_chunk(w);
    bring_a(w);
    w->width = block_width(w);
    if (!p->B.trans && n > 0) {
        int64_t blocks = (n + w->width - 1) / w->width;
        w->width = ((n + blocks - 1) / blocks + LINE - 1) / LINE * LINE;
    }
    if (w->width > n) w->width = n;
    w->ld = odd_lines(w->width);
}

static void share_columns(const clvi_product_args *p, int thread, int threads)
{
    worker w;
    range mine = part((range){0, p->n}, thread, threads);
    prepare(&w, p, mine, thread == 0);
    for (int64_t j = mine.begin; j < mine.end; j += w.width)
        block(&w, intersection((range){j, j + w.width}, mine));
}

/* The threads' sums are added from first to last into those of the first, each in a part of the
 * columns, and taken to C. */
static void join(const worker *w, range block, range columns, int threads, char *const sums[])
{
    int64_t n = columns.end - columns.begin;
    for (int t = 1; t < threads && n > 0; t++)
        for (int64_t i = 0; i < w->args->m; i++) {
            size_t at = (size_t)(i * w->ld + columns.begin - block.begin) * w->size;
            clvi_axpby(w->args->dtype, n, 1, sums[t] + at, 1, sums[0] + at);
        }
    finish(w, block, columns, sums[0]);
}

/* Called by all threads of a team. */
static void share_depth(const clvi_product_args *p, int thread, int threads, char *sums[])
{
    worker w;
    int64_t chunks = (p->k + CHUNK - 1) / CHUNK;
    range mine = {chunks * thread / threads * CHUNK, chunks * (thread + 1) / threads * CHUNK};
    prepare(&w, p, (range){0, p->n}, thread == 0);
    sums[thread] = slot(&w, 0);
    for (int64_t j = 0; j < p->n; j += w.width) {
        range columns = intersection((range){j, j + w.width}, (range){0, p->n});
        sum_leaf(&w, intersection(mine, (range){0, p->k}), columns, 0);
#pragma omp barrier
        join(&w, columns, part(columns, thread, threads), threads, sums);
#pragma omp barrier
    }
    sums[thread] = NULL; /* it ends with w */
}

static int threads_for(const clvi_product_args *p)
{
    double work = (double)p->n * (double)p->k * (p->m > 4 ? (double)p->m / 4 : 1);
    int64_t lines = (p->n + LINE - 1) / LINE;
    int threads = work < worth_threads ? 1 : clvi_threads();
    return threads < lines ? threads : (int)lines;
}

/* Whole rows are longer streams than parts of them, but so are their sums: with more rows of A they
 * would crowd the second cache. Joining has to be little beside summing. */
static bool depth_is_shared(const clvi_product_args *p, int threads)
{
    return threads > 1 && threads <= MOST_SHARING && !p->B.trans && p->nleaves == 0 && p->m <= 4 &&
           p->k >= threads * 2 * CHUNK;
}

/* C^T = op(B)^T op(A)^T. */
static clvi_product_args transposed(const clvi_product_args *p)
{
    clvi_product_args t = *p;
    t.m = p->n;
    t.n = p->m;
    t.A = p->B;
    t.B = p->A;
    t.A.trans = !p->B.trans;
    t.B.trans = !p->A.trans;
    t.c_trans = !p->c_trans;
    return t;
}

static void run(const clvi_product_args *args)
{
    char *sums[MOST_SHARING];
    int threads = threads_for(args);
    bool depth = depth_is_shared(args, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    if (depth)
        share_depth(args, omp_get_thread_num(), omp_get_num_threads(), sums);
    else
        share_columns(args, omp_get_thread_num(), omp_get_num_threads());
}

void clvi_gemm_skinny(const clvi_product_args *args)
{
    clvi_product_args p = args->m <= CLVI_SKINNY ? *args : transposed(args);
    assert(p.m <= CLVI_SKINNY && p.nleaves <= 1 << (LEVELS - 1));
    if (p.m > 0 && p.n > 0) run(&p);
}
