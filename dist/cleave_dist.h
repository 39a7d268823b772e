/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cleave_dist.h: grid, layout, matrix; move and multiply.
 *
 * Four nouns carry the library. A grid arranges processes along named axes. A
 * layout gives each axis one job for one matrix. A matrix is a global m x n
 * array of which each process holds one block. (The fourth, the layer, stands
 * one floor up.) Two verbs act on them: move (the same matrix in another
 * layout) and multiply. Both are planned once and executed many times.
 *
 * "Collective" functions must be called by every process of the grid, in the
 * same order, with the same arguments except for pointers to data; "Local" ones
 * may be called by any process alone.
 */
#ifndef CLEAVE_DIST_H
#define CLEAVE_DIST_H

#include <cleave_lib.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Grid: processes along named axes ---------------------------------- */

#define CLV_MAX_AXES 8

typedef struct clv_grid clv_grid;

typedef struct {
    const char *name; /* letters, digits, '_'; begins with a letter; unique in a grid */
    int size;         /* processes along it, at least 1                               */
} clv_axis;

/* Arranges the processes of comm: ranks in row-major order of coordinates, the
 * first axis outermost. The product of the sizes must be the size of comm. comm
 * is duplicated and stays the caller's. Collective over comm. */
CLV_API clv_status clv_grid_create(MPI_Comm comm, int naxes, const clv_axis axes[],
                                   clv_grid **grid);

/* The same from text: "row=2,col=4". NULL or "" puts every process on one axis
 * "col". Collective over comm. */
CLV_API clv_status clv_grid_create_text(MPI_Comm comm, const char *text, clv_grid **grid);

/* Frees the grid once everything built on it is destroyed; sets *grid to NULL.
 * Collective. */
CLV_API void clv_grid_destroy(clv_grid **grid);

CLV_API int clv_grid_rank(const clv_grid *grid);             /* Local: mine, 0 <= rank < size */
CLV_API int clv_grid_size(const clv_grid *grid);             /* Local: processes              */
CLV_API int clv_grid_naxes(const clv_grid *grid);            /* Local                         */
CLV_API clv_axis clv_grid_axis(const clv_grid *grid, int i); /* Local: name belongs to grid   */
CLV_API int clv_grid_find(const clv_grid *grid, const char *name);    /* Local: index or -1      */
CLV_API int clv_grid_coord(const clv_grid *grid, int rank, int axis); /* Local                */

/* Small agreements, for programs as for the library; all poll and yield. */

/* Collective: returns once every process has called it. */
CLV_API clv_status clv_grid_barrier(clv_grid *grid);
/* Collective: the status of the lowest rank that brings one other than CLV_OK,
 * on every process, and its detail in clv_last_error. */
CLV_API clv_status clv_grid_agree(clv_grid *grid, clv_status mine);
/* Collective: bytes at data become those of rank root. */
CLV_API clv_status clv_grid_broadcast(clv_grid *grid, int root, void *data, size_t bytes);
/* Collective: values[i] become their sum, minimum or maximum over the grid, in
 * a fixed order: the same bits on every process. */
typedef enum { CLV_SUM, CLV_MIN, CLV_MAX } clv_reduction;
CLV_API clv_status clv_grid_reduce(clv_grid *grid, clv_reduction op, int count, double values[]);

/* What this process has moved since the last reset: data of moves and products
 * only, not the small agreements above. Local. */
typedef struct {
    uint64_t bytes_received, bytes_sent;
    uint64_t messages_received, messages_sent;
} clv_traffic;
CLV_API clv_traffic clv_grid_traffic(const clv_grid *grid);
CLV_API void clv_grid_traffic_reset(clv_grid *grid);

/* Reproducible mode: with leaves > 0, every later plan on this grid adds in an order that belongs
 * to the problem: k is cut into `leaves` parts as that many processes would cut it, each is one
 * local sum, and they are added in a binary tree, the top of which are the collectives. So the bits
 * of every result are the same on every grid whose axes are powers of two (where C keeps pending
 * sums, with alpha 1 and beta 0). 0 turns it off. Errors: CLV_EARG unless leaves is 0 or a power of
 * two up to CLV_MAX_LEAVES; CLV_EUNSUPPORTED naming an axis that is not a power of two. ScaLAPACK
 * knows no such order: plans with CLV_BACKEND_SCALAPACK are CLV_EUNSUPPORTED. Collective. */
