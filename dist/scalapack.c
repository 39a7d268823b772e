/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack.c: products by ScaLAPACK's p?gemm (Choi et al. 1996), a second opinion and a rival.
 *
 * ScaLAPACK is column-major: our row-major A[r|c] is its column-major A^T[c|r], so the columns'
 * axes make the rows of its process grid. The product is the transposed one,
 *
 *     C^T[c|r] = op(B)^T op(A)^T,   each operand flagged as ours is: B^T is op(B)^T for CLV_N.
 *
 * Its distribution is block-cyclic: block b of nb indices belongs to process b mod p. One block a
 * process, our kind, is the case nb p >= extent. A dimension cut unevenly is that only when every
 * part but the last non-empty one has the same length (4,4,3 is; 3,2,2 and 2,1,2,1 are not).
 *
 * BLACS and PBLAS wait inside MPI's blocking calls, which never yield the processor: with more
 * ranks than cores a product takes many times longer than our own. That is why it is not the
 * default; and its failures (no memory for a panel) abort the program, so that everything that can
 * be checked is checked before.
 */
#include <clvi_scalapack.h>
#include <stdlib.h>

/* What ScaLAPACK and the BLACS export; they come without a header. */
int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int system);
void Cblacs_gridmap(int *context, int *ranks, int ld, int nprow, int npcol);
void Cblacs_gridexit(int context);
void pdgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
             const double *alpha, const double *A, const int *ia, const int *ja, const int *desca,
             const double *B, const int *ib, const int *jb, const int *descb, const double *beta,
             double *C, const int *ic, const int *jc, const int *descc);
void psgemm_(const char *transa, const char *transb, const int *m, const int *n, const int *k,
             const float *alpha, const float *A, const int *ia, const int *ja, const int *desca,
             const float *B, const int *ib, const int *jb, const int *descb, const float *beta,
             float *C, const int *ic, const int *jc, const int *descc);

/* An extent dealt in blocks to parts processes, at most one block each. */
typedef struct {
    int64_t extent, block, parts;
} dealt;

typedef struct {
    dealt rows, cols;
} deal;

struct clvi_scalapack {
    int context;
    clv_op op_a, op_b;
    deal A, B, C;
    clv_dtype dtype;
};

/* ---- Which layouts and sizes ------------------------------------------------ */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The place of a process among those that a list of axes counts, outermost first. */
static int place(const clv_grid *grid, clv_order list, const int coords[])
{
    int index = 0;
    for (int i = 0; i < clv_order_length(list); i++) {
        int axis = clv_order_axis(list, i);
        index = index * clv_grid_axis(grid, axis).size + coords[axis];
    }
    return index;
}

static int count_parts(const clv_grid *grid, clv_order list)
{
    int parts = 1;
    for (int i = 0; i < clv_order_length(list); i++)
        parts *= clv_grid_axis(grid, clv_order_axis(list, i)).size;
    return parts;
}

/* The axes along which there is more than one process: only these have a say here. */
static clv_axes wide_axes(const clv_grid *grid)
{
    clv_axes wide = 0;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (clv_grid_axis(grid, axis).size > 1) wide |= 1u << axis;
    return wide;
}

/* Whether every process's range is the one that dealing blocks gives it; fills *d. */
static bool deal_extent(const clv_grid *grid, int64_t extent, int64_t unit, clv_order list,
                        dealt *d)
{
    int coords[CLV_MAX_AXES];
    clvi_grid_coords(grid, 0, coords);
    if (unit == 0) unit = 1;
    int64_t first = clvi_split_axes(grid, extent, unit, list, coords).end;
    *d = (dealt){extent, larger(first, 1), count_parts(grid, list)};
    for (int rank = 1; rank < clv_grid_size(grid); rank++) {
        clvi_grid_coords(grid, rank, coords);
        clvi_range found = clvi_split_axes(grid, extent, unit, list, coords);
        int64_t begin = smaller(d->block * place(grid, list, coords), extent);
        int64_t end = smaller(begin + d->block, extent);
        if (found.end - found.begin != end - begin) return false;
        if (begin < end && found.begin != begin) return false;
    }
    return true;
}

/* PBLAS sizes its panels in 32 bits of bytes. A panel is all of one extent by a block of another,
 * or by the whole of it where neither matrix that has it is cut there. */
static clv_status check_panels(const dealt dims[3][2], size_t element, char *why, size_t size)
{
    for (int i = 0; i < 3; i++) {
        bool whole = dims[i][0].parts == 1 && dims[i][1].parts == 1;
        int64_t extent = dims[i][0].extent;
        int64_t depth = whole ? extent : smaller(extent, pilaenv_(NULL, NULL));
        int64_t length = larger(dims[(i + 1) % 3][0].extent, dims[(i + 2) % 3][0].extent);
        if (depth == 0 || length <= INT32_MAX / (int64_t)element / depth) continue;
        snprintf(why, size,
                 "ScaLAPACK counts the bytes of a panel in 32 bits: expected at most %d, found "
                 "%lld x %lld elements of %zu",
                 INT32_MAX, (long long)length, (long long)depth, element);
        return CLV_ELIMIT;
    }
    return CLV_OK;
}

