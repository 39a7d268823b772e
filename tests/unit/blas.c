/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blas.c: local products against three loops; threads and kernel.
 * RANKS: 1
 */
#include "vectors.h"

#include "clvi_kernel.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EDGE = 70, LD = EDGE + 3, ROOM = EDGE * LD };

typedef struct {
    clv_dtype dtype;
    bool trans_a, trans_b;
    int64_t m, n, k;
    double alpha, beta;
} product;

/* C[i,j] = alpha sum_l op(A)[i,l] op(B)[l,j] + beta C[i,j], in double. */
static double expected(const product *p, const double *A, const double *B, double c, int64_t i,
                       int64_t j)
{
    double sum = 0;
    for (int64_t l = 0; l < p->k; l++)
        sum += (p->trans_a ? A[l * LD + i] : A[i * LD + l]) *
               (p->trans_b ? B[j * LD + l] : B[l * LD + j]);
    return p->alpha * sum + (p->beta != 0 ? p->beta * c : 0);
}

static void fill(clv_dtype dtype, double *x, void *typed, uint64_t *state)
{
    for (int i = 0; i < ROOM; i++) {
        x[i] = (double)check_random_below(state, 201) / 64 - 1.5; /* exact in both types */
        clvi_set(dtype, typed, i, x[i]);
    }
}

/* Everything outside C[m,n] must stay; with beta 0, NaN inside must not matter. */
static void run(const product *p, uint64_t *state)
{
    static double A[ROOM], B[ROOM], C[ROOM], a[ROOM], b[ROOM], c[ROOM];
    double close = p->dtype == CLV_F32 ? 1e-4 : 1e-12;
    fill(p->dtype, A, a, state);
    fill(p->dtype, B, b, state);
    fill(p->dtype, C, c, state);
    for (int64_t i = 0; p->beta == 0 && i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) clvi_set(p->dtype, c, i * LD + j, NAN);
    clvi_gemm(p->dtype, p->trans_a, p->trans_b, p->m, p->n, p->k, p->alpha, a, LD, b, LD, p->beta,
              c, LD);
    for (int64_t i = 0; i < EDGE; i++)
        for (int64_t j = 0; j < LD; j++) {
            double found = clvi_get(p->dtype, c, i * LD + j);
            if (i < p->m && j < p->n)
                CHECK_NEAR(found, expected(p, A, B, C[i * LD + j], i, j), close);
            else
                CHECK(found == C[i * LD + j]);
        }
}

static void products(void)
{
    static const int64_t extents[] = {0, 1, 2, 7, 16, 33, EDGE};
    static const double scalars[] = {1, 0, -0.5};
    uint64_t state = 1;
    for (int t = 0; t < 7 * 7 * 7; t++)
        for (int form = 0; form < 4; form++) {
            int which = (int)check_random_below(&state, 9);
            product p = {.dtype = reals[check_random_below(&state, 2)],
                         .trans_a = form & 1,
                         .trans_b = form & 2,
                         .m = extents[t % 7],
                         .n = extents[t / 7 % 7],
                         .k = extents[t / 49],
                         .alpha = scalars[which % 3],
                         .beta = scalars[which / 3]};
            run(&p, &state);
        }
}

/* Exact leading dimensions, vectors in every direction. */
static void thin(void)
{
    for (int r = 0; r < REALS; r++)
        for (int t = 0; t < 3 * 3 * 4 * 4; t++) {
            int64_t m = 1 + t % 3, n = 1 + t / 3 % 3, k = t / 9 % 4;
            bool ta = t / 36 & 1, tb = t / 36 & 2;
            vector a, b, c;
            clvi_fill(reals[r], 9, 2, &a);
            clvi_fill(reals[r], 9, 3, &b);
            clvi_fill(reals[r], 10, NAN, &c);
            clvi_gemm(reals[r], ta, tb, m, n, k, 1, &a, ta ? m : k, &b, tb ? k : n, 0, &c, n);
            for (int64_t i = 0; i < m * n; i++)
                CHECK_NEAR(clvi_get(reals[r], &c, i), 6.0 * (double)k, 0);
            CHECK(isnan(clvi_get(reals[r], &c, m * n)));
        }
}

/* Where there is one row, its distance to the next does not matter. */
static void one_row(void)
{
    const float a[3] = {1, 2, 3}, b[3] = {4, 5, 6};
    for (int64_t ld = 0; ld < 4; ld++) {
        float dot = NAN, outer[9], row[3];
        clvi_gemm(CLV_F32, false, true, 1, 1, 3, 1, a, ld, b, ld, 0, &dot, ld);
        CHECK(dot == 32);
        clvi_gemm(CLV_F32, true, false, 3, 3, 1, 1, a, ld, b, ld, 0, outer, 3);
        for (int i = 0; i < 9; i++) CHECK(outer[i] == a[i / 3] * b[i % 3]);
        clvi_gemm(CLV_F32, false, false, 1, 3, 3, 1, a, ld, outer, 3, 0, row, ld);
        for (int i = 0; i < 3; i++) CHECK(row[i] == 14 * b[i]);
    }
}

