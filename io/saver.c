/* SPDX-License-Identifier: BSD-3-Clause
 *
 * saver.c: the steps of a run, saved one after the other, while it goes on if it likes.
 *
 * A save is begun (structure and room), its rows are copied into memory, and then it is a list of
 * stages of file work, each to be begun when every process has done the one before:
 *
 *     write    all      the copied rows
 *     settle, seal, finish       of the commit (commit.c)
 *     point    rank 0   latest names it: from here on the step is saved
 *     prune    rank 0   older steps go
 *
 * In the background a stage is a job in a thread of its own, and clv_saver_check moves on: one
 * small agreement a call, whether all have done it and whether anyone has failed. Then those who
 * have not stop early, and all give the step up with the same message. Without it the rows are not
 * copied but written panel by panel, and the other stages follow at once.
 */
#include <clvi_io.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAND = 16 << 20 }; /* bytes between two looks whether to stop */

/* One matrix of the save under way: where its copy lies. */
typedef struct {
    clv_block block;
    clv_dtype dtype;
} copy;

struct clv_saver {
    clv_grid *grid;
    char *dir;
    clv_saver_options options;
    int64_t saved; /* the last step that is durable; -1: none */
    /* The save under way; writer NULL: none. */
    clv_checkpoint_writer *writer;
    int64_t step;
    int stage, count;
    copy *copies;
    clvi_job job;
    bool stop;     /* someone has failed: the rest is in vain    */
    bool given_up; /* this process's stage has stopped for that */
    /* Kept from save to save. */
    char *memory;
    size_t room;
};

/* ---- Stages --------------------------------------------------------------------------- */

/* In bands, so that it stops soon when asked to. */
static clv_status write_copy(clv_saver *s, int i)
{
    clv_status status = CLV_OK;
    clv_block all = s->copies[i].block, band = all;
    int64_t row = all.n * (int64_t)clv_dtype_size(s->copies[i].dtype);
    int64_t rows = row > 0 && row < BAND ? BAND / row : 1;
    for (int64_t k = 0; k < all.m; k += rows) {
        band.m = all.m - k < rows ? all.m - k : rows;
        band.row0 = all.row0 + k;
        band.data = clvi_at(all, s->copies[i].dtype, k, 0);
        s->given_up = __atomic_load_n(&s->stop, __ATOMIC_RELAXED);
        CLVI_CHECK(!s->given_up, CLV_EIO, "given up");
        CLVI_TRY(clv_checkpoint_put(s->writer, i, band));
    }
done:
    return status;
}

static clv_status write_copies(clv_saver *s)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < s->count; i++) CLVI_TRY(write_copy(s, i));
done:
    return status;
}

static clv_status settle(clv_saver *s)
{
    return clvi_writer_stages[0](s->writer);
}
static clv_status seal(clv_saver *s)
{
    return clvi_writer_stages[1](s->writer);
}
static clv_status finish(clv_saver *s)
{
    return clvi_writer_stages[2](s->writer);
}

static clv_status point(clv_saver *s)
{
    return clv_grid_rank(s->grid) ? CLV_OK : clvi_folder_point(s->dir, s->step);
}

static clv_status prune(clv_saver *s)
{
    if (clv_grid_rank(s->grid) != 0 || s->options.keep == 0) return CLV_OK;
    return clvi_folder_prune(s->dir, s->step, s->options.keep, s->options.keep_every);
}

enum { WRITE, SETTLE, SEAL, FINISH, POINT, PRUNE, STAGES };

static clv_status (*const stages[STAGES])(clv_saver *) = {
    [WRITE] = write_copies, [SETTLE] = settle, [SEAL] = seal,
    [FINISH] = finish,      [POINT] = point,   [PRUNE] = prune,
};

/* A stage is done everywhere, or has failed somewhere: the next one, or the end. */
static void conclude_stage(clv_saver *s, clv_status status)
{
    if (status == CLV_OK && s->stage == POINT) s->saved = s->step;
    s->stage++;
    if (status == CLV_OK && s->stage < STAGES) return;
    bool committed = s->stage > FINISH + (status != CLV_OK);
    clvi_writer_end(&s->writer, committed ? CLV_OK : status);
    clvi_free(s->copies);
    s->copies = NULL;
}

/* ---- Moving on ---------------------------------------------------------------------------- */

static clv_status work(void *saver)
{
    clv_saver *s = saver;
    return stages[s->stage](s);
}

static void start(clv_saver *s)
{
    clvi_job_start(&s->job, work, s);
}

