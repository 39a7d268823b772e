/* SPDX-License-Identifier: BSD-3-Clause
 *
 * safetensors_writer.c: a model in Hugging Face's format, written by all processes, as a whole or
 * not at all.
 *
 *     all      plan the same files: which tensors lie where
 *     rank 0   makes them under temporary names, with headers and room     vote
 *     all      put blocks at plain offsets, sync (settle)                  vote
 *     rank 0   renames, last what makes files a model                      vote
 *
 * That last name is model.safetensors or the index. What another model left under the other name,
 * or an index of shards about to be replaced, goes before: so a crash between two renames leaves a
 * folder without a model, never one of parts that do not belong together.
 */
#include <clvi_safetensors.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char shards[] = "model-[0-9]*-of-[0-9]*.safetensors";

/* A file of the plan, being made. */
typedef struct {
    char *path, *temporary;
    clvi_file file; /* rank 0's is locked */
} output;

struct clv_safetensors_writer {
    clv_grid *grid;
    char *folder;
    clvi_st_plan plan;
    output *output;     /* [plan.files] */
    bool on_disk;       /* all that was put   */
    clv_status settled; /* as settle told all */
};

/* ---- Making ------------------------------------------------------------------------------ */

static clv_status make_output(output *o, const clvi_st_file *planned)
{
    clv_status status;
    CLVI_TRY(clvi_file_create_locked(o->temporary, &o->file));
    CLVI_TRY(clvi_file_reserve(&o->file, planned->bytes));
    CLVI_TRY(clvi_file_write(&o->file, planned->text, (size_t)planned->text_bytes, 0));
done:
    return status;
}

/* Rank 0. */
static clv_status make_files(clv_safetensors_writer *w)
{
    clv_status status;
    CLVI_TRY(clvi_folder_make(w->folder));
    CLVI_TRY(clvi_file_prepare(w->output[w->plan.files - 1].path)); /* clears for all of them */
    for (int f = 0; f < w->plan.files; f++) CLVI_TRY(make_output(&w->output[f], &w->plan.file[f]));
done:
    return status;
}

/* The others, once the files are there; the index is rank 0's alone. */
static clv_status open_files(clv_safetensors_writer *w)
{
    clv_status status = CLV_OK;
    for (int f = 0; f < w->plan.files - w->plan.indexed; f++)
        CLVI_TRY(clvi_file_open(w->output[f].temporary, true, &w->output[f].file));
done:
    return status;
}

/* Only what this writer made; what was renamed is no longer there under the temporary name. */
static void remove_temporaries(clv_safetensors_writer *w)
{
    if (clv_grid_rank(w->grid) != 0) return;
    for (int f = 0; f < w->plan.files; f++)
        if (w->output[f].file.fd >= 0) unlink(w->output[f].temporary);
}

static void destroy(clv_safetensors_writer *w)
{
    if (!w) return;
    for (int f = 0; w->output && f < w->plan.files; f++) {
        clvi_file_close(&w->output[f].file);
        clvi_free(w->output[f].temporary);
        clvi_free(w->output[f].path);
    }
    clvi_free(w->output);
    clvi_st_plan_free(&w->plan);
    clvi_free(w->folder);
    clvi_free(w);
}

/* A writer that has planned; NULL with the failure. Local. */
static clv_status create(clv_grid *grid, const char *folder, int count,
                         const clv_st_entry entries[], int64_t shard_bytes,
                         clv_safetensors_writer **out)
{
    clv_status status = CLV_OK;
    clv_safetensors_writer *w = NULL;
    CLVI_CHECK(folder && *folder && count >= 0 && (entries || count == 0) && shard_bytes >= 0,
               CLV_EARG,
               "expected a folder, tensors and bytes of a file >= 0, found \"%s\", %d, %" PRId64,
               folder ? folder : "NULL", count, shard_bytes);
    w = clvi_alloc(sizeof *w);
    CLVI_CHECK(w, CLV_ENOMEM, "%s: a writer", folder);
    w->grid = grid;
    w->folder = clvi_format("%s", folder);
    CLVI_CHECK(w->folder, CLV_ENOMEM, "%s: a writer", folder);
    CLVI_TRY(clvi_st_plan_make(count, entries, shard_bytes, &w->plan));
    w->output = clvi_alloc((size_t)w->plan.files * sizeof *w->output);
    CLVI_CHECK(w->output, CLV_ENOMEM, "%s: a writer", folder);
    for (int f = 0; f < w->plan.files; f++) w->output[f].file.fd = -1;
    *out = w;
done:
    if (status != CLV_OK) destroy(w);
    return status;
}

static clv_status name_outputs(clv_safetensors_writer *w, const char *suffix)
{
    for (int f = 0; f < w->plan.files; f++) {
        output *o = &w->output[f];
        o->path = clvi_format("%s/%s", w->folder, w->plan.file[f].name);
        o->temporary = o->path ? clvi_hidden_name(o->path, suffix) : NULL;
        if (!o->temporary) return clvi_fail(CLV_ENOMEM, "%s: names of files", w->folder);
    }
    return CLV_OK;
}

/* A number for all that is planned. */
static int64_t hash_plan(const clvi_st_plan *p)
{
    uint64_t hash = 0;
    for (int f = 0; f < p->files; f++)
        hash = clvi_hash(hash, p->file[f].text, (size_t)p->file[f].text_bytes);
    return (int64_t)hash;
}

