/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_dist.h: what dist offers inside the library, to its own files and to the floors
 * above.
 */
#ifndef CLVI_DIST_H
#define CLVI_DIST_H

#include <cleave_dist.h>
#include <clvi_lib.h>

/* ---- wait.c: the one place that waits ------------------------------------ */

/* Polls all requests and yields the processor until they are done; MPI's blocking
 * calls spin, which with more ranks than cores is a thousand times slower. */
clv_status clvi_wait_all(int count, MPI_Request requests[]);
clv_status clvi_wait(MPI_Request *request);

/* Whether ranks share cores, so that waiting sleeps before long. Local, for the process. */
void clvi_wait_crowded(bool more_ranks_than_cores);

/* CLV_EMPI with MPI's own words unless code is MPI_SUCCESS. */
clv_status clvi_mpi(int code, const char *call);

/* ---- grid.c --------------------------------------------------------------- */

MPI_Comm clvi_grid_comm(const clv_grid *grid); /* the grid's own; never stored elsewhere */
void clvi_grid_count(clv_grid *grid, uint64_t sent, uint64_t received); /* one message each */

/* Objects that live as long as the grid and whose end is Collective: destroyed with it, the last
 * first. keep is false when there is no room; kept finds one by its destructor. */
bool clvi_grid_keep(clv_grid *grid, void *object, void (*destroy)(void *));
void *clvi_grid_kept(const clv_grid *grid, void (*destroy)(void *));

/* Collective: CLV_EMISMATCH on every process unless values[count] are the same everywhere, naming
 * the first that differs by the names in `what` ("m,n,dtype"), with two ranks and values. Brings
 * `mine` along: a process whose own arguments failed passes its status, and every process returns
 * it. */
clv_status clvi_grid_same(clv_grid *grid, clv_status mine, const char *what, int count,
                          const int64_t values[]);

/* ---- split.c: all block arithmetic ------------------------------------------ */

typedef struct {
    int64_t begin, end; /* half open */
} clvi_range;

int clvi_smallest_factor(int n); /* smallest prime factor; n itself below 2 */

/* Part `index` of `parts` of the units [0, units): cut by parts' prime factors, smallest first. */
clvi_range clvi_split(int64_t units, int parts, int index);

/* The range of an extent in units of `unit` that the process with these coordinates holds
 * along the axes of `list`. coords[axis] for every axis of the grid. */
clvi_range clvi_split_axes(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                           const int coords[]);

/* Axis i of the grid has coordinate coords[i] on rank. */
void clvi_grid_coords(const clv_grid *grid, int rank, int coords[]);

/* ---- layout.c ----------------------------------------------------------------- */

clv_axes clvi_layout_copies(const clv_grid *grid, clv_layout layout); /* with the job copy  */
clv_order clvi_order_keep(clv_order list, clv_axes set); /* those of list in set, in their order */

/* ---- matrix.c ------------------------------------------------------------------ */

/* Element (i, j) of a block. */
static inline void *clvi_at(clv_block block, clv_dtype dtype, int64_t i, int64_t j)
{
    return (char *)block.data + (size_t)(i * block.ld + j) * clv_dtype_size(dtype);
}

bool clvi_spec_equal(clv_spec a, clv_spec b);

/* A spec as numbers for clvi_grid_same, and their names. */
enum { CLVI_SPEC_VALUES = 8 };
void clvi_spec_values(clv_spec spec, int64_t values[]);
#define CLVI_SPEC_NAMES(x)                                                            \
    "m of " x ",n of " x ",m_unit of " x ",n_unit of " x ",dtype of " x ",rows of " x \
    ",cols of " x ",sum of " x
/* Whether this process holds the values where others along the copy axes hold copies:
 * coordinate 0 of every axis that the layout leaves to copies. */
bool clvi_matrix_is_first_copy(const clv_matrix *matrix);
/* CLV_ESHAPE, CLV_EDTYPE or CLV_ELAYOUT naming `what` unless matrix has this spec. Local. */
clv_status clvi_matrix_expect(const clv_matrix *matrix, const char *what, clv_spec spec);
/* A spec as text for messages, in buffer: "256 x 128 f32 data|row". */
const char *clvi_spec_format(const clv_grid *grid, clv_spec spec, char *buffer, size_t size);

