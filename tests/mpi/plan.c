/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan.c: what plans say, what the classical schemes cost, and what is refused.
 *
 * RANKS: 1 2 4 8
 */
#include "../reference.h"

static clv_grid *open_grid(const char *text)
{
    clv_grid *grid = NULL;
    char sized[64];
    snprintf(sized, sizeof sized, text, check_size());
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, sized, &grid));
    return grid;
}

static clv_matrix *make(clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype, const char *layout)
{
    clv_matrix *matrix = NULL;
    clv_spec spec = {.m = m, .n = n, .dtype = dtype};
    CHECK_OK(clv_layout_parse(grid, layout, &spec.layout));
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    return matrix;
}

/* ---- What the classical schemes cost ------------------------------------------ */

/* The share of a matrix that a process receives when p processes gather or scatter it. */
static double g(int p)
{
    return (double)(p - 1) / p;
}

/* Words received by each process, in numbers of whole matrices mk, kn, mn. */
typedef struct {
    double mk, kn, mn;
} words;

/* Y[m,n] = X[m,k] W[k,n], and what each of the three products of a layer has to receive. */
typedef struct {
    const char *name, *grid;
    int ranks; /* that it needs; 0: any */
    int64_t m, k, n;
    const char *X, *W, *Y;
    words y, dx, dw;
} scheme;

/* Bytes alone decide: latency and arithmetic are free. */
static const clv_plan_options bytes_alone = {.machine = {.node_latency = 1e-18,
                                                         .node_bandwidth = 1,
                                                         .net_latency = 1e-18,
                                                         .net_bandwidth = 1,
                                                         .memory_bandwidth = 1e30,
                                                         .flops = 1e30}};

static void check_words(const scheme *s, words w, clv_op op_a, const clv_matrix *A, clv_op op_b,
                        const clv_matrix *B, clv_matrix *C)
{
    clv_grid *grid = clv_matrix_grid(A);
    double mk = (double)(s->m * s->k), kn = (double)(s->k * s->n), mn = (double)(s->m * s->n);
    clv_plan *plan = NULL;
    if (!CHECK_OK(clv_plan_gemm(op_a, A, op_b, B, C, &bytes_alone, &plan))) return;
    clv_grid_traffic_reset(grid);
    CHECK_OK(clv_execute_gemm(plan, 1, A, B, 0, C));
    uint64_t expected = (uint64_t)llround(8 * (w.mk * mk + w.kn * kn + w.mn * mn));
    CHECK_INT((long long)clv_grid_traffic(grid).bytes_received, (long long)expected);
    CHECK_INT((long long)clv_grid_traffic(grid).bytes_sent, (long long)expected);
    CHECK_INT((long long)clv_plan_bytes(plan), (long long)expected);
    clv_plan_destroy(&plan);
}

static void check_scheme(const scheme *s)
{
    if (s->ranks && s->ranks != check_size()) return;
    static char text[64];
    clv_grid *grid = open_grid(s->grid);
    clv_matrix *X = make(grid, s->m, s->k, CLV_F64, s->X);
    clv_matrix *W = make(grid, s->k, s->n, CLV_F64, s->W);
    clv_matrix *Y = make(grid, s->m, s->n, CLV_F64, s->Y);
    check_enter((snprintf(text, sizeof text, "%s: Y", s->name), text), check_rank());
    check_words(s, s->y, CLV_N, X, CLV_N, W, Y);
    check_enter((snprintf(text, sizeof text, "%s: dX", s->name), text), check_rank());
    check_words(s, s->dx, CLV_N, Y, CLV_T, W, X);
    check_enter((snprintf(text, sizeof text, "%s: dW", s->name), text), check_rank());
    check_words(s, s->dw, CLV_T, X, CLV_N, Y, W);
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&W);
    clv_matrix_destroy(&Y);
    clv_grid_destroy(&grid);
}

