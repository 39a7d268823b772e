/* SPDX-License-Identifier: BSD-3-Clause
 *
 * norm.c: moments, normalisation and its derivatives, whole rows and rows in shards.
 * RANKS: 1
 */
#include "vectors.h"

static void moments(void)
{
    uint64_t state = 1;
    vector x;
    for (int r = 0; r < REALS; r++)
        for (int l = 0; l < LENGTHS; l++) {
            double out[2], mean = 0, squares = 0, offset = 1000;
            int64_t n = lengths[l];
            randomize(reals[r], &x, 1, &state);
            for (int64_t i = 0; i < n; i++) {
                clvi_set(reals[r], &x, i, clvi_get(reals[r], &x, i) + offset);
                mean += (clvi_get(reals[r], &x, i) - offset) / (double)n;
            }
            for (int64_t i = 0; i < n; i++)
                squares += pow(clvi_get(reals[r], &x, i) - offset - mean, 2);
            clvi_moments(reals[r], n, &x, out);
            CHECK_NEAR(out[0], n ? offset + mean : 0, 1e-15);
            CHECK_NEAR(out[1], squares, 1e-12);
        }
}

/* A constant row has no deviation, not a rounding error's. */
static void constant_row(void)
{
    vector x;
    double out[2];
    for (int r = 0; r < REALS; r++) {
        clvi_fill(reals[r], 64, 0.1, &x);
        clvi_moments(reals[r], 64, &x, out);
        CHECK(out[0] == clvi_get(reals[r], &x, 0) && out[1] == 0);
    }
}

/* ---- One layer norm of n elements, in double --------------------------- */

typedef struct {
    clv_dtype dtype;
    int64_t n;
    vector x, gain, bias, dy;
    double mean, rstd;
} row;

static void make_row(row *w, clv_dtype dtype, int64_t n, uint64_t *state)
{
    double out[2];
    w->dtype = dtype;
    w->n = n;
    randomize(dtype, &w->x, 2, state);
    randomize(dtype, &w->gain, 2, state);
    randomize(dtype, &w->bias, 2, state);
    randomize(dtype, &w->dy, 2, state);
    clvi_moments(dtype, n, &w->x, out);
    w->mean = out[0];
    w->rstd = 1 / sqrt(out[1] / (double)n + 1e-5);
}

static double get(const row *w, const vector *v, int64_t i)
{
    return clvi_get(w->dtype, v, i);
}

static double h(const row *w, int64_t i)
{
    return (get(w, &w->x, i) - w->mean) * w->rstd;
}

#define EACH_ROW                                  \
    uint64_t state = 2;                           \
    static row w;                                 \
    for (int t = 0; t < REALS * LENGTHS * 4; t++) \
        if (make_row(&w, reals[t % REALS], lengths[t / REALS % LENGTHS], &state), w.n > 0)

/* The four ways to have a gain and a bias or not. */
#define HAS_GAIN ((t / (REALS * LENGTHS) & 1) != 0)
#define HAS_BIAS ((t / (REALS * LENGTHS) & 2) != 0)
#define GAIN (HAS_GAIN ? &w.gain : NULL)
#define BIAS (HAS_BIAS ? &w.bias : NULL)

static void forward(void)
{
    EACH_ROW
    {
        const vector *gain = GAIN, *bias = BIAS;
        vector y;
        clvi_normalize(w.dtype, w.n, &w.x, w.mean, w.rstd, gain, bias, &y);
        for (int64_t i = 0; i < w.n; i++)
            CHECK_NEAR(get(&w, &y, i),
                       h(&w, i) * (gain ? get(&w, gain, i) : 1) + (bias ? get(&w, bias, i) : 0),
                       tolerance(w.dtype));
        vector again = w.x;
        clvi_normalize(w.dtype, w.n, &again, w.mean, w.rstd, gain, bias, &again);
        CHECK(same(w.dtype, w.n, &again, &y));
    }
}

