/* SPDX-License-Identifier: BSD-3-Clause
 *
 * saving.c: the checkpoints of a training run. A step is announced once it is durable; a save that
 * fails is told, and costs the run nothing but that checkpoint as long as a later one succeeds.
 */
#include "saving.h"

#include <string.h>

clv_status saving_open(saving *s, clv_grid *grid, const char *dir, const clv_saver_options *options,
                       progress *shown)
{
    *s = (saving){.dir = dir, .shown = shown, .announced = -1};
    return dir ? clv_saver_create(grid, dir, options, &s->saver) : CLV_OK;
}

/* Disks fill up and folders vanish; what else goes wrong ends the run. */
static bool is_of_disk(clv_status status)
{
    return status == CLV_EIO || status == CLV_ENOTFOUND || status == CLV_ENOMEM;
}

static clv_status note(saving *s, clv_status status)
{
    if (status == CLV_OK || !is_of_disk(status)) return status;
    s->status = status;
    snprintf(s->failure, sizeof s->failure, "%s", clv_last_error());
    progress_end(s->shown);
    output_json("{s:s, s:s}", "event", "save_failed", "error", s->failure);
    if (tool.rank == 0)
        fprintf(stderr, "cleave train: %s (the run goes on, to try again at the next save)\n",
                s->failure);
    return CLV_OK;
}

static void announce(saving *s, int64_t saved)
{
    char file[4096], name[CLV_STEP_NAME];
    if (saved == s->announced) return;
    s->announced = saved;
    s->status = CLV_OK; /* what failed before is made up for */
    progress_end(s->shown);
    snprintf(file, sizeof file, "%s/%s", s->dir, clv_checkpoint_name(saved, name));
    output_json("{s:s, s:I, s:s}", "event", "save", "saved_step", (json_int_t)saved, "file", file);
    output_text("saved %s\n", file);
}

/* What has become of saves since: first what was saved, then what failed after it. */
static clv_status look(saving *s, clv_status (*how)(clv_saver *, int64_t *))
{
    int64_t saved = -1;
    if (!s->saver) return CLV_OK;
    clv_status status = how(s->saver, &saved);
    announce(s, saved);
    return note(s, status);
}

clv_status saving_check(saving *s)
{
    return look(s, clv_saver_check);
}

clv_status saving_save(saving *s, int64_t step, int count, const clv_named list[], const char *json)
{
    int64_t saved = -1;
    clv_status status = look(s, clv_saver_wait);
    if (status != CLV_OK) return status;
    progress_end(s->shown);
    status = clv_saver_save(s->saver, step, count, list, json);
    if (status == CLV_OK) return look(s, clv_saver_check);
    /* Where only an older one could not be removed, the step is durable all the same. */
    clv_saver_check(s->saver, &saved);
    announce(s, saved);
    return note(s, status);
}

clv_status saving_end(saving *s)
{
    clv_status status = look(s, clv_saver_wait);
    if (status != CLV_OK || s->status == CLV_OK) return status;
    return tool_fail(s->status, "the last save failed, and none after it succeeded: %s",
                     s->failure);
}

void saving_close(saving *s)
{
    clv_saver_destroy(&s->saver);
}