#define CLV_LEAVES 8 /* what to choose */
#define CLV_MAX_LEAVES 64
CLV_API clv_status clv_grid_set_leaves(clv_grid *grid, int leaves);
CLV_API int clv_grid_leaves(const clv_grid *grid); /* Local */

/* ---- Layout: one job for each axis -------------------------------------- */

/* A set of axes (bit i: axis i), and an ordered list of distinct axes, outermost
 * first: four bits each, axis + 1, the first in the lowest; 0 ends the list. */
typedef uint32_t clv_axes;
typedef uint32_t clv_order;

/* Axes in rows shard the rows, those in cols the columns, those in sum each hold
 * a term of the matrix; the rest hold copies. {0} is copies everywhere. */
typedef struct {
    clv_order rows, cols;
    clv_axes sum;
} clv_layout;

/* Text form: "rows|cols" or "rows|cols;sum", each a list of names joined by '+'
 * or "-" for none: "data+depth|row", "-|row;col", "-|-". Local. */
CLV_API clv_status clv_layout_parse(const clv_grid *grid, const char *text, clv_layout *layout);

/* Writes the text form into buffer of size bytes and returns buffer; cut short
 * where it does not fit. Local. */
CLV_API const char *clv_layout_format(const clv_grid *grid, clv_layout layout, char *buffer,
                                      size_t size);

/* CLV_OK if layout is one of grid's: axes exist, each has one job. Local. */
CLV_API clv_status clv_layout_check(const clv_grid *grid, clv_layout layout);

/* Layouts by rule. Local.
 * dual: copies and sums swapped, the layout of a gradient.
 * transpose: rows and cols swapped. */
CLV_API clv_layout clv_layout_dual(const clv_grid *grid, clv_layout layout);
CLV_API clv_layout clv_layout_transpose(clv_layout layout);

/* Ordered lists. append: list with axis innermost. Local. */
CLV_API clv_order clv_order_append(clv_order list, int axis);
CLV_API clv_order clv_order_join(clv_order outer, clv_order inner);
CLV_API int clv_order_length(clv_order list);
CLV_API int clv_order_axis(clv_order list, int i); /* ith axis, outermost is 0 */
CLV_API clv_axes clv_order_set(clv_order list);

/* ---- Matrix: global extents, local block --------------------------------- */

typedef struct clv_matrix clv_matrix;

/* All that the processes agree on. A dimension is cut only between units: the
 * axes of its list cut it by their prime factors, outermost axis first, smallest
 * factor first, each time as evenly as possible with the larger parts first. */
typedef struct {
    int64_t m, n;           /* global extents, >= 0                         */
    int64_t m_unit, n_unit; /* never cut within; 0 means 1                  */
    clv_dtype dtype;
    clv_layout layout;
} clv_spec;

/* One process's part: element (i, j) of the block is data[i * ld + j] and is
 * global element (row0 + i, col0 + j). Blocks can be empty. */
typedef struct {
    void *data;
    int64_t m, n, ld;
    int64_t row0, col0;
} clv_block;

/* A matrix of zeros, its memory owned by the matrix. Collective. */
CLV_API clv_status clv_matrix_create(clv_grid *grid, clv_spec spec, clv_matrix **matrix);

/* Over the caller's memory, borrowed until destroyed: this process's block, row-major
 * with its columns <= ld < 2^31. Collective. */
CLV_API clv_status clv_matrix_wrap(clv_grid *grid, clv_spec spec, void *data, int64_t ld,
                                   clv_matrix **matrix);

/* Without memory, for plans alone, which look at nothing but specs: what they say can be asked
 * before anything is allocated, and they execute on other matrices of these specs. To fill it or to
 * execute on it is CLV_EARG. Collective. */
CLV_API clv_status clv_matrix_shape(clv_grid *grid, clv_spec spec, clv_matrix **matrix);

/* Frees it and sets *matrix to NULL; NULL is fine. Local. */
CLV_API void clv_matrix_destroy(clv_matrix **matrix);

CLV_API clv_grid *clv_matrix_grid(const clv_matrix *matrix);  /* Local */
CLV_API clv_spec clv_matrix_spec(const clv_matrix *matrix);   /* Local */
CLV_API clv_block clv_matrix_block(const clv_matrix *matrix); /* Local: mine */

