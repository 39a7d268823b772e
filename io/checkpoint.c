/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.c: a checkpoint opened: what it holds, its matrices loaded, its bytes verified.
 *
 * Rank 0 reads the structure and shares it as a table; every process then reads what it needs at
 * plain offsets. A matrix is read only after all of its tiles were found to be as written.
 */
#include <clvi_io.h>
#include <string.h>

struct clv_checkpoint {
    clv_grid *grid;
    clvi_table *table;
    clvi_file file; /* stays open: a newer file of this name, or none, does not matter */
    char *path;
};

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
    uint64_t name_hash = 0, shape_hash = 0;
    for (int i = 0; i < count; i++) {
        clv_spec spec = clv_matrix_spec(matrices[i].matrix);
        const int64_t shape[] = {spec.m, spec.n, spec.dtype};
        name_hash = clvi_hash(name_hash, matrices[i].name, strlen(matrices[i].name) + 1);
        shape_hash = clvi_hash(shape_hash, shape, sizeof shape);
    }
    *names = (int64_t)name_hash;
    *shapes = (int64_t)shape_hash;
}

/* ---- Open and close ----------------------------------------------------------------- */

/* This process's own view of the file that rank 0 described. */
static clv_status open_own(clv_checkpoint *checkpoint, const char *path)
{
    clv_status status = CLV_OK;
    uint64_t mark = 0;
    checkpoint->path = clvi_format("%s", path);
    CLVI_CHECK(checkpoint->path, CLV_ENOMEM, "%s: its name", path);
    CLVI_TRY(clvi_file_open(checkpoint->path, false, &checkpoint->file));
    CLVI_TRY(clvi_file_read(&checkpoint->file, &mark, sizeof mark, checkpoint->table->mark_offset));
    CLVI_CHECK(mark == checkpoint->table->mark, CLV_ECORRUPT,
               "%s: rank %d sees another file than rank 0: expected mark %016llx, found %016llx",
               path, clv_grid_rank(checkpoint->grid), (unsigned long long)checkpoint->table->mark,
               (unsigned long long)mark);
done:
    return status;
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
        *c = (clv_checkpoint){.grid = grid, .file.fd = -1};
    const int64_t hash = path ? (int64_t)clvi_hash_string(path) : 0;
    CLVI_TRY(clvi_grid_same(grid, status, "the path of a checkpoint (its hash)", 1, &hash));

    if (clv_grid_rank(grid) == 0) status = clvi_table_read(path, true, &c->table);
    CLVI_TRY(clvi_share(grid, status, (void **)&c->table, c->table ? c->table->bytes : 0));
    CLVI_TRY(clv_grid_agree(grid, open_own(c, path)));
    *checkpoint = c;
done:
    if (status != CLV_OK) clv_checkpoint_close(&c);
    return status;
}

void clv_checkpoint_close(clv_checkpoint **checkpoint)
{
    if (!checkpoint || !*checkpoint) return;
    clvi_file_close(&(*checkpoint)->file);
    clvi_free((*checkpoint)->path);
    clvi_free((*checkpoint)->table);
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
    const clvi_entry *entry = &clvi_table_entries(checkpoint->table)[i];
    return (clv_checkpoint_entry){.name = clvi_table_name(checkpoint->table, entry),
                                  .m = entry->m,
                                  .n = entry->n,
                                  .dtype = entry->dtype};
}

/* ---- Load and verify --------------------------------------------------------------------- */

