/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny.c: products with few rows or columns, bit for bit against the order of their sum in plain
 * loops; where the order is free, within the bound of its rounding. RANKS: 1
 */
#include "check.h"

#include <clvi_lib.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_F32 = 512, CHAIN_F64 = 256, GUARD = 5, TILES = 30, LEAVES = 64 };

/* A stored matrix [m,n], whole in double and cut into tiles that lie apart. */
typedef struct {
    int64_t m, n;
    double *whole;
    clvi_tile tiles[TILES];
    clvi_operand operand;
} stored;

typedef struct {
    clv_dtype dtype;
    int64_t m, n, k, ldc;
    double alpha, beta;
    stored A, B;
    double *C; /* [m, ldc] before the product, guards included */
    int nleaves;
    int64_t edges[LEAVES + 1];
} problem;

static double uniform(uint64_t *state)
{
    return (double)(check_random(state) >> 11) * 0x1p-52 - 1;
}

static double rounded(clv_dtype dtype, double x)
{
    double room, y;
    clvi_set(dtype, &room, 0, x);
    y = clvi_get(dtype, &room, 0);
    return y;
}

/* ---- Operands in tiles ------------------------------------------------------- */

static void add_tile(stored *s, int64_t row0, int64_t col0, int64_t m, int64_t n, uint64_t *state)
{
    size_t size = clv_dtype_size(s->operand.dtype);
    int64_t ld = n + check_random_below(state, 4);
    char *data = malloc((size_t)(m * ld + 1) * size);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < ld; j++)
            clvi_set(s->operand.dtype, data, i * ld + j,
                     j < n ? s->whole[(row0 + i) * s->n + col0 + j] : NAN);
    s->tiles[s->operand.ntiles++] =
        (clvi_tile){.row0 = row0, .col0 = col0, .m = m, .n = n, .data = data, .ld = ld};
}

/* Cuts by random lines, now rows first, now columns, so that lines do not always go through. */
static void cut(stored *s, int64_t row0, int64_t col0, int64_t m, int64_t n, int tiles,
                uint64_t *state)
{
    if (tiles <= 1) {
        add_tile(s, row0, col0, m, n, state);
        return;
    }
    if (check_random_below(state, 2)) {
        int64_t at = check_random_below(state, m + 1);
        cut(s, row0 + at, col0, m - at, n, tiles - tiles / 2, state);
        cut(s, row0, col0, at, n, tiles / 2, state);
    } else {
        int64_t at = check_random_below(state, n + 1);
        cut(s, row0, col0, m, at, tiles / 2, state);
        cut(s, row0, col0 + at, m, n - at, tiles - tiles / 2, state);
    }
}

static void retile(stored *s, int tiles, uint64_t *state)
{
    for (int t = 0; t < s->operand.ntiles; t++) free((void *)s->tiles[t].data);
    s->operand.ntiles = 0;
    cut(s, 0, 0, s->m, s->n, tiles, state);
}

/* op(X) is m x n, at a random place of what is stored. */
static void create(stored *s, clv_dtype dtype, bool trans, int64_t m, int64_t n, uint64_t *state)
{
    int64_t row0 = check_random_below(state, 3), col0 = check_random_below(state, 3);
    *s = (stored){.m = row0 + (trans ? n : m) + check_random_below(state, 3),
                  .n = col0 + (trans ? m : n) + check_random_below(state, 3)};
    s->operand = (clvi_operand){.dtype = dtype, .trans = trans, .row0 = row0, .col0 = col0};
    s->whole = malloc((size_t)(s->m * s->n + 1) * sizeof *s->whole);
    for (int64_t i = 0; i < s->m * s->n; i++) s->whole[i] = rounded(dtype, uniform(state));
    retile(s, 1, state);
}

static void destroy(stored *s)
{
    for (int t = 0; t < s->operand.ntiles; t++) free((void *)s->tiles[t].data);
    free(s->whole);
}

static double value(const stored *s, int64_t i, int64_t j)
{
    int64_t row = s->operand.row0 + (s->operand.trans ? j : i);
    int64_t column = s->operand.col0 + (s->operand.trans ? i : j);
    return s->whole[row * s->n + column];
}

