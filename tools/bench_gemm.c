/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_gemm.c: `cleave bench gemm`: a product against its limit and against ScaLAPACK.
 *
 * The limit is the same product cut by the grid without any communication: every process multiplies
 * the rows and columns of its own block of C, with its share of k, by BLIS, all at the same time.
 * With more processes than cores they share the cores there as everywhere.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { AGAINST_NOTHING, AGAINST_SCALAPACK };
enum { LIMIT, CLEAVE, REPRODUCIBLE, INSTALLED, TUNED, CONTENDERS };
enum { INSTALLED_BLOCK = 32, TUNED_BLOCK = 256 };

typedef struct {
    product_kind kind;
    int64_t repeat, threads;
    const char *grid, *layouts[OPERANDS], *memory;
    bool plan, measure, reproducible;
    int against, op, weights;
    clv_plan_options options;
} gemm_args;

/* p?gemm with one of its blocks. */
typedef struct {
    product *product;
    int block;
} scalapack;

typedef struct {
    const gemm_args *args;
    product limit, cleave, reproducible, scalapack;
    scalapack blocks[2];
    contender contenders[CONTENDERS];
    int threads;
    char reason[512];                      /* why ScaLAPACK could not, or not as asked */
    double bytes;                          /* the most that a process receives in one product */
    double planned_bytes, workspace;       /* the most of any process */
    double mean_workspace, mean_footprint; /* planned and measured: what is shared belongs to all */
} gemm;

static product_kind f_weights(const product_kind *kind)
{
    product_kind other = *kind;
    other.weights = kind->dtype;
    return other;
}

/* ---- Opening ---- */

/* Before anything is allocated: whether all contenders' matrices fit, side by side; ScaLAPACK's
 * taken to be cut as Cleave's. Collective. */
static clv_status check_room(const gemm_args *args, const clv_grid *grid, clv_grid *all)
{
    clv_spec specs[OPERANDS];
    clv_status status = product_specs(&args->kind, grid, args->layouts, specs);
    if (status != CLV_OK) return status;
    double bytes = 0;
    for (int i = 0; i < OPERANDS; i++) bytes += block_bytes(grid, specs[i]);
    product_kind share = product_share(&args->kind, grid, specs[C]);
    bytes *= 1 + (args->against == AGAINST_SCALAPACK) + args->reproducible;
    bytes += product_bytes(&share);
    return room_for(all, "the matrices do", bytes);
}

static clv_status open_limit(gemm *g)
{
    clv_status status;
    const product *whole = &g->cleave;
    product_kind share =
        product_share(&g->args->kind, whole->grid, clv_matrix_spec(whole->matrices[C]));
    TRY(product_open_alone(&share, &g->limit));
done:
    return clv_grid_agree(whole->grid, status);
}

/* What every process allocates once, whatever it multiplies, is no workspace of a plan. */
static clv_status warm_up(gemm *g)
{
    clv_status status;
    product small = {0};
    product_kind kind = g->args->kind;
    kind.size = (extents){64, 64, 64};
    TRY(product_grid(&kind, g->args->grid, 0, &small));
    TRY(product_matrices(g->args->layouts, &small));
    TRY(product_plan(&small, NULL));
    TRY(product_run(&small));
    TRY(product_run_alone(&g->limit));
done:
    product_close(&small);
    return status;
}

/* The plan, and how much memory it takes: executed once, for what executing should not allocate. */
static clv_status plan_cleave(gemm *g)
{
    clv_status status;
    footprint before;
    clv_grid *grid = g->cleave.grid;
    TRY(footprint_start(grid, &before));
    TRY(product_plan(&g->cleave, &g->args->options));
    if (!g->args->plan) {
        clv_grid_traffic_reset(grid);
        TRY(product_run(&g->cleave));
        g->bytes = (double)clv_grid_traffic(grid).bytes_received;
    }
    double memory = (double)clv_plan_memory(g->cleave.plan), sums[] = {memory, 0};
    double most[] = {g->bytes, (double)clv_plan_bytes(g->cleave.plan), memory};
    TRY(footprint_growth(grid, &before, &sums[1]));
    TRY(clv_grid_reduce(grid, CLV_MAX, 3, most));
    TRY(clv_grid_reduce(grid, CLV_SUM, 2, sums));
    g->bytes = most[0], g->planned_bytes = most[1], g->workspace = most[2];
    g->mean_workspace = sums[0] / clv_grid_size(grid);
    g->mean_footprint = fmax(0, sums[1] / clv_grid_size(grid));
done:
    return status;
}

