/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_lib.h: what lib offers to the floors above it, inside the library.
 *
 * Kernels take a dtype and untyped pointers and dispatch once; they work on
 * contiguous vectors of n elements unless a leading dimension is named. Scalars
 * travel as double. Only CLV_F32 and CLV_F64 have arithmetic unless a comment
 * says otherwise. y may be x wherever both appear, unless said otherwise.
 */
#ifndef CLVI_LIB_H
#define CLVI_LIB_H

#include <assert.h>
#include <cleave_lib.h>
#include <stdbool.h>

/* ---- status.c: errors -------------------------------------------------- */

/* Records the detail for clv_last_error and returns status. */
clv_status clvi_fail(clv_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The two macros of every function that can fail; both need a local
 * `clv_status status` and a label `done:`. */
#define CLVI_TRY(call)                              \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)
#define CLVI_CHECK(condition, ...)           \
    do {                                     \
        if (!(condition)) {                  \
            status = clvi_fail(__VA_ARGS__); \
            goto done;                       \
        }                                    \
    } while (0)

static inline int64_t clvi_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t clvi_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- memory.c: aligned memory, touched once ---------------------------- */

/* bytes of zeroed memory, 64-byte aligned, every page touched (huge pages are
 * asked for from 4 MiB up); NULL if it cannot be had. 0 bytes is valid and
 * gives a non-NULL pointer. Free with clvi_free; NULL is fine there. */
void *clvi_alloc(size_t bytes);
void clvi_free(void *memory);

/* The same for the life of the process: clvi_alloc_live does not count it. */
void *clvi_alloc_once(size_t bytes);

/* Bytes of the last cache that this machine's cores share, as the system says, within reason; 32
 * MiB where it does not say. */
size_t clvi_cache_bytes(void);

/* For tests: the nth allocation from now fails (1 = the next), once; 0 turns it
 * off. clvi_alloc_live counts blocks not yet freed. */
CLV_API void clvi_alloc_fail_at(int64_t nth);
CLV_API int64_t clvi_alloc_live(void);
/* For other allocators, which count as this one does: a block is made, unless a test wants it to
 * fail; a block is freed. */
bool clvi_alloc_count(void);
void clvi_free_count(void);

/* ---- dtype.c: conversion ----------------------------------------------- */

/* bf16 <-> f32: round to nearest even, NaN stays NaN (quiet). */
uint16_t clvi_bf16_from_f32(float x);
float clvi_f32_from_bf16(uint16_t x);

/* dst[i] = (dst type) src[i] among f32, f64, bf16; same type copies (any type). */
void clvi_convert(int64_t n, clv_dtype src_type, const void *src, clv_dtype dst_type, void *dst);

/* Element i of x as a double, and back (any dtype). */
double clvi_get(clv_dtype dtype, const void *x, int64_t i);
void clvi_set(clv_dtype dtype, void *x, int64_t i, double value);

/* ---- random.c: Philox, counted by global element index ------------------ */

/* Philox 4x32-10 (Salmon et al. 2011) of key and 128-bit counter
 * (index, stream): the same four words on every grid. */
void clvi_philox(uint64_t key, uint64_t stream, uint64_t index, uint32_t out[4]);

/* x[i] = mean + std * N(0,1), or uniform in [low, high), drawn from element
 * index first + i: any block of a matrix can be filled alone. f32, f64, bf16. */
void clvi_fill_normal(clv_dtype dtype, int64_t n, void *x, uint64_t key, uint64_t stream,
                      uint64_t first, double mean, double std);
void clvi_fill_uniform(clv_dtype dtype, int64_t n, void *x, uint64_t key, uint64_t stream,
                       uint64_t first, double low, double high);

/* 64-bit FNV-1a hash of a string: stream numbers from names. */
uint64_t clvi_hash_string(const char *text);

/* ---- permutation.c ---------------------------------------------------------- */

/* Where i < n goes under the permutation of [0, n), n <= 2^62, that belongs to (key, stream). */
uint64_t clvi_permute(uint64_t key, uint64_t stream, uint64_t n, uint64_t i);

/* ---- gemm.c: local products ---------------------------------------------- */

/* C[m,n] = alpha op(A)[m,k] op(B)[k,n] + beta C, all row-major, ld in elements;
 * op is the transpose where trans is true. beta == 0 does not read C. Empty
 * extents are fine (k == 0 scales C). f32, f64. */
void clvi_gemm(clv_dtype dtype, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
               double alpha, const void *A, int64_t lda, const void *B, int64_t ldb, double beta,
               void *C, int64_t ldc);

/* Part of a stored matrix: its element (row0 + i, col0 + j) is data[i * ld + j]. */
typedef struct {
    int64_t row0, col0, m, n;
    const void *data;
    int64_t ld;
} clvi_tile;

/* op(A) of a product: the stored matrix, transposed where trans is true, from (row0, col0) of what
 * is stored. The tiles cover what the product reads, without overlap, and can lie anywhere: in
 * this process, in a neighbour's memory, in a receive buffer. */
typedef struct {
    clv_dtype dtype; /* that of the product, or bf16 in one of f32 */
    bool trans;
    int64_t row0, col0;
    int ntiles;
    const clvi_tile *tiles;
} clvi_operand;

/* C[m,n] := alpha op(A)[m,k] op(B)[k,n] + beta C. With nleaves > 0 (a power of two), k is cut at
 * edges[0] = 0, ..., edges[nleaves] = k (empty leaves are fine), every leaf is one sum in
 * ascending k, and leaves are added in a binary tree: the bits of an element of C depend on its
 * row of A, its column of B, the edges, alpha and beta alone, whatever the tiles, m, n, ld,
 * threads and other elements; and half the leaves computed apart and added give the same bits. */
typedef struct {
    clv_dtype dtype; /* f32 or f64 */
    int64_t m, n, k;
    double alpha, beta;
    clvi_operand A, B;
    void *C;
    int64_t ldc;
    bool c_trans; /* C is stored as its transpose (skinny.c alone) */
    int nleaves;
    const int64_t *edges;
    void (*poll)(
        void *context); /* called every millisecond or so from the calling thread; or NULL */
    void *context;
} clvi_product_args;
void clvi_gemm_tiles(const clvi_product_args *args);

/* Elements of k in one chain of a leaf's sum, from the leaf's start, f32 or f64; chains are added
 * left to right. It is what the first-level cache has room for in a right panel of the product:
 * the same everywhere, as the bits of every reproducible result depend on it. */
static inline int64_t clvi_chain(clv_dtype dtype)
{
    return 2048 / (int64_t)clv_dtype_size(dtype);
}

/* Allocates what clvi_gemm_tiles packs into, once for the process; later calls are free.
 * leaves: of products with leaves too. clvi_gemm_memory: bytes of it. */
clv_status clvi_gemm_reserve(bool leaves);
size_t clvi_gemm_memory(bool leaves);

/* ---- skinny.c: products with m or n <= CLVI_SKINNY, at the speed of memory -- */

enum { CLVI_SKINNY = 16 };

/* What clvi_gemm_tiles does where m or n <= CLVI_SKINNY; the same bits where nleaves > 0. */
void clvi_gemm_skinny(const clvi_product_args *args);

/* Threads of one product now (clv_blas_set_threads, or the environment). */
int clvi_threads(void);
/* ---- blas.c: every BLIS call ------------------------------------------- */

/* Between two looks at what another thread or process will write. */
static inline void clvi_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Cores this process may run on (affinity). */
int clvi_cores(void);
/* Whether the user set the number of BLAS threads in the environment. */
bool clvi_threads_set_by_user(void);

/* ---- terms.c: the sum of many vectors in a fixed tree ------------------------- */

/* z[m,n] = alpha (t[0] + ... + t[terms - 1]) + beta z, rows ld[i] and ldz apart, in one pass. The
 * tree: terms / f by f, with f the smallest prime factor, each part as a tree, the parts from the
 * first to the last. f32, f64: the bits of those additions, then of clvi_axpby; bf16: added in f32
 * from the first to the last and rounded once. One term may be of any type. z may be none of the
 * terms. z is z[0]; the other places, as wide as ldz[] says, become copies of it in the same pass.
 * streamed: past the caches, where alpha is 1 and beta 0. */
void clvi_sum_rows(clv_dtype dtype, int64_t m, int64_t n, int terms, const void *const t[],
                   const int64_t ld[], double alpha, double beta, int places, void *const z[],
                   const int64_t ldz[], bool streamed);
int clvi_smallest_factor(int n); /* smallest prime factor; n itself below 2 */

/* ---- pointwise.c ------------------------------------------------------- */

/* y = a x + b y; b == 0 does not read y. f32, f64, bf16 (computed in f32);
 * i32 only with a == 1, b == 0. */
void clvi_axpby(clv_dtype dtype, int64_t n, double a, const void *x, double b, void *y);

/* The same over rows: y[m,n] = a x[m,n] + b y[m,n]; one call when contiguous. */
void clvi_axpby_rows(clv_dtype dtype, int64_t m, int64_t n, double a, const void *x, int64_t ldx,
                     double b, void *y, int64_t ldy);

void clvi_fill(clv_dtype dtype, int64_t n, double value, void *y);
double clvi_sum_squares(clv_dtype dtype, int64_t n, const void *x);
double clvi_dot(clv_dtype dtype, int64_t n, const void *x, const void *y);

typedef enum { CLVI_RELU, CLVI_GELU, CLVI_SILU } clvi_activation;
/* y = f(x); dx = dy f'(x). GELU is the tanh form (Hendrycks and Gimpel 2016). */
void clvi_activation_forward(clv_dtype dtype, clvi_activation f, int64_t n, const void *x, void *y);
void clvi_activation_backward(clv_dtype dtype, clvi_activation f, int64_t n, const void *x,
                              const void *dy, void *dx);

/* SwiGLU (Shazeer 2020): y = silu(gate) * up. */
void clvi_swiglu_forward(clv_dtype dtype, int64_t n, const void *gate, const void *up, void *y);
void clvi_swiglu_backward(clv_dtype dtype, int64_t n, const void *gate, const void *up,
                          const void *dy, void *dgate, void *dup);

/* v = mu v + (g + decay w); w -= lr v. */
void clvi_sgd(clv_dtype dtype, int64_t n, double lr, double mu, double decay, const void *g,
              void *v, void *w);

/* AdamW (Loshchilov and Hutter 2019): m1, m2 the moments, step >= 1. Gradients are
 * multiplied by grad_scale first (clipping). */
typedef struct {
    double lr, beta1, beta2, eps, decay, grad_scale;
    int64_t step;
} clvi_adamw_args;
void clvi_adamw(clv_dtype dtype, int64_t n, const clvi_adamw_args *args, const void *g, void *m1,
                void *m2, void *w);

/* ---- exact.c: sums that do not depend on their order -------------------- */

/* The exact sum of any doubles: digits of 32 bits from 2^-1074 up, the last ones for what is
 * carried. What is not finite is summed apart. All zeros: the sum of nothing. */
enum { CLVI_EXACT_DIGITS = 68, CLVI_EXACT_WORDS = CLVI_EXACT_DIGITS + 1 };
typedef struct {
    int64_t digit[CLVI_EXACT_DIGITS];
    double special;
    int64_t room; /* values that can be added before digits have to be carried */
} clvi_exact;

void clvi_exact_add(clvi_exact *sum, double x);
/* The sum within one unit of its last place; infinities and NaN as adding would give them. */
double clvi_exact_value(clvi_exact *sum);
/* The sum as doubles, and back: the words of up to 2^20 sums may be added in any order, exactly. */
void clvi_exact_pack(clvi_exact *sum, double words[CLVI_EXACT_WORDS]);
void clvi_exact_unpack(const double words[CLVI_EXACT_WORDS], clvi_exact *sum);

/* ---- softmax.c --------------------------------------------------------- */

/* max_i x[i]; -infinity for n == 0. */
double clvi_max(clv_dtype dtype, int64_t n, const void *x);
/* sum_i exp(x[i] - shift). */
double clvi_sum_exp(clv_dtype dtype, int64_t n, const void *x, double shift);
/* y[i] = exp(x[i] - shift) * scale. */
void clvi_exp_scaled(clv_dtype dtype, int64_t n, const void *x, double shift, double scale,
                     void *y);
/* y = softmax(x). */
void clvi_softmax(clv_dtype dtype, int64_t n, const void *x, void *y);
/* dx = p * (dp - dot(p, dp)). */
void clvi_softmax_backward(clv_dtype dtype, int64_t n, const void *p, const void *dp, void *dx);

/* ---- rotary.c: rotary position embeddings (Su et al. 2021) ---------------- */

/* table[T,d], d even: row t holds the cosines, then the sines, of t * base^(-2i/d) for i < d/2,
 * computed in f64 and rounded once. */
void clvi_rotary_table(clv_dtype dtype, int64_t T, int64_t d, double base, void *table);

/* Turns heads side by side, x[T, heads d] with rows ld apart, in place: features i and i + d/2 by
 * the angle of row t and i; back: by its negative, which is the inverse and the transpose. */
void clvi_rotate(clv_dtype dtype, bool back, int64_t T, int64_t heads, int64_t d, const void *table,
                 void *x, int64_t ld);

/* ---- norm.c: one row of a layer norm or RMS norm, possibly a shard of it - */

/* out[0] = mean, out[1] = sum (x - mean)^2 over this shard (two passes). n == 0: 0, 0. */
void clvi_moments(clv_dtype dtype, int64_t n, const void *x, double out[2]);

/* y[i] = (x[i] - mean) * rstd * gain[i] + bias[i]; gain or bias may be NULL (1, 0). */
void clvi_normalize(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                    const void *gain, const void *bias, void *y);

/* With h = (x - mean) rstd and g = dy gain:
 * sums[0] = sum g, sums[1] = sum g h over this shard. gain may be NULL. */
void clvi_normalize_sums(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                         const void *gain, const void *dy, double sums[2]);

/* dx[i] = rstd * (g - c0 - h c1); c0, c1: the sums over the whole row / its length
 * (c0 = 0 for RMS norm). */
void clvi_normalize_backward(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                             const void *gain, const void *dy, double c0, double c1, void *dx);

/* dgain += dy h; dbias += dy. Either may be NULL. */
void clvi_normalize_params(clv_dtype dtype, int64_t n, const void *x, double mean, double rstd,
                           const void *dy, void *dgain, void *dbias);

#endif
