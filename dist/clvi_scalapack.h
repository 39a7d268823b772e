/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_scalapack.h: ScaLAPACK's p?gemm as a second backend for products.
 */
#ifndef CLVI_SCALAPACK_H
#define CLVI_SCALAPACK_H

#include <clvi_dist.h>

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
