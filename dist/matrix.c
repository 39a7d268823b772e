/* SPDX-License-Identifier: BSD-3-Clause
 *
 * matrix.c: global extents and one block a process.
 */
#include <clvi_dist.h>
#include <stdlib.h>
#include <string.h>

/* Where the elements lie: what is borrowed is no neighbour's business. */
typedef enum { OWNED, BORROWED, NOTHING } memory_kind;

struct clv_matrix {
    clv_grid *grid;
    clv_spec spec;
    clv_block block;
    void *owned; /* NULL unless OWNED */
    memory_kind memory;
};

const char *clvi_spec_format(const clv_grid *grid, clv_spec spec, char *buffer, size_t size)
{
    char layout[256];
    const char *dtype = clv_dtype_name(spec.dtype);
    snprintf(buffer, size, "%lld x %lld %s %s", (long long)spec.m, (long long)spec.n,
             dtype ? dtype : "?", clv_layout_format(grid, spec.layout, layout, sizeof layout));
    return buffer;
}

bool clvi_spec_equal(clv_spec a, clv_spec b)
{
    return a.m == b.m && a.n == b.n && clvi_unit(a.m_unit) == clvi_unit(b.m_unit) &&
           clvi_unit(a.n_unit) == clvi_unit(b.n_unit) && a.dtype == b.dtype &&
           a.layout.rows == b.layout.rows && a.layout.cols == b.layout.cols &&
           a.layout.sum == b.layout.sum;
}

clv_block clv_spec_block(const clv_grid *grid, clv_spec spec, int rank)
{
    int coords[CLV_MAX_AXES];
    clvi_grid_coords(grid, rank, coords);
    clvi_range rows =
        clvi_split_axes(grid, spec.m, clvi_unit(spec.m_unit), spec.layout.rows, coords);
    clvi_range cols =
        clvi_split_axes(grid, spec.n, clvi_unit(spec.n_unit), spec.layout.cols, coords);
    return (clv_block){.m = rows.end - rows.begin,
                       .n = cols.end - cols.begin,
                       .ld = cols.end - cols.begin,
                       .row0 = rows.begin,
                       .col0 = cols.begin};
}

clv_status clvi_spec_check(const clv_grid *grid, clv_spec spec)
{
    clv_status status;
    CLVI_CHECK(clv_dtype_size(spec.dtype) > 0, CLV_EDTYPE, "matrix: unknown dtype %d",
               (int)spec.dtype);
    CLVI_CHECK(spec.m >= 0 && spec.n >= 0, CLV_ESHAPE,
               "matrix: expected extents of at least 0, found %lld x %lld", (long long)spec.m,
               (long long)spec.n);
    CLVI_CHECK(spec.m_unit >= 0 && spec.n_unit >= 0, CLV_EARG,
               "matrix: expected units of at least 0, found %lld and %lld", (long long)spec.m_unit,
               (long long)spec.n_unit);
    CLVI_CHECK(spec.n == 0 || spec.m <= INT64_MAX / 16 / spec.n, CLV_ELIMIT,
               "matrix: %lld x %lld elements are more than an offset can count", (long long)spec.m,
               (long long)spec.n);
    CLVI_TRY(clv_layout_check(grid, spec.layout));
done:
    return status;
}

clv_spec clvi_spec_transposed(clv_spec spec)
{
    clv_spec t = spec;
    t.m = spec.n;
    t.n = spec.m;
    t.m_unit = spec.n_unit;
    t.n_unit = spec.m_unit;
    t.layout = clv_layout_transpose(spec.layout);
    return t;
}

clv_spec clvi_spec_without_single_axes(const clv_grid *grid, clv_spec spec)
{
    clv_axes several = 0;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (clv_grid_axis(grid, axis).size > 1) several |= 1u << axis;
    spec.layout.rows = clvi_order_keep(spec.layout.rows, several);
    spec.layout.cols = clvi_order_keep(spec.layout.cols, several);
    spec.layout.sum &= several;
    return spec;
}

