/* SPDX-License-Identifier: BSD-3-Clause
 *
 * product.c: the planner and the executor of products.
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
enum { A, B, C, OPERANDS };

/* The order and units in which a job's axes cut can be those of either matrix that has the
 * dimension: three bits, for m, n, k. */
enum { VARIANTS = 8 };

typedef struct {
    clv_grid *grid;
    clv_dtype dtype;
    bool trans[2];            /* A, B */
    clv_spec given[OPERANDS]; /* as the caller's matrices lie; A and B already op()'d */
    const clv_plan_options *model;
} problem;

typedef struct {
    clv_spec specs[OPERANDS]; /* of op(A), op(B) and C for the local product */
} candidate;

struct clvi_product {
    problem of;
    candidate chosen;
    clv_block local[OPERANDS];  /* blocks of the local product; data where memory is ours    */
    bool view[2];               /* A or B is read where it lies                              */
    clvi_move *moves[OPERANDS]; /* NULL: nothing to move                                    */
};

static clv_spec transposed(clv_spec spec)
{
    clv_spec t = spec;
    t.m = spec.n;
    t.n = spec.m;
    t.m_unit = spec.n_unit;
    t.n_unit = spec.m_unit;
    t.layout = clv_layout_transpose(spec.layout);
    return t;
}

/* Axes of one process cut nothing: without them, equal layouts compare equal. */
static clv_spec without_single_axes(const clv_grid *grid, clv_spec spec)
{
    clv_axes several = 0;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (clv_grid_axis(grid, axis).size > 1) several |= 1u << axis;
    spec.layout.rows = clvi_order_keep(spec.layout.rows, several);
    spec.layout.cols = clvi_order_keep(spec.layout.cols, several);
    spec.layout.sum &= several;
    return spec;
}

static clv_spec stored(const problem *p, int operand, clv_spec spec)
{
    return operand != C && p->trans[operand] ? transposed(spec) : spec;
}

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
    candidate c = {{given[A], given[B], given[C]}};
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
    return clvi_cost_product(p->model, p->dtype, a.m, b.n, a.n);
}

/* Predicted seconds of this process, moves included. */
static double cost(const problem *p, const candidate *c)
{
    int rank = clv_grid_rank(p->grid);
    double seconds = product_cost(p, c);
    for (int i = 0; i < OPERANDS; i++)
        seconds += clvi_cost_messages(p->model, volume_of(p, c, i, rank));
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
static clv_status choose(const problem *p, candidate *best)
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
done:
    free(list);
    free(seconds);
    return status;
}

/* ---- Planning ---- */

/* Memory and messages for one operand. Local. */
static clv_status prepare(clvi_product *product, int operand)
{
    const problem *p = &product->of;
    clv_spec caller = stored(p, operand, p->given[operand]);
    clv_spec local = stored(p, operand, product->chosen.specs[operand]);
    product->local[operand] = clv_spec_block(p->grid, local, clv_grid_rank(p->grid));
    if (operand != C && (product->view[operand] = clvi_move_is_view(p->grid, caller, local)))
        return CLV_OK;
    if (operand == C && clvi_spec_equal(caller, local)) return CLV_OK;
    clv_block *block = &product->local[operand];
    size_t bytes = (size_t)(block->m * block->n) * clv_dtype_size(p->dtype);
    if (!(block->data = clvi_alloc(bytes)))
        return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes of workspace for a product",
                         clv_grid_rank(p->grid), bytes);
    return operand == C ? clvi_move_create(p->grid, local, caller, true, &product->moves[operand])
                        : clvi_move_create(p->grid, caller, local, false, &product->moves[operand]);
}

static void explain(clv_plan *plan, const clvi_product *product)
{
    const problem *p = &product->of;
    static const char *const names[OPERANDS] = {"A", "B", "C"};
    char text[OPERANDS][96];
    for (int i = 0; i < OPERANDS; i++)
        clv_layout_format(p->grid, product->chosen.specs[i].layout, text[i], sizeof text[i]);
    for (int i = A; i <= B; i++)
        if (!clvi_spec_equal(p->given[i], product->chosen.specs[i]))
            clvi_plan_add_move(plan, names[i], stored(p, i, p->given[i]),
                               stored(p, i, product->chosen.specs[i]));
    clvi_plan_add_step(plan, (clvi_volume){0}, product_cost(p, &product->chosen),
                       "%-14s C[%s] = op(A)[%s] op(B)[%s]", "multiply", text[C], text[A], text[B]);
    if (product->moves[C]) clvi_plan_add_move(plan, "C", product->chosen.specs[C], p->given[C]);
}

clv_status clvi_product_create(clv_plan *plan, clv_op op_a, clv_spec a, clv_op op_b, clv_spec b,
                               clv_spec c, clv_grid *grid, clvi_product **out)
{
    clv_status status = CLV_OK;
    clvi_product *product = *out = calloc(1, sizeof *product);
    if (!product) status = clvi_fail(CLV_ENOMEM, "the plan of a product");
    CLVI_TRY(clv_grid_agree(grid, status));
    product->of = (problem){
        .grid = grid,
        .dtype = c.dtype,
        .trans = {op_a == CLV_T, op_b == CLV_T},
        .given = {op_a == CLV_T ? transposed(a) : a, op_b == CLV_T ? transposed(b) : b, c},
        .model = clvi_plan_model(plan)};
    for (int i = 0; i < OPERANDS; i++)
        product->of.given[i] = without_single_axes(grid, product->of.given[i]);
    CLVI_TRY(choose(&product->of, &product->chosen));
    for (int i = 0; i < OPERANDS && status == CLV_OK; i++) status = prepare(product, i);
    CLVI_TRY(clv_grid_agree(grid, status));
    explain(plan, product);
done:
    if (status != CLV_OK) clvi_product_destroy(out);
    return status;
}

void clvi_product_destroy(clvi_product **product)
{
    if (!*product) return;
    for (int i = 0; i < OPERANDS; i++) {
        clvi_move_destroy(&(*product)->moves[i]);
        clvi_free((*product)->local[i].data);
    }
    free(*product);
    *product = NULL;
}

/* ---- Executing ---- */

/* The block of A or B that the local product reads. */
static clv_status bring(clvi_product *product, int operand, clv_block from, clv_block *out)
{
    *out = product->local[operand];
    if (product->view[operand]) {
        *out = clvi_block_view(from, product->of.dtype, *out);
        return CLV_OK;
    }
    return clvi_move_execute(product->moves[operand], 1, from, 0, *out);
}

clv_status clvi_product_execute(clvi_product *product, double alpha, clv_block a, clv_block b,
                                double beta, clv_block c)
{
    clv_status status;
    const problem *p = &product->of;
    CLVI_TRY(bring(product, A, a, &a));
    CLVI_TRY(bring(product, B, b, &b));
    clv_block to = product->moves[C] ? product->local[C] : c;
    int64_t k = p->trans[A] ? a.m : a.n;
    clvi_gemm(p->dtype, p->trans[A], p->trans[B], to.m, to.n, k, alpha, a.data, a.ld, b.data, b.ld,
              product->moves[C] ? 0 : beta, to.data, to.ld);
    if (product->moves[C]) CLVI_TRY(clvi_move_execute(product->moves[C], 1, to, beta, c));
done:
    return status;
}
