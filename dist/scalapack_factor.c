/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack_factor.c: Cholesky, QR, symmetric eigenvalues and singular values by ScaLAPACK.
 *
 * All go one way: A is dealt in square blocks over the squarest process grid, factorised there, and
 * the results are carried to where the caller wants them. Processes that the process grid leaves
 * out wait politely. Whatever ScaLAPACK would only find out inside (sizes beyond 32 bits, elements
 * that are not finite, which some of its iterations never end on) is checked before, and
 * workspaces are computed here in 64 bits by the formulas of its documentation, because its own
 * queries overflow, or lose digits in single precision.
 */
#include <clvi_scalapack.h>
#include <math.h>
#include <stdlib.h>

enum { A_PART, FIRST, SECOND, PARTS };

/* One factorisation of A[m,n], k = min(m, n). */
typedef struct {
    const char *name;
    clv_grid *grid;
    clv_dtype dtype;
    int64_t m, n, k;
    int64_t mp, nq, kp, kq;   /* most rows or columns that a process gets of m, n, k and k */
    clv_cyclic_config config; /* how A is dealt */
    clv_cyclic *parts[PARTS];
    clv_cyclic_plan *plans[PARTS];
    void *work[4];
} job;

typedef struct {
    const char *name;
    const clv_matrix *matrix;
    int64_t m, n; /* expected */
} result;

/* ---- Checks before ------------------------------------------------------------------- */

static clv_status check_result(const job *j, const result *r)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(r->matrix && clv_matrix_grid(r->matrix) == j->grid, CLV_EARG,
               "%s: expected %s on the grid of A", j->name, r->name);
    clv_spec spec = clv_matrix_spec(r->matrix);
    CLVI_CHECK(spec.dtype == j->dtype, CLV_EDTYPE, "%s: expected %s of A's dtype, %s, found %s",
               j->name, r->name, clv_dtype_name(j->dtype), clv_dtype_name(spec.dtype));
    CLVI_CHECK(spec.m == r->m && spec.n == r->n, CLV_ESHAPE,
               "%s: expected %s of %lld x %lld, found %lld x %lld", j->name, r->name,
               (long long)r->m, (long long)r->n, (long long)spec.m, (long long)spec.n);
done:
    return status;
}

static clv_status check_operands(const job *j, bool square, const result results[2])
{
    clv_status status;
    CLVI_CHECK(j->dtype == CLV_F32 || j->dtype == CLV_F64, CLV_EDTYPE,
               "%s: expected f32 or f64, found %s", j->name, clv_dtype_name(j->dtype));
    CLVI_CHECK(!square || j->m == j->n, CLV_ESHAPE,
               "%s: expected a square matrix, found %lld x %lld", j->name, (long long)j->m,
               (long long)j->n);
    CLVI_TRY(check_result(j, &results[0]));
    if (results[1].name) CLVI_TRY(check_result(j, &results[1]));
done:
    return status;
}

/* Of place 0, where the first block is. */
static int64_t most(int64_t extent, int64_t block, int parts)
{
    return clvi_dealt_count((clvi_dealt){extent, block, parts, 0}, 0, extent);
}

/* Fills *j and agrees on the operands: A and one or two results. Collective. */
static clv_status open_job(job *j, const char *name, const clv_matrix *A, bool square,
                           const result results[2])
{
    clv_status status;
    int64_t values[3 * CLVI_SPEC_VALUES] = {0};
    clv_spec spec = clv_matrix_spec(A);
    *j = (job){.name = name,
               .grid = clv_matrix_grid(A),
               .dtype = spec.dtype,
               .m = spec.m,
               .n = spec.n,
               .k = clvi_smaller(spec.m, spec.n),
               .config = {.m = spec.m, .n = spec.n, .dtype = spec.dtype}};
    status = check_operands(j, square, results);
    clvi_spec_values(spec, values);
    for (int i = 0; status == CLV_OK && i < 2 && results[i].name; i++)
        clvi_spec_values(clv_matrix_spec(results[i].matrix), values + (i + 1) * CLVI_SPEC_VALUES);
    CLVI_TRY(clvi_grid_same(j->grid, status,
                            CLVI_SPEC_NAMES("A") "," CLVI_SPEC_NAMES(
                                "the first result") "," CLVI_SPEC_NAMES("the second result"),
                            3 * CLVI_SPEC_VALUES, values));
    clvi_cyclic_choose(clv_grid_size(j->grid), &j->config);
    j->mp = most(j->m, j->config.mb, j->config.p);
    j->nq = most(j->n, j->config.nb, j->config.q);
    j->kp = most(j->k, j->config.mb, j->config.p);
    j->kq = most(j->k, j->config.nb, j->config.q);
done:
    return status;
}

