/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_planner.h: what the files of the planner offer one another.
 *
 *     volume.c        what a move brings to one process, in closed form
 *     jobs.c          all the ways to do a product, and what each costs this process
 *     choose.c        the best of them on all processes, within the memory they may have
 *     joint.c         several together, so that what one gathers another need not
 *     team.c          products that were planned together
 *     measure.c       the fastest of a few, by the clock
 *     gemm_plan.c     one product
 *     linear_plan.c   the three products of a linear layer
 */
#ifndef CLVI_PLANNER_H
#define CLVI_PLANNER_H

#include <clvi_dist.h>
#include <clvi_scalapack.h>

/* ---- plan.c ------------------------------------------------------------------------ */

enum { CLVI_STEPS = 12, CLVI_STEP_TEXT = 256 };

typedef struct {
    const char *moved, *still; /* what it is if anything is received, and if not           */
    char text[CLVI_STEP_TEXT];
    double bytes, messages, seconds; /* the most of any process, once planned              */
} clvi_step;

struct clv_plan {
    clv_grid *grid;
    clv_plan_options model; /* options with every default filled in                        */
    clv_spec specs[3];      /* A, B, C of a product; src, dst of a move                    */
    clvi_move *move;
    clvi_product *product;
    clvi_scalapack *scalapack;
    uint64_t bytes;     /* received by this process                                           */
    uint64_t memory;    /* workspace of this process                                          */
    double most_memory; /* of any                                                          */
    int nsteps;
    clvi_step steps[CLVI_STEPS];
};

/* An empty plan with the model that all processes agree on. Collective. */
clv_status clvi_plan_open(clv_grid *grid, clv_status mine, const clv_plan_options *options,
                          clv_plan **out);
/* What to print is the most of any process. Collective. */
clv_status clvi_plan_close(clv_plan *plan);

/* ---- gemm_plan.c --------------------------------------------------------------------- */

/* A product checked and the same on every process: an open plan and its problem. Collective. */
clv_status clvi_gemm_open(clv_op op_a, const clv_matrix *A, clv_op op_b, const clv_matrix *B,
                          const clv_matrix *C, const clv_plan_options *options, clv_plan **plan,
                          clvi_problem *problem);

/* ---- volume.c ---------------------------------------------------------------------- */

/* One process and its neighbours. */
typedef struct {
    const clv_grid *grid;
    int rank, size, coords[CLV_MAX_AXES];
    int count, *neighbours; /* others of the node */
} clvi_viewpoint;

clv_status clvi_viewpoint_create(const clv_grid *grid, int rank, clvi_viewpoint *v);
void clvi_viewpoint_destroy(clvi_viewpoint *v);
clvi_range clvi_viewpoint_rows(const clvi_viewpoint *v, clv_spec spec);
clvi_range clvi_viewpoint_cols(const clvi_viewpoint *v, clv_spec spec);

/* The same as clvi_move_volume for its rank. */
clvi_volume clvi_viewpoint_move(const clvi_viewpoint *v, clv_spec src, clv_spec dst);

/* ---- jobs.c ------------------------------------------------------------------------- */

/* One way to do a product: three bits for the job of each axis, then three for the variants. */
typedef uint32_t clvi_code;

typedef struct clvi_space clvi_space;

/* problem is borrowed. Local. */
clv_status clvi_space_create(const clvi_problem *problem, clvi_space **out);
void clvi_space_destroy(clvi_space **space);

const clvi_problem *clvi_space_problem(const clvi_space *space);
/* How many there are; in codes, where it is not NULL, which. */
int64_t clvi_space_list(const clvi_space *space, clvi_code codes[]);
clvi_candidate clvi_space_candidate(const clvi_space *space, clvi_code code);
/* Predicted seconds of this process; the moves of the operands in `kept` (bit i: operand i) are
 * left out. */
double clvi_space_seconds(clvi_space *space, clvi_code code, unsigned kept);
/* What each panel after the first adds to that. */
double clvi_space_panel(clvi_space *space, clvi_code code);

/* ---- choose.c ------------------------------------------------------------------------ */

/* What can be chosen: a way to do each of one or several products together. */
typedef struct {
    double bound;       /* seconds of rank 0: on the slowest process it can only be more */
    double settled;     /* of those, the ones of products that are settled */
    clvi_code codes[3]; /* of product i, or CLVI_NONE: it is settled and not looked at          */
    unsigned char kept[3]; /* operands of product i that an earlier one has gathered already      */
    unsigned char keeps[3]; /* those that it keeps for a later one                                */
} clvi_item;
#define CLVI_NONE ((clvi_code)-1)

typedef struct {
    clvi_item item;
    double seconds;
    int panels;
} clvi_found;

/* The best `most` of the items that rank 0 brings, by the seconds of the slowest process, within
 * options->memory (of the first problem); what is kept comes whole, so such items have one panel.
 * *least is what the most frugal needs where nothing is found. Collective. */
typedef struct {
    clvi_item item;
    double bytes;
} clvi_least;
clv_status clvi_search(clv_status mine, int nspaces, clvi_space *const spaces[], int64_t nitems,
                       clvi_item items[], int most, clvi_found found[], int *nfound,
                       clvi_least *least);

/* The best candidates of one product. Collective. */
enum { CLVI_FEW = 4 };
clv_status clvi_choose_few(clvi_space *space, int most, clvi_candidate few[], int *count);

/* ---- team.c: products that are planned together ------------------------------------------- */

enum { CLVI_TEAM = 3 };

/* Product `reader` reads its operand as an earlier product gathered its own. */
typedef struct {
    int maker, made, reader, operand;
} clvi_share;

typedef struct {
    int count;
    const clvi_problem *problems[CLVI_TEAM];
    clvi_candidate ways[CLVI_TEAM];
    int nshares;
    clvi_share shares[CLVI_TEAM];
} clvi_team;

/* Collective. */
clv_status clvi_team_create(const clvi_team *team, clvi_product *products[CLVI_TEAM]);
void clvi_team_destroy(clvi_product *products[CLVI_TEAM]);

/* Executes each on scratch matrices; *fastest is the same on every process. Collective. */
clv_status clvi_measure(int count, const clvi_team teams[], int *fastest);

/* ---- joint.c: which of them gather what the others read ---------------------------------------
 */

/* team comes with problems and the best way of each by itself, and with all the shares there can
 * be; leaves with the best ways of all together and the shares that make them so. spaces: of its
 * products. Collective. */
clv_status clvi_choose_joint(clvi_space *const spaces[CLVI_TEAM], clvi_team *team);

/* ---- linear_plan.c --------------------------------------------------------------------------- */

/* The products of a linear layer in the order in which they are executed. */
enum { CLVI_FORWARD, CLVI_DW, CLVI_DX };

/* The best three for their problems. Collective. */
clv_status clvi_choose_three(clv_op op_w, const clvi_problem problems[CLVI_TEAM], clvi_team *team);

#endif
