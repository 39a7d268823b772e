/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan.c: what every plan is: checked operands, steps that can be printed, and one executor.
 */
#include <clvi_dist.h>
#include <clvi_scalapack.h>
#include <stdarg.h>
#include <stdlib.h>

enum { STEPS_MAX = 8, TEXT_SIZE = 256 };

typedef struct {
    char text[TEXT_SIZE];
    double bytes, messages, seconds; /* the most of any process, once planned */
} step;

struct clv_plan {
    clv_grid *grid;
    clv_plan_options model;
    clv_spec specs[3]; /* A, B, C of a product; src, dst of a move */
    clvi_move *move;
    clvi_product *product;
    clvi_scalapack *scalapack;
    uint64_t bytes; /* received by this process */
    int nsteps;
    step steps[STEPS_MAX];
};

/* ---- Steps ---- */

void clvi_plan_add_step(clv_plan *plan, clvi_volume volume, double seconds, const char *format, ...)
{
    assert(plan->nsteps < STEPS_MAX);
    step *s = &plan->steps[plan->nsteps++];
    va_list args;
    va_start(args, format);
    vsnprintf(s->text, sizeof s->text, format, args);
    va_end(args);
    s->bytes = (double)volume.bytes;
    s->messages = volume.messages;
    s->seconds = seconds;
    plan->bytes += volume.bytes;
}

/* The collective that a route amounts to. */
static const char *route_name(const clv_grid *grid, const clvi_route *route)
{
    int64_t before = 0, after = 0, received = 0;
    for (int rank = 0; rank < clv_grid_size(grid); rank++) {
        clv_block src = clv_spec_block(grid, route->src, rank);
        clv_block dst = clvi_route_target(grid, route, rank);
        before += src.m * src.n;
        after += dst.m * dst.n;
        received += (int64_t)clvi_route_volume(grid, route, rank).bytes;
    }
    if (received == 0) return after < before ? "slice" : "copy";
    if (route->src.layout.sum & ~route->dst.layout.sum) return "reduce-scatter";
    return after > before ? "all-gather" : "all-to-all";
}

void clvi_plan_add_move(clv_plan *plan, const char *label, clv_spec src, clv_spec dst)
{
    clvi_route routes[2];
    char from[128], to[128];
    int nroutes = clvi_move_routes(plan->grid, src, dst, routes);
    for (int i = 0; i < nroutes; i++) {
        clv_spec target = i == nroutes - 1 ? dst : routes[i].dst;
        clvi_volume volume = clvi_route_volume(plan->grid, &routes[i], clv_grid_rank(plan->grid));
        clv_layout_format(plan->grid, routes[i].src.layout, from, sizeof from);
        clv_layout_format(plan->grid, target.layout, to, sizeof to);
        clvi_plan_add_step(plan, volume, clvi_cost_messages(&plan->model.machine, volume),
                           "%-14s %s[%lld x %lld] %s -> %s", route_name(plan->grid, &routes[i]),
                           label, (long long)dst.m, (long long)dst.n, from, to);
    }
}

/* The most of any process, for printing. Collective. */
static clv_status agree_on_steps(clv_plan *plan)
{
    double most[3 * STEPS_MAX] = {0};
    for (int i = 0; i < plan->nsteps; i++) {
        most[3 * i] = plan->steps[i].bytes;
        most[3 * i + 1] = plan->steps[i].messages;
        most[3 * i + 2] = plan->steps[i].seconds;
    }
    clv_status status = clv_grid_reduce(plan->grid, CLV_MAX, 3 * STEPS_MAX, most);
    for (int i = 0; i < plan->nsteps; i++) {
        plan->steps[i].bytes = most[3 * i];
        plan->steps[i].messages = most[3 * i + 1];
        plan->steps[i].seconds = most[3 * i + 2];
    }
    return status;
}

