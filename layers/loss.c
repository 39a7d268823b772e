/* SPDX-License-Identifier: BSD-3-Clause
 *
 * loss.c: mean cross-entropy of softmax(logits) against targets, the vocabulary sharded in any way.
 *
 *     loss_t = log sum_v exp(x_tv) - x_t,target     dx_tv = (softmax(x_t)_v - [v = target]) / count
 *
 * Each leaf of a row brings its greatest logit, the sum of exponentials against it and the target's
 * logit (0 where another leaf has it): three numbers are gathered, not the vocabulary. The losses
 * of rows are added exactly: the mean does not depend on who holds which.
 */
#include <clvi_layers.h>
#include <math.h>

enum { MAX, SUM_EXP, TARGET, NUMBERS };

struct clv_loss {
    clv_grid *grid;
    clv_spec logits, targets;
    clv_matrix *target; /* [r|-] for logits [r|c] */
    clv_plan *targets_to_rows;
    clvi_rowstats stats;
    double (*rows)[NUMBERS]; /* of the last forward: the numbers of each local row */
    const clv_matrix *X;     /* logits of the last forward, borrowed */
    double count;
};

/* The target of local row i; -1 where it is left out. */
static int64_t target_of(const clv_loss *loss, int64_t i)
{
    int32_t id = *(const int32_t *)clvi_at(clv_matrix_block(loss->target), CLV_I32, i, 0);
    return 0 <= id && id < loss->logits.n ? id : -1;
}

/* Whether columns [begin, begin + n) of a block have global column j. */
static bool holds(clv_block x, int64_t begin, int64_t n, int64_t j)
{
    return x.col0 + begin <= j && j < x.col0 + begin + n;
}

/* The numbers of each own leaf of local row i. */
static void leaf_numbers(const clv_loss *loss, clv_block x, int64_t i)
{
    clv_dtype dtype = loss->logits.dtype;
    const clvi_leaves *leaves = &loss->stats.leaves;
    int64_t target = target_of(loss, i);
    double *own = clvi_rowstats_own(&loss->stats, i);
    for (int l = 0; l < leaves->own; l++, own += NUMBERS) {
        int64_t begin = leaves->edges[l], n = leaves->edges[l + 1] - begin;
        const void *part = clvi_at(x, dtype, i, begin);
        own[MAX] = clvi_max(dtype, n, part);
        own[SUM_EXP] = clvi_sum_exp(dtype, n, part, own[MAX]);
        own[TARGET] =
            holds(x, begin, n, target) ? clvi_get(dtype, part, target - x.col0 - begin) : 0;
    }
}

/* The numbers of the whole row i, in the order of the leaves. */
static void combine(const clv_loss *loss, int64_t i, double out[NUMBERS])
{
    const double *all = clvi_rowstats_all(&loss->stats, i);
    int length = NUMBERS * loss->stats.leaves.count;
    out[MAX] = -INFINITY;
    out[SUM_EXP] = out[TARGET] = 0;
    for (int s = 0; s < length; s += NUMBERS) out[MAX] = fmax(out[MAX], all[s + MAX]);
    for (int s = 0; s < length; s += NUMBERS) {
        if (all[s + SUM_EXP] != 0) /* an empty leaf has max -infinity */
            out[SUM_EXP] += all[s + SUM_EXP] * exp(all[s + MAX] - out[MAX]);
        out[TARGET] += all[s + TARGET];
    }
}

/* Whether this process counts its rows: of all that hold them, the one at coordinate 0. */
static bool counts_rows(const clv_loss *loss)
{
    clv_axes others = ~clv_order_set(loss->logits.layout.rows);
    for (int axis = 0; axis < clv_grid_naxes(loss->grid); axis++)
        if ((others >> axis & 1) &&
            clv_grid_coord(loss->grid, clv_grid_rank(loss->grid), axis) != 0)
            return false;
    return true;
}

