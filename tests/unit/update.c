/* SPDX-License-Identifier: BSD-3-Clause
 *
 * update.c: SGD with momentum and AdamW, some steps in a row, against their formulas in double.
 * RANKS: 1
 */
#include "vectors.h"

static double close_to(clv_dtype dtype)
{
    return dtype == CLV_F32 ? 1e-5 : 1e-13;
}

static void sgd(void)
{
    const double lr = 0.1, mu = 0.9, decay = 0.01;
    uint64_t state = 1;
    for (int r = 0; r < REALS; r++)
        for (int l = 0; l < LENGTHS; l++) {
            vector g, v, w;
            double velocity[LONGEST] = {0}, weight[LONGEST];
            randomize(reals[r], &w, 1, &state);
            clvi_fill(reals[r], LONGEST, 0, &v);
            clvi_convert(LONGEST, reals[r], &w, CLV_F64, weight);
            for (int step = 0; step < 5; step++) {
                randomize(reals[r], &g, 1, &state);
                clvi_sgd(reals[r], lengths[l], lr, mu, decay, &g, &v, &w);
                for (int64_t i = 0; i < lengths[l]; i++) {
                    velocity[i] = mu * velocity[i] + clvi_get(reals[r], &g, i) + decay * weight[i];
                    weight[i] -= lr * velocity[i];
                }
            }
            for (int64_t i = 0; i < LONGEST; i++) {
                CHECK_NEAR(clvi_get(reals[r], &v, i), velocity[i], close_to(reals[r]));
                CHECK_NEAR(clvi_get(reals[r], &w, i), weight[i], close_to(reals[r]));
            }
        }
}

/* Loshchilov and Hutter 2019, algorithm 2, one element. */
static void adamw_step(const clvi_adamw_args *a, double g, double *m1, double *m2, double *w)
{
    g *= a->grad_scale;
    *m1 = a->beta1 * *m1 + (1 - a->beta1) * g;
    *m2 = a->beta2 * *m2 + (1 - a->beta2) * g * g;
    double mean = *m1 / (1 - pow(a->beta1, (double)a->step));
    double square = *m2 / (1 - pow(a->beta2, (double)a->step));
    *w -= a->lr * (mean / (sqrt(square) + a->eps) + a->decay * *w);
}

static void adamw(void)
{
    uint64_t state = 2;
    for (int r = 0; r < REALS; r++)
        for (int l = 0; l < LENGTHS; l++) {
            static vector g, m1, m2, w;
            static double a[LONGEST], b[LONGEST], weight[LONGEST];
            clvi_adamw_args args = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0.5, 1};
            randomize(reals[r], &w, 1, &state);
            clvi_fill(reals[r], LONGEST, 0, &m1);
            clvi_fill(reals[r], LONGEST, 0, &m2);
            memset(a, 0, sizeof a);
            memset(b, 0, sizeof b);
            clvi_convert(LONGEST, reals[r], &w, CLV_F64, weight);
            for (; args.step <= 5; args.step++) {
                randomize(reals[r], &g, 1, &state);
                clvi_adamw(reals[r], lengths[l], &args, &g, &m1, &m2, &w);
                for (int64_t i = 0; i < lengths[l]; i++)
                    adamw_step(&args, clvi_get(reals[r], &g, i), &a[i], &b[i], &weight[i]);
            }
            for (int64_t i = 0; i < LONGEST; i++) {
                CHECK_NEAR(clvi_get(reals[r], &m1, i), a[i], close_to(reals[r]));
                CHECK_NEAR(clvi_get(reals[r], &m2, i), b[i], close_to(reals[r]));
                CHECK_NEAR(clvi_get(reals[r], &w, i), weight[i], close_to(reals[r]));
            }
        }
}

/* A late step, where the corrections have gone, and one of tiny gradients: no 0 / 0. */
static void adamw_corners(void)
{
    for (int r = 0; r < REALS; r++) {
        clvi_adamw_args args = {1e-3, 0.9, 0.95, 1e-8, 0, 1, 1000000};
        vector g, m1, m2, w;
        clvi_fill(reals[r], 4, 0, &g);
        clvi_fill(reals[r], 4, 0, &m1);
        clvi_fill(reals[r], 4, 0, &m2);
        clvi_fill(reals[r], 4, 1, &w);
        clvi_set(reals[r], &g, 1, 1e-30);
        clvi_adamw(reals[r], 4, &args, &g, &m1, &m2, &w);
        CHECK_NEAR(clvi_get(reals[r], &w, 0), 1, 0);
        CHECK_NEAR(clvi_get(reals[r], &w, 1), 1, 1e-15);
        args.step = 1;
        clvi_fill(reals[r], 4, 1, &g);
        clvi_fill(reals[r], 4, 0, &m1);
        clvi_fill(reals[r], 4, 0, &m2);
        clvi_fill(reals[r], 4, 1, &w);
        clvi_adamw(reals[r], 4, &args, &g, &m1, &m2, &w);
        CHECK_NEAR(clvi_get(reals[r], &w, 2), 1 - 1e-3 / (1 + 1e-8),
                   close_to(reals[r])); /* the sign alone */
    }
}

const check_case check_cases[] = {
    {"sgd", sgd}, {"adamw", adamw}, {"adamw corners", adamw_corners}, {0}};
