/* SPDX-License-Identifier: BSD-3-Clause
 *
 * terms.c: sums of many vectors: the bits of a plain tree of additions, at every length.
 */
#include "../check.h"

#include <clvi_lib.h>
#include <stdlib.h>
#include <string.h>

static double value(uint64_t *state)
{
    return (double)check_random_below(state, 1 << 24) / 1000 - 7000;
}

/* The tree of the definition, one element, rounding each sum to the type. */
static double tree(clv_dtype dtype, int terms, void *const t[], int64_t i)
{
    int factor = 2;
    if (terms == 1) return clvi_get(dtype, t[0], i);
    while (terms % factor) factor++;
    int step = terms / factor;
    volatile double sum = tree(dtype, step, t, i);
    for (int j = 1; j < factor; j++) {
        sum += tree(dtype, step, t + j * step, i);
        if (dtype == CLV_F32) sum = (float)sum;
    }
    return sum;
}

/* Elements in which two places differ. */
static int64_t apart(clv_dtype dtype, int64_t m, int64_t n, const void *y, int64_t ldy,
                     const void *z, int64_t ldz)
{
    int64_t differ = 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            differ += clvi_get(dtype, y, i * ldy + j) != clvi_get(dtype, z, i * ldz + j);
    return differ;
}

static int64_t wrong(clv_dtype dtype, int64_t m, int64_t n, int terms, double alpha, double beta,
                     bool streamed)
{
    size_t size = clv_dtype_size(dtype);
    uint64_t state = (uint64_t)(m * n + terms);
    void *t[16], *z = clvi_alloc((size_t)(m * (n + 3)) * size);
    int64_t ld[16], ldz = m > 1 ? n + 3 : n, differ = 0;
    void *more[] = {clvi_alloc((size_t)(m * (ldz + 1)) * size), clvi_alloc((size_t)(m * n) * size)};
    void *places[] = {z, more[0], more[1]};
    const int64_t widths[] = {ldz, ldz + 1, n};
    double *old = clvi_alloc((size_t)(m * ldz) * sizeof *old);
    for (int j = 0; j < terms; j++) {
        ld[j] = m > 1 ? n + j % 2 : n;
        t[j] = clvi_alloc((size_t)(m * ld[j]) * size);
        for (int64_t i = 0; i < m * ld[j]; i++) clvi_set(dtype, t[j], i, value(&state));
    }
    for (int64_t i = 0; i < m * ldz; i++) {
        clvi_set(dtype, z, i, value(&state));
        old[i] = clvi_get(dtype, z, i);
    }
    clvi_sum_rows(dtype, m, n, terms, (const void *const *)t, ld, alpha, beta, 3, places, widths,
                  streamed);
    differ += apart(dtype, m, n, z, ldz, more[0], ldz + 1) + apart(dtype, m, n, z, ldz, more[1], n);
    for (int64_t i = 0; i < m * ldz; i++) {
        int64_t row = i / ldz, col = i % ldz;
        double want = old[i];
        if (col < n) {
            void *at[16];
            for (int j = 0; j < terms; j++) at[j] = (char *)t[j] + (size_t)(row * ld[j]) * size;
            volatile double sum = alpha * tree(dtype, terms, at, col), there = beta * old[i];
            if (dtype == CLV_F32) {
                sum = (float)sum;
                there = (float)there;
            }
            want = beta == 0 ? sum : sum + there;
            if (dtype == CLV_F32) want = (float)want;
        }
        differ += clvi_get(dtype, z, i) != want;
    }
    for (int j = 0; j < terms; j++) clvi_free(t[j]);
    clvi_free(z);
    clvi_free(more[0]);
    clvi_free(more[1]);
    clvi_free(old);
    return differ;
}

static void bits_of_the_tree(void)
{
    static const int64_t shapes[][2] = {{1, 1},    {1, 7},  {1, 511}, {1, 513},
                                        {1, 1600}, {5, 33}, {3, 700}};
    for (int s = 0; s < 7; s++)
        for (int terms = 1; terms <= 16; terms++)
            for (int d = 0; d < 2; d++) {
                clv_dtype dtype = d ? CLV_F64 : CLV_F32;
                CHECK_INT(wrong(dtype, shapes[s][0], shapes[s][1], terms, 1, 0, terms % 2), 0);
                CHECK_INT(wrong(dtype, shapes[s][0], shapes[s][1], terms, 3, -2, terms % 2), 0);
                CHECK_INT(wrong(dtype, shapes[s][0], shapes[s][1], terms, 0.5, 1, terms % 2), 0);
            }
}

/* Past the caches: whole, in long rows, and from any address. */
static void large_sums(void)
{
    for (int terms = 1; terms <= 3; terms++) {
        CHECK_INT(wrong(CLV_F32, 1, 600001, terms, 1, 0, true), 0);
        CHECK_INT(wrong(CLV_F32, 1, 70001, terms, 3, -2, false), 0);
        CHECK_INT(wrong(CLV_F64, 501, 703, terms, 1, 0, true), 0);
        CHECK_INT(wrong(CLV_F32, 501, 1203, terms, 1, 0, true), 0);
    }
}

/* bf16: one rounding, of the sum in f32. */
static void half_precision(void)
{
    enum { COUNT = 700 };
    static uint16_t x[3][COUNT], z[COUNT];
    const void *t[] = {x[0], x[1], x[2]};
    uint64_t state = 1;
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < COUNT; i++) clvi_set(CLV_BF16, x[j], i, value(&state));
    clvi_sum_rows(CLV_BF16, 1, COUNT, 3, t, (int64_t[]){COUNT, COUNT, COUNT}, 1, 0, 1,
                  (void *[]){z}, (int64_t[]){COUNT}, true);
    for (int i = 0; i < COUNT; i++) {
        volatile float sum = clvi_f32_from_bf16(x[0][i]) + clvi_f32_from_bf16(x[1][i]);
        sum += clvi_f32_from_bf16(x[2][i]);
        CHECK_INT(z[i], clvi_bf16_from_f32(sum));
    }
}

const check_case check_cases[] = {
    {"bits of the tree", bits_of_the_tree},
    {"large sums", large_sums},
    {"half precision", half_precision},
    {0},
};
