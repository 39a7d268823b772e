/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention.c: causal multi-head attention between two products.
 *
 *     Z[d+z+row | col] = X Wqkv + b     O = attention(Z), one sequence and group at a time
 *     Y = O Wout + b
 *
 * A group is the heads of q that share one k and one v (grouped-query attention, Ainslie et al.
 * 2023). Rows are cut between sequences and columns between groups, so that the middle is local.
 */
#include <clvi_layers.h>
#include <math.h>

typedef struct {
    clv_layer base;
    clvi_attention group;
    void *rotary; /* the group's table */
    clv_layer *qkv, *out;
    clv_matrix *Z, *dZ; /* for each group its heads of q, k, v side by side */
    clv_matrix *O, *dO;
} attention;

/* Columns of a group in Z and in O. */
static int64_t z_width(const clvi_attention *group)
{
    return (group->g + 2) * group->d;
}

static int64_t o_width(const clvi_attention *group)
{
    return group->g * group->d;
}

/* Calls visit for every group of every sequence that this process holds: z and o are the offsets of
 * its first token in Z's and O's blocks. */
static void each_group(attention *l, void (*visit)(attention *l, int64_t z, int64_t o))
{
    clv_block Z = clv_matrix_block(l->Z), O = clv_matrix_block(l->O);
    for (int64_t i = 0; i < O.m; i += l->group.T)
        for (int64_t j = 0; j * o_width(&l->group) < O.n; j++)
            visit(l, i * Z.ld + j * z_width(&l->group), i * O.ld + j * o_width(&l->group));
}

static void *at(const attention *l, const clv_matrix *matrix, int64_t offset)
{
    return (char *)clv_matrix_block(matrix).data + (size_t)offset * clv_dtype_size(l->base.x.dtype);
}

static void group_forward(attention *l, int64_t z, int64_t o)
{
    clvi_attention_forward(&l->group, at(l, l->Z, z), at(l, l->O, o));
}

static void group_backward(attention *l, int64_t z, int64_t o)
{
    clvi_attention_backward(&l->group, at(l, l->Z, z), at(l, l->dO, o), at(l, l->dZ, z));
}

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    attention *l = (attention *)layer;
    clv_status status;
    CLVI_TRY(clv_layer_forward(l->qkv, X, l->Z));
    each_group(l, group_forward);
    CLVI_TRY(clv_layer_forward(l->out, l->O, Y));
done:
    return status;
}

static clv_status backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    attention *l = (attention *)layer;
    clv_status status;
    CLVI_TRY(clv_layer_backward(l->out, dY, l->dO));
    each_group(l, group_backward);
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
    clvi_free(l->group.work);
    clvi_free(l->rotary);
}

static const clvi_layer_type type = {"attention", forward, backward, destroy};

static clv_status check(const char *name, const clv_transformer_shape *shape,
                        const clv_attention_config *c)
{
    clv_status status;
    CLVI_TRY(clvi_check_shape(shape));
    CLVI_CHECK(c->heads >= 1 && shape->width % c->heads == 0, CLV_ESHAPE,
               "%s: expected heads that divide the width of %lld, found %d", name,
               (long long)shape->width, c->heads);
    CLVI_CHECK(c->kv_heads >= 0 && (c->kv_heads == 0 || c->heads % c->kv_heads == 0), CLV_ESHAPE,
               "%s: expected heads of k and v that divide the %d heads, found %d", name, c->heads,
               c->kv_heads);
    CLVI_CHECK(c->rotary_base >= 0 && isfinite(c->rotary_base), CLV_EARG,
               "%s: expected a base of rotary embeddings above 0, or 0 for none, found %g", name,
               c->rotary_base);
    CLVI_CHECK(c->rotary_base == 0 || shape->width / c->heads % 2 == 0, CLV_ESHAPE,
               "%s: rotary embeddings expect heads of an even number of features, found %lld", name,
               (long long)(shape->width / c->heads));
done:
    return status;
}

static clv_status build_products(attention *l, clv_params *params, const char *name,
                                 const clv_transformer_shape *shape,
                                 const clv_attention_config *config)
{
    clv_grid *grid = l->base.grid;
    int64_t z_unit = z_width(&l->group), o_unit = o_width(&l->group);
    int64_t width = shape->width, z_columns = width / o_unit * z_unit;
    clv_spec x = l->base.x, o = clvi_heads_spec(shape, width, o_unit);
    clv_spec z = clvi_heads_spec(shape, z_columns, z_unit);
    clv_linear_config qkv = {.x = x,
                             .w = clvi_weight_in_spec(shape, z_columns, z_unit),
                             .y = z,
                             .no_bias = config->no_bias};
    clv_linear_config out = {.x = o,
                             .w = clvi_weight_out_spec(shape, width, o_unit),
                             .y = x,
                             .no_bias = config->no_bias,
                             .std = config->out_std};
    clv_status status;
    CLVI_TRY(clvi_linear_create_part(params, name, "qkv", &qkv, &l->qkv));
    CLVI_TRY(clvi_linear_create_part(params, name, "out", &out, &l->out));
    CLVI_TRY(clv_matrix_create(grid, z, &l->Z));
    CLVI_TRY(clv_matrix_create(grid, z, &l->dZ));
    CLVI_TRY(clv_matrix_create(grid, o, &l->O));
    CLVI_TRY(clv_matrix_create(grid, o, &l->dO));
done:
    return status;
}

/* What the groups work with, one after the other. Local. */
static clv_status prepare_group(attention *l, const char *name, double rotary_base)
{
    clvi_attention *group = &l->group;
    size_t size = clv_dtype_size(group->dtype);
    size_t work = (size_t)clvi_attention_work(group->T) * size;
    size_t table = rotary_base > 0 ? (size_t)(group->T * group->d) * size : 0;
    group->ld = clv_matrix_block(l->Z).ld;
    group->ldo = clv_matrix_block(l->O).ld;
    group->work = clvi_alloc(work);
    if (table) group->rotary = l->rotary = clvi_alloc(table);
    if (!group->work || (table && !l->rotary))
        return clvi_fail(CLV_ENOMEM, "%s: %zu bytes", name, work + table);
    if (table) clvi_rotary_table(group->dtype, group->T, group->d, rotary_base, l->rotary);
    return clvi_gemm_reserve(false);
}

clv_status clv_attention_create(clv_params *params, const char *name,
                                const clv_transformer_shape *shape,
                                const clv_attention_config *config, clv_layer **layer)
{
    clv_grid *grid = clv_params_grid(params);
    clv_status status;
    *layer = NULL;
    CLVI_TRY(clv_grid_agree(grid, check(name, shape, config)));
    clv_spec x = clvi_residual_spec(shape);
    CLVI_TRY(clvi_layer_create(grid, sizeof(attention), &type, x, x, layer));
    attention *l = (attention *)*layer;
    int kv_heads = config->kv_heads ? config->kv_heads : config->heads;
    l->group = (clvi_attention){.dtype = x.dtype,
                                .T = shape->context,
                                .g = config->heads / kv_heads,
                                .d = shape->width / config->heads};
    CLVI_TRY(build_products(l, params, name, shape, config));
    CLVI_TRY(clv_grid_agree(grid, prepare_group(l, name, config->rotary_base)));
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}
