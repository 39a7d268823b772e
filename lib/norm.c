/* SPDX-License-Identifier: BSD-3-Clause
 *
 * norm.c: one row of a layer norm or RMS norm, whole or a shard of it, forward and backward.
 */
#include "clvi_lanes.h"

#define CLVI_BODY "norm.inc"
#include "clvi_twice.h"

void clvi_moments(clv_dtype dtype, int64_t n, const void *x, double out[2])
{
    CLVI_DISPATCH(dtype, moments, n, x, out);
}

void clvi_normalize(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                    const void *gain, const void *bias, void *y)
{
    CLVI_DISPATCH(dtype, normalize, n, x, mean, rstd, gain, bias, y);
}

void clvi_normalize_sums(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                         const void *gain, const void *dy, double sums[2])
{
    CLVI_DISPATCH(dtype, normalize_sums, n, x, mean, rstd, gain, dy, sums);
}

void clvi_normalize_backward(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                             const void *gain, const void *dy, double c0, double c1, void *dx)
{
    CLVI_DISPATCH(dtype, normalize_backward, n, x, mean, rstd, gain, dy, c0, c1, dx);
}

void clvi_normalize_params(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                           const void *dy, void *dgain, void *dbias)
{
    if (dgain) CLVI_DISPATCH(dtype, normalize_gain, n, x, mean, rstd, dy, dgain);
    if (dbias) CLVI_DISPATCH(dtype, normalize_bias, n, dy, dbias);
}
