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

/* Polls a condition that another process brings about through shared memory, and moves this
 * process's messages meanwhile. */
clv_status clvi_wait_until(bool (*ready)(const void *context), const void *context);

/* Moves this process's messages, if any can be. Local, quick. */
clv_status clvi_wait_poke(void);

/* Between these two calls a process waits: one pair for each grid. Local. */
clv_status clvi_wait_open(void);
void clvi_wait_close(void);

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

/* count elements of every process, in rank order, on all. Collective. */
clv_status clvi_grid_gather(clv_grid *grid, const void *mine, int count, MPI_Datatype type,
                            void *all);

/* ---- split.c: all block arithmetic ------------------------------------------ */

typedef struct {
    int64_t begin, end; /* half open */
} clvi_range;

/* What lies in both; empty if nothing does. */
static inline clvi_range clvi_range_meet(clvi_range a, clvi_range b)
{
    clvi_range c = {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end};
    if (c.end < c.begin) c.end = c.begin;
    return c;
}

/* The unit that a spec means: 0 is 1. */
static inline int64_t clvi_unit(int64_t unit)
{
    return unit == 0 ? 1 : unit;
}

/* Units of an extent, the last of which may be cut short. Local, whatever their size. */
static inline int64_t clvi_units(int64_t extent, int64_t unit)
{
    return extent / unit + (extent % unit != 0);
}

/* Part `index` of `parts` of the units [0, units): cut by parts' prime factors, smallest first. */
clvi_range clvi_split(int64_t units, int parts, int index);

/* Panel `panel` of `panels` of a range: cut as evenly as possible in multiples of 64. */
clvi_range clvi_panel(clvi_range range, int panels, int panel);

/* The range of an extent in units of `unit` that the process with these coordinates holds
 * along the axes of `list`. coords[axis] for every axis of the grid. */
clvi_range clvi_split_axes(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                           const int coords[]);

/* How many parts of an extent, cut by the axes of `list`, are not empty and overlap `with`. */
int64_t clvi_split_overlaps(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                            clvi_range with);

/* Axis i of the grid has coordinate coords[i] on rank. */
void clvi_grid_coords(const clv_grid *grid, int rank, int coords[]);
/* Whether two ranks have the same coordinates along these axes. */
bool clvi_grid_agree_along(const clv_grid *grid, int a, int b, clv_axes axes);

/* ---- layout.c ----------------------------------------------------------------- */

clv_axes clvi_layout_copies(const clv_grid *grid, clv_layout layout); /* with the job copy  */
clv_order clvi_order_keep(clv_order list, clv_axes set); /* those of list in set, in their order */

/* ---- matrix.c ------------------------------------------------------------------ */

/* Element (i, j) of a block. */
static inline void *clvi_at(clv_block block, clv_dtype dtype, int64_t i, int64_t j)
{
    return (char *)block.data + (size_t)(i * block.ld + j) * clv_dtype_size(dtype);
}

/* What makes a spec valid on its own; CLV_ELIMIT for more elements than offsets count. Local. */
clv_status clvi_spec_check(const clv_grid *grid, clv_spec spec);
/* block := beta block; what was there is not read where beta is 0. Local. */
void clvi_block_scale(clv_dtype dtype, clv_block block, double beta);
bool clvi_spec_equal(clv_spec a, clv_spec b);
clv_spec clvi_spec_transposed(clv_spec spec);
/* Axes of one process cut nothing: without them, equal layouts compare equal. */
clv_spec clvi_spec_without_single_axes(const clv_grid *grid, clv_spec spec);

/* A spec as numbers for clvi_grid_same, and their names. */
enum { CLVI_SPEC_VALUES = 8 };
void clvi_spec_values(clv_spec spec, int64_t values[]);
#define CLVI_SPEC_NAMES(x)                                                            \
    "m of " x ",n of " x ",m_unit of " x ",n_unit of " x ",dtype of " x ",rows of " x \
    ",cols of " x ",sum of " x
/* Whether this process holds the values where others along the copy axes hold copies:
 * coordinate 0 of every axis that the layout leaves to copies. */
bool clvi_matrix_is_first_copy(const clv_matrix *matrix);
/* CLV_EARG, CLV_ESHAPE, CLV_EDTYPE or CLV_ELAYOUT naming `what` unless matrix is on this grid and
 * has this spec. Local, the same on every process. */
clv_status clvi_matrix_expect(const clv_matrix *matrix, const char *what, const clv_grid *grid,
                              clv_spec spec);
/* Whether it lies over the caller's memory, which neighbours cannot read. Local, the same on every
 * process. */
