/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gemm.c: local products of operands in tiles: loops of our own around BLIS's inner kernels.
 *
 *     for columns of C, nc at a time                      (right panels: last-level cache)
 *       for rows of C, as many as slots have room for
 *         for k, a step at a time: pack the right operand
 *           for rows, mc at a time: pack the left operand (second-level cache)
 *             for each right panel, for each left panel: the micro-tile through the step
 *
 * (Goto and van de Geijn 2008; Van Zee and van de Geijn 2015.) "Rows" are those of the
 * micro-kernel's left operand: where it likes C by columns, C's transpose is computed, and the
 * operands change sides.
 */
#include "clvi_micro.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* Bytes of buffers that all threads share. Right panels of 8 MiB are 8192 columns of k = 256: all
 * of most products. Slots are for two sums of each of 2048 x 4096 elements of C and a little, so
 * that little is packed twice (with a quarter of them it took 2 % longer); one leaf needs few. */
enum {
    RIGHT = 8 << 20,
    FEW_SLOTS = 4 << 20,
    SLOTS = 66 << 20,
    A_THREAD = 1 << 20, /* at least, of each */
    SQUARE = 2048,
    MOST_THREADS = 256
};

/* What a product packs into, and the sums that wait. */
static struct {
    int threads; /* that there is room for; 0: nothing is allocated yet */
    struct {
        char *data;
        size_t bytes; /* of one thread, or of all */
    } left, scratch, right, slots;
    bool many; /* slots are for many leaves */
} buffers;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one product at a time has the buffers */

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Rows whose left panels fill what BLIS makes them fill of the second-level cache. */
static int64_t left_rows(const clvi_micro *micro, int64_t depth)
{
    int64_t width = micro->left.width, shallowest = 128;
    int64_t rows = micro->mc * micro->kc / clvi_larger(depth, shallowest);
    return clvi_larger(rows / width, 1) * width;
}

static size_t panel_bytes(const clvi_micro *micro, const clvi_micro_side *side, int64_t depth)
{
    return (size_t)(side->ld * depth) * clv_dtype_size(micro->dtype);
}

/* ---- buffers --------------------------------------------------------------- */

/* Bytes in whole pages, and one more: micro-kernels read a little ahead. */
static size_t pages(size_t bytes)
{
    return (bytes + 2 * 4096 - 1) / 4096 * 4096;
}

static void grow(size_t *bytes, size_t needed)
{
    if (pages(needed) > *bytes) *bytes = pages(needed);
}

static void size_buffers(int threads)
{
    for (int i = 0; i < 2; i++) {
        const clvi_micro *k = clvi_micro_kernel(i == 0 ? CLV_F32 : CLV_F64);
        int64_t most_depth = clvi_larger(clvi_chain(k->dtype), k->kc), rows = left_rows(k, 1),
                width = k->left.width;
        /* Where it is deepest a block can be one panel, else it has at most mc kc elements. */
        grow(&buffers.left.bytes,
             panel_bytes(k, &k->left, clvi_larger(most_depth, k->mc * k->kc / width)));
        grow(&buffers.scratch.bytes, clvi_tile_bytes(k) * (size_t)(rows / width) * CLVI_SLOTS);
    }
    grow(&buffers.right.bytes, clvi_larger(RIGHT, (int64_t)A_THREAD * threads));
    grow(&buffers.slots.bytes, clvi_larger(FEW_SLOTS, (int64_t)A_THREAD * threads));
}

static clv_status allocate(size_t bytes, char **data)
{
    *data = clvi_alloc_once(bytes);
    if (*data) return CLV_OK;
    return clvi_fail(CLV_ENOMEM, "no memory for the buffers of local products: %zu bytes", bytes);
}

static int most_threads(void)
{
    return (int)clvi_smaller(clvi_cores(), MOST_THREADS);
}

/* All but slots for many leaves, in one block, so that there is all of it or nothing. */
static size_t common_bytes(int threads)
{
    size_t few = pages((size_t)clvi_larger(FEW_SLOTS, (int64_t)A_THREAD * threads));
    return (buffers.left.bytes + buffers.scratch.bytes) * (size_t)threads + buffers.right.bytes +
           few;
}

