/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bits.c: the same bits from every processor and compiler: hashes of what the kernels give.
 *
 * A hash differs if a clone of a kernel contracts a product and a sum, adds in another order, or
 * calls a function of libm that has clones of its own. After a deliberate change of a kernel, put
 * in what is found here.
 * Elementwise kernels give an element the same bits wherever in a vector it lies, so that shards
 * are parts of the whole. RANKS: 1
 */
#include "vectors.h"

#include <stdio.h>

enum { N = 997 }; /* whole vectors and a tail, for every width */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *byte = data;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ byte[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_of(clv_dtype dtype, const vector *x)
{
    return hash_bytes(0xcbf29ce484222325u, x, (size_t)N * clv_dtype_size(dtype));
}

/* As text, so that a failure prints both. */
static void check_hash(uint64_t found, const char *expected, const char *what)
{
    char text[64], wanted[64];
    snprintf(text, sizeof text, "%s %016llx", what, (unsigned long long)found);
    snprintf(wanted, sizeof wanted, "%s %s", what, expected);
    CHECK_STRING(text, wanted);
}

typedef struct {
    vector x, y, z, out, more;
    double sums[4];
} data;

static void make(clv_dtype dtype, data *d)
{
    uint64_t state = 11;
    randomize(dtype, &d->x, 8, &state);
    randomize(dtype, &d->y, 2, &state);
    randomize(dtype, &d->z, 2, &state);
    memset(&d->out, 0, sizeof d->out);
    memset(&d->more, 0, sizeof d->more);
    memset(d->sums, 0, sizeof d->sums);
}

static void do_axpby(clv_dtype t, data *d)
{
    d->out = d->y;
    clvi_axpby(t, N, 1.1, &d->x, -0.3, &d->out);
}
static void do_gelu(clv_dtype t, data *d)
{
    clvi_activation_forward(t, CLVI_GELU, N, &d->x, &d->out);
    clvi_activation_backward(t, CLVI_GELU, N, &d->x, &d->y, &d->more);
}
static void do_swiglu(clv_dtype t, data *d)
{
    clvi_swiglu_backward(t, N, &d->x, &d->y, &d->z, &d->out, &d->more);
    clvi_swiglu_forward(t, N, &d->x, &d->y, &d->z);
    clvi_axpby(t, N, 1, &d->z, 1, &d->out);
}
static void do_softmax(clv_dtype t, data *d)
{
    clvi_softmax(t, N, &d->x, &d->out);
    clvi_softmax_backward(t, N, &d->out, &d->y, &d->more);
    d->sums[0] = clvi_sum_exp(t, N, &d->x, 1);
    d->sums[1] = clvi_dot(t, N, &d->x, &d->y);
}
static void do_norm(clv_dtype t, data *d)
{
    clvi_moments(t, N, &d->x, d->sums);
    clvi_normalize(t, N, &d->x, d->sums[0], 0.3, &d->y, &d->z, &d->out);
    clvi_normalize_sums(t, N, &d->x, d->sums[0], 0.3, &d->y, &d->z, d->sums + 2);
    clvi_normalize_backward(t, N, &d->x, 0.1, 0.3, &d->y, &d->z, 0.2, 0.4, &d->more);
    clvi_normalize_params(t, N, &d->x, 0.1, 0.3, &d->z, &d->more, &d->out);
}
static void do_adamw(clv_dtype t, data *d)
{
    clvi_adamw_args args = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0.7, 3};
    clvi_fill(t, N, 0.5, &d->more);
    clvi_adamw(t, N, &args, &d->x, &d->out, &d->more, &d->y);
    d->out = d->y;
}
static void do_sgd(clv_dtype t, data *d)
{
    clvi_sgd(t, N, 0.1, 0.9, 0.01, &d->x, &d->out, &d->y);
    d->more = d->y;
}
static void do_normal(clv_dtype t, data *d)
{
    clvi_fill_normal(t, N, &d->out, 5, 6, 7, 0.1, 1.7);
    clvi_fill_uniform(t, N, &d->more, 5, 6, 7, 0.1, 1.7);
}

static const struct {
    const char *name;
    void (*run)(clv_dtype dtype, data *d);
    const char *expected[REALS];
} kernels[] = {
    {"axpby", do_axpby, {"bc4533d1b88a2009", "d821e24fc1f2642e"}},
    {"gelu", do_gelu, {"820bab0887eef5ec", "d2c823af8a93a73f"}},
    {"swiglu", do_swiglu, {"bea2d45d48cde990", "368b91e6e1f9739d"}},
    {"softmax", do_softmax, {"4de81c75f68e8696", "ff9fa1eaaf02a201"}},
    {"norm", do_norm, {"3b0d3461cf43e054", "ec3526bf64195db1"}},
    {"adamw", do_adamw, {"760ed18b69b4a459", "1963b817b8d44694"}},
    {"sgd", do_sgd, {"171a7d75d556df3a", "5e8faab7881845a2"}},
    {"random", do_normal, {"83a6cd00a947407c", "1a45675657365235"}},
};

