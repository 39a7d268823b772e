/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_vector.h: what makes a plain C loop a vector kernel; included by the kernels' files only.
 *
 * CLVI_VECTOR before a function compiles it for each generation of x86-64 and picks one when the
 * library is loaded. Bits do not depend on the pick, nor on where in a vector an element lies:
 * products and sums are never contracted, and sums go through a fixed number of lanes.
 */
#ifndef CLVI_VECTOR_H
#define CLVI_VECTOR_H

#include <clvi_lib.h>
#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#define CLVI_EACH _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
/* O3: at O2 only loops without a remainder become vectors. The rest: no fused product and sum;
 * comparisons need not keep exception flags; lanes are cleared in registers, not by a call or rep
 * stos, which costs more than a short row. */
#pragma GCC optimize("O3", "fp-contract=off", "no-trapping-math", \
                     "no-tree-loop-distribute-patterns")
/* Before a loop whose iterations are independent even where y is x. */
#define CLVI_EACH _Pragma("GCC ivdep")
#else
#define CLVI_EACH
#endif

/* Sanitizers instrument the resolvers, which run before their own start; CLVI_ONE_TARGET turns the
 * clones off by hand. */
#if !defined(CLVI_ONE_TARGET) && defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && \
    !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLVI_VECTOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLVI_VECTOR
#endif

/* Small functions used inside kernels: always part of the caller, so of its target. */
#define CLVI_INLINE static inline __attribute__((always_inline, unused))

/* Square roots without errno, which would keep their loops scalar. */
double sqrt(double) __attribute__((const));
float sqrtf(float) __attribute__((const));

CLVI_INLINE float root_f32(float x)
{
    return sqrtf(x);
}

CLVI_INLINE double root_f64(double x)
{
    return sqrt(x);
}

/* f_f32(...) or f_f64(...), as dtype says. */
#define CLVI_DISPATCH(dtype, f, ...)                   \
    (assert((dtype) == CLV_F32 || (dtype) == CLV_F64), \
     (dtype) == CLV_F32 ? f##_f32(__VA_ARGS__) : f##_f64(__VA_ARGS__))

/* The same, or f_bf16(...), as what is stored says. */
#define CLVI_DISPATCH_STORED(stored, f, ...)                                     \
    (assert((stored) == CLV_F32 || (stored) == CLV_F64 || (stored) == CLV_BF16), \
     (stored) == CLV_BF16  ? f##_bf16(__VA_ARGS__)                               \
     : (stored) == CLV_F32 ? f##_f32(__VA_ARGS__)                                \
                           : f##_f64(__VA_ARGS__))

#endif
