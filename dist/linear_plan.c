/* SPDX-License-Identifier: BSD-3-Clause
 *
 * linear_plan.c: the three products of a linear layer, and the layouts that make them cheap.
 */
#include "clvi_planner.h"

#include <math.h>
#include <stdlib.h>

enum { F = CLVI_FORWARD, DW = CLVI_DW, DX = CLVI_DX };

/* What the products share, in joint.c's order: X, W, dY. */
static void fill_shares(clv_op op_w, clvi_team *team)
{
    bool t = op_w == CLV_T; /* dW^T = dY^T X */
    team->nshares = 3;
    team->shares[0] = (clvi_share){F, CLVI_A, DW, t ? CLVI_B : CLVI_A};
    team->shares[1] = (clvi_share){F, CLVI_B, DX, CLVI_B};
    team->shares[2] = (clvi_share){DW, t ? CLVI_A : CLVI_B, DX, CLVI_A};
}

clv_status clvi_choose_three(clv_op op_w, const clvi_problem problems[CLVI_TEAM], clvi_team *team)
{
    clv_status status = CLV_OK;
    clvi_space *spaces[CLVI_TEAM] = {NULL};
    clv_grid *grid = problems[F].grid;
    *team = (clvi_team){.count = CLVI_TEAM};
    for (int i = 0; i < CLVI_TEAM && status == CLV_OK; i++)
        status = clvi_space_create(&problems[i], &spaces[i]);
    CLVI_TRY(clv_grid_agree(grid, status));
    for (int i = 0; i < CLVI_TEAM; i++) {
        int count;
        team->problems[i] = &problems[i];
        if (problems[i].options->measure)
            CLVI_TRY(clvi_choose(&problems[i], &team->ways[i]));
        else
            CLVI_TRY(clvi_choose_few(spaces[i], 1, &team->ways[i], &count));
    }
    clvi_team apart = *team;
    fill_shares(op_w, team);
    CLVI_TRY(clvi_choose_joint(spaces, team));
    if (problems[F].options->measure && team->nshares > 0) {
        int fastest;
        CLVI_TRY(clvi_measure(2, (clvi_team[]){*team, apart}, &fastest));
        if (fastest == 1) *team = apart;
    }
done:
    for (int i = 0; i < CLVI_TEAM; i++) clvi_space_destroy(&spaces[i]);
    return status;
}

/* Opens the three plans. Collective. */
static clv_status open_plans(const clv_matrix *X, clv_op op_w, const clv_matrix *W,
                             const clv_matrix *Y, const clv_plan_options *options,
                             clv_plan *plans[CLVI_TEAM], clvi_problem problems[CLVI_TEAM])
{
    clv_status status;
    bool t = op_w == CLV_T;
    CLVI_TRY(clvi_gemm_open(CLV_N, X, op_w, W, Y, options, &plans[F], &problems[F]));
    CLVI_TRY(
        clvi_gemm_open(CLV_T, t ? Y : X, CLV_N, t ? X : Y, W, options, &plans[DW], &problems[DW]));
    CLVI_TRY(clvi_gemm_open(CLV_N, Y, t ? CLV_N : CLV_T, W, X, options, &plans[DX], &problems[DX]));
    CLVI_CHECK(plans[F]->model.backend == CLV_BACKEND_AUTO, CLV_EUNSUPPORTED,
               "linear: expected the backend CLV_BACKEND_AUTO, as others plan products one by one");
done:
    return status;
}

