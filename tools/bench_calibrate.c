/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_calibrate.c: `cleave bench calibrate`: measures the machine and writes the profile that
 * plans are compared by.
 *
 * Everything is measured as plans use it: messages as all-gathers of Cleave matrices, inside a
 * node and, where there are several, between nodes; products as local plans, all processes at
 * once; reading by all processes at once.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double least_turn = 2e-3; /* seconds */

typedef struct {
    const char *path; /* NULL: shown only */
    int64_t repeat;
} calibrate_args;

typedef struct {
    const calibrate_args *args;
    clv_grid *grid;        /* node=N,rank=L where the nodes are alike, else rank=P */
    int nodes, neighbours; /* neighbours: ranks on each node */
    clv_machine machine;   /* 0: not measured                                      */
} calibration;

static void row(const char *what, double value, const char *unit)
{
    output_text("  %-40s %12.4g %s\n", what, value, unit);
}

/* ---- Messages ---- */

enum { SIZES = 5 };
static const double message_sizes[SIZES] = {64, 16 << 10, 1 << 20, 4 << 20, 16 << 20};

/* An all-gather in which every process receives a message of `bytes` from each of the others. */
static clv_status time_message(calibration *c, const char *from, const char *to, double bytes,
                               double *seconds)
{
    clv_status status;
    mover m = {0};
    contender list[] = {{.name = "move", .run = mover_run, .context = &m}};
    clv_spec rows = {.m = clv_grid_size(c->grid),
                     .n = (int64_t)bytes / (int64_t)sizeof(float),
                     .dtype = CLV_F32};
    TRY(mover_specs(c->grid, rows, from, to, &m));
    TRY(mover_open(c->grid, &m));
    TRY(contenders_measure(c->grid, 1, list, c->args->repeat, least_turn));
    *seconds = list[0].seconds.median;
done:
    contenders_free(1, list);
    mover_close(&m);
    return status;
}

/* t(b) = messages (latency + b / bandwidth): the latency from the smallest, the bandwidth the
 * median of those of 1 MiB and more. */
static clv_status measure_messages(calibration *c, const char *from, const char *to, int messages,
                                   double *latency, double *bandwidth)
{
    clv_status status;
    double rates[SIZES], seconds;
    char text[32], what[64];
    int large = 0;
    for (int i = 0; i < SIZES; i++) {
        TRY(time_message(c, from, to, message_sizes[i], &seconds));
        seconds /= messages;
        if (i == 0) *latency = seconds;
        snprintf(what, sizeof what, "  a message of %s", bytes_format(message_sizes[i], text));
        row(what, seconds * 1e6, "us");
        if (message_sizes[i] >= 1 << 20)
            rates[large++] = message_sizes[i] / fmax(seconds - *latency, 0.1 * seconds);
    }
    *bandwidth = spread_of(rates, large).median;
    row("latency", *latency * 1e6, "us");
    row("bandwidth of a process", *bandwidth / 1e9, "GB/s");
done:
    return status;
}

static clv_status calibrate_messages(calibration *c)
{
    clv_status status = CLV_OK;
    clv_machine *m = &c->machine;
    bool several = c->nodes > 1;
    output_text("Between processes of a node%s\n", c->neighbours > 1 ? ""
                                                                     : ": not measured, each "
                                                                       "has one");
    if (c->neighbours > 1)
        TRY(measure_messages(c, several ? "node+rank|-" : "rank|-", several ? "node|-" : "-|-",
                             c->neighbours - 1, &m->node_latency, &m->node_bandwidth));
    output_text("Between nodes%s\n", several ? "" : ": not measured, there is one");
    if (several)
        TRY(measure_messages(c, c->neighbours > 1 ? "rank+node|-" : "node|-",
                             c->neighbours > 1 ? "rank|-" : "-|-", c->nodes - 1, &m->net_latency,
                             &m->net_bandwidth));
done:
    return status;
}

/* ---- Memory ---- */

