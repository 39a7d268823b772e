/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verify.c: whether every byte of a checkpoint is as it was written.
 *
 * Names, shapes, JSON and the checksums themselves were checked when the file was opened. Here the
 * tiles are: processes divide them in runs of neighbours, threads of a process tile by tile. Every
 * verdict then goes to every process, so that all tell the same damage in the same order. What
 * lies between the values is zero.
 */
#include <clvi_io.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 256 << 10 }; /* bytes read, and hashed while they are in the cache */

/* The chosen tiles, numbered through. */
typedef struct {
    const clv_checkpoint *checkpoint;
    const clv_verify_options *options;
    int64_t *first;     /* of each entry: number of its first tile; first[count]: all tiles */
    unsigned char *bad; /* of each tile                                                     */
    char *buffers;      /* PIECE for each thread                                       */
    clvi_range mine;    /* of this process                                                  */
    _Atomic int64_t next, done; /* of this process: tile to check; bytes checked              */
    int64_t all; /* bytes of this process                                            */
} survey;

static int64_t entries_in(const survey *s)
{
    return s->checkpoint->table->count;
}

/* Entries whose names are not chosen have no tiles here. */
static int64_t chosen_tiles(const survey *s, int64_t i)
{
    const clvi_table *table = s->checkpoint->table;
    const clvi_entry *entry = clvi_table_entry(table, i);
    return clv_name_matches(s->options->only, clvi_table_name(table, entry)) ? entry->tiles : 0;
}

static int threads_of(void)
{
    int threads = clvi_threads();
    return threads < 1 ? 1 : threads > 64 ? 64 : threads;
}

static clv_status prepare(survey *s)
{
    clv_status status = CLV_OK;
    clv_grid *grid = s->checkpoint->grid;
    int64_t count = entries_in(s), tiles = 0;
    s->first = clvi_alloc((size_t)(count + 1) * sizeof *s->first);
    s->buffers = clvi_alloc((size_t)threads_of() * PIECE);
    CLVI_CHECK(s->first && s->buffers, CLV_ENOMEM, "rank %d: what verifying needs",
               clv_grid_rank(grid));
    for (int64_t i = 0; i < count; tiles += chosen_tiles(s, i++)) s->first[i] = tiles;
    s->first[count] = tiles;
    s->mine = clvi_split(tiles, clv_grid_size(grid), clv_grid_rank(grid));
    s->next = s->mine.begin;
    s->bad = clvi_alloc((size_t)tiles + 1);
    CLVI_CHECK(s->bad, CLV_ENOMEM, "rank %d: verdicts on %lld tiles", clv_grid_rank(grid),
               (long long)tiles);
    memset(s->bad, 0, (size_t)tiles + 1);
done:
    return status;
}

/* The entry of a tile, and which of its tiles it is. */
static const clvi_entry *find_tile(const survey *s, int64_t number, int64_t *tile)
{
    int64_t low = 0, high = entries_in(s); /* first[low] <= number < first[high] */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (s->first[middle] <= number)
            low = middle;
        else
            high = middle;
    }
    *tile = number - s->first[low];
    return clvi_table_entry(s->checkpoint->table, low);
}

static bool is_as_written(const survey *s, const clvi_entry *entry, int64_t tile, void *buffer)
{
    clvi_hasher hasher;
    clvi_range range = clvi_tile_range(entry, tile);
    clvi_hasher_begin(&hasher);
    for (int64_t at = range.begin; at < range.end; at += PIECE) {
        size_t bytes = (size_t)(range.end - at < PIECE ? range.end - at : PIECE);
        if (clvi_file_read(&s->checkpoint->file, buffer, bytes, entry->offset + at) != CLV_OK)
            return false;
        clvi_hasher_add(&hasher, buffer, bytes);
    }
    return clvi_hasher_end(&hasher) ==
           clvi_table_sums(s->checkpoint->table)[entry->first_tile + tile];
}

static void check_tile(survey *s, int64_t number, void *buffer)
{
    int64_t tile;
    const clvi_entry *entry = find_tile(s, number, &tile);
    clvi_range range = clvi_tile_range(entry, tile);
    s->bad[number] = !is_as_written(s, entry, tile, buffer);
    s->done += range.end - range.begin;
}

static int64_t bytes_of(const survey *s, clvi_range tiles)
{
    int64_t bytes = 0, tile;
    for (int64_t number = tiles.begin; number < tiles.end; number++) {
        const clvi_entry *entry = find_tile(s, number, &tile);
        clvi_range range = clvi_tile_range(entry, tile);
        bytes += range.end - range.begin;
    }
    return bytes;
}

/* Progress is told by the thread that called. */
static void check_tiles(survey *s)
{
    const clv_verify_options *o = s->options;
    s->all = bytes_of(s, s->mine);
#pragma omp parallel num_threads(threads_of())
    {
        int thread = omp_get_thread_num();
        void *buffer = s->buffers + (size_t)thread * PIECE;
        for (int64_t number; (number = s->next++) < s->mine.end;) {
            check_tile(s, number, buffer);
            if (thread == 0 && o->progress) o->progress(o->context, s->done, s->all);
        }
    }
    if (o->progress && s->all > 0) o->progress(o->context, s->all, s->all);
}

/* Every process's verdicts to all. */
static clv_status share(survey *s)
{
    clv_status status = CLV_OK;
    clv_grid *grid = s->checkpoint->grid;
    int64_t tiles = s->first[entries_in(s)];
    for (int rank = 0; rank < clv_grid_size(grid); rank++) {
        clvi_range its = clvi_split(tiles, clv_grid_size(grid), rank);
        CLVI_TRY(clv_grid_broadcast(grid, rank, s->bad + its.begin, (size_t)(its.end - its.begin)));
    }
done:
    return status;
}

