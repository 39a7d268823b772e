/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan.c: what every plan is: checked operands, steps that can be printed, and one executor.
 */
#include "clvi_planner.h"

#include <stdarg.h>
#include <stdlib.h>

/* ---- Steps ---- */

static clvi_step *add_step(clv_plan *plan, clvi_volume volume, double seconds)
{
    assert(plan->nsteps < CLVI_STEPS);
    clvi_step *s = &plan->steps[plan->nsteps++];
    s->bytes = (double)volume.bytes;
    s->messages = volume.messages;
    s->seconds = seconds;
    plan->bytes += volume.bytes;
    return s;
}

void clvi_plan_add_step(clv_plan *plan, clvi_volume volume, double seconds, const char *format, ...)
{
    clvi_step *s = add_step(plan, volume, seconds);
    va_list args;
    va_start(args, format);
    vsnprintf(s->text, sizeof s->text, format, args);
    va_end(args);
}

/* Processes that hold the same elements in a layout: copies of them, or terms. */
static int64_t multiplicity(const clv_grid *grid, clv_layout layout, clv_axes once)
{
    clv_axes cut = clv_order_set(layout.rows) | clv_order_set(layout.cols) | once;
    int64_t product = 1;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (!(cut >> axis & 1)) product *= clv_grid_axis(grid, axis).size;
    return product;
}

/* The collective that a route amounts to. */
static void name_route(const clv_grid *grid, const clvi_route *route, clvi_step *step)
{
    int64_t before = multiplicity(grid, route->src.layout, 0);
    int64_t after = multiplicity(grid, route->dst.layout, route->first);
    bool reduced = route->src.layout.sum & ~route->dst.layout.sum;
    step->still = after < before ? "slice" : "copy";
    step->moved = reduced ? "reduce-scatter" : after > before ? "all-gather" : "all-to-all";
}

void clvi_plan_add_move(clv_plan *plan, const char *label, clv_spec src, clv_spec dst)
{
    clvi_route routes[2];
    char from[96], to[96];
    int nroutes = clvi_move_routes(plan->grid, src, dst, routes);
    for (int i = 0; i < nroutes; i++) {
        clv_spec target = i == nroutes - 1 ? dst : routes[i].dst;
        clvi_volume volume = clvi_route_volume(plan->grid, &routes[i], clv_grid_rank(plan->grid));
        clvi_step *s = add_step(plan, volume, clvi_cost_messages(&plan->model.machine, volume));
        clv_layout_format(plan->grid, routes[i].src.layout, from, sizeof from);
        clv_layout_format(plan->grid, target.layout, to, sizeof to);
        snprintf(s->text, sizeof s->text, "%s[%lld x %lld] %s -> %s", label, (long long)dst.m,
                 (long long)dst.n, from, to);
        name_route(plan->grid, &routes[i], s);
    }
}

clv_status clvi_plan_close(clv_plan *plan)
{
    enum { EACH = 3 };
    double most[EACH * CLVI_STEPS + 1] = {0};
    for (int i = 0; i < plan->nsteps; i++) {
        most[EACH * i] = plan->steps[i].bytes;
        most[EACH * i + 1] = plan->steps[i].messages;
        most[EACH * i + 2] = plan->steps[i].seconds;
    }
    most[EACH * CLVI_STEPS] = (double)plan->memory;
    clv_status status = clv_grid_reduce(plan->grid, CLV_MAX, EACH * CLVI_STEPS + 1, most);
    for (int i = 0; i < plan->nsteps; i++) {
        plan->steps[i].bytes = most[EACH * i];
        plan->steps[i].messages = most[EACH * i + 1];
        plan->steps[i].seconds = most[EACH * i + 2];
    }
    plan->most_memory = most[EACH * CLVI_STEPS];
    return status;
}

clv_status clv_plan_print(const clv_plan *plan, FILE *out)
{
    fprintf(out, "   bytes/rank  messages   seconds  step\n");
    for (int i = 0; i < plan->nsteps; i++) {
        const clvi_step *s = &plan->steps[i];
        fprintf(out, "%13.0f %9.0f %9.2e  ", s->bytes, s->messages, s->seconds);
        if (s->moved) fprintf(out, "%-14s ", s->bytes > 0 ? s->moved : s->still);
        fprintf(out, "%s\n", s->text);
    }
    fprintf(out, "%13.0f bytes of workspace\n", plan->most_memory);
    return ferror(out) ? clvi_fail(CLV_EIO, "clv_plan_print: writing failed") : CLV_OK;
}

uint64_t clv_plan_memory(const clv_plan *plan)
{
    return plan->memory;
}

uint64_t clv_plan_bytes(const clv_plan *plan)
{
    return plan->bytes;
}

double clv_plan_seconds(const clv_plan *plan)
{
    double total = 0;
    for (int i = 0; i < plan->nsteps; i++) total += plan->steps[i].seconds;
    return total;
}

/* ---- Making ---- */

clv_status clvi_plan_open(clv_grid *grid, clv_status mine, const clv_plan_options *options,
                          clv_plan **out)
{
    clv_plan *plan = *out = calloc(1, sizeof *plan);
    clv_plan_options model;
    if (!plan && mine == CLV_OK) mine = clvi_fail(CLV_ENOMEM, "a plan");
    clv_status status = clvi_plan_agree(grid, mine, options, &model);
    if (status != CLV_OK) return status;
    plan->grid = grid;
    plan->model = model;
    return CLV_OK;
}

