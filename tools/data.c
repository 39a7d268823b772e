/* SPDX-License-Identifier: BSD-3-Clause
 *
 * data.c: the tokens to train on or to evaluate, and whether a model is one for them.
 */
#include "tool.h"

#include <inttypes.h>

static clv_status read_tokens(void *context, int64_t offset, int64_t count, int32_t *ids)
{
    return clv_tokens_read(context, offset, count, ids);
}

/* The largest id of this process's share of the tokens. */
static clv_status look(clv_tokens *tokens, int rank, int ranks, int32_t *largest)
{
    enum { SOME = 1 << 14 };
    int32_t ids[SOME];
    int64_t size = clv_tokens_size(tokens), end = size / ranks * (rank + 1);
    clv_status status = CLV_OK;
    if (rank == ranks - 1) end = size;
    progress shown = progress_start("looked at tokens", 0, size / ranks, 0);
    for (int64_t at = size / ranks * rank; at < end; at += SOME) {
        int64_t count = end - at < SOME ? end - at : SOME;
        TRY(clv_tokens_read(tokens, at, count, ids));
        for (int64_t i = 0; i < count; i++)
            if (ids[i] > *largest) *largest = ids[i];
        progress_show(&shown, at + count, 0, 0);
    }
done:
    progress_end(&shown);
    return status;
}

static clv_status find_vocabulary(clv_grid *grid, data *d)
{
    int32_t largest = 0;
    clv_status status = look(d->tokens, clv_grid_rank(grid), clv_grid_size(grid), &largest);
    double most[] = {largest};
    TRY(clv_grid_agree(grid, status));
    TRY(clv_grid_reduce(grid, CLV_MAX, 1, most));
    d->vocabulary = (int64_t)most[0] + 1;
done:
    return status;
}

clv_status data_open(clv_grid *grid, const option_words *files, data *d)
{
    clv_status status;
    TRY(clv_tokens_open(grid, files->count, files->words, &d->tokens));
    d->source = (clv_source){d->tokens, clv_tokens_size(d->tokens), read_tokens};
    d->bytes = clv_tokens_are_bytes(d->tokens);
    d->vocabulary = clv_tokens_vocabulary(d->tokens);
    if (!d->vocabulary) TRY(find_vocabulary(grid, d));
done:
    return status;
}

void data_close(data *d)
{
    clv_tokens_close(&d->tokens);
}

clv_status data_check(const data *d, int64_t vocabulary, bool given)
{
    if (d->vocabulary > vocabulary)
        return tool_fail(CLV_EARG,
                         "--data: expected ids below %" PRId64
                         ", the vocabulary of the model, found a vocabulary of %" PRId64,
                         vocabulary, d->vocabulary);
    if (d->bytes && vocabulary != d->vocabulary && !given)
        return tool_fail(CLV_EARG,
                         "--data: expected token files (cleave tokenize makes them) for a model of "
                         "%" PRId64 " tokens, found texts; --vocabulary %" PRId64
                         " says that its tokens are bytes",
                         vocabulary, vocabulary);
    return CLV_OK;
}

const char *data_unit(const data *d)
{
    return d->bytes ? "byte" : "token";
}
