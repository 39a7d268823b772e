/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mlp.c: two or three products with an activation between them.
 *
 *     GELU     A = gelu(U)            U = X Wup + b      Y = A Wdown + b    (or no biases)
 *     SwiGLU   A = silu(G) * U        G = X Wgate        (no biases)
 *
 * U, G, A[d+z+row | col] lie where the products leave them; the activation is local.
 */
#include <clvi_layers.h>

typedef struct {
    clv_layer base;
    clv_mlp_kind kind;
    clv_layer *up, *down;
    clv_matrix *U, *A, *dA; /* dA becomes dU in place */
    clv_layer *gate;        /* SwiGLU only, from here */
    clv_matrix *G, *dG;
    clv_matrix *dX; /* what comes through the gate */
} mlp;

/* Elements of this process's block of a matrix that owns its memory: contiguous. */
static int64_t elements(clv_block block)
{
    return block.m * block.n;
}

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    mlp *l = (mlp *)layer;
    clv_dtype dtype = layer->x.dtype;
    clv_block U = clv_matrix_block(l->U), A = clv_matrix_block(l->A);
    clv_status status;
    CLVI_TRY(clv_layer_forward(l->up, X, l->U));
    if (l->kind == CLV_MLP_SWIGLU) {
        CLVI_TRY(clv_layer_forward(l->gate, X, l->G));
        clvi_swiglu_forward(dtype, elements(A), clv_matrix_block(l->G).data, U.data, A.data);
    } else {
        clvi_activation_forward(dtype, CLVI_GELU, elements(A), U.data, A.data);
    }
    CLVI_TRY(clv_layer_forward(l->down, l->A, Y));
done:
    return status;
}

static clv_status backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    mlp *l = (mlp *)layer;
    clv_dtype dtype = layer->x.dtype;
    clv_block U = clv_matrix_block(l->U), dA = clv_matrix_block(l->dA);
    clv_status status;
    CLVI_TRY(clv_layer_backward(l->down, dY, l->dA));
    if (l->kind == CLV_MLP_SWIGLU) {
        clvi_swiglu_backward(dtype, elements(dA), clv_matrix_block(l->G).data, U.data, dA.data,
                             clv_matrix_block(l->dG).data, dA.data);
        CLVI_TRY(clv_layer_backward(l->gate, l->dG, dX ? l->dX : NULL));
    } else {
        clvi_activation_backward(dtype, CLVI_GELU, elements(dA), U.data, dA.data, dA.data);
    }
    CLVI_TRY(clv_layer_backward(l->up, l->dA, dX));
    if (dX && l->dX) clvi_add(l->dX, dX);
done:
    return status;
}

static void destroy(clv_layer *layer)
{
    mlp *l = (mlp *)layer;
    clv_layer_destroy(&l->up);
    clv_layer_destroy(&l->gate);
    clv_layer_destroy(&l->down);
    clv_matrix_destroy(&l->U);
    clv_matrix_destroy(&l->G);
    clv_matrix_destroy(&l->A);
    clv_matrix_destroy(&l->dA);
    clv_matrix_destroy(&l->dG);
    clv_matrix_destroy(&l->dX);
}

static const clvi_layer_type type = {"mlp", forward, backward, destroy};

static clv_status check(const char *name, const clv_transformer_shape *shape,
                        const clv_mlp_config *c)
{
    clv_status status;
    CLVI_TRY(clvi_check_shape(shape));
    CLVI_CHECK(c->hidden >= 1, CLV_ESHAPE, "%s: expected at least 1 hidden column, found %lld",
               name, (long long)c->hidden);
done:
    return status;
}

/* Products and workspace; residual x, hidden h. */
static clv_status build(mlp *l, clv_params *params, const char *name,
                        const clv_transformer_shape *shape, const clv_mlp_config *config)
{
    clv_grid *grid = l->base.grid;
    int64_t hidden = config->hidden;
    bool gated = config->kind == CLV_MLP_SWIGLU, no_bias = gated || config->no_bias;
    clv_spec x = l->base.x, h = clvi_heads_spec(shape, hidden, 1);
    clv_linear_config in = {
        .x = x, .w = clvi_weight_in_spec(shape, hidden, 1), .y = h, .no_bias = no_bias};
    clv_linear_config out = {.x = h,
                             .w = clvi_weight_out_spec(shape, hidden, 1),
                             .y = x,
                             .no_bias = no_bias,
                             .std = config->out_std};
    clv_status status;
    CLVI_TRY(clvi_linear_create_part(params, name, "up", &in, &l->up));
    if (gated) CLVI_TRY(clvi_linear_create_part(params, name, "gate", &in, &l->gate));
    CLVI_TRY(clvi_linear_create_part(params, name, "down", &out, &l->down));
    CLVI_TRY(clv_matrix_create(grid, h, &l->U));
    CLVI_TRY(clv_matrix_create(grid, h, &l->A));
    CLVI_TRY(clv_matrix_create(grid, h, &l->dA));
    if (gated) {
        CLVI_TRY(clv_matrix_create(grid, h, &l->G));
        CLVI_TRY(clv_matrix_create(grid, h, &l->dG));
        CLVI_TRY(clv_matrix_create(grid, x, &l->dX));
    }
done:
    return status;
}

clv_status clv_mlp_create(clv_params *params, const char *name, const clv_transformer_shape *shape,
                          const clv_mlp_config *config, clv_layer **layer)
{
    clv_grid *grid = clv_params_grid(params);
    clv_status status;
    *layer = NULL;
    CLVI_TRY(clv_grid_agree(grid, check(name, shape, config)));
    clv_spec x = clvi_residual_spec(shape);
    CLVI_TRY(clvi_layer_create(grid, sizeof(mlp), &type, x, x, layer));
    mlp *l = (mlp *)*layer;
    l->kind = config->kind;
    CLVI_TRY(build(l, params, name, shape, config));
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}
