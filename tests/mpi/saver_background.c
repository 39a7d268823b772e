/* SPDX-License-Identifier: BSD-3-Clause
 *
 * saver_background.c: saves while the program goes on: what is written is what was there when save
 * was called, one failure is told once to all, and older checkpoints stay.
 *
 * RANKS: 1 2 3 4
 */
#include "scratch.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum { MATRICES = 3 };

static clv_named named[MATRICES];
static clv_saver *saver;

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void begin(const clv_saver_options *options)
{
    static const char *const layouts[] = {"col|-", "-|col", "-|-"};
    static const char *const names[] = {"rows", "cols", "copies"};
    scratch_begin();
    for (int i = 0; i < MATRICES; i++) {
        clv_spec spec = {.m = 3001 - 1000 * i, .n = 257 + i, .dtype = i % 2 ? CLV_BF16 : CLV_F32};
        CHECK_OK(clv_layout_parse(world, layouts[i], &spec.layout));
        named[i].name = names[i];
        CHECK_OK(clv_matrix_create(world, spec, &named[i].matrix));
    }
    CHECK_OK(clv_saver_create(world, in_scratch("run"), options, &saver));
}

static void end(void)
{
    clv_saver_destroy(&saver);
    for (int i = 0; i < MATRICES; i++) clv_matrix_destroy(&named[i].matrix);
    scratch_end();
}

static void fill(uint64_t key)
{
    for (int i = 0; i < MATRICES; i++) fill_bits(named[i].matrix, key + (uint64_t)i);
}

/* Saves the values of a step and overwrites them at once. */
static clv_status save(int64_t step)
{
    fill((uint64_t)(10 * step));
    clv_status status = clv_saver_save(saver, step, MATRICES, named, NULL);
    fill(7);
    return status;
}

/* The newest checkpoint is of this step, whole and as it was. */
static void expect_newest(int64_t step)
{
    char *file = NULL;
    clv_checkpoint *checkpoint = NULL;
    if (!CHECK_OK(clv_checkpoint_resolve(world, in_scratch("run"), &file))) return;
    CHECK_STRING(file, in_scratch("run/step-%08d.h5", (int)step));
    if (CHECK_OK(clv_checkpoint_open(world, file, &checkpoint))) {
        CHECK_OK(clv_checkpoint_verify(checkpoint, NULL));
        CHECK_OK(clv_checkpoint_load(checkpoint, MATRICES, named, NULL));
        for (int i = 0; i < MATRICES; i++)
            CHECK_INT(wrong_bits(named[i].matrix, (uint64_t)(10 * step + i)), 0);
    }
    clv_checkpoint_close(&checkpoint);
    free(file);
}

static int files(const char *with)
{
    int found = 0;
    CHECK_OK(clv_grid_barrier(world));
    DIR *folder = opendir(in_scratch("run"));
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        found += strstr(entry->d_name, with) != NULL;
    if (folder) closedir(folder);
    CHECK_OK(clv_grid_barrier(world));
    return found;
}

static void goes_on(void)
{
    begin(&(clv_saver_options){.keep = 2, .background = true});
    int64_t saved = 0;
    CHECK_OK(clv_saver_check(saver, &saved));
    CHECK_INT(saved, -1);
    for (int64_t step = 1; step <= 6; step++) {
        CHECK_OK(save(step)); /* waits for the one before */
        if (step > 1) expect_newest(step - 1);
        CHECK(files("step-") <= 4);
        if (step % 2) continue;
        for (double until = seconds() + 30; saved != step && seconds() < until;)
            CHECK_OK(clv_saver_check(saver, &saved));
        CHECK_INT(saved, step);
        expect_newest(step);
    }
    CHECK_OK(clv_saver_wait(saver, &saved));
    CHECK_INT(saved, 6);
    CHECK_INT(files("step-"), 2);
    CHECK_INT(files(".tmp-"), 0);
    end();
}

