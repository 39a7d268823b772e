/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gemm.c: C := alpha op(A) op(B) + beta C for matrices in any layouts, against the plain triple
 * loop over the global matrices; and against ScaLAPACK, which shares no line with either.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "../reference.h"

static const char *const two_axes_of[9] = {NULL, "a=1,b=1", "a=1,b=2", "a=3,b=1", "a=2,b=2",
                                           NULL, "a=3,b=2", NULL,      "a=2,b=4"};
static const char *const three_axes_of[9] = {NULL,          "a=1,b=1,c=1", "a=2,b=1,c=1",
                                             NULL,          "a=2,b=1,c=2", NULL,
                                             "a=3,b=1,c=2", NULL,          "a=2,b=2,c=2"};

/* Extents with one element, primes, more processes than columns, and nothing at all. */
static const struct {
    int64_t m, n, k;
} shapes[] = {{7, 17, 127}, {1, 1, 1},     {17, 7, 17}, {127, 1, 7},     {16, 24, 32}, {17, 127, 1},
              {1, 127, 17}, {127, 7, 127}, {0, 7, 5},   {127, 127, 127}, {5, 0, 17},   {7, 3, 0}};
enum { SHAPES = sizeof shapes / sizeof *shapes, ELEMENTS = 127 * 127 };

static clv_grid *open_grid(const char *text)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, text, &grid));
    return grid;
}

/* op(A) is the matrix called 1, op(B) the one called 2: the same product for every op. */
static const double *product_of(int shape)
{
    static double *products[SHAPES];
    if (products[shape]) return products[shape];
    int64_t m = shapes[shape].m, n = shapes[shape].n, k = shapes[shape].k;
    double *A = calloc(ELEMENTS, sizeof *A), *B = calloc(ELEMENTS, sizeof *B);
    products[shape] = calloc(ELEMENTS, sizeof **products); /* kept to the end */
    ref_whole(m, k, 1, A);
    ref_whole(k, n, 2, B);
    ref_product(m, n, k, A, B, products[shape]);
    free(A);
    free(B);
    return products[shape];
}

typedef struct {
    int shape;
    clv_op op_a, op_b;
    clv_layout a, b, c; /* of the matrices as they are stored */
    clv_dtype dtype;
    int64_t units[6]; /* of A, B, C */
    clv_backend backend;
} problem;

static clv_spec stored(int64_t m, int64_t n, clv_op op, const problem *p, const int64_t units[2],
                       clv_layout layout)
{
    if (op == CLV_T) return (clv_spec){n, m, units[0], units[1], p->dtype, layout};
    return (clv_spec){m, n, units[0], units[1], p->dtype, layout};
}

static void enter(const clv_grid *grid, const problem *p, clv_spec a, clv_spec b, clv_spec c)
{
    static char text[400];
    char A[96], B[96], C[96];
    snprintf(text, sizeof text, "%s (%s) x %s (%s) = %s", clvi_spec_format(grid, a, A, sizeof A),
             p->op_a == CLV_T ? "T" : "N", clvi_spec_format(grid, b, B, sizeof B),
             p->op_b == CLV_T ? "T" : "N", clvi_spec_format(grid, c, C, sizeof C));
    check_enter(text, check_rank());
}

/* Plans and executes it twice: over NaN with beta 0, then with both factors. False where the
 * backend does not take the layouts. */
