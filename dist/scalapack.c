/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack.c: every BLACS and ScaLAPACK call (Choi et al. 1996), by dtype, and the BLACS contexts.
 *
 * Both wait inside MPI's blocking calls, which never yield the processor: with more ranks than
 * cores everything takes many times longer than the library's own. Their failures (no memory for a
 * panel, an argument that does not fit) print or abort the program: whoever calls these checks
 * everything before.
 */
#include <clvi_scalapack.h>
#include <stdlib.h>
#include <string.h>

/* What ScaLAPACK and the BLACS export; they come without a header. The routines in Fortran take the
 * lengths of their strings last. */
int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int system);
void Cblacs_gridmap(int *context, int *ranks, int ld, int nprow, int npcol);
void Cblacs_gridinfo(int context, int *nprow, int *npcol, int *row, int *col);
void Cblacs_gridexit(int context);

#define DECLARE(x, real)                                                                           \
    void p##x##gemm_(const char *transa, const char *transb, const int *m, const int *n,           \
                     const int *k, const real *alpha, const real *A, const int *ia, const int *ja, \
                     const int *desca, const real *B, const int *ib, const int *jb,                \
                     const int *descb, const real *beta, real *C, const int *ic, const int *jc,    \
                     const int *descc);                                                            \
    void p##x##potrf_(const char *uplo, const int *n, real *A, const int *ia, const int *ja,       \
                      const int *desca, int *info, size_t);                                        \
    void p##x##geqrf_(const int *m, const int *n, real *A, const int *ia, const int *ja,           \
                      const int *desca, real *tau, real *work, const int *lwork, int *info);       \
    void p##x##orgqr_(const int *m, const int *n, const int *k, real *A, const int *ia,            \
                      const int *ja, const int *desca, const real *tau, real *work,                \
                      const int *lwork, int *info);                                                \
    void p##x##syevd_(const char *jobz, const char *uplo, const int *n, real *A, const int *ia,    \
                      const int *ja, const int *desca, real *w, real *Z, const int *iz,            \
                      const int *jz, const int *descz, real *work, const int *lwork, int *iwork,   \
                      const int *liwork, int *info, size_t, size_t);                               \
    void p##x##gesvd_(const char *jobu, const char *jobvt, const int *m, const int *n, real *A,    \
                      const int *ia, const int *ja, const int *desca, real *s, real *U,            \
                      const int *iu, const int *ju, const int *descu, real *Vt, const int *ivt,    \
                      const int *jvt, const int *descvt, real *work, const int *lwork, int *info,  \
                      size_t, size_t)
DECLARE(s, float);
DECLARE(d, double);

static const int one = 1;

/* ---- BLACS contexts, which live as long as the grid --------------------------- */

/* A context is four communicators, too many to make one for each plan, and freeing them is
 * Collective: the grid keeps one for each way that its processes are arranged. */