/* One look at all jobs: *under_way is whether there is one still. Collective. */
static clv_status look(clv_saver *s, bool *under_way)
{
    clv_status status;
    bool done = clvi_job_done(&s->job);
    double failed = done && s->job.status != CLV_OK;
    double least[] = {done, -failed}; /* all are done; nobody has failed */
    *under_way = true;
    CLVI_TRY(clv_grid_reduce(s->grid, CLV_MIN, 2, least));
    if (least[1] < 0) __atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
    if (least[0] == 0) return CLV_OK;
    status = clvi_job_end(&s->job);
    /* Who was stopped by another's failure has nothing to say. */
    if (s->given_up) status = CLV_OK;
    status = clvi_vote(s->grid, status);
    if (status != CLV_OK)
        clvi_fail(status, "saving step %lld: %s", (long long)s->step, clv_last_error());
    conclude_stage(s, status);
    *under_way = s->writer != NULL;
    if (*under_way) start(s);
done:
    return status;
}

static void tell_saved(const clv_saver *s, int64_t *saved)
{
    if (saved) *saved = s ? s->saved : -1;
}

clv_status clv_saver_check(clv_saver *saver, int64_t *saved)
{
    bool under_way;
    clv_status status = CLV_OK;
    if (!saver) return clvi_fail(CLV_EARG, "expected a saver, found NULL");
    if (saver->writer) status = look(saver, &under_way);
    tell_saved(saver, saved);
    return status;
}

/* Looks again and again, all together, so that a failure is known soon. The job needs the processor
 * more. */
static clv_status wait_for_all(clv_saver *s)
{
    clv_status status = CLV_OK;
    for (bool under_way = true; status == CLV_OK && s->writer && under_way;) {
        status = look(s, &under_way);
        if (under_way) nanosleep(&(struct timespec){.tv_nsec = 300000}, NULL);
    }
    return status;
}

clv_status clv_saver_wait(clv_saver *saver, int64_t *saved)
{
    if (!saver) return clvi_fail(CLV_EARG, "expected a saver, found NULL");
    clv_status status = wait_for_all(saver);
    tell_saved(saver, saved);
    return status;
}

/* ---- Saving ------------------------------------------------------------------------------- */

/* Where the copies lie, one after the other; bytes of all. */
static size_t place_copies(clv_saver *s, const clv_named matrices[])
{
    size_t at = 0;
    for (int i = 0; i < s->count; i++) {
        clvi_rows rows = clvi_rows_of(matrices[i].matrix, 0);
        clv_block block = clvi_rows_block(&rows, 0);
        block.ld = block.n;
        block.data = s->memory ? s->memory + at : NULL;
        s->copies[i] = (copy){block, rows.spec.dtype};
        at += clvi_round_up((size_t)(block.m * block.n) * clv_dtype_size(rows.spec.dtype));
    }
    return at;
}

/* Memory for the copies, which is kept. */
static clv_status reserve(clv_saver *s, const clv_named matrices[])
{
    clv_status status = CLV_OK;
    s->copies = clvi_alloc((size_t)s->count * sizeof *s->copies);
    CLVI_CHECK(s->copies, CLV_ENOMEM, "%s: places of %d copies", s->dir, s->count);
    size_t bytes = place_copies(s, matrices);
    if (s->memory && bytes <= s->room) goto done;
    clvi_free(s->memory);
    s->memory = clvi_alloc(bytes);
    s->room = bytes;
    CLVI_CHECK(s->memory, CLV_ENOMEM, "%s: %zu bytes to copy into", s->dir, bytes);
    place_copies(s, matrices);
done:
    return status;
}

/* Past the caches, which is faster than memcpy and leaves them to the training. */
static void copy_rows(clv_dtype dtype, clv_block from, clv_block to)
{
    const void *const x[] = {from.data};
    void *const z[] = {to.data};
    clvi_sum_rows(dtype, to.m, to.n, 1, x, &from.ld, 1, 0, 1, z, &to.ld, true);
}

/* All rows into memory. Collective. */
static clv_status take_copies(clv_saver *s, const clv_named matrices[], clv_status mine)
{
    clv_status status;
    CLVI_TRY(clvi_vote(s->grid, mine));
    for (int i = 0; i < s->count; i++) {
        clvi_rows rows = clvi_rows_of(matrices[i].matrix, 0);
        clv_block block, to = s->copies[i].block;
        CLVI_TRY(clvi_rows_take(&rows, 0, to.data, mine, &block));
        if (rows.view) copy_rows(s->copies[i].dtype, block, to);
    }
done:
    return status;
}

/* Collective. */
static clv_status save_in_background(clv_saver *s, const clv_named matrices[])
{
    clv_status status = take_copies(s, matrices, reserve(s, matrices));
    if (status == CLV_OK) {
        s->stage = WRITE;
        start(s);
        return CLV_OK;
    }
    clvi_writer_end(&s->writer, status);
    clvi_free(s->copies);
    s->copies = NULL;
    return status;
}

/* Collective. */
static clv_status save_now(clv_saver *s, const clv_named matrices[])
{
    clv_status status = clvi_writer_put_all(s->writer, s->count, matrices);
    for (s->stage = WRITE, conclude_stage(s, status); s->writer;) {
        status = clvi_vote(s->grid, stages[s->stage](s));
        conclude_stage(s, status);
    }
    return status;
}

