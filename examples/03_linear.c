/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 03_linear.c: a linear layer whose weight is sharded, forward and backward.
 *
 * RANKS: 1 2 3 4
 *
 * Y = X W + b. The layer knows nothing of "column-parallel" or "row-parallel": it is created with
 * the specs of X, W and Y, and whatever has to move between them is planned then. Gradients lie as
 * their values do. Here one layer is made in four ways to lie, and all give the same numbers.
 */
#include <cleave.h>
#include <math.h>
#include <stdio.h>

#define TRY(call)                                   \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)
static int wrong;

enum { TOKENS = 12, IN = 10, OUT = 7, LARGEST = TOKENS * IN };

/* The whole of a matrix, wherever its blocks lie: moved to copies on every process. */
static clv_status gather(clv_grid *grid, const clv_matrix *matrix, double *whole)
{
    clv_status status;
    clv_matrix *copies = NULL;
    clv_spec spec = clv_matrix_spec(matrix);
    spec.layout = (clv_layout){0};
    TRY(clv_matrix_create(grid, spec, &copies));
    TRY(clv_move(matrix, copies));
    clv_block b = clv_matrix_block(copies);
    for (int64_t e = 0; e < b.m * b.n; e++) whole[e] = ((double *)b.data)[e / b.n * b.ld + e % b.n];
done:
    clv_matrix_destroy(&copies);
    return status;
}

/* Forward and backward with X, W and Y in these layouts. */
static clv_status run(clv_grid *grid, const char *const lies[3], double *results)
{
    clv_status status;
    clv_params *params = NULL;
    clv_layer *layer = NULL;
    clv_matrix *x = NULL, *dx = NULL, *y = NULL, *dy = NULL, **const made[] = {&x, &dx, &y, &dy};
    clv_linear_config linear = {.x = {TOKENS, IN, .dtype = CLV_F64},
                                .w = {IN, OUT, .dtype = CLV_F64},
                                .y = {TOKENS, OUT, .dtype = CLV_F64}};
    clv_spec *const specs[] = {&linear.x, &linear.w, &linear.y};
    for (int i = 0; i < 3; i++) TRY(clv_layout_parse(grid, lies[i], &specs[i]->layout));
    TRY(clv_params_create(grid, &params));
    TRY(clv_linear_create(params, "fc", &linear, &layer)); /* adds fc.weight and fc.bias */
    TRY(clv_params_init(params, 1)); /* drawn by global index: the same in every layout */
    for (int i = 0; i < 4; i++) TRY(clv_matrix_create(grid, i < 2 ? linear.x : linear.y, made[i]));
    TRY(clv_matrix_fill_normal(x, 1, 1, 0, 1));
    TRY(clv_matrix_fill_normal(dy, 1, 2, 0, 1));
    TRY(clv_layer_forward(layer, x, y));    /* Y = X W + b                                 */
    TRY(clv_layer_backward(layer, dy, dx)); /* dX = dY W^T; fc.weight's grad += X^T dY ... */
    TRY(gather(grid, y, results));
    TRY(gather(grid, dx, results + LARGEST));
    TRY(gather(grid, clv_params_find(params, "fc.weight")->grad, results + 2 * LARGEST));
done:
    clv_layer_destroy(&layer);
    clv_params_destroy(&params);
    for (int i = 0; i < 4; i++) clv_matrix_destroy(made[i]);
    return status;
}

static clv_status lesson(clv_grid *grid)
{
    static const char *const ways[][3] = {{"-|-", "-|-", "-|-"},        /* each process all of it */
                                          {"-|-", "-|col", "-|col"},    /* column-parallel        */
                                          {"-|col", "col|-", "-|-"},    /* row-parallel           */
                                          {"col|-", "col|-", "col|-"}}; /* weight-gathering       */
    static double results[4][3 * LARGEST];
    clv_status status = CLV_OK;
    for (int way = 0; way < 4; way++) {
        TRY(run(grid, ways[way], results[way]));
        for (int e = 0; e < 3 * LARGEST; e++)
            wrong += !(fabs(results[way][e] - results[0][e]) < 1e-12);
    }
done:
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
