/* SPDX-License-Identifier: BSD-3-Clause
 *
 * linear.c: Y = X W + b, and both of its backward products. Row-parallel, column-parallel, 2D or
 * gathered weights: the layouts say which, and the plans do it.
 *
 *     Y[t,n] = X[t,k] W[k,n] + b[1,n]     dX = dY W^T     dW += X^T dY     db += sum_t dY
 */
#include <clvi_layers.h>
#include <math.h>

typedef struct {
    clv_layer base;
    bool w_transposed;
    clv_param *weight;
    clvi_vector bias;
    clv_plan *forward, *backward_x, *backward_w;
} linear;

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    linear *l = (linear *)layer;
    const void *bias = clvi_vector_value(&l->bias);
    clv_block y = clv_matrix_block(Y);
    clv_status status;
    CLVI_TRY(clv_execute_gemm(l->forward, 1, X, l->weight->value, 0, Y));
    for (int64_t i = 0; bias && i < y.m; i++)
        clvi_axpby(layer->y.dtype, y.n, 1, bias, 1, clvi_at(y, layer->y.dtype, i, 0));
done:
    return status;
}

static clv_status backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    linear *l = (linear *)layer;
    clv_block dy = clv_matrix_block(dY);
    clv_status status;
    clvi_vector_clear(&l->bias);
    for (int64_t i = 0; l->bias.param && i < dy.m; i++)
        clvi_axpby(layer->y.dtype, dy.n, 1, clvi_at(dy, layer->y.dtype, i, 0), 1,
                   clvi_vector_terms(&l->bias, i));
    CLVI_TRY(clvi_vector_collect(&l->bias));
    const clv_matrix *A = l->w_transposed ? dY : layer->X, *B = l->w_transposed ? layer->X : dY;
    /* dW first: dX reads what it gathers of dY. */
    CLVI_TRY(clv_execute_gemm(l->backward_w, 1, A, B, 1, l->weight->grad));
    if (dX) CLVI_TRY(clv_execute_gemm(l->backward_x, 1, dY, l->weight->value, 0, dX));
done:
    return status;
}

static void destroy(clv_layer *layer)
{
    linear *l = (linear *)layer;
    clv_plan_destroy(&l->forward);
    clv_plan_destroy(&l->backward_x);
    clv_plan_destroy(&l->backward_w);
    clvi_vector_destroy(&l->bias);
}

static const clvi_layer_type type = {"linear", forward, backward, destroy};

static clv_status check(const char *name, const clv_linear_config *c)
{
    clv_status status;
    CLVI_TRY(clvi_check_values(name, "y", c->y));
    CLVI_CHECK(c->x.dtype == c->y.dtype && c->w.dtype == c->y.dtype, CLV_EDTYPE,
               "%s: expected one dtype for x, w and y, found %s, %s and %s", name,
               clv_dtype_name(c->x.dtype), clv_dtype_name(c->w.dtype), clv_dtype_name(c->y.dtype));
    CLVI_TRY(clvi_check_extent(name, "rows of y", c->y.m, c->x.m));
    CLVI_TRY(clvi_check_extent(name, c->w_transposed ? "columns of w" : "rows of w",
                               c->w_transposed ? c->w.n : c->w.m, c->x.n));
    CLVI_TRY(clvi_check_extent(name, c->w_transposed ? "rows of w" : "columns of w",
                               c->w_transposed ? c->w.m : c->w.n, c->y.n));
done:
    return status;
}

static clv_status plan(linear *l)
{
    clv_matrix *X = NULL, *Y = NULL;
    clv_op op = l->w_transposed ? CLV_T : CLV_N;
    clv_status status;
    CLVI_TRY(clv_matrix_shape(l->base.grid, l->base.x, &X));
    CLVI_TRY(clv_matrix_shape(l->base.grid, l->base.y, &Y));
    CLVI_TRY(clv_plan_linear(X, op, l->weight->value, Y, NULL, &l->forward, &l->backward_x,
                             &l->backward_w));
done:
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&Y);
    return status;
}

clv_status clvi_linear_create_on(clv_params *params, const char *name, clv_param *weight,
                                 const clv_linear_config *config, clv_layer **layer)
{
    clv_grid *grid = clv_params_grid(params);
    double std =
        config->std != 0 ? config->std : 1 / sqrt(config->x.n > 0 ? (double)config->x.n : 1);
    clv_status status;
    *layer = NULL;
    CLVI_TRY(clv_grid_agree(grid, check(name, config)));
    CLVI_TRY(clvi_layer_create(grid, sizeof(linear), &type, config->x, config->y, layer));
    linear *l = (linear *)*layer;
    l->w_transposed = config->w_transposed;
    l->weight = weight;
    assert(!weight || clvi_spec_equal(clv_matrix_spec(weight->value), config->w));
    if (!weight)
        CLVI_TRY(clvi_params_add_part(params, name, "weight", config->w, 0, std, true, &l->weight));
    if (!config->no_bias)
        CLVI_TRY(clvi_vector_create(params, name, "bias", config->y, 0, &l->bias));
    CLVI_TRY(plan(l));
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}

clv_status clv_linear_create(clv_params *params, const char *name, const clv_linear_config *config,
                             clv_layer **layer)
{
    return clvi_linear_create_on(params, name, NULL, config, layer);
}

clv_status clvi_linear_create_part(clv_params *params, const char *name, const char *part,
                                   const clv_linear_config *config, clv_layer **layer)
{
    char full[CLVI_NAME_SIZE];
    clv_status status;
    CLVI_TRY(clvi_name_join(full, name, part));
    CLVI_TRY(clv_linear_create(params, full, config, layer));
done:
    return status;
}
