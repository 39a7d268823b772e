/* SPDX-License-Identifier: BSD-3-Clause
 *
 * convert_stream.c: elements on their way, a slab of rows of one of our tensors at a time: what
 * Cleave's file holds of it is one piece, read or written once. Of theirs, the slab is a rectangle
 * in one or several tensors.
 *
 *     A[rows r]          the slab, ours: whole rows
 *     B[r | lo..hi]      a rectangle of theirs; B[lo..hi | r] where they are turned
 *     A[r | col0 + k stride ..] = B[r | their0 + k run ..]       for each piece and k, or back
 *
 * So memory is two slabs, whatever the model; the slabs are divided over the processes by bytes.
 */
#include "convert.h"

#include <stdlib.h>
#include <string.h>

enum { SLAB = 32 << 20, TILE = 32 }; /* bytes; rows and columns of a transposition in the cache */

typedef struct {
    conversion *c;
    bool import;
    char *A, *B;
    int64_t done, mine; /* bytes */
    progress progress;
} stream;

/* Part of a matrix in memory: element (i, j) at data + i row + j col bytes. */
typedef struct {
    char *data;
    int64_t row, col;
} view;

/* ---- Copies ------------------------------------------------------------------------- */

#define COPY_TILE(type)                            \
    for (int64_t i = i0; i < i1; i++)              \
        for (int64_t j = j0; j < j1; j++)          \
    *(type *)(to.data + i * to.row + j * to.col) = \
        *(const type *)(from.data + i * from.row + j * from.col)

/* Elements [i0, i1) x [j0, j1) of this size. */
static void copy_tile(size_t size, int64_t i0, int64_t i1, int64_t j0, int64_t j1, view from,
                      view to)
{
    if (size == 8)
        COPY_TILE(uint64_t);
    else if (size == 4)
        COPY_TILE(uint32_t);
    else
        COPY_TILE(uint16_t);
}

/* m x n elements. Where one of the two is turned, tile by tile: both are read and written by whole
 * cache lines. */
