/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny_kernel.c: the loops of skinny.c: a few rows times B as it comes from memory.
 *
 * B stored by rows is used where it lies, by columns it is transposed through a small buffer in the
 * first cache.
 */
#include "clvi_skinny.h"
#include "clvi_vector.h"

enum {
    PANEL = CLVI_SKINNY_PANEL,
    DEPTH = CLVI_SKINNY_DEPTH,
    SHALLOW = CLVI_SKINNY_SHALLOW,
    DEEP = 32,  /* rows of a panel                                */
    AHEAD = 384 /* bytes of a stream of rows that are on their way */
};

/* ---- Tiles transposed in registers --------------------------------------- */

typedef float quarter __attribute__((vector_size(16), aligned(2), may_alias)); /* bf16 too */
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef double four __attribute__((vector_size(32), aligned(8), may_alias));
typedef uint32_t words __attribute__((vector_size(32), aligned(4), may_alias));

#define SHUFFLE __builtin_shufflevector
#define JOINED(x, y) SHUFFLE(*(const quarter *)(x), *(const quarter *)(y), 0, 1, 2, 3, 4, 5, 6, 7)
#define LOW_WORDS(x, y) SHUFFLE(x, y, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH_WORDS(x, y) SHUFFLE(x, y, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_DOUBLES(x, y) SHUFFLE((four)(x), (four)(y), 0, 4, 2, 6)
#define HIGH_DOUBLES(x, y) SHUFFLE((four)(x), (four)(y), 1, 5, 3, 7)

enum {
    TILE_M_f32 = 4,
    TILE_N_f32 = 8,
    TILE_M_f64 = 2,
    TILE_N_f64 = 4,
    TILE_M_bf16 = 8,
    TILE_N_bf16 = 8
};

/* out[q] := word q of each of eight rows of four words, the next row stride bytes away. */
CLVI_INLINE void transpose_words(const char *x, int64_t stride, eight out[4])
{
    eight r0 = JOINED(x, x + 4 * stride), r1 = JOINED(x + stride, x + 5 * stride);
    eight r2 = JOINED(x + 2 * stride, x + 6 * stride), r3 = JOINED(x + 3 * stride, x + 7 * stride);
    eight low0 = LOW_WORDS(r0, r1), high0 = HIGH_WORDS(r0, r1);
    eight low2 = LOW_WORDS(r2, r3), high2 = HIGH_WORDS(r2, r3);
    out[0] = (eight)LOW_DOUBLES(low0, low2);
    out[1] = (eight)HIGH_DOUBLES(low0, low2);
    out[2] = (eight)LOW_DOUBLES(high0, high2);
    out[3] = (eight)HIGH_DOUBLES(high0, high2);
}

CLVI_INLINE void transpose_tile_f32(const float *x, int64_t ldx, float *y, int64_t ldy)
{
    eight out[4];
    transpose_words((const char *)x, ldx * 4, out);
    for (int q = 0; q < 4; q++) *(eight *)(y + q * ldy) = out[q];
}

CLVI_INLINE void transpose_tile_f64(const double *x, int64_t ldx, double *y, int64_t ldy)
{
    eight even = JOINED(x, x + 2 * ldx), odd = JOINED(x + ldx, x + 3 * ldx);
    *(four *)y = LOW_DOUBLES(even, odd);
    *(four *)(y + ldy) = HIGH_DOUBLES(even, odd);
}

/* A word holds two bf16, the first in its lower half; as f32 they are its upper half. */
CLVI_INLINE void transpose_tile_bf16(const uint16_t *x, int64_t ldx, float *y, int64_t ldy)
{
    eight out[4];
    transpose_words((const char *)x, ldx * 2, out);
    for (int q = 0; q < 4; q++) {
        *(words *)(y + 2 * q * ldy) = (words)out[q] << 16;
        *(words *)(y + (2 * q + 1) * ldy) = (words)out[q] & 0xffff0000u;
    }
}

/* ---- The loops for each type ----------------------------------------------- */

CLVI_INLINE float widened(uint16_t x)
{
    uint32_t word = (uint32_t)x << 16;
    float y;
    memcpy(&y, &word, sizeof y);
    return y;
}

#define WIDENED(x) (x)
#define REAL_TYPE CLV_F32
#define STORED_TYPE CLV_F32
#define real float
#define stored float
#define NAME(f) f##_f32
#include "skinny.inc"
#undef REAL_TYPE
#undef STORED_TYPE
#undef real
#undef stored
#undef NAME

#define REAL_TYPE CLV_F64
#define STORED_TYPE CLV_F64
#define real double
#define stored double
#define NAME(f) f##_f64
#include "skinny.inc"
#undef WIDENED
#undef REAL_TYPE
#undef STORED_TYPE
#undef real
#undef stored
#undef NAME

#define WIDENED widened
#define REAL_TYPE CLV_F32
#define STORED_TYPE CLV_BF16
#define real float
#define stored uint16_t
#define NAME(f) f##_bf16
#include "skinny.inc"
#undef stored

/* ---- By type ------------------------------------------------------------------ */

#define BY_TYPE(f, ...)                           \
    (stored == CLV_BF16 ? (f##_bf16(__VA_ARGS__)) \
                        : (stored == CLV_F32 ? f##_f32(__VA_ARGS__) : f##_f64(__VA_ARGS__)))

void clvi_skinny_update(clv_dtype dtype, clv_dtype stored, bool trans, bool ordered, int64_t m,
                        int64_t k, int64_t n, const void *a, int64_t lda, const void *B,
                        int64_t ldb, void *c, int64_t ldc)
{
    assert(stored == dtype || (stored == CLV_BF16 && dtype == CLV_F32));
    (void)dtype;
    if (trans)
        BY_TYPE(columns, m, k, n, a, lda, B, ldb, c, ldc);
    else
        BY_TYPE(rows, ordered, m, k, n, a, lda, B, ldb, c, ldc);
}

void clvi_skinny_transpose(clv_dtype dtype, clv_dtype stored, int64_t m, int64_t n, const void *x,
                           int64_t ldx, void *y, int64_t ldy)
{
    assert(stored == dtype || (stored == CLV_BF16 && dtype == CLV_F32));
    (void)dtype;
    BY_TYPE(transposed, m, n, x, ldx, y, ldy);
}