/* With --plan the one product whose plan is asked for, which may be larger than the machine. */
static clv_status open_cleave(gemm *g)
{
    clv_status status;
    const gemm_args *args = g->args;
    int leaves = args->plan && args->reproducible ? CLV_LEAVES : 0;
    g->cleave.shapes = args->plan;
    TRY(product_grid(&args->kind, args->grid, leaves, &g->cleave));
    if (args->threads) clv_blas_set_threads((int)args->threads);
    g->threads = clv_blas_describe().threads;
    if (!args->plan) TRY(check_room(args, g->cleave.grid, g->cleave.grid));
    TRY(product_matrices(args->layouts, &g->cleave));
    if (!args->plan) {
        TRY(open_limit(g));
        TRY(warm_up(g));
        clv_blas_set_threads(g->threads);
    }
    TRY(plan_cleave(g));
done:
    return status;
}

static clv_status open_reproducible(gemm *g)
{
    clv_status status;
    const gemm_args *args = g->args;
    TRY(product_grid(&args->kind, args->grid, CLV_LEAVES, &g->reproducible));
    TRY(product_matrices(args->layouts, &g->reproducible));
    TRY(product_plan(&g->reproducible, &args->options));
done:
    return status;
}

static clv_status try_scalapack(gemm *g, const char *grid, const char *const layouts[])
{
    clv_status status;
    product_kind kind = f_weights(&g->args->kind); /* it knows no mixed products */
    TRY(product_grid(&kind, grid, 0, &g->scalapack));
    TRY(product_matrices(layouts, &g->scalapack));
    TRY(product_plan(&g->scalapack, &(clv_plan_options){.backend = CLV_BACKEND_SCALAPACK}));
done:
    if (status != CLV_OK) product_close(&g->scalapack);
    return status;
}

static bool refused(clv_status status)
{
    return status == CLV_EUNSUPPORTED || status == CLV_ELIMIT;
}

/* In the same layouts if ScaLAPACK takes them, else on the squarest grid that it takes. */
static clv_status open_scalapack(gemm *g)
{
    char grid[64];
    int size = clv_grid_size(g->cleave.grid);
    clv_status status = try_scalapack(g, g->args->grid, g->args->layouts);
    if (refused(status)) snprintf(g->reason, sizeof g->reason, "%s", clv_last_error());
    for (int rows = (int)sqrt(size); rows > 0 && refused(status); rows--) {
        if (size % rows) continue;
        snprintf(grid, sizeof grid, "r=%d,c=%d", rows, size / rows);
        status = try_scalapack(g, grid, NULL);
    }
    return refused(status) ? CLV_OK : status;
}

static clv_status run_scalapack(void *context)
{
    const scalapack *s = context;
    clv_scalapack_set_block(s->block);
    return product_run(s->product);
}

static void enter(gemm *g)
{
    bool peers = g->scalapack.plan != NULL;
    g->blocks[0] = (scalapack){&g->scalapack, INSTALLED_BLOCK};
    g->blocks[1] = (scalapack){&g->scalapack, TUNED_BLOCK};
    contender *c = g->contenders;
    c[LIMIT] = (contender){.name = "limit", .run = product_run_alone, .context = &g->limit};
    c[CLEAVE] = (contender){.name = "cleave", .run = product_run, .context = &g->cleave};
    c[REPRODUCIBLE] = (contender){.name = "reproducible",
                                  .run = g->reproducible.plan ? product_run : NULL,
                                  .context = &g->reproducible};
    for (int i = 0; i < 2; i++)
        c[INSTALLED + i] = (contender){.name = i ? "  tuned" : "scalapack",
                                       .run = peers ? run_scalapack : NULL,
                                       .context = &g->blocks[i]};
}

static void close_all(gemm *g)
{
    contenders_free(CONTENDERS, g->contenders);
    product_close(&g->scalapack);
    product_close(&g->reproducible);
    product_close(&g->limit);
    product_close(&g->cleave);
}

/* ---- What is said of it ---- */

static const char *op_of(const product_kind *kind)
{
    static const char *const names[] = {"NN", "NT", "TN", "TT"};
    return names[2 * kind->trans_a + kind->trans_b];
}

/* What was asked, for each of the two JSON objects. */
static json_t *question(const gemm *g)
{
    const product *p = &g->cleave;
    const product_kind *kind = &p->kind;
    return json_pack("{s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:b,s:b,s:b,s:s,s:{s:s,s:s,s:s},s:i,s:i}",
                     "bench", "gemm", "m", (json_int_t)kind->size.m, "n", (json_int_t)kind->size.n,
                     "k", (json_int_t)kind->size.k, "dtype", clv_dtype_name(kind->dtype), "weights",
                     clv_dtype_name(kind->weights), "op", op_of(kind), "transpose_a", kind->trans_a,
                     "transpose_b", kind->trans_b, "reproducible", g->args->reproducible, "grid",
                     p->axes, "layouts", "a", p->layouts[A], "b", p->layouts[B], "c", p->layouts[C],
                     "ranks", clv_grid_size(p->grid), "threads", g->threads);
}

