/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_attention.c: causal multi-head attention on every grid, uneven heads and sequences too;
 * heads of k and v shared by several of q, rotary embeddings, no biases.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

#include <math.h>

typedef struct {
    clv_transformer_shape shape;
    clv_attention_config attention;
} attention_config;

static clv_status create(const void *config, clv_params *params, clv_layer **layer)
{
    const attention_config *c = config;
    return clv_attention_create(params, "a", &c->shape, &c->attention, layer);
}

/* One head: the offsets of its q, k and v among the columns of Z, and of its output in O. */
typedef struct {
    int64_t d, q, k, v, o;
} head;

static head head_at(const attention_config *c, int64_t h)
{
    const clv_attention_config *a = &c->attention;
    int64_t kv_heads = a->kv_heads ? a->kv_heads : a->heads, g = a->heads / kv_heads;
    int64_t d = c->shape.width / a->heads, group = h / g * (g + 2) * d;
    return (head){d, group + h % g * d, group + g * d, group + (g + 1) * d, h * d};
}

/* One query of one head, token t: s, p and their gradients over the tokens up to it. z, o and their
 * gradients begin at token 0 and are ldz and ldo apart. */
static void query(head a, int64_t t, const double *z, int64_t ldz, double *o, const double *d_o,
                  int64_t ldo, double *dz)
{
    int64_t d = a.d;
    double p[512], dp[512], max = -INFINITY, sum = 0, dot = 0;
    const double *q = z + t * ldz + a.q;
    o += t * ldo + a.o;
    d_o += t * ldo + a.o;
    for (int64_t u = 0; u <= t; u++) {
        p[u] = 0;
        for (int64_t f = 0; f < d; f++) p[u] += q[f] * z[u * ldz + a.k + f] / sqrt((double)d);
        max = fmax(max, p[u]);
    }
    for (int64_t u = 0; u <= t; u++) sum += p[u] = exp(p[u] - max);
    for (int64_t u = 0; u <= t; u++) {
        p[u] /= sum;
        dp[u] = 0;
        for (int64_t f = 0; f < d; f++) {
            o[f] += p[u] * z[u * ldz + a.v + f];
            dp[u] += d_o[f] * z[u * ldz + a.v + f];
        }
        dot += p[u] * dp[u];
    }
    for (int64_t u = 0; u <= t; u++) {
        double ds = p[u] * (dp[u] - dot) / sqrt((double)d);
        for (int64_t f = 0; f < d; f++) {
            dz[t * ldz + a.q + f] += ds * z[u * ldz + a.k + f];
            dz[u * ldz + a.k + f] += ds * q[f];
            dz[u * ldz + a.v + f] += p[u] * d_o[f];
        }
    }
}

/* Every query: O += its output, dZ += what comes back through it from dO. */
static void queries(const attention_config *c, whole Z, whole O, whole dO, whole dZ)
{
    int64_t T = c->shape.context;
    for (int64_t i = 0; i < O.m; i++)
        for (int64_t h = 0; h < c->attention.heads; h++) {
            int64_t first = i / T * T, z = first * Z.n, o = first * O.n;
            query(head_at(c, h), i - first, Z.x + z, Z.n, O.x + o, dO.x + o, O.n, dZ.x + z);
        }
}

/* Point i of d features turns by sign * t * base^(-2i/d), as a complex number. */
static void turn(double *x, int64_t d, double t, double base, int sign)
{
    for (int64_t i = 0; i < d / 2; i++) {
        double angle = sign * t / pow(base, (double)(2 * i) / (double)d);
        double re = x[i], im = x[i + d / 2];
        x[i] = re * cos(angle) - im * sin(angle);
        x[i + d / 2] = re * sin(angle) + im * cos(angle);
    }
}

/* Every q, and every k once: that of the first head that uses it. */
static void turn_all(const attention_config *c, whole Z, int sign)
{
    double base = c->attention.rotary_base;
    int64_t last = -1;
    for (int64_t h = 0; base > 0 && h < c->attention.heads; h++) {
        head a = head_at(c, h);
        for (int64_t i = 0; i < Z.m; i++) {
            double t = (double)(i % c->shape.context);
            turn(Z.x + i * Z.n + a.q, a.d, t, base, sign);
            if (a.k != last) turn(Z.x + i * Z.n + a.k, a.d, t, base, sign);
        }
        last = a.k;
    }
}

