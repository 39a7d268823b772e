/* SPDX-License-Identifier: BSD-3-Clause
 *
 * factor.c: Cholesky, QR, symmetric eigenvalues and singular values of matrices in any layouts:
 * the factors multiply to A, are orthogonal or triangular, and have the values they must have; what
 * cannot be factorised or counted is refused on every process alike.
 *
 * Every process gathers what it checks and multiplies by plain loops. Tolerances are a small
 * multiple of n eps, against matrices whose elements are of order 1.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "../reference.h"
#include "polite.h"

#include <float.h>

static const char *const grids[9] = {NULL,      "a=1,b=1", "a=2,b=1", "a=1,b=3",    "a=2,b=2",
                                     "a=5,b=1", "a=3,b=2", "a=7,b=1", "a=2,b=2,c=2"};
enum { LARGEST = 64, ELEMENTS = LARGEST * LARGEST };

static clv_grid *open_grid(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, grids[check_size()], &grid));
    return grid;
}

static double tolerance(clv_dtype dtype, int64_t n)
{
    return (dtype == CLV_F32 ? FLT_EPSILON : DBL_EPSILON) * 8 * (double)(n + 4);
}

static void enter(const char *what, const clv_grid *grid, clv_spec spec)
{
    static char text[160];
    char of[96];
    snprintf(text, sizeof text, "%s of %s", what, clvi_spec_format(grid, spec, of, sizeof of));
    check_enter(text, check_rank());
}

/* ---- Whole matrices --------------------------------------------------------------- */

static clv_matrix *make(clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype, clv_layout layout)
{
    clv_matrix *matrix = NULL;
    clv_spec spec = {.m = m, .n = n, .dtype = dtype, .layout = layout};
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    return matrix;
}

/* My block of a whole matrix; a pending sum has three quarters of it in one place and a quarter in
 * another. */
static void put(clv_matrix *matrix, const double *whole)
{
    clv_grid *grid = clv_matrix_grid(matrix);
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block b = clv_matrix_block(matrix);
    int S = ref_set_size(grid, spec.layout.sum), s = ref_set_index(grid, spec.layout.sum);
    double part = S == 1 ? 1 : s == 0 ? 0.75 : s == S - 1 ? 0.25 : 0;
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            clvi_set(spec.dtype, b.data, i * b.ld + j,
                     part * whole[(b.row0 + i) * spec.n + b.col0 + j]);
}

static void take(const clv_matrix *matrix, double *whole)
{
    clv_spec spec = clv_matrix_spec(matrix);
    clv_matrix *copies = make(clv_matrix_grid(matrix), spec.m, spec.n, spec.dtype, (clv_layout){0});
    CHECK_OK(clv_move(matrix, copies));
    clv_block b = clv_matrix_block(copies);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            whole[i * b.n + j] = clvi_get(spec.dtype, b.data, i * b.ld + j);
    clv_matrix_destroy(&copies);
}

static void draw(int64_t count, uint64_t seed, double *x)
{
    for (int64_t i = 0; i < count; i++) x[i] = (double)check_random_below(&seed, 2001) / 1000 - 1;
}

/* B[n,m] = A[m,n]^T. */
static void transpose(int64_t m, int64_t n, const double *A, double *B)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) B[j * m + i] = A[i * n + j];
}

/* The largest difference of A[m,k] B[k,n] and C[m,n]; NULL: the identity. */
static double residual(int64_t m, int64_t n, int64_t k, const double *A, const double *B,
                       const double *C)
{
    static double product[ELEMENTS];
    double largest = 0;
    ref_product(m, n, k, A, B, product);
    for (int64_t e = 0; e < m * n; e++)
        largest = fmax(largest, fabs(product[e] - (C ? C[e] : e / n == e % n)));
    return largest;
}

/* ||1 - A[m,n]^T A|| elementwise. */
static double skewness(int64_t m, int64_t n, const double *A)
{
    static double T[ELEMENTS];
    transpose(m, n, A, T);
    return residual(n, n, m, T, A, NULL);
}

/* The values as a matrix of the dtype has them, for references. */
static void round_to(clv_dtype dtype, int64_t count, double *x)
{
    for (int64_t i = 0; i < count; i++)
        if (dtype == CLV_F32) x[i] = (float)x[i];
}

