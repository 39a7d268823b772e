/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack.c: products by ScaLAPACK's p?gemm against a naive reference, what it refuses, and
 * which BLAS it stands on. All values are small integers, so every comparison is exact.
 *
 * RANKS: 1 2 3 4
 */
#include "../check.h"
#include "polite.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const clv_plan_options scalapack = {.backend = CLV_BACKEND_SCALAPACK};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A grid for the layouts below: x processes by the rest. */
static clv_grid *open_grid(int x)
{
    clv_axis axes[] = {{"x", x}, {"y", check_size() / x}};
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create(MPI_COMM_WORLD, 2, axes, &grid));
    return grid;
}

static clv_spec spec_of(const clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype,
                        const char *layout)
{
    clv_spec spec = {.m = m, .n = n, .dtype = dtype};
    CHECK_OK(clv_layout_parse(grid, layout, &spec.layout));
    return spec;
}

/* ---- A naive product ---------------------------------------------------------- */

/* Element (i, j) of the matrix numbered id: -3 ... 3. */
static double value(uint64_t id, int64_t i, int64_t j)
{
    uint64_t state = id * 1000003 + (uint64_t)i * 8191 + (uint64_t)j;
    return (double)check_random_below(&state, 7) - 3;
}

static double get(clv_matrix *matrix, int64_t i, int64_t j)
{
    clv_block b = clv_matrix_block(matrix);
    int64_t at = i * b.ld + j;
    return clv_matrix_spec(matrix).dtype == CLV_F64 ? ((double *)b.data)[at]
                                                    : (double)((float *)b.data)[at];
}

static void set(clv_matrix *matrix, int64_t i, int64_t j, double x)
{
    clv_block b = clv_matrix_block(matrix);
    int64_t at = i * b.ld + j;
    if (clv_matrix_spec(matrix).dtype == CLV_F64)
        ((double *)b.data)[at] = x;
    else
        ((float *)b.data)[at] = (float)x;
}

static void fill(clv_matrix *matrix, uint64_t id)
{
    clv_block b = clv_matrix_block(matrix);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++) set(matrix, i, j, value(id, b.row0 + i, b.col0 + j));
}

typedef struct {
    int64_t m, n, k;
} extents;

/* Elements of this process's block of C that are not alpha op(A) op(B) + beta C0; beta 0 does
 * not read C0. */
static int64_t wrong(clv_matrix *C, extents e, clv_op op_a, clv_op op_b, double alpha, double beta)
{
    clv_block c = clv_matrix_block(C);
    int64_t count = 0;
    double *b = malloc((size_t)(e.k * c.n + 1) * sizeof *b), *a = malloc((size_t)(e.k + 1) * 8);
    for (int64_t l = 0; l < e.k; l++)
        for (int64_t j = 0; j < c.n; j++)
            b[j * e.k + l] = op_b == CLV_T ? value(2, c.col0 + j, l) : value(2, l, c.col0 + j);
    for (int64_t i = 0; i < c.m; i++) {
        for (int64_t l = 0; l < e.k; l++)
            a[l] = op_a == CLV_T ? value(1, l, c.row0 + i) : value(1, c.row0 + i, l);
        for (int64_t j = 0; j < c.n; j++) {
            double sum = 0, before = beta == 0 ? 0 : beta * value(3, c.row0 + i, c.col0 + j);
            for (int64_t l = 0; l < e.k; l++) sum += a[l] * b[j * e.k + l];
            count += get(C, i, j) != alpha * sum + before; /* NaN counts */
        }
    }
    free(a);
    free(b);
    return count;
}

/* ---- What ScaLAPACK can take, found from the blocks themselves -------------------- */