static void close_job(job *j)
{
    for (int i = 0; i < PARTS; i++) {
        clv_cyclic_plan_destroy(&j->plans[i]);
        clv_cyclic_destroy(&j->parts[i]);
    }
    for (int i = 0; i < 4; i++) clvi_free(j->work[i]);
}

/* What ScaLAPACK counts in 32 bits. */
typedef struct {
    const char *what;
    int64_t amount;
} count;

/* The same on every process. `extra` ends with {0}. */
static clv_status check_counts(const job *j, const count extra[])
{
    const int64_t element = (int64_t)clv_dtype_size(j->dtype);
    const count first[] = {
        {"rows", j->m},
        {"columns", j->n},
        {"elements of a process",
         j->mp > 0 && j->nq > INT64_MAX / j->mp ? INT64_MAX : j->mp * j->nq},
        {"bytes of a panel",
         clvi_larger(j->mp, j->nq) * clvi_smaller(j->k, pilaenv_(NULL, NULL)) * element},
        {0}};
    const count *const lists[] = {first, extra};
    for (int i = 0; i < 2; i++)
        for (const count *c = lists[i]; c->what; c++)
            if (c->amount > INT32_MAX)
                return clvi_fail(CLV_ELIMIT,
                                 "%s: ScaLAPACK counts in 32 bits: expected at most %d %s, found "
                                 "%lld for %lld x %lld on %d x %d processes",
                                 j->name, INT32_MAX, c->what, (long long)c->amount, (long long)j->m,
                                 (long long)j->n, j->config.p, j->config.q);
    return CLV_OK;
}

/* ---- To and from the process grid -------------------------------------------------------- */

static bool is_member(const job *j)
{
    return clv_cyclic_mine(j->parts[A_PART]).row >= 0;
}

static size_t element(const job *j)
{
    return clv_dtype_size(j->dtype);
}

/* A[i,j] := 0 for j > i in this process's part. */
static void clear_upper(clv_cyclic *cyclic)
{
    clv_cyclic_part part = clv_cyclic_mine(cyclic);
    for (int64_t j = 0; j < part.n; j++)
        for (int64_t i = 0; i < part.m; i++)
            if (clv_cyclic_col(cyclic, j) > clv_cyclic_row(cyclic, i))
                clvi_set(cyclic->dtype, part.data, i + j * part.ld, 0);
}

/* Collective. */
static clv_status check_finite(const job *j)
{
    clv_cyclic_part part = clv_cyclic_mine(j->parts[A_PART]);
    double bad = 0;
    for (int64_t c = 0; c < part.n; c++)
        for (int64_t r = 0; r < part.m; r++)
            bad += !isfinite(clvi_get(j->dtype, part.data, r + c * part.ld));
    clv_status status = clv_grid_reduce(j->grid, CLV_SUM, 1, &bad);
    if (status != CLV_OK || bad == 0) return status;
    return clvi_fail(CLV_ENUMERIC, "%s: expected finite elements, found %.0f infinite or NaN",
                     j->name, bad);
}

/* Deals A out; of a symmetric one its lower triangle. Collective. */
static clv_status deal_out(job *j, const clv_matrix *A, bool lower)
{
    clv_status status;
    clv_cyclic **part = &j->parts[A_PART];
    CLVI_TRY(clv_cyclic_create(j->grid, &j->config, part));
    CLVI_TRY(clv_plan_cyclic(A, *part, &j->plans[A_PART]));
    CLVI_TRY(clv_cyclic_from(j->plans[A_PART], A, *part));
    clv_cyclic_plan_destroy(&j->plans[A_PART]); /* its workspace is not needed any more */
    if (lower) clear_upper(*part);
    CLVI_TRY(check_finite(j));
done:
    return status;
}

