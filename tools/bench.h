/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench.h: what the parts of `cleave bench` share; private to tools/.
 *
 * A part is one file: a table of options, a manual, and contenders that are measured in turns.
 */
#ifndef BENCH_H
#define BENCH_H

#include "tool.h"

/* ---- the parts ------------------------------------------------------------------- */

int bench_gemm(int argc, char **argv);
int bench_move(int argc, char **argv);
int bench_collective(int argc, char **argv);
int bench_linear(int argc, char **argv);
int bench_skinny(int argc, char **argv);
int bench_calibrate(int argc, char **argv);
int bench_checkpoint(int argc, char **argv);

/* ---- contender.c: turns, medians, spread ------------------------------------------ */

typedef struct {
    double median, least, most;
} spread;

/* Something that can be executed again and again. A turn is `times` executions, its time that of
 * the slowest process, from the moment the first one began. */
typedef struct {
    const char *name;
    clv_status (*run)(void *context); /* once; NULL: takes no part, and its seconds are NaN */
    void *context;
    int64_t times;  /* executions in a turn: as many as last `least` seconds */
    double *turns;  /* seconds of one execution in each                      */
    spread seconds; /* of one execution                                      */
} contender;

/* `least` for products: of small ones enough that each contender finds its own matrices in the
 * cache, not those of whoever came before. */
static const double bench_product_turn = 20e-3;

/* All of them in turns, `repeat` each, after turns that do not count; so what disturbs the machine
 * disturbs all alike. Collective over all. */
clv_status contenders_measure(clv_grid *all, int count, contender list[], int64_t repeat,
                              double least);
void contenders_free(int count, contender list[]);

/* The median of count values, which are sorted on the way, and their ends. */
spread spread_of(double values[], int64_t count);

/* Adds NAMEseconds, NAMEseconds_min and NAMEseconds_max; null where nothing was measured. The
 * second does the same for so much work a second: NAMErate and so on. */
void json_seconds(json_t *object, const char *name, spread seconds);
void json_rate(json_t *object, const char *name, double work, spread seconds);

/* ---- footprint.c: memory that a process really takes -------------------------------- */

typedef struct {
    double resident, foreign; /* bytes; foreign: of them, the neighbours' part of shared pages */
} footprint;

/* start: what this process has now, and the peak begins anew; growth: the most it has had since,
 * without what other processes hold of shared pages. All processes hold still meanwhile.
 * Collective over all. NaN where the system does not say. */
clv_status footprint_start(clv_grid *all, footprint *start);
clv_status footprint_growth(clv_grid *all, const footprint *start, double *bytes);

/* ---- products.c: one product, by Cleave, by ScaLAPACK or by BLIS alone --------------- */

enum { A, B, C, OPERANDS };

typedef struct {
    int64_t m, n, k;
} extents;

/* C[m,n] = op(A)[m,k] op(B)[k,n]. */
typedef struct {
    extents size;
    bool trans_a, trans_b;
    clv_dtype dtype, weights; /* of A, C and the arithmetic; of B */
} product_kind;

typedef struct {
    product_kind kind;
    clv_grid *grid; /* owned */
    bool shapes;    /* matrices without memory: to plan alone */
    clv_matrix *matrices[OPERANDS];
    clv_plan *plan;
    char axes[256], layouts[OPERANDS][128];
} product;

double product_flops(const product_kind *kind);
double product_bytes(const product_kind *kind); /* of its three matrices */

/* Specs on a grid; layouts as text, NULL: rows over the first half of the axes and columns over
 * the rest. Local. */
clv_status product_specs(const product_kind *kind, const clv_grid *grid,
                         const char *const layouts[], clv_spec specs[]);

/* The grid, with leaves > 0 in reproducible mode; the matrices, filled unless shapes; the plan. p
 * is zero before (but for shapes), and closed after a failure too. Collective over all processes.
 */
clv_status product_grid(const product_kind *kind, const char *grid, int leaves, product *p);
clv_status product_matrices(const char *const layouts[], product *p);
clv_status product_plan(product *p, const clv_plan_options *options);
clv_status product_run(void *p); /* contender's */
void product_close(product *p);

