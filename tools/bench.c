/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench.c: `cleave bench gemm`: a product against its limit and against ScaLAPACK, in one run.
 *
 * Everything measured is a contender: a grid, three matrices and a plan, all through the public
 * library. The limit is the same product cut by the grid without any communication: every process
 * multiplies the rows and columns of its own block of C, with its share of k, alone on a grid of
 * one, all at the same time. They run in turns, so that what disturbs the machine disturbs all of
 * them alike, and the time of a turn is that of the slowest process.
 */
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int part; /* always gemm, so far */
    int64_t m, n, k, repeat, threads;
    const char *grid, *layouts[3];
    bool trans_a, trans_b, plan;
    clv_dtype dtype;
    int against;
} bench_args;

enum { AGAINST_NOTHING, AGAINST_SCALAPACK };
enum { LIMIT, CLEAVE, SCALAPACK, CONTENDERS };
enum { A, B, C, OPERANDS };

typedef struct {
    int64_t m, n, k;
} extents;

typedef struct {
    const char *name;
    clv_grid *grid;
    clv_matrix *matrices[OPERANDS];
    clv_plan *plan;   /* NULL: does not take part    */
    char reason[512]; /* why it could not            */
    double *turns;    /* seconds                     */
    double seconds;   /* their median                */
    double gflops;    /* of all processes together   */
    char axes[256], layouts[OPERANDS][128];
} contender;

typedef struct {
    const bench_args *args;
    contender contenders[CONTENDERS];
    int threads;
    double bytes; /* the most that a process receives in one product */
} bench;

/* ---- Contenders ---- */

/* Rows over the only axis, or over the first half of the axes and columns over the rest. */
static clv_layout default_layout(const clv_grid *grid)
{
    clv_layout layout = {0};
    int naxes = clv_grid_naxes(grid);
    for (int axis = 0; axis < naxes; axis++) {
        clv_order *list = axis < (naxes + 1) / 2 ? &layout.rows : &layout.cols;
        *list = clv_order_append(*list, axis);
    }
    return layout;
}

/* C[m,n] = op(A)[m,k] op(B)[k,n]; layouts as text, NULL for the rule above. */
static clv_status describe(const bench_args *args, extents e, const clv_grid *grid,
                           const char *const layouts[], clv_spec specs[])
{
    clv_status status = CLV_OK;
    specs[A] = args->trans_a ? (clv_spec){.m = e.k, .n = e.m} : (clv_spec){.m = e.m, .n = e.k};
    specs[B] = args->trans_b ? (clv_spec){.m = e.n, .n = e.k} : (clv_spec){.m = e.k, .n = e.n};
    specs[C] = (clv_spec){.m = e.m, .n = e.n};
    for (int i = 0; i < OPERANDS; i++) {
        specs[i].dtype = args->dtype;
        specs[i].layout = default_layout(grid);
        if (layouts[i]) TRY(clv_layout_parse(grid, layouts[i], &specs[i].layout));
    }
done:
    return status;
}

/* Of the limit's product here: this process's block of C, and as much of k as leaves each its
 * part of the work. */
static extents share(const clv_grid *grid, clv_spec c, int64_t k)
{
    clv_block block = clv_spec_block(grid, c, clv_grid_rank(grid));
    clv_axes cut = clv_order_set(c.layout.rows) | clv_order_set(c.layout.cols);
    int64_t same = 1; /* processes that hold this block */
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (!(cut >> axis & 1)) same *= clv_grid_axis(grid, axis).size;
    return (extents){block.m, block.n, (k + same - 1) / same};
}

static double bytes_of(double m, double n, clv_dtype dtype)
{
    return m * n * (double)clv_dtype_size(dtype);
}

/* Before anything is allocated: whether all contenders' matrices fit, side by side; ScaLAPACK's
 * taken to be cut as Cleave's. Collective. */
