/* SPDX-License-Identifier: BSD-3-Clause
 *
 * streamed.c: products within less and less workspace, where what is gathered has to come in
 * panels; on one node, and on pretended ones, whose processes send each other messages.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "../reference.h"

enum { M = 330, N = 350, K = 400 };

static const char *const grids_of[9] = {NULL, "a=1",     "a=2", "a=3",        "a=2,b=2",
                                        NULL, "a=3,b=2", NULL,  "a=2,b=2,c=2"};

static clv_matrix *make(clv_grid *grid, int64_t m, int64_t n, clv_layout layout, uint64_t key,
                        bool transposed)
{
    clv_matrix *matrix = NULL;
    clv_spec spec = {.m = m, .n = n, .dtype = CLV_F32, .layout = layout};
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    ref_fill(matrix, key, transposed);
    return matrix;
}

/* Executes with a cap, if there is a plan; whether there is. */
static bool within(const clv_matrix *A, clv_op op_b, const clv_matrix *B, clv_matrix *C,
                   uint64_t cap, const double *want, uint64_t *taken)
{
    clv_plan *plan = NULL;
    clv_plan_options options = {.memory = cap};
    clv_grid *grid = clv_matrix_grid(A);
    clv_status status = clv_plan_gemm(CLV_N, A, op_b, B, C, &options, &plan);
    CHECK(ref_same(status));
    if (status != CLV_OK) {
        CHECK_STATUS(status, CLV_ENOMEM);
        CHECK(strstr(clv_last_error(), "bytes") != NULL);
        return false;
    }
    *taken = clv_plan_memory(plan);
    CHECK(cap == 0 || *taken <= cap);
    ref_fill_with(C, NAN);
    uint64_t before = clv_grid_traffic(grid).bytes_received;
    CHECK_OK(clv_execute_gemm(plan, 1, A, B, 0, C));
    CHECK_INT((long long)(clv_grid_traffic(grid).bytes_received - before),
              (long long)clv_plan_bytes(plan));
    CHECK_INT(ref_wrong(C, want, 1, 0), 0);
    CHECK_OK(clv_execute_gemm(plan, 2, A, B, clv_matrix_spec(C).layout.sum ? 0 : 1, C));
    CHECK_INT(ref_wrong(C, want, clv_matrix_spec(C).layout.sum ? 2 : 3, 0), 0);
    clv_plan_destroy(&plan);
    return true;
}

/* The most workspace of any process. */
static uint64_t most(clv_grid *grid, uint64_t bytes)
{
    double value[1] = {(double)bytes};
    CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 1, value));
    return (uint64_t)value[0];
}

/* How many of the caps could be kept. */
static int some_products(const char *nodes, int leaves)
{
    static double A_whole[M * K], B_whole[K * N], want[M * N];
    int kept = 0;
    uint64_t state = 3;
    clv_grid *grid = NULL;
    if (nodes) setenv("CLEAVE_NODE_SIZE", nodes, 1);
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, grids_of[check_size()], &grid));
    unsetenv("CLEAVE_NODE_SIZE");
    CHECK_OK(clv_grid_set_leaves(grid, leaves));
    ref_whole(M, K, 1, A_whole);
    ref_whole(K, N, 2, B_whole);
    ref_product(M, N, K, A_whole, B_whole, want);
    for (int i = 0; i < 12; i++) {
        clv_op op_b = (clv_op)(i & 1);
        clv_layout layouts[3];
        for (int l = 0; l < 3; l++) layouts[l] = ref_random_layout(clv_grid_naxes(grid), &state);
        clv_matrix *A = make(grid, M, K, layouts[0], 1, false);
        clv_matrix *B = op_b == CLV_T ? make(grid, N, K, layouts[1], 2, true)
                                      : make(grid, K, N, layouts[1], 2, false);
        clv_matrix *C = make(grid, M, N, layouts[2], 3, false);
        uint64_t whole = 0, taken;
        CHECK(within(A, op_b, B, C, 0, want, &whole));
        whole = most(grid, whole);
        for (int part = 7; whole > 0 && part > 0; part -= 2)
            kept += within(A, op_b, B, C, whole * (uint64_t)part / 8 + 1, want, &taken);
        clv_matrix_destroy(&A);
        clv_matrix_destroy(&B);
        clv_matrix_destroy(&C);
    }
    clv_grid_destroy(&grid);
    return kept;
}

static void one_node(void)
{
    some_products(NULL, 0);
}

static void nodes_of_one(void)
{
    int kept = some_products("1", 0);
    CHECK(kept > 0 || check_size() == 1);
}

static void nodes_of_two(void)
{
    some_products("2", 0);
}

static void with_leaves(void)
{
    if (check_size() % 3 == 0) return; /* not powers of two */
    int kept = some_products("1", CLV_LEAVES);
    CHECK(kept > 0 || check_size() == 1);
}

const check_case check_cases[] = {
    {"one node", one_node},
    {"nodes of one process", nodes_of_one},
    {"nodes of two processes", nodes_of_two},
    {"with leaves", with_leaves},
    {0},
};