clv_status clv_plan_linear(const clv_matrix *X, clv_op op_w, const clv_matrix *W,
                           const clv_matrix *Y, const clv_plan_options *options, clv_plan **forward,
                           clv_plan **dx, clv_plan **dw)
{
    clv_status status;
    clv_plan *plans[CLVI_TEAM] = {NULL};
    clvi_problem problems[CLVI_TEAM];
    clvi_product *products[CLVI_TEAM] = {NULL};
    clvi_team team;
    CLVI_TRY(open_plans(X, op_w, W, Y, options, plans, problems));
    CLVI_TRY(clvi_choose_three(op_w, problems, &team));
    CLVI_TRY(clvi_team_create(&team, products));
    for (int i = 0; i < CLVI_TEAM; i++) {
        plans[i]->product = products[i];
        clvi_product_explain(products[i], plans[i]);
        plans[i]->memory = clvi_product_held(products[i]);
    }
    for (int i = 0; i < CLVI_TEAM; i++) CLVI_TRY(clvi_plan_close(plans[i]));
done:
    if (status != CLV_OK)
        for (int i = 0; i < CLVI_TEAM; i++) clv_plan_destroy(&plans[i]);
    *forward = plans[F];
    *dx = plans[DX];
    *dw = plans[DW];
    return status;
}

/* ---- Layouts -------------------------------------------------------------------------- */

enum { Z, K, N, KINDS };

typedef struct {
    const clv_grid *grid;
    clv_plan_options model;
    clv_spec X, W, Y; /* without layouts */
} linear_shape;

/* What axes do is a number: a digit in base 3 for each. */
static void layouts_of(const clv_grid *grid, int code, clv_order lists[KINDS])
{
    for (int i = 0; i < KINDS; i++) lists[i] = 0;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++, code /= KINDS)
        lists[code % KINDS] = clv_order_append(lists[code % KINDS], axis);
}

static clv_spec laid(clv_spec spec, clv_order rows, clv_order cols, clv_order sum)
{
    spec.layout = (clv_layout){rows, cols, clv_order_set(sum)};
    return spec;
}

/* One move of the scheme. */
typedef struct {
    clv_spec src, dst;
} step;
enum { MOVES = 5 };

/* Gathers W over z, reduces Y over k; reduces dX over n, and dW over z onto what W was
 * gathered from. W is gathered a second time unless it can be kept. */
static int list_moves(const linear_shape *s, const clv_order l[KINDS], bool kept, step moves[MOVES])
{
    clv_order stored = clv_order_join(l[K], l[Z]);
    clv_spec W = laid(s->W, stored, l[N], 0), whole = laid(s->W, l[K], l[N], 0);
    moves[0] = (step){laid(s->Y, l[Z], l[N], l[K]), laid(s->Y, l[Z], l[N], 0)};
    moves[1] = (step){laid(s->X, l[Z], l[K], l[N]), laid(s->X, l[Z], l[K], 0)};
    moves[2] = (step){laid(s->W, l[K], l[N], l[Z]), W};
    moves[3] = moves[4] = (step){W, whole};
    return kept ? MOVES - 1 : MOVES;
}

/* Seconds of the three local products of rank 0. */
static double multiply_seconds(const linear_shape *s, const clv_order l[KINDS])
{
    clv_block x = clv_spec_block(s->grid, laid(s->X, l[Z], l[K], 0), 0);
    clv_block y = clv_spec_block(s->grid, laid(s->Y, l[Z], l[N], 0), 0);
    const clv_machine *machine = &s->model.machine;
    return clvi_cost_product(machine, s->X.dtype, x.m, y.n, x.n) +
           clvi_cost_product(machine, s->X.dtype, x.m, x.n, y.n) +
           clvi_cost_product(machine, s->X.dtype, x.n, y.n, x.m);
}

/* Seconds of rank 0. bound: all its messages as if they came the cheaper way, within a node or
 * between nodes, which takes no look at who is where. */
static double seconds_of(const linear_shape *s, const clvi_viewpoint *root, int code, bool bound)
{
    clv_order l[KINDS];
    step moves[MOVES];
    layouts_of(s->grid, code, l);
    clv_block W = clv_spec_block(s->grid, laid(s->W, l[K], l[N], 0), 0);
    uint64_t bytes = (uint64_t)(W.m * W.n) * clv_dtype_size(s->W.dtype);
    bool kept = s->model.memory == 0 || bytes <= s->model.memory;
    double seconds = multiply_seconds(s, l);
    for (int i = list_moves(s, l, kept, moves) - 1; i >= 0; i--) {
        if (!bound) {
            clvi_volume volume = clvi_move_volume(s->grid, moves[i].src, moves[i].dst, 0);
            seconds += clvi_cost_messages(&s->model.machine, volume);
            continue;
        }
        clvi_volume volume = clvi_viewpoint_move(root, moves[i].src, moves[i].dst);
        seconds +=
            volume.messages * fmin(s->model.machine.node_latency, s->model.machine.net_latency) +
            (double)volume.bytes /
                fmax(s->model.machine.node_bandwidth, s->model.machine.net_bandwidth);
    }
    return seconds;
}

