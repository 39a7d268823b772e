/* SPDX-License-Identifier: BSD-3-Clause
 *
 * optimizer.c: sharded updates against a naive serial implementation.
 *
 * Values and gradients are drawn by global element index, so every process can compute the
 * whole of every parameter by itself, one element after the other in doubles.
 *
 * RANKS: 1 2 3 4 6
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS = 5, STEPS = 5 };

typedef struct {
    const char *name;
    int64_t m, n;
    const char *layout; /* on a grid of axes a and b */
    bool decay;
} shape;
static const shape shapes[PARAMS] = {
    {"square", 7, 5, "a|b", true}, {"tall", 17, 3, "a+b|-", true}, {"vector", 1, 13, "-|b", false},
    {"one", 1, 1, "b|a", true},    {"copies", 4, 6, "-|-", false},
};

/* Grids of axes a and b that fit the ranks. */
static const char *const grids[] = {"a=1,b=1", "a=2,b=1", "a=1,b=2", "a=3,b=1", "a=2,b=2",
                                    "a=1,b=4", "a=2,b=3", "a=3,b=2", NULL};

static int grid_ranks(const char *text)
{
    int a = 1, b = 1;
    sscanf(text, "a=%d,b=%d", &a, &b);
    return a * b;
}

/* One parameter, whole, with its state. */
typedef struct {
    int64_t count;
    double *w, *g, *m, *v;
} serial;

static double element(clv_dtype dtype, const void *x, int64_t i)
{
    return dtype == CLV_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* The elements that clv_matrix_fill_normal gives a whole matrix. */
static void draw(const shape *s, clv_dtype dtype, uint64_t stream, double std, double *out)
{
    clv_grid *self = NULL;
    clv_matrix *matrix = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_SELF, NULL, &self));
    CHECK_OK(clv_matrix_create(self, (clv_spec){.m = s->m, .n = s->n, .dtype = dtype}, &matrix));
    CHECK_OK(clv_matrix_fill_normal(matrix, 1, stream, 0, std));
    clv_block block = clv_matrix_block(matrix);
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->n; j++)
            out[i * s->n + j] = element(dtype, block.data, i * block.ld + j);
    clv_matrix_destroy(&matrix);
    clv_grid_destroy(&self);
}

static double serial_norm(const serial all[])
{
    double sum = 0;
    for (int p = 0; p < PARAMS; p++)
        for (int64_t i = 0; i < all[p].count; i++) sum += all[p].g[i] * all[p].g[i];
    return sqrt(sum);
}

/* The update rules as they are printed in the papers. */
static void serial_update(const clv_optimizer_config *c, double lr, int64_t t, double scale,
                          bool decay, serial *p)
{
    double lambda = decay ? c->weight_decay : 0;
    double b1 = c->beta1 ? c->beta1 : 0.9, b2 = c->beta2 ? c->beta2 : 0.95;
    double eps = c->eps ? c->eps : 1e-8;
    for (int64_t i = 0; i < p->count; i++) {
        double g = p->g[i] * scale;
        if (c->kind == CLV_SGD) {
            p->v[i] = c->momentum * p->v[i] + g + lambda * p->w[i];
            p->w[i] -= lr * p->v[i];
        } else {
            p->m[i] = b1 * p->m[i] + (1 - b1) * g;
            p->v[i] = b2 * p->v[i] + (1 - b2) * g * g;
            double m = p->m[i] / (1 - pow(b1, (double)t)), v = p->v[i] / (1 - pow(b2, (double)t));
            p->w[i] -= lr * (m / (sqrt(v) + eps) + lambda * p->w[i]);
        }
    }
}

static void check_block(const clv_matrix *matrix, const double *whole, double tolerance)
{
    clv_block block = clv_matrix_block(matrix);
    clv_spec spec = clv_matrix_spec(matrix);
    for (int64_t i = 0; i < block.m; i++)
        for (int64_t j = 0; j < block.n; j++)
            CHECK_NEAR(element(spec.dtype, block.data, i * block.ld + j),
                       whole[(block.row0 + i) * spec.n + block.col0 + j], tolerance);
}

static void serial_create(serial all[], clv_dtype dtype)
{
    for (int p = 0; p < PARAMS; p++) {
        size_t count = (size_t)(shapes[p].m * shapes[p].n);
        all[p].count = (int64_t)count;
        all[p].w = calloc(4 * count, sizeof(double));
        all[p].g = all[p].w + count;
        all[p].m = all[p].g + count;
        all[p].v = all[p].m + count;
        draw(&shapes[p], dtype, (uint64_t)p, 1, all[p].w);
    }
}

static clv_params *params_create(clv_grid *grid, clv_dtype dtype)
{
    clv_params *params = NULL;
    CHECK_OK(clv_params_create(grid, &params));
    for (int p = 0; p < PARAMS; p++) {
        const shape *s = &shapes[p];
        clv_spec spec = {.m = s->m, .n = s->n, .dtype = dtype};
        clv_param *param = NULL;
        CHECK_OK(clv_layout_parse(grid, s->layout, &spec.layout));
        CHECK_OK(clv_params_add(params, s->name, spec, 0, 1, s->decay, &param));
        CHECK_OK(clv_matrix_fill_normal(param->value, 1, (uint64_t)p, 0, 1));
    }
    return params;
}

