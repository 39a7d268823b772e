/* SPDX-License-Identifier: BSD-3-Clause
 *
 * read.c: blocks out of checked tiles.
 *
 * A tile that a block lies in is read whole, once, in pieces that stay in the cache: read, hashed,
 * and what the block wants of it copied or converted into place. So nothing is read twice to be
 * checked, and no byte that was not checked is left in a matrix of which the load succeeded.
 *
 * Where the blocks of a node's processes lie in the same tiles (column shards, copies), every
 * process would read nearly all of the data set. There they read as a crew: the tiles are dealt
 * out, each process reads and hashes its own into shared memory, and all take from there what is
 * theirs; with lag 1, so that one reads the next piece while its neighbours take the last:
 *
 *     step s   fill slot s mod 2 with a piece of my tile, offer it to all
 *              take what is mine of every process's piece of step s - 1, release it
 */
#include <clvi_io.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { PAST_CACHE = 1 << 10 }; /* bytes of a run from which it pays */

/* ---- Elements of a piece into a block ------------------------------------------------------ */

/* How elements lie in a data set of rows of n, and which of them a block wants. */
typedef struct {
    int64_t n;
    clv_block block;
} lie;

/* A block of whole rows without gaps in memory is one row of a matrix of one row: one piece of the
 * file. */
static lie lie_of(const clvi_target *target)
{
    lie x = {target->entry->n, target->block};
    clv_block *b = &x.block;
    if (b->n != x.n || (b->ld != b->n && b->m > 1)) return x;
    b->col0 = b->row0 * x.n;
    b->n = b->ld = b->m * x.n;
    b->m = b->n > 0;
    b->row0 = 0;
    x.n *= target->entry->m;
    return x;
}

/* The elements of one row that are both in [first, end) and in the block: a run. */
typedef struct {
    int64_t row, begin, end; /* columns */
} run;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The run of a row at or after `row` of the elements [first, end), first < end; false after the
 * last. */
static bool next_run(const lie *x, clvi_range elements, int64_t row, run *out)
{
    const clv_block *b = &x->block;
    int64_t last = least((elements.end - 1) / x->n, b->row0 + b->m - 1);
    for (row = greatest(row, greatest(elements.begin / x->n, b->row0)); row <= last; row++) {
        out->row = row;
        out->begin = greatest(elements.begin - row * x->n, b->col0);
        out->end = least(elements.end - row * x->n, b->col0 + b->n);
        if (out->begin < out->end) return true;
    }
    return false;
}

static clvi_range elements_of(const clvi_entry *entry, clvi_range bytes)
{
    int64_t size = (int64_t)clv_dtype_size(entry->dtype);
    return (clvi_range){bytes.begin / size, bytes.end / size};
}

static bool touches(const lie *x, const clvi_entry *entry, int64_t tile)
{
    run found;
    return next_run(x, elements_of(entry, clvi_tile_range(entry, tile)), 0, &found);
}

static void *place_of(const clvi_target *target, const lie *x, const run *r)
{
    return clvi_at(x->block, target->dtype, r->row - x->block.row0, r->begin - x->block.col0);
}

/* Where a range of bytes can be read to without a buffer; NULL if nowhere. */
static void *direct_place(const clvi_target *target, const lie *x, clvi_range bytes)
{
    run r;
    clvi_range elements = elements_of(target->entry, bytes);
    bool direct = target->dtype == target->entry->dtype && next_run(x, elements, 0, &r) &&
                  r.end - r.begin == elements.end - elements.begin;
    return direct ? place_of(target, x, &r) : NULL;
}

/* Copies past the cache: nobody reads a matrix before all of it is there, and a line that is
 * written whole need not be fetched first. Short runs stay in the cache. */
