/* SPDX-License-Identifier: BSD-3-Clause
 *
 * polite.h: for test programs that enter ScaLAPACK with more ranks than cores.
 *
 * BLACS waits inside MPI's blocking calls, which spin and never yield: a factorisation of 60 x 60
 * takes seconds. The functions below stand before MPI's in the order of loading, so that they are
 * the ones BLACS calls: each starts the operation and polls it, yielding the processor. All that is
 * computed, sent and received stays ScaLAPACK's own. Include it in one file of a program.
 */
#ifndef CLEAVE_POLITE_H
#define CLEAVE_POLITE_H

#include <mpi.h>
#include <sched.h>
#include <time.h>

#pragma GCC visibility push(default) /* the dynamic linker has to see them */

/* Yields, and after 100 turns sleeps: a rank that only yields takes the turns of those it waits
 * for. */
static int polite_wait(int code, MPI_Request *request, MPI_Status *status)
{
    int done = 0;
    for (int polls = 0; code == MPI_SUCCESS && !done; polls++) {
        code = PMPI_Test(request, &done, status);
        if (done) break;
        if (polls < 100)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    return code;
}

int MPI_Recv(void *data, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm,
             MPI_Status *status)
{
    MPI_Request request;
    int code = PMPI_Irecv(data, count, type, from, tag, comm, &request);
    return polite_wait(code, &request, status);
}

int MPI_Send(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    MPI_Request request;
    int code = PMPI_Isend(data, count, type, to, tag, comm, &request);
    return polite_wait(code, &request, MPI_STATUS_IGNORE);
}

int MPI_Rsend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm)
{
    return MPI_Send(data, count, type, to, tag, comm);
}

int MPI_Sendrecv(const void *out, int nout, MPI_Datatype type_out, int to, int tag_out, void *in,
                 int nin, MPI_Datatype type_in, int from, int tag_in, MPI_Comm comm,
                 MPI_Status *status)
{
    MPI_Request requests[2];
    int code = PMPI_Irecv(in, nin, type_in, from, tag_in, comm, &requests[0]);
    if (code == MPI_SUCCESS)
        code = PMPI_Isend(out, nout, type_out, to, tag_out, comm, &requests[1]);
    code = polite_wait(code, &requests[1], MPI_STATUS_IGNORE);
    return polite_wait(code, &requests[0], status);
}

int MPI_Waitall(int count, MPI_Request requests[], MPI_Status statuses[])
{
    int code = MPI_SUCCESS;
    for (int i = 0; i < count && code == MPI_SUCCESS; i++)
        code = polite_wait(code, &requests[i],
                           statuses == MPI_STATUSES_IGNORE ? MPI_STATUS_IGNORE : &statuses[i]);
    return code;
}

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm)
{
    MPI_Request request;
    int code = PMPI_Ibcast(data, count, type, root, comm, &request);
    return polite_wait(code, &request, MPI_STATUS_IGNORE);
}

int MPI_Reduce(const void *in, void *out, int count, MPI_Datatype type, MPI_Op op, int root,
               MPI_Comm comm)
{
    MPI_Request request;
    int code = PMPI_Ireduce(in, out, count, type, op, root, comm, &request);
    return polite_wait(code, &request, MPI_STATUS_IGNORE);
}

int MPI_Allreduce(const void *in, void *out, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm)
{
    MPI_Request request;
    int code = PMPI_Iallreduce(in, out, count, type, op, comm, &request);
    return polite_wait(code, &request, MPI_STATUS_IGNORE);
}

int MPI_Barrier(MPI_Comm comm)
{
    MPI_Request request;
    int code = PMPI_Ibarrier(comm, &request);
    return polite_wait(code, &request, MPI_STATUS_IGNORE);
}

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm *made)
{
    MPI_Request request;
    int code = PMPI_Comm_idup(comm, made, &request);
    return polite_wait(code, &request, MPI_STATUS_IGNORE);
}

/* These two have no other form: at least all arrive before any of them spins. */
int MPI_Comm_create(MPI_Comm comm, MPI_Group group, MPI_Comm *made)
{
    MPI_Barrier(comm);
    return PMPI_Comm_create(comm, group, made);
}
int MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm *made)
{
    MPI_Barrier(comm);
    return PMPI_Comm_split(comm, color, key, made);
}

#pragma GCC visibility pop

#endif
