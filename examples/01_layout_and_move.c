/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 01_layout_and_move.c: one matrix, lying in different ways.
 *
 * RANKS: 1 2 3 4
 *
 * A layout gives each axis of the grid one job for one matrix: to shard its rows, to shard its
 * columns, to hold copies, or to hold terms of a pending sum. As text: "rows|cols;sum", "-" for
 * none. A move brings the same matrix from one layout to another; which collective that is follows
 * from the two layouts:
 *
 *     from      to        is
 *     col|-     -|-       all-gather
 *     col|-     -|col     all-to-all
 *     -|-;col   col|-     reduce-scatter
 *     -|-       -|col     nothing to send: everyone has its slice
 */
#include <cleave.h>
#include <stdio.h>

#define TRY(call)                                   \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)
#define CHECK(condition) \
    if (!(condition)) wrong += printf("line %d is wrong: %s\n", __LINE__, #condition)
static int wrong;

enum { M = 7, N = 5 }; /* any extents, over any number of processes: some blocks are smaller */

static clv_status make(clv_grid *grid, const char *layout, clv_matrix **matrix)
{
    clv_spec spec = {.m = M, .n = N, .dtype = CLV_F32};
    clv_status status = clv_layout_parse(grid, layout, &spec.layout);
    return status == CLV_OK ? clv_matrix_create(grid, spec, matrix) : status;
}

/* Element (i, j) of a block is data[i * ld + j], and global element (row0 + i, col0 + j). */
static void check_block(const clv_matrix *matrix, float factor)
{
    clv_block b = clv_matrix_block(matrix);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            CHECK(((float *)b.data)[i * b.ld + j] ==
                  factor * (float)(100 * (b.row0 + i) + b.col0 + j));
}

static clv_status lesson(clv_grid *grid)
{
    clv_status status;
    clv_matrix *rows = NULL, *cols = NULL, *copies = NULL, *terms = NULL;
    clv_plan *plan = NULL;
    TRY(make(grid, "col|-", &rows));
    TRY(make(grid, "-|col", &cols));
    TRY(make(grid, "-|-", &copies));
    TRY(make(grid, "-|-;col", &terms));

    clv_block b = clv_matrix_block(rows);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            ((float *)b.data)[i * b.ld + j] = (float)(100 * (b.row0 + i) + b.col0 + j);

    TRY(clv_move(rows, cols)); /* all-to-all */
    check_block(cols, 1);
    TRY(clv_move(rows, copies)); /* all-gather */
    check_block(copies, 1);

    /* Whoever moves often plans once: the plan has checked everything and holds all workspace. It
     * can say what it will do, and the grid counts what it did. */
    TRY(clv_plan_move(terms, rows, NULL, &plan));
    if (clv_grid_rank(grid) == 0) TRY(clv_plan_print(plan, stdout));
    b = clv_matrix_block(terms); /* here as large as the matrix: each process brings a term */
    for (int64_t e = 0; e < b.m * b.n; e++)
        ((float *)b.data)[e] = (float)(100 * (e / N) + e % N); /* every one the whole matrix, so */
    clv_grid_traffic_reset(grid);
    TRY(clv_execute_move(plan, 1, terms, 0, rows)); /* reduce-scatter: rows := sum of the terms */
    check_block(rows, (float)clv_grid_size(grid));
    CHECK(clv_grid_traffic(grid).bytes_received == clv_plan_bytes(plan));
done:
    clv_plan_destroy(&plan);
    clv_matrix **const made[] = {&rows, &cols, &copies, &terms};
    for (int i = 0; i < 4; i++) clv_matrix_destroy(made[i]);
    return status;
}

int main(int argc, char **argv)
{
    clv_status status;
    clv_grid *grid = NULL;
    MPI_Init(&argc, &argv);
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid)); /* all on the axis "col" */
    TRY(lesson(grid));
    if (clv_grid_rank(grid) == 0 && !wrong) printf("DONE\n");
done:
    if (status != CLV_OK) fprintf(stderr, "%s: %s\n", argv[0], clv_last_error());
    clv_grid_destroy(&grid);
    MPI_Finalize();
    return status != CLV_OK || wrong;
}
