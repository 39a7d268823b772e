/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny_speed.c: not a test: speed of products with few rows against reading B and against BLIS.
 *
 *     SKINNY_K=4096 SKINNY_N=4096 SKINNY_MIB=512 skinny_speed
 *
 * B is a set of matrices of SKINNY_MIB in all, used in turn, so that no cache holds them. Reading,
 * multiplying and BLIS take turns; the table shows medians. SKINNY_THREADS (2), SKINNY_LEAVES (0);
 * SKINNY_M and SKINNY_T (0 f32 N, 1 f32 T, 2 bf16 N, 3 bf16 T) choose one line. SKINNY_PROCESSES=2
 * runs as many processes of one thread at the same time, each with weights of its own and its share
 * of the columns.
 * RANKS: 1
 */
#include "check.h"

#include <clvi_lib.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 7, ROWS = CLVI_SKINNY };

typedef struct {
    int64_t k, n;
    int count; /* of matrices in f32 */
    int nleaves;
    float *A, *B, *C;
} weights;

typedef float lanes __attribute__((vector_size(32)));

static double sink;

/* Every element once, in as many streams as a core needs to have enough lines under way. */
__attribute__((target_clones("arch=x86-64-v3", "default"))) static float sum_of(int64_t n,
                                                                                const float *x)
{
    enum { STREAMS = 4, STEP = 8 };
    lanes sums[STEP] = {0};
    const lanes *v = (const lanes *)x;
    int64_t stream = n / 8 / STREAMS / STEP * STEP;
    for (int64_t i = 0; i < stream; i += STEP)
        for (int s = 0; s < STREAMS; s++)
            for (int l = 0; l < STEP; l++) sums[l] += v[s * stream + i + l];
    for (int l = 1; l < STEP; l++) sums[0] += sums[l];
    return sums[0][0] + sums[0][7];
}

static double read_all(const weights *w, int threads)
{
    int64_t n = w->k * w->n * w->count;
    double begin = omp_get_wtime(), total = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : total) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        total += (double)sum_of(n / threads / 64 * 64, w->B + n / threads / 64 * 64 * t);
    sink += total;
    return omp_get_wtime() - begin;
}

static double skinny(const weights *w, clv_dtype stored, bool trans, int64_t m)
{
    int count = stored == CLV_BF16 ? 2 * w->count : w->count;
    size_t bytes = (size_t)(w->k * w->n) * clv_dtype_size(stored);
    int64_t edges[65];
    for (int l = 0; l <= w->nleaves; l++) edges[l] = w->nleaves ? w->k * l / w->nleaves : 0;
    double begin = omp_get_wtime();
    for (int i = 0; i < count; i++) {
        clvi_tile a = {.m = m, .n = w->k, .data = w->A, .ld = w->k};
        clvi_tile b = {.m = trans ? w->n : w->k,
                       .n = trans ? w->k : w->n,
                       .data = (char *)w->B + (size_t)i * bytes,
                       .ld = trans ? w->k : w->n};
        clvi_product_args p = {.dtype = CLV_F32,
                               .m = m,
                               .n = w->n,
                               .k = w->k,
                               .alpha = 1,
                               .A = {.dtype = CLV_F32, .ntiles = 1, .tiles = &a},
                               .B = {.dtype = stored, .trans = trans, .ntiles = 1, .tiles = &b},
                               .C = w->C,
                               .ldc = w->n,
                               .nleaves = w->nleaves,
                               .edges = edges};
        clvi_gemm_skinny(&p);
    }
    return omp_get_wtime() - begin;
}

static double blis(const weights *w, bool trans, int64_t m)
{
    double begin = omp_get_wtime();
    for (int i = 0; i < w->count; i++)
        clv_blas_gemm(CLV_F32, false, trans, m, w->n, w->k, w->A, w->k, w->B + i * w->k * w->n,
                      trans ? w->k : w->n, w->C, w->n);
    return omp_get_wtime() - begin;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double x[ROUNDS])
{
    qsort(x, ROUNDS, sizeof *x, ascending);
    return x[ROUNDS / 2];
}

static void measure(const weights *w, clv_dtype stored, bool trans, int64_t m, int threads)
{
    double reading[ROUNDS], ours[ROUNDS], theirs[ROUNDS];
    double bytes = 4.0 * (double)w->k * (double)w->n * w->count;
    double work = 2.0 * (double)m * bytes / 4;
    for (int r = 0; r < ROUNDS; r++) {
        reading[r] = read_all(w, threads);
        ours[r] = skinny(w, stored, trans, m);
        theirs[r] = stored == CLV_F32 ? blis(w, trans, m) : 1;
    }
    double t = median(ours), read = median(reading);
    printf("%d thread%s %-4s %c m=%-2lld  %6.2f GB/s of %6.2f: %.3f   %6.1f GFLOP/s", threads,
           threads > 1 ? "s" : " ", clv_dtype_name(stored), trans ? 'T' : 'N', (long long)m,
           bytes / t * 1e-9, bytes / read * 1e-9, read / t,
           work / t * 1e-9 * (stored == CLV_BF16 ? 2 : 1));
    if (stored == CLV_F32) printf("   BLIS %6.1f", work / median(theirs) * 1e-9);
    printf("\n");
    fflush(stdout);
}

static int number(const char *name, int other)
{
    const char *value = getenv(name);
    return value ? atoi(value) : other;
}

static void all(int threads, int64_t n)
{
    weights w = {.k = number("SKINNY_K", 4096), .n = n, .nleaves = number("SKINNY_LEAVES", 0)};
    w.count = (int)((int64_t)number("SKINNY_MIB", 512) * (1 << 18) / (w.k * w.n));
    if (w.count < 1) w.count = 1;
    int64_t elements = w.k * w.n * w.count;
    w.B = clvi_alloc((size_t)elements * 4);
    w.A = clvi_alloc((size_t)(ROWS * w.k) * 4);
    w.C = clvi_alloc((size_t)(ROWS * w.n) * 4);
    for (int64_t i = 0; i < elements; i++) w.B[i] = 0.5f + (float)(i % 17);
    for (int64_t i = 0; i < ROWS * w.k; i++) w.A[i] = 1 + (float)(i % 13);
    clv_blas_set_threads(threads);
    for (int t = 0; t < 4; t++)
        for (int64_t m = 1; m <= ROWS; m *= 2)
            if (number("SKINNY_M", (int)m) == m && number("SKINNY_T", t) == t)
                measure(&w, t & 2 ? CLV_BF16 : CLV_F32, t & 1, m, threads);
    clvi_free(w.A);
    clvi_free(w.B);
    clvi_free(w.C);
}

static void speed(void)
{
    int processes = number("SKINNY_PROCESSES", 1), n = number("SKINNY_N", 4096);
    for (int p = 1; p < processes; p++)
        if (fork() == 0) {
            if (!freopen("/dev/null", "w", stdout)) _exit(1);
            all(1, n / processes);
            _exit(0);
        }
    all(processes > 1 ? 1 : number("SKINNY_THREADS", 2), n / processes);
    while (wait(NULL) > 0) continue;
    CHECK(sink > 0);
}

const check_case check_cases[] = {{"speed", speed}, {0}};
