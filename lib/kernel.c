/* SPDX-License-Identifier: BSD-3-Clause
 *
 * kernel.c: a micro-timing of 512-bit against 256-bit fused multiply-adds.
 *
 * Having AVX-512 is not enough: with one 512-bit unit, or a 512-bit operation issued as two halves,
 * both widths do the same work in the same time (ratio 1), with two full units the wider does it in
 * half (ratio 2). The threshold lies between.
 *
 * Vectors of another width add in another order, so that runs would not repeat themselves if noise
 * could turn the answer. What disturbs a processor (another clock, another process, the other
 * thread of its core) lasts longer than a short pair of both widths, and slows both alike: most
 * pairs tell the truth (measured: 19 of 20 at least, loaded or not). The best times of each width
 * do not, for they come from different clocks.
 */
#include "clvi_kernel.h"

#include <pthread.h>
#include <stddef.h>
#include <time.h>

bool clvi_kernel_wider_wins(double seconds_256, double seconds_512)
{
    return seconds_512 > 0 && seconds_256 > 1.4 * seconds_512;
}

#if defined(__x86_64__) && defined(__GNUC__)

enum {
    ROUNDS = 800, /* 256-bit rounds of a pair: a microsecond or two each way */
    PAIRS = 256
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* x = x z + z in 12 registers x: more than latency times units; everything 0. Written as
 * instructions, because compilers keep such values in memory at times, and then memory is what
 * would be timed. */
#define CLEAR(r) "vxorpd %%ymm" #r ", %%ymm" #r ", %%ymm" #r "\n\t"
#define FMA(v, r) "vfmadd213pd %%" v "12, %%" v "12, %%" v #r "\n\t"
#define TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define FMA_256(r) FMA("ymm", r)
#define FMA_512(r) FMA("zmm", r)
#define BURN(name, fma)                                                                           \
    static double name(int rounds)                                                                \
    {                                                                                             \
        double start = now();                                                                     \
        __asm__ volatile(TWELVE(CLEAR) CLEAR(12) "1:\n\t" TWELVE(fma) "decl %0\n\t"               \
                                                                      "jnz 1b\n\t"                \
                                                                      "vzeroupper"                \
                         : "+r"(rounds)                                                           \
                         :                                                                        \
                         : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",  \
                           "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"); \
        return now() - start;                                                                     \
    }
BURN(burn_256, FMA_256)
BURN(burn_512, FMA_512)

static bool has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

/* The verdict, and what to say of it; of each process by itself, for what it is told of is its own
 * processor. */
static bool wider;
static const char *why;

static void decide(void)
{
    int votes = 0;
    if (!has_avx512()) return;
    for (int i = 0; i < PAIRS; i++) {
        double s256 = burn_256(ROUNDS), s512 = burn_512(ROUNDS / 2);
        votes += clvi_kernel_wider_wins(s256, s512);
    }
    wider = votes > PAIRS / 2;
    why = wider ? "AVX-512 found, measured faster than AVX2"
                : "BLIS's own choice (AVX-512 found, measured no faster than AVX2)";
}

bool clvi_kernel_prefers_512(const char **reason)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, decide);
    if (why && reason) *reason = why;
    return wider;
}
#else
bool clvi_kernel_prefers_512(const char **reason)
{
    (void)reason;
    return false;
}
#endif
