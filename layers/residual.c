/* SPDX-License-Identifier: BSD-3-Clause
 *
 * residual.c: Y = X + f(norm(X)), dX = dY + norm'(f'(dY)).
 */
#include <clvi_layers.h>

typedef struct {
    clv_layer base;
    clv_layer *norm, *f; /* owned */
    clv_matrix *N, *dN;  /* norm(X) and its gradient */
} residual;

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    residual *r = (residual *)layer;
    clv_status status;
    CLVI_TRY(clv_layer_forward(r->norm, X, r->N));
    CLVI_TRY(clv_layer_forward(r->f, r->N, Y));
    clvi_add(X, Y);
done:
    return status;
}

static clv_status backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    residual *r = (residual *)layer;
    clv_status status;
    CLVI_TRY(clv_layer_backward(r->f, dY, r->dN));
    CLVI_TRY(clv_layer_backward(r->norm, r->dN, dX));
    if (dX) clvi_add(dY, dX);
done:
    return status;
}

static void destroy(clv_layer *layer)
{
    residual *r = (residual *)layer;
    clv_layer_destroy(&r->norm);
    clv_layer_destroy(&r->f);
    clv_matrix_destroy(&r->N);
    clv_matrix_destroy(&r->dN);
}

static const clvi_layer_type type = {"residual", forward, backward, destroy};

static clv_status check(const clv_layer *norm, const clv_layer *f)
{
    if (clvi_spec_equal(norm->y, f->x) && clvi_spec_equal(norm->x, f->y)) return CLV_OK;
    char in[96], out[96], back[96], of[96];
    return clvi_fail(CLV_ESHAPE,
                     "residual: expected f from %s to %s, as the norm's output and input, found "
                     "from %s to %s",
                     clvi_spec_format(norm->grid, norm->y, out, sizeof out),
                     clvi_spec_format(norm->grid, norm->x, in, sizeof in),
                     clvi_spec_format(norm->grid, f->x, of, sizeof of),
                     clvi_spec_format(norm->grid, f->y, back, sizeof back));
}

clv_status clv_residual_create(clv_params *params, clv_layer *norm, clv_layer *f, clv_layer **layer)
{
    clv_grid *grid = clv_params_grid(params);
    clv_status status;
    *layer = NULL;
    CLVI_TRY(clv_grid_agree(grid, check(norm, f)));
    CLVI_TRY(clvi_layer_create(grid, sizeof(residual), &type, norm->x, norm->x, layer));
    residual *r = (residual *)*layer;
    CLVI_TRY(clv_matrix_create(grid, norm->y, &r->N));
    CLVI_TRY(clv_matrix_create(grid, norm->y, &r->dN));
    r->norm = norm;
    r->f = f;
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}
