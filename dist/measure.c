/* SPDX-License-Identifier: BSD-3-Clause
 *
 * measure.c: the fastest of a few candidates, by the clock: each is executed on scratch matrices
 * that lie as the caller's do, once to warm up and then RUNS times. The slowest process
 * counts, and of the runs the middle one.
 */
#include "clvi_planner.h"

enum { RUNS = 3, OPERANDS = CLVI_OPERANDS };

static clv_status make_scratch(const clvi_problem *p, clv_matrix *scratch[])
{
    clv_status status = CLV_OK;
    for (int i = 0; i < OPERANDS; i++) {
        bool transposed = i != CLVI_C && p->trans[i];
        clv_spec spec = transposed ? clvi_spec_transposed(p->given[i]) : p->given[i];
        CLVI_TRY(clv_matrix_create(p->grid, spec, &scratch[i]));
    }
done:
    return status;
}

static double middle(double a, double b, double c)
{
    double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* Seconds of one candidate, the same on every process. */
static clv_status time_one(const clvi_problem *p, const clvi_candidate *candidate,
                           clv_matrix *const scratch[], double *seconds)
{
    clv_status status;
    clvi_product *product = NULL;
    double times[RUNS];
    CLVI_TRY(clvi_product_create(p, candidate, &product));
    for (int run = -1; run < RUNS; run++) {
        CLVI_TRY(clv_grid_barrier(p->grid));
        double begin = MPI_Wtime();
        CLVI_TRY(clvi_product_execute(product, 1, clv_matrix_block(scratch[CLVI_A]),
                                      clv_matrix_block(scratch[CLVI_B]), 0,
                                      clv_matrix_block(scratch[CLVI_C])));
        if (run >= 0) times[run] = MPI_Wtime() - begin;
    }
    CLVI_TRY(clv_grid_reduce(p->grid, CLV_MAX, RUNS, times));
    *seconds = middle(times[0], times[1], times[2]);
done:
    clvi_product_destroy(&product);
    return status;
}

clv_status clvi_measure(const clvi_problem *problem, int count, const clvi_candidate few[],
                        int *fastest)
{
    clv_status status;
    clv_matrix *scratch[OPERANDS] = {NULL};
    double best = 0;
    *fastest = 0;
    CLVI_TRY(make_scratch(problem, scratch));
    for (int i = 0; i < count && count > 1; i++) {
        double seconds = 0;
        CLVI_TRY(time_one(problem, &few[i], scratch, &seconds));
        if (i > 0 && seconds >= best) continue;
        best = seconds;
        *fastest = i;
    }
done:
    for (int i = 0; i < OPERANDS; i++) clv_matrix_destroy(&scratch[i]);
    return status;
}
