/* SPDX-License-Identifier: BSD-3-Clause
 *
 * commit.c: a checkpoint is written as a whole or not at all.
 *
 *     rank 0   makes the structure under a temporary name, reserves the room  vote
 *     all      write their blocks at plain offsets                            vote
 *     all      checksum tiles, dividing them evenly, and sync                 vote
 *     rank 0   marks the file as complete, syncs, renames, syncs the folder   vote
 *
 * A failure of one process at any stage is the status of all at the next vote, and rank 0 removes
 * the temporary file. Each stage opens the file anew: on network file systems it is closing and
 * opening that shows the others' writes, and closing that shows their failures.
 */
#include <clvi_io.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 1000 };

typedef struct {
    clv_grid *grid;
    const char *path, *json;
    int count;
    const clv_named *matrices;
    char *temporary;
    clvi_file lock; /* rank 0: holds the temporary file while it is being written */
    clvi_table *table;
} writer;

/* ---- Arguments ---------------------------------------------------------------------- */

/* strcmp with '/' before every other character, so that a name and the names it would be a group of
 * are neighbours. */
static int compare_paths(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    while (*x && *x == *y) x++, y++;
    int left = *x == '/' ? 1 : (unsigned char)*x, right = *y == '/' ? 1 : (unsigned char)*y;
    return left - right;
}

static bool is_within(const char *name, const char *group)
{
    size_t length = strlen(group);
    return strncmp(name, group, length) == 0 && (name[length] == 0 || name[length] == '/');
}

/* Parts between single slashes, none of them empty, "." or "..". */
static bool is_path(const char *name)
{
    for (const char *part = name;; part++) {
        size_t length = strcspn(part, "/");
        if (length == 0 || (length <= 2 && strspn(part, ".") == length)) return false;
        part += length;
        if (!*part) return true;
    }
}

static clv_status check_names(const writer *w)
{
    clv_status status = CLV_OK;
    const char **names = clvi_alloc((size_t)w->count * sizeof *names);
    CLVI_CHECK(names, CLV_ENOMEM, "%s: %d names", w->path, w->count);
    for (int i = 0; i < w->count; i++) {
        names[i] = w->matrices[i].name;
        CLVI_CHECK(is_path(names[i]) && strlen(names[i]) <= NAME_MAX_BYTES, CLV_EARG,
                   "expected a name of parts between single slashes, found \"%.64s\"", names[i]);
        CLVI_CHECK(!is_within(names[i], "cleave"), CLV_EARG,
                   "expected a name outside of the group cleave, found \"%s\"", names[i]);
    }
    qsort(names, (size_t)w->count, sizeof *names, compare_paths);
    for (int i = 1; i < w->count; i++)
        CLVI_CHECK(!is_within(names[i], names[i - 1]), CLV_EARG,
                   "expected different names, neither a group of the other, found \"%s\", \"%s\"",
                   names[i - 1], names[i]);
done:
    clvi_free(names);
    return status;
}

static clv_status check_arguments(const writer *w)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(w->path && *w->path && w->path[strlen(w->path) - 1] != '/', CLV_EARG,
               "expected the path of a file to write, found \"%s\"", w->path ? w->path : "NULL");
    CLVI_TRY(clvi_named_check(w->grid, w->count, w->matrices));
    CLVI_TRY(check_names(w));
done:
    return status;
}

static clv_status agree_on_arguments(const writer *w)
{
    int64_t same[5] = {w->count};
    clv_status status = check_arguments(w);
    if (status == CLV_OK) {
        clvi_named_hash(w->count, w->matrices, &same[1], &same[2]);
        same[3] = (int64_t)clvi_hash_string(w->path);
        same[4] = (int64_t)clvi_hash_string(w->json);
    }
    return clvi_grid_same(w->grid, status,
                          "the number of matrices to write,their names (hash),their shapes "
                          "(hash),the path (hash),the JSON text (hash)",
                          5, same);
}

/* ---- Stages ----------------------------------------------------------------------------- */

/* Rank 0: the temporary file with its structure and its room, and the table of its places. */
static clv_status make_structure(writer *w)
{
    clv_status status = CLV_OK;
    struct stat info;
    clv_checkpoint_entry *entries = clvi_alloc((size_t)w->count * sizeof *entries);
    CLVI_CHECK(entries, CLV_ENOMEM, "%s: %d entries", w->path, w->count);
    for (int i = 0; i < w->count; i++) {
        clv_spec spec = clv_matrix_spec(w->matrices[i].matrix);
        entries[i] = (clv_checkpoint_entry){w->matrices[i].name, spec.m, spec.n, spec.dtype};
    }
    CLVI_CHECK(stat(w->path, &info) != 0 || S_ISREG(info.st_mode), CLV_EIO,
               "%s: expected a file or nothing there, found something else", w->path);
    CLVI_TRY(clvi_file_create_locked(w->temporary, &w->lock));
    CLVI_TRY(clvi_h5_create(&w->lock, w->count, entries, strlen(w->json) + 1));
    CLVI_TRY(clvi_table_read(w->temporary, false, &w->table));
done:
    clvi_free(entries);
    return status;
}