/* The limit: what a process does of a product where nothing has to move: its own block of C, with
 * as much of k as leaves each its part of the work. Local. */
product_kind product_share(const product_kind *kind, const clv_grid *grid, clv_spec c);
/* The same product on this process alone, by BLIS. Local. */
clv_status product_open_alone(const product_kind *kind, product *p);
clv_status product_run_alone(void *p); /* contender's */

/* ---- mover.c: one matrix from a layout to another ------------------------------------- */

typedef struct {
    clv_spec from, to;
    bool shapes; /* as a product's */
    clv_matrix *src, *dst;
    clv_plan *plan;
} mover;

/* Specs of both ends: `matrix`, in layouts as text. Local. */
clv_status mover_specs(const clv_grid *grid, clv_spec matrix, const char *from, const char *to,
                       mover *m);
/* The matrices of those specs, the first filled unless shapes, and the plan; to be closed after a
 * failure too. Collective. */
clv_status mover_open(clv_grid *grid, mover *m);
clv_status mover_run(void *m); /* contender's */
void mover_close(mover *m);

/* A matrix filled from (key, stream), zeros if it is i32; or one without memory. Collective. */
clv_status matrix_open(clv_grid *grid, clv_spec spec, bool shape, uint64_t key, uint64_t stream,
                       clv_matrix **matrix);
/* Of this process's block. Local. */
double block_bytes(const clv_grid *grid, clv_spec spec);

/* ---- reading.c: how fast memory can be read ------------------------------------------- */

/* count parts of so many bytes each (multiples of 32; aligned so), all read once in a run, by so
 * many threads. */
typedef struct {
    const void *const *parts;
    int count, threads;
    size_t bytes;
    uint64_t sum; /* so that the reading is needed */
} reading;
clv_status reading_run(void *what); /* contender's */

/* ---- bench.c: words that several parts read ------------------------------------------- */

/* "8K", "1 MiB": in buffer. */
const char *bytes_format(double bytes, char buffer[32]);
/* What to say behind a size that had to be another than asked for, "" if it is that: in buffer. */
const char *bytes_note(double bytes, double asked, char buffer[64]);

/* What options mean whose words only a part can judge; a mistake in the command line if nothing.
 * Local. bytes: of an option as "--set", at least 1. plan: --memory (NULL: no cap) and --measure.
 * operands: --op, 2 trans_a + trans_b, and --weights, 0 the same or 1 bf16, of a kind that has its
 * dtype. */
clv_status bench_read_bytes(const char *option, const char *text, double *bytes);
clv_status bench_read_plan(const char *memory, bool measure, clv_plan_options *options);
clv_status bench_read_operands(int op, int weights, product_kind *kind);

/* The plan as text, freed by the caller; NULL if there is no memory for it. */
char *plan_text(const clv_plan *plan);

#define BENCH_GRID(text) \
    opt_text("grid", "AXES", text, NULL, "row=2,col=2; sizes multiply to the ranks (all on col)")
#define BENCH_DTYPE(value, initial) \
    opt_choice("dtype", "TYPE", value, initial, "f32|f64", "type of all numbers")
#define BENCH_WEIGHTS(value, matrix)                          \
    opt_choice("weights", "TYPE", value, "same", "same|bf16", \
               "type of " matrix " in memory; bf16 with --dtype f32")
/* How to plan, and whether that is all. */
#define BENCH_PLAN(memory, measure, plan)                                           \
    opt_flag("measure", measure, "choose plans by timing the best candidates"),     \
        opt_text("memory", "BYTES", memory, NULL,                                   \
                 "workspace that a process may have: 64M (as much as is fastest)"), \
        opt_flag("plan", plan, "show what is planned and stop")
#define BENCH_REPEAT(value) opt_int("repeat", "N", value, "5", 1, 100000, "turns of each")
#define BENCH_THREADS(value)                      \
    opt_int("threads", "N", value, NULL, 1, 4096, \
            "threads of each process (the cores of the node, shared)")

#endif
