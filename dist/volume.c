/* SPDX-License-Identifier: BSD-3-Clause
 *
 * volume.c: what a move brings to one process, in closed form.
 *
 * The planner asks for thousands of moves. What a route brings follows from blocks alone: every
 * element of the target comes once for each term, except what this process has itself; and
 * messages are the parts of src that are not empty and overlap the target. Only where some, but
 * not all, processes are neighbours have these to be looked at one by one.
 */
#include "clvi_planner.h"

#include <stdlib.h>

clv_status clvi_viewpoint_create(const clv_grid *grid, int rank, clvi_viewpoint *v)
{
    int size = clv_grid_size(grid);
    *v = (clvi_viewpoint){.grid = grid, .rank = rank, .size = size};
    clvi_grid_coords(grid, rank, v->coords);
    if (!(v->neighbours = calloc((size_t)size, sizeof *v->neighbours)))
        return clvi_fail(CLV_ENOMEM, "%d neighbours", size);
    for (int r = 0; r < size; r++)
        if (r != rank && clvi_grid_same_node(grid, rank, r)) v->neighbours[v->count++] = r;
    return CLV_OK;
}

void clvi_viewpoint_destroy(clvi_viewpoint *v)
{
    free(v->neighbours);
    *v = (clvi_viewpoint){0};
}

clvi_range clvi_viewpoint_rows(const clvi_viewpoint *v, clv_spec spec)
{
    return clvi_split_axes(v->grid, spec.m, clvi_unit(spec.m_unit), spec.layout.rows, v->coords);
}

clvi_range clvi_viewpoint_cols(const clvi_viewpoint *v, clv_spec spec)
{
    return clvi_split_axes(v->grid, spec.n, clvi_unit(spec.n_unit), spec.layout.cols, v->coords);
}

static int64_t length(clvi_range range)
{
    return range.end > range.begin ? range.end - range.begin : 0;
}

static int64_t overlap(clvi_range a, clvi_range b)
{
    return length(clvi_range_meet(a, b));
}

/* A target: the block that a route leaves this process with. */
typedef struct {
    clvi_range rows, cols;
} target;

/* Elements of the target in the block that the process with these coordinates has of src. */
static int64_t passed(const clvi_viewpoint *v, clv_spec src, const int coords[], target to)
{
    int64_t rows = overlap(
        to.rows, clvi_split_axes(v->grid, src.m, clvi_unit(src.m_unit), src.layout.rows, coords));
    if (rows == 0) return 0;
    return rows * overlap(to.cols, clvi_split_axes(v->grid, src.n, clvi_unit(src.n_unit),
                                                   src.layout.cols, coords));
}

/* Of what arrives, takes away what neighbours bring: the rest is from other nodes. */
static void count_neighbours(const clvi_viewpoint *v, const clvi_route *route, target to,
                             clv_axes own, clvi_volume *volume)
{
    for (int i = 0; i < v->count; i++) {
        int coords[CLV_MAX_AXES];
        bool agree = true;
        clvi_grid_coords(v->grid, v->neighbours[i], coords);
        for (int a = 0; a < clv_grid_naxes(v->grid) && agree; a++)
            agree = !(own >> a & 1) || coords[a] == v->coords[a];
        int64_t elements = agree ? passed(v, route->src, coords, to) : 0;
        if (elements == 0) continue;
        volume->net -= (uint64_t)elements * clv_dtype_size(route->dst.dtype);
        volume->net_messages--;
    }
}

static clvi_volume route_volume(const clvi_viewpoint *v, const clvi_route *route)
{
    const clv_spec *src = &route->src;
    target to = {clvi_viewpoint_rows(v, route->dst), clvi_viewpoint_cols(v, route->dst)};
    if (length(to.rows) == 0 || length(to.cols) == 0) return (clvi_volume){0};
    clv_axes ended = src->layout.sum & ~route->dst.layout.sum;
    int64_t terms = 1;
    for (int a = 0; a < clv_grid_naxes(v->grid); a++) {
        if ((route->first >> a & 1) && v->coords[a] != 0) return (clvi_volume){0};
        if (ended >> a & 1) terms *= clv_grid_axis(v->grid, a).size;
    }
    int64_t mine = passed(v, *src, v->coords, to);
    int64_t parts =
        clvi_split_overlaps(v->grid, src->m, clvi_unit(src->m_unit), src->layout.rows, to.rows) *
        clvi_split_overlaps(v->grid, src->n, clvi_unit(src->n_unit), src->layout.cols, to.cols);
    clvi_volume volume = {.messages = (int)(parts * terms) - (mine > 0)};
    volume.bytes = (uint64_t)(length(to.rows) * length(to.cols) * terms - mine) *
                   clv_dtype_size(route->dst.dtype);
    if (v->count == v->size - 1) return volume;
    volume.net = volume.bytes;
    volume.net_messages = volume.messages;
    count_neighbours(v, route, to,
                     clvi_layout_copies(v->grid, src->layout) |
                         (src->layout.sum & route->dst.layout.sum),
                     &volume);
    return volume;
}

clvi_volume clvi_viewpoint_move(const clvi_viewpoint *v, clv_spec src, clv_spec dst)
{
    clvi_route routes[2];
    clvi_volume total = {0};
    if (clvi_spec_equal(src, dst)) return total;
    for (int i = clvi_move_routes(v->grid, src, dst, routes) - 1; i >= 0; i--) {
        clvi_volume volume = route_volume(v, &routes[i]);
        total.bytes += volume.bytes;
        total.net += volume.net;
        total.messages += volume.messages;
        total.net_messages += volume.net_messages;
    }
    return total;
}