typedef struct context {
    int p, q, id;
    struct context *next;
    int ranks[];
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
        if (c->id >= 0) Cblacs_gridexit(c->id);
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

clv_status clvi_blacs_context(clv_grid *grid, int p, int q, const int ranks[], int *id)
{
    context *made = NULL;
    size_t bytes = (size_t)p * (size_t)q * sizeof *ranks;
    contexts *all = open_contexts(grid);
    for (context *c = all ? all->first : NULL; c; c = c->next)
        if (c->p == p && c->q == q && memcmp(c->ranks, ranks, bytes) == 0) {
            *id = c->id;
            return CLV_OK;
        }
    clv_status status = CLV_OK;
    if (all) made = malloc(sizeof *made + bytes);
    if (!made) status = clvi_fail(CLV_ENOMEM, "a BLACS context of %d x %d", p, q);
    CLVI_TRY(clv_grid_agree(grid, status));
    *made = (context){p, q, all->system, all->first};
    memcpy(made->ranks, ranks, bytes);
    Cblacs_gridmap(&made->id, made->ranks, p, p, q);
    *id = made->id;
    all->first = made;
    made = NULL;
done:
    free(made);
    return status;
}

bool clvi_blacs_place(int context, int *p, int *q, int *row, int *col)
{
    *p = *q = *row = *col = -1;
    if (context >= 0) Cblacs_gridinfo(context, p, q, row, col);
    return *p > 0;
}

/* ---- The routines ---------------------------------------------------------------- */

clvi_local clvi_describe(int context, const int64_t extents[2], const int64_t blocks[2],
                         const int first[2], void *data, int64_t ld)
{
    return (clvi_local){data,
                        {1, context, (int)extents[0], (int)extents[1], (int)blocks[0],
                         (int)blocks[1], first[0], first[1], ld > 1 ? (int)ld : 1}};
}

void clvi_pgemm(clv_dtype dtype, bool trans_a, bool trans_b, int64_t m64, int64_t n64, int64_t k64,
                double alpha, clvi_local A, clvi_local B, double beta, clvi_local C)
{
    const char *ta = trans_a ? "T" : "N", *tb = trans_b ? "T" : "N";
    int m = (int)m64, n = (int)n64, k = (int)k64;
    if (dtype == CLV_F64) {
        pdgemm_(ta, tb, &m, &n, &k, &alpha, A.data, &one, &one, A.desc, B.data, &one, &one, B.desc,
                &beta, C.data, &one, &one, C.desc);
    } else {
        float a = (float)alpha, b = (float)beta;
        psgemm_(ta, tb, &m, &n, &k, &a, A.data, &one, &one, A.desc, B.data, &one, &one, B.desc, &b,
                C.data, &one, &one, C.desc);
    }
}

int clvi_ppotrf(clv_dtype dtype, int64_t n64, clvi_local A)
{
    int n = (int)n64, info = 0;
    if (dtype == CLV_F64)
        pdpotrf_("L", &n, A.data, &one, &one, A.desc, &info, 1);
    else
        pspotrf_("L", &n, A.data, &one, &one, A.desc, &info, 1);
    return info;
}

int clvi_pgeqrf(clv_dtype dtype, int64_t m64, int64_t n64, clvi_local A, void *tau, void *work,
                int64_t lwork64)
{
    int m = (int)m64, n = (int)n64, lwork = (int)lwork64, info = 0;
    if (dtype == CLV_F64)
        pdgeqrf_(&m, &n, A.data, &one, &one, A.desc, tau, work, &lwork, &info);
    else
        psgeqrf_(&m, &n, A.data, &one, &one, A.desc, tau, work, &lwork, &info);
    return info;
}

int clvi_porgqr(clv_dtype dtype, int64_t m64, int64_t n64, int64_t k64, clvi_local A,
                const void *tau, void *work, int64_t lwork64)
{
    int m = (int)m64, n = (int)n64, k = (int)k64, lwork = (int)lwork64, info = 0;
    if (dtype == CLV_F64)
        pdorgqr_(&m, &n, &k, A.data, &one, &one, A.desc, tau, work, &lwork, &info);
    else
        psorgqr_(&m, &n, &k, A.data, &one, &one, A.desc, tau, work, &lwork, &info);
    return info;
}

int clvi_psyevd(clv_dtype dtype, int64_t n64, clvi_local A, void *w, clvi_local Z, void *work,
                int64_t lwork64, int *iwork, int64_t liwork64)
{
    int n = (int)n64, lwork = (int)lwork64, liwork = (int)liwork64, info = 0;
    if (dtype == CLV_F64)
        pdsyevd_("V", "L", &n, A.data, &one, &one, A.desc, w, Z.data, &one, &one, Z.desc, work,
                 &lwork, iwork, &liwork, &info, 1, 1);
    else
        pssyevd_("V", "L", &n, A.data, &one, &one, A.desc, w, Z.data, &one, &one, Z.desc, work,
                 &lwork, iwork, &liwork, &info, 1, 1);
    return info;
}

int clvi_pgesvd(clv_dtype dtype, int64_t m64, int64_t n64, clvi_local A, void *s, clvi_local U,
                clvi_local Vt, void *work, int64_t lwork64)
{
    int m = (int)m64, n = (int)n64, lwork = (int)lwork64, info = 0;
    if (dtype == CLV_F64)
        pdgesvd_("V", "V", &m, &n, A.data, &one, &one, A.desc, s, U.data, &one, &one, U.desc,
                 Vt.data, &one, &one, Vt.desc, work, &lwork, &info, 1, 1);
    else
        psgesvd_("V", "V", &m, &n, A.data, &one, &one, A.desc, s, U.data, &one, &one, U.desc,
                 Vt.data, &one, &one, Vt.desc, work, &lwork, &info, 1, 1);
    return info;
}