/* Whether every block begins at a multiple of the largest and is as long as that allows. */
static bool is_dealt(const clv_grid *grid, clv_spec spec)
{
    int64_t m = 0, n = 0;
    for (int rank = 0; rank < check_size(); rank++) {
        clv_block b = clv_spec_block(grid, spec, rank);
        if (b.m > m) m = b.m;
        if (b.n > n) n = b.n;
    }
    for (int rank = 0; rank < check_size(); rank++) {
        clv_block b = clv_spec_block(grid, spec, rank);
        if (b.m > 0 && (b.row0 % m || b.m != smaller(m, spec.m - b.row0))) return false;
        if (b.n > 0 && (b.col0 % n || b.n != smaller(n, spec.n - b.col0))) return false;
    }
    return true;
}

static void check_product(clv_grid *grid, const char *layout, clv_dtype dtype, clv_op op_a,
                          clv_op op_b, extents e)
{
    bool ta = op_a == CLV_T, tb = op_b == CLV_T;
    clv_spec a = spec_of(grid, ta ? e.k : e.m, ta ? e.m : e.k, dtype, layout);
    clv_spec b = spec_of(grid, tb ? e.n : e.k, tb ? e.k : e.n, dtype, layout);
    clv_spec c = spec_of(grid, e.m, e.n, dtype, layout);
    bool taken = is_dealt(grid, a) && is_dealt(grid, b) && is_dealt(grid, c);
    clv_matrix *A = NULL, *B = NULL, *C = NULL;
    clv_plan *plan = NULL;
    /* A with room between its rows, as a caller's matrix may have. */
    clv_block block = clv_spec_block(grid, a, check_rank());
    void *memory = calloc((size_t)(block.m * (block.n + 3) + 1), sizeof(double));
    CHECK_OK(clv_matrix_wrap(grid, a, memory, block.n + 3, &A));
    CHECK_OK(clv_matrix_create(grid, b, &B));
    CHECK_OK(clv_matrix_create(grid, c, &C));
    fill(A, 1);
    fill(B, 2);
    if (CHECK_STATUS(clv_plan_gemm(op_a, A, op_b, B, C, &scalapack, &plan),
                     taken ? CLV_OK : CLV_EUNSUPPORTED) &&
        taken) {
        CHECK_OK(clv_matrix_fill(C, NAN));
        CHECK_OK(clv_execute_gemm(plan, 1, A, B, 0, C));
        CHECK_INT(wrong(C, e, op_a, op_b, 1, 0), 0);
        fill(C, 3);
        CHECK_OK(clv_execute_gemm(plan, 2, A, B, -0.5, C));
        CHECK_INT(wrong(C, e, op_a, op_b, 2, -0.5), 0);
    }
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_matrix_destroy(&C);
    free(memory);
}

/* ---- Cases ---------------------------------------------------------------------- */

static void products(void)
{
    static const char *const layouts[] = {"x|y", "y|x", "x+y|-", "-|x+y", "y+x|-", "-|y+x"};
    static const extents shapes[] = {{24, 24, 24}, {12, 36, 48}, {7, 5, 3}, {1, 1, 1},
                                     {11, 3, 8},   {0, 4, 4},    {4, 0, 4}, {4, 4, 0},
                                     {17, 35, 11}, {48, 5, 12}};
    for (int x = 1; x <= check_size(); x++) {
        if (check_size() % x) continue;
        clv_grid *grid = open_grid(x);
        for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++)
            for (size_t s = l % 2; s < sizeof shapes / sizeof *shapes; s += 2) {
                int ops = (int)(s / 2 + l) % 4;
                check_product(grid, layouts[l], (s + x) / 2 % 2 ? CLV_F32 : CLV_F64,
                              ops & 1 ? CLV_T : CLV_N, ops & 2 ? CLV_T : CLV_N, shapes[s]);
            }
        clv_grid_destroy(&grid);
    }
}

/* More than one panel in every extent, each operation, both dtypes. */
static void panels(void)
{
    clv_grid *grid = open_grid(check_size() % 2 ? 1 : 2);
    for (int ops = 0; ops < 4; ops++)
        check_product(grid, "x|y", ops % 2 ? CLV_F32 : CLV_F64, ops & 1 ? CLV_T : CLV_N,
                      ops & 2 ? CLV_T : CLV_N, (extents){300, 276, 600});
    clv_grid_destroy(&grid);
}

