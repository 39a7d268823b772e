/* SPDX-License-Identifier: BSD-3-Clause
 *
 * entries.c: what a checkpoint shall hold: names that can stand side by side in one file, shapes
 * and types, the same on every process.
 */
#include <clvi_io.h>
#include <stdlib.h>
#include <string.h>

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

static clv_status check_names(int count, const clv_checkpoint_entry entries[])
{
    clv_status status = CLV_OK;
    const char **names = clvi_alloc((size_t)count * sizeof *names);
    CLVI_CHECK(names, CLV_ENOMEM, "%d names", count);
    for (int i = 0; i < count; i++) {
        names[i] = entries[i].name;
        CLVI_CHECK(is_path(names[i]) && strlen(names[i]) <= CLVI_NAME_BYTES, CLV_EARG,
                   "expected a name of parts between single slashes, found \"%.64s\"", names[i]);
        CLVI_CHECK(clvi_is_utf8(names[i]), CLV_EARG,
                   "expected names in UTF-8, found other bytes in number %d", i);
        CLVI_CHECK(!is_within(names[i], "cleave"), CLV_EARG,
                   "expected a name outside of the group cleave, found \"%s\"", names[i]);
    }
    qsort(names, (size_t)count, sizeof *names, compare_paths);
    for (int i = 1; i < count; i++)
        CLVI_CHECK(!is_within(names[i], names[i - 1]), CLV_EARG,
                   "expected different names, neither a group of the other, found \"%s\", \"%s\"",
                   names[i - 1], names[i]);
done:
    clvi_free(names);
    return status;
}

static clv_status check_entry(const clv_checkpoint_entry *entry)
{
    clv_status status = CLV_OK;
    int64_t most = INT64_MAX / 16;
    CLVI_CHECK(entry->name, CLV_EARG, "expected a name, found NULL");
    CLVI_CHECK((unsigned)entry->dtype < CLV_DTYPE_COUNT, CLV_EDTYPE,
               "%s: expected a data type, found %d", entry->name, (int)entry->dtype);
    CLVI_CHECK(entry->m >= 0 && entry->n >= 0 && (entry->n == 0 || entry->m <= most / entry->n),
               CLV_ESHAPE, "%s: expected a shape of at most %lld elements, found %lld x %lld",
               entry->name, (long long)most, (long long)entry->m, (long long)entry->n);
done:
    return status;
}

static clv_status check_arguments(const char *path, int count, const clv_checkpoint_entry entries[],
                                  const char *json)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(path && *path && path[strlen(path) - 1] != '/', CLV_EARG,
               "expected the path of a file to write, found \"%s\"", path ? path : "NULL");
    CLVI_CHECK(count >= 0 && (entries || count == 0), CLV_EARG,
               "expected entries, found a count of %d%s", count, entries ? "" : " and NULL");
    for (int i = 0; i < count; i++) CLVI_TRY(check_entry(&entries[i]));
    CLVI_TRY(check_names(count, entries));
    CLVI_CHECK(clvi_is_utf8(json), CLV_EARG, "expected JSON in UTF-8, found other bytes");
done:
    return status;
}

void clvi_entry_hash(const clv_checkpoint_entry *entry, int64_t *names, int64_t *shapes)
{
    const int64_t shape[] = {entry->m, entry->n, entry->dtype};
    *names = (int64_t)clvi_hash((uint64_t)*names, entry->name, strlen(entry->name) + 1);
    *shapes = (int64_t)clvi_hash((uint64_t)*shapes, shape, sizeof shape);
}

clv_status clvi_entries_agree(clv_grid *grid, const char *path, int count,
                              const clv_checkpoint_entry entries[], const char *json,
                              clv_status status)
{
    int64_t same[5] = {count};
    if (status == CLV_OK) status = check_arguments(path, count, entries, json);
    if (status == CLV_OK) {
        for (int i = 0; i < count; i++) clvi_entry_hash(&entries[i], &same[1], &same[2]);
        same[3] = (int64_t)clvi_hash_string(path);
        same[4] = (int64_t)clvi_hash_string(json);
    }
    return clvi_grid_same(grid, status,
                          "the number of matrices to write,their names (hash),their shapes "
                          "(hash),the path (hash),the JSON text (hash)",
                          5, same);
}

clv_checkpoint_entry clvi_entry_of(const clv_named *named)
{
    clv_spec spec = clv_matrix_spec(named->matrix);
    return (clv_checkpoint_entry){named->name, spec.m, spec.n, spec.dtype};
}

clv_status clvi_entries_of(const clv_grid *grid, int count, const clv_named matrices[],
                           clv_checkpoint_entry **entries)
{
    clv_status status;
    *entries = NULL;
    CLVI_TRY(clvi_named_check(grid, count, matrices));
    *entries = clvi_alloc((size_t)count * sizeof **entries);
    CLVI_CHECK(*entries, CLV_ENOMEM, "rank %d: %d entries", clv_grid_rank(grid), count);
    for (int i = 0; i < count; i++) (*entries)[i] = clvi_entry_of(&matrices[i]);
done:
    return status;
}
