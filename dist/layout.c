/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layout.c: the job of each axis: lists, text form, and the rules between layouts.
 */
#include <clvi_dist.h>
#include <stdlib.h>
#include <string.h>

int clv_order_length(clv_order list)
{
    int length = 0;
    for (; list; list >>= 4) length++;
    return length;
}

int clv_order_axis(clv_order list, int i)
{
    return (int)(list >> (4 * i) & 15) - 1;
}

clv_order clv_order_append(clv_order list, int axis)
{
    return list | (clv_order)(axis + 1) << (4 * clv_order_length(list));
}

clv_order clv_order_join(clv_order outer, clv_order inner)
{
    return outer | inner << (4 * clv_order_length(outer)) % 32;
}

clv_axes clv_order_set(clv_order list)
{
    clv_axes set = 0;
    for (; list; list >>= 4) set |= 1u << ((list & 15) - 1);
    return set;
}

clv_order clvi_order_keep(clv_order list, clv_axes set)
{
    clv_order kept = 0;
    for (; list; list >>= 4) {
        int axis = (int)(list & 15) - 1;
        if (set >> axis & 1) kept = clv_order_append(kept, axis);
    }
    return kept;
}

static clv_axes all_axes(const clv_grid *grid)
{
    return (1u << clv_grid_naxes(grid)) - 1;
}

clv_axes clvi_layout_copies(const clv_grid *grid, clv_layout layout)
{
    return all_axes(grid) & ~(clv_order_set(layout.rows) | clv_order_set(layout.cols) | layout.sum);
}

clv_layout clv_layout_dual(const clv_grid *grid, clv_layout layout)
{
    layout.sum = clvi_layout_copies(grid, layout);
    return layout;
}

clv_layout clv_layout_transpose(clv_layout layout)
{
    return (clv_layout){layout.cols, layout.rows, layout.sum};
}

/* Adds the axes of a list to *seen; each must exist and be new. */
static clv_status check_list(const clv_grid *grid, clv_order list, clv_axes *seen)
{
    for (; list; list >>= 4) {
        int axis = (int)(list & 15) - 1;
        if (axis < 0 || axis >= clv_grid_naxes(grid))
            return clvi_fail(CLV_ELAYOUT, "layout: the grid has %d axes, found axis %d",
                             clv_grid_naxes(grid), axis);
        if (*seen >> axis & 1)
            return clvi_fail(CLV_ELAYOUT, "layout: axis \"%s\" has more than one job",
                             clv_grid_axis(grid, axis).name);
        *seen |= 1u << axis;
    }
    return CLV_OK;
}

static int first_of(clv_axes set)
{
    int axis = 0;
    while (!(set >> axis & 1)) axis++;
    return axis;
}

clv_status clv_layout_check(const clv_grid *grid, clv_layout layout)
{
    clv_status status;
    clv_axes seen = 0;
    CLVI_TRY(check_list(grid, layout.rows, &seen));
    CLVI_TRY(check_list(grid, layout.cols, &seen));
    CLVI_CHECK((layout.sum & ~all_axes(grid)) == 0, CLV_ELAYOUT,
               "layout: the grid has %d axes, found the set %#x of sums", clv_grid_naxes(grid),
               (unsigned)layout.sum);
    CLVI_CHECK((layout.sum & seen) == 0, CLV_ELAYOUT,
               "layout: expected one job for axis \"%s\", found that it both shards and holds a "
               "pending sum",
               clv_grid_axis(grid, first_of(layout.sum & seen)).name);
done:
    return status;
}

/* Names joined by '+', or "-". */
static clv_status parse_list(const clv_grid *grid, char *text, const char *whole, clv_order *list)
{
    *list = 0;
    if (strcmp(text, "-") == 0) return CLV_OK;
    for (char *name = text; name;) {
        char *next = strchr(name, '+');
        if (next) *next++ = 0;
        int axis = clv_grid_find(grid, name);
        if (axis < 0)
            return clvi_fail(CLV_ELAYOUT,
                             "layout \"%s\": expected an axis of the grid or \"-\", "
                             "found \"%s\"",
                             whole, name);
        if (clv_order_set(*list) >> axis & 1)
            return clvi_fail(CLV_ELAYOUT, "layout \"%s\": axis \"%s\" is named twice", whole, name);
        *list = clv_order_append(*list, axis);
        name = next;
    }
    return CLV_OK;
}

clv_status clv_layout_parse(const clv_grid *grid, const char *text, clv_layout *layout)
{
    clv_status status;
    clv_layout result = {0};
    clv_order sum = 0;
    char *copy = text ? strdup(text) : NULL;
    CLVI_CHECK(copy, text ? CLV_ENOMEM : CLV_EARG, "layout: no text");
    char *bar = strchr(copy, '|');
    CLVI_CHECK(bar, CLV_ELAYOUT, "layout \"%s\": expected \"rows|cols\" or \"rows|cols;sum\"",
               text);
    *bar = 0;
    char *semicolon = strchr(bar + 1, ';');
    if (semicolon) *semicolon = 0;
    CLVI_TRY(parse_list(grid, copy, text, &result.rows));
    CLVI_TRY(parse_list(grid, bar + 1, text, &result.cols));
    if (semicolon) CLVI_TRY(parse_list(grid, semicolon + 1, text, &sum));
    result.sum = clv_order_set(sum);
    CLVI_TRY(clv_layout_check(grid, result));
    *layout = result;
done:
    free(copy);
    return status;
}

static void format_list(const clv_grid *grid, clv_order list, FILE *out)
{
    if (!list) fputc('-', out);
    for (; list; list >>= 4)
        fprintf(out, "%s%s", clv_grid_axis(grid, (int)(list & 15) - 1).name, list >> 4 ? "+" : "");
}

const char *clv_layout_format(const clv_grid *grid, clv_layout layout, char *buffer, size_t size)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (size > 0) buffer[0] = 0;
    if (!out) return buffer;
    format_list(grid, layout.rows, out);
    fputc('|', out);
    format_list(grid, layout.cols, out);
    if (layout.sum) {
        clv_order sum = 0;
        for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
            if (layout.sum >> axis & 1) sum = clv_order_append(sum, axis);
        fputc(';', out);
        format_list(grid, sum, out);
    }
    if (fclose(out) == 0) snprintf(buffer, size, "%s", text);
    free(text);
    return buffer;
}