static void classical_schemes(void)
{
    double G = g(check_size()), h = g(2);
    const scheme schemes[] = {
        {"1D column-parallel", "p=%d", 0, 32, 64, 128, "-|-", "-|p", "-|p", .dx = {.mk = 2 * G}},
        {"1D row-parallel", "p=%d", 0, 32, 128, 64, "-|p", "p|-", "-|-", .y = {.mn = 2 * G}},
        {"1D column-parallel, sequence-sharded", "p=%d", 0, 32, 64, 128, "p|-", "-|p", "-|p",
         .y = {.mk = G}, .dx = {.mk = G}, .dw = {.mk = G}},
        {"1D row-parallel, sequence-sharded", "p=%d", 0, 32, 128, 64, "-|p", "p|-", "p|-",
         .y = {.mn = G}, .dx = {.mn = G}, .dw = {.mn = G}},
        {"weight-gathering", "p=%d", 0, 512, 32, 32, "p|-", "p|-", "p|-", .y = {.kn = G},
         .dx = {.kn = G}, .dw = {.kn = G}},
        {"data-parallel", "p=%d", 0, 512, 32, 32, "p|-", "-|-", "p|-", .dw = {.kn = 2 * G}},
        {"2D SUMMA", "r=2,c=2", 4, 128, 32, 128, "r|c", "r|c", "r|c",
         .y = {.mk = h / 2, .kn = h / 2}, .dx = {.mk = h / 2, .kn = h / 2},
         .dw = {.mk = h / 2, .kn = h / 2}},
        {"3D", "x=2,y=2,z=2", 8, 64, 64, 64, "x+z|y", "y+x|z", "x+y|z", .y = {h / 4, h / 4, h / 4},
         .dx = {h / 4, h / 4, h / 4}, .dw = {h / 4, h / 4, h / 4}},
        {"AxoNN", "k=2,n=2,z=2", 8, 64, 64, 64, "z|k", "k+z|n", "z|n",
         .y = {.kn = h / 4, .mn = 2 * h / 4}, .dx = {.kn = h / 4, .mk = 2 * h / 4},
         .dw = {.kn = h / 4}},
        {"AxoNN with data", "data=2,k=2,n=2", 8, 64, 64, 64, "data|k", "k|n", "data|n",
         .y = {.mn = 2 * h / 4}, .dx = {.mk = 2 * h / 4}, .dw = {.kn = 2 * h / 4}},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) check_scheme(&schemes[i]);
}

/* ---- What plans say ------------------------------------------------------------- */

static char *printed(const clv_plan *plan)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CHECK_OK(clv_plan_print(plan, out));
    fclose(out);
    return text;
}

static void has(const char *text, const char *word)
{
    if (!CHECK(strstr(text, word) != NULL)) fprintf(stderr, "expected \"%s\" in\n%s", word, text);
}

static void plans_print_their_steps(void)
{
    clv_grid *grid = open_grid("p=%d");
    clv_matrix *sums = make(grid, 16, 8, CLV_F64, "-|-;p"),
               *all = make(grid, 16, 8, CLV_F64, "-|-");
    clv_matrix *rows = make(grid, 16, 8, CLV_F64, "p|-"), *cols = make(grid, 8, 24, CLV_F64, "-|p");
    clv_matrix *C = make(grid, 16, 24, CLV_F64, "-|p");
    clv_plan *plan = NULL;
    char half[32];
    CHECK_OK(clv_plan_move(sums, all, NULL, &plan));
    CHECK(clv_plan_seconds(plan) >= 0);
    if (check_size() > 1) {
        CHECK(clv_plan_seconds(plan) > 0);
        snprintf(half, sizeof half, "%d", 16 * 8 * 8 / check_size() * (check_size() - 1));
        char *text = printed(plan);
        has(text, "reduce-scatter");
        has(text, "all-gather");
        has(text, "-|-;p");
        has(text, half);
        free(text);
    }
    clv_plan_destroy(&plan);
    CHECK_OK(clv_plan_gemm(CLV_N, rows, CLV_N, cols, C, NULL, &plan));
    char *text = printed(plan);
    has(text, "multiply");
    has(text, "bytes of workspace");
    if (check_size() > 1) has(text, "p|-");
    CHECK(clv_plan_seconds(plan) > 0);
    free(text);
    clv_plan_destroy(&plan);
    clv_plan_destroy(&plan);
    clv_matrix *const made[] = {sums, all, rows, cols, C};
    for (int i = 0; i < 5; i++) clv_matrix_destroy(&(clv_matrix *){made[i]});
    clv_grid_destroy(&grid);
}

