/* SPDX-License-Identifier: BSD-3-Clause
 *
 * matrix.c: which block each process holds, and matrices filled by global index.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "../reference.h"

/* Three axes for any number of ranks. */
static clv_grid *open_grid(void)
{
    static const char *const texts[] = {"",
                                        "a=1,b=1,c=1",
                                        "a=1,b=2,c=1",
                                        "a=3,b=1,c=1",
                                        "a=2,b=1,c=2",
                                        "a=1,b=5,c=1",
                                        "a=3,b=1,c=2",
                                        "a=7,b=1,c=1",
                                        "a=2,b=2,c=2"};
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, texts[check_size()], &grid));
    return grid;
}

static void blocks_are_where_the_reference_says(void)
{
    static const int64_t extents[] = {0, 1, 5, 7, 16, 17, 127, INT64_C(1) << 33};
    static const int64_t units[] = {0, 1, 2, 3, 64, INT64_C(1) << 40};
    clv_grid *grid = open_grid();
    uint64_t state = 2;
    for (int round = 0; round < 400; round++) {
        clv_spec spec = {.m = extents[check_random_below(&state, 8)],
                         .n = extents[check_random_below(&state, 8)],
                         .m_unit = units[check_random_below(&state, 6)],
                         .n_unit = units[check_random_below(&state, 6)],
                         .layout = ref_random_layout(3, &state)};
        for (int rank = 0; rank < check_size(); rank++) {
            ref_rect r = ref_block(grid, spec, rank);
            clv_block b = clv_spec_block(grid, spec, rank);
            CHECK_INT(b.m, r.row1 - r.row0);
            CHECK_INT(b.n, r.col1 - r.col0);
            CHECK_INT(b.ld, b.n);
            CHECK(b.data == NULL);
            if (b.m > 0) CHECK_INT(b.row0, r.row0);
            if (b.n > 0) CHECK_INT(b.col0, r.col0);
            CHECK(b.row0 >= 0 && b.row0 + b.m <= spec.m && b.col0 >= 0 && b.col0 + b.n <= spec.n);
        }
    }
    clv_grid_destroy(&grid);
}

static void created_matrices_are_zero(void)
{
    clv_grid *grid = open_grid();
    int64_t live = clvi_alloc_live();
    clv_layout layouts[REF_LAYOUTS];
    int count = ref_all_layouts(3, layouts);
    for (int i = 0; i < count; i++) {
        clv_spec spec = {.m = 17,
                         .n = 7,
                         .m_unit = 2,
                         .dtype = (clv_dtype)(i % CLV_DTYPE_COUNT),
                         .layout = layouts[i]};
        if (spec.dtype == CLV_I32) spec.layout.sum = 0;
        clv_matrix *matrix = NULL;
        if (!CHECK_OK(clv_matrix_create(grid, spec, &matrix))) continue;
        clv_block b = clv_matrix_block(matrix);
        ref_rect r = ref_block(grid, spec, check_rank());
        CHECK(clv_matrix_grid(matrix) == grid);
        CHECK(clvi_spec_equal(clv_matrix_spec(matrix), spec));
        CHECK_INT(b.m, r.row1 - r.row0);
        CHECK_INT(b.n, r.col1 - r.col0);
        CHECK(b.ld >= b.n);
        CHECK((uintptr_t)b.data % 64 == 0);
        double most = 0;
        for (int64_t e = 0; e < b.m * b.n; e++)
            most = fmax(most, fabs(clvi_get(spec.dtype, b.data, e / b.n * b.ld + e % b.n)));
        CHECK_NEAR(most, 0, 0);
        bool first = true;
        for (int a = 0; a < 3; a++)
            if (ref_copies(grid, spec.layout) >> a & 1)
                first = first && clv_grid_coord(grid, check_rank(), a) == 0;
        CHECK_INT(clvi_matrix_is_first_copy(matrix), first);
        clv_matrix_destroy(&matrix);
        CHECK(matrix == NULL);
        clv_matrix_destroy(&matrix);
    }
    CHECK_INT(clvi_alloc_live(), live);
    clv_grid_destroy(&grid);
}

/* Wrapping borrows: the caller's memory is the block, and is not freed. */
static void wrapped_matrices_borrow(void)
{
    clv_grid *grid = open_grid();
    clv_spec spec = {.m = 5, .n = 17, .dtype = CLV_F64, .layout = ref_layout(3, "RC=", NULL)};
    for (int64_t pad = 0; pad < 3; pad++) {
        ref_matrix w = ref_wrap(grid, spec, pad);
        clv_block b = clv_matrix_block(w.matrix);
        CHECK(b.data == w.memory + REF_MARGIN);
        CHECK_INT(b.ld, b.n + pad);
        CHECK_OK(clv_matrix_fill(w.matrix, 3)); /* ref_free looks at the guards */
        CHECK_OK(clv_matrix_fill_normal(w.matrix, 1, 2, 0, 1));
        ref_free(&w);
    }
    clv_matrix *matrix = NULL;
    clv_spec empty = {.m = 0, .n = 4, .layout = spec.layout};
    CHECK_OK(clv_matrix_wrap(grid, empty, NULL, 4, &matrix));
    clv_matrix_destroy(&matrix);
    clv_grid_destroy(&grid);
}

