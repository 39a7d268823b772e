/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint_folder.c: folders of checkpoints: which one is the newest, what stays, what goes, and
 * who may write.
 *
 * RANKS: 1 2 3
 */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static clv_matrix *small_matrix(void)
{
    clv_spec spec = {.m = 7, .n = 7};
    clv_matrix *matrix = NULL;
    CHECK_OK(clv_layout_parse(world, "col|-", &spec.layout));
    CHECK_OK(clv_matrix_create(world, spec, &matrix));
    return matrix;
}

/* One save, by a saver of its own. */
static clv_status save_to(const char *dir, int64_t step, const clv_saver_options *options)
{
    clv_matrix *x = small_matrix();
    clv_saver *saver = NULL;
    int64_t saved = -2;
    clv_status status = clv_saver_create(world, dir, options, &saver);
    if (status == CLV_OK) {
        status = clv_saver_save(saver, step, 1, &(clv_named){"x", x}, "{}");
        if (status == CLV_OK) status = clv_saver_wait(saver, &saved);
        CHECK(saved == step || (status != CLV_OK && saved < 0));
    }
    clv_saver_destroy(&saver);
    clv_matrix_destroy(&x);
    return status;
}

static void save_step(const char *dir, int64_t step, int keep)
{
    const clv_saver_options options = {.keep = keep, .background = step % 2};
    CHECK_OK(save_to(dir, step, &options));
}

static void expect_newest(const char *dir, const char *name)
{
    char *file = NULL;
    if (CHECK_OK(clv_checkpoint_resolve(world, dir, &file))) {
        CHECK_STRING(file + strlen(dir) + 1, name);
        CHECK(access(file, R_OK) == 0);
    }
    free(file);
}

static void put_file(const char *path, const char *text)
{
    if (check_rank() == 0) {
        FILE *file = fopen(path, "w");
        if (CHECK(file)) fputs(text, file), fclose(file);
    }
    CHECK_OK(clv_grid_barrier(world));
}

static void take_file(const char *path)
{
    if (check_rank() == 0) CHECK(unlink(path) == 0);
    CHECK_OK(clv_grid_barrier(world));
}

static bool there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void folders(void)
{
    scratch_begin();
    char *file = NULL;
    char dir[512];
    snprintf(dir, sizeof dir, "%s", in_scratch("runs/a"));
    CHECK_STATUS(clv_checkpoint_resolve(world, dir, &file), CLV_ENOTFOUND);
    CHECK_STATUS(clv_checkpoint_resolve(world, scratch, &file), CLV_ENOTFOUND);
    CHECK(!file);
    for (int64_t step = 0; step < 5; step++) save_step(dir, step * 50, 3);
    expect_newest(dir, "step-00000200.h5");
    CHECK(!there(in_scratch("runs/a/step-00000050.h5")));
    CHECK(there(in_scratch("runs/a/step-00000100.h5")));

    /* A run that went back: what it wrote last is the newest; what it left behind goes. */
    save_step(dir, 120, 0);
    expect_newest(dir, "step-00000120.h5");
    CHECK(there(in_scratch("runs/a/step-00000200.h5")));
    save_step(dir, 130, 2);
    expect_newest(dir, "step-00000130.h5");
    CHECK(there(in_scratch("runs/a/step-00000120.h5")));
    CHECK(!there(in_scratch("runs/a/step-00000100.h5")));
    CHECK(!there(in_scratch("runs/a/step-00000150.h5")));
    CHECK(!there(in_scratch("runs/a/step-00000200.h5")));
    save_step(dir, 123456789, 0);
    expect_newest(dir, "step-123456789.h5");

    /* Without latest, or where it points nowhere: the greatest. */
    put_file(in_scratch("runs/a/latest"), "step-00000777.h5\n");
    expect_newest(dir, "step-123456789.h5");
    put_file(in_scratch("runs/a/latest"), "../../../etc/passwd\n");
    expect_newest(dir, "step-123456789.h5");
    take_file(in_scratch("runs/a/latest"));
    take_file(in_scratch("runs/a/step-123456789.h5"));
    expect_newest(dir, "step-00000130.h5");
    scratch_end();
}

static void expect_failure(clv_status expected, const char *says)
{
    char *file = NULL;
    CHECK_STATUS(clv_checkpoint_resolve(world, scratch, &file), expected);
    CHECK(!file && strstr(clv_last_error(), says));
}

static void expect_list(const char *dir, int count, const int64_t expected[])
{
    int64_t *steps = NULL;
    int found = -1;
    if (CHECK_OK(clv_checkpoint_list(world, dir, &steps, &found)) && CHECK_INT(found, count))
        for (int i = 0; i < count; i++) CHECK_INT(steps[i], expected[i]);
    free(steps);
}