bool clvi_matrix_staged(const clv_matrix *matrix);
/* A spec as text for messages, in buffer: "256 x 128 f32 data|row". */
const char *clvi_spec_format(const clv_grid *grid, clv_spec spec, char *buffer, size_t size);

/* ---- node.c: who shares memory -------------------------------------------------- */

/* Whether rank shares memory with this process (as it does with itself): the same host, and with
 * CLEAVE_NODE_SIZE=n in the environment also the same n consecutive ranks (to test many nodes on
 * one). False where memory cannot be shared: then everything goes by messages. The same answer on
 * both. */
bool clvi_grid_is_neighbour(const clv_grid *grid, int rank);
bool clvi_grid_same_node(const clv_grid *grid, int a, int b); /* of any two ranks */

/* ---- arena.c: memory that the processes of a node can read -------------------- */

/* bytes of zeroed memory, every page touched, from the part of shared memory that this process
 * owns; on a grid that shares none, private memory. NULL if there is no room. Free with
 * clvi_shared_free; NULL is fine there. Local. */
void *clvi_shared_alloc(clv_grid *grid, size_t bytes);
void clvi_shared_free(clv_grid *grid, void *memory);
/* What to say after "N bytes" where there was none: of which memory, and what helps. */
const char *clvi_shared_what(const clv_grid *grid);
/* Whether neighbours can read it. Local. */
bool clvi_is_shared(const clv_grid *grid, const void *memory);

/* bytes as a multiple of a cache line: so parts of one workspace do not share any. */
static inline uint64_t clvi_round_up(uint64_t bytes)
{
    return (bytes + 63) & ~(uint64_t)63;
}

/* ---- channel.c: one process shows another what it may read ---------------------- */

/* Between every two processes of a node runs a channel each way, a ring of CLVI_CHANNEL offers.
 * Every offer has a number, which giver and taker draw in the same order, when an exchange begins;
 * after that offers may be made, taken and released in any order. Numbers are drawn for all
 * processes of the grid, those of other nodes too (they tell messages apart).
 * offer: shows `data` (NULL, or memory that is shared) to neighbour `to`; waits while the ring is
 *   full.
 * take: waits for the offer of neighbour `from` and gives its address in this process.
 * release: the offer taken from `from` has been read and may be overwritten.
 * reclaim: waits until `to` has released the offer. */
enum { CLVI_CHANNEL = 16 };
uint64_t clvi_channel_next_given(clv_grid *grid, int to);
uint64_t clvi_channel_next_taken(clv_grid *grid, int from);
clv_status clvi_channel_offer(clv_grid *grid, int to, uint64_t number, const void *data,
                              int64_t ld);
clv_status clvi_channel_take(clv_grid *grid, int from, uint64_t number, const void **data,
                             int64_t *ld);
void clvi_channel_release(clv_grid *grid, int from, uint64_t number);
clv_status clvi_channel_reclaim(clv_grid *grid, int to, uint64_t number);

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
    clv_order order;   /* of the ended sums, outermost first: the top of the tree; those not named
                        * follow in the order of the grid                                       */
    int panel, panels; /* with panels > 1, each process takes only this panel (clvi_panel) of */
    bool by_columns;   /* the rows of its block, or of its columns                            */
} clvi_route;

/* The block that rank has after the route: dst's, or an empty one. Local. */
clv_block clvi_route_target(const clv_grid *grid, const clvi_route *route, int rank);

/* What a route brings to rank: bytes and messages received. Local. */
typedef struct {
    uint64_t bytes; /* all of them */
    uint64_t net;   /* of them, from other nodes */
    int messages, net_messages;
} clvi_volume;
clvi_volume clvi_route_volume(const clv_grid *grid, const clvi_route *route, int rank);

/* The pieces of a route, and the workspace for what arrives in messages from other nodes and is not
 * received where it belongs: terms of sums; with accumulate, what is added to what is there; with
 * tiles, all of it. Neighbours' pieces are read where they lie and need none.
 *
 * staged: src will be memory that neighbours cannot read: room for a copy that they can. Without it
 * that room is made by the first execution that needs it; if there is none, this process and those
 * that it gives to return CLV_ENOMEM. staged_dst: the same of dst, for moves only.
 * in_parts: of a move, src is made part by part, so that no process should take all of it.
 * spread: of a move, every process's dst is memory that neighbours can write.
 * lent: the workspace is lent before the first execution: _memory bytes, a multiple of a cache
 * line, shared.
 *
 * Local: the status is this process's own. */
