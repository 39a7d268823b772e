/* SPDX-License-Identifier: BSD-3-Clause
 *
 * reference.h: what the distributed tests compare with, written from the definitions alone.
 *
 * Blocks come from lists of cut points (the library descends by digits of the
 * coordinate instead), values from a formula in the global index, sums and copies from a
 * global array that every rank builds for itself. Values are small integers, so that every result
 * is exact in any order of addition and in every data type.
 */
#ifndef CLEAVE_REFERENCE_H
#define CLEAVE_REFERENCE_H

#include "check.h"

#include <clvi_dist.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- Layouts from jobs --------------------------------------------------- */

static const char ref_jobs[] = "=RC+";

/* jobs[a] is the job of axis a, one of "=RC+"; the lists take their axes in the order given
 * (a permutation of the axes; NULL: as numbered). */
static inline clv_layout ref_layout(int naxes, const char *jobs, const int *order)
{
    clv_layout layout = {0};
    int rows = 0, cols = 0;
    for (int i = 0; i < naxes; i++) {
        int axis = order ? order[i] : i;
        if (jobs[axis] == 'R') layout.rows |= (clv_order)(axis + 1) << 4 * rows++;
        if (jobs[axis] == 'C') layout.cols |= (clv_order)(axis + 1) << 4 * cols++;
        if (jobs[axis] == '+') layout.sum |= 1u << axis;
    }
    return layout;
}

/* The jobs numbered code: digit a in base 4 is the job of axis a. */
static inline const char *ref_jobs_of(int naxes, int code, char jobs[])
{
    for (int a = 0; a < naxes; a++, code /= 4) jobs[a] = ref_jobs[code % 4];
    jobs[naxes] = '\0';
    return jobs;
}

/* Every layout of a grid of one or two axes (4 or 18 of them, both orders), of three axes
 * with lists as numbered (64). Returns how many. */
enum { REF_LAYOUTS = 64 };
static inline int ref_all_layouts(int naxes, clv_layout layouts[REF_LAYOUTS])
{
    int count = 0;
    char jobs[CLV_MAX_AXES + 1];
    for (int code = 0; code < 1 << 2 * naxes; code++)
        layouts[count++] = ref_layout(naxes, ref_jobs_of(naxes, code, jobs), NULL);
    if (naxes == 2) {
        layouts[count++] = ref_layout(2, "RR", (int[]){1, 0});
        layouts[count++] = ref_layout(2, "CC", (int[]){1, 0});
    }
    return count;
}

