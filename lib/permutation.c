/* SPDX-License-Identifier: BSD-3-Clause
 *
 * permutation.c: a permutation of [0, n) without a table: where one index goes is computed from the
 * key alone, in constant time and memory.
 *
 * A Feistel network permutes pairs (a, b) of h bits whatever its round functions are:
 * (a, b) -> (b, a + f(b)), f being Philox of (round, b). With the least h for which 4^h >= n, an
 * index that leaves [0, n) walks on along its cycle until it is back, which it is after less than
 * four steps on average (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
 */
#include <clvi_lib.h>

/* Halves of one bit still come near a uniform choice among all permutations of four numbers. */
enum { ROUNDS = 8 };

static uint64_t feistel(uint64_t key, uint64_t stream, int half, uint64_t x)
{
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    uint64_t a = x >> half, b = x & mask;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint32_t word[4];
        clvi_philox(key, stream, round << 32 | b, word);
        uint64_t next = (a ^ word[0]) & mask;
        a = b;
        b = next;
    }
    return a << half | b;
}

uint64_t clvi_permute(uint64_t key, uint64_t stream, uint64_t n, uint64_t i)
{
    int half = 1;
    assert(i < n && n <= (uint64_t)1 << 62);
    while ((uint64_t)1 << 2 * half < n) half++;
    do {
        i = feistel(key, stream, half, i);
    } while (i >= n);
    return i;
}