static size_t many_bytes(int threads)
{
    return (size_t)clvi_larger(SLOTS, (int64_t)A_THREAD * threads);
}

static clv_status allocate_common(int threads)
{
    char *all;
    size_buffers(threads);
    clv_status status = allocate(common_bytes(threads), &all);
    if (status != CLV_OK) return status;
    buffers.left.data = all;
    buffers.scratch.data = buffers.left.data + buffers.left.bytes * (size_t)threads;
    buffers.right.data = buffers.scratch.data + buffers.scratch.bytes * (size_t)threads;
    buffers.slots.data = buffers.right.data + buffers.right.bytes;
    buffers.threads = threads;
    return CLV_OK;
}

clv_status clvi_gemm_reserve(bool leaves)
{
    clv_status status = CLV_OK;
    pthread_mutex_lock(&lock);
    if (!buffers.threads) CLVI_TRY(allocate_common(most_threads()));
    if (leaves && !buffers.many) {
        char *many;
        CLVI_TRY(allocate(many_bytes(buffers.threads), &many));
        buffers.slots.data = many;
        buffers.slots.bytes = many_bytes(buffers.threads);
        buffers.many = true;
    }
done:
    pthread_mutex_unlock(&lock);
    return status;
}

size_t clvi_gemm_memory(bool leaves)
{
    int threads = most_threads();
    if (!buffers.threads) size_buffers(threads);
    return common_bytes(threads) + (leaves ? many_bytes(threads) : 0);
}

/* ---- threads that meet --------------------------------------------------- */

typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int round;
} meeting;

typedef struct {
    const clvi_product_args *args;
    clvi_tiling tiling;
    clvi_vectors left, right;
    int64_t m, n; /* as the micro-kernel sees them */
    int nleaves;
    const int64_t *edges;
    int64_t chunk;
    int kept;
    meeting *meetings;
} product;

/* A thread's part: columns [j0, j1) of C, of which `members` threads share the right panels; rows
 * are cut among them. */
typedef struct {
    const product *p;
    int id, member, members;
    int64_t j0, j1;
    char *left, *right, *slots, *scratch;
    int64_t columns, rows; /* of a block */
    meeting *meeting;
    double polled;
} worker;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void poll(worker *w)
{
    const clvi_product_args *a = w->p->args;
    if (w->id != 0 || !a->poll) return;
    double t = now();
    if (t - w->polled < 1e-3) return;
    a->poll(a->context);
    w->polled = now();
}

/* Spins only briefly: where ranks share cores, whom it waits for may need this one. */
static void meet(worker *w)
{
    if (w->members == 1) return;
    meeting *m = w->meeting;
    int round = atomic_load(&m->round);
    if (atomic_fetch_add(&m->arrived, 1) == w->members - 1) {
        atomic_store(&m->arrived, 0);
        atomic_store(&m->round, round + 1);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&m->round, memory_order_acquire) == round; spins++) {
        if (spins < 2000) {
            clvi_pause();
        } else {
            sched_yield();
            poll(w);
        }
    }
}

/* ---- loops --------------------------------------------------------------- */

static char *C_at(const product *p, int64_t i, int64_t j)
{
    const clvi_product_args *a = p->args;
    int64_t ld = a->ldc;
    int64_t at = p->tiling.micro->rows ? i * ld + j : i + j * ld;
    return (char *)a->C + at * (int64_t)clv_dtype_size(a->dtype);
}

/* A block of C: rows [i0, i1), columns [j0, j1); slots of its tiles, `tiles` rows of them. */
typedef struct {
    int64_t i0, i1, j0, j1, tiles;
} block;

