/* SPDX-License-Identifier: BSD-3-Clause
 *
 * candidate.c: all the ways to do a product, and the best of them.
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
 */
#include <clvi_dist.h>
#include <stdlib.h>

enum { JOB_IDLE, JOB_M, JOB_N, JOB_K, JOB_SUM_A, JOB_SUM_B, JOBS };
enum { A = CLVI_A, B = CLVI_B, C = CLVI_C, OPERANDS = CLVI_OPERANDS };

/* The order and units in which a job's axes cut can be those of either matrix that has the
 * dimension: three bits, for m, n, k. */
enum { VARIANTS = 8 };

typedef clvi_problem problem;
typedef clvi_candidate candidate;

/* ---- Enumeration ---- */

/* One dimension as a matrix has it: which axes cut it, in which order, in which units. */
typedef struct {
    clv_order list;
    int64_t unit;
} cut;

/* The axes of `set` in the order of the preferred matrix, then of the other, then of the grid. */
static cut choose_cut(clv_axes set, cut preferred, cut other)
{
    clv_order list = clvi_order_keep(preferred.list, set);
    clv_axes left = set & ~clv_order_set(list);
    list = clv_order_join(list, clvi_order_keep(other.list, left));
    left &= ~clv_order_set(list);
    for (int axis = 0; left >> axis; axis++)
        if (left >> axis & 1) list = clv_order_append(list, axis);
    return (cut){list, preferred.unit};
}

/* The layouts that an assignment of jobs asks for. */
static candidate make_candidate(const problem *p, const int jobs[], int variant)
{
    const clv_spec *given = p->given;
    cut dims[3][2] = {
        {{given[A].layout.rows, given[A].m_unit}, {given[C].layout.rows, given[C].m_unit}},
        {{given[B].layout.cols, given[B].n_unit}, {given[C].layout.cols, given[C].n_unit}},
        {{given[A].layout.cols, given[A].n_unit}, {given[B].layout.rows, given[B].m_unit}},
    };
    clv_axes sets[JOBS] = {0};
    for (int axis = 0; axis < clv_grid_naxes(p->grid); axis++) sets[jobs[axis]] |= 1u << axis;
    cut m, n, k, *out[3] = {&m, &n, &k};
    for (int d = 0; d < 3; d++) {
        int first = variant >> d & 1;
        *out[d] = choose_cut(sets[JOB_M + d], dims[d][first], dims[d][!first]);
    }
    candidate c = {.specs = {given[A], given[B], given[C]}, .k = k.list, .panels = 1};
    c.specs[A].layout = (clv_layout){m.list, k.list, sets[JOB_SUM_A]};
    c.specs[B].layout = (clv_layout){k.list, n.list, sets[JOB_SUM_B]};
    c.specs[C].layout =
        (clv_layout){m.list, n.list, sets[JOB_K] | sets[JOB_SUM_A] | sets[JOB_SUM_B]};
    c.specs[A].m_unit = c.specs[C].m_unit = m.unit;
    c.specs[B].n_unit = c.specs[C].n_unit = n.unit;
    c.specs[A].n_unit = c.specs[B].m_unit = k.unit;
    return c;
}

static bool same_candidate(const candidate *a, const candidate *b)
{
    for (int i = 0; i < OPERANDS; i++)
        if (!clvi_spec_equal(a->specs[i], b->specs[i])) return false;
    return true;
}

static clvi_volume volume_of(const problem *p, const candidate *c, int operand, int rank)
{
    clv_spec caller = p->given[operand], local = c->specs[operand];
    return operand == C ? clvi_move_volume(p->grid, local, caller, rank)
                        : clvi_move_volume(p->grid, caller, local, rank);
}

/* Predicted seconds of the local product of this process. */
static double product_cost(const problem *p, const candidate *c)
{
    int rank = clv_grid_rank(p->grid);
    clv_block a = clv_spec_block(p->grid, c->specs[A], rank);
    clv_block b = clv_spec_block(p->grid, c->specs[B], rank);
    return clvi_cost_product(&p->options->machine, p->dtype, a.m, b.n, a.n);
}

/* Predicted seconds of this process, moves included. */
static double cost(const problem *p, const candidate *c)
{
    int rank = clv_grid_rank(p->grid);
    double seconds = product_cost(p, c);
    for (int i = 0; i < OPERANDS; i++)
        seconds += clvi_cost_messages(&p->options->machine, volume_of(p, c, i, rank));
    return seconds;
}

/* A job that an axis may have: one process has none, and only what is pending can be deferred. */
static bool job_is_open(const problem *p, int axis, int job)
{
    if (clv_grid_axis(p->grid, axis).size == 1) return job == JOB_IDLE;
    if (job == JOB_SUM_A) return p->given[A].layout.sum >> axis & 1;
    if (job == JOB_SUM_B) return p->given[B].layout.sum >> axis & 1;
    return true;
}

/* The next assignment in lexical order; false after the last. */
static bool next_jobs(const problem *p, int jobs[])
{
    for (int axis = 0; axis < clv_grid_naxes(p->grid); axis++) {
        do jobs[axis]++;
        while (jobs[axis] < JOBS && !job_is_open(p, axis, jobs[axis]));
        if (jobs[axis] < JOBS) return true;
        jobs[axis] = JOB_IDLE;
    }
    return false;
}

/* All candidates (list NULL: only counts them). */
static int enumerate(const problem *p, candidate *list)
{
    int count = 0, jobs[CLV_MAX_AXES] = {JOB_IDLE};
    do {
        int begin = count;
        for (int variant = 0; variant < VARIANTS; variant++) {
            candidate c = make_candidate(p, jobs, variant);
            bool known = false;
            for (int i = begin; list && i < count && !known; i++)
                known = same_candidate(&list[i], &c);
            if (known) continue;
            if (list) list[count] = c;
            count++;
        }
    } while (next_jobs(p, jobs));
    return count;
}

/* The candidate whose slowest process is fastest; among equals the first. Collective. */
clv_status clvi_choose(const clvi_problem *p, clvi_candidate *best)
{
    clv_status status = CLV_OK;
    int room = enumerate(p, NULL), count = 0;
    candidate *list = calloc((size_t)room, sizeof *list);
    double *seconds = calloc((size_t)room, sizeof *seconds);
    if (!list || !seconds) status = clvi_fail(CLV_ENOMEM, "%d candidates", room);
    CLVI_TRY(clv_grid_agree(p->grid, status));
    count = enumerate(p, list);
    for (int i = 0; i < count; i++) seconds[i] = cost(p, &list[i]);
    CLVI_TRY(clv_grid_reduce(p->grid, CLV_MAX, count, seconds));
    int least = 0;
    for (int i = 1; i < count; i++)
        if (seconds[i] < seconds[least]) least = i;
    *best = list[least];
    best->seconds = seconds[least];
done:
    free(list);
    free(seconds);
    return status;
}
