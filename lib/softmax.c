/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax.c: one row of a softmax, whole or a shard of it.
 */
#include "clvi_exp.h"
#include "clvi_lanes.h"

#define CLVI_BODY "softmax.inc"
#include "clvi_twice.h"

double clvi_max(clv_dtype dtype, int64_t n, const void *x)
{
    return CLVI_DISPATCH(dtype, max, n, x);
}

double clvi_sum_exp(clv_dtype dtype, int64_t n, const void *x, double shift)
{
    return CLVI_DISPATCH(dtype, sum_exp, n, x, shift);
}

void clvi_exp_scaled(clv_dtype dtype, int64_t n, const void *x, double shift, double scale, void *y)
{
    CLVI_DISPATCH(dtype, exp_scaled, n, x, shift, scale, y);
}

void clvi_softmax(clv_dtype dtype, int64_t n, const void *x, void *y)
{
    double sum = CLVI_DISPATCH(dtype, exp_sum, n, x, clvi_max(dtype, n, x), y);
    clvi_axpby(dtype, n, 1 / sum, y, 0, y);
}

void clvi_softmax_backward(clv_dtype dtype, int64_t n, const void *p, const void *dp, void *dx)
{
    CLVI_DISPATCH(dtype, softmax_backward, n, p, dp, clvi_dot(dtype, n, p, dp), dx);
}