static void reference(const void *config, problem *p)
{
    const attention_config *c = config;
    bool biases = !c->attention.no_bias;
    whole none = {0}, Wqkv = value_of(p, "a.qkv.weight"), Wout = value_of(p, "a.out.weight");
    int64_t tokens = p->X.m, width = p->X.n;
    whole Z = whole_zeros(tokens, Wqkv.n), dZ = whole_zeros(tokens, Wqkv.n);
    whole O = whole_zeros(tokens, width), dO = whole_zeros(tokens, width);
    whole again = whole_zeros(tokens, width);
    whole_product(p->X, Wqkv, biases ? value_of(p, "a.qkv.bias") : none, Z);
    turn_all(c, Z, 1);
    queries(c, Z, O, dO, dZ); /* dO is zero: forward only */
    whole_product(O, Wout, biases ? value_of(p, "a.out.bias") : none, p->Y);
    whole_product_backward(O, Wout, p->dY, dO, grad_of(p, "a.out.weight"),
                           biases ? grad_of(p, "a.out.bias") : none);
    queries(c, Z, again, dO, dZ);
    turn_all(c, dZ, -1);
    whole_product_backward(p->X, Wqkv, dZ, p->dX, grad_of(p, "a.qkv.weight"),
                           biases ? grad_of(p, "a.qkv.bias") : none);
    whole_free(&Z);
    whole_free(&dZ);
    whole_free(&O);
    whole_free(&dO);
    whole_free(&again);
}

static const layer_test attention = {create, reference};

static attention_config config_of(clv_grid *grid, int64_t sequences, int64_t context, int heads,
                                  int64_t d, clv_dtype dtype)
{
    attention_config c = {.attention.heads = heads,
                          .shape = {.grid = grid,
                                    .sequences = sequences,
                                    .context = context,
                                    .width = heads * d,
                                    .dtype = dtype}};
    CHECK_OK(clv_transformer_layouts_of(grid, &c.shape.layouts));
    return c;
}

/* With heads of q that share those of k and v, rotary or not, with biases or without. */
static attention_config grouped(clv_grid *grid, uint64_t *state)
{
    int shared = 1 + (int)check_random_below(state, 3), g = 1 + (int)check_random_below(state, 3);
    bool rotary = check_random_below(state, 4) != 0;
    int64_t d = 1 + check_random_below(state, 3);
    attention_config c =
        config_of(grid, 1 + check_random_below(state, 5), 1 + check_random_below(state, 9),
                  shared * g, rotary ? 2 * d : d, random_dtype(state));
    c.attention.kv_heads = shared;
    c.attention.rotary_base = rotary ? 50 : 0;
    c.attention.no_bias = check_random_below(state, 2);
    return c;
}

static void every_grid(clv_grid *grid)
{
    static uint64_t state = 30; /* goes on from grid to grid */
    attention_config c = config_of(
        grid, 1 + check_random_below(&state, 7), 1 + check_random_below(&state, 17),
        1 + (int)check_random_below(&state, 5), 1 + check_random_below(&state, 4), CLV_F64);
    check_layer(grid, "attention", &attention, &c, (layer_input){0});
    c = grouped(grid, &state);
    check_layer(grid, "grouped attention", &attention, &c, (layer_input){0});
}

static void test_every_grid(void)
{
    each_grid(true, every_grid);
}

/* Contexts around and beyond one block of queries; f32 too. */
static void test_contexts(void)
{
    static const int64_t contexts[] = {1, 63, 64, 65, 127, 130};
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    for (int i = 0; i < 6; i++) {
        attention_config c = config_of(grid, 2, contexts[i], 3, 2, i % 2 ? CLV_F32 : CLV_F64);
        check_layer(grid, "attention", &attention, &c, (layer_input){0});
        c = config_of(grid, 2, contexts[i], 4, 6, i % 2 ? CLV_F32 : CLV_F64);
        c.attention.kv_heads = 2;
        c.attention.rotary_base = 10000;
        check_layer(grid, "rotary attention", &attention, &c, (layer_input){0});
    }
    clv_grid_destroy(&grid);
}

static void test_failing_allocations(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    attention_config c = config_of(grid, 2, 3, 2, 2, CLV_F64);
    c.attention.rotary_base = 100;
    check_failing_allocations(grid, &attention, &c);
    clv_grid_destroy(&grid);
}

static void test_bad_arguments(void)
{
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_layer *layer = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_params_create(grid, &params));
    attention_config c = config_of(grid, 2, 3, 2, 5, CLV_F64);
    c.attention.heads = 3;
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(), "a: expected heads that divide the width of 10, found 3");
    c.attention.heads = 0;
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
    c = config_of(grid, 2, 3, 4, 5, CLV_F64);
    c.attention.kv_heads = 3;
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(), "a: expected heads of k and v that divide the 4 heads, found 3");
    c.attention.kv_heads = -1;
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
    c.attention.kv_heads = 2;
    c.attention.rotary_base = 10;
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(),
                 "a: rotary embeddings expect heads of an even number of features, found 5");
    c.attention.rotary_base = -10;
    CHECK_STATUS(create(&c, params, &layer), CLV_EARG);
    c = config_of(grid, INT64_MAX / 2, 3, 2, 5, CLV_F64);
    CHECK_STATUS(create(&c, params, &layer), CLV_ELIMIT);
    c = config_of(grid, 0, 3, 2, 5, CLV_F64);
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
    c = config_of(grid, 1, 3, 2, 5, CLV_BF16);
    CHECK_STATUS(create(&c, params, &layer), CLV_EDTYPE);
    CHECK(!layer);
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"every grid", test_every_grid},
                                  {"contexts", test_contexts},
                                  {"failing allocations", test_failing_allocations},
                                  {"bad arguments", test_bad_arguments},
                                  {0}};
