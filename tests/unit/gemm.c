/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gemm.c: local products of operands in tiles against three loops, and the bits of their trees
 * against sums written out.
 * RANKS: 1
 */
#include "vectors.h"

#include <stdlib.h>

enum { MOST_LEAVES = 64, MOST_CUTS = 4, MOST_TILES = MOST_CUTS * MOST_CUTS, GUARD = 5 };

/* A stored matrix [m,n] in tiles of their own memory, around what the product reads of it. */
typedef struct {
    clvi_operand operand;
    clvi_tile tiles[MOST_TILES];
    int64_t m, n;
    double *values; /* [m,n] */
} stored;

typedef struct {
    clvi_product_args args;
    stored A, B;
    double *before; /* C [m,n] */
    void *C;        /* [m + 2, ldc] with a row and columns of guards around */
    int64_t edges[MOST_LEAVES + 1];
    bool unfused; /* the micro-kernels round products */
} problem;

static uint64_t state;

static int64_t below(int64_t bound)
{
    return check_random_below(&state, bound);
}

/* count - 1 cuts of [0, extent], anywhere: tiles can be empty. */
static void cut_at_random(int64_t extent, int count, int64_t cuts[])
{
    cuts[0] = 0;
    for (int i = 1; i < count; i++) cuts[i] = below(extent + 1);
    for (int i = 1; i < count; i++)
        for (int j = i; j > 1 && cuts[j] < cuts[j - 1]; j--) {
            int64_t c = cuts[j];
            cuts[j] = cuts[j - 1];
            cuts[j - 1] = c;
        }
    cuts[count] = extent;
}

static void make_tile(stored *s, clv_dtype dtype, clvi_tile *t)
{
    t->ld = t->n + below(4);
    void *data = clvi_alloc((size_t)(t->m * t->ld) * clv_dtype_size(dtype));
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->ld; j++)
            clvi_set(dtype, data, i * t->ld + j,
                     j < t->n ? s->values[(t->row0 + i) * s->n + t->col0 + j] : NAN);
    t->data = data;
}

/* Values that bf16 holds exactly, where it is asked for; a frame of up to two that is not read. */
static void make_stored(stored *s, clv_dtype dtype, bool trans, int64_t m, int64_t n, int cuts)
{
    int64_t rows[MOST_CUTS + 1], cols[MOST_CUTS + 1];
    int64_t row0 = below(3), col0 = below(3);
    s->m = row0 + (trans ? n : m) + below(3);
    s->n = col0 + (trans ? m : n) + below(3);
    s->values = clvi_alloc((size_t)(s->m * s->n) * sizeof *s->values);
    for (int64_t i = 0; i < s->m * s->n; i++) {
        float x = (float)((double)(check_random(&state) >> 11) * 0x1p-52 - 1);
        s->values[i] = dtype == CLV_BF16 ? clvi_f32_from_bf16(clvi_bf16_from_f32(x)) : x;
    }
    int down = 1 + (int)below(cuts), across = 1 + (int)below(cuts);
    cut_at_random(s->m, down, rows);
    cut_at_random(s->n, across, cols);
    for (int t = 0; t < down * across; t++) {
        int i = t / across, j = t % across;
        s->tiles[t] =
            (clvi_tile){rows[i], cols[j], rows[i + 1] - rows[i], cols[j + 1] - cols[j], NULL, 0};
        make_tile(s, dtype, &s->tiles[t]);
    }
    s->operand = (clvi_operand){dtype, trans, row0, col0, down * across, s->tiles};
}

static void free_stored(stored *s)
{
    for (int t = 0; t < s->operand.ntiles; t++) clvi_free((void *)s->tiles[t].data);
    clvi_free(s->values);
}

/* Element (i, j) of op. */
static double value(const stored *s, int64_t i, int64_t j)
{
    const clvi_operand *o = &s->operand;
    return o->trans ? s->values[(o->row0 + j) * s->n + o->col0 + i]
                    : s->values[(o->row0 + i) * s->n + o->col0 + j];
}

static void reset_C(problem *p)
{
    const clvi_product_args *a = &p->args;
    clvi_fill(a->dtype, (a->m + 2) * a->ldc, 77, p->C);
    for (int64_t i = 0; i < a->m; i++)
        for (int64_t j = 0; j < a->n; j++)
            clvi_set(a->dtype, a->C, i * a->ldc + j, a->beta == 0 ? NAN : p->before[i * a->n + j]);
}

