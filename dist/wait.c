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
    int code = MPI_SUCCESS;
    for (int i = 0, polls = 0; i < count && code == MPI_SUCCESS; polls++) {
        int done = 0;
        code = MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
        i += done;
        if (!done && polls >= SPINS) sched_yield();
    }
    return clvi_mpi(code, "MPI_Test");
}

clv_status clvi_wait(MPI_Request *request)
{
    return clvi_wait_all(1, request);
}
