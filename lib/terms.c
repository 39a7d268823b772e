/* SPDX-License-Identifier: BSD-3-Clause
 *
 * terms.c: the sum of many vectors in a fixed tree, in one pass over memory.
 *
 * n terms are added as the prime factors of n say, smallest factor on top: first n / f terms, then
 * the next n / f, ..., each as a tree of its own, and these f sums from the first to the last. So
 * powers of two are a binary tree whose halves can be added anywhere. Chunks small enough for the
 * first-level cache pass through the whole tree one after the other, so that every term is read
 * once and only the result is written, to as many places as want it.
 */
#include "clvi_vector.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    CHUNK = 512, /* elements                                             */
    LEVELS = 24, /* more than the prime factors of a number of processes */
    LINE = 64,
    PIECE = 8 << 10, /* bytes that are copied to several places at once     */
    SHORT = 1 << 10  /* bytes of a row that is not worth streaming        */
};

/* Processors fetch ahead within a page; this reaches the next, whose address takes a while to
 * translate: 10 to 20 % where memory is the limit. */
#define AHEAD(x) __builtin_prefetch((const char *)(x) + 4096)

int clvi_smallest_factor(int n)
{
    for (int f = 2; f * f <= n; f++)
        if (n % f == 0) return f;
    return n;
}

/* Bytes [at, at + bytes) of the first place to the others. */
static void repeat(size_t bytes, size_t at, int places, void *const z[])
{
    for (int p = 1; p < places; p++) memcpy((char *)z[p] + at, (const char *)z[0] + at, bytes);
}

#define VECTOR __m128
#define SUM(i) _mm_add_ps(_mm_loadu_ps(x + (i)), _mm_loadu_ps(y + (i)))
#define STORE _mm_stream_ps
#define real float
#define NAME(f) f##_f32
#include "terms.inc"
#undef VECTOR
#undef SUM
#undef STORE
#undef real
#undef NAME
#define VECTOR __m128d
#define SUM(i) _mm_add_pd(_mm_loadu_pd(x + (i)), _mm_loadu_pd(y + (i)))
#define STORE _mm_stream_pd
#define real double
#define NAME(f) f##_f64
#include "terms.inc"

/* memcpy past the caches. */
static void copy_streamed(size_t bytes, const char *x, char *z)
{
    size_t i = 0;
#ifdef __SSE2__
    i = -(uintptr_t)z & (LINE - 1);
    memcpy(z, x, i);
    for (; i + LINE <= bytes; i += LINE) {
        AHEAD(x + i);
        for (int l = 0; l < LINE; l += 16)
            _mm_stream_si128((__m128i *)(z + i + l), _mm_loadu_si128((const __m128i *)(x + i + l)));
    }
#endif
    memcpy(z + i, x + i, bytes - i);
}

/* Every z := alpha x + beta z[0], a piece after the other, so that x is read once. streamed: alpha
 * 1, beta 0, all z equally far into a line. */
static void copy(clv_dtype dtype, int64_t n, double alpha, const char *x, double beta, int places,
                 void *const z[], bool streamed)
{
    size_t size = clv_dtype_size(dtype), bytes = (size_t)n * size;
    size_t count = PIECE - (uintptr_t)z[0] % LINE / size * size;
    if (places == 1) count = bytes;
    for (size_t i = 0; i < bytes; i += count, count = PIECE) {
        if (count > bytes - i) count = bytes - i;
        if (streamed) {
            for (int p = 0; p < places; p++) copy_streamed(count, x + i, (char *)z[p] + i);
        } else {
            clvi_axpby(dtype, (int64_t)(count / size), alpha, x + i, beta, (char *)z[0] + i);
            repeat(count, i, places, z);
        }
    }
}

/* bf16 is added in f32 and rounded once. */
static void sum_bf16(int terms, const void *const t[], int64_t n, double alpha, double beta,
                     int places, void *const z[])
{
    float total[CHUNK], room[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t count = n - at < CHUNK ? n - at : CHUNK;
        uint16_t *first = (uint16_t *)z[0] + at;
        clvi_convert(count, CLV_BF16, (const uint16_t *)t[0] + at, CLV_F32, total);
        for (int i = 1; i < terms; i++) {
            clvi_convert(count, CLV_BF16, (const uint16_t *)t[i] + at, CLV_F32, room);
            add_f32(count, total, room, total);
        }
        if (beta != 0) clvi_convert(count, CLV_BF16, first, CLV_F32, room);
        clvi_axpby(CLV_F32, count, alpha, total, beta, room);
        clvi_convert(count, CLV_F32, room, CLV_BF16, first);
        repeat((size_t)count * sizeof *first, (size_t)at * sizeof *first, places, z);
    }
}

/* One row. */
static void sum(clv_dtype dtype, int terms, const void *const t[], int64_t n, double alpha,
                double beta, int places, void *const z[], bool streamed)
{
    if (terms == 1) {
        copy(dtype, n, alpha, t[0], beta, places, z, streamed);
    } else if (dtype == CLV_BF16) {
        sum_bf16(terms, t, n, alpha, beta, places, z);
    } else {
        CLVI_DISPATCH(dtype, sum, terms, t, n, alpha, beta, places, z, streamed);
    }
}

/* Whether whole lines of all places can be written at once. */
static bool alike(int places, void *const z[])
{
    for (int p = 1; p < places; p++)
        if (((uintptr_t)z[p] ^ (uintptr_t)z[0]) % LINE) return false;
    return true;
}

void clvi_sum_rows(clv_dtype dtype, int64_t m, int64_t n, int terms, const void *const t[],
                   const int64_t ld[], double alpha, double beta, int places, void *const z[],
                   const int64_t ldz[], bool streamed)
{
    size_t size = clv_dtype_size(dtype);
    bool contiguous = true;
    if (m <= 0 || n <= 0) return;
    for (int i = 0; i < terms; i++) contiguous = contiguous && ld[i] == n;
    for (int p = 0; p < places; p++) contiguous = contiguous && ldz[p] == n;
    if (contiguous) {
        n *= m;
        m = 1;
    }
    streamed = streamed && alpha == 1 && beta == 0 && (size_t)n * size >= SHORT;
    const void *row[terms];
    void *to[places];
    for (int64_t i = 0; i < m; i++) {
        for (int j = 0; j < terms; j++) row[j] = (const char *)t[j] + (size_t)(i * ld[j]) * size;
        for (int p = 0; p < places; p++) to[p] = (char *)z[p] + (size_t)(i * ldz[p]) * size;
        sum(dtype, terms, row, n, alpha, beta, places, to, streamed && alike(places, to));
    }
#ifdef __SSE2__
    if (streamed) _mm_sfence();
#endif
}
