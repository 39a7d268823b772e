/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 04_mlp.c: an MLP trained on a grid.
 *
 * RANKS: 1 2 4
 *
 * Y = gelu(X Wup + b) Wdown + b learns a fixed random map from 64 examples. The layouts are those
 * of a transformer's MLP: with axes called data, depth, row and col the library knows how they lie,
 * so that what leaves one product lies as the next wants it. The model does not depend on the
 * grid: the losses printed are the same (up to rounding) on 1, 2 or 4 processes.
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

enum { EXAMPLES = 64, WIDTH = 16, HIDDEN = 48, STEPS = 120 };

/* Loss = mean of (Y - T)^2, and dY = its gradient. X, Y, T and dY lie alike, with every axis
 * sharding: each process adds up its own block, and the grid adds up the processes. */
static clv_status mean_square(clv_grid *grid, clv_matrix *Y, clv_matrix *T, clv_matrix *dY,
                              double *loss)
{
    clv_block y = clv_matrix_block(Y), t = clv_matrix_block(T), dy = clv_matrix_block(dY);
    *loss = 0;
    for (int64_t i = 0; i < y.m; i++)
        for (int64_t j = 0; j < y.n; j++) {
            double difference = ((double *)y.data)[i * y.ld + j] - ((double *)t.data)[i * t.ld + j];
            *loss += difference * difference / (EXAMPLES * WIDTH);
            ((double *)dy.data)[i * dy.ld + j] = 2 * difference / (EXAMPLES * WIDTH);
        }
    return clv_grid_reduce(grid, CLV_SUM, 1, loss);
}

static clv_status lesson(clv_grid *grid)
{
    clv_status status;
    clv_params *params = NULL;
    clv_layer *mlp = NULL;
    clv_optimizer *optimizer = NULL;
    clv_matrix *X = NULL, *T = NULL, *Y = NULL, *dY = NULL;
    double loss = 0, first = 0;

    clv_transformer_shape shape = {
        .grid = grid, .sequences = EXAMPLES, .context = 1, .width = WIDTH, .dtype = CLV_F64};
    TRY(clv_transformer_layouts_of(grid, &shape.layouts));
    TRY(clv_params_create(grid, &params));
    clv_mlp_config config = {.kind = CLV_MLP_GELU, .hidden = HIDDEN, .out_std = 0.1};
    TRY(clv_mlp_create(params, "mlp", &shape, &config, &mlp));
    TRY(clv_params_init(params, 1)); /* by seed, name and element: the same on every grid */
    TRY(clv_optimizer_create(params, &(clv_optimizer_config){.kind = CLV_ADAMW}, &optimizer));

    TRY(clv_matrix_create(grid, clv_layer_input(mlp), &X));
    TRY(clv_matrix_create(grid, clv_layer_output(mlp), &T));
    TRY(clv_matrix_create(grid, clv_layer_output(mlp), &Y));
    TRY(clv_matrix_create(grid, clv_layer_output(mlp), &dY));
    TRY(clv_matrix_fill_normal(X, 1, 1, 0, 1)); /* drawn by global index, too */
    TRY(clv_matrix_fill_normal(T, 1, 2, 0, 1));

    for (int step = 1; step <= STEPS; step++) {
        TRY(clv_layer_forward(mlp, X, Y));
        TRY(mean_square(grid, Y, T, dY, &loss));
        clv_params_zero_grad(params);
        TRY(clv_layer_backward(mlp, dY, NULL)); /* nobody needs dX */
        TRY(clv_optimizer_step(optimizer, 0.01, step, NULL));
        if (step == 1) first = loss;
        if (step % 20 == 0 && clv_grid_rank(grid) == 0) printf("step %3d  loss %.6f\n", step, loss);
    }
    CHECK(loss < first / 10);
done:
    clv_optimizer_destroy(&optimizer);
    clv_layer_destroy(&mlp);
    clv_params_destroy(&params);
    clv_matrix **const made[] = {&X, &T, &Y, &dY};
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
