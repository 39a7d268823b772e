/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_layers.h: what the files of layers share, and offer to models built of them.
 *
 * A layer makes everything it will ever need (parameters, plans, workspace) when it is
 * created; its forward and backward allocate nothing. What is written once here: the table
 * behind every layer, vectors that belong to columns (biases, gains), and numbers that belong
 * to rows whose columns are sharded (norms, loss).
 */
#ifndef CLVI_LAYERS_H
#define CLVI_LAYERS_H

#include <cleave_layers.h>
#include <clvi_dist.h>

/* ---- param.c --------------------------------------------------------------- */

enum { CLVI_NAME_SIZE = 128 }; /* of a parameter, with its end */

/* "NAME.PART" in buffer; CLV_ELIMIT where it does not fit. */
clv_status clvi_name_join(char buffer[CLVI_NAME_SIZE], const char *name, const char *part);
/* CLV_ENUMERIC unless every value is finite. Collective. */
clv_status clvi_params_check_finite(clv_params *params);

/* clv_params_add of "NAME.PART". */
clv_status clvi_params_add_part(clv_params *params, const char *name, const char *part,
                                clv_spec spec, double mean, double std, bool decay,
                                clv_param **param);

/* ---- layer.c: the table behind every layer ---------------------------------- */

typedef struct {
    const char *name; /* for messages */
    clv_status (*forward)(clv_layer *layer, const clv_matrix *X, clv_matrix *Y);
    clv_status (*backward)(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX);
    void (*destroy)(clv_layer *layer); /* what the layer holds, not the layer itself */
} clvi_layer_type;

/* The first member of every layer. forward and backward of the type are called with
 * operands of the right specs, backward after a forward only. */
struct clv_layer {
    const clvi_layer_type *type;
    clv_grid *grid;
    clv_spec x, y;
    const clv_matrix *X; /* of the last forward, borrowed; NULL before the first */
};

/* A layer of `bytes` of this type, zeroed but for its base. Collective. */
clv_status clvi_layer_create(clv_grid *grid, size_t bytes, const clvi_layer_type *type, clv_spec x,
                             clv_spec y, clv_layer **layer);

/* CLV_ESHAPE unless found == expected: "linear: columns of x: expected 3, found 4". */
clv_status clvi_check_extent(const char *layer, const char *what, int64_t found, int64_t expected);
/* CLV_EDTYPE unless spec is f32 or f64, CLV_ELAYOUT if it holds a pending sum. */
clv_status clvi_check_values(const char *layer, const char *what, clv_spec spec);

/* clv_plan_move between two specs. Collective. */
clv_status clvi_plan_move_specs(clv_grid *grid, clv_spec src, clv_spec dst, clv_plan **plan);

/* Y += X: matrices of one spec. Local. */
void clvi_add(const clv_matrix *X, clv_matrix *Y);

/* ---- leaves.c: in which parts sums over a sharded dimension are taken -------- */

/* A dimension cut by the axes of a list is summed leaf by leaf: without reproducible mode every
 * process's shard is a leaf, in it there are clv_grid_leaves of them on every grid. */
typedef struct {
    int count; /* of the whole dimension                                             */
    int own;   /* this process's, a power of two; count / own processes share them   */
    int64_t edges[CLV_MAX_LEAVES + 1]; /* own leaf l: local [edges[l], edges[l + 1])  */
} clvi_leaves;
clvi_leaves clvi_leaves_of(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list);
/* Of leaf i of the whole dimension. */
int64_t clvi_leaf_length(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list, int i);
/* CLV_EUNSUPPORTED where there are more processes than leaves. Local, the same everywhere. */
clv_status clvi_leaves_check(const clv_grid *grid, const char *what, clv_order list);

/* rows[own, n]: the first becomes the sum of all, added as a binary tree. */
void clvi_leaves_add(const clvi_leaves *leaves, clv_dtype dtype, int64_t n, void *rows);
/* The move that ends such a sum, the processes being the top of the same tree: terms has the spec
 * of sum but for its pending sum, and of its rows as many move as sum has; order is the list that
 * cuts the dimension. Executed with clvi_move_execute, any beta. Collective. */
clv_status clvi_plan_sum(const clv_matrix *terms, clv_order order, const clv_matrix *sum,
                         clvi_move **move);

/* Numbers of whole rows or of leaves of rows need no tree: they are added exactly. The sums and
 * counts of all processes become one on all of them. Collective. */
clv_status clvi_exact_reduce(clv_grid *grid, clvi_exact *sum, double *count);

/* ---- vector.c: a parameter 1 x n that works on every row -------------------- */

/* value: "-|c" where the matrix it works on is "r|c". Its gradient is a sum over rows: the
 * terms of this process's rows are "-|c;r", a row a leaf, and moved (beta = 1) to "-|c". */
typedef struct {
    clv_param *param;
    clvi_leaves leaves; /* of the rows it works on */
    clv_matrix *terms;
    clvi_move *sum;
} clvi_vector;

/* Adds NAME.PART for matrices of spec y, every element `value` at first. Collective. */
clv_status clvi_vector_create(clv_params *params, const char *name, const char *part, clv_spec y,
                              double value, clvi_vector *vector);
void clvi_vector_destroy(clvi_vector *vector);

