/* SPDX-License-Identifier: BSD-3-Clause
 *
 * planner.c: the choice among all the ways to do a product: that it is the best there is, within
 * the memory allowed, and in reproducible mode one that gives the tree's bits.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "../reference.h"
#include "clvi_planner.h"

static const char *const grids_of[9] = {NULL, "a=1,b=1", "a=2,b=1", "a=3,b=1",    "a=2,b=2",
                                        NULL, "a=3,b=2", NULL,      "a=2,b=2,c=2"};

static clv_grid *open_grid(const char *text)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, text, &grid));
    return grid;
}

static clv_layout random_layout(const clv_grid *grid, uint64_t *state)
{
    int naxes = clv_grid_naxes(grid), order[CLV_MAX_AXES];
    char jobs[CLV_MAX_AXES + 1];
    ref_jobs_of(naxes, (int)check_random_below(state, 1 << 2 * naxes), jobs);
    for (int i = 0; i < naxes; i++) {
        int j = (int)check_random_below(state, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return ref_layout(naxes, jobs, order);
}

static const int64_t extents[] = {1, 3, 7, 16, 17, 64, 127, 0};

static clv_spec random_spec(const clv_grid *grid, uint64_t *state, int64_t m, int64_t n)
{
    return (clv_spec){m,
                      n,
                      check_random_below(state, 5),
                      check_random_below(state, 4),
                      CLV_F32,
                      random_layout(grid, state)};
}

/* A problem of random extents, units and layouts; options are filled in. */
static clvi_problem random_problem(clv_grid *grid, uint64_t *state, const clv_plan_options *model)
{
    int64_t m = extents[check_random_below(state, 8)], n = extents[check_random_below(state, 8)];
    int64_t k = extents[check_random_below(state, 8)];
    clvi_problem p = {grid, CLV_F32, {false, false}, {{0}}, {false}, model};
    p.given[CLVI_A] = random_spec(grid, state, m, k);
    p.given[CLVI_B] = random_spec(grid, state, k, n);
    p.given[CLVI_C] = random_spec(grid, state, m, n);
    for (int i = 0; i < CLVI_OPERANDS; i++)
        p.given[i] = clvi_spec_without_single_axes(grid, p.given[i]);
    return p;
}

/* ---- Volumes ------------------------------------------------------------------------ */

static void compare_volumes(clv_grid *grid, uint64_t *state)
{
    clvi_viewpoint here;
    CHECK_OK(clvi_viewpoint_create(grid, check_rank(), &here));
    for (int i = 0; i < 500; i++) {
        int64_t m = extents[check_random_below(state, 8)];
        int64_t n = extents[check_random_below(state, 8)];
        clv_spec src = random_spec(grid, state, m, n), dst = random_spec(grid, state, m, n);
        clvi_volume found = clvi_viewpoint_move(&here, src, dst);
        clvi_volume expected = clvi_move_volume(grid, src, dst, check_rank());
        CHECK_INT((long long)found.bytes, (long long)expected.bytes);
        CHECK_INT(found.messages, expected.messages);
        CHECK_INT((long long)found.net, (long long)expected.net);
        CHECK_INT(found.net_messages, expected.net_messages);
    }
    clvi_viewpoint_destroy(&here);
}

/* The closed form against the list of pieces, on one node and on nodes of 1, 2 and 3. */
static void volumes_in_closed_form(void)
{
    uint64_t state = 11;
    static const char *const sizes[] = {"0", "1", "2", "3"};
    for (int i = 0; i < 4; i++) {
        if (i == 0)
            unsetenv("CLEAVE_NODE_SIZE");
        else
            setenv("CLEAVE_NODE_SIZE", sizes[i], 1);
        clv_grid *grid = open_grid(grids_of[check_size()]);
        compare_volumes(grid, &state);
        clv_grid_destroy(&grid);
    }
    unsetenv("CLEAVE_NODE_SIZE");
}

/* ---- The best there is ---------------------------------------------------------------- */

