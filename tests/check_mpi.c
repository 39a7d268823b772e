/* SPDX-License-Identifier: BSD-3-Clause
 *
 * check_mpi.c: main of a test program under mpiexec.
 */
#include "check.h"

#include <execinfo.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static int rank, size;

int check_rank(void)
{
    return rank;
}
int check_size(void)
{
    return size;
}

/* The sum over all ranks; polls and yields like the library. */
static long long total(long long mine)
{
    long long sum = 0;
    MPI_Request request;
    int done = 0;
    MPI_Iallreduce(&mine, &sum, 1, MPI_LONG_LONG, MPI_SUM, MPI_COMM_WORLD, &request);
    while (MPI_Test(&request, &done, MPI_STATUS_IGNORE), !done) sched_yield();
    return sum;
}

/* Where a process is when the launcher is about to end all of them. */
static void tell_place(int number)
{
    void *frames[40];
    char line[200];
    (void)number;
    int length = snprintf(line, sizeof line, "rank %d of %d is still in \"%s\", at\n", rank, size,
                          check_entered());
    if (write(STDERR_FILENO, line, (size_t)length) != length) return;
    backtrace_symbols_fd(frames, backtrace(frames, 40), STDERR_FILENO);
}

static void tell_before_the_end(void)
{
    const char *limit = getenv("MPIEXEC_TIMEOUT");
    void *frame;
    unsigned seconds = limit ? (unsigned)atoi(limit) : 0;
    backtrace(&frame, 1); /* loads what it needs */
    signal(SIGALRM, tell_place);
    if (seconds > 5) alarm(seconds - 5);
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the launcher */
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    tell_before_the_end();
    long long failures = 0;
    for (const check_case *c = check_cases; c->name; c++) {
        long long before = check_failures();
        check_enter(c->name, rank);
        c->run();
        long long in_case = total(check_failures() - before);
        failures += in_case;
        if (rank == 0) printf("%s %s\n", in_case ? "FAIL" : "ok  ", c->name);
    }
    long long checks = total(check_count());
    if (rank == 0) printf("DONE %s: %lld checks on %d ranks\n", argv[0], checks, size);
    fflush(stdout);
    MPI_Finalize();
    return failures != 0;
}
