/* SPDX-License-Identifier: BSD-3-Clause
 *
 * table.c: what a checkpoint file holds, and where: made by one process, shared with all.
 */
#include <clvi_io.h>
#include <string.h>

clvi_table *clvi_table_create(int64_t count, int64_t tiles, int64_t json_bytes, int64_t name_bytes)
{
    clvi_table head = {.count = count, .tiles = tiles, .json_bytes = json_bytes};
    head.text_bytes = json_bytes + 1 + name_bytes;
    head.entries_at = sizeof head;
    head.sums_at = head.entries_at + count * (int64_t)sizeof(clvi_entry);
    head.text_at = head.sums_at + tiles * (int64_t)sizeof(uint64_t);
    head.bytes = (size_t)(head.text_at + head.text_bytes);
    clvi_table *table = clvi_alloc(head.bytes);
    if (table) *table = head;
    return table;
}

int64_t clvi_table_find(const clvi_table *table, const char *name, int64_t hint)
{
    for (int64_t k = 0; k < table->count; k++) {
        int64_t i = (hint + k) % table->count;
        if (strcmp(clvi_table_name(table, clvi_table_entry(table, i)), name) == 0) return i;
    }
    return -1;
}

/* The values for which the structure has room. */
static clv_status read_values(const clvi_file *file, clvi_table *table)
{
    clv_status status;
    for (int64_t i = 0; i < table->count; i++) {
        const clvi_entry *entry = clvi_table_entry(table, i);
        CLVI_TRY(clvi_file_read(file, clvi_table_sums(table) + entry->first_tile,
                                (size_t)entry->tiles * sizeof(uint64_t), entry->sums_offset));
    }
    CLVI_TRY(clvi_file_read(file, clvi_table_json(table), (size_t)table->json_bytes,
                            table->json_offset));
    CLVI_TRY(clvi_file_read(file, &table->mark, sizeof table->mark, table->mark_offset));
done:
    return status;
}

static clv_status check_mark(const clvi_file *file, const clvi_table *table)
{
    uint64_t expected = clvi_table_mark(table);
    if (table->mark == expected) return CLV_OK;
    if (table->mark == 0)
        return clvi_fail(CLV_ECORRUPT, "%s: its writing was never completed (no mark)", file->path);
    return clvi_fail(CLV_ECORRUPT,
                     "%s: names, shapes, JSON or checksums are not as written: expected mark "
                     "%016llx, found %016llx",
                     file->path, (unsigned long long)expected, (unsigned long long)table->mark);
}

clv_status clvi_table_read(const char *path, bool complete, clvi_table **table)
{
    clv_status status;
    clvi_file file;
    char *checked = NULL;
    int64_t bytes = 0;
    *table = NULL;
    CLVI_TRY(clvi_file_open(path, false, &file));
    if (complete) CLVI_TRY(clvi_front_check(&file, &checked, &bytes));
    CLVI_TRY(clvi_h5_read(&file, checked, bytes, table));
    CLVI_TRY(read_values(&file, *table));
    if (complete) CLVI_TRY(check_mark(&file, *table));
done:
    clvi_file_close(&file);
    clvi_free(checked);
    if (status != CLV_OK) {
        clvi_free(*table);
        *table = NULL;
    }
    return status;
}

clv_status clvi_share(clv_grid *grid, clv_status mine, void **memory, size_t bytes)
{
    clv_status status;
    bool root = clv_grid_rank(grid) == 0;
    CLVI_TRY(clv_grid_agree(grid, mine));
    CLVI_TRY(clv_grid_broadcast(grid, 0, &bytes, sizeof bytes));
    if (!root && !(*memory = clvi_alloc(bytes)))
        mine = clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes", clv_grid_rank(grid), bytes);
    CLVI_TRY(clv_grid_agree(grid, mine));
    CLVI_TRY(clv_grid_broadcast(grid, 0, *memory, bytes));
done:
    if (status != CLV_OK) {
        clvi_free(*memory);
        *memory = NULL;
    }
    return status;
}