static void copy(size_t size, int64_t m, int64_t n, view from, view to)
{
    if (from.col == (int64_t)size && to.col == (int64_t)size) {
        for (int64_t i = 0; i < m; i++)
            memcpy(to.data + i * to.row, from.data + i * from.row, (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < m; i += TILE)
        for (int64_t j = 0; j < n; j += TILE)
            copy_tile(size, i, least(i + TILE, m), j, least(j + TILE, n), from, to);
}

/* ---- A slab --------------------------------------------------------------------------- */

/* The slab's part in one of their tensors: pieces [first, last). */
typedef struct {
    int first, last;
    int64_t lo, hi;  /* their columns; rows where turned     */
    clv_block block; /* of their tensor, its data B           */
} part;

static part next_part(const stream *s, const hf_link *link, clv_block A, int first)
{
    const hf_piece *piece = s->c->map->piece;
    part p = {.first = first, .last = first, .lo = piece[first].their0};
    while (p.last < link->last && piece[p.last].theirs == piece[first].theirs) {
        p.hi = piece[p.last].their0 + piece[p.last].run * piece[p.last].count;
        p.last++;
    }
    int64_t columns = p.hi - p.lo;
    p.block = link->turned ? (clv_block){s->B, columns, A.m, A.m, p.lo, A.row0}
                           : (clv_block){s->B, A.m, columns, columns, A.row0, p.lo};
    return p;
}

/* Between A and B, the pieces of a part. */
static void copy_part(const stream *s, const hf_link *link, clv_block A, part p, clv_dtype dtype)
{
    int64_t size = (int64_t)clv_dtype_size(dtype);
    for (int i = p.first; i < p.last; i++) {
        const hf_piece *piece = &s->c->map->piece[i];
        for (int64_t k = 0; k < piece->count; k++) {
            int64_t mine = piece->col0 + k * piece->stride,
                    their = piece->their0 - p.lo + k * piece->run, ld = p.block.ld;
            view ours = {s->A + mine * size, A.ld * size, size};
            view theirs = link->turned ? (view){s->B + their * ld * size, size, ld * size}
                                       : (view){s->B + their * size, ld * size, size};
            copy((size_t)size, A.m, piece->run, s->import ? theirs : ours,
                 s->import ? ours : theirs);
        }
    }
}

static clv_status import_slab(stream *s, int i, clv_block A)
{
    clv_status status = CLV_OK;
    conversion *c = s->c;
    const hf_link *link = &c->map->link[i];
    for (int first = link->first; first < link->last;) {
        part p = next_part(s, link, A, first);
        int theirs = c->map->piece[first].theirs;
        TRY(clv_safetensors_read(c->theirs, c->source[theirs], c->dtype[i], p.block));
        copy_part(s, link, A, p, c->dtype[i]);
        first = p.last;
    }
    TRY(clv_checkpoint_put(c->to_ours, i, A));
done:
    return status;
}

static clv_status export_slab(stream *s, int i, clv_block A)
{
    clv_status status;
    conversion *c = s->c;
    const hf_link *link = &c->map->link[i];
    TRY(clv_checkpoint_read(c->ours, c->source[i], c->dtype[i], A));
    for (int first = link->first; first < link->last;) {
        part p = next_part(s, link, A, first);
        copy_part(s, link, A, p, c->dtype[i]);
        TRY(clv_safetensors_put(c->to_theirs, c->map->piece[first].theirs, p.block));
        first = p.last;
    }
done:
    return status;
}

/* ---- All of them ------------------------------------------------------------------------- */

static int64_t row_bytes(const conversion *c, int i)
{
    return c->map->link[i].ours.n * (int64_t)clv_dtype_size(c->dtype[i]);
}

static int64_t slab_rows(const conversion *c, int i)
{
    int64_t rows = SLAB / row_bytes(c, i);
    return least(rows > 0 ? rows : 1, c->map->link[i].ours.m);
}

/* Calls work (unless NULL) for this process's slabs of all links; *mine: their bytes. A slab
 * belongs to the process in whose share of all bytes it begins. */
static clv_status each_slab(stream *s, double all,
                            clv_status (*work)(stream *s, int i, clv_block A), int64_t *mine)
{
    clv_status status = CLV_OK;
    double before = 0;
    int size = clv_grid_size(s->c->grid), rank = clv_grid_rank(s->c->grid);
    for (int i = 0; i < s->c->map->links; i++) {
        int64_t m = s->c->map->link[i].ours.m, n = s->c->map->link[i].ours.n;
        int64_t step = slab_rows(s->c, i);
        for (int64_t row = 0; row < m; row += step) {
            int64_t rows = least(step, m - row), bytes = rows * row_bytes(s->c, i);
            bool is_mine = (int)(before / all * size) == rank;
            before += (double)bytes;
            if (!is_mine) continue;
            *mine += bytes;
            if (!work) continue;
            TRY(work(s, i, (clv_block){s->A, rows, n, n, row, 0}));
            progress_callback(&s->progress, *mine, s->mine);
        }
    }
done:
    return status;
}

clv_status convert_stream(conversion *c, bool import)
{
    clv_status status = CLV_OK;
    int64_t room = 0;
    double all = 0;
    stream s = {.c = c, .import = import};
    for (int i = 0; i < c->map->links; i++) {
        int64_t slab = slab_rows(c, i) * row_bytes(c, i);
        if (slab > room) room = slab;
        all += (double)c->map->link[i].ours.m * (double)row_bytes(c, i);
    }
    s.A = malloc((size_t)room);
    s.B = malloc((size_t)room);
    if (room && (!s.A || !s.B))
        status = tool_fail(CLV_ENOMEM, "rank %d: no memory for two slabs of %lld bytes", tool.rank,
                           (long long)room);
    TRY(status);
    TRY(each_slab(&s, all, NULL, &s.mine));
    s.progress = progress_start("converted", 0, 0, 0);
    TRY(each_slab(&s, all, import ? import_slab : export_slab, &s.done));
    progress_end(&s.progress);
done:
    free(s.A);
    free(s.B);
    return status;
}
