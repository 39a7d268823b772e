/* SPDX-License-Identifier: BSD-3-Clause
 *
 * verify.c: cleave verify: whether every byte of a checkpoint is as it was written.
 */
#include "tool.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const manual about = {
    .name = "verify",
    .synopsis = "PATH [options]",
    .about =
        "Reads every byte of a checkpoint, or of all checkpoints in a folder, and compares it\n"
        "with the checksums written with it. The ranks share the reading. Exit status 0 only\n"
        "if all of it is as it was written.",
    .examples = "  cleave verify run\n"
                "  mpiexec.mpich -n 4 cleave verify run/step-00000200.h5 --json\n",
};

/* What rank 0 saw in the folder, for all: names one after the other, each with its 0. */
typedef struct {
    size_t bytes;
    char *names;
} name_list;

static void append(name_list *list, const char *name)
{
    size_t length = strlen(name) + 1;
    char *grown = realloc(list->names, list->bytes + length);
    if (!grown) return;
    memcpy(grown + list->bytes, name, length);
    list->names = grown;
    list->bytes += length;
}

/* The checkpoints of a folder. What a pattern would take for a pattern is escaped. */
static void list_folder(const char *folder, name_list *list)
{
    size_t used = 0;
    glob_t found;
    char *pattern = malloc(2 * strlen(folder) + 32);
    for (const char *c = folder; pattern && *c; c++) {
        if (strchr("*?[\\", *c)) pattern[used++] = '\\';
        pattern[used++] = *c;
    }
    if (!pattern) return;
    strcpy(pattern + used, "/step-[0-9]*.h5");
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) append(list, found.gl_pathv[i]);
        globfree(&found);
    }
    free(pattern);
}

/* The files that path means, the same list on every process. Collective. */
static clv_status list_files(clv_grid *grid, const char *path, name_list *list)
{
    clv_status status;
    char *newest = NULL;
    struct stat info;
    TRY(clv_checkpoint_resolve(grid, path, &newest));
    if (tool.rank == 0) {
        if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            list_folder(path, list);
        else
            append(list, newest);
    }
    TRY(clv_grid_broadcast(grid, 0, &list->bytes, sizeof list->bytes));
    if (tool.rank != 0) list->names = malloc(list->bytes);
    bool ready = list->names && list->bytes;
    TRY(clv_grid_agree(grid, ready ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for file names")));
    TRY(clv_grid_broadcast(grid, 0, list->names, list->bytes));
done:
    free(newest);
    return status;
}

static clv_status verify_bytes(clv_grid *grid, const char *file, int64_t *bytes)
{
    clv_status status;
    clv_checkpoint *checkpoint = NULL;
    TRY(clv_checkpoint_open(grid, file, &checkpoint));
    *bytes = clv_checkpoint_bytes(checkpoint);
    progress p = progress_start("verified", 0, 0, 0);
    TRY(clv_checkpoint_verify(checkpoint, progress_callback, &p));
    progress_end(&p);
done:
    clv_checkpoint_close(&checkpoint);
    return status;
}

/* One file's verdict. Collective. */
static clv_status verify_file(clv_grid *grid, const char *file)
{
    int64_t bytes = 0;
    char count[32];
    clv_status status = verify_bytes(grid, file, &bytes);
    if (status == CLV_OK) {
        output_json("{s:s, s:b, s:I}", "file", file, "ok", true, "bytes", (json_int_t)bytes);
        output_text("%s: %s bytes, all as written\n", file, output_count(bytes, count));
        return status;
    }
    output_json("{s:s, s:b, s:s}", "file", file, "ok", false, "error", clv_last_error());
    output_text("%s: NOT as written\n", file);
    return tool_fail(status, "%s", clv_last_error());
}

/* All files, the bad ones too; the error is the last bad one's. */
static clv_status verify(void *asked)
{
    const char *path = *(const char **)asked;
    clv_status status, verdict = CLV_OK;
    clv_grid *grid = NULL;
    name_list list = {0};
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    TRY(list_files(grid, path, &list));
    for (size_t at = 0; at < list.bytes; at += strlen(list.names + at) + 1) {
        status = verify_file(grid, list.names + at);
        if (status != CLV_OK) verdict = status;
    }
    status = verdict;
done:
    free(list.names);
    clv_grid_destroy(&grid);
    return status;
}

int cmd_verify(int argc, char **argv)
{
    const char *path = NULL;
    option options[] = {
        opt_text("", "PATH", &path, REQUIRED, "a checkpoint, or a folder: all of its checkpoints"),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, verify, &path);
}