/* This process's elements of the value; NULL without a parameter. Local. */
const void *clvi_vector_value(const clvi_vector *vector);
/* The terms of the gradient become zero. Local. */
void clvi_vector_clear(clvi_vector *vector);
/* Those of local row i, to be added to; NULL without a parameter. Local. */
void *clvi_vector_terms(const clvi_vector *vector, int64_t i);
/* gradient += sum of the terms of all rows; nothing without a parameter. Collective. */
clv_status clvi_vector_collect(clvi_vector *vector);

/* ---- rowstats.c: a few numbers a row, from each leaf of its columns ---------- */

/* For a matrix "r|c": own is "r|c" and holds `count` doubles a row from each leaf of the columns,
 * all is "r|-" and holds those of every leaf, in their order. What is combined from them in that
 * order is the same bits on every process, and in reproducible mode on every grid. */
typedef struct {
    int count;
    clvi_leaves leaves;
    clv_matrix *own, *all;
    clv_plan *gather;
} clvi_rowstats;

clv_status clvi_rowstats_create(clv_grid *grid, clv_spec x, int count, clvi_rowstats *stats);
void clvi_rowstats_destroy(clvi_rowstats *stats);
/* leaves.own * count doubles for local row i, to be written. Local. */
double *clvi_rowstats_own(const clvi_rowstats *stats, int64_t i);
clv_status clvi_rowstats_gather(clvi_rowstats *stats); /* Collective */
/* leaves.count * count doubles for local row i. Local. */
const double *clvi_rowstats_all(const clvi_rowstats *stats, int64_t i);

/* ---- linear.c ------------------------------------------------------------------ */

/* clv_linear_create of "NAME.PART". */
clv_status clvi_linear_create_part(clv_params *params, const char *name, const char *part,
                                   const clv_linear_config *config, clv_layer **layer);
/* clv_linear_create on a weight that is another layer's too, of the spec config->w; NULL:
 * NAME.weight of its own. */
clv_status clvi_linear_create_on(clv_params *params, const char *name, clv_param *weight,
                                 const clv_linear_config *config, clv_layer **layer);

/* ---- attention_core.c: serial ------------------------------------------------ */

/* g heads of q that share one k and one v, over one sequence of T tokens, d features a head. z and
 * dz: T x (g + 2) d, the heads of q side by side, then k, then v; o and do: T x g d; inside
 * matrices of leading dimensions ld and ldo. The same bits whatever the leading dimensions and
 * threads. After clvi_gemm_reserve. */
typedef struct {
    clv_dtype dtype;
    int64_t T, g, d, ld, ldo;
    const void *rotary; /* table of clvi_rotary_table, or NULL        */
    void *work;         /* clvi_attention_work(T) elements of dtype   */
} clvi_attention;
int64_t clvi_attention_work(int64_t T);
/* Turns q and k in z, and leaves them so for the backward. */
void clvi_attention_forward(const clvi_attention *group, void *z, void *o);
void clvi_attention_backward(const clvi_attention *group, const void *z, const void *d_o, void *dz);

/* ---- placement.c -------------------------------------------------------------- */

/* CLV_EARG or CLV_ESHAPE unless the shape makes sense. Local. */
clv_status clvi_check_shape(const clv_transformer_shape *shape);

/* Specs of a transformer's matrices, rows of activations in units of whole sequences: ids and
 * targets, the residual stream, and n columns in units of n_unit that lie as heads do (q, k, v,
 * hidden, logits). */
clv_spec clvi_ids_spec(const clv_transformer_shape *shape);
clv_spec clvi_residual_spec(const clv_transformer_shape *shape);
clv_spec clvi_heads_spec(const clv_transformer_shape *shape, int64_t n, int64_t n_unit);
/* Weights into (width x n) and out of (n x width) such columns. */
clv_spec clvi_weight_in_spec(const clv_transformer_shape *shape, int64_t n, int64_t n_unit);
clv_spec clvi_weight_out_spec(const clv_transformer_shape *shape, int64_t n, int64_t n_unit);

/* ---- config.c ------------------------------------------------------------------- */

/* CLV_EARG, CLV_ESHAPE, CLV_EDTYPE or CLV_ELIMIT naming the member, unless a GPT can have this
 * configuration. Local. */
clv_status clvi_gpt_config_check(const clv_gpt_config *config);
/* The same with the defaults in the place of zeros. Local. */
clv_gpt_config clvi_gpt_config_settle(clv_gpt_config config);
/* clvi_grid_same of the configuration and the batch. Collective. */
clv_status clvi_gpt_config_same(clv_grid *grid, clv_status mine, const clv_gpt_config *config,
                                int64_t sequences);

/* ---- model.c -------------------------------------------------------------------- */

/* 2 * vocabulary doubles to sample with. Local. */
double *clvi_gpt_scratch(const clv_gpt *gpt);

/* ---- batch.c -------------------------------------------------------------------- */

/* ids of sequence s become the tokens of the text from starts[s], targets those one further on;
 * all -1, which takes no part in anything, where starts[s] < 0. Each process reads its own rows.
 * starts[sequences]: the same on every process. CLV_EARG for tokens outside the vocabulary.
 * Collective. */
clv_status clvi_batch_load(clv_gpt *gpt, const clv_source *source, const int64_t starts[]);

#endif