static void show_question(const gemm *g)
{
    const product *p = &g->cleave;
    const product_kind *kind = &p->kind;
    int ranks = clv_grid_size(p->grid);
    output_text("C[%lld x %lld] = %s[k = %lld] %s, %s%s, on %d process%s (%s), %d thread%s each\n",
                (long long)kind->size.m, (long long)kind->size.n, kind->trans_a ? "A^T" : "A",
                (long long)kind->size.k, kind->trans_b ? "B^T" : "B", clv_dtype_name(kind->dtype),
                kind->weights != kind->dtype ? ", B in bf16" : "", ranks, ranks == 1 ? "" : "es",
                p->axes, g->threads, g->threads == 1 ? "" : "s");
    output_text("A in %s, B in %s, C in %s\n\n", p->layouts[A], p->layouts[B], p->layouts[C]);
}

static clv_status show_plan(const gemm *g)
{
    char *text = plan_text(g->cleave.plan);
    if (!text) return tool_fail(CLV_ENOMEM, "no memory for the text of a plan");
    show_question(g);
    if (g->args->reproducible) output_text("in reproducible mode:\n");
    output_text("%s", text);
    json_t *object = question(g);
    json_object_update_new(object,
                           json_pack("{s:s,s:I,s:I,s:I,s:o}", "plan", text, "bytes_per_rank",
                                     (json_int_t)g->planned_bytes, "planned_bytes_per_rank",
                                     (json_int_t)g->planned_bytes, "workspace_per_rank",
                                     (json_int_t)g->workspace, "seconds",
                                     output_number(clv_plan_seconds(g->cleave.plan))));
    output_json("o", object);
    free(text);
    return CLV_OK;
}

static void show_row(const gemm *g, int i, const char *axes)
{
    const contender *c = &g->contenders[i];
    double flops = product_flops(&g->args->kind), limit = g->contenders[LIMIT].seconds.median;
    if (!c->run) return;
    output_text("  %-12s %10.4g %10.4g %10.4g %10.1f %10.3f   %s\n", c->name, c->seconds.median,
                c->seconds.least, c->seconds.most, flops / c->seconds.median / 1e9,
                limit / c->seconds.median, axes);
}

static void show_table(const gemm *g, const char *text)
{
    char received[32], foretold[32], workspace[32], planned[32], measured[32];
    show_question(g);
    output_text("  %-12s %10s %10s %10s %10s %10s   grid\n", "", "seconds", "least", "most",
                "GFLOP/s", "of limit");
    show_row(g, LIMIT, "(no communication)");
    show_row(g, CLEAVE, g->cleave.axes);
    show_row(g, REPRODUCIBLE, g->reproducible.axes);
    show_row(g, INSTALLED, g->scalapack.axes);
    show_row(g, TUNED, g->scalapack.axes);
    if (*g->reason)
        output_text("  ScaLAPACK %s: %s\n", g->scalapack.plan ? "elsewhere" : "not measured",
                    g->reason);
    output_text("\neach process at most: %s received (%s planned), %s of workspace\n"
                "each on average: %s of workspace (%s measured)\n",
                bytes_format(g->bytes, received), bytes_format(g->planned_bytes, foretold),
                bytes_format(g->workspace, workspace), bytes_format(g->mean_workspace, planned),
                bytes_format(g->mean_footprint, measured));
    output_text("the plan:\n%s", text);
}

/* NAME_gflops, NAME_seconds and their spreads of contender i; NAME "" for Cleave's. */
static void add_contender(const gemm *g, json_t *object, const char *name, int i)
{
    char key[80];
    spread seconds = g->contenders[i].seconds;
    json_seconds(object, name, seconds);
    snprintf(key, sizeof key, "%sgflops", name);
    json_rate(object, key, product_flops(&g->args->kind) / 1e9, seconds);
}

