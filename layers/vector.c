/* SPDX-License-Identifier: BSD-3-Clause
 *
 * vector.c: a parameter of one row that works on every row of a matrix (bias, gain).
 *
 *     grad[-|c] += sum over r of terms[-|c;r]
 *
 * Rows are added in the order of their leaves. Axes on which the matrix holds copies hold equal
 * terms, so nothing is counted twice.
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
    CLVI_TRY(clvi_leaves_check(grid, vector->param->name, y.layout.rows));
    vector->leaves = clvi_leaves_of(grid, y.m, y.m_unit, y.layout.rows);
    terms.m = vector->leaves.own;
    CLVI_TRY(clv_matrix_create(grid, terms, &vector->terms));
    CLVI_TRY(clvi_plan_sum(vector->terms, y.layout.rows, vector->param->grad, &vector->sum));
done:
    return status;
}

void clvi_vector_destroy(clvi_vector *vector)
{
    clvi_move_destroy(&vector->sum);
    clv_matrix_destroy(&vector->terms);
}

const void *clvi_vector_value(const clvi_vector *vector)
{
    return vector->param ? clv_matrix_block(vector->param->value).data : NULL;
}

void clvi_vector_clear(clvi_vector *vector)
{
    clv_block terms;
    if (!vector->param) return;
    terms = clv_matrix_block(vector->terms);
    clvi_fill(clv_matrix_spec(vector->terms).dtype, terms.m * terms.n, 0, terms.data);
}

void *clvi_vector_terms(const clvi_vector *vector, int64_t i)
{
    int l = 0;
    if (!vector->param) return NULL;
    while (i >= vector->leaves.edges[l + 1]) l++;
    return clvi_at(clv_matrix_block(vector->terms), clv_matrix_spec(vector->terms).dtype, l, 0);
}

clv_status clvi_vector_collect(clvi_vector *vector)
{
    if (!vector->param) return CLV_OK;
    clv_block terms = clv_matrix_block(vector->terms);
    clvi_leaves_add(&vector->leaves, clv_matrix_spec(vector->terms).dtype, terms.n, terms.data);
    terms.m = 1;
    return clvi_move_execute(vector->sum, 1, terms, 1, clv_matrix_block(vector->param->grad));
}
