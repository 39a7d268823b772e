/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checksum.c: XXH3-64 (Collet) of each tile of each data set.
 *
 * Tiles are ranges of a data set's bytes in the file, so they know nothing of the grid: any number
 * of processes divides the same tiles, each taking a run of neighbours.
 */
#include <clvi_io.h>
#include <string.h>
#include <xxhash.h>

int64_t clvi_tiles(int64_t bytes)
{
    return bytes / CLVI_TILE + (bytes % CLVI_TILE != 0);
}

uint64_t clvi_hash(uint64_t hash, const void *data, size_t bytes)
{
    return XXH3_64bits_withSeed(data, bytes, hash);
}

uint64_t clvi_table_mark(const clvi_table *table)
{
    uint64_t hash = clvi_hash(1, clvi_table_json(table), (size_t)table->json_bytes);
    for (int64_t i = 0; i < table->count; i++) {
        const clvi_entry *entry = &clvi_table_entries(table)[i];
        const char *name = clvi_table_name(table, entry);
        const int64_t shape[] = {entry->m, entry->n, entry->dtype};
        hash = clvi_hash(hash, name, strlen(name));
        hash = clvi_hash(hash, shape, sizeof shape);
        hash = clvi_hash(hash, clvi_table_sums(table) + entry->first_tile,
                         (size_t)entry->tiles * sizeof(uint64_t));
    }
    return hash;
}

/* A walk over this process's share of the tiles. */
typedef struct walk walk;
struct walk {
    const clvi_table *table;
    const clvi_file *file;
    clv_status (*action)(const walk *w, const clvi_entry *entry, int64_t tile, uint64_t sum);
    clvi_progress progress;
    void *buffer; /* one tile */
    int64_t done, all;
};

static clv_status write_sum(const walk *w, const clvi_entry *entry, int64_t tile, uint64_t sum)
{
    return clvi_file_write(w->file, &sum, sizeof sum,
                           entry->sums_offset + tile * (int64_t)sizeof sum);
}

static clv_status check_sum(const walk *w, const clvi_entry *entry, int64_t tile, uint64_t sum)
{
    uint64_t expected = clvi_table_sums(w->table)[entry->first_tile + tile];
    if (sum == expected) return CLV_OK;
    return clvi_fail(CLV_ECORRUPT,
                     "%s: data set %s, tile %lld (from byte %lld of the file): expected checksum "
                     "%016llx, found %016llx",
                     w->file->path, clvi_table_name(w->table, entry), (long long)tile,
                     (long long)(entry->offset + tile * CLVI_TILE), (unsigned long long)expected,
                     (unsigned long long)sum);
}

static clv_status visit(walk *w, const clvi_entry *entry, int64_t tile)
{
    clv_status status;
    int64_t begin = tile * CLVI_TILE, rest = clvi_entry_bytes(entry) - begin;
    size_t bytes = (size_t)(rest < CLVI_TILE ? rest : CLVI_TILE);
    CLVI_TRY(clvi_file_read(w->file, w->buffer, bytes, entry->offset + begin));
    CLVI_TRY(w->action(w, entry, tile, XXH3_64bits(w->buffer, bytes)));
    w->done++;
    if (w->progress.call) w->progress.call(w->progress.context, w->done, w->all);
done:
    return status;
}

/* Visits this process's run of the chosen tiles (all where NULL), entry by entry. */
static clv_status visit_share(const clv_grid *grid, walk *w, const bool chosen[])
{
    clv_status status = CLV_OK;
    const clvi_entry *entries = clvi_table_entries(w->table);
    int64_t tiles = 0, first = 0;
    w->buffer = clvi_alloc(CLVI_TILE);
    CLVI_CHECK(w->buffer, CLV_ENOMEM, "rank %d: a buffer for checksums", clv_grid_rank(grid));
    for (int64_t i = 0; i < w->table->count; i++)
        if (!chosen || chosen[i]) tiles += entries[i].tiles;
    clvi_range mine = clvi_split(tiles, clv_grid_size(grid), clv_grid_rank(grid));
    w->all = mine.end - mine.begin;
    for (int64_t i = 0; i < w->table->count; i++) {
        if (chosen && !chosen[i]) continue;
        for (int64_t tile = 0; tile < entries[i].tiles; tile++)
            if (first + tile >= mine.begin && first + tile < mine.end)
                CLVI_TRY(visit(w, &entries[i], tile));
        first += entries[i].tiles;
    }
done:
    clvi_free(w->buffer);
    return status;
}

clv_status clvi_write_sums(const clv_grid *grid, const clvi_table *table, const clvi_file *file)
{
    return visit_share(grid, &(walk){.table = table, .file = file, .action = write_sum}, NULL);
}

clv_status clvi_check_sums(const clv_grid *grid, const clvi_table *table, const clvi_file *file,
                           const bool chosen[], clvi_progress progress)
{
    walk w = {.table = table, .file = file, .action = check_sum, .progress = progress};
    return visit_share(grid, &w, chosen);
}
