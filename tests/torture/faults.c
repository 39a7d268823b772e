/* SPDX-License-Identifier: BSD-3-Clause
 *
 * faults.c: every call of the system that a save makes fails once, on one rank after the other.
 *
 * RANKS: 1 2 4
 *
 * The 1st, 2nd, 3rd ... read, write, sync, rename, open, truncation, reservation, lock, close,
 * removal or listing in the folder fails with EIO; with ENOSPC, and the disk stays full; is cut
 * short; is interrupted; until a save needs no more. After a failure every rank has the same status
 * within 5 seconds and a message that names the rank and the folder, the checkpoint before is as it
 * was, and nothing is left behind: no file, no descriptor, no memory. Short and interrupted calls
 * are no failures; nor is a lock that cannot be had. An old step that cannot be removed is a
 * failure, but the new one stands, and the old one goes with the next. The same holds of making the
 * folder, and of models in safetensors, but that a failure among their renames can leave a folder
 * that is refused.
 */
#include "shim.h"
#include "torture.h"

#include <clvi_lib.h>
#include <errno.h>
#include <mpi/scratch.h>

enum { MOST_CALLS = 400 };
static const double patience = 5; /* seconds */

static torture_model model;

/* Descriptors, the one of this list included. */
static int open_files(void)
{
    return torture_list("/proc/self/fd", "[0-9]*", 0, NULL);
}

/* Whether every rank has the same status. */
static void check_everywhere(clv_status status)
{
    double low = status, high = status;
    CHECK_OK(clv_grid_reduce(world, CLV_MIN, 1, &low));
    CHECK_OK(clv_grid_reduce(world, CLV_MAX, 1, &high));
    CHECK(low == high);
}

/* One save with one fault. */
typedef struct {
    int rank;
    shim_fault fault;
    int64_t nth;
} trial;

typedef struct {
    char call[32]; /* that was struck; empty: none */
    bool vital;
    clv_status status;
    double seconds;
} outcome;

static clv_status save_step(int64_t step)
{
    return torture_save(&model, scratch, step);
}

static outcome save_struck(const trial *t, clv_status (*save)(int64_t step), int64_t step)
{
    outcome result = {.status = CLV_OK};
    if (check_rank() == t->rank) shim_arm(scratch, t->nth, t->fault);
    double begin = MPI_Wtime();
    result.status = save(step);
    result.seconds = MPI_Wtime() - begin;
    if (check_rank() == t->rank) {
        const char *call = shim_disarm(&result.vital);
        snprintf(result.call, sizeof result.call, "%s", call ? call : "");
    }
    outcome struck = result;
    CHECK_OK(clv_grid_broadcast(world, t->rank, &struck, sizeof struck));
    memcpy(result.call, struck.call, sizeof result.call);
    result.vital = struck.vital;
    return result;
}

static bool check_message(const trial *t)
{
    char name[32];
    snprintf(name, sizeof name, "rank %d", t->rank);
    bool good = CHECK(strstr(clv_last_error(), name)) & CHECK(strstr(clv_last_error(), scratch));
    if (!good) printf("    found \"%s\"\n", clv_last_error());
    return good;
}

static bool check_status_of(const trial *t, const outcome *result)
{
    bool harmless = t->fault == SHIM_SHORT || t->fault == SHIM_EINTR || !*result->call;
    check_everywhere(result->status);
    bool good = CHECK(result->seconds < patience);
    if (harmless) return CHECK_OK(result->status) & good;
    if (result->vital) good &= CHECK_STATUS(result->status, CLV_EIO);
    if (result->status != CLV_OK) good &= CHECK_STATUS(result->status, CLV_EIO) & check_message(t);
    return good;
}

/* The newest step: the one just saved if that succeeded, else that or the one before, which is
 * there in any case. */
static bool check_folder(clv_status status, int64_t step, int64_t *newest)
{
    int64_t before = *newest, found = -1;
    bool good = CHECK_OK(torture_check_newest(&model, scratch, newest));
    good &= CHECK(*newest == step || (status != CLV_OK && *newest == before));
    if (before && status != CLV_OK)
        good &= CHECK_OK(torture_check(&model, in_scratch("step-%08lld.h5", (long long)before),
                                       &found)) &&
                CHECK_INT(found, before);
    CHECK_OK(clv_grid_barrier(world));
    return good & CHECK_INT(torture_list(scratch, ".*.tmp-*", 0, NULL), 0);
}