static void run_block(worker *w, const clvi_step *step, block b, int64_t i0, int64_t i1)
{
    const product *p = w->p;
    const clvi_micro *k = p->tiling.micro;
    int64_t mr = k->left.width, nr = k->right.width;
    size_t right = panel_bytes(k, &k->right, step->depth);
    size_t slots = (size_t)p->kept * clvi_tile_bytes(k);
    clvi_column x = {.m = i1 - i0,
                     .left = w->left,
                     .ldc = p->args->ldc,
                     .scratch = w->scratch,
                     .slots_of_tile = p->kept};
    for (int64_t j = b.j0; j < b.j1; j += nr) {
        int64_t panel = (j - b.j0) / nr;
        x.n = clvi_smaller(nr, b.j1 - j);
        x.right = w->right + (size_t)panel * right;
        x.C = C_at(p, i0, j);
        x.slots = w->slots + (size_t)(panel * b.tiles + (i0 - b.i0) / mr) * slots;
        clvi_column_run(&p->tiling, step, &x);
        poll(w);
    }
}

/* Part `index` of `parts` of [begin, end), cut between multiples of width from begin. */
static void share(int64_t begin, int64_t end, int64_t width, int parts, int index, int64_t *from,
                  int64_t *to)
{
    int64_t panels = ceil_div(end - begin, width);
    *from = clvi_smaller(begin + panels * index / parts * width, end);
    *to = clvi_smaller(begin + panels * (index + 1) / parts * width, end);
}

static void run_step(worker *w, const clvi_step *step, block b)
{
    const product *p = w->p;
    const clvi_micro *k = p->tiling.micro;
    int64_t mr = k->left.width, nr = k->right.width, from, to;
    meet(w); /* nobody reads the last right panels any more */
    int64_t panels = ceil_div(b.j1 - b.j0, nr);
    int64_t r0 = panels * w->member / w->members, r1 = panels * (w->member + 1) / w->members;
    for (int64_t r = r0; r < r1; r += 16) {
        clvi_pack(&p->right, b.j0, r, clvi_smaller(r + 16, r1), step->k0, step->depth, w->right);
        poll(w);
    }
    meet(w);
    share(b.i0, b.i1, mr, w->members, w->member, &from, &to);
    if (from >= to) return;
    int64_t rows = left_rows(k, step->depth);
    int64_t count = ceil_div(to - from, rows);
    for (int64_t c = 0; c < count; c++) {
        int64_t i0, i1;
        share(from, to, mr, (int)count, (int)c, &i0, &i1);
        clvi_pack(&p->left, i0, 0, ceil_div(i1 - i0, mr), step->k0, step->depth, w->left);
        run_block(w, step, b, i0, i1);
    }
}

static void run_worker(worker *w)
{
    const product *p = w->p;
    const clvi_micro *k = p->tiling.micro;
    int64_t mr = k->left.width, nr = k->right.width;
    int64_t across = ceil_div(w->j1 - w->j0, w->columns), down = ceil_div(p->m, w->rows);
    for (int64_t c = 0; c < across; c++)
        for (int64_t r = 0; r < down; r++) {
            block b;
            share(w->j0, w->j1, nr, (int)across, (int)c, &b.j0, &b.j1);
            share(0, p->m, mr, (int)down, (int)r, &b.i0, &b.i1);
            b.tiles = ceil_div(b.i1 - b.i0, mr);
            clvi_tree tree = clvi_tree_begin(p->nleaves, p->edges, p->chunk);
            clvi_step step;
            while (clvi_tree_step(&tree, &step)) run_step(w, &step, b);
        }
}

/* How many of the threads cut the columns; the others cut the rows. */
static int column_groups(const product *p, int threads)
{
    int best = 1;
    double least_work = 1e300;
    int64_t mr = p->tiling.micro->left.width, nr = p->tiling.micro->right.width;
    for (int groups = 1; groups <= threads; groups++) {
        if (threads % groups) continue;
        /* The largest part of the tiles, and what is packed more than once. */
        double rows = (double)ceil_div(ceil_div(p->m, mr), threads / groups) * (double)mr;
        double columns = (double)ceil_div(ceil_div(p->n, nr), groups) * (double)nr;
        double work = rows * columns + 16 * (rows + columns * groups / threads);
        if (work < least_work) best = groups, least_work = work;
    }
    return best;
}

