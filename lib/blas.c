/* SPDX-License-Identifier: BSD-3-Clause
 *
 * blas.c: every call of BLIS: local products, their threads, and what they run on.
 */
#include <blis.h>

#include "clvi_kernel.h"
#include "clvi_micro.h"
#include <clvi_lib.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *reason; /* why BLIS uses the kernel that it uses  */
static char library[64];   /* its name and version                   */

/* BLIS's own variables for the ways of each of its loops count as a choice of threads too. */
static const char *const thread_variables[] = {"BLIS_NUM_THREADS", "OMP_NUM_THREADS", "BLIS_JC_NT",
                                               "BLIS_PC_NT",       "BLIS_IC_NT",      "BLIS_JR_NT",
                                               "BLIS_IR_NT"};
enum { THREAD_VARIABLES = sizeof thread_variables / sizeof *thread_variables };

static rntm_t environment; /* BLIS's threads as the environment sets them */

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && *value;
}

/* BLIS 0.9 knows processors by their marketing names, which virtual machines hide; so the kernel is
 * settled here, before its first call. The variable is taken back: it is ours, not the user's.
 * bli_init comes first: bli_arch_query_id alone aborts where the variable is set. */
static void start(void)
{
    bool users = is_set("BLIS_ARCH_TYPE"), ours = false;
    if (!users) unsetenv("BLIS_ARCH_TYPE"); /* BLIS takes an empty one for 0 */
    reason = users ? "BLIS_ARCH_TYPE" : "BLIS's own choice";
#ifdef BLIS_CONFIG_SKX
    if (!users) ours = clvi_kernel_prefers_512(&reason);
    if (ours) {
        char value[16];
        snprintf(value, sizeof value, "%d", (int)BLIS_ARCH_SKX);
        setenv("BLIS_ARCH_TYPE", value, 1);
    }
#endif
    bli_init();
    if (ours) unsetenv("BLIS_ARCH_TYPE");
    bli_rntm_init_from_global(&environment);
    snprintf(library, sizeof library, "BLIS %s", bli_info_get_version_str());
}

static void ensure_started(void)
{
    pthread_once(&once, start);
}

/* Threads of one product: BLIS lets the ways of its loops, where set, go before their number. */
static int threads_of(rntm_t *rntm)
{
    dim_t ways = bli_rntm_calc_num_threads(rntm);
    dim_t total = bli_rntm_num_threads(rntm);
    return (int)(ways > 0 ? ways : total > 0 ? total : 1);
}

/* Threads meet several times in a product, spinning: below this many operations (a third of a
 * millisecond on one core) they cost more than they save, and where others use the cores, hundreds
 * of times more. */
static const double worth_threads = 3e7;

void clvi_blas_gemm(clv_dtype dtype, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                    double alpha, const void *A, int64_t lda, const void *B, int64_t ldb,
                    double beta, void *C, int64_t ldc)
{
    assert(dtype == CLV_F32 || dtype == CLV_F64);
    _Static_assert(sizeof(dim_t) == sizeof(int64_t), "BLIS counts extents in 64 bits");
    if (m <= 0 || n <= 0) return;
    ensure_started();
    if (k < 0) k = 0;
    trans_t ta = trans_a ? BLIS_TRANSPOSE : BLIS_NO_TRANSPOSE;
    trans_t tb = trans_b ? BLIS_TRANSPOSE : BLIS_NO_TRANSPOSE;
    rntm_t rntm;
    bli_rntm_init_from_global(&rntm);
    if (2.0 * (double)m * (double)n * (double)k < worth_threads) bli_rntm_set_num_threads(1, &rntm);
    if (dtype == CLV_F32) {
        float a = (float)alpha, b = (float)beta;
        bli_sgemm_ex(ta, tb, m, n, k, &a, (float *)A, lda, 1, (float *)B, ldb, 1, &b, C, ldc, 1,
                     NULL, &rntm);
    } else {
        bli_dgemm_ex(ta, tb, m, n, k, &alpha, (double *)A, lda, 1, (double *)B, ldb, 1, &beta, C,
                     ldc, 1, NULL, &rntm);
    }
}

