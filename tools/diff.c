/* SPDX-License-Identifier: BSD-3-Clause
 *
 * diff.c: cleave diff: where two checkpoints differ.
 */
#include "tool.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *a, *b, *only;
    double tolerance;
    bool bits;
    int64_t differences;
} diff_args;

static const manual about = {
    .name = "diff",
    .synopsis = "A B [options]",
    .about =
        "Compares two checkpoints, written on any grids: which data sets one of them lacks, which\n"
        "differ in shape, type or values, and which entries of the configuration differ. Of "
        "values\n"
        "it tells how many differ, by how much at most (absolutely, and relative to the greater "
        "of\n"
        "both), and where first. NaN equals NaN, and types are compared by the values they hold;\n"
        "with --bits values of the same type are equal only if all their bits are.\n"
        "A folder stands for its newest checkpoint. With --only the configurations are left out "
        "too.\n"
        "The ranks share the work.\n"
        "\n"
        "Exit status: 0 the same, 1 different, 2 trouble.\n"
        "\n" PATTERN_HELP,
    .examples = "  cleave diff run/step-00000100.h5 run/step-00000200.h5\n"
                "  mpiexec.mpich -n 4 cleave diff a b --only '*,!adamw.*' --tolerance 1e-6\n",
};

/* One of the two. */
typedef struct {
    char *file;
    clv_checkpoint *checkpoint;
    double *values; /* a chunk; with --bits as the file has it */
} side;

typedef struct {
    diff_args *args;
    clv_grid *grid;
    side a, b;
    int64_t turn;
    int compared;
} comparison;

/* ---- Values ---- */

enum { COUNT, ABSOLUTE, RELATIVE, FIRST, FIRST_A, FIRST_B, WIDTH };

typedef struct {
    comparison *c;
    int i, j; /* in a and b */
    int64_t n;
    double found[WIDTH];
} pair;

static bool is_same(double x, double y, double tolerance)
{
    if (x == y || (isnan(x) && isnan(y))) return true;
    return fabs(x - y) <= tolerance * fmax(1, fmax(fabs(x), fabs(y))) && isfinite(x) && isfinite(y);
}

static void note(double *partial, double x, double y, int64_t at)
{
    if (partial[COUNT]++ == 0) {
        partial[FIRST] = (double)at;
        partial[FIRST_A] = x;
        partial[FIRST_B] = y;
    }
    double apart = fabs(x - y), greater = fmax(fabs(x), fabs(y));
    if (!isfinite(apart)) apart = INFINITY;
    partial[ABSOLUTE] = fmax(partial[ABSOLUTE], apart);
    partial[RELATIVE] = fmax(partial[RELATIVE], isinf(apart) ? INFINITY : apart / greater);
}

/* Element k as a number. */
static double value_at(clv_dtype dtype, const void *x, int64_t k)
{
    float narrow;
    uint32_t bits;
    if (dtype == CLV_F64) return ((const double *)x)[k];
    if (dtype == CLV_I32) return ((const int32_t *)x)[k];
    if (dtype == CLV_F32) return ((const float *)x)[k];
    bits = (uint32_t)((const uint16_t *)x)[k] << 16; /* bf16 */
    memcpy(&narrow, &bits, sizeof narrow);
    return narrow;
}

/* Both are of the same type. */
static clv_status compare_bits(void *context, clv_block block, double *partial)
{
    clv_status status;
    const pair *p = context;
    const side *a = &p->c->a, *b = &p->c->b;
    clv_dtype dtype = clv_checkpoint_at(a->checkpoint, p->i).dtype;
    size_t size = clv_dtype_size(dtype);
    block.data = a->values;
    TRY(clv_checkpoint_read(a->checkpoint, p->i, dtype, block));
    block.data = b->values;
    TRY(clv_checkpoint_read(b->checkpoint, p->j, dtype, block));
    for (int64_t k = 0; k < block.m * block.n; k++) {
        size_t at = (size_t)k * size;
        if (memcmp((char *)a->values + at, (char *)b->values + at, size) == 0) continue;
        int64_t row = block.row0 + k / block.n, column = block.col0 + k % block.n;
        note(partial, value_at(dtype, a->values, k), value_at(dtype, b->values, k),
             row * p->n + column);
    }
done:
    return status;
}

static clv_status compare_chunk(void *context, clv_block block, double *partial)
{
    clv_status status;
    const pair *p = context;
    comparison *c = p->c;
    TRY(chunk_read(c->a.checkpoint, p->i, block, c->a.values));
    TRY(chunk_read(c->b.checkpoint, p->j, block, c->b.values));
    for (int64_t k = 0; k < block.m * block.n; k++) {
        double x = c->a.values[k], y = c->b.values[k];
        int64_t row = block.row0 + k / block.n, column = block.col0 + k % block.n;
        if (!is_same(x, y, c->args->tolerance)) note(partial, x, y, row * p->n + column);
    }
done:
    return status;
}

