/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_twice.h: includes the file CLVI_BODY twice, with real float and double and NAME(f) f_f32
 * and f_f64. No guard: once for each body.
 */
#define real float
#define NAME(f) f##_f32
#include CLVI_BODY
#undef real
#undef NAME

#define real double
#define NAME(f) f##_f64
#include CLVI_BODY
#undef real
#undef NAME

#undef CLVI_BODY