static bool check_product(clv_grid *grid, const problem *p)
{
    int64_t m = shapes[p->shape].m, n = shapes[p->shape].n, k = shapes[p->shape].k;
    clv_spec a = stored(m, k, p->op_a, p, p->units, p->a);
    clv_spec b = stored(k, n, p->op_b, p, p->units + 2, p->b);
    clv_spec c = stored(m, n, CLV_N, p, p->units + 4, p->c);
    enter(grid, p, a, b, c);
    ref_matrix A = ref_wrap(grid, a, p->shape % 2), B = ref_wrap(grid, b, p->shape % 3);
    ref_matrix C = ref_wrap(grid, c, p->shape % 4);
    ref_fill(A.matrix, 1, p->op_a == CLV_T);
    ref_fill(B.matrix, 2, p->op_b == CLV_T);
    ref_fill_with(C.matrix, NAN);
    const double *want = product_of(p->shape);
    clv_plan_options options = {.backend = p->backend};
    clv_plan *plan = NULL;
    clv_status status =
        clv_plan_gemm(p->op_a, A.matrix, p->op_b, B.matrix, C.matrix, &options, &plan);
    bool refused = p->backend == CLV_BACKEND_SCALAPACK && status == CLV_EUNSUPPORTED;
    if (!refused && CHECK_OK(status)) {
        uint64_t before = clv_grid_traffic(grid).bytes_received;
        CHECK_OK(clv_execute_gemm(plan, 2, A.matrix, B.matrix, 0, C.matrix));
        CHECK_INT(ref_wrong(C.matrix, want, 2, 0), 0);
        CHECK_INT((long long)(clv_grid_traffic(grid).bytes_received - before),
                  (long long)clv_plan_bytes(plan));
        CHECK_OK(clv_execute_gemm(plan, -1, A.matrix, B.matrix, 3, C.matrix));
        CHECK_INT(ref_wrong(C.matrix, want, 5, 0), 0); /* 3 (2 P) - P */
    }
    clv_plan_destroy(&plan);
    ref_free(&A);
    ref_free(&B);
    ref_free(&C);
    return !refused;
}

/* Everything but the layouts by a fixed seed; shapes in turn. */
static problem some_problem(int number, uint64_t *state)
{
    problem p = {.shape = number % SHAPES,
                 .op_a = (clv_op)(number & 1),
                 .op_b = (clv_op)(number >> 1 & 1),
                 .dtype = check_random_below(state, 2) ? CLV_F64 : CLV_F32};
    bool units = check_random_below(state, 3) == 0;
    for (int i = 0; i < 6; i++) p.units[i] = units ? check_random_below(state, 4) : 0;
    return p;
}

static void one_axis_all_layouts_and_ops(void)
{
    clv_grid *grid = open_grid(NULL);
    clv_layout layouts[REF_LAYOUTS];
    uint64_t state = 1;
    ref_all_layouts(1, layouts);
    for (int code = 0; code < 4 * 64; code++) {
        problem p = some_problem(code + code / SHAPES, &state);
        p.op_a = (clv_op)(code & 1);
        p.op_b = (clv_op)(code >> 1 & 1);
        p.a = layouts[code >> 2 & 3];
        p.b = layouts[code >> 4 & 3];
        p.c = layouts[code >> 6 & 3];
        check_product(grid, &p);
    }
    clv_grid_destroy(&grid);
}

static void random_layouts(const char *text, int count, uint64_t seed)
{
    if (!text) return;
    clv_grid *grid = open_grid(text);
    for (int number = 0; number < count; number++) {
        problem p = some_problem(number, &seed);
        p.a = ref_random_layout(clv_grid_naxes(grid), &seed);
        p.b = ref_random_layout(clv_grid_naxes(grid), &seed);
        p.c = ref_random_layout(clv_grid_naxes(grid), &seed);
        check_product(grid, &p);
    }
    clv_grid_destroy(&grid);
}
static void two_axes(void)
{
    random_layouts(two_axes_of[check_size()], 100, 2);
}
static void three_axes(void)
{
    random_layouts(three_axes_of[check_size()], 60, 3);
}

/* ScaLAPACK has to take something on every grid, and what it takes has to be right. */
static void against_scalapack(void)
{
    const char *text = two_axes_of[check_size()];
    int taken = 0;
    for (int naxes = 1; naxes <= 2; naxes++) {
        clv_grid *grid = open_grid(naxes == 1 ? NULL : text);
        static const char *const jobs[] = {"RC", "CR", "R=", "=C", "C=", "=R", "=="};
        uint64_t state = 4;
        for (int number = 0; number < 40; number++) {
            problem p = some_problem(number, &state);
            p.backend = CLV_BACKEND_SCALAPACK;
            clv_layout *const out[] = {&p.a, &p.b, &p.c};
            for (int i = 0; i < 3; i++) {
                int pick = number % 5 ? number / 5 : (int)check_random_below(&state, 7);
                *out[i] = ref_layout(naxes, jobs[pick % 7], NULL);
            }
            taken += check_product(grid, &p);
        }
        clv_grid_destroy(&grid);
    }
    check_enter("against ScaLAPACK", check_rank());
    CHECK(taken > 0);
    CHECK(ref_same(taken));
}

