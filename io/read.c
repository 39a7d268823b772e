/* SPDX-License-Identifier: BSD-3-Clause
 *
 * read.c: blocks out of checked tiles.
 *
 * A tile that a block lies in is seen whole, in pieces that stay in the cache: hashed, and what the
 * block wants of it copied or converted into place, so that memory is read once for both.
 *
 * Where the blocks of a node's processes lie in the same tiles (column shards, copies), every
 * process sees all of the data set in its own view of the same pages, and each tile is hashed by
 * one of those that want it; the vote after the load makes that good for all. They go through the
 * file in rounds of as many tiles as want one, each beginning with the tile it hashes: they do not
 * wait for each other's page tables, and the second finds in the cache what the first has read.
 */
#include <clvi_io.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    PIECE = 16 << 10,     /* bytes hashed and then copied; whole rows of at most LONG_ROW */
    LONG_ROW = 64 << 10,  /* bytes from which the processor itself sees what comes next   */
    PAST_CACHE = 1 << 10, /* bytes of a run from which it pays                            */
    PARTS = 8             /* of a row that are asked for ahead, at most                   */
};

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

/* The run of a row at or after `row` of the elements [first, end), first < end; false after the
 * last. */
static bool next_run(const lie *x, clvi_range elements, int64_t row, run *out)
{
    const clv_block *b = &x->block;
    int64_t last = clvi_smaller((elements.end - 1) / x->n, b->row0 + b->m - 1);
    for (row = clvi_larger(row, clvi_larger(elements.begin / x->n, b->row0)); row <= last; row++) {
        out->row = row;
        out->begin = clvi_larger(elements.begin - row * x->n, b->col0);
        out->end = clvi_smaller(elements.end - row * x->n, b->col0 + b->n);
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

/* What to ask for while a run is copied, in bytes from the line being copied. */
typedef struct {
    int parts;
    int64_t part[PARTS];
} ahead;

/* The same run of the next piece; of a piece that will be hashed, the rest of its row too. A run
 * that begins at `begin` of a row of `row` bytes is one of the row's parts. */
static ahead ahead_of(int64_t begin, int64_t bytes, int64_t row, int64_t piece, bool whole)
{
    ahead next = {.parts = 1, .part = {0}};
    if (row > LONG_ROW) return next;
    if (whole) next.parts = (int)clvi_smaller(clvi_units(row, bytes), PARTS);
    for (int i = 0; i < next.parts; i++) next.part[i] = piece + (begin + i * bytes) % row - begin;
    return next;
}

/* Copies past the cache: nobody reads a matrix before all of it is there, and a line that is
 * written whole need not be fetched first. Short runs stay in the cache. */
static void copy_past_cache(char *to, const char *from, int64_t bytes, const ahead *next)
{
#if defined(__SSE2__)
    int64_t head = (int64_t)(-(uintptr_t)to % 64);
    if (bytes >= PAST_CACHE) {
        memcpy(to, from, (size_t)head);
        for (to += head, from += head, bytes -= head; bytes >= 64;
             to += 64, from += 64, bytes -= 64) {
            for (int i = 0; i < next->parts; i++)
                __builtin_prefetch((void *)((uintptr_t)from + (uintptr_t)next->part[i]));
            for (int i = 0; i < 64; i += 16)
                _mm_stream_si128((__m128i *)(void *)(to + i),
                                 _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
        }
    }
#else
    (void)next;
#endif
    memcpy(to, from, (size_t)bytes);
}

/* What was copied past the cache is there. */
static void copied(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

/* Takes what the block wants of a range of bytes of the data set; whole: what comes next will be
 * hashed. */
static void take(const clvi_target *target, const lie *x, clvi_range bytes, const char *data,
                 bool whole)
{
    clv_dtype from = target->entry->dtype;
    int64_t size = (int64_t)clv_dtype_size(from), row_bytes = x->n * size;
    clvi_range elements = elements_of(target->entry, bytes);
    run r;
    for (int64_t row = 0; next_run(x, elements, row, &r); row = r.row + 1) {
        const char *source = data + (r.row * x->n + r.begin - elements.begin) * size;
        int64_t count = r.end - r.begin;
        if (from == target->dtype) {
            ahead next =
                ahead_of(r.begin * size, count * size, row_bytes, bytes.end - bytes.begin, whole);
            copy_past_cache(place_of(target, x, &r), source, count * size, &next);
        } else {
            clvi_convert(count, from, source, target->dtype, place_of(target, x, &r));
        }
    }
}

/* ---- Tiles --------------------------------------------------------------------------------- */

struct clvi_reader {
    const clvi_table *table;
    clvi_view view;
    clv_grid *grid;  /* NULL: alone                                      */
    int *members;    /* ranks of the grid on this node                   */
    lie *lies;       /* of the data set being read, each member's, or just this process's */
    int size, place; /* members; which of them this process is          */
};

/* A tile being read: what `use_tile` needs. */
typedef struct {
    const clvi_reader *reader;
    const clvi_target *mine;
    int64_t tile;
    bool hashed_here;
} reading;

static clv_status check(const reading *r, const clvi_hasher *hasher)
{
    const clvi_entry *entry = r->mine->entry;
    const clvi_table *table = r->reader->table;
    uint64_t expected = clvi_table_sums(table)[entry->first_tile + r->tile];
    uint64_t found = clvi_hasher_end(hasher);
    if (found == expected) return CLV_OK;
    clvi_range elements = elements_of(entry, clvi_tile_range(entry, r->tile));
    return clvi_fail(
        CLV_ECORRUPT,
        "%s: data set %s, elements %lld to %lld (from byte %lld of the file): expected "
        "checksum %016llx, found %016llx",
        r->reader->view.file->path, clvi_table_name(table, entry), (long long)elements.begin,
        (long long)elements.end, (long long)(entry->offset + r->tile * CLVI_TILE),
        (unsigned long long)expected, (unsigned long long)found);
}

/* Where a piece that begins at `begin` ends: with a row, where rows are not long. */
static int64_t piece_end(int64_t begin, int64_t row, int64_t end)
{
    int64_t at = begin + PIECE;
    if (row > 0 && row <= LONG_ROW) at = clvi_units(at, row) * row;
    return clvi_smaller(at, end);
}

/* Bytes that no other process has are hashed here in any case. */
static clv_status use_tile(const void *data, bool shared, void *context)
{
    const reading *r = context;
    const clvi_entry *entry = r->mine->entry;
    const lie *x = &r->reader->lies[r->reader->place];
    bool hashed = r->hashed_here || !shared;
    int64_t row = x->n * (int64_t)clv_dtype_size(entry->dtype);
    clvi_hasher hasher;
    clvi_range whole = clvi_tile_range(entry, r->tile), piece = whole;
    if (hashed) clvi_hasher_begin(&hasher);
    for (; piece.begin < whole.end; piece.begin = piece.end) {
        const char *at = (const char *)data + (piece.begin - whole.begin);
        piece.end = piece_end(piece.begin, row, whole.end);
        if (hashed) clvi_hasher_add(&hasher, at, (size_t)(piece.end - piece.begin));
        take(r->mine, x, piece, at, hashed);
    }
    copied();
    return hashed ? check(r, &hasher) : CLV_OK;
}

/* ---- Who hashes a tile ------------------------------------------------------------------- */

/* Those who want a tile: how many, and which of them this process is; and whether it is one. */
typedef struct {
    int count, place;
    bool wanted;
} share;

static share share_of(const clvi_reader *reader, const clvi_entry *entry, int64_t tile)
{
    share s = {0, 0, false};
    for (int j = 0; j < reader->size; j++) {
        if (j == reader->place) s.place = s.count;
        bool wants = touches(&reader->lies[j], entry, tile);
        s.count += wants;
        s.wanted |= wants && j == reader->place;
    }
    if (s.count == 0) s.count = 1;
    return s;
}

static clv_status read_tile(clvi_reader *reader, const clvi_target *mine, int64_t tile)
{
    share s = share_of(reader, mine->entry, tile);
    clvi_range range = clvi_tile_range(mine->entry, tile);
    reading r = {reader, mine, tile, tile % s.count == s.place};
    if (!s.wanted) return CLV_OK;
    return clvi_view_use(&reader->view, mine->entry->offset + range.begin,
                         (size_t)(range.end - range.begin), use_tile, &r);
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

static void find_lies(clvi_reader *reader, clv_spec spec, const clvi_target *mine)
{
    for (int j = 0; j < reader->size; j++) {
        clvi_target its = *mine;
        if (j != reader->place) its.block = clv_spec_block(reader->grid, spec, reader->members[j]);
        reader->lies[j] = lie_of(&its);
    }
}

clv_status clvi_reader_read(clvi_reader *reader, clv_spec spec, const clvi_target *mine)
{
    clv_status status = CLV_OK;
    clvi_range range = tiles_of(mine->entry, mine->block), round = range;
    find_lies(reader, spec, mine);
    for (; round.begin < range.end; round.begin = round.end) {
        share s = share_of(reader, mine->entry, round.begin);
        round.end = clvi_smaller((round.begin / s.count + 1) * s.count, range.end);
        int64_t tiles = round.end - round.begin;
        for (int64_t i = 0; i < tiles; i++)
            CLVI_TRY(read_tile(reader, mine, round.begin + (s.place + i) % tiles));
    }
done:
    return status;
}

/* ---- Readers ----------------------------------------------------------------------------- */

static void find_members(clvi_reader *reader)
{
    int ranks = reader->grid ? clv_grid_size(reader->grid) : 0;
    for (int r = 0; r < ranks; r++) {
        if (r == clv_grid_rank(reader->grid)) reader->place = reader->size;
        if (clvi_grid_is_neighbour(reader->grid, r)) reader->members[reader->size++] = r;
    }
    if (ranks == 0) reader->size = 1;
}

clv_status clvi_reader_open(const clvi_table *table, const clvi_file *file, clv_grid *grid,
                            clvi_reader **reader)
{
    clv_status status = CLV_OK;
    size_t ranks = grid ? (size_t)clv_grid_size(grid) : 1;
    clvi_reader *t = *reader = clvi_alloc(sizeof *t);
    CLVI_CHECK(t, CLV_ENOMEM, "%s: what reading needs", file->path);
    *t = (clvi_reader){.table = table, .grid = grid};
    CLVI_TRY(clvi_view_open(file, &t->view));
    t->members = clvi_alloc(ranks * sizeof *t->members);
    t->lies = clvi_alloc(ranks * sizeof *t->lies);
    CLVI_CHECK(t->members && t->lies, CLV_ENOMEM, "%s: what reading needs", file->path);
    find_members(t);
done:
    return status;
}

clv_status clvi_reader_close(clvi_reader **reader)
{
    clvi_reader *t = *reader;
    if (!t) return CLV_OK;
    clv_status status = clvi_view_close(&t->view);
    clvi_free(t->lies);
    clvi_free(t->members);
    clvi_free(t);
    *reader = NULL;
    return status;
}
