/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pointwise.c: vector updates, activations, and sums over one or two vectors.
 */
#include "clvi_exp.h"
#include "clvi_lanes.h"

#include <string.h>

#define CLVI_BODY "pointwise.inc"
#include "clvi_twice.h"

/* bf16 is stored, not computed with: each element passes through f32. */
static void axpby_bf16(int64_t n, double a, const uint16_t *x, double b, uint16_t *y)
{
    enum { CHUNK = 512 };
    float u[CHUNK], v[CHUNK];
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t count = n - i < CHUNK ? n - i : CHUNK;
        clvi_convert(count, CLV_BF16, x + i, CLV_F32, u);
        if (b != 0) clvi_convert(count, CLV_BF16, y + i, CLV_F32, v);
        axpby_f32(count, a, u, b, v);
        clvi_convert(count, CLV_F32, v, CLV_BF16, y + i);
    }
}

void clvi_axpby(clv_dtype dtype, int64_t n, double a, const void *x, double b, void *y)
{
    if (n <= 0) return;
    if (a == 1 && b == 0) {
        memmove(y, x, (size_t)n * clv_dtype_size(dtype));
        return;
    }
    if (dtype == CLV_BF16)
        axpby_bf16(n, a, x, b, y);
    else
        CLVI_DISPATCH(dtype, axpby, n, a, x, b, y);
}

void clvi_axpby_rows(clv_dtype dtype, int64_t m, int64_t n, double a, const void *x, int64_t ldx,
                     double b, void *y, int64_t ldy)
{
    size_t size = clv_dtype_size(dtype);
    const char *from = x;
    char *to = y;
    if (m <= 0 || n <= 0) return;
    if (ldx == n && ldy == n) {
        n *= m;
        m = 1;
    }
    for (int64_t i = 0; i < m; i++)
        clvi_axpby(dtype, n, a, from + (size_t)(i * ldx) * size, b, to + (size_t)(i * ldy) * size);
}

void clvi_fill(clv_dtype dtype, int64_t n, double value, void *y)
{
    size_t size = clv_dtype_size(dtype);
    if (n > 0) clvi_set(dtype, y, 0, value);
    for (int64_t done = 1, more; done < n; done += more) { /* doubles what is there */
        more = done < n - done ? done : n - done;
        memcpy((char *)y + (size_t)done * size, y, (size_t)more * size);
    }
}

double clvi_sum_squares(clv_dtype dtype, int64_t n, const void *x)
{
    return CLVI_DISPATCH(dtype, dot, n, x, x);
}

double clvi_dot(clv_dtype dtype, int64_t n, const void *x, const void *y)
{
    return CLVI_DISPATCH(dtype, dot, n, x, y);
}

void clvi_activation_forward(clv_dtype dtype, clvi_activation f, int64_t n, const void *x, void *y)
{
    switch (f) {
    case CLVI_RELU:
        CLVI_DISPATCH(dtype, relu, n, x, y);
        break;
    case CLVI_GELU:
        CLVI_DISPATCH(dtype, gelu, n, x, y);
        break;
    case CLVI_SILU:
        CLVI_DISPATCH(dtype, silu, n, x, y);
        break;
    }
}

void clvi_activation_backward(clv_dtype dtype, clvi_activation f, int64_t n, const void *x,
                              const void *dy, void *dx)
{
    switch (f) {
    case CLVI_RELU:
        CLVI_DISPATCH(dtype, relu_backward, n, x, dy, dx);
        break;
    case CLVI_GELU:
        CLVI_DISPATCH(dtype, gelu_backward, n, x, dy, dx);
        break;
    case CLVI_SILU:
        CLVI_DISPATCH(dtype, silu_backward, n, x, dy, dx);
        break;
    }
}

void clvi_swiglu_forward(clv_dtype dtype, int64_t n, const void *gate, const void *up, void *y)
{
    CLVI_DISPATCH(dtype, swiglu, n, gate, up, y);
}

void clvi_swiglu_backward(clv_dtype dtype, int64_t n, const void *gate, const void *up,
                          const void *dy, void *dgate, void *dup)
{
    CLVI_DISPATCH(dtype, swiglu_backward, n, gate, up, dy, dgate, dup);
}
