/* SPDX-License-Identifier: BSD-3-Clause
 *
 * product.c: the executor of products.
 *
 *     C[m,n] := alpha sum over the axes of k of (op(A)[m,k] op(B)[k,n]) + beta C[m,n]
 *
 * What is gathered comes in panels (operand.c). Where C has to move, the local product is made in
 * parts, one for each process that takes one, others' first and this process's own last: every part
 * travels, or is read by a neighbour, while the next one is computed.
 */
#include <clvi_product.h>
#include <clvi_route.h>
#include <stdlib.h>

enum { A = CLVI_A, B = CLVI_B, C = CLVI_C, OPERANDS = CLVI_OPERANDS };
enum { ALONG_M, ALONG_N, ALONG_K };

typedef clvi_problem problem;

struct clvi_product {
    clvi_problem of;
    clvi_candidate chosen;
    clvi_supply *in[2];
    clv_block local; /* of C; its memory is ours where C has to move */
    clvi_move *out;  /* NULL: the product is written into C itself   */
    clvi_range k;    /* this process's                               */
    int along;       /* the dimension that panels cut                 */
    int nparts;
    clvi_rect *parts;
    int nleaves; /* 0: the order of the sum is free */
    int64_t edges[CLV_MAX_LEAVES + 1];
    void *space;
    uint64_t memory;
    clvi_product *makers[2]; /* of A and B, where they are lent              */
    int readers;             /* products that read what this one has moved   */
    bool dropped;            /* destroyed, but for what they read            */
};

/* ---- Which panels ---- */

/* Panels of k serve both operands, but split the sum: in reproducible mode they cut m or n, for the
 * operand of which more arrives. */
static int choose_along(const problem *p, const clvi_candidate *c)
{
    if (clv_grid_leaves(p->grid) == 0) return ALONG_K;
    uint64_t bytes[2] = {0};
    for (int i = A; i <= B; i++)
        for (int rank = 0; rank < clv_grid_size(p->grid); rank++)
            bytes[i] += clvi_move_volume(p->grid, p->given[i], c->specs[i], rank).net;
    return bytes[A] >= bytes[B] ? ALONG_M : ALONG_N;
}

static clv_status draw_operand(clvi_product *product, int i)
{
    const problem *p = &product->of;
    const clvi_candidate *c = &product->chosen;
    bool cut = product->along == ALONG_K || product->along == (i == A ? ALONG_M : ALONG_N);
    bool columns = (product->along == ALONG_K) == (i == A); /* of op(A) or op(B) */
    clvi_supply_args args = {.given = clvi_stored(p, i, p->given[i]),
                             .local = clvi_stored(p, i, c->specs[i]),
                             .staged = p->staged[i],
                             .keep = c->keep[i],
                             .lent = c->lent[i],
                             .panels = cut ? c->panels : 1,
                             .by_columns = columns != p->trans[i]};
    return clvi_supply_create(p->grid, &args, &product->in[i]);
}

/* Of the dimension that panels cut, this process's part in panel `panel`; of others all. */
static clvi_range panel_range(const clvi_product *product, int along, clvi_range all, int panel)
{
    if (product->along != along) return all;
    return clvi_panel(all, product->chosen.panels, panel);
}

/* ---- Which parts of C ---- */

static bool overlap(clvi_rect a, clvi_rect b)
{
    return a.row0 < b.row0 + b.m && b.row0 < a.row0 + a.m && a.col0 < b.col0 + b.n &&
           b.col0 < a.col0 + a.n;
}

static bool equal(clvi_rect a, clvi_rect b)
{
    return a.row0 == b.row0 && a.col0 == b.col0 && a.m == b.m && a.n == b.n;
}

static clvi_rect piece(const clvi_product *product, int i)
{
    clvi_tile t = clvi_move_part(product->out, i);
    return (clvi_rect){t.row0, t.col0, t.m, t.n};
}