/* As many columns as right panels have room for, all rows; fewer of either, near a square, where
 * the tiles of the block have slots. */
static void size_block(worker *w, size_t right, size_t slots)
{
    const product *p = w->p;
    const clvi_micro *k = p->tiling.micro;
    int64_t across = (int64_t)(right / panel_bytes(k, &k->right, clvi_larger(p->chunk, 1)));
    int64_t down = ceil_div(p->m, k->left.width);
    across = clvi_smaller(across, ceil_div(w->j1 - w->j0, k->right.width));
    if (p->kept > 0) {
        int64_t tiles = (int64_t)(slots / ((size_t)p->kept * clvi_tile_bytes(k)));
        int64_t side = SQUARE / k->left.width;
        down = clvi_smaller(down,
                            clvi_larger(tiles / clvi_larger(across, 1), clvi_smaller(side, tiles)));
        across = clvi_smaller(across, tiles / clvi_larger(down, 1));
    }
    w->columns = clvi_larger(across, 1) * k->right.width;
    w->rows = clvi_larger(down, 1) * k->left.width;
}

static void start_worker(const product *p, int id, int threads)
{
    const clvi_micro *k = p->tiling.micro;
    int groups = column_groups(p, threads), group = id / (threads / groups);
    worker w = {.p = p,
                .id = id,
                .members = threads / groups,
                .member = id % (threads / groups),
                .meeting = &p->meetings[group],
                .polled = now()};
    share(0, p->n, k->right.width, groups, group, &w.j0, &w.j1);
    size_t right = buffers.right.bytes / (size_t)groups / 4096 * 4096;
    size_t slots = buffers.slots.bytes / (size_t)groups / 4096 * 4096;
    w.left = buffers.left.data + (size_t)id * buffers.left.bytes;
    w.scratch = buffers.scratch.data + (size_t)id * buffers.scratch.bytes;
    w.right = buffers.right.data + (size_t)group * right;
    w.slots = buffers.slots.data + (size_t)group * slots;
    size_block(&w, right - 4096, slots);
    run_worker(&w);
}

/* ---- what the callers see ------------------------------------------------ */

/* C := beta C. */
static void scale(const clvi_product_args *a)
{
    for (int64_t i = 0; i < a->m; i++) {
        char *row = (char *)a->C + (size_t)(i * a->ldc) * clv_dtype_size(a->dtype);
        if (a->beta == 0)
            clvi_fill(a->dtype, a->n, 0, row);
        else
            clvi_axpby(a->dtype, a->n, a->beta, row, 0, row);
    }
}

static void set_sides(product *p)
{
    const clvi_product_args *a = p->args;
    const clvi_micro *k = p->tiling.micro;
    clvi_vectors A = {.operand = &a->A, .micro = k, .vectors_are_rows = !a->A.trans, .count = a->m};
    clvi_vectors B = {.operand = &a->B, .micro = k, .vectors_are_rows = a->B.trans, .count = a->n};
    p->left = k->rows ? A : B;
    p->right = k->rows ? B : A;
    p->left.side = &k->left;
    p->right.side = &k->right;
    p->m = p->left.count;
    p->n = p->right.count;
}

static void run(product *p)
{
    const clvi_product_args *a = p->args;
    static meeting meetings[MOST_THREADS];
    p->meetings = meetings;
    int threads = clvi_blas_threads(2.0 * (double)a->m * (double)a->n * (double)a->k);
    pthread_mutex_lock(&lock);
    if (threads > buffers.threads) threads = buffers.threads;
    if (threads == 1) {
        start_worker(p, 0, 1);
    } else {
#pragma omp parallel num_threads(threads)
        start_worker(p, omp_get_thread_num(), omp_get_num_threads());
    }
    pthread_mutex_unlock(&lock);
}

/* One tile for each operand can go to BLIS. Nothing else is asked for without buffers: planning
 * reserves them, or fails. */