/* The whole matrix as one process alone draws it. */
static void draw_whole(clv_grid *grid, clv_spec spec, double *whole)
{
    clv_matrix *matrix = NULL;
    spec.layout = (clv_layout){0};
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    CHECK_OK(clv_matrix_fill_normal(matrix, 42, 7, 1.5, 0.5));
    clv_block b = clv_matrix_block(matrix);
    for (int64_t e = 0; e < spec.m * spec.n; e++)
        whole[e] = clvi_get(spec.dtype, b.data, e / spec.n * b.ld + e % spec.n);
    clv_matrix_destroy(&matrix);
}

/* Plans are made for more than any memory holds, say as much as for matrices with memory, and
 * execute on those. */
static void shapes_are_planned(void)
{
    clv_grid *grid = open_grid();
    clv_spec spec = {.m = 8, .n = 8}, huge = {.m = (int64_t)1 << 29, .n = (int64_t)1 << 29};
    clv_matrix *A = NULL, *B = NULL, *shape = NULL, *other = NULL;
    clv_plan *plan = NULL;
    spec.layout.cols = clv_order_append(0, 0);
    CHECK_OK(clv_matrix_shape(grid, spec, &shape));
    CHECK_OK(clv_matrix_create(grid, spec, &A));
    spec.layout.cols = 0;
    CHECK_OK(clv_matrix_shape(grid, spec, &other));
    CHECK_OK(clv_matrix_create(grid, spec, &B));
    CHECK_STATUS(clv_matrix_fill(shape, 1), CLV_EARG);
    CHECK_STATUS(clv_matrix_fill_normal(shape, 1, 1, 0, 1), CLV_EARG);
    CHECK_OK(clv_plan_move(A, B, NULL, &plan));
    uint64_t bytes = clv_plan_bytes(plan), memory = clv_plan_memory(plan);
    clv_plan_destroy(&plan);
    CHECK_OK(clv_plan_move(shape, other, NULL, &plan));
    CHECK_INT((long long)clv_plan_bytes(plan), (long long)bytes);
    CHECK_INT((long long)clv_plan_memory(plan), (long long)memory);
    CHECK_STATUS(clv_execute_move(plan, 1, shape, 0, B), CLV_EARG);
    CHECK_OK(clv_execute_move(plan, 1, A, 0, B));
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&shape);
    CHECK_OK(clv_matrix_shape(grid, huge, &shape));
    clv_matrix *const made[] = {A, B, shape, other};
    for (int i = 0; i < 4; i++) clv_matrix_destroy(&(clv_matrix *){made[i]});
    clv_grid_destroy(&grid);
}

static void fills_are_the_same_on_every_layout(void)
{
    static double whole[31 * 17], threes[31 * 17];
    clv_grid *grid = open_grid();
    clv_layout layouts[REF_LAYOUTS];
    int count = ref_all_layouts(3, layouts);
    for (int e = 0; e < 31 * 17; e++) threes[e] = 3;
    for (int dtype = CLV_F32; dtype <= CLV_BF16; dtype++) {
        clv_spec spec = {.m = 31, .n = 17, .dtype = (clv_dtype)dtype};
        draw_whole(grid, spec, whole);
        for (int i = 0; i < count; i++) {
            spec.layout = layouts[i];
            ref_matrix w = ref_wrap(grid, spec, i % 3);
            CHECK_OK(clv_matrix_fill_normal(w.matrix, 42, 7, 1.5, 0.5));
            CHECK_INT(ref_wrong(w.matrix, whole, 1, 0), 0);
            CHECK_OK(clv_matrix_fill(w.matrix, 3));
            CHECK_INT(ref_wrong(w.matrix, threes, 1, 0), 0);
            ref_free(&w);
        }
    }
    double mean = 0, square = 0;
    for (int e = 0; e < 31 * 17; e++) {
        mean += whole[e] / (31 * 17);
        square += whole[e] * whole[e] / (31 * 17);
    }
    CHECK_NEAR(mean, 1.5, 0.1); /* 527 draws: 4 standard errors are 0.09 */
    CHECK_NEAR(sqrt(square - mean * mean), 0.5, 0.08);
    clv_grid_destroy(&grid);
}

static void refused(clv_grid *grid, clv_spec spec, clv_status expected)
{
    clv_matrix *matrix = NULL;
    CHECK_STATUS(clv_matrix_create(grid, spec, &matrix), expected);
    CHECK(matrix == NULL);
    CHECK(clv_last_error()[0] != '\0');
}

