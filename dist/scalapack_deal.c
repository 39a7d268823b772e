/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack_deal.c: the arithmetic of an extent that is dealt in blocks: block b of nb indices
 * belongs to process (first + b) mod p, which keeps its blocks one after the other.
 *
 * One block a process, our kind, is the case nb p >= extent. A dimension cut unevenly is that only
 * when every part but the last non-empty one has the same length (4,4,3 is; 3,2,2 and 2,1,2,1 are
 * not).
 */
#include <clvi_scalapack.h>

/* Which of the first `parts` blocks is its own. */
static int turn(clvi_dealt d, int place)
{
    return (place - d.first + d.parts) % d.parts;
}

int64_t clvi_dealt_count(clvi_dealt d, int place, int64_t end)
{
    int64_t below = clvi_smaller(end, d.extent), blocks = below / d.block, rest = below % d.block;
    int64_t mine = turn(d, place), rounds = blocks / d.parts, left = blocks % d.parts;
    return rounds * d.block + (mine < left ? d.block : mine == left ? rest : 0);
}

int64_t clvi_dealt_global(clvi_dealt d, int place, int64_t i)
{
    return (i / d.block * d.parts + turn(d, place)) * d.block + i % d.block;
}

/* The first run from `from` on. */
static bool find_run(clvi_dealt d, int place, int64_t from, int64_t end, clvi_run *run)
{
    int64_t block = from / d.block, ahead = turn(d, place) - block % d.parts;
    if (ahead < 0) ahead += d.parts;
    int64_t begin = ahead > 0 ? (block + ahead) * d.block : from;
    int64_t stop = d.parts == 1 ? end : clvi_smaller(end, (block + ahead + 1) * d.block);
    *run = (clvi_run){begin, stop - begin, clvi_dealt_count(d, place, begin)};
    return begin < end;
}

bool clvi_run_first(clvi_dealt d, int place, clvi_range range, clvi_run *run)
{
    return find_run(d, place, range.begin, range.end, run);
}

bool clvi_run_next(clvi_dealt d, int place, clvi_range range, clvi_run *run)
{
    return find_run(d, place, run->begin + run->length, range.end, run);
}

/* ---- Layouts as deals of one block each ----------------------------------------- */

clv_axes clvi_wide_axes(const clv_grid *grid)
{
    clv_axes wide = 0;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (clv_grid_axis(grid, axis).size > 1) wide |= 1u << axis;
    return wide;
}

int clvi_order_parts(const clv_grid *grid, clv_order list)
{
    int parts = 1;
    for (int i = 0; i < clv_order_length(list); i++)
        parts *= clv_grid_axis(grid, clv_order_axis(list, i)).size;
    return parts;
}

int clvi_order_place(const clv_grid *grid, clv_order list, int rank)
{
    int coords[CLV_MAX_AXES], index = 0;
    clvi_grid_coords(grid, rank, coords);
    for (int i = 0; i < clv_order_length(list); i++) {
        int axis = clv_order_axis(list, i);
        index = index * clv_grid_axis(grid, axis).size + coords[axis];
    }
    return index;
}

void clvi_order_ranks(const clv_grid *grid, clv_order rows, clv_order cols, int ranks[])
{
    int p = clvi_order_parts(grid, rows);
    for (int rank = clv_grid_size(grid) - 1; rank >= 0; rank--) /* the lowest rank comes last */
        ranks[clvi_order_place(grid, rows, rank) + clvi_order_place(grid, cols, rank) * p] = rank;
}

bool clvi_deal_layout(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                      clvi_dealt *d)
{
    int coords[CLV_MAX_AXES];
    clvi_grid_coords(grid, 0, coords);
    if (unit == 0) unit = 1;
    int64_t first = clvi_split_axes(grid, extent, unit, list, coords).end;
    *d = (clvi_dealt){extent, first > 1 ? first : 1, clvi_order_parts(grid, list), 0};
    for (int rank = 1; rank < clv_grid_size(grid); rank++) {
        clvi_grid_coords(grid, rank, coords);
        clvi_range found = clvi_split_axes(grid, extent, unit, list, coords);
        int64_t begin = clvi_smaller(d->block * clvi_order_place(grid, list, rank), extent);
        int64_t end = clvi_smaller(begin + d->block, extent);
        if (found.end - found.begin != end - begin) return false;
        if (begin < end && found.begin != begin) return false;
    }
    return true;
}