/* The block that rank holds of a matrix of this spec (data NULL, ld its columns). Local. */
CLV_API clv_block clv_spec_block(const clv_grid *grid, clv_spec spec, int rank);

/* Fills by global element index: the same matrix on every grid and layout (with
 * pending sums, coordinate 0 holds the values and the others zero). Local.
 * normal: mean + std N(0,1) by Philox from (key, stream).
 * fill: every element is value. */
CLV_API clv_status clv_matrix_fill(clv_matrix *matrix, double value);
CLV_API clv_status clv_matrix_fill_normal(clv_matrix *matrix, uint64_t key, uint64_t stream,
                                          double mean, double std);

/* A matrix and its name: what models, optimizers and checkpoints exchange. Both borrowed. */
typedef struct {
    const char *name;
    clv_matrix *matrix;
} clv_named;

/* ---- Plans: move and multiply -------------------------------------------- */

typedef struct clv_plan clv_plan;

typedef enum {
    CLV_BACKEND_AUTO = 0,  /* Cleave's own enumeration                           */
    CLV_BACKEND_SCALAPACK, /* p?gemm; CLV_EUNSUPPORTED for layouts it cannot take
                            * and in reproducible mode                              */
} clv_backend;

/* The block that ScaLAPACK computes with in this process from now on, which is not that of its
 * matrices: 0 is the best known, 256; as installed it is 32. Local; the same on every process. */
CLV_API void clv_scalapack_set_block(int size);

/* What a machine can do: the numbers that plans are compared by. A message of b bytes takes
 * latency + b / bandwidth seconds, a product 2mnk / (flops e) with e = m/(m + half_m)
 * n/(n + half_n) k/(k + half_k), but no less than its operands take to be read. Zero means the
 * default. */
typedef struct {
    double node_latency, node_bandwidth; /* between processes of a node: s, bytes/s received  */
    double net_latency, net_bandwidth;   /* between nodes                                     */
    double memory_bandwidth;             /* bytes/s that a process reads                      */
    double flops;                        /* f32 operations/s of a process; f64: half          */
    double half_m, half_n, half_k;       /* extents at which a product has half that speed    */
} clv_machine;

/* A profile: one JSON object with the names above; `cleave bench calibrate` writes it. The
 * file that the environment's CLEAVE_PROFILE names holds the defaults of every plan. Local.
 * Errors: CLV_ENOTFOUND, CLV_EFORMAT naming the key. */
CLV_API clv_status clv_machine_read(const char *path, clv_machine *machine);
CLV_API clv_status clv_machine_write(const char *path, const clv_machine *machine);
/* The defaults, a profile's included. Local. */
CLV_API clv_status clv_machine_default(clv_machine *machine);

/* Zero means the default; a NULL pointer means all defaults. */
typedef struct {
    clv_backend backend;
    bool overwrite;      /* beta will be 0 and alpha 1: a move needs less workspace           */
    bool measure;        /* times the best candidates instead of trusting the model, on matrices
                          * of its own, which take memory beside the workspace while planning */
    uint64_t memory;     /* bytes of workspace a process may have; 0: as much as is fastest.
                          * CLV_ENOMEM saying what the cheapest plan needs if none fits       */
    clv_machine machine; /* what the model assumes                                            */
} clv_plan_options;

/* dst := alpha src + beta dst, same extents and dtype, any two layouts and units on
 * one grid. Bytes follow from the layouts: an all-gather, reduce-scatter or
 * all-to-all of size s over p processes receives (p-1)/p s, an all-reduce twice
 * that; a slice nothing. src and dst must not share memory. Collective; allocates
 * all workspace.
 * Errors: CLV_EARG for two grids, CLV_ESHAPE, CLV_EDTYPE (i32 has no sums), CLV_ENOMEM, and
 * CLV_EMISMATCH where processes bring different specs or options, as with every plan. */
CLV_API clv_status clv_plan_move(const clv_matrix *src, const clv_matrix *dst,
                                 const clv_plan_options *options, clv_plan **plan);

/* Executes on matrices of the specs planned with, on the grid of the plan. With pending sums in
 * dst, beta applies to every term. i32: alpha 1, beta 0 only. Collective. Errors: CLV_EARG for
 * another grid, CLV_ESHAPE, CLV_EDTYPE or CLV_ELAYOUT for another spec. */