static void fold(void *context, const double *partial)
{
    pair *p = context;
    double *all = p->found;
    bool first = partial[COUNT] > 0 && (all[COUNT] == 0 || partial[FIRST] < all[FIRST]);
    all[COUNT] += partial[COUNT];
    all[ABSOLUTE] = fmax(all[ABSOLUTE], partial[ABSOLUTE]);
    all[RELATIVE] = fmax(all[RELATIVE], partial[RELATIVE]);
    for (int k = FIRST; first && k < WIDTH; k++) all[k] = partial[k];
}

static clv_status compare_values(comparison *c, int i, int j)
{
    clv_checkpoint_entry entry = clv_checkpoint_at(c->a.checkpoint, i);
    pair p = {.c = c, .i = i, .j = j, .n = entry.n};
    bool bits = c->args->bits && entry.dtype == clv_checkpoint_at(c->b.checkpoint, j).dtype;
    clv_status status =
        chunk_fold(c->grid, entry, &c->turn, WIDTH, bits ? compare_bits : compare_chunk, fold, &p);
    if (status != CLV_OK || p.found[COUNT] == 0) return status;
    const double *d = p.found;
    int64_t row = (int64_t)d[FIRST] / entry.n, column = (int64_t)d[FIRST] % entry.n;
    c->args->differences++;
    output_text("%s: %.0f of %" PRId64 " values differ, at most by %g (relative %g); the first at "
                "[%" PRId64 ", %" PRId64 "]: %.17g, %.17g\n",
                entry.name, d[COUNT], entry.m * entry.n, d[ABSOLUTE], d[RELATIVE], row, column,
                d[FIRST_A], d[FIRST_B]);
    output_json("{s:s, s:s, s:I, s:I, s:o, s:o, s:[II], s:[oo]}", "name", entry.name, "differs",
                "values", "count", (json_int_t)d[COUNT], "elements",
                (json_int_t)(entry.m * entry.n), "absolute", output_number(d[ABSOLUTE]), "relative",
                output_number(d[RELATIVE]), "first", (json_int_t)row, (json_int_t)column, "values",
                output_number(d[FIRST_A]), output_number(d[FIRST_B]));
    return status;
}

/* ---- Data sets ---- */

/* A difference in one word each: "f32", "bf16". */
static void tell(comparison *c, const char *name, const char *what, const char *a, const char *b)
{
    c->args->differences++;
    output_text("%s: %s: %s, %s\n", name, what, a, b);
    output_json("{s:s, s:s, s:s, s:s}", "name", name, "differs", what, "a", a, "b", b);
}

static void tell_missing(comparison *c, const char *name, bool in_a)
{
    c->args->differences++;
    output_text("only in %s: %s\n", in_a ? c->a.file : c->b.file, name);
    output_json("{s:s, s:s, s:s}", "name", name, "differs", "missing", "in", in_a ? "b" : "a");
}

static clv_status compare_sets(comparison *c, int i, int j)
{
    char shapes[2][64];
    clv_checkpoint_entry x = clv_checkpoint_at(c->a.checkpoint, i);
    clv_checkpoint_entry y = clv_checkpoint_at(c->b.checkpoint, j);
    c->compared++;
    if (x.dtype != y.dtype)
        tell(c, x.name, "type", clv_dtype_name(x.dtype), clv_dtype_name(y.dtype));
    if (x.m == y.m && x.n == y.n) return compare_values(c, i, j);
    snprintf(shapes[0], sizeof shapes[0], "%" PRId64 " x %" PRId64, x.m, x.n);
    snprintf(shapes[1], sizeof shapes[1], "%" PRId64 " x %" PRId64, y.m, y.n);
    tell(c, x.name, "shape", shapes[0], shapes[1]);
    return CLV_OK;
}

/* Those of a in their order, then those that only b has. */
static clv_status compare_all(comparison *c)
{
    clv_status status = CLV_OK;
    const char *only = c->args->only;
    for (int i = 0; i < clv_checkpoint_count(c->a.checkpoint); i++) {
        const char *name = clv_checkpoint_at(c->a.checkpoint, i).name;
        if (!clv_name_matches(only, name)) continue;
        int j = clv_checkpoint_find(c->b.checkpoint, name);
        if (j < 0)
            tell_missing(c, name, true);
        else
            TRY(compare_sets(c, i, j));
    }
    for (int j = 0; j < clv_checkpoint_count(c->b.checkpoint); j++) {
        const char *name = clv_checkpoint_at(c->b.checkpoint, j).name;
        if (clv_name_matches(only, name) && clv_checkpoint_find(c->a.checkpoint, name) < 0)
            tell_missing(c, name, false);
    }
done:
    return status;
}