/* X := H(u) X or X H(u), H(u) = 1 - 2 u u^T / u^T u: orthogonal. */
static void reflect(int64_t m, int64_t n, double *X, bool left, uint64_t seed)
{
    double u[LARGEST], norm = 0;
    int64_t length = left ? m : n, others = left ? n : m, along = left ? n : 1,
            across = left ? 1 : n;
    draw(length, seed, u);
    for (int64_t i = 0; i < length; i++) norm += u[i] * u[i];
    for (int64_t o = 0; o < others && norm > 0; o++) {
        double dot = 0;
        for (int64_t i = 0; i < length; i++) dot += u[i] * X[i * along + o * across];
        for (int64_t i = 0; i < length; i++) X[i * along + o * across] -= 2 * dot / norm * u[i];
    }
}

/* A[m,n] with these singular values (or, with one seed and m == n, eigenvalues). */
static void with_values(int64_t m, int64_t n, const double *values, uint64_t left, uint64_t right,
                        double *A)
{
    memset(A, 0, ELEMENTS * sizeof *A);
    for (int64_t i = 0; i < m && i < n; i++) A[i * n + i] = values[i];
    reflect(m, n, A, true, left);
    reflect(m, n, A, false, right);
}

/* ---- Cholesky ------------------------------------------------------------------------ */

static double A0[ELEMENTS], A1[ELEMENTS], B0[ELEMENTS], C0[ELEMENTS];

static const int64_t orders[] = {1, 2, 7, 8, 9, 16, 17, 33, 60};
enum { ORDERS = sizeof orders / sizeof *orders };

/* Positive definite: X X^T / n + 1, of a dtype's values. */
static void definite(int64_t n, clv_dtype dtype, uint64_t seed, double *A)
{
    draw(n * n, seed, B0);
    transpose(n, n, B0, C0);
    ref_product(n, n, n, B0, C0, A);
    for (int64_t e = 0; e < n * n; e++) A[e] = A[e] / (double)n + (e / n == e % n);
    round_to(dtype, n * n, A);
}

static void check_cholesky(clv_grid *grid, int64_t n, clv_dtype dtype, clv_layout a, clv_layout l,
                           bool in_place)
{
    int64_t upper = 0;
    clv_matrix *A = make(grid, n, n, dtype, a), *L = in_place ? A : make(grid, n, n, dtype, l);
    enter("Cholesky", grid, clv_matrix_spec(A));
    definite(n, dtype, (uint64_t)n, A0);
    memcpy(A1, A0, sizeof A1);
    for (int64_t e = 0; e < n * n; e++)
        if (e % n > e / n && !a.sum) A1[e] = NAN; /* nobody may look there */
    put(A, A1);
    if (!in_place) ref_fill_with(L, NAN);
    if (CHECK_OK(clv_cholesky(A, L))) {
        take(L, B0);
        transpose(n, n, B0, C0);
        CHECK_NEAR(residual(n, n, n, B0, C0, A0), 0, tolerance(dtype, n));
        for (int64_t e = 0; e < n * n; e++) upper += e % n > e / n && B0[e] != 0;
        CHECK_INT(upper, 0);
    }
    clv_matrix_destroy(&A);
    if (!in_place) clv_matrix_destroy(&L);
}

static void cholesky(void)
{
    clv_grid *grid = open_grid();
    uint64_t state = 1;
    int naxes = clv_grid_naxes(grid);
    for (int i = 0; i < ORDERS; i++)
        check_cholesky(grid, orders[i], i % 2 ? CLV_F32 : CLV_F64, ref_random_layout(naxes, &state),
                       ref_random_layout(naxes, &state), i % 3 == 2);
    check_cholesky(grid, 60, CLV_F32, (clv_layout){0}, ref_layout(2, "RC", NULL), false);
    check_cholesky(grid, 41, CLV_F64, ref_layout(2, "+R", NULL), ref_layout(2, "C+", NULL), false);
    clv_grid_destroy(&grid);
}

