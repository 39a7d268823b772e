/* SPDX-License-Identifier: BSD-3-Clause
 *
 * reproducible.c: with leaves, products and moves have the same bits on every grid: those of one
 * process. Random extents, units, layouts, ops and factors; not a bit may differ.
 *
 * RANKS: 1 2 4 8
 */
#include "../reference.h"

enum { CASES = 200, LARGEST = 300 };

static const char *const grids_of[9][4] = {
    [1] = {"a=1", "a=1", "a=1,b=1", "a=1"},
    [2] = {"a=2", "a=2,b=1", "a=1,b=2", "a=2"},
    [4] = {"a=4", "a=2,b=2", "a=1,b=4", "a=2,b=1,c=2"},
    [8] = {"a=8", "a=2,b=4", "a=4,b=2", "a=2,b=2,c=2"},
};

static clv_grid *open_grid(MPI_Comm comm, const char *text, int leaves)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(comm, text, &grid));
    CHECK_OK(clv_grid_set_leaves(grid, leaves));
    return grid;
}

typedef struct {
    int64_t m, n, k, units[3]; /* of m, n, k */
    clv_op op_a, op_b;
    clv_dtype dtype;
    double alpha, beta;
    clv_layout layouts[3];
} problem;

/* Small, prime, empty and a few hundred. */
static int64_t draw_extent(uint64_t *state)
{
    static const int64_t some[] = {0, 1, 2, 7, 17, 31, 127, 128, 257};
    if (check_random_below(state, 3) == 0) return some[check_random_below(state, 9)];
    return 1 + check_random_below(state, LARGEST);
}

static clv_layout draw_layout(int naxes, bool sums, uint64_t *state)
{
    clv_layout layout = ref_random_layout(naxes, state);
    if (!sums) layout.sum = 0;
    return layout;
}

static problem draw_problem(int naxes, uint64_t *state)
{
    static const double factors[] = {1, 0, -1, 0.3, 1.7};
    problem p = {.m = draw_extent(state), .n = draw_extent(state)};
    p.k = draw_extent(state) * (1 + 8 * (check_random_below(state, 4) == 0));
    p.op_a = (clv_op)check_random_below(state, 2);
    p.op_b = (clv_op)check_random_below(state, 2);
    p.dtype = check_random_below(state, 2) ? CLV_F64 : CLV_F32;
    p.alpha = factors[check_random_below(state, 5)];
    p.beta = factors[check_random_below(state, 5)];
    for (int i = 0; i < 3; i++) {
        p.units[i] = check_random_below(state, 3) ? 0 : 1 + check_random_below(state, 9);
        p.layouts[i] = draw_layout(naxes, i < 2 || p.beta == 0, state);
    }
    if (p.layouts[2].sum) p.alpha = 1; /* terms are scaled before others add them */
    return p;
}

static clv_spec spec_of(const problem *p, int operand)
{
    static const int dims[3][2] = {{0, 2}, {2, 1}, {0, 1}};
    int64_t extents[3] = {p->m, p->n, p->k};
    bool trans = operand < 2 && (operand == 0 ? p->op_a : p->op_b) == CLV_T;
    int rows = dims[operand][trans], cols = dims[operand][!trans];
    return (clv_spec){extents[rows],  extents[cols], p->units[rows],
                      p->units[cols], p->dtype,      p->layouts[operand]};
}

static clv_matrix *draw_matrix(clv_grid *grid, clv_spec spec, uint64_t stream)
{
    clv_matrix *matrix = NULL;
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    CHECK_OK(clv_matrix_fill_normal(matrix, 7, stream, 0, 1));
    return matrix;
}

/* C without pending sums, on this grid. */
static clv_matrix *product_on(clv_grid *grid, const problem *p)
{
    clv_matrix *A = draw_matrix(grid, spec_of(p, 0), 0), *B = draw_matrix(grid, spec_of(p, 1), 1);
    clv_matrix *C = draw_matrix(grid, spec_of(p, 2), 2), *whole = NULL;
    clv_plan *plan = NULL;
    if (CHECK_OK(clv_plan_gemm(p->op_a, A, p->op_b, B, C, NULL, &plan)))
        CHECK_OK(clv_execute_gemm(plan, p->alpha, A, B, p->beta, C));
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_spec spec = spec_of(p, 2);
    if (!spec.layout.sum) return C;
    spec.layout.sum = 0;
    CHECK_OK(clv_matrix_create(grid, spec, &whole));
    CHECK_OK(clv_move(C, whole));
    clv_matrix_destroy(&C);
    return whole;
}

