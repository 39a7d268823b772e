/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_params.c: parameters by name, and the layouts of a transformer.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The same values on every grid, and a norm in which every element counts once. */
static void any_layouts(clv_grid *grid)
{
    static uint64_t state = 60; /* goes on from grid to grid */
    clv_params *params = NULL;
    double squares = 0, norm = -1;
    int64_t elements = 0;
    CHECK_OK(clv_params_create(grid, &params));
    for (int i = 0; i < 5; i++) {
        char name[16];
        clv_param *param = NULL;
        clv_spec spec = {random_extent(&state),      random_extent(&state), 2, 3, CLV_F64,
                         random_layout(grid, &state)};
        snprintf(name, sizeof name, "p.%d", i);
        CHECK_OK(clv_params_add(params, name, spec, i, i == 0 ? 0 : 0.1, true, &param));
        CHECK(param == clv_params_at(params, i) && param == clv_params_find(params, name));
        elements += spec.m * spec.n;
        CHECK_OK(clv_matrix_fill_normal(param->grad, 42, (uint64_t)i, 0, 1));
        whole grad = whole_normal(spec, (uint64_t)i, 0, 1);
        for (int64_t j = 0; j < grad.m * grad.n; j++) squares += grad.x[j] * grad.x[j];
        whole_free(&grad);
    }
    CHECK_INT(clv_params_elements(params), elements);
    CHECK_OK(clv_params_init(params, 42)); /* the key of whole_normal */
    CHECK_OK(clv_params_grad_norm(params, &norm));
    CHECK_NEAR(norm, sqrt(squares), 1e-12);
    clv_params_zero_grad(params);
    CHECK_OK(clv_params_grad_norm(params, &norm));
    CHECK(norm == 0);
    for (int i = 0; i < clv_params_count(params); i++) {
        clv_param *p = clv_params_at(params, i);
        whole value =
            whole_normal(clv_matrix_spec(p->value), clvi_hash_string(p->name), p->mean, p->std);
        CHECK_INT(count_wrong(p->value, value), 0);
        whole_free(&value);
    }
    clv_params_destroy(&params);
}

static void test_any_layouts(void)
{
    each_grid(false, any_layouts);
}

/* More parameters than the list has room for at first: pointers hold. */
static void test_many(void)
{
    enum { COUNT = 70 };
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_param *param[COUNT];
    char name[16];
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_params_create(grid, &params));
    CHECK_INT(clv_params_count(params), 0);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "p%d", i);
        CHECK_OK(clv_params_add(params, name, (clv_spec){1, 1, 0, 0, CLV_F32, {0}}, 0, 0, false,
                                &param[i]));
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "p%d", i);
        CHECK(clv_params_find(params, name) == param[i] && clv_params_at(params, i) == param[i]);
        CHECK_STRING(param[i]->name, name);
        CHECK(!param[i]->decay);
    }
    CHECK(clv_params_find(params, "p70") == NULL);
    CHECK(clv_params_grid(params) == grid);
    clv_params_destroy(&params);
    clv_params_destroy(&params); /* NULL is fine */
    clv_grid_destroy(&grid);
}

static void test_bad_arguments(void)
{
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_param *param = NULL;
    clv_spec spec = {3, 4, 0, 0, CLV_F32, {0}};
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_params_create(grid, &params));
    CHECK_OK(clv_params_add(params, "w", spec, 0, 1, true, &param));
    CHECK_STATUS(clv_params_add(params, "w", spec, 0, 1, true, &param), CLV_EARG);
    CHECK(strstr(clv_last_error(), "parameter w"));
    spec.layout.sum = 1;
    CHECK_STATUS(clv_params_add(params, "v", spec, 0, 1, true, &param), CLV_ELAYOUT);
    spec.layout.sum = 0;
    spec.m = -1;
    CHECK_STATUS(clv_params_add(params, "v", spec, 0, 1, true, &param), CLV_ESHAPE);
    CHECK_INT(clv_params_count(params), 1);
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

/* ---- Layouts of a transformer ------------------------------------------------------------ */

static void check_layout(const clv_grid *grid, clv_layout layout, const char *expected)
{
    char text[64];
    CHECK_STRING(clv_layout_format(grid, layout, text, sizeof text), expected);
}

static void test_placement(void)
{
    clv_grid *grid = NULL;
    clv_transformer_layouts l;
    const clv_axis all[] = {{"row", check_size()}, {"col", 1}, {"data", 1}, {"depth", 1}};
    CHECK_OK(clv_grid_create(MPI_COMM_WORLD, 4, all, &grid));
    CHECK_OK(clv_transformer_layouts_of(grid, &l));
    check_layout(grid, l.ids, "data+depth+col|-");
    check_layout(grid, l.residual, "data+depth+col|row");
    check_layout(grid, l.heads, "data+depth+row|col");
    check_layout(grid, l.weight_in, "row+depth|col");
    check_layout(grid, l.weight_out, "col+depth|row");
    check_layout(grid, l.embedding, "col|row");
    clv_grid_destroy(&grid);

    CHECK_OK(
        clv_grid_create(MPI_COMM_WORLD, 1, (const clv_axis[]){{"depth", check_size()}}, &grid));
    CHECK_OK(clv_transformer_layouts_of(grid, &l));
    check_layout(grid, l.residual, "depth|-");
    check_layout(grid, l.weight_in, "depth|-");
    check_layout(grid, l.embedding, "-|-");
    clv_grid_destroy(&grid);

    CHECK_OK(clv_grid_create(MPI_COMM_WORLD, 2,
                             (const clv_axis[]){{"row", 1}, {"rows", check_size()}}, &grid));
    CHECK_STATUS(clv_transformer_layouts_of(grid, &l), CLV_ELAYOUT);
    CHECK_STRING(clv_last_error(), "grid axis \"rows\": a transformer expects axes named data, "
                                   "depth, row or col");
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"any layouts", test_any_layouts},
                                  {"many", test_many},
                                  {"bad arguments", test_bad_arguments},
                                  {"placement", test_placement},
                                  {0}};
