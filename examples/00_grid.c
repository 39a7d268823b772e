/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 00_grid.c: processes, arranged along named axes.
 *
 * RANKS: 1 2 6
 *
 *     mpiexec.mpich -n 6 ./00_grid                 one axis, "col", of all processes
 *     mpiexec.mpich -n 6 ./00_grid row=2,col=3
 *
 * Every Cleave program begins with a grid. It gives each process a coordinate along each axis, and
 * everything later (which part of a matrix lies where, who sends to whom) is said in terms of
 * axes: a program that runs on "col=4" runs on "row=2,col=2" as well.
 */
#include <cleave.h>
#include <stdio.h>

/* The idiom of all these examples. The library never prints and never exits: it returns a status.
 * TRY leaves for `done` at the first that is not CLV_OK; CHECK reports a result of ours that is
 * not what it should be. */
#define TRY(call)                                   \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)
#define CHECK(condition) \
    if (!(condition)) wrong += printf("line %d is wrong: %s\n", __LINE__, #condition)
static int wrong;

static clv_status lesson(clv_grid *grid)
{
    clv_status status = CLV_OK;

    /* These are "Local": any process may ask alone. Ranks are in row-major order of coordinates:
     * the last axis varies fastest. */
    int rank = clv_grid_rank(grid), size = clv_grid_size(grid), again = 0;
    char line[256];
    int length = snprintf(line, sizeof line, "rank %d of %d:", rank, size);
    for (int i = 0; i < clv_grid_naxes(grid); i++) {
        clv_axis axis = clv_grid_axis(grid, i);
        int coordinate = clv_grid_coord(grid, rank, i);
        length += snprintf(line + length, sizeof line - (size_t)length, "  %s %d of %d", axis.name,
                           coordinate, axis.size);
        again = again * axis.size + coordinate;
    }
    CHECK(again == rank);

    /* These are "Collective": all processes call them together, in the same order. Here they take
     * turns to print; barrier, agree, broadcast and reduce are the small agreements that a
     * program needs beside its matrices. */
    for (int turn = 0; turn < size; turn++) {
        if (turn == rank) printf("%s\n", line);
        fflush(stdout);
        TRY(clv_grid_barrier(grid));
    }

    /* 0 + 1 + ... + (size - 1), the same bits on every process. */
    double sum = rank;
    TRY(clv_grid_reduce(grid, CLV_SUM, 1, &sum));
    CHECK(sum == size * (size - 1) / 2.0);
done:
    return status;
}

int main(int argc, char **argv)
{
    clv_status status;
    clv_grid *grid = NULL;
    MPI_Init(&argc, &argv);

    /* If one process has a reason to fail (say, 2 x 3 on 4 processes), all get the same status, and
     * clv_last_error says what was expected and what was found. */
    TRY(clv_grid_create_text(MPI_COMM_WORLD, argc > 1 ? argv[1] : NULL, &grid));
    TRY(lesson(grid));
    if (clv_grid_rank(grid) == 0 && !wrong) printf("DONE\n");
done:
    if (status != CLV_OK) fprintf(stderr, "%s: %s\n", argv[0], clv_last_error());
    clv_grid_destroy(&grid); /* destroying NULL is fine: one way out, in success and failure */
    MPI_Finalize();
    return status != CLV_OK || wrong;
}
