/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax.c: exp to a few units in the last place of libm's, and softmax built of it.
 * RANKS: 1
 */
#include "vectors.h"

static void exp_of(clv_dtype dtype, int64_t n, const void *x, void *y)
{
    clvi_exp_scaled(dtype, n, x, 0, 1, y);
}

/* Distance from expected in units of the last place of dtype there. */
static double ulps(clv_dtype dtype, double found, long double expected)
{
    int fraction = dtype == CLV_F32 ? 23 : 52, lowest = dtype == CLV_F32 ? -149 : -1074;
    int exponent;
    frexpl(expected, &exponent);
    int last = exponent - 1 - fraction;
    return (double)fabsl(((long double)found - expected) *
                         ldexpl(1, -(last > lowest ? last : lowest)));
}

/* Over all results, subnormal ones too. */
static void exp_accuracy(void)
{
    static const double ranges[] = {1, 20, 104, 746};
    uint64_t state = 1;
    vector x, y;
    for (int r = 0; r < REALS; r++) {
        double worst = 0;
        for (int t = 0; t < 400; t++) {
            randomize(reals[r], &x, ranges[t % (reals[r] == CLV_F32 ? 3 : 4)], &state);
            exp_of(reals[r], LONGEST, &x, &y);
            for (int64_t i = 0; i < LONGEST; i++) {
                long double e = expl((long double)clvi_get(reals[r], &x, i));
                double found = clvi_get(reals[r], &y, i);
                if (e >
                    (reals[r] == CLV_F32 ? (long double)3.4028235e38f : 1.7976931348623157e308L))
                    CHECK(found > 1e38);
                else
                    worst = fmax(worst, ulps(reals[r], found, e));
            }
        }
        CHECK_NEAR(worst, 0, 2);
    }
}

static void exp_extremes(void)
{
    static const double points[] = {0,    -0.0,  -INFINITY, -1e30,  -1000, INFINITY,
                                    1e30, 710.5, NAN,       5e-324, 1e-30};
    static const double values[] = {1, 1, 0, 0, 0, INFINITY, INFINITY, INFINITY, NAN, 1, 1};
    for (int r = 0; r < REALS; r++) {
        vector x, y;
        clvi_convert(11, CLV_F64, points, reals[r], &x);
        exp_of(reals[r], 11, &x, &y);
        for (int i = 0; i < 11; i++) {
            double found = clvi_get(reals[r], &y, i);
            CHECK(isnan(values[i]) ? isnan(found) : found == values[i]);
        }
    }
}

/* Largest argument with a finite result, smallest with a result other than zero. */
static void exp_edges(void)
{
    const float f[] = {0x1.62e42ep6f, 0x1.62e430p6f, -0x1.9d1d9ep6f, -0x1.9fe36ap6f};
    const double d[] = {0x1.62e42fefa39efp9, 0x1.62e42fefa39f0p9, -0x1.74385446d71c3p9,
                        -0x1.74910d52d3052p9};
    float g[4];
    double e[4];
    exp_of(CLV_F32, 4, f, g);
    exp_of(CLV_F64, 4, d, e);
    CHECK(isfinite(g[0]) && isinf(g[1]) && g[2] == 0x1p-149f && g[3] == 0);
    CHECK(isfinite(e[0]) && isinf(e[1]) && e[2] == 0x1p-1074 && e[3] == 0);
}

static void position(void)
{
    uint64_t state = 2;
    vector x, y;
    for (int r = 0; r < REALS; r++) {
        randomize(reals[r], &x, 90, &state);
        exp_of(reals[r], LONGEST, &x, &y);
        for (int64_t i = 0; i < LONGEST; i++) {
            double alone;
            exp_of(reals[r], 1, at(reals[r], &x, i), &alone);
            CHECK(same(reals[r], 1, &alone, at(reals[r], &y, i)));
        }
    }
}

