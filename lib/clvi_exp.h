/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_exp.h: exp as straight-line arithmetic, so that loops over it become vectors.
 *
 * exp(x) = 2^k exp(r), k = round(x / ln 2), |r| <= ln(2) / 2, exp(r) by its Taylor series. ln 2 is
 * split so that k times its upper part is exact; 2^k is applied as two factors, so that results
 * overflow to infinity and underflow through the subnormals to 0 as they should. NaN stays NaN.
 */
#ifndef CLVI_EXP_H
#define CLVI_EXP_H

#include "clvi_vector.h"

/* Adding and taking away 1.5 2^p, p the fraction's bits, rounds to an integer; in between, the low
 * bits of the sum are that integer. */
#define ROUND_F32 0x1.8p23f
#define ROUND_F64 0x1.8p52

/* 2^k for an integer k within the exponents of normal numbers. */
CLVI_INLINE float two_to_f32(float k)
{
    k += ROUND_F32;
    uint32_t bits;
    memcpy(&bits, &k, sizeof bits);
    bits = (bits << 23) + ((uint32_t)127 << 23);
    memcpy(&k, &bits, sizeof k);
    return k;
}

CLVI_INLINE double two_to_f64(double k)
{
    k += ROUND_F64;
    uint64_t bits;
    memcpy(&bits, &k, sizeof bits);
    bits = (bits << 52) + ((uint64_t)1023 << 52);
    memcpy(&k, &bits, sizeof k);
    return k;
}

CLVI_INLINE float exp_f32(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float k = (x * 0x1.715476p+0f + ROUND_F32) - ROUND_F32;
    float half = (k * 0.5f + ROUND_F32) - ROUND_F32;
    float r = (x - k * 0x1.63p-1f) - k * -0x1.bd0106p-13f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * (r * r) + r;
    return (1.0f + p) * two_to_f32(half) * two_to_f32(k - half);
}

CLVI_INLINE double exp_f64(double x)
{
    x = x < -746.0 ? -746.0 : x;
    x = x > 710.0 ? 710.0 : x;
    double k = (x * 0x1.71547652b82fep+0 + ROUND_F64) - ROUND_F64;
    double half = (k * 0.5 + ROUND_F64) - ROUND_F64;
    double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * (r * r) + r;
    return (1.0 + p) * two_to_f64(half) * two_to_f64(k - half);
}

#endif
