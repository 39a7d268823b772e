/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_skinny.c: `cleave bench skinny`: few rows by many weights, as in decoding.
 *
 * Each weight is read once for each product, from memory: there are so many weight matrices that no
 * cache holds them. So the limit is the bandwidth at which the same bytes can be read at all.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>

enum { READ, CLEAVE, BLIS, CONTENDERS };
enum { MOST_WEIGHTS = 4096 };

typedef struct {
    product_kind kind;
    int64_t repeat, threads;
    const char *set;
    int op, weights;
    double set_bytes;
} skinny_args;

typedef struct {
    const skinny_args *args;
    product first; /* its grid, X, W, Y and plan; the plan serves all weights */
    int count, threads;
    clv_matrix **weights, **plain; /* count of each; plain: in f32 for BLIS, weights if they are */
    const void **parts;
    reading reading;
    contender contenders[CONTENDERS];
} skinny;

/* Y := X op(W) for every W of the set. */
static clv_status run_cleave(void *context)
{
    skinny *s = context;
    clv_status status = CLV_OK;
    for (int i = 0; i < s->count && status == CLV_OK; i++)
        status = clv_execute_gemm(s->first.plan, 1, s->first.matrices[A], s->weights[i], 0,
                                  s->first.matrices[C]);
    return status;
}

static clv_status run_blis(void *context)
{
    skinny *s = context;
    const product_kind *kind = &s->first.kind;
    clv_block x = clv_matrix_block(s->first.matrices[A]);
    clv_block y = clv_matrix_block(s->first.matrices[C]);
    for (int i = 0; i < s->count; i++) {
        clv_block w = clv_matrix_block(s->plain[i]);
        clv_blas_gemm(kind->dtype, 0, kind->trans_b, y.m, y.n, x.n, x.data, x.ld, w.data, w.ld,
                      y.data, y.ld);
    }
    return CLV_OK;
}

static clv_status create_weights(skinny *s, clv_spec spec, clv_matrix *matrices[])
{
    clv_status status = CLV_OK;
    for (int i = 0; i < s->count; i++) {
        TRY(clv_matrix_create(s->first.grid, spec, &matrices[i]));
        TRY(clv_matrix_fill_normal(matrices[i], 1, (uint64_t)i, 0, 1));
    }
done:
    return status;
}

static clv_status open_weights(skinny *s)
{
    clv_status status;
    clv_spec spec = clv_matrix_spec(s->first.matrices[B]);
    bool mixed = s->args->kind.weights != s->args->kind.dtype;
    s->weights = calloc((size_t)s->count, sizeof *s->weights);
    s->plain = mixed ? calloc((size_t)s->count, sizeof *s->plain) : s->weights;
    s->parts = calloc((size_t)s->count, sizeof *s->parts);
    status = s->weights && s->plain && s->parts
                 ? CLV_OK
                 : tool_fail(CLV_ENOMEM, "no memory for a list of %d matrices", s->count);
    TRY(clv_grid_agree(s->first.grid, status));
    TRY(create_weights(s, spec, s->weights));
    spec.dtype = s->args->kind.dtype;
    if (mixed) TRY(create_weights(s, spec, s->plain));
    for (int i = 0; i < s->count; i++) s->parts[i] = clv_matrix_block(s->weights[i]).data;
    clv_block block = clv_matrix_block(s->weights[0]);
    double bytes =
        (double)block.m * (double)block.ld * (double)clv_dtype_size(s->args->kind.weights);
    s->reading = (reading){.parts = s->parts,
                           .count = s->count,
                           .threads = s->threads,
                           .bytes = (size_t)bytes / 32 * 32};
done:
    return status;
}

static double weight_bytes(const product_kind *kind)
{
    return (double)kind->size.k * (double)kind->size.n * (double)clv_dtype_size(kind->weights);
}

/* The processes share the columns of W and Y; nothing moves. */
static clv_status open_skinny(skinny *s)
{
    clv_status status;
    const skinny_args *args = s->args;
    const product_kind *kind = &args->kind;
    const char *layouts[OPERANDS] = {"-|-", kind->trans_b ? "col|-" : "-|col", "-|col"};
    bool mixed = kind->weights != kind->dtype;
    s->count = (int)fmin(fmax(ceil(args->set_bytes / weight_bytes(kind)), 2), MOST_WEIGHTS);
    TRY(product_grid(kind, NULL, 0, &s->first));
    if (args->threads) clv_blas_set_threads((int)args->threads);
    s->threads = clv_blas_describe().threads;
    TRY(room_for(s->first.grid, "the matrices do",
                 (s->count + 1) * weight_bytes(kind) * (mixed ? 3 : 1) /
                     clv_grid_size(s->first.grid)));
    TRY(product_matrices(layouts, &s->first));
    TRY(product_plan(&s->first, NULL));
    TRY(open_weights(s));
done:
    return status;
}

static void close_weights(skinny *s, clv_matrix **matrices)
{
    for (int i = 0; i < s->count && matrices; i++) clv_matrix_destroy(&matrices[i]);
    free(matrices);
}

static void close_skinny(skinny *s)
{
    contenders_free(CONTENDERS, s->contenders);
    if (s->plain != s->weights) close_weights(s, s->plain);
    close_weights(s, s->weights);
    free(s->parts);
    product_close(&s->first);
}

