/* SPDX-License-Identifier: BSD-3-Clause
 *
 * random.c: random numbers that belong to an element, not to a process.
 *
 * Elements 2c and 2c + 1 share Philox counter c: two words make one number u in (0, 1), and a
 * normal pair is r cos(t), r sin(t) with r = sqrt(-2 log u0), t = 2 pi u1 (Box and Muller 1958).
 * log, cos and sin are our own, of sums, products and quotients only, so that the same model is
 * drawn on every processor; those of libm differ with fused multiply-add.
 */
#include "clvi_vector.h"

#include <Random123/philox.h>

enum { PAIRS = 128 }; /* counters drawn at a time */

/* The two words of counter first + c are u[0][c] and u[1][c]: middles of 2^52 parts of (0, 1). */
typedef double uniforms[2][PAIRS];

CLVI_INLINE philox4x32_ctr_t philox(uint64_t key, uint64_t stream, uint64_t index)
{
    philox4x32_key_t k = {{(uint32_t)key, (uint32_t)(key >> 32)}};
    philox4x32_ctr_t counter = {
        {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    return philox4x32(counter, k);
}

/* 52 of 64 bits become the fraction of a number in [1, 2). */
CLVI_INLINE double unit(uint32_t low, uint32_t high)
{
    uint64_t bits = ((uint64_t)high << 32 | low) >> 12 | 0x3ff0000000000000u;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value - (1 - 0x1p-53);
}

CLVI_VECTOR static void draw(uint64_t key, uint64_t stream, uint64_t first, uniforms u)
{
    CLVI_EACH for (uint64_t c = 0; c < PAIRS; c++)
    {
        philox4x32_ctr_t word = philox(key, stream, first + c);
        u[0][c] = unit(word.v[0], word.v[1]);
        u[1][c] = unit(word.v[2], word.v[3]);
    }
}

/* log x of a normal x: x = 2^e m, sqrt(1/2) <= m < sqrt(2), s = (m - 1) / (m + 1),
 * log m = 2 (s + s^3 / 3 + s^5 / 5 + ...). */
CLVI_INLINE double log_of(double x)
{
    const uint64_t root_half = 0x3fe6a09e667f3bcdu, one = 0x3ff0000000000000u;
    uint64_t bits, exponent;
    memcpy(&bits, &x, sizeof bits);
    bits += one - root_half;
    exponent = bits >> 52 | 0x4330000000000000u; /* 2^52 + the biased exponent */
    bits = (bits & 0x000fffffffffffffu) + root_half;
    double e, m;
    memcpy(&e, &exponent, sizeof e);
    memcpy(&m, &bits, sizeof m);
    e -= 0x1p52 + 1023;
    double s = (m - 1) / (m + 1), q = s * s, p = 1.0 / 21;
    p = p * q + 1.0 / 19;
    p = p * q + 1.0 / 17;
    p = p * q + 1.0 / 15;
    p = p * q + 1.0 / 13;
    p = p * q + 1.0 / 11;
    p = p * q + 1.0 / 9;
    p = p * q + 1.0 / 7;
    p = p * q + 1.0 / 5;
    p = p * q + 1.0 / 3;
    return e * 0x1.62e42fefa39efp-1 + (2 * s + 2 * s * (q * p));
}

/* cos and sin of 2 pi t, 0 <= t <= 1, by their Taylor series within an eighth of a turn of the
 * nearest quarter. */
CLVI_INLINE void turn(double t, double *cosine, double *sine)
{
    double quarter = (4 * t + 0x1.8p52) - 0x1.8p52;
    double a = (4 * t - quarter) * 0x1.921fb54442d18p+0, q = a * a;
    double s = -1.0 / 1307674368000;
    s = s * q + 1.0 / 6227020800;
    s = s * q - 1.0 / 39916800;
    s = s * q + 1.0 / 362880;
    s = s * q - 1.0 / 5040;
    s = s * q + 1.0 / 120;
    s = s * q - 1.0 / 6;
    s = a + a * (q * s);
    double c = 1.0 / 20922789888000;
    c = c * q - 1.0 / 87178291200;
    c = c * q + 1.0 / 479001600;
    c = c * q - 1.0 / 3628800;
    c = c * q + 1.0 / 40320;
    c = c * q - 1.0 / 720;
    c = c * q + 1.0 / 24;
    c = c * q - 0.5;
    c = 1 + q * c;
    bool odd = (quarter == 1) | (quarter == 3);
    double x = odd ? s : c, y = odd ? c : s;
    bool left = (quarter == 1) | (quarter == 2), under = (quarter == 2) | (quarter == 3);
    *cosine = left ? -x : x;
    *sine = under ? -y : y;
}

/* z[2c], z[2c + 1] = mean + std times a normal pair. */
CLVI_VECTOR static void normal(const uniforms u, double mean, double std, double *z)
{
    CLVI_EACH for (int c = 0; c < PAIRS; c++)
    {
        double cosine, sine, radius = root_f64(-2 * log_of(u[0][c]));
        turn(u[1][c], &cosine, &sine);
        z[2 * c] = mean + std * (radius * cosine);
        z[2 * c + 1] = mean + std * (radius * sine);
    }
}

/* The largest number of the type under high: high rounded and, unless that is under it, one step
 * down; 1.25 half steps below a power of two, from there up to 1.25 steps. */
static double largest_below(clv_dtype dtype, double high)
{
    static const int precision[] = {[CLV_F32] = 24, [CLV_F64] = 53, [CLV_BF16] = 8};
    double rounded, step;
    clvi_convert(1, CLV_F64, &high, dtype, &rounded);
    rounded = clvi_get(dtype, &rounded, 0);
    if (rounded < high) return rounded;
    step = rounded - fabs(rounded) * ldexp(1.25, -precision[dtype]);
    clvi_convert(1, CLV_F64, &step, dtype, &rounded);
    return clvi_get(dtype, &rounded, 0);
}

/* z[2c], z[2c + 1] = low + (high - low) u, at most last. */
CLVI_VECTOR static void uniform(const uniforms u, double low, double high, double last, double *z)
{
    const double width = high - low;
    CLVI_EACH for (int c = 0; c < PAIRS; c++)
    {
        double x = low + width * u[0][c], y = low + width * u[1][c];
        z[2 * c] = x < last ? x : last;
        z[2 * c + 1] = y < last ? y : last;
    }
}

void clvi_philox(uint64_t key, uint64_t stream, uint64_t index, uint32_t out[4])
{
    philox4x32_ctr_t word = philox(key, stream, index);
    for (int w = 0; w < 4; w++) out[w] = word.v[w];
}

/* Elements first .. first + n - 1, whole chunks of pairs at a time: `make` turns uniforms u into
 * the numbers z of a chunk. */
#define FILL(make)                                                             \
    do {                                                                       \
        uniforms u;                                                            \
        double z[2 * PAIRS];                                                   \
        char *to = x;                                                          \
        for (int64_t done = 0, count; done < n; done += count) {               \
            uint64_t element = first + (uint64_t)done;                         \
            int64_t skip = (int64_t)(element % 2);                             \
            count = n - done < 2 * PAIRS - skip ? n - done : 2 * PAIRS - skip; \
            draw(key, stream, element / 2, u);                                 \
            make;                                                              \
            clvi_convert(count, CLV_F64, z + skip, dtype,                      \
                         to + (size_t)done * clv_dtype_size(dtype));           \
        }                                                                      \
    } while (0)

void clvi_fill_normal(clv_dtype dtype, int64_t n, void *x, uint64_t key, uint64_t stream,
                      uint64_t first, double mean, double std)
{
    FILL(normal(u, mean, std, z));
}

void clvi_fill_uniform(clv_dtype dtype, int64_t n, void *x, uint64_t key, uint64_t stream,
                       uint64_t first, double low, double high)
{
    const double last = fmax(low, largest_below(dtype, high));
    FILL(uniform(u, low, high, last, z));
}

uint64_t clvi_hash_string(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}