/* A cap holds for moves as for products; clv_plan_memory is what counts against it. */
static void moves_keep_to_their_memory(void)
{
    clv_grid *grid = open_grid("p=%d");
    clv_matrix *sums = make(grid, 16, 8, CLV_F64, "-|-;p"),
               *all = make(grid, 16, 8, CLV_F64, "-|-");
    clv_plan *plan = NULL;
    CHECK_OK(clv_plan_move(sums, all, NULL, &plan));
    double most = (double)clv_plan_memory(plan);
    CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 1, &most));
    clv_plan_destroy(&plan);
    clv_plan_options options = {.memory = (uint64_t)most};
    CHECK_OK(clv_plan_move(sums, all, &options, &plan));
    CHECK(clv_plan_memory(plan) <= options.memory || most == 0);
    clv_plan_destroy(&plan);
    options.memory = (uint64_t)most - 1;
    if (most > 1) {
        CHECK_STATUS(clv_plan_move(sums, all, &options, &plan), CLV_ENOMEM);
        CHECK(plan == NULL && strstr(clv_last_error(), "needs"));
    }
    clv_matrix_destroy(&sums);
    clv_matrix_destroy(&all);
    clv_grid_destroy(&grid);
}

/* The model decides: with dear messages fewer of them, with dear bytes fewer bytes. */
static void options_change_the_plan(void)
{
    clv_grid *grid = open_grid("p=%d");
    clv_matrix *A = make(grid, 64, 64, CLV_F32, "p|-"), *B = make(grid, 64, 64, CLV_F32, "p|-");
    clv_matrix *C = make(grid, 64, 64, CLV_F32, "p|-");
    clv_plan *near = NULL, *far = NULL;
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, B, C, &bytes_alone, &near));
    clv_plan_options slow = bytes_alone;
    slow.machine.node_bandwidth = slow.machine.net_bandwidth = 1e-3;
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, B, C, &slow, &far));
    CHECK_INT((long long)clv_plan_bytes(near), (long long)clv_plan_bytes(far));
    if (check_size() > 1) CHECK_NEAR(clv_plan_seconds(far) / clv_plan_seconds(near), 1e3, 1e-6);
    clv_plan_destroy(&near);
    clv_plan_destroy(&far);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_matrix_destroy(&C);
    clv_grid_destroy(&grid);
}

/* ---- What is refused --------------------------------------------------------------- */

static void says(const char *word)
{
    has(clv_last_error(), word);
}

