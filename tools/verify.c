/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verify.c: cleave verify: whether every byte of a checkpoint is as it was written.
 */
#include "tool.h"

#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const manual about = {
    .name = "verify",
    .synopsis = "PATH [options]",
    .about =
        "Reads every byte of a checkpoint, or of all checkpoints in a folder, and compares it\n"
        "with the checksums written with it. Tells every data set that is not as it was written,\n"
        "which of its elements (as they are numbered row by row), rows and bytes of the file:\n"
        "whole MiB of it, since each has one checksum. The ranks and their threads share the\n"
        "work; what is told does not depend on them. Exit status 0 only if all of it is as it was\n"
        "written.\n"
        "\n"
        "With --json, a file is one line; \"damage\" lists name, elements, rows and bytes, each "
        "range\n"
        "from its first up to, not including, its end. Without \"damage\" in a line that is not\n"
        "\"ok\", its structure is damaged, and \"error\" says where.\n"
        "\n" PATTERN_HELP,
    .examples = "  cleave verify run\n"
                "  cleave verify run --only 'block.*,!*.bias'\n"
                "  mpiexec.mpich -n 4 cleave verify run/step-00000200.h5 --json\n",
};

/* What rank 0 saw in the folder, for all: names one after the other, each with its 0. */
typedef struct {
    size_t bytes;
    char *names;
} name_list;

typedef struct {
    const char *path, *only;
} verify_args;

static clv_status no_memory(void)
{
    return tool_fail(CLV_ENOMEM, "no memory for file names");
}

static clv_status append(name_list *list, const char *name)
{
    size_t length = strlen(name) + 1;
    char *grown = realloc(list->names, list->bytes + length);
    if (!grown) return no_memory();
    memcpy(grown + list->bytes, name, length);
    list->names = grown;
    list->bytes += length;
    return CLV_OK;
}

/* The checkpoints of a folder; none of what is no folder. What a pattern would take for a pattern
 * is escaped. Rank 0. */
static clv_status list_folder(const char *folder, name_list *list)
{
    clv_status status = CLV_OK;
    size_t used = 0;
    glob_t found = {0};
    char *pattern = malloc(2 * strlen(folder) + 32);
    if (!pattern) return no_memory();
    for (const char *c = folder; *c; c++) {
        if (strchr("*?[\\", *c)) pattern[used++] = '\\';
        pattern[used++] = *c;
    }
    strcpy(pattern + used, "/step-[0-9]*.h5");
    if (glob(pattern, 0, NULL, &found) == GLOB_NOSPACE) TRY(no_memory());
    for (size_t i = 0; i < found.gl_pathc; i++) TRY(append(list, found.gl_pathv[i]));
done:
    globfree(&found);
    free(pattern);
    return status;
}

/* Rank 0's list on all. Collective. */
static clv_status share_names(clv_grid *grid, name_list *list)
{
    clv_status status;
    TRY(clv_grid_broadcast(grid, 0, &list->bytes, sizeof list->bytes));
    if (list->bytes == 0) return CLV_OK;
    if (tool.rank != 0) list->names = malloc(list->bytes);
    TRY(clv_grid_agree(grid, list->names ? CLV_OK : no_memory()));
    TRY(clv_grid_broadcast(grid, 0, list->names, list->bytes));
done:
    return status;
}

/* The files that path means, the same list on every process. All of a folder's are listed without a
 * look into any: a damaged newest one must not hide the others. Collective. */
static clv_status list_files(clv_grid *grid, const char *path, name_list *list)
{
    clv_status status;
    char *file = NULL;
    TRY(clv_grid_agree(grid, tool.rank == 0 ? list_folder(path, list) : CLV_OK));
    TRY(share_names(grid, list));
    if (list->bytes > 0) return CLV_OK;
    TRY(clv_checkpoint_resolve(grid, path, &file)); /* a file, or the error says what is missing */
    TRY(clv_grid_agree(grid, append(list, file)));
done:
    free(file);
    return status;
}

/* One file's verdict as it comes to be. */
typedef struct {
    clv_checkpoint *checkpoint;
    progress progress;
    json_t *damage; /* NULL until its structure was found good */
    int64_t bytes;
} verdict;

