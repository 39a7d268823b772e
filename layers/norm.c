/* SPDX-License-Identifier: BSD-3-Clause
 *
 * norm.c: layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019) of each row, whose
 * columns may be sharded. With h = (x - mean) rstd (RMS norm: mean 0) and g = dy gain,
 *
 *     y = h gain + bias      dx = rstd (g - mean(g) - h mean(g h))   (RMS norm: without mean(g))
 *
 * Each leaf of the columns brings mean and sum of squared deviations of its part of a row; with
 * n_l columns in leaf l and d_l = mean_l - mean, which does not cancel,
 *
 *     n mean = sum_l n_l mean_l      n variance = sum_l (squares_l + n_l d_l^2)
 */
#include <clvi_layers.h>
#include <math.h>

enum { MEAN, SQUARES, MOMENTS };
enum { SUM_G, SUM_GH, SUMS };

typedef struct {
    double mean, rstd;
} row_stats;

typedef struct {
    clv_layer base;
    clv_norm_kind kind;
    double eps;
    clvi_vector gain, bias;
    clvi_rowstats moments, sums;
    double *length;  /* [leaves]: columns of each          */
    row_stats *rows; /* of the last forward, one local row */
} norm;

/* Mean and 1 / deviation of local row i, from the moments of all leaves. */
static row_stats combine(const norm *l, int64_t i)
{
    const double *leaf = clvi_rowstats_all(&l->moments, i), *n = l->length;
    double width = fmax((double)l->base.x.n, 1), mean = 0, squares = 0;
    if (l->kind == CLV_LAYER_NORM) {
        for (int s = 1; s < l->moments.leaves.count; s++)
            mean += n[s] * (leaf[s * MOMENTS + MEAN] - leaf[MEAN]);
        mean = leaf[MEAN] + mean / width;
    }
    for (int s = 0; s < l->moments.leaves.count; s++) {
        double d = leaf[s * MOMENTS + MEAN] - mean;
        squares += leaf[s * MOMENTS + SQUARES] + n[s] * (d * d);
    }
    return (row_stats){mean, 1 / sqrt(squares / width + l->eps)};
}

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    norm *l = (norm *)layer;
    clv_dtype dtype = layer->x.dtype;
    clv_block x = clv_matrix_block(X), y = clv_matrix_block(Y);
    const void *gain = clvi_vector_value(&l->gain), *bias = clvi_vector_value(&l->bias);
    const clvi_leaves *leaves = &l->moments.leaves;
    size_t size = clv_dtype_size(dtype);
    clv_status status;
    for (int64_t i = 0; i < x.m; i++) {
        const char *row = clvi_at(x, dtype, i, 0);
        double *own = clvi_rowstats_own(&l->moments, i);
        for (int leaf = 0; leaf < leaves->own; leaf++) {
            int64_t begin = leaves->edges[leaf];
            clvi_moments(dtype, leaves->edges[leaf + 1] - begin, row + (size_t)begin * size,
                         own + leaf * MOMENTS);
        }
    }
    CLVI_TRY(clvi_rowstats_gather(&l->moments));
    for (int64_t i = 0; i < x.m; i++) {
        row_stats r = l->rows[i] = combine(l, i);
        clvi_normalize(dtype, x.n, clvi_at(x, dtype, i, 0), r.mean, r.rstd, gain, bias,
                       clvi_at(y, dtype, i, 0));
    }
done:
    return status;
}

static clv_status backward_params(norm *l, clv_block x, clv_block dy)
{
    clv_dtype dtype = l->base.x.dtype;
    clv_status status;
    clvi_vector_clear(&l->gain);
    clvi_vector_clear(&l->bias);
    for (int64_t i = 0; i < x.m; i++)
        clvi_normalize_params(dtype, x.n, clvi_at(x, dtype, i, 0), l->rows[i].mean, l->rows[i].rstd,
                              clvi_at(dy, dtype, i, 0), clvi_vector_terms(&l->gain, i),
                              clvi_vector_terms(&l->bias, i));
    CLVI_TRY(clvi_vector_collect(&l->gain));
    CLVI_TRY(clvi_vector_collect(&l->bias));
done:
    return status;
}

