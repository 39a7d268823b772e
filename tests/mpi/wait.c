/* SPDX-License-Identifier: BSD-3-Clause
 *
 * wait.c: who waits for memory, or works, moves its messages meanwhile.
 *
 * The last rank gives all others a message too long to go at once, which they wait for without
 * asking MPI for it: only what they wait with can bring it.
 *
 * RANKS: 2 3 8
 */
#include "../reference.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { BYTES = 4 << 20 };
static const double limit = 10; /* seconds, after which it does not come any more */

typedef struct {
    const _Atomic char *last; /* of a message */
    double begin;
} expected;

static bool came(const expected *e)
{
    return atomic_load(e->last) != 0;
}

static bool came_or_late(const void *context)
{
    const expected *e = context;
    return came(e) || MPI_Wtime() > e->begin + limit;
}

static void wait_until(const expected *e)
{
    CHECK_OK(clvi_wait_until(came_or_late, e));
}

static void poke(const expected *e)
{
    while (!came_or_late(e)) {
        CHECK_OK(clvi_wait_poke());
        sched_yield();
    }
}

static void check_arrival(void (*wait)(const expected *e))
{
    int giver = check_size() - 1;
    char *message = calloc(BYTES, 1);
    MPI_Request requests[8];
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    if (check_rank() == giver) {
        memset(message, 1, BYTES);
        for (int r = 0; r < giver; r++)
            MPI_Isend(message, BYTES, MPI_BYTE, r, 0, MPI_COMM_WORLD, &requests[r]);
        CHECK_OK(clvi_wait_all(giver, requests));
    } else {
        expected e = {(_Atomic char *)message + BYTES - 1, MPI_Wtime()};
        MPI_Irecv(message, BYTES, MPI_BYTE, giver, 0, MPI_COMM_WORLD, requests);
        wait(&e);
        CHECK(came(&e));
        CHECK_OK(clvi_wait(requests));
    }
    CHECK_OK(clv_grid_barrier(grid));
    clv_grid_destroy(&grid);
    free(message);
}

static void waiting_for_memory(void)
{
    check_arrival(wait_until);
}

static void working(void)
{
    check_arrival(poke);
}

/* Grids come and go, and the last one that is left still waits so. */
static void several_grids(void)
{
    clv_grid *first = NULL, *second = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &first));
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &second));
    clv_grid_destroy(&first);
    check_arrival(wait_until);
    clv_grid_destroy(&second);
    check_arrival(wait_until);
}

const check_case check_cases[] = {
    {"waiting for memory", waiting_for_memory},
    {"working", working},
    {"several grids", several_grids},
    {0},
};
