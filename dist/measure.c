/* SPDX-License-Identifier: BSD-3-Clause
 *
 * measure.c: the fastest of a few plans, by the clock: each is executed on scratch matrices that
 * lie as the caller's do, once to warm up and then RUNS times. The slowest process counts, and of
 * the runs the middle one.
 */
#include "clvi_planner.h"

#include <math.h>

enum { RUNS = 3, OPERANDS = CLVI_OPERANDS };

typedef clv_matrix *scratch[CLVI_TEAM][OPERANDS];

static clv_status make_scratch(const clvi_team *team, scratch matrices)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < team->count; i++)
        for (int j = 0; j < OPERANDS; j++) {
            const clvi_problem *p = team->problems[i];
            clv_spec spec = clvi_stored(p, j, p->given[j]);
            CLVI_TRY(clv_matrix_create(p->grid, spec, &matrices[i][j]));
        }
done:
    return status;
}

static double middle(double a, double b, double c)
{
    double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

static clv_status execute(const clvi_team *team, clvi_product *const products[], scratch matrices)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < team->count; i++)
        CLVI_TRY(clvi_product_execute(products[i], 1, clv_matrix_block(matrices[i][CLVI_A]),
                                      clv_matrix_block(matrices[i][CLVI_B]), 0,
                                      clv_matrix_block(matrices[i][CLVI_C])));
done:
    return status;
}

/* Seconds of one team, the same on every process. */
static clv_status time_team(const clvi_team *team, scratch matrices, double *seconds)
{
    clv_status status;
    clv_grid *grid = team->problems[0]->grid;
    clvi_product *products[CLVI_TEAM];
    double times[RUNS];
    CLVI_TRY(clvi_team_create(team, products));
    for (int run = -1; run < RUNS; run++) {
        CLVI_TRY(clv_grid_barrier(grid));
        double begin = MPI_Wtime();
        CLVI_TRY(execute(team, products, matrices));
        if (run >= 0) times[run] = MPI_Wtime() - begin;
    }
    CLVI_TRY(clv_grid_reduce(grid, CLV_MAX, RUNS, times));
    *seconds = middle(times[0], times[1], times[2]);
done:
    clvi_team_destroy(products);
    return status;
}

clv_status clvi_measure(int count, const clvi_team teams[], int *fastest)
{
    clv_status status;
    scratch matrices = {{NULL}};
    double best = INFINITY;
    *fastest = 0;
    CLVI_TRY(make_scratch(&teams[0], matrices)); /* all are of the same problems */
    for (int i = 0; i < count; i++) {
        double seconds;
        status = time_team(&teams[i], matrices, &seconds);
        if (status == CLV_ENOMEM && (isfinite(best) || i + 1 < count)) continue; /* another fits */
        CLVI_TRY(status);
        if (seconds >= best) continue;
        best = seconds;
        *fastest = i;
    }
    status = CLV_OK;
done:
    for (int i = 0; i < CLVI_TEAM; i++)
        for (int j = 0; j < OPERANDS; j++) clv_matrix_destroy(&matrices[i][j]);
    return status;
}
