/* SPDX-License-Identifier: BSD-3-Clause
 *
 * saving.h: the checkpoints of a training run; private to tools/.
 */
#ifndef SAVING_H
#define SAVING_H

#include "tool.h"

typedef struct {
    clv_saver *saver; /* NULL: nothing is saved                           */
    const char *dir;
    progress *shown;   /* its line ends before anything is said            */
    int64_t announced; /* the last step said to be saved                   */
    clv_status status; /* of the last save, if it failed and none came after */
    char failure[1500];
} saving;

/* dir NULL: saves nothing. dir and shown are borrowed. All are Collective. */
clv_status saving_open(saving *s, clv_grid *grid, const char *dir, const clv_saver_options *options,
                       progress *shown);
/* After each step. A failed save is told and kept in mind; other failures are returned. */
clv_status saving_check(saving *s);
clv_status saving_save(saving *s, int64_t step, int count, const clv_named list[],
                       const char *json);
/* Waits for what is under way; a failure that no later save made up for. */
clv_status saving_end(saving *s);
void saving_close(saving *s);

#endif
