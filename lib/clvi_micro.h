/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_micro.h: BLIS's inner kernels as blas.c hands them to the loops of gemm.c, and what the
 * files of those loops (pack.c, tree.c) give each other.
 *
 * All of a product is seen from the micro-kernel: it multiplies a left panel of mr vectors with a
 * right panel of nr vectors into a tile C[mr, nr]. Which operand is left follows from how the
 * kernel likes to write C, so that row-major C is always written in that way.
 */
#ifndef CLVI_MICRO_H
#define CLVI_MICRO_H

#include <clvi_lib.h>

/* C[m,n] := alpha a b + beta C for packed panels a and b; beta 0 does not read C. m and n below the
 * kernel's own extents are fine. */
typedef void clvi_micro_multiply(int64_t m, int64_t n, int64_t k, const void *alpha, const void *a,
                                 const void *b, const void *beta, void *C, int64_t rs, int64_t cs,
                                 void *hints, void *context);

/* One side of the micro-kernel. */
typedef struct {
    int64_t width; /* vectors in a panel                                */
    int64_t ld;    /* elements from one k to the next in a packed panel */
} clvi_micro_side;

typedef struct {
    clv_dtype dtype;
    clvi_micro_side left, right;
    int64_t kc, mc, nc; /* BLIS's own block extents                              */
    bool rows;          /* the kernel likes C by rows                            */
    clvi_micro_multiply *multiply;
    void *hints, *context;
    const void *zero, *one;
} clvi_micro;

/* The kernels of f32 or f64. */
const clvi_micro *clvi_micro_kernel(clv_dtype dtype);

/* The whole product by BLIS itself. */
void clvi_blas_gemm(clv_dtype dtype, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k,
                    double alpha, const void *A, int64_t lda, const void *B, int64_t ldb,
                    double beta, void *C, int64_t ldc);

/* Threads that a product of this many operations should use. */
int clvi_blas_threads(double operations);

/* ---- pack.c: micro-panels out of tiles --------------------------------- */

/* An operand seen as vectors of length k: element l of vector v is stored at (row0 + v, col0 + l)
 * where vectors are stored rows, else at (row0 + l, col0 + v). */
typedef struct {
    const clvi_operand *operand;
    const clvi_micro *micro;
    const clvi_micro_side *side;
    bool vectors_are_rows;
    int64_t count; /* of vectors: those beyond are packed as zeros */
} clvi_vectors;

/* Packs panels [first, last) of those that begin at vector v0, k in [k0, k0 + depth); panel p
 * begins at panels + p * depth * ld elements. */
void clvi_pack(const clvi_vectors *vectors, int64_t v0, int64_t first, int64_t last, int64_t k0,
               int64_t depth, void *panels);

/* ---- tree.c: the order of a sum ----------------------------------------- */

/* A chunk of k in one call of the micro-kernel: slot := or += it, then `merges` times
 * (slot - 1) += slot, slot = slot - 1. */
typedef struct {
    int64_t offset, depth; /* of k, from the beginning of the step */
    int slot, merges;
    bool add;
} clvi_chunk;

/* Chunks whose operands are packed together. Slots below `kept` outlive the step or are older. */
enum { CLVI_STEP = 64 };
typedef struct {
    int64_t k0, depth;
    int count, kept;
    bool first, last; /* of the whole sum */
    clvi_chunk chunks[CLVI_STEP];
} clvi_step;

/* Walks through k: leaves of chunks, leaves added as a binary counter counts, so that as few sums
 * as possible wait at any time. */
typedef struct {
    int nleaves;
    const int64_t *edges;
    int64_t chunk;     /* the longest, and the most that a step packs */
    int leaf, waiting; /* sums in slots 0 .. waiting - 1               */
    int64_t k;
} clvi_tree;

clvi_tree clvi_tree_begin(int nleaves, const int64_t edges[], int64_t chunk);
/* False after the last step. */
bool clvi_tree_step(clvi_tree *tree, clvi_step *step);
/* Slots that outlive a step, at most, of the whole walk. */
int clvi_tree_kept(clvi_tree tree);

/* ---- tile.c: a column of micro-tiles through a step ------------------------- */

/* What all tiles of a product share. */
typedef struct {
    const clvi_micro *micro;
    bool direct; /* slot 0 is C itself; alpha and beta go with the micro-kernel */
    double alpha, beta;
    const void *typed_alpha, *typed_beta;
} clvi_tiling;

/* The micro-tiles below each other in C[m,n], n at most a right panel: left panels follow each
 * other, as do the slots of the tiles, `slots_of_tile` tiles for each. scratch: room for
 * CLVI_SLOTS tiles for each. */
enum { CLVI_SLOTS = 8 }; /* sums that can wait: a level of 64 leaves each, and one begun */
typedef struct {
    int64_t m, n;
    const void *left, *right;
    void *C;
    int64_t ldc;
    char *slots, *scratch;
    int slots_of_tile;
} clvi_column;
void clvi_column_run(const clvi_tiling *tiling, const clvi_step *step, const clvi_column *column);
size_t clvi_tile_bytes(const clvi_micro *micro);

#endif