/* The first minor that is not positive is named, the same everywhere, and L left as it was. */
static void indefinite(void)
{
    clv_grid *grid = open_grid();
    static const int64_t minors[] = {1, 2, 9, 30, 59, 60};
    for (int i = 0; i < 6; i++)
        for (int zero = 0; zero < 2; zero++) {
            char name[32];
            int64_t n = i == 1 ? 2 : 60, order = minors[i];
            clv_matrix *A = make(grid, n, n, CLV_F64, ref_layout(2, "RC", NULL));
            clv_matrix *L = make(grid, n, n, CLV_F64, (clv_layout){0});
            enter("Cholesky", grid, clv_matrix_spec(A));
            for (int64_t e = 0; e < n * n; e++)
                A0[e] = e / n != e % n ? 0 : e / n == order - 1 ? zero - 1.0 : 1;
            put(A, A0);
            ref_fill_with(L, 5);
            CHECK_STATUS(clv_cholesky(A, L), CLV_ENUMERIC);
            snprintf(name, sizeof name, "order %lld ", (long long)order);
            if (!CHECK(strstr(clv_last_error(), name))) fprintf(stderr, "%s\n", clv_last_error());
            take(L, B0);
            CHECK(B0[0] == 5 && B0[n * n - 1] == 5);
            clv_matrix_destroy(&A);
            clv_matrix_destroy(&L);
        }
    clv_grid_destroy(&grid);
}

/* ---- QR and SVD ---------------------------------------------------------------------- */

static const struct {
    int64_t m, n;
} shapes[] = {{1, 1},   {1, 2},   {2, 1},   {1, 40},  {40, 1},  {9, 8},  {8, 9},
              {17, 33}, {33, 17}, {60, 60}, {60, 24}, {24, 60}, {64, 9}, {10, 64}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void check_qr(clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype,
                     const clv_layout layouts[3])
{
    int64_t k = m < n ? m : n, lower = 0;
    clv_matrix *A = make(grid, m, n, dtype, layouts[0]);
    clv_matrix *Q = make(grid, m, k, dtype, layouts[1]), *R = make(grid, k, n, dtype, layouts[2]);
    enter("QR", grid, clv_matrix_spec(A));
    draw(m * n, (uint64_t)(m * 100 + n), A0);
    round_to(dtype, m * n, A0);
    put(A, A0);
    ref_fill_with(Q, NAN);
    ref_fill_with(R, NAN);
    if (CHECK_OK(clv_qr(A, Q, R))) {
        take(Q, B0);
        take(R, C0);
        CHECK_NEAR(residual(m, n, k, B0, C0, A0), 0, tolerance(dtype, m + n));
        CHECK_NEAR(skewness(m, k, B0), 0, tolerance(dtype, m + n));
        for (int64_t e = 0; e < k * n; e++) lower += e % n < e / n && C0[e] != 0;
        CHECK_INT(lower, 0);
        take(A, A1);
        CHECK_NEAR(residual(m, n, k, B0, C0, A1), 0, tolerance(dtype, m + n)); /* A as it was */
    }
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&Q);
    clv_matrix_destroy(&R);
}

/* Even so ScaLAPACK is slow with many ranks on few cores: each number of them tries others. */
static bool left_out(int number)
{
    return check_size() > 4 && (number + check_size() / 2) % 4 != 0;
}

static void qr(void)
{
    clv_grid *grid = open_grid();
    uint64_t state = 2;
    for (int i = 0; i < SHAPES; i++) {
        clv_layout layouts[3];
        for (int l = 0; l < 3; l++) layouts[l] = ref_random_layout(clv_grid_naxes(grid), &state);
        check_qr(grid, shapes[i].m, shapes[i].n, i % 2 ? CLV_F32 : CLV_F64, layouts);
    }
    clv_grid_destroy(&grid);
}

