/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_mlp.c: GELU (with biases and without) and SwiGLU MLPs and the residual around a layer, on
 * every grid.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

#include <math.h>

typedef struct {
    clv_transformer_shape shape;
    clv_mlp_config mlp;
} mlp_config;

/* ---- MLP ------------------------------------------------------------------------- */

static clv_status create_mlp(const void *config, clv_params *params, clv_layer **layer)
{
    const mlp_config *c = config;
    return clv_mlp_create(params, "m", &c->shape, &c->mlp, layer);
}

/* gelu(x) = x (1 + tanh u) / 2, u = sqrt(2/pi) (x + 0.044715 x^3). */
static double gelu(double x, double *slope)
{
    double r = sqrt(2 / acos(-1)), u = tanh(r * (x + 0.044715 * x * x * x));
    *slope = (1 + u) / 2 + x * (1 - u * u) / 2 * r * (1 + 3 * 0.044715 * x * x);
    return x * (1 + u) / 2;
}

static double silu(double x, double *slope)
{
    double s = 1 / (1 + exp(-x));
    *slope = s * (1 + x * (1 - s));
    return x * s;
}

static void reference_mlp(const void *config, problem *p)
{
    const mlp_config *c = config;
    bool gated = c->mlp.kind == CLV_MLP_SWIGLU, biases = !gated && !c->mlp.no_bias;
    int64_t tokens = p->X.m, hidden = c->mlp.hidden;
    whole none = {0}, H[6];
    for (int i = 0; i < 6; i++) H[i] = whole_zeros(tokens, hidden);
    whole U = H[0], G = H[1], A = H[2], dU = H[3], dG = H[4], dA = H[5];
    whole up = value_of(p, "m.up.weight"), down = value_of(p, "m.down.weight");
    whole_product(p->X, up, biases ? value_of(p, "m.up.bias") : none, U);
    if (gated) whole_product(p->X, value_of(p, "m.gate.weight"), none, G);
    double slope;
    for (int64_t i = 0; i < tokens * hidden; i++)
        A.x[i] = gated ? silu(G.x[i], &slope) * U.x[i] : gelu(U.x[i], &slope);
    whole_product(A, down, biases ? value_of(p, "m.down.bias") : none, p->Y);

    whole_product_backward(A, down, p->dY, dA, grad_of(p, "m.down.weight"),
                           biases ? grad_of(p, "m.down.bias") : none);
    for (int64_t i = 0; i < tokens * hidden; i++) {
        double f = gated ? silu(G.x[i], &slope) : gelu(U.x[i], &slope);
        dU.x[i] = dA.x[i] * (gated ? f : slope);
        dG.x[i] = dA.x[i] * U.x[i] * slope;
    }
    whole_product_backward(p->X, up, dU, p->dX, grad_of(p, "m.up.weight"),
                           biases ? grad_of(p, "m.up.bias") : none);
    if (gated)
        whole_product_backward(p->X, value_of(p, "m.gate.weight"), dG, p->dX,
                               grad_of(p, "m.gate.weight"), none);
    for (int i = 0; i < 6; i++) whole_free(&H[i]);
}

static const layer_test mlp = {create_mlp, reference_mlp};

/* ---- Residual: Y = X + mlp(RMS norm(X)) ------------------------------------------- */

static clv_status create_residual(const void *config, clv_params *params, clv_layer **layer)
{
    const mlp_config *c = config;
    clv_norm_config n = {.x = clvi_residual_spec(&c->shape), .kind = CLV_RMS_NORM, .eps = 1e-3};
    clv_layer *norm = NULL, *f = NULL;
    clv_status status;
    CLVI_TRY(clv_norm_create(params, "n", &n, &norm));
    CLVI_TRY(create_mlp(config, params, &f));
    CLVI_TRY(clv_residual_create(params, norm, f, layer));
    norm = f = NULL; /* the residual's from here */
done:
    clv_layer_destroy(&norm);
    clv_layer_destroy(&f);
    return status;
}

