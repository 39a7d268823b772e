/* SPDX-License-Identifier: BSD-3-Clause
 *
 * plan_memory.c: the memory that a plan really takes, as the system counts it, is what it says.
 *
 * A page that several processes have mapped counts once (proportional set size), and workspace
 * stays until the plan is destroyed, so what is there after an execution is the peak. A system may
 * take pages of zeros back and give them again when they are written: what a plan takes is the
 * least of up to ten times, what it says is always the same.
 *
 * Caps hold, where each process is a node of its own too.
 *
 * RANKS: 1 2 4
 */
#include "../reference.h"

enum { BOOKKEEPING = 256 << 10 }; /* bytes of lists and of the allocator, for each process */

/* Bytes of this process. */
static double resident(void)
{
    char line[256];
    double kib = NAN;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "Pss:", 4) == 0) kib = atof(line + 4);
    if (file) fclose(file);
    return 1024 * kib;
}

/* Of all processes, while none of them goes on. */
static double resident_of_all(clv_grid *grid)
{
    CHECK_OK(clv_grid_barrier(grid));
    double bytes[1] = {resident()};
    ref_sum(bytes, 1);
    CHECK_OK(clv_grid_barrier(grid));
    return bytes[0];
}

static clv_matrix *make(clv_grid *grid, int64_t m, int64_t n, const char *layout)
{
    clv_matrix *matrix = NULL;
    clv_spec spec = {.m = m, .n = n, .dtype = CLV_F32};
    CHECK_OK(clv_layout_parse(grid, layout, &spec.layout));
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    CHECK_OK(clv_matrix_fill_normal(matrix, 1, 1, 0, 1));
    return matrix;
}

/* A product of 1200 x 1000 and 1000 x 1100; cap: bytes of workspace, 0 for none. Returns what the
 * greediest process needs; refused (where that may be) is 0 too. */
static uint64_t check_plan(clv_grid *grid, const char *a, const char *b, const char *c,
                           uint64_t cap, bool refused)
{
    static char text[256];
    snprintf(text, sizeof text, "[%s] [%s] = [%s], %llu bytes", a, b, c, (unsigned long long)cap);
    check_enter(text, check_rank());
    clv_matrix *A = make(grid, 1200, 1000, a), *B = make(grid, 1000, 1100, b);
    clv_matrix *C = make(grid, 1200, 1100, c);
    clv_plan *plan = NULL;
    clv_plan_options options = {.memory = cap};
    double taken = INFINITY, most = 0, said[1] = {0}, greediest[1] = {0};
    for (int times = 0; times < 10 && !(taken <= most); times++) {
        double before = resident_of_all(grid);
        clv_status status = clv_plan_gemm(CLV_N, A, CLV_N, B, C, &options, &plan);
        if (status == CLV_ENOMEM && refused) {
            CHECK(strstr(clv_last_error(), "the cheapest plan needs") != NULL);
            taken = 0;
            break;
        }
        if (!CHECK_OK(status)) break;
        CHECK_OK(clv_execute_gemm(plan, 1, A, B, 0, C));
        taken = resident_of_all(grid) - before;
        said[0] = greediest[0] = (double)clv_plan_memory(plan);
        CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 1, greediest));
        if (cap) CHECK(said[0] <= (double)cap);
        ref_sum(said, 1);
        most = 1.05 * said[0] + check_size() * (double)BOOKKEEPING;
        clv_plan_destroy(&plan);
    }
    if (!CHECK(taken <= most)) fprintf(stderr, "  taken %.0f bytes, said %.0f\n", taken, said[0]);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    clv_matrix_destroy(&C);
    return (uint64_t)greediest[0];
}

/* Plans of all layouts; with caps every third, also with half of what it then needs. */
static void check_plans(bool caps)
{
    static const char *const layouts[] = {"p|-", "-|p", "-|-", "-|-;p"};
    clv_grid *grid = NULL;
    char text[32];
    snprintf(text, sizeof text, "p=%d", check_size());
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, text, &grid));
    CHECK_OK(clvi_gemm_reserve(true)); /* the packing buffers, once for the process */
    for (int code = 0; code < 64; code += caps ? 3 : 1) {
        const char *a = layouts[code & 3], *b = layouts[code >> 2 & 3], *c = layouts[code >> 4];
        uint64_t need = check_plan(grid, a, b, c, 0, false);
        if (caps && need > 1) check_plan(grid, a, b, c, need / 2, true);
    }
    clv_grid_destroy(&grid);
}

static void plans(void)
{
    check_plans(false);
}

static void plans_with_caps(void)
{
    const char *given = getenv("CLEAVE_NODE_SIZE");
    if (!given) setenv("CLEAVE_NODE_SIZE", "1", 1);
    check_plans(true);
    if (!given) unsetenv("CLEAVE_NODE_SIZE");
}

const check_case check_cases[] = {
    {"plans", plans},
    {"plans with caps", plans_with_caps},
    {0},
};