static void sums(void)
{
    EACH_ROW
    {
        const vector *gain = GAIN;
        double found[2], sum[2] = {0};
        clvi_normalize_sums(w.dtype, w.n, &w.x, w.mean, w.rstd, gain, &w.dy, found);
        for (int64_t i = 0; i < w.n; i++) {
            double g = get(&w, &w.dy, i) * (gain ? get(&w, gain, i) : 1);
            sum[0] += g;
            sum[1] += g * h(&w, i);
        }
        CHECK_NEAR(found[0], sum[0], 1e-12);
        CHECK_NEAR(found[1], sum[1], 1e-12);
    }
}

static void backward(void)
{
    EACH_ROW
    {
        const vector *gain = GAIN;
        vector dx;
        double c0 = 0.3, c1 = -0.7;
        clvi_normalize_backward(w.dtype, w.n, &w.x, w.mean, w.rstd, gain, &w.dy, c0, c1, &dx);
        for (int64_t i = 0; i < w.n; i++) {
            double g = get(&w, &w.dy, i) * (gain ? get(&w, gain, i) : 1);
            double expected = w.rstd * (g - c0 - h(&w, i) * c1);
            CHECK_NEAR(get(&w, &dx, i) / w.rstd, expected / w.rstd, tolerance(w.dtype));
        }
        vector again = w.dy;
        clvi_normalize_backward(w.dtype, w.n, &w.x, w.mean, w.rstd, gain, &again, c0, c1, &again);
        CHECK(same(w.dtype, w.n, &again, &dx));
    }
}

static void parameters(void)
{
    EACH_ROW
    {
        vector dgain = w.gain, dbias = w.bias;
        vector *to_gain = HAS_GAIN ? &dgain : NULL, *to_bias = HAS_BIAS ? &dbias : NULL;
        clvi_normalize_params(w.dtype, w.n, &w.x, w.mean, w.rstd, &w.dy, to_gain, to_bias);
        for (int64_t i = 0; i < w.n; i++) {
            double dy = get(&w, &w.dy, i);
            CHECK_NEAR(get(&w, &dgain, i), get(&w, &w.gain, i) + (to_gain ? dy * h(&w, i) : 0),
                       2 * tolerance(w.dtype));
            CHECK_NEAR(get(&w, &dbias, i), get(&w, &w.bias, i) + (to_bias ? dy : 0),
                       tolerance(w.dtype));
        }
    }
}

/* sum(dy y) of a whole layer norm (rms: mean held at 0) as a function of x. */
static double loss(const row *w, bool rms, const double *x)
{
    double out[2], y[LONGEST], mean_square;
    clvi_moments(CLV_F64, w->n, x, out);
    if (rms) out[0] = 0;
    mean_square = (rms ? clvi_sum_squares(CLV_F64, w->n, x) : out[1]) / (double)w->n;
    clvi_normalize(CLV_F64, w->n, x, out[0], 1 / sqrt(mean_square + 1e-5), &w->gain, &w->bias, y);
    return clvi_dot(CLV_F64, w->n, y, &w->dy);
}

/* The pieces together are the derivative of the whole: central differences. */
static void differences(void)
{
    static row w;
    uint64_t state = 3;
    for (int rms = 0; rms < 2; rms++) {
        double sums[2], dx[17], step = 1e-5, *x = w.x.f64;
        make_row(&w, CLV_F64, 17, &state);
        if (rms) {
            w.mean = 0;
            w.rstd = 1 / sqrt(clvi_sum_squares(CLV_F64, 17, x) / 17 + 1e-5);
        }
        clvi_normalize_sums(CLV_F64, 17, x, w.mean, w.rstd, &w.gain, &w.dy, sums);
        clvi_normalize_backward(CLV_F64, 17, x, w.mean, w.rstd, &w.gain, &w.dy,
                                rms ? 0 : sums[0] / 17, sums[1] / 17, dx);
        for (int i = 0; i < 17; i++) {
            double kept = x[i], up, down;
            x[i] = kept + step, up = loss(&w, rms, x);
            x[i] = kept - step, down = loss(&w, rms, x);
            x[i] = kept;
            CHECK_NEAR(dx[i], (up - down) / (2 * step), 1e-8);
        }
    }
}

const check_case check_cases[] = {{"moments", moments},         {"constant row", constant_row},
                                  {"forward", forward},         {"sums", sums},
                                  {"backward", backward},       {"parameters", parameters},
                                  {"differences", differences}, {0}};