static void maximum(void)
{
    uint64_t state = 3;
    vector x;
    for (int r = 0; r < REALS; r++) {
        CHECK(clvi_max(reals[r], 0, &x) == -INFINITY);
        for (int l = 1; l < LENGTHS; l++) {
            double largest = -INFINITY;
            randomize(reals[r], &x, 5, &state);
            for (int64_t i = 0; i < lengths[l]; i++)
                largest = fmax(largest, clvi_get(reals[r], &x, i));
            CHECK(clvi_max(reals[r], lengths[l], &x) == largest);
            for (int64_t i = 0; i < lengths[l]; i++) { /* wherever it is */
                vector y = x;
                clvi_set(reals[r], &y, i, 7);
                CHECK(clvi_max(reals[r], lengths[l], &y) == 7);
            }
        }
        clvi_fill(reals[r], LONGEST, -INFINITY, &x);
        CHECK(clvi_max(reals[r], LONGEST, &x) == -INFINITY);
        clvi_set(reals[r], &x, 3, NAN);
        clvi_set(reals[r], &x, 20, 2);
        CHECK(clvi_max(reals[r], LONGEST, &x) == 2);
    }
}

static void forward(void)
{
    uint64_t state = 4;
    vector x, y;
    for (int r = 0; r < REALS; r++)
        for (int l = 1; l < LENGTHS; l++) {
            int64_t n = lengths[l];
            double sum = 0, total = 0, offset = l % 2 ? 3000 : -3000;
            randomize(reals[r], &x, 10, &state);
            for (int64_t i = 0; i < n; i++)
                clvi_set(reals[r], &x, i, clvi_get(reals[r], &x, i) + offset);
            if (n > 2) clvi_set(reals[r], &x, 1, -INFINITY);
            for (int64_t i = 0; i < n; i++) sum += exp(clvi_get(reals[r], &x, i) - offset);
            CHECK_NEAR(clvi_sum_exp(reals[r], n, &x, offset) / sum, 1, tolerance(reals[r]));
            clvi_softmax(reals[r], n, &x, &y);
            for (int64_t i = 0; i < n; i++) {
                double p = clvi_get(reals[r], &y, i);
                total += p;
                CHECK_NEAR(p, exp(clvi_get(reals[r], &x, i) - offset) / sum, tolerance(reals[r]));
            }
            CHECK_NEAR(total, 1, 10 * tolerance(reals[r]));
            if (n > 2) CHECK(clvi_get(reals[r], &y, 1) == 0);
            clvi_softmax(reals[r], n, &x, &x);
            CHECK(same(reals[r], n, &x, &y));
        }
}

static void not_a_number(void)
{
    for (int r = 0; r < REALS; r++) {
        vector x, y;
        clvi_fill(reals[r], 40, 1, &x);
        clvi_set(reals[r], &x, 17, NAN);
        clvi_softmax(reals[r], 40, &x, &y);
        for (int64_t i = 0; i < 40; i++) CHECK(isnan(clvi_get(reals[r], &y, i)));
    }
}

/* Against dx_i = sum_j dp_j (dp_j / dx_i) written out, p_i (delta_ij - p_j). */
static void backward(void)
{
    uint64_t state = 5;
    vector x, p, dp, dx;
    for (int r = 0; r < REALS; r++)
        for (int l = 1; l < LENGTHS - 1; l++) {
            int64_t n = lengths[l];
            randomize(reals[r], &x, 2, &state);
            randomize(reals[r], &dp, 2, &state);
            clvi_softmax(reals[r], n, &x, &p);
            clvi_softmax_backward(reals[r], n, &p, &dp, &dx);
            for (int64_t i = 0; i < n; i++) {
                double sum = 0, pi = clvi_get(reals[r], &p, i);
                for (int64_t j = 0; j < n; j++)
                    sum += clvi_get(reals[r], &dp, j) * pi * ((i == j) - clvi_get(reals[r], &p, j));
                CHECK_NEAR(clvi_get(reals[r], &dx, i), sum, tolerance(reals[r]));
            }
        }
}

const check_case check_cases[] = {
    {"exp accuracy", exp_accuracy}, {"exp extremes", exp_extremes}, {"exp edges", exp_edges},
    {"position", position},         {"maximum", maximum},           {"forward", forward},
    {"not a number", not_a_number}, {"backward", backward},         {0}};