void clvi_spec_values(clv_spec s, int64_t values[])
{
    int64_t all[CLVI_SPEC_VALUES] = {s.m,     s.n,           s.m_unit,      s.n_unit,
                                     s.dtype, s.layout.rows, s.layout.cols, s.layout.sum};
    memcpy(values, all, sizeof all);
}

static clv_status check_same(clv_grid *grid, clv_status mine, clv_spec spec)
{
    int64_t values[CLVI_SPEC_VALUES];
    clvi_spec_values(spec, values);
    return clvi_grid_same(grid, mine, CLVI_SPEC_NAMES("a matrix"), CLVI_SPEC_VALUES, values);
}

/* Zeros of its own that neighbours can read. Local. */
static clv_status own(clv_matrix *matrix)
{
    clv_block *block = &matrix->block;
    size_t bytes = (size_t)block->m * (size_t)block->n * clv_dtype_size(matrix->spec.dtype);
    block->data = matrix->owned = clvi_shared_alloc(matrix->grid, bytes);
    if (block->data) return CLV_OK;
    return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes%s for a %lld x %lld block",
                     clv_grid_rank(matrix->grid), bytes, clvi_shared_what(matrix->grid),
                     (long long)block->m, (long long)block->n);
}

/* The caller's memory. Local. */
static clv_status borrow(clv_matrix *matrix, void *data, int64_t ld)
{
    clv_block *block = &matrix->block;
    int rank = clv_grid_rank(matrix->grid);
    if (block->n > INT32_MAX)
        return clvi_fail(CLV_ELIMIT,
                         "rank %d: expected a block of fewer than 2^31 columns, found %lld", rank,
                         (long long)block->n);
    if (ld < block->n || ld > INT32_MAX || (!data && block->m > 0 && block->n > 0))
        return clvi_fail(CLV_EARG,
                         "rank %d: expected memory with %lld <= ld < 2^31, found %s, %lld", rank,
                         (long long)block->n, data ? "some" : "NULL", (long long)ld);
    block->data = data;
    block->ld = ld;
    return CLV_OK;
}

static clv_status create(clv_grid *grid, clv_spec spec, memory_kind memory, void *data, int64_t ld,
                         clv_matrix **out)
{
    clv_matrix *matrix = NULL;
    clv_status status = clvi_spec_check(grid, spec);
    if (status == CLV_OK && !(matrix = calloc(1, sizeof *matrix)))
        status = clvi_fail(CLV_ENOMEM, "a matrix");
    if (status == CLV_OK) {
        clv_block block = clv_spec_block(grid, spec, clv_grid_rank(grid));
        *matrix = (clv_matrix){grid, spec, block, NULL, memory};
        if (memory == OWNED) status = own(matrix);
        if (memory == BORROWED) status = borrow(matrix, data, ld);
    }
    status = check_same(grid, status, spec);
    if (status != CLV_OK) clv_matrix_destroy(&matrix);
    *out = matrix;
    return status;
}

clv_status clv_matrix_create(clv_grid *grid, clv_spec spec, clv_matrix **matrix)
{
    return create(grid, spec, OWNED, NULL, 0, matrix);
}

clv_status clv_matrix_wrap(clv_grid *grid, clv_spec spec, void *data, int64_t ld,
                           clv_matrix **matrix)
{
    return create(grid, spec, BORROWED, data, ld, matrix);
}

clv_status clv_matrix_shape(clv_grid *grid, clv_spec spec, clv_matrix **matrix)
{
    return create(grid, spec, NOTHING, NULL, 0, matrix);
}

bool clvi_matrix_staged(const clv_matrix *matrix)
{
    return matrix->memory == BORROWED;
}

void clv_matrix_destroy(clv_matrix **matrix)
{
    if (!matrix || !*matrix) return;
    clvi_shared_free((*matrix)->grid, (*matrix)->owned);
    free(*matrix);
    *matrix = NULL;
}

