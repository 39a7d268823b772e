/* SPDX-License-Identifier: BSD-3-Clause
 *
 * panel.c: panels of operands: rows along k are transposed in registers, rows across k are copied.
 *
 * What is read lies in short runs, each in a page of its own. The processor sees none of them
 * coming, so they are fetched here, and with them their place in the page tables.
 */
#include "clvi_panel.h"
#include "clvi_vector.h"

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

/* An address behind the end of a matrix does no harm. */
#define FETCH(address) __builtin_prefetch((const void *)(address), 0, 3)

enum {
    LINE = 64,      /* bytes of a line of the caches */
    ROWS_AHEAD = 4, /* of those that are copied (measured: 2, 4 and 8 are alike) */
    /* y[M, lanes] of a tile, at most N lanes. */
    M_f32 = 4,
    N_f32 = 8,
    M_f64 = 2,
    N_f64 = 4,
    M_bf16 = 8,
    N_bf16 = 8
};

/* ---- Tiles -------------------------------------------------------------------------------- */

/* Row i of a tile; for those beyond its lanes, which may not be read, the first once more. */
#define ROW(i) ((const char *)x + ((i) < lanes ? (i)*stride : 0))

/* out[q] := word q of each of up to eight rows of four words, the next row stride bytes away. */
CLVI_INLINE void transpose_words(int lanes, const void *x, int64_t stride, eight out[4])
{
    eight r0 = JOINED(ROW(0), ROW(4)), r1 = JOINED(ROW(1), ROW(5));
    eight r2 = JOINED(ROW(2), ROW(6)), r3 = JOINED(ROW(3), ROW(7));
    eight low0 = LOW_WORDS(r0, r1), high0 = HIGH_WORDS(r0, r1);
    eight low2 = LOW_WORDS(r2, r3), high2 = HIGH_WORDS(r2, r3);
    out[0] = (eight)LOW_DOUBLES(low0, low2);
    out[1] = (eight)HIGH_DOUBLES(low0, low2);
    out[2] = (eight)LOW_DOUBLES(high0, high2);
    out[3] = (eight)HIGH_DOUBLES(high0, high2);
}

CLVI_INLINE void tile_f32(int lanes, const float *x, int64_t ldx, float *y, int64_t ldy)
{
    eight out[4];
    transpose_words(lanes, x, ldx * 4, out);
    for (int q = 0; q < 4; q++) memcpy(y + q * ldy, &out[q], (size_t)lanes * sizeof *y);
}

CLVI_INLINE void tile_f64(int lanes, const double *x, int64_t ldx, double *y, int64_t ldy)
{
    int64_t stride = ldx * 8;
    eight even = JOINED(ROW(0), ROW(2)), odd = JOINED(ROW(1), ROW(3));
    four out[2] = {LOW_DOUBLES(even, odd), HIGH_DOUBLES(even, odd)};
    for (int q = 0; q < 2; q++) memcpy(y + q * ldy, &out[q], (size_t)lanes * sizeof *y);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the first bf16 of a word is its lower half");

/* A word holds two bf16; as f32 they are its upper half. */
CLVI_INLINE void tile_bf16(int lanes, const uint16_t *x, int64_t ldx, float *y, int64_t ldy)
{
    eight out[4];
    transpose_words(lanes, x, ldx * 2, out);
    for (int q = 0; q < 4; q++) {
        words first = (words)out[q] << 16, second = (words)out[q] & 0xffff0000u;
        memcpy(y + 2 * q * ldy, &first, (size_t)lanes * sizeof *y);
        memcpy(y + (2 * q + 1) * ldy, &second, (size_t)lanes * sizeof *y);
    }
}

CLVI_INLINE float widened(uint16_t x)
{
    uint32_t word = (uint32_t)x << 16;
    float y;
    memcpy(&y, &word, sizeof y);
    return y;
}

/* ---- The loops for each type -------------------------------------------------------------- */

#define VALUE(x) (x)
#define NAME(f) f##_f32
#define stored float
#define real float
#include "panel.inc"
#undef NAME
#undef stored
#undef real

#define NAME(f) f##_f64
#define stored double
#define real double
#include "panel.inc"
#undef NAME
#undef stored
#undef real
#undef VALUE

#define VALUE(x) widened(x)
#define NAME(f) f##_bf16
#define stored uint16_t
#define real float
#include "panel.inc"
#undef stored

/* ---- By type ------------------------------------------------------------------------------ */

void clvi_panel_transpose(clv_dtype stored, int64_t m, int64_t n, const void *x, int64_t ldx,
                          void *y, int64_t ldy)
{
    CLVI_DISPATCH_STORED(stored, transpose, m, n, x, ldx, y, ldy);
}

void clvi_panel_copy(clv_dtype stored, int64_t count, int64_t m, int64_t width, const void *x,
                     int64_t ldx, void *y, int64_t ldy, int64_t next)
{
    CLVI_DISPATCH_STORED(stored, copy, count, m, width, x, ldx, y, ldy, next);
}