/* Any layout: random jobs, lists in random order. */
static inline clv_layout ref_random_layout(int naxes, uint64_t *state)
{
    char jobs[CLV_MAX_AXES + 1];
    int order[CLV_MAX_AXES] = {0};
    ref_jobs_of(naxes, (int)check_random_below(state, 1 << 2 * naxes), jobs);
    for (int i = 0; i < naxes; i++) {
        int j = (int)check_random_below(state, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return ref_layout(naxes, jobs, order);
}

/* ---- Blocks ---------------------------------------------------------------- */

/* A part of the global matrix, half open. */
typedef struct {
    int64_t row0, row1, col0, col1;
} ref_rect;

static inline int64_t ref_area(ref_rect r)
{
    return r.row1 > r.row0 && r.col1 > r.col0 ? (r.row1 - r.row0) * (r.col1 - r.col0) : 0;
}

static inline ref_rect ref_meet(ref_rect a, ref_rect b)
{
    return (ref_rect){a.row0 > b.row0 ? a.row0 : b.row0, a.row1 < b.row1 ? a.row1 : b.row1,
                      a.col0 > b.col0 ? a.col0 : b.col0, a.col1 < b.col1 ? a.col1 : b.col1};
}

/* Cuts each of the `parts` intervals between edges in `factor`, as evenly as can be, the
 * larger ones first. Returns the new number of parts. */
static inline int ref_cut(int64_t edges[], int parts, int factor)
{
    for (int i = parts; i > 0; i--) { /* from the back, so that nothing is overwritten */
        int64_t begin = edges[i - 1], length = edges[i] - begin;
        edges[i * factor] = edges[i];
        for (int j = factor - 1; j > 0; j--) {
            int64_t larger = length % factor < j ? length % factor : j;
            edges[(i - 1) * factor + j] = begin + j * (length / factor) + larger;
        }
    }
    return parts * factor;
}

/* The same by every prime factor of p, smallest first. */
static inline int ref_cut_by_factors(int64_t edges[], int parts, int p)
{
    for (int f = 2; p > 1; f++)
        for (; p % f == 0; p /= f) parts = ref_cut(edges, parts, f);
    return parts;
}

enum { REF_EDGES = 4097 };

/* The interval of [0, extent) that rank holds along the axes of list. */
static inline void ref_interval(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                                int rank, int64_t *begin, int64_t *end)
{
    int64_t edges[REF_EDGES] = {0, (extent + unit - 1) / unit};
    int parts = 1, index = 0;
    for (; list; list >>= 4) {
        int axis = (int)(list & 15) - 1, size = clv_grid_axis(grid, axis).size;
        parts = ref_cut_by_factors(edges, parts, size);
        index = index * size + clv_grid_coord(grid, rank, axis);
    }
    int64_t from = edges[index] * unit, to = edges[index + 1] * unit;
    *begin = from < extent ? from : extent;
    *end = to < extent ? to : extent;
}

static inline ref_rect ref_block(const clv_grid *grid, clv_spec spec, int rank)
{
    ref_rect r;
    ref_interval(grid, spec.m, spec.m_unit ? spec.m_unit : 1, spec.layout.rows, rank, &r.row0,
                 &r.row1);
    ref_interval(grid, spec.n, spec.n_unit ? spec.n_unit : 1, spec.layout.cols, rank, &r.col0,
                 &r.col1);
    return r;
}

/* The product of the sizes of the axes in a set, and my place among their coordinates. */
static inline int ref_set_size(const clv_grid *grid, clv_axes set)
{
    int size = 1;
    for (int a = 0; a < clv_grid_naxes(grid); a++)
        if (set >> a & 1) size *= clv_grid_axis(grid, a).size;
    return size;
}
static inline int ref_set_index(const clv_grid *grid, clv_axes set)
{
    int index = 0;
    for (int a = 0; a < clv_grid_naxes(grid); a++)
        if (set >> a & 1)
            index =
                index * clv_grid_axis(grid, a).size + clv_grid_coord(grid, clv_grid_rank(grid), a);
    return index;
}

static inline clv_axes ref_list_set(clv_order list)
{
    clv_axes set = 0;
    for (; list; list >>= 4) set |= 1u << ((list & 15) - 1);
    return set;
}
/* The axes that hold copies. */
static inline clv_axes ref_copies(const clv_grid *grid, clv_layout layout)
{
    clv_axes all = (1u << clv_grid_naxes(grid)) - 1;
    return all & ~(ref_list_set(layout.rows) | ref_list_set(layout.cols) | layout.sum);
}

/* ---- Values ------------------------------------------------------------------ */

/* Element (i, j) of the matrix called key: an integer from -4 to 4. */
static inline double ref_value(uint64_t key, int64_t i, int64_t j)
{
    uint64_t state = key * 1000003u + (uint64_t)i * 8191u + (uint64_t)j;
    return (double)check_random_below(&state, 9) - 4;
}

/* The term of it that the process with place s of S along the sum axes holds; they add
 * up to the value and none of them is the value itself when S > 1, but by chance. */
static inline double ref_term(uint64_t key, int64_t i, int64_t j, int s, int S)
{
    double mine = ref_value(key + 77 * (uint64_t)(s + 1), i, j);
    double before = ref_value(key + 77 * (uint64_t)s, i, j);
    if (s == 0) before = 0;
    if (s == S - 1) mine = ref_value(key, i, j);
    return mine - before; /* telescopes */
}

/* The whole matrix, m x n: alpha times the one called key. */
static inline void ref_whole(int64_t m, int64_t n, uint64_t key, double *whole)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) whole[i * n + j] = ref_value(key, i, j);
}

/* C[m,n] = A[m,k] B[k,n], the plain triple loop. */
static inline void ref_product(int64_t m, int64_t n, int64_t k, const double *A, const double *B,
                               double *C)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++) sum += A[i * k + l] * B[l * n + j];
            C[i * n + j] = sum;
        }
}

/* ---- Matrices over guarded memory ---------------------------------------------- */

typedef struct {
    clv_matrix *matrix;
    unsigned char *memory;
    size_t bytes; /* of memory, guards included */
} ref_matrix;

enum { REF_GUARD = 0xA5, REF_MARGIN = 64 };

/* Wraps a block whose rows are pad elements longer than its columns. */
static inline ref_matrix ref_wrap(clv_grid *grid, clv_spec spec, int64_t pad)
{
    ref_rect mine = ref_block(grid, spec, clv_grid_rank(grid));
    int64_t m = mine.row1 - mine.row0, ld = mine.col1 - mine.col0 + pad;
    ref_matrix r = {.bytes = (size_t)(m * ld) * clv_dtype_size(spec.dtype) + 2 * REF_MARGIN};
    r.memory = malloc(r.bytes);
    memset(r.memory, REF_GUARD, r.bytes);
    CHECK_OK(clv_matrix_wrap(grid, spec, r.memory + REF_MARGIN, ld, &r.matrix));
    return r;
}

