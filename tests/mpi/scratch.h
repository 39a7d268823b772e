/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scratch.h: a folder for one test program, the same on every rank, and grids over some of the
 * ranks. For MPI test programs.
 */
#ifndef CLEAVE_SCRATCH_H
#define CLEAVE_SCRATCH_H

#include "check.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static clv_grid *world; /* every rank, one axis; from scratch_begin to scratch_end */
static char scratch[256];

static inline void scratch_begin(void)
{
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &world));
    const char *base = getenv("TMPDIR"); /* syncing memory takes no time */
    if (!base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(scratch, sizeof scratch, "%s/cleave-test-XXXXXX", base);
    if (check_rank() == 0) CHECK(mkdtemp(scratch));
    CHECK_OK(clv_grid_broadcast(world, 0, scratch, sizeof scratch));
}

static inline int scratch_drop(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

static inline void scratch_end(void)
{
    CHECK_OK(clv_grid_barrier(world));
    if (check_rank() == 0) nftw(scratch, scratch_drop, 16, FTW_DEPTH | FTW_PHYS);
    clv_grid_destroy(&world);
}

/* A path in the folder; the last four stay valid. */
__attribute__((format(printf, 1, 2))) static inline const char *in_scratch(const char *format, ...)
{
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ % 4];
    int length = snprintf(path, sizeof paths[0], "%s/", scratch);
    va_list args;
    va_start(args, format);
    vsnprintf(path + length, sizeof paths[0] - (size_t)length, format, args);
    va_end(args);
    return path;
}

/* A grid over the first p ranks, the axes of random sizes; NULL on the other ranks. */
static inline clv_grid *random_grid(int p, uint64_t *state)
{
    static const char *const names[] = {"data", "row", "col"};
    clv_axis axes[3];
    int naxes = 1 + (int)check_random_below(state, 3), rest = p;
    for (int i = 0; i < naxes; i++) {
        int size = i == naxes - 1 ? rest : 1 + (int)check_random_below(state, rest);
        while (rest % size) size--;
        axes[i] = (clv_axis){names[i], size};
        rest /= size;
    }
    MPI_Comm comm;
    clv_grid *grid = NULL;
    MPI_Comm_split(MPI_COMM_WORLD, check_rank() < p ? 0 : MPI_UNDEFINED, check_rank(), &comm);
    if (comm == MPI_COMM_NULL) return NULL;
    CHECK_OK(clv_grid_create(comm, naxes, axes, &grid));
    MPI_Comm_free(&comm);
    return grid;
}

/* Every axis shards rows, shards columns or holds copies, in random order. */
static inline clv_layout random_layout(const clv_grid *grid, uint64_t *state)
{
    clv_layout layout = {0};
    int naxes = clv_grid_naxes(grid), first = (int)check_random_below(state, naxes);
    for (int i = 0; i < naxes; i++) {
        int axis = (first + i) % naxes, job = (int)check_random_below(state, 3);
        if (job == 0) layout.rows = clv_order_append(layout.rows, axis);
        if (job == 1) layout.cols = clv_order_append(layout.cols, axis);
    }
    return layout;
}

/* Element (i, j) of matrix `key`: any bits, known from the global index. */
static inline uint64_t element_bits(uint64_t key, clv_block block, int64_t n, int64_t i, int64_t j)
{
    uint64_t state = key * 0x100000001b3u + (uint64_t)((block.row0 + i) * n + block.col0 + j);
    return check_random(&state);
}

static inline char *element_at(const clv_matrix *matrix, int64_t i, int64_t j)
{
    clv_block block = clv_matrix_block(matrix);
    size_t size = clv_dtype_size(clv_matrix_spec(matrix).dtype);
    return (char *)block.data + (size_t)(i * block.ld + j) * size;
}

static inline void fill_bits(clv_matrix *matrix, uint64_t key)
{
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block block = clv_matrix_block(matrix);
    for (int64_t i = 0; i < block.m; i++)
        for (int64_t j = 0; j < block.n; j++) {
            uint64_t bits = element_bits(key, block, spec.n, i, j);
            memcpy(element_at(matrix, i, j), &bits, clv_dtype_size(spec.dtype));
        }
}

/* Elements of this process's block that differ from fill_bits. */
static inline int64_t wrong_bits(const clv_matrix *matrix, uint64_t key)
{
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block block = clv_matrix_block(matrix);
    int64_t wrong = 0;
    for (int64_t i = 0; i < block.m; i++)
        for (int64_t j = 0; j < block.n; j++) {
            uint64_t bits = element_bits(key, block, spec.n, i, j);
            wrong += memcmp(element_at(matrix, i, j), &bits, clv_dtype_size(spec.dtype)) != 0;
        }
    return wrong;
}

#endif