/* Adds one unless it is known; false where it overlaps another. */
static bool add_part(clvi_product *product, clvi_rect r)
{
    if (r.m == 0 || r.n == 0) return true;
    for (int i = 0; i < product->nparts; i++) {
        if (equal(product->parts[i], r)) return true;
        if (overlap(product->parts[i], r)) return false;
    }
    product->parts[product->nparts++] = r;
    return true;
}

/* The parts that others take, in the order in which they are given, then this process's own;
 * one part where they overlap. */
static clv_status draw_parts(clvi_product *product)
{
    clv_block all = product->local;
    int count = product->out ? clvi_move_count(product->out) : 0;
    clvi_rect whole = {all.row0, all.col0, all.m, all.n};
    bool apart = product->out != NULL;
    product->parts = calloc((size_t)count + 1, sizeof *product->parts);
    if (!product->parts) return clvi_fail(CLV_ENOMEM, "%d parts of a product", count);
    for (int i = 0; i < count && apart; i++) apart = add_part(product, piece(product, i));
    if (apart) {
        clvi_tile own = clvi_move_own_part(product->out);
        apart = add_part(product, (clvi_rect){own.row0, own.col0, own.m, own.n});
    }
    if (!apart) {
        product->parts[0] = whole;
        product->nparts = 1;
    }
    return CLV_OK;
}

/* ---- Leaves ---- */

/* This process's leaves of k: the axes of k are the top of the tree, so they are consecutive. */
static void draw_leaves(clvi_product *product)
{
    const problem *p = &product->of;
    int leaves = clv_grid_leaves(p->grid), parts = 1, place = 0, coords[CLV_MAX_AXES];
    if (leaves == 0) return;
    clvi_grid_coords(p->grid, clv_grid_rank(p->grid), coords);
    for (int i = 0; i < clv_order_length(product->chosen.k); i++) {
        int axis = clv_order_axis(product->chosen.k, i), size = clv_grid_axis(p->grid, axis).size;
        parts *= size;
        place = place * size + coords[axis];
    }
    int64_t k = product->chosen.specs[A].n, unit = product->chosen.k_unit;
    product->nleaves = leaves / parts;
    for (int i = 0; i <= product->nleaves; i++) {
        int leaf = place * product->nleaves + i;
        int64_t units = clvi_units(k, unit);
        int64_t edge = leaf < leaves ? clvi_split(units, leaves, leaf).begin * unit : k;
        product->edges[i] = (edge < k ? edge : k) - product->k.begin;
    }
}

/* ---- Making ---- */

/* Everything but memory. Local. */
static clv_status draw(clvi_product *product)
{
    clv_status status;
    const problem *p = &product->of;
    const clvi_candidate *c = &product->chosen;
    int rank = clv_grid_rank(p->grid);
    clv_block a = clv_spec_block(p->grid, c->specs[A], rank);
    product->k = (clvi_range){a.col0, a.col0 + a.n};
    product->local = clv_spec_block(p->grid, c->specs[C], rank);
    product->along = choose_along(p, c);
    for (int i = A; i <= B; i++) CLVI_TRY(draw_operand(product, i));
    if (!clvi_spec_equal(p->given[C], c->specs[C]))
        CLVI_TRY(clvi_move_create(
            p->grid, c->specs[C], p->given[C], c->k,
            (clvi_exchange_options){
                .accumulate = true, .lent = true, .in_parts = true, .staged_dst = p->staged[C]},
            &product->out));
    CLVI_TRY(draw_parts(product));
    draw_leaves(product);
done:
    return status;
}

static uint64_t partial_bytes(const clvi_product *product)
{
    if (!product->out) return 0;
    clv_block c = product->local;
    return clvi_round_up((uint64_t)(c.m * c.n) * clv_dtype_size(product->of.dtype));
}

static uint64_t memory_of(const clvi_product *product)
{
    uint64_t bytes = partial_bytes(product);
    for (int i = A; i <= B; i++) bytes += clvi_supply_memory(product->in[i]);
    return bytes + (product->out ? clvi_move_memory(product->out) : 0);
}