/* args: dtype, extents, scalars and nleaves are given. */
static void make_problem(problem *p, clv_dtype type_a, clv_dtype type_b, bool trans_a, bool trans_b,
                         int cuts)
{
    clvi_product_args *a = &p->args;
    make_stored(&p->A, type_a, trans_a, a->m, a->k, cuts);
    make_stored(&p->B, type_b, trans_b, a->k, a->n, cuts);
    a->A = p->A.operand;
    a->B = p->B.operand;
    a->A.tiles = p->A.tiles;
    a->B.tiles = p->B.tiles;
    a->ldc = a->n + GUARD + below(3);
    size_t size = clv_dtype_size(a->dtype);
    p->C = clvi_alloc((size_t)((a->m + 2) * a->ldc) * size);
    a->C = (char *)p->C + (size_t)(a->ldc + 2) * size;
    p->before = clvi_alloc((size_t)(a->m * a->n) * sizeof *p->before);
    for (int64_t i = 0; i < a->m * a->n; i++) p->before[i] = (double)below(100) / 32;
    a->edges = p->edges;
    if (a->nleaves > 0) cut_at_random(a->k, a->nleaves, p->edges);
    reset_C(p);
}

static void free_problem(problem *p)
{
    free_stored(&p->A);
    free_stored(&p->B);
    clvi_free(p->C);
    clvi_free(p->before);
}

static double found(const problem *p, int64_t i, int64_t j)
{
    return clvi_get(p->args.dtype, p->args.C, i * p->args.ldc + j);
}

/* Nothing around C has changed. */
static bool guards_hold(const problem *p)
{
    const clvi_product_args *a = &p->args;
    for (int64_t i = 0; i < (a->m + 2) * a->ldc; i++) {
        int64_t r = (i - a->ldc - 2) / a->ldc, c = (i - a->ldc - 2) % a->ldc;
        bool inside = i >= a->ldc + 2 && r < a->m && c < a->n;
        if (!inside && clvi_get(a->dtype, p->C, i) != 77) return false;
    }
    return true;
}

static double expected(const problem *p, int64_t i, int64_t j)
{
    double sum = 0, c = p->before[i * p->args.n + j];
    for (int64_t l = 0; l < p->args.k; l++) sum += value(&p->A, i, l) * value(&p->B, l, j);
    return p->args.alpha * sum + p->args.beta * c;
}

/* ---- the order of a sum, written out -------------------------------------- */

static double round_to(clv_dtype dtype, double x)
{
    return dtype == CLV_F32 ? (double)(float)x : x;
}

/* Whether this machine's micro-kernels fuse: (1 + e)(1 - e) - 1 is -e e, or 0. */
static bool kernels_fuse(void)
{
    const float a[2] = {1, 1 + 0x1p-20F}, b[2] = {-1, 1 - 0x1p-20F};
    const clvi_tile ta = {0, 0, 1, 2, a, 2}, tb = {0, 0, 2, 1, b, 1};
    float c = NAN;
    clvi_gemm_tiles(&(clvi_product_args){.dtype = CLV_F32,
                                         .m = 1,
                                         .n = 1,
                                         .k = 2,
                                         .alpha = 1,
                                         .A = {CLV_F32, false, 0, 0, 1, &ta},
                                         .B = {CLV_F32, false, 0, 0, 1, &tb},
                                         .C = &c,
                                         .ldc = 1});
    return c != 0;
}

static double fused(clv_dtype dtype, double a, double b, double c)
{
    return dtype == CLV_F32 ? (double)fmaf((float)a, (float)b, (float)c) : fma(a, b, c);
}

static double leaf(const problem *p, int64_t i, int64_t j, int64_t begin, int64_t end)
{
    int64_t chunk = clvi_chain(p->args.dtype);
    double sum = 0;
    for (int64_t c = begin; c < end; c += chunk) {
        double chain = 0;
        for (int64_t l = c; l < end && l < c + chunk; l++)
            chain = p->unfused
                        ? round_to(p->args.dtype,
                                   chain + round_to(p->args.dtype,
                                                    value(&p->A, i, l) * value(&p->B, l, j)))
                        : fused(p->args.dtype, value(&p->A, i, l), value(&p->B, l, j), chain);
        sum = c == begin ? chain : round_to(p->args.dtype, sum + chain);
    }
    return sum;
}

