/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_common.h: what the tests of all layers do alike.
 *
 * A test gives a way to create its layer and a serial reference written with plain loops over
 * whole matrices; each configuration is one row of a table or one draw. What is checked of it:
 * forward, dX and the gradients of all parameters against the reference (every rank its own
 * blocks, so copies too), that gradients add up, that they are what central
 * differences say, and that creation survives a failing allocation on one rank.
 */
#ifndef CLEAVE_LAYERS_COMMON_H
#define CLEAVE_LAYERS_COMMON_H

#include <check.h>
#include <clvi_layers.h>

/* A whole matrix, row-major, the same on every rank. */
typedef struct {
    int64_t m, n;
    double *x;
} whole;

enum { PARAMS_MAX = 8 };

/* One layer and all that goes in and out of it. The reference fills Y, dX and the grads,
 * which are zeros before, from X, dY and the values. */
typedef struct {
    clv_grid *grid;
    clv_params *params;
    clv_layer *layer;
    whole X, Y, dX, dY;
    whole value[PARAMS_MAX], grad[PARAMS_MAX];
} problem;

/* The value and gradient of a parameter by name. */
whole value_of(const problem *p, const char *name);
whole grad_of(const problem *p, const char *name);

typedef struct {
    clv_status (*create)(const void *config, clv_params *params, clv_layer **layer);
    void (*reference)(const void *config, problem *p);
} layer_test;

/* How X is drawn: normal around x_mean, or ids from -1 to vocabulary, both outside. */
typedef struct {
    double x_mean;
    int64_t vocabulary;
} layer_input;

/* Everything above but failing allocations. `name` goes into messages. Collective. */
void check_layer(clv_grid *grid, const char *name, const layer_test *test, const void *config,
                 layer_input input);

/* Fails the first, second, ... allocation of one rank until creation succeeds. */
void check_failing_allocations(clv_grid *grid, const layer_test *test, const void *config);

/* Calls run with every grid of all ranks over at most three axes longer than 1. by_name: over all
 * choices of axes out of data, depth, row, col, for layers whose layouts follow the names;
 * else every factorization once. */
void each_grid(bool by_name, void (*run)(clv_grid *grid));

/* A random layout without a pending sum. */
clv_layout random_layout(const clv_grid *grid, uint64_t *state);
/* One of 1, 7, 17, 127, small ones more often. */
int64_t random_extent(uint64_t *state);
/* f64, sometimes f32. */
clv_dtype random_dtype(uint64_t *state);

/* The matrix of zeros, and the one that clv_matrix_fill_normal describes. */
whole whole_zeros(int64_t m, int64_t n);
whole whole_normal(clv_spec spec, uint64_t stream, double mean, double std);
void whole_free(whole *w);

/* Y = X W + b, and its backward: dX, dW and db += . b and db may be {0}: none. */
void whole_product(whole X, whole W, whole b, whole Y);
void whole_product_backward(whole X, whole W, whole dY, whole dX, whole dW, whole db);

/* Integers from -1 to bound, both included, by global row: ids and targets with some outside. */
int32_t id_of_row(int64_t row, int64_t bound);
void fill_ids(clv_matrix *ids, int64_t bound);

/* Elements of matrix that differ from its place in want by more than the dtype allows. */
int64_t count_wrong(const clv_matrix *matrix, whole want);

#endif
