/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checksum.c: XXH3-64 (Collet) of each tile of each data set.
 *
 * Tiles are ranges of a data set's bytes in the file, so they know nothing of the grid: any number
 * of processes divides the same tiles, each taking a run of neighbours.
 */
#define XXH_STATIC_LINKING_ONLY /* for the size of its state */
#include <clvi_io.h>
#include <string.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* the widest vectors that the processor has */
#else
#include <xxhash.h>
#endif

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
        const clvi_entry *entry = clvi_table_entry(table, i);
        const char *name = clvi_table_name(table, entry);
        const int64_t shape[] = {entry->m, entry->n, entry->dtype};
        hash = clvi_hash(hash, name, strlen(name));
        hash = clvi_hash(hash, shape, sizeof shape);
        hash = clvi_hash(hash, clvi_table_sums(table) + entry->first_tile,
                         (size_t)entry->tiles * sizeof(uint64_t));
    }
    return hash;
}

clvi_range clvi_tile_range(const clvi_entry *entry, int64_t tile)
{
    int64_t begin = tile * CLVI_TILE, rest = clvi_entry_bytes(entry) - begin;
    return (clvi_range){begin, begin + (rest < CLVI_TILE ? rest : CLVI_TILE)};
}

/* ---- Piece by piece ------------------------------------------------------------------ */

_Static_assert(sizeof(clvi_hasher) == sizeof(XXH3_state_t), "room for the state");

void clvi_hasher_begin(clvi_hasher *hasher)
{
    XXH3_INITSTATE((XXH3_state_t *)hasher);
    XXH3_64bits_reset((XXH3_state_t *)hasher);
}

void clvi_hasher_add(clvi_hasher *hasher, const void *data, size_t bytes)
{
    XXH3_64bits_update((XXH3_state_t *)hasher, data, bytes);
}

uint64_t clvi_hasher_end(const clvi_hasher *hasher)
{
    return XXH3_64bits_digest((const XXH3_state_t *)hasher);
}
