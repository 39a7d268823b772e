/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_embedding.c: rows of a table by id, the table and the tokens in any layouts.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

static clv_status create(const void *config, clv_params *params, clv_layer **layer)
{
    return clv_embedding_create(params, "e", config, layer);
}

static void reference(const void *config, problem *p)
{
    int64_t vocabulary = ((const clv_embedding_config *)config)->w.m, width = p->Y.n;
    whole E = value_of(p, "e.weight"), dE = grad_of(p, "e.weight");
    for (int64_t t = 0; t < p->Y.m; t++) {
        int64_t id = (int64_t)p->X.x[t];
        for (int64_t j = 0; j < width && 0 <= id && id < vocabulary; j++) {
            p->Y.x[t * width + j] = E.x[id * width + j];
            dE.x[id * width + j] += p->dY.x[t * width + j];
        }
    }
}

static const layer_test embedding = {create, reference};

static clv_embedding_config draw(const clv_grid *grid, uint64_t *state)
{
    int64_t m = random_extent(state), v = random_extent(state), n = random_extent(state);
    clv_dtype dtype = random_dtype(state);
    return (clv_embedding_config){
        .x = {m, 1, check_random_below(state, 3), 0, CLV_I32, random_layout(grid, state)},
        .w = {v, n, 2, check_random_below(state, 3), dtype, random_layout(grid, state)},
        .y = {m, n, 3, check_random_below(state, 3), dtype, random_layout(grid, state)}};
}

static void any_layouts(clv_grid *grid)
{
    static uint64_t state = 10; /* goes on from grid to grid */
    for (int i = 0; i < 4; i++) {
        clv_embedding_config c = draw(grid, &state);
        check_layer(grid, "embedding", &embedding, &c, (layer_input){.vocabulary = c.w.m});
    }
}

static void transformer_layouts(clv_grid *grid)
{
    clv_transformer_shape s = {
        .grid = grid, .sequences = 5, .context = 3, .width = 7, .dtype = CLV_F64};
    CHECK_OK(clv_transformer_layouts_of(grid, &s.layouts));
    clv_embedding_config c = {.x = clvi_ids_spec(&s),
                              .w = {17, 7, 0, 0, CLV_F64, s.layouts.embedding},
                              .y = clvi_residual_spec(&s)};
    check_layer(grid, "embedding", &embedding, &c, (layer_input){.vocabulary = 17});
}

static void test_any_layouts(void)
{
    each_grid(false, any_layouts);
}

static void test_transformer_layouts(void)
{
    each_grid(true, transformer_layouts);
}

static void test_failing_allocations(void)
{
    clv_grid *grid = NULL;
    uint64_t state = 3;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    clv_embedding_config c = draw(grid, &state);
    check_failing_allocations(grid, &embedding, &c);
    clv_grid_destroy(&grid);
}

static void test_bad_arguments(void)
{
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_layer *layer = NULL;
    clv_matrix *X = NULL, *Y = NULL, *dX = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_params_create(grid, &params));
    const clv_embedding_config good = {.x = {4, 1, 0, 0, CLV_I32, {0}},
                                       .w = {9, 2, 0, 0, CLV_F32, {0}},
                                       .y = {4, 2, 0, 0, CLV_F32, {0}}};
    clv_embedding_config c = good;
    c.x.dtype = CLV_F32;
    CHECK_STATUS(clv_embedding_create(params, "e", &c, &layer), CLV_EDTYPE);
    c = good;
    c.x.n = 2;
    CHECK_STATUS(clv_embedding_create(params, "e", &c, &layer), CLV_ESHAPE);
    c = good;
    c.y.n = 3;
    CHECK_STATUS(clv_embedding_create(params, "e", &c, &layer), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(), "e: columns of y: expected 2, found 3");
    CHECK_OK(clv_embedding_create(params, "e", &good, &layer));
    CHECK_OK(clv_matrix_create(grid, good.x, &X));
    CHECK_OK(clv_matrix_create(grid, good.x, &dX));
    CHECK_OK(clv_matrix_create(grid, good.y, &Y));
    CHECK_OK(clv_layer_forward(layer, X, Y));
    CHECK_STATUS(clv_layer_backward(layer, Y, dX), CLV_EARG); /* ids have no gradient */
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&dX);
    clv_matrix_destroy(&Y);
    clv_layer_destroy(&layer);
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"any layouts", test_any_layouts},
                                  {"transformer layouts", test_transformer_layouts},
                                  {"failing allocations", test_failing_allocations},
                                  {"bad arguments", test_bad_arguments},
                                  {0}};
