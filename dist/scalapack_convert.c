/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack_convert.c: elements between a matrix in any layout and a block-cyclic one.
 *
 * What one process's block and another's part have in common is a set of rows times a set of
 * columns: the indices of the block's ranges that are dealt to the other. Each such set travels in
 * one message, row by row, or is copied straight where both are the same process. So
 *
 *     cyclic := matrix   each process receives its part but for what is in its own block;
 *     matrix := cyclic   each process receives its block but for what is in its own part.
 *
 * Of copies every process takes those with its own coordinates along the axes that hold them, so
 * each element once, its own where it has one, and the work is spread. Pending sums are added up
 * first, by a move into a layout that their axes cut.
 */
#include <clvi_scalapack.h>
#include <stdlib.h>
#include <string.h>

enum { TAG = 17 };

/* What a block and a part have in common: rows and columns of the matrix within the block's ranges
 * that are dealt to (row, col): m x n elements. */
typedef struct {
    int peer;
    int row, col; /* place among those that the matrix's rows and columns are dealt to */
    clvi_range rows, cols;
    int64_t m, n;
    char *packed; /* m rows of n elements */
} parcel;

/* One way: gives and takes are messages, own stays (m n may be 0). */
typedef struct {
    clv_spec spec; /* of the matrix that is read or written, without pending sums */
    int ngives, ntakes;
    parcel *gives, *takes, own;
} way;

struct clv_cyclic_plan {
    clv_grid *grid;
    clv_spec spec;
    int64_t cyclic[CLVI_CYCLIC_VALUES];
    clvi_dealt rows, cols; /* of the matrix's rows and columns */
    size_t element;
    way from, to;
    clv_plan *sum;      /* of pending sums, else NULL */
    clv_matrix *summed; /* their matrix               */
    void *space;        /* what parcels are packed in */
    size_t bytes;
    MPI_Request *requests;
};

/* ---- Who passes what to whom ---- */

/* The place of each rank among those that rows and columns are dealt to; -1: none. */
typedef struct {
    int row, col;
} place;

static void find_places(const clv_cyclic *cyclic, place places[])
{
    int p = cyclic->rows.parts, q = cyclic->cols.parts;
    for (int rank = 0; rank < clv_grid_size(cyclic->grid); rank++) places[rank] = (place){-1, -1};
    for (int e = 0; e < p * q; e++) {
        place at = {e % p, e / p};
        places[cyclic->ranks[e]] = cyclic->transposed ? (place){at.col, at.row} : at;
    }
}

static int64_t dealt_within(clvi_dealt d, int place, clvi_range range)
{
    return clvi_dealt_count(d, place, range.end) - clvi_dealt_count(d, place, range.begin);
}

static parcel common(const clv_cyclic_plan *plan, clv_block block, place at, int peer)
{
    parcel c = {.peer = peer,
                .row = at.row,
                .col = at.col,
                .rows = {block.row0, block.row0 + block.m},
                .cols = {block.col0, block.col0 + block.n}};
    if (at.row < 0) return c;
    c.m = dealt_within(plan->rows, at.row, c.rows);
    c.n = dealt_within(plan->cols, at.col, c.cols);
    return c;
}

static int64_t elements(parcel c)
{
    return c.m * c.n;
}

/* What the block of rank `holder` and the part of rank `dealt` pass each other on this way. */
static parcel passed(const clv_cyclic_plan *plan, const way *w, const place places[], int holder,
                     int dealt)
{
    clv_axes copies = clvi_layout_copies(plan->grid, w->spec.layout);
    int peer = holder == clv_grid_rank(plan->grid) ? dealt : holder;
    bool pass = w == &plan->from
                    ? clvi_grid_agree_along(plan->grid, holder, dealt, copies)
                    : clvi_grid_agree_along(plan->grid, holder, 0, plan->spec.layout.sum);
    if (!pass) return (parcel){.peer = peer};
    return common(plan, clv_spec_block(plan->grid, w->spec, holder), places[dealt], peer);
}

