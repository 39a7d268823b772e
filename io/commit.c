/* SPDX-License-Identifier: BSD-3-Clause
 *
 * commit.c: a checkpoint is written as a whole or not at all.
 *
 *     begin    rank 0   makes the structure under a temporary name, reserves the room   vote
 *     put      all      write their blocks, with the checksums of tiles that are theirs alone
 *     settle   all      write what is left of them                                      vote
 *     seal     all      checksum the other tiles, dividing them evenly, and sync        vote
 *     finish   rank 0   marks the file as complete, syncs, renames, syncs the folder    vote
 *
 * A failure of one process at any stage is the status of all at the next vote, and rank 0 removes
 * the temporary file. Each stage opens the file anew: on network file systems it is closing and
 * opening that shows the others' writes, and closing that shows their failures.
 *
 * Checksums that stand in the file as 0 are not known yet: so stages need not tell each other which
 * are.
 */
#include <clvi_io.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { PANEL = 8 << 20 };

struct clv_checkpoint_writer {
    clv_grid *grid;
    char *path, *temporary;
    clvi_file lock; /* rank 0: holds the temporary file while it is being written */
    clvi_table *table;
    int count;
    int64_t *places; /* of each entry in the table, which goes group by group */
    clvi_stream stream;
};

clv_status clvi_vote(clv_grid *grid, clv_status mine)
{
    if (mine != CLV_OK) clvi_fail(mine, "rank %d: %s", clv_grid_rank(grid), clv_last_error());
    return clv_grid_agree(grid, mine);
}

/* ---- Begin ------------------------------------------------------------------------------ */

/* Rank 0: the temporary file with its structure, its room and the JSON text, and the table of its
 * places. */
static clv_status make_structure(clv_checkpoint_writer *w, int count,
                                 const clv_checkpoint_entry entries[], const char *json)
{
    clv_status status = CLV_OK;
    CLVI_TRY(clvi_file_prepare(w->path));
    CLVI_TRY(clvi_file_create_locked(w->temporary, &w->lock));
    CLVI_TRY(clvi_h5_create(&w->lock, count, entries, strlen(json) + 1));
    CLVI_TRY(clvi_table_read(w->temporary, false, &w->table));
    strcpy(clvi_table_json(w->table), json);
    CLVI_TRY(clvi_file_write(&w->lock, json, strlen(json) + 1, w->table->json_offset));
done:
    return status;
}

static clv_status open_stream(clv_checkpoint_writer *w, int count,
                              const clv_checkpoint_entry entries[])
{
    clv_status status = CLV_OK;
    w->count = count;
    w->places = clvi_alloc((size_t)count * sizeof *w->places);
    CLVI_CHECK(w->places, CLV_ENOMEM, "%s: places of %d entries", w->path, count);
    for (int i = 0; i < count; i++) w->places[i] = clvi_table_find(w->table, entries[i].name, i);
    CLVI_TRY(clvi_stream_open(w->temporary, w->table, &w->stream));
done:
    return status;
}

/* All: the temporary name, what rank 0 found out of the file behind it, and a stream into it. */
static clv_status open_temporary(clv_checkpoint_writer *w, int count,
                                 const clv_checkpoint_entry entries[], const char *json)
{
    clv_status status;
    char suffix[CLVI_SUFFIX] = "";
    clvi_temporary_suffix(suffix);
    CLVI_TRY(clv_grid_broadcast(w->grid, 0, suffix, sizeof suffix));
    w->temporary = w->path ? clvi_hidden_name(w->path, suffix) : NULL;
    if (!w->temporary)
        status = clvi_fail(CLV_ENOMEM, "a temporary name");
    else if (clv_grid_rank(w->grid) == 0)
        status = make_structure(w, count, entries, json);
    if (status != CLV_OK)
        clvi_fail(status, "rank %d: %s", clv_grid_rank(w->grid), clv_last_error());
    CLVI_TRY(clvi_share(w->grid, status, (void **)&w->table, w->table ? w->table->bytes : 0));
    CLVI_TRY(clvi_vote(w->grid, open_stream(w, count, entries)));
done:
    return status;
}

clv_status clvi_writer_begin(clv_grid *grid, const char *path, int count,
                             const clv_checkpoint_entry entries[], const char *json,
                             clv_status mine, clv_checkpoint_writer **writer)
{
    clv_status status;
    clv_checkpoint_writer *w = NULL;
    if (!json) json = "{}";
    if (mine == CLV_OK && !(w = clvi_alloc(sizeof *w)))
        mine = clvi_fail(CLV_ENOMEM, "rank %d: a writer", clv_grid_rank(grid));
    if (w)
        *w = (clv_checkpoint_writer){
            .grid = grid, .lock.fd = -1, .stream = {.file.fd = -1, .direct = -1}};
    CLVI_TRY(clvi_entries_agree(grid, path, count, entries, json, mine));
    w->path = clvi_format("%s", path);
    CLVI_TRY(open_temporary(w, count, entries, json));
    *writer = w;
done:
    if (status != CLV_OK) clvi_writer_end(&w, status);
    return status;
}