/* A = U diag(s) Vt, and s is `want` (NULL: not known). */
static void check_svd(clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype,
                      const clv_layout layouts[3], const double *want)
{
    int64_t k = m < n ? m : n, unordered = 0;
    double s[LARGEST + 1], tol = tolerance(dtype, m + n);
    clv_matrix *A = make(grid, m, n, dtype, layouts[0]);
    clv_matrix *U = make(grid, m, k, dtype, layouts[1]), *Vt = make(grid, k, n, dtype, layouts[2]);
    enter("SVD", grid, clv_matrix_spec(A));
    round_to(dtype, m * n, A0);
    put(A, A0);
    ref_fill_with(U, NAN);
    ref_fill_with(Vt, NAN);
    s[k] = 0;
    if (CHECK_OK(clv_svd(A, U, s, Vt))) {
        take(U, B0);
        take(Vt, C0);
        CHECK_NEAR(skewness(m, k, B0), 0, tol);
        transpose(k, n, C0, A1);
        CHECK_NEAR(skewness(n, k, A1), 0, tol);
        for (int64_t e = 0; e < m * k; e++) B0[e] *= s[e % k];
        CHECK_NEAR(residual(m, n, k, B0, C0, A0), 0, tol);
        for (int64_t i = 0; i < k; i++) unordered += !(s[i] >= s[i + 1]);
        CHECK_INT(unordered, 0);
        for (int64_t i = 0; want && i < k; i++) CHECK_NEAR(s[i], want[i], tol);
        double all[LARGEST + 1];
        memcpy(all, s, sizeof all);
        CHECK_OK(clv_grid_broadcast(grid, check_size() - 1, all, (size_t)k * sizeof *all));
        CHECK(memcmp(all, s, (size_t)k * sizeof *all) == 0); /* the same bits everywhere */
    }
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&U);
    clv_matrix_destroy(&Vt);
}

static void svd(void)
{
    clv_grid *grid = open_grid();
    uint64_t state = 3;
    double known[LARGEST];
    for (int i = 0; i < SHAPES; i++)
        for (int kind = 0; kind < 2; kind++) {
            if (left_out(i + kind)) continue;
            int64_t m = shapes[i].m, n = shapes[i].n;
            clv_layout layouts[3];
            for (int l = 0; l < 3; l++)
                layouts[l] = ref_random_layout(clv_grid_naxes(grid), &state);
            /* 2, 2, 1.5, 1.5, 1, 1, ..., 0, 0: pairs, and not of full rank */
            for (int e = 0; e < LARGEST; e++) known[e] = fmax(0, 2 - 0.5 * (double)(e / 2));
            draw(m * n, (uint64_t)(m * 100 + n), A0);
            if (kind) with_values(m, n, known, 5, 6, A0);
            check_svd(grid, m, n, (i + kind) % 2 ? CLV_F32 : CLV_F64, layouts, kind ? known : NULL);
        }
    clv_grid_destroy(&grid);
}

/* ---- Eigenvalues ------------------------------------------------------------------------ */

/* A V = V diag(w), and w is `want`. */
static void check_eigh(clv_grid *grid, int64_t n, clv_dtype dtype, clv_layout a, clv_layout v,
                       const double *want)
{
    double w[LARGEST], tol = tolerance(dtype, 2 * n);
    clv_matrix *A = make(grid, n, n, dtype, a), *V = make(grid, n, n, dtype, v);
    enter("eigenvalues", grid, clv_matrix_spec(A));
    round_to(dtype, n * n, A0);
    memcpy(A1, A0, sizeof A1);
    for (int64_t e = 0; e < n * n; e++)
        if (e % n > e / n) A1[e] = 1e3; /* nobody may look there */
    put(A, A1);
    ref_fill_with(V, NAN);
    if (CHECK_OK(clv_eigh(A, w, V))) {
        take(V, B0);
        CHECK_NEAR(skewness(n, n, B0), 0, tol);
        for (int64_t e = 0; e < n * n; e++) C0[e] = B0[e] * w[e % n];
        CHECK_NEAR(residual(n, n, n, A0, B0, C0), 0, tol);
        for (int64_t i = 0; i < n; i++) CHECK_NEAR(w[i], want[i], tol);
    }
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&V);
}

/* The second difference: eigenvalues 2 - 2 cos(pi i / (n + 1)); clusters; one value alone; none. */
static void eigenvalues(void)
{
    clv_grid *grid = open_grid();
    uint64_t state = 4;
    int naxes = clv_grid_naxes(grid);
    for (int i = 0; i < ORDERS; i++)
        for (int kind = 0; kind < 4; kind++) {
            if (left_out(i + kind)) continue;
            int64_t n = orders[i];
            double want[LARGEST] = {0};
            for (int64_t e = 0; e < n; e++) {
                if (kind == 0) want[e] = 2 - 2 * cos(acos(-1) * (double)(e + 1) / (double)(n + 1));
                if (kind == 1) want[e] = (double)(3 * e / n) - 1; /* -1, 0 and 1 */
                if (kind == 2) want[e] = 1.5;
            }
            with_values(n, n, want, 7, 7, A0);
            for (int64_t e = 0; kind == 0 && e < n * n; e++)
                A0[e] = e / n == e % n ? 2 : e / n - e % n == 1 || e % n - e / n == 1 ? -1 : 0;
            clv_layout a = ref_random_layout(naxes, &state), v = ref_random_layout(naxes, &state);
            check_eigh(grid, n, (i + kind) % 2 ? CLV_F32 : CLV_F64, a, v, want);
        }
    clv_grid_destroy(&grid);
}