/* Files named as a save names them, whatever is in them, in order; nothing else. */
static void listing(void)
{
    scratch_begin();
    char name[CLV_STEP_NAME];
    int64_t *steps = NULL, many[100];
    int count;
    expect_list(scratch, 0, NULL);
    expect_list(in_scratch("nowhere"), 0, NULL);
    CHECK_STRING(clv_checkpoint_name(123456789, name), "step-123456789.h5");
    save_step(scratch, 7, 0);
    put_file(in_scratch("step-123456789.h5"), "not a checkpoint");
    put_file(in_scratch("step-00000002.h5"), "");
    put_file(in_scratch("step-1.h5"), "");
    put_file(in_scratch("step-00000009 .h5"), "");
    put_file(in_scratch("step-00000003.h5.old"), "");
    if (check_rank() == 0) CHECK(mkdir(in_scratch("step-00000005.h5"), 0777) == 0);
    CHECK_OK(clv_grid_barrier(world));
    expect_list(scratch, 3, (int64_t[]){2, 7, 123456789});
    expect_list(in_scratch("step-00000007.h5"), 0, NULL);
    if (check_rank() == 0) CHECK(mkdir(in_scratch("many"), 0777) == 0);
    for (int64_t i = 0; i < 100; i++) {
        many[i] = i;
        put_file(in_scratch("many/%s", clv_checkpoint_name(99 - i, name)), "");
    }
    expect_list(in_scratch("many"), 100, many);
    CHECK_STATUS(clv_checkpoint_list(world, "", &steps, &count), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_list(world, scratch, NULL, &count), CLV_EARG);
    scratch_end();
}

/* A damaged newest one is not passed over in silence, but the way back is named. */
static void damaged_newest(void)
{
    scratch_begin();
    expect_failure(CLV_ENOTFOUND, "found none");
    for (int64_t step = 1; step <= 4; step++) save_step(scratch, step, 0);
    put_file(in_scratch("step-00000003.h5"), "not a checkpoint");
    if (check_rank() == 0) CHECK(truncate(in_scratch("step-00000004.h5"), 5000) == 0);
    CHECK_OK(clv_grid_barrier(world));
    expect_failure(CLV_ECORRUPT, "step-00000004.h5: ");
    expect_failure(CLV_ECORRUPT, "older and complete: step-00000002.h5");
    put_file(in_scratch("step-00000004.h5"), "not a checkpoint");
    expect_failure(CLV_EFORMAT, "older and complete: step-00000002.h5");
    put_file(in_scratch("step-00000002.h5"), "");
    put_file(in_scratch("step-00000001.h5"), "");
    expect_failure(CLV_EFORMAT, "older: 3, none of them complete");
    take_file(in_scratch("step-00000002.h5"));
    if (check_rank() == 0) CHECK(mkdir(in_scratch("step-00000002.h5"), 0777) == 0);
    CHECK_OK(clv_grid_barrier(world));
    expect_failure(CLV_EFORMAT, "older: 2, none of them complete");
    if (check_rank() == 0) {
        CHECK(rmdir(in_scratch("step-00000002.h5")) == 0);
        CHECK(symlink("step-00000002.h5", in_scratch("step-00000002.h5")) == 0);
    }
    CHECK_OK(clv_grid_barrier(world));
    expect_failure(CLV_EFORMAT, "step-00000004.h5: ");
    expect_failure(CLV_EFORMAT, "step-00000002.h5: cannot open: Too many levels");
    take_file(in_scratch("step-00000002.h5"));
    take_file(in_scratch("latest"));
    expect_failure(CLV_EFORMAT, "step-00000004.h5: ");
    expect_failure(CLV_EFORMAT, "older: 2, none of them complete");
    save_step(scratch, 2, 0);
    take_file(in_scratch("latest"));
    expect_failure(CLV_EFORMAT, "step-00000004.h5: ");
    expect_failure(CLV_EFORMAT, "older and complete: step-00000002.h5");
    put_file(in_scratch("latest"), "step-00000777.h5\n");
    expect_failure(CLV_EFORMAT, "older and complete: step-00000002.h5");
    take_file(in_scratch("step-00000004.h5"));
    take_file(in_scratch("step-00000003.h5"));
    expect_newest(scratch, "step-00000002.h5");
    scratch_end();
}

/* What cannot be read is a failure: it may be the newest. The superuser can read everything but
 * what leads nowhere; folders and pipes are no checkpoints. */