clv_status clv_loss_forward(clv_loss *loss, const clv_matrix *logits, const clv_matrix *targets,
                            double *mean, int64_t *count)
{
    clv_block x;
    clvi_exact sum = {0};
    double rows = 0;
    clv_status status;
    CLVI_TRY(clvi_matrix_expect(logits, "logits", loss->grid, loss->logits));
    CLVI_TRY(clvi_matrix_expect(targets, "targets", loss->grid, loss->targets));
    x = clv_matrix_block(logits);
    CLVI_TRY(clv_execute_move(loss->targets_to_rows, 1, targets, 0, loss->target));
    for (int64_t i = 0; i < x.m; i++) leaf_numbers(loss, x, i);
    CLVI_TRY(clvi_rowstats_gather(&loss->stats));
    for (int64_t i = 0; i < x.m; i++) {
        double *row = loss->rows[i];
        if (target_of(loss, i) < 0) continue;
        combine(loss, i, row);
        if (!counts_rows(loss)) continue;
        clvi_exact_add(&sum, row[MAX] + log(row[SUM_EXP]) - row[TARGET]);
        rows++;
    }
    CLVI_TRY(clvi_exact_reduce(loss->grid, &sum, &rows));
    *mean = rows > 0 ? clvi_exact_value(&sum) / rows : 0;
    if (count) *count = (int64_t)rows;
    loss->count = rows;
    loss->X = logits;
done:
    return status;
}

clv_status clv_loss_backward(clv_loss *loss, clv_matrix *dlogits)
{
    clv_status status;
    CLVI_CHECK(loss->X, CLV_EARG, "loss: expected a forward before backward, found none");
    CLVI_TRY(clvi_matrix_expect(dlogits, "dlogits", loss->grid, loss->logits));
    clv_dtype dtype = loss->logits.dtype;
    clv_block x = clv_matrix_block(loss->X), dx = clv_matrix_block(dlogits);
    for (int64_t i = 0; i < x.m; i++) {
        int64_t target = target_of(loss, i);
        void *row = clvi_at(dx, dtype, i, 0);
        const double *whole = loss->rows[i];
        if (target < 0) {
            clvi_fill(dtype, dx.n, 0, row);
            continue;
        }
        clvi_exp_scaled(dtype, x.n, clvi_at(x, dtype, i, 0), whole[MAX],
                        1 / (whole[SUM_EXP] * loss->count), row);
        if (holds(x, 0, x.n, target)) {
            int64_t j = target - x.col0;
            clvi_set(dtype, row, j, clvi_get(dtype, row, j) - 1 / loss->count);
        }
    }
done:
    return status;
}

static clv_status check(clv_spec logits, clv_spec targets)
{
    clv_status status;
    CLVI_TRY(clvi_check_values("loss", "logits", logits));
    CLVI_CHECK(targets.dtype == CLV_I32, CLV_EDTYPE, "loss: targets: expected i32, found %s",
               clv_dtype_name(targets.dtype));
    CLVI_CHECK(!targets.layout.sum, CLV_ELAYOUT,
               "loss: targets: expected a layout without a pending sum");
    CLVI_TRY(clvi_check_extent("loss", "rows of targets", targets.m, logits.m));
    CLVI_TRY(clvi_check_extent("loss", "columns of targets", targets.n, 1));
done:
    return status;
}

clv_status clv_loss_create(clv_grid *grid, clv_spec logits, clv_spec targets, clv_loss **out)
{
    clv_spec target = targets;
    target.m_unit = logits.m_unit;
    target.layout = (clv_layout){.rows = logits.layout.rows};
    clv_loss *loss = *out = NULL;
    clv_status status = check(logits, targets);
    if (status == CLV_OK && !(loss = clvi_alloc(sizeof *loss)))
        status = clvi_fail(CLV_ENOMEM, "a loss");
    CLVI_TRY(clv_grid_agree(grid, status));
    *loss = (clv_loss){.grid = grid, .logits = logits, .targets = targets};
    CLVI_TRY(clv_matrix_create(grid, target, &loss->target));
    CLVI_TRY(clvi_plan_move_specs(grid, targets, target, &loss->targets_to_rows));
    CLVI_TRY(clvi_rowstats_create(grid, logits, NUMBERS, &loss->stats));
    int64_t m = clv_matrix_block(loss->target).m;
    loss->rows = clvi_alloc((size_t)m * sizeof *loss->rows);
    CLVI_TRY(clv_grid_agree(
        grid, loss->rows ? CLV_OK : clvi_fail(CLV_ENOMEM, "a loss of %lld rows", (long long)m)));
done:
    if (status != CLV_OK) clv_loss_destroy(&loss);
    *out = loss;
    return status;
}

void clv_loss_destroy(clv_loss **loss)
{
    if (!*loss) return;
    clv_plan_destroy(&(*loss)->targets_to_rows);
    clv_matrix_destroy(&(*loss)->target);
    clvi_rowstats_destroy(&(*loss)->stats);
    clvi_free((*loss)->rows);
    clvi_free(*loss);
    *loss = NULL;
}