/* Rank 0 makes the folder; all begin the file. Collective. */
static clv_status begin(clv_saver *s, int64_t step, int count, const clv_named matrices[],
                        const char *json)
{
    clv_status status = CLV_OK;
    clv_checkpoint_entry *entries = NULL;
    char *path = NULL;
    if (step < 0)
        status = clvi_fail(CLV_EARG, "expected a step >= 0, found %lld", (long long)step);
    else if (!(path = clvi_step_path(s->dir, step)))
        status = clvi_fail(CLV_ENOMEM, "%s: name of a file", s->dir);
    CLVI_TRY(clvi_grid_same(s->grid, status, "the step to save", 1, &step));
    if (clv_grid_rank(s->grid) == 0) status = clvi_folder_prepare(s->dir);
    CLVI_TRY(clvi_vote(s->grid, status));
    status = clvi_entries_of(s->grid, count, matrices, &entries);
    CLVI_TRY(clvi_writer_begin(s->grid, path, count, entries, json, status, &s->writer));
    s->step = step;
    s->count = count;
    s->stop = s->given_up = false;
done:
    clvi_free(path);
    clvi_free(entries);
    return status;
}

static clv_status save(clv_saver *s, int64_t step, int count, const clv_named matrices[],
                       const char *json)
{
    clv_status status = begin(s, step, count, matrices, json);
    if (status != CLV_OK) return status;
    return s->options.background ? save_in_background(s, matrices) : save_now(s, matrices);
}

/* The failure of the save before keeps nobody from this one; neither is lost. */
clv_status clv_saver_save(clv_saver *saver, int64_t step, int count, const clv_named matrices[],
                          const char *json)
{
    if (!saver) return clvi_fail(CLV_EARG, "expected a saver, found NULL");
    clv_status before = wait_for_all(saver);
    if (before == CLV_OK) return save(saver, step, count, matrices, json);
    char why[1000];
    snprintf(why, sizeof why, "%s", clv_last_error());
    clv_status status = save(saver, step, count, matrices, json);
    if (status == CLV_OK) return clvi_fail(before, "%s", why);
    return clvi_fail(status, "%s; before that, %s", clv_last_error(), why);
}

/* ---- Life ------------------------------------------------------------------------------------ */

static clv_status check_arguments(const char *dir, const clv_saver_options *options)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(dir && *dir, CLV_EARG, "expected a folder, found none");
    CLVI_CHECK(options->keep >= 0 && options->keep_every >= 0, CLV_EARG,
               "expected keep and keep_every >= 0, found %d, %lld", options->keep,
               (long long)options->keep_every);
done:
    return status;
}

/* Rank 0: it is there and can be written. */
static clv_status try_folder(const clv_saver *s)
{
    clv_status status;
    clvi_file file = {.fd = -1};
    char *name = clvi_format("%s/.latest.tmp-try-%lld", s->dir, (long long)getpid());
    CLVI_CHECK(name, CLV_ENOMEM, "%s: name of a file", s->dir);
    CLVI_TRY(clvi_folder_prepare(s->dir));
    CLVI_TRY(clvi_file_create_locked(name, &file));
    CLVI_TRY(clvi_file_remove(name));
done:
    clvi_file_close(&file);
    clvi_free(name);
    return status;
}

clv_status clv_saver_create(clv_grid *grid, const char *dir, const clv_saver_options *options,
                            clv_saver **saver)
{
    clv_status status;
    clv_saver *s = NULL;
    if (!grid || !saver) return clvi_fail(CLV_EARG, "expected a grid and a place, found NULL");
    *saver = NULL;
    clv_saver_options o = options ? *options : (clv_saver_options){0};
    status = check_arguments(dir, &o);
    if (status == CLV_OK && (!(s = clvi_alloc(sizeof *s)) || !(s->dir = clvi_format("%s", dir))))
        status = clvi_fail(CLV_ENOMEM, "%s: a saver", dir);
    const int64_t same[] = {dir ? (int64_t)clvi_hash_string(dir) : 0, o.keep, o.keep_every,
                            o.background};
    CLVI_TRY(clvi_grid_same(
        grid, status, "the folder of a saver (its hash),keep,keep_every,background", 4, same));
    s->grid = grid;
    s->options = o;
    s->saved = -1;
    if (clv_grid_rank(grid) == 0) status = try_folder(s);
    CLVI_TRY(clvi_vote(grid, status));
    *saver = s;
done:
    if (status != CLV_OK && s) {
        clvi_free(s->dir);
        clvi_free(s);
    }
    return status;
}

void clv_saver_destroy(clv_saver **saver)
{
    if (!saver || !*saver) return;
    clv_saver *s = *saver;
    if (s->writer) {
        bool committed = s->stage > FINISH;
        __atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
        clvi_job_drop(&s->job);
        clv_grid_barrier(s->grid); /* nobody writes any more */
        clvi_writer_end(&s->writer, committed ? CLV_OK : CLV_EIO);
    }
    clvi_free(s->copies);
    clvi_free(s->memory);
    clvi_free(s->dir);
    clvi_free(s);
    *saver = NULL;
}
