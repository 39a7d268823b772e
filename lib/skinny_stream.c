/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny_stream.c: a few rows times B while it arrives from memory.
 *
 * Every element of B is read once, from a few streams that each run through consecutive lines;
 * instructions fetch ahead what the processor does not by itself. The instructions of vectors are
 * chosen by hand, since compilers do not keep these tiles in registers.
 */
#include "clvi_skinny.h"
#include <math.h>
#include <string.h>

enum {
    DEPTH = CLVI_SKINNY_DEPTH,
    LINE = 64,   /* bytes of a line of the caches                              */
    ROWS = 4,    /* of A whose sums with COLUMNS of op(B) stay in registers    */
    COLUMNS = 3, /* of op(B), where those are rows in memory: as many streams  */
    FEW = 2,     /* rows of A whose sums with MOST_COLUMNS do                  */
    MOST_COLUMNS = 4,
    NEAR = 512, /* elements of such a stream before the next rows of A         */
    AHEAD = 12  /* lines                                                       */
};

#define PASTE_(x, y) x##y
#define PASTE(x, y) PASTE_(x, y)
#define GLUE_(f, type, width) f##type##_##width
#define GLUE(f, type, width) GLUE_(f, type, width)
/* An address behind the end of a matrix does no harm. */
#define FETCH(address) __builtin_prefetch((const void *)(address), 0, 3)
#define EACH _Pragma("GCC unroll 16")

#define real_f32 float
#define real_f64 double
#define real_bf16 float
#define stored_f32 float
#define stored_f64 double
#define stored_bf16 uint16_t
#define ONE_f32(x) (x)
#define ONE_f64(x) (x)
#define ONE_bf16 widened
#define FMA_f32 __builtin_fmaf
#define FMA_f64 __builtin_fma
#define FMA_bf16 __builtin_fmaf

static inline __attribute__((always_inline)) float widened(uint16_t x)
{
    uint32_t word = (uint32_t)x << 16;
    float y;
    memcpy(&y, &word, sizeof y);
    return y;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include "clvi_kernel.h"
#include <immintrin.h>
#include <pthread.h>
#define HAS_STREAMS 1

#define STREAM_TARGET __attribute__((target("avx2,fma")))
#define STREAM_INLINE STREAM_TARGET static inline __attribute__((always_inline))
#define WIDTH 256
#define VEC_f32_256 __m256
#define LANES_f32_256 8
#define LOAD_f32_256 _mm256_loadu_ps
#define STORE_f32_256 _mm256_storeu_ps
#define SPLAT_f32_256 _mm256_set1_ps
#define FUSED_f32_256 _mm256_fmadd_ps
#define WIDE_f32_256 _mm256_loadu_ps
#define VEC_f64_256 __m256d
#define LANES_f64_256 4
#define LOAD_f64_256 _mm256_loadu_pd
#define STORE_f64_256 _mm256_storeu_pd
#define SPLAT_f64_256 _mm256_set1_pd
#define FUSED_f64_256 _mm256_fmadd_pd
#define WIDE_f64_256 _mm256_loadu_pd
#define VEC_bf16_256 __m256
#define LANES_bf16_256 8
#define LOAD_bf16_256 _mm256_loadu_ps
#define STORE_bf16_256 _mm256_storeu_ps
#define SPLAT_bf16_256 _mm256_set1_ps
#define FUSED_bf16_256 _mm256_fmadd_ps
#define WIDE_bf16_256(x) \
    _mm256_castsi256_ps( \
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(x))), 16))
#define TYPE f32
#include "skinny_stream.inc"
#define TYPE f64
#include "skinny_stream.inc"
#define TYPE bf16
#include "skinny_stream.inc"
#undef STREAM_TARGET
#undef WIDTH

