/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_scalapack.h: ScaLAPACK inside the library: its calls, block-cyclic matrices, and p?gemm as a
 * second backend for products.
 */
#ifndef CLVI_SCALAPACK_H
#define CLVI_SCALAPACK_H

#include <cleave_scalapack.h>
#include <clvi_dist.h>

/* ---- scalapack.c: every BLACS and ScaLAPACK call ---------------------------------- */

/* The BLACS context whose process (i, j) is ranks[i + j * p]; -1 on other processes. It belongs to
 * the grid: four communicators are too many to make for each plan. Collective. */
clv_status clvi_blacs_context(clv_grid *grid, int p, int q, const int ranks[], int *context);

/* The process grid of a context and this process's place in it; false if it has none. Local. */
bool clvi_blacs_place(int context, int *p, int *q, int *row, int *col);

/* A local array and its descriptor, column-major. */
typedef struct {
    void *data;
    int desc[9];
} clvi_local;
clvi_local clvi_describe(int context, const int64_t extents[2], const int64_t blocks[2],
                         const int first[2], void *data, int64_t ld);

/* C := alpha op(A) op(B) + beta C. */
void clvi_pgemm(clv_dtype dtype, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                double alpha, clvi_local A, clvi_local B, double beta, clvi_local C);

/* The others: to be called by the processes of A's context alone; each returns INFO. Workspaces are
 * counted in elements. */
int clvi_ppotrf(clv_dtype dtype, int64_t n, clvi_local A);
int clvi_pgeqrf(clv_dtype dtype, int64_t m, int64_t n, clvi_local A, void *tau, void *work,
                int64_t lwork);
int clvi_porgqr(clv_dtype dtype, int64_t m, int64_t n, int64_t k, clvi_local A, const void *tau,
                void *work, int64_t lwork);
int clvi_psyevd(clv_dtype dtype, int64_t n, clvi_local A, void *w, clvi_local Z, void *work,
                int64_t lwork, int *iwork, int64_t liwork);
int clvi_pgesvd(clv_dtype dtype, int64_t m, int64_t n, clvi_local A, void *s, clvi_local U,
                clvi_local Vt, void *work, int64_t lwork);

/* ---- scalapack_deal.c: an extent dealt in blocks --------------------------------------- */

/* Block b of an extent belongs to process (first + b) mod parts. */
typedef struct {
    int64_t extent, block;
    int parts, first;
} clvi_dealt;

/* How many of the indices below `end` process `place` has. */
int64_t clvi_dealt_count(clvi_dealt d, int place, int64_t end);
/* The global index of its index i. */
int64_t clvi_dealt_global(clvi_dealt d, int place, int64_t i);

/* Indices [begin, begin + length) that follow one another for its process too, from index `local`.
 * first finds those of [begin, end) that `place` has, next the ones after; false when none are
 * left. */
typedef struct {
    int64_t begin, length, local;
} clvi_run;
bool clvi_run_first(clvi_dealt d, int place, clvi_range range, clvi_run *run);
bool clvi_run_next(clvi_dealt d, int place, clvi_range range, clvi_run *run);

/* The axes along which there is more than one process: only these have a say. */
clv_axes clvi_wide_axes(const clv_grid *grid);
/* Processes that a list of axes counts, and the place of one among them, outermost first. */
int clvi_order_parts(const clv_grid *grid, clv_order list);
int clvi_order_place(const clv_grid *grid, clv_order list, int rank);
/* ranks[i + j * p] for the process grid that two lists count; of other axes, coordinate 0. */
void clvi_order_ranks(const clv_grid *grid, clv_order rows, clv_order cols, int ranks[]);
/* Whether every process's range is the one that dealing one block each gives it; fills *d. */
bool clvi_deal_layout(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                      clvi_dealt *d);

/* ---- scalapack_cyclic.c ------------------------------------------------------------------- */

struct clv_cyclic {
    clv_grid *grid;
    clv_dtype dtype;
    bool transposed;
    clvi_dealt rows, cols; /* as the descriptor counts                                 */
    int *ranks;            /* process (i, j) is ranks[i + j * rows.parts]              */
    clv_cyclic_part mine;
    clvi_local operand;
    void *owned; /* NULL where the memory is borrowed */
};

/* All that processes agree on, as numbers for clvi_grid_same, and their names. */
enum { CLVI_CYCLIC_VALUES = 11 };
void clvi_cyclic_values(const clv_cyclic *cyclic, int64_t values[]);
#define CLVI_CYCLIC_NAMES "m,n,mb,nb,p,q,row0,col0,dtype,transposed,ranks (checksum)"

/* Fills p, q, mb and nb for an m x n matrix where they are 0. Local. */
void clvi_cyclic_choose(int processes, clv_cyclic_config *config);

/* ---- scalapack_gemm.c: p?gemm as a backend for products ---------------------------------------
 */

typedef struct clvi_scalapack clvi_scalapack;

/* Errors: CLV_EUNSUPPORTED for a layout that is not block-cyclic over one process grid, CLV_ELIMIT
 * for sizes beyond 32 bits. Collective. */
clv_status clvi_scalapack_plan(clv_grid *grid, clv_op op_a, const clv_matrix *A, clv_op op_b,
                               const clv_matrix *B, const clv_matrix *C, clvi_scalapack **plan);

/* C := alpha op(A) op(B) + beta C. Bytes are ScaLAPACK's own and not counted. Collective. */
clv_status clvi_scalapack_execute(const clvi_scalapack *plan, double alpha, const clv_matrix *A,
                                  const clv_matrix *B, double beta, clv_matrix *C);

/* Local; NULL is fine. */
void clvi_scalapack_destroy(clvi_scalapack **plan);

/* PBLAS asks this function for its computational block; see pilaenv.c. */
CLV_API int pilaenv_(const int *context, const char *precision);

#endif