static clv_status calibrate_memory(calibration *c)
{
    enum { BYTES = 256 << 20 };
    clv_status status;
    void *memory = aligned_alloc(64, BYTES);
    reading what = {.parts = (const void *const *)&memory,
                    .count = 1,
                    .threads = clv_blas_describe().threads,
                    .bytes = BYTES};
    contender list[] = {{.name = "reading", .run = reading_run, .context = &what}};
    status = memory ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory to read");
    TRY(clv_grid_agree(c->grid, status));
    memset(memory, 1, BYTES);
    TRY(contenders_measure(c->grid, 1, list, c->args->repeat, least_turn));
    c->machine.memory_bandwidth = BYTES / list[0].seconds.median;
    output_text("Memory\n");
    row("read by a process", c->machine.memory_bandwidth / 1e9, "GB/s");
done:
    contenders_free(1, list);
    free(memory);
    return status;
}

/* ---- Products ---- */

enum { WHOLE = 1024, THIN = 3, SHAPES = 1 + 3 * THIN };
static const int64_t thin[THIN] = {8, 32, 128};

/* Shape 0 is the cube; then the thin ones of m, of n and of k. */
static extents shape_of(int i)
{
    extents e = {WHOLE, WHOLE, WHOLE};
    int64_t *of[] = {&e.m, &e.n, &e.k};
    if (i > 0) *of[(i - 1) / THIN] = thin[(i - 1) % THIN];
    return e;
}

/* rates[i] = flops e(m, half_m) e(n, half_n) e(k, half_k), e(x, h) = x / (x + h): the halves by
 * fixed point, each the median of its thin shapes, from those of the others; it converges in a few
 * steps because e of the whole extents is nearly 1. */
static void fit(double rates[SHAPES], clv_machine *machine)
{
    enum { STEPS = 20 };
    static const double least_half = 1e-3;
    double half[3] = {0}, flops = rates[0], cube = WHOLE;
    for (int step = 0; step < STEPS; step++) {
        for (int d = 0; d < 3; d++) {
            double found[THIN], others = flops;
            for (int o = 0; o < 3; o++)
                if (o != d) others *= cube / (cube + half[o]);
            for (int i = 0; i < THIN; i++)
                found[i] = (double)thin[i] * (others / rates[1 + d * THIN + i] - 1);
            half[d] = fmax(spread_of(found, THIN).median, least_half);
        }
        flops = rates[0];
        for (int d = 0; d < 3; d++) flops *= (cube + half[d]) / cube;
    }
    machine->flops = flops;
    machine->half_m = half[0], machine->half_n = half[1], machine->half_k = half[2];
}

/* A local product as a plan does it, on every process at once. */
static clv_status open_local(int i, product *p)
{
    product_kind kind = {.size = shape_of(i), .dtype = CLV_F32, .weights = CLV_F32};
    clv_status status = product_open_alone(&kind, p);
    return status == CLV_OK ? product_plan(p, NULL) : status;
}

static clv_status calibrate_products(calibration *c)
{
    clv_status status = CLV_OK;
    product products[SHAPES] = {0};
    contender list[SHAPES] = {0};
    double rates[SHAPES];
    for (int i = 0; i < SHAPES && status == CLV_OK; i++) status = open_local(i, &products[i]);
    TRY(clv_grid_agree(c->grid, status));
    for (int i = 0; i < SHAPES; i++)
        list[i] = (contender){.name = "product", .run = product_run, .context = &products[i]};
    TRY(contenders_measure(c->grid, SHAPES, list, c->args->repeat, least_turn));
    output_text("Products of a process, f32, %d thread%s\n", clv_blas_describe().threads,
                clv_blas_describe().threads > 1 ? "s" : "");
    for (int i = 0; i < SHAPES; i++) {
        char what[64];
        extents e = shape_of(i);
        rates[i] = product_flops(&products[i].kind) / list[i].seconds.median;
        snprintf(what, sizeof what, "  m = %lld, n = %lld, k = %lld", (long long)e.m,
                 (long long)e.n, (long long)e.k);
        row(what, rates[i] / 1e9, "GFLOP/s");
    }
    fit(rates, &c->machine);
    row("of large products", c->machine.flops / 1e9, "GFLOP/s");
    row("half of it at m =", c->machine.half_m, "");
    row("half of it at n =", c->machine.half_n, "");
    row("half of it at k =", c->machine.half_k, "");
done:
    contenders_free(SHAPES, list);
    for (int i = 0; i < SHAPES; i++) product_close(&products[i]);
    return status;
}

/* ---- The command ---- */