/* ---- What an element has to be -------------------------------------------------- */

static double fused(clv_dtype dtype, double a, double b, double c)
{
    return dtype == CLV_F32 ? (double)fmaf((float)a, (float)b, (float)c) : fma(a, b, c);
}

static double leaf_sum(const problem *p, int64_t begin, int64_t end, int64_t i, int64_t j)
{
    int64_t length = p->dtype == CLV_F32 ? CHAIN_F32 : CHAIN_F64;
    double sum = 0;
    for (int64_t k = begin; k < end; k += length) {
        double chain = 0;
        for (int64_t l = k; l < k + length && l < end; l++)
            chain = fused(p->dtype, value(&p->A, i, l), value(&p->B, l, j), chain);
        sum = k == begin ? chain : rounded(p->dtype, chain + sum);
    }
    return sum;
}

static double tree_sum(const problem *p, int first, int count, int64_t i, int64_t j)
{
    if (count == 1) return leaf_sum(p, p->edges[first], p->edges[first + 1], i, j);
    double left = tree_sum(p, first, count / 2, i, j);
    return rounded(p->dtype, left + tree_sum(p, first + count / 2, count / 2, i, j));
}

static double expected(const problem *p, int64_t i, int64_t j)
{
    double sum = tree_sum(p, 0, p->nleaves ? p->nleaves : 1, i, j), c = p->C[i * p->ldc + j];
    double alpha = rounded(p->dtype, p->alpha), beta = rounded(p->dtype, p->beta);
    if (beta == 0) return rounded(p->dtype, alpha * sum);
    return rounded(p->dtype, rounded(p->dtype, alpha * sum) + rounded(p->dtype, beta * c));
}

/* ---- Where the order is free ------------------------------------------------------ */

static bool ordered(const problem *p)
{
    return p->nleaves > 0;
}

/* |x - exact| <= u ((k + 3) |alpha| sum |a b| + 2 |beta c|) in any order, and what underflows. */
static bool bounded(const problem *p, int64_t i, int64_t j, double x)
{
    bool f32 = p->dtype == CLV_F32;
    double unit = (f32 ? FLT_EPSILON : DBL_EPSILON) / 2, tiny = f32 ? FLT_MIN : DBL_MIN;
    long double alpha = rounded(p->dtype, p->alpha), beta = rounded(p->dtype, p->beta);
    long double sum = 0, size = 0, c = beta == 0 ? 0 : beta * (long double)p->C[i * p->ldc + j];
    for (int64_t l = 0; l < p->k; l++) {
        long double term = (long double)value(&p->A, i, l) * value(&p->B, l, j);
        sum += term;
        size += fabsl(term);
    }
    long double bound =
        (unit + LDBL_EPSILON) * ((p->k + 3) * fabsl(alpha) * size + 2 * fabsl(c)) + p->k * tiny;
    return fabsl(x - (alpha * sum + c)) <= bound;
}

static bool same_bits(double x, double y)
{
    return isnan(x) ? isnan(y) : memcmp(&x, &y, sizeof x) == 0;
}

static bool right(const problem *p, int64_t i, int64_t j, double x)
{
    return ordered(p) ? same_bits(x, expected(p, i, j)) : bounded(p, i, j, x);
}

/* ---- Problems ---------------------------------------------------------------------- */

static void choose_edges(problem *p, int nleaves, uint64_t *state)
{
    p->nleaves = nleaves;
    p->edges[0] = 0;
    for (int l = 1; l < nleaves; l++)
        p->edges[l] =
            p->edges[l - 1] + (check_random_below(state, 4) == 0
                                   ? 0
                                   : check_random_below(state, p->k - p->edges[l - 1] + 1));
    p->edges[nleaves ? nleaves : 1] = p->k;
}

static void start(problem *p, uint64_t *state)
{
    int64_t rows = p->m + 2;
    p->ldc = p->n + GUARD;
    p->C = malloc((size_t)(rows * p->ldc) * sizeof *p->C);
    for (int64_t i = 0; i < rows * p->ldc; i++) p->C[i] = rounded(p->dtype, uniform(state));
    for (int64_t i = 0; p->beta == 0 && i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) p->C[i * p->ldc + j] = NAN;
}

