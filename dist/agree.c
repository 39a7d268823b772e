/* SPDX-License-Identifier: BSD-3-Clause
 *
 * agree.c: small agreements among all processes of a grid. They carry a few words, not matrices,
 * and stay out of the traffic counted.
 */
#include <clvi_dist.h>
#include <stdlib.h>
#include <string.h>

enum { SAME_MAX = 32, DETAIL_SIZE = 1024 };

/* The status and detail of one process on all. */
static clv_status adopt(clv_grid *grid, int root, clv_status mine)
{
    struct {
        int32_t code;
        char detail[DETAIL_SIZE];
    } failure = {.code = (int32_t)mine};
    if (clv_grid_rank(grid) == root)
        strncpy(failure.detail, clv_last_error(), sizeof failure.detail - 1);
    clv_status status = clv_grid_broadcast(grid, root, &failure, sizeof failure);
    if (status != CLV_OK) return status;
    return clvi_fail((clv_status)failure.code, "%s", failure.detail);
}

clv_status clv_grid_agree(clv_grid *grid, clv_status mine)
{
    return clvi_grid_same(grid, mine, "", 0, NULL);
}

clv_status clv_grid_barrier(clv_grid *grid)
{
    return clv_grid_agree(grid, CLV_OK);
}

/* The ith of the names that commas separate. */
static void nth_name(const char *names, int i, char *out, size_t size)
{
    while (i-- > 0 && names) names = strchr(names, ',') ? strchr(names, ',') + 1 : NULL;
    snprintf(out, size, "%.*s", names ? (int)strcspn(names, ",") : 9, names ? names : "arguments");
}

/* An operation just started, with what its start returned: waits until it is done. */
static clv_status finish(int code, const char *call, MPI_Request *request)
{
    clv_status status = clvi_mpi(code, call);
    return status == CLV_OK ? clvi_wait(request) : status;
}

clv_status clvi_grid_gather(clv_grid *grid, const void *mine, int count, MPI_Datatype type,
                            void *all)
{
    MPI_Request request;
    int code = MPI_Iallgather(mine, count, type, all, count, type, clvi_grid_comm(grid), &request);
    return finish(code, "MPI_Iallgather", &request);
}

/* Names the first rank whose value differs from rank 0's. */
static clv_status report_difference(clv_grid *grid, const char *name, int64_t value)
{
    int size = clv_grid_size(grid), other = 0;
    int64_t *all = calloc((size_t)size, sizeof *all);
    clv_status status = all ? CLV_OK : clvi_fail(CLV_ENOMEM, "%d values", size);
    CLVI_TRY(clv_grid_agree(grid, status));
    CLVI_TRY(clvi_grid_gather(grid, &value, 1, MPI_INT64_T, all));
    while (other < size - 1 && all[other] == all[0]) other++;
    status = clvi_fail(CLV_EMISMATCH, "processes disagree on %s: rank 0 has %lld, rank %d %lld",
                       name, (long long)all[0], other, (long long)all[other]);
done:
    free(all);
    return status;
}

/* One maximum over [-(lowest failing rank), v, -v, ...] answers everything: whether any process
 * failed, and whether max(v) == -max(-v) for every value. */
clv_status clvi_grid_same(clv_grid *grid, clv_status mine, const char *what, int count,
                          const int64_t values[])
{
    int64_t send[1 + 2 * SAME_MAX] = {0}, top[1 + 2 * SAME_MAX] = {0};
    int size = clv_grid_size(grid), length = count == 0 ? 1 : 1 + 2 * SAME_MAX;
    assert(count <= SAME_MAX);
    send[0] = -(mine == CLV_OK ? size : clv_grid_rank(grid));
    for (int i = 0; i < count; i++) {
        send[1 + 2 * i] = values[i];
        send[2 + 2 * i] = ~values[i]; /* -v - 1: no overflow */
    }
    MPI_Request request;
    int code =
        MPI_Iallreduce(send, top, length, MPI_INT64_T, MPI_MAX, clvi_grid_comm(grid), &request);
    clv_status status = finish(code, "MPI_Iallreduce", &request);
    if (status != CLV_OK) return status;
    if (-top[0] < size) return adopt(grid, (int)-top[0], mine);
    for (int i = 0; i < count; i++)
        if (top[1 + 2 * i] != ~top[2 + 2 * i]) {
            char name[64];
            nth_name(what, i, name, sizeof name);
            return report_difference(grid, name, values[i]);
        }
    return CLV_OK;
}

clv_status clv_grid_broadcast(clv_grid *grid, int root, void *data, size_t bytes)
{
    enum { PIECE = 1 << 30 }; /* MPI counts are ints */
    for (size_t at = 0; at < bytes; at += PIECE) {
        MPI_Request request;
        int count = (int)(bytes - at < PIECE ? bytes - at : PIECE);
        int code =
            MPI_Ibcast((char *)data + at, count, MPI_BYTE, root, clvi_grid_comm(grid), &request);
        clv_status status = finish(code, "MPI_Ibcast", &request);
        if (status != CLV_OK) return status;
    }
    return CLV_OK;
}

/* All values everywhere, then the same additions in rank order everywhere: MPI's own sums
 * leave the order to the algorithm of the day. */
static clv_status sum_in_order(clv_grid *grid, int count, double values[])
{
    int size = clv_grid_size(grid);
    double *all = clvi_alloc((size_t)size * (size_t)count * sizeof *all);
    clv_status status = all ? CLV_OK : clvi_fail(CLV_ENOMEM, "%d x %d values", size, count);
    CLVI_TRY(clv_grid_agree(grid, status));
    CLVI_TRY(clvi_grid_gather(grid, values, count, MPI_DOUBLE, all));
    for (int i = 0; i < count; i++) {
        values[i] = 0;
        for (int r = 0; r < size; r++) values[i] += all[(int64_t)r * count + i];
    }
done:
    clvi_free(all);
    return status;
}

clv_status clv_grid_reduce(clv_grid *grid, clv_reduction op, int count, double values[])
{
    if (op == CLV_SUM) return sum_in_order(grid, count, values);
    MPI_Request request;
    int code = MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE,
                              op == CLV_MIN ? MPI_MIN : MPI_MAX, clvi_grid_comm(grid), &request);
    return finish(code, "MPI_Iallreduce", &request);
}
