/* SPDX-License-Identifier: BSD-3-Clause
 *
 * permutation.c: a bijection for every n; uniform over places, and over orders where they are few.
 * RANKS: 1
 */
#include "check.h"

#include <clvi_lib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_bijection(uint64_t key, uint64_t stream, int64_t n)
{
    char *seen = calloc(1, (size_t)n);
    int64_t different = 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t to = clvi_permute(key, stream, (uint64_t)n, (uint64_t)i);
        if (to >= (uint64_t)n) break;
        different += !seen[to];
        seen[to] = 1;
    }
    free(seen);
    return different == n;
}

/* Every n up to beyond 4^4, then around powers of two. */
static void bijections(void)
{
    for (int64_t n = 1; n <= 300; n++)
        for (uint64_t key = 0; key < 20; key++) CHECK(is_bijection(key, key / 3, n));
    for (int power = 9; power <= 17; power++)
        for (int64_t n = (1 << power) - 1; n <= (1 << power) + 1; n++)
            CHECK(is_bijection(42, (uint64_t)power, n));
}

/* Larger than can be walked through: in range, and no two of a few go to one place. */
static void large(void)
{
    enum { FEW = 500 };
    static const uint64_t extents[] = {1000000007, (uint64_t)1 << 40, ((uint64_t)1 << 62) - 3,
                                       (uint64_t)1 << 62};
    for (int e = 0; e < 4; e++) {
        uint64_t to[FEW], n = extents[e];
        for (uint64_t i = 0; i < FEW; i++) {
            to[i] = clvi_permute(7, 9, n, i % 2 ? n - i : i);
            CHECK(to[i] < n);
            for (uint64_t j = 0; j < i; j++) CHECK(to[j] != to[i]);
        }
    }
}

/* Chi squared of `cells` counts of one expectation, within five deviations of its mean. */
static void check_uniform(int cells, const int counts[], double expected)
{
    double chi = 0, freedom = cells - 1;
    for (int c = 0; c < cells; c++)
        chi += (counts[c] - expected) * (counts[c] - expected) / expected;
    CHECK(fabs(chi - freedom) < 5 * sqrt(2 * freedom));
}

/* The number of an order of n <= 4 elements among the n! there are. */
static int order_number(uint64_t key, uint64_t n)
{
    int number = 0;
    for (uint64_t i = 0; i < n; i++) {
        int smaller = 0;
        for (uint64_t j = i + 1; j < n; j++)
            smaller += clvi_permute(key, 1, n, j) < clvi_permute(key, 1, n, i);
        number = number * (int)(n - i) + smaller;
    }
    return number;
}

static void orders(void)
{
    static const int factorial[] = {1, 1, 2, 6, 24};
    enum { KEYS = 24000 };
    for (uint64_t n = 2; n <= 4; n++) {
        int counts[24] = {0};
        for (uint64_t key = 0; key < KEYS; key++) counts[order_number(key, n)]++;
        check_uniform(factorial[n], counts, (double)KEYS / factorial[n]);
    }
}

/* Over keys and over streams: where an index goes, and how far from its neighbour. */
static void places(void)
{
    enum { N = 100, DRAWS = 100000 };
    for (int by_stream = 0; by_stream < 2; by_stream++) {
        int place[N] = {0}, distance[N] = {0};
        for (uint64_t k = 0; k < DRAWS; k++) {
            uint64_t key = by_stream ? 5 : k, stream = by_stream ? k : 5, i = k % (N - 1);
            uint64_t a = clvi_permute(key, stream, N, i), b = clvi_permute(key, stream, N, i + 1);
            place[a]++;
            distance[(b + N - a) % N]++;
        }
        check_uniform(N, place, (double)DRAWS / N);
        CHECK_INT(distance[0], 0);
        check_uniform(N - 1, distance + 1, (double)DRAWS / (N - 1));
    }
}

/* The order of samples of a run that was begun earlier must not change. */
static void known(void)
{
    static const uint64_t expected[] = {8, 2, 5, 6, 4, 3, 7, 9, 1, 0};
    for (uint64_t i = 0; i < 10; i++)
        CHECK_INT((long long)clvi_permute(1, 2, 10, i), (long long)expected[i]);
}

const check_case check_cases[] = {{"bijections", bijections}, {"large", large}, {"orders", orders},
                                  {"places", places},         {"known", known}, {0}};
