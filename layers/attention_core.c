/* SPDX-License-Identifier: BSD-3-Clause
 *
 * attention_core.c: causal attention of a group of heads over one sequence of T tokens, serial. For
 * each head of q, with the k and v of the group:
 *
 *     S = q k^T / sqrt(d)   P = softmax of each row of S up to the diagonal   O = P v
 *     dP = dO v^T   dS = P * (dP - rowsum(P * dP))
 *     dq = dS k / sqrt(d)   dk = dS^T q / sqrt(d)   dv = P^T dO
 *
 * Queries are taken in blocks: block [i, i + b) sees the keys [0, i + b) only, which leaves out
 * most of what the mask would throw away, and needs b x T of workspace instead of T x T. Backward
 * computes P again, which is about a third of its time: keeping it would cost heads x T x T
 * elements for every sequence and layer. Rotary embeddings turn q and k where they lie, just before
 * they are used, and dq and dk back just after they are made. dk and dv are sums over the heads of
 * q in their order.
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

/* An operand of a product, as clvi_gemm takes them. */
typedef struct {
    bool trans;
    const void *data;
    int64_t ld;
} operand;

/* All of op(X)[m,n] in one tile. */
static clvi_tile whole(operand X, int64_t m, int64_t n)
{
    return (clvi_tile){0, 0, X.trans ? n : m, X.trans ? m : n, X.data, X.ld};
}

/* C[m,n] = alpha op(A) op(B) + beta C. In tiles a product is one sum in ascending k whatever
 * strides and threads are, so that a head has the same bits on every grid; and shapes as small as
 * these take 0.65 to 0.8 of the time of BLIS's own path for them. */
static void product(const clvi_attention *h, int64_t m, int64_t n, int64_t k, double alpha,
                    operand A, operand B, double beta, void *C, int64_t ldc)
{
    clvi_tile a = whole(A, m, k), b = whole(B, k, n);
    clvi_gemm_tiles(
        &(clvi_product_args){.dtype = h->dtype,
                             .m = m,
                             .n = n,
                             .k = k,
                             .alpha = alpha,
                             .beta = beta,
                             .A = {.dtype = h->dtype, .trans = A.trans, .ntiles = 1, .tiles = &a},
                             .B = {.dtype = h->dtype, .trans = B.trans, .ntiles = 1, .tiles = &b},
                             .C = C,
                             .ldc = ldc,
                             .nleaves = 1,
                             .edges = (const int64_t[]){0, k}});
}

/* P[b, keys] of one tile, contiguous; zeros behind the diagonal. */
static void probabilities(const clvi_attention *h, tile t, const void *q, const void *k, void *P)
{
    clv_dtype dtype = h->dtype;
    product(h, t.b, t.keys, h->d, 1 / sqrt((double)h->d),
            (operand){false, row(dtype, q, h->ld, t.i), h->ld}, (operand){true, k, h->ld}, 0, P,
            t.keys);
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

static void head_forward(const clvi_attention *h, const void *q, const void *k, const void *v,
                         void *o)
{
    for (int64_t i = 0; i < h->T; i += BLOCK) {
        tile t = tile_at(h->T, i);
        probabilities(h, t, q, k, h->work);
        product(h, t.b, h->d, t.keys, 1, (operand){false, h->work, t.keys},
                (operand){false, v, h->ld}, 0, row_of(h->dtype, o, h->ldo, i), h->ldo);
    }
}

/* dk and dv are added to. */
static void head_backward(const clvi_attention *h, const void *q, const void *k, const void *v,
                          const void *d_o, void *dq, void *dk, void *dv)
{
    clv_dtype dtype = h->dtype;
    int64_t d = h->d, ld = h->ld;
    double scale = 1 / sqrt((double)d);
    void *P = h->work, *dP = row_of(dtype, h->work, clvi_attention_work(h->T) / 2, 1);
    for (int64_t i = 0; i < h->T; i += BLOCK) {
        tile t = tile_at(h->T, i);
        operand qi = {false, row(dtype, q, ld, i), ld};
        operand doi = {false, row(dtype, d_o, h->ldo, i), h->ldo};
        probabilities(h, t, q, k, P);
        product(h, t.b, t.keys, d, 1, doi, (operand){true, v, ld}, 0, dP, t.keys);
        for (int64_t r = 0; r < t.b; r++) { /* P is 0 behind the diagonal, and so is dS */
            char *dp = row_of(dtype, dP, t.keys, r);
            clvi_softmax_backward(dtype, t.keys, row(dtype, P, t.keys, r), dp, dp);
        }
        product(h, t.b, d, t.keys, scale, (operand){false, dP, t.keys}, (operand){false, k, ld}, 0,
                row_of(dtype, dq, ld, i), ld);
        product(h, t.keys, d, t.b, scale, (operand){true, dP, t.keys}, qi, 1, dk, ld);
        product(h, t.keys, d, t.b, 1, (operand){true, P, t.keys}, doi, 1, dv, ld);
    }
}

/* Head a of those side by side in x. */
static const void *head(const clvi_attention *h, const void *x, int64_t a)
{
    return row(h->dtype, x, h->d, a);
}

static void *head_of(const clvi_attention *h, void *x, int64_t a)
{
    return row_of(h->dtype, x, h->d, a);
}

void clvi_attention_forward(const clvi_attention *h, void *z, void *o)
{
    int64_t g = h->g;
    if (h->rotary) clvi_rotate(h->dtype, false, h->T, g + 1, h->d, h->rotary, z, h->ld);
    for (int64_t a = 0; a < g; a++)
        head_forward(h, head(h, z, a), head(h, z, g), head(h, z, g + 1), head_of(h, o, a));
}

void clvi_attention_backward(const clvi_attention *h, const void *z, const void *d_o, void *dz)
{
    int64_t g = h->g;
    void *dk = head_of(h, dz, g), *dv = head_of(h, dz, g + 1);
    for (int64_t t = 0; t < h->T; t++)
        clvi_fill(h->dtype, 2 * h->d, 0, row_of(h->dtype, dk, h->ld, t));
    for (int64_t a = 0; a < g; a++)
        head_backward(h, head(h, z, a), head(h, z, g), head(h, z, g + 1), head(h, d_o, a),
                      head_of(h, dz, a), dk, dv);
    if (h->rotary) clvi_rotate(h->dtype, true, h->T, g + 1, h->d, h->rotary, dz, h->ld);
}