/* All memory in one piece, which neighbours can read. Local. */
static clv_status equip(clvi_product *product)
{
    product->memory = memory_of(product);
    char *at = product->space = clvi_shared_alloc(product->of.grid, product->memory);
    if (!at)
        return clvi_fail(CLV_ENOMEM, "rank %d: %llu bytes%s for the workspace of a product",
                         clv_grid_rank(product->of.grid), (unsigned long long)product->memory,
                         clvi_shared_what(product->of.grid));
    for (int i = A; i <= B; i++) {
        clvi_supply_lend(product->in[i], at);
        at += clvi_supply_memory(product->in[i]);
    }
    if (product->out) {
        product->local.data = at;
        clvi_move_lend(product->out, at + partial_bytes(product));
    }
    return CLV_OK;
}

static clv_status open_product(const clvi_problem *problem, const clvi_candidate *candidate,
                               clvi_product **out)
{
    clvi_product *product = *out = calloc(1, sizeof *product);
    if (!product) return clvi_fail(CLV_ENOMEM, "the plan of a product");
    product->of = *problem;
    product->chosen = *candidate;
    return draw(product);
}

uint64_t clvi_product_memory(const clvi_problem *problem, const clvi_candidate *candidate)
{
    clvi_product *product;
    uint64_t bytes = UINT64_MAX;
    if (open_product(problem, candidate, &product) == CLV_OK) bytes = memory_of(product);
    clvi_product_destroy(&product);
    return bytes;
}

uint64_t clvi_product_held(const clvi_product *product)
{
    return product->memory;
}

clv_status clvi_product_create(const clvi_problem *problem, const clvi_candidate *candidate,
                               clvi_product **out)
{
    clv_status status = clvi_gemm_reserve(clv_grid_leaves(problem->grid) > 0);
    *out = NULL;
    if (status == CLV_OK) status = open_product(problem, candidate, out);
    if (status == CLV_OK) status = equip(*out);
    status = clv_grid_agree(problem->grid, status);
    if (status != CLV_OK) clvi_product_destroy(out);
    return status;
}

bool clvi_product_lend(clvi_product *maker, int made, clvi_product *reader, int operand)
{
    if (!clvi_supply_borrow(reader->in[operand], maker->in[made])) return false;
    reader->makers[operand] = maker;
    maker->readers++;
    return true;
}

void clvi_product_destroy(clvi_product **product)
{
    clvi_product *p = *product;
    *product = NULL;
    if (!p) return;
    p->dropped = true;
    if (p->readers > 0) return;
    for (int i = A; i <= B; i++) clvi_supply_destroy(&p->in[i]);
    clvi_move_destroy(&p->out);
    clvi_shared_free(p->of.grid, p->space);
    free(p->parts);
    for (int i = A; i <= B; i++) {
        clvi_product *maker = p->makers[i];
        if (maker && --maker->readers == 0 && maker->dropped) clvi_product_destroy(&maker);
    }
    free(p);
}

/* ---- Executing ---- */

/* What of a part panel `panel` adds. */
static void multiply(const clvi_product *product, clvi_product_args *args, clvi_rect part,
                     int panel, double alpha, double beta, clv_block c)
{
    clv_block all = product->local;
    clvi_range rows = {all.row0, all.row0 + all.m}, cols = {all.col0, all.col0 + all.n};
    clvi_range k = panel_range(product, ALONG_K, product->k, panel);
    rows = clvi_range_meet(panel_range(product, ALONG_M, rows, panel),
                           (clvi_range){part.row0, part.row0 + part.m});
    cols = clvi_range_meet(panel_range(product, ALONG_N, cols, panel),
                           (clvi_range){part.col0, part.col0 + part.n});
    args->m = rows.end - rows.begin;
    args->n = cols.end - cols.begin;
    args->k = k.end - k.begin;
    if (args->m == 0 || args->n == 0) return;
    bool more = product->along == ALONG_K && panel > 0;
    args->alpha = alpha;
    args->beta = more ? 1 : beta;
    args->A.row0 = args->A.trans ? k.begin : rows.begin;
    args->A.col0 = args->A.trans ? rows.begin : k.begin;
    args->B.row0 = args->B.trans ? cols.begin : k.begin;
    args->B.col0 = args->B.trans ? k.begin : cols.begin;
    args->C = clvi_at(c, product->of.dtype, rows.begin - all.row0, cols.begin - all.col0);
    args->ldc = c.ld;
    clvi_gemm_tiles(args);
}

