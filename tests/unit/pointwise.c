/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pointwise.c: vector updates, sums and activations against formulas of libm; derivatives against
 * differences; every operation at every length, in place and aside.
 * RANKS: 1
 */
#include "vectors.h"

static void axpby(void)
{
    static const clv_dtype types[] = {CLV_F32, CLV_F64, CLV_BF16};
    static const double scalars[][2] = {{1, 0}, {2.5, 0}, {1, 1}, {-1, 0.5}, {0, 1}, {0, 0}};
    uint64_t state = 1;
    vector x, y, z;
    for (int t = 0; t < 3; t++)
        for (int s = 0; s < 6; s++)
            for (int l = 0; l < LENGTHS; l++) {
                double a = scalars[s][0], b = scalars[s][1];
                randomize(types[t], &x, 3, &state);
                randomize(types[t], &y, 3, &state);
                if (b == 0) clvi_fill(types[t], LONGEST, NAN, &y);
                z = y;
                clvi_axpby(types[t], lengths[l], a, &x, b, &z);
                for (int64_t i = 0; i < LONGEST; i++) {
                    double u = clvi_get(types[t], &x, i), v = clvi_get(types[t], &y, i);
                    double w = i >= lengths[l] ? v : b == 0 ? a * u : a * u + b * v;
                    double found = clvi_get(types[t], &z, i);
                    CHECK(isnan(w) ? isnan(found)
                                   : fabs(found - w) <= (types[t] == CLV_BF16 ? 0.04 : 1e-6));
                }
            }
}

static void axpby_integers(void)
{
    int32_t x[5] = {1, -2, INT32_MAX, INT32_MIN, 16777217}, y[5] = {0};
    clvi_axpby(CLV_I32, 5, 1, x, 0, y);
    CHECK(memcmp(x, y, sizeof x) == 0);
}

static void axpby_rows(void)
{
    enum { M = 5, N = 4 };
    for (int64_t ldx = N; ldx <= N + 2; ldx++)
        for (int64_t ldy = N; ldy <= N + 2; ldy++) {
            float x[M * (N + 2)], y[M * (N + 2)];
            for (int i = 0; i < M * (N + 2); i++) x[i] = (float)i, y[i] = (float)(1000 * i);
            clvi_axpby_rows(CLV_F32, M, N, 2, x, ldx, 3, y, ldy);
            for (int64_t i = 0; i < M * ldy; i++) {
                int64_t row = i / ldy, column = i % ldy;
                double mine = column < N ? 2.0 * (double)(row * ldx + column) + 3000.0 * (double)i
                                         : 1000.0 * (double)i;
                CHECK(y[i] == mine);
            }
        }
    clvi_axpby_rows(CLV_F32, 0, 3, 1, NULL, 3, 0, NULL, 3);
    clvi_axpby_rows(CLV_F32, 3, 0, 1, NULL, 0, 0, NULL, 0);
}

static void fill(void)
{
    for (int dtype = 0; dtype < CLV_DTYPE_COUNT; dtype++)
        for (int l = 0; l < LENGTHS; l++) {
            vector x;
            memset(&x, 0x11, sizeof x);
            clvi_fill((clv_dtype)dtype, lengths[l], -3, &x);
            for (int64_t i = 0; i < lengths[l]; i++) CHECK(clvi_get((clv_dtype)dtype, &x, i) == -3);
            if (lengths[l] < LONGEST) CHECK(*(char *)at((clv_dtype)dtype, &x, lengths[l]) == 0x11);
        }
}

static void sums(void)
{
    uint64_t state = 2;
    vector x, y;
    for (int r = 0; r < REALS; r++)
        for (int l = 0; l < LENGTHS; l++) {
            double dot = 0, squares = 0;
            randomize(reals[r], &x, 3, &state);
            randomize(reals[r], &y, 3, &state);
            for (int64_t i = 0; i < lengths[l]; i++) {
                double u = clvi_get(reals[r], &x, i), v = clvi_get(reals[r], &y, i);
                dot += u * v;
                squares += u * u;
            }
            CHECK_NEAR(clvi_dot(reals[r], lengths[l], &x, &y), dot, 1e-12);
            CHECK_NEAR(clvi_sum_squares(reals[r], lengths[l], &x), squares, 1e-12);
        }
}

/* ---- Activations ------------------------------------------------------- */

static double value(clvi_activation f, double x)
{
    double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    switch (f) {
    case CLVI_RELU:
        return x > 0 ? x : 0;
    case CLVI_GELU:
        return x * 0.5 * (1 + tanh(u));
    default:
        return x / (1 + exp(-x));
    }
}

static double derivative(clvi_activation f, double x)
{
    double u = sqrt(2 / M_PI) * (x + 0.044715 * x * x * x), t = tanh(u);
    double s = 1 / (1 + exp(-x));
    switch (f) {
    case CLVI_RELU:
        return x > 0;
    case CLVI_GELU:
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / M_PI) * (1 + 0.134145 * x * x);
    default:
        return s + x * s * (1 - s);
    }
}

static const clvi_activation activations[] = {CLVI_RELU, CLVI_GELU, CLVI_SILU};