/* Fills *d for one operand, or says why not. */
static clv_status accept_operand(const clv_grid *grid, const char *name, clv_spec spec,
                                 clv_order rows, clv_order cols, deal *d, char *why, size_t size)
{
    char text[256];
    clvi_spec_format(grid, spec, text, sizeof text);
    clv_axes wide = wide_axes(grid);
    if (clvi_order_keep(spec.layout.rows, wide) != rows ||
        clvi_order_keep(spec.layout.cols, wide) != cols ||
        (clv_order_set(rows) | clv_order_set(cols)) != wide) {
        snprintf(why, size,
                 "ScaLAPACK: expected every axis to shard the rows or the columns, the same ones "
                 "in A, B and C; found %s: %s",
                 name, text);
        return CLV_EUNSUPPORTED;
    }
    if (larger(spec.m, spec.n) > INT32_MAX) {
        snprintf(why, size, "ScaLAPACK counts in 32 bits: expected extents up to %d, found %s: %s",
                 INT32_MAX, name, text);
        return CLV_ELIMIT;
    }
    if (!deal_extent(grid, spec.m, spec.m_unit, rows, &d->rows) ||
        !deal_extent(grid, spec.n, spec.n_unit, cols, &d->cols)) {
        snprintf(why, size,
                 "ScaLAPACK: expected blocks of one size, only the last smaller; found %s: %s, "
                 "which is cut otherwise",
                 name, text);
        return CLV_EUNSUPPORTED;
    }
    return CLV_OK;
}

/* Fills *plan (all but its context) or says why not. Local, and the same on every process. */
static clv_status accept(const clv_grid *grid, clv_op op_a, clv_spec A, clv_op op_b, clv_spec B,
                         clv_spec C, clvi_scalapack *plan, char *why, size_t size)
{
    clv_status status;
    bool ta = op_a == CLV_T, tb = op_b == CLV_T;
    clv_order rows = clvi_order_keep(C.layout.rows, wide_axes(grid));
    clv_order cols = clvi_order_keep(C.layout.cols, wide_axes(grid));
    deal a, b, c;
    CLVI_TRY(accept_operand(grid, "C", C, rows, cols, &c, why, size));
    CLVI_TRY(accept_operand(grid, "A", A, rows, cols, &a, why, size));
    CLVI_TRY(accept_operand(grid, "B", B, rows, cols, &b, why, size));
    const dealt dims[3][2] = {{c.rows, ta ? a.cols : a.rows},
                              {c.cols, tb ? b.rows : b.cols},
                              {ta ? a.rows : a.cols, tb ? b.cols : b.rows}};
    CLVI_TRY(check_panels(dims, clv_dtype_size(C.dtype), why, size));
    *plan = (clvi_scalapack){.op_a = op_a, .op_b = op_b, .dtype = C.dtype, .A = a, .B = b, .C = c};
done:
    return status;
}

/* ---- BLACS contexts, which live as long as the grid --------------------------- */

/* A context is four communicators, too many to make one for each plan, and freeing them is
 * Collective: the grid keeps one for each way that its processes are arranged. */
typedef struct context {
    clv_order rows, cols;
    int id;
    struct context *next;
} context;

typedef struct {
    int system;
    context *first;
} contexts;

static void free_contexts(void *object)
{
    contexts *all = object;
    for (context *next, *c = all->first; c; c = next) {
        next = c->next;
        Cblacs_gridexit(c->id);
        free(c);
    }
    Cfree_blacs_system_handle(all->system);
    free(all);
}

/* Those of the grid; NULL where there is no memory. Local. */
static contexts *open_contexts(clv_grid *grid)
{
    contexts *all = clvi_grid_kept(grid, free_contexts);
    if (all || !(all = calloc(1, sizeof *all))) return all;
    all->system = Csys2blacs_handle(clvi_grid_comm(grid));
    if (clvi_grid_keep(grid, all, free_contexts)) return all;
    Cfree_blacs_system_handle(all->system);
    free(all);
    return NULL;
}

