/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_move.c: `cleave bench move`: a matrix from one layout to another, planned once.
 *
 * The limit of a move inside a node is a copy in memory: every process copies as many bytes as it
 * receives, from its own memory to its own memory, all at the same time.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { COPY, MOVE, CONTENDERS };

static const double least_turn = 2e-3; /* seconds */

typedef struct {
    int64_t m, n, repeat;
    clv_dtype dtype;
    const char *grid, *from, *to;
    bool plan, reproducible;
} move_args;

typedef struct {
    char *src, *dst;
    size_t bytes;
} copier;

typedef struct {
    const move_args *args;
    clv_grid *grid;
    mover mover;
    copier copier;
    contender contenders[CONTENDERS];
    double bytes, planned_bytes, workspace; /* the most of any process */
    char axes[256], from[128], to[128];
} move;

static clv_status run_copy(void *context)
{
    copier *c = context;
    memcpy(c->dst, c->src, c->bytes);
    __asm__ volatile("" ::: "memory"); /* nobody reads dst: it is copied all the same */
    return CLV_OK;
}

static clv_status open_copier(move *b)
{
    copier *c = &b->copier;
    c->bytes = (size_t)clv_plan_bytes(b->mover.plan);
    c->src = malloc(c->bytes + 1), c->dst = malloc(c->bytes + 1);
    bool had = c->src && c->dst;
    if (had) memset(c->src, 1, c->bytes), memset(c->dst, 1, c->bytes);
    return clv_grid_agree(b->grid, had ? CLV_OK
                                       : tool_fail(CLV_ENOMEM, "no memory for a copy of %.0f bytes",
                                                   (double)c->bytes));
}

static clv_status open_move(move *b)
{
    clv_status status;
    const move_args *args = b->args;
    mover *m = &b->mover;
    clv_spec matrix = {.m = args->m, .n = args->n, .dtype = args->dtype};
    TRY(tool_grid(args->grid, args->reproducible ? CLV_LEAVES : 0, &b->grid));
    TRY(mover_specs(b->grid, matrix, args->from, args->to, m));
    m->shapes = args->plan;
    if (!args->plan)
        TRY(room_for(b->grid, "the matrices do",
                     2 * block_bytes(b->grid, m->from) + 3 * block_bytes(b->grid, m->to)));
    tool_grid_format(b->grid, b->axes, sizeof b->axes);
    clv_layout_format(b->grid, m->from.layout, b->from, sizeof b->from);
    clv_layout_format(b->grid, m->to.layout, b->to, sizeof b->to);
    TRY(mover_open(b->grid, m));
    if (!args->plan) TRY(open_copier(b));
done:
    return status;
}

static void close_move(move *b)
{
    contenders_free(CONTENDERS, b->contenders);
    free(b->copier.src);
    free(b->copier.dst);
    mover_close(&b->mover);
    clv_grid_destroy(&b->grid);
}

/* One execution for the bytes, which the library counts itself. */
static clv_status count_bytes(move *b)
{
    clv_status status;
    clv_grid_traffic_reset(b->grid);
    if (!b->args->plan) TRY(mover_run(&b->mover));
    double most[] = {(double)clv_grid_traffic(b->grid).bytes_received,
                     (double)clv_plan_bytes(b->mover.plan), (double)clv_plan_memory(b->mover.plan)};
    TRY(clv_grid_reduce(b->grid, CLV_MAX, 3, most));
    b->bytes = most[0], b->planned_bytes = most[1], b->workspace = most[2];
done:
    return status;
}

static json_t *question(const move *b, const char *text)
{
    const move_args *args = b->args;
    return json_pack("{s:s,s:I,s:I,s:s,s:b,s:s,s:s,s:s,s:i,s:I,s:I,s:s}", "bench", "move", "m",
                     (json_int_t)args->m, "n", (json_int_t)args->n, "dtype",
                     clv_dtype_name(args->dtype), "reproducible", args->reproducible, "grid",
                     b->axes, "from", b->from, "to", b->to, "ranks", clv_grid_size(b->grid),
                     "planned_bytes_per_rank", (json_int_t)b->planned_bytes, "workspace_per_rank",
                     (json_int_t)b->workspace, "plan", text);
}