static void activation_values(void)
{
    uint64_t state = 3;
    vector x, dy, y, dx, again;
    for (int f = 0; f < 3; f++)
        for (int r = 0; r < REALS; r++)
            for (int l = 0; l < LENGTHS; l++) {
                int64_t n = lengths[l];
                randomize(reals[r], &x, 12, &state);
                randomize(reals[r], &dy, 2, &state);
                clvi_activation_forward(reals[r], activations[f], n, &x, &y);
                clvi_activation_backward(reals[r], activations[f], n, &x, &dy, &dx);
                for (int64_t i = 0; i < n; i++) {
                    double u = clvi_get(reals[r], &x, i), d = clvi_get(reals[r], &dy, i);
                    CHECK_NEAR(clvi_get(reals[r], &y, i), value(activations[f], u),
                               tolerance(reals[r]));
                    CHECK_NEAR(clvi_get(reals[r], &dx, i), d * derivative(activations[f], u),
                               4 * tolerance(reals[r]));
                }
                again = x;
                clvi_activation_forward(reals[r], activations[f], n, &again, &again);
                CHECK(same(reals[r], n, &again, &y));
                again = dy;
                clvi_activation_backward(reals[r], activations[f], n, &x, &again, &again);
                CHECK(same(reals[r], n, &again, &dx));
            }
}

/* The derivative is that of the forward function: central differences in f64. */
static void activation_differences(void)
{
    const double h = 1e-5;
    for (int f = 0; f < 3; f++)
        for (double x = -8.05; x < 8; x += 0.1) {
            double points[2] = {x - h, x + h}, y[2], one = 1, dx;
            clvi_activation_forward(CLV_F64, activations[f], 2, points, y);
            clvi_activation_backward(CLV_F64, activations[f], 1, &x, &one, &dx);
            CHECK_NEAR(dx, (y[1] - y[0]) / (2 * h), 1e-9);
        }
}

/* The last element a type has still gives its limit, and NaN is not lost. */
static void activation_extremes(void)
{
    for (int f = 0; f < 3; f++)
        for (int r = 0; r < REALS; r++) {
            double huge = reals[r] == CLV_F32 ? 3e38 : 1e308;
            double points[] = {huge, -huge, 1e15, -1e15, 100, -100, NAN}, ones[7];
            vector x, y, dx;
            clvi_convert(7, CLV_F64, points, reals[r], &x);
            clvi_fill(reals[r], 7, 1, ones);
            clvi_activation_forward(reals[r], activations[f], 7, &x, &y);
            clvi_activation_backward(reals[r], activations[f], 7, &x, ones, &dx);
            for (int i = 0; i < 6; i++) {
                double u = clvi_get(reals[r], &x, i);
                CHECK_NEAR(clvi_get(reals[r], &y, i), u > 0 ? u : 0, 1e-30);
                CHECK_NEAR(clvi_get(reals[r], &dx, i), u > 0, 1e-30);
            }
            CHECK(isnan(clvi_get(reals[r], &y, 6)) || activations[f] == CLVI_RELU);
        }
}

static void swiglu(void)
{
    uint64_t state = 4;
    vector gate, up, dy, y, dgate, dup;
    for (int r = 0; r < REALS; r++)
        for (int l = 0; l < LENGTHS; l++) {
            randomize(reals[r], &gate, 10, &state);
            randomize(reals[r], &up, 3, &state);
            randomize(reals[r], &dy, 2, &state);
            clvi_swiglu_forward(reals[r], lengths[l], &gate, &up, &y);
            clvi_swiglu_backward(reals[r], lengths[l], &gate, &up, &dy, &dgate, &dup);
            for (int64_t i = 0; i < lengths[l]; i++) {
                double g = clvi_get(reals[r], &gate, i), u = clvi_get(reals[r], &up, i);
                double d = clvi_get(reals[r], &dy, i), close = 8 * tolerance(reals[r]);
                CHECK_NEAR(clvi_get(reals[r], &y, i), value(CLVI_SILU, g) * u, close);
                CHECK_NEAR(clvi_get(reals[r], &dup, i), value(CLVI_SILU, g) * d, close);
                CHECK_NEAR(clvi_get(reals[r], &dgate, i), derivative(CLVI_SILU, g) * u * d, close);
            }
        }
}

/* An element's bits do not depend on where in a vector it lies. */
static void position(void)
{
    uint64_t state = 5;
    vector x, y;
    for (int f = 0; f < 3; f++)
        for (int r = 0; r < REALS; r++) {
            randomize(reals[r], &x, 6, &state);
            clvi_activation_forward(reals[r], activations[f], LONGEST, &x, &y);
            for (int64_t i = 0; i < LONGEST; i++) {
                double alone;
                clvi_activation_forward(reals[r], activations[f], 1, at(reals[r], &x, i), &alone);
                CHECK(same(reals[r], 1, &alone, at(reals[r], &y, i)));
            }
        }
}

const check_case check_cases[] = {{"axpby", axpby},
                                  {"axpby integers", axpby_integers},
                                  {"axpby rows", axpby_rows},
                                  {"fill", fill},
                                  {"sums", sums},
                                  {"activation values", activation_values},
                                  {"activation differences", activation_differences},
                                  {"activation extremes", activation_extremes},
                                  {"swiglu", swiglu},
                                  {"position", position},
                                  {0}};
