/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_linear.c: `cleave bench linear`: the three products of a linear layer, planned together.
 *
 *     forward   Y[m,n]  = X[m,k] W[k,n]
 *     backward  dX[m,k] = dY[m,n] W^T,  dW[k,n] = X^T dY
 *
 * The limit is that of the three products, one after the other: each process its share of each by
 * BLIS, with nothing to move.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT, BOTH, FORWARD, BACKWARD, REPRODUCIBLE, CONTENDERS };
enum { X, W, Y, MATRICES };
enum { PLAN_FORWARD, PLAN_DX, PLAN_DW, PLANS };
typedef enum { CHOSEN, COLUMN, ROW, TWO_D, THREE_D, SCHEMES } scheme;

/* X, W and Y of each scheme; * stands for all axes, 1 to 3 for one of them. */
static const struct {
    const char *name;
    int naxes; /* 0: any */
    const char *layouts[MATRICES];
} schemes[SCHEMES] = {
    [CHOSEN] = {"chosen", 0, {NULL, NULL, NULL}},
    [COLUMN] = {"column", 0, {"-|-", "-|*", "-|*"}},
    [ROW] = {"row", 0, {"-|*", "*|-", "-|-"}},
    [TWO_D] = {"2d", 2, {"1|2", "1|2", "1|2"}},
    [THREE_D] = {"3d", 3, {"1+3|2", "2+1|3", "1+2|3"}},
};

typedef struct {
    extents size;
    clv_dtype dtype;
    int64_t repeat, threads;
    const char *grid, *layouts[MATRICES], *memory;
    int scheme;
    bool plan, measure, reproducible;
    clv_plan_options options;
} linear_args;

/* The three products on one grid. */
typedef struct {
    clv_grid *grid;
    clv_matrix *values[MATRICES], *gradients[MATRICES]; /* gradients[Y] is given */
    clv_plan *plans[PLANS];
} layer;

typedef struct {
    const linear_args *args;
    layer layer, reproducible; /* the second where its price is asked for */
    product limits[PLANS];
    contender contenders[CONTENDERS];
    int threads;
    double bytes, planned_bytes, workspace; /* the most of any process */
    char axes[256], layouts[MATRICES][128];
} linear;

/* ---- Contenders ---- */

static clv_status run_forward(void *context)
{
    layer *l = context;
    return clv_execute_gemm(l->plans[PLAN_FORWARD], 1, l->values[X], l->values[W], 0, l->values[Y]);
}

static clv_status run_backward(void *context)
{
    layer *l = context;
    clv_status status; /* dW first: dX reads what it gathers of dY */
    TRY(clv_execute_gemm(l->plans[PLAN_DW], 1, l->values[X], l->gradients[Y], 0, l->gradients[W]));
    TRY(clv_execute_gemm(l->plans[PLAN_DX], 1, l->gradients[Y], l->values[W], 0, l->gradients[X]));
done:
    return status;
}

static clv_status run_both(void *context)
{
    clv_status status = run_forward(context);
    return status == CLV_OK ? run_backward(context) : status;
}

static clv_status run_limit(void *context)
{
    linear *b = context;
    for (int i = 0; i < PLANS; i++) product_run_alone(&b->limits[i]);
    return CLV_OK;
}

/* ---- Layouts ---- */

/* The layout of a scheme with the grid's own names. */
static void spell(const clv_grid *grid, const char *pattern, char text[256])
{
    char all[200];
    size_t used = 0;
    *all = '\0';
    for (int i = 0; i < clv_grid_naxes(grid) && used < sizeof all; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? "+" : "",
                                 clv_grid_axis(grid, i).name);
    used = 0;
    for (const char *c = pattern; *c && used < 256; c++) {
        bool one = *c >= '1' && *c <= '9';
        const char *name = one ? clv_grid_axis(grid, *c - '1').name : all;
        if (one || *c == '*')
            used += (size_t)snprintf(text + used, 256 - used, "%s", name);
        else
            used += (size_t)snprintf(text + used, 256 - used, "%c", *c);
    }
}

static clv_status scheme_layouts(const linear *b, clv_layout layouts[])
{
    clv_status status = CLV_OK;
    const linear_args *args = b->args;
    char text[256];
    int naxes = schemes[args->scheme].naxes;
    if (args->scheme == CHOSEN)
        return clv_choose_linear(b->layer.grid, args->dtype, args->size.m, args->size.k,
                                 args->size.n, &args->options, &layouts[X], &layouts[W],
                                 &layouts[Y]);
    if (naxes && naxes != clv_grid_naxes(b->layer.grid))
        return tool_misuse(tool_fail(CLV_EARG, "--layouts %s: expected a grid of %d axes, found %s",
                                     schemes[args->scheme].name, naxes, b->axes));
    for (int i = 0; i < MATRICES; i++) {
        spell(b->layer.grid, schemes[args->scheme].layouts[i], text);
        TRY(clv_layout_parse(b->layer.grid, text, &layouts[i]));
    }
done:
    return status;
}

