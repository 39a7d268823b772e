/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack_gemm.c: products by ScaLAPACK's p?gemm, a second opinion and a rival.
 *
 * ScaLAPACK is column-major: our row-major A[r|c] is its column-major A^T[c|r], so the columns'
 * axes make the rows of its process grid. The product is the transposed one,
 *
 *     C^T[c|r] = op(B)^T op(A)^T,   each operand flagged as ours is: B^T is op(B)^T for CLV_N.
 *
 * Nothing is copied: layouts that are not one block a process in ScaLAPACK's sense are refused.
 */
#include <clvi_scalapack.h>
#include <stdlib.h>

typedef struct {
    clvi_dealt rows, cols;
} deal;

struct clvi_scalapack {
    int context;
    clv_op op_a, op_b;
    deal A, B, C;
    clv_dtype dtype;
};

/* ---- Which layouts and sizes ------------------------------------------------ */

/* PBLAS sizes its panels in 32 bits of bytes. A panel is all of one extent by a block of another,
 * or by the whole of it where neither matrix that has it is cut there. */
static clv_status check_panels(const clvi_dealt dims[3][2], size_t element, char *why, size_t size)
{
    for (int i = 0; i < 3; i++) {
        bool whole = dims[i][0].parts == 1 && dims[i][1].parts == 1;
        int64_t extent = dims[i][0].extent;
        int64_t depth = whole ? extent : clvi_smaller(extent, pilaenv_(NULL, NULL));
        int64_t length = clvi_larger(dims[(i + 1) % 3][0].extent, dims[(i + 2) % 3][0].extent);
        if (depth == 0 || length <= INT32_MAX / (int64_t)element / depth) continue;
        snprintf(why, size,
                 "ScaLAPACK counts the bytes of a panel in 32 bits: expected at most %d, found "
                 "%lld x %lld elements of %zu",
                 INT32_MAX, (long long)length, (long long)depth, element);
        return CLV_ELIMIT;
    }
    return CLV_OK;
}

/* Fills *d for one operand, or says why not. */
static clv_status accept_operand(const clv_grid *grid, const char *name, clv_spec spec,
                                 clv_order rows, clv_order cols, deal *d, char *why, size_t size)
{
    char text[256];
    clvi_spec_format(grid, spec, text, sizeof text);
    clv_axes wide = clvi_wide_axes(grid);
    if (clvi_order_keep(spec.layout.rows, wide) != rows ||
        clvi_order_keep(spec.layout.cols, wide) != cols ||
        (clv_order_set(rows) | clv_order_set(cols)) != wide) {
        snprintf(why, size,
                 "ScaLAPACK: expected every axis to shard the rows or the columns, the same ones "
                 "in A, B and C; found %s: %s",
                 name, text);
        return CLV_EUNSUPPORTED;
    }
    if (clvi_larger(spec.m, spec.n) > INT32_MAX) {
        snprintf(why, size, "ScaLAPACK counts in 32 bits: expected extents up to %d, found %s: %s",
                 INT32_MAX, name, text);
        return CLV_ELIMIT;
    }
    if (!clvi_deal_layout(grid, spec.m, spec.m_unit, rows, &d->rows) ||
        !clvi_deal_layout(grid, spec.n, spec.n_unit, cols, &d->cols)) {
        snprintf(why, size,
                 "ScaLAPACK: expected blocks of one size, only the last smaller; found %s: %s, "
                 "which is cut otherwise",
                 name, text);
        return CLV_EUNSUPPORTED;
    }
    return CLV_OK;
}

/* Fills *plan (all but its context) or says why not. Local, and the same on every process. */
static clv_status accept(const clv_grid *grid, clv_op op_a, clv_spec A, clv_op op_b, clv_spec B,
                         clv_spec C, clvi_scalapack *plan, char *why, size_t size)
{
    clv_status status;
    bool ta = op_a == CLV_T, tb = op_b == CLV_T;
    clv_order rows = clvi_order_keep(C.layout.rows, clvi_wide_axes(grid));
    clv_order cols = clvi_order_keep(C.layout.cols, clvi_wide_axes(grid));
    deal a, b, c;
    CLVI_TRY(accept_operand(grid, "C", C, rows, cols, &c, why, size));
    CLVI_TRY(accept_operand(grid, "A", A, rows, cols, &a, why, size));
    CLVI_TRY(accept_operand(grid, "B", B, rows, cols, &b, why, size));
    const clvi_dealt dims[3][2] = {{c.rows, ta ? a.cols : a.rows},
                                   {c.cols, tb ? b.rows : b.cols},
                                   {ta ? a.rows : a.cols, tb ? b.cols : b.rows}};
    CLVI_TRY(check_panels(dims, clv_dtype_size(C.dtype), why, size));
    *plan = (clvi_scalapack){.op_a = op_a, .op_b = op_b, .dtype = C.dtype, .A = a, .B = b, .C = c};
done:
    return status;
}