static double tree(const problem *p, int64_t i, int64_t j, int first, int count)
{
    if (count == 1) return leaf(p, i, j, p->edges[first], p->edges[first + 1]);
    return round_to(p->args.dtype,
                    tree(p, i, j, first, count / 2) + tree(p, i, j, first + count / 2, count / 2));
}

static double exact(const problem *p, int64_t i, int64_t j)
{
    const clvi_product_args *a = &p->args;
    double sum = tree(p, i, j, 0, a->nleaves), c = p->before[i * a->n + j];
    double alpha = round_to(a->dtype, a->alpha), beta = round_to(a->dtype, a->beta);
    if (beta == 0) return round_to(a->dtype, alpha * sum);
    return round_to(a->dtype, round_to(a->dtype, alpha * sum) + round_to(a->dtype, beta * c));
}

/* ---- cases ------------------------------------------------------------------ */

static const double scalars[] = {1, 0, -0.3};

static void choose(problem *p, int64_t largest, int64_t deepest)
{
    *p = (problem){.args = {.dtype = reals[below(REALS)],
                            .m = below(largest + 1),
                            .n = below(largest + 1),
                            .k = below(deepest + 1),
                            .alpha = scalars[below(3)],
                            .beta = scalars[below(3)]}};
}

static clv_dtype operand_type(const problem *p)
{
    return p->args.dtype == CLV_F32 && below(3) == 0 ? CLV_BF16 : p->args.dtype;
}

static void make_any(problem *p, int cuts)
{
    make_problem(p, operand_type(p), operand_type(p), below(2), below(2), cuts);
}

static void check_values(const problem *p, int samples)
{
    const clvi_product_args *a = &p->args;
    CHECK(guards_hold(p));
    if (a->m == 0 || a->n == 0) return;
    double close = a->dtype == CLV_F32 ? 2e-7 : 2e-16;
    for (int t = 0; t < samples; t++) {
        int64_t i = below(a->m), j = below(a->n);
        CHECK_NEAR(found(p, i, j), expected(p, i, j), close * (double)(a->k + 10));
    }
}

static void products(void)
{
    state = 1;
    for (int t = 0; t < 300; t++) {
        problem p;
        choose(&p, 90, 300);
        p.args.nleaves = below(2) ? 1 << below(7) : 0;
        make_any(&p, MOST_CUTS);
        clvi_gemm_tiles(&p.args);
        check_values(&p, 60);
        free_problem(&p);
    }
}

/* Larger than the blocks of every loop, by one thread and two. */
static void large(void)
{
    static const int64_t extents[][3] = {
        {40, 9000, 300}, {3001, 130, 1100}, {700, 701, 1500}, {9000, 40, 300}, {3, 2000, 3000}};
    state = 2;
    for (int threads = 1; threads <= 2; threads++) {
        clv_blas_set_threads(threads);
        for (int t = 0; t < 10; t++) {
            const int64_t *e = extents[t / 2];
            problem p = {.args = {.dtype = reals[t % 2],
                                  .m = e[0],
                                  .n = e[1],
                                  .k = e[2],
                                  .alpha = 1,
                                  .beta = threads - 1,
                                  .nleaves = t & 4 ? 8 : 0}};
            make_any(&p, 2);
            clvi_gemm_tiles(&p.args);
            check_values(&p, 100);
            free_problem(&p);
        }
    }
    clv_blas_set_threads(0);
}

/* More waiting sums than there is room for: 4 of each element of 64 leaves, at least. */
static void many_sums(void)
{
    state = 7;
    problem p = {
        .args = {.dtype = CLV_F64, .m = 1800, .n = 1800, .k = 640, .alpha = 1, .nleaves = 64}};
    CHECK((size_t)(4 * 8 * p.args.m * p.args.n) > clvi_gemm_memory(true) - clvi_gemm_memory(false));
    make_any(&p, 2);
    clvi_gemm_tiles(&p.args);
    check_values(&p, 300);
    free_problem(&p);
}

static void check_bits(const problem *p, int samples)
{
    const clvi_product_args *a = &p->args;
    int wrong = 0;
    for (int t = 0; a->m > 0 && a->n > 0 && t < samples; t++) {
        int64_t i = below(a->m), j = below(a->n);
        double x = found(p, i, j), y = exact(p, i, j);
        if (memcmp(&x, &y, sizeof x) != 0) wrong++;
    }
    CHECK_INT(wrong, 0);
}

