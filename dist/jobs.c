/* SPDX-License-Identifier: BSD-3-Clause
 *
 * jobs.c: all the ways to do a product.
 *
 * Every axis of the grid gets one job, and the jobs fix the layouts in which the product needs no
 * communication:
 *
 *     job      op(A)    op(B)    C      parallelises
 *     m        rows     copy     rows   m
 *     n        copy     cols     cols   n
 *     k        cols     rows     sum    k
 *     idle     copy     copy     copy   nothing
 *     sum A    sum      copy     sum    (a pending sum of A deferred)
 *     sum B    copy     sum      sum    (a pending sum of B deferred)
 *
 * All assignments are enumerated; each costs move(A) + move(B) + local product + move(C). The
 * classical schemes (column- and row-parallel, SUMMA, 2.5D, 3D, weight-gathering) are rows of this
 * enumeration.
 *
 * What an operand's move costs depends on its own layout alone, of which there are far fewer than
 * assignments: each is computed once, when first asked for.
 */
#include "clvi_planner.h"

#include <stdlib.h>

enum { JOB_IDLE, JOB_M, JOB_N, JOB_K, JOB_SUM_A, JOB_SUM_B, JOBS };
enum { A = CLVI_A, B = CLVI_B, C = CLVI_C, OPERANDS = CLVI_OPERANDS };
enum { M, N, K, DIMS };

/* The order and units in which a job's axes cut can be those of either matrix that has the
 * dimension: one bit for each of m, n, k. */
enum { VARIANTS = 8, SETS = 1 << CLV_MAX_AXES, VARIANT_SHIFT = 3 * CLV_MAX_AXES };

/* What an operand has of the jobs: the dimensions of its rows and columns, and the job that leaves
 * a sum. A's k axes are C's sums, as are all that defer one. */
static const struct {
    int rows, cols, sum;
} shape_of[OPERANDS] = {{M, K, JOB_SUM_A}, {K, N, JOB_SUM_B}, {M, N, JOB_K}};

/* How an operand lies along an axis of a job, two bits: copy, rows, cols, sum. */
static const unsigned char way[OPERANDS][JOBS] = {
    {0, 1, 0, 2, 3, 0}, {0, 0, 2, 1, 0, 3}, {0, 1, 2, 3, 3, 3}};

/* One dimension as a matrix has it: which axes cut it, in which order, in which units. */
typedef struct {
    clv_order list;
    int64_t unit;
} cut;

typedef struct {
    bool known;
    double seconds, latency;
} move_cost;

struct clvi_space {
    const clvi_problem *problem;
    clvi_viewpoint here;
    int naxes;
    cut given[DIMS][2];
    cut cuts[DIMS][2][SETS];
    int64_t extents[DIMS][2][SETS]; /* of this process's block */
    move_cost *moves[OPERANDS];     /* by the ways of all axes, then by two variants */
};

/* The axes of each job. */
typedef struct {
    clv_axes of[JOBS];
} assignment;

static assignment decode(const clvi_space *s, clvi_code code)
{
    assignment a = {{0}};
    for (int axis = 0; axis < s->naxes; axis++) a.of[code >> 3 * axis & 7] |= 1u << axis;
    return a;
}

static int variant_of(clvi_code code, int dim)
{
    return (int)(code >> (VARIANT_SHIFT + dim) & 1);
}

/* ---- Cuts ---- */