clv_status clv_safetensors_begin(clv_grid *grid, const char *folder, int count,
                                 const clv_st_entry entries[], int64_t shard_bytes,
                                 clv_safetensors_writer **writer)
{
    clv_status status;
    clv_safetensors_writer *w = NULL;
    char suffix[CLVI_SUFFIX] = "";
    int64_t same[] = {count, shard_bytes, 0, 0};
    if (!grid || !writer) return clvi_fail(CLV_EARG, "expected a grid and a place, found NULL");
    *writer = NULL;
    status = create(grid, folder, count, entries, shard_bytes, &w);
    if (status == CLV_OK) {
        same[2] = (int64_t)clvi_hash_string(folder);
        same[3] = hash_plan(&w->plan);
    }
    CLVI_TRY(clvi_grid_same(grid, status,
                            "the number of tensors to write,bytes of a file,the folder (hash),"
                            "names and shapes (hash)",
                            4, same));
    clvi_temporary_suffix(suffix);
    CLVI_TRY(clv_grid_broadcast(grid, 0, suffix, sizeof suffix));
    status = name_outputs(w, suffix);
    bool root = clv_grid_rank(grid) == 0;
    CLVI_TRY(clvi_vote(grid, status == CLV_OK && root ? make_files(w) : status));
    CLVI_TRY(clvi_vote(grid, root ? CLV_OK : open_files(w)));
    *writer = w;
done:
    if (status != CLV_OK && w) {
        remove_temporaries(w);
        destroy(w);
    }
    return status;
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* Whole rows are one piece of the file; of others, each row is a piece. */
static clv_status write_block(const clvi_file *file, const clvi_entry *entry, clv_block block)
{
    clv_status status = CLV_OK;
    int64_t size = (int64_t)clv_dtype_size(entry->dtype);
    bool whole = block.n == entry->n && block.ld == block.n;
    int64_t pieces = whole ? 1 : block.m, rows = whole ? block.m : 1;
    for (int64_t i = 0; i < pieces; i++) {
        int64_t at = entry->offset + ((block.row0 + i) * entry->n + block.col0) * size;
        CLVI_TRY(clvi_file_write(file, clvi_at(block, entry->dtype, i, 0),
                                 (size_t)(rows * block.n * size), at));
    }
done:
    return status;
}

clv_status clv_safetensors_put(clv_safetensors_writer *writer, int i, clv_block block)
{
    if (!writer || i < 0 || i >= writer->plan.count)
        return clvi_fail(CLV_EARG, "expected a tensor of the model, found number %d of %d", i,
                         writer ? writer->plan.count : 0);
    const clvi_entry *entry = &writer->plan.entry[i];
    const output *o = &writer->output[writer->plan.shard[i]];
    if (!clvi_block_inside(block, entry->m, entry->n))
        return clvi_fail(CLV_EARG,
                         "%s: expected a block within %" PRId64 " x %" PRId64 ", found %" PRId64
                         " x %" PRId64 " at (%" PRId64 ", %" PRId64 ")",
                         o->path, entry->m, entry->n, block.m, block.n, block.row0, block.col0);
    writer->on_disk = false;
    return write_block(&o->file, entry, block);
}

static clv_status sync_files(const clv_safetensors_writer *w)
{
    clv_status status = CLV_OK;
    for (int f = 0; f < w->plan.files; f++)
        if (w->output[f].file.fd >= 0) CLVI_TRY(clvi_file_sync(&w->output[f].file));
done:
    return status;
}

/* Takes away what would make other files a model beside this one or together with it. A single
 * file alone is replaced by its successor. */
static clv_status remove_old_heads(const clv_safetensors_writer *w)
{
    clv_status status = CLV_OK;
    char *index = clvi_format("%s/" CLV_ST_INDEX, w->folder);
    char *single = clvi_format("%s/" CLV_ST_SINGLE, w->folder);
    CLVI_CHECK(index && single, CLV_ENOMEM, "%s: names of its files", w->folder);
    CLVI_TRY(clvi_file_remove(index));
    if (w->plan.indexed) CLVI_TRY(clvi_file_remove(single));
    CLVI_TRY(clvi_file_sync_folder(index));
done:
    clvi_free(index);
    clvi_free(single);
    return status;
}

/* A shard of another model. */
static clv_status remove_stranger(void *context, const char *path)
{
    const clv_safetensors_writer *w = context;
    for (int f = 0; f < w->plan.files; f++)
        if (strcmp(w->output[f].path, path) == 0) return CLV_OK;
    return clvi_file_remove(path);
}

/* Rank 0. */
static clv_status finish(clv_safetensors_writer *w)
{
    clv_status status;
    CLVI_TRY(remove_old_heads(w));
    for (int f = 0; f < w->plan.files; f++)
        CLVI_TRY(clvi_file_rename(w->output[f].temporary, w->output[f].path));
    CLVI_TRY(clvi_each_file(w->folder, shards, remove_stranger, w));
done:
    return status;
}

clv_status clv_safetensors_settle(clv_safetensors_writer *writer, clv_status mine)
{
    if (!writer) return clvi_fail(CLV_EARG, "expected a writer, found NULL");
    writer->settled = clvi_vote(writer->grid, mine == CLV_OK ? sync_files(writer) : mine);
    writer->on_disk = writer->settled == CLV_OK;
    return writer->settled;
}

clv_status clv_safetensors_commit(clv_safetensors_writer **writer, clv_status mine)
{
    clv_status status;
    if (!writer || !*writer) return clvi_fail(CLV_EARG, "expected a writer, found NULL");
    clv_safetensors_writer *w = *writer;
    *writer = NULL;
    CLVI_TRY(w->settled);
    CLVI_TRY(w->on_disk ? clvi_vote(w->grid, mine) : clv_safetensors_settle(w, mine));
    CLVI_TRY(clvi_vote(w->grid, clv_grid_rank(w->grid) == 0 ? finish(w) : CLV_OK));
done:
    if (status != CLV_OK) remove_temporaries(w);
    destroy(w);
    return status;
}