/* Lists the parcels of one way, the ranks after this one first so that not all begin with the
 * same. */
static clv_status list_parcels(clv_cyclic_plan *plan, way *w, const place places[])
{
    int rank = clv_grid_rank(plan->grid), size = clv_grid_size(plan->grid);
    w->gives = clvi_alloc((size_t)size * sizeof *w->gives);
    w->takes = clvi_alloc((size_t)size * sizeof *w->takes);
    if (!w->gives || !w->takes)
        return clvi_fail(CLV_ENOMEM, "a conversion among %d processes", size);
    w->own = passed(plan, w, places, rank, rank);
    for (int i = 1; i < size; i++) {
        int peer = (rank + i) % size;
        parcel of_block = passed(plan, w, places, rank, peer);
        parcel of_part = passed(plan, w, places, peer, rank);
        parcel give = w == &plan->from ? of_block : of_part;
        parcel take = w == &plan->from ? of_part : of_block;
        if (elements(give) > 0) w->gives[w->ngives++] = give;
        if (elements(take) > 0) w->takes[w->ntakes++] = take;
    }
    return CLV_OK;
}

/* Gives each parcel of one way its place in space (NULL: counts only); returns the bytes. */
static size_t place_parcels(way *w, size_t element, char *space)
{
    size_t bytes = 0;
    for (int i = 0; i < w->ngives + w->ntakes; i++) {
        parcel *c = i < w->ngives ? &w->gives[i] : &w->takes[i - w->ngives];
        c->packed = space ? space + bytes : NULL;
        bytes += clvi_round_up((size_t)elements(*c) * element);
    }
    return bytes;
}

/* ---- Planning ---- */

static clv_status check_plan(const clv_matrix *matrix, const clv_cyclic *cyclic)
{
    clv_status status = CLV_OK;
    clv_spec spec = clv_matrix_spec(matrix);
    int64_t m = cyclic->rows.extent, n = cyclic->cols.extent;
    CLVI_CHECK(clv_matrix_grid(matrix) == cyclic->grid, CLV_EARG,
               "block-cyclic: expected both matrices on one grid");
    CLVI_CHECK(spec.dtype == cyclic->dtype, CLV_EDTYPE, "block-cyclic: expected %s, found %s",
               clv_dtype_name(cyclic->dtype), clv_dtype_name(spec.dtype));
    if (cyclic->transposed)
        CLVI_CHECK(spec.m == n && spec.n == m, CLV_ESHAPE,
                   "block-cyclic: expected %lld x %lld for the transpose of %lld x %lld, found "
                   "%lld x %lld",
                   (long long)n, (long long)m, (long long)m, (long long)n, (long long)spec.m,
                   (long long)spec.n);
    else
        CLVI_CHECK(spec.m == m && spec.n == n, CLV_ESHAPE,
                   "block-cyclic: expected %lld x %lld, found %lld x %lld", (long long)m,
                   (long long)n, (long long)spec.m, (long long)spec.n);
done:
    return status;
}

/* Axes with pending sums cut the rows, or the columns where there are too few rows. */
static clv_spec without_sums(const clv_grid *grid, clv_spec spec)
{
    clv_order sums = 0, *list = &spec.layout.rows;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (spec.layout.sum >> axis & 1) sums = clv_order_append(sums, axis);
    int64_t parts = (int64_t)clvi_order_parts(grid, *list) * clvi_order_parts(grid, sums);
    if (clvi_units(spec.m, clvi_unit(spec.m_unit)) < parts) list = &spec.layout.cols;
    *list = clv_order_join(*list, sums);
    spec.layout.sum = 0;
    return spec;
}

static clv_status plan_sum(clv_cyclic_plan *plan, const clv_matrix *matrix)
{
    clv_status status = CLV_OK;
    clv_spec spec = clvi_spec_without_single_axes(plan->grid, plan->spec);
    plan->from.spec = plan->to.spec = spec;
    if (!spec.layout.sum) return status;
    plan->from.spec = without_sums(plan->grid, spec);
    CLVI_TRY(clv_matrix_create(plan->grid, plan->from.spec, &plan->summed));
    CLVI_TRY(
        clv_plan_move(matrix, plan->summed, &(clv_plan_options){.overwrite = true}, &plan->sum));
done:
    return status;
}