clv_status clv_checkpoint_begin(clv_grid *grid, const char *path, int count,
                                const clv_checkpoint_entry entries[], const char *json,
                                clv_checkpoint_writer **writer)
{
    if (!grid || !writer) return clvi_fail(CLV_EARG, "expected a grid and a place, found NULL");
    *writer = NULL;
    return clvi_writer_begin(grid, path, count, entries, json, CLV_OK, writer);
}

/* ---- Put --------------------------------------------------------------------------------- */

clv_status clv_checkpoint_put(clv_checkpoint_writer *writer, int i, clv_block block)
{
    clv_status status;
    CLVI_CHECK(writer, CLV_EARG, "expected a writer, found NULL");
    CLVI_CHECK(i >= 0 && i < writer->count, CLV_EARG,
               "%s: expected an entry from 0 to %d, found %d", writer->path, writer->count - 1, i);
    const clvi_entry *entry = clvi_table_entry(writer->table, writer->places[i]);
    CLVI_CHECK(clvi_block_inside(block, entry->m, entry->n), CLV_ESHAPE,
               "%s: data set %s: expected a block within %lld x %lld, found %lld x %lld at (%lld, "
               "%lld), ld %lld",
               writer->path, clvi_table_name(writer->table, entry), (long long)entry->m,
               (long long)entry->n, (long long)block.m, (long long)block.n, (long long)block.row0,
               (long long)block.col0, (long long)block.ld);
    CLVI_TRY(clvi_stream_put(&writer->stream, writer->places[i], block));
done:
    return status;
}

/* ---- Stages -------------------------------------------------------------------------------- */

static clv_status settle(clv_checkpoint_writer *w)
{
    return clvi_stream_close(&w->stream);
}

/* The sums of an entry's tiles [range) that are not known: of what stands in the file. */
static clv_status seal_entry(const clv_checkpoint_writer *w, const clvi_file *file,
                             const clvi_entry *entry, clvi_range range, void *buffer)
{
    clv_status status = CLV_OK;
    uint64_t *sums = clvi_table_sums(w->table) + entry->first_tile;
    CLVI_TRY(clvi_file_read(file, sums + range.begin,
                            (size_t)(range.end - range.begin) * sizeof *sums,
                            entry->sums_offset + range.begin * (int64_t)sizeof *sums));
    for (int64_t tile = range.begin; tile < range.end; tile++) {
        if (sums[tile]) continue;
        clvi_range of = clvi_tile_range(entry, tile);
        size_t bytes = (size_t)(of.end - of.begin);
        CLVI_TRY(clvi_file_read(file, buffer, bytes, entry->offset + of.begin));
        sums[tile] = XXH3_64bits(buffer, bytes);
        CLVI_TRY(clvi_file_write(file, &sums[tile], sizeof *sums,
                                 entry->sums_offset + tile * (int64_t)sizeof *sums));
    }
done:
    return status;
}

/* What both have, from the first of the entry's tiles. */
static clvi_range common(clvi_range mine, const clvi_entry *entry)
{
    int64_t begin = mine.begin - entry->first_tile, end = mine.end - entry->first_tile;
    if (begin < 0) begin = 0;
    if (end > entry->tiles) end = entry->tiles;
    return (clvi_range){begin, end > begin ? end : begin};
}

static clv_status seal(clv_checkpoint_writer *w)
{
    clv_status status;
    clvi_file file;
    void *buffer = NULL;
    CLVI_TRY(clvi_file_open(w->temporary, true, &file));
    buffer = clvi_alloc(CLVI_TILE);
    CLVI_CHECK(buffer, CLV_ENOMEM, "a buffer for checksums");
    clvi_range mine = clvi_split(w->table->tiles, clv_grid_size(w->grid), clv_grid_rank(w->grid));
    for (int64_t i = 0; i < w->table->count; i++) {
        const clvi_entry *entry = clvi_table_entry(w->table, i);
        clvi_range range = common(mine, entry);
        if (range.end > range.begin) CLVI_TRY(seal_entry(w, &file, entry, range, buffer));
    }
    CLVI_TRY(clvi_file_sync(&file));
    CLVI_TRY(clvi_file_close(&file));
done:
    clvi_file_close(&file);
    clvi_free(buffer);
    return status;
}