static void bad_moves_are_refused(void)
{
    clv_grid *grid = open_grid("p=%d"), *other = open_grid("p=%d");
    clv_matrix *A = make(grid, 7, 5, CLV_F32, "p|-"), *wide = make(grid, 7, 6, CLV_F32, "-|-");
    clv_matrix *f64 = make(grid, 7, 5, CLV_F64, "-|-"), *far = make(other, 7, 5, CLV_F32, "-|-");
    clv_matrix *B = make(grid, 7, 5, CLV_F32, "-|p"), *ids = make(grid, 7, 5, CLV_I32, "p|-");
    clv_matrix *copy = make(grid, 7, 5, CLV_I32, "-|-"), *dst = make(grid, 7, 5, CLV_F32, "-|-");
    clv_plan *plan = NULL;
    CHECK_STATUS(clv_plan_move(A, wide, NULL, &plan), CLV_ESHAPE);
    says("7 x 6");
    says("7 x 5");
    CHECK_STATUS(clv_plan_move(A, f64, NULL, &plan), CLV_EDTYPE);
    says("f64");
    says("f32");
    CHECK_STATUS(clv_plan_move(A, far, NULL, &plan), CLV_EARG);
    says("grid");
    CHECK_STATUS(clv_move(A, wide), CLV_ESHAPE);
    CHECK(plan == NULL);
    CHECK_OK(clv_plan_move(A, dst, NULL, &plan));
    CHECK_STATUS(clv_execute_move(plan, 1, B, 0, dst), CLV_ELAYOUT);
    says("p|-");
    says("-|p");
    CHECK_STATUS(clv_execute_move(plan, 1, A, 0, wide), CLV_ESHAPE);
    CHECK_STATUS(clv_execute_move(plan, 1, A, 0, f64), CLV_EDTYPE);
    CHECK_STATUS(clv_execute_move(plan, 1, NULL, 0, dst), CLV_EARG);
    CHECK_STATUS(clv_execute_gemm(plan, 1, A, dst, 0, B), CLV_EARG);
    clv_plan_destroy(&plan);
    CHECK_OK(clv_plan_move(A, dst, &(clv_plan_options){.overwrite = true}, &plan));
    CHECK_STATUS(clv_execute_move(plan, 1, A, 1, dst), CLV_EARG);
    CHECK_OK(clv_execute_move(plan, 1, A, 0, dst));
    clv_plan_destroy(&plan);
    CHECK_OK(clv_plan_move(ids, copy, NULL, &plan));
    CHECK_STATUS(clv_execute_move(plan, 2, ids, 0, copy), CLV_EARG);
    CHECK_STATUS(clv_execute_move(plan, 1, ids, 1, copy), CLV_EARG);
    CHECK_OK(clv_execute_move(plan, 1, ids, 0, copy));
    clv_plan_destroy(&plan);
    if (check_size() > 1) { /* integers have no pending sums to end */
        clv_matrix *sums = make(grid, 7, 5, CLV_I32, "-|-;p");
        CHECK_STATUS(clv_plan_move(sums, copy, NULL, &plan), CLV_EDTYPE);
        clv_matrix_destroy(&sums);
    }
    clv_matrix *const made[] = {A, wide, f64, far, B, ids, copy, dst};
    for (int i = 0; i < 8; i++) clv_matrix_destroy(&(clv_matrix *){made[i]});
    clv_grid_destroy(&other);
    clv_grid_destroy(&grid);
}

static void bad_products_are_refused(void)
{
    clv_grid *grid = open_grid("p=%d"), *other = open_grid("p=%d");
    clv_matrix *A = make(grid, 7, 5, CLV_F32, "p|-"), *B = make(grid, 5, 3, CLV_F32, "-|p");
    clv_matrix *C = make(grid, 7, 3, CLV_F32, "-|-"), *far = make(other, 5, 3, CLV_F32, "-|-");
    clv_matrix *f64 = make(grid, 7, 3, CLV_F64, "-|-"), *ids = make(grid, 5, 3, CLV_I32, "-|-");
    clv_matrix *half = make(grid, 7, 3, CLV_BF16, "-|-");
    clv_plan *plan = NULL;
    CHECK_STATUS(clv_plan_gemm(CLV_T, A, CLV_N, B, C, NULL, &plan), CLV_ESHAPE);
    says("5 x 7");
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_T, B, C, NULL, &plan), CLV_ESHAPE);
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, B, B, NULL, &plan), CLV_ESHAPE);
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, B, f64, NULL, &plan), CLV_EDTYPE);
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, ids, C, NULL, &plan), CLV_EDTYPE);
    says("i32");
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, B, half, NULL, &plan), CLV_EDTYPE);
    says("bf16");
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, far, C, NULL, &plan), CLV_EARG);
    CHECK_STATUS(clv_plan_gemm((clv_op)2, A, CLV_N, B, C, NULL, &plan), CLV_EARG);
    clv_plan_options unknown = {.backend = (clv_backend)7};
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, B, C, &unknown, &plan), CLV_EARG);
    CHECK(plan == NULL);
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, B, C, NULL, &plan));
    CHECK_STATUS(clv_execute_gemm(plan, 1, B, A, 0, C), CLV_ESHAPE);
    CHECK_STATUS(clv_execute_gemm(plan, 1, A, B, 0, f64), CLV_EDTYPE);
    CHECK_STATUS(clv_execute_gemm(plan, 1, A, far, 0, C), CLV_EARG);
    says("grid");
    CHECK_STATUS(clv_execute_move(plan, 1, A, 0, C), CLV_EARG);
    clv_plan_destroy(&plan);
    clv_matrix *const made[] = {A, B, C, far, f64, half, ids};
    for (int i = 0; i < 7; i++) clv_matrix_destroy(&(clv_matrix *){made[i]});
    clv_grid_destroy(&other);
    clv_grid_destroy(&grid);
}