/* Local. */
static clv_status reserve(clv_cyclic_plan *plan, const clv_cyclic *cyclic)
{
    clv_status status;
    size_t size = (size_t)clv_grid_size(plan->grid);
    place *places = clvi_alloc(size * sizeof *places);
    plan->requests = clvi_alloc(2 * size * sizeof(MPI_Request));
    CLVI_CHECK(places && plan->requests, CLV_ENOMEM, "a conversion among %zu processes", size);
    find_places(cyclic, places);
    CLVI_TRY(list_parcels(plan, &plan->from, places));
    CLVI_TRY(list_parcels(plan, &plan->to, places));
    size_t from = place_parcels(&plan->from, plan->element, NULL);
    size_t to = place_parcels(&plan->to, plan->element, NULL);
    plan->bytes = from > to ? from : to;
    plan->space = clvi_alloc(plan->bytes);
    CLVI_CHECK(plan->space, CLV_ENOMEM, "rank %d: %zu bytes of workspace for a conversion",
               clv_grid_rank(plan->grid), plan->bytes);
    place_parcels(&plan->from, plan->element, plan->space);
    place_parcels(&plan->to, plan->element, plan->space);
done:
    clvi_free(places);
    return status;
}

clv_status clv_plan_cyclic(const clv_matrix *matrix, const clv_cyclic *cyclic,
                           clv_cyclic_plan **out)
{
    clv_grid *grid = clv_matrix_grid(matrix);
    int64_t values[CLVI_SPEC_VALUES + CLVI_CYCLIC_VALUES];
    clv_cyclic_plan *plan = *out = NULL;
    clv_status status = check_plan(matrix, cyclic);
    if (status == CLV_OK && !(plan = *out = clvi_alloc(sizeof *plan)))
        status = clvi_fail(CLV_ENOMEM, "a conversion");
    clvi_spec_values(clv_matrix_spec(matrix), values);
    clvi_cyclic_values(cyclic, values + CLVI_SPEC_VALUES);
    CLVI_TRY(clvi_grid_same(grid, status, CLVI_SPEC_NAMES("the matrix") "," CLVI_CYCLIC_NAMES,
                            CLVI_SPEC_VALUES + CLVI_CYCLIC_VALUES, values));
    plan->grid = grid;
    plan->spec = clv_matrix_spec(matrix);
    plan->element = clv_dtype_size(plan->spec.dtype);
    plan->rows = cyclic->transposed ? cyclic->cols : cyclic->rows;
    plan->cols = cyclic->transposed ? cyclic->rows : cyclic->cols;
    clvi_cyclic_values(cyclic, plan->cyclic);
    CLVI_TRY(plan_sum(plan, matrix));
    CLVI_TRY(clv_grid_agree(grid, reserve(plan, cyclic)));
done:
    if (status != CLV_OK) clv_cyclic_plan_destroy(out);
    return status;
}

void clv_cyclic_plan_destroy(clv_cyclic_plan **out)
{
    if (!out || !*out) return;
    clv_cyclic_plan *plan = *out;
    way *const ways[] = {&plan->from, &plan->to};
    for (int i = 0; i < 2; i++) {
        clvi_free(ways[i]->gives);
        clvi_free(ways[i]->takes);
    }
    clv_plan_destroy(&plan->sum);
    clv_matrix_destroy(&plan->summed);
    clvi_free(plan->space);
    clvi_free(plan->requests);
    clvi_free(plan);
    *out = NULL;
}

static uint64_t taken(const clv_cyclic_plan *plan, const way *w)
{
    uint64_t bytes = 0;
    for (int i = 0; i < w->ntakes; i++) bytes += (uint64_t)elements(w->takes[i]) * plan->element;
    return bytes;
}