static clv_status find_specs(linear *b, clv_spec specs[])
{
    clv_status status;
    const linear_args *args = b->args;
    extents e = args->size;
    clv_layout layouts[MATRICES];
    specs[X] = (clv_spec){.m = e.m, .n = e.k, .dtype = args->dtype};
    specs[W] = (clv_spec){.m = e.k, .n = e.n, .dtype = args->dtype};
    specs[Y] = (clv_spec){.m = e.m, .n = e.n, .dtype = args->dtype};
    TRY(scheme_layouts(b, layouts));
    for (int i = 0; i < MATRICES; i++) {
        if (args->layouts[i]) TRY(tool_layout(b->layer.grid, args->layouts[i], &layouts[i]));
        specs[i].layout = layouts[i];
        clv_layout_format(b->layer.grid, layouts[i], b->layouts[i], sizeof b->layouts[i]);
    }
done:
    return status;
}

/* ---- Opening ---- */

/* Product i of the layer as one C = op(A) op(B), and the matrix that is its C. */
static product_kind kind_of(const linear_args *args, int i, int *c)
{
    extents e = args->size;
    product_kind kinds[PLANS] = {
        [PLAN_FORWARD] = {.size = e},
        [PLAN_DX] = {.size = {e.m, e.k, e.n}, .trans_b = true},
        [PLAN_DW] = {.size = {e.k, e.n, e.m}, .trans_a = true},
    };
    static const int outputs[PLANS] = {Y, X, W};
    *c = outputs[i];
    kinds[i].dtype = kinds[i].weights = args->dtype;
    return kinds[i];
}

static clv_status check_room(const linear *b, const clv_spec specs[])
{
    double bytes = 0;
    int layers = b->args->reproducible ? 2 : 1;
    for (int i = 0; i < MATRICES; i++) bytes += layers * 2 * block_bytes(b->layer.grid, specs[i]);
    for (int i = 0, c; i < PLANS; i++) {
        product_kind kind = kind_of(b->args, i, &c);
        product_kind share = product_share(&kind, b->layer.grid, specs[c]);
        bytes += product_bytes(&share);
    }
    return room_for(b->layer.grid, "the matrices do", bytes);
}

/* Matrices and plans of a layer that has its grid. */
static clv_status open_layer(const linear_args *args, const clv_spec specs[], layer *l)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < MATRICES; i++) {
        TRY(matrix_open(l->grid, specs[i], args->plan, 1, (uint64_t)i, &l->values[i]));
        TRY(matrix_open(l->grid, specs[i], args->plan, 2, (uint64_t)i, &l->gradients[i]));
    }
    TRY(clv_plan_linear(l->values[X], CLV_N, l->values[W], l->values[Y], &args->options,
                        &l->plans[PLAN_FORWARD], &l->plans[PLAN_DX], &l->plans[PLAN_DW]));
done:
    return status;
}

static void close_layer(layer *l)
{
    for (int i = 0; i < PLANS; i++) clv_plan_destroy(&l->plans[i]);
    for (int i = 0; i < MATRICES; i++) {
        clv_matrix_destroy(&l->gradients[i]);
        clv_matrix_destroy(&l->values[i]);
    }
    clv_grid_destroy(&l->grid);
}

static clv_status open_limits(linear *b, const clv_spec specs[])
{
    clv_status status = CLV_OK;
    for (int i = 0, c; i < PLANS && status == CLV_OK; i++) {
        product_kind kind = kind_of(b->args, i, &c);
        product_kind share = product_share(&kind, b->layer.grid, specs[c]);
        status = product_open_alone(&share, &b->limits[i]);
    }
    return clv_grid_agree(b->layer.grid, status);
}

/* What is measured, and the same in reproducible mode for its price. */
static clv_status open_contenders(linear *b, const clv_spec specs[])
{
    clv_status status;
    TRY(check_room(b, specs));
    TRY(open_layer(b->args, specs, &b->layer));
    if (b->args->reproducible) {
        TRY(tool_grid(b->args->grid, CLV_LEAVES, &b->reproducible.grid));
        TRY(open_layer(b->args, specs, &b->reproducible));
    }
    TRY(open_limits(b, specs));
done:
    return status;
}

/* With --plan the one layer whose plans are asked for, which may be larger than the machine. */
static clv_status open_linear(linear *b)
{
    clv_status status;
    const linear_args *args = b->args;
    clv_spec specs[MATRICES];
    TRY(tool_grid(args->grid, args->plan && args->reproducible ? CLV_LEAVES : 0, &b->layer.grid));
    tool_grid_format(b->layer.grid, b->axes, sizeof b->axes);
    if (args->threads) clv_blas_set_threads((int)args->threads);
    b->threads = clv_blas_describe().threads;
    TRY(find_specs(b, specs));
    if (args->plan)
        TRY(open_layer(args, specs, &b->layer));
    else
        TRY(open_contenders(b, specs));
    clv_blas_set_threads(b->threads); /* each new grid has set them */
done:
    return status;
}

