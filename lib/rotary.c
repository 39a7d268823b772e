/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rotary.c: rotary position embeddings (Su et al. 2021). Features i and i + d/2 of a head of d are
 * a point of the plane, which turns by position * base^(-2i/d).
 */
#include "clvi_vector.h"

#define CLVI_BODY "rotary.inc"
#include "clvi_twice.h"

void clvi_rotary_table(clv_dtype dtype, int64_t T, int64_t d, double base, void *table)
{
    int64_t half = d / 2;
    for (int64_t i = 0; i < half; i++) {
        double frequency = pow(base, -2 * (double)i / (double)d);
        for (int64_t t = 0; t < T; t++) {
            clvi_set(dtype, table, t * d + i, cos((double)t * frequency));
            clvi_set(dtype, table, t * d + half + i, sin((double)t * frequency));
        }
    }
}

void clvi_rotate(clv_dtype dtype, bool back, int64_t T, int64_t heads, int64_t d, const void *table,
                 void *x, int64_t ld)
{
    CLVI_DISPATCH(dtype, rotate, T, heads, d, back ? -1 : 1, table, x, ld);
}
