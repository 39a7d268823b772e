/* SPDX-License-Identifier: BSD-3-Clause
 *
 * vectors.h: random vectors of f32 and f64, and what the tests of kernels share.
 */
#ifndef CLEAVE_VECTORS_H
#define CLEAVE_VECTORS_H

#include "check.h"

#include <clvi_lib.h>
#include <math.h>
#include <string.h>

enum { LONGEST = 1000 }; /* elements of a vector */

/* Lengths around those of vectors and of the lanes of sums. */
static const int64_t lengths[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 127, LONGEST};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static const clv_dtype reals[] = {CLV_F32, CLV_F64};
enum { REALS = 2 };

typedef union {
    float f32[LONGEST];
    double f64[LONGEST];
} vector;

/* Relative error allowed to a few operations. */
static inline double tolerance(clv_dtype dtype)
{
    return dtype == CLV_F32 ? 2e-6 : 4e-15;
}

/* Uniform in [-range, range), rounded to the type. */
static inline void randomize(clv_dtype dtype, vector *x, double range, uint64_t *state)
{
    for (int i = 0; i < LONGEST; i++) {
        double u = (double)(check_random(state) >> 11) * 0x1p-53;
        clvi_set(dtype, x, i, range * (2 * u - 1));
    }
}

/* The address of element i. */
static inline void *at(clv_dtype dtype, void *x, int64_t i)
{
    return (char *)x + (size_t)i * clv_dtype_size(dtype);
}

/* Whether n elements have the same bits. */
static inline bool same(clv_dtype dtype, int64_t n, const void *x, const void *y)
{
    return memcmp(x, y, (size_t)n * clv_dtype_size(dtype)) == 0;
}

#endif
