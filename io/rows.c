/* SPDX-License-Identifier: BSD-3-Clause
 *
 * rows.c: a matrix as rows of the file (two-phase output: Thakur, Gropp and Lusk 1999).
 *
 *     A[rows | cols]  ->  A[rows + cols + copies | -]
 *
 * Whatever the layout, all axes cut the rows, so that each process writes one piece of the file, no
 * smaller than the others', and hashes whole tiles of it. Blocks of columns are exchanged in
 * memory, panel by panel, which is many times faster than writing short pieces; copies are cut
 * where they lie.
 */
#include <clvi_io.h>

static clv_spec rows_of(const clv_grid *grid, clv_spec spec)
{
    clv_axes copies = clvi_layout_copies(grid, spec.layout);
    clv_order rows = clv_order_join(spec.layout.rows, spec.layout.cols);
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (copies >> axis & 1) rows = clv_order_append(rows, axis);
    spec.layout = (clv_layout){.rows = rows};
    return spec;
}

clvi_rows clvi_rows_of(const clv_matrix *matrix, int64_t panel_bytes)
{
    const clv_grid *grid = clv_matrix_grid(matrix);
    clv_spec spec = clv_matrix_spec(matrix);
    clvi_rows rows = {.matrix = matrix, .spec = rows_of(grid, spec), .panels = 1};
    rows.view = clvi_move_is_view(grid, spec, rows.spec);
    int64_t bytes = spec.m * spec.n * (int64_t)clv_dtype_size(spec.dtype) / clv_grid_size(grid);
    if (panel_bytes > 0 && bytes > panel_bytes) rows.panels = (int)(bytes / panel_bytes) + 1;
    return rows;
}

static clvi_route route_of(const clvi_rows *rows, int panel)
{
    return (clvi_route){.src = clv_matrix_spec(rows->matrix),
                        .dst = rows->spec,
                        .panel = panel,
                        .panels = rows->panels};
}

clv_block clvi_rows_block(const clvi_rows *rows, int panel)
{
    const clv_grid *grid = clv_matrix_grid(rows->matrix);
    clvi_route route = route_of(rows, panel);
    return clvi_route_target(grid, &route, clv_grid_rank(grid));
}

int64_t clvi_rows_memory(const clvi_rows *rows)
{
    int64_t most = 0;
    for (int panel = 0; panel < rows->panels && !rows->view; panel++) {
        clv_block block = clvi_rows_block(rows, panel);
        int64_t bytes = block.m * block.n * (int64_t)clv_dtype_size(rows->spec.dtype);
        if (bytes > most) most = bytes;
    }
    return most;
}

clv_status clvi_rows_take(const clvi_rows *rows, int panel, void *memory, clv_status mine,
                          clv_block *block)
{
    clv_status status;
    clvi_exchange *exchange = NULL;
    clv_grid *grid = clv_matrix_grid(rows->matrix);
    clvi_route route = route_of(rows, panel);
    *block = clvi_rows_block(rows, panel);
    if (rows->view) {
        *block = clvi_block_view(clv_matrix_block(rows->matrix), rows->spec.dtype, *block);
        return clvi_vote(grid, mine);
    }
    block->data = memory;
    block->ld = block->n;
    if (mine == CLV_OK)
        mine = clvi_exchange_create(
            grid, &route, (clvi_exchange_options){.staged = clvi_matrix_staged(rows->matrix)},
            &exchange);
    CLVI_TRY(clvi_vote(grid, mine));
    CLVI_TRY(clvi_exchange_execute(exchange, 1, clv_matrix_block(rows->matrix), 0, *block));
done:
    clvi_exchange_destroy(&exchange);
    return status;
}
