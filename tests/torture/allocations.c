/* SPDX-License-Identifier: BSD-3-Clause
 *
 * allocations.c: every allocation of a save and of a load fails once, on one rank alone: those of
 * Cleave (clvi_alloc), and those by malloc of Cleave and of jansson.
 *
 * Not those of HDF5, nor of the C library, which HDF5 calls too: 1.10.8 does not survive any (its
 * property lists stay broken for the life of the process, and it ends with "infinite loop closing
 * library").
 *
 * RANKS: 1 2
 *
 * Every rank has the same status; what was there stays; nothing is left behind, neither memory of
 * Cleave's nor a temporary file; and the next one, with memory, succeeds. STRIDE in the
 * environment: only every so many allocations. A save in the background too, whose thread has its
 * share of them.
 */
#include "shim_malloc.h"
#include "torture.h"

#include <clvi_lib.h>
#include <mpi/scratch.h>

enum { MOST = 2000 };

static torture_model model;
static int64_t step, newest;

static clv_status save_next(void)
{
    return torture_save(&model, scratch, step + 1);
}

static clv_status load_newest(void)
{
    int64_t found;
    clv_status status = torture_check_newest(&model, scratch, &found);
    if (status == CLV_OK) CHECK_INT(found, newest);
    return status;
}

/* Two ways to fail. */
typedef struct {
    const char *name;
    void (*arm)(int64_t nth);
    bool (*disarm)(void); /* whether one failed */
    int stride, least;    /* fewest allocations of a call */
} way;

static bool disarm_alloc(void)
{
    clvi_alloc_fail_at(0);
    return true;
}

static void arm_malloc(int64_t nth)
{
    static const char *const libraries[] = {"libjansson", NULL};
    shim_malloc_arm(libraries, nth);
}

/* One call with one failure; whether it went through without. */
static bool try_once(const way *w, clv_status (*call)(void), int rank, int64_t nth)
{
    int64_t live = clvi_alloc_live();
    if (check_rank() == rank) w->arm(nth);
    clv_status status = call();
    double mine = check_rank() == rank && w->disarm(), low = status, high = status;
    CHECK_OK(clv_grid_reduce(world, CLV_MAX, 1, &mine));
    CHECK_OK(clv_grid_reduce(world, CLV_MIN, 1, &low));
    CHECK_OK(clv_grid_reduce(world, CLV_MAX, 1, &high));
    bool good = CHECK(low == high) & CHECK_INT(clvi_alloc_live(), live);
    if (status == CLV_OK && call == save_next) newest = ++step;
    if (status != CLV_OK && call == save_next) { /* renamed, but not told: it counts as well */
        int64_t found = -1;
        good &= CHECK_OK(torture_check_newest(&model, scratch, &found)) &
                CHECK(found == newest || found == step + 1);
        if (found > newest) newest = ++step;
        CHECK_OK(clv_grid_barrier(world));
        good &= CHECK_INT(torture_list(scratch, ".*.tmp-*", 0, NULL), 0);
    }
    if (!good)
        printf("    rank %d: %s %lld of rank %d, %s: status %d, %s\n", check_rank(), w->name,
               (long long)nth, rank, call == save_next ? "save" : "load", (int)status,
               clv_last_error());
    return status == CLV_OK && (mine == 0 || w->disarm == disarm_alloc);
}

static void fail_every(const way *w, bool background)
{
    clv_status (*const calls[])(void) = {save_next, load_newest};
    const char *given = getenv("STRIDE");
    int stride = given ? atoi(given) : w->stride;
    scratch_begin();
    CHECK_OK(torture_create(world, 1, &model));
    model.background = background;
    step = newest = 0;
    for (int call = 0; call < (background ? 1 : 2); call++) /* a load is the same */
        for (int rank = 0; rank < check_size(); rank++) {
            step = newest;
            CHECK_OK(save_next());
            newest = ++step;
            CHECK_OK(load_newest());
            int64_t nth = 1;
            while (nth < MOST && !try_once(w, calls[call], rank, nth)) nth += nth < 40 ? 1 : stride;
            CHECK(nth > w->least && nth < MOST);
        }
    torture_destroy(&model);
    scratch_end();
}

static void own_memory(void)
{
    const way own = {"clvi_alloc", clvi_alloc_fail_at, disarm_alloc, 1, 3};
    fail_every(&own, false);
    fail_every(&own, true);
}

static void everyones_memory(void)
{
    const way all = {"malloc", arm_malloc, shim_malloc_disarm, 1, 0};
    if (shim_malloc_works())
        fail_every(&all, false), fail_every(&all, true);
    else if (check_rank() == 0)
        printf("SKIPPED: with AddressSanitizer malloc is not ours\n");
}

const check_case check_cases[] = {
    {"own memory", own_memory},
    {"everyone's memory", everyones_memory},
    {0},
};