static void without_buffers(const clvi_product_args *a)
{
    bool simple = a->nleaves == 0 && a->A.ntiles == 1 && a->B.ntiles == 1 &&
                  a->A.dtype == a->dtype && a->B.dtype == a->dtype;
    assert(simple);
    (void)simple;
    const clvi_tile *s = a->A.tiles, *t = a->B.tiles;
    size_t size = clv_dtype_size(a->dtype);
    const char *A = s->data, *B = t->data;
    A += ((a->A.row0 - s->row0) * s->ld + a->A.col0 - s->col0) * (int64_t)size;
    B += ((a->B.row0 - t->row0) * t->ld + a->B.col0 - t->col0) * (int64_t)size;
    clvi_blas_gemm(a->dtype, a->A.trans, a->B.trans, a->m, a->n, a->k, a->alpha, A, s->ld, B, t->ld,
                   a->beta, a->C, a->ldc);
}

void clvi_gemm_tiles(const clvi_product_args *a)
{
    assert(a->dtype == CLV_F32 || a->dtype == CLV_F64);
    assert(a->A.dtype == a->dtype || (a->A.dtype == CLV_BF16 && a->dtype == CLV_F32));
    assert(a->B.dtype == a->dtype || (a->B.dtype == CLV_BF16 && a->dtype == CLV_F32));
    if (a->m <= 0 || a->n <= 0) return;
    if (a->alpha == 0 || (a->k <= 0 && a->nleaves == 0)) {
        scale(a);
        return;
    }
    if (a->m <= CLVI_SKINNY || a->n <= CLVI_SKINNY) { /* memory's speed is all there is to gain */
        clvi_gemm_skinny(a);
        return;
    }
    if (clvi_gemm_reserve(a->nleaves > 1) != CLV_OK) {
        without_buffers(a);
        return;
    }
    const clvi_micro *micro = clvi_micro_kernel(a->dtype);
    int64_t whole[2] = {0, a->k};
    float alpha = (float)a->alpha, beta = (float)a->beta;
    bool f32 = a->dtype == CLV_F32, tree = a->nleaves > 0;
    product p = {.args = a,
                 .nleaves = tree ? a->nleaves : 1,
                 .edges = tree ? a->edges : whole,
                 .chunk = clvi_chain(a->dtype)};
    p.tiling = (clvi_tiling){.micro = micro,
                             .alpha = a->alpha,
                             .beta = a->beta,
                             .direct = !tree || (a->alpha == 1 && a->beta == 0)};
    p.tiling.typed_alpha = !p.tiling.direct ? micro->one : f32 ? (void *)&alpha : (void *)&a->alpha;
    p.tiling.typed_beta = f32 ? (void *)&beta : (void *)&a->beta;
    if (!tree) {
        int64_t kc = micro->kc;
        p.chunk = clvi_larger(ceil_div(ceil_div(a->k, ceil_div(a->k, kc)), 4) * 4, 1);
    }
    p.kept = clvi_tree_kept(clvi_tree_begin(p.nleaves, p.edges, p.chunk));
    if (p.tiling.direct && p.kept > 0) p.kept--;
    set_sides(&p);
    run(&p);
}

void clvi_gemm(clv_dtype dtype, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
               double alpha, const void *A, int64_t lda, const void *B, int64_t ldb, double beta,
               void *C, int64_t ldc)
{
    if (k < 0) k = 0;
    clvi_tile a = {0, 0, trans_a ? k : m, trans_a ? m : k, A, lda};
    clvi_tile b = {0, 0, trans_b ? n : k, trans_b ? k : n, B, ldb};
    clvi_gemm_tiles(&(clvi_product_args){.dtype = dtype,
                                         .m = m,
                                         .n = n,
                                         .k = k,
                                         .alpha = alpha,
                                         .beta = beta,
                                         .A = {dtype, trans_a, 0, 0, 1, &a},
                                         .B = {dtype, trans_b, 0, 0, 1, &b},
                                         .C = C,
                                         .ldc = ldc});
}