static void show_progress(void *context, int64_t done, int64_t all)
{
    verdict *v = context;
    progress_callback(&v->progress, done, all);
}

static void show_damage(void *context, const clv_damage *damage)
{
    verdict *v = context;
    int i = clv_checkpoint_find(v->checkpoint, damage->name);
    clv_checkpoint_entry entry = clv_checkpoint_at(v->checkpoint, i);
    int64_t bytes = (damage->end - damage->begin) * (int64_t)clv_dtype_size(entry.dtype);
    int64_t row = damage->begin / entry.n, row_end = (damage->end - 1) / entry.n + 1;
    progress_end(&v->progress);
    output_text("damaged: %s: elements %" PRId64 " to %" PRId64 " (rows %" PRId64 " to %" PRId64
                "), bytes %" PRId64 " to %" PRId64 " of the file\n",
                damage->name, damage->begin, damage->end - 1, row, row_end - 1, damage->offset,
                damage->offset + bytes - 1);
    json_array_append_new(
        v->damage, json_pack("{s:s, s:[II], s:[II], s:[II]}", "name", damage->name, "elements",
                             (json_int_t)damage->begin, (json_int_t)damage->end, "rows",
                             (json_int_t)row, (json_int_t)row_end, "bytes",
                             (json_int_t)damage->offset, (json_int_t)(damage->offset + bytes)));
}

static clv_status verify_bytes(verdict *v, const char *only)
{
    v->damage = json_array();
    v->bytes = clv_checkpoint_bytes(v->checkpoint);
    v->progress = progress_start("verified", 0, 0, 0);
    clv_status status = clv_checkpoint_verify(
        v->checkpoint,
        &(clv_verify_options){
            .only = only, .progress = show_progress, .damage = show_damage, .context = v});
    progress_end(&v->progress);
    return status;
}

static void tell(const verdict *v, const char *file, const char *only, clv_status status)
{
    char count[32];
    if (status == CLV_OK) {
        output_json("{s:s, s:b, s:I, s:o?}", "file", file, "ok", true, "bytes",
                    (json_int_t)v->bytes, "damage", v->damage);
        output_text("%s: %s bytes, %s as written\n", file, output_count(v->bytes, count),
                    only ? "all chosen" : "all");
        return;
    }
    output_json("{s:s, s:b, s:o*, s:s}", "file", file, "ok", false, "damage", v->damage, "error",
                clv_last_error());
    output_text("%s: NOT as written\n", file);
}

/* One file's verdict; none if --only means nothing in it. Collective. */
static clv_status verify_file(clv_grid *grid, const char *file, const char *only)
{
    verdict v = {0};
    clv_status status = clv_checkpoint_open(grid, file, &v.checkpoint);
    if (status == CLV_OK) {
        TRY(only_check(v.checkpoint, NULL, only));
        status = verify_bytes(&v, only);
    }
    tell(&v, file, only, status);
done:
    clv_checkpoint_close(&v.checkpoint);
    return status;
}

/* All files, the bad ones too; the error is the last bad one's. */
static clv_status verify(void *untyped)
{
    const verify_args *args = untyped;
    clv_status status, verdict = CLV_OK;
    clv_grid *grid = NULL;
    name_list list = {0};
    char failure[2048] = "";
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    TRY(list_files(grid, args->path, &list));
    for (size_t at = 0; at < list.bytes; at += strlen(list.names + at) + 1) {
        status = verify_file(grid, list.names + at, args->only);
        if (status == CLV_OK) continue;
        verdict = status;
        snprintf(failure, sizeof failure, "%s", clv_last_error());
    }
    status = verdict == CLV_OK ? CLV_OK : tool_fail(verdict, "%s", failure);
done:
    free(list.names);
    clv_grid_destroy(&grid);
    return status;
}

int cmd_verify(int argc, char **argv)
{
    verify_args args = {0};
    option options[] = {
        opt_text("", "PATH", &args.path, REQUIRED,
                 "a checkpoint, or a folder: all of its checkpoints"),
        ONLY_OPTION(&args.only),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, verify, &args);
}