typedef struct {
    bool accumulate, tiles, staged, staged_dst, lent, in_parts, spread;
} clvi_exchange_options;
clv_status clvi_exchange_create(clv_grid *grid, const clvi_route *route,
                                clvi_exchange_options options, clvi_exchange **out);
void clvi_exchange_destroy(clvi_exchange **exchange);
/* next passes on what first brings: its src is first's dst, and it has no sums. Then next begins
 * right after first, before first gives or finishes; what next gives and finishes follows when
 * first is finished. Processes that share memory write at once where next would copy to. Local. */
void clvi_exchange_chain(clvi_exchange *first, clvi_exchange *next);
uint64_t clvi_exchange_memory(const clvi_exchange *exchange);
void clvi_exchange_lend(clvi_exchange *exchange, void *space);

/* dst := alpha src + beta dst on the blocks of the route, terms added in a fixed tree over the
 * summed axes. beta other than 0 needs accumulate. Collective. */
clv_status clvi_exchange_execute(clvi_exchange *exchange, double alpha, clv_block src, double beta,
                                 clv_block dst);

/* Exchanges may overlap in time if all processes begin (or show) them in the same order; no more
 * than CLVI_CHANNEL at once; two that are chained count as three. */

/* The same in steps, for those who make the pieces of src one after the other, or have other work
 * while they travel. begin: receives are posted. give: piece i of those that this process gives
 * (in the order of the ranks after this one, itself left out) is ready in src. finish: waits for
 * everything; src may be overwritten then. */
int clvi_exchange_count(const clvi_exchange *exchange);
clvi_tile clvi_exchange_part(const clvi_exchange *exchange,
                             int i);                             /* in coordinates of the matrix */
clvi_tile clvi_exchange_own_part(const clvi_exchange *exchange); /* 0 x 0: none */
clv_status clvi_exchange_begin(clvi_exchange *exchange, double beta, clv_block dst);
clv_status clvi_exchange_give(clvi_exchange *exchange, int i, clv_block src);
clv_status clvi_exchange_give_all(clvi_exchange *exchange, clv_block src);
clv_status clvi_exchange_finish(clvi_exchange *exchange, double alpha, clv_block src, double beta,
                                clv_block dst);

/* A route without sums, not copied at all: show gives away this process's pieces and posts
 * the receives for those of other nodes (create it with tiles); tiles waits and lists the pieces of
 * dst where they lie, in coordinates of the matrix, this process's own among them (data NULL, and
 * CLV_ENOMEM, where the giver had no memory to show: close is due all the same); close ends the
 * reading and waits until others have read. clvi_exchange_ntiles: how many there will be. */
int clvi_exchange_ntiles(const clvi_exchange *exchange);
clv_status clvi_exchange_show(clvi_exchange *exchange, clv_block src);
clv_status clvi_exchange_tiles(clvi_exchange *exchange, clv_block src, clvi_tile tiles[]);
clv_status clvi_exchange_close(clvi_exchange *exchange);

/* ---- move.c: any layout to any other, at most two routes ------------------------- */

typedef struct clvi_move clvi_move;

/* The routes of a move, reducing first, gathering last: 1 or 2. Local. */
int clvi_move_routes(const clv_grid *grid, clv_spec src, clv_spec dst, clvi_route routes[2]);
clvi_volume clvi_move_volume(const clv_grid *grid, clv_spec src, clv_spec dst, int rank);

/* Whether every process's block of dst lies within its block of src: then nothing has to be
 * copied to read it. Local, the same on every process. */
bool clvi_move_is_view(const clv_grid *grid, clv_spec src, clv_spec dst);
clv_block clvi_block_view(clv_block whole, clv_dtype dtype, clv_block part);

/* Local. order: of the sums that end (see clvi_route). Execution: dst := alpha src + beta dst.
 * Collective. */
clv_status clvi_move_create(clv_grid *grid, clv_spec src, clv_spec dst, clv_order order,
                            clvi_exchange_options options, clvi_move **out);
uint64_t clvi_move_memory(const clvi_move *move); /* to be lent, as to an exchange */
void clvi_move_lend(clvi_move *move, void *space);
void clvi_move_destroy(clvi_move **move);
clv_status clvi_move_execute(clvi_move *move, double alpha, clv_block src, double beta,
                             clv_block dst);

/* The same in steps, as of an exchange: the parts of src that others take, and this process's own.
 */