static int64_t common_multiple(int64_t a, int64_t b)
{
    int64_t x = a, y = b;
    while (y) {
        int64_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x > INT64_MAX / b ? INT64_MAX : a / x * b;
}

/* The axes of `set` in the order of the preferred matrix, then of the other, then of the grid. */
static clv_order ordered(clv_axes set, clv_order preferred, clv_order other)
{
    clv_order list = clvi_order_keep(preferred, set);
    clv_axes left = set & ~clv_order_set(list);
    list = clv_order_join(list, clvi_order_keep(other, left));
    left &= ~clv_order_set(list);
    for (int axis = 0; left >> axis; axis++)
        if (left >> axis & 1) list = clv_order_append(list, axis);
    return list;
}

static bool reproducible(const clvi_problem *p)
{
    return clv_grid_leaves(p->grid) > 0;
}

/* In reproducible mode the unit of k belongs to the problem, and the sums that C keeps are the top
 * of the tree. */
static cut choose_cut(const clvi_space *s, int dim, int variant, clv_axes set)
{
    const cut *preferred = &s->given[dim][variant], *other = &s->given[dim][!variant];
    cut result = {ordered(set, preferred->list, other->list), preferred->unit};
    if (dim == K && reproducible(s->problem)) {
        clv_axes kept = s->problem->given[C].layout.sum;
        result.list =
            clv_order_join(clvi_order_keep(result.list, kept), clvi_order_keep(result.list, ~kept));
        result.unit = common_multiple(preferred->unit, other->unit);
    }
    return result;
}

static void fill_cuts(clvi_space *s)
{
    const clv_spec *g = s->problem->given;
    const int64_t extents[DIMS] = {g[C].m, g[C].n, g[A].n};
    const cut given[DIMS][2] = {
        {{g[A].layout.rows, clvi_unit(g[A].m_unit)}, {g[C].layout.rows, clvi_unit(g[C].m_unit)}},
        {{g[B].layout.cols, clvi_unit(g[B].n_unit)}, {g[C].layout.cols, clvi_unit(g[C].n_unit)}},
        {{g[A].layout.cols, clvi_unit(g[A].n_unit)}, {g[B].layout.rows, clvi_unit(g[B].m_unit)}}};
    for (int d = 0; d < DIMS; d++)
        for (int v = 0; v < 2; v++) {
            s->given[d][0] = given[d][0];
            s->given[d][1] = given[d][1];
            for (clv_axes set = 0; set < 1u << s->naxes; set++) {
                cut *c = &s->cuts[d][v][set];
                *c = choose_cut(s, d, v, set);
                clvi_range range =
                    clvi_split_axes(s->here.grid, extents[d], c->unit, c->list, s->here.coords);
                s->extents[d][v][set] = range.end - range.begin;
            }
        }
}

/* ---- Enumeration ---- */

/* A job that an axis may have: one process has none, and only what is pending can be deferred,
 * which would leave the tree of reproducible mode. */
static bool job_is_open(const clvi_problem *p, int axis, int job)
{
    if (clv_grid_axis(p->grid, axis).size == 1) return job == JOB_IDLE;
    if (job < JOB_SUM_A) return true;
    return !reproducible(p) && (p->given[job - JOB_SUM_A].layout.sum >> axis & 1);
}

/* The next assignment in lexical order; false after the last. */
static bool next_jobs(const clvi_space *s, clvi_code *code)
{
    for (int axis = 0; axis < s->naxes; axis++) {
        int job = (int)(*code >> 3 * axis & 7);
        *code &= ~(7u << 3 * axis);
        do job++;
        while (job < JOBS && !job_is_open(s->problem, axis, job));
        if (job == JOBS) continue;
        *code |= (clvi_code)job << 3 * axis;
        return true;
    }
    return false;
}

/* Whether as many processes as cut k are no more than the leaves, by powers of two. */
static bool fits_tree(const clvi_problem *p, clv_axes k)
{
    int64_t parts = 1, leaves = clv_grid_leaves(p->grid);
    for (int axis = 0; k >> axis; axis++)
        if (k >> axis & 1) parts *= clv_grid_axis(p->grid, axis).size;
    return (parts & (parts - 1)) == 0 && parts <= leaves;
}

static bool variants_differ(const clvi_space *s, int dim, clv_axes set)
{
    const cut *a = &s->cuts[dim][0][set], *b = &s->cuts[dim][1][set];
    return set != 0 && (a->list != b->list || a->unit != b->unit);
}

int64_t clvi_space_list(const clvi_space *s, clvi_code codes[])
{
    int64_t count = 0;
    clvi_code code = 0;
    do {
        assignment a = decode(s, code);
        if (reproducible(s->problem) && !fits_tree(s->problem, a.of[JOB_K])) continue;
        unsigned differ = 0;
        for (int d = 0; d < DIMS; d++)
            differ |= (unsigned)variants_differ(s, d, a.of[JOB_M + d]) << d;
        for (unsigned variant = 0; variant < VARIANTS; variant++) {
            if (variant & ~differ) continue;
            if (codes) codes[count] = code | variant << VARIANT_SHIFT;
            count++;
        }
    } while (next_jobs(s, &code));
    return count;
}

/* ---- What a way asks of the operands ---- */

static clv_spec spec_of(const clvi_space *s, const assignment *a, clvi_code code, int operand)
{
    int dims[2] = {shape_of[operand].rows, shape_of[operand].cols};
    clv_spec spec = s->problem->given[operand];
    spec.layout.sum = a->of[shape_of[operand].sum];
    if (operand == C) spec.layout.sum |= a->of[JOB_SUM_A] | a->of[JOB_SUM_B];
    for (int i = 0; i < 2; i++) {
        const cut *c = &s->cuts[dims[i]][variant_of(code, dims[i])][a->of[JOB_M + dims[i]]];
        *(i == 0 ? &spec.layout.rows : &spec.layout.cols) = c->list;
        if (c->list) *(i == 0 ? &spec.m_unit : &spec.n_unit) = c->unit; /* else nothing is cut */
    }
    return spec;
}

clvi_candidate clvi_space_candidate(const clvi_space *s, clvi_code code)
{
    assignment a = decode(s, code);
    const cut *k = &s->cuts[K][variant_of(code, K)][a.of[JOB_K]];
    clvi_candidate c = {.k = k->list, .k_unit = k->unit, .panels = 1};
    for (int i = 0; i < OPERANDS; i++) c.specs[i] = spec_of(s, &a, code, i);
    return c;
}

/* ---- What it costs ---- */

static const move_cost *cost_of_move(clvi_space *s, const assignment *a, clvi_code code,
                                     int operand)
{
    size_t index = 0;
    for (int axis = s->naxes - 1; axis >= 0; axis--)
        index = index << 2 | way[operand][code >> 3 * axis & 7];
    index = index << 2 | (size_t)variant_of(code, shape_of[operand].rows) << 1 |
            (size_t)variant_of(code, shape_of[operand].cols);
    move_cost *cost = &s->moves[operand][index];
    if (cost->known) return cost;
    clv_spec caller = s->problem->given[operand], local = spec_of(s, a, code, operand);
    clvi_volume volume = operand == C ? clvi_viewpoint_move(&s->here, local, caller)
                                      : clvi_viewpoint_move(&s->here, caller, local);
    const clv_machine *machine = &s->problem->options->machine;
    cost->seconds = clvi_cost_messages(machine, volume);
    volume.bytes = volume.net = 0;
    cost->latency = clvi_cost_messages(machine, volume);
    cost->known = true;
    return cost;
}

double clvi_space_seconds(clvi_space *s, clvi_code code, unsigned kept)
{
    assignment a = decode(s, code);
    int64_t extents[DIMS];
    for (int d = 0; d < DIMS; d++) extents[d] = s->extents[d][variant_of(code, d)][a.of[JOB_M + d]];
    double seconds = clvi_cost_product(&s->problem->options->machine, s->problem->dtype, extents[M],
                                       extents[N], extents[K]);
    for (int i = 0; i < OPERANDS; i++)
        if (!(kept >> i & 1)) seconds += cost_of_move(s, &a, code, i)->seconds;
    return seconds;
}

double clvi_space_panel(clvi_space *s, clvi_code code)
{
    assignment a = decode(s, code);
    return cost_of_move(s, &a, code, A)->latency + cost_of_move(s, &a, code, B)->latency;
}

/* ---- Making ---- */

const clvi_problem *clvi_space_problem(const clvi_space *s)
{
    return s->problem;
}

clv_status clvi_space_create(const clvi_problem *problem, clvi_space **out)
{
    clv_status status = CLV_OK;
    clvi_space *s = *out = calloc(1, sizeof *s);
    CLVI_CHECK(s, CLV_ENOMEM, "the candidates of a product");
    s->problem = problem;
    s->naxes = clv_grid_naxes(problem->grid);
    CLVI_TRY(clvi_viewpoint_create(problem->grid, clv_grid_rank(problem->grid), &s->here));
    for (int i = 0; i < OPERANDS; i++) {
        s->moves[i] = calloc((size_t)4 << 2 * s->naxes, sizeof *s->moves[i]);
        CLVI_CHECK(s->moves[i], CLV_ENOMEM, "the candidates of a product");
    }
    fill_cuts(s);
done:
    if (status != CLV_OK) clvi_space_destroy(out);
    return status;
}

void clvi_space_destroy(clvi_space **space)
{
    if (!*space) return;
    for (int i = 0; i < OPERANDS; i++) free((*space)->moves[i]);
    clvi_viewpoint_destroy(&(*space)->here);
    free(*space);
    *space = NULL;
}
