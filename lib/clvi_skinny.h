/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_skinny.h: the loops of skinny_kernel.c, for skinny.c.
 */
#ifndef CLVI_SKINNY_H
#define CLVI_SKINNY_H

#include <clvi_lib.h>

/* ---- skinny_tile.c: products in the first cache ------------------------- */

enum { CLVI_SKINNY_PANEL = 16 }; /* columns of a panel */

/* c[m,PANEL] += a[m,k] b[k,PANEL], b contiguous, in ascending k, every step one fused multiply-add
 * for each element. */
typedef void clvi_skinny_panel(int64_t m, int64_t k, const void *a, int64_t lda, const void *b,
                               void *c, int64_t ldc);
/* That of a dtype for this processor. */
clvi_skinny_panel *clvi_skinny_panel_kernel(clv_dtype dtype);

/* ---- skinny_stream.c: B while it arrives from memory ---------------------- */

/* Rows of B at a time: all that registers hold, or fewer; or one. */
enum { CLVI_SKINNY_DEPTH = 6, CLVI_SKINNY_SHALLOW = 4 };

typedef struct {
    /* c[m,n] += a[m,depth] b[depth,n] in ascending order, every step one fused multiply-add; depth
     * is CLVI_SKINNY_DEPTH, CLVI_SKINNY_SHALLOW or 1, rows of a are CLVI_SKINNY_DEPTH apart. What
     * lies `next` elements behind b is fetched on the way. */
    void (*rows)(int depth, int64_t m, int64_t n, const void *a, const void *b, int64_t ldb,
                 int64_t next, void *c, int64_t ldc);
    /* c[m,n] += a[m,k] B[n,k]^T, in an order that depends on the processor. */
    void (*dots)(int64_t m, int64_t k, int64_t n, const void *a, int64_t lda, const void *B,
                 int64_t ldb, void *c, int64_t ldc);
} clvi_skinny_streams;
/* Those of a stored type for this processor; a and c are f32 for bf16. */
const clvi_skinny_streams *clvi_skinny_streams_for(clv_dtype stored);

/* ---- skinny_kernel.c: B as it comes from memory --------------------------- */

/* c[i*ldc + j] += a[i*lda + l] op(B)[l, j] for i < m, j < n, l < k, every step one fused
 * multiply-add; in ascending l where `ordered` or trans. op(B)[l, j] is B[l*ldb + j], or B[j*ldb +
 * l] where trans is true. a and c are of dtype; stored is that of B. */
void clvi_skinny_update(clv_dtype dtype, clv_dtype stored, bool trans, bool ordered, int64_t m,
                        int64_t k, int64_t n, const void *a, int64_t lda, const void *B,
                        int64_t ldb, void *c, int64_t ldc);

#endif
