/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention.c: causal multi-head attention between two products.
 *
 *     Z[d+z+row | col] = X Wqkv + b     O = attention(Z), one sequence and head at a time
 *     Y = O Wout + b
 *
 * Rows are cut between sequences and columns between heads, so that the middle is local.
 */
#include <clvi_layers.h>

typedef struct {
    clv_layer base;
    clvi_attention head;
    clv_layer *qkv, *out;
    clv_matrix *Z, *dZ; /* for each head q, k, v side by side  */
    clv_matrix *O, *dO;
} attention;

/* Calls visit for every head of every sequence that this process holds: z is the offset of its q in
 * Z's block (k and v follow d and 2 d behind), o that of its output in O's. */
static void each_head(attention *l, void (*visit)(attention *l, int64_t z, int64_t o))
{
    clv_block Z = clv_matrix_block(l->Z), O = clv_matrix_block(l->O);
    for (int64_t i = 0; i < O.m; i += l->head.T)
        for (int64_t j = 0; j < O.n; j += l->head.d) visit(l, i * Z.ld + 3 * j, i * O.ld + j);
}

static void *at(const attention *l, const clv_matrix *matrix, int64_t offset)
{
    return (char *)clv_matrix_block(matrix).data + (size_t)offset * clv_dtype_size(l->base.x.dtype);
}

static void head_forward(attention *l, int64_t z, int64_t o)
{
    int64_t d = l->head.d;
    clvi_attention_forward(&l->head, at(l, l->Z, z), at(l, l->Z, z + d), at(l, l->Z, z + 2 * d),
                           at(l, l->O, o));
}

static void head_backward(attention *l, int64_t z, int64_t o)
{
    int64_t d = l->head.d;
    clvi_attention_backward(&l->head, at(l, l->Z, z), at(l, l->Z, z + d), at(l, l->Z, z + 2 * d),
                            at(l, l->dO, o), at(l, l->dZ, z), at(l, l->dZ, z + d),
                            at(l, l->dZ, z + 2 * d));
}

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    attention *l = (attention *)layer;
    clv_status status;
    CLVI_TRY(clv_layer_forward(l->qkv, X, l->Z));
    each_head(l, head_forward);
    CLVI_TRY(clv_layer_forward(l->out, l->O, Y));
done:
    return status;
}

static clv_status backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    attention *l = (attention *)layer;
    clv_status status;
    CLVI_TRY(clv_layer_backward(l->out, dY, l->dO));
    each_head(l, head_backward);
    CLVI_TRY(clv_layer_backward(l->qkv, l->dZ, dX));
done:
    return status;
}

static void destroy(clv_layer *layer)
{
    attention *l = (attention *)layer;
    clv_layer_destroy(&l->qkv);
    clv_layer_destroy(&l->out);
    clv_matrix_destroy(&l->Z);
    clv_matrix_destroy(&l->dZ);
    clv_matrix_destroy(&l->O);
    clv_matrix_destroy(&l->dO);
    clvi_free(l->head.work);
}

static const clvi_layer_type type = {"attention", forward, backward, destroy};

static clv_status check(const char *name, const clv_transformer_shape *shape, int heads)
{
    clv_status status;
    CLVI_TRY(clvi_check_shape(shape));
    CLVI_CHECK(heads >= 1 && shape->width % heads == 0, CLV_ESHAPE,
               "%s: expected heads that divide the width of %lld, found %d", name,
               (long long)shape->width, heads);
done:
    return status;
}

/* Products and workspace. */
static clv_status build(attention *l, clv_params *params, const char *name,
                        const clv_transformer_shape *shape, double out_std)
{
    clv_grid *grid = l->base.grid;
    int64_t width = shape->width, d = l->head.d;
    clv_spec x = l->base.x, o = clvi_heads_spec(shape, width, d);
    clv_spec z = clvi_heads_spec(shape, 3 * width, 3 * d);
    clv_linear_config qkv = {.x = x, .w = clvi_weight_in_spec(shape, 3 * width, 3 * d), .y = z};
    clv_linear_config out = {
        .x = o, .w = clvi_weight_out_spec(shape, width, d), .y = x, .std = out_std};
    clv_status status;
    CLVI_TRY(clvi_linear_create_part(params, name, "qkv", &qkv, &l->qkv));
    CLVI_TRY(clvi_linear_create_part(params, name, "out", &out, &l->out));
    CLVI_TRY(clv_matrix_create(grid, z, &l->Z));
    CLVI_TRY(clv_matrix_create(grid, z, &l->dZ));
    CLVI_TRY(clv_matrix_create(grid, o, &l->O));
    CLVI_TRY(clv_matrix_create(grid, o, &l->dO));
    size_t bytes = (size_t)clvi_attention_work(l->head.T) * clv_dtype_size(z.dtype);
    l->head.work = clvi_alloc(bytes);
    l->head.ld = clv_matrix_block(l->Z).ld;
    l->head.ldo = clv_matrix_block(l->O).ld;
    status = l->head.work ? CLV_OK : clvi_fail(CLV_ENOMEM, "%s: %zu bytes", name, bytes);
    if (status == CLV_OK) status = clvi_gemm_reserve();
    CLVI_TRY(clv_grid_agree(grid, status));
done:
    return status;
}

clv_status clv_attention_create(clv_params *params, const char *name,
                                const clv_transformer_shape *shape, int heads, double out_std,
                                clv_layer **layer)
{
    clv_grid *grid = clv_params_grid(params);
    clv_status status;
    *layer = NULL;
    CLVI_TRY(clv_grid_agree(grid, check(name, shape, heads)));
    clv_spec x = clvi_residual_spec(shape);
    CLVI_TRY(clvi_layer_create(grid, sizeof(attention), &type, x, x, layer));
    attention *l = (attention *)*layer;
    l->head = (clvi_attention){.dtype = x.dtype, .T = shape->context, .d = shape->width / heads};
    CLVI_TRY(build(l, params, name, shape, out_std));
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}
