/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 06_low_rank.c: a trained layer compressed to two thin products.
 *
 * RANKS: 1 2 4
 *
 * Y = X W learns, from noisy examples, a map of few dimensions: W[in,out] then has few singular
 * values that matter. W = U diag(s) Vt, and of all matrices of rank r the first r columns of
 * U diag(s) times the first r rows of Vt are the nearest to W, off by exactly
 * sqrt(sum_{i >= r} s[i]^2): Y = (X U_r) Vt_r takes r (in + out) parameters instead of in out.
 *
 * W lies sharded, and clv_svd takes and gives matrices in any layouts. U is asked for whole rows,
 * Vt for whole columns: then their first r columns and rows are parts of the blocks in memory, and
 * the thin matrices are made around them without a copy.
 */
#include <cleave.h>
#include <math.h>
#include <stdio.h>

#define TRY(call)                                   \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)
#define CHECK(condition) \
    if (!(condition)) wrong += printf("line %d is wrong: %s\n", __LINE__, #condition)
static int wrong;

enum { EXAMPLES = 96, IN = 48, OUT = 32, INNER = 4, STEPS = 150 };

static clv_status make(clv_grid *grid, int64_t m, int64_t n, const char *layout, clv_matrix **out)
{
    clv_spec spec = {.m = m, .n = n, .dtype = CLV_F64};
    clv_status status = clv_layout_parse(grid, layout, &spec.layout);
    return status == CLV_OK ? clv_matrix_create(grid, spec, out) : status;
}

static double *at(clv_block b, int64_t i, int64_t j)
{
    return (double *)b.data + i * b.ld + j;
}

/* C := A B + beta C, planned for this once. */
static clv_status multiply(const clv_matrix *A, const clv_matrix *B, double beta, clv_matrix *C)
{
    clv_plan *plan = NULL;
    clv_status status = clv_plan_gemm(CLV_N, A, CLV_N, B, C, NULL, &plan);
    if (status == CLV_OK) status = clv_execute_gemm(plan, 1, A, B, beta, C);
    clv_plan_destroy(&plan);
    return status;
}

/* dY = Y - T, of matrices that every axis shards, and the sum of its squares. */
static clv_status difference(clv_grid *grid, clv_matrix *Y, clv_matrix *T, clv_matrix *dY,
                             double *squares)
{
    clv_block y = clv_matrix_block(Y), t = clv_matrix_block(T), d = clv_matrix_block(dY);
    *squares = 0;
    for (int64_t i = 0; i < y.m; i++)
        for (int64_t j = 0; j < y.n; j++) {
            *at(d, i, j) = *at(y, i, j) - *at(t, i, j);
            *squares += *at(d, i, j) * *at(d, i, j);
        }
    return clv_grid_reduce(grid, CLV_SUM, 1, squares);
}

/* T := X A B + noise: the examples' answers, from a map through INNER dimensions. */
static clv_status answers(clv_grid *grid, clv_matrix *X, clv_matrix *T)
{
    clv_status status;
    clv_matrix *A = NULL, *B = NULL, *XA = NULL;
    TRY(make(grid, IN, INNER, "-|-", &A));
    TRY(make(grid, INNER, OUT, "-|-", &B));
    TRY(make(grid, EXAMPLES, INNER, "col|-", &XA));
    TRY(clv_matrix_fill_normal(A, 1, 1, 0, 0.3));
    TRY(clv_matrix_fill_normal(B, 1, 2, 0, 0.3));
    TRY(clv_matrix_fill_normal(T, 1, 3, 0, 0.02)); /* the noise */
    TRY(multiply(X, A, 0, XA));
    TRY(multiply(XA, B, 1, T));
done:
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_matrix_destroy(&XA);
    return status;
}

/* Trains fc.weight on X and T. */
static clv_status train(clv_grid *grid, clv_params *params, clv_layer *fc, clv_matrix *X,
                        clv_matrix *T)
{
    clv_status status;
    clv_matrix *Y = NULL, *dY = NULL;
    clv_optimizer *optimizer = NULL;
    double squares = 0;
    TRY(make(grid, EXAMPLES, OUT, "-|col", &Y));
    TRY(make(grid, EXAMPLES, OUT, "-|col", &dY));
    TRY(clv_optimizer_create(params, &(clv_optimizer_config){.kind = CLV_ADAMW}, &optimizer));
    for (int step = 1; step <= STEPS; step++) {
        TRY(clv_layer_forward(fc, X, Y));
        TRY(difference(grid, Y, T, dY, &squares));
        clv_params_zero_grad(params);
        TRY(clv_layer_backward(fc, dY, NULL));
        TRY(clv_optimizer_step(optimizer, 0.02, step, NULL));
    }
    if (clv_grid_rank(grid) == 0)
        printf("trained: mean square error %.6f\n", squares / (EXAMPLES * OUT));
done:
    clv_optimizer_destroy(&optimizer);
    clv_matrix_destroy(&Y);
    clv_matrix_destroy(&dY);
    return status;
}

/* W - (U_r diag(s)) Vt_r measured, against what the singular values say. */
static clv_status compress(clv_grid *grid, const clv_matrix *W, clv_matrix *U, const double s[],
                           clv_matrix *Vt, int r)
{
    clv_status status;
    clv_matrix *left = NULL, *right = NULL, *R = NULL, *near = NULL;
    clv_spec u = clv_matrix_spec(U), vt = clv_matrix_spec(Vt);
    double off = 0, whole = 0, expected = 0;
    u.n = vt.m = r;
    /* The first r columns of U's rows, and the first r rows of Vt, where they lie. */
    TRY(clv_matrix_wrap(grid, u, clv_matrix_block(U).data, clv_matrix_block(U).ld, &left));
    TRY(clv_matrix_wrap(grid, vt, clv_matrix_block(Vt).data, clv_matrix_block(Vt).ld, &right));
    TRY(make(grid, IN, OUT, "-|col", &near));
    TRY(make(grid, IN, OUT, "-|col", &R));
    TRY(clv_move(W, R));
    TRY(multiply(left, right, 0, near));
    TRY(difference(grid, near, R, R, &off));
    for (int i = 0; i < OUT; i++) {
        whole += s[i] * s[i];
        if (i >= r) expected += s[i] * s[i];
    }
    CHECK(fabs(sqrt(off) - sqrt(expected)) <= 1e-10 * sqrt(whole));
    if (r == INNER) CHECK(off < 0.03 * whole); /* what was learned has no more dimensions */
    if (clv_grid_rank(grid) == 0)
        printf("rank %2d: error %5.2f %%, %4d parameters instead of %d\n", r,
               100 * sqrt(off / whole), r * (IN + OUT), IN * OUT);
done:
    clv_matrix_destroy(&left);
    clv_matrix_destroy(&right);
    clv_matrix_destroy(&near);
    clv_matrix_destroy(&R);
    return status;
}

/* The layer with two thin products in its weight's place. */
static clv_status replace(clv_grid *grid, clv_matrix *X, clv_matrix *T, clv_matrix *U,
                          clv_matrix *Vt)
{
    clv_status status;
    clv_matrix *left = NULL, *right = NULL, *XU = NULL, *Y = NULL;
    clv_spec u = clv_matrix_spec(U), vt = clv_matrix_spec(Vt);
    double squares = 0;
    u.n = vt.m = INNER;
    TRY(clv_matrix_wrap(grid, u, clv_matrix_block(U).data, clv_matrix_block(U).ld, &left));
    TRY(clv_matrix_wrap(grid, vt, clv_matrix_block(Vt).data, clv_matrix_block(Vt).ld, &right));
    TRY(make(grid, EXAMPLES, INNER, "-|-", &XU));
    TRY(make(grid, EXAMPLES, OUT, "-|col", &Y));
    TRY(multiply(X, left, 0, XU));
    TRY(multiply(XU, right, 0, Y));
    TRY(difference(grid, Y, T, Y, &squares));
    CHECK(squares / (EXAMPLES * OUT) < 0.01);
    if (clv_grid_rank(grid) == 0)
        printf("compressed: mean square error %.6f\n", squares / (EXAMPLES * OUT));
done:
    clv_matrix_destroy(&left);
    clv_matrix_destroy(&right);
    clv_matrix_destroy(&XU);
    clv_matrix_destroy(&Y);
    return status;
}

static clv_status lesson(clv_grid *grid)
{
    static const int ranks[] = {1, 2, INNER, 8, 16};
    clv_status status;
    clv_params *params = NULL;
    clv_layer *fc = NULL;
    clv_matrix *X = NULL, *T = NULL, *U = NULL, *Vt = NULL;
    double s[OUT];
    clv_linear_config linear = {.x = {EXAMPLES, IN, .dtype = CLV_F64},
                                .w = {IN, OUT, .dtype = CLV_F64},
                                .y = {EXAMPLES, OUT, .dtype = CLV_F64}};
    TRY(clv_layout_parse(grid, "-|col", &linear.w.layout)); /* column-parallel */
    TRY(clv_layout_parse(grid, "-|col", &linear.y.layout));
    TRY(clv_params_create(grid, &params));
    TRY(clv_linear_create(params, "fc", &linear, &fc));
    TRY(clv_params_init(params, 1));
    TRY(make(grid, EXAMPLES, IN, "-|-", &X));
    TRY(make(grid, EXAMPLES, OUT, "-|col", &T));
    TRY(clv_matrix_fill_normal(X, 1, 4, 0, 1));
    TRY(answers(grid, X, T));
    TRY(train(grid, params, fc, X, T));

    TRY(make(grid, IN, OUT, "col|-", &U));
    TRY(make(grid, OUT, OUT, "-|col", &Vt));
    TRY(clv_svd(clv_params_find(params, "fc.weight")->value, U, s, Vt));
    clv_block u = clv_matrix_block(U);
    for (int64_t i = 0; i < u.m; i++)
        for (int64_t j = 0; j < u.n; j++) *at(u, i, j) *= s[j]; /* U := U diag(s) */
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
        TRY(compress(grid, clv_params_find(params, "fc.weight")->value, U, s, Vt, ranks[i]));
    TRY(replace(grid, X, T, U, Vt));
done:
    clv_layer_destroy(&fc);
    clv_params_destroy(&params);
    clv_matrix **const made[] = {&X, &T, &U, &Vt};
    for (int i = 0; i < 4; i++) clv_matrix_destroy(made[i]);
    return status;
}

int main(int argc, char **argv)
{
    clv_status status;
    clv_grid *grid = NULL;
    MPI_Init(&argc, &argv);
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid)); /* all on the axis "col" */
    TRY(lesson(grid));
    if (clv_grid_rank(grid) == 0 && !wrong) printf("DONE\n");
done:
    if (status != CLV_OK) fprintf(stderr, "%s: %s\n", argv[0], clv_last_error());
    clv_grid_destroy(&grid);
    MPI_Finalize();
    return status != CLV_OK || wrong;
}
