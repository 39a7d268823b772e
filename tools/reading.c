/* SPDX-License-Identifier: BSD-3-Clause
 *
 * reading.c: how fast memory can be read: a plain loop over vectors, and nothing else.
 */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>

typedef uint64_t vector __attribute__((vector_size(32)));

typedef struct {
    const reading *what;
    int thread;
    uint64_t sum;
} reader;

/* Sixteen loads are under way before any is needed. */
__attribute__((target_clones("avx2", "default"))) static uint64_t sum_vectors(const vector *x,
                                                                              size_t count)
{
    vector sums[8] = {{0}};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t lane = 0; lane < 8; lane++) sums[lane] += x[i + lane];
    for (; i < count; i++) sums[0] += x[i];
    for (size_t lane = 1; lane < 8; lane++) sums[0] += sums[lane];
    return sums[0][0] + sums[0][1] + sums[0][2] + sums[0][3];
}

/* One thread's share of each part. */
static void *read_share(void *context)
{
    reader *r = context;
    const reading *what = r->what;
    size_t count = what->bytes / sizeof(vector), threads = (size_t)what->threads;
    size_t begin = count * (size_t)r->thread / threads;
    size_t end = count * (size_t)(r->thread + 1) / threads;
    for (int i = 0; i < what->count; i++)
        r->sum += sum_vectors((const vector *)what->parts[i] + begin, end - begin);
    return NULL;
}

clv_status reading_run(void *context)
{
    enum { MOST_THREADS = 256 };
    reading *what = context;
    pthread_t threads[MOST_THREADS];
    reader readers[MOST_THREADS];
    int count = what->threads < MOST_THREADS ? what->threads : MOST_THREADS, started = 1;
    what->threads = count;
    for (int t = 0; t < count; t++) readers[t] = (reader){.what = what, .thread = t};
    while (started < count &&
           !pthread_create(&threads[started], NULL, read_share, &readers[started]))
        started++;
    read_share(&readers[0]);
    for (int t = 1; t < started; t++) pthread_join(threads[t], NULL);
    for (int t = 0; t < started; t++) what->sum += readers[t].sum;
    return started == count ? CLV_OK : tool_fail(CLV_ENOMEM, "no thread to read memory with");
}
