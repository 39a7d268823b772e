/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernel.c: a micro-timing of 512-bit against 256-bit fused multiply-adds.
 *
 * Having AVX-512 is not enough: with one 512-bit unit, or a 512-bit operation issued as two halves,
 * both widths do the same work in the same time (ratio 1), with two full units the wider does it in
 * half (ratio 2). The threshold lies between, so noise does not make ranks of a node disagree.
 */
#include "clvi_kernel.h"

#include <stddef.h>
#include <time.h>

bool clvi_kernel_wider_wins(double seconds_256, double seconds_512)
{
    return seconds_512 > 0 && seconds_256 > 1.4 * seconds_512;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

enum {
    CHAINS = 12,   /* independent sums: more than latency times units, and all in registers */
    ROUNDS = 1000, /* 256-bit rounds of a try: 10 to 20 microseconds                         */
    TRIES = 16     /* the best one counts                                                    */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* x = x / 2 + 1/2 in every chain: bounded and never subnormal. The empty asm keeps each value in a
 * register and hides it from the optimizer. */
#define BURN(name, isa, vector, set1, fmadd)                                                       \
    __attribute__((target(isa), noinline)) static double name(int rounds)                          \
    {                                                                                              \
        vector half = set1(0.5), x[CHAINS];                                                        \
        for (int c = 0; c < CHAINS; c++) x[c] = half;                                              \
        double start = now();                                                                      \
        for (int r = 0; r < rounds; r++) _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) \
            {                                                                                      \
                x[c] = fmadd(x[c], half, half);                                                    \
                __asm__ volatile("" : "+x"(x[c]));                                                 \
            }                                                                                      \
        return now() - start;                                                                      \
    }
BURN(burn_256, "avx2,fma", __m256d, _mm256_set1_pd, _mm256_fmadd_pd)
BURN(burn_512, "avx512f", __m512d, _mm512_set1_pd, _mm512_fmadd_pd)

static bool has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

bool clvi_kernel_prefers_512(const char **reason)
{
    if (!has_avx512()) return false;
    double best_256 = 1, best_512 = 1;
    for (int t = 0; t < TRIES; t++) {
        double s256 = burn_256(ROUNDS), s512 = burn_512(ROUNDS / 2);
        if (s256 < best_256) best_256 = s256;
        if (s512 < best_512) best_512 = s512;
    }
    bool wider = clvi_kernel_wider_wins(best_256, best_512);
    *reason = wider ? "AVX-512 found, measured faster than AVX2"
                    : "BLIS's own choice (AVX-512 found, measured no faster than AVX2)";
    return wider;
}
#else
bool clvi_kernel_prefers_512(const char **reason)
{
    (void)reason;
    return false;
}
#endif
