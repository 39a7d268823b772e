/* SPDX-License-Identifier: BSD-3-Clause
 *
 * chunks.c: data sets of any size in pieces that fit in memory, dealt out to the ranks.
 *
 * Where a chunk begins and ends follows from the shape alone, and what is computed of chunks is put
 * together in their order: so results have the same bits on any number of ranks.
 */
#include "tool.h"

#include <stdlib.h>

/* Whole rows, as many as there is room for; parts of a row where one has not. */
typedef struct {
    int64_t rows, columns; /* of a chunk */
    int64_t down, across;  /* chunks     */
} cut;

static cut cut_of(clv_checkpoint_entry entry)
{
    cut c = {0};
    if (entry.m == 0 || entry.n == 0) return c;
    c.columns = least(entry.n, CHUNK_ELEMENTS);
    c.rows = CHUNK_ELEMENTS / c.columns;
    c.across = (entry.n - 1) / c.columns + 1;
    c.down = (entry.m - 1) / c.rows + 1;
    return c;
}

int64_t chunk_count(clv_checkpoint_entry entry)
{
    cut c = cut_of(entry);
    return c.down * c.across;
}

clv_block chunk_at(clv_checkpoint_entry entry, int64_t chunk)
{
    cut c = cut_of(entry);
    clv_block block = {.row0 = chunk / c.across * c.rows, .col0 = chunk % c.across * c.columns};
    block.m = least(c.rows, entry.m - block.row0);
    block.n = block.ld = least(c.columns, entry.n - block.col0);
    return block;
}

clv_status chunk_read(clv_checkpoint *checkpoint, int i, clv_block block, double *values)
{
    int64_t count = block.m * block.n;
    bool integers = clv_checkpoint_at(checkpoint, i).dtype == CLV_I32;
    int32_t *narrow = (int32_t *)values + count; /* widened in place, from the front */
    block.data = integers ? (void *)narrow : values;
    clv_status status = clv_checkpoint_read(checkpoint, i, integers ? CLV_I32 : CLV_F64, block);
    for (int64_t k = 0; status == CLV_OK && integers && k < count; k++) values[k] = narrow[k];
    return status;
}

clv_status chunk_fold(clv_grid *grid, clv_checkpoint_entry entry, int64_t *turn, int width,
                      clv_status (*one)(void *context, clv_block block, double *partial),
                      void (*fold)(void *context, const double *partial), void *context)
{
    clv_status status = CLV_OK;
    int64_t count = chunk_count(entry), ranks = clv_grid_size(grid);
    double *partials = calloc((size_t)(count * width) + 1, sizeof *partials);
    if (!partials) status = tool_fail(CLV_ENOMEM, "%s: no memory for its chunks", entry.name);
    for (int64_t k = 0; k < count && status == CLV_OK; k++)
        if ((*turn + k) % ranks == clv_grid_rank(grid))
            status = one(context, chunk_at(entry, k), partials + k * width);
    *turn += count;
    TRY(clv_grid_agree(grid, status));
    TRY(clv_grid_reduce(grid, CLV_SUM, (int)(count * width), partials)); /* zeros elsewhere */
    for (int64_t k = 0; k < count; k++) fold(context, partials + k * width);
done:
    free(partials);
    return status;
}