/* Whether the call that was to be struck was made. */
static bool try_fault(const trial *t, int64_t step, int64_t *newest)
{
    int files = open_files();
    int64_t live = clvi_alloc_live();
    outcome result = save_struck(t, save_step, step);
    bool good = check_status_of(t, &result);
    good &= check_folder(result.status, step, newest);
    good &= CHECK_INT(open_files(), files) & CHECK_INT(clvi_alloc_live(), live);
    if (!good)
        printf("    rank %d of %d: call %lld of rank %d, %s: %s: status %d after %.1f s\n",
               check_rank(), check_size(), (long long)t->nth, t->rank, result.call,
               shim_fault_names[t->fault], (int)result.status, result.seconds);
    return *result.call;
}

static void fail_every(bool background)
{
    int64_t step = 0, newest = 0;
    scratch_begin();
    CHECK_OK(torture_create(world, 1, &model));
    model.background = background;
    CHECK_OK(torture_save(&model, scratch, ++step)); /* what is made once, is made */
    CHECK(check_folder(CLV_OK, step, &newest));
    for (int fault = 0; fault < SHIM_FAULTS; fault++)
        for (int rank = 0; rank < check_size(); rank++) {
            trial t = {rank, (shim_fault)fault, 1};
            while (t.nth < MOST_CALLS && try_fault(&t, ++step, &newest)) t.nth++;
            CHECK(t.nth > (rank ? 3 : 10) && t.nth < MOST_CALLS);
        }
    CHECK_OK(torture_save(&model, scratch, ++step));
    CHECK_INT(torture_list(scratch, "step-*.h5", 0, NULL), TORTURE_KEEP);
    torture_destroy(&model);
    scratch_end();
}

static void every_call(void)
{
    fail_every(false);
}

static void in_the_background(void)
{
    fail_every(true);
}

/* ---- Models in safetensors --------------------------------------------------------------- */

enum { ROWS = 40, COLUMNS = 30 };

/* A model of one value, in one file or, of odd values, in two with an index. */
static clv_status write_model(int64_t value)
{
    static const clv_st_entry entries[] = {{"a", CLV_F32, 2, ROWS, COLUMNS},
                                           {"b", CLV_F32, 1, 1, COLUMNS}};
    float row[COLUMNS];
    clv_safetensors_writer *writer = NULL;
    clv_status status = clv_safetensors_begin(world, in_scratch("models/hf/"), 2, entries,
                                              value % 2 ? sizeof row : 0, &writer);
    for (int j = 0; j < COLUMNS; j++) row[j] = (float)value;
    for (int i = check_rank(); i <= ROWS && status == CLV_OK; i += check_size())
        status = clv_safetensors_put(writer, i == ROWS,
                                     (clv_block){row, 1, COLUMNS, COLUMNS, i % ROWS, 0});
    if (!writer) return status;
    status = clv_safetensors_settle(writer, status);
    return clv_safetensors_commit(&writer, status);
}

/* The value of all of it; -1: refused, -2: a mixture. */
static int64_t read_model(void)
{
    float found[(ROWS + 1) * COLUMNS];
    clv_safetensors *file = NULL;
    if (clv_safetensors_open(in_scratch("models/hf"), &file) != CLV_OK) return -1;
    CHECK_OK(clv_safetensors_read(file, clv_safetensors_find(file, "a"), CLV_F32,
                                  (clv_block){found, ROWS, COLUMNS, COLUMNS, 0, 0}));
    CHECK_OK(clv_safetensors_read(file, clv_safetensors_find(file, "b"), CLV_F32,
                                  (clv_block){found + ROWS * COLUMNS, 1, COLUMNS, COLUMNS, 0, 0}));
    clv_safetensors_close(&file);
    for (int k = 1; k < (ROWS + 1) * COLUMNS; k++)
        if (found[k] != found[0]) return -2;
    return (int64_t)found[0];
}

/* Over a model of the value before. Whether the call to be struck was made. */
static bool try_model(const trial *t, int64_t value)
{
    int files = open_files();
    int64_t live = clvi_alloc_live();
    CHECK_OK(write_model(value - 1));
    outcome result = save_struck(t, write_model, value);
    bool good = check_status_of(t, &result);
    int64_t found = read_model();
    good &=
        CHECK(found == value || (result.status != CLV_OK && (found == -1 || found == value - 1)));
    CHECK_OK(clv_grid_barrier(world));
    good &= CHECK_INT(torture_list(in_scratch("models/hf"), ".*.tmp-*", 0, NULL), 0);
    good &= CHECK_INT(open_files(), files) & CHECK_INT(clvi_alloc_live(), live);
    CHECK_OK(clv_grid_barrier(world));
    if (!good)
        printf("    rank %d: call %lld of rank %d, %s: %s: status %d, then %lld of %lld\n",
               check_rank(), (long long)t->nth, t->rank, result.call, shim_fault_names[t->fault],
               (int)result.status, (long long)found, (long long)value);
    return *result.call;
}