/* Seconds of every way on the slowest process, from its candidate and the definition. */
static double best_of_all(clvi_space *space, int64_t *count)
{
    const clvi_problem *p = clvi_space_problem(space);
    *count = clvi_space_list(space, NULL);
    clvi_code *codes = calloc((size_t)*count, sizeof *codes);
    double *seconds = calloc((size_t)*count, sizeof *seconds), best = INFINITY;
    clvi_space_list(space, codes);
    for (int64_t i = 0; i < *count; i++) {
        clvi_candidate c = clvi_space_candidate(space, codes[i]);
        clv_block a = clv_spec_block(p->grid, c.specs[CLVI_A], check_rank());
        clv_block b = clv_spec_block(p->grid, c.specs[CLVI_B], check_rank());
        seconds[i] = clvi_cost_product(&p->options->machine, p->dtype, a.m, b.n, a.n);
        for (int j = 0; j < CLVI_OPERANDS; j++)
            seconds[i] += clvi_cost_messages(
                &p->options->machine,
                j == CLVI_C ? clvi_move_volume(p->grid, c.specs[j], p->given[j], check_rank())
                            : clvi_move_volume(p->grid, p->given[j], c.specs[j], check_rank()));
    }
    CHECK_OK(clv_grid_reduce(p->grid, CLV_MAX, (int)*count, seconds));
    for (int64_t i = 0; i < *count; i++) best = fmin(best, seconds[i]);
    free(codes);
    free(seconds);
    return best;
}

static void the_best_is_chosen(void)
{
    uint64_t state = 5;
    clv_grid *grid = open_grid(grids_of[check_size()]);
    clv_plan_options model;
    CHECK_OK(clvi_plan_defaults(NULL, &model));
    for (int i = 0; i < 40; i++) {
        clvi_problem p = random_problem(grid, &state, &model);
        clvi_space *space = NULL;
        clvi_candidate few[CLVI_FEW];
        int64_t ways;
        int count = 0;
        if (!CHECK_OK(clvi_space_create(&p, &space))) continue;
        double best = best_of_all(space, &ways);
        CHECK_OK(clvi_choose_few(space, CLVI_FEW, few, &count));
        CHECK_INT(count, ways < CLVI_FEW ? (int)ways : CLVI_FEW);
        CHECK_NEAR(few[0].seconds / fmax(best, 1e-300), best > 0, 1e-9);
        for (int j = 1; j < count; j++) CHECK(few[j].seconds >= few[j - 1].seconds);
        clvi_space_destroy(&space);
    }
    clv_grid_destroy(&grid);
}

/* ---- The best three ----------------------------------------------------------------------- */

static void linear_problems(clv_grid *grid, clv_op op, const clv_spec s[3],
                            const clv_plan_options *model, clvi_problem p[CLVI_TEAM])
{
    clv_spec X = s[0], W = op == CLV_T ? clvi_spec_transposed(s[1]) : s[1], Y = s[2];
    clv_spec XT = clvi_spec_transposed(X), WT = clvi_spec_transposed(W);
    clv_spec YT = clvi_spec_transposed(Y);
    bool t = op == CLV_T;
    p[CLVI_FORWARD] = (clvi_problem){grid, CLV_F32, {false, t}, {X, W, Y}, {false}, model};
    p[CLVI_DX] = (clvi_problem){grid, CLV_F32, {false, !t}, {Y, WT, X}, {false}, model};
    p[CLVI_DW] = (clvi_problem){grid, CLV_F32, {true, false}, {XT, Y, W}, {false}, model};
    if (t) p[CLVI_DW] = (clvi_problem){grid, CLV_F32, {true, false}, {YT, X, WT}, {false}, model};
}

typedef struct {
    clv_spec spec[2];  /* of the two shared operands, as stored */
    double seconds[4]; /* of the slowest process, by those not gathered */
} listed;