static void show_question(const move *b)
{
    const move_args *args = b->args;
    output_text("%lld x %lld %s, %s to %s, on %s\n\n", (long long)args->m, (long long)args->n,
                clv_dtype_name(args->dtype), b->from, b->to, b->axes);
}

static void show_result(const move *b, const char *text)
{
    char received[32], workspace[32];
    show_question(b);
    output_text("  %-10s %10s %10s %10s %10s\n", "", "seconds", "least", "most", "GB/s");
    for (int i = 0; i < CONTENDERS; i++) {
        const contender *c = &b->contenders[i];
        if (!c->run) continue;
        output_text("  %-10s %10.4g %10.4g %10.4g %10.4g\n", c->name, c->seconds.median,
                    c->seconds.least, c->seconds.most, b->bytes / c->seconds.median / 1e9);
    }
    output_text("\neach process at most: %s received, %s of workspace; the plan:\n%s",
                bytes_format(b->bytes, received), bytes_format(b->workspace, workspace), text);
    json_t *object = question(b, text);
    spread ours = b->contenders[MOVE].seconds, copy = b->contenders[COPY].seconds;
    json_seconds(object, "", ours);
    if (b->contenders[COPY].run) {
        json_seconds(object, "copy_", copy);
        json_object_set_new(object, "fraction", output_number(copy.median / ours.median));
    }
    json_object_update_new(
        object, json_pack("{s:I,s:o,s:o,s:I}", "bytes_per_rank", (json_int_t)b->bytes,
                          "gbytes_per_second", output_number(b->bytes / ours.median / 1e9),
                          "predicted_seconds", output_number(clv_plan_seconds(b->mover.plan)),
                          "repeat", (json_int_t)b->args->repeat));
    output_json("o", object);
}

static clv_status work(void *asked)
{
    clv_status status;
    char *text = NULL;
    move b = {.args = asked};
    TRY(open_move(&b));
    TRY(count_bytes(&b));
    /* Where nothing is received there is nothing to copy either, and no limit. */
    b.contenders[COPY] = (contender){
        .name = "copy", .run = b.planned_bytes > 0 ? run_copy : NULL, .context = &b.copier};
    b.contenders[MOVE] = (contender){.name = "cleave", .run = mover_run, .context = &b.mover};
    if (!b.args->plan)
        TRY(contenders_measure(b.grid, CONTENDERS, b.contenders, b.args->repeat, least_turn));
    text = plan_text(b.mover.plan);
    if (!text) {
        status = tool_fail(CLV_ENOMEM, "no memory for the text of a plan");
    } else if (b.args->plan) {
        show_question(&b);
        output_text("%s", text);
        output_json("o", question(&b, text));
    } else {
        show_result(&b, text);
    }
done:
    free(text);
    close_move(&b);
    return status;
}

static const manual about = {
    .name = "bench move",
    .synopsis = "--from LAYOUT --to LAYOUT [options]",
    .about =
        "Moves a matrix from one layout to another, and says how near that comes to the limit of\n"
        "a node: every process copying as many bytes as it receives in its own memory.\n"
        "Where nothing moves there is no such limit. Sums are added in one tree with\n"
        "--reproducible as without: it costs nothing here.",
    .examples = "  mpiexec.mpich -n 2 cleave bench move --grid row=2 --from 'row|-' --to '-|row'\n"
                "  mpiexec.mpich -n 4 cleave bench move --grid row=2,col=2 -m 8192 -n 1024 \\\n"
                "      --from 'row|-;col' --to 'row+col|-' --dtype bf16 --json\n",
};

int bench_move(int argc, char **argv)
{
    move_args args = {0};
    option options[] = {
        opt_int("m", "N", &args.m, "4096", 1, 1e9, "rows"),
        opt_int("n", "N", &args.n, "4096", 1, 1e9, "columns"),
        opt_choice("dtype", "TYPE", &args.dtype, "f32", "f32|f64|bf16|i32", "type of all numbers"),
        BENCH_GRID(&args.grid),
        opt_text("from", "LAYOUT", &args.from, REQUIRED, "\"rows|cols\" or \"rows|cols;sum\""),
        opt_text("to", "LAYOUT", &args.to, REQUIRED, "the same"),
        REPRODUCIBLE_OPTION(&args.reproducible),
        BENCH_REPEAT(&args.repeat),
        opt_flag("plan", &args.plan, "show the plan and stop"),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, work, &args);
}