/* Plans the way back of a result of m x n: its part is new, or the beginning of A's. Collective. */
static clv_status plan_result(job *j, int which, int64_t m, int64_t n, bool in_place,
                              const clv_matrix *matrix)
{
    clv_status status;
    clv_cyclic_config config = j->config;
    clv_cyclic_part a = clv_cyclic_mine(j->parts[A_PART]);
    config.m = m;
    config.n = n;
    if (in_place)
        CLVI_TRY(clv_cyclic_wrap(j->grid, &config, a.data, a.ld, &j->parts[which]));
    else
        CLVI_TRY(clv_cyclic_create(j->grid, &config, &j->parts[which]));
    CLVI_TRY(clv_plan_cyclic(matrix, j->parts[which], &j->plans[which]));
done:
    return status;
}

/* Workspaces of these bytes. Collective: everybody enters ScaLAPACK or nobody. */
static clv_status reserve(job *j, size_t w0, size_t w1, size_t w2)
{
    const size_t bytes[] = {w0, w1, w2};
    clv_status status = CLV_OK;
    for (int i = 0; i < 3 && status == CLV_OK; i++)
        if (!(j->work[i] = clvi_alloc(is_member(j) ? bytes[i] : 0)))
            status = clvi_fail(CLV_ENOMEM, "%s: rank %d: %zu bytes of workspace", j->name,
                               clv_grid_rank(j->grid), bytes[i]);
    return clv_grid_agree(j->grid, status);
}

/* INFO of the process grid, as *info on all. Collective. */
static clv_status agree_info(const job *j, int *info)
{
    double both[] = {*info, -*info};
    clv_status status = clv_grid_reduce(j->grid, CLV_MAX, 2, both);
    if (status != CLV_OK) return status;
    *info = both[0] > 0 ? (int)both[0] : (int)-both[1];
    if (*info >= 0) return CLV_OK;
    return clvi_fail(CLV_EUNSUPPORTED, "%s: ScaLAPACK refuses argument %d", j->name, -*info);
}

/* values[k] of the first process of the process grid, rank 0, on all; the others may not have
 * them. Collective. */
static clv_status spread_values(const job *j, const void *found, double values[])
{
    double bad = 0;
    clv_status status;
    if (clv_grid_rank(j->grid) == 0) clvi_convert(j->k, j->dtype, found, CLV_F64, values);
    CLVI_TRY(clv_grid_broadcast(j->grid, 0, values, (size_t)j->k * sizeof *values));
    for (int64_t i = 0; i < j->k; i++) bad += !isfinite(values[i]);
    CLVI_CHECK(bad == 0, CLV_ENUMERIC, "%s: %.0f of %lld values found are not finite", j->name, bad,
               (long long)j->k);
done:
    return status;
}

/* R[i,j] := 0 for j < i. */
static void clear_lower(clv_matrix *R)
{
    clv_block b = clv_matrix_block(R);
    clv_dtype dtype = clv_matrix_spec(R).dtype;
    for (int64_t i = 0; i < b.m; i++) {
        int64_t end =
            clvi_smaller(b.row0 + i - b.col0, b.n); /* the diagonal's column in the block */
        if (end > 0) clvi_fill(dtype, end, 0, clvi_at(b, dtype, i, 0));
    }
}

/* ---- The four ------------------------------------------------------------------------------ */

clv_status clv_cholesky(const clv_matrix *A, clv_matrix *L)
{
    job j;
    int info = 0;
    clv_status status;
    int64_t n = clv_matrix_spec(A).m;
    CLVI_TRY(open_job(&j, "clv_cholesky", A, true, (result[2]){{"L", L, n, n}}));
    CLVI_TRY(check_counts(&j, (count[]){{0}}));
    if (n == 0) goto done;
    CLVI_TRY(deal_out(&j, A, true)); /* zero above the diagonal, and left so */
    CLVI_TRY(plan_result(&j, FIRST, n, n, true, L));
    CLVI_TRY(clv_grid_barrier(j.grid));
    if (is_member(&j)) info = clvi_ppotrf(j.dtype, n, j.parts[A_PART]->operand);
    CLVI_TRY(agree_info(&j, &info));
    CLVI_CHECK(info == 0, CLV_ENUMERIC,
               "clv_cholesky: expected a positive definite matrix, found a leading minor of order "
               "%d that is not positive",
               info);
    CLVI_TRY(clv_cyclic_to(j.plans[FIRST], j.parts[FIRST], L));
done:
    close_job(&j);
    return status;
}

