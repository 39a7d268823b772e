/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gemm_plan.c: one product planned and executed.
 */
#include "clvi_planner.h"

#include <stdlib.h>

/* Whether an operand of this type goes into a result of that one. */
static bool fits(clv_dtype operand, clv_dtype result)
{
    return operand == result || (operand == CLV_BF16 && result == CLV_F32);
}

static clv_status check_gemm(clv_op op_a, const clv_matrix *A, clv_op op_b, const clv_matrix *B,
                             const clv_matrix *C, int64_t backend)
{
    clv_status status = CLV_OK;
    clv_spec a = clv_matrix_spec(A), b = clv_matrix_spec(B), c = clv_matrix_spec(C);
    int64_t m = op_a == CLV_T ? a.n : a.m, ka = op_a == CLV_T ? a.m : a.n;
    int64_t kb = op_b == CLV_T ? b.n : b.m, n = op_b == CLV_T ? b.m : b.n;
    clv_grid *grid = clv_matrix_grid(A);
    CLVI_CHECK(grid == clv_matrix_grid(B) && grid == clv_matrix_grid(C), CLV_EARG,
               "gemm: A, B and C are on different grids");
    CLVI_CHECK((op_a == CLV_N || op_a == CLV_T) && (op_b == CLV_N || op_b == CLV_T), CLV_EARG,
               "gemm: expected CLV_N or CLV_T, found %d and %d", (int)op_a, (int)op_b);
    CLVI_CHECK(backend == CLV_BACKEND_AUTO || backend == CLV_BACKEND_SCALAPACK, CLV_EARG,
               "gemm: expected CLV_BACKEND_AUTO or CLV_BACKEND_SCALAPACK, found backend %d",
               (int)backend);
    CLVI_CHECK(backend == CLV_BACKEND_AUTO || clv_grid_leaves(grid) == 0, CLV_EUNSUPPORTED,
               "gemm: expected CLV_BACKEND_AUTO in reproducible mode, found "
               "CLV_BACKEND_SCALAPACK, whose sums depend on the grid");
    CLVI_CHECK(ka == kb && c.m == m && c.n == n, CLV_ESHAPE,
               "gemm: op(A) is %lld x %lld, op(B) %lld x %lld, C %lld x %lld: expected m x k, k x "
               "n, m x n",
               (long long)m, (long long)ka, (long long)kb, (long long)n, (long long)c.m,
               (long long)c.n);
    CLVI_CHECK((c.dtype == CLV_F32 || c.dtype == CLV_F64) && fits(a.dtype, c.dtype) &&
                   fits(b.dtype, c.dtype),
               CLV_EDTYPE,
               "gemm: expected f32 or f64 throughout, or bf16 operands of an f32 result, found %s, "
               "%s and %s",
               clv_dtype_name(a.dtype), clv_dtype_name(b.dtype), clv_dtype_name(c.dtype));
done:
    return status;
}

clv_status clvi_gemm_open(clv_op op_a, const clv_matrix *A, clv_op op_b, const clv_matrix *B,
                          const clv_matrix *C, const clv_plan_options *options, clv_plan **out,
                          clvi_problem *problem)
{
    clv_status status;
    clv_grid *grid = clv_matrix_grid(A);
    const clv_matrix *operands[CLVI_OPERANDS] = {A, B, C};
    int64_t values[2 + 3 * CLVI_SPEC_VALUES] = {op_a, op_b};
    for (int i = 0; i < CLVI_OPERANDS; i++)
        clvi_spec_values(clv_matrix_spec(operands[i]), values + 2 + i * CLVI_SPEC_VALUES);
    *out = NULL;
    CLVI_TRY(clvi_grid_same(
        grid, check_gemm(op_a, A, op_b, B, C, options ? options->backend : 0),
        "op_a,op_b," CLVI_SPEC_NAMES("A") "," CLVI_SPEC_NAMES("B") "," CLVI_SPEC_NAMES("C"),
        2 + 3 * CLVI_SPEC_VALUES, values));
    CLVI_TRY(clvi_plan_open(grid, CLV_OK, options, out));
    *problem = (clvi_problem){.grid = grid,
                              .dtype = clv_matrix_spec(C).dtype,
                              .trans = {op_a == CLV_T, op_b == CLV_T},
                              .options = &(*out)->model};
    for (int i = 0; i < CLVI_OPERANDS; i++) {
        clv_spec spec = (*out)->specs[i] = clv_matrix_spec(operands[i]);
        if (i != CLVI_C && problem->trans[i]) spec = clvi_spec_transposed(spec);
        problem->given[i] = clvi_spec_without_single_axes(grid, spec);
        problem->staged[i] = clvi_matrix_staged(operands[i]);
    }
done:
    return status;
}

static clv_status plan_product(clv_plan *plan, const clvi_problem *problem)
{
    clv_status status;
    clvi_candidate best;
    CLVI_TRY(clvi_choose(problem, &best));
    CLVI_TRY(clvi_product_create(problem, &best, &plan->product));
    clvi_product_explain(plan->product, plan);
    plan->memory = clvi_product_held(plan->product);
done:
    return status;
}

clv_status clv_plan_gemm(clv_op op_a, const clv_matrix *A, clv_op op_b, const clv_matrix *B,
                         const clv_matrix *C, const clv_plan_options *options, clv_plan **out)
{
    clv_status status;
    clvi_problem problem;
    CLVI_TRY(clvi_gemm_open(op_a, A, op_b, B, C, options, out, &problem));
    if ((*out)->model.backend == CLV_BACKEND_AUTO) {
        CLVI_TRY(plan_product(*out, &problem));
    } else {
        clvi_plan_add_step(*out, (clvi_volume){0}, 0, "ScaLAPACK p?gemm (bytes not counted)");
        CLVI_TRY(clvi_scalapack_plan(problem.grid, op_a, A, op_b, B, C, &(*out)->scalapack));
    }
    CLVI_TRY(clvi_plan_close(*out));
done:
    if (status != CLV_OK) clv_plan_destroy(out);
    return status;
}

clv_status clv_execute_gemm(clv_plan *plan, double alpha, const clv_matrix *A, const clv_matrix *B,
                            double beta, clv_matrix *C)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(plan->product || plan->scalapack, CLV_EARG,
               "clv_execute_gemm: expected the plan of a product");
    CLVI_TRY(clvi_matrix_expect(A, "gemm: A", plan->grid, plan->specs[0]));
    CLVI_TRY(clvi_matrix_expect(B, "gemm: B", plan->grid, plan->specs[1]));
    CLVI_TRY(clvi_matrix_expect(C, "gemm: C", plan->grid, plan->specs[2]));
    if (plan->scalapack)
        status = clvi_scalapack_execute(plan->scalapack, alpha, A, B, beta, C);
    else
        status = clvi_product_execute(plan->product, alpha, clv_matrix_block(A),
                                      clv_matrix_block(B), beta, clv_matrix_block(C));
done:
    return status;
}