/* Whether nothing outside the block was written. */
static inline bool ref_guarded(const ref_matrix *r)
{
    clv_block b = clv_matrix_block(r->matrix);
    size_t size = clv_dtype_size(clv_matrix_spec(r->matrix).dtype);
    size_t ld = (size_t)b.ld * size, n = (size_t)b.n * size, inside = (size_t)b.m * ld;
    for (size_t i = 0; i < r->bytes; i++) {
        size_t at = i - REF_MARGIN;
        if (i >= REF_MARGIN && at < inside && at % ld < n) continue;
        if (r->memory[i] != REF_GUARD) return false;
    }
    return true;
}

static inline void ref_free(ref_matrix *r)
{
    CHECK(ref_guarded(r));
    clv_matrix_destroy(&r->matrix);
    free(r->memory);
}

/* The matrix called key, whatever its layout; as its transpose where `transposed`. */
static inline void ref_fill(clv_matrix *matrix, uint64_t key, bool transposed)
{
    clv_grid *grid = clv_matrix_grid(matrix);
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block b = clv_matrix_block(matrix);
    int S = ref_set_size(grid, spec.layout.sum), s = ref_set_index(grid, spec.layout.sum);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++) {
            int64_t row = b.row0 + i, col = b.col0 + j;
            double x = transposed ? ref_term(key, col, row, s, S) : ref_term(key, row, col, s, S);
            clvi_set(spec.dtype, b.data, i * b.ld + j, x);
        }
}

/* Every element of my block is value: NaN shows whether it is read. */
static inline void ref_fill_with(clv_matrix *matrix, double value)
{
    clv_block b = clv_matrix_block(matrix);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            clvi_set(clv_matrix_spec(matrix).dtype, b.data, i * b.ld + j, value);
}

/* values[i] become their sums over all ranks of the world; polls and yields. */
static inline void ref_sum(double values[], int count)
{
    MPI_Request request;
    int done = 0;
    MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD, &request);
    while (MPI_Test(&request, &done, MPI_STATUS_IGNORE), !done) sched_yield();
}

/* Whether all ranks bring the same number. */
static inline bool ref_same(double value)
{
    double values[2] = {value, value * value}; /* equal iff the variance is 0; small integers */
    ref_sum(values, 2);
    return values[0] * values[0] == values[1] * check_size();
}

/* My terms of a matrix with pending sums, in room for the whole matrix once for each of its copies:
 * what all ranks put there adds up to the matrix, in every copy. Returns the elements of that room;
 * terms may be NULL. */
static inline size_t ref_terms(const clv_matrix *matrix, double *terms)
{
    clv_grid *grid = clv_matrix_grid(matrix);
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block b = clv_matrix_block(matrix);
    clv_axes copies = ref_copies(grid, spec.layout);
    size_t whole = (size_t)(spec.m * spec.n), count = whole * (size_t)ref_set_size(grid, copies);
    if (!terms) return count;
    memset(terms, 0, count * sizeof *terms);
    terms += whole * (size_t)ref_set_index(grid, copies);
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++)
            terms[(b.row0 + i) * spec.n + b.col0 + j] = clvi_get(spec.dtype, b.data, i * b.ld + j);
    return count;
}

/* How many of my block's elements differ from scale * want[m,n] by more than tolerance. */
static inline int64_t ref_wrong_here(const clv_matrix *matrix, const double *want, double scale,
                                     double tolerance)
{
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block b = clv_matrix_block(matrix);
    ref_rect r = ref_block(clv_matrix_grid(matrix), spec, check_rank());
    int64_t wrong = 0;
    if (b.m != r.row1 - r.row0 || b.n != r.col1 - r.col0) return 1;
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++) {
            double x = want[(r.row0 + i) * spec.n + r.col0 + j];
            wrong += !(fabs(clvi_get(spec.dtype, b.data, i * b.ld + j) - scale * x) <= tolerance);
        }
    return wrong;
}

/* The same for any matrix; with pending sums that of the whole matrix in any copy. Collective. */
static inline int64_t ref_wrong(const clv_matrix *matrix, const double *want, double scale,
                                double tolerance)
{
    clv_spec spec = clv_matrix_spec(matrix);
    if (!spec.layout.sum) return ref_wrong_here(matrix, want, scale, tolerance);
    size_t count = ref_terms(matrix, NULL), whole = (size_t)(spec.m * spec.n);
    double *sums = calloc(count + 1, sizeof *sums);
    int64_t wrong = 0;
    ref_terms(matrix, sums);
    ref_sum(sums, (int)count);
    for (size_t i = 0; i < count; i++)
        wrong += !(fabs(sums[i] - scale * want[i % whole]) <= tolerance);
    free(sums);
    return wrong;
}

#endif