static clv_status check_move(const clv_matrix *src, const clv_matrix *dst)
{
    clv_status status = CLV_OK;
    clv_spec from = clv_matrix_spec(src), to = clv_matrix_spec(dst);
    CLVI_CHECK(clv_matrix_grid(src) == clv_matrix_grid(dst), CLV_EARG,
               "move: src and dst are on different grids");
    CLVI_CHECK(from.m == to.m && from.n == to.n, CLV_ESHAPE,
               "move: src is %lld x %lld, expected the extents of dst, %lld x %lld",
               (long long)from.m, (long long)from.n, (long long)to.m, (long long)to.n);
    CLVI_CHECK(from.dtype == to.dtype, CLV_EDTYPE, "move: src is %s, expected the type of dst, %s",
               clv_dtype_name(from.dtype), clv_dtype_name(to.dtype));
done:
    return status;
}

/* Everything that executing needs. spread: as the exchange's option. Local. */
static clv_status prepare_move(clv_plan *plan, const clv_matrix *src, const clv_matrix *dst,
                               bool spread)
{
    clv_status status;
    uint64_t cap = plan->model.memory;
    clv_spec from = clv_matrix_spec(src), to = clv_matrix_spec(dst);
    clvi_exchange_options options = {.accumulate = !plan->model.overwrite && to.dtype != CLV_I32,
                                     .staged = clvi_matrix_staged(src),
                                     .staged_dst = clvi_matrix_staged(dst),
                                     .spread = spread};
    plan->specs[0] = from;
    plan->specs[1] = to;
    CLVI_TRY(clvi_move_create(plan->grid, from, to, 0, options, &plan->move));
    plan->memory = clvi_move_memory(plan->move);
    CLVI_CHECK(cap == 0 || plan->memory <= cap, CLV_ENOMEM,
               "move: %llu bytes of workspace allowed a process, rank %d needs %llu",
               (unsigned long long)cap, clv_grid_rank(plan->grid),
               (unsigned long long)plan->memory);
done:
    return status;
}

clv_status clv_plan_move(const clv_matrix *src, const clv_matrix *dst,
                         const clv_plan_options *options, clv_plan **out)
{
    clv_status status;
    clv_grid *grid = clv_matrix_grid(src);
    clv_spec from = clv_matrix_spec(src), to = clv_matrix_spec(dst);
    int64_t values[2 * CLVI_SPEC_VALUES];
    double staged = clvi_matrix_staged(dst);
    clvi_spec_values(from, values);
    clvi_spec_values(to, values + CLVI_SPEC_VALUES);
    *out = NULL;
    CLVI_TRY(clvi_grid_same(grid, check_move(src, dst),
                            CLVI_SPEC_NAMES("src") "," CLVI_SPEC_NAMES("dst"), 2 * CLVI_SPEC_VALUES,
                            values));
    CLVI_TRY(clvi_plan_open(grid, CLV_OK, options, out));
    CLVI_TRY(clv_grid_reduce(grid, CLV_MAX, 1, &staged));
    CLVI_TRY(clv_grid_agree(grid, prepare_move(*out, src, dst, staged == 0)));
    clvi_plan_add_move(*out, "", from, to);
    CLVI_TRY(clvi_plan_close(*out));
done:
    if (status != CLV_OK) clv_plan_destroy(out);
    return status;
}

void clv_plan_destroy(clv_plan **plan)
{
    if (!plan || !*plan) return;
    clvi_move_destroy(&(*plan)->move);
    clvi_product_destroy(&(*plan)->product);
    clvi_scalapack_destroy(&(*plan)->scalapack);
    free(*plan);
    *plan = NULL;
}

/* ---- Executing ---- */

clv_status clv_execute_move(clv_plan *plan, double alpha, const clv_matrix *src, double beta,
                            clv_matrix *dst)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(plan->move, CLV_EARG, "clv_execute_move: expected the plan of a move");
    CLVI_TRY(clvi_matrix_expect(src, "move: src", plan->grid, plan->specs[0]));
    CLVI_TRY(clvi_matrix_expect(dst, "move: dst", plan->grid, plan->specs[1]));
    bool plain = plan->model.overwrite || plan->specs[1].dtype == CLV_I32;
    CLVI_CHECK(!plain || (alpha == 1 && beta == 0), CLV_EARG,
               "clv_execute_move: expected alpha 1 and beta 0 of %s, found %g and %g",
               plan->model.overwrite ? "a plan to overwrite" : "i32", alpha, beta);
    CLVI_TRY(
        clvi_move_execute(plan->move, alpha, clv_matrix_block(src), beta, clv_matrix_block(dst)));
done:
    return status;
}

clv_status clv_move(const clv_matrix *src, clv_matrix *dst)
{
    clv_status status;
    clv_plan *plan = NULL;
    CLVI_TRY(clv_plan_move(src, dst, &(clv_plan_options){.overwrite = true}, &plan));
    CLVI_TRY(clv_execute_move(plan, 1, src, 0, dst));
done:
    clv_plan_destroy(&plan);
    return status;
}
