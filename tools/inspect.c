/* SPDX-License-Identifier: BSD-3-Clause
 *
 * inspect.c: cleave inspect: what is in a checkpoint.
 */
#include "tool.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static const manual about = {
    .name = "inspect",
    .synopsis = "PATH [options]",
    .about =
        "Shows what a checkpoint holds: the model's configuration, the step, the shape, type and\n"
        "bytes of every data set. PATH is a checkpoint or a folder, of which the newest is\n"
        "taken. Nothing is checked but that the file is complete: cleave verify reads all.\n"
        "\n"
        "--stats reads all values, the ranks sharing the work, and adds the least, greatest, mean\n"
        "and standard deviation of those that are finite, in double precision, and how many are\n"
        "zero, NaN and infinite: the same digits on any number of ranks. Where none is finite, "
        "the\n"
        "former are \"-\" (null with --json).\n"
        "\n" PATTERN_HELP,
    .examples = "  cleave inspect run\n"
                "  mpiexec.mpich -n 4 cleave inspect run --stats --only 'block.*,!*.bias'\n"
                "  cleave inspect run/step-00000200.h5 --json\n",
};

static int64_t bytes_of(clv_checkpoint_entry entry)
{
    return entry.m * entry.n * (int64_t)clv_dtype_size(entry.dtype);
}

static int64_t parameters_in(const clv_checkpoint *checkpoint)
{
    int64_t sum = 0;
    for (int i = 0; i < clv_checkpoint_count(checkpoint); i++) {
        clv_checkpoint_entry entry = clv_checkpoint_at(checkpoint, i);
        if (is_parameter(entry.name)) sum += entry.m * entry.n;
    }
    return sum;
}

typedef struct {
    const char *path, *only;
    bool stats;
} inspect_args;

/* "-" where output_number says null. */
static const char *show_number(double value, char buffer[32])
{
    snprintf(buffer, 32, "%.6g", value);
    return isfinite(value) ? buffer : "-";
}

static void show_stats(const statistics *s)
{
    char min[32], max[32], mean[32], std[32];
    output_text("%19smin %s  max %s  mean %s  std %s  zeros %" PRId64 "  NaN %" PRId64
                "  infinite %" PRId64 "\n",
                "", show_number(s->min, min), show_number(s->max, max), show_number(s->mean, mean),
                show_number(s->std, std), s->zeros, s->nans, s->infinite);
}

/* What of a data set is known without its values, and what else is. */
static void show_entry(clv_checkpoint_entry entry, const statistics *stats)
{
    char shape[64], bytes[32];
    const char *type = clv_dtype_name(entry.dtype);
    snprintf(shape, sizeof shape, "%" PRId64 " x %" PRId64, entry.m, entry.n);
    output_text("%17s  %-4s  %15s  %s\n", shape, type, output_count(bytes_of(entry), bytes),
                entry.name);
    json_t *more = NULL;
    if (stats) {
        show_stats(stats);
        more = json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "min",
                         output_number(stats->min), "max", output_number(stats->max), "mean",
                         output_number(stats->mean), "std", output_number(stats->std), "finite",
                         (json_int_t)stats->finite, "zeros", (json_int_t)stats->zeros, "nan",
                         (json_int_t)stats->nans, "infinite", (json_int_t)stats->infinite);
    }
    output_json("{s:s, s:[II], s:s, s:I, s:o*}", "name", entry.name, "shape", (json_int_t)entry.m,
                (json_int_t)entry.n, "dtype", type, "bytes", (json_int_t)bytes_of(entry), "stats",
                more);
}

/* Collective. */
static clv_status show_entries(clv_grid *grid, clv_checkpoint *checkpoint, const inspect_args *args)
{
    clv_status status;
    int64_t turn = 0;
    double *values = args->stats ? malloc(CHUNK_ELEMENTS * sizeof *values) : NULL;
    bool ready = !args->stats || values;
    TRY(clv_grid_agree(grid, ready ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory to read values")));
    for (int i = 0; i < clv_checkpoint_count(checkpoint); i++) {
        statistics stats;
        clv_checkpoint_entry entry = clv_checkpoint_at(checkpoint, i);
        if (!clv_name_matches(args->only, entry.name)) continue;
        if (args->stats) TRY(statistics_of(grid, checkpoint, i, &turn, values, &stats));
        show_entry(entry, args->stats ? &stats : NULL);
    }
done:
    free(values);
    return status;
}

static void show_record(const char *json, const char *file)
{
    record r;
    json_t *object = json_loads(json, 0, NULL);
    char *model = json_dumps(json_object_get(object, "model"), 0);
    if (record_parse(json, file, &r) == CLV_OK)
        output_text("step %" PRId64 " of %" PRId64 ", next sequence %" PRIu64 ", %" PRId64
                    " sequences a step, seed %" PRIu64 "\nmodel %s\n",
                    r.position.step, r.schedule.steps, r.position.sample, r.batch, r.position.seed,
                    model);
    else
        output_text("not a training run of cleave: %s\n", json);
    free(model);
    json_decref(object);
}

/* The step of a training run; null in other checkpoints. */
static json_t *step_of(const json_t *object)
{
    json_t *step = json_object_get(json_object_get(object, "train"), "step");
    return step ? json_incref(step) : json_null();
}

static void show_summary(const clv_checkpoint *checkpoint, const char *file)
{
    char parameters[32], bytes[32];
    int count = clv_checkpoint_count(checkpoint);
    int64_t size = clv_checkpoint_bytes(checkpoint), elements = parameters_in(checkpoint);
    json_t *object = json_loads(clv_checkpoint_json(checkpoint), 0, NULL);
    output_json("{s:s, s:o, s:i, s:I, s:I, s:o}", "file", file, "step", step_of(object), "datasets",
                count, "parameters", (json_int_t)elements, "bytes", (json_int_t)size, "config",
                object ? json_incref(object) : json_null());
    output_text("%d data set%s, %s parameters, %s bytes\n", count, count == 1 ? "" : "s",
                output_count(elements, parameters), output_count(size, bytes));
    json_decref(object);
}

static clv_status inspect(void *untyped)
{
    clv_status status;
    const inspect_args *args = untyped;
    clv_grid *grid = NULL;
    clv_checkpoint *checkpoint = NULL;
    char *file = NULL;
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    TRY(clv_checkpoint_resolve(grid, args->path, &file));
    TRY(clv_checkpoint_open(grid, file, &checkpoint));
    TRY(only_check(checkpoint, NULL, args->only));
    output_text("%s\n", file);
    show_record(clv_checkpoint_json(checkpoint), file);
    TRY(show_entries(grid, checkpoint, args));
    show_summary(checkpoint, file);
done:
    free(file);
    clv_checkpoint_close(&checkpoint);
    clv_grid_destroy(&grid);
    return status;
}

int cmd_inspect(int argc, char **argv)
{
    inspect_args args = {0};
    option options[] = {
        opt_text("", "PATH", &args.path, REQUIRED, "a checkpoint, or a folder: its newest"),
        ONLY_OPTION(&args.only),
        opt_flag("stats", &args.stats, "what the values are like: reads all of them"),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, inspect, &args);
}
