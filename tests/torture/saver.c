/* SPDX-License-Identifier: BSD-3-Clause
 *
 * saver.c: no test, but what the scripts of tests/torture kill, fill and read.
 *
 *     saver DIR [STEPS [SIZE [background]]]
 *
 * Checks every checkpoint in DIR, each byte and that all are of the step of its name, and says
 * "newest N", N being the step that the folder resolves to (0: none). Then saves the steps after it
 * until STEPS, says "saved N" once a step is durable, and keeps 3. After its first save, unless in
 * the background, no temporary file may be in DIR. SIZE: of the model (torture.h); other sizes may
 * be in DIR.
 */
#include "torture.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

static torture_model model;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("saver: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void try(clv_status status, const char *what)
{
    if (status != CLV_OK) die("%s: %s", what, clv_last_error());
}

/* Rank 0 lists, so that all check the same files. */
static void check_all(const char *dir)
{
    enum { MOST = 64 };
    char names[MOST][256];
    int count = 0;
    int64_t step;
    if (clv_grid_rank(model.grid) == 0) count = torture_list(dir, "step-*.h5", MOST, names);
    try(clv_grid_broadcast(model.grid, 0, &count, sizeof count), "broadcast");
    try(clv_grid_broadcast(model.grid, 0, names, sizeof names), "broadcast");
    if (count > MOST) die("%s: expected at most %d checkpoints, found %d", dir, MOST, count);
    for (int i = 0; i < count; i++) {
        char path[4400];
        long long named = -1;
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        try(torture_check(&model, path, &step), path);
        if (sscanf(names[i], "step-%lld.h5", &named) != 1 || named != step)
            die("%s is of step %lld", path, (long long)step);
    }
}

static void say(int64_t saved)
{
    static int64_t said;
    if (clv_grid_rank(model.grid) != 0 || saved <= said) return;
    printf("saved %lld\n", (long long)saved);
    fflush(stdout);
    said = saved;
}

static void save(const char *dir, int64_t step, bool first)
{
    char name[1][256];
    int64_t saved;
    try(torture_begin_save(&model, dir, step, &saved), dir);
    if (first && !model.background && torture_list(dir, ".*.tmp-*", 1, name) > 0)
        die("%s stays after a save", name[0]);
    try(clv_grid_barrier(model.grid), "barrier");
    say(saved);
}

/* Until all is durable. */
static void finish(const char *dir)
{
    int64_t saved = -1;
    if (!model.saver) return;
    try(clv_saver_wait(model.saver, &saved), dir);
    say(saved);
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the launcher */
    MPI_Init(&argc, &argv);
    clv_grid *grid = NULL;
    int64_t newest = 0;
    if (argc < 2 || argc > 5) die("usage: saver DIR [STEPS [SIZE [background]]]");
    int64_t steps = argc > 2 ? atoll(argv[2]) : 0;
    try(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid), "grid");
    try(torture_create(grid, argc > 3 ? atoi(argv[3]) : 1, &model), "model");
    model.background = argc > 4 && strcmp(argv[4], "background") == 0;
    check_all(argv[1]);
    try(torture_check_newest(&model, argv[1], &newest), argv[1]);
    if (clv_grid_rank(grid) == 0) printf("newest %lld\n", (long long)newest), fflush(stdout);
    for (int64_t step = newest + 1; step <= steps; step++) save(argv[1], step, step == newest + 1);
    finish(argv[1]);
    torture_destroy(&model);
    clv_grid_destroy(&grid);
    MPI_Finalize();
    return 0;
}
