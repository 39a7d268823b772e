/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_attention.c: causal multi-head attention on every grid, uneven heads and sequences too.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

#include <math.h>

typedef struct {
    clv_transformer_shape shape;
    int heads;
} attention_config;

static clv_status create(const void *config, clv_params *params, clv_layer **layer)
{
    const attention_config *c = config;
    return clv_attention_create(params, "a", &c->shape, c->heads, 0, layer);
}

/* One query of one head: s, p and their gradients over the tokens up to it. Token t has q, k, v at
 * z
 * + t * ldz + {0, d, 2 d}; the output of the query is o. */
static void query(int64_t t, int64_t d, const double *z, int64_t ldz, double *o, const double *d_o,
                  double *dz)
{
    double p[512], dp[512], max = -INFINITY, sum = 0, dot = 0;
    const double *q = z + t * ldz;
    for (int64_t u = 0; u <= t; u++) {
        p[u] = 0;
        for (int64_t f = 0; f < d; f++) p[u] += q[f] * z[u * ldz + d + f] / sqrt((double)d);
        max = fmax(max, p[u]);
    }
    for (int64_t u = 0; u <= t; u++) sum += p[u] = exp(p[u] - max);
    for (int64_t u = 0; u <= t; u++) {
        p[u] /= sum;
        dp[u] = 0;
        for (int64_t f = 0; f < d; f++) {
            o[f] += p[u] * z[u * ldz + 2 * d + f];
            dp[u] += d_o[f] * z[u * ldz + 2 * d + f];
        }
        dot += p[u] * dp[u];
    }
    for (int64_t u = 0; u <= t; u++) {
        double ds = p[u] * (dp[u] - dot) / sqrt((double)d);
        for (int64_t f = 0; f < d; f++) {
            dz[t * ldz + f] += ds * z[u * ldz + d + f];
            dz[u * ldz + d + f] += ds * q[f];
            dz[u * ldz + 2 * d + f] += p[u] * d_o[f];
        }
    }
}

/* Every query: O += its output, dZ += what comes back through it from dO. */
static void queries(const attention_config *c, whole Z, whole O, whole dO, whole dZ)
{
    int64_t T = c->shape.context, d = O.n / c->heads;
    for (int64_t i = 0; i < O.m; i++)
        for (int64_t h = 0; h < c->heads; h++) {
            int64_t first = i / T * T, z = first * Z.n + h * 3 * d, o = i * O.n + h * d;
            query(i - first, d, Z.x + z, Z.n, O.x + o, dO.x + o, dZ.x + z);
        }
}

static void reference(const void *config, problem *p)
{
    int64_t tokens = p->X.m, width = p->X.n;
    whole Z = whole_zeros(tokens, 3 * width), dZ = whole_zeros(tokens, 3 * width);
    whole O = whole_zeros(tokens, width), dO = whole_zeros(tokens, width);
    whole again = whole_zeros(tokens, width);
    whole Wqkv = value_of(p, "a.qkv.weight"), Wout = value_of(p, "a.out.weight");
    whole_product(p->X, Wqkv, value_of(p, "a.qkv.bias"), Z);
    queries(config, Z, O, dO, dZ); /* dO is zero: forward only */
    whole_product(O, Wout, value_of(p, "a.out.bias"), p->Y);
    whole_product_backward(O, Wout, p->dY, dO, grad_of(p, "a.out.weight"),
                           grad_of(p, "a.out.bias"));
    queries(config, Z, again, dO, dZ);
    whole_product_backward(p->X, Wqkv, dZ, p->dX, grad_of(p, "a.qkv.weight"),
                           grad_of(p, "a.qkv.bias"));
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
    attention_config c = {.heads = heads,
                          .shape = {.grid = grid,
                                    .sequences = sequences,
                                    .context = context,
                                    .width = heads * d,
                                    .dtype = dtype}};
    CHECK_OK(clv_transformer_layouts_of(grid, &c.shape.layouts));
    return c;
}

static void every_grid(clv_grid *grid)
{
    static uint64_t state = 30; /* goes on from grid to grid */
    attention_config c = config_of(
        grid, 1 + check_random_below(&state, 7), 1 + check_random_below(&state, 17),
        1 + (int)check_random_below(&state, 5), 1 + check_random_below(&state, 4), CLV_F64);
    check_layer(grid, "attention", &attention, &c, (layer_input){0});
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
    }
    clv_grid_destroy(&grid);
}

static void test_failing_allocations(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    attention_config c = config_of(grid, 2, 3, 2, 2, CLV_F64);
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
    c.heads = 3;
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(), "a: expected heads that divide the width of 10, found 3");
    c.heads = 0;
    CHECK_STATUS(create(&c, params, &layer), CLV_ESHAPE);
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
