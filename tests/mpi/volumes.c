/* SPDX-License-Identifier: BSD-3-Clause
 *
 * volumes.c: the bytes of a linear layer, forward and backward together, counted while it is
 * executed, equal the closed forms of the classical schemes to the byte: planned one by one, and
 * planned together so that nothing is gathered twice. And the layouts and plan that the library
 * chooses by itself move no more than the best grid of those schemes.
 *
 * RANKS: 1 2 4 8 16 64
 */
#include "../reference.h"
#include "clvi_planner.h"

/* Bytes alone decide: latency and arithmetic are free. */
static const clv_plan_options bytes_alone = {.machine = {.node_latency = 1e-18,
                                                         .node_bandwidth = 1,
                                                         .net_latency = 1e-18,
                                                         .net_bandwidth = 1,
                                                         .memory_bandwidth = 1e30,
                                                         .flops = 1e30}};

static clv_grid *open_grid(const char *text)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, text, &grid));
    return grid;
}

static clv_matrix *make(clv_grid *grid, int64_t m, int64_t n, clv_layout layout)
{
    clv_matrix *matrix = NULL;
    CHECK_OK(clv_matrix_create(grid, (clv_spec){.m = m, .n = n, .dtype = CLV_F32, .layout = layout},
                               &matrix));
    return matrix;
}

/* ---- A layer and the bytes it moves ------------------------------------------------ */

typedef struct {
    clv_grid *grid;
    int64_t m, k, n;
    clv_layout layouts[3]; /* X, W, Y */
} layer;

typedef struct {
    clv_plan *forward, *dx, *dw;
    clv_matrix *X, *W, *Y, *dX, *dW;
} plans;

static void open_plans(const layer *l, bool together, plans *p)
{
    p->X = make(l->grid, l->m, l->k, l->layouts[0]);
    p->W = make(l->grid, l->k, l->n, l->layouts[1]);
    p->Y = make(l->grid, l->m, l->n, l->layouts[2]);
    p->dX = make(l->grid, l->m, l->k, l->layouts[0]);
    p->dW = make(l->grid, l->k, l->n, l->layouts[1]);
    if (together) {
        CHECK_OK(
            clv_plan_linear(p->X, CLV_N, p->W, p->Y, &bytes_alone, &p->forward, &p->dx, &p->dw));
        return;
    }
    CHECK_OK(clv_plan_gemm(CLV_N, p->X, CLV_N, p->W, p->Y, &bytes_alone, &p->forward));
    CHECK_OK(clv_plan_gemm(CLV_T, p->X, CLV_N, p->Y, p->W, &bytes_alone, &p->dw));
    CHECK_OK(clv_plan_gemm(CLV_N, p->Y, CLV_T, p->W, p->X, &bytes_alone, &p->dx));
}

static void close_plans(plans *p)
{
    clv_plan_destroy(&p->forward);
    clv_plan_destroy(&p->dw);
    clv_plan_destroy(&p->dx);
    clv_matrix *made[] = {p->X, p->W, p->Y, p->dX, p->dW};
    for (int i = 0; i < 5; i++) clv_matrix_destroy(&made[i]);
}

/* Bytes this process receives and sends in one forward and backward. What the plans say must be
 * what is counted, and results must be right: X and W of ones. */
static void run(const layer *l, bool together, uint64_t *received, uint64_t *sent)
{
    plans p;
    open_plans(l, together, &p);
    *received = *sent = 0;
    if (p.forward && p.dx && p.dw) {
        clv_matrix_fill(p.X, 1);
        clv_matrix_fill(p.W, 1);
        clv_grid_traffic_reset(l->grid);
        CHECK_OK(clv_execute_gemm(p.forward, 1, p.X, p.W, 0, p.Y));
        CHECK_OK(clv_execute_gemm(p.dw, 1, p.X, p.Y, 0, p.dW));
        CHECK_OK(clv_execute_gemm(p.dx, 1, p.Y, p.W, 0, p.dX));
        *received = clv_grid_traffic(l->grid).bytes_received;
        *sent = clv_grid_traffic(l->grid).bytes_sent;
        CHECK_INT(
            (long long)(clv_plan_bytes(p.forward) + clv_plan_bytes(p.dw) + clv_plan_bytes(p.dx)),
            (long long)*received);
        clv_block dw = clv_matrix_block(p.dW), dx = clv_matrix_block(p.dX);
        if (dw.m > 0 && dw.n > 0)
            CHECK_NEAR(*(float *)clvi_at(dw, CLV_F32, dw.m - 1, dw.n - 1), (double)(l->m * l->k),
                       0);
        if (dx.m > 0 && dx.n > 0)
            CHECK_NEAR(*(float *)clvi_at(dx, CLV_F32, dx.m - 1, dx.n - 1), (double)(l->n * l->k),
                       0);
    }
    close_plans(&p);
}

/* ---- The classical schemes ------------------------------------------------------------ */

/* Words received by each process in numbers of whole matrices mk, kn, mn. */
typedef struct {
    double mk, kn, mn;
} words;

