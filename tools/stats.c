/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stats.c: what the values of a data set are like, in double precision.
 *
 * A chunk's mean and sum of squared deviations are computed in two passes; chunks are put together
 * by Chan, Golub and LeVeque (1979): no great sums whose difference would be lost.
 */
#include "tool.h"

#include <math.h>

enum { FINITE, MEAN, DEVIATION, LEAST, GREATEST, ZEROS, NANS, INFINITE, WIDTH };

typedef struct {
    clv_checkpoint *checkpoint;
    int i;
    double *values;
    statistics *out;
    double deviation;
} survey;

static void count_kinds(const double *x, int64_t count, double *partial)
{
    double sum = 0, least = INFINITY, greatest = -INFINITY;
    for (int64_t k = 0; k < count; k++) {
        partial[NANS] += isnan(x[k]);
        partial[INFINITE] += isinf(x[k]) != 0;
        partial[ZEROS] += x[k] == 0;
        if (!isfinite(x[k])) continue;
        partial[FINITE]++;
        sum += x[k];
        if (x[k] < least) least = x[k];
        if (x[k] > greatest) greatest = x[k];
    }
    if (partial[FINITE] == 0) return;
    partial[MEAN] = sum / partial[FINITE];
    partial[LEAST] = least;
    partial[GREATEST] = greatest;
}

static clv_status survey_chunk(void *context, clv_block block, double *partial)
{
    survey *s = context;
    clv_status status = chunk_read(s->checkpoint, s->i, block, s->values);
    if (status != CLV_OK) return status;
    int64_t count = block.m * block.n;
    count_kinds(s->values, count, partial);
    for (int64_t k = 0; k < count; k++) {
        double d = s->values[k] - partial[MEAN];
        if (isfinite(d)) partial[DEVIATION] += d * d;
    }
    return status;
}

static void fold(void *context, const double *partial)
{
    survey *s = context;
    statistics *all = s->out;
    all->zeros += (int64_t)partial[ZEROS];
    all->nans += (int64_t)partial[NANS];
    all->infinite += (int64_t)partial[INFINITE];
    double mine = (double)all->finite, its = partial[FINITE];
    if (its == 0) return;
    double apart = partial[MEAN] - all->mean;
    all->min = mine == 0 ? partial[LEAST] : fmin(all->min, partial[LEAST]);
    all->max = mine == 0 ? partial[GREATEST] : fmax(all->max, partial[GREATEST]);
    all->mean += apart * its / (mine + its);
    s->deviation += partial[DEVIATION] + apart * apart * mine * its / (mine + its);
    all->finite += (int64_t)its;
}

clv_status statistics_of(clv_grid *grid, clv_checkpoint *checkpoint, int i, int64_t *turn,
                         double *values, statistics *out)
{
    survey s = {.checkpoint = checkpoint, .i = i, .values = values, .out = out};
    *out = (statistics){0};
    clv_status status =
        chunk_fold(grid, clv_checkpoint_at(checkpoint, i), turn, WIDTH, survey_chunk, fold, &s);
    if (out->finite > 0)
        out->std = sqrt(s.deviation / (double)out->finite);
    else
        out->min = out->max = out->mean = out->std = NAN;
    return status;
}