/* Finds the ith matrix to load in the file and checks that they fit. */
static clv_status match(const clv_checkpoint *checkpoint, const clv_named *named, int64_t i,
                        int64_t *found)
{
    clv_status status = CLV_OK;
    const char *path = checkpoint->path;
    clv_spec spec = clv_matrix_spec(named->matrix);
    *found = clvi_table_find(checkpoint->table, named->name, i);
    CLVI_CHECK(*found >= 0, CLV_ENOTFOUND, "%s: no data set %s among its %lld", path, named->name,
               (long long)checkpoint->table->count);
    const clvi_entry *entry = &clvi_table_entries(checkpoint->table)[*found];
    CLVI_CHECK(entry->m == spec.m && entry->n == spec.n, CLV_ESHAPE,
               "%s: data set %s: expected %lld x %lld, found %lld x %lld", path, named->name,
               (long long)spec.m, (long long)spec.n, (long long)entry->m, (long long)entry->n);
    CLVI_CHECK((entry->dtype == CLV_I32) == (spec.dtype == CLV_I32), CLV_EDTYPE,
               "%s: data set %s: expected %s, found %s", path, named->name,
               clv_dtype_name(spec.dtype), clv_dtype_name(entry->dtype));
done:
    return status;
}

/* What one load works with. */
typedef struct {
    int64_t *found; /* of each matrix: its entry        */
    bool *chosen;   /* of each entry: whether it is read */
    void *stage;
} loading;

static clv_status plan_load(const clv_checkpoint *checkpoint, int count, const clv_named matrices[],
                            loading *load)
{
    clv_status status;
    CLVI_TRY(clvi_named_check(checkpoint->grid, count, matrices));
    load->found = clvi_alloc((size_t)count * sizeof *load->found);
    load->chosen = clvi_alloc((size_t)checkpoint->table->count * sizeof *load->chosen);
    load->stage = clvi_alloc(CLVI_STAGE);
    CLVI_CHECK(load->found && load->chosen && load->stage, CLV_ENOMEM,
               "rank %d: buffers to load %d matrices", clv_grid_rank(checkpoint->grid), count);
    for (int i = 0; i < count; i++) {
        CLVI_TRY(match(checkpoint, &matrices[i], i, &load->found[i]));
        load->chosen[load->found[i]] = true;
    }
done:
    return status;
}

static clv_status read_blocks(const clv_checkpoint *checkpoint, int count,
                              const clv_named matrices[], const loading *load)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < count; i++)
        CLVI_TRY(clvi_block_read(&checkpoint->file,
                                 &clvi_table_entries(checkpoint->table)[load->found[i]],
                                 clv_matrix_spec(matrices[i].matrix).dtype,
                                 clv_matrix_block(matrices[i].matrix), load->stage));
done:
    return status;
}

clv_status clv_checkpoint_load(clv_checkpoint *checkpoint, int count, const clv_named matrices[])
{
    clv_status status;
    loading load = {0};
    int64_t same[3] = {count};
    if (!checkpoint) return clvi_fail(CLV_EARG, "expected a checkpoint, found NULL");
    status = plan_load(checkpoint, count, matrices, &load);
    if (status == CLV_OK) clvi_named_hash(count, matrices, &same[1], &same[2]);
    CLVI_TRY(clvi_grid_same(checkpoint->grid, status,
                            "the number of matrices to load,their names (hash),their shapes (hash)",
                            3, same));
    status = clvi_check_sums(checkpoint->grid, checkpoint->table, &checkpoint->file, load.chosen,
                             (clvi_progress){0});
    CLVI_TRY(clv_grid_agree(checkpoint->grid, status));
    status = read_blocks(checkpoint, count, matrices, &load);
    CLVI_TRY(clv_grid_agree(checkpoint->grid, status));
done:
    clvi_free(load.stage);
    clvi_free(load.chosen);
    clvi_free(load.found);
    return status;
}

/* Names, shapes, JSON and the checksums themselves were checked by the mark when it was opened. */
clv_status clv_checkpoint_verify(clv_checkpoint *checkpoint,
                                 void (*progress)(void *context, int64_t done, int64_t all),
                                 void *context)
{
    if (!checkpoint) return clvi_fail(CLV_EARG, "expected a checkpoint, found NULL");
    clv_status status = clvi_check_sums(checkpoint->grid, checkpoint->table, &checkpoint->file,
                                        NULL, (clvi_progress){progress, context});
    return clv_grid_agree(checkpoint->grid, status);
}