/* One matrix in both places: C = A^T A and A A^T. */
static void a_matrix_times_itself(void)
{
    static double A[17 * 7], transposed[7 * 17], want[17 * 17];
    clv_grid *grid = open_grid(NULL);
    clv_layout layouts[REF_LAYOUTS];
    int count = ref_all_layouts(1, layouts);
    ref_whole(17, 7, 1, A);
    for (int e = 0; e < 17 * 7; e++) transposed[e % 7 * 17 + e / 7] = A[e];
    for (int i = 0; i < count; i++)
        for (int outer = 0; outer < 2; outer++) {
            int64_t n = outer ? 17 : 7;
            ref_matrix a = ref_wrap(grid, (clv_spec){17, 7, 0, 0, CLV_F64, layouts[i]}, 0);
            ref_matrix c = ref_wrap(grid, (clv_spec){n, n, 0, 0, CLV_F64, layouts[1]}, 0);
            clv_plan *plan = NULL;
            clv_op left = outer ? CLV_N : CLV_T, right = outer ? CLV_T : CLV_N;
            ref_fill(a.matrix, 1, false);
            ref_product(n, n, 24 - n, outer ? A : transposed, outer ? transposed : A, want);
            CHECK_OK(clv_plan_gemm(left, a.matrix, right, a.matrix, c.matrix, NULL, &plan));
            CHECK_OK(clv_execute_gemm(plan, 1, a.matrix, a.matrix, 0, c.matrix));
            CHECK_INT(ref_wrong(c.matrix, want, 1, 0), 0);
            clv_plan_destroy(&plan);
            ref_free(&a);
            ref_free(&c);
        }
    clv_grid_destroy(&grid);
}

/* The whole of a matrix of normal numbers. */
static void draw(clv_grid *grid, clv_spec spec, uint64_t stream, double *whole)
{
    clv_matrix *matrix = NULL;
    spec.layout = (clv_layout){0};
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    CHECK_OK(clv_matrix_fill_normal(matrix, 1, stream, 0, 1));
    clv_block b = clv_matrix_block(matrix);
    for (int64_t e = 0; e < spec.m * spec.n; e++)
        whole[e] = clvi_get(spec.dtype, b.data, e / spec.n * b.ld + e % spec.n);
    clv_matrix_destroy(&matrix);
}

static void normal_numbers(void)
{
    static double whole_a[ELEMENTS], whole_b[ELEMENTS], want[ELEMENTS];
    clv_grid *grid = open_grid(two_axes_of[check_size()]);
    uint64_t state = 5;
    for (int round = 0; round < 8; round++) {
        clv_dtype dtype = round % 2 ? CLV_F64 : CLV_F32;
        clv_spec a = {65, 127, 0, 0, dtype, ref_random_layout(2, &state)};
        clv_spec b = {127, 33, 0, 0, dtype, ref_random_layout(2, &state)};
        clv_spec c = {65, 33, 0, 0, dtype, ref_random_layout(2, &state)};
        ref_matrix A = ref_wrap(grid, a, 0), B = ref_wrap(grid, b, 0), C = ref_wrap(grid, c, 0);
        clv_plan *plan = NULL;
        CHECK_OK(clv_matrix_fill_normal(A.matrix, 1, 1, 0, 1));
        CHECK_OK(clv_matrix_fill_normal(B.matrix, 1, 2, 0, 1));
        draw(grid, a, 1, whole_a);
        draw(grid, b, 2, whole_b);
        ref_product(65, 33, 127, whole_a, whole_b, want);
        CHECK_OK(clv_plan_gemm(CLV_N, A.matrix, CLV_N, B.matrix, C.matrix, NULL, &plan));
        CHECK_OK(clv_execute_gemm(plan, 1, A.matrix, B.matrix, 0, C.matrix));
        CHECK_INT(ref_wrong(C.matrix, want, 1, dtype == CLV_F64 ? 1e-12 : 1e-4), 0);
        clv_plan_destroy(&plan);
        ref_free(&A);
        ref_free(&B);
        ref_free(&C);
    }
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"one axis, all layouts and ops", one_axis_all_layouts_and_ops},
    {"two axes", two_axes},
    {"three axes", three_axes},
    {"against ScaLAPACK", against_scalapack},
    {"a matrix times itself", a_matrix_times_itself},
    {"normal numbers", normal_numbers},
    {0},
};
