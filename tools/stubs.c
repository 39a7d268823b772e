/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stubs.c: stands in for functions of the library that are not built yet.
 */
#include <cleave.h>

clv_status clv_grid_set_leaves(clv_grid *grid, int leaves)
{
    (void)leaves;
    return clv_grid_agree(grid, CLV_EUNSUPPORTED);
}

clv_status clv_machine_write(const char *path, const clv_machine *machine)
{
    (void)path, (void)machine;
    return CLV_EUNSUPPORTED;
}

clv_status clv_machine_default(clv_machine *machine)
{
    *machine = (clv_machine){0};
    return CLV_OK;
}

clv_status clv_plan_linear(const clv_matrix *X, clv_op op_w, const clv_matrix *W,
                           const clv_matrix *Y, const clv_plan_options *options, clv_plan **forward,
                           clv_plan **dx, clv_plan **dw)
{
    clv_status status = clv_plan_gemm(CLV_N, X, op_w, W, Y, options, forward);
    if (status == CLV_OK) status = clv_plan_gemm(CLV_N, Y, CLV_T, W, X, options, dx);
    if (status == CLV_OK) status = clv_plan_gemm(CLV_T, X, CLV_N, Y, W, options, dw);
    return status;
}

clv_status clv_choose_linear(const clv_grid *grid, clv_dtype dtype, int64_t m, int64_t k, int64_t n,
                             const clv_plan_options *options, clv_layout *X, clv_layout *W,
                             clv_layout *Y)
{
    (void)dtype, (void)m, (void)k, (void)n, (void)options;
    clv_status status = clv_layout_parse(grid, "-|-", X);
    *W = *Y = *X;
    return status;
}

uint64_t clv_plan_memory(const clv_plan *plan)
{
    (void)plan;
    return 0;
}