/* ---- Configuration ---- */

static void compare_json(comparison *c, const char *path, const json_t *a, const json_t *b);

/* Every key of either; b's where a has it too are done with. */
static void compare_keys(comparison *c, const char *path, const json_t *a, const json_t *b)
{
    const json_t *sides[] = {a, b};
    for (int s = 0; s < 2; s++) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)sides[s], key, value)
        {
            char inner[512];
            if (s == 1 && json_object_get(a, key)) continue;
            snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "." : "", key);
            compare_json(c, inner, json_object_get(a, key), json_object_get(b, key));
        }
    }
}

static void compare_json(comparison *c, const char *path, const json_t *a, const json_t *b)
{
    if (json_is_object(a) && json_is_object(b)) {
        compare_keys(c, path, a, b);
        return;
    }
    if (a && b && json_equal(a, b)) return;
    char *x = a ? json_dumps(a, JSON_ENCODE_ANY) : NULL,
         *y = b ? json_dumps(b, JSON_ENCODE_ANY) : NULL;
    c->args->differences++;
    output_text("configuration %s: %s, %s\n", path, x ? x : "none", y ? y : "none");
    output_json("{s:s, s:s, s:O*, s:O*}", "config", path, "differs", "config", "a", a, "b", b);
    free(x);
    free(y);
}

static void compare_config(comparison *c)
{
    const char *x = clv_checkpoint_json(c->a.checkpoint), *y = clv_checkpoint_json(c->b.checkpoint);
    json_t *a = json_loads(x, JSON_DECODE_ANY, NULL), *b = json_loads(y, JSON_DECODE_ANY, NULL);
    if (a && b)
        compare_json(c, "", a, b);
    else if (strcmp(x, y) != 0)
        tell(c, "configuration", "text", x, y);
    json_decref(a);
    json_decref(b);
}

/* ---- The command ---- */

static clv_status open_side(clv_grid *grid, const char *path, side *s)
{
    clv_status status;
    TRY(clv_checkpoint_resolve(grid, path, &s->file));
    TRY(clv_checkpoint_open(grid, s->file, &s->checkpoint));
    s->values = malloc(CHUNK_ELEMENTS * sizeof *s->values);
    status = clv_grid_agree(
        grid, s->values ? CLV_OK : tool_fail(CLV_ENOMEM, "%s: no memory to read it", s->file));
done:
    return status;
}

static void close_side(side *s)
{
    clv_checkpoint_close(&s->checkpoint);
    free(s->values);
    free(s->file);
}

static clv_status diff(void *args)
{
    clv_status status;
    comparison c = {.args = args};
    if (c.args->bits && c.args->tolerance > 0)
        return tool_misuse(tool_fail(
            CLV_EARG, "--bits: expected no --tolerance beside it, found %g", c.args->tolerance));
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &c.grid));
    TRY(open_side(c.grid, c.args->a, &c.a));
    TRY(open_side(c.grid, c.args->b, &c.b));
    TRY(only_check(c.a.checkpoint, c.b.checkpoint, c.args->only));
    TRY(compare_all(&c));
    if (!c.args->only) compare_config(&c);
    output_json("{s:s, s:s, s:b, s:i, s:I}", "a", c.a.file, "b", c.b.file, "same",
                c.args->differences == 0, "datasets", c.compared, "differences",
                (json_int_t)c.args->differences);
    if (c.args->differences == 0)
        output_text("the same: %d data set%s\n", c.compared, c.compared == 1 ? "" : "s");
    /* What was not told is neither the same nor different. */
    TRY(clv_grid_agree(c.grid, output_status()));
done:
    close_side(&c.a);
    close_side(&c.b);
    clv_grid_destroy(&c.grid);
    return status;
}

int cmd_diff(int argc, char **argv)
{
    diff_args args = {0};
    option options[] = {
        opt_text("", "A", &args.a, REQUIRED, "a checkpoint, or a folder: its newest"),
        opt_text("", "B", &args.b, REQUIRED, "the other"),
        ONLY_OPTION(&args.only),
        opt_real("tolerance", "X", &args.tolerance, "0", 0, 1e300,
                 "values a, b are the same if |a - b| <= X max(1, |a|, |b|)"),
        opt_flag("bits", &args.bits, "values are the same if their bits are: not 0.0 and -0.0"),
        JSON_OPTION,
        {0},
    };
    enum { DIFFERENT = 1, TROUBLE };
    if (tool_main(&about, options, argc, argv, diff, &args)) return TROUBLE;
    return args.differences ? DIFFERENT : 0;
}
