/* SPDX-License-Identifier: BSD-3-Clause
 *
 * skinny_kernel.c: the loops of skinny.c: a few rows times B as it comes from memory.
 *
 * B stored by rows is used where it lies, by columns it is transposed through a small buffer in the
 * first cache.
 */
#include "clvi_panel.h"
#include "clvi_skinny.h"
#include "clvi_vector.h"

enum {
    PANEL = CLVI_SKINNY_PANEL,
    DEPTH = CLVI_SKINNY_DEPTH,
    SHALLOW = CLVI_SKINNY_SHALLOW,
    DEEP = 32, /* rows of a panel */
    APART = 8, /* rows from one stream to the next, at most */
    /* Bytes of a stream of rows that are on their way; of bf16 those before them are used up in
     * half the time (measured: 512 bytes are too few on servers). */
    AHEAD_f32 = 512,
    AHEAD_f64 = 512,
    AHEAD_bf16 = 1536
};

/* ---- The loops for each type ----------------------------------------------- */

#define REAL_TYPE CLV_F32
#define STORED_TYPE CLV_F32
#define real float
#define stored float
#define NAME(f) f##_f32
#include "skinny.inc"
#undef REAL_TYPE
#undef STORED_TYPE
#undef real
#undef stored
#undef NAME

#define REAL_TYPE CLV_F64
#define STORED_TYPE CLV_F64
#define real double
#define stored double
#define NAME(f) f##_f64
#include "skinny.inc"
#undef REAL_TYPE
#undef STORED_TYPE
#undef real
#undef stored
#undef NAME

#define REAL_TYPE CLV_F32
#define STORED_TYPE CLV_BF16
#define real float
#define stored uint16_t
#define NAME(f) f##_bf16
#include "skinny.inc"
#undef stored

/* ---- By type ------------------------------------------------------------------ */

void clvi_skinny_update(clv_dtype dtype, clv_dtype stored, bool trans, bool ordered, int64_t m,
                        int64_t k, int64_t n, const void *a, int64_t lda, const void *B,
                        int64_t ldb, void *c, int64_t ldc)
{
    assert(stored == dtype || (stored == CLV_BF16 && dtype == CLV_F32));
    (void)dtype;
    if (trans)
        CLVI_DISPATCH_STORED(stored, columns, m, k, n, a, lda, B, ldb, c, ldc);
    else
        CLVI_DISPATCH_STORED(stored, rows, ordered, m, k, n, a, lda, B, ldb, c, ldc);
}