static void unreadable(void)
{
    scratch_begin();
    for (int64_t step = 1; step <= 3; step++) save_step(scratch, step, 0);
    take_file(in_scratch("latest"));
    if (check_rank() == 0) CHECK(mkfifo(in_scratch("latest"), 0666) == 0);
    CHECK_OK(clv_grid_barrier(world));
    expect_failure(CLV_EFORMAT, "latest: expected a file, found a pipe");
    take_file(in_scratch("latest"));
    if (check_rank() == 0) CHECK(symlink("latest", in_scratch("latest")) == 0);
    CHECK_OK(clv_grid_barrier(world));
    expect_failure(CLV_EIO, "latest: cannot open: Too many levels of symbolic links");
    take_file(in_scratch("latest"));
    expect_newest(scratch, "step-00000003.h5");
    if (check_rank() == 0) CHECK(mkdir(in_scratch("step-00000005.h5"), 0777) == 0);
    CHECK_OK(clv_grid_barrier(world));
    expect_newest(scratch, "step-00000003.h5");
    if (check_rank() == 0) CHECK(symlink("step-00000004.h5", in_scratch("step-00000004.h5")) == 0);
    CHECK_OK(clv_grid_barrier(world));
    expect_failure(CLV_EIO, "step-00000004.h5: cannot open: Too many levels");
    put_file(in_scratch("latest"), "step-00000003.h5\n");
    expect_newest(scratch, "step-00000003.h5");
    scratch_end();
}

/* A run from scratch in the folder of an older one that had come further. */
static void overwritten_run(void)
{
    scratch_begin();
    for (int64_t step = 5; step <= 8; step++) save_step(scratch, step, 2);
    for (int64_t step = 1; step <= 6; step++) {
        save_step(scratch, step, 2);
        for (int64_t other = 1; other <= 8; other++)
            CHECK(there(in_scratch("step-%08d.h5", (int)other)) ==
                  (other == step || other == step - 1));
    }
    scratch_end();
}

/* The library's too: removes any file but this one. */
static char precious[512];
int unlink(const char *path)
{
    if (strcmp(path, precious) != 0) return unlinkat(AT_FDCWD, path, 0);
    errno = EPERM;
    return -1;
}

/* A step that cannot be removed is told, the new one is saved, and the others go. */
static void not_removed(void)
{
    scratch_begin();
    for (int background = 0; background < 2; background++) {
        for (int64_t step = 1; step <= 5; step++) save_step(scratch, step, 0);
        snprintf(precious, sizeof precious, "%s", in_scratch("step-00000004.h5"));
        const clv_saver_options options = {.keep = 1, .background = background};
        CHECK_STATUS(save_to(scratch, 6, &options), CLV_EIO);
        CHECK(strstr(clv_last_error(), "step-00000004.h5: cannot remove: "));
        CHECK_OK(clv_grid_barrier(world));
        expect_newest(scratch, "step-00000006.h5");
        expect_list(scratch, 2, (int64_t[]){4, 6});
        precious[0] = 0;
    }
    scratch_end();
}