/* Nodes as axes, where each has the same number of ranks, one after the other. */
static clv_status open_grid(calibration *c)
{
    clv_status status;
    char text[64];
    clv_grid *all = NULL;
    TRY(clv_grid_create_text(MPI_COMM_WORLD, "", &all));
    TRY(room_nodes(all, &c->nodes, &c->neighbours));
    int size = clv_grid_size(all);
    if (c->neighbours == 0) {
        output_text("The nodes have different numbers of ranks, or these are not consecutive: what "
                    "lies between nodes is not measured apart\n");
        c->nodes = 1, c->neighbours = size;
    }
    if (c->nodes == 1)
        snprintf(text, sizeof text, "rank=%d", size);
    else if (c->neighbours == 1)
        snprintf(text, sizeof text, "node=%d", size);
    else
        snprintf(text, sizeof text, "node=%d,rank=%d", c->nodes, c->neighbours);
    clv_grid_destroy(&all);
    TRY(clv_grid_create_text(MPI_COMM_WORLD, text, &c->grid));
done:
    clv_grid_destroy(&all);
    return status;
}

/* Before minutes of measuring: whether the profile can be written. It is opened and left as it was:
 * a file that was there keeps what it holds, one that was not is gone again. Rank 0's. */
static clv_status check_path(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool made = fd >= 0;
    if (!made) fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return tool_fail(CLV_EIO, "-o: expected a file that can be written, found %s: %s", path,
                         strerror(errno));
    close(fd);
    if (made) unlink(path);
    return CLV_OK;
}

static json_t *or_default(double value)
{
    return value > 0 ? output_number(value) : json_null();
}

static void show_profile(const calibration *c)
{
    const clv_machine *m = &c->machine;
    output_json("{s:s,s:i,s:i,s:i,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s?}", "bench", "calibrate",
                "ranks", clv_grid_size(c->grid), "nodes", c->nodes, "threads",
                clv_blas_describe().threads, "node_latency", or_default(m->node_latency),
                "node_bandwidth", or_default(m->node_bandwidth), "net_latency",
                or_default(m->net_latency), "net_bandwidth", or_default(m->net_bandwidth),
                "memory_bandwidth", or_default(m->memory_bandwidth), "flops", or_default(m->flops),
                "half_m", or_default(m->half_m), "half_n", or_default(m->half_n), "half_k",
                or_default(m->half_k), "file", c->args->path);
    if (c->args->path)
        output_text("\nWritten to %s: plans use it where the environment has CLEAVE_PROFILE=%s\n",
                    c->args->path, c->args->path);
    else
        output_text("\nNot written: -o FILE makes a profile of it, for CLEAVE_PROFILE=FILE\n");
}

static clv_status work(void *asked)
{
    clv_status status;
    calibration c = {.args = asked};
    TRY(open_grid(&c));
    status = tool.rank == 0 && c.args->path ? check_path(c.args->path) : CLV_OK;
    TRY(clv_grid_agree(c.grid, status));
    TRY(calibrate_messages(&c));
    TRY(calibrate_memory(&c));
    TRY(calibrate_products(&c));
    status = tool.rank == 0 && c.args->path ? clv_machine_write(c.args->path, &c.machine) : CLV_OK;
    TRY(clv_grid_agree(c.grid, status));
    show_profile(&c);
done:
    clv_grid_destroy(&c.grid);
    return status;
}

static const manual about = {
    .name = "bench calibrate",
    .synopsis = "[-o FILE]",
    .about =
        "Measures what plans are compared by: latency and bandwidth between processes of a node\n"
        "and between nodes, the speed of memory and of local products, thin ones too. Run it as "
        "you\n"
        "will run the work, with as many ranks on each node. CLEAVE_PROFILE=FILE in the "
        "environment\n"
        "then makes every plan use the profile; what could not be measured keeps its default.\n"
        "CLEAVE_NODE_SIZE=N takes every N ranks for a node of their own, to try many nodes on one.",
    .examples = "  mpiexec.mpich -n 2 cleave bench calibrate\n"
                "  mpiexec.mpich -n 2 cleave bench calibrate -o machine.json\n"
                "  CLEAVE_PROFILE=machine.json mpiexec.mpich -n 2 cleave bench gemm --plan\n",
};

int bench_calibrate(int argc, char **argv)
{
    calibrate_args args = {0};
    option options[] = {
        opt_text("o", "FILE", &args.path, NULL,
                 "where to write the profile (nowhere: it is only shown)"),
        BENCH_REPEAT(&args.repeat),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, work, &args);
}