/* Both sums of each own leaf of local row i. */
static void sum_leaves(norm *l, clv_block x, clv_block dy, int64_t i)
{
    clv_dtype dtype = l->base.x.dtype;
    size_t size = clv_dtype_size(dtype);
    const char *x_row = clvi_at(x, dtype, i, 0), *dy_row = clvi_at(dy, dtype, i, 0);
    const char *gain = clvi_vector_value(&l->gain);
    double *own = clvi_rowstats_own(&l->sums, i);
    row_stats r = l->rows[i];
    for (int leaf = 0; leaf < l->sums.leaves.own; leaf++) {
        int64_t begin = l->sums.leaves.edges[leaf], n = l->sums.leaves.edges[leaf + 1] - begin;
        size_t at = (size_t)begin * size;
        clvi_normalize_sums(dtype, n, x_row + at, r.mean, r.rstd, gain + at, dy_row + at,
                            own + leaf * SUMS);
    }
}

static clv_status backward_x(norm *l, clv_block x, clv_block dy, clv_block dx)
{
    clv_dtype dtype = l->base.x.dtype;
    const void *gain = clvi_vector_value(&l->gain);
    double width = (double)l->base.x.n;
    clv_status status;
    for (int64_t i = 0; i < x.m; i++) sum_leaves(l, x, dy, i);
    CLVI_TRY(clvi_rowstats_gather(&l->sums));
    for (int64_t i = 0; i < x.m; i++) {
        const double *leaf = clvi_rowstats_all(&l->sums, i);
        double sums[SUMS] = {0};
        for (int s = 0; s < SUMS * l->sums.leaves.count; s++) sums[s % SUMS] += leaf[s];
        double mean_g = l->kind == CLV_RMS_NORM ? 0 : sums[SUM_G] / width;
        clvi_normalize_backward(dtype, x.n, clvi_at(x, dtype, i, 0), l->rows[i].mean,
                                l->rows[i].rstd, gain, clvi_at(dy, dtype, i, 0), mean_g,
                                sums[SUM_GH] / width, clvi_at(dx, dtype, i, 0));
    }
done:
    return status;
}

static clv_status backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    norm *l = (norm *)layer;
    clv_block x = clv_matrix_block(layer->X), dy = clv_matrix_block(dY);
    clv_status status;
    CLVI_TRY(backward_params(l, x, dy));
    if (dX) CLVI_TRY(backward_x(l, x, dy, clv_matrix_block(dX)));
done:
    return status;
}

static void destroy(clv_layer *layer)
{
    norm *l = (norm *)layer;
    clvi_vector_destroy(&l->gain);
    clvi_vector_destroy(&l->bias);
    clvi_rowstats_destroy(&l->moments);
    clvi_rowstats_destroy(&l->sums);
    clvi_free(l->length);
    clvi_free(l->rows);
}

/* Lengths of leaves, and room for what a forward leaves to the backward. Collective. */
static clv_status prepare(norm *l, const char *name)
{
    clv_spec x = l->base.x;
    int count = l->moments.leaves.count;
    int64_t m = clv_matrix_block(l->moments.own).m;
    l->length = clvi_alloc((size_t)count * sizeof *l->length);
    l->rows = clvi_alloc((size_t)m * sizeof *l->rows);
    bool made = l->length && l->rows;
    for (int s = 0; made && s < count; s++)
        l->length[s] = (double)clvi_leaf_length(l->base.grid, x.n, x.n_unit, x.layout.cols, s);
    return clv_grid_agree(l->base.grid, made ? CLV_OK
                                             : clvi_fail(CLV_ENOMEM, "%s: %d leaves, %lld rows",
                                                         name, count, (long long)m));
}

static const clvi_layer_type type = {"norm", forward, backward, destroy};

clv_status clv_norm_create(clv_params *params, const char *name, const clv_norm_config *config,
                           clv_layer **layer)
{
    clv_grid *grid = clv_params_grid(params);
    clv_spec x = config->x;
    clv_status status;
    *layer = NULL;
    CLVI_TRY(clv_grid_agree(grid, clvi_check_values(name, "x", x)));
    CLVI_TRY(clvi_layer_create(grid, sizeof(norm), &type, x, x, layer));
    norm *l = (norm *)*layer;
    l->kind = config->kind;
    l->eps = config->eps != 0 ? config->eps : 1e-5;
    CLVI_TRY(clvi_vector_create(params, name, "gain", x, 1, &l->gain));
    if (l->kind == CLV_LAYER_NORM)
        CLVI_TRY(clvi_vector_create(params, name, "bias", x, 0, &l->bias));
    CLVI_TRY(clvi_rowstats_create(grid, x, MOMENTS, &l->moments));
    CLVI_TRY(clvi_rowstats_create(grid, x, SUMS, &l->sums));
    CLVI_TRY(prepare(l, name));
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}
