/* SPDX-License-Identifier: BSD-3-Clause
 *
 * wait.c: the one place that waits.
 */
#include <clvi_dist.h>
#include <sched.h>

enum { SPINS = 64 }; /* polls before the processor is offered to others */

clv_status clvi_mpi(int code, const char *call)
{
    if (code == MPI_SUCCESS) return CLV_OK;
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    return clvi_fail(CLV_EMPI, "%s: %.*s", call, length, text);
}

clv_status clvi_wait_all(int count, MPI_Request requests[])
{
    int done = count == 0, code = MPI_SUCCESS;
    for (int polls = 0; !done && code == MPI_SUCCESS; polls++) {
        code = MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
        if (!done && polls >= SPINS) sched_yield();
    }
    return clvi_mpi(code, "MPI_Testall");
}

clv_status clvi_wait(MPI_Request *request)
{
    return clvi_wait_all(1, request);
}
