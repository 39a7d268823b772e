/* SPDX-License-Identifier: BSD-3-Clause
 *
 * torture.h: what the programs of tests/torture save, and how they look at it again.
 *
 * The model of a step is known from the step alone: element i (row-major) of data set k is
 * (7 i + 13 k + step) mod 251 - 125, exact in all types, and the JSON text is {"step": STEP}. So a
 * file of two steps shows. Its shapes are known from a size: the kth of `size` pieces differs.
 */
#ifndef CLEAVE_TORTURE_H
#define CLEAVE_TORTURE_H

#include <cleave.h>

enum { TORTURE_MATRICES = 6, TORTURE_KEEP = 3 };

typedef struct {
    clv_grid *grid;
    clv_named named[TORTURE_MATRICES];
    bool background;  /* how it saves; may be set before the first save */
    clv_saver *saver; /* of the folder first saved in; NULL before      */
} torture_model;

/* Matrices of all types, cut by rows, by columns and not at all, one of them empty. size 1: some
 * 100 KB in all, and as many more with each step of size. Collective. */
clv_status torture_create(clv_grid *grid, int size, torture_model *model);
void torture_destroy(torture_model *model); /* Collective, after a save */

/* Begins to save the values of a step in DIR, the same for all; *saved: the last step that is
 * durable, or -1. In the foreground that is this one. Collective. */
clv_status torture_begin_save(torture_model *model, const char *dir, int64_t step, int64_t *saved);
/* Saves and waits until it is durable or has failed. Collective. */
clv_status torture_save(torture_model *model, const char *dir, int64_t step);

/* Whether file is a checkpoint of exactly one step, *step, of any size: every byte verifies, and
 * every element is of that step; loads it too where the shapes are the model's. CLV_EMISMATCH where
 * values are wrong. Collective. */
clv_status torture_check(const torture_model *model, const char *file, int64_t *step);
/* The same without verify: what a load gives, of the model's shapes. Collective. */
clv_status torture_check_loaded(const torture_model *model, const char *file, int64_t *step);
/* torture_check of what DIR resolves to; step 0 and CLV_OK where it holds nothing. Collective. */
clv_status torture_check_newest(const torture_model *model, const char *dir, int64_t *step);

/* How many files in DIR match a pattern of fnmatch; names of the first `most` of them. Local. */
int torture_list(const char *dir, const char *pattern, int most, char (*names)[256]);

#endif
