/* SPDX-License-Identifier: BSD-3-Clause
 *
 * folder.c: a folder of checkpoints. Files are named by step; "latest" holds the name of the one
 * written last, and is itself replaced by rename.
 */
#include <clvi_io.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Names ----------------------------------------------------------------------- */

const char *clv_checkpoint_name(int64_t step, char name[CLV_STEP_NAME])
{
    snprintf(name, CLV_STEP_NAME, "step-%08lld.h5", (long long)step);
    return name;
}

int64_t clv_checkpoint_step(const char *name)
{
    char again[CLV_STEP_NAME];
    long long step = -1;
    if (sscanf(name, "step-%lld.h5", &step) != 1 || step < 0) return -1;
    return strcmp(clv_checkpoint_name(step, again), name) == 0 ? step : -1;
}

char *clvi_step_path(const char *dir, int64_t step)
{
    char name[CLV_STEP_NAME];
    return clvi_format("%s/%s", dir, clv_checkpoint_name(step, name));
}

/* ---- Listing ----------------------------------------------------------------------- */

typedef struct {
    int64_t count, room;
    int64_t step[];
} step_list;

static size_t list_bytes(int64_t room)
{
    return sizeof(step_list) + (size_t)room * sizeof(int64_t);
}

/* Room for twice as many. */
static clv_status grow(step_list **list)
{
    const int64_t room = *list ? 2 * (*list)->room : 64;
    step_list *grown = clvi_alloc(list_bytes(room));
    if (!grown) return clvi_fail(CLV_ENOMEM, "no memory for a list of %lld steps", (long long)room);
    grown->count = 0;
    if (*list) memcpy(grown, *list, list_bytes((*list)->count));
    grown->room = room;
    clvi_free(*list);
    *list = grown;
    return CLV_OK;
}

/* Whatever is not known to be something else than a file. */
static bool may_be_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? S_ISREG(info.st_mode) : errno != ENOENT;
}

static clv_status add_step(void *context, const char *path)
{
    step_list **list = context;
    int64_t step = clv_checkpoint_step(strrchr(path, '/') + 1);
    if (step < 0 || !may_be_file(path)) return CLV_OK;
    clv_status status = (*list)->count < (*list)->room ? CLV_OK : grow(list);
    if (status == CLV_OK) (*list)->step[(*list)->count++] = step;
    return status;
}

