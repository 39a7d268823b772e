/* SPDX-License-Identifier: BSD-3-Clause
 *
 * terms.c: the sum of many vectors in a fixed tree, in one pass over memory.
 *
 * n terms are added as the prime factors of n say, smallest factor on top: first n / f terms, then
 * the next n / f, ..., each as a tree of its own, and these f sums from the first to the last. So
 * powers of two are a binary tree whose halves can be added anywhere. Chunks small enough for the
 * first-level cache pass through the whole tree one after the other, so that every term is read
 * once and only the result is written.
 */
#include "clvi_vector.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    CHUNK = 512, /* elements                                             */
    LEVELS = 24, /* more than the prime factors of a number of processes */
    LINE = 64,
    SHORT = 1 << 10, /* bytes of a row that is not worth streaming                           */
    STREAM = 2 << 20 /* bytes of a result that would only sweep the caches, and push out what
                      * is read (measured where two processes have 32 MiB of third level)   */
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

#define LOAD _mm_loadu_ps
#define ADD _mm_add_ps
#define STORE _mm_stream_ps
#define real float
#define NAME(f) f##_f32
#include "terms.inc"
#undef LOAD
#undef ADD
#undef STORE
#undef real
#undef NAME
#define LOAD _mm_loadu_pd
#define ADD _mm_add_pd
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
    _mm_sfence();
#endif
    memcpy(z + i, x + i, bytes - i);
}

/* bf16 is added in f32 and rounded once. */
static void sum_bf16(int terms, const void *const t[], int64_t n, double alpha, double beta,
                     uint16_t *z)
{
    float total[CHUNK], room[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t count = n - at < CHUNK ? n - at : CHUNK;
        clvi_convert(count, CLV_BF16, (const uint16_t *)t[0] + at, CLV_F32, total);
        for (int i = 1; i < terms; i++) {
            clvi_convert(count, CLV_BF16, (const uint16_t *)t[i] + at, CLV_F32, room);
            add_f32(count, total, room, total);
        }
        if (beta != 0) clvi_convert(count, CLV_BF16, z + at, CLV_F32, room);
        clvi_axpby(CLV_F32, count, alpha, total, beta, room);
        clvi_convert(count, CLV_F32, room, CLV_BF16, z + at);
    }
}

/* One row; streamed: worth writing past the caches. */
static void sum(clv_dtype dtype, int terms, const void *const t[], int64_t n, double alpha,
                double beta, void *z, bool streamed)
{
    bool plain = terms == 2 && alpha == 1 && beta == 0;
    if (dtype == CLV_BF16)
        sum_bf16(terms, t, n, alpha, beta, z);
    else if (!plain)
        CLVI_DISPATCH(dtype, sum, terms, t, n, alpha, beta, z);
    else if (streamed)
        CLVI_DISPATCH(dtype, stream, n, t[0], t[1], z);
    else
        CLVI_DISPATCH(dtype, add, n, t[0], t[1], z);
}

void clvi_sum_rows(clv_dtype dtype, int64_t m, int64_t n, int terms, const void *const t[],
                   const int64_t ld[], double alpha, double beta, void *z, int64_t ldz)
{
    size_t size = clv_dtype_size(dtype), bytes = (size_t)(m * n) * size;
    bool contiguous = ldz == n;
    if (m <= 0 || n <= 0) return;
    for (int i = 0; i < terms; i++) contiguous = contiguous && ld[i] == n;
    if (contiguous) {
        n *= m;
        m = 1;
    }
    bool copy = terms == 1 && alpha == 1 && beta == 0;
    bool streamed = bytes >= STREAM && (size_t)n * size >= SHORT;
    if (terms == 1 && !(copy && streamed)) {
        clvi_axpby_rows(dtype, m, n, alpha, t[0], ld[0], beta, z, ldz);
        return;
    }
    const void *row[terms];
    for (int64_t i = 0; i < m; i++) {
        char *to = (char *)z + (size_t)(i * ldz) * size;
        for (int j = 0; j < terms; j++) row[j] = (const char *)t[j] + (size_t)(i * ld[j]) * size;
        if (copy)
            copy_streamed((size_t)n * size, row[0], to);
        else
            sum(dtype, terms, row, n, alpha, beta, to, streamed);
    }
}
