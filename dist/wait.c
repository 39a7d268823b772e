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
 */
#include <clvi_dist.h>
#include <sched.h>
#include <time.h>

enum { SPINS = 64 };                      /* polls before the processor is offered to others */
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