/* Bits depend on nothing but the row, the column, the edges, alpha and beta. */
static void bits(void)
{
    state = 3;
    bool unfused = !kernels_fuse();
    for (int t = 0; t < 200; t++) {
        problem p;
        choose(&p, 150, t % 2 ? 200 : 3000);
        if (p.args.alpha == 0) p.args.alpha = 1;
        p.args.nleaves = 1 << below(7);
        p.unfused = unfused;
        make_any(&p, MOST_CUTS);
        clv_blas_set_threads(1 + t % 3 / 2);
        clvi_gemm_tiles(&p.args);
        CHECK(guards_hold(&p));
        check_bits(&p, 150);
        free_problem(&p);
    }
    clv_blas_set_threads(0);
}

/* Half of the leaves in one call, half in another, added: the bits of the whole. */
static void halves(void)
{
    state = 4;
    for (int t = 0; t < 100; t++) {
        problem p;
        choose(&p, 60, t % 4 ? 900 : 5);
        p.args.alpha = 1;
        p.args.beta = 0;
        p.args.nleaves = 2 << below(6);
        make_any(&p, MOST_CUTS);
        clvi_product_args a = p.args;
        size_t bytes = (size_t)((a.m + 2) * a.ldc) * clv_dtype_size(a.dtype);
        void *whole = clvi_alloc(bytes);
        clvi_gemm_tiles(&a);
        memcpy(whole, p.C, bytes);
        a.nleaves /= 2;
        int64_t right[MOST_LEAVES + 1], middle = a.edges[a.nleaves];
        for (int i = 0; i <= a.nleaves; i++) right[i] = a.edges[a.nleaves + i] - middle;
        a.k = middle;
        clvi_gemm_tiles(&a);
        a.beta = 1;
        a.k = p.args.k - middle;
        a.edges = right;
        *(a.A.trans ? &a.A.row0 : &a.A.col0) += middle;
        *(a.B.trans ? &a.B.col0 : &a.B.row0) += middle;
        clvi_gemm_tiles(&a);
        CHECK(memcmp(whole, p.C, bytes) == 0);
        clvi_free(whole);
        free_problem(&p);
    }
}

/* -0 is a sum too: an empty leaf beside it is +0, on whichever side of a cut it lies. */
static void zeros(void)
{
    const float a = -1e-30F, b = 1e-30F;
    const clvi_tile ta = {0, 0, 1, 1, &a, 1}, tb = {0, 0, 1, 1, &b, 1};
    for (int leaves = 1; leaves <= 4; leaves *= 2)
        for (int full = 0; full < leaves; full++) {
            int64_t edges[5];
            for (int i = 0; i <= leaves; i++) edges[i] = i > full;
            float c = NAN;
            clvi_product_args args = {.dtype = CLV_F32,
                                      .m = 1,
                                      .n = 1,
                                      .k = 1,
                                      .alpha = 1,
                                      .A = {CLV_F32, false, 0, 0, 1, &ta},
                                      .B = {CLV_F32, false, 0, 0, 1, &tb},
                                      .C = &c,
                                      .ldc = 1,
                                      .nleaves = leaves,
                                      .edges = edges};
            clvi_gemm_tiles(&args);
            CHECK(c == 0 && !signbit(c) == (leaves > 1 || !kernels_fuse()));
        }
}

static int polls;

static void count_polls(void *context)
{
    CHECK(context == &polls);
    polls++;
}

/* Some 100 milliseconds of work; memory is there from the first product on. */
static void polling(void)
{
    CHECK_OK(clvi_gemm_reserve(false));
    size_t memory = clvi_gemm_memory(false);
    CHECK(memory > 0 && clvi_gemm_memory(true) > memory);
    problem p = {.args = {.dtype = CLV_F64,
                          .m = 1000,
                          .n = 1000,
                          .k = 2000,
                          .alpha = 1,
                          .poll = count_polls,
                          .context = &polls}};
    make_problem(&p, CLV_F64, CLV_F64, false, true, 1);
    clvi_alloc_fail_at(1);
    clvi_gemm_tiles(&p.args);
    void *fails = clvi_alloc(1);
    CHECK(!fails);
    clvi_free(fails);
    CHECK(polls >= 5);
    CHECK_INT(clvi_gemm_memory(false), memory);
    check_values(&p, 20);
    free_problem(&p);
}

const check_case check_cases[] = {
    {"products", products}, {"large", large}, {"many sums", many_sums}, {"bits", bits},
    {"halves", halves},     {"zeros", zeros}, {"polling", polling},     {0}};
