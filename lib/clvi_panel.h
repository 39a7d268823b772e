/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_panel.h: panels of operands, from rows that lie along k or across it; for the products'
 * files.
 *
 * x is of type `stored`, y of the same, or f32 where x is bf16.
 */
#ifndef CLVI_PANEL_H
#define CLVI_PANEL_H

#include <clvi_lib.h>

/* y[l*ldy + j] := x[j*ldx + l] for l < m, j < n. The next n rows of x are fetched meanwhile. */
void clvi_panel_transpose(clv_dtype stored, int64_t m, int64_t n, const void *x, int64_t ldx,
                          void *y, int64_t ldy);

/* y[p*next + l*ldy + i] := x[l*ldx + p*width + i] for p < count, l < m, i < width. */
void clvi_panel_copy(clv_dtype stored, int64_t count, int64_t m, int64_t width, const void *x,
                     int64_t ldx, void *y, int64_t ldy, int64_t next);

#endif