static void models(void)
{
    scratch_begin();
    if (check_rank() == 0) CHECK(mkdir(in_scratch("models"), 0777) == 0);
    for (int64_t value = 1; value <= 2; value++)
        for (int fault = 0; fault < SHIM_FAULTS; fault++)
            for (int rank = 0; rank < check_size(); rank++) {
                trial t = {rank, (shim_fault)fault, 1};
                while (t.nth < MOST_CALLS && try_model(&t, value)) t.nth++;
                CHECK(t.nth > (rank ? 3 : 10) && t.nth < MOST_CALLS);
            }
    scratch_end();
}

/* ---- Names -------------------------------------------------------------------------------- */

/* A name that was made is synced into its folder: a power cut does not take it. */
static void names_last(void)
{
    bool vital;
    scratch_begin();
    CHECK_OK(torture_create(world, 1, &model));
    shim_arm(scratch, INT64_MAX, SHIM_EIO);
    CHECK_OK(torture_save(&model, in_scratch("new/run"), 1));
    CHECK_STRING(shim_unsynced() ? shim_unsynced() : "", "");
    for (int64_t value = 1; value <= 3; value++) {
        if (check_rank() == 0 && value == 1) CHECK(mkdir(in_scratch("models"), 0777) == 0);
        shim_arm(scratch, INT64_MAX, SHIM_EIO);
        CHECK_OK(write_model(value));
        CHECK_STRING(shim_unsynced() ? shim_unsynced() : "", "");
    }
    shim_disarm(&vital);
    torture_destroy(&model);
    scratch_end();
}

/* ---- Folders ------------------------------------------------------------------------------ */

/* A saver of a folder two levels below what is there. Whether the call to be struck was made. */
static bool try_create(const trial *t)
{
    clv_saver *saver = NULL;
    bool vital = false;
    char call[32] = "";
    int64_t live = clvi_alloc_live();
    const char *dir = in_scratch("%d-%d-%d/run", (int)t->fault, t->rank, (int)t->nth);
    if (check_rank() == t->rank) shim_arm(scratch, t->nth, t->fault);
    clv_status status = clv_saver_create(world, dir, NULL, &saver);
    const char *struck = check_rank() == t->rank ? shim_disarm(&vital) : NULL;
    snprintf(call, sizeof call, "%s", struck ? struck : "");
    CHECK_OK(clv_grid_broadcast(world, t->rank, call, sizeof call));
    check_everywhere(status);
    CHECK(!saver == (status != CLV_OK));
    if (!*call || t->fault == SHIM_SHORT || t->fault == SHIM_EINTR) CHECK_OK(status);
    if (status != CLV_OK) CHECK_STATUS(status, CLV_EIO), check_message(t);
    if (status != CLV_OK && strcmp(call, "mkdir") == 0)
        CHECK(strstr(clv_last_error(), strerror(t->fault == SHIM_EIO ? EIO : ENOSPC)));
    clv_saver_destroy(&saver);
    CHECK_OK(clv_saver_create(world, dir, NULL, &saver)); /* what failed once, may go well */
    clv_saver_destroy(&saver);
    CHECK_INT(torture_list(dir, ".*.tmp-*", 0, NULL), 0);
    CHECK_INT(clvi_alloc_live(), live);
    return *call;
}

static void making_the_folder(void)
{
    scratch_begin();
    for (int fault = 0; fault < SHIM_FAULTS; fault++)
        for (int rank = 0; rank < check_size(); rank++) {
            trial t = {rank, (shim_fault)fault, 1};
            while (t.nth < MOST_CALLS && try_create(&t)) t.nth++;
            CHECK(t.nth > (rank ? 0 : 6) && t.nth < MOST_CALLS);
        }
    scratch_end();
}

const check_case check_cases[] = {
    {"every call", every_call},
    {"in the background", in_the_background},
    {"making the folder", making_the_folder},
    {"models", models},
    {"names last", names_last},
    {0},
};