clv_status clv_plan_print(const clv_plan *plan, FILE *out)
{
    fprintf(out, "   bytes/rank  messages   seconds  step\n");
    for (int i = 0; i < plan->nsteps; i++) {
        const step *s = &plan->steps[i];
        fprintf(out, "%13.0f %9.0f %9.2e  %s\n", s->bytes, s->messages, s->seconds, s->text);
    }
    return ferror(out) ? clvi_fail(CLV_EIO, "clv_plan_print: writing failed") : CLV_OK;
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

static clv_status plan_open(clv_grid *grid, const clv_plan_options *options, clv_plan **out)
{
    clv_plan *plan = *out = calloc(1, sizeof *plan);
    if (!plan) return clvi_fail(CLV_ENOMEM, "a plan");
    plan->grid = grid;
    return clvi_plan_defaults(options, &plan->model);
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

clv_status clv_plan_move(const clv_matrix *src, const clv_matrix *dst,
                         const clv_plan_options *options, clv_plan **out)
{
    clv_status status;
    clv_grid *grid = clv_matrix_grid(src);
    clv_spec from = clv_matrix_spec(src), to = clv_matrix_spec(dst);
    int64_t values[2 * CLVI_SPEC_VALUES];
    clvi_spec_values(from, values);
    clvi_spec_values(to, values + CLVI_SPEC_VALUES);
    *out = NULL;
    CLVI_TRY(clvi_grid_same(grid, check_move(src, dst),
                            CLVI_SPEC_NAMES("src") "," CLVI_SPEC_NAMES("dst"), 2 * CLVI_SPEC_VALUES,
                            values));
    clv_status mine = plan_open(grid, options, out);
    if (mine == CLV_OK) {
        (*out)->specs[0] = from;
        (*out)->specs[1] = to;
        bool accumulate = !(*out)->model.overwrite && to.dtype != CLV_I32;
        clvi_exchange_options with = {.accumulate = accumulate,
                                      .staged = clvi_matrix_staged(src),
                                      .staged_dst = clvi_matrix_staged(dst)};
        mine = clvi_move_create(grid, from, to, 0, with, &(*out)->move);
    }
    CLVI_TRY(clv_grid_agree(grid, mine));
    clvi_plan_add_move(*out, "", from, to);
    CLVI_TRY(agree_on_steps(*out));
done:
    if (status != CLV_OK) clv_plan_destroy(out);
    return status;
}

static clv_status check_gemm(clv_op op_a, const clv_matrix *A, clv_op op_b, const clv_matrix *B,
                             const clv_matrix *C, int64_t backend)
{
    clv_status status = CLV_OK;
    clv_spec a = clv_matrix_spec(A), b = clv_matrix_spec(B), c = clv_matrix_spec(C);
    int64_t m = op_a == CLV_T ? a.n : a.m, ka = op_a == CLV_T ? a.m : a.n;
    int64_t kb = op_b == CLV_T ? b.n : b.m, n = op_b == CLV_T ? b.m : b.n;
    clv_grid *grid = clv_matrix_grid(A);
    CLVI_CHECK(grid == clv_matrix_grid(B) && grid == clv_matrix_grid(C), CLV_EARG,
               "gemm: A, B and C are on different grids");
    CLVI_CHECK((op_a == CLV_N || op_a == CLV_T) && (op_b == CLV_N || op_b == CLV_T), CLV_EARG,
               "gemm: expected CLV_N or CLV_T, found %d and %d", (int)op_a, (int)op_b);
    CLVI_CHECK(backend == CLV_BACKEND_AUTO || backend == CLV_BACKEND_SCALAPACK, CLV_EARG,
               "gemm: expected CLV_BACKEND_AUTO or CLV_BACKEND_SCALAPACK, found backend %d",
               (int)backend);
    CLVI_CHECK(ka == kb && c.m == m && c.n == n, CLV_ESHAPE,
               "gemm: op(A) is %lld x %lld, op(B) %lld x %lld, C %lld x %lld: expected m x k, k x "
               "n, m x n",
               (long long)m, (long long)ka, (long long)kb, (long long)n, (long long)c.m,
               (long long)c.n);
    CLVI_CHECK(a.dtype == b.dtype && a.dtype == c.dtype &&
                   (a.dtype == CLV_F32 || a.dtype == CLV_F64),
               CLV_EDTYPE, "gemm: expected f32 or f64 throughout, found %s, %s and %s",
               clv_dtype_name(a.dtype), clv_dtype_name(b.dtype), clv_dtype_name(c.dtype));
done:
    return status;
}

/* The best candidate of all. Collective. */
static clv_status plan_product(clv_plan *plan, clv_op op_a, clv_spec a, clv_op op_b, clv_spec b,
                               clv_spec c)
{
    clv_status status;
    clvi_candidate best;
    clvi_problem problem = {.grid = plan->grid,
                            .dtype = c.dtype,
                            .trans = {op_a == CLV_T, op_b == CLV_T},
                            .given = {op_a == CLV_T ? clvi_spec_transposed(a) : a,
                                      op_b == CLV_T ? clvi_spec_transposed(b) : b, c},
                            .options = &plan->model};
    for (int i = 0; i < CLVI_OPERANDS; i++)
        problem.given[i] = clvi_spec_without_single_axes(plan->grid, problem.given[i]);
    CLVI_TRY(clvi_choose(&problem, &best));
    CLVI_TRY(clvi_product_create(&problem, &best, &plan->product));
    clvi_product_explain(plan->product, plan);
done:
    return status;
}

/* The backend of a product, operands checked and the same everywhere. Collective. */
static clv_status plan_backend(clv_plan *plan, clv_op op_a, const clv_matrix *A, clv_op op_b,
                               const clv_matrix *B, const clv_matrix *C)
{
    clv_spec a = plan->specs[0], b = plan->specs[1], c = plan->specs[2];
    if (plan->model.backend == CLV_BACKEND_AUTO) return plan_product(plan, op_a, a, op_b, b, c);
    clvi_plan_add_step(plan, (clvi_volume){0}, 0, "ScaLAPACK p?gemm (bytes not counted)");
    return clvi_scalapack_plan(plan->grid, op_a, A, op_b, B, C, &plan->scalapack);
}

clv_status clv_plan_gemm(clv_op op_a, const clv_matrix *A, clv_op op_b, const clv_matrix *B,
                         const clv_matrix *C, const clv_plan_options *options, clv_plan **out)
{
    clv_status status;
    clv_grid *grid = clv_matrix_grid(A);
    int64_t values[3 * CLVI_SPEC_VALUES + 3] = {op_a, op_b, options ? options->backend : 0};
    clvi_spec_values(clv_matrix_spec(A), values + 3);
    clvi_spec_values(clv_matrix_spec(B), values + 3 + CLVI_SPEC_VALUES);
    clvi_spec_values(clv_matrix_spec(C), values + 3 + 2 * CLVI_SPEC_VALUES);
    *out = NULL;
    CLVI_TRY(clvi_grid_same(grid, check_gemm(op_a, A, op_b, B, C, values[2]),
                            "op_a,op_b,the backend," CLVI_SPEC_NAMES("A") "," CLVI_SPEC_NAMES(
                                "B") "," CLVI_SPEC_NAMES("C"),
                            3 * CLVI_SPEC_VALUES + 3, values));
    CLVI_TRY(clv_grid_agree(grid, plan_open(grid, options, out)));
    (*out)->specs[0] = clv_matrix_spec(A);
    (*out)->specs[1] = clv_matrix_spec(B);
    (*out)->specs[2] = clv_matrix_spec(C);
    CLVI_TRY(plan_backend(*out, op_a, A, op_b, B, C));
    CLVI_TRY(agree_on_steps(*out));
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
    CLVI_TRY(clvi_matrix_expect(src, "move: src", plan->specs[0]));
    CLVI_TRY(clvi_matrix_expect(dst, "move: dst", plan->specs[1]));
    bool plain = plan->model.overwrite || plan->specs[1].dtype == CLV_I32;
    CLVI_CHECK(!plain || (alpha == 1 && beta == 0), CLV_EARG,
               "clv_execute_move: expected alpha 1 and beta 0 of %s, found %g and %g",
               plan->model.overwrite ? "a plan to overwrite" : "i32", alpha, beta);
    CLVI_TRY(
        clvi_move_execute(plan->move, alpha, clv_matrix_block(src), beta, clv_matrix_block(dst)));
done:
    return status;
}

clv_status clv_execute_gemm(clv_plan *plan, double alpha, const clv_matrix *A, const clv_matrix *B,
                            double beta, clv_matrix *C)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(plan->product || plan->scalapack, CLV_EARG,
               "clv_execute_gemm: expected the plan of a product");
    CLVI_TRY(clvi_matrix_expect(A, "gemm: A", plan->specs[0]));
    CLVI_TRY(clvi_matrix_expect(B, "gemm: B", plan->specs[1]));
    CLVI_TRY(clvi_matrix_expect(C, "gemm: C", plan->specs[2]));
    if (plan->scalapack)
        status = clvi_scalapack_execute(plan->scalapack, alpha, A, B, beta, C);
    else
        status = clvi_product_execute(plan->product, alpha, clv_matrix_block(A),
                                      clv_matrix_block(B), beta, clv_matrix_block(C));
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
