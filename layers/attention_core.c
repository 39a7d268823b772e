/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention_core.c: causal attention of one head over one sequence of T tokens, serial.
 *
 *     S = q k^T / sqrt(d)   P = softmax of each row of S up to the diagonal   O = P v
 *     dP = dO v^T   dS = P * (dP - rowsum(P * dP))
 *     dq = dS k / sqrt(d)   dk = dS^T q / sqrt(d)   dv = P^T dO
 *
 * Queries are taken in blocks: block [i, i + b) sees the keys [0, i + b) only, which leaves out
 * most of what the mask would throw away, and needs b x T of workspace instead of T x T. Backward
 * computes P again, which is about a third of its time: keeping it would cost heads x T x T
 * elements for every sequence and layer.
 */
#include <clvi_layers.h>
#include <math.h>

enum { BLOCK = 64 };

/* b queries from token i on, and the keys they see. */
typedef struct {
    int64_t i, b, keys;
} tile;

static tile tile_at(int64_t T, int64_t i)
{
    int64_t b = T - i < BLOCK ? T - i : BLOCK;
    return (tile){i, b, i + b};
}

static const void *row(clv_dtype dtype, const void *x, int64_t ld, int64_t i)
{
    return (const char *)x + (size_t)(i * ld) * clv_dtype_size(dtype);
}

static void *row_of(clv_dtype dtype, void *x, int64_t ld, int64_t i)
{
    return (char *)x + (size_t)(i * ld) * clv_dtype_size(dtype);
}

/* P[b, keys] of one tile, contiguous; zeros behind the diagonal. */
static void probabilities(clv_dtype dtype, tile t, int64_t d, const void *q, const void *k,
                          int64_t ld, void *P)
{
    clvi_gemm(dtype, false, true, t.b, t.keys, d, 1 / sqrt((double)d), row(dtype, q, ld, t.i), ld,
              k, ld, 0, P, t.keys);
    for (int64_t r = 0; r < t.b; r++) {
        int64_t seen = t.i + r + 1;
        char *p = row_of(dtype, P, t.keys, r);
        clvi_softmax(dtype, seen, p, p);
        clvi_fill(dtype, t.keys - seen, 0, p + (size_t)seen * clv_dtype_size(dtype));
    }
}

int64_t clvi_attention_work(int64_t T)
{
    return 2 * T * (T < BLOCK ? T : BLOCK); /* P and dP of a tile */
}

void clvi_attention_forward(clv_dtype dtype, int64_t T, int64_t d, const void *q, const void *k,
                            const void *v, int64_t ld, void *o, int64_t ldo, void *work)
{
    for (int64_t i = 0; i < T; i += BLOCK) {
        tile t = tile_at(T, i);
        probabilities(dtype, t, d, q, k, ld, work);
        clvi_gemm(dtype, false, false, t.b, d, t.keys, 1, work, t.keys, v, ld, 0,
                  row_of(dtype, o, ldo, i), ldo);
    }
}

void clvi_attention_backward(clv_dtype dtype, int64_t T, int64_t d, const void *q, const void *k,
                             const void *v, int64_t ld, const void *d_o, int64_t ldo, void *dq,
                             void *dk, void *dv, void *work)
{
    double scale = 1 / sqrt((double)d);
    void *P = work, *dP = row_of(dtype, work, clvi_attention_work(T) / 2, 1);
    for (int64_t i = 0; i < T; i++) {
        clvi_fill(dtype, d, 0, row_of(dtype, dk, ld, i));
        clvi_fill(dtype, d, 0, row_of(dtype, dv, ld, i));
    }
    for (int64_t i = 0; i < T; i += BLOCK) {
        tile t = tile_at(T, i);
        const void *qi = row(dtype, q, ld, i), *doi = row(dtype, d_o, ldo, i);
        probabilities(dtype, t, d, q, k, ld, P);
        clvi_gemm(dtype, false, true, t.b, t.keys, d, 1, doi, ldo, v, ld, 0, dP, t.keys);
        for (int64_t r = 0; r < t.b; r++) { /* P is 0 behind the diagonal, and so is dS */
            char *dp = row_of(dtype, dP, t.keys, r);
            clvi_softmax_backward(dtype, t.keys, row(dtype, P, t.keys, r), dp, dp);
        }
        clvi_gemm(dtype, false, false, t.b, d, t.keys, scale, dP, t.keys, k, ld, 0,
                  row_of(dtype, dq, ld, i), ld);
        clvi_gemm(dtype, true, false, t.keys, d, t.b, scale, dP, t.keys, qi, ld, 1, dk, ld);
        clvi_gemm(dtype, true, false, t.keys, d, t.b, 1, P, t.keys, doi, ldo, 1, dv, ld);
    }
}