/* ---- What is refused ------------------------------------------------------------------------ */

/* Factorisation number f, results in matrices of the right shapes for an m x n A. */
static clv_status factorise(int f, const clv_matrix *A, clv_matrix *X, clv_matrix *Y)
{
    static double values[LARGEST];
    if (f == 0) return clv_cholesky(A, X);
    if (f == 1) return clv_eigh(A, values, X);
    if (f == 2) return clv_qr(A, X, Y);
    return clv_svd(A, X, values, Y);
}

static void empty_matrices(void)
{
    clv_grid *grid = open_grid();
    for (int f = 0; f < 4; f++)
        for (int e = f < 2 ? 2 : 0; e < 3; e++) {
            int64_t m = e == 0 ? 5 : 0, n = e == 1 ? 5 : 0;
            clv_matrix *A = make(grid, m, n, CLV_F64, ref_layout(2, "RC", NULL));
            clv_matrix *X = make(grid, m, 0, CLV_F64, (clv_layout){0});
            clv_matrix *Y = make(grid, 0, n, CLV_F64, (clv_layout){0});
            CHECK_OK(factorise(f, A, X, Y));
            clv_matrix_destroy(&A);
            clv_matrix_destroy(&X);
            clv_matrix_destroy(&Y);
        }
    clv_grid_destroy(&grid);
}

static void shapes_and_types(void)
{
    clv_grid *grid = open_grid(), *other = open_grid();
    clv_layout copies = {0}, split = ref_layout(2, "RC", NULL);
    clv_matrix *square = make(grid, 6, 6, CLV_F64, split), *tall = make(grid, 6, 4, CLV_F64, split);
    clv_matrix *small = make(grid, 4, 4, CLV_F64, copies), *f32 = make(grid, 6, 6, CLV_F32, copies);
    clv_matrix *bf16 = make(grid, 6, 6, CLV_BF16, copies),
               *far = make(other, 6, 6, CLV_F64, copies);
    for (int f = 0; f < 4; f++) {
        CHECK_STATUS(factorise(f, square, tall, square), CLV_ESHAPE);
        CHECK(strstr(clv_last_error(), "6 x 6, found 6 x 4"));
        CHECK_STATUS(factorise(f, square, f32, f32), CLV_EDTYPE);
        CHECK_STATUS(factorise(f, bf16, bf16, bf16), CLV_EDTYPE);
        CHECK_STATUS(factorise(f, square, far, far), CLV_EARG);
        CHECK_STATUS(factorise(f, square, NULL, square), CLV_EARG);
        if (check_size() > 1)
            CHECK_STATUS(factorise(f, check_rank() ? square : small, check_rank() ? square : small,
                                   check_rank() ? square : small),
                         CLV_EMISMATCH);
    }
    CHECK_STATUS(clv_cholesky(tall, tall), CLV_ESHAPE);
    CHECK_STATUS(clv_eigh(tall, (double[6]){0}, tall), CLV_ESHAPE);
    CHECK_STATUS(clv_qr(tall, tall, tall), CLV_ESHAPE); /* R is 4 x 4 */
    clv_matrix **const made[] = {&square, &tall, &small, &f32, &bf16, &far};
    for (int i = 0; i < 6; i++) clv_matrix_destroy(made[i]);
    clv_grid_destroy(&other);
    clv_grid_destroy(&grid);
}

