/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny_tile.c: a few rows times a panel of B that lies in the first cache.
 *
 * The instructions are chosen by hand where a processor has fused multiply-adds of vectors, since
 * compilers do not keep whole tiles of sums in registers. Otherwise libm makes the same bits.
 */
#include "clvi_skinny.h"
#include <math.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include "clvi_kernel.h"
#include <immintrin.h>
#include <pthread.h>
#define HAS_TILES 1

#define TILE_TARGET __attribute__((target("avx2,fma")))
#define TILE_INLINE TILE_TARGET static inline __attribute__((always_inline))
#define real float
#define vec __m256
#define NAME(f) f##_f32_256
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SPLAT _mm256_set1_ps
#define FUSED _mm256_fmadd_ps
#define LANES 8
#define WIDEST 2
#define PAIR (WIDEST < 2 ? WIDEST : 2)
#include "skinny_tile.inc"
#undef real
#undef vec
#undef NAME
#undef LOAD
#undef STORE
#undef SPLAT
#undef FUSED
#undef LANES
#undef WIDEST

#define real double
#define vec __m256d
#define NAME(f) f##_f64_256
#define LOAD _mm256_loadu_pd
#define STORE _mm256_storeu_pd
#define SPLAT _mm256_set1_pd
#define FUSED _mm256_fmadd_pd
#define LANES 4
#define WIDEST 4
#include "skinny_tile.inc"
#undef real
#undef vec
#undef NAME
#undef LOAD
#undef STORE
#undef SPLAT
#undef FUSED
#undef LANES
#undef WIDEST

#undef TILE_TARGET
#undef TILE_INLINE
#define TILE_TARGET __attribute__((target("avx512f")))
#define TILE_INLINE TILE_TARGET static inline __attribute__((always_inline))
#define real float
#define vec __m512
#define NAME(f) f##_f32_512
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SPLAT _mm512_set1_ps
#define FUSED _mm512_fmadd_ps
#define LANES 16
#define WIDEST 1
#include "skinny_tile.inc"
#undef real
#undef vec
#undef NAME
#undef LOAD
#undef STORE
#undef SPLAT
#undef FUSED
#undef LANES
#undef WIDEST

#define real double
#define vec __m512d
#define NAME(f) f##_f64_512
#define LOAD _mm512_loadu_pd
#define STORE _mm512_storeu_pd
#define SPLAT _mm512_set1_pd
#define FUSED _mm512_fmadd_pd
#define LANES 8
#define WIDEST 2
#include "skinny_tile.inc"
#undef real
#undef vec
#undef NAME
#undef LOAD
#undef STORE
#undef SPLAT
#undef FUSED
#undef LANES
#undef WIDEST
#endif

/* ---- Any processor --------------------------------------------------------- */

static void panel_f32(int64_t m, int64_t k, const void *a, int64_t lda, const void *b, void *c,
                      int64_t ldc)
{
    const float *x = a, *y = b;
    float *z = c;
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++)
            for (int64_t j = 0; j < CLVI_SKINNY_PANEL; j++)
                z[i * ldc + j] = fmaf(x[i * lda + l], y[l * CLVI_SKINNY_PANEL + j], z[i * ldc + j]);
}

static void panel_f64(int64_t m, int64_t k, const void *a, int64_t lda, const void *b, void *c,
                      int64_t ldc)
{
    const double *x = a, *y = b;
    double *z = c;
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++)
            for (int64_t j = 0; j < CLVI_SKINNY_PANEL; j++)
                z[i * ldc + j] = fma(x[i * lda + l], y[l * CLVI_SKINNY_PANEL + j], z[i * ldc + j]);
}

static clvi_skinny_panel *panels[2] = {panel_f32, panel_f64};

#ifdef HAS_TILES
static void choose(void)
{
    __builtin_cpu_init();
    if (clvi_kernel_prefers_512(NULL)) {
        panels[0] = panel_f32_512;
        panels[1] = panel_f64_512;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        panels[0] = panel_f32_256;
        panels[1] = panel_f64_256;
    }
}
#endif

clvi_skinny_panel *clvi_skinny_panel_kernel(clv_dtype dtype)
{
    assert(dtype == CLV_F32 || dtype == CLV_F64);
#ifdef HAS_TILES
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
#endif
    return panels[dtype == CLV_F64];
}