/* Every way of a product with what it shares by operand numbers. */
static listed *list_all(clvi_space *space, const int shared[2], int *count)
{
    const clvi_problem *p = clvi_space_problem(space);
    *count = (int)clvi_space_list(space, NULL);
    clvi_code *codes = calloc((size_t)*count, sizeof *codes);
    listed *all = calloc((size_t)*count, sizeof *all);
    clvi_space_list(space, codes);
    for (int i = 0; i < *count; i++) {
        clvi_candidate c = clvi_space_candidate(space, codes[i]);
        for (int j = 0; j < 2; j++) all[i].spec[j] = clvi_stored(p, shared[j], c.specs[shared[j]]);
        for (unsigned kept = 0; kept < 4; kept++)
            all[i].seconds[kept] = clvi_space_seconds(
                space, codes[i], (kept & 1) << shared[0] | (kept >> 1) << shared[1]);
        CHECK_OK(clv_grid_reduce(p->grid, CLV_MAX, 4, all[i].seconds));
    }
    free(codes);
    return all;
}

/* All triples with all that they can share. */
static double best_triple(clvi_space *const spaces[CLVI_TEAM], bool t)
{
    const int shared[CLVI_TEAM][2] = {{CLVI_A, CLVI_B}, {t, !t}, {CLVI_B, CLVI_A}};
    int count[CLVI_TEAM];
    listed *all[CLVI_TEAM];
    double best = INFINITY;
    for (int i = 0; i < CLVI_TEAM; i++) all[i] = list_all(spaces[i], shared[i], &count[i]);
    for (listed *f = all[0]; f < all[0] + count[0]; f++)
        for (listed *dw = all[1]; dw < all[1] + count[1]; dw++) {
            int x = clvi_spec_equal(f->spec[0], dw->spec[0]);
            double two = f->seconds[0] + dw->seconds[x];
            for (listed *dx = all[2]; two < best && dx < all[2] + count[2]; dx++) {
                int w = clvi_spec_equal(f->spec[1], dx->spec[0]);
                int y = clvi_spec_equal(dw->spec[1], dx->spec[1]);
                best = fmin(best, two + dx->seconds[w | y << 1]);
            }
        }
    for (int i = 0; i < CLVI_TEAM; i++) free(all[i]);
    return best;
}

static double seconds_of_team(clvi_space *const spaces[CLVI_TEAM], const clvi_team *team)
{
    double total = 0;
    for (int i = 0; i < CLVI_TEAM; i++) {
        const clvi_problem *p = clvi_space_problem(spaces[i]);
        const clvi_candidate *c = &team->ways[i];
        clv_block a = clv_spec_block(p->grid, c->specs[CLVI_A], check_rank());
        clv_block b = clv_spec_block(p->grid, c->specs[CLVI_B], check_rank());
        double seconds = clvi_cost_product(&p->options->machine, CLV_F32, a.m, b.n, a.n);
        for (int j = 0; j < CLVI_OPERANDS; j++) {
            bool made = false;
            for (int s = 0; s < team->nshares; s++)
                made |= team->shares[s].reader == i && team->shares[s].operand == j;
            clv_spec src = j == CLVI_C ? c->specs[j] : p->given[j];
            clv_spec dst = j == CLVI_C ? p->given[j] : c->specs[j];
            clvi_volume v = clvi_move_volume(p->grid, src, dst, check_rank());
            if (!made) seconds += clvi_cost_messages(&p->options->machine, v);
        }
        CHECK_OK(clv_grid_reduce(p->grid, CLV_MAX, 1, &seconds));
        total += seconds;
    }
    return total;
}

