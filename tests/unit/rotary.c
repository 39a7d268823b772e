/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rotary.c: rotations against complex numbers, in place among other columns, and back.
 * RANKS: 1
 */
#include "vectors.h"

#include <complex.h>

enum { T = 9, HEADS = 3, MARGIN = 2 };

static const double base = 30;

static double angle(int64_t t, int64_t i, int64_t d)
{
    return (double)t * exp(-log(base) * 2 * (double)i / (double)d);
}

/* z[T, HEADS d], rows ld apart, against what it was turned from. */
static void check_turned(clv_dtype dtype, int64_t d, int64_t ld, vector *x, vector *z)
{
    for (int64_t t = 0; t < T; t++)
        for (int64_t j = 0; j < HEADS * d; j++) {
            int64_t i = j % d % (d / 2), re = t * ld + j - j % d + i, im = re + d / 2;
            double complex u = clvi_get(dtype, x, re) + I * clvi_get(dtype, x, im);
            u *= cexp(I * angle(t, i, d));
            CHECK_NEAR(clvi_get(dtype, z, t * ld + j), j % d < d / 2 ? creal(u) : cimag(u),
                       3 * tolerance(dtype));
        }
}

static void check_back(clv_dtype dtype, int64_t n, vector *x, vector *z)
{
    for (int64_t i = 0; i < n; i++)
        CHECK_NEAR(clvi_get(dtype, z, i), clvi_get(dtype, x, i), 3 * tolerance(dtype));
}

static void turn(clv_dtype dtype, int64_t d, uint64_t *state)
{
    vector table, x, z;
    int64_t ld = HEADS * d + MARGIN;
    randomize(dtype, &x, 1, state);
    z = x;
    clvi_rotary_table(dtype, T, d, base, &table);
    clvi_rotate(dtype, false, T, HEADS, d, &table, &z, ld);
    check_turned(dtype, d, ld, &x, &z);
    for (int64_t t = 0; t < T; t++) /* what lies between stays */
        CHECK(same(dtype, MARGIN, at(dtype, &x, t * ld + HEADS * d),
                   at(dtype, &z, t * ld + HEADS * d)));
    clvi_rotate(dtype, true, T, HEADS, d, &table, &z, ld);
    check_back(dtype, T * ld, &x, &z);
}

static void turns(void)
{
    uint64_t state = 3;
    for (int r = 0; r < REALS; r++)
        for (int64_t d = 2; d <= 34; d += 2) turn(reals[r], d, &state);
}

/* Heads apart, or rows apart, have the bits of all together. */
static void parts(void)
{
    enum { D = 22 };
    uint64_t state = 4;
    for (int r = 0; r < REALS; r++) {
        clv_dtype dtype = reals[r];
        vector table, x, z;
        int64_t ld = HEADS * D;
        randomize(dtype, &x, 1, &state);
        z = x;
        clvi_rotary_table(dtype, T, D, base, &table);
        clvi_rotate(dtype, false, T, HEADS, D, &table, &x, ld);
        for (int64_t t = 0; t < T; t++)
            for (int64_t h = 0; h < HEADS; h++)
                clvi_rotate(dtype, false, 1, 1, D, at(dtype, &table, t * D),
                            at(dtype, &z, t * ld + h * D), D);
        CHECK(same(dtype, T * ld, &x, &z));
    }
}

const check_case check_cases[] = {{"turns", turns}, {"parts", parts}, {0}};
