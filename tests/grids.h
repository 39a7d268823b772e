/* SPDX-License-Identifier: BSD-3-Clause
 *
 * grids.h: the grids that tests of whole models run on.
 */
#ifndef CLEAVE_GRIDS_H
#define CLEAVE_GRIDS_H

#include <check.h>
#include <stdio.h>

/* Axes not named have one process. */
static const struct {
    int ranks;
    const char *text;
} check_grids[] = {
    {1, "col=1"},         {2, "col=2"},       {2, "row=2"},
    {2, "data=2"},        {2, "depth=2"},     {3, "col=3"},
    {3, "row=3"},         {4, "row=2,col=2"}, {4, "data=2,col=2"},
    {4, "depth=2,row=2"}, {5, "col=5"},       {6, "row=3,col=2"},
    {6, "data=3,col=2"},  {7, "depth=7"},     {8, "data=2,depth=2,col=2"},
    {8, "row=2,col=4"},
};
enum { CHECK_GRIDS = sizeof check_grids / sizeof *check_grids };

/* run(grid) on every grid of as many processes as there are, and says where a check failed. */
static inline void check_on_grids(void (*run)(clv_grid *grid, const void *arg), const void *arg)
{
    for (int i = 0; i < CHECK_GRIDS; i++) {
        if (check_grids[i].ranks != check_size()) continue;
        clv_grid *grid = NULL;
        long long before = check_failures();
        if (!CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, check_grids[i].text, &grid))) continue;
        run(grid, arg);
        clv_grid_destroy(&grid);
        if (check_failures() != before)
            fprintf(stderr, "  on rank %d of grid %s\n", check_rank(), check_grids[i].text);
    }
}

/* A grid of this process alone: what runs on it is the reference. */
static inline clv_grid *check_self_grid(void)
{
    clv_grid *self = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_SELF, NULL, &self));
    return self;
}

/* Element i of a block's memory. */
static inline double check_element(clv_dtype dtype, const void *x, int64_t i)
{
    return dtype == CLV_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* My block of `matrix` against the same elements of `whole`, which this process has all of. */
static inline void check_same_block(const clv_matrix *matrix, const clv_matrix *whole,
                                    double tolerance)
{
    clv_block a = clv_matrix_block(matrix), b = clv_matrix_block(whole);
    clv_dtype dtype = clv_matrix_spec(matrix).dtype;
    for (int64_t i = 0; i < a.m; i++)
        for (int64_t j = 0; j < a.n; j++)
            CHECK_NEAR(check_element(dtype, a.data, i * a.ld + j),
                       check_element(dtype, b.data, (a.row0 + i) * b.ld + a.col0 + j), tolerance);
}

#endif