/* Extents that divide: what the slowest process needs is then what every one does. */
static void the_best_three_are_chosen(void)
{
    static const char *const two[9] = {NULL, "a=1",     "a=2", "a=3",    "a=2,b=2",
                                       NULL, "a=3,b=2", NULL,  "a=4,b=2"};
    static const int64_t even[] = {24, 48, 96, 192};
    uint64_t state = 21;
    clv_grid *grid = open_grid(two[check_size()]);
    clv_plan_options model;
    clv_plan_options dear = {.machine = {.flops = 1e13, .net_latency = 1e-9, .node_latency = 1e-9}};
    CHECK_OK(clvi_plan_defaults(&dear, &model));
    int shared = 0;
    for (int i = 0; i < 24; i++) {
        int64_t m = even[check_random_below(&state, 4)], k = even[check_random_below(&state, 4)];
        int64_t n = even[check_random_below(&state, 4)];
        clv_op op = i % 2 ? CLV_T : CLV_N;
        clv_spec s[3] = {{.m = m, .n = k, .dtype = CLV_F32},
                         {.m = k, .n = n, .dtype = CLV_F32},
                         {.m = m, .n = n, .dtype = CLV_F32}};
        if (op == CLV_T) s[1].m = n, s[1].n = k;
        for (int j = 0; j < 3; j++) {
            s[j].layout = random_layout(grid, &state);
            s[j] = clvi_spec_without_single_axes(grid, s[j]);
        }
        clvi_problem p[CLVI_TEAM];
        linear_problems(grid, op, s, &model, p);
        clvi_space *spaces[CLVI_TEAM];
        for (int j = 0; j < CLVI_TEAM; j++) CHECK_OK(clvi_space_create(&p[j], &spaces[j]));
        clvi_team team;
        CHECK_OK(clvi_choose_three(op, p, &team));
        /* Which triples are looked at is rank 0's view, what they cost is everybody's. */
        CHECK_NEAR(seconds_of_team(spaces, &team) / best_triple(spaces, op == CLV_T), 1, 1e-3);
        shared += team.nshares;
        for (int j = 0; j < CLVI_TEAM; j++) clvi_space_destroy(&spaces[j]);
    }
    CHECK(check_size() == 1 || shared > 0);
    clv_grid_destroy(&grid);
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

static void one_cap(const clvi_problem *of, uint64_t cap, uint64_t *needed)
{
    clvi_problem p = *of;
    clv_plan_options model = *of->options;
    clvi_candidate best;
    model.memory = cap;
    p.options = &model;
    *needed = 0;
    clv_status status = clvi_choose(&p, &best);
    CHECK(ref_same(status));
    if (status == CLV_OK) {
        CHECK(best.memory <= cap && best.panels >= 1);
        CHECK(clvi_product_memory(&p, &best) <= best.memory);
        double most = (double)clvi_product_memory(&p, &best);
        CHECK_OK(clv_grid_reduce(p.grid, CLV_MAX, 1, &most));
        CHECK_INT((long long)most, (long long)best.memory);
        clvi_candidate fewer = best;
        fewer.panels--;
        most = fewer.panels ? (double)clvi_product_memory(&p, &fewer) : INFINITY;
        CHECK_OK(clv_grid_reduce(p.grid, CLV_MAX, 1, &most));
        CHECK(most > (double)cap); /* no panel too many */
        return;
    }
    CHECK_STATUS(status, CLV_ENOMEM);
    const char *needs = strstr(clv_last_error(), "needs ");
    int rank = -1;
    unsigned long long bytes = 0;
    if (CHECK(needs && sscanf(needs, "needs %llu on rank %d", &bytes, &rank) == 2)) {
        CHECK(bytes > cap && rank >= 0 && rank < check_size());
        *needed = bytes;
    }
}

/* Whatever is allowed, a plan keeps to it; what an error says is needed is enough, and one byte
 * less is not. */
static void memory_is_respected(void)
{
    uint64_t state = 8;
    clv_grid *grid = open_grid(grids_of[check_size()]);
    clv_plan_options model;
    CHECK_OK(clvi_plan_defaults(NULL, &model));
    int refused = 0;
    for (int i = 0; i < 30; i++) {
        clvi_problem p = random_problem(grid, &state, &model);
        clvi_candidate best;
        uint64_t needed, ignored;
        CHECK_OK(clvi_choose(&p, &best));
        if (best.memory == 0) continue;
        one_cap(&p, best.memory, &ignored);
        one_cap(&p, best.memory / 2 + 1, &ignored);
        one_cap(&p, 1, &needed);
        if (!needed) continue;
        refused++;
        one_cap(&p, needed, &ignored);
        CHECK_INT((long long)ignored, 0);
        one_cap(&p, needed - 1, &ignored);
        CHECK_INT((long long)ignored, (long long)needed);
    }
    CHECK(check_size() == 1 || refused > 0);
    clv_grid_destroy(&grid);
}

static clv_matrix *make(clv_grid *grid, int64_t m, int64_t n, const char *layout)
{
    clv_matrix *matrix = NULL;
    clv_spec spec = {.m = m, .n = n, .dtype = CLV_F32};
    CHECK_OK(clv_layout_parse(grid, layout, &spec.layout));
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    return matrix;
}

/* X gathered once serves forward and dw, which by itself has to move more than nothing. So the
 * model must keep X, unless memory forbids it. */
static void keeping_is_preferred_where_memory_allows(void)
{
    if (check_size() != 4) return;
    clv_grid *grid = open_grid("p=4");
    clv_matrix *X = make(grid, 64, 1024, "p|-"), *W = make(grid, 1024, 160, "-|p");
    clv_matrix *Y = make(grid, 64, 160, "-|p");
    clv_plan *plans[4] = {NULL}, **forward = &plans[0], **dx = &plans[1], **dw = &plans[2];
    clv_plan_options bytes = {.machine = {1e-18, 1, 1e-18, 1, 1e30, 1e30, 0, 0, 0}};
    uint64_t gather = 4 * 64 * 1024 * 3 / 4;
    CHECK_OK(clv_plan_gemm(CLV_T, X, CLV_N, Y, W, &bytes, &plans[3]));
    CHECK(clv_plan_bytes(plans[3]) > 0);
    if (!CHECK_OK(clv_plan_linear(X, CLV_N, W, Y, &bytes, forward, dx, dw))) return;
    CHECK_INT((long long)clv_plan_bytes(*forward), (long long)gather);
    CHECK_INT((long long)clv_plan_bytes(*dw), 0);
    CHECK_INT((long long)clv_plan_memory(*dw), 0); /* X is forward's */
    bytes.memory = clv_plan_memory(*forward) - 1;
    for (int i = 0; i < 3; i++) clv_plan_destroy(&plans[i]);
    clv_status status = clv_plan_linear(X, CLV_N, W, Y, &bytes, forward, dx, dw);
    CHECK(ref_same(status));
    if (status == CLV_OK) {
        CHECK(clv_plan_bytes(*forward) + clv_plan_bytes(*dw) > gather);
        for (int i = 0; i < 3; i++) CHECK(clv_plan_memory(plans[i]) <= bytes.memory);
    } else { /* where what is gathered cannot come in panels */
        CHECK_STATUS(status, CLV_ENOMEM);
    }
    for (int i = 0; i < 4; i++) clv_plan_destroy(&plans[i]);
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&W);
    clv_matrix_destroy(&Y);
    clv_grid_destroy(&grid);
}

