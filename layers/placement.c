/* SPDX-License-Identifier: BSD-3-Clause
 *
 * placement.c: how the matrices of a transformer lie on a grid (AxoNN's scheme: Singh et al.
 * 2023). Neighbouring products swap row and col, so that one's output already lies as the
 * next one's input:
 *
 *     heads[d+z+row | col]      = residual[d+z+col | row] weight_in[row+z | col]
 *     residual[d+z+col | row]   = heads[d+z+row | col]    weight_out[col+z | row]
 *
 * (d data, z depth). What shards tokens beyond data and depth is the axis of the sum
 * that the product leaves: each pending sum is reduce-scattered onto tokens.
 */
#include <clvi_layers.h>
#include <string.h>

enum { DATA, DEPTH, ROW, COL, ROLES };
static const char *const role_names[ROLES] = {"data", "depth", "row", "col"};

/* The list of the axes of these roles that the grid has, outermost first. */
static clv_order list(const clv_grid *grid, int count, const int roles[])
{
    clv_order order = 0;
    for (int i = 0; i < count; i++) {
        int axis = clv_grid_find(grid, role_names[roles[i]]);
        if (axis >= 0) order = clv_order_append(order, axis);
    }
    return order;
}
#define LIST(grid, ...) \
    list(grid, sizeof((int[]){__VA_ARGS__}) / sizeof(int), (const int[]){__VA_ARGS__})

static bool is_role(const char *name)
{
    for (int i = 0; i < ROLES; i++)
        if (strcmp(name, role_names[i]) == 0) return true;
    return false;
}

clv_status clv_transformer_layouts_of(const clv_grid *grid, clv_transformer_layouts *out)
{
    for (int i = 0; i < clv_grid_naxes(grid); i++) {
        const char *name = clv_grid_axis(grid, i).name;
        if (!is_role(name))
            return clvi_fail(CLV_ELAYOUT,
                             "grid axis \"%s\": a transformer expects axes named data, depth, row "
                             "or col",
                             name);
    }
    clv_order row = LIST(grid, ROW), col = LIST(grid, COL);
    *out = (clv_transformer_layouts){
        .ids = {.rows = LIST(grid, DATA, DEPTH, COL)},
        .residual = {.rows = LIST(grid, DATA, DEPTH, COL), .cols = row},
        .heads = {.rows = LIST(grid, DATA, DEPTH, ROW), .cols = col},
        .weight_in = {.rows = LIST(grid, ROW, DEPTH), .cols = col},
        .weight_out = {.rows = LIST(grid, COL, DEPTH), .cols = row},
        .embedding = {.rows = col, .cols = row},
    };
    return CLV_OK;
}

clv_status clvi_check_shape(const clv_transformer_shape *shape)
{
    if (shape->sequences < 1 || shape->context < 1 || shape->width < 1)
        return clvi_fail(CLV_ESHAPE,
                         "transformer: expected sequences, context and width of at least 1, found "
                         "%lld, %lld and %lld",
                         (long long)shape->sequences, (long long)shape->context,
                         (long long)shape->width);
    if (shape->sequences > INT64_MAX / shape->context || shape->width > INT64_MAX / 3)
        return clvi_fail(CLV_ELIMIT,
                         "transformer: %lld sequences of %lld tokens of width %lld are more than a "
                         "matrix can hold",
                         (long long)shape->sequences, (long long)shape->context,
                         (long long)shape->width);
    if (shape->dtype != CLV_F32 && shape->dtype != CLV_F64)
        return clvi_fail(CLV_EDTYPE, "transformer: expected f32 or f64, found %s",
                         clv_dtype_name(shape->dtype));
    return CLV_OK;
}

static clv_spec tokens(const clv_transformer_shape *shape, int64_t n, int64_t n_unit,
                       clv_dtype dtype, clv_layout layout)
{
    return (clv_spec){.m = shape->sequences * shape->context,
                      .n = n,
                      .m_unit = shape->context,
                      .n_unit = n_unit,
                      .dtype = dtype,
                      .layout = layout};
}

clv_spec clvi_ids_spec(const clv_transformer_shape *shape)
{
    return tokens(shape, 1, 1, CLV_I32, shape->layouts.ids);
}

clv_spec clvi_residual_spec(const clv_transformer_shape *shape)
{
    return tokens(shape, shape->width, 1, shape->dtype, shape->layouts.residual);
}

clv_spec clvi_heads_spec(const clv_transformer_shape *shape, int64_t n, int64_t n_unit)
{
    return tokens(shape, n, n_unit, shape->dtype, shape->layouts.heads);
}

clv_spec clvi_weight_in_spec(const clv_transformer_shape *shape, int64_t n, int64_t n_unit)
{
    return (clv_spec){.m = shape->width,
                      .n = n,
                      .m_unit = 1,
                      .n_unit = n_unit,
                      .dtype = shape->dtype,
                      .layout = shape->layouts.weight_in};
}

clv_spec clvi_weight_out_spec(const clv_transformer_shape *shape, int64_t n, int64_t n_unit)
{
    return (clv_spec){.m = n,
                      .n = shape->width,
                      .m_unit = n_unit,
                      .n_unit = 1,
                      .dtype = shape->dtype,
                      .layout = shape->layouts.weight_out};
}