/* STEPS updates of both; values and state are compared after each. */
static void compare(clv_grid *grid, clv_dtype dtype, const clv_optimizer_config *config)
{
    double tolerance = dtype == CLV_F32 ? 2e-5 : 1e-12;
    clv_optimizer *optimizer = NULL;
    clv_params *params = params_create(grid, dtype);
    serial all[PARAMS];
    serial_create(all, dtype);
    CHECK_OK(clv_optimizer_create(params, config, &optimizer));
    for (int64_t step = 1; step <= STEPS; step++) {
        double lr = 0.1 / (double)step, norm = 0;
        for (int p = 0; p < PARAMS; p++) {
            uint64_t stream = (uint64_t)(100 * step + p);
            draw(&shapes[p], dtype, stream, 0.3, all[p].g);
            CHECK_OK(clv_matrix_fill_normal(clv_params_at(params, p)->grad, 1, stream, 0, 0.3));
        }
        CHECK_OK(clv_optimizer_step(optimizer, lr, step, &norm));
        double expected = serial_norm(all);
        CHECK_NEAR(norm, expected, tolerance);
        double scale = config->clip > 0 && expected > config->clip ? config->clip / expected : 1;
        clv_named *list = NULL;
        int count = 0, states = config->kind == CLV_SGD ? 1 : 2;
        CHECK_OK(clv_training_state(params, optimizer, &list, &count));
        CHECK_INT(count, PARAMS * (1 + states));
        for (int p = 0; p < PARAMS; p++) {
            serial_update(config, lr, step, scale, shapes[p].decay, &all[p]);
            check_block(list[p].matrix, all[p].w, tolerance);
            for (int s = 0; s < states; s++)
                check_block(list[PARAMS + p * states + s].matrix,
                            states == 2 && s == 0 ? all[p].m : all[p].v, tolerance);
        }
        free(list);
    }
    for (int p = 0; p < PARAMS; p++) free(all[p].w);
    clv_optimizer_destroy(&optimizer);
    clv_params_destroy(&params);
    CHECK(optimizer == NULL && params == NULL);
}

static void on_all_grids(const clv_optimizer_config *config)
{
    for (int i = 0; grids[i]; i++) {
        if (grid_ranks(grids[i]) != check_size()) continue;
        clv_grid *grid = NULL;
        CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, grids[i], &grid));
        compare(grid, CLV_F32, config);
        compare(grid, CLV_F64, config);
        clv_grid_destroy(&grid);
    }
}

static void adamw(void)
{
    on_all_grids(&(clv_optimizer_config){.kind = CLV_ADAMW, .weight_decay = 0.1});
    on_all_grids(&(clv_optimizer_config){
        .kind = CLV_ADAMW, .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-3, .clip = 3});
    on_all_grids(&(clv_optimizer_config){.kind = CLV_ADAMW, .weight_decay = 0.1, .clip = 1e9});
}

static void sgd(void)
{
    on_all_grids(&(clv_optimizer_config){.kind = CLV_SGD});
    on_all_grids(&(clv_optimizer_config){.kind = CLV_SGD, .momentum = 0.9, .weight_decay = 0.2});
    on_all_grids(&(clv_optimizer_config){.kind = CLV_SGD, .momentum = 0.5, .clip = 0.7});
}

static void names(void)
{
    clv_grid *grid = NULL;
    clv_optimizer *optimizer = NULL;
    clv_named *list = NULL;
    int count = 0;
    CHECK_OK(
        clv_grid_create(MPI_COMM_WORLD, 2, (clv_axis[]){{"a", check_size()}, {"b", 1}}, &grid));
    clv_params *params = params_create(grid, CLV_F64);
    CHECK_OK(clv_training_state(params, NULL, &list, &count));
    CHECK_INT(count, PARAMS);
    CHECK_STRING(list[1].name, "tall");
    free(list);
    for (int kind = 0; kind < 2; kind++) {
        CHECK_OK(clv_optimizer_create(params, &(clv_optimizer_config){.kind = kind}, &optimizer));
        CHECK_OK(clv_training_state(params, optimizer, &list, &count));
        CHECK_STRING(list[PARAMS].name, kind == CLV_ADAMW ? "adamw.m/square" : "sgd.v/square");
        CHECK_STRING(list[count - 1].name, kind == CLV_ADAMW ? "adamw.v/copies" : "sgd.v/copies");
        free(list);
        clv_optimizer_destroy(&optimizer);
    }
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

/* One process with another configuration, or a bad one, gives every process the same status. */
static void refused(void)
{
    clv_grid *grid = NULL;
    clv_optimizer *optimizer = NULL;
    CHECK_OK(
        clv_grid_create(MPI_COMM_WORLD, 2, (clv_axis[]){{"a", check_size()}, {"b", 1}}, &grid));
    clv_params *params = params_create(grid, CLV_F32);
    bool last = check_rank() == check_size() - 1;
    clv_optimizer_config odd = {.weight_decay = last ? -1 : 0};
    CHECK_STATUS(clv_optimizer_create(params, &odd, &optimizer), CLV_EARG);
    CHECK(strstr(clv_last_error(), "weight_decay") != NULL);
    CHECK(optimizer == NULL);
    odd = (clv_optimizer_config){.kind = last ? 7 : CLV_SGD};
    CHECK_STATUS(clv_optimizer_create(params, &odd, &optimizer), CLV_EARG);
    odd = (clv_optimizer_config){.beta1 = NAN};
    CHECK_STATUS(clv_optimizer_create(params, &odd, &optimizer), CLV_EARG);
    odd = (clv_optimizer_config){.clip = last ? 1 : 2};
    if (check_size() > 1)
        CHECK_STATUS(clv_optimizer_create(params, &odd, &optimizer), CLV_EMISMATCH);
    CHECK_OK(clv_optimizer_create(params, &(clv_optimizer_config){0}, &optimizer));
    CHECK_STATUS(clv_optimizer_step(optimizer, 0.1, 0, NULL), CLV_EARG);
    clv_optimizer_destroy(&optimizer);
    clv_optimizer_destroy(&optimizer);
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"AdamW", adamw}, {"SGD", sgd}, {"names", names}, {"refused", refused}, {0}};