static clv_status check_room(const bench_args *args, clv_grid *grid)
{
    clv_spec specs[OPERANDS];
    extents whole = {args->m, args->n, args->k};
    clv_status status = describe(args, whole, grid, args->layouts, specs);
    if (status != CLV_OK) return status;
    double bytes = 0;
    for (int i = 0; i < OPERANDS; i++) {
        clv_block block = clv_spec_block(grid, specs[i], clv_grid_rank(grid));
        bytes += bytes_of((double)block.m, (double)block.n, args->dtype);
    }
    if (!args->plan) {
        extents e = share(grid, specs[C], args->k);
        double m = (double)e.m, n = (double)e.n, k = (double)e.k;
        if (args->against == AGAINST_SCALAPACK) bytes *= 2;
        bytes +=
            bytes_of(m, k, args->dtype) + bytes_of(k, n, args->dtype) + bytes_of(m, n, args->dtype);
    }
    return room_for(grid, "the matrices do", bytes);
}

/* Collective over the contender's grid. */
static clv_status open_matrices(const bench_args *args, extents e, const char *const layouts[],
                                contender *c)
{
    clv_status status;
    clv_spec specs[OPERANDS];
    TRY(describe(args, e, c->grid, layouts, specs));
    for (int i = 0; i < OPERANDS; i++) {
        clv_layout_format(c->grid, specs[i].layout, c->layouts[i], sizeof c->layouts[i]);
        TRY(clv_matrix_create(c->grid, specs[i], &c->matrices[i]));
        TRY(clv_matrix_fill_normal(c->matrices[i], 1, (uint64_t)i, 0, 1));
    }
    tool_grid_format(c->grid, c->axes, sizeof c->axes);
done:
    return status;
}

static clv_status plan_contender(const bench_args *args, clv_backend backend, contender *c)
{
    return clv_plan_gemm(args->trans_a ? CLV_T : CLV_N, c->matrices[A],
                         args->trans_b ? CLV_T : CLV_N, c->matrices[B], c->matrices[C],
                         &(clv_plan_options){.backend = backend}, &c->plan);
}

static void close_contender(contender *c)
{
    clv_plan_destroy(&c->plan);
    for (int i = 0; i < OPERANDS; i++) clv_matrix_destroy(&c->matrices[i]);
    clv_grid_destroy(&c->grid);
}

static clv_status open_cleave(const bench_args *args, contender *c)
{
    clv_status status;
    TRY(clv_grid_create_text(MPI_COMM_WORLD, args->grid, &c->grid));
    TRY(check_room(args, c->grid));
    TRY(open_matrices(args, (extents){args->m, args->n, args->k}, args->layouts, c));
    TRY(plan_contender(args, CLV_BACKEND_AUTO, c));
done:
    return status;
}

static clv_status open_limit(const bench_args *args, const contender *whole, contender *c)
{
    clv_status status;
    static const char *const alone[OPERANDS];
    extents e = share(whole->grid, clv_matrix_spec(whole->matrices[C]), args->k);
    TRY(clv_grid_create_text(MPI_COMM_SELF, NULL, &c->grid));
    TRY(open_matrices(args, e, alone, c));
    TRY(plan_contender(args, CLV_BACKEND_AUTO, c));
done:
    return clv_grid_agree(whole->grid, status);
}

static clv_status try_scalapack(const bench_args *args, const char *grid,
                                const char *const layouts[], contender *c)
{
    clv_status status;
    TRY(clv_grid_create_text(MPI_COMM_WORLD, grid, &c->grid));
    TRY(open_matrices(args, (extents){args->m, args->n, args->k}, layouts, c));
    TRY(plan_contender(args, CLV_BACKEND_SCALAPACK, c));
done:
    if (status != CLV_OK) close_contender(c);
    return status;
}

static bool refused(clv_status status)
{
    return status == CLV_EUNSUPPORTED || status == CLV_ELIMIT;
}

