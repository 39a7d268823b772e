/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exact.c: exact sums against integers of 128 bits, in any order and grouping.
 * RANKS: 1
 */
#include "vectors.h"

#include <float.h>

/* Multiples of 2^-60 with up to 40 bits, added as integers. */
static void against_integers(void)
{
    uint64_t state = 1;
    for (int round = 0; round < 200; round++) {
        clvi_exact sum = {0};
        __int128 integer = 0;
        for (int i = 0; i < 1 + round; i++) {
            int64_t x = (int64_t)(check_random(&state) >> 24) - (round % 3 ? (int64_t)1 << 39 : 0);
            int shift = (int)check_random_below(&state, 60);
            integer += (__int128)x << shift;
            clvi_exact_add(&sum, ldexp((double)x, shift - 60));
        }
        double expected = ldexp((double)integer, -60), found = clvi_exact_value(&sum);
        CHECK(fabs(found - expected) <= DBL_EPSILON * fabs(expected));
        CHECK(clvi_exact_value(&sum) == found);
    }
}

/* A double of any exponent, subnormal ones too. */
static double any(uint64_t *state)
{
    uint64_t bits = check_random(state);
    double x;
    if ((bits >> 52 & 2047) == 2047) bits ^= (uint64_t)1 << 60;
    if (bits % 5 == 0) bits &= ~((uint64_t)2047 << 52);
    memcpy(&x, &bits, sizeof x);
    return x / 64; /* sums stay finite */
}

enum { COUNT = 500 };

static void shuffle(double x[COUNT], uint64_t *state)
{
    for (int i = COUNT - 1; i > 0; i--) {
        int j = (int)check_random_below(state, i + 1);
        double kept = x[i];
        x[i] = x[j];
        x[j] = kept;
    }
}

/* In parts, packed, and the words of the parts added as doubles. */
static double sum_in_parts(const double x[COUNT], int parts)
{
    double words[CLVI_EXACT_WORDS], all[CLVI_EXACT_WORDS] = {0};
    clvi_exact total;
    for (int p = 0; p < parts; p++) {
        clvi_exact part = {0};
        for (int i = p; i < COUNT; i += parts) clvi_exact_add(&part, x[i]);
        clvi_exact_pack(&part, words);
        for (int w = 0; w < CLVI_EXACT_WORDS; w++) all[w] += words[w];
    }
    clvi_exact_unpack(all, &total);
    return clvi_exact_value(&total);
}

static void any_order(void)
{
    uint64_t state = 2;
    double x[COUNT];
    for (int i = 0; i < COUNT; i++) x[i] = any(&state);
    for (int round = 0; round < 3; round++) {
        double expected = sum_in_parts(x, 1);
        CHECK(isfinite(expected) && expected != 0);
        for (int parts = 1; parts <= COUNT; parts += 1 + parts / 2) {
            shuffle(x, &state);
            double found = sum_in_parts(x, parts);
            CHECK(memcmp(&found, &expected, sizeof found) == 0);
        }
        for (int i = 0; i < COUNT; i++) x[i] = round ? any(&state) * 1e-290 : fabs(x[i]);
    }
}

static double sum_of(int count, const double x[])
{
    clvi_exact sum = {0};
    for (int i = 0; i < count; i++) clvi_exact_add(&sum, x[i]);
    return clvi_exact_value(&sum);
}
#define SUM_OF(...) \
    sum_of(sizeof((double[]){__VA_ARGS__}) / sizeof(double), (const double[]){__VA_ARGS__})

static void edges(void)
{
    double least = 4.9406564584124654e-324;
    CHECK(sum_of(0, NULL) == 0);
    CHECK(SUM_OF(1e308, 1, -1e308) == 1);
    CHECK(SUM_OF(DBL_MAX, least, -DBL_MAX) == least);
    CHECK(SUM_OF(-least, -least) == -2 * least);
    CHECK(SUM_OF(DBL_MIN, -least) == DBL_MIN - least);
    CHECK(SUM_OF(-1, 0x1p-60, 0x1p-60, 1) == 0x1p-59);
    CHECK(SUM_OF(DBL_MAX, DBL_MAX, -DBL_MAX, -DBL_MAX, 3) == 3);
    CHECK(SUM_OF(-0.0, 0) == 0);
    CHECK(SUM_OF(DBL_MAX, DBL_MAX) == INFINITY);
    CHECK(SUM_OF(-DBL_MAX, -DBL_MAX) == -INFINITY);
    CHECK(SUM_OF(1, -INFINITY, 5) == -INFINITY);
    CHECK(isnan(SUM_OF(1, -INFINITY, INFINITY)));
    CHECK(isnan(SUM_OF(NAN, 3)));
}

const check_case check_cases[] = {
    {"against integers", against_integers}, {"any order", any_order}, {"edges", edges}, {0}};
