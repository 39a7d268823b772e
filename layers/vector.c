/* SPDX-License-Identifier: BSD-3-Clause
 *
 * vector.c: a parameter of one row that works on every row of a matrix (bias, gain).
 *
 *     grad[-|c] += sum over r of terms[-|c;r]
 *
 * Axes on which the matrix holds copies hold equal terms, so nothing is counted twice.
 */
#include <clvi_layers.h>

clv_status clvi_vector_create(clv_params *params, const char *name, const char *part, clv_spec y,
                              double value, clvi_vector *vector)
{
    clv_grid *grid = clv_params_grid(params);
    clv_spec spec = {
        .m = 1, .n = y.n, .n_unit = y.n_unit, .dtype = y.dtype, .layout.cols = y.layout.cols};
    clv_spec terms = spec;
    terms.layout.sum = clv_order_set(y.layout.rows);
    clv_status status;
    CLVI_TRY(clvi_params_add_part(params, name, part, spec, value, 0, false, &vector->param));
    CLVI_TRY(clv_matrix_create(grid, terms, &vector->terms));
    CLVI_TRY(clv_plan_move(vector->terms, vector->param->grad, NULL, &vector->sum));
done:
    return status;
}

void clvi_vector_destroy(clvi_vector *vector)
{
    clv_plan_destroy(&vector->sum);
    clv_matrix_destroy(&vector->terms);
}

const void *clvi_vector_value(const clvi_vector *vector)
{
    return vector->param ? clv_matrix_block(vector->param->value).data : NULL;
}

void *clvi_vector_terms(clvi_vector *vector)
{
    if (!vector->param) return NULL;
    clv_matrix_fill(vector->terms, 0);
    return clv_matrix_block(vector->terms).data;
}

clv_status clvi_vector_collect(clvi_vector *vector)
{
    if (!vector->param) return CLV_OK;
    return clv_execute_move(vector->sum, 1, vector->terms, 1, vector->param->grad);
}