/* Rank 0 opens a file and takes the lock that its writer would hold. */
static int lock_file(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = -1;
    if (check_rank() == 0) {
        fd = open(path, O_RDWR);
        CHECK(fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    }
    CHECK_OK(clv_grid_barrier(world));
    return fd;
}

/* Two writers of one temporary name: a living one's file stays as it is, a dead one's makes way. */
static void two_writers(void)
{
    scratch_begin();
    char host[256] = "", name[512] = "", byte = 0;
    gethostname(host, sizeof host - 1);
    snprintf(name, sizeof name, "%s/.x.h5.tmp-%.32s-%lld", scratch, host, (long long)getpid());
    CHECK_OK(clv_grid_broadcast(world, 0, name, sizeof name));
    clv_matrix *x = small_matrix();
    const clv_named named = {"x", x};
    put_file(name, "another writer's");
    int fd = lock_file(name);
    CHECK_STATUS(clv_checkpoint_write(world, in_scratch("x.h5"), 1, &named, NULL), CLV_EIO);
    CHECK(strstr(clv_last_error(), name));
    CHECK(there(name) && !there(in_scratch("x.h5")));
    if (fd >= 0) CHECK(pread(fd, &byte, 1, 0) == 1 && byte == 'a');
    CHECK_OK(clv_grid_barrier(world));
    if (fd >= 0) close(fd);
    CHECK_OK(clv_grid_barrier(world));
    CHECK_OK(clv_checkpoint_write(world, in_scratch("x.h5"), 1, &named, NULL));
    CHECK(!there(name) && there(in_scratch("x.h5")));
    clv_matrix_destroy(&x);
    scratch_end();
}

/* What crashes left goes at the next save; nothing else does. */
static void leftovers(void)
{
    scratch_begin();
    put_file(in_scratch(".step-00000001.h5.tmp-host-1"), "left");
    put_file(in_scratch(".latest.tmp-node-7.cluster-77"), "left");
    put_file(in_scratch(".step-00000002.h5.tmp-host-1"), "being written");
    int fd = lock_file(in_scratch(".step-00000002.h5.tmp-host-1"));
    put_file(in_scratch(".step-mine"), "stays");
    put_file(in_scratch(".other.h5.tmp-host-1"), "stays");
    put_file(in_scratch("step-1.h5"), "stays");
    save_step(scratch, 5, 1);
    CHECK(!there(in_scratch(".step-00000001.h5.tmp-host-1")));
    CHECK(!there(in_scratch(".latest.tmp-node-7.cluster-77")));
    CHECK(there(in_scratch(".step-00000002.h5.tmp-host-1")));
    if (fd >= 0) close(fd);
    CHECK(there(in_scratch(".other.h5.tmp-host-1")));
    CHECK(there(in_scratch(".step-mine")) && there(in_scratch("step-1.h5")));
    char *file = NULL;
    CHECK_OK(clv_checkpoint_resolve(world, in_scratch("step-1.h5"), &file)); /* itself */
    CHECK_STRING(file, in_scratch("step-1.h5"));
    free(file);
    CHECK_STATUS(save_to(scratch, -1, NULL), CLV_EARG);
    CHECK_STATUS(save_to(in_scratch(".step-mine"), 1, NULL), CLV_EIO);
    CHECK_STATUS(save_to("", 1, NULL), CLV_EARG);
    CHECK_STATUS(save_to(scratch, 1, &(clv_saver_options){.keep = -1}), CLV_EARG);
    if (check_size() > 1) {
        CHECK_STATUS(save_to(scratch, check_rank() == 0, NULL), CLV_EMISMATCH);
        CHECK_STATUS(save_to(scratch, 1, &(clv_saver_options){.keep = check_rank()}),
                     CLV_EMISMATCH);
    }
    scratch_end();
}

/* Nor do they stay beside a checkpoint that is written again, whatever its name. */
static void leftovers_of_one(void)
{
    scratch_begin();
    clv_matrix *x = small_matrix();
    const clv_named named = {"x", x};
    put_file(in_scratch(".a[1]*+(b).h5.tmp-host-1"), "left");
    put_file(in_scratch(".a[1]*+(b).h5.tmp-node-7.cluster-77"), "being written");
    int fd = lock_file(in_scratch(".a[1]*+(b).h5.tmp-node-7.cluster-77"));
    put_file(in_scratch(".a1b.h5.tmp-host-1"), "another's");
    put_file(in_scratch(".a[1]*+(b).h5.tmp-mine"), "stays");
    CHECK_OK(clv_checkpoint_write(world, in_scratch("a[1]*+(b).h5"), 1, &named, NULL));
    CHECK(there(in_scratch("a[1]*+(b).h5")));
    CHECK(!there(in_scratch(".a[1]*+(b).h5.tmp-host-1")));
    CHECK(there(in_scratch(".a[1]*+(b).h5.tmp-node-7.cluster-77")));
    CHECK(there(in_scratch(".a1b.h5.tmp-host-1")) && there(in_scratch(".a[1]*+(b).h5.tmp-mine")));
    if (fd >= 0) close(fd);
    CHECK_OK(clv_grid_barrier(world));
    CHECK(chdir(scratch) == 0); /* a path without a folder */
    CHECK_OK(clv_checkpoint_write(world, "a[1]*+(b).h5", 1, &named, NULL));
    CHECK(!there(".a[1]*+(b).h5.tmp-node-7.cluster-77"));
    CHECK(chdir("/") == 0);
    clv_matrix_destroy(&x);
    scratch_end();
}

/* Multiples stay beside the newest. */
static void keep_every(void)
{
    scratch_begin();
    for (int background = 0; background < 2; background++) {
        const clv_saver_options options = {2, 4, background};
        for (int64_t step = 1; step <= 11; step++) CHECK_OK(save_to(scratch, step, &options));
        for (int step = 1; step <= 11; step++)
            CHECK(there(in_scratch("step-%08d.h5", step)) == (step >= 10 || step % 4 == 0));
    }
    scratch_end();
}

const check_case check_cases[] = {
    {"folders", folders},
    {"listing", listing},
    {"damaged newest", damaged_newest},
    {"unreadable", unreadable},
    {"overwritten run", overwritten_run},
    {"not removed", not_removed},
    {"two writers", two_writers},
    {"leftovers", leftovers},
    {"leftovers of one", leftovers_of_one},
    {"keep every", keep_every},
    {0},
};
