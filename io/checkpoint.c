/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.c: a checkpoint opened, and what it holds.
 *
 * Rank 0 reads the structure and shares it as a table; every process then reads what it needs at
 * plain offsets.
 */
#include <clvi_io.h>
#include <string.h>

/* ---- Named matrices -------------------------------------------------------------- */

static clv_status check_named(const clv_grid *grid, const clv_named *named)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(named->name && named->matrix, CLV_EARG, "expected a name and a matrix, found %s, %s",
               named->name ? named->name : "NULL", named->matrix ? "a matrix" : "NULL");
    CLVI_CHECK(clv_matrix_grid(named->matrix) == grid, CLV_EARG,
               "%s: expected a matrix of the grid given, found one of another", named->name);
    CLVI_CHECK(clv_matrix_spec(named->matrix).layout.sum == 0, CLV_ELAYOUT,
               "%s: expected a layout without pending sums", named->name);
done:
    return status;
}

clv_status clvi_named_check(const clv_grid *grid, int count, const clv_named matrices[])
{
    clv_status status = CLV_OK;
    CLVI_CHECK(count >= 0 && (matrices || count == 0), CLV_EARG,
               "expected matrices, found a count of %d%s", count, matrices ? "" : " and NULL");
    for (int i = 0; i < count; i++) CLVI_TRY(check_named(grid, &matrices[i]));
done:
    return status;
}

void clvi_named_hash(int count, const clv_named matrices[], int64_t *names, int64_t *shapes)
{
    *names = *shapes = 0;
    for (int i = 0; i < count; i++) {
        clv_checkpoint_entry entry = clvi_entry_of(&matrices[i]);
        clvi_entry_hash(&entry, names, shapes);
    }
}

/* ---- Open and close ----------------------------------------------------------------- */

enum { LOOKS = 10 }; /* at a file that is replaced all the time, before giving up */

/* This process's own view of the file that rank 0 described. */
static clv_status open_own(clv_checkpoint *checkpoint, bool *another)
{
    clv_status status = CLV_OK;
    uint64_t mark = 0;
    const clvi_table *table = checkpoint->table;
    CLVI_TRY(clvi_file_open(checkpoint->path, false, &checkpoint->file));
    *another = checkpoint->file.bytes != table->file_bytes;
    if (!*another)
        CLVI_TRY(clvi_file_read(&checkpoint->file, &mark, sizeof mark, table->mark_offset));
    *another |= mark != table->mark;
    CLVI_CHECK(
        !*another, CLV_ECORRUPT,
        "%s: expected the file that rank 0 read, found another: it is replaced all the time, "
        "or the file system does not show all processes the same",
        checkpoint->path);
done:
    return status;
}

/* Rank 0 describes, then each process opens. *another: between the two somebody saved under the
 * same name, for some process. Collective. */
static clv_status open_once(clv_checkpoint *c, bool *another)
{
    clv_status status = CLV_OK;
    bool mine = false;
    *another = false;
    if (clv_grid_rank(c->grid) == 0) status = clvi_table_read(c->path, true, &c->table);
    CLVI_TRY(clvi_share(c->grid, status, (void **)&c->table, c->table ? c->table->bytes : 0));
    status = clvi_vote(c->grid, open_own(c, &mine));
    if (status == CLV_ECORRUPT) {
        double found = mine;
        clv_status reduced = clv_grid_reduce(c->grid, CLV_MAX, 1, &found);
        *another = reduced == CLV_OK && found > 0;
    }
done:
    return status;
}

/* What one look has opened. */
static void forget(clv_checkpoint *c)
{
    clvi_file_close(&c->file); /* and is not open now */
    clvi_free(c->table);
    c->table = NULL;
}

clv_status clv_checkpoint_open(clv_grid *grid, const char *path, clv_checkpoint **checkpoint)
{
    clv_status status = CLV_OK;
    clv_checkpoint *c = NULL;
    if (!grid || !checkpoint) return clvi_fail(CLV_EARG, "expected a grid and a place, found NULL");
    *checkpoint = NULL;
    if (!path || !*path)
        status = clvi_fail(CLV_EARG, "expected the path of a checkpoint, found none");
    else if (!(c = clvi_alloc(sizeof *c)))
        status = clvi_fail(CLV_ENOMEM, "%s: a checkpoint", path);
    else
        *c = (clv_checkpoint){.grid = grid, .file.fd = -1, .path = clvi_format("%s", path)};
    if (status == CLV_OK && !c->path) status = clvi_fail(CLV_ENOMEM, "%s: its name", path);
    const int64_t hash = path ? (int64_t)clvi_hash_string(path) : 0;
    CLVI_TRY(clvi_grid_same(grid, status, "the path of a checkpoint (its hash)", 1, &hash));

    bool another = true;
    for (int look = 0; another && look < LOOKS; look++) {
        forget(c);
        status = open_once(c, &another);
    }
    if (status != CLV_OK) goto done;
    *checkpoint = c;
done:
    if (status != CLV_OK) clv_checkpoint_close(&c);
    return status;
}

void clv_checkpoint_close(clv_checkpoint **checkpoint)
{
    if (!checkpoint || !*checkpoint) return;
    forget(*checkpoint);
    clvi_free((*checkpoint)->path);
    clvi_free(*checkpoint);
    *checkpoint = NULL;
}

/* ---- What it holds -------------------------------------------------------------------- */

const char *clv_checkpoint_json(const clv_checkpoint *checkpoint)
{
    return clvi_table_json(checkpoint->table);
}
int clv_checkpoint_count(const clv_checkpoint *checkpoint)
{
    return (int)checkpoint->table->count;
}
int64_t clv_checkpoint_bytes(const clv_checkpoint *checkpoint)
{
    return checkpoint->table->file_bytes;
}
int clv_checkpoint_find(const clv_checkpoint *checkpoint, const char *name)
{
    return (int)clvi_table_find(checkpoint->table, name, 0);
}

clv_checkpoint_entry clv_checkpoint_at(const clv_checkpoint *checkpoint, int i)
{
    const clvi_entry *entry = clvi_table_entry(checkpoint->table, i);
    return (clv_checkpoint_entry){.name = clvi_table_name(checkpoint->table, entry),
                                  .m = entry->m,
                                  .n = entry->n,
                                  .dtype = entry->dtype};
}