clv_status clv_qr(const clv_matrix *A, clv_matrix *Q, clv_matrix *R)
{
    job j;
    int info = 0;
    clv_status status;
    int64_t m = clv_matrix_spec(A).m, n = clv_matrix_spec(A).n, k = clvi_smaller(m, n);
    CLVI_TRY(open_job(&j, "clv_qr", A, false, (result[2]){{"Q", Q, m, k}, {"R", R, k, n}}));
    int64_t nb = j.config.nb, lwork = nb * (j.mp + j.nq + nb);
    CLVI_TRY(check_counts(&j, (count[]){{"elements of workspace", lwork}, {0}}));
    if (k == 0) goto done;
    CLVI_TRY(deal_out(&j, A, false));
    CLVI_TRY(plan_result(&j, FIRST, m, k, true, Q));
    CLVI_TRY(plan_result(&j, SECOND, k, n, true, R));
    CLVI_TRY(reserve(&j, (size_t)lwork * element(&j), (size_t)j.nq * element(&j), 0));
    clvi_local part = j.parts[A_PART]->operand;
    if (is_member(&j)) info = clvi_pgeqrf(j.dtype, m, n, part, j.work[1], j.work[0], lwork);
    CLVI_TRY(agree_info(&j, &info));
    CLVI_TRY(clv_cyclic_to(j.plans[SECOND], j.parts[SECOND], R)); /* R, and reflectors below it */
    clear_lower(R);
    CLVI_TRY(clv_grid_barrier(j.grid));
    part = j.parts[FIRST]->operand;
    if (is_member(&j)) info = clvi_porgqr(j.dtype, m, k, k, part, j.work[1], j.work[0], lwork);
    CLVI_TRY(agree_info(&j, &info));
    CLVI_TRY(clv_cyclic_to(j.plans[FIRST], j.parts[FIRST], Q));
done:
    close_job(&j);
    return status;
}

/* Elements of p?syevd's workspace. Beyond its documentation: what p?lasrt and p?ormtr, which it
 * calls with what is left of it, ask for. */
static int64_t eigh_workspace(const job *j)
{
    int64_t n = j->n, nb = j->config.nb, np = j->mp, nq = j->nq;
    int64_t divide = 1 + 6 * n + 2 * np * nq;
    int64_t reduce = 3 * n + clvi_larger(nb * (np + 1), 3 * nb);
    int64_t sort = clvi_larger(n, np * (nb + nq));
    int64_t back = clvi_larger(nb * (nb - 1) / 2, nb * (np + nq)) + nb * nb;
    return 2 * n + clvi_larger(clvi_larger(divide, reduce), clvi_larger(sort, back));
}

clv_status clv_eigh(const clv_matrix *A, double w[], clv_matrix *V)
{
    job j;
    int info = 0;
    clv_status status;
    int64_t n = clv_matrix_spec(A).m;
    CLVI_TRY(open_job(&j, "clv_eigh", A, true, (result[2]){{"V", V, n, n}}));
    int64_t lwork = eigh_workspace(&j), liwork = 7 * n + 8 * j.config.q + 2;
    CLVI_TRY(check_counts(
        &j, (count[]){{"elements of workspace", lwork}, {"integers of workspace", liwork}, {0}}));
    if (n == 0) goto done;
    CLVI_TRY(deal_out(&j, A, true));
    CLVI_TRY(plan_result(&j, FIRST, n, n, false, V));
    CLVI_TRY(reserve(&j, (size_t)lwork * element(&j), (size_t)n * element(&j),
                     (size_t)liwork * sizeof(int)));
    if (is_member(&j))
        info = clvi_psyevd(j.dtype, n, j.parts[A_PART]->operand, j.work[1], j.parts[FIRST]->operand,
                           j.work[0], lwork, j.work[2], liwork);
    CLVI_TRY(agree_info(&j, &info));
    CLVI_CHECK(info == 0, CLV_ENUMERIC, "clv_eigh: eigenvalue %lld of %lld did not converge",
               (long long)(info / (n + 1)), (long long)n);
    CLVI_TRY(spread_values(&j, j.work[1], w));
    CLVI_TRY(clv_cyclic_to(j.plans[FIRST], j.parts[FIRST], V));
done:
    close_job(&j);
    return status;
}