CLV_API clv_status clv_execute_move(clv_plan *plan, double alpha, const clv_matrix *src,
                                    double beta, clv_matrix *dst);

typedef enum { CLV_N = 0, CLV_T } clv_op; /* op(A) = A or its transpose */

/* C := alpha op(A) op(B) + beta C; op(A) is m x k, op(B) k x n, C m x n; f32 or f64, A or B also
 * bf16 where C is f32 (bf16 in memory, f32 arithmetic); any layouts. Every axis gets one of the
 * jobs m, n, k or idle (or keeps a pending sum of A or B), all assignments are enumerated, and the
 * cheapest by the latency-bandwidth-flops model is kept. Collective; allocates all workspace.
 * Errors: CLV_EARG for several grids or an unknown op or backend, CLV_ESHAPE, CLV_EDTYPE,
 * CLV_ENOMEM, CLV_EMISMATCH; of ScaLAPACK CLV_EUNSUPPORTED and, for sizes beyond its 32 bits,
 * CLV_ELIMIT. */
CLV_API clv_status clv_plan_gemm(clv_op op_a, const clv_matrix *A, clv_op op_b, const clv_matrix *B,
                                 const clv_matrix *C, const clv_plan_options *options,
                                 clv_plan **plan);

/* The three products of a linear layer, planned together: forward Y = X op(W), dx: dX = dY op(W)^T,
 * dw: dW = X^T dY, dY^T X where op_w is CLV_T. What forward gathers of X or W and a backward
 * product needs too is kept for it where that saves moves, and dY from dw to dx: dw and then dx are
 * executed with the X and W of the last forward, and dx with the dY of the last dw. Each is
 * executed by clv_execute_gemm (dw may be without dx, not dx without dw) and destroyed by itself,
 * in any order. options->memory holds for each of the three; what is kept counts with the one that
 * gathers it. Collective. Errors: those of clv_plan_gemm, CLV_EUNSUPPORTED for another backend than
 * CLV_BACKEND_AUTO. */
CLV_API clv_status clv_plan_linear(const clv_matrix *X, clv_op op_w, const clv_matrix *W,
                                   const clv_matrix *Y, const clv_plan_options *options,
                                   clv_plan **forward, clv_plan **dx, clv_plan **dw);

/* The layouts for Y[m,n] = X[m,k] W[k,n] that make its three products cheapest on this grid, every
 * axis sharding the rows of X and Y (z), k or n: X "z|k", W "k+z|n", Y "z|n" (AxoNN: Singh et al.
 * 2023). As for a plan, the profile of rank 0 counts on every process. Collective.
 * Errors: CLV_ESHAPE, CLV_EDTYPE unless f32 or f64, CLV_ELIMIT, those of options. */
CLV_API clv_status clv_choose_linear(clv_grid *grid, clv_dtype dtype, int64_t m, int64_t k,
                                     int64_t n, const clv_plan_options *options, clv_layout *X,
                                     clv_layout *W, clv_layout *Y);

/* Executes on matrices of the specs planned with, on the grid of the plan; C shares no memory with
 * A or B. Collective. Errors: those of clv_execute_move. */
CLV_API clv_status clv_execute_gemm(clv_plan *plan, double alpha, const clv_matrix *A,
                                    const clv_matrix *B, double beta, clv_matrix *C);

/* Frees it and sets *plan to NULL; NULL is fine. Local. */
CLV_API void clv_plan_destroy(clv_plan **plan);

/* The steps in order, each with its layouts, bytes received per process (the
 * most of any) and predicted seconds. Local. */
CLV_API clv_status clv_plan_print(const clv_plan *plan, FILE *out);

/* Bytes this process receives in one execution, bytes of workspace it holds for the plan, and
 * the predicted seconds. Local. */
CLV_API uint64_t clv_plan_bytes(const clv_plan *plan);
CLV_API uint64_t clv_plan_memory(const clv_plan *plan);
CLV_API double clv_plan_seconds(const clv_plan *plan);

/* One move without keeping the plan: dst := src. Collective. */
CLV_API clv_status clv_move(const clv_matrix *src, clv_matrix *dst);

#ifdef __cplusplus
}
#endif
#endif
