/* SPDX-License-Identifier: BSD-3-Clause
 *
 * products.c: one product C = op(A) op(B) as a contender: over a grid with a plan, or on every
 * process alone by BLIS.
 */
#include "bench.h"

#include <string.h>

double product_flops(const product_kind *kind)
{
    return 2.0 * (double)kind->size.m * (double)kind->size.n * (double)kind->size.k;
}

double product_bytes(const product_kind *kind)
{
    double m = (double)kind->size.m, n = (double)kind->size.n, k = (double)kind->size.k;
    return (m * k + m * n) * (double)clv_dtype_size(kind->dtype) +
           k * n * (double)clv_dtype_size(kind->weights);
}

/* Rows over the only axis, or over the first half of the axes and columns over the rest. */
static clv_layout default_layout(const clv_grid *grid)
{
    clv_layout layout = {0};
    int naxes = clv_grid_naxes(grid);
    for (int axis = 0; axis < naxes; axis++) {
        clv_order *list = axis < (naxes + 1) / 2 ? &layout.rows : &layout.cols;
        *list = clv_order_append(*list, axis);
    }
    return layout;
}

static clv_spec spec_of(int64_t m, int64_t n, bool trans, clv_dtype dtype)
{
    return (clv_spec){.m = trans ? n : m, .n = trans ? m : n, .dtype = dtype};
}

clv_status product_specs(const product_kind *kind, const clv_grid *grid,
                         const char *const layouts[], clv_spec specs[])
{
    clv_status status = CLV_OK;
    extents e = kind->size;
    specs[A] = spec_of(e.m, e.k, kind->trans_a, kind->dtype);
    specs[B] = spec_of(e.k, e.n, kind->trans_b, kind->weights);
    specs[C] = spec_of(e.m, e.n, false, kind->dtype);
    for (int i = 0; i < OPERANDS; i++) {
        specs[i].layout = default_layout(grid);
        if (layouts && layouts[i]) TRY(tool_layout(grid, layouts[i], &specs[i].layout));
    }
done:
    return status;
}

clv_status product_grid(const product_kind *kind, const char *grid, int leaves, product *p)
{
    clv_status status;
    p->kind = *kind;
    TRY(tool_grid(grid, leaves, &p->grid));
    tool_grid_format(p->grid, p->axes, sizeof p->axes);
done:
    return status;
}

clv_status product_matrices(const char *const layouts[], product *p)
{
    clv_status status;
    clv_spec specs[OPERANDS];
    TRY(product_specs(&p->kind, p->grid, layouts, specs));
    for (int i = 0; i < OPERANDS; i++) {
        clv_layout_format(p->grid, specs[i].layout, p->layouts[i], sizeof p->layouts[i]);
        TRY(matrix_open(p->grid, specs[i], p->shapes, 1, (uint64_t)i, &p->matrices[i]));
    }
done:
    return status;
}

clv_status product_plan(product *p, const clv_plan_options *options)
{
    return clv_plan_gemm(p->kind.trans_a ? CLV_T : CLV_N, p->matrices[A],
                         p->kind.trans_b ? CLV_T : CLV_N, p->matrices[B], p->matrices[C], options,
                         &p->plan);
}

clv_status product_run(void *context)
{
    product *p = context;
    return clv_execute_gemm(p->plan, 1, p->matrices[A], p->matrices[B], 0, p->matrices[C]);
}

void product_close(product *p)
{
    clv_plan_destroy(&p->plan);
    for (int i = 0; i < OPERANDS; i++) clv_matrix_destroy(&p->matrices[i]);
    clv_grid_destroy(&p->grid);
}

/* ---- On every process alone ---- */

product_kind product_share(const product_kind *kind, const clv_grid *grid, clv_spec c)
{
    product_kind share = *kind;
    clv_block block = clv_spec_block(grid, c, clv_grid_rank(grid));
    clv_axes cut = clv_order_set(c.layout.rows) | clv_order_set(c.layout.cols);
    int64_t same = 1; /* processes that hold this block */
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (!(cut >> axis & 1)) same *= clv_grid_axis(grid, axis).size;
    share.size = (extents){block.m, block.n, (kind->size.k + same - 1) / same};
    share.weights = kind->dtype; /* BLIS knows no mixed products */
    return share;
}

clv_status product_open_alone(const product_kind *kind, product *p)
{
    clv_status status;
    int threads = clv_blas_describe().threads;
    p->kind = *kind;
    TRY(clv_grid_create_text(MPI_COMM_SELF, NULL, &p->grid));
    /* A grid of one process takes all cores of its node: it does not know of the others. */
    clv_blas_set_threads(threads);
    TRY(product_matrices(NULL, p));
done:
    return status;
}

clv_status product_run_alone(void *context)
{
    product *p = context;
    clv_block a = clv_matrix_block(p->matrices[A]), b = clv_matrix_block(p->matrices[B]);
    clv_block c = clv_matrix_block(p->matrices[C]);
    clv_blas_gemm(p->kind.dtype, p->kind.trans_a, p->kind.trans_b, c.m, c.n, p->kind.size.k, a.data,
                  a.ld, b.data, b.ld, c.data, c.ld);
    return CLV_OK;
}