/* ---- exchange.c: one engine for every move ----------------------------------- */

typedef struct clvi_exchange clvi_exchange;

/* What moves: each process takes, for each element of its block of dst, every term that src
 * holds of it: from the process with its own coordinates along the axes that hold copies in src
 * or sums in both, and from all coordinates along the axes whose pending sum ends. Where an axis
 * of `first` has a coordinate other than 0, a process takes nothing. src and dst have the same
 * extents and dtype, and dst has no sums that src has not. */
typedef struct {
    clv_spec src, dst;
    clv_axes first;
} clvi_route;

/* The block that rank has after the route: dst's, or an empty one. Local. */
clv_block clvi_route_target(const clv_grid *grid, const clvi_route *route, int rank);

/* What a route brings to rank: bytes and messages received. Local. */
typedef struct {
    uint64_t bytes;
    int messages;
} clvi_volume;
clvi_volume clvi_route_volume(const clv_grid *grid, const clvi_route *route, int rank);

/* The messages of a route and workspace for the terms of sums; with accumulate, workspace too for
 * pieces that are added to what is there. Local: the status is this process's own. */
clv_status clvi_exchange_create(clv_grid *grid, const clvi_route *route, bool accumulate,
                                clvi_exchange **out);
void clvi_exchange_destroy(clvi_exchange **exchange);

/* dst := alpha src + beta dst on the blocks of the route, terms added in a fixed tree over the
 * summed axes. beta other than 0 needs accumulate. Collective. */
clv_status clvi_exchange_execute(clvi_exchange *exchange, double alpha, clv_block src, double beta,
                                 clv_block dst);

/* ---- move.c: any layout to any other, at most two routes ------------------------- */

typedef struct clvi_move clvi_move;

/* The routes of a move, reducing first, gathering last: 1 or 2. Local. */
int clvi_move_routes(const clv_grid *grid, clv_spec src, clv_spec dst, clvi_route routes[2]);
clvi_volume clvi_move_volume(const clv_grid *grid, clv_spec src, clv_spec dst, int rank);

/* Whether every process's block of dst lies within its block of src: then nothing has to be
 * copied to read it. Local, the same on every process. */
bool clvi_move_is_view(const clv_grid *grid, clv_spec src, clv_spec dst);
clv_block clvi_block_view(clv_block whole, clv_dtype dtype, clv_block part);

/* Local. Execution: dst := alpha src + beta dst. Collective. */
clv_status clvi_move_create(clv_grid *grid, clv_spec src, clv_spec dst, bool accumulate,
                            clvi_move **out);
void clvi_move_destroy(clvi_move **move);
clv_status clvi_move_execute(clvi_move *move, double alpha, clv_block src, double beta,
                             clv_block dst);

/* ---- cost.c: the latency-bandwidth-flops model -------------------------------------- */

/* Options with every default filled in. */
clv_plan_options clvi_plan_defaults(const clv_plan_options *options);
double clvi_cost_messages(const clv_plan_options *model, clvi_volume volume);
double clvi_cost_product(const clv_plan_options *model, clv_dtype dtype, int64_t m, int64_t n,
                         int64_t k);

/* ---- plan.c: what every plan is ------------------------------------------------------- */

typedef struct clvi_product clvi_product; /* product.c */

/* Adds the routes of a move, or a local step, to what a plan prints; bytes and seconds are this
 * process's. */
void clvi_plan_add_move(clv_plan *plan, const char *label, clv_spec src, clv_spec dst);
void clvi_plan_add_step(clv_plan *plan, clvi_volume volume, double seconds, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
const clv_plan_options *clvi_plan_model(const clv_plan *plan);

/* ---- product.c: the planner and the executor of products --------------------------------- */

/* Collective, argument checks done. */
clv_status clvi_product_create(clv_plan *plan, clv_op op_a, clv_spec A, clv_op op_b, clv_spec B,
                               clv_spec C, clv_grid *grid, clvi_product **out);
clv_status clvi_product_execute(clvi_product *product, double alpha, clv_block A, clv_block B,
                                double beta, clv_block C);
void clvi_product_destroy(clvi_product **product);

#endif