/* Larger than every block of BLIS, with one thread and two: checked on sampled elements. */
static void large(void)
{
    enum { M = 500, N = 301, K = 700 };
    float *A = clvi_alloc(M * K * sizeof *A), *B = clvi_alloc(K * N * sizeof *B);
    float *C = clvi_alloc(M * N * sizeof *C);
    uint64_t state = 3;
    clvi_fill_uniform(CLV_F32, M * K, A, 1, 1, 0, -1, 1);
    clvi_fill_uniform(CLV_F32, K * N, B, 1, 2, 0, -1, 1);
    for (int threads = 1; threads <= 2; threads++) {
        clv_blas_set_threads(threads);
        CHECK_INT(clv_blas_describe().threads, threads);
        clvi_fill(CLV_F32, M * N, NAN, C);
        clvi_gemm(CLV_F32, false, false, M, N, K, 1, A, K, B, N, 0, C, N);
        for (int t = 0; t < 500; t++) {
            int64_t i = check_random_below(&state, M), j = check_random_below(&state, N);
            double sum = 0;
            for (int64_t l = 0; l < K; l++) sum += (double)A[i * K + l] * (double)B[l * N + j];
            CHECK_NEAR(C[i * N + j], sum, 1e-4);
        }
    }
    clv_blas_set_threads(0);
    clvi_free(A);
    clvi_free(B);
    clvi_free(C);
}

static void description(void)
{
    clv_blas_info info = clv_blas_describe();
    CHECK(strncmp(info.library, "BLIS ", 5) == 0);
    CHECK(info.kernel && *info.kernel && info.reason && *info.reason);
    CHECK(info.file && *info.file);
    if (!clvi_threads_set_by_user()) CHECK_INT(info.threads, 1);
    CHECK(clvi_cores() >= 1);
    const char *chosen = getenv("BLIS_ARCH_TYPE");
    if (chosen && *chosen) CHECK_STRING(info.reason, "BLIS_ARCH_TYPE");
}

/* What the user chose is what runs; in a child, because BLIS reads its variables once. */
static void users_choice(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return;
    int state = 0;
    pid_t child = fork();
    if (child == 0) {
        float a[2] = {2, 3}, b[2] = {5, 7}, c = NAN;
        setenv("BLIS_ARCH_TYPE", "3", 1);
        setenv("BLIS_JC_NT", "2", 1);
        clv_blas_info info = clv_blas_describe();
        bool good = strcmp(info.kernel, "haswell") == 0 &&
                    strcmp(info.reason, "BLIS_ARCH_TYPE") == 0 && info.threads == 2;
        clv_blas_set_threads(3);
        good = good && clv_blas_describe().threads == 3;
        clv_blas_set_threads(0);
        good = good && clv_blas_describe().threads == 2;
        clvi_gemm(CLV_F32, false, false, 1, 1, 2, 1, a, 2, b, 1, 0, &c, 1);
        _exit(good && c == 31 ? 0 : 1);
    }
    CHECK(child > 0 && waitpid(child, &state, 0) == child);
    CHECK_INT(state, 0);
#endif
}

static void environment(void)
{
    bool set = clvi_threads_set_by_user();
    setenv("BLIS_NUM_THREADS", "2", 1);
    CHECK(clvi_threads_set_by_user());
    if (!set) {
        unsetenv("BLIS_NUM_THREADS");
        CHECK(!clvi_threads_set_by_user());
    }
}

/* One unit or two halves: the same time, or nearly. Two units: half of it. */
static void width_rule(void)
{
    CHECK(!clvi_kernel_wider_wins(1.0, 1.0));
    CHECK(!clvi_kernel_wider_wins(1.1, 0.9));
    CHECK(!clvi_kernel_wider_wins(1.0, 2.0));
    CHECK(!clvi_kernel_wider_wins(1.0, 0.0));
    CHECK(clvi_kernel_wider_wins(2.0, 1.0));
    CHECK(clvi_kernel_wider_wins(1.8, 1.1));
}

const check_case check_cases[] = {
    {"users choice", users_choice}, /* first: before BLIS starts here */
    {"products", products},         {"thin", thin},
    {"one row", one_row},           {"large", large},
    {"description", description},   {"environment", environment},
    {"width rule", width_rule},     {0}};