static void end(problem *p)
{
    destroy(&p->A);
    destroy(&p->B);
    free(p->C);
}

static void *product(const problem *p, int threads)
{
    int64_t count = (p->m + 2) * p->ldc;
    void *C = malloc((size_t)count * clv_dtype_size(p->dtype));
    clvi_convert(count, CLV_F64, p->C, p->dtype, C);
    clvi_product_args args = {.dtype = p->dtype,
                              .m = p->m,
                              .n = p->n,
                              .k = p->k,
                              .alpha = p->alpha,
                              .beta = p->beta,
                              .A = p->A.operand,
                              .B = p->B.operand,
                              .C = C,
                              .ldc = p->ldc,
                              .nleaves = p->nleaves,
                              .edges = p->edges};
    args.A.tiles = p->A.tiles; /* problems are copied */
    args.B.tiles = p->B.tiles;
    clv_blas_set_threads(threads);
    clvi_gemm_skinny(&args);
    clv_blas_set_threads(0);
    return C;
}

/* Every guard is as it was, and up to `samples` elements of each row are right. */
static void check_product(const problem *p, int threads, int64_t samples, uint64_t *state)
{
    void *C = product(p, threads);
    for (int64_t i = 0; i < p->m + 2; i++)
        for (int64_t j = i < p->m ? p->n : 0; j < p->ldc; j++)
            CHECK(same_bits(clvi_get(p->dtype, C, i * p->ldc + j), p->C[i * p->ldc + j]));
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t s = 0; s < samples && s < p->n; s++) {
            int64_t j = samples >= p->n ? s : check_random_below(state, p->n);
            CHECK(right(p, i, j, clvi_get(p->dtype, C, i * p->ldc + j)));
        }
    free(C);
}

/* Which of f32, f64, f32 with bf16 in B, in A, in both. */
static problem random_problem(int types, int64_t m, int64_t n, int64_t k, uint64_t *state)
{
    static const double scalars[] = {1, 0, -0.5, 1.1};
    int which = (int)check_random_below(state, 16);
    problem p = {.dtype = types == 1 ? CLV_F64 : CLV_F32,
                 .m = m,
                 .n = n,
                 .k = k,
                 .alpha = scalars[which / 4],
                 .beta = scalars[which % 4]};
    create(&p.A, types >= 3 ? CLV_BF16 : p.dtype, check_random_below(state, 2), m, k, state);
    create(&p.B, types == 2 || types == 4 ? CLV_BF16 : p.dtype, check_random_below(state, 2), k, n,
           state);
    choose_edges(&p, check_random_below(state, 3) ? 1 << check_random_below(state, 5) : 0, state);
    start(&p, state);
    return p;
}

/* ---- Cases ------------------------------------------------------------------------- */

/* Few rows, or few columns. */
static problem random_skinny(int types, int64_t few, int64_t many, int64_t k, uint64_t *state)
{
    bool columns = check_random_below(state, 2);
    return random_problem(types, columns ? many : few, columns ? few : many, k, state);
}

static void small(void)
{
    static const int64_t extents[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 67};
    uint64_t state = 1;
    for (int64_t m = 0; m <= CLVI_SKINNY; m++)
        for (int e = 0; e < 12 * 12; e++) {
            problem p = random_skinny((int)check_random_below(&state, 5), m, extents[e / 12],
                                      extents[e % 12], &state);
            retile(&p.A, 1 + (int)check_random_below(&state, 4), &state);
            retile(&p.B, 1 + (int)check_random_below(&state, 9), &state);
            check_product(&p, 1, 80, &state);
            end(&p);
        }
}