static void reference_residual(const void *config, problem *p)
{
    int64_t tokens = p->X.m, n = p->X.n;
    whole N = whole_zeros(tokens, n), dN = whole_zeros(tokens, n), s = whole_zeros(tokens, 1);
    whole gain = value_of(p, "n.gain"), dgain = grad_of(p, "n.gain");
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t j = 0; j < n; j++) s.x[t] += pow(p->X.x[t * n + j], 2) / (double)n;
        s.x[t] = sqrt(s.x[t] + 1e-3);
        for (int64_t j = 0; j < n; j++) N.x[t * n + j] = p->X.x[t * n + j] / s.x[t] * gain.x[j];
    }
    problem inner = *p;
    inner.X = N;
    inner.dX = dN;
    reference_mlp(config, &inner);
    for (int64_t t = 0; t < tokens; t++) {
        double dot = 0;
        for (int64_t j = 0; j < n; j++) dot += dN.x[t * n + j] * gain.x[j] * p->X.x[t * n + j];
        for (int64_t j = 0; j < n; j++) {
            double x = p->X.x[t * n + j], g = dN.x[t * n + j];
            p->Y.x[t * n + j] += x;
            dgain.x[j] += g * x / s.x[t];
            p->dX.x[t * n + j] = p->dY.x[t * n + j] + g * gain.x[j] / s.x[t] -
                                 x * dot / ((double)n * pow(s.x[t], 3));
        }
    }
    whole_free(&s);
    whole_free(&N);
    whole_free(&dN);
}

static const layer_test residual = {create_residual, reference_residual};

/* ---- Cases -------------------------------------------------------------------------- */

static clv_transformer_shape shape_of(clv_grid *grid, int64_t sequences, int64_t width,
                                      clv_dtype dtype)
{
    clv_transformer_shape shape = {
        .grid = grid, .sequences = sequences, .context = 3, .width = width, .dtype = dtype};
    CHECK_OK(clv_transformer_layouts_of(grid, &shape.layouts));
    return shape;
}

static void every_grid(clv_grid *grid)
{
    static uint64_t state = 40; /* goes on from grid to grid */
    static const struct {
        const char *name;
        clv_mlp_config mlp;
        const layer_test *test;
    } rows[] = {{"GELU", {.kind = CLV_MLP_GELU}, &mlp},
                {"GELU without biases", {.kind = CLV_MLP_GELU, .no_bias = true}, &mlp},
                {"residual SwiGLU", {.kind = CLV_MLP_SWIGLU}, &residual}};
    for (int i = 0; i < 3; i++) {
        mlp_config c = {.mlp = rows[i].mlp,
                        .shape = shape_of(grid, 1 + check_random_below(&state, 7),
                                          random_extent(&state), random_dtype(&state))};
        c.mlp.hidden = random_extent(&state);
        check_layer(grid, rows[i].name, rows[i].test, &c, (layer_input){0});
    }
}

static void test_every_grid(void)
{
    each_grid(true, every_grid);
}

static void test_failing_allocations(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    mlp_config c = {.shape = shape_of(grid, 2, 7, CLV_F32), .mlp = {CLV_MLP_SWIGLU, .hidden = 7}};
    check_failing_allocations(grid, &residual, &c);
    clv_grid_destroy(&grid);
}

/* A residual whose halves do not fit stays the caller's. */
static void test_bad_arguments(void)
{
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_layer *norm = NULL, *layer = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_params_create(grid, &params));
    mlp_config c = {.shape = shape_of(grid, 2, 7, CLV_F64)};
    CHECK_STATUS(create_mlp(&c, params, &layer), CLV_ESHAPE);
    clv_norm_config n = {.x = clvi_residual_spec(&c.shape)};
    clv_linear_config l = {
        .x = {6, 5, 0, 0, CLV_F64, {0}}, .w = {5, 7, 0, 0, CLV_F64, {0}}, .y = n.x};
    clv_layer *linear = NULL;
    CHECK_OK(clv_norm_create(params, "n", &n, &norm));
    CHECK_OK(clv_linear_create(params, "l", &l, &linear));
    CHECK_STATUS(clv_residual_create(params, norm, linear, &layer), CLV_ESHAPE);
    CHECK(!layer);
    clv_layer_destroy(&norm);
    clv_layer_destroy(&linear);
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"every grid", test_every_grid},
                                  {"failing allocations", test_failing_allocations},
                                  {"bad arguments", test_bad_arguments},
                                  {0}};