static void close_linear(linear *b)
{
    contenders_free(CONTENDERS, b->contenders);
    for (int i = 0; i < PLANS; i++) product_close(&b->limits[i]);
    close_layer(&b->reproducible);
    close_layer(&b->layer);
}

/* Once through all three for the bytes, which the library counts itself. */
static clv_status count_bytes(linear *b)
{
    clv_status status;
    double most[3] = {0};
    clv_grid_traffic_reset(b->layer.grid);
    if (!b->args->plan) TRY(run_both(&b->layer));
    most[0] = (double)clv_grid_traffic(b->layer.grid).bytes_received;
    for (int i = 0; i < PLANS; i++) {
        most[1] += (double)clv_plan_bytes(b->layer.plans[i]);
        most[2] += (double)clv_plan_memory(b->layer.plans[i]);
    }
    TRY(clv_grid_reduce(b->layer.grid, CLV_MAX, 3, most));
    b->bytes = most[0], b->planned_bytes = most[1], b->workspace = most[2];
done:
    return status;
}

/* ---- What is said of it ---- */

static double flops_of(const linear_args *args)
{
    return 2.0 * (double)args->size.m * (double)args->size.n * (double)args->size.k;
}

static json_t *question(const linear *b)
{
    const linear_args *args = b->args;
    return json_pack("{s:s,s:I,s:I,s:I,s:s,s:b,s:s,s:s,s:{s:s,s:s,s:s},s:i,s:i,s:I,s:I,s:o}",
                     "bench", "linear", "m", (json_int_t)args->size.m, "n",
                     (json_int_t)args->size.n, "k", (json_int_t)args->size.k, "dtype",
                     clv_dtype_name(args->dtype), "reproducible", args->reproducible, "grid",
                     b->axes, "scheme", schemes[args->scheme].name, "layouts", "x", b->layouts[X],
                     "w", b->layouts[W], "y", b->layouts[Y], "ranks", clv_grid_size(b->layer.grid),
                     "threads", b->threads, "planned_bytes_per_rank", (json_int_t)b->planned_bytes,
                     "workspace_per_rank", (json_int_t)b->workspace, "predicted_seconds",
                     output_number(clv_plan_seconds(b->layer.plans[PLAN_FORWARD]) +
                                   clv_plan_seconds(b->layer.plans[PLAN_DX]) +
                                   clv_plan_seconds(b->layer.plans[PLAN_DW])));
}

static void show_question(const linear *b)
{
    const linear_args *args = b->args;
    output_text(
        "Y[%lld x %lld] = X[k = %lld] W, forward and backward, %s, on %s, %d thread%s each\n"
        "X in %s, W in %s, Y in %s\n\n",
        (long long)args->size.m, (long long)args->size.n, (long long)args->size.k,
        clv_dtype_name(args->dtype), b->axes, b->threads, b->threads > 1 ? "s" : "", b->layouts[X],
        b->layouts[W], b->layouts[Y]);
}

static clv_status show_plans(const linear *b, json_t *object)
{
    static const char *const names[PLANS] = {"forward", "dx", "dw"};
    for (int i = 0; i < PLANS; i++) {
        char key[32], *text = plan_text(b->layer.plans[i]);
        if (!text) return tool_fail(CLV_ENOMEM, "no memory for the text of a plan");
        snprintf(key, sizeof key, "plan_%s", names[i]);
        output_text("%s:\n%s", names[i], text);
        json_object_set_new(object, key, json_string(text));
        free(text);
    }
    return CLV_OK;
}

static void show_table(const linear *b)
{
    static const double products[CONTENDERS] = {3, 3, 1, 2, 3};
    char received[32], planned[32], workspace[32];
    const contender *c = b->contenders;
    output_text("  %-12s %10s %10s %10s %10s %10s\n", "", "seconds", "least", "most", "GFLOP/s",
                "of limit");
    double limit = 3 * flops_of(b->args) / c[LIMIT].seconds.median;
    for (int i = 0; i < CONTENDERS; i++) {
        double rate = products[i] * flops_of(b->args) / c[i].seconds.median;
        if (!c[i].run) continue;
        output_text("  %-12s %10.4g %10.4g %10.4g %10.1f %10.3f\n", c[i].name, c[i].seconds.median,
                    c[i].seconds.least, c[i].seconds.most, rate / 1e9, rate / limit);
    }
    output_text("\neach process at most: %s received (%s planned), %s of workspace\n",
                bytes_format(b->bytes, received), bytes_format(b->planned_bytes, planned),
                bytes_format(b->workspace, workspace));
}

