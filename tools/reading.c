/* SPDX-License-Identifier: BSD-3-Clause
 *
 * reading.c: how fast memory can be read: a plain loop over vectors, and nothing else.
 */
#include "bench.h"

#include <omp.h>

typedef uint64_t vector __attribute__((vector_size(32)));

enum {
    STREAMS = 4, /* one alone does not keep as many lines under way as a core can */
    STEP = 8     /* vectors of a stream before the next                           */
};

__attribute__((target_clones("avx2", "default"))) static uint64_t sum_vectors(const vector *x,
                                                                              size_t count)
{
    vector sums[STEP] = {{0}};
    size_t stream = count / STREAMS / STEP * STEP;
    for (size_t i = 0; i < stream; i += STEP)
        for (size_t s = 0; s < STREAMS; s++)
            for (size_t lane = 0; lane < STEP; lane++) sums[lane] += x[s * stream + i + lane];
    for (size_t i = STREAMS * stream; i < count; i++) sums[0] += x[i];
    for (size_t lane = 1; lane < STEP; lane++) sums[0] += sums[lane];
    return sums[0][0] + sums[0][1] + sums[0][2] + sums[0][3];
}

/* The threads are OpenMP's, which products use too: those wait spinning for a while after a
 * product, and would take the cores from any others. */
clv_status reading_run(void *context)
{
    reading *what = context;
    size_t count = what->bytes / sizeof(vector);
    uint64_t sum = 0;
#pragma omp parallel num_threads(what->threads) reduction(+ : sum)
    {
        size_t thread = (size_t)omp_get_thread_num(), threads = (size_t)omp_get_num_threads();
        size_t begin = count * thread / threads, end = count * (thread + 1) / threads;
        for (int i = 0; i < what->count; i++)
            sum += sum_vectors((const vector *)what->parts[i] + begin, end - begin);
    }
    what->sum += sum;
    return CLV_OK;
}
