/* SPDX-License-Identifier: BSD-3-Clause
 *
 * random.c: random numbers that belong to an element, not to a process.
 *
 * Element i takes half of Philox counter i / 2, so that any block of a matrix, on any grid, can be
 * filled alone.
 */
#include "clvi_vector.h"

#include <Random123/philox.h>
#include <math.h>

void clvi_philox(uint64_t key, uint64_t stream, uint64_t index, uint32_t out[4])
{
    philox4x32_ctr_t counter = {
        {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    philox4x32_key_t k = {{(uint32_t)key, (uint32_t)(key >> 32)}};
    philox4x32_ctr_t r = philox4x32(counter, k);
    for (int w = 0; w < 4; w++) out[w] = r.v[w];
}

/* The middle of one of 2^53 equal parts of (0, 1). */
static double unit(const uint32_t word[2])
{
    uint64_t bits = (uint64_t)word[1] << 32 | word[0];
    return ((double)(bits >> 12) + 0.5) * 0x1p-52;
}

static double normal_at(uint64_t key, uint64_t stream, uint64_t i)
{
    uint32_t word[4];
    clvi_philox(key, stream, i / 2, word);
    double radius = sqrt(-2 * log(unit(word))), angle = 2 * M_PI * unit(word + 2);
    return radius * (i % 2 ? sin(angle) : cos(angle));
}

static double uniform_at(uint64_t key, uint64_t stream, uint64_t i)
{
    uint32_t word[4];
    clvi_philox(key, stream, i / 2, word);
    return unit(word + 2 * (i % 2));
}

void clvi_fill_normal(clv_dtype dtype, int64_t n, void *x, uint64_t key, uint64_t stream,
                      uint64_t first, double mean, double std)
{
    for (int64_t i = 0; i < n; i++)
        clvi_set(dtype, x, i, mean + std * normal_at(key, stream, first + (uint64_t)i));
}

void clvi_fill_uniform(clv_dtype dtype, int64_t n, void *x, uint64_t key, uint64_t stream,
                       uint64_t first, double low, double high)
{
    for (int64_t i = 0; i < n; i++)
        clvi_set(dtype, x, i, low + (high - low) * uniform_at(key, stream, first + (uint64_t)i));
}

uint64_t clvi_hash_string(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}