int clvi_threads(void)
{
    ensure_started();
    rntm_t rntm;
    bli_rntm_init_from_global(&rntm);
    return threads_of(&rntm);
}

/* BLIS keeps extents of blocks and panels and the multiplying kernel for each dtype in its context.
 * Hints are where a kernel may prefetch from next; ours names nothing. */
static clvi_micro micros[2];
static auxinfo_t hints;

static clvi_micro_side micro_side(num_t dt, bszid_t width, cntx_t *context)
{
    return (clvi_micro_side){.width = bli_cntx_get_blksz_def_dt(dt, width, context),
                             .ld = bli_cntx_get_blksz_max_dt(dt, width, context)};
}

static void read_context(void)
{
    ensure_started();
    cntx_t *context = bli_gks_query_nat_cntx();
    for (int i = 0; i < 2; i++) {
        num_t dt = i == 0 ? BLIS_FLOAT : BLIS_DOUBLE;
        micros[i] =
            (clvi_micro){.dtype = i == 0 ? CLV_F32 : CLV_F64,
                         .left = micro_side(dt, BLIS_MR, context),
                         .right = micro_side(dt, BLIS_NR, context),
                         .kc = bli_cntx_get_blksz_def_dt(dt, BLIS_KC, context),
                         .mc = bli_cntx_get_blksz_def_dt(dt, BLIS_MC, context),
                         .nc = bli_cntx_get_blksz_def_dt(dt, BLIS_NC, context),
                         .rows = bli_cntx_l3_nat_ukr_prefers_rows_dt(dt, BLIS_GEMM_UKR, context),
                         .multiply = (clvi_micro_multiply *)bli_cntx_get_l3_nat_ukr_dt(
                             dt, BLIS_GEMM_UKR, context),
                         .hints = &hints,
                         .context = context,
                         .zero = bli_obj_buffer_for_const(dt, &BLIS_ZERO),
                         .one = bli_obj_buffer_for_const(dt, &BLIS_ONE)};
    }
}

const clvi_micro *clvi_micro_kernel(clv_dtype dtype)
{
    static pthread_once_t read = PTHREAD_ONCE_INIT;
    pthread_once(&read, read_context);
    return &micros[dtype == CLV_F64];
}

int clvi_blas_threads(double operations)
{
    return operations < worth_threads ? 1 : clvi_threads();
}

int clvi_cores(void)
{
    for (int cpus = CPU_SETSIZE; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set) break;
        bool known = sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set) == 0;
        int count = known ? CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;
    }
    return 1;
}

bool clvi_threads_set_by_user(void)
{
    for (int v = 0; v < THREAD_VARIABLES; v++)
        if (is_set(thread_variables[v])) return true;
    return false;
}

void clv_blas_set_threads(int threads)
{
    ensure_started();
    rntm_t *e = &environment;
    if (threads > 0) {
        bli_thread_set_ways(-1, -1, -1, -1, -1); /* else they would go before the number */
        bli_thread_set_num_threads(threads);
    } else {
        bli_thread_set_ways(bli_rntm_jc_ways(e), bli_rntm_pc_ways(e), bli_rntm_ic_ways(e),
                            bli_rntm_jr_ways(e), bli_rntm_ir_ways(e));
        bli_thread_set_num_threads(threads_of(e));
    }
}

clv_blas_info clv_blas_describe(void)
{
    ensure_started();
    rntm_t now;
    bli_rntm_init_from_global(&now);
    Dl_info info = {0};
    void *dgemm = dlsym(RTLD_DEFAULT, "dgemm_");
    if (dgemm) dladdr(dgemm, &info);
    return (clv_blas_info){.library = library,
                           .kernel = bli_arch_string(bli_arch_query_id()),
                           .reason = reason,
                           .file = info.dli_fname ? info.dli_fname : "",
                           .threads = threads_of(&now)};
}

void clv_blas_gemm(clv_dtype dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k,
                   const void *A, int64_t lda, const void *B, int64_t ldb, void *C, int64_t ldc)
{
    clvi_blas_gemm(dtype, trans_a, trans_b, m, n, k, 1, A, lda, B, ldb, 0, C, ldc);
}
