/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokenizer.c: text to tokens and back.
 */
#include "clvi_tokenizer.h"

#include <stdlib.h>
#include <string.h>

/* ---- Lifetime --------------------------------------------------------------------- */

clv_status clv_tokenizer_open(const char *path, clv_tokenizer **tokenizer)
{
    clv_status status = CLV_OK;
    if (!tokenizer) return clvi_fail(CLV_EARG, "expected a place for a tokenizer, found NULL");
    clv_tokenizer *t = *tokenizer = clvi_alloc(sizeof *t);
    CLVI_CHECK(t, CLV_ENOMEM, "a tokenizer: no memory");
    if (path) {
        CLVI_TRY(clvi_tokenizer_read(path, t));
    } else {
        CLVI_TRY(clvi_bpe_create(256, 256, 0, &t->bpe));
        for (int byte = 0; byte < 256; byte++)
            CLVI_TRY(clvi_bpe_add(t->bpe, byte, (char[]){(char)byte}, 1, true));
        CLVI_TRY(clvi_bpe_finish(t->bpe, false));
    }
done:
    if (status != CLV_OK) clv_tokenizer_close(tokenizer);
    return status;
}

void clv_tokenizer_close(clv_tokenizer **tokenizer)
{
    if (!tokenizer || !*tokenizer) return;
    clv_tokenizer *t = *tokenizer;
    for (int i = 0; i < t->levels; i++) clvi_level_destroy(&t->level[i]);
    clvi_bpe_destroy(&t->bpe);
    clvi_free(t);
    *tokenizer = NULL;
}

int64_t clv_tokenizer_vocabulary(const clv_tokenizer *tokenizer)
{
    return clvi_bpe_vocabulary(tokenizer->bpe);
}

int32_t clv_tokenizer_find(const clv_tokenizer *tokenizer, const char *text, size_t bytes)
{
    return (int32_t)clvi_bpe_find(tokenizer->bpe, text, bytes);
}

/* ---- Encoding ----------------------------------------------------------------------- */

typedef struct {
    const clv_tokenizer *tokenizer;
    void *matcher;
    clvi_bpe_work work;
    clvi_ids list;
} encoding;

static clv_status encode(encoding *e, int level, const char *text, size_t bytes, bool last,
                         size_t *used);

/* A match is whole, whatever follows it. */
static clv_status encode_match(encoding *e, int level, const char *text, size_t bytes)
{
    size_t used;
    if (e->tokenizer->level[level].kind == CLVI_LEVEL_SPLIT)
        return encode(e, level + 1, text, bytes, true, &used);
    return clvi_ids_add(&e->list, clvi_bpe_find(e->tokenizer->bpe, text, bytes));
}

static clv_status encode_gap(encoding *e, int level, const char *text, size_t bytes, bool last,
                             size_t *used)
{
    *used = bytes;
    if (bytes == 0 || e->tokenizer->level[level].drop_gaps) return CLV_OK;
    return encode(e, level + 1, text, bytes, last, used);
}

/* The tokens of a text from this level on. Unless it is the last, more follows: *used bytes are
 * those whose tokens it cannot change any more. */
static clv_status encode(encoding *e, int level, const char *text, size_t bytes, bool last,
                         size_t *used)
{
    clv_status status = CLV_OK;
    const clv_tokenizer *t = e->tokenizer;
    size_t at = 0, begin = 0, end = 0, some = 0;
    clvi_found found;
    *used = 0;
    if (level == t->levels) {
        if (!last && clvi_bpe_has_merges(t->bpe)) return CLV_OK;
        *used = bytes;
        return clvi_bpe_encode(t->bpe, &e->work, text, bytes, &e->list);
    }
    for (;; at = end) {
        CLVI_TRY(clvi_level_find(&t->level[level], e->matcher, text, bytes, at, last, &found,
                                 &begin, &end));
        if (found != CLVI_MATCH) break;
        CLVI_TRY(encode_gap(e, level, text + at, begin - at, true, &some));
        CLVI_TRY(encode_match(e, level, text + begin, end - begin));
    }
    if (found == CLVI_NO_MATCH) begin = bytes;
    CLVI_TRY(encode_gap(e, level, text + at, begin - at, last, &some));
    *used = at + some;
done:
    return status;
}

clv_status clv_tokenizer_encode_part(const clv_tokenizer *tokenizer, const char *text, size_t bytes,
                                     bool last, int32_t **ids, int64_t *count, size_t *used)
{
    clv_status status = CLV_OK;
    encoding e = {.tokenizer = tokenizer};
    CLVI_CHECK(tokenizer && (text || bytes == 0) && ids && count && used, CLV_EARG,
               "expected a tokenizer, a text and places for its tokens, found NULL");
    *ids = NULL;
    *count = 0;
    e.matcher = clvi_matcher_create(bytes);
    CLVI_CHECK(e.matcher, CLV_ENOMEM, "a tokenizer: no memory to split texts");
    CLVI_TRY(encode(&e, 0, text, bytes, last, used));
    *ids = e.list.ids;
    *count = e.list.count;
    e.list.ids = NULL;
done:
    free(e.list.ids);
    clvi_free(e.work.memory);
    clvi_matcher_destroy(e.matcher);
    return status;
}

clv_status clv_tokenizer_encode(const clv_tokenizer *tokenizer, const char *text, size_t bytes,
                                int32_t **ids, int64_t *count)
{
    size_t used;
    return clv_tokenizer_encode_part(tokenizer, text, bytes, true, ids, count, &used);
}

/* ---- Decoding ------------------------------------------------------------------------- */

clv_status clv_tokenizer_decode(const clv_tokenizer *tokenizer, int64_t count, const int32_t *ids,
                                char **text, size_t *bytes)
{
    clv_status status = CLV_OK;
    size_t all = 0, some = 0;
    char *out = NULL;
    CLVI_CHECK(tokenizer && count >= 0 && (ids || count == 0) && text && bytes, CLV_EARG,
               "expected a tokenizer, ids and a place for their text, found NULL");
    for (int64_t i = 0; i < count; i++, all += some)
        CLVI_CHECK(clvi_bpe_text(tokenizer->bpe, ids[i], &some), CLV_EARG,
                   "token %lld: expected an id of the tokenizer (below %lld), found %d",
                   (long long)i, (long long)clv_tokenizer_vocabulary(tokenizer), ids[i]);
    out = malloc(all + 1);
    CLVI_CHECK(out, CLV_ENOMEM, "the text of %lld tokens: no memory", (long long)count);
    all = 0;
    for (int64_t i = 0; i < count; i++, all += some) {
        const char *token = clvi_bpe_text(tokenizer->bpe, ids[i], &some);
        memcpy(out + all, token, some);
    }
    out[all] = '\0';
    *text = out;
    *bytes = all;
done:
    return status;
}