/* In the same layouts if ScaLAPACK takes them, else on the squarest grid that it takes. */
static clv_status open_scalapack(const bench_args *args, contender *c)
{
    static const char *const by_rule[OPERANDS];
    char grid[64];
    int size;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    clv_status status = try_scalapack(args, args->grid, args->layouts, c);
    if (refused(status)) snprintf(c->reason, sizeof c->reason, "%s", clv_last_error());
    for (int rows = (int)sqrt(size); rows > 0 && refused(status); rows--) {
        if (size % rows) continue;
        snprintf(grid, sizeof grid, "r=%d,c=%d", rows, size / rows);
        status = try_scalapack(args, grid, by_rule, c);
    }
    return refused(status) ? CLV_OK : status;
}

/* ---- Turns ---- */

/* Seconds of the slowest process. */
static clv_status take_turn(clv_grid *all, contender *c, double *seconds)
{
    clv_status status;
    TRY(clv_grid_barrier(all));
    double start = tool_seconds();
    status = clv_execute_gemm(c->plan, 1, c->matrices[A], c->matrices[B], 0, c->matrices[C]);
    *seconds = tool_seconds() - start;
    TRY(clv_grid_agree(all, status));
    TRY(clv_grid_reduce(all, CLV_MAX, 1, seconds));
done:
    return status;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* All in turn, args->repeat times, after one turn that does not count. */
static clv_status measure(bench *b)
{
    clv_status status = CLV_OK;
    const bench_args *args = b->args;
    contender *cleave = &b->contenders[CLEAVE];
    clv_grid *all = cleave->grid;
    double flops = 2.0 * (double)args->m * (double)args->n * (double)args->k;
    for (int64_t turn = -1; turn < args->repeat; turn++)
        for (contender *c = b->contenders; c < b->contenders + CONTENDERS; c++) {
            clv_grid_traffic_reset(all);
            if (c->plan) TRY(take_turn(all, c, &c->turns[turn < 0 ? 0 : turn]));
            if (c == cleave) b->bytes = (double)clv_grid_traffic(all).bytes_received;
        }
    for (contender *c = b->contenders; c < b->contenders + CONTENDERS; c++) {
        c->seconds = c->plan ? median(c->turns, args->repeat) : NAN;
        c->gflops = flops / c->seconds / 1e9;
    }
    TRY(clv_grid_reduce(all, CLV_MAX, 1, &b->bytes));
done:
    return status;
}

/* ---- What is said of it ---- */

/* The plan as text; freed by the caller. */
static clv_status plan_text(const clv_plan *plan, char **text)
{
    size_t length;
    *text = NULL;
    FILE *out = open_memstream(text, &length);
    if (!out) return tool_fail(CLV_ENOMEM, "no memory for the text of a plan");
    clv_status status = clv_plan_print(plan, out);
    if (fclose(out) && status == CLV_OK) status = tool_fail(CLV_ENOMEM, "no memory for a plan");
    return status;
}

/* What was asked, for each of the two JSON objects. */
static json_t *question(const bench *b)
{
    const bench_args *args = b->args;
    const contender *c = &b->contenders[CLEAVE];
    return json_pack("{s:s,s:I,s:I,s:I,s:s,s:b,s:b,s:s,s:{s:s,s:s,s:s},s:i,s:i}", "bench", "gemm",
                     "m", (json_int_t)args->m, "n", (json_int_t)args->n, "k", (json_int_t)args->k,
                     "dtype", clv_dtype_name(args->dtype), "transpose_a", args->trans_a,
                     "transpose_b", args->trans_b, "grid", c->axes, "layouts", "a", c->layouts[A],
                     "b", c->layouts[B], "c", c->layouts[C], "ranks", clv_grid_size(c->grid),
                     "threads", b->threads);
}

static void show_question(const bench *b)
{
    const bench_args *args = b->args;
    const contender *c = &b->contenders[CLEAVE];
    int ranks = clv_grid_size(c->grid);
    output_text("C[%lld x %lld] = %s[k = %lld] %s, %s, on %d process%s (%s), %d thread%s each\n",
                (long long)args->m, (long long)args->n, args->trans_a ? "A^T" : "A",
                (long long)args->k, args->trans_b ? "B^T" : "B", clv_dtype_name(args->dtype), ranks,
                ranks == 1 ? "" : "es", c->axes, b->threads, b->threads == 1 ? "" : "s");
    output_text("A in %s, B in %s, C in %s\n\n", c->layouts[A], c->layouts[B], c->layouts[C]);
}

static clv_status show_plan(const bench *b)
{
    const clv_plan *plan = b->contenders[CLEAVE].plan;
    char *text = NULL;
    double bytes[] = {(double)clv_plan_bytes(plan)};
    clv_status status = clv_grid_reduce(b->contenders[CLEAVE].grid, CLV_MAX, 1, bytes);
    if (status == CLV_OK) status = plan_text(plan, &text);
    if (status == CLV_OK) {
        show_question(b);
        output_text("%s", text);
        json_t *object = question(b);
        json_object_update_new(object, json_pack("{s:s,s:I,s:o}", "plan", text, "bytes_per_rank",
                                                 (json_int_t)bytes[0], "seconds",
                                                 output_number(clv_plan_seconds(plan))));
        output_json("o", object);
    }
    free(text);
    return status;
}

static void show_row(const contender *c, double limit)
{
    if (c->plan)
        output_text("  %-10s %10.4g %10.1f %10.3f   %s\n", c->name, c->seconds, c->gflops,
                    c->gflops / limit, c->axes);
    else if (*c->reason)
        output_text("  %-10s not measured: %s\n", c->name, c->reason);
}

static clv_status show_result(const bench *b)
{
    const contender *c = b->contenders;
    char *text = NULL;
    clv_status status = plan_text(c[CLEAVE].plan, &text);
    if (status != CLV_OK) return status;
    show_question(b);
    output_text("  %-10s %10s %10s %10s   grid\n", "", "seconds", "GFLOP/s", "of limit");
    for (int i = 0; i < CONTENDERS; i++) show_row(&c[i], c[LIMIT].gflops);
    output_text("\n%.0f bytes received by each process at most; the plan:\n%s", b->bytes, text);
    json_t *object = question(b);
    json_object_update_new(
        object,
        json_pack("{s:o,s:o,s:o,s:o,s:I,s:o,s:o,s:o,s:I}", "gflops",
                  output_number(c[CLEAVE].gflops), "limit_gflops", output_number(c[LIMIT].gflops),
                  "fraction", output_number(c[CLEAVE].gflops / c[LIMIT].gflops), "scalapack_gflops",
                  output_number(c[SCALAPACK].gflops), "bytes_per_rank", (json_int_t)b->bytes,
                  "seconds", output_number(c[CLEAVE].seconds), "limit_seconds",
                  output_number(c[LIMIT].seconds), "scalapack_seconds",
                  output_number(c[SCALAPACK].seconds), "repeat", (json_int_t)b->args->repeat));
    if (c[SCALAPACK].plan)
        json_object_set_new(object, "scalapack_grid", json_string(c[SCALAPACK].axes));
    if (*c[SCALAPACK].reason)
        json_object_set_new(object, "scalapack_reason", json_string(c[SCALAPACK].reason));
    output_json("o", object);
    free(text);
    return CLV_OK;
}

/* ---- The command ---- */

static clv_status open_contenders(bench *b)
{
    clv_status status;
    const bench_args *args = b->args;
    contender *c = b->contenders;
    TRY(open_cleave(args, &c[CLEAVE]));
    b->threads = args->threads ? (int)args->threads : clv_blas_describe().threads;
    if (!args->plan) {
        TRY(open_limit(args, &c[CLEAVE], &c[LIMIT]));
        if (args->against == AGAINST_SCALAPACK) TRY(open_scalapack(args, &c[SCALAPACK]));
    }
    /* A grid of one process takes all cores of its node for itself: it does not know the others. */
    clv_blas_set_threads(b->threads);
    int64_t turns = args->repeat;
    for (int i = 0; i < CONTENDERS; i++)
        if (!(c[i].turns = calloc((size_t)turns, sizeof *c[i].turns)))
            status = tool_fail(CLV_ENOMEM, "no memory for %lld turns", (long long)turns);
    status = clv_grid_agree(c[CLEAVE].grid, status);
done:
    return status;
}

static clv_status bench_gemm(void *asked)
{
    clv_status status;
    bench b = {.args = asked,
               .contenders = {{.name = "limit"}, {.name = "cleave"}, {.name = "scalapack"}}};
    TRY(open_contenders(&b));
    if (b.args->plan) {
        status = show_plan(&b);
    } else {
        TRY(measure(&b));
        status = show_result(&b);
    }
done:
    for (int i = 0; i < CONTENDERS; i++) {
        free(b.contenders[i].turns);
        close_contender(&b.contenders[i]);
    }
    return status;
}

static const manual bench_manual = {
    .name = "bench",
    .synopsis = "gemm [options]",
    .about =
        "Multiplies C = op(A) op(B) over a grid, and says how near that comes to the limit: every\n"
        "process multiplying its own share at the same time, with no communication at all. The\n"
        "contenders take turns; seconds are the median, each turn being that of the slowest "
        "process.",
    .examples =
        "  mpiexec.mpich -n 2 cleave bench gemm --grid row=2 --against scalapack\n"
        "  mpiexec.mpich -n 4 cleave bench gemm -m 512 -n 8192 -k 2048 --grid row=2,col=2 \\\n"
        "      --layout-a 'row|-' --layout-b '-|col' --layout-c 'row|col' --dtype f32 --json\n"
        "  mpiexec.mpich -n 4 cleave bench gemm --grid row=2,col=2 --plan\n",
};

int cmd_bench(int argc, char **argv)
{
    bench_args args = {0};
    option options[] = {
        opt_choice("", "gemm", &args.part, REQUIRED, "gemm", "what to measure"),
        opt_int("m", "N", &args.m, "4096", 1, 1e9, "rows of C"),
        opt_int("n", "N", &args.n, "4096", 1, 1e9, "columns of C"),
        opt_int("k", "N", &args.k, "4096", 1, 1e9, "terms of each element of C"),
        opt_choice("dtype", "TYPE", &args.dtype, "f64", "f32|f64", "type of all numbers"),
        opt_text("grid", "AXES", &args.grid, NULL, "row=2,col=2; sizes multiply to the ranks"),
        opt_text("layout-a", "LAYOUT", &args.layouts[A], NULL,
                 "rows over the first half of the axes, columns over the rest"),
        opt_text("layout-b", "LAYOUT", &args.layouts[B], NULL, "the same"),
        opt_text("layout-c", "LAYOUT", &args.layouts[C], NULL, "the same"),
        opt_flag("transpose-a", &args.trans_a, "A is stored as its transpose, k x m"),
        opt_flag("transpose-b", &args.trans_b, "B is stored as its transpose, n x k"),
        opt_choice("against", "PEER", &args.against, "nothing", "nothing|scalapack",
                   "p?gemm in the same layouts, or on its best grid"),
        opt_int("repeat", "N", &args.repeat, "5", 1, 100000, "turns of each"),
        opt_int("threads", "N", &args.threads, NULL, 1, 4096,
                "threads of each process (the cores of the node, shared)"),
        opt_flag("plan", &args.plan, "show the plan and stop"),
        JSON_OPTION,
        {0},
    };
    int code = options_parse(&bench_manual, options, argc, argv);
    return code == OPTIONS_RUN ? tool_run(bench_gemm, &args) : code;
}
