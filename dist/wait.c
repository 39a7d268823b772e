/* SPDX-License-Identifier: BSD-3-Clause
 *
 * wait.c: the one place that waits.
 *
 * Poll; then offer the processor to others between polls; and where ranks share cores and others
 * have them for long, stop asking. A process that only yields takes its turn of a crowded core
 * again and again to find nothing, and those it waits for get theirs later (three times later with
 * four processes a core). It sleeps a sixteenth of what it has waited, so that it is never late by
 * much more. Where every rank has a core it never sleeps: MPI moves long messages while it is
 * polled.
 *
 * Who waits for a neighbour's memory waits for no message, but messages of its own may be under way
 * that others cannot have before MPI is called. clvi_wait_pending counts them; while there are any,
 * every POLLS-th look at the memory calls MPI too.
 */
#include <clvi_dist.h>
#include <sched.h>
#include <time.h>

enum {
    SPINS = 64,          /* calls of MPI before the processor is offered to others  */
    LOOKS = 2000,        /* looks at memory before that: some 20 microseconds       */
    CROWDED_LOOKS = 100, /* where the other waits for this processor, more likely    */
    POLLS = 16
};
static const double patience = 200e-6;    /* seconds of yielding before sleeping             */
static const double longest_sleep = 1e-3; /* seconds                                        */

clv_status clvi_mpi(int code, const char *call)
{
    if (code == MPI_SUCCESS) return CLV_OK;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return clvi_fail(CLV_EMPI, "%s: %.*s", call, length, text);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool crowded;

void clvi_wait_crowded(bool more_ranks_than_cores)
{
    crowded = more_ranks_than_cores;
}

static int pending;

void clvi_wait_pending(int change)
{
    pending += change;
}

int clvi_wait_spins(void)
{
    if (pending > 0) return 0;
    return crowded ? CROWDED_LOOKS : LOOKS;
}

/* Leaves the processor to others for a while. *since: when it was first left; 0 before. */
static void give_way(double *since)
{
    if (!crowded) {
        sched_yield();
        return;
    }
    double now = seconds();
    if (*since == 0) *since = now;
    double sleep = (now - *since) / 16;
    if (now - *since < patience) {
        sched_yield();
    } else {
        if (sleep > longest_sleep) sleep = longest_sleep;
        nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * sleep)}, NULL);
    }
}

clv_status clvi_wait_all(int count, MPI_Request requests[])
{
    int code = MPI_SUCCESS;
    double since = 0;
    for (int i = 0, polls = 0; i < count && code == MPI_SUCCESS; polls++) {
        int done = 0;
        code = MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
        i += done;
        if (!done && polls >= SPINS) give_way(&since);
    }
    return clvi_mpi(code, "MPI_Test");
}

clv_status clvi_wait(MPI_Request *request)
{
    return clvi_wait_all(1, request);
}

/* Any call will do: MPI moves whatever can be moved. */
static clv_status progress(void)
{
    int found = 0;
    return clvi_mpi(
        MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_SELF, &found, MPI_STATUS_IGNORE),
        "MPI_Iprobe");
}

clv_status clvi_wait_until(bool (*ready)(void *context), void *context)
{
    clv_status status = CLV_OK;
    double since = 0;
    for (int looks = 0; status == CLV_OK && !ready(context); looks++) {
        if (pending > 0 && looks % POLLS == POLLS - 1) status = progress();
        if (pending == 0 || looks >= SPINS) give_way(&since);
    }
    return status;
}

void clvi_wait_poke(void)
{
    if (pending > 0) progress();
}