static int compare_steps(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The steps that the folder has a file of, in ascending order; clvi_free, whatever the status. */
static clv_status list_steps(const char *dir, step_list **list)
{
    clv_status status;
    *list = NULL;
    CLVI_TRY(grow(list));
    CLVI_TRY(clvi_each_file(dir, "step-*.h5", add_step, list));
    qsort((*list)->step, (size_t)(*list)->count, sizeof(int64_t), compare_steps);
done:
    return status;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

clv_status clv_checkpoint_list(clv_grid *grid, const char *dir, int64_t **steps, int *count)
{
    clv_status status = CLV_OK;
    step_list *list = NULL;
    if (!grid || !steps || !count)
        return clvi_fail(CLV_EARG, "expected a grid and places, found NULL");
    *steps = NULL;
    *count = 0;
    if (!dir || !*dir)
        status = clvi_fail(CLV_EARG, "expected the path of a folder, found none");
    else if (clv_grid_rank(grid) == 0)
        status = is_folder(dir) ? list_steps(dir, &list) : grow(&list);
    CLVI_TRY(clvi_share(grid, status, (void **)&list, list ? list_bytes(list->count) : 0));
    const size_t bytes = (size_t)list->count * sizeof **steps;
    *steps = malloc(bytes + 1);
    status = *steps ? CLV_OK : clvi_fail(CLV_ENOMEM, "%s: a list of its steps", dir);
    CLVI_TRY(clv_grid_agree(grid, status));
    memcpy(*steps, list->step, bytes);
    *count = (int)list->count;
done:
    clvi_free(list);
    if (status != CLV_OK) {
        free(*steps);
        *steps = NULL;
    }
    return status;
}

/* ---- Saving ------------------------------------------------------------------------ */

clv_status clvi_folder_prepare(const char *dir)
{
    clv_status status = CLV_OK;
    struct stat info;
    char *part = clvi_format("%s", dir);
    CLVI_CHECK(part, CLV_ENOMEM, "%s: its name", dir);
    for (char *end = part; *end;) {
        end += 1 + strcspn(end + 1, "/");
        char slash = *end;
        *end = 0;
        CLVI_TRY(clvi_folder_make(part));
        *end = slash;
    }
    CLVI_CHECK(stat(dir, &info) == 0 && S_ISDIR(info.st_mode), CLV_EIO,
               "%s: expected a folder, found a file", dir);
done:
    clvi_free(part);
    return status;
}

clv_status clvi_folder_point(const char *dir, int64_t step)
{
    clv_status status = CLV_OK;
    char name[CLV_STEP_NAME], suffix[CLVI_SUFFIX];
    clvi_file file = {.fd = -1};
    clvi_temporary_suffix(suffix);
    char *latest = clvi_format("%s/latest", dir), *temporary = NULL;
    CLVI_CHECK(latest && (temporary = clvi_hidden_name(latest, suffix)), CLV_ENOMEM,
               "%s: name of its latest", dir);
    clv_checkpoint_name(step, name);
    CLVI_TRY(clvi_file_create_locked(temporary, &file));
    CLVI_TRY(clvi_file_write(&file, name, strlen(name), 0));
    CLVI_TRY(clvi_file_write(&file, "\n", 1, (int64_t)strlen(name)));
    CLVI_TRY(clvi_file_sync(&file));
    CLVI_TRY(clvi_file_rename(temporary, latest));
done:
    if (status != CLV_OK && file.fd >= 0) unlink(temporary);
    clvi_file_close(&file);
    clvi_free(temporary);
    clvi_free(latest);
    return status;
}

static clv_status remove_step(const char *dir, int64_t step)
{
    clv_status status = CLV_OK;
    char *path = clvi_step_path(dir, step);
    CLVI_CHECK(path, CLV_ENOMEM, "%s: name of a file", dir);
    CLVI_TRY(clvi_file_remove(path));
done:
    clvi_free(path);
    return status;
}

/* Greater steps than the one just written are of a run that was abandoned, and go; so do all but
 * the `keep` greatest of the others, which are those committed last, and those that every divides.
 * One that cannot be removed keeps none of the others; the first such failure is the status.
 */
clv_status clvi_folder_prune(const char *dir, int64_t written, int keep, int64_t every)
{
    clv_status status, first = CLV_OK;
    int newest = 0;
    char why[1000] = "";
    step_list *list = NULL;
    CLVI_TRY(list_steps(dir, &list));
    for (int64_t i = list->count; i-- > 0;) {
        const int64_t step = list->step[i];
        bool stays = step <= written && (newest++ < keep || (every > 0 && step % every == 0));
        if (stays || (status = remove_step(dir, step)) == CLV_OK || first != CLV_OK) continue;
        first = status;
        snprintf(why, sizeof why, "%s", clv_last_error());
    }
    status = first == CLV_OK ? CLV_OK : clvi_fail(first, "%s", why);
done:
    clvi_free(list);
    return status;
}

/* ---- Finding ------------------------------------------------------------------------- */

/* The step that latest names; -1 where it names none or is not there. One that cannot be read may
 * name any. */
static clv_status read_latest(const char *dir, int64_t *step)
{
    clv_status status = CLV_OK;
    char name[CLV_STEP_NAME] = "", *latest = clvi_format("%s/latest", dir);
    clvi_file file = {.fd = -1};
    CLVI_CHECK(latest, CLV_ENOMEM, "%s: name of its latest", dir);
    status = clvi_file_open(latest, false, &file);
    if (status == CLV_OK) {
        size_t bytes = file.bytes < CLV_STEP_NAME ? (size_t)file.bytes : CLV_STEP_NAME - 1;
        CLVI_TRY(clvi_file_read(&file, name, bytes, 0));
        name[strcspn(name, "\n")] = 0;
    }
    if (status == CLV_ENOTFOUND) status = CLV_OK;
    *step = clv_checkpoint_step(name);
done:
    clvi_file_close(&file);
    clvi_free(latest);
    return status;
}

/* Whether the file of a step is there and complete; the status and its message say why not. */
static clv_status check_step(const char *dir, int64_t step)
{
    clv_status status = CLV_OK;
    clvi_table *table = NULL;
    char *path = clvi_step_path(dir, step);
    CLVI_CHECK(path, CLV_ENOMEM, "%s: name of a file", dir);
    CLVI_TRY(clvi_table_read(path, true, &table));
done:
    clvi_free(table);
    clvi_free(path);
    return status;
}

static bool is_damage(clv_status status)
{
    return status == CLV_ECORRUPT || status == CLV_EFORMAT;
}

/* The greatest step below a bound whose file is complete; -1: none, after so many that are not. A
 * file that cannot be read may be complete: its failure is everyone's. */
static clv_status complete_below(const char *dir, int64_t below, int64_t *step, int *incomplete)
{
    clv_status status;
    step_list *list = NULL;
    *incomplete = 0;
    *step = -1;
    CLVI_TRY(list_steps(dir, &list));
    for (int64_t i = list->count; i-- > 0 && *step < 0;) {
        if (list->step[i] >= below) continue;
        status = check_step(dir, list->step[i]);
        if (status == CLV_OK)
            *step = list->step[i];
        else if (is_damage(status))
            ++*incomplete;
        else if (status != CLV_ENOTFOUND) /* it was removed meanwhile */
            goto done;
    }
    status = CLV_OK;
done:
    clvi_free(list);
    return status;
}

/* Adds to the failure of the newest step what else there is. */
static clv_status suggest_older(const char *dir, int64_t damaged, clv_status why)
{
    clv_status status = CLV_OK;
    char name[CLV_STEP_NAME], *message = clvi_format("%s", clv_last_error());
    int64_t step;
    int incomplete;
    CLVI_CHECK(message, CLV_ENOMEM, "%s: a message", dir);
    CLVI_CHECK(complete_below(dir, damaged, &step, &incomplete) == CLV_OK, why, "%s; older: %s",
               message, clv_last_error());
    clv_checkpoint_name(step, name);
    status = step >= 0
                 ? clvi_fail(why, "%s; older and complete: %s", message, name)
                 : clvi_fail(why, "%s; older: %d, none of them complete", message, incomplete);
done:
    clvi_free(message);
    return status;
}

/* The greatest step, and whether it is complete. */
static clv_status check_greatest(const char *dir, int64_t *step)
{
    clv_status status;
    step_list *list = NULL;
    CLVI_TRY(list_steps(dir, &list));
    status = CLV_ENOTFOUND;
    for (int64_t i = list->count; i-- > 0 && status == CLV_ENOTFOUND;) /* removed meanwhile */
        status = check_step(dir, *step = list->step[i]);
    CLVI_CHECK(status != CLV_ENOTFOUND, status,
               "%s: expected a complete step-NNNNNNNN.h5, found none", dir);
done:
    clvi_free(list);
    return status;
}

/* The step that latest names; where it names none that is there (a crash before the first one), the
 * greatest. A crash leaves no file of a step that is not complete: if it is not, something else has
 * gone wrong, and to go on from an older one is for the user to decide. */
static clv_status newest_step(const char *dir, int64_t *step)
{
    clv_status status;
    CLVI_TRY(read_latest(dir, step));
    status = *step >= 0 ? check_step(dir, *step) : CLV_ENOTFOUND;
    if (status == CLV_ENOTFOUND) status = check_greatest(dir, step);
    if (is_damage(status)) status = suggest_older(dir, *step, status);
done:
    return status;
}

/* Rank 0. */
static clv_status resolve(const char *path, char **file)
{
    clv_status status = CLV_OK;
    struct stat info;
    int64_t step = 0;
    CLVI_CHECK(stat(path, &info) == 0, errno == ENOENT ? CLV_ENOTFOUND : CLV_EIO,
               "%s: expected a checkpoint or a folder of them: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) CLVI_TRY(newest_step(path, &step));
    *file = S_ISDIR(info.st_mode) ? clvi_step_path(path, step) : clvi_format("%s", path);
    CLVI_CHECK(*file, CLV_ENOMEM, "%s: its name", path);
done:
    return status;
}

clv_status clv_checkpoint_resolve(clv_grid *grid, const char *path, char **file)
{
    clv_status status = CLV_OK;
    char *found = NULL;
    if (!grid || !file) return clvi_fail(CLV_EARG, "expected a grid and a place, found NULL");
    *file = NULL;
    if (!path || !*path)
        status = clvi_fail(CLV_EARG, "expected the path of a checkpoint, found none");
    else if (clv_grid_rank(grid) == 0)
        status = resolve(path, &found);
    CLVI_TRY(clvi_share(grid, status, (void **)&found, found ? strlen(found) + 1 : 0));
    *file = strdup(found);
    status = *file ? CLV_OK : clvi_fail(CLV_ENOMEM, "%s: name of its newest", path);
    CLVI_TRY(clv_grid_agree(grid, status));
done:
    clvi_free(found);
    if (status != CLV_OK) {
        free(*file);
        *file = NULL;
    }
    return status;
}