static void bad_specs_are_refused(void)
{
    clv_grid *grid = open_grid();
    refused(grid, (clv_spec){.m = -1, .n = 4}, CLV_ESHAPE);
    refused(grid, (clv_spec){.m = 4, .n = -4}, CLV_ESHAPE);
    refused(grid, (clv_spec){.m = 4, .n = 4, .m_unit = -1}, CLV_EARG);
    refused(grid, (clv_spec){.m = 4, .n = 4, .n_unit = -1}, CLV_EARG);
    refused(grid, (clv_spec){.m = 4, .n = 4, .dtype = CLV_DTYPE_COUNT}, CLV_EDTYPE);
    refused(grid, (clv_spec){.m = 4, .n = 4, .dtype = (clv_dtype)-1}, CLV_EDTYPE);
    refused(grid, (clv_spec){.m = INT64_MAX, .n = INT64_MAX}, CLV_ELIMIT);
#ifndef __SANITIZE_ADDRESS__ /* which stops the program at the request alone */
    refused(grid, (clv_spec){.m = 1 << 28, .n = 1 << 28, .dtype = CLV_F64}, CLV_ENOMEM);
#endif
    refused(grid, (clv_spec){.m = 4, .n = 4, .layout = {.rows = 0x4}}, CLV_ELAYOUT);
    refused(grid, (clv_spec){.m = 4, .n = 4, .layout = {.rows = 0x1, .sum = 0x1}}, CLV_ELAYOUT);
    float data[16];
    clv_matrix *matrix = NULL;
    CHECK_STATUS(clv_matrix_wrap(grid, (clv_spec){.m = 4, .n = 4}, data, 3, &matrix), CLV_EARG);
    CHECK_STATUS(clv_matrix_wrap(grid, (clv_spec){.m = 4, .n = 4}, NULL, 4, &matrix), CLV_EARG);
    int64_t wide = (int64_t)1 << 33;
    CHECK_STATUS(clv_matrix_wrap(grid, (clv_spec){.m = 1, .n = wide}, data, wide, &matrix),
                 CLV_ELIMIT);
    CHECK(matrix == NULL);
    clv_spec ids = {.m = 4, .n = 1, .dtype = CLV_I32};
    CHECK_OK(clv_matrix_create(grid, ids, &matrix));
    CHECK_STATUS(clv_matrix_fill_normal(matrix, 1, 1, 0, 1), CLV_EDTYPE);
    clv_matrix_destroy(&matrix);
    clv_grid_destroy(&grid);
}

/* Each field of the spec in turn differs on the last rank; then one rank alone is wrong. */
static void disagreeing_processes_are_told(void)
{
    if (check_size() == 1) return;
    clv_grid *grid = open_grid();
    bool last = check_rank() == check_size() - 1;
    clv_matrix *matrix = NULL;
    for (int field = 0; field < 8; field++) {
        clv_spec spec = {.m = 8, .n = 8, .m_unit = 1, .n_unit = 1, .layout = {.rows = 0x1}};
        if (last && field == 0) spec.m = 9;
        if (last && field == 1) spec.n = 7;
        if (last && field == 2) spec.m_unit = 2;
        if (last && field == 3) spec.n_unit = 2;
        if (last && field == 4) spec.dtype = CLV_F64;
        if (last && field == 5) spec.layout.rows = 0x2;
        if (last && field == 6) spec.layout.cols = 0x2;
        if (last && field == 7) spec.layout.sum = 0x4;
        CHECK_STATUS(clv_matrix_create(grid, spec, &matrix), CLV_EMISMATCH);
        CHECK(matrix == NULL);
    }
    float data[16];
    clv_spec spec = {.m = 4, .n = 4};
    CHECK_STATUS(clv_matrix_wrap(grid, spec, data, last ? 3 : 4, &matrix), CLV_EARG);
    CHECK(strstr(clv_last_error(), "ld") != NULL); /* the culprit's words, on all */
    if (last) spec.m = -4;
    CHECK_STATUS(clv_matrix_create(grid, spec, &matrix), CLV_ESHAPE);
    CHECK(matrix == NULL);
    clv_grid_destroy(&grid);
}

static void failing_memory(void)
{
    clv_grid *grid = open_grid();
    for (int victim = 0; victim < check_size(); victim++) {
        int64_t live = clvi_alloc_live();
        clv_status status = CLV_ENOMEM;
        int nth = 0;
        while (status != CLV_OK && ++nth < 100) {
            clv_matrix *matrix = NULL;
            if (check_rank() == victim) clvi_alloc_fail_at(nth);
            status = clv_matrix_create(grid, (clv_spec){.m = 5, .n = 3}, &matrix);
            clvi_alloc_fail_at(0);
            CHECK(ref_same(status));
            CHECK(status == CLV_OK || (status == CLV_ENOMEM && matrix == NULL));
            clv_matrix_destroy(&matrix);
            CHECK_INT(clvi_alloc_live(), live);
        }
        CHECK(nth > 1 && status == CLV_OK);
    }
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"blocks are where the reference says", blocks_are_where_the_reference_says},
    {"created matrices are zero", created_matrices_are_zero},
    {"wrapped matrices borrow", wrapped_matrices_borrow},
    {"shapes are planned", shapes_are_planned},
    {"fills are the same on every layout", fills_are_the_same_on_every_layout},
    {"bad specs are refused", bad_specs_are_refused},
    {"disagreeing processes are told", disagreeing_processes_are_told},
    {"failing memory", failing_memory},
    {0},
};
