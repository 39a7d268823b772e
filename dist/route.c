/* SPDX-License-Identifier: BSD-3-Clause
 *
 * route.c: who passes what to whom, and in which order terms are added.
 */
#include "clvi_route.h"

clvi_rect clvi_rect_meet(clvi_rect a, clvi_rect b)
{
    int64_t row0 = a.row0 > b.row0 ? a.row0 : b.row0, col0 = a.col0 > b.col0 ? a.col0 : b.col0;
    int64_t row1 = a.row0 + a.m < b.row0 + b.m ? a.row0 + a.m : b.row0 + b.m;
    int64_t col1 = a.col0 + a.n < b.col0 + b.n ? a.col0 + a.n : b.col0 + b.n;
    if (row1 <= row0 || col1 <= col0) return (clvi_rect){0};
    return (clvi_rect){row0, col0, row1 - row0, col1 - col0};
}

static clvi_rect rect_of(clv_block block)
{
    return (clvi_rect){block.row0, block.col0, block.m, block.n};
}

clv_block clvi_route_target(const clv_grid *grid, const clvi_route *route, int rank)
{
    clv_block block = clv_spec_block(grid, route->dst, rank);
    if (!clvi_grid_agree_along(grid, rank, 0, route->first)) block.m = block.n = block.ld = 0;
    clvi_range rows = {block.row0, block.row0 + block.m}, cols = {block.col0, block.col0 + block.n};
    if (route->by_columns)
        cols = clvi_panel(cols, route->panels, route->panel);
    else
        rows = clvi_panel(rows, route->panels, route->panel);
    block.row0 = rows.begin;
    block.m = rows.end - rows.begin;
    block.col0 = cols.begin;
    block.n = cols.end - cols.begin;
    return block;
}

clvi_rect clvi_route_passed(const clv_grid *grid, const clvi_route *route, int from, int to)
{
    clv_axes own = clvi_layout_copies(grid, route->src.layout) |
                   (route->src.layout.sum & route->dst.layout.sum);
    if (!clvi_grid_agree_along(grid, from, to, own)) return (clvi_rect){0};
    return clvi_rect_meet(rect_of(clv_spec_block(grid, route->src, from)),
                          rect_of(clvi_route_target(grid, route, to)));
}

clvi_volume clvi_route_volume(const clv_grid *grid, const clvi_route *route, int rank)
{
    clvi_volume volume = {0};
    for (int from = 0; from < clv_grid_size(grid); from++) {
        int64_t elements = clvi_elements(clvi_route_passed(grid, route, from, rank));
        uint64_t bytes = (uint64_t)elements * clv_dtype_size(route->dst.dtype);
        if (from == rank || elements == 0) continue;
        bool far = !clvi_grid_same_node(grid, from, rank);
        volume.bytes += bytes;
        volume.messages++;
        volume.net += far ? bytes : 0;
        volume.net_messages += far;
    }
    return volume;
}

/* The axes whose sum ends, in the order of the tree. */
static clv_order ended(const clv_grid *grid, const clvi_route *route)
{
    clv_axes set = route->src.layout.sum & ~route->dst.layout.sum;
    clv_order list = clvi_order_keep(route->order, set);
    set &= ~clv_order_set(list);
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (set >> axis & 1) list = clv_order_append(list, axis);
    return list;
}

int clvi_route_terms(const clv_grid *grid, const clvi_route *route)
{
    int terms = 1;
    for (clv_order list = ended(grid, route); list; list >>= 4)
        terms *= clv_grid_axis(grid, (int)(list & 15) - 1).size;
    return terms;
}

int clvi_route_place(const clv_grid *grid, const clvi_route *route, int rank)
{
    int coords[CLV_MAX_AXES], place = 0;
    clvi_grid_coords(grid, rank, coords);
    for (clv_order list = ended(grid, route); list; list >>= 4) {
        int axis = (int)(list & 15) - 1;
        place = place * clv_grid_axis(grid, axis).size + coords[axis];
    }
    return place;
}