/* Rows or columns of one process of all in a row, dealt one by one. */
static int64_t share(const job *j, int64_t extent)
{
    int64_t processes = (int64_t)j->config.p * j->config.q;
    return (extent + processes - 1) / processes;
}

/* Elements of p?gesvd's workspace, both kinds of vectors wanted. */
static int64_t svd_workspace(const job *j)
{
    int64_t nb = j->config.nb, mp = j->mp, nq = j->nq;
    int64_t bidiagonal = clvi_larger(nb * (mp + nq + 1) + nq, clvi_larger(mp, nq));
    int64_t left = clvi_larger(nb * (nb - 1) / 2, (j->kq + mp) * nb) + nb * nb;
    int64_t right = clvi_larger(nb * (nb - 1) / 2, (j->kp + nq) * nb) + nb * nb;
    int64_t vectors = j->k * (share(j, j->m) + share(j, j->n));
    int64_t diagonal = vectors + clvi_larger(clvi_larger(1, 4 * j->k), clvi_larger(left, right));
    return 1 + 6 * clvi_larger(j->m, j->n) + clvi_larger(bidiagonal, diagonal);
}

/* Bytes that p?gemr2d, which p?gesvd calls, has in one buffer. */
static int64_t svd_buffer(const job *j)
{
    int64_t u = clvi_larger(j->mp * j->kq, j->k * share(j, j->m));
    int64_t vt = clvi_larger(j->kp * j->nq, j->k * share(j, j->n));
    return clvi_larger(u, vt) * (int64_t)element(j);
}

clv_status clv_svd(const clv_matrix *A, clv_matrix *U, double s[], clv_matrix *Vt)
{
    job j;
    int info = 0;
    clv_status status;
    int64_t m = clv_matrix_spec(A).m, n = clv_matrix_spec(A).n, k = clvi_smaller(m, n);
    CLVI_TRY(open_job(&j, "clv_svd", A, false, (result[2]){{"U", U, m, k}, {"Vt", Vt, k, n}}));
    int64_t lwork = svd_workspace(&j);
    CLVI_TRY(check_counts(
        &j,
        (count[]){{"elements of workspace", lwork}, {"bytes of a buffer", svd_buffer(&j)}, {0}}));
    if (k == 0) goto done;
    CLVI_TRY(deal_out(&j, A, false));
    CLVI_TRY(plan_result(&j, FIRST, m, k, false, U));
    CLVI_TRY(plan_result(&j, SECOND, k, n, false, Vt));
    CLVI_TRY(reserve(&j, (size_t)lwork * element(&j), (size_t)k * element(&j), 0));
    if (is_member(&j))
        info = clvi_pgesvd(j.dtype, m, n, j.parts[A_PART]->operand, j.work[1],
                           j.parts[FIRST]->operand, j.parts[SECOND]->operand, j.work[0], lwork);
    CLVI_TRY(agree_info(&j, &info));
    CLVI_CHECK(info <= k, CLV_ENUMERIC, "clv_svd: processes found different singular values");
    CLVI_CHECK(info == 0, CLV_ENUMERIC, "clv_svd: %d of %lld singular values did not converge",
               info, (long long)k);
    CLVI_TRY(spread_values(&j, j.work[1], s));
    CLVI_TRY(clv_cyclic_to(j.plans[FIRST], j.parts[FIRST], U));
    CLVI_TRY(clv_cyclic_to(j.plans[SECOND], j.parts[SECOND], Vt));
done:
    close_job(&j);
    return status;
}