typedef struct {
    const char *name, *grid;
    int64_t m, k, n;
    const char *X, *W, *Y;
    words apart, together;
} scheme;

static void expect(const scheme *s, const layer *l, bool together, words w)
{
    static char text[96];
    uint64_t received, sent;
    double mk = (double)(s->m * s->k), kn = (double)(s->k * s->n), mn = (double)(s->m * s->n);
    uint64_t expected = (uint64_t)llround(4 * (w.mk * mk + w.kn * kn + w.mn * mn));
    snprintf(text, sizeof text, "%s on %s, %s", s->name, s->grid, together ? "together" : "apart");
    check_enter(text, check_rank());
    run(l, together, &received, &sent);
    CHECK_INT((long long)received, (long long)expected);
    CHECK_INT((long long)sent, (long long)expected);
}

static void check_scheme(const scheme *s)
{
    layer l = {open_grid(s->grid), s->m, s->k, s->n, {{0}}};
    CHECK_OK(clv_layout_parse(l.grid, s->X, &l.layouts[0]));
    CHECK_OK(clv_layout_parse(l.grid, s->W, &l.layouts[1]));
    CHECK_OK(clv_layout_parse(l.grid, s->Y, &l.layouts[2]));
    if (check_size() < 64) expect(s, &l, false, s->apart); /* 64 processes take their time */
    expect(s, &l, true, s->together);
    clv_grid_destroy(&l.grid);
}

/* The share of a matrix that a process receives when p processes gather or scatter it. */
static double g(int p)
{
    return (double)(p - 1) / p;
}

static void one_dimension(void)
{
    char grid[16];
    double G = g(check_size());
    snprintf(grid, sizeof grid, "p=%d", check_size());
    const scheme schemes[] = {
        {"column-parallel", grid, 64, 128, 256, "-|-", "-|p", "-|p", {.mk = 2 * G}, {.mk = 2 * G}},
        {"row-parallel", grid, 64, 256, 128, "-|p", "p|-", "-|-", {.mn = 2 * G}, {.mn = 2 * G}},
        {"column-parallel, sequence-sharded",
         grid,
         64,
         128,
         256,
         "p|-",
         "-|p",
         "-|p",
         {.mk = 3 * G},
         {.mk = 2 * G}},
        {"row-parallel, sequence-sharded",
         grid,
         64,
         256,
         128,
         "-|p",
         "p|-",
         "p|-",
         {.mn = 3 * G},
         {.mn = 2 * G}},
        {"weight-gathering", grid, 1024, 64, 64, "p|-", "p|-", "p|-", {.kn = 3 * G}, {.kn = 2 * G}},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) check_scheme(&schemes[i]);
}

static void two_dimensions(void)
{
    int q = 1;
    while (q * q < check_size()) q *= 2;
    if (q * q != check_size() || q == 1) return;
    char grid[32];
    double G = g(q) / q;
    snprintf(grid, sizeof grid, "r=%d,c=%d", q, q);
    check_scheme(&(scheme){"SUMMA",
                           grid,
                           256,
                           16,
                           256,
                           "r|c",
                           "r|c",
                           "r|c",
                           {.mk = 3 * G, .kn = 3 * G},
                           {.mk = 2 * G, .kn = 2 * G}});
}

static void three_dimensions(void)
{
    int q = 1;
    while (q * q * q < check_size()) q *= 2;
    if (q * q * q != check_size() || q == 1) return;
    char grid[48];
    double G = g(q) / (q * q), bound, side = 64;
    snprintf(grid, sizeof grid, "x=%d,y=%d,z=%d", q, q, q);
    check_scheme(&(scheme){"3D",
                           grid,
                           64,
                           64,
                           64,
                           "x+z|y",
                           "y+x|z",
                           "x+y|z",
                           {3 * G, 3 * G, 3 * G},
                           {2 * G, 2 * G, 2 * G}});
    /* Twice the least that one product of a cube can move (Al Daas et al. 2022). */
    bound = 3 * cbrt(pow(side, 6) / pow(check_size(), 2)) - 3 * side * side / check_size();
    CHECK_NEAR(2 * G * 3 * side * side, 2 * bound, 1e-12);
}

/* Gk x Gn x Gz, times `data`. */
static void check_axonn(int data, int Gk, int Gn, int Gz, int64_t m, int64_t k, int64_t n)
{
    if (data * Gk * Gn * Gz != check_size()) return;
    char grid[64];
    snprintf(grid, sizeof grid, "data=%d,k=%d,n=%d,z=%d", data, Gk, Gn, Gz);
    words w = {.mk = 2 * g(Gn) / (data * Gz * Gk), .mn = 2 * g(Gk) / (data * Gz * Gn)};
    double sums = 2 * g(data) / (Gk * Gn * Gz);
    words apart = w, together = w;
    apart.kn = 3 * g(Gz) / (Gk * Gn) + sums;
    together.kn = 2 * g(Gz) / (Gk * Gn) + sums;
    check_scheme(
        &(scheme){"AxoNN", grid, m, k, n, "data+z|k", "k+z|n", "data+z|n", apart, together});
}

