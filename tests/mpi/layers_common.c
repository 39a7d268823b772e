/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_common.c: what the tests of all layers do alike.
 */
#include "layers_common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 42, X_STREAM = 1, DY_STREAM, GRAD_BEFORE = 3 };

enum { FAILING_MOST = 4 }; /* processes with failing allocations */

/* Central differences take many forwards: they are made of every third problem. */
enum { DIFFERENCES_EVERY = 3, SAMPLES = 2 };

/* ---- Whole matrices ---------------------------------------------------------- */

whole whole_zeros(int64_t m, int64_t n)
{
    return (whole){m, n, calloc((size_t)(m * n) + 1, sizeof(double))};
}

/* Through the dtype, so that f32 is rounded as the matrix is. */
whole whole_normal(clv_spec spec, uint64_t stream, double mean, double std)
{
    whole w = whole_zeros(spec.m, spec.n), typed = whole_zeros(spec.m, spec.n);
    clvi_fill_normal(spec.dtype, w.m * w.n, typed.x, KEY, stream, 0, mean, std);
    clvi_convert(w.m * w.n, spec.dtype, typed.x, CLV_F64, w.x);
    whole_free(&typed);
    return w;
}

void whole_free(whole *w)
{
    free(w->x);
    w->x = NULL;
}

void whole_product(whole X, whole W, whole b, whole Y)
{
    for (int64_t i = 0; i < Y.m; i++)
        for (int64_t j = 0; j < Y.n; j++) {
            Y.x[i * Y.n + j] = b.x ? b.x[j] : 0;
            for (int64_t k = 0; k < X.n; k++)
                Y.x[i * Y.n + j] += X.x[i * X.n + k] * W.x[k * W.n + j];
        }
}

void whole_product_backward(whole X, whole W, whole dY, whole dX, whole dW, whole db)
{
    for (int64_t i = 0; i < dY.m; i++)
        for (int64_t j = 0; j < dY.n; j++) {
            double dy = dY.x[i * dY.n + j];
            if (db.x) db.x[j] += dy;
            for (int64_t k = 0; k < X.n; k++) {
                dX.x[i * X.n + k] += dy * W.x[k * W.n + j];
                dW.x[k * W.n + j] += dy * X.x[i * X.n + k];
            }
        }
}

int32_t id_of_row(int64_t row, int64_t bound)
{
    uint64_t state = (uint64_t)row + 99;
    return (int32_t)(check_random_below(&state, bound + 2) - 1);
}

void fill_ids(clv_matrix *ids, int64_t bound)
{
    clv_block b = clv_matrix_block(ids);
    for (int64_t i = 0; i < b.m && b.n > 0; i++)
        *(int32_t *)clvi_at(b, CLV_I32, i, 0) = id_of_row(b.row0 + i, bound);
}

static int64_t count_wrong_block(clv_block b, clv_dtype dtype, whole want)
{
    double scale = 1, tolerance = dtype == CLV_F64 ? 1e-10 : 1e-4;
    int64_t wrong = 0;
    for (int64_t i = 0; i < want.m * want.n; i++) scale = fmax(scale, fabs(want.x[i]));
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++) {
            double found = clvi_get(dtype, b.data, i * b.ld + j);
            double expected = want.x[(b.row0 + i) * want.n + b.col0 + j];
            wrong += !(fabs(found - expected) <= tolerance * scale);
        }
    return wrong;
}

int64_t count_wrong(const clv_matrix *matrix, whole want)
{
    clv_spec spec = clv_matrix_spec(matrix);
    if (spec.m != want.m || spec.n != want.n) return -1;
    if (!spec.layout.sum) return count_wrong_block(clv_matrix_block(matrix), spec.dtype, want);
    clv_matrix *sum = NULL;
    spec.layout = (clv_layout){0};
    CHECK_OK(clv_matrix_create(clv_matrix_grid(matrix), spec, &sum));
    CHECK_OK(clv_move(matrix, sum));
    int64_t wrong = count_wrong_block(clv_matrix_block(sum), spec.dtype, want);
    clv_matrix_destroy(&sum);
    return wrong;
}