/* Elements of my block whose bits are not those of the whole matrix. */
static int64_t differing(const clv_matrix *matrix, const clv_matrix *whole)
{
    clv_block b = clv_matrix_block(matrix), w = clv_matrix_block(whole);
    clv_dtype dtype = clv_matrix_spec(matrix).dtype;
    size_t size = clv_dtype_size(dtype);
    int64_t wrong = 0;
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            wrong += memcmp((char *)b.data + (size_t)(i * b.ld + j) * size,
                            (char *)w.data + (size_t)((b.row0 + i) * w.ld + b.col0 + j) * size,
                            size) != 0;
    return wrong;
}

static void check_problem(clv_grid *grid, clv_grid *self, const problem *p)
{
    problem alone = *p;
    for (int i = 0; i < 3; i++) alone.layouts[i] = (clv_layout){0};
    clv_matrix *C = product_on(grid, p), *whole = product_on(self, &alone);
    if (!CHECK_INT(differing(C, whole), 0)) {
        char text[3][96];
        for (int i = 0; i < 3; i++) clv_layout_format(grid, p->layouts[i], text[i], sizeof text[i]);
        fprintf(stderr, "  %lld x %lld x %lld %s %c%c [%s] [%s] = [%s], alpha %g, beta %g\n",
                (long long)p->m, (long long)p->n, (long long)p->k, clv_dtype_name(p->dtype),
                "NT"[p->op_a], "NT"[p->op_b], text[0], text[1], text[2], p -> alpha, p -> beta);
    }
    clv_matrix_destroy(&C);
    clv_matrix_destroy(&whole);
}

static void products(void)
{
    uint64_t state = 11;
    for (int g = 0; g < 4; g++) {
        int leaves = g == 3 ? 16 : 8;
        clv_grid *grid = open_grid(MPI_COMM_WORLD, grids_of[check_size()][g], leaves);
        clv_grid *self = open_grid(MPI_COMM_SELF, NULL, leaves);
        for (int i = 0; i < CASES / 4; i++) {
            problem p = draw_problem(clv_grid_naxes(grid), &state);
            check_problem(grid, self, &p);
        }
        clv_grid_destroy(&grid);
        clv_grid_destroy(&self);
    }
}

/* Leaves are refused where they cannot hold, and once taken they stay. */
static void what_is_refused(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_INT(clv_grid_leaves(grid), 0);
    CHECK_STATUS(clv_grid_set_leaves(grid, 3), CLV_EARG);
    CHECK_STATUS(clv_grid_set_leaves(grid, 128), CLV_EARG);
    CHECK_STATUS(clv_grid_set_leaves(grid, -8), CLV_EARG);
    CHECK_OK(clv_grid_set_leaves(grid, CLV_LEAVES));
    CHECK_INT(clv_grid_leaves(grid), CLV_LEAVES);
    clv_grid_destroy(&grid);
}

/* ScaLAPACK adds in an order of its own: no plan of it while sums have leaves. */
static void other_backends_are_refused(void)
{
    clv_grid *grid = open_grid(MPI_COMM_WORLD, NULL, CLV_LEAVES);
    clv_plan_options options = {.backend = CLV_BACKEND_SCALAPACK};
    clv_spec spec = {.m = 8, .n = 8, .dtype = CLV_F32};
    CHECK_OK(clv_layout_parse(grid, "-|col", &spec.layout));
    clv_matrix *A = draw_matrix(grid, spec, 0), *C = draw_matrix(grid, spec, 1);
    clv_plan *plan = NULL;
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, A, C, &options, &plan), CLV_EUNSUPPORTED);
    CHECK(plan == NULL && strstr(clv_last_error(), "in reproducible mode"));
    CHECK_OK(clv_grid_set_leaves(grid, 0));
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, A, C, &options, &plan));
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&C);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"products", products},
    {"what is refused", what_is_refused},
    {"other backends are refused", other_backends_are_refused},
    {0},
};