typedef struct {
    double bound;
    int code;
} scheme;

static int by_bound(const void *left, const void *right)
{
    const scheme *a = left, *b = right;
    if (a->bound != b->bound) return a->bound < b->bound ? -1 : 1;
    return (a->code > b->code) - (a->code < b->code);
}

/* The cheapest for rank 0: the bounds in order, until none that is left can be better. */
static int cheapest(const linear_shape *s, const clvi_viewpoint *root, int count, scheme all[])
{
    double best = INFINITY;
    int code = 0;
    for (int i = 0; i < count; i++) all[i] = (scheme){seconds_of(s, root, i, true), i};
    qsort(all, (size_t)count, sizeof *all, by_bound);
    for (int i = 0; i < count && all[i].bound < best; i++) {
        double seconds = seconds_of(s, root, all[i].code, false);
        if (seconds >= best) continue;
        best = seconds;
        code = all[i].code;
    }
    return code;
}

static clv_status check_layer(const linear_shape *s)
{
    clv_status status = CLV_OK;
    const char *dtype = clv_dtype_name(s->X.dtype);
    CLVI_CHECK(s->X.m >= 0 && s->X.n >= 0 && s->Y.n >= 0, CLV_ESHAPE,
               "linear: expected extents of at least 0, found m, k, n = %lld, %lld, %lld",
               (long long)s->X.m, (long long)s->X.n, (long long)s->Y.n);
    CLVI_CHECK(s->X.dtype == CLV_F32 || s->X.dtype == CLV_F64, CLV_EDTYPE,
               "linear: expected f32 or f64, found %s", dtype ? dtype : "an unknown dtype");
    CLVI_TRY(clvi_spec_check(s->grid, s->X));
    CLVI_TRY(clvi_spec_check(s->grid, s->W));
    CLVI_TRY(clvi_spec_check(s->grid, s->Y));
done:
    return status;
}

clv_status clv_choose_linear(clv_grid *grid, clv_dtype dtype, int64_t m, int64_t k, int64_t n,
                             const clv_plan_options *options, clv_layout *X, clv_layout *W,
                             clv_layout *Y)
{
    clv_status status;
    linear_shape s = {grid, .X = {.m = m, .n = k, .dtype = dtype},
                      .W = {.m = k, .n = n, .dtype = dtype}, .Y = {.m = m, .n = n, .dtype = dtype}};
    clvi_viewpoint root = {.neighbours = NULL};
    scheme *all = NULL;
    clv_order l[KINDS];
    int count = 1;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++) count *= KINDS;
    CLVI_TRY(clvi_grid_same(grid, check_layer(&s), "dtype,m,k,n", 4, (int64_t[]){dtype, m, k, n}));
    CLVI_TRY(clvi_plan_agree(grid, CLV_OK, options, &s.model));
    status = clvi_viewpoint_create(grid, 0, &root);
    if (status == CLV_OK && !(all = calloc((size_t)count, sizeof *all)))
        status = clvi_fail(CLV_ENOMEM, "%d layouts", count);
    CLVI_TRY(clv_grid_agree(grid, status));
    layouts_of(grid, cheapest(&s, &root, count, all), l);
    *X = (clv_layout){.rows = l[Z], .cols = l[K]};
    *W = (clv_layout){.rows = clv_order_join(l[K], l[Z]), .cols = l[N]};
    *Y = (clv_layout){.rows = l[Z], .cols = l[N]};
done:
    free(all);
    clvi_viewpoint_destroy(&root);
    return status;
}