/* The next run of damaged tiles of an entry from `tile` on; false if there is none. */
static bool next_damage(const survey *s, int64_t i, int64_t tile, clvi_range *tiles)
{
    const unsigned char *bad = s->bad + s->first[i];
    int64_t count = s->first[i + 1] - s->first[i];
    while (tile < count && !bad[tile]) tile++;
    tiles->begin = tile;
    while (tile < count && bad[tile]) tile++;
    tiles->end = tile;
    return tiles->begin < tiles->end;
}

/* Tells all damage, in the order of the file. */
static clv_status report(const survey *s)
{
    clv_damage first = {0};
    int64_t sets = 0, bytes = 0;
    const clvi_table *table = s->checkpoint->table;
    for (int64_t i = 0; i < entries_in(s); i++) {
        const clvi_entry *entry = clvi_table_entry(s->checkpoint->table, i);
        const int64_t size = (int64_t)clv_dtype_size(entry->dtype);
        clvi_range tiles = {0, 0};
        for (int64_t before = bytes; next_damage(s, i, tiles.end, &tiles);) {
            clvi_range last = clvi_tile_range(entry, tiles.end - 1);
            int64_t begin = tiles.begin * CLVI_TILE;
            clv_damage damage = {clvi_table_name(table, entry), begin / size, last.end / size,
                                 entry->offset + begin};
            sets += before == bytes;
            bytes += last.end - begin;
            if (!first.name) first = damage;
            if (s->options->damage) s->options->damage(s->options->context, &damage);
        }
    }
    if (sets == 0) return CLV_OK;
    return clvi_fail(CLV_ECORRUPT,
                     "%s: expected data sets as they were written, found %lld not so, in tiles of "
                     "%lld bytes; the first: %s, elements %lld to %lld",
                     s->checkpoint->path, (long long)sets, (long long)bytes, first.name,
                     (long long)first.begin, (long long)first.end - 1);
}

/* ---- Between the values ------------------------------------------------------------------ */

static int compare_ranges(const void *a, const void *b)
{
    const clvi_range *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static clv_status expect_zeros(const clvi_file *file, clvi_range gap)
{
    clv_status status = CLV_OK;
    unsigned char bytes[4096];
    for (int64_t at = gap.begin; at < gap.end; at += (int64_t)sizeof bytes) {
        int64_t rest = gap.end - at;
        size_t count = rest < (int64_t)sizeof bytes ? (size_t)rest : sizeof bytes;
        CLVI_TRY(clvi_file_read(file, bytes, count, at));
        for (size_t i = 0; i < count; i++)
            CLVI_CHECK(bytes[i] == 0, CLV_ECORRUPT,
                       "%s: byte %lld, between values: expected 0, found %d", file->path,
                       (long long)at + (long long)i, bytes[i]);
    }
done:
    return status;
}

/* Rank 0. What lies before the first value is the structure, under a checksum of its own. */
static clv_status check_gaps(const clv_checkpoint *c)
{
    clv_status status = CLV_OK;
    const clvi_table *t = c->table;
    int64_t count = 0;
    clvi_range *values = clvi_alloc((size_t)(2 * t->count + 3) * sizeof *values);
    CLVI_CHECK(values, CLV_ENOMEM, "%s: the places of %lld data sets", c->path,
               (long long)t->count);
    values[count++] = (clvi_range){t->json_offset, t->json_offset + t->json_bytes};
    values[count++] = (clvi_range){t->mark_offset, t->mark_offset + (int64_t)sizeof t->mark};
    values[count++] = (clvi_range){t->file_bytes, t->file_bytes};
    for (int64_t i = 0; i < t->count; i++) {
        const clvi_entry *e = clvi_table_entry(t, i);
        if (e->tiles == 0) continue;
        values[count++] = (clvi_range){e->offset, e->offset + clvi_entry_bytes(e)};
        values[count++] =
            (clvi_range){e->sums_offset, e->sums_offset + e->tiles * (int64_t)sizeof(uint64_t)};
    }
    qsort(values, (size_t)count, sizeof *values, compare_ranges);
    for (int64_t i = 1; i < count; i++)
        CLVI_TRY(expect_zeros(&c->file, (clvi_range){values[i - 1].end, values[i].begin}));
done:
    clvi_free(values);
    return status;
}

clv_status clv_checkpoint_verify(clv_checkpoint *checkpoint, const clv_verify_options *options)
{
    clv_status status;
    clv_verify_options all = {0};
    if (!checkpoint) return clvi_fail(CLV_EARG, "expected a checkpoint, found NULL");
    survey s = {.checkpoint = checkpoint, .options = options ? options : &all};
    clv_grid *grid = checkpoint->grid;
    int64_t only = s.options->only ? (int64_t)clvi_hash_string(s.options->only) : 0;
    CLVI_TRY(clvi_grid_same(grid, prepare(&s), "only (hash)", 1, &only));
    check_tiles(&s);
    CLVI_TRY(share(&s));
    status = !s.options->only && clv_grid_rank(grid) == 0 ? check_gaps(checkpoint) : CLV_OK;
    status = clv_grid_agree(grid, status);
    clv_status tiles = report(&s);
    if (tiles != CLV_OK) status = tiles;
done:
    clvi_free(s.bad);
    clvi_free(s.buffers);
    clvi_free(s.first);
    return status;
}
