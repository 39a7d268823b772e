/* SPDX-License-Identifier: BSD-3-Clause
 *
 * norm.c: layer norm (Ba et al. 2016) and RMS norm (Zhang and Sennrich 2019) of each row, whose
 * columns may be sharded. With h = (x - mean) rstd (RMS norm: mean 0) and g = dy gain,
 *
 *     y = h gain + bias      dx = rstd (g - mean(g) - h mean(g h))   (RMS norm: without mean(g))
 *
 * Each shard brings (count, mean, sum of squared deviations) of its part of a row; they are
 * combined by the formula of Chan, Golub and LeVeque (1979), which does not cancel.
 */
#include <clvi_layers.h>
#include <math.h>

enum { COUNT, MEAN, M2, MOMENTS };
enum { SUM_G, SUM_GH, SUMS };

typedef struct {
    clv_layer base;
    clv_norm_kind kind;
    double eps;
    clvi_vector gain, bias;
    clvi_rowstats moments, sums;
} norm;

typedef struct {
    double mean, rstd;
} row_stats;

/* Mean and 1 / deviation of local row i, from the moments of all shards. */
static row_stats combine(const norm *l, int64_t i)
{
    const double *shard = clvi_rowstats_all(&l->moments, i);
    double count = 0, mean = 0, m2 = 0;
    for (int s = 0; s < l->moments.shards; s++, shard += MOMENTS) {
        if (shard[COUNT] == 0) continue;
        double total = count + shard[COUNT], delta = shard[MEAN] - mean;
        m2 += shard[M2] + delta * delta * count * shard[COUNT] / total;
        mean += delta * shard[COUNT] / total;
        count = total;
    }
    if (l->kind == CLV_RMS_NORM) { /* sum x^2 = sum (x - mean)^2 + count mean^2 */
        m2 += count * mean * mean;
        mean = 0;
    }
    return (row_stats){mean, 1 / sqrt(m2 / fmax(count, 1) + l->eps)};
}

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    norm *l = (norm *)layer;
    clv_dtype dtype = layer->x.dtype;
    clv_block x = clv_matrix_block(X), y = clv_matrix_block(Y);
    const void *gain = clvi_vector_value(&l->gain), *bias = clvi_vector_value(&l->bias);
    clv_status status;
    for (int64_t i = 0; i < x.m; i++) {
        double *own = clvi_rowstats_own(&l->moments, i);
        own[COUNT] = (double)x.n;
        clvi_moments(dtype, x.n, clvi_at(x, dtype, i, 0), own + MEAN);
    }
    CLVI_TRY(clvi_rowstats_gather(&l->moments));
    for (int64_t i = 0; i < x.m; i++) {
        row_stats r = combine(l, i);
        clvi_normalize(dtype, x.n, clvi_at(x, dtype, i, 0), r.mean, r.rstd, gain, bias,
                       clvi_at(y, dtype, i, 0));
    }
done:
    return status;
}

static clv_status backward_params(norm *l, clv_block x, clv_block dy)
{
    clv_dtype dtype = l->base.x.dtype;
    void *gain = clvi_vector_terms(&l->gain), *bias = clvi_vector_terms(&l->bias);
    clv_status status;
    for (int64_t i = 0; i < x.m; i++) {
        row_stats r = combine(l, i);
        clvi_normalize_params(dtype, x.n, clvi_at(x, dtype, i, 0), r.mean, r.rstd,
                              clvi_at(dy, dtype, i, 0), gain, bias);
    }
    CLVI_TRY(clvi_vector_collect(&l->gain));
    CLVI_TRY(clvi_vector_collect(&l->bias));
done:
    return status;
}

static clv_status backward_x(norm *l, clv_block x, clv_block dy, clv_block dx)
{
    clv_dtype dtype = l->base.x.dtype;
    const void *gain = clvi_vector_value(&l->gain);
    double width = (double)l->base.x.n;
    clv_status status;
    for (int64_t i = 0; i < x.m; i++) {
        row_stats r = combine(l, i);
        clvi_normalize_sums(dtype, x.n, clvi_at(x, dtype, i, 0), r.mean, r.rstd, gain,
                            clvi_at(dy, dtype, i, 0), clvi_rowstats_own(&l->sums, i));
    }
    CLVI_TRY(clvi_rowstats_gather(&l->sums));
    for (int64_t i = 0; i < x.m; i++) {
        row_stats r = combine(l, i);
        const double *shard = clvi_rowstats_all(&l->sums, i);
        double sums[SUMS] = {0};
        for (int s = 0; s < SUMS * l->sums.shards; s++) sums[s % SUMS] += shard[s];
        double mean_g = l->kind == CLV_RMS_NORM ? 0 : sums[SUM_G] / width;
        clvi_normalize_backward(dtype, x.n, clvi_at(x, dtype, i, 0), r.mean, r.rstd, gain,
                                clvi_at(dy, dtype, i, 0), mean_g, sums[SUM_GH] / width,
                                clvi_at(dx, dtype, i, 0));
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
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}