/* Equal specs mean other blocks on a grid of another shape. */
static void other_grids_are_refused(void)
{
    clv_grid *grid = open_grid("x=%d,y=1"), *other = open_grid("x=1,y=%d");
    clv_matrix *A = make(grid, 8, 8, CLV_F32, "x|-"), *C = make(grid, 8, 8, CLV_F32, "x|-");
    clv_matrix *far = make(other, 8, 8, CLV_F32, "x|-"), *out = make(other, 8, 8, CLV_F32, "x|-");
    clv_plan *gemm = NULL, *move = NULL;
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, A, C, NULL, &gemm));
    CHECK_OK(clv_plan_move(A, C, NULL, &move));
    CHECK_STATUS(clv_execute_gemm(gemm, 1, far, far, 0, out), CLV_EARG);
    CHECK_STATUS(clv_execute_gemm(gemm, 1, A, A, 0, out), CLV_EARG);
    says("gemm: C: expected a matrix on the grid planned with");
    CHECK_STATUS(clv_execute_move(move, 1, far, 0, out), CLV_EARG);
    says("move: src: expected a matrix on the grid planned with");
    CHECK_OK(clv_execute_move(move, 1, A, 0, C));
    clv_plan_destroy(&gemm);
    clv_plan_destroy(&move);
    clv_matrix *const made[] = {A, C, far, out};
    for (int i = 0; i < 4; i++) clv_matrix_destroy(&(clv_matrix *){made[i]});
    clv_grid_destroy(&other);
    clv_grid_destroy(&grid);
}

static void disagreeing_processes_are_told(void)
{
    if (check_size() == 1) return;
    bool last = check_rank() == check_size() - 1;
    clv_grid *grid = open_grid("p=%d");
    clv_matrix *A = make(grid, 6, 6, CLV_F32, "p|-"), *B = make(grid, 6, 6, CLV_F32, "-|p");
    clv_matrix *C = make(grid, 6, 6, CLV_F32, "-|-"), *D = make(grid, 6, 7, CLV_F32, "-|-");
    clv_plan *plan = NULL;
    clv_plan_options options = {.backend = last ? CLV_BACKEND_SCALAPACK : CLV_BACKEND_AUTO};
    CHECK_STATUS(clv_plan_move(last ? A : B, C, NULL, &plan), CLV_EMISMATCH);
    CHECK_STATUS(clv_plan_move(C, last ? B : A, NULL, &plan), CLV_EMISMATCH);
    CHECK_STATUS(clv_plan_gemm(last ? CLV_T : CLV_N, C, CLV_N, C, A, NULL, &plan), CLV_EMISMATCH);
    CHECK_STATUS(clv_plan_gemm(CLV_N, C, last ? CLV_T : CLV_N, C, A, NULL, &plan), CLV_EMISMATCH);
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, last ? A : B, C, NULL, &plan), CLV_EMISMATCH);
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, B, last ? B : C, NULL, &plan), CLV_EMISMATCH);
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, B, C, &options, &plan), CLV_EMISMATCH);
    options = (clv_plan_options){.memory = last ? 10000001 : 10000002};
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, B, C, &options, &plan), CLV_EMISMATCH);
    says("rank 0 has 10000002");
    CHECK_STATUS(clv_plan_move(A, last ? D : C, NULL, &plan), CLV_ESHAPE); /* it alone is wrong */
    says("6 x 7");
    CHECK(plan == NULL);
    clv_matrix *const made[] = {A, B, C, D};
    for (int i = 0; i < 4; i++) clv_matrix_destroy(&(clv_matrix *){made[i]});
    clv_grid_destroy(&grid);
}