int clvi_move_count(const clvi_move *move);
clvi_tile clvi_move_part(const clvi_move *move, int i);
clvi_tile clvi_move_own_part(const clvi_move *move);
clv_status clvi_move_begin(clvi_move *move, double beta, clv_block dst);
clv_status clvi_move_give(clvi_move *move, int i, clv_block src);
clv_status clvi_move_finish(clvi_move *move, double alpha, clv_block src, double beta,
                            clv_block dst);

/* ---- machine.c: profiles -------------------------------------------------------------- */

/* Options with every default filled in. Local. */
clv_status clvi_plan_defaults(const clv_plan_options *options, clv_plan_options *model);
/* The same for a plan: rank 0's profile on every process; CLV_EMISMATCH where options differ.
 * Brings `mine` along as clvi_grid_same does. Collective. */
clv_status clvi_plan_agree(clv_grid *grid, clv_status mine, const clv_plan_options *options,
                           clv_plan_options *model);

/* ---- cost.c: the latency-bandwidth-flops model -------------------------------------- */

double clvi_cost_messages(const clv_machine *machine, clvi_volume volume);
double clvi_cost_product(const clv_machine *machine, clv_dtype dtype, int64_t m, int64_t n,
                         int64_t k);

/* ---- What a product can be: jobs.c enumerates, choose.c chooses (see clvi_planner.h) ---- */

enum { CLVI_A, CLVI_B, CLVI_C, CLVI_OPERANDS };

typedef struct {
    clv_grid *grid;
    clv_dtype dtype;                 /* of C and of the arithmetic                          */
    bool trans[2];                   /* A, B                                                 */
    clv_spec given[CLVI_OPERANDS];   /* as the caller's matrices lie; A and B already op()'d */
    bool staged[CLVI_OPERANDS];      /* the caller's memory: neighbours cannot read it       */
    const clv_plan_options *options; /* every default filled in                             */
} clvi_problem;

typedef struct {
    clv_spec specs[CLVI_OPERANDS]; /* of op(A), op(B) and C for the local product             */
    clv_order k;                   /* the axes that cut k, outermost first: C's sum in order */
    int64_t k_unit;                /* in which k is cut, by axes as by the leaves            */
    double seconds;                /* predicted, of the slowest process                      */
    uint64_t memory;               /* bytes of workspace of the greediest process            */
    int panels;                    /* parts in which what is gathered comes; 1 to CLVI_PANELS */
    bool keep[2], lent[2];         /* A, B: moved for a later product too; as an earlier did  */
} clvi_candidate;
enum { CLVI_PANELS = 64 };

/* The operand of a way as it is stored, not transposed. */
clv_spec clvi_stored(const clvi_problem *problem, int operand, clv_spec spec);

/* The best candidate within options->memory, by the model or by measuring. In reproducible mode
 * (clv_grid_leaves) only those that can give the tree's bits: the axes of k are powers of two,
 * no more than there are leaves, with those whose sum C keeps outermost; they and the leaves cut k
 * in the least common multiple of the units in which A and B have it, whatever the grid.
 * Collective. */
clv_status clvi_choose(const clvi_problem *problem, clvi_candidate *best);

/* ---- plan.c: what every plan is ------------------------------------------------------- */

typedef struct clvi_product clvi_product; /* product.c */

/* Adds the routes of a move, or a local step, to what a plan prints; bytes and seconds are this
 * process's. */
void clvi_plan_add_move(clv_plan *plan, const char *label, clv_spec src, clv_spec dst);
void clvi_plan_add_step(clv_plan *plan, clvi_volume volume, double seconds, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- product.c: the executor of products ------------------------------------------------- */

/* Workspace of this process for a candidate, in bytes; exactly what create allocates. More panels
 * need less, but for the rounding of pieces to cache lines. Local. */
uint64_t clvi_product_memory(const clvi_problem *problem, const clvi_candidate *candidate);

/* Everything that executing needs. Collective. */
clv_status clvi_product_create(const clvi_problem *problem, const clvi_candidate *candidate,
                               clvi_product **out);
/* Adds its steps to what the plan prints; none for an operand that another product made. Local. */
void clvi_product_explain(const clvi_product *product, clv_plan *plan);
clv_status clvi_product_execute(clvi_product *product, double alpha, clv_block A, clv_block B,
                                double beta, clv_block C);
void clvi_product_destroy(clvi_product **product);

/* reader reads operand `operand`, which it was created with as lent, where maker has moved its
 * operand `made`, created with keep, in its last execution. False where it is not there. */
bool clvi_product_lend(clvi_product *maker, int made, clvi_product *reader, int operand);

/* Bytes of workspace this process holds for it; what is lent counts with its maker. Local. */
uint64_t clvi_product_held(const clvi_product *product);

#endif