/* ---- Plan and execute --------------------------------------------------------- */

/* The context whose process rows and columns two lists of axes count. Collective. */
static clv_status find_context(clv_grid *grid, clv_order rows, clv_order cols, int *context)
{
    int *ranks = malloc((size_t)clv_grid_size(grid) * sizeof *ranks);
    clv_status status = ranks ? CLV_OK : clvi_fail(CLV_ENOMEM, "%d ranks", clv_grid_size(grid));
    CLVI_TRY(clv_grid_agree(grid, status));
    clvi_order_ranks(grid, rows, cols, ranks);
    CLVI_TRY(clvi_blacs_context(grid, clvi_order_parts(grid, rows), clvi_order_parts(grid, cols),
                                ranks, context));
done:
    free(ranks);
    return status;
}

clv_status clvi_scalapack_plan(clv_grid *grid, clv_op op_a, const clv_matrix *A, clv_op op_b,
                               const clv_matrix *B, const clv_matrix *C, clvi_scalapack **plan)
{
    char why[512] = "";
    clv_status status;
    clv_axes wide = clvi_wide_axes(grid);
    clv_layout layout = clv_matrix_spec(C).layout;
    clvi_scalapack *made = *plan = malloc(sizeof *made);
    if (!made) {
        status = clvi_fail(CLV_ENOMEM, "a plan for ScaLAPACK");
    } else {
        status = accept(grid, op_a, clv_matrix_spec(A), op_b, clv_matrix_spec(B),
                        clv_matrix_spec(C), made, why, sizeof why);
        if (status != CLV_OK) clvi_fail(status, "%s", why);
    }
    CLVI_TRY(clv_grid_agree(grid, status));
    CLVI_TRY(find_context(grid, clvi_order_keep(layout.cols, wide),
                          clvi_order_keep(layout.rows, wide), &made->context));
done:
    if (status != CLV_OK) clvi_scalapack_destroy(plan);
    return status;
}

void clvi_scalapack_destroy(clvi_scalapack **plan)
{
    if (!plan) return;
    free(*plan);
    *plan = NULL;
}

/* A block as the column-major matrix that it is the transpose of. */
static clvi_local describe(int context, deal d, clv_block block)
{
    return clvi_describe(context, (int64_t[]){d.cols.extent, d.rows.extent},
                         (int64_t[]){d.cols.block, d.rows.block}, (int[]){0, 0}, block.data,
                         block.ld);
}

clv_status clvi_scalapack_execute(const clvi_scalapack *plan, double alpha, const clv_matrix *A,
                                  const clv_matrix *B, double beta, clv_matrix *C)
{
    clv_block a = clv_matrix_block(A), b = clv_matrix_block(B), c = clv_matrix_block(C);
    int64_t m = plan->C.rows.extent, n = plan->C.cols.extent;
    int64_t k = plan->op_a == CLV_T ? plan->A.rows.extent : plan->A.cols.extent;
    clv_status status = CLV_OK;
    int64_t ld = clvi_larger(a.ld, clvi_larger(b.ld, c.ld));
    if (ld > INT32_MAX)
        status = clvi_fail(CLV_ELIMIT, "ScaLAPACK: expected an ld of at most %d, found %lld",
                           INT32_MAX, (long long)ld);
    /* Whoever comes late is waited for here, politely, and not inside PBLAS. */
    status = clv_grid_agree(clv_matrix_grid(C), status);
    if (status != CLV_OK || m == 0 || n == 0) return status;
    clvi_pgemm(plan->dtype, plan->op_b == CLV_T, plan->op_a == CLV_T, n, m, k, alpha,
               describe(plan->context, plan->B, b), describe(plan->context, plan->A, a), beta,
               describe(plan->context, plan->C, c));
    return CLV_OK;
}