static json_t *result(const gemm *g)
{
    json_t *object = question(g);
    const contender *c = g->contenders;
    static const char *const names[CONTENDERS] = {[LIMIT] = "limit_",
                                                  [CLEAVE] = "",
                                                  [INSTALLED] = "scalapack_",
                                                  [TUNED] = "scalapack_tuned_"};
    for (int i = 0; i < CONTENDERS; i++)
        if (names[i]) add_contender(g, object, names[i], i);
    double ours = c[CLEAVE].seconds.median;
    json_object_update_new(
        object,
        json_pack("{s:o,s:I,s:I,s:I,s:o,s:o,s:o,s:I}", "fraction",
                  output_number(c[LIMIT].seconds.median / ours), "bytes_per_rank",
                  (json_int_t)g->bytes, "planned_bytes_per_rank", (json_int_t)g->planned_bytes,
                  "workspace_per_rank", (json_int_t)g->workspace, "mean_workspace_per_rank",
                  output_number(g->mean_workspace), "measured_workspace_per_rank",
                  output_number(g->mean_footprint), "predicted_seconds",
                  output_number(clv_plan_seconds(g->cleave.plan)), "repeat",
                  (json_int_t)g->args->repeat));
    if (c[REPRODUCIBLE].run) {
        add_contender(g, object, "reproducible_", REPRODUCIBLE);
        json_object_set_new(object, "reproducible_ratio",
                            output_number(c[REPRODUCIBLE].seconds.median / ours));
    }
    if (g->scalapack.plan)
        json_object_set_new(object, "scalapack_grid", json_string(g->scalapack.axes));
    if (*g->reason) json_object_set_new(object, "scalapack_reason", json_string(g->reason));
    return object;
}

static clv_status show_result(const gemm *g)
{
    char *text = plan_text(g->cleave.plan);
    if (!text) return tool_fail(CLV_ENOMEM, "no memory for the text of a plan");
    show_table(g, text);
    json_t *object = result(g);
    json_object_set_new(object, "plan", json_string(text));
    output_json("o", object);
    free(text);
    return CLV_OK;
}

/* ---- The command ---- */

static clv_status work(void *asked)
{
    clv_status status;
    gemm_args *args = asked;
    gemm g = {.args = args};
    TRY(bench_read_operands(args->op, args->weights, &args->kind));
    TRY(bench_read_plan(args->memory, args->measure, &args->options));
    TRY(open_cleave(&g));
    if (g.args->plan) {
        status = show_plan(&g);
        goto done;
    }
    if (g.args->reproducible) TRY(open_reproducible(&g));
    if (g.args->against == AGAINST_SCALAPACK) TRY(open_scalapack(&g));
    clv_blas_set_threads(g.threads); /* each new grid has set them */
    enter(&g);
    TRY(contenders_measure(g.cleave.grid, CONTENDERS, g.contenders, g.args->repeat,
                           bench_product_turn));
    status = show_result(&g);
done:
    close_all(&g);
    return status;
}

static const manual about = {
    .name = "bench gemm",
    .synopsis = "[options]",
    .about =
        "Multiplies C = op(A) op(B) over a grid, and says how near that comes to the limit: every\n"
        "process multiplying its own share by BLIS at the same time, with no communication at "
        "all.\n"
        "ScaLAPACK is measured as installed (computational block 32) and tuned (256).",
    .examples =
        "  mpiexec.mpich -n 2 cleave bench gemm --grid row=2 --dtype f32 --against scalapack\n"
        "  mpiexec.mpich -n 4 cleave bench gemm -m 512 -n 8192 -k 2048 --grid row=2,col=2 \\\n"
        "      --layout-a 'row|-' --layout-b '-|col' --layout-c 'row|col' --op NT --json\n"
        "  mpiexec.mpich -n 4 cleave bench gemm --grid row=2,col=2 --memory 64M --plan\n",
};

int bench_gemm(int argc, char **argv)
{
    gemm_args args = {0};
    product_kind *kind = &args.kind;
    option options[] = {
        opt_int("m", "N", &kind->size.m, "4096", 1, 1e9, "rows of C"),
        opt_int("n", "N", &kind->size.n, "4096", 1, 1e9, "columns of C"),
        opt_int("k", "N", &kind->size.k, "4096", 1, 1e9, "terms of each element of C"),
        opt_choice("op", "OP", &args.op, "NN", "NN|NT|TN|TT",
                   "T: A is stored as its transpose, k x m, or B as n x k"),
        opt_flag("transpose-a", &kind->trans_a, "the same as T first"),
        opt_flag("transpose-b", &kind->trans_b, "the same as T second"),
        BENCH_DTYPE(&kind->dtype, "f64"),
        BENCH_WEIGHTS(&args.weights, "B"),
        BENCH_GRID(&args.grid),
        opt_text("layout-a", "LAYOUT", &args.layouts[A], NULL,
                 "\"rows|cols\" (rows over the first half of the axes, columns over the rest)"),
        opt_text("layout-b", "LAYOUT", &args.layouts[B], NULL, "the same"),
        opt_text("layout-c", "LAYOUT", &args.layouts[C], NULL, "the same"),
        opt_choice("against", "PEER", &args.against, "nothing", "nothing|scalapack",
                   "p?gemm in the same layouts, or on its best grid"),
        opt_flag("reproducible", &args.reproducible,
                 "also the product whose bits no grid changes, and its price"),
        BENCH_PLAN(&args.memory, &args.measure, &args.plan),
        BENCH_REPEAT(&args.repeat),
        BENCH_THREADS(&args.threads),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, work, &args);
}
