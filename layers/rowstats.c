/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rowstats.c: a few numbers a row, from each leaf of its columns to all processes that share the
 * row.
 *
 *     all[r|-] = own[r|c]
 *
 * One all-gather of rows x count x leaves doubles, against rows x columns of the matrix itself.
 */
#include <clvi_layers.h>

clv_status clvi_rowstats_create(clv_grid *grid, clv_spec x, int count, clvi_rowstats *stats)
{
    clv_status status;
    *stats = (clvi_rowstats){.count = count};
    CLVI_TRY(clvi_leaves_check(grid, "numbers of rows", x.layout.cols));
    stats->leaves = clvi_leaves_of(grid, x.n, x.n_unit, x.layout.cols);
    /* A unit of columns for each leaf. */
    clv_spec spec = {.m = x.m,
                     .n = (int64_t)count * stats->leaves.count,
                     .m_unit = x.m_unit,
                     .n_unit = count,
                     .dtype = CLV_F64,
                     .layout = {.rows = x.layout.rows, .cols = x.layout.cols}};
    CLVI_TRY(clv_matrix_create(grid, spec, &stats->own));
    spec.layout.cols = 0;
    CLVI_TRY(clv_matrix_create(grid, spec, &stats->all));
    CLVI_TRY(clv_plan_move(stats->own, stats->all, NULL, &stats->gather));
done:
    return status;
}

void clvi_rowstats_destroy(clvi_rowstats *stats)
{
    clv_plan_destroy(&stats->gather);
    clv_matrix_destroy(&stats->own);
    clv_matrix_destroy(&stats->all);
}

double *clvi_rowstats_own(const clvi_rowstats *stats, int64_t i)
{
    return clvi_at(clv_matrix_block(stats->own), CLV_F64, i, 0);
}

clv_status clvi_rowstats_gather(clvi_rowstats *stats)
{
    return clv_execute_move(stats->gather, 1, stats->own, 0, stats->all);
}

const double *clvi_rowstats_all(const clvi_rowstats *stats, int64_t i)
{
    return clvi_at(clv_matrix_block(stats->all), CLV_F64, i, 0);
}