/* The checksums that all processes wrote. */
static clv_status read_sums(const clv_checkpoint_writer *w, const clvi_file *file)
{
    clv_status status = CLV_OK;
    for (int64_t i = 0; i < w->table->count; i++) {
        const clvi_entry *entry = clvi_table_entry(w->table, i);
        CLVI_TRY(clvi_file_read(file, clvi_table_sums(w->table) + entry->first_tile,
                                (size_t)entry->tiles * sizeof(uint64_t), entry->sums_offset));
    }
done:
    return status;
}

static clv_status finish(clv_checkpoint_writer *w)
{
    clv_status status = CLV_OK;
    clvi_file file = {.fd = -1};
    if (clv_grid_rank(w->grid) != 0) return CLV_OK;
    CLVI_TRY(clvi_file_open(w->temporary, true, &file));
    CLVI_TRY(read_sums(w, &file));
    CLVI_TRY(clvi_front_write(&file, w->table));
    w->table->mark = clvi_table_mark(w->table);
    CLVI_TRY(clvi_file_write(&file, &w->table->mark, sizeof w->table->mark, w->table->mark_offset));
    CLVI_TRY(clvi_file_sync(&file));
    CLVI_TRY(clvi_file_close(&file));
    CLVI_TRY(clvi_file_rename(w->temporary, w->path));
done:
    clvi_file_close(&file);
    return status;
}

const clvi_stage clvi_writer_stages[CLVI_STAGES] = {settle, seal, finish};

void clvi_writer_end(clv_checkpoint_writer **writer, clv_status status)
{
    clv_checkpoint_writer *w = *writer;
    if (!w) return;
    if (status != CLV_OK && w->lock.fd >= 0) unlink(w->temporary); /* only what is this writer's */
    clvi_file_close(&w->lock);
    clvi_stream_drop(&w->stream);
    clvi_free(w->places);
    clvi_free(w->table);
    clvi_free(w->temporary);
    clvi_free(w->path);
    clvi_free(w);
    *writer = NULL;
}

clv_status clv_checkpoint_commit(clv_checkpoint_writer **writer, clv_status mine)
{
    clv_status status;
    if (!writer || !*writer) return clvi_fail(CLV_EARG, "expected a writer, found NULL");
    CLVI_TRY(clvi_vote((*writer)->grid, mine));
    for (int i = 0; i < CLVI_STAGES; i++)
        CLVI_TRY(clvi_vote((*writer)->grid, clvi_writer_stages[i](*writer)));
done:
    clvi_writer_end(writer, status);
    return status;
}

/* ---- All at once ------------------------------------------------------------------------- */

/* Memory for the largest panel that comes to this process. */
static clv_status allocate_panel(int count, const clv_named matrices[], void **memory)
{
    int64_t most = 0;
    for (int i = 0; i < count; i++) {
        clvi_rows rows = clvi_rows_of(matrices[i].matrix, PANEL);
        int64_t bytes = clvi_rows_memory(&rows);
        if (bytes > most) most = bytes;
    }
    *memory = clvi_alloc((size_t)most);
    return *memory ? CLV_OK : clvi_fail(CLV_ENOMEM, "%lld bytes of a panel", (long long)most);
}

/* *mine: what has failed here so far. */
static clv_status put_matrix(clv_checkpoint_writer *w, int i, const clv_matrix *matrix,
                             void *memory, clv_status *mine)
{
    clv_status status = CLV_OK;
    clvi_rows rows = clvi_rows_of(matrix, PANEL);
    for (int panel = 0; panel < rows.panels; panel++) {
        clv_block block;
        CLVI_TRY(clvi_rows_take(&rows, panel, memory, *mine, &block));
        *mine = clvi_stream_put(&w->stream, w->places[i], block);
    }
done:
    return status;
}

clv_status clvi_writer_put_all(clv_checkpoint_writer *writer, int count, const clv_named matrices[])
{
    clv_status status;
    void *memory = NULL;
    clv_status mine = allocate_panel(count, matrices, &memory);
    for (int i = 0; i < count; i++)
        CLVI_TRY(put_matrix(writer, i, matrices[i].matrix, memory, &mine));
    CLVI_TRY(clvi_vote(writer->grid, mine));
done:
    clvi_free(memory);
    return status;
}

clv_status clv_checkpoint_write(clv_grid *grid, const char *path, int count,
                                const clv_named matrices[], const char *json)
{
    clv_status status, mine;
    clv_checkpoint_writer *w = NULL;
    clv_checkpoint_entry *entries = NULL;
    if (!grid) return clvi_fail(CLV_EARG, "expected a grid, found NULL");
    mine = clvi_entries_of(grid, count, matrices, &entries);
    CLVI_TRY(clvi_writer_begin(grid, path, count, entries, json, mine, &w));
    CLVI_TRY(clvi_writer_put_all(w, count, matrices));
    status = clv_checkpoint_commit(&w, CLV_OK);
done:
    clvi_writer_end(&w, status);
    clvi_free(entries);
    return status;
}
