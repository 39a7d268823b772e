/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sample.c: the next token.
 *
 * The row of the logits is brought to every process as a sum to which each owner adds its part,
 * the others zeros: exact, and the same bits everywhere. So every process draws the same token.
 */
#include <clvi_layers.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static clv_status gather_row(const clv_matrix *logits, int64_t row, double *x)
{
    clv_block block = clv_matrix_block(logits);
    clv_spec spec = clv_matrix_spec(logits);
    int64_t i = row - block.row0;
    memset(x, 0, (size_t)spec.n * sizeof *x);
    if (i >= 0 && i < block.m && clvi_matrix_is_first_copy(logits))
        clvi_convert(block.n, spec.dtype, clvi_at(block, spec.dtype, i, 0), CLV_F64,
                     x + block.col0);
    return clv_grid_reduce(clv_matrix_grid(logits), CLV_SUM, (int)spec.n, x);
}

static int64_t likeliest(int64_t n, const double *x)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The kth largest of x, what ties with it included, is the least that stays. */
static double threshold(int64_t n, const double *x, int top_k, double *work)
{
    if (top_k <= 0 || top_k >= n) return -HUGE_VAL;
    memcpy(work, x, (size_t)n * sizeof *x);
    qsort(work, (size_t)n, sizeof *work, descending);
    return work[top_k - 1];
}

/* The first i at which the weights exp((x[i] - max) / temperature) of all up to it pass
 * u times their sum. u in [0, 1). */
static int64_t draw(int64_t n, const double *x, double least, double temperature, double u,
                    double *weight)
{
    double max = x[likeliest(n, x)], sum = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < n; i++) {
        weight[i] = x[i] >= least ? exp((x[i] - max) / temperature) : 0;
        sum += weight[i];
    }
    double rest = u * sum;
    for (int64_t i = 0; i < n; i++) {
        if (weight[i] == 0) continue;
        if (rest < weight[i]) return i;
        rest -= weight[i];
        last = i;
    }
    return last; /* rounding went past the end */
}

clv_status clv_gpt_sample(clv_gpt *gpt, int64_t row, double temperature, int top_k, uint64_t seed,
                          uint64_t index, int32_t *id)
{
    clv_status status;
    const clv_matrix *logits = clv_gpt_logits(gpt);
    int64_t m = clv_matrix_spec(logits).m, n = clv_matrix_spec(logits).n;
    double *x = clvi_gpt_scratch(gpt), *work = x + n;
    CLVI_CHECK(row >= 0 && row < m, CLV_EARG, "sample: expected a row from 0 to %lld, found %lld",
               (long long)m - 1, (long long)row);
    CLVI_CHECK(temperature >= 0 && isfinite(temperature), CLV_EARG,
               "sample: expected a temperature of at least 0, found %g", temperature);
    CLVI_TRY(gather_row(logits, row, x));
    for (int64_t i = 0; i < n; i++)
        CLVI_CHECK(isfinite(x[i]), CLV_ENUMERIC, "sample: expected finite logits, found %g", x[i]);
    if (temperature == 0) {
        *id = (int32_t)likeliest(n, x);
    } else {
        uint32_t word[4];
        clvi_philox(seed, clvi_hash_string("next token"), index, word);
        double u = (double)(((uint64_t)word[1] << 32 | word[0]) >> 11) * 0x1p-53;
        *id = (int32_t)draw(n, x, threshold(n, x, top_k, work), temperature, u, work);
    }
done:
    return status;
}
