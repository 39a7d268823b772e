/* SPDX-License-Identifier: BSD-3-Clause
 *
 * split.c: all block arithmetic.
 *
 * p processes cut a range by p's prime factors, smallest first, each time as evenly as
 * possible with the larger parts first. So 8 is 2 x 2 x 2 whether it is one axis or three, and
 * boundaries on powers of two are always the same ones.
 */
#include <clvi_dist.h>

/* Part `index` of `parts` of a range: each factor picks one of its parts by the most significant
 * digit left of index. */
static clvi_range cut(clvi_range range, int parts, int index)
{
    while (parts > 1) {
        int factor = clvi_smallest_factor(parts);
        parts /= factor;
        int digit = index / parts;
        index %= parts;
        int64_t length = range.end - range.begin, part = length / factor, larger = length % factor;
        range.begin += digit * part + (digit < larger ? digit : larger);
        range.end = range.begin + part + (digit < larger);
    }
    return range;
}

clvi_range clvi_split(int64_t units, int parts, int index)
{
    return cut((clvi_range){0, units}, parts, index);
}

clvi_range clvi_split_axes(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                           const int coords[])
{
    clvi_range range = {0, clvi_units(extent, unit)};
    for (; list; list >>= 4) {
        int axis = (int)(list & 15) - 1;
        range = cut(range, clv_grid_axis(grid, axis).size, coords[axis]);
    }
    range.begin = range.begin * unit < extent ? range.begin * unit : extent;
    range.end = range.end * unit < extent ? range.end * unit : extent;
    return range;
}

clvi_range clvi_panel(clvi_range range, int panels, int panel)
{
    enum { MULTIPLE = 64 }; /* elements: whole cache lines and micro-panels */
    if (panels <= 1) return range;
    int64_t length = range.end - range.begin, units = (length + MULTIPLE - 1) / MULTIPLE;
    int64_t begin = units * panel / panels * MULTIPLE,
            end = units * (panel + 1) / panels * MULTIPLE;
    begin = begin < length ? begin : length;
    end = end < length ? end : length;
    return (clvi_range){range.begin + begin, range.begin + end};
}

/* What is left to cut of a list of axes, as prime factors. */
typedef struct {
    int count, factors[32];
    int64_t parts;
} cuts;

static cuts factor(const clv_grid *grid, clv_order list)
{
    cuts c = {.parts = 1};
    for (; list; list >>= 4)
        for (int left = clv_grid_axis(grid, (int)(list & 15) - 1).size; left > 1;) {
            int f = clvi_smallest_factor(left);
            c.factors[c.count++] = f;
            c.parts *= f;
            left /= f;
        }
    return c;
}

/* Parts of a range, cut by factors from `depth` on, that are not empty and overlap `with`. */
static int64_t overlaps(clvi_range range, const cuts *c, int depth, int64_t parts, clvi_range with)
{
    if (range.begin >= range.end || range.begin >= with.end || range.end <= with.begin) return 0;
    if (depth == c->count) return 1;
    /* With at least as many units as parts, none is empty. */
    bool inside = range.begin >= with.begin && range.end <= with.end;
    if (inside && range.end - range.begin >= parts) return parts;
    int64_t count = 0;
    for (int i = 0; i < c->factors[depth]; i++)
        count += overlaps(cut(range, c->factors[depth], i), c, depth + 1, parts / c->factors[depth],
                          with);
    return count;
}

int64_t clvi_split_overlaps(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                            clvi_range with)
{
    if (with.begin >= with.end) return 0;
    cuts c = factor(grid, list);
    clvi_range units = {with.begin / unit, clvi_units(with.end, unit)};
    return overlaps((clvi_range){0, clvi_units(extent, unit)}, &c, 0, c.parts, units);
}
