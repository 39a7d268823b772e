/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_norm.c: layer norm and RMS norm, rows and columns sharded in any way.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

#include <math.h>

static const double eps = 1e-3;

static clv_status create(const void *config, clv_params *params, clv_layer **layer)
{
    return clv_norm_create(params, "n", config, layer);
}

/* With h = (x - mean) / s, s = sqrt(variance + eps): dh_i/dx_j = ([i = j] - 1/n - h_i h_j / n) / s,
 * summed over i element by element. */
static void reference(const void *config, problem *p)
{
    bool rms = ((const clv_norm_config *)config)->kind == CLV_RMS_NORM;
    int64_t n = p->X.n;
    whole gain = value_of(p, "n.gain"), dgain = grad_of(p, "n.gain"), h = whole_zeros(1, n);
    for (int64_t t = 0; t < p->X.m; t++) {
        const double *x = p->X.x + t * n, *dy = p->dY.x + t * n;
        double mean = 0, variance = 0;
        for (int64_t j = 0; j < n && !rms; j++) mean += x[j] / (double)n;
        for (int64_t j = 0; j < n; j++) variance += (x[j] - mean) * (x[j] - mean) / (double)n;
        double s = sqrt(variance + eps);
        for (int64_t j = 0; j < n; j++) {
            h.x[j] = (x[j] - mean) / s;
            p->Y.x[t * n + j] = h.x[j] * gain.x[j] + (rms ? 0 : value_of(p, "n.bias").x[j]);
            dgain.x[j] += dy[j] * h.x[j];
            if (!rms) grad_of(p, "n.bias").x[j] += dy[j];
        }
        for (int64_t j = 0; j < n; j++)
            for (int64_t i = 0; i < n; i++)
                p->dX.x[t * n + j] +=
                    dy[i] * gain.x[i] *
                    ((i == j) - (rms ? 0 : 1) / (double)n - h.x[i] * h.x[j] / (double)n) / s;
    }
    whole_free(&h);
}

static const layer_test norm = {create, reference};

static clv_norm_config draw(const clv_grid *grid, clv_norm_kind kind, uint64_t *state)
{
    return (clv_norm_config){.kind = kind,
                             .eps = eps,
                             .x = {random_extent(state), random_extent(state),
                                   check_random_below(state, 4), check_random_below(state, 4),
                                   random_dtype(state), random_layout(grid, state)}};
}

static void any_layouts(clv_grid *grid)
{
    static uint64_t state = 20; /* goes on from grid to grid */
    for (int i = 0; i < 6; i++) {
        clv_norm_config c = draw(grid, i % 2 ? CLV_RMS_NORM : CLV_LAYER_NORM, &state);
        check_layer(grid, i % 2 ? "RMS norm" : "layer norm", &norm, &c, (layer_input){0});
    }
}

static void test_any_layouts(void)
{
    each_grid(false, any_layouts);
}

/* Every process holds columns of every row, some of them none; and values far from zero, where
 * sums of squares would cancel. */
static void test_all_columns(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    for (int64_t n = 1; n <= 17; n += 4) {
        clv_norm_config c = {.x = {5, n, 0, 0, CLV_F64, {.cols = clv_order_append(0, 0)}},
                             .eps = eps};
        check_layer(grid, "layer norm", &norm, &c, (layer_input){0});
        c.kind = CLV_RMS_NORM;
        check_layer(grid, "RMS norm", &norm, &c, (layer_input){0});
    }
    clv_grid_destroy(&grid);
}

/* The mean is 1e6 times the deviation: y keeps ten digits all the same. */
static void test_large_mean(void)
{
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_layer *layer = NULL;
    clv_matrix *X = NULL, *Y = NULL;
    clv_spec x = {3, 37, 0, 0, CLV_F64, {.cols = clv_order_append(0, 0)}};
    clv_norm_config c = {.x = x, .eps = eps};
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_params_create(grid, &params));
    CHECK_OK(clv_norm_create(params, "n", &c, &layer));
    CHECK_OK(clv_params_init(params, 1));
    CHECK_OK(clv_matrix_create(grid, x, &X));
    CHECK_OK(clv_matrix_create(grid, x, &Y));
    clv_block b = clv_matrix_block(X), y = clv_matrix_block(Y);
    for (int64_t i = 0; i < b.m; i++) /* columns are -18 .. 18 around 2^24: exact */
        for (int64_t j = 0; j < b.n; j++)
            *(double *)clvi_at(b, CLV_F64, i, j) = 16777216 + (double)(b.col0 + j - 18);
    CHECK_OK(clv_layer_forward(layer, X, Y));
    for (int64_t i = 0; i < y.m; i++)
        for (int64_t j = 0; j < y.n; j++) /* variance of -18 .. 18: 18 * 19 / 3 */
            CHECK_NEAR(*(double *)clvi_at(y, CLV_F64, i, j),
                       (double)(y.col0 + j - 18) / sqrt(114 + eps), 1e-10);
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&Y);
    clv_layer_destroy(&layer);
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

static void test_failing_allocations(void)
{
    clv_grid *grid = NULL;
    uint64_t state = 3;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    clv_norm_config c = draw(grid, CLV_LAYER_NORM, &state);
    check_failing_allocations(grid, &norm, &c);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"any layouts", test_any_layouts},
                                  {"all columns sharded", test_all_columns},
                                  {"large mean", test_large_mean},
                                  {"failing allocations", test_failing_allocations},
                                  {0}};