static void large(void)
{
    static const int64_t extents[][2] = {{1, 2503},   {2503, 1},   {257, 1009},
                                         {1021, 769}, {523, 3001}, {4099, 67},
                                         {300, 512},  {2048, 256}, {61, 6007}};
    uint64_t state = 2;
    for (int64_t m = 1; m <= CLVI_SKINNY; m++)
        for (int e = 0; e < 9; e++) {
            problem p = random_skinny((int)(m + e) % 5, m, extents[e][0], extents[e][1], &state);
            check_product(&p, 1 + e % 2, 12, &state);
            retile(&p.A, 1 + (int)check_random_below(&state, 5), &state);
            retile(&p.B, 1 + (int)check_random_below(&state, TILES), &state);
            check_product(&p, 2 - e % 2, 12, &state);
            end(&p);
        }
}

/* All bits of C are the same in any tiles, with any threads, and as part of fewer rows or columns.
 */
static void independence(void)
{
    uint64_t state = 3;
    for (int types = 0; types < 5; types++)
        for (int form = 0; form < 4; form++) {
            problem p = random_problem(types, 11, 1500, 600, &state);
            if (!ordered(&p)) choose_edges(&p, 1, &state);
            size_t size = clv_dtype_size(p.dtype);
            void *all = product(&p, 1);
            for (int again = 0; again < 3; again++) {
                problem q = p;
                retile(&p.A, 1 + (int)check_random_below(&state, 4), &state);
                retile(&p.B, 1 + (int)check_random_below(&state, 12), &state);
                q.A = p.A, q.B = p.B;
                if (again == 2) q.m = 1 + check_random_below(&state, 10), q.n = 1 + form * 333;
                void *C = product(&q, 1 + again % 2);
                for (int64_t i = 0; i < q.m; i++)
                    CHECK(memcmp((char *)C + (size_t)(i * q.ldc) * size,
                                 (char *)all + (size_t)(i * p.ldc) * size,
                                 (size_t)q.n * size) == 0);
                free(C);
            }
            free(all);
            end(&p);
        }
}

/* Signed zeros: an empty leaf is +0 and is added like any other. */
static void zeros(void)
{
    static const int64_t edges[] = {0, 0, 1};
    float a = -0.0f, b = 1, c;
    clvi_tile A = {.m = 1, .n = 1, .data = &a, .ld = 1}, B = {.m = 1, .n = 1, .data = &b, .ld = 1};
    clvi_product_args p = {.dtype = CLV_F32,
                           .m = 1,
                           .n = 1,
                           .k = 1,
                           .alpha = -1,
                           .A = {.dtype = CLV_F32, .ntiles = 1, .tiles = &A},
                           .B = {.dtype = CLV_F32, .ntiles = 1, .tiles = &B},
                           .C = &c,
                           .ldc = 1,
                           .nleaves = 2,
                           .edges = edges};
    clvi_gemm_skinny(&p); /* S = 0 + fma(-0, 1, 0) = +0 */
    CHECK(c == 0 && signbit(c));
    a = -1e-38f, b = 1e-38f, p.nleaves = 0, p.alpha = 1;
    clvi_gemm_skinny(&p); /* the product rounds to -0, and one chunk is not added to anything */
    CHECK(c == 0 && signbit(c));
    p.nleaves = 2;
    clvi_gemm_skinny(&p);
    CHECK(c == 0 && !signbit(c));
}

static void count_polls(void *context)
{
    ++*(int *)context;
}

static void polls(void)
{
    uint64_t state = 4;
    problem p = random_problem(0, 1, 2000, 2000, &state);
    int polls = 0;
    float *C = malloc((size_t)p.n * sizeof *C);
    clvi_product_args args = {.dtype = CLV_F32,
                              .m = 1,
                              .n = p.n,
                              .k = p.k,
                              .alpha = 1,
                              .A = p.A.operand,
                              .B = p.B.operand,
                              .C = C,
                              .ldc = p.n,
                              .poll = count_polls,
                              .context = &polls};
    args.A.tiles = p.A.tiles;
    args.B.tiles = p.B.tiles;
    clvi_gemm_skinny(&args);
    CHECK(polls >= 4 && polls <= 64);
    free(C);
    end(&p);
}

const check_case check_cases[] = {
    {"small", small}, {"large", large}, {"independence", independence},
    {"zeros", zeros}, {"polls", polls}, {0}};