clv_grid *clv_matrix_grid(const clv_matrix *matrix)
{
    return matrix->grid;
}
clv_spec clv_matrix_spec(const clv_matrix *matrix)
{
    return matrix->spec;
}
clv_block clv_matrix_block(const clv_matrix *matrix)
{
    return matrix->block;
}

static bool at_origin_of(const clv_matrix *matrix, clv_axes axes)
{
    for (int axis = 0; axes >> axis; axis++)
        if ((axes >> axis & 1) &&
            clv_grid_coord(matrix->grid, clv_grid_rank(matrix->grid), axis) != 0)
            return false;
    return true;
}

bool clvi_matrix_is_first_copy(const clv_matrix *matrix)
{
    return at_origin_of(matrix, clvi_layout_copies(matrix->grid, matrix->spec.layout));
}

clv_status clvi_matrix_expect(const clv_matrix *matrix, const char *what, const clv_grid *grid,
                              clv_spec spec)
{
    if (!matrix) return clvi_fail(CLV_EARG, "%s: expected a matrix, found NULL", what);
    if (matrix->grid != grid)
        return clvi_fail(CLV_EARG, "%s: expected a matrix on the grid planned with, found another",
                         what);
    if (matrix->memory == NOTHING)
        return clvi_fail(CLV_EARG, "%s: expected a matrix with memory, found a shape", what);
    if (clvi_spec_equal(matrix->spec, spec)) return CLV_OK;
    char expected[256], found[256];
    clvi_spec_format(matrix->grid, spec, expected, sizeof expected);
    clvi_spec_format(matrix->grid, matrix->spec, found, sizeof found);
    bool shape = matrix->spec.m == spec.m && matrix->spec.n == spec.n;
    bool dtype = matrix->spec.dtype == spec.dtype;
    clv_status status = !shape ? CLV_ESHAPE : !dtype ? CLV_EDTYPE : CLV_ELAYOUT;
    return clvi_fail(status, "%s: expected %s, found %s%s", what, expected, found,
                     strcmp(expected, found) == 0 ? " in other units" : "");
}

void clvi_block_scale(clv_dtype dtype, clv_block block, double beta)
{
    for (int64_t i = 0; i < block.m && block.n > 0 && beta != 1; i++) {
        void *row = clvi_at(block, dtype, i, 0);
        if (beta == 0)
            clvi_fill(dtype, block.n, 0, row);
        else
            clvi_axpby(dtype, block.n, beta, row, 0, row);
    }
}

static clv_status check_fill(const clv_matrix *matrix)
{
    if (matrix->memory != NOTHING) return CLV_OK;
    return clvi_fail(CLV_EARG, "fill: expected a matrix with memory, found a shape");
}

clv_status clv_matrix_fill(clv_matrix *matrix, double value)
{
    clv_status status = check_fill(matrix);
    if (status != CLV_OK) return status;
    clv_block block = matrix->block;
    if (!at_origin_of(matrix, matrix->spec.layout.sum)) value = 0;
    for (int64_t i = 0; i < block.m; i++)
        clvi_fill(matrix->spec.dtype, block.n, value, clvi_at(block, matrix->spec.dtype, i, 0));
    return CLV_OK;
}

clv_status clv_matrix_fill_normal(clv_matrix *matrix, uint64_t key, uint64_t stream, double mean,
                                  double std)
{
    clv_status status = check_fill(matrix);
    if (status != CLV_OK) return status;
    clv_spec spec = matrix->spec;
    clv_block block = matrix->block;
    if (spec.dtype == CLV_I32)
        return clvi_fail(CLV_EDTYPE, "clv_matrix_fill_normal: expected floating type, found i32");
    if (!at_origin_of(matrix, spec.layout.sum)) return clv_matrix_fill(matrix, 0);
    for (int64_t i = 0; i < block.m; i++)
        clvi_fill_normal(spec.dtype, block.n, clvi_at(block, spec.dtype, i, 0), key, stream,
                         (uint64_t)((block.row0 + i) * spec.n + block.col0), mean, std);
    return CLV_OK;
}