static void axonn(void)
{
    check_axonn(1, 2, 2, 2, 64, 64, 64);
    check_axonn(2, 2, 2, 1, 128, 64, 64);
    check_axonn(1, 2, 4, 2, 128, 64, 128);
    check_axonn(2, 2, 2, 2, 128, 64, 64);
    check_axonn(1, 4, 4, 4, 64, 64, 64);
    check_axonn(2, 2, 8, 2, 256, 64, 256);
}

/* ---- What is chosen ------------------------------------------------------------------------ */

/* Million words of the best grid by the closed form without anything kept: VOLUMES.md. */
static const struct {
    int64_t m, k, n;
    int ranks;
    double best;
} rows[] = {{4096, 4096, 4096, 8, 14.68},   {4096, 4096, 4096, 64, 5.51},
            {8192, 4096, 16384, 16, 41.94}, {8192, 4096, 16384, 64, 20.97},
            {512, 4096, 16384, 16, 2.88},   {32768, 1024, 1024, 16, 2.95}};

/* Words that the plan of a layer receives, on the process that receives most; no matrix of that
 * size exists. */
static double planned_words(const layer *l, const clv_plan_options *options)
{
    clv_spec X = {.m = l->m, .n = l->k, .dtype = CLV_F32, .layout = l->layouts[0]};
    clv_spec W = {.m = l->k, .n = l->n, .dtype = CLV_F32, .layout = l->layouts[1]};
    clv_spec Y = {.m = l->m, .n = l->n, .dtype = CLV_F32, .layout = l->layouts[2]};
    clv_plan_options model;
    CHECK_OK(clvi_plan_defaults(options, &model));
    const clvi_problem problems[CLVI_TEAM] = {
        {l->grid, CLV_F32, {false, false}, {X, W, Y}, {false}, &model},
        {l->grid, CLV_F32, {true, false}, {clvi_spec_transposed(X), Y, W}, {false}, &model},
        {l->grid, CLV_F32, {false, true}, {Y, clvi_spec_transposed(W), X}, {false}, &model}};
    clvi_team team;
    double begin = MPI_Wtime();
    if (!CHECK_OK(clvi_choose_three(CLV_N, problems, &team))) return 0;
    if (check_rank() == 0)
        printf("planned in %.3f s on %d ranks\n", MPI_Wtime() - begin, check_size());
    double words = 0;
    for (int i = 0; i < team.count; i++)
        for (int j = 0; j < CLVI_OPERANDS; j++) {
            bool made = false;
            for (int s = 0; s < team.nshares; s++)
                if (team.shares[s].reader == i && team.shares[s].operand == j) made = true;
            clv_spec given = problems[i].given[j], local = team.ways[i].specs[j];
            if (!made)
                words += (double)clvi_move_volume(l->grid, j == CLVI_C ? local : given,
                                                  j == CLVI_C ? given : local, check_rank())
                             .bytes /
                         4;
        }
    CHECK_OK(clv_grid_reduce(l->grid, CLV_MAX, 1, &words));
    return words;
}

static void check_row(int row)
{
    enum { SCALE = 64 }; /* of what is executed; every extent stays divisible */
    char text[64] = "";
    for (int p = check_size(), i = 0; p > 1; p /= 2, i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%sa%d=2", i ? "," : "", i);
    layer l = {open_grid(text), rows[row].m, rows[row].k, rows[row].n, {{0}}};
    double words = 0;
    /* By the time that plans have without a profile, and by bytes alone. */
    static const clv_plan_options *const models[] = {NULL, &bytes_alone};
    for (int i = 0; i < 2; i++) {
        CHECK_OK(clv_choose_linear(l.grid, CLV_F32, l.m, l.k, l.n, models[i], &l.layouts[0],
                                   &l.layouts[1], &l.layouts[2]));
        words = planned_words(&l, models[i]);
        if (check_rank() == 0)
            printf("%lld x %lld x %lld on %d: %.2f million words, best grid %.2f\n", (long long)l.m,
                   (long long)l.k, (long long)l.n, check_size(), words / 1e6, rows[row].best);
        CHECK(words > 0 && words <= 1.05 * 1e6 * rows[row].best);
    }
    l.m /= SCALE, l.k /= SCALE, l.n /= SCALE;
    uint64_t received, sent;
    run(&l, true, &received, &sent);
    CHECK_INT((long long)received, (long long)llround(words * 4 / SCALE / SCALE));
    clv_grid_destroy(&l.grid);
}

static void chosen_layouts(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].ranks == check_size()) check_row((int)i);
}

const check_case check_cases[] = {
    {"one dimension", one_dimension},       {"two dimensions", two_dimensions},
    {"three dimensions", three_dimensions}, {"Gk x Gn x Gz", axonn},
    {"chosen layouts", chosen_layouts},     {0}};