static void hashes(void)
{
    static data d;
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++)
        for (int r = 0; r < REALS; r++) {
            make(reals[r], &d);
            kernels[k].run(reals[r], &d);
            uint64_t hash = hash_of(reals[r], &d.out) ^ 3 * hash_of(reals[r], &d.more);
            check_hash(hash_bytes(hash, d.sums, sizeof d.sums), kernels[k].expected[r],
                       kernels[k].name);
        }
}

/* ---- Shards -------------------------------------------------------------- */

/* Elements [begin, begin + n) of every vector of d. */
static void part_axpby(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    clvi_axpby(t, n, 1.1, at(t, &d->x, begin), -0.3, at(t, &d->out, begin));
    clvi_axpby(t, n, 0.7, at(t, &d->y, begin), 0, at(t, &d->more, begin));
}
static void part_gelu(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    const void *x = at(t, &d->x, begin), *dy = at(t, &d->y, begin);
    clvi_activation_forward(t, CLVI_GELU, n, x, at(t, &d->out, begin));
    clvi_activation_backward(t, CLVI_GELU, n, x, dy, at(t, &d->more, begin));
}
static void part_silu(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    const void *x = at(t, &d->x, begin), *dy = at(t, &d->y, begin);
    clvi_activation_forward(t, CLVI_SILU, n, x, at(t, &d->out, begin));
    clvi_activation_backward(t, CLVI_SILU, n, x, dy, at(t, &d->more, begin));
}
static void part_swiglu(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    const void *x = at(t, &d->x, begin), *y = at(t, &d->y, begin);
    void *z = at(t, &d->z, begin);
    clvi_swiglu_backward(t, n, x, y, z, at(t, &d->out, begin), at(t, &d->more, begin));
    clvi_swiglu_forward(t, n, x, y, z);
}
static void part_exp(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    clvi_exp_scaled(t, n, at(t, &d->x, begin), 1.3, 0.7, at(t, &d->out, begin));
}
static void part_normalize(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    void *x = at(t, &d->x, begin), *y = at(t, &d->y, begin), *z = at(t, &d->z, begin);
    clvi_normalize(t, n, x, 0.1, 0.3, y, z, at(t, &d->out, begin));
    clvi_normalize_backward(t, n, x, 0.1, 0.3, y, z, 0.2, 0.4, at(t, &d->more, begin));
    clvi_normalize_params(t, n, x, 0.1, 0.3, y, at(t, &d->out, begin), z);
}
static void part_adamw(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    clvi_adamw_args args = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0.7, 3};
    void *w = at(t, &d->y, begin), *m1 = at(t, &d->out, begin), *m2 = at(t, &d->more, begin);
    for (int step = 0; step < 2; step++) clvi_adamw(t, n, &args, at(t, &d->x, begin), m1, m2, w);
}
static void part_sgd(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    void *g = at(t, &d->x, begin), *v = at(t, &d->out, begin), *w = at(t, &d->y, begin);
    for (int step = 0; step < 2; step++) clvi_sgd(t, n, 0.1, 0.9, 0.01, g, v, w);
}
static void part_random(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    uint64_t first = 7 + (uint64_t)begin;
    clvi_fill_normal(t, n, at(t, &d->out, begin), 5, 6, first, 0.1, 1.7);
    clvi_fill_uniform(t, n, at(t, &d->more, begin), 5, 6, first, 0.1, 1.7);
}
static void part_convert(clv_dtype t, data *d, int64_t begin, int64_t n)
{
    clv_dtype other = t == CLV_F32 ? CLV_F64 : CLV_F32;
    clvi_convert(n, t, at(t, &d->x, begin), other, at(other, &d->out, begin));
    clvi_convert(n, other, at(other, &d->out, begin), CLV_BF16, at(CLV_BF16, &d->more, begin));
}

static const struct {
    const char *name;
    void (*run)(clv_dtype dtype, data *d, int64_t begin, int64_t n);
} elementwise[] = {
    {"axpby", part_axpby},     {"gelu", part_gelu}, {"silu", part_silu},
    {"swiglu", part_swiglu},   {"exp", part_exp},   {"normalize", part_normalize},
    {"adamw", part_adamw},     {"sgd", part_sgd},   {"random", part_random},
    {"convert", part_convert},
};

/* Cut into pieces of many lengths: every place in a vector, every alignment, every tail. */
static void shards(void)
{
    static data whole, parts;
    for (size_t k = 0; k < sizeof elementwise / sizeof *elementwise; k++)
        for (int r = 0; r < REALS; r++) {
            make(reals[r], &whole);
            elementwise[k].run(reals[r], &whole, 0, N);
            for (int64_t length = 1; length < N; length += 1 + length / 8) {
                make(reals[r], &parts);
                for (int64_t i = 0; i < N; i += length)
                    elementwise[k].run(reals[r], &parts, i, length < N - i ? length : N - i);
                if (!CHECK(memcmp(&parts, &whole, sizeof whole) == 0))
                    fprintf(stderr, "  %s in parts of %lld\n", elementwise[k].name,
                            (long long)length);
            }
        }
}

const check_case check_cases[] = {{"hashes", hashes}, {"shards", shards}, {0}};
