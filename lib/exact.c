/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exact.c: a sum of doubles without any rounding (Kulisch's long accumulator; Neal 2015 keeps one
 * small as this is), so that neither order nor grouping changes a bit of it.
 *
 * A finite double is an integer of 53 bits times 2^(s - 1074), 0 <= s <= 2045. The integer, shifted
 * by s mod 32, is added to three digits of 32 bits from digit s / 32 on; digits are wider than they
 * need to be, so that carrying waits until 2^30 values have been added.
 */
#include <clvi_lib.h>
#include <math.h>
#include <string.h>

enum { BITS = 32, MOST = 1 << 30 };
static const int64_t base = (int64_t)1 << BITS;

/* Every digit but the last into [0, base): one form for each sum. */
static void carry(clvi_exact *sum)
{
    int64_t *digit = sum->digit;
    for (int i = 0; i + 1 < CLVI_EXACT_DIGITS; i++) {
        int64_t low = digit[i] & (base - 1);
        digit[i + 1] += (digit[i] - low) / base;
        digit[i] = low;
    }
    sum->room = MOST;
}

void clvi_exact_add(clvi_exact *sum, double x)
{
    uint64_t bits, fraction;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52 & 2047);
    if (exponent == 2047) {
        sum->special += x;
        return;
    }
    fraction = bits & (((uint64_t)1 << 52) - 1);
    if (exponent > 0) {
        fraction |= (uint64_t)1 << 52;
        exponent--;
    }
    if (sum->room-- <= 0) carry(sum);
    int64_t *digit = &sum->digit[exponent / BITS];
    int shift = exponent % BITS;
    uint64_t low = (fraction & (uint64_t)(base - 1)) << shift, high = fraction >> BITS << shift;
    int64_t parts[3] = {(int64_t)(low & (uint64_t)(base - 1)),
                        (int64_t)((low >> BITS) + (high & (uint64_t)(base - 1))),
                        (int64_t)(high >> BITS)};
    bool negative = bits >> 63;
    for (int i = 0; i < 3; i++) digit[i] += negative ? -parts[i] : parts[i];
}

double clvi_exact_value(clvi_exact *sum)
{
    double value = 0;
    carry(sum);
    if (sum->special != 0) return sum->special; /* NaN too */
    bool negative = sum->digit[CLVI_EXACT_DIGITS - 1] < 0;
    clvi_exact size = *sum;
    for (int i = 0; negative && i < CLVI_EXACT_DIGITS; i++) size.digit[i] = -size.digit[i];
    carry(&size);
    for (int i = 0; i < CLVI_EXACT_DIGITS; i++) /* from the smallest: what is lost is below */
        if (size.digit[i]) value += ldexp((double)size.digit[i], BITS * i - 1074);
    return negative ? -value : value;
}

void clvi_exact_pack(clvi_exact *sum, double words[CLVI_EXACT_WORDS])
{
    carry(sum);
    for (int i = 0; i < CLVI_EXACT_DIGITS; i++) words[i] = (double)sum->digit[i];
    words[CLVI_EXACT_DIGITS] = sum->special;
}

void clvi_exact_unpack(const double words[CLVI_EXACT_WORDS], clvi_exact *sum)
{
    for (int i = 0; i < CLVI_EXACT_DIGITS; i++) sum->digit[i] = (int64_t)words[i];
    sum->special = words[CLVI_EXACT_DIGITS];
    sum->room = 0;
}
