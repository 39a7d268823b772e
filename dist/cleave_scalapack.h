/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cleave_scalapack.h: matrices to and from ScaLAPACK, and what ScaLAPACK factorises.
 *
 * ScaLAPACK deals a matrix out in small blocks, like cards, over a p x q grid of processes, and
 * stores columns one after the other. A clv_cyclic is such a matrix: its descriptor and its local
 * array go into any ScaLAPACK routine. A plan carries the elements between it and a clv_matrix in
 * any layout, every element at most once, by messages of the library's own.
 *
 * Cholesky, QR, symmetric eigenvalues and singular values of a clv_matrix need none of that: they
 * convert, factorise and convert back. ScaLAPACK waits inside MPI's blocking calls: with more
 * processes than cores it is slow. Where it runs out of memory of its own it ends the program.
 * Its sums depend on the process grid: factorisations have other bits on another number of
 * processes, in reproducible mode (clv_grid_set_leaves) too.
 */
#ifndef CLEAVE_SCALAPACK_H
#define CLEAVE_SCALAPACK_H

#include <cleave_dist.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Block-cyclic matrices ------------------------------------------------ */

typedef struct clv_cyclic clv_cyclic;

/* How an m x n matrix is dealt, in the terms of its descriptor: block (I, J) of mb x nb elements
 * belongs to process ((row0 + I) mod p, (col0 + J) mod q), which is one rank of the Cleave grid.
 * All that the processes agree on; zero means the default.
 *
 * transposed says how it meets a clv_matrix. false: both are the same m x n matrix A, what a
 * ScaLAPACK user expects; as one is column-major and the other row-major, elements are transposed
 * as they are copied. true: this is A^T of the n x m matrix A, and since A^T by columns is A by
 * rows the bytes keep their order, and need not be copied where they already lie right
 * (clv_cyclic_view). A routine then computes with A^T: lower is upper, QR is LQ, the product A B is
 * B^T A^T. */
typedef struct {
    int64_t m, n;       /* global extents, 0 <= m, n < 2^31                                   */
    int64_t mb, nb;     /* extents of a block; both 0: square ones of a size that suits m x n */
    int p, q;           /* process grid, p q <= processes; both 0: as square as suits m x n   */
    int row0, col0;     /* place of the first block (RSRC and CSRC)                           */
    const int *ranks;   /* process (i, j) is rank ranks[i + j * p], all different; read only
                         * while creating. NULL: rank i * q + j                               */
    clv_order row_axes; /* instead of p, q and ranks: axes of the grid that count the rows and */
    clv_order col_axes; /* the columns of the process grid; of other axes, coordinate 0        */
    clv_dtype dtype;    /* f32 or f64 */
    bool transposed;
} clv_cyclic_config;

/* This process's part: element (i, j) of it is data[i + j * ld]. Processes outside of the process
 * grid have row and col -1 and an empty part. */
typedef struct {
    void *data;
    int64_t m, n, ld;
    int row, col;
} clv_cyclic_part;

/* A matrix of zeros, its memory its own. The BLACS context is the Cleave grid's and lives as long
 * as that. Collective.
 * Errors: CLV_ELIMIT for more than 2^31 - 1 rows, columns or elements of one process. */
CLV_API clv_status clv_cyclic_create(clv_grid *grid, const clv_cyclic_config *config,
                                     clv_cyclic **cyclic);

/* Over the caller's local array, borrowed until destroyed: part.n columns of part.m elements, ld
 * apart, ld >= part.m. Collective. */
CLV_API clv_status clv_cyclic_wrap(clv_grid *grid, const clv_cyclic_config *config, void *data,
                                   int64_t ld, clv_cyclic **cyclic);

/* The same from the descriptor that a program already has, in its own BLACS context, all of whose
 * processes belong to grid; those of grid outside of the context pass a descriptor with a context
 * of -1, whose other entries are not read. The context must outlive *cyclic. Collective. */
CLV_API clv_status clv_cyclic_wrap_desc(clv_grid *grid, const int desc[9], clv_dtype dtype,
                                        bool transposed, void *data, clv_cyclic **cyclic);

/* matrix itself, without a copy: a transposed one over its memory, one block a process. What
 * ScaLAPACK writes is matrix's; matrix must outlive *cyclic. Collective.
 * Errors: CLV_EUNSUPPORTED unless every axis shards the rows or the columns, into parts of one
 * length of which only the last non-empty one is shorter. */
CLV_API clv_status clv_cyclic_view(clv_matrix *matrix, clv_cyclic **cyclic);