static void add_result(const linear *b, json_t *object)
{
    const contender *c = b->contenders;
    double work = 3 * flops_of(b->args) / 1e9;
    json_seconds(object, "", c[BOTH].seconds);
    json_seconds(object, "limit_", c[LIMIT].seconds);
    json_seconds(object, "forward_", c[FORWARD].seconds);
    json_seconds(object, "backward_", c[BACKWARD].seconds);
    json_rate(object, "gflops", work, c[BOTH].seconds);
    json_rate(object, "limit_gflops", work, c[LIMIT].seconds);
    json_object_update_new(
        object,
        json_pack("{s:o,s:I,s:I}", "fraction",
                  output_number(c[LIMIT].seconds.median / c[BOTH].seconds.median), "bytes_per_rank",
                  (json_int_t)b->bytes, "repeat", (json_int_t)b->args->repeat));
    if (!c[REPRODUCIBLE].run) return;
    json_seconds(object, "reproducible_", c[REPRODUCIBLE].seconds);
    json_object_set_new(object, "reproducible_ratio",
                        output_number(c[REPRODUCIBLE].seconds.median / c[BOTH].seconds.median));
}

/* ---- The command ---- */

static void enter(linear *b)
{
    contender *c = b->contenders;
    c[LIMIT] = (contender){.name = "limit", .run = run_limit, .context = b};
    c[BOTH] = (contender){.name = "cleave", .run = run_both, .context = &b->layer};
    c[FORWARD] = (contender){.name = "forward", .run = run_forward, .context = &b->layer};
    c[BACKWARD] = (contender){.name = "backward", .run = run_backward, .context = &b->layer};
    c[REPRODUCIBLE] = (contender){.name = "reproducible",
                                  .run = b->reproducible.grid ? run_both : NULL,
                                  .context = &b->reproducible};
}

static clv_status work(void *asked)
{
    clv_status status;
    linear_args *args = asked;
    linear b = {.args = args};
    json_t *object = NULL;
    TRY(bench_read_plan(args->memory, args->measure, &args->options));
    TRY(open_linear(&b));
    TRY(count_bytes(&b));
    enter(&b);
    show_question(&b);
    if (!args->plan) {
        TRY(contenders_measure(b.layer.grid, CONTENDERS, b.contenders, args->repeat,
                               bench_product_turn));
        show_table(&b);
    }
    object = question(&b);
    if (!args->plan) add_result(&b, object);
    TRY(show_plans(&b, object));
    output_json("O", object);
done:
    json_decref(object);
    close_linear(&b);
    return status;
}

static const manual about = {
    .name = "bench linear",
    .synopsis = "[options]",
    .about =
        "The three products of a linear layer, planned together: forward Y = X W, backward\n"
        "dX = dY W^T and dW = X^T dY; against the limit, each process doing its share of each by\n"
        "BLIS with nothing to move. Layouts are those that the planner chooses, or a scheme's.",
    .examples = "  mpiexec.mpich -n 2 cleave bench linear -m 2048 -k 4096 -n 11008\n"
                "  mpiexec.mpich -n 4 cleave bench linear --grid row=2,col=2 --layouts 2d --json\n"
                "  mpiexec.mpich -n 2 cleave bench linear --grid col=2 --layout-x 'col|-' "
                "--layout-w '-|col' "
                "\\\n"
                "      --layout-y '-|col' --plan\n",
};

int bench_linear(int argc, char **argv)
{
    linear_args args = {0};
    option options[] = {
        opt_int("m", "N", &args.size.m, "2048", 1, 1e9, "rows of X and Y: tokens"),
        opt_int("k", "N", &args.size.k, "4096", 1, 1e9, "columns of X, rows of W"),
        opt_int("n", "N", &args.size.n, "4096", 1, 1e9, "columns of W and Y"),
        BENCH_DTYPE(&args.dtype, "f32"),
        BENCH_GRID(&args.grid),
        opt_choice("layouts", "SCHEME", &args.scheme, "chosen", "chosen|column|row|2d|3d",
                   "where the three matrices lie"),
        opt_text("layout-x", "LAYOUT", &args.layouts[X], NULL,
                 "\"rows|cols\": X elsewhere than the scheme says"),
        opt_text("layout-w", "LAYOUT", &args.layouts[W], NULL, "the same for W"),
        opt_text("layout-y", "LAYOUT", &args.layouts[Y], NULL, "the same for Y"),
        opt_flag("reproducible", &args.reproducible,
                 "also the layer whose bits no grid changes, and its price"),
        BENCH_PLAN(&args.memory, &args.measure, &args.plan),
        BENCH_REPEAT(&args.repeat),
        BENCH_THREADS(&args.threads),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, work, &args);
}