/* dw reads the X of the last forward, though that one had no need of it. */
static void what_is_kept_comes_with_alpha_0_too(void)
{
    if (check_size() != 4) return;
    clv_grid *grid = open_grid("p=4");
    clv_matrix *X = make(grid, 64, 1024, "p|-"), *W = make(grid, 1024, 160, "-|p");
    clv_matrix *Y = make(grid, 64, 160, "-|p");
    clv_plan *forward = NULL, *dx = NULL, *dw = NULL;
    clv_plan_options bytes = {.machine = {1e-18, 1, 1e-18, 1, 1e30, 1e30, 0, 0, 0}};
    if (!CHECK_OK(clv_plan_linear(X, CLV_N, W, Y, &bytes, &forward, &dx, &dw))) return;
    CHECK_INT((long long)clv_plan_bytes(dw), 0); /* X is kept */
    for (int alpha = 1; alpha >= 0; alpha--) {
        CHECK_OK(clv_matrix_fill(X, 5 - alpha));
        CHECK_OK(clv_execute_gemm(forward, alpha, X, W, 0, Y));
        CHECK_OK(clv_matrix_fill(Y, 1));
        CHECK_OK(clv_execute_gemm(dw, 1, X, Y, 0, W));
        clv_block w = clv_matrix_block(W);
        CHECK_NEAR(*(float *)w.data, 64 * (5 - alpha), 0);
    }
    clv_plan_destroy(&forward);
    clv_plan_destroy(&dx);
    clv_plan_destroy(&dw);
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&W);
    clv_matrix_destroy(&Y);
    clv_grid_destroy(&grid);
}