/* Planning alone: memory is never touched, so extents can be any. */
static clv_status plan_status(clv_grid *grid, extents e, const char *in_a, const char *in_b,
                              const char *in_c)
{
    static double nothing[1];
    clv_spec a = spec_of(grid, e.m, e.k, CLV_F64, in_a), b = spec_of(grid, e.k, e.n, CLV_F64, in_b),
             c = spec_of(grid, e.m, e.n, CLV_F64, in_c);
    clv_matrix *A = NULL, *B = NULL, *C = NULL;
    clv_plan *plan = NULL;
    int rank = check_rank();
    CHECK_OK(clv_matrix_wrap(grid, a, nothing, clv_spec_block(grid, a, rank).n, &A));
    CHECK_OK(clv_matrix_wrap(grid, b, nothing, clv_spec_block(grid, b, rank).n, &B));
    CHECK_OK(clv_matrix_wrap(grid, c, nothing, clv_spec_block(grid, c, rank).n, &C));
    clv_status status = clv_plan_gemm(CLV_N, A, CLV_N, B, C, &scalapack, &plan);
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_matrix_destroy(&C);
    return status;
}

static void refusals(void)
{
    clv_grid *grid = open_grid(1);
    extents e = {24, 24, 24};
    clv_status if_many = check_size() > 1 ? CLV_EUNSUPPORTED : CLV_OK;
    CHECK_STATUS(plan_status(grid, e, "y|-", "y|-", "y|-"), CLV_OK);
    CHECK_STATUS(plan_status(grid, e, "y|-", "-|-", "y|-"), if_many);
    if (if_many) CHECK(strstr(clv_last_error(), "B: 24 x 24 f64 -|-"));
    CHECK_STATUS(plan_status(grid, e, "y|-", "y|-", "-|-;y"), if_many);
    CHECK_STATUS(plan_status(grid, e, "y|-", "-|y", "y|-"), if_many);
    CHECK_STATUS(plan_status(grid, e, "x|y", "-|x+y", "x+y|-"), if_many);
    clv_grid_destroy(&grid);
}

/* Sizes beyond 32 bits are refused before the call, and say so. */
static void limits(void)
{
    clv_grid *grid = open_grid(1);
    CHECK_STATUS(plan_status(grid, (extents){3000000000, 0, 0}, "y|-", "y|-", "y|-"), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "3000000000"));
    CHECK(strstr(clv_last_error(), "2147483647"));
    CHECK_STATUS(plan_status(grid, (extents){300000000, 24, 24}, "-|y", "-|y", "-|y"), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "24 x 300000000"));
    clv_grid_destroy(&grid);
}

/* The shared object that a symbol of the whole program comes from. */
static const char *file_of(const char *symbol)
{
    Dl_info info = {0};
    void *address = dlsym(RTLD_DEFAULT, symbol);
    return address && dladdr(address, &info) && info.dli_fname ? info.dli_fname : "(none)";
}

/* ScaLAPACK's BLAS is BLIS, and the block of PBLAS is ours. */
static void bindings(void)
{
    static const char *const of_blis[] = {"dgemm_", "sgemm_", "dtrsm_"};
    for (size_t i = 0; i < sizeof of_blis / sizeof *of_blis; i++)
        if (!CHECK(strstr(file_of(of_blis[i]), "libblis") ||
                   strstr(file_of(of_blis[i]), "/blis-openmp/")))
            fprintf(stderr, "%s comes from %s\n", of_blis[i], file_of(of_blis[i]));
    int (*block)(const int *, const char *) = NULL;
    *(void **)&block = dlsym(RTLD_DEFAULT, "pilaenv_");
    CHECK(!strstr(file_of("pilaenv_"), "libscalapack"));
    if (CHECK(block != NULL)) CHECK_INT(block(&(int){0}, "D"), 256);
}

const check_case check_cases[] = {{"products", products}, {"panels", panels},
                                  {"refusals", refusals}, {"limits", limits},
                                  {"bindings", bindings}, {0}};