/* Frees it and sets *cyclic to NULL; NULL is fine. Local. */
CLV_API void clv_cyclic_destroy(clv_cyclic **cyclic);

/* The descriptor, which belongs to cyclic: type 1, context (-1 outside of the process grid), m, n,
 * mb, nb, row0, col0, ld. Local. */
CLV_API const int *clv_cyclic_desc(const clv_cyclic *cyclic);
CLV_API clv_cyclic_part clv_cyclic_mine(const clv_cyclic *cyclic); /* Local */

/* The global row of row i of this process's part, and the global column of its column j. Local. */
CLV_API int64_t clv_cyclic_row(const clv_cyclic *cyclic, int64_t i);
CLV_API int64_t clv_cyclic_col(const clv_cyclic *cyclic, int64_t j);

/* ---- Conversion -------------------------------------------------------------- */

typedef struct clv_cyclic_plan clv_cyclic_plan;

/* Both ways between matrices of matrix's spec and those dealt like cyclic; same dtype, extents
 * equal (exchanged where transposed). Each process receives what it lacks, once: of copies it takes
 * its own. A pending sum is added up on the way to cyclic, in the order of clv_move, and lies on
 * coordinate 0 of its axes, zero elsewhere, on the way back. Collective; allocates all workspace.
 */
CLV_API clv_status clv_plan_cyclic(const clv_matrix *matrix, const clv_cyclic *cyclic,
                                   clv_cyclic_plan **plan);

/* cyclic := matrix, and matrix := cyclic. Bits are kept. Where one is a view of the other nothing
 * is copied. Collective. */
CLV_API clv_status clv_cyclic_from(clv_cyclic_plan *plan, const clv_matrix *matrix,
                                   clv_cyclic *cyclic);
CLV_API clv_status clv_cyclic_to(clv_cyclic_plan *plan, const clv_cyclic *cyclic,
                                 clv_matrix *matrix);

/* Frees it and sets *plan to NULL; NULL is fine. Local. */
CLV_API void clv_cyclic_plan_destroy(clv_cyclic_plan **plan);

/* Bytes this process receives in clv_cyclic_from and in clv_cyclic_to, and bytes of workspace.
 * Local. */
CLV_API uint64_t clv_cyclic_from_bytes(const clv_cyclic_plan *plan);
CLV_API uint64_t clv_cyclic_to_bytes(const clv_cyclic_plan *plan);
CLV_API uint64_t clv_cyclic_plan_memory(const clv_cyclic_plan *plan);

/* ---- Factorisations ------------------------------------------------------------ */

/* Of matrices in any layouts on one grid, f32 or f64, results of A's dtype; A is only read, and a
 * result may be A itself. Results are written only where CLV_OK is returned. Each takes memory for
 * the time of the call. Collective.
 * Errors: CLV_ESHAPE; CLV_EDTYPE; CLV_ENUMERIC if A has an infinite element or a NaN, and as said
 * below; CLV_ELIMIT, before anything is allocated, where ScaLAPACK would count beyond 32 bits. */

/* A[n,n] = L[n,n] L^T, L lower triangular, zero above its diagonal. Only the lower triangle of A is
 * used. CLV_ENUMERIC, naming the order of the first leading minor that is not positive, if A is not
 * positive definite. By p?potrf. */
CLV_API clv_status clv_cholesky(const clv_matrix *A, clv_matrix *L);

/* A[m,n] = Q[m,k] R[k,n], k = min(m, n): Q^T Q = 1, R upper triangular (trapezoidal where m < n),
 * zero below its diagonal, whose signs are as they come. By p?geqrf and p?orgqr. */
CLV_API clv_status clv_qr(const clv_matrix *A, clv_matrix *Q, clv_matrix *R);

/* A[n,n] V[n,n] = V diag(w), V^T V = 1, A symmetric, of which only the lower triangle is used;
 * w[0] <= ... <= w[n-1], the same on every process. By p?syevd (divide and conquer: Tisseur and
 * Dongarra 1999). */
CLV_API clv_status clv_eigh(const clv_matrix *A, double w[], clv_matrix *V);

/* A[m,n] = U[m,k] diag(s) Vt[k,n], k = min(m, n): U^T U = Vt Vt^T = 1, s[0] >= ... >= s[k-1] >= 0,
 * the same on every process. The first r columns of U and rows of Vt are the best approximation of
 * rank r, off by sqrt(sum_{i >= r} s[i]^2) in the Frobenius norm (Eckart and Young 1936). By
 * p?gesvd. */
CLV_API clv_status clv_svd(const clv_matrix *A, clv_matrix *U, double s[], clv_matrix *Vt);

#ifdef __cplusplus
}
#endif
#endif