/* On a machine so slow that all seconds are infinite there are the same plans. */
static void infinite_seconds_hide_no_plan(void)
{
    if (check_size() != 8) return;
    clv_grid *grid = open_grid("a=2,b=2,c=2");
    clv_matrix *A = make(grid, 24, 32, "a|b"), *B = make(grid, 32, 40, "c|a");
    clv_matrix *C = make(grid, 24, 40, "b+c|-");
    clv_plan *plan = NULL;
    clv_plan_options options = {.memory = 1};
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, B, C, &options, &plan)); /* one of the last ways */
    clv_plan_destroy(&plan);
    options.machine.flops = 1e-308;
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, B, C, &options, &plan));
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_matrix_destroy(&C);
    clv_grid_destroy(&grid);
}

/* ---- Measuring ------------------------------------------------------------------------------ */

static void measuring_chooses_alike_everywhere(void)
{
    clv_grid *grid = open_grid(grids_of[check_size()]);
    clv_matrix *X = make(grid, 24, 32, "a|b"), *W = make(grid, 32, 40, "b|a");
    clv_matrix *Y = make(grid, 24, 40, "a|b");
    clv_plan_options options = {.measure = true};
    clv_plan *plan = NULL, *forward = NULL, *dx = NULL, *dw = NULL;
    CHECK_OK(clv_matrix_fill(X, 1));
    CHECK_OK(clv_matrix_fill(W, 2));
    CHECK_OK(clv_plan_gemm(CLV_N, X, CLV_N, W, Y, &options, &plan));
    CHECK_OK(clv_execute_gemm(plan, 1, X, W, 0, Y));
    clv_block y = clv_matrix_block(Y);
    for (int64_t i = 0; i < y.m * y.n; i++) CHECK_NEAR(((float *)y.data)[i], 64, 0);
    CHECK_OK(clv_plan_linear(X, CLV_N, W, Y, &options, &forward, &dx, &dw));
    CHECK_OK(clv_execute_gemm(forward, 1, X, W, 0, Y));
    CHECK_OK(clv_execute_gemm(dw, 1, X, Y, 0, W)); /* 24 rows of 1 x 64 */
    clv_block w = clv_matrix_block(W);
    for (int64_t i = 0; i < w.m * w.n; i++) CHECK_NEAR(((float *)w.data)[i], 24 * 64, 0);
    clv_plan *const plans[] = {plan, forward, dx, dw};
    for (int i = 0; i < 4; i++) clv_plan_destroy(&(clv_plan *){plans[i]});
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&W);
    clv_matrix_destroy(&Y);
    clv_grid_destroy(&grid);
}

/* ---- Reproducible mode ------------------------------------------------------------------------
 */

static void check_tree(const clvi_problem *p, const clvi_candidate *c, int leaves)
{
    int64_t parts = 1, a = p->given[CLVI_A].n_unit, b = p->given[CLVI_B].m_unit;
    bool ended = false;
    if (a == 0) a = 1;
    if (b == 0) b = 1;
    for (int i = 0; i < clv_order_length(c->k); i++) {
        int axis = clv_order_axis(c->k, i), size = clv_grid_axis(p->grid, axis).size;
        bool kept = p->given[CLVI_C].layout.sum >> axis & 1;
        CHECK(size == 2 || size == 4 || size == 8);
        CHECK(!(kept && ended)); /* what C keeps is outermost */
        ended |= !kept;
        parts *= size;
    }
    CHECK(parts <= leaves);
    CHECK(c->specs[CLVI_A].layout.sum == 0 && c->specs[CLVI_B].layout.sum == 0);
    CHECK(c->specs[CLVI_C].layout.sum == clv_order_set(c->k));
    CHECK(c->k_unit % a == 0 && c->k_unit % b == 0 && c->k_unit <= a * b);
    for (int64_t u = 1; u < c->k_unit; u++) CHECK(u % a != 0 || u % b != 0);
    CHECK(c->specs[CLVI_A].layout.cols == c->k && c->specs[CLVI_B].layout.rows == c->k);
    if (c->k) CHECK(c->specs[CLVI_A].n_unit == c->k_unit && c->specs[CLVI_B].m_unit == c->k_unit);
}

