/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leaves.c: in which parts sums over a sharded dimension are taken.
 *
 * In reproducible mode the dimension is cut into the grid's leaves as that many processes would cut
 * it, whatever the number there is: p processes hold count / p leaves each. Each leaf is summed by
 * itself and they are added in one order. Without it every process's shard is one leaf. Edges of
 * the first follow from clvi_split alone, as powers of two cut alike in one axis or in several.
 */
#include <clvi_layers.h>

/* Processes along the axes of a list. */
static int processes(const clv_grid *grid, clv_order list)
{
    int p = 1;
    for (int i = 0; i < clv_order_length(list); i++)
        p *= clv_grid_axis(grid, clv_order_axis(list, i)).size;
    return p;
}

/* The place of this process among them. */
static int place(const clv_grid *grid, clv_order list)
{
    int at = 0;
    for (int i = 0; i < clv_order_length(list); i++) {
        int axis = clv_order_axis(list, i);
        at = at * clv_grid_axis(grid, axis).size + clv_grid_coord(grid, clv_grid_rank(grid), axis);
    }
    return at;
}

static clvi_range in_units(clvi_range units, int64_t unit, int64_t extent)
{
    int64_t begin = units.begin * unit, end = units.end * unit;
    return (clvi_range){begin < extent ? begin : extent, end < extent ? end : extent};
}

/* Leaves of a whole dimension; more than the grid's only where clvi_leaves_check refuses. */
static int count_leaves(const clv_grid *grid, clv_order list)
{
    int p = processes(grid, list), leaves = clv_grid_leaves(grid);
    return leaves > p ? leaves : p;
}

/* Leaf i of the whole dimension. */
static clvi_range leaf(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list, int i)
{
    int coords[CLV_MAX_AXES] = {0}, count = count_leaves(grid, list);
    if (unit < 1) unit = 1;
    if (clv_grid_leaves(grid))
        return in_units(clvi_split(clvi_units(extent, unit), count, i), unit, extent);
    for (int at = clv_order_length(list) - 1; at >= 0; at--) {
        int axis = clv_order_axis(list, at), size = clv_grid_axis(grid, axis).size;
        coords[axis] = i % size;
        i /= size;
    }
    return clvi_split_axes(grid, extent, unit, list, coords);
}

clvi_leaves clvi_leaves_of(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list)
{
    clvi_leaves leaves = {.count = count_leaves(grid, list)};
    leaves.own = leaves.count / processes(grid, list);
    int first = place(grid, list) * leaves.own;
    int64_t begin = leaf(grid, extent, unit, list, first).begin;
    for (int l = 0; l < leaves.own; l++)
        leaves.edges[l + 1] = leaf(grid, extent, unit, list, first + l).end - begin;
    return leaves;
}

int64_t clvi_leaf_length(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list, int i)
{
    clvi_range range = leaf(grid, extent, unit, list, i);
    return range.end - range.begin;
}

clv_status clvi_leaves_check(const clv_grid *grid, const char *what, clv_order list)
{
    int p = processes(grid, list), leaves = clv_grid_leaves(grid);
    if (!leaves || p <= leaves) return CLV_OK;
    return clvi_fail(CLV_EUNSUPPORTED,
                     "%s: reproducible mode adds %d leaves: expected at most as many processes "
                     "along the axes of a sum, found %d",
                     what, leaves, p);
}

void clvi_leaves_add(const clvi_leaves *leaves, clv_dtype dtype, int64_t n, void *rows)
{
    size_t bytes = (size_t)n * clv_dtype_size(dtype);
    for (int step = 1; step < leaves->own; step *= 2)
        for (int l = 0; l + step < leaves->own; l += 2 * step)
            clvi_axpby(dtype, n, 1, (char *)rows + (size_t)(l + step) * bytes, 1,
                       (char *)rows + (size_t)l * bytes);
}

clv_status clvi_plan_sum(const clv_matrix *terms, clv_order order, const clv_matrix *sum,
                         clvi_move **move)
{
    clv_grid *grid = clv_matrix_grid(sum);
    clv_spec from = clv_matrix_spec(terms), to = clv_matrix_spec(sum);
    clvi_exchange_options options = {.accumulate = true,
                                     .staged = clvi_matrix_staged(terms),
                                     .staged_dst = clvi_matrix_staged(sum)};
    from.m = to.m; /* of rows of leaves the first */
    return clv_grid_agree(grid, clvi_move_create(grid, from, to, order, options, move));
}

clv_status clvi_exact_reduce(clv_grid *grid, clvi_exact *sum, double *count)
{
    double words[CLVI_EXACT_WORDS + 1];
    clvi_exact_pack(sum, words);
    words[CLVI_EXACT_WORDS] = *count;
    clv_status status = clv_grid_reduce(grid, CLV_SUM, CLVI_EXACT_WORDS + 1, words);
    clvi_exact_unpack(words, sum);
    *count = words[CLVI_EXACT_WORDS];
    return status;
}
