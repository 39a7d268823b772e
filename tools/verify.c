/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verify.c: cleave verify: whether every byte of a checkpoint is as it was written.
 */
#include "tool.h"

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
        "\"ok\", its structure is damaged or it cannot be opened, and \"error\" says which.\n"
        "\n" PATTERN_HELP,
    .examples = "  cleave verify run\n"
                "  cleave verify run --only 'block.*,!*.bias'\n"
                "  mpiexec.mpich -n 4 cleave verify run/step-00000200.h5 --json\n",
};

typedef struct {
    const char *path, *only;
} verify_args;

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
    if (status == CLV_ECORRUPT || status == CLV_EFORMAT)
        output_text("%s: NOT as written\n", file);
    else
        output_text("NOT verified: %s\n", clv_last_error());
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

typedef struct {
    clv_status status; /* of the last bad file; CLV_OK: none is */
    char failure[2048];
} summary;

/* Collective. */
static void verify_next(clv_grid *grid, const char *file, const char *only, summary *all)
{
    clv_status status = verify_file(grid, file, only);
    if (status == CLV_OK) return;
    all->status = status;
    snprintf(all->failure, sizeof all->failure, "%s", clv_last_error());
}

/* A file, or all of a folder, the bad ones too: they are listed without a look into any, since a
 * damaged newest one must not hide the others. The error is the last bad one's. */
static clv_status verify(void *untyped)
{
    const verify_args *args = untyped;
    clv_status status;
    clv_grid *grid = NULL;
    summary all = {0};
    int64_t *steps = NULL;
    int count = 0;
    char file[4096], name[CLV_STEP_NAME], *single = NULL;
    TRY(output_check_name("PATH", args->path));
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    TRY(clv_checkpoint_list(grid, args->path, &steps, &count));
    for (int i = 0; i < count; i++) {
        snprintf(file, sizeof file, "%s/%s", args->path, clv_checkpoint_name(steps[i], name));
        verify_next(grid, file, args->only, &all);
    }
    if (count == 0) { /* a file, or the error says what is missing */
        TRY(clv_checkpoint_resolve(grid, args->path, &single));
        verify_next(grid, single, args->only, &all);
    }
    status = all.status == CLV_OK ? CLV_OK : tool_fail(all.status, "%s", all.failure);
done:
    free(single);
    free(steps);
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