/* ---- Memory that fails on one process only --------------------------------------------- */

/* Plans with a gather, a scatter and a sum, some one way, some another. */
static clv_status plan_number(int kind, clv_matrix *const m[], clv_plan **plan)
{
    if (kind == 0) return clv_plan_move(m[0], m[1], NULL, plan); /* all-reduce */
    if (kind == 1) return clv_plan_move(m[2], m[3], NULL, plan); /* all-to-all */
    return clv_plan_gemm(CLV_N, m[2], CLV_T, m[0], m[1], NULL, plan);
}

static void failing_memory(void)
{
    clv_grid *grid = open_grid("p=%d");
    clv_matrix *m[] = {make(grid, 8, 8, CLV_F32, "-|-;p"), make(grid, 8, 8, CLV_F32, "-|-"),
                       make(grid, 8, 8, CLV_F32, "p|-"), make(grid, 8, 8, CLV_F32, "-|p")};
    CHECK_OK(clvi_gemm_reserve(true)); /* buffers that the process keeps */
    for (int kind = 0; kind < 3; kind++)
        for (int victim = 0; victim<check_size(); victim += check_size()> 2 ? 3 : 1) {
            int64_t live = clvi_alloc_live();
            clv_status status = CLV_ENOMEM;
            int nth = 0;
            while (status != CLV_OK && ++nth < 100) {
                clv_plan *plan = NULL;
                if (check_rank() == victim) clvi_alloc_fail_at(nth);
                status = plan_number(kind, m, &plan);
                clvi_alloc_fail_at(0);
                CHECK(status == CLV_OK || (status == CLV_ENOMEM && plan == NULL));
                CHECK(ref_same(status));
                clv_plan_destroy(&plan);
                CHECK_INT(clvi_alloc_live(), live);
            }
            CHECK(status == CLV_OK);
            CHECK(nth > 1 || check_size() == 1); /* it was tried */
        }
    for (int i = 0; i < 4; i++) clv_matrix_destroy(&m[i]);
    clv_grid_destroy(&grid);
}

/* Executing neither allocates nor keeps anything. */
static void executing_does_not_allocate(void)
{
    clv_grid *grid = open_grid("p=%d");
    clv_matrix *m[] = {make(grid, 8, 8, CLV_F32, "-|-;p"), make(grid, 8, 8, CLV_F32, "-|-"),
                       make(grid, 8, 8, CLV_F32, "p|-"), make(grid, 8, 8, CLV_F32, "-|p")};
    clv_plan *move = NULL, *gemm = NULL;
    CHECK_OK(plan_number(0, m, &move));
    CHECK_OK(plan_number(2, m, &gemm));
    int64_t live = clvi_alloc_live();
    clvi_alloc_fail_at(1); /* the next one fails: there must be none */
    CHECK_OK(clv_execute_move(move, 1, m[0], 0, m[1]));
    CHECK_OK(clv_execute_gemm(gemm, 1, m[2], m[0], 2, m[1]));
    clvi_alloc_fail_at(0);
    CHECK_INT(clvi_alloc_live(), live);
    clv_plan_destroy(&move);
    clv_plan_destroy(&gemm);
    for (int i = 0; i < 4; i++) clv_matrix_destroy(&m[i]);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"classical schemes", classical_schemes},
    {"plans print their steps", plans_print_their_steps},
    {"moves keep to their memory", moves_keep_to_their_memory},
    {"options change the plan", options_change_the_plan},
    {"bad moves are refused", bad_moves_are_refused},
    {"bad products are refused", bad_products_are_refused},
    {"other grids are refused", other_grids_are_refused},
    {"disagreeing processes are told", disagreeing_processes_are_told},
    {"failing memory", failing_memory},
    {"executing does not allocate", executing_does_not_allocate},
    {0},
};