/* One element that is not finite, on any process. */
static void not_finite(void)
{
    clv_grid *grid = open_grid();
    const double bad[] = {NAN, INFINITY, -INFINITY, NAN};
    clv_matrix *A = make(grid, 40, 40, CLV_F32, ref_layout(2, "CR", NULL));
    clv_matrix *X = make(grid, 40, 40, CLV_F32, (clv_layout){0});
    for (int f = 0; f < 4; f++) {
        for (int64_t e = 0; e < 1600; e++) A0[e] = e / 40 == e % 40;
        A0[39 * 40 + 10 * f] = bad[f];
        put(A, A0);
        ref_fill_with(X, 5);
        CHECK_STATUS(factorise(f, A, X, X), CLV_ENUMERIC);
        CHECK(strstr(clv_last_error(), "finite"));
        take(X, B0);
        CHECK(B0[0] == 5);
    }
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&X);
    clv_grid_destroy(&grid);
}

/* Sizes beyond 32 bits are refused before anything is allocated or read. */
static clv_status status_of_size(clv_grid *grid, int f, int64_t m, int64_t n)
{
    static double nothing[1];
    int64_t k = m < n ? m : n, extents[3][2] = {{m, n}, {m, k}, {k, n}};
    clv_matrix *made[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        clv_spec spec = {.m = extents[i][0], .n = extents[i][1], .dtype = CLV_F64};
        CHECK_OK(clv_matrix_wrap(grid, spec, nothing, spec.n, &made[i]));
    }
    int64_t live = clvi_alloc_live();
    clv_status status = factorise(f, made[0], made[1], made[2]);
    CHECK_INT(clvi_alloc_live(), live);
    for (int i = 0; i < 3; i++) clv_matrix_destroy(&made[i]);
    return status;
}

static void limits(void)
{
    clv_grid *grid = open_grid();
    for (int f = 0; f < 4; f++) {
        CHECK_STATUS(status_of_size(grid, f, 1000000, 1000000), CLV_ELIMIT);
        CHECK(strstr(clv_last_error(), "2147483647 elements of a process"));
        CHECK(strstr(clv_last_error(), "1000000 x 1000000"));
    }
    CHECK_STATUS(status_of_size(grid, 2, 3000000000, 1), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "3000000000"));
    CHECK_STATUS(status_of_size(grid, 3, 1, 2147483647), CLV_ELIMIT);
    /* A fits, what is needed beside it does not. */
    int64_t n = (int64_t)sqrt(1.6e9 * check_size());
    CHECK_STATUS(status_of_size(grid, 1, n, n), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "elements of workspace"));
    CHECK_STATUS(status_of_size(grid, 3, n, n), CLV_ELIMIT);
    n = (int64_t)sqrt(0.5e9 * check_size());
    CHECK_STATUS(status_of_size(grid, 3, n, n), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "bytes of a buffer"));
    clv_grid_destroy(&grid);
}

/* ---- Memory that fails on one process only ----------------------------------------------------
 */

static void failing_memory(void)
{
    clv_grid *grid = open_grid();
    clv_matrix *A = make(grid, 20, 20, CLV_F64, ref_layout(2, "+R", NULL));
    clv_matrix *X = make(grid, 20, 20, CLV_F64, ref_layout(2, "RC", NULL));
    clv_matrix *Y = make(grid, 20, 20, CLV_F64, (clv_layout){0});
    definite(20, CLV_F64, 1, A0);
    put(A, A0);
    for (int f = 0; f < 4; f++)
        for (int victim = check_size() - 1; victim >= 0; victim -= check_size() == 2 ? 1 : 8) {
            int64_t live = clvi_alloc_live();
            clv_status status = CLV_ENOMEM;
            int nth = 0;
            while (status != CLV_OK && ++nth < 200) {
                if (check_rank() == victim) clvi_alloc_fail_at(nth);
                status = factorise(f, A, X, Y);
                clvi_alloc_fail_at(0);
                CHECK(status == CLV_OK || status == CLV_ENOMEM);
                CHECK(ref_same(status));
                CHECK_INT(clvi_alloc_live(), live);
            }
            CHECK(status == CLV_OK && nth > 8);
        }
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&X);
    clv_matrix_destroy(&Y);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"Cholesky", cholesky},
    {"indefinite", indefinite},
    {"QR", qr},
    {"SVD", svd},
    {"eigenvalues", eigenvalues},
    {"empty matrices", empty_matrices},
    {"shapes and types", shapes_and_types},
    {"not finite", not_finite},
    {"limits", limits},
    {"failing memory", failing_memory},
    {0},
};
