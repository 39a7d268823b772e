/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mover.c: a move from one layout to another as a contender, between matrices that the library
 * allocated.
 */
#include "bench.h"

double block_bytes(const clv_grid *grid, clv_spec spec)
{
    clv_block block = clv_spec_block(grid, spec, clv_grid_rank(grid));
    return (double)block.m * (double)block.n * (double)clv_dtype_size(spec.dtype);
}

clv_status matrix_open(clv_grid *grid, clv_spec spec, bool shape, uint64_t key, uint64_t stream,
                       clv_matrix **matrix)
{
    if (shape) return clv_matrix_shape(grid, spec, matrix);
    clv_status status = clv_matrix_create(grid, spec, matrix);
    if (status != CLV_OK || spec.dtype == CLV_I32) return status;
    return clv_matrix_fill_normal(*matrix, key, stream, 0, 1);
}

clv_status mover_specs(const clv_grid *grid, clv_spec matrix, const char *from, const char *to,
                       mover *m)
{
    clv_status status;
    m->from = m->to = matrix;
    TRY(tool_layout(grid, from, &m->from.layout));
    TRY(tool_layout(grid, to, &m->to.layout));
done:
    return status;
}

clv_status mover_open(clv_grid *grid, mover *m)
{
    clv_status status;
    clv_plan_options options = {.overwrite = true};
    TRY(matrix_open(grid, m->from, m->shapes, 1, 0, &m->src));
    TRY(m->shapes ? clv_matrix_shape(grid, m->to, &m->dst)
                  : clv_matrix_create(grid, m->to, &m->dst));
    TRY(clv_plan_move(m->src, m->dst, &options, &m->plan));
done:
    return status;
}

clv_status mover_run(void *context)
{
    mover *m = context;
    return clv_execute_move(m->plan, 1, m->src, 0, m->dst);
}

void mover_close(mover *m)
{
    clv_plan_destroy(&m->plan);
    clv_matrix_destroy(&m->dst);
    clv_matrix_destroy(&m->src);
}