/* All: the temporary name, and what rank 0 found out of the file behind it. */
static clv_status begin(writer *w)
{
    clv_status status;
    char suffix[CLVI_SUFFIX] = "";
    clvi_temporary_suffix(suffix);
    CLVI_TRY(clv_grid_broadcast(w->grid, 0, suffix, sizeof suffix));
    w->temporary = clvi_hidden_name(w->path, suffix);
    if (!w->temporary)
        status = clvi_fail(CLV_ENOMEM, "%s: its temporary name", w->path);
    else if (clv_grid_rank(w->grid) == 0)
        status = make_structure(w);
    CLVI_TRY(clvi_share(w->grid, status, (void **)&w->table, w->table ? w->table->bytes : 0));
done:
    return status;
}

/* Blocks of the first copies; the JSON text comes from rank 0. */
static clv_status write_blocks(const writer *w, const clvi_file *file)
{
    clv_status status = CLV_OK;
    void *stage = clvi_alloc(CLVI_STAGE);
    CLVI_CHECK(stage, CLV_ENOMEM, "rank %d: a buffer to write", clv_grid_rank(w->grid));
    for (int i = 0; i < w->count; i++) {
        const clv_named *named = &w->matrices[i];
        if (!clvi_matrix_is_first_copy(named->matrix)) continue;
        int64_t found = clvi_table_find(w->table, named->name, i);
        assert(found >= 0);
        CLVI_TRY(clvi_block_write(file, &clvi_table_entries(w->table)[found],
                                  clv_matrix_block(named->matrix), stage));
    }
    if (clv_grid_rank(w->grid) == 0)
        CLVI_TRY(clvi_file_write(file, w->json, strlen(w->json), w->table->json_offset));
done:
    clvi_free(stage);
    return status;
}

static clv_status write_sums(const writer *w, const clvi_file *file)
{
    clv_status status;
    CLVI_TRY(clvi_write_sums(w->grid, w->table, file));
    CLVI_TRY(clvi_file_sync(file));
done:
    return status;
}

/* Rank 0. Front and mark are those of a table read back: what the next reader will compute. */
static clv_status write_mark(const writer *w, const clvi_file *file)
{
    clv_status status;
    clvi_table *table = NULL;
    CLVI_TRY(clvi_table_read(w->temporary, false, &table));
    CLVI_TRY(clvi_front_write(file, table));
    uint64_t mark = clvi_table_mark(table);
    CLVI_TRY(clvi_file_write(file, &mark, sizeof mark, table->mark_offset));
    CLVI_TRY(clvi_file_sync(file));
done:
    clvi_free(table);
    return status;
}

typedef clv_status (*stage)(const writer *w, const clvi_file *file);

static clv_status run(const writer *w, stage work)
{
    clvi_file file;
    clv_status status;
    CLVI_TRY(clvi_file_open(w->temporary, true, &file));
    CLVI_TRY(work(w, &file));
    CLVI_TRY(clvi_file_close(&file));
done:
    clvi_file_close(&file);
    return status;
}

/* Rank 0. */
static clv_status finish(const writer *w)
{
    clv_status status;
    CLVI_TRY(run(w, write_mark));
    CLVI_TRY(clvi_file_rename(w->temporary, w->path));
done:
    return status;
}

clv_status clv_checkpoint_write(clv_grid *grid, const char *path, int count,
                                const clv_named matrices[], const char *json)
{
    clv_status status;
    writer w = {grid, path, json ? json : "{}", count, matrices, .lock.fd = -1};
    if (!grid) return clvi_fail(CLV_EARG, "expected a grid, found NULL");
    bool root = clv_grid_rank(grid) == 0;
    CLVI_TRY(agree_on_arguments(&w));
    CLVI_TRY(begin(&w));
    CLVI_TRY(clv_grid_agree(grid, run(&w, write_blocks)));
    CLVI_TRY(clv_grid_agree(grid, run(&w, write_sums)));
    CLVI_TRY(clv_grid_agree(grid, root ? finish(&w) : CLV_OK));
done:
    if (status != CLV_OK && w.lock.fd >= 0) unlink(w.temporary); /* only what is this writer's */
    clvi_file_close(&w.lock);
    clvi_free(w.table);
    clvi_free(w.temporary);
    return status;
}