uint64_t clv_cyclic_from_bytes(const clv_cyclic_plan *plan)
{
    return taken(plan, &plan->from) + (plan->sum ? clv_plan_bytes(plan->sum) : 0);
}
uint64_t clv_cyclic_to_bytes(const clv_cyclic_plan *plan)
{
    return taken(plan, &plan->to);
}
uint64_t clv_cyclic_plan_memory(const clv_cyclic_plan *plan)
{
    uint64_t bytes = plan->bytes;
    if (!plan->sum) return bytes;
    clv_block block = clv_matrix_block(plan->summed);
    return bytes + (uint64_t)(block.m * block.n) * plan->element + clv_plan_memory(plan->sum);
}

/* ---- Copying ---- */

/* Elements of a matrix in memory: (i, j) is data[i * down + j * right], in bytes. For a part they
 * are counted by its own indices, for a parcel from its first ones, for a block by global ones. */
typedef struct {
    char *data;
    int64_t down, right;
    bool global;
    int64_t row0, col0;
} side;

/* The side of a block, of this process's part, and of a packed parcel. */
static side of_block(const clv_cyclic_plan *plan, clv_block b)
{
    int64_t element = (int64_t)plan->element;
    return (side){b.data, b.ld * element, element, true, b.row0, b.col0};
}
static side of_part(const clv_cyclic_plan *plan, const clv_cyclic *cyclic)
{
    int64_t element = (int64_t)plan->element, column = cyclic->mine.ld * element;
    if (cyclic->transposed) return (side){cyclic->mine.data, column, element, false, 0, 0};
    return (side){cyclic->mine.data, element, column, false, 0, 0};
}
static side of_parcel(const clv_cyclic_plan *plan, const parcel *c)
{
    int64_t element = (int64_t)plan->element;
    return (side){c->packed,
                  c->n * element,
                  element,
                  false,
                  clvi_dealt_count(plan->rows, c->row, c->rows.begin),
                  clvi_dealt_count(plan->cols, c->col, c->cols.begin)};
}

static char *at(side s, const clvi_run *row, const clvi_run *col)
{
    int64_t i = s.global ? row->begin : row->local, j = s.global ? col->begin : col->local;
    return s.data + (i - s.row0) * s.down + (j - s.col0) * s.right;
}

/* dst[m,n] := src[m,n] where one of them is by rows and the other by columns: in tiles, so that a
 * line of memory is still in the cache when the next element of it is wanted. */
static void copy_turned(size_t element, int64_t m, int64_t n, char *dst, side d, const char *src,
                        side s)
{
    enum { TILE = 16 };
    for (int64_t i0 = 0; i0 < m; i0 += TILE)
        for (int64_t j0 = 0; j0 < n; j0 += TILE)
            for (int64_t i = i0; i < m && i < i0 + TILE; i++)
                for (int64_t j = j0; j < n && j < j0 + TILE; j++) {
                    char *to = dst + i * d.down + j * d.right;
                    const char *from = src + i * s.down + j * s.right;
                    if (element == 8)
                        *(uint64_t *)to = *(const uint64_t *)from;
                    else
                        *(uint32_t *)to = *(const uint32_t *)from;
                }
}

/* One rectangle of neighbours on both sides. */
static void copy_rectangle(size_t element, int64_t m, int64_t n, char *dst, side d, const char *src,
                           side s)
{
    if (dst == src) return; /* one is a view of the other */
    if (d.right != (int64_t)element || s.right != (int64_t)element) {
        copy_turned(element, m, n, dst, d, src, s);
        return;
    }
    for (int64_t i = 0; i < m; i++) memcpy(dst + i * d.down, src + i * s.down, (size_t)n * element);
}