static void show_table(const skinny *s, double bytes, double flops)
{
    char set[32], note[64];
    double all = bytes * s->count;
    const product_kind *kind = &s->args->kind;
    output_text("Y[%lld x %lld] = X[k = %lld] W%s, W in %s, %d of them (%s%s), %d process%s of %d "
                "thread%s\n\n",
                (long long)kind->size.m, (long long)kind->size.n, (long long)kind->size.k,
                kind->trans_b ? "^T" : "", clv_dtype_name(kind->weights), s->count,
                bytes_format(all, set), bytes_note(all, s->args->set_bytes, note),
                clv_grid_size(s->first.grid), clv_grid_size(s->first.grid) > 1 ? "es" : "",
                s->threads, s->threads > 1 ? "s" : "");
    output_text("  %-10s %12s %12s %12s %10s %10s\n", "", "us/product", "least", "most", "GB/s",
                "GFLOP/s");
    for (int i = 0; i < CONTENDERS; i++) {
        const contender *c = &s->contenders[i];
        spread each = {c->seconds.median / s->count, c->seconds.least / s->count,
                       c->seconds.most / s->count};
        double read = i == BLIS ? bytes / (double)clv_dtype_size(kind->weights) *
                                      (double)clv_dtype_size(kind->dtype)
                                : bytes;
        output_text("  %-10s %12.4g %12.4g %12.4g %10.4g", c->name, each.median * 1e6,
                    each.least * 1e6, each.most * 1e6, read / each.median / 1e9);
        if (i != READ) output_text(" %10.4g", flops / each.median / 1e9);
        output_text("\n");
    }
}

static void show_result(const skinny *s)
{
    const product_kind *kind = &s->args->kind;
    const contender *c = s->contenders;
    double bytes = weight_bytes(kind), flops = product_flops(kind), count = s->count;
    double read = c[READ].seconds.median, ours = c[CLEAVE].seconds.median;
    show_table(s, bytes, flops);
    output_text("\n%.3f of the bandwidth of reading, %.2f times BLIS\n", read / ours,
                c[BLIS].seconds.median / ours);
    json_t *object = json_pack(
        "{s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:I,s:I,s:I}", "bench", "skinny", "m",
        (json_int_t)kind->size.m, "n", (json_int_t)kind->size.n, "k", (json_int_t)kind->size.k,
        "op", kind->trans_b ? "NT" : "NN", "dtype", clv_dtype_name(kind->dtype), "weights",
        clv_dtype_name(kind->weights), "grid", s->first.axes, "ranks", clv_grid_size(s->first.grid),
        "threads", s->threads, "matrices", s->count, "set_bytes", (json_int_t)(bytes * count),
        "asked_set_bytes", (json_int_t)s->args->set_bytes, "repeat", (json_int_t)s->args->repeat);
    json_rate(object, "gbytes_per_second", bytes * count / 1e9, c[CLEAVE].seconds);
    json_rate(object, "read_gbytes_per_second", bytes * count / 1e9, c[READ].seconds);
    json_rate(object, "gflops", flops * count / 1e9, c[CLEAVE].seconds);
    json_rate(object, "blis_gflops", flops * count / 1e9, c[BLIS].seconds);
    json_rate(object, "products_per_second", count, c[CLEAVE].seconds);
    json_object_set_new(object, "seconds", output_number(ours / count));
    json_object_set_new(object, "fraction", output_number(read / ours));
    json_object_set_new(object, "ratio", output_number(c[BLIS].seconds.median / ours));
    output_json("o", object);
}

static clv_status work(void *asked)
{
    clv_status status;
    skinny_args *args = asked;
    skinny s = {.args = args};
    TRY(bench_read_bytes("--set", args->set, &args->set_bytes));
    TRY(bench_read_operands(args->op, args->weights, &args->kind));
    TRY(open_skinny(&s));
    contender *c = s.contenders;
    c[READ] = (contender){.name = "reading", .run = reading_run, .context = &s.reading};
    c[CLEAVE] = (contender){.name = "cleave", .run = run_cleave, .context = &s};
    c[BLIS] = (contender){.name = "blis", .run = run_blis, .context = &s};
    TRY(contenders_measure(s.first.grid, CONTENDERS, c, s.args->repeat, bench_product_turn));
    show_result(&s);
done:
    close_skinny(&s);
    return status;
}

static const manual about = {
    .name = "bench skinny",
    .synopsis = "[options]",
    .about =
        "Multiplies a few rows by many weight matrices in turn, more than any cache holds, as\n"
        "decoding does: against the bandwidth at which those weights can be read at all, and "
        "against\n"
        "BLIS (in the type of --dtype). The processes share the columns of the weights.",
    .examples = "  mpiexec.mpich -n 2 cleave bench skinny -m 1\n"
                "  cleave bench skinny -m 8 --threads 2 --weights bf16 --json\n",
};

int bench_skinny(int argc, char **argv)
{
    skinny_args args = {0};
    product_kind *kind = &args.kind;
    option options[] = {
        opt_int("m", "N", &kind->size.m, "1", 1, 1e6, "rows of X and Y; skinny is up to 16"),
        opt_int("k", "N", &kind->size.k, "4096", 1, 1e9, "columns of X, rows of W"),
        opt_int("n", "N", &kind->size.n, "4096", 1, 1e9, "columns of W and Y"),
        opt_choice("op", "OP", &args.op, "NN", "NN|NT", "NT: W is stored as its transpose, n x k"),
        BENCH_DTYPE(&kind->dtype, "f32"),
        BENCH_WEIGHTS(&args.weights, "W"),
        opt_text("set", "BYTES", &args.set, "512M",
                 "of all weights together, in whole matrices, 2 to 4096: more than the cache"),
        BENCH_REPEAT(&args.repeat),
        BENCH_THREADS(&args.threads),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, work, &args);
}
