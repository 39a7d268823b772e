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
    CHUNK = 512,           /* elements                                       */
    LEVELS = 24,           /* more than the prime factors of a number of processes */
    STREAM_FROM = 4 << 20, /* bytes of a sum that would only sweep the caches */
    LINE = 64
};

int clvi_smallest_factor(int n)
{
    for (int f = 2; f * f <= n; f++)
        if (n % f == 0) return f;
    return n;
}

#define LOAD _mm_loadu_ps
#define ADD _mm_add_ps
#define STREAM _mm_stream_ps
#define real float
#define NAME(f) f##_f32
#include "terms.inc"
#undef LOAD
#undef ADD
#undef STREAM
#undef real
#undef NAME
#define LOAD _mm_loadu_pd
#define ADD _mm_add_pd
#define STREAM _mm_stream_pd
#define real double
#define NAME(f) f##_f64
#include "terms.inc"

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

static void sum(clv_dtype dtype, int terms, const void *const t[], int64_t n, double alpha,
                double beta, void *z)
{
    bool plain = terms == 2 && alpha == 1 && beta == 0;
    if (dtype == CLV_BF16)
        sum_bf16(terms, t, n, alpha, beta, z);
    else if (!plain)
        CLVI_DISPATCH(dtype, sum, terms, t, n, alpha, beta, z);
    else if ((size_t)n * clv_dtype_size(dtype) < STREAM_FROM || (uintptr_t)z % LINE != 0)
        CLVI_DISPATCH(dtype, add, n, t[0], t[1], z);
    else
        CLVI_DISPATCH(dtype, add_streamed, n, t[0], t[1], z);
}

void clvi_sum_rows(clv_dtype dtype, int64_t m, int64_t n, int terms, const void *const t[],
                   const int64_t ld[], double alpha, double beta, void *z, int64_t ldz)
{
    bool contiguous = ldz == n;
    if (m <= 0 || n <= 0) return;
    if (terms == 1) {
        clvi_axpby_rows(dtype, m, n, alpha, t[0], ld[0], beta, z, ldz);
        return;
    }
    for (int i = 0; i < terms; i++) contiguous = contiguous && ld[i] == n;
    if (contiguous) {
        sum(dtype, terms, t, m * n, alpha, beta, z);
        return;
    }
    size_t size = clv_dtype_size(dtype);
    const void *row[terms];
    for (int64_t i = 0; i < m; i++) {
        for (int j = 0; j < terms; j++) row[j] = (const char *)t[j] + (size_t)(i * ld[j]) * size;
        sum(dtype, terms, row, n, alpha, beta, (char *)z + (size_t)(i * ldz) * size);
    }
}