static void copy_parcel(const clv_cyclic_plan *plan, const parcel *c, side dst, side src)
{
    clvi_run row, col;
    if (elements(*c) == 0) return;
    for (bool more = clvi_run_first(plan->rows, c->row, c->rows, &row); more;
         more = clvi_run_next(plan->rows, c->row, c->rows, &row))
        for (bool next = clvi_run_first(plan->cols, c->col, c->cols, &col); next;
             next = clvi_run_next(plan->cols, c->col, c->cols, &col))
            copy_rectangle(plan->element, row.length, col.length, at(dst, &row, &col), dst,
                           at(src, &row, &col), src);
}

/* ---- Executing ---- */

/* Starts one message; a process's part, and so a parcel, has fewer than 2^31 elements. */
static clv_status post(const clv_cyclic_plan *plan, bool send, const parcel *c,
                       MPI_Request *request)
{
    MPI_Comm comm = clvi_grid_comm(plan->grid);
    MPI_Datatype type = plan->element == 8 ? MPI_DOUBLE : MPI_FLOAT;
    uint64_t bytes = (uint64_t)elements(*c) * plan->element;
    int count = (int)elements(*c);
    int code = send ? MPI_Isend(c->packed, count, type, c->peer, TAG, comm, request)
                    : MPI_Irecv(c->packed, count, type, c->peer, TAG, comm, request);
    clvi_grid_count(plan->grid, send ? bytes : 0, send ? 0 : bytes);
    return clvi_mpi(code, send ? "MPI_Isend" : "MPI_Irecv");
}

static clv_status execute(clv_cyclic_plan *plan, const way *w, side dst, side src)
{
    clv_status status = CLV_OK;
    int n = 0;
    for (const parcel *c = w->takes; c < w->takes + w->ntakes; c++)
        CLVI_TRY(post(plan, false, c, &plan->requests[n++]));
    for (const parcel *c = w->gives; c < w->gives + w->ngives; c++) {
        copy_parcel(plan, c, of_parcel(plan, c), src);
        CLVI_TRY(post(plan, true, c, &plan->requests[n++]));
    }
    copy_parcel(plan, &w->own, dst, src); /* while the others travel */
    CLVI_TRY(clvi_wait_all(n, plan->requests));
    for (const parcel *c = w->takes; c < w->takes + w->ntakes; c++)
        copy_parcel(plan, c, dst, of_parcel(plan, c));
done:
    return status;
}

static clv_status check_execution(const clv_cyclic_plan *plan, const clv_matrix *matrix,
                                  const clv_cyclic *cyclic)
{
    clv_status status;
    int64_t values[CLVI_CYCLIC_VALUES];
    clvi_cyclic_values(cyclic, values);
    CLVI_TRY(clvi_matrix_expect(matrix, "block-cyclic", plan->grid, plan->spec));
    CLVI_CHECK(memcmp(values, plan->cyclic, sizeof values) == 0, CLV_EARG,
               "block-cyclic: expected a matrix that is dealt like the one planned with");
done:
    return status;
}

clv_status clv_cyclic_from(clv_cyclic_plan *plan, const clv_matrix *matrix, clv_cyclic *cyclic)
{
    clv_status status;
    CLVI_TRY(check_execution(plan, matrix, cyclic));
    if (plan->sum) CLVI_TRY(clv_execute_move(plan->sum, 1, matrix, 0, plan->summed));
    clv_block block = clv_matrix_block(plan->sum ? plan->summed : matrix);
    CLVI_TRY(execute(plan, &plan->from, of_part(plan, cyclic), of_block(plan, block)));
done:
    return status;
}

clv_status clv_cyclic_to(clv_cyclic_plan *plan, const clv_cyclic *cyclic, clv_matrix *matrix)
{
    clv_status status;
    int rank = clv_grid_rank(plan->grid);
    clv_block block = clv_matrix_block(matrix);
    CLVI_TRY(check_execution(plan, matrix, cyclic));
    if (!clvi_grid_agree_along(plan->grid, rank, 0, plan->spec.layout.sum))
        CLVI_TRY(clv_matrix_fill(matrix, 0)); /* coordinate 0 has the values */
    CLVI_TRY(execute(plan, &plan->to, of_block(plan, block), of_part(plan, cyclic)));
done:
    return status;
}