static void only_trees_in_reproducible_mode(void)
{
    if (check_size() % 3 == 0) return; /* the mode itself is refused there */
    uint64_t state = 4;
    clv_grid *grid = open_grid(grids_of[check_size()]);
    clv_plan_options model;
    CHECK_OK(clvi_plan_defaults(NULL, &model));
    for (int leaves = 2; leaves <= 8; leaves *= 4) {
        bool cut = false;
        CHECK_OK(clv_grid_set_leaves(grid, leaves));
        for (int i = 0; i < 40; i++) {
            clvi_problem p = random_problem(grid, &state, &model);
            clvi_space *space = NULL;
            CHECK_OK(clvi_space_create(&p, &space));
            int64_t count = clvi_space_list(space, NULL);
            clvi_code *codes = calloc((size_t)count, sizeof *codes);
            clvi_space_list(space, codes);
            for (int64_t j = 0; j < count; j++) {
                clvi_candidate c = clvi_space_candidate(space, codes[j]);
                check_tree(&p, &c, leaves);
                cut |= c.k != 0;
            }
            free(codes);
            clvi_space_destroy(&space);
        }
        CHECK(cut == (check_size() > 1));
    }
    CHECK_OK(clv_grid_set_leaves(grid, 0));
    clv_grid_destroy(&grid);
}

/* ---- Layouts ------------------------------------------------------------------------------------
 */

static void layouts_of_a_layer(void)
{
    clv_grid *grid = open_grid(grids_of[check_size()]);
    clv_layout X, W, Y;
    CHECK_STATUS(clv_choose_linear(grid, CLV_BF16, 8, 8, 8, NULL, &X, &W, &Y), CLV_EDTYPE);
    CHECK_STATUS(clv_choose_linear(grid, (clv_dtype)99, 8, 8, 8, NULL, &X, &W, &Y), CLV_EDTYPE);
    CHECK(strstr(clv_last_error(), "an unknown dtype"));
    CHECK_STATUS(clv_choose_linear(grid, CLV_F32, 8, -1, 8, NULL, &X, &W, &Y), CLV_ESHAPE);
    CHECK_STATUS(clv_choose_linear(grid, CLV_F32, 1, INT64_MAX, 4, NULL, &X, &W, &Y), CLV_ELIMIT);
    CHECK_OK(clv_choose_linear(grid, CLV_F32, 7, 100000, 17, NULL, &X, &W, &Y));
    CHECK(X.cols != 0 || check_size() == 1); /* the long dimension is cut */
    CHECK_OK(clv_choose_linear(grid, CLV_F32, 100000, 17, 7, NULL, &X, &W, &Y));
    CHECK(X.rows != 0 || check_size() == 1);
    CHECK_INT(X.rows, Y.rows);
    CHECK_INT(W.cols, Y.cols);
    CHECK_INT(clv_order_set(W.rows), clv_order_set(X.cols) | clv_order_set(X.rows));
    CHECK_OK(clv_layout_check(grid, X));
    CHECK_OK(clv_layout_check(grid, W));
    CHECK(ref_same((int)(X.rows ^ W.cols << 1 ^ X.cols << 2)));
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"volumes in closed form", volumes_in_closed_form},
    {"the best is chosen", the_best_is_chosen},
    {"the best three are chosen", the_best_three_are_chosen},
    {"memory is respected", memory_is_respected},
    {"keeping is preferred where memory allows", keeping_is_preferred_where_memory_allows},
    {"what is kept comes with alpha 0 too", what_is_kept_comes_with_alpha_0_too},
    {"infinite seconds hide no plan", infinite_seconds_hide_no_plan},
    {"measuring chooses alike everywhere", measuring_chooses_alike_everywhere},
    {"only trees in reproducible mode", only_trees_in_reproducible_mode},
    {"layouts of a layer", layouts_of_a_layer},
    {0}};