#define STREAM_TARGET __attribute__((target("avx512f")))
#define WIDTH 512
#define VEC_f32_512 __m512
#define LANES_f32_512 16
#define LOAD_f32_512 _mm512_loadu_ps
#define STORE_f32_512 _mm512_storeu_ps
#define SPLAT_f32_512 _mm512_set1_ps
#define FUSED_f32_512 _mm512_fmadd_ps
#define WIDE_f32_512 _mm512_loadu_ps
#define VEC_f64_512 __m512d
#define LANES_f64_512 8
#define LOAD_f64_512 _mm512_loadu_pd
#define STORE_f64_512 _mm512_storeu_pd
#define SPLAT_f64_512 _mm512_set1_pd
#define FUSED_f64_512 _mm512_fmadd_pd
#define WIDE_f64_512 _mm512_loadu_pd
#define VEC_bf16_512 __m512
#define LANES_bf16_512 16
#define LOAD_bf16_512 _mm512_loadu_ps
#define STORE_bf16_512 _mm512_storeu_ps
#define SPLAT_bf16_512 _mm512_set1_ps
#define FUSED_bf16_512 _mm512_fmadd_ps
#define WIDE_bf16_512(x) \
    _mm512_castsi512_ps( \
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(x))), 16))
#define TYPE f32
#include "skinny_stream.inc"
#define TYPE f64
#include "skinny_stream.inc"
#define TYPE bf16
#include "skinny_stream.inc"
#undef STREAM_TARGET
#undef STREAM_INLINE
#undef WIDTH
#endif

/* Any processor: one lane; without fused multiply-adds libm makes the same bits, slowly. */
#define STREAM_TARGET
#define STREAM_INLINE static inline
#define WIDTH 1
#define VEC_f32_1 float
#define VEC_f64_1 double
#define VEC_bf16_1 float
#define LANES_f32_1 1
#define LANES_f64_1 1
#define LANES_bf16_1 1
#define LOAD_f32_1 *
#define LOAD_f64_1 *
#define LOAD_bf16_1 *
#define STORE_f32_1(x, y) (*(x) = (y))
#define STORE_f64_1(x, y) (*(x) = (y))
#define STORE_bf16_1(x, y) (*(x) = (y))
#define SPLAT_f32_1(x) (x)
#define SPLAT_f64_1(x) (x)
#define SPLAT_bf16_1(x) (x)
#define FUSED_f32_1 fmaf
#define FUSED_f64_1 fma
#define FUSED_bf16_1 fmaf
#define WIDE_f32_1 *
#define WIDE_f64_1 *
#define WIDE_bf16_1(x) widened(*(x))
#define TYPE f32
#include "skinny_stream.inc"
#define TYPE f64
#include "skinny_stream.inc"
#define TYPE bf16
#include "skinny_stream.inc"

/* ---- For this processor ----------------------------------------------------------- */

enum { F32, F64, BF16, TYPES };
#define OF_WIDTH(width)                                                         \
    {rows_f32_##width, dots_f32_##width}, {rows_f64_##width, dots_f64_##width}, \
    {                                                                           \
        rows_bf16_##width, dots_bf16_##width                                    \
    }

static const clvi_skinny_streams any[TYPES] = {OF_WIDTH(1)};
static const clvi_skinny_streams *chosen = any;

#ifdef HAS_STREAMS
static const clvi_skinny_streams of_256[TYPES] = {OF_WIDTH(256)};
static const clvi_skinny_streams of_512[TYPES] = {OF_WIDTH(512)};

static void choose(void)
{
    __builtin_cpu_init();
    if (clvi_kernel_prefers_512(NULL))
        chosen = of_512;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        chosen = of_256;
}
#endif

const clvi_skinny_streams *clvi_skinny_streams_for(clv_dtype stored)
{
    assert(stored == CLV_F32 || stored == CLV_F64 || stored == CLV_BF16);
#ifdef HAS_STREAMS
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
#endif
    return &chosen[stored == CLV_F32 ? F32 : stored == CLV_F64 ? F64 : BF16];
}