/* Gives away the pieces that lie in part `part`. */
static clv_status give(const clvi_product *product, clvi_rect part)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < clvi_move_count(product->out); i++)
        if (overlap(piece(product, i), part))
            CLVI_TRY(clvi_move_give(product->out, i, product->local));
done:
    return status;
}

static void poke(void *context)
{
    (void)context;
    clvi_wait_poke(); /* what fails here fails again where messages are waited for */
}

/* The first failure counts; what follows is done all the same, as others wait for it. */
static void note(clv_status *first, clv_status now)
{
    if (*first == CLV_OK) *first = now;
}

clv_status clvi_product_execute(clvi_product *product, double alpha, clv_block a, clv_block b,
                                double beta, clv_block c)
{
    clv_status status = CLV_OK;
    const problem *p = &product->of;
    int panels = product->chosen.panels;
    clv_block to = product->out ? product->local : c;
    clvi_product_args args = {.dtype = p->dtype,
                              .A = {.dtype = p->given[A].dtype, .trans = p->trans[A]},
                              .B = {.dtype = p->given[B].dtype, .trans = p->trans[B]},
                              .nleaves = product->nleaves,
                              .edges = product->edges,
                              .poll = poke};
    if (alpha == 0) { /* no product, and nothing of others but what a later one reads */
        for (int i = A; i <= B; i++)
            if (product->chosen.keep[i])
                note(&status, clvi_supply_begin(product->in[i], i == A ? a : b));
        clvi_block_scale(p->dtype, c, beta);
        return status;
    }
    note(&status, clvi_supply_begin(product->in[A], a));
    note(&status, clvi_supply_begin(product->in[B], b));
    if (product->out) note(&status, clvi_move_begin(product->out, beta, c));
    for (int panel = 0; panel < panels; panel++) {
        note(&status, clvi_supply_panel(product->in[A], panel, a, &args.A));
        note(&status, clvi_supply_panel(product->in[B], panel, b, &args.B));
        for (int i = 0; i < product->nparts; i++) {
            if (status == CLV_OK)
                multiply(product, &args, product->parts[i], panel, product->out ? 1 : alpha,
                         product->out ? 0 : beta, to);
            if (product->out && panel == panels - 1)
                note(&status, give(product, product->parts[i]));
        }
        for (int i = A; i <= B; i++) note(&status, clvi_supply_end(product->in[i], panel, panels));
    }
    if (product->out) note(&status, clvi_move_finish(product->out, alpha, to, beta, c));
    return status;
}

/* ---- What a plan says of it ---- */

void clvi_product_explain(const clvi_product *product, clv_plan *plan)
{
    const problem *p = &product->of;
    const clvi_candidate *c = &product->chosen;
    static const char *const names[OPERANDS] = {"A", "B", "C"};
    char text[OPERANDS][96];
    for (int i = 0; i < OPERANDS; i++)
        clv_layout_format(p->grid, c->specs[i].layout, text[i], sizeof text[i]);
    for (int i = A; i <= B; i++)
        if (!clvi_spec_equal(p->given[i], c->specs[i]) && !c->lent[i])
            clvi_plan_add_move(plan, names[i], clvi_stored(p, i, p->given[i]),
                               clvi_stored(p, i, c->specs[i]));
    char panels[32] = "";
    if (c->panels > 1)
        snprintf(panels, sizeof panels, ", in %d panels of %c", c->panels, "mnk"[product->along]);
    clvi_plan_add_step(plan, (clvi_volume){0},
                       clvi_cost_product(&p->options->machine, p->dtype, product->local.m,
                                         product->local.n, product->k.end - product->k.begin),
                       "%-14s C[%s] = op(A)[%s] op(B)[%s]%s", "multiply", text[C], text[A], text[B],
                       panels);
    if (product->out) clvi_plan_add_move(plan, "C", c->specs[C], p->given[C]);
}
