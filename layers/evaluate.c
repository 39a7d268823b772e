/* SPDX-License-Identifier: BSD-3-Clause
 *
 * evaluate.c: the mean loss over a whole text.
 *
 * Window w holds the tokens [w context, (w + 1) context) and predicts those one further on. The
 * windows go through the model in batches; what lacks in the last batch is left out of its mean.
 */
#include <clvi_layers.h>
#include <math.h>

clv_status clv_gpt_evaluate(clv_gpt *gpt, const clv_source *source,
                            void (*progress)(void *context, int64_t done, int64_t all),
                            void *progress_context, double *loss, int64_t *tokens)
{
    clv_status status = CLV_OK;
    clv_grid *grid = clv_params_grid(clv_gpt_params(gpt));
    int64_t context = clv_gpt_config_of(gpt).context, batch = clv_gpt_sequences(gpt);
    int64_t windows = source->size > 0 ? (source->size - 1) / context : 0;
    int64_t *starts = clvi_alloc((size_t)batch * sizeof *starts);
    double sum = 0;
    if (!starts) status = clvi_fail(CLV_ENOMEM, "evaluate: no memory");
    CLVI_TRY(clvi_grid_same(grid, status, "size of the text", 1, &source->size));
    CLVI_CHECK(windows > 0, CLV_ESHAPE,
               "evaluate: expected a text of more than %lld tokens (the context), found %lld",
               (long long)context, (long long)source->size);

    for (int64_t w = 0; w < windows; w += batch) {
        int64_t count = windows - w < batch ? windows - w : batch;
        double mean;
        for (int64_t s = 0; s < batch; s++) starts[s] = s < count ? (w + s) * context : -1;
        CLVI_TRY(clvi_batch_load(gpt, source, starts));
        CLVI_TRY(clv_gpt_forward(gpt, &mean));
        sum += mean * (double)count;
        if (progress) progress(progress_context, (w + count) * context, windows * context);
    }
    CLVI_CHECK(isfinite(sum), CLV_ENUMERIC, "evaluate: expected a finite loss, found %g", sum);
    *loss = sum / (double)windows;
    *tokens = windows * context;
done:
    clvi_free(starts);
    return status;
}
