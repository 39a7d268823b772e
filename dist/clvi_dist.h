/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_dist.h: what dist offers inside the library, to its own files and to the floors
 * above.
 */
#ifndef CLVI_DIST_H
#define CLVI_DIST_H

#include <cleave_dist.h>
#include <clvi_lib.h>

/* ---- wait.c: the one place that waits ------------------------------------ */

/* Polls all requests and yields the processor until they are done; MPI's blocking
 * calls spin, which with more ranks than cores is a thousand times slower. */
clv_status clvi_wait_all(int count, MPI_Request requests[]);
clv_status clvi_wait(MPI_Request *request);

/* CLV_EMPI with MPI's own words unless code is MPI_SUCCESS. */
clv_status clvi_mpi(int code, const char *call);

/* ---- grid.c --------------------------------------------------------------- */

MPI_Comm clvi_grid_comm(const clv_grid *grid); /* the grid's own; never stored elsewhere */
void clvi_grid_count(clv_grid *grid, uint64_t sent, uint64_t received); /* one message each */

/* Objects that live as long as the grid and whose end is Collective: destroyed with it, the last
 * first. keep is false when there is no room; kept finds one by its destructor. */
bool clvi_grid_keep(clv_grid *grid, void *object, void (*destroy)(void *));
void *clvi_grid_kept(const clv_grid *grid, void (*destroy)(void *));

/* Collective: CLV_EMISMATCH on every process unless values[count] are the same everywhere, naming
 * the first that differs by the names in `what` ("m,n,dtype"), with two ranks and values. Brings
 * `mine` along: a process whose own arguments failed passes its status, and every process returns
 * it. */
clv_status clvi_grid_same(clv_grid *grid, clv_status mine, const char *what, int count,
                          const int64_t values[]);

/* ---- split.c: all block arithmetic ------------------------------------------ */

typedef struct {
    int64_t begin, end; /* half open */
} clvi_range;

int clvi_smallest_factor(int n); /* smallest prime factor; n itself below 2 */

/* Part `index` of `parts` of the units [0, units): cut by parts' prime factors, smallest first. */
clvi_range clvi_split(int64_t units, int parts, int index);

/* The range of an extent in units of `unit` that the process with these coordinates holds
 * along the axes of `list`. coords[axis] for every axis of the grid. */
clvi_range clvi_split_axes(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                           const int coords[]);

/* Axis i of the grid has coordinate coords[i] on rank. */
void clvi_grid_coords(const clv_grid *grid, int rank, int coords[]);

/* ---- layout.c ----------------------------------------------------------------- */

clv_axes clvi_grid_axes(const clv_grid *grid);                        /* all of them        */
clv_axes clvi_layout_copies(const clv_grid *grid, clv_layout layout); /* with the job copy  */
clv_order clvi_order_keep(clv_order list, clv_axes set); /* those of list in set, in their order */

/* ---- matrix.c ------------------------------------------------------------------ */

/* Element (i, j) of a block. */
static inline void *clvi_at(clv_block block, clv_dtype dtype, int64_t i, int64_t j)
{
    return (char *)block.data + (size_t)(i * block.ld + j) * clv_dtype_size(dtype);
}

bool clvi_spec_equal(clv_spec a, clv_spec b);
/* Whether this process holds the values where others along the copy axes hold copies:
 * coordinate 0 of every axis that the layout leaves to copies. */
bool clvi_matrix_is_first_copy(const clv_matrix *matrix);
/* CLV_ESHAPE, CLV_EDTYPE or CLV_ELAYOUT naming `what` unless matrix has this spec. Local. */
clv_status clvi_matrix_expect(const clv_matrix *matrix, const char *what, clv_spec spec);
/* A spec as text for messages, in buffer: "256 x 128 f32 data|row". */
const char *clvi_spec_format(const clv_grid *grid, clv_spec spec, char *buffer, size_t size);

#endif
