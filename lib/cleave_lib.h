/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cleave_lib.h: the serial ground: status and errors, data types.
 *
 * Nothing here knows of MPI. Every function in this header is Local.
 */
#ifndef CLEAVE_LIB_H
#define CLEAVE_LIB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CLV_API __attribute__((visibility("default")))
#define CLV_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLV_API
#define CLV_PRINTF(text, first)
#endif

/* ---- Status and errors ------------------------------------------------- */

/* What every call that can fail returns. The library never prints, aborts or
 * exits. A failure inside a Collective call is the same status on every
 * process, even if one process alone had the cause. */
typedef enum {
    CLV_OK = 0,       /* done                                                  */
    CLV_EARG,         /* an argument is outside its domain                     */
    CLV_ESHAPE,       /* extents of operands do not fit together               */
    CLV_ELAYOUT,      /* a layout does not belong to the grid, or is malformed */
    CLV_EDTYPE,       /* a data type is not supported here                     */
    CLV_EMISMATCH,    /* processes of a Collective call disagree on arguments  */
    CLV_ELIMIT,       /* a size exceeds what a component can represent         */
    CLV_ENOMEM,       /* memory could not be allocated                         */
    CLV_EMPI,         /* MPI reported an error, or launcher and library differ */
    CLV_EIO,          /* a file could not be read or written                   */
    CLV_EFORMAT,      /* a file is not what it should be                       */
    CLV_ECORRUPT,     /* a checksum differs, or a file is incomplete           */
    CLV_ENOTFOUND,    /* a name, file or checkpoint does not exist             */
    CLV_EUNSUPPORTED, /* valid, but this build or backend cannot do it         */
    CLV_ENUMERIC,     /* a loss, gradient or parameter is infinite or NaN      */
    CLV_STATUS_COUNT  /* number of codes; not a status                         */
} clv_status;

/* A few words for a status; never NULL. */
CLV_API const char *clv_status_string(clv_status status);

/* The detail of the last failure seen by this thread: which argument or rank,
 * what was expected and what was found. "" before any failure. The text
 * belongs to the library and holds until the next failure in this thread. */
CLV_API const char *clv_last_error(void);

/* Makes a printf text that detail and returns status, for a caller whose own failures shall be told
 * as the library's are: clv_grid_agree, for one, brings them to every process. */
CLV_API clv_status clv_fail(clv_status status, const char *format, ...) CLV_PRINTF(2, 3);

/* "MAJOR.MINOR.PATCH" of the library linked. */
CLV_API const char *clv_version(void);

/* ---- Data types -------------------------------------------------------- */

typedef enum {
    CLV_F32 = 0, /* IEEE single                                        */
    CLV_F64,     /* IEEE double                                        */
    CLV_BF16,    /* upper half of a single; storage and moves          */
    CLV_I32,     /* signed integers: token ids; storage and copies     */
    CLV_DTYPE_COUNT
} clv_dtype;

/* Bytes of one element; 0 if dtype is not one of the above. */
CLV_API size_t clv_dtype_size(clv_dtype dtype);

/* "f32", "f64", "bf16", "i32"; NULL if dtype is not one of the above. */
CLV_API const char *clv_dtype_name(clv_dtype dtype);

/* The reverse. Errors: CLV_EDTYPE naming what was found. */
CLV_API clv_status clv_dtype_parse(const char *text, clv_dtype *dtype);

/* ---- The processor ----------------------------------------------------- */

/* What the local products run on. */
typedef struct {
    const char *library; /* "BLIS 0.9.0"                                     */
    const char *kernel;  /* BLIS's name of the kernel in use, e.g. "skx"     */
    const char *reason;  /* why: "BLIS's own choice", "BLIS_ARCH_TYPE", ...  */
    const char *file;    /* shared object that dgemm_ really comes from      */
    int threads;         /* threads of one product on this process           */
} clv_blas_info;

CLV_API clv_blas_info clv_blas_describe(void);

/* Threads of every later local product of this process; 0: as the
 * environment says (BLIS_NUM_THREADS, OMP_NUM_THREADS), else 1.
 * clv_grid_create sets cores of the node / ranks on the node when the
 * environment says nothing. */
CLV_API void clv_blas_set_threads(int threads);

/* BLIS's own product with no work of Cleave's around it, what others are measured against:
 * C[m,n] = op(A)[m,k] op(B)[k,n], all row-major, ld in elements, op the transpose where trans_a
 * or trans_b is not 0; CLV_F32 or CLV_F64. */
CLV_API void clv_blas_gemm(clv_dtype dtype, int trans_a, int trans_b, int64_t m, int64_t n,
                           int64_t k, const void *A, int64_t lda, const void *B, int64_t ldb,
                           void *C, int64_t ldc);

#ifdef __cplusplus
}
#endif
#endif