/* ---- Grids and draws ------------------------------------------------------------ */

void each_grid(bool by_name, void (*run)(clv_grid *grid))
{
    static const char *const names[] = {"data", "depth", "row", "col"};
    int P = check_size(), number = 0;
    for (int code = 0; code < P * P * P * P; code++) {
        int product = 1, naxes = 0, longer = 0;
        bool gap = false, keep_short = P == 1 || number % 3 == 2; /* axes of size 1 in some grids */
        clv_axis axes[4];
        for (int a = 0, c = code; a < 4; a++, c /= P) {
            int size = c % P + 1;
            product *= size;
            gap |= size > 1 && longer < a;
            longer += size > 1;
            if (size > 1 || keep_short) axes[naxes++] = (clv_axis){names[a], size};
        }
        if (product != P || longer > 3 || (gap && !by_name)) continue;
        clv_grid *grid = NULL;
        number++;
        if (CHECK_OK(clv_grid_create(MPI_COMM_WORLD, naxes, axes, &grid))) run(grid);
        clv_grid_destroy(&grid);
    }
}

clv_layout random_layout(const clv_grid *grid, uint64_t *state)
{
    clv_layout layout = {0};
    int naxes = clv_grid_naxes(grid), order[CLV_MAX_AXES];
    for (int i = 0; i < naxes; i++) { /* a random permutation */
        int j = (int)check_random_below(state, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (int i = 0; i < naxes; i++) {
        int job = (int)check_random_below(state, 3);
        if (job == 1) layout.rows = clv_order_append(layout.rows, order[i]);
        if (job == 2) layout.cols = clv_order_append(layout.cols, order[i]);
    }
    return layout;
}

int64_t random_extent(uint64_t *state)
{
    static const int64_t extents[] = {1, 7, 7, 7, 17, 17, 127};
    return extents[check_random_below(state, 7)];
}

clv_dtype random_dtype(uint64_t *state)
{
    return check_random_below(state, 5) ? CLV_F64 : CLV_F32;
}

/* ---- One problem ------------------------------------------------------------------ */

static int index_of(const problem *p, const char *name)
{
    for (int i = 0; i < clv_params_count(p->params); i++)
        if (strcmp(clv_params_at(p->params, i)->name, name) == 0) return i;
    fprintf(stderr, "no parameter %s\n", name);
    exit(1);
}

whole value_of(const problem *p, const char *name)
{
    return p->value[index_of(p, name)];
}

whole grad_of(const problem *p, const char *name)
{
    return p->grad[index_of(p, name)];
}

/* Vectors start from 0 or 1: make them less special than that. */
static double spread(const clv_param *param)
{
    return param->std > 0 ? param->std : 0.5;
}

static bool open_problem(problem *p, clv_grid *grid, const layer_test *test, const void *config,
                         layer_input input)
{
    *p = (problem){.grid = grid};
    CHECK_OK(clv_params_create(grid, &p->params));
    if (!CHECK_OK(test->create(config, p->params, &p->layer))) return false;
    clv_spec x = clv_layer_input(p->layer), y = clv_layer_output(p->layer);
    p->dY = whole_normal(y, DY_STREAM, 0, 1);
    p->Y = whole_zeros(y.m, y.n);
    p->dX = whole_zeros(x.m, x.n);
    if (input.vocabulary) {
        p->X = whole_zeros(x.m, x.n);
        for (int64_t i = 0; i < x.m; i++) p->X.x[i] = id_of_row(i, input.vocabulary);
    } else {
        p->X = whole_normal(x, X_STREAM, input.x_mean, 1);
    }
    for (int i = 0; i < clv_params_count(p->params); i++) {
        clv_param *param = clv_params_at(p->params, i);
        clv_spec spec = clv_matrix_spec(param->value);
        uint64_t stream = clvi_hash_string(param->name);
        p->value[i] = whole_normal(spec, stream, param->mean, spread(param));
        p->grad[i] = whole_zeros(spec.m, spec.n);
    }
    return true;
}

static void close_problem(problem *p)
{
    clv_layer_destroy(&p->layer);
    clv_params_destroy(&p->params);
    whole_free(&p->X);
    whole_free(&p->Y);
    whole_free(&p->dX);
    whole_free(&p->dY);
    for (int i = 0; i < PARAMS_MAX; i++) {
        whole_free(&p->value[i]);
        whole_free(&p->grad[i]);
    }
}

/* The distributed side of a problem. */
typedef struct {
    clv_matrix *X, *Y, *dX, *dY;
} operands;

static void open_operands(operands *o, const problem *p, layer_input input)
{
    clv_spec x = clv_layer_input(p->layer), y = clv_layer_output(p->layer);
    *o = (operands){0};
    CHECK_OK(clv_matrix_create(p->grid, x, &o->X));
    CHECK_OK(clv_matrix_create(p->grid, x, &o->dX));
    CHECK_OK(clv_matrix_create(p->grid, y, &o->Y));
    CHECK_OK(clv_matrix_create(p->grid, y, &o->dY));
    if (input.vocabulary)
        fill_ids(o->X, input.vocabulary);
    else
        clv_matrix_fill_normal(o->X, KEY, X_STREAM, input.x_mean, 1);
    clv_matrix_fill_normal(o->dY, KEY, DY_STREAM, 0, 1);
    for (int i = 0; i < clv_params_count(p->params); i++) {
        clv_param *param = clv_params_at(p->params, i);
        clv_matrix_fill_normal(param->value, KEY, clvi_hash_string(param->name), param->mean,
                               spread(param));
    }
}

static void close_operands(operands *o)
{
    clv_matrix_destroy(&o->X);
    clv_matrix_destroy(&o->Y);
    clv_matrix_destroy(&o->dX);
    clv_matrix_destroy(&o->dY);
}

/* Gradients are what was there and `times` the reference. */
static void check_gradients(const problem *p, int times)
{
    for (int i = 0; i < clv_params_count(p->params); i++) {
        clv_matrix *grad = clv_params_at(p->params, i)->grad;
        whole want = whole_zeros(p->grad[i].m, p->grad[i].n);
        for (int64_t j = 0; j < want.m * want.n; j++)
            want.x[j] = GRAD_BEFORE + times * p->grad[i].x[j];
        CHECK_INT(count_wrong(grad, want), 0);
        whole_free(&want);
    }
}

static void check_against_reference(problem *p, const operands *o, const layer_test *test,
                                    const void *config, layer_input input)
{
    test->reference(config, p);
    for (int i = 0; i < clv_params_count(p->params); i++)
        clv_matrix_fill(clv_params_at(p->params, i)->grad, GRAD_BEFORE);
    CHECK_STATUS(clv_layer_backward(p->layer, o->dY, NULL), CLV_EARG); /* no forward yet */
    CHECK_OK(clv_layer_forward(p->layer, o->X, o->Y));
    CHECK_INT(count_wrong(o->Y, p->Y), 0);
    CHECK_OK(clv_layer_backward(p->layer, o->dY, input.vocabulary ? NULL : o->dX));
    if (!input.vocabulary) CHECK_INT(count_wrong(o->dX, p->dX), 0);
    check_gradients(p, 1);
    CHECK_OK(clv_layer_backward(p->layer, o->dY, NULL));
    check_gradients(p, 2);
}

/* ---- Central differences ------------------------------------------------------------ */

/* <Y, dY> over the grid, each element counted once. */
static double objective(const problem *p, const operands *o)
{
    clv_block y = clv_matrix_block(o->Y), dy = clv_matrix_block(o->dY);
    double sum = 0;
    CHECK_OK(clv_layer_forward(p->layer, o->X, o->Y));
    for (int64_t i = 0; i < y.m && clvi_matrix_is_first_copy(o->Y); i++)
        sum += clvi_dot(CLV_F64, y.n, clvi_at(y, CLV_F64, i, 0), clvi_at(dy, CLV_F64, i, 0));
    CHECK_OK(clv_grid_reduce(p->grid, CLV_SUM, 1, &sum));
    return sum;
}

/* Adds h to global element (row, col) wherever it is held (at coordinate 0 of sums). */
static void nudge(clv_matrix *matrix, int64_t row, int64_t col, double h)
{
    clv_block b = clv_matrix_block(matrix);
    clv_axes sum = clv_matrix_spec(matrix).layout.sum;
    clv_grid *grid = clv_matrix_grid(matrix);
    int64_t i = row - b.row0, j = col - b.col0;
    for (int a = 0; a < clv_grid_naxes(grid); a++)
        if ((sum >> a & 1) && clv_grid_coord(grid, clv_grid_rank(grid), a) != 0) return;
    if (0 <= i && i < b.m && 0 <= j && j < b.n) *(double *)clvi_at(b, CLV_F64, i, j) += h;
}

static void check_differences(const problem *p, const operands *o, clv_matrix *at, whole gradient)
{
    uint64_t state = 5;
    double h = 1e-5;
    for (int s = 0; s < SAMPLES && gradient.m * gradient.n > 0; s++) {
        int64_t i = check_random_below(&state, gradient.m);
        int64_t j = check_random_below(&state, gradient.n);
        nudge(at, i, j, h);
        double above = objective(p, o);
        nudge(at, i, j, -2 * h);
        double below = objective(p, o);
        nudge(at, i, j, h);
        CHECK_NEAR((above - below) / (2 * h), gradient.x[i * gradient.n + j], 1e-6);
    }
}

void check_layer(clv_grid *grid, const char *name, const layer_test *test, const void *config,
                 layer_input input)
{
    static char text[256];
    static int number;
    problem p;
    operands o;
    int used = snprintf(text, sizeof text, "%s:", name);
    for (int i = 0; i < clv_grid_naxes(grid); i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %s=%d",
                         clv_grid_axis(grid, i).name, clv_grid_axis(grid, i).size);
    check_enter(text, check_rank());
    if (open_problem(&p, grid, test, config, input)) {
        open_operands(&o, &p, input);
        check_against_reference(&p, &o, test, config, input);
        if (clv_layer_output(p.layer).dtype == CLV_F64 && number++ % DIFFERENCES_EVERY == 0) {
            for (int i = 0; i < clv_params_count(p.params); i++)
                check_differences(&p, &o, clv_params_at(p.params, i)->value, p.grad[i]);
            if (!input.vocabulary) check_differences(&p, &o, o.X, p.dX);
        }
        close_operands(&o);
    }
    close_problem(&p);
}

/* ---- Failing allocations --------------------------------------------------------------- */

static bool same_everywhere(clv_grid *grid, double value)
{
    double bounds[2] = {value, -value};
    CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 2, bounds));
    return bounds[0] == -bounds[1];
}

void check_failing_allocations(clv_grid *grid, const layer_test *test, const void *config)
{
    int victim = clv_grid_size(grid) - 1;
    bool failed = victim < FAILING_MOST; /* more processes take long and show nothing new */
    for (int64_t nth = 1; failed && nth < 1000; nth++) {
        int64_t live = clvi_alloc_live();
        clv_params *params = NULL;
        clv_layer *layer = NULL;
        CHECK_OK(clv_params_create(grid, &params));
        if (clv_grid_rank(grid) == victim) clvi_alloc_fail_at(nth);
        clv_status status = test->create(config, params, &layer);
        clvi_alloc_fail_at(0);
        if (!CHECK(same_everywhere(grid, status))) return;
        failed = status != CLV_OK;
        if (failed) CHECK_INT(status, CLV_ENOMEM);
        CHECK((layer == NULL) == failed);
        CHECK(nth > 1 || failed);
        clv_layer_destroy(&layer);
        clv_params_destroy(&params);
        CHECK_INT(clvi_alloc_live(), live);
    }
    CHECK(!failed);
}