static void copy_past_cache(char *to, const char *from, size_t bytes)
{
#if defined(__SSE2__)
    size_t head = -(uintptr_t)to % 64;
    if (bytes >= PAST_CACHE) {
        memcpy(to, from, head);
        for (to += head, from += head, bytes -= head; bytes >= 64;
             to += 64, from += 64, bytes -= 64)
            for (int i = 0; i < 64; i += 16)
                _mm_stream_si128((__m128i *)(void *)(to + i),
                                 _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
        _mm_sfence();
    }
#endif
    memcpy(to, from, bytes);
}

/* Takes what the block wants of a range of bytes of the data set. */
static void take(const clvi_target *target, const lie *x, clvi_range bytes, const void *data)
{
    clv_dtype from = target->entry->dtype;
    clvi_range elements = elements_of(target->entry, bytes);
    run r;
    for (int64_t row = 0; next_run(x, elements, row, &r); row = r.row + 1) {
        int64_t at = r.row * x->n + r.begin - elements.begin;
        const char *source = (const char *)data + (size_t)at * clv_dtype_size(from);
        if (from == target->dtype)
            copy_past_cache(place_of(target, x, &r), source,
                            (size_t)(r.end - r.begin) * clv_dtype_size(from));
        else
            clvi_convert(r.end - r.begin, from, source, target->dtype, place_of(target, x, &r));
    }
}

/* ---- Tiles --------------------------------------------------------------------------------- */

static clv_status check(const clvi_table *table, const clvi_file *file, const clvi_entry *entry,
                        int64_t tile, const clvi_hasher *hasher)
{
    uint64_t expected = clvi_table_sums(table)[entry->first_tile + tile];
    uint64_t found = clvi_hasher_end(hasher);
    if (found == expected) return CLV_OK;
    clvi_range elements = elements_of(entry, clvi_tile_range(entry, tile));
    return clvi_fail(
        CLV_ECORRUPT,
        "%s: data set %s, elements %lld to %lld (from byte %lld of the file): expected "
        "checksum %016llx, found %016llx",
        file->path, clvi_table_name(table, entry), (long long)elements.begin,
        (long long)elements.end, (long long)(entry->offset + tile * CLVI_TILE),
        (unsigned long long)expected, (unsigned long long)found);
}

static clv_status read_tile(const clvi_table *table, const clvi_file *file,
                            const clvi_target *target, const lie *x, int64_t tile, void *buffer)
{
    clv_status status;
    const clvi_entry *entry = target->entry;
    clvi_hasher hasher;
    clvi_range whole = clvi_tile_range(entry, tile), piece = whole;
    clvi_hasher_begin(&hasher);
    for (; piece.begin < whole.end; piece.begin = piece.end) {
        piece.end = least(piece.begin + CLVI_PIECE, whole.end);
        size_t bytes = (size_t)(piece.end - piece.begin);
        void *direct = direct_place(target, x, piece), *data = direct ? direct : buffer;
        CLVI_TRY(clvi_file_read(file, data, bytes, entry->offset + piece.begin));
        clvi_hasher_add(&hasher, data, bytes);
        if (!direct) take(target, x, piece, data);
    }
    status = check(table, file, entry, tile, &hasher);
done:
    return status;
}

/* The tiles between the first and the last element of a block. */
static clvi_range tiles_of(const clvi_entry *entry, clv_block b)
{
    if (b.m == 0 || b.n == 0) return (clvi_range){0, 0};
    int64_t size = (int64_t)clv_dtype_size(entry->dtype);
    int64_t first = b.row0 * entry->n + b.col0;
    int64_t last = (b.row0 + b.m - 1) * entry->n + b.col0 + b.n - 1;
    return (clvi_range){first * size / CLVI_TILE, last * size / CLVI_TILE + 1};
}

clv_status clvi_read_alone(const clvi_table *table, const clvi_file *file,
                           const clvi_target *target, void *buffer)
{
    clv_status status = CLV_OK;
    lie x = lie_of(target);
    clvi_range tiles = tiles_of(target->entry, target->block);
    for (int64_t tile = tiles.begin; tile < tiles.end; tile++)
        if (touches(&x, target->entry, tile))
            CLVI_TRY(read_tile(table, file, target, &x, tile, buffer));
done:
    return status;
}

/* ---- Crews --------------------------------------------------------------------------------- */

enum {
    SLOTS = 2,
    LEAST_PIECE = 64 << 10,
    MOST_SHARED = 32 << 20, /* bytes of all slots of a node                              */
    HANDOVER = 16 << 10     /* bytes that are read while one piece is shown to a neighbour */
};

typedef struct {
    int rank;
    uint64_t given; /* number of my last offer to it */
} member;

struct clvi_crew {
    clv_grid *grid;
    const clvi_table *table;
    const clvi_file *file;
    member *members;
    int size, place; /* members; which of them I am   */
    int64_t piece;   /* bytes of a slot                */
    char *slots;     /* SLOTS of them, mine            */
    char *buffer;    /* behind them: what I read alone, while neighbours may still read the slots */
    int64_t turn;    /* steps made, over all data sets */
    int64_t *tiles;  /* of the data set being read, those that any member wants */
};

/* One data set read by a crew: the kth wanted tile is read by member k mod size. */
typedef struct {
    clvi_crew *crew;
    const clvi_target *mine;
    lie x;
    int64_t count, pieces; /* of wanted tiles; of a tile                                       */
    int64_t turn;          /* of the crew at my step 0                                         */
    clvi_hasher hasher;    /* of my tile under way                                             */
    clv_status status;     /* of this process; its neighbours are served to the end all the same */
} reading;

static int64_t most_tiles(const clvi_table *table)
{
    int64_t most = 1;
    for (int64_t i = 0; i < table->count; i++)
        most = greatest(most, clvi_table_entries(table)[i].tiles);
    return most;
}

static void find_members(clvi_crew *crew)
{
    for (int r = 0; r < clv_grid_size(crew->grid); r++) {
        if (r == clv_grid_rank(crew->grid)) crew->place = crew->size;
        if (clvi_grid_is_neighbour(crew->grid, r)) crew->members[crew->size++].rank = r;
    }
    while (crew->piece > LEAST_PIECE && SLOTS * crew->piece * crew->size > MOST_SHARED)
        crew->piece /= 2;
}

clv_status clvi_crew_create(clv_grid *grid, const clvi_table *table, const clvi_file *file,
                            clvi_crew **crew)
{
    clv_status status = CLV_OK;
    clvi_crew *t = clvi_alloc(sizeof *t);
    CLVI_CHECK(t, CLV_ENOMEM, "rank %d: what loading needs", clv_grid_rank(grid));
    *t = (clvi_crew){.grid = grid, .table = table, .file = file, .piece = CLVI_PIECE};
    t->members = clvi_alloc((size_t)clv_grid_size(grid) * sizeof *t->members);
    t->tiles = clvi_alloc((size_t)most_tiles(table) * sizeof *t->tiles);
    t->slots = clvi_shared_alloc(grid, (SLOTS + 1) * CLVI_PIECE);
    CLVI_CHECK(t->members && t->tiles && t->slots, CLV_ENOMEM, "rank %d: %d bytes%s to load",
               clv_grid_rank(grid), (SLOTS + 1) * CLVI_PIECE, clvi_shared_what(grid));
    t->buffer = t->slots + SLOTS * CLVI_PIECE;
    find_members(t);
done:
    status = clv_grid_agree(grid, status);
    if (status != CLV_OK) clvi_crew_destroy(&t);
    *crew = t;
    return status;
}

void clvi_crew_destroy(clvi_crew **crew)
{
    if (!*crew) return;
    clvi_shared_free((*crew)->grid, (*crew)->slots);
    clvi_free((*crew)->tiles);
    clvi_free((*crew)->members);
    clvi_free(*crew);
    *crew = NULL;
}

/* Lists the tiles that any member wants and counts them; *most: of one member alone. */
static int64_t list_tiles(clvi_crew *crew, const clvi_entry *entry, clv_spec spec, int64_t *most)
{
    int64_t count = 0;
    *most = 0;
    memset(crew->tiles, 0, (size_t)entry->tiles * sizeof *crew->tiles);
    for (int j = 0; j < crew->size; j++) {
        clvi_target its = {entry, spec.dtype,
                           clv_spec_block(crew->grid, spec, crew->members[j].rank)};
        lie x = lie_of(&its);
        clvi_range range = tiles_of(entry, its.block);
        int64_t alone = 0;
        for (int64_t tile = range.begin; tile < range.end; tile++)
            if (touches(&x, entry, tile)) crew->tiles[tile] = ++alone;
        *most = greatest(*most, alone);
    }
    for (int64_t tile = 0; tile < entry->tiles; tile++)
        if (crew->tiles[tile]) crew->tiles[count++] = tile;
    return count;
}

/* Whether the member with most to read has less to do in the crew: all answer alike. */
static bool worth_it(const clvi_crew *crew, const clvi_entry *entry, int64_t wanted, int64_t most)
{
    int64_t tile = least(CLVI_TILE, clvi_entry_bytes(entry));
    int64_t rounds = clvi_units(wanted, crew->size), pieces = clvi_units(tile, crew->piece);
    return rounds * (tile + pieces * crew->size * HANDOVER) < most * tile;
}

/* The bytes of a data set that a member shows in a step; empty where there are none. */
static clvi_range piece_of(const reading *r, int64_t step, int member, int64_t *tile)
{
    int64_t k = step / r->pieces * r->crew->size + member;
    if (k >= r->count) return (clvi_range){0, 0};
    *tile = r->crew->tiles[k];
    clvi_range whole = clvi_tile_range(r->mine->entry, *tile);
    int64_t begin = least(whole.begin + step % r->pieces * r->crew->piece, whole.end);
    return (clvi_range){begin, least(begin + r->crew->piece, whole.end)};
}

/* Reads my piece of a step into a slot and hashes it. */
static clv_status fill(reading *r, int64_t step, char *slot)
{
    clv_status status = r->status;
    const clvi_crew *crew = r->crew;
    const clvi_entry *entry = r->mine->entry;
    int64_t tile = 0;
    clvi_range piece = piece_of(r, step, crew->place, &tile);
    size_t bytes = (size_t)(piece.end - piece.begin);
    if (status != CLV_OK || bytes == 0) return status;
    if (step % r->pieces == 0) clvi_hasher_begin(&r->hasher);
    CLVI_TRY(clvi_file_read(crew->file, slot, bytes, entry->offset + piece.begin));
    clvi_hasher_add(&r->hasher, slot, bytes);
    if (piece.end == clvi_tile_range(entry, tile).end)
        CLVI_TRY(check(crew->table, crew->file, entry, tile, &r->hasher));
done:
    return status;
}

static char *slot_of(const reading *r, int64_t step)
{
    return r->crew->slots + (r->turn + step) % SLOTS * CLVI_PIECE;
}

/* Fills a slot, once all have taken what it held before, and shows it; after a failure, nothing. */
static clv_status give(reading *r, int64_t step)
{
    clv_status status = CLV_OK;
    clvi_crew *crew = r->crew;
    for (int j = 0; j < crew->size; j++) {
        member *to = &crew->members[j];
        if (j == crew->place) continue;
        to->given = clvi_channel_next_given(crew->grid, to->rank);
        if (crew->turn >= SLOTS)
            CLVI_TRY(clvi_channel_reclaim(crew->grid, to->rank, to->given - SLOTS));
    }
    crew->turn++;
    char *slot = slot_of(r, step);
    r->status = fill(r, step, slot);
    for (int j = 0; j < crew->size; j++) {
        const member *to = &crew->members[j];
        if (j == crew->place) continue;
        CLVI_TRY(clvi_channel_offer(crew->grid, to->rank, to->given,
                                    r->status == CLV_OK ? slot : NULL, 0));
    }
done:
    return status;
}

/* Takes what is mine of one member's piece of a step. */
static clv_status take_from(const reading *r, int64_t step, int place)
{
    clv_status status = CLV_OK;
    const clvi_crew *crew = r->crew;
    int rank = crew->members[place].rank;
    const void *data = r->status == CLV_OK ? slot_of(r, step) : NULL;
    uint64_t number = 0;
    int64_t ld, tile = 0;
    if (place != crew->place) {
        number = clvi_channel_next_taken(crew->grid, rank);
        CLVI_TRY(clvi_channel_take(crew->grid, rank, number, &data, &ld));
    }
    clvi_range piece = piece_of(r, step, place, &tile);
    if (data && piece.begin < piece.end) take(r->mine, &r->x, piece, data);
    if (place != crew->place) clvi_channel_release(crew->grid, rank, number);
done:
    return status;
}

static clv_status read_together(reading *r)
{
    clv_status status = CLV_OK;
    int size = r->crew->size;
    int64_t steps = clvi_units(r->count, size) * r->pieces;
    for (int64_t step = 0; step <= steps; step++) {
        if (step < steps) CLVI_TRY(give(r, step));
        for (int j = 0; step > 0 && j < size; j++)
            CLVI_TRY(take_from(r, step - 1, (r->crew->place + j) % size));
    }
    status = r->status;
done:
    return status;
}

clv_status clvi_crew_read(clvi_crew *crew, clv_spec spec, const clvi_target *mine)
{
    int64_t most, count = list_tiles(crew, mine->entry, spec, &most);
    if (!worth_it(crew, mine->entry, count, most))
        return clvi_read_alone(crew->table, crew->file, mine, crew->buffer);
    int64_t tile = least(CLVI_TILE, clvi_entry_bytes(mine->entry));
    reading r = {.crew = crew,
                 .mine = mine,
                 .x = lie_of(mine),
                 .count = count,
                 .pieces = clvi_units(tile, crew->piece),
                 .turn = crew->turn};
    return read_together(&r);
}
