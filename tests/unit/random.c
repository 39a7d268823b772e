/* SPDX-License-Identifier: BSD-3-Clause
 *
 * random.c: Philox against published vectors; any block alone as in the whole; the distributions.
 * RANKS: 1
 */
#include "vectors.h"

/* Known answers of philox4x32-10 from the authors' kat_vectors: counter, key, result. */
static void known_answers(void)
{
    static const struct {
        uint64_t index, stream, key;
        uint32_t out[4];
    } known[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {~0ull, ~0ull, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x85a308d3243f6a88,
         0x0370734413198a2e,
         0x299f31d0a4093822,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int t = 0; t < 3; t++) {
        uint32_t out[4];
        clvi_philox(known[t].key, known[t].stream, known[t].index, out);
        for (int w = 0; w < 4; w++) CHECK_INT(out[w], known[t].out[w]);
    }
}

typedef void filler(clv_dtype dtype, int64_t n, void *x, uint64_t key, uint64_t stream,
                    uint64_t first, double a, double b);
static filler *const fillers[] = {clvi_fill_normal, clvi_fill_uniform};
static const clv_dtype types[] = {CLV_F32, CLV_F64, CLV_BF16};

/* Every start and many lengths give the bits of the whole. */
static void blocks(void)
{
    const uint64_t starts[] = {0, 12345, ~0ull / 2 - 300, ~0ull - 2000};
    vector whole, part;
    for (int f = 0; f < 2; f++)
        for (int t = 0; t < 3; t++)
            for (int s = 0; s < 4; s++) {
                fillers[f](types[t], LONGEST, &whole, 7, 9, starts[s], -1, 2);
                for (int64_t i = 0; i < LONGEST; i += 1 + i / 50)
                    for (int l = 0; l < LENGTHS && i + lengths[l] <= LONGEST; l++) {
                        fillers[f](types[t], lengths[l], &part, 7, 9, starts[s] + (uint64_t)i, -1,
                                   2);
                        CHECK(same(types[t], lengths[l], &part, at(types[t], &whole, i)));
                    }
            }
}

/* Another key, stream or start gives other numbers; nothing is written past the end. */
static void distinct(void)
{
    for (int f = 0; f < 2; f++) {
        double x[4][8];
        memset(x, 0, sizeof x);
        fillers[f](CLV_F64, 7, x[0], 1, 1, 0, 0, 1);
        fillers[f](CLV_F64, 7, x[1], 2, 1, 0, 0, 1);
        fillers[f](CLV_F64, 7, x[2], 1, 2, 0, 0, 1);
        fillers[f](CLV_F64, 7, x[3], 1, 1, 100, 0, 1);
        for (int a = 0; a < 4; a++) {
            CHECK(x[a][7] == 0);
            for (int b = 0; b < a; b++)
                for (int i = 0; i < 7; i++) CHECK(x[a][i] != x[b][i]);
        }
    }
}

/* The same numbers by libm. */
static void reference(void)
{
    double z[200], u[200];
    clvi_fill_normal(CLV_F64, 200, z, 3, 4, 10, 0.5, 2);
    clvi_fill_uniform(CLV_F64, 200, u, 3, 4, 10, 0, 1);
    for (int i = 0; i < 200; i += 2) {
        uint32_t w[4];
        clvi_philox(3, 4, (uint64_t)(10 + i) / 2, w);
        double u0 = ldexp((double)(((uint64_t)w[1] << 32 | w[0]) >> 12) + 0.5, -52);
        double u1 = ldexp((double)(((uint64_t)w[3] << 32 | w[2]) >> 12) + 0.5, -52);
        CHECK_NEAR(z[i], 0.5 + 2 * sqrt(-2 * log(u0)) * cos(2 * M_PI * u1), 1e-14);
        CHECK_NEAR(z[i + 1], 0.5 + 2 * sqrt(-2 * log(u0)) * sin(2 * M_PI * u1), 1e-14);
        CHECK(u[i] == u0 && u[i + 1] == u1);
    }
}

/* Moments, correlation of neighbours, and the Kolmogorov-Smirnov distance to the normal
 * distribution, each within 5 deviations of what a million draws leave. */
static void normal_distribution(void)
{
    enum { N = 1000000, BINS = 64 };
    static double z[N];
    double sum[5] = {0}, pair = 0, distance = 0;
    int64_t bins[BINS] = {0}, below = 0;
    clvi_fill_normal(CLV_F64, N, z, 42, 0, 0, 0, 1);
    for (int i = 0; i < N; i++) {
        double power = 1;
        for (int p = 1; p <= 4; p++) sum[p] += power *= z[i];
        if (i > 0) pair += z[i] * z[i - 1];
        int bin = (int)(erfc(-z[i] / M_SQRT2) / 2 * BINS);
        bins[bin < BINS ? bin : BINS - 1]++;
    }
    for (int b = 0; b < BINS; b++) {
        below += bins[b];
        distance = fmax(distance, fabs((double)below / N - (b + 1.0) / BINS));
    }
    CHECK_NEAR(sum[1] / N, 0, 5e-3);
    CHECK_NEAR(sum[2] / N, 1, 5e-3 * 1.5);
    CHECK_NEAR(sum[3] / N, 0, 5e-3 * 4);
    CHECK_NEAR(sum[4] / N, 3, 5e-3 * 10);
    CHECK_NEAR(pair / N, 0, 5e-3);
    CHECK_NEAR(distance, 0, 2.5e-3);
}

static void uniform_distribution(void)
{
    enum { N = 1000000, BINS = 50 };
    static float x[N];
    int64_t bins[BINS] = {0};
    clvi_fill_uniform(CLV_F32, N, x, 42, 1, 0, -2, 3);
    for (int i = 0; i < N; i++) {
        CHECK(x[i] >= -2 && x[i] < 3);
        bins[(int)(((double)x[i] + 2) * (BINS / 5.0))]++;
    }
    for (int b = 0; b < BINS; b++) CHECK_NEAR((double)bins[b] * BINS / N, 1, 5 * sqrt(50.0 / N));
}

/* high itself is never drawn, however coarse the type. */
static void half_open(void)
{
    static const double bounds[][2] = {{0, 1}, {-1, 1}, {-3, -1}, {1, 1.5}, {0, 0.1}, {-2, -0.1}};
    static uint16_t x[20000];
    for (int b = 0; b < 6; b++) {
        int highest = 0;
        double top = -INFINITY;
        clvi_fill_uniform(CLV_BF16, 20000, x, 5, 5, 0, bounds[b][0], bounds[b][1]);
        for (int i = 0; i < 20000; i++) {
            double value = clvi_get(CLV_BF16, x, i);
            CHECK(value < bounds[b][1]);
            if (value > top) top = value, highest = i;
        }
        uint16_t next = (uint16_t)(top > 0 ? x[highest] + 1 : x[highest] - 1);
        CHECK(clvi_get(CLV_BF16, &next, 0) >= bounds[b][1]); /* and the one under it is */
    }
}

static void hashes(void)
{
    CHECK(clvi_hash_string("") == 0xcbf29ce484222325u);
    CHECK(clvi_hash_string("a") == 0xaf63dc4c8601ec8cu);
    CHECK(clvi_hash_string("foobar") == 0x85944171f73967e8u);
}

const check_case check_cases[] = {{"known answers", known_answers},
                                  {"blocks", blocks},
                                  {"distinct", distinct},
                                  {"reference", reference},
                                  {"normal distribution", normal_distribution},
                                  {"uniform distribution", uniform_distribution},
                                  {"half open", half_open},
                                  {"hashes", hashes},
                                  {0}};
