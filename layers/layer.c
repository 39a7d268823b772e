/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layer.c: the table behind every layer, and what is checked before it is used.
 */
#include <clvi_layers.h>

/* ---- For the layers ----------------------------------------------------------- */

clv_status clvi_layer_create(clv_grid *grid, size_t bytes, const clvi_layer_type *type, clv_spec x,
                             clv_spec y, clv_layer **out)
{
    clv_layer *layer = clvi_alloc(bytes);
    clv_status status = clv_grid_agree(
        grid, layer ? CLV_OK : clvi_fail(CLV_ENOMEM, "%s: %zu bytes", type->name, bytes));
    if (status == CLV_OK) {
        *layer = (clv_layer){.type = type, .grid = grid, .x = x, .y = y};
        *out = layer;
    } else {
        clvi_free(layer);
    }
    return status;
}

clv_status clvi_check_extent(const char *layer, const char *what, int64_t found, int64_t expected)
{
    if (found == expected) return CLV_OK;
    return clvi_fail(CLV_ESHAPE, "%s: %s: expected %lld, found %lld", layer, what,
                     (long long)expected, (long long)found);
}

clv_status clvi_check_values(const char *layer, const char *what, clv_spec spec)
{
    if (spec.dtype != CLV_F32 && spec.dtype != CLV_F64) {
        const char *found = clv_dtype_name(spec.dtype);
        return clvi_fail(CLV_EDTYPE, "%s: %s: expected f32 or f64, found %s", layer, what,
                         found ? found : "no dtype");
    }
    if (spec.layout.sum)
        return clvi_fail(CLV_ELAYOUT, "%s: %s: expected a layout without a pending sum", layer,
                         what);
    return CLV_OK;
}

clv_status clvi_plan_move_specs(clv_grid *grid, clv_spec src, clv_spec dst, clv_plan **plan)
{
    clv_matrix *from = NULL, *to = NULL;
    clv_status status;
    CLVI_TRY(clv_matrix_shape(grid, src, &from));
    CLVI_TRY(clv_matrix_shape(grid, dst, &to));
    CLVI_TRY(clv_plan_move(from, to, NULL, plan));
done:
    clv_matrix_destroy(&from);
    clv_matrix_destroy(&to);
    return status;
}

void clvi_add(const clv_matrix *X, clv_matrix *Y)
{
    clv_block x = clv_matrix_block(X), y = clv_matrix_block(Y);
    clvi_axpby_rows(clv_matrix_spec(Y).dtype, y.m, y.n, 1, x.data, x.ld, 1, y.data, y.ld);
}

/* ---- For those who use layers ---------------------------------------------------- */

clv_status clv_layer_forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    clv_status status;
    CLVI_TRY(clvi_matrix_expect(X, "X", layer->grid, layer->x));
    CLVI_TRY(clvi_matrix_expect(Y, "Y", layer->grid, layer->y));
    CLVI_TRY(layer->type->forward(layer, X, Y));
    layer->X = X;
done:
    return status;
}

clv_status clv_layer_backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    clv_status status;
    CLVI_CHECK(layer->X, CLV_EARG, "%s: expected a forward before backward, found none",
               layer->type->name);
    CLVI_TRY(clvi_matrix_expect(dY, "dY", layer->grid, layer->y));
    if (dX) CLVI_TRY(clvi_matrix_expect(dX, "dX", layer->grid, layer->x));
    CLVI_TRY(layer->type->backward(layer, dY, dX));
done:
    return status;
}

void clv_layer_destroy(clv_layer **layer)
{
    if (!*layer) return;
    (*layer)->type->destroy(*layer);
    clvi_free(*layer);
    *layer = NULL;
}

clv_spec clv_layer_input(const clv_layer *layer)
{
    return layer->x;
}

clv_spec clv_layer_output(const clv_layer *layer)
{
    return layer->y;
}
