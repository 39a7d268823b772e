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
 * Who waits for a neighbour's memory waits for no message, but others may wait for one of its own
 * that can go on only while it calls MPI: even after all of its requests are done, as the word that
 * a message has arrived may have found the way full. So every wait calls MPI, whatever it waits
 * for. The call tests a request that is never done: MPI_Test moves all messages that can be moved,
 * where a probe need not look further than its communicator (MPICH's, of MPI_COMM_SELF, does not).
 */
#include <clvi_dist.h>
#include <sched.h>
#include <time.h>

enum {
    SPINS = 64,          /* calls of MPI before the processor is offered to others  */
    LOOKS = 2000,        /* looks at memory before that: some 20 microseconds       */
    CROWDED_LOOKS = 100, /* where the other waits for this processor, more likely   */
    POLLS = 16           /* looks for a call of MPI                                 */
};
static const double patience = 200e-6;    /* seconds of yielding before sleeping */
static const double longest_sleep = 1e-3; /* seconds                             */

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

/* ---- Moving messages ---- */

static MPI_Request never = MPI_REQUEST_NULL;
static int users;

static int query(void *state, MPI_Status *result)
{
    (void)state;
    MPI_Status_set_elements(result, MPI_BYTE, 0);
    MPI_Status_set_cancelled(result, 0);
    return MPI_SUCCESS;
}

static int nothing_to_free(void *state)
{
    (void)state;
    return MPI_SUCCESS;
}

static int nothing_to_cancel(void *state, int done)
{
    (void)state;
    (void)done;
    return MPI_SUCCESS;
}

clv_status clvi_wait_open(void)
{
    users++;
    if (never != MPI_REQUEST_NULL) return CLV_OK;
    int code = MPI_Grequest_start(query, nothing_to_free, nothing_to_cancel, NULL, &never);
    return clvi_mpi(code, "MPI_Grequest_start");
}

void clvi_wait_close(void)
{
    if (--users > 0 || never == MPI_REQUEST_NULL) return;
    MPI_Grequest_complete(never);
    clvi_wait(&never);
}

clv_status clvi_wait_poke(void)
{
    int done = 0;
    return clvi_mpi(MPI_Test(&never, &done, MPI_STATUS_IGNORE), "MPI_Test");
}

clv_status clvi_wait_until(bool (*ready)(const void *context), const void *context)
{
    clv_status status = CLV_OK;
    double since = 0;
    for (int64_t looks = 1, most = crowded ? CROWDED_LOOKS : LOOKS; !ready(context); looks++) {
        if (looks % POLLS == 0 || looks > most) status = clvi_wait_poke();
        if (status != CLV_OK) break;
        if (looks > most)
            give_way(&since);
        else
            clvi_pause();
    }
    return status;
}
