/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_linear.c: Y = X W + b over any layouts of X, W and Y.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

static clv_status create(const void *config, clv_params *params, clv_layer **layer)
{
    return clv_linear_create(params, "l", config, layer);
}

static void reference(const void *config, problem *p)
{
    const clv_linear_config *c = config;
    whole W = value_of(p, "l.weight"), dW = grad_of(p, "l.weight");
    int64_t tokens = p->X.m, K = p->X.n, N = p->Y.n;
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t n = 0; n < N; n++) {
            double dy = p->dY.x[t * N + n], y = 0;
            for (int64_t k = 0; k < K; k++) {
                int64_t w = c->w_transposed ? n * K + k : k * N + n;
                y += p->X.x[t * K + k] * W.x[w];
                dW.x[w] += p->X.x[t * K + k] * dy;
                p->dX.x[t * K + k] += dy * W.x[w];
            }
            if (!c->no_bias) {
                y += value_of(p, "l.bias").x[n];
                grad_of(p, "l.bias").x[n] += dy;
            }
            p->Y.x[t * N + n] = y;
        }
}

static const layer_test linear = {create, reference};

static clv_linear_config draw(const clv_grid *grid, uint64_t *state)
{
    int64_t m = random_extent(state), k = random_extent(state), n = random_extent(state);
    clv_dtype dtype = random_dtype(state);
    clv_linear_config c = {
        .w_transposed = check_random_below(state, 2),
        .no_bias = check_random_below(state, 3) == 0,
        .x = {m, k, check_random_below(state, 3), 2, dtype, random_layout(grid, state)},
        .w = {k, n, 0, 3, dtype, random_layout(grid, state)},
        .y = {m, n, 4, check_random_below(state, 3), dtype, random_layout(grid, state)}};
    if (c.w_transposed) c.w.m = n, c.w.n = k;
    return c;
}

static void any_layouts(clv_grid *grid)
{
    static uint64_t state = 1; /* goes on from grid to grid */
    for (int i = 0; i < 4; i++) {
        clv_linear_config c = draw(grid, &state);
        check_layer(grid, "linear", &linear, &c, (layer_input){0});
    }
}

static void test_any_layouts(void)
{
    each_grid(false, any_layouts);
}
/* X may come as a pending sum; its gradient is one too. */
static void test_pending_input(void)
{
    clv_grid *grid = NULL;
    clv_linear_config c = {.x = {7, 17, 0, 0, CLV_F64, {0}},
                           .w = {17, 5, 0, 0, CLV_F64, {0}},
                           .y = {7, 5, 0, 0, CLV_F64, {0}}};
    c.x.layout.sum = 1;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    check_layer(grid, "linear of a sum", &linear, &c, (layer_input){0});
    clv_grid_destroy(&grid);
}

static void test_failing_allocations(void)
{
    clv_grid *grid = NULL;
    uint64_t state = 3;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    clv_linear_config c = draw(grid, &state);
    c.no_bias = false;
    check_failing_allocations(grid, &linear, &c);
    clv_grid_destroy(&grid);
}

/* What does not fit together is refused on every rank, with a message that says what. */
static void test_bad_arguments(void)
{
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_layer *layer = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_params_create(grid, &params));
    const clv_linear_config good = {.x = {4, 3, 0, 0, CLV_F32, {0}},
                                    .w = {3, 2, 0, 0, CLV_F32, {0}},
                                    .y = {4, 2, 0, 0, CLV_F32, {0}}};
    clv_linear_config c = good;
    c.w.m = 5;
    CHECK_STATUS(clv_linear_create(params, "l", &c, &layer), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(), "l: rows of w: expected 3, found 5");
    c = good;
    c.y.m = 1;
    CHECK_STATUS(clv_linear_create(params, "l", &c, &layer), CLV_ESHAPE);
    c = good;
    c.w.dtype = CLV_F64;
    CHECK_STATUS(clv_linear_create(params, "l", &c, &layer), CLV_EDTYPE);
    c = good;
    c.x.dtype = c.w.dtype = c.y.dtype = CLV_BF16;
    CHECK_STATUS(clv_linear_create(params, "l", &c, &layer), CLV_EDTYPE);
    c = good;
    c.y.layout.sum = 1;
    CHECK_STATUS(clv_linear_create(params, "l", &c, &layer), CLV_ELAYOUT);
    c = good;
    c.w.layout.sum = 1;
    CHECK_STATUS(clv_linear_create(params, "l", &c, &layer), CLV_ELAYOUT);
    CHECK(!layer);
    CHECK_INT(clv_params_count(params), 0);
    CHECK_OK(clv_linear_create(params, "l", &good, &layer));
    clv_layer_destroy(&layer);
    CHECK_STATUS(clv_linear_create(params, "l", &good, &layer), CLV_EARG); /* name is taken */
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"any layouts", test_any_layouts},
                                  {"pending input", test_pending_input},
                                  {"failing allocations", test_failing_allocations},
                                  {"bad arguments", test_bad_arguments},
                                  {0}};
