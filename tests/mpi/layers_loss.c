/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_loss.c: mean cross-entropy over sharded vocabularies.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "layers_common.h"

#include <math.h>
#include <string.h>

enum { LOGITS = 7 }; /* stream */

typedef struct {
    clv_spec logits, targets;
    double mean, std; /* of the logits */
} loss_config;

/* The mean, how many targets it is of, and its gradient. */
static double reference(const loss_config *c, whole logits, int64_t *count, whole gradient)
{
    int64_t V = logits.n;
    double sum = 0;
    *count = 0;
    for (int64_t t = 0; t < logits.m; t++) {
        int32_t target = id_of_row(t, V);
        *count += 0 <= target && target < V;
    }
    for (int64_t t = 0; t < logits.m; t++) {
        const double *x = logits.x + t * V;
        int32_t target = id_of_row(t, V);
        double all = 0;
        if (target < 0 || target >= V) continue;
        for (int64_t v = 0; v < V; v++) all += exp(x[v] - c->mean);
        sum += log(all) - (x[target] - c->mean);
        for (int64_t v = 0; v < V; v++)
            gradient.x[t * V + v] = (exp(x[v] - c->mean) / all - (v == target)) / (double)*count;
    }
    return *count ? sum / (double)*count : 0;
}

static void check_loss(clv_grid *grid, const loss_config *c)
{
    clv_loss *loss = NULL;
    clv_matrix *logits = NULL, *targets = NULL, *d = NULL;
    whole x = whole_normal(c->logits, LOGITS, c->mean, c->std);
    whole gradient = whole_zeros(x.m, x.n);
    int64_t count = -1, expected_count;
    double mean = -1, expected = reference(c, x, &expected_count, gradient);
    double tolerance = c->logits.dtype == CLV_F64 ? 1e-10 : 1e-4;

    CHECK_OK(clv_matrix_create(grid, c->logits, &logits));
    CHECK_OK(clv_matrix_create(grid, c->logits, &d));
    CHECK_OK(clv_matrix_create(grid, c->targets, &targets));
    CHECK_OK(clv_matrix_fill_normal(logits, 42, LOGITS, c->mean, c->std));
    fill_ids(targets, x.n);
    if (CHECK_OK(clv_loss_create(grid, c->logits, c->targets, &loss))) {
        CHECK_STATUS(clv_loss_backward(loss, d), CLV_EARG);
        CHECK_OK(clv_loss_forward(loss, logits, targets, &mean, &count));
        CHECK_NEAR(mean, expected, tolerance);
        CHECK_INT(count, expected_count);
        double bounds[2] = {mean, -mean};
        CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 2, bounds));
        CHECK(memcmp(&bounds[0], &mean, sizeof mean) == 0 && bounds[1] == -mean);
        CHECK_OK(clv_loss_backward(loss, d));
        CHECK_INT(count_wrong(d, gradient), 0);
    }
    clv_loss_destroy(&loss);
    clv_matrix_destroy(&logits);
    clv_matrix_destroy(&targets);
    clv_matrix_destroy(&d);
    whole_free(&x);
    whole_free(&gradient);
}

static void any_layouts(clv_grid *grid)
{
    static uint64_t state = 50; /* goes on from grid to grid */
    for (int i = 0; i < 4; i++) {
        loss_config c = {.std = i + 1};
        c.logits = (clv_spec){random_extent(&state), random_extent(&state),      3, i,
                              random_dtype(&state),  random_layout(grid, &state)};
        c.targets = (clv_spec){c.logits.m, 1, 2, 0, CLV_I32, random_layout(grid, &state)};
        check_loss(grid, &c);
    }
}

static void test_any_layouts(void)
{
    each_grid(false, any_layouts);
}

/* Logits whose exponentials overflow, and vocabularies smaller than the shards. */
static void test_extremes(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    for (int64_t V = 1; V <= 8; V++) {
        loss_config c = {.logits = {9, V, 0, 0, CLV_F64, {.cols = clv_order_append(0, 0)}},
                         .targets = {9, 1, 0, 0, CLV_I32, {0}},
                         .mean = V % 2 ? 5000 : -5000,
                         .std = 30};
        check_loss(grid, &c);
    }
    clv_grid_destroy(&grid);
}

