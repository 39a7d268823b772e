/* SPDX-License-Identifier: BSD-3-Clause
 *
 * batch.c: tokens of a text into a model's ids and targets.
 */
#include <clvi_layers.h>

/* The vocabulary of a model may be smaller than the text's. */
static clv_status check_tokens(const int32_t *ids, int64_t count, int64_t offset,
                               int64_t vocabulary)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocabulary)
            return clvi_fail(CLV_EARG,
                             "text: token at offset %lld: expected 0 to %lld (the vocabulary), "
                             "found %d",
                             (long long)(offset + i), (long long)(vocabulary - 1), ids[i]);
    return CLV_OK;
}

/* Fills this process's rows, whole sequences, with the text from starts[s] + shift. */
static clv_status load(clv_matrix *matrix, const clv_source *source, const int64_t starts[],
                       int64_t shift, const clv_gpt_config *config)
{
    clv_status status = CLV_OK;
    clv_block block = clv_matrix_block(matrix);
    for (int64_t i = 0; i < block.m * block.n; i += config->context) {
        int32_t *ids = (int32_t *)block.data + i;
        int64_t start = starts[(block.row0 + i) / config->context];
        if (start < 0) {
            for (int64_t t = 0; t < config->context; t++) ids[t] = -1;
            continue;
        }
        CLVI_TRY(source->read(source->context, start + shift, config->context, ids));
        CLVI_TRY(check_tokens(ids, config->context, start + shift, config->vocabulary));
    }
done:
    return status;
}

clv_status clvi_batch_load(clv_gpt *gpt, const clv_source *source, const int64_t starts[])
{
    clv_gpt_config config = clv_gpt_config_of(gpt);
    clv_status status = load(clv_gpt_ids(gpt), source, starts, 0, &config);
    if (status == CLV_OK) status = load(clv_gpt_targets(gpt), source, starts, 1, &config);
    return clv_grid_agree(clv_params_grid(clv_gpt_params(gpt)), status);
}
