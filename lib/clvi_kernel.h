/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_kernel.h: whether this processor multiplies faster with 512-bit vectors; for blas.c.
 */
#ifndef CLVI_KERNEL_H
#define CLVI_KERNEL_H

#include <stdbool.h>

/* True if the processor has AVX-512 (F, DQ, BW, VL) and its 512-bit fused multiply-adds are really
 * faster than 256-bit ones; *reason says so. Otherwise false, and *reason is left as it is unless
 * AVX-512 was found and turned down. reason may be NULL. The first call takes half a millisecond;
 * the answer stays. */
bool clvi_kernel_prefers_512(const char **reason);

/* The rule for one pair: seconds of the same number of operations at each width. */
bool clvi_kernel_wider_wins(double seconds_256, double seconds_512);

#endif