/* d(mean)/d(logit) against central differences. */
static void test_differences(void)
{
    clv_grid *grid = NULL;
    clv_loss *loss = NULL;
    clv_matrix *logits = NULL, *targets = NULL, *d = NULL;
    double h = 1e-4;
    clv_order axis = clv_order_append(0, 0);
    clv_spec x = {7, 5, 0, 0, CLV_F64, {.cols = axis}};
    clv_spec t = {7, 1, 0, 0, CLV_I32, {.rows = axis}};
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_matrix_create(grid, x, &logits));
    CHECK_OK(clv_matrix_create(grid, x, &d));
    CHECK_OK(clv_matrix_create(grid, t, &targets));
    CHECK_OK(clv_matrix_fill_normal(logits, 42, LOGITS, 0, 1));
    fill_ids(targets, x.n);
    CHECK_OK(clv_loss_create(grid, x, t, &loss));
    double mean[2];
    CHECK_OK(clv_loss_forward(loss, logits, targets, mean, NULL));
    CHECK_OK(clv_loss_backward(loss, d));
    clv_block b = clv_matrix_block(logits), db = clv_matrix_block(d);
    for (int64_t i = 0; i < x.m; i++)
        for (int64_t j = 0; j < x.n; j++) {
            bool mine = b.col0 <= j && j < b.col0 + b.n;
            double *at = mine ? clvi_at(b, CLV_F64, i, j - b.col0) : NULL;
            for (int side = 0; side < 2; side++) {
                if (at) *at += side ? -2 * h : h;
                CHECK_OK(clv_loss_forward(loss, logits, targets, &mean[side], NULL));
            }
            if (!at) continue;
            *at += h;
            CHECK_NEAR((mean[0] - mean[1]) / (2 * h),
                       *(double *)clvi_at(db, CLV_F64, i, j - b.col0), 1e-6);
        }
    clv_loss_destroy(&loss);
    clv_matrix_destroy(&logits);
    clv_matrix_destroy(&targets);
    clv_matrix_destroy(&d);
    clv_grid_destroy(&grid);
}

static void test_failing_allocations(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    clv_status status = CLV_ENOMEM;
    for (int64_t nth = 1; status != CLV_OK && nth < 1000; nth++) {
        clv_spec x = {7, 5, 0, 0, CLV_F64, {.cols = clv_order_append(0, 0)}};
        clv_spec t = {7, 1, 0, 0, CLV_I32, {.rows = clv_order_append(0, 0)}};
        int64_t live = clvi_alloc_live();
        clv_loss *loss = NULL;
        if (clv_grid_rank(grid) == 0) clvi_alloc_fail_at(nth);
        status = clv_loss_create(grid, x, t, &loss);
        clvi_alloc_fail_at(0);
        double sum = status;
        CHECK_OK(clv_grid_reduce(grid, CLV_SUM, 1, &sum));
        CHECK_INT((int)sum, (int)status * clv_grid_size(grid));
        CHECK((loss == NULL) == (status != CLV_OK));
        CHECK(nth > 1 || status == CLV_ENOMEM);
        clv_loss_destroy(&loss);
        CHECK_INT(clvi_alloc_live(), live);
    }
    CHECK_INT(status, CLV_OK);
    clv_grid_destroy(&grid);
}

static void test_bad_arguments(void)
{
    clv_grid *grid = NULL;
    clv_loss *loss = NULL;
    clv_matrix *logits = NULL, *targets = NULL;
    double mean;
    clv_spec x = {7, 5, 0, 0, CLV_F64, {0}}, t = {7, 1, 0, 0, CLV_I32, {0}}, bad;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    bad = t, bad.m = 6;
    CHECK_STATUS(clv_loss_create(grid, x, bad, &loss), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(), "loss: rows of targets: expected 7, found 6");
    bad = t, bad.dtype = CLV_F32;
    CHECK_STATUS(clv_loss_create(grid, x, bad, &loss), CLV_EDTYPE);
    bad = x, bad.layout.sum = 1;
    CHECK_STATUS(clv_loss_create(grid, bad, t, &loss), CLV_ELAYOUT);
    CHECK(!loss);
    CHECK_OK(clv_loss_create(grid, x, t, &loss));
    bad = x, bad.n = 4;
    CHECK_OK(clv_matrix_create(grid, bad, &logits));
    CHECK_OK(clv_matrix_create(grid, t, &targets));
    CHECK_STATUS(clv_loss_forward(loss, logits, targets, &mean, NULL), CLV_ESHAPE);
    clv_matrix_destroy(&logits);
    clv_matrix_destroy(&targets);
    clv_loss_destroy(&loss);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"any layouts", test_any_layouts},         {"extremes", test_extremes},
    {"central differences", test_differences}, {"failing allocations", test_failing_allocations},
    {"bad arguments", test_bad_arguments},     {0}};