/* The failure is there once, the same everywhere, soon; then the saver works again. */
static void expect_failure_once(int rank, int64_t before)
{
    char name[24];
    int64_t saved = 0;
    double started = seconds();
    clv_status status = clv_saver_wait(saver, &saved);
    CHECK(seconds() - started < 5);
    CHECK_STATUS(status, CLV_EIO);
    snprintf(name, sizeof name, "rank %d: ", rank);
    CHECK(strstr(clv_last_error(), name) && strstr(clv_last_error(), "saving step"));
    CHECK_INT(saved, before);
    CHECK_OK(clv_saver_check(saver, &saved));
    CHECK_OK(clv_saver_wait(saver, NULL));
    CHECK_INT(files(".tmp-"), 0);
}

/* One process cannot write a byte: rank 0 while it makes the file, others in the background. */
static void one_rank_cannot_write(void)
{
    begin(&(clv_saver_options){.keep = 2, .background = true});
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, none;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    none = (struct rlimit){0, before.rlim_max};
    int64_t step = 1;
    CHECK_OK(save(step));
    CHECK_OK(clv_saver_wait(saver, NULL));
    for (int rank = 0; rank < check_size(); rank++) {
        if (check_rank() == rank) CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
        clv_status status = save(step + 1);
        CHECK_STATUS(status, rank == 0 ? CLV_EIO : CLV_OK);
        if (rank == 0) CHECK(strstr(clv_last_error(), "rank 0: "));
        if (rank > 0) expect_failure_once(rank, step);
        if (check_rank() == rank) CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
        expect_newest(step);
        CHECK_OK(save(++step));
        CHECK_OK(clv_saver_wait(saver, NULL));
        expect_newest(step);
    }
    signal(SIGXFSZ, SIG_DFL);
    end();
}

/* Stages begin when check is called: what stands in the way of the last ones comes in time. */
static void cannot_rename(void)
{
    begin(&(clv_saver_options){.background = true});
    CHECK_OK(save(1));
    CHECK_OK(clv_saver_wait(saver, NULL));
    CHECK_OK(save(2));
    if (check_rank() == 0) CHECK(mkdir(in_scratch("run/step-00000002.h5"), 0777) == 0);
    expect_failure_once(0, 1);
    expect_newest(1);
    CHECK_OK(save(3)); /* its failure comes with the next save, which succeeds */
    if (check_rank() == 0) CHECK(mkdir(in_scratch("run/step-00000003.h5"), 0777) == 0);
    CHECK_STATUS(save(4), CLV_EIO);
    CHECK(strstr(clv_last_error(), "saving step 3: rank 0: "));
    CHECK_OK(clv_saver_wait(saver, NULL));
    expect_newest(4);
    end();
}

/* A saver that ends with a save under way leaves nothing of it. */
static void given_up(void)
{
    begin(&(clv_saver_options){.background = true});
    CHECK_OK(save(1));
    CHECK_OK(clv_saver_wait(saver, NULL));
    CHECK_OK(save(2));
    clv_saver_destroy(&saver);
    CHECK(!saver);
    CHECK_INT(files(".tmp-"), 0);
    expect_newest(1);
    end();
}

/* Both ways write the same file, now and in a later second: there is no time in it. */
static void same_bytes(void)
{
    begin(&(clv_saver_options){.background = true});
    CHECK_OK(save(1));
    CHECK_OK(clv_saver_wait(saver, NULL));
    fill(10);
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 100000000}, NULL);
    CHECK_OK(clv_checkpoint_write(world, in_scratch("now.h5"), MATRICES, named, NULL));
    if (check_rank() == 0) {
        char command[1200];
        snprintf(command, sizeof command, "cmp %s %s", in_scratch("now.h5"),
                 in_scratch("run/step-00000001.h5"));
        CHECK_INT(system(command), 0);
    }
    end();
}

const check_case check_cases[] = {
    {"goes on", goes_on},
    {"one rank cannot write", one_rank_cannot_write},
    {"cannot rename", cannot_rename},
    {"given up", given_up},
    {"same bytes", same_bytes},
    {0},
};
