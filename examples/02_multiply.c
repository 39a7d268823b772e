/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 02_multiply.c: C := alpha A B + beta C, and the plan behind it.
 *
 * RANKS: 1 2 4 6
 *
 * The three matrices may lie in any layouts. The planner tries every assignment of the grid's axes
 * to the jobs m, n, k and idle, adds up what has to move for each, and keeps the cheapest: row- and
 * column-parallel, SUMMA and 3D products are all among them. The plan prints its steps.
 */
#include <cleave.h>
#include <stdio.h>

#define TRY(call)                                   \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)
#define CHECK(condition) \
    if (!(condition)) wrong += printf("line %d is wrong: %s\n", __LINE__, #condition)
static int wrong;

enum { M = 96, N = 64, K = 80 };

static clv_status make(clv_grid *grid, int64_t m, int64_t n, const char *layout, clv_matrix **out)
{
    clv_spec spec = {.m = m, .n = n, .dtype = CLV_F64};
    clv_status status = clv_layout_parse(grid, layout, &spec.layout);
    return status == CLV_OK ? clv_matrix_create(grid, spec, out) : status;
}

/* Every process fills its own block, by global indices: A(i, l) = i - l, B(l, j) = j. */
static void fill(clv_matrix *matrix, int64_t row_factor, int64_t col_factor)
{
    clv_block b = clv_matrix_block(matrix);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            ((double *)b.data)[i * b.ld + j] =
                (double)(row_factor * (b.row0 + i) + col_factor * (b.col0 + j));
}

/* Then (A B)(i, j) = sum over l of (i - l) j, which is known without multiplying. */
static void check_product(const clv_matrix *C, double factor)
{
    clv_block b = clv_matrix_block(C);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            CHECK(((double *)b.data)[i * b.ld + j] ==
                  factor * (double)((K * (b.row0 + i) - K * (K - 1) / 2) * (b.col0 + j)));
}

static clv_status lesson(clv_grid *grid)
{
    clv_status status;
    clv_matrix *A = NULL, *B = NULL, *C = NULL;
    clv_plan *plan = NULL;
    TRY(make(grid, M, K, "row|col", &A)); /* each process holds one tile of each matrix */
    TRY(make(grid, K, N, "row|col", &B));
    TRY(make(grid, M, N, "row|col", &C));
    fill(A, 1, -1);
    fill(B, 0, 1);

    TRY(clv_plan_gemm(CLV_N, A, CLV_N, B, C, NULL, &plan));
    if (clv_grid_rank(grid) == 0) TRY(clv_plan_print(plan, stdout));

    /* Planned once, executed as often as wanted: nothing is allocated from here on. */
    TRY(clv_execute_gemm(plan, 1, A, B, 0, C)); /* C := A B; beta 0 does not read C */
    check_product(C, 1);
    TRY(clv_execute_gemm(plan, 2, A, B, -1, C)); /* C := 2 A B - C */
    check_product(C, 1);
done:
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_matrix_destroy(&C);
    return status;
}

int main(int argc, char **argv)
{
    clv_status status;
    clv_grid *grid = NULL;
    int size = 1;
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int rows = size % 2 == 0 ? 2 : 1; /* two rows of processes where their number is even */
    TRY(clv_grid_create(MPI_COMM_WORLD, 2, (clv_axis[]){{"row", rows}, {"col", size / rows}},
                        &grid));
    TRY(lesson(grid));
    if (clv_grid_rank(grid) == 0 && !wrong) printf("DONE\n");
done:
    if (status != CLV_OK) fprintf(stderr, "%s: %s\n", argv[0], clv_last_error());
    clv_grid_destroy(&grid);
    MPI_Finalize();
    return status != CLV_OK || wrong;
}