/* The context whose process (i, j) is the one at place i of cols and j of rows. Collective. */
static clv_status find_context(clv_grid *grid, clv_order rows, clv_order cols, int *id)
{
    int nprow = count_parts(grid, cols), npcol = count_parts(grid, rows);
    int coords[CLV_MAX_AXES], *ranks = NULL;
    context *made = NULL;
    contexts *all = open_contexts(grid);
    for (context *c = all ? all->first : NULL; c; c = c->next)
        if (c->rows == rows && c->cols == cols) {
            *id = c->id;
            return CLV_OK;
        }
    clv_status status = CLV_OK;
    if (all) ranks = malloc((size_t)clv_grid_size(grid) * sizeof *ranks);
    if (ranks) made = malloc(sizeof *made);
    if (!made) status = clvi_fail(CLV_ENOMEM, "a BLACS context of %d x %d", nprow, npcol);
    CLVI_TRY(clv_grid_agree(grid, status));
    for (int rank = 0; rank < clv_grid_size(grid); rank++) {
        clvi_grid_coords(grid, rank, coords);
        ranks[place(grid, cols, coords) + place(grid, rows, coords) * nprow] = rank;
    }
    *made = (context){rows, cols, all->system, all->first};
    Cblacs_gridmap(&made->id, ranks, nprow, nprow, npcol);
    *id = made->id;
    all->first = made;
    made = NULL;
done:
    free(made);
    free(ranks);
    return status;
}

/* ---- Plan and execute --------------------------------------------------------- */

clv_status clvi_scalapack_plan(clv_grid *grid, clv_op op_a, const clv_matrix *A, clv_op op_b,
                               const clv_matrix *B, const clv_matrix *C, clvi_scalapack **plan)
{
    char why[512] = "";
    clv_status status;
    clv_axes wide = wide_axes(grid);
    clv_layout layout = clv_matrix_spec(C).layout;
    clvi_scalapack *made = *plan = malloc(sizeof *made);
    if (!made) {
        status = clvi_fail(CLV_ENOMEM, "a plan for ScaLAPACK");
    } else {
        status = accept(grid, op_a, clv_matrix_spec(A), op_b, clv_matrix_spec(B),
                        clv_matrix_spec(C), made, why, sizeof why);
        if (status != CLV_OK) clvi_fail(status, "%s", why);
    }
    CLVI_TRY(clv_grid_agree(grid, status));
    CLVI_TRY(find_context(grid, clvi_order_keep(layout.rows, wide),
                          clvi_order_keep(layout.cols, wide), &made->context));
done:
    if (status != CLV_OK) clvi_scalapack_destroy(plan);
    return status;
}

void clvi_scalapack_destroy(clvi_scalapack **plan)
{
    if (!plan) return;
    free(*plan);
    *plan = NULL;
}

/* A block with the descriptor of the column-major matrix that it is the transpose of. */
typedef struct {
    void *data;
    int desc[9]; /* type, context, m, n, mb, nb, first process row and column, ld */
} operand;

static operand describe(int context, deal d, clv_block block)
{
    return (operand){block.data,
                     {1, context, (int)d.cols.extent, (int)d.rows.extent, (int)d.cols.block,
                      (int)d.rows.block, 0, 0, (int)larger(block.ld, 1)}};
}

static void call(clv_dtype dtype, const char *ta, const char *tb, int m, int n, int k, double alpha,
                 operand A, operand B, double beta, operand C)
{
    const int one = 1;
    if (dtype == CLV_F64) {
        pdgemm_(ta, tb, &m, &n, &k, &alpha, A.data, &one, &one, A.desc, B.data, &one, &one, B.desc,
                &beta, C.data, &one, &one, C.desc);
    } else {
        float a = (float)alpha, b = (float)beta;
        psgemm_(ta, tb, &m, &n, &k, &a, A.data, &one, &one, A.desc, B.data, &one, &one, B.desc, &b,
                C.data, &one, &one, C.desc);
    }
}

clv_status clvi_scalapack_execute(const clvi_scalapack *plan, double alpha, const clv_matrix *A,
                                  const clv_matrix *B, double beta, clv_matrix *C)
{
    clv_block a = clv_matrix_block(A), b = clv_matrix_block(B), c = clv_matrix_block(C);
    int64_t m = plan->C.rows.extent, n = plan->C.cols.extent;
    int64_t k = plan->op_a == CLV_T ? plan->A.rows.extent : plan->A.cols.extent;
    clv_status status = CLV_OK;
    int64_t ld = larger(a.ld, larger(b.ld, c.ld));
    if (ld > INT32_MAX)
        status = clvi_fail(CLV_ELIMIT, "ScaLAPACK: expected an ld of at most %d, found %lld",
                           INT32_MAX, (long long)ld);
    /* Whoever comes late is waited for here, politely, and not inside PBLAS. */
    status = clv_grid_agree(clv_matrix_grid(C), status);
    if (status != CLV_OK || m == 0 || n == 0) return status;
    call(plan->dtype, plan->op_b == CLV_T ? "T" : "N", plan->op_a == CLV_T ? "T" : "N", (int)n,
         (int)m, (int)k, alpha, describe(plan->context, plan->B, b),
         describe(plan->context, plan->A, a), beta, describe(plan->context, plan->C, c));
    return CLV_OK;
}
