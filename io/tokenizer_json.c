/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokenizer_json.c: a tokenizer out of its files' text: of Hugging Face's tokenizer.json those that
 * are byte-level byte-pair encodings, and GPT-2's vocab.json with merges.txt. What is not of this
 * kind is refused by name, never passed over.
 */
#include "clvi_tokenizer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char gpt2_split[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef struct {
    const char *path;
    clv_tokenizer *tokenizer;
    size_t bytes; /* of the file that has the ids */
} reader;

/* CLV_EFORMAT: a part of the file is not what is expected. */
static clv_status refuse(const reader *r, const char *part, const char *expected, json_t *found)
{
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    clvi_fail(CLV_EFORMAT, "%s: %s: expected %s, found %.80s", r->path, part, expected,
              text ? text : "none");
    free(text);
    return CLV_EFORMAT;
}

/* Adds the file's name to an error of one of its parts. */
static clv_status named(const reader *r, clv_status status)
{
    char text[500];
    if (status == CLV_OK) return status;
    snprintf(text, sizeof text, "%s", clv_last_error());
    return clvi_fail(status, "%s: %s", r->path, text);
}

static clv_status load(const reader *r, const char *text, size_t bytes, json_t **json)
{
    json_error_t error;
    *json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (*json && json_is_object(*json)) return CLV_OK;
    return clvi_fail(CLV_EFORMAT, "%s: expected a JSON object, found %s at line %d", r->path,
                     *json ? "something else" : error.text, *json ? 1 : error.line);
}

static bool is_absent(json_t *value)
{
    return !value || json_is_null(value);
}

static bool is_type(json_t *object, const char *type)
{
    const char *found = json_string_value(json_object_get(object, "type"));
    return found && !strcmp(found, type);
}

/* ---- Vocabulary ---------------------------------------------------------------------- */

/* Each id takes memory, those without a token too; a token takes several bytes of the file, and
 * a small file may leave out most of a vocabulary. */
static clv_status check_id(const reader *r, const char *part, json_t *id)
{
    enum { FEW = 1 << 16, MOST = 1 << 24 };
    char expected[64];
    json_int_t value = json_integer_value(id), most = FEW;
    if (r->bytes > FEW) most = r->bytes < MOST ? (json_int_t)r->bytes : MOST;
    if (json_is_integer(id) && value >= 0 && value < most) return CLV_OK;
    snprintf(expected, sizeof expected, "ids from 0 to %lld in a file of %zu bytes",
             (long long)most - 1, r->bytes);
    return refuse(r, part, expected, id);
}

/* What a vocabulary needs: the largest id + 1 and the bytes of all texts. */
static clv_status measure(const reader *r, json_t *vocab, json_t *added, int64_t *ids,
                          size_t *bytes)
{
    clv_status status = CLV_OK;
    const char *text;
    json_t *id, *token;
    size_t i;
    if (!is_absent(added) && !json_is_array(added))
        return refuse(r, "added_tokens", "an array", added);
    json_object_foreach(vocab, text, id)
    {
        CLVI_TRY(check_id(r, "vocab", id));
        if (json_integer_value(id) >= *ids) *ids = json_integer_value(id) + 1;
        *bytes += strlen(text);
    }
    json_array_foreach(added, i, token)
    {
        id = json_object_get(token, "id");
        CLVI_TRY(check_id(r, "added_tokens", id));
        if (json_integer_value(id) >= *ids) *ids = json_integer_value(id) + 1;
        *bytes += json_string_length(json_object_get(token, "content"));
    }
    if (*ids == 0) status = refuse(r, "vocab", "an object of tokens and ids", vocab);
done:
    return status;
}

/* A text that is not bytes in GPT-2's way can be decoded, but no piece of text is it. */
static clv_status add_vocab(const reader *r, json_t *vocab)
{
    clv_status status = CLV_OK;
    const char *key;
    json_t *id;
    json_object_foreach(vocab, key, id)
    {
        size_t bytes = strlen(key);
        char *text = clvi_format("%s", key);
        if (!text) return clvi_fail(CLV_ENOMEM, "%s: no memory for its vocabulary", r->path);
        bool mapped = clvi_bytes_of(text, &bytes);
        status = clvi_bpe_add(r->tokenizer->bpe, json_integer_value(id), text, bytes, mapped);
        clvi_free(text);
        CLVI_TRY(named(r, status));
    }
done:
    return status;
}

/* ---- Merges ---------------------------------------------------------------------------- */

/* Two tokens, as files write them. */
static clv_status add_merge(const reader *r, const char *left, size_t left_bytes, const char *right,
                            size_t right_bytes)
{
    clv_status status = CLV_OK;
    char *text = clvi_alloc(left_bytes + right_bytes + 1);
    CLVI_CHECK(text, CLV_ENOMEM, "%s: no memory for a merge", r->path);
    memcpy(text, left, left_bytes);
    memcpy(text + left_bytes, right, right_bytes);
    char *second = text + left_bytes;
    CLVI_CHECK(left_bytes && right_bytes && clvi_bytes_of(text, &left_bytes) &&
                   clvi_bytes_of(second, &right_bytes),
               CLV_EFORMAT, "%s: merges: expected two tokens, found \"%.*s\" and \"%.*s\"", r->path,
               (int)left_bytes, left, (int)right_bytes, right);
    status = named(r, clvi_bpe_add_merge(r->tokenizer->bpe, text, left_bytes, second, right_bytes));
done:
    clvi_free(text);
    return status;
}

/* "LEFT RIGHT" */
static clv_status add_merge_line(const reader *r, const char *line, size_t bytes)
{
    const char *space = memchr(line, ' ', bytes);
    size_t left = space ? (size_t)(space - line) : bytes;
    if (!space || memchr(space + 1, ' ', bytes - left - 1))
        return clvi_fail(CLV_EFORMAT, "%s: merges: expected two tokens and a space, found \"%.*s\"",
                         r->path, (int)bytes, line);
    return add_merge(r, line, left, space + 1, bytes - left - 1);
}

static clv_status add_merges(const reader *r, json_t *merges)
{
    clv_status status = CLV_OK;
    json_t *merge;
    size_t i;
    json_array_foreach(merges, i, merge)
    {
        json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
        if (json_is_string(merge))
            status = add_merge_line(r, json_string_value(merge), json_string_length(merge));
        else if (json_is_string(left) && json_is_string(right) && json_array_size(merge) == 2)
            status = add_merge(r, json_string_value(left), json_string_length(left),
                               json_string_value(right), json_string_length(right));
        else
            status = refuse(r, "merges", "two tokens", merge);
        if (status != CLV_OK) break;
    }
    return status;
}

/* ---- Added tokens ------------------------------------------------------------------------ */

typedef struct {
    const char *text;
    size_t bytes;
} word;

static int longest_first(const void *a, const void *b)
{
    const word *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return memcmp(x->text, y->text, x->bytes);
}

/* One expression for all of them: the leftmost is found, and the longest of those. */
static clv_status add_words(const reader *r, word words[], size_t count)
{
    clv_status status = CLV_OK;
    size_t room = 1, used = 0;
    if (count == 0) return CLV_OK;
    qsort(words, count, sizeof *words, longest_first);
    for (size_t i = 0; i < count; i++) room += 2 * words[i].bytes + 1;
    char *pattern = clvi_alloc(room);
    CLVI_CHECK(pattern, CLV_ENOMEM, "%s: no memory for its added tokens", r->path);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) pattern[used++] = '|';
        for (size_t k = 0; k < words[i].bytes; k++) {
            const char *special =
                words[i].text[k] ? strchr("\\^$.[]|()?*+{}-#", words[i].text[k]) : NULL;
            if (special) pattern[used++] = '\\';
            pattern[used++] = words[i].text[k];
        }
    }
    status = named(r, clvi_tokenizer_add_level(r->tokenizer, CLVI_LEVEL_ADDED, pattern, used));
done:
    clvi_free(pattern);
    return status;
}

static clv_status check_added(const reader *r, json_t *token)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
    if (json_string_length(json_object_get(token, "content")) == 0)
        return refuse(r, "added_tokens", "a content", token);
    for (int i = 0; i < 3; i++)
        if (json_is_true(json_object_get(token, flags[i])))
            return refuse(r, "added_tokens", "single_word, lstrip and rstrip false", token);
    return CLV_OK;
}

/* Those that are not normalised come first, as in Hugging Face's own. */
static clv_status add_added(const reader *r, json_t *added)
{
    clv_status status = CLV_OK;
    json_t *token;
    size_t i, count = 0;
    word *words = clvi_alloc((json_array_size(added) + 1) * sizeof *words);
    CLVI_CHECK(words, CLV_ENOMEM, "%s: no memory for its added tokens", r->path);
    for (int normalised = 0; normalised < 2; normalised++, count = 0) {
        json_array_foreach(added, i, token)
        {
            CLVI_TRY(check_added(r, token));
            if (json_is_true(json_object_get(token, "normalized")) != normalised) continue;
            json_t *content = json_object_get(token, "content");
            words[count++] = (word){json_string_value(content), json_string_length(content)};
            CLVI_TRY(named(r, clvi_bpe_add(r->tokenizer->bpe,
                                           json_integer_value(json_object_get(token, "id")),
                                           words[count - 1].text, words[count - 1].bytes, true)));
        }
        CLVI_TRY(add_words(r, words, count));
    }
done:
    clvi_free(words);
    return status;
}

/* "<|endoftext|>", "<s>" */
static bool looks_special(word w)
{
    return w.bytes > 2 && w.text[0] == '<' && w.text[w.bytes - 1] == '>';
}

/* Without a list of them: special tokens are those that no merge makes, and that are written as
 * such. Any other lacks its merge: the file is not whole. */
static clv_status add_unmade(const reader *r)
{
    clv_status status = CLV_OK;
    const clvi_bpe *bpe = r->tokenizer->bpe;
    size_t count = 0;
    int64_t vocabulary = clvi_bpe_vocabulary(bpe);
    word *words = clvi_alloc((size_t)vocabulary * sizeof *words);
    CLVI_CHECK(words, CLV_ENOMEM, "%s: no memory for its added tokens", r->path);
    for (int64_t id = 0; id < vocabulary; id++) {
        word w = {0};
        w.text = clvi_bpe_text(bpe, id, &w.bytes);
        if (w.bytes <= 1 || clvi_bpe_is_made(bpe, id)) continue;
        CLVI_CHECK(looks_special(w), CLV_EFORMAT,
                   "%s: expected a merge that makes \"%.*s\", found none", r->path, (int)w.bytes,
                   w.text);
        CLVI_TRY(named(r, clvi_bpe_add(r->tokenizer->bpe, id, w.text, w.bytes, true)));
        words[count++] = w;
    }
    status = add_words(r, words, count);
done:
    clvi_free(words);
    return status;
}

/* ---- How text is split --------------------------------------------------------------------- */

static clv_status add_split(const reader *r, const char *pattern, size_t bytes, bool drop_gaps)
{
    clv_status status =
        named(r, clvi_tokenizer_add_level(r->tokenizer, CLVI_LEVEL_SPLIT, pattern, bytes));
    if (status == CLV_OK) r->tokenizer->level[r->tokenizer->levels - 1].drop_gaps = drop_gaps;
    return status;
}

static clv_status add_split_of(const reader *r, json_t *object)
{
    json_t *pattern = json_object_get(json_object_get(object, "pattern"), "Regex");
    const char *behaviour = json_string_value(json_object_get(object, "behavior"));
    bool inverted = json_is_true(json_object_get(object, "invert"));
    bool removed = behaviour && !strcmp(behaviour, "Removed") && inverted;
    if (!json_is_string(pattern)) return refuse(r, "pre_tokenizer", "a Split by a Regex", object);
    if (!removed && (!behaviour || strcmp(behaviour, "Isolated")))
        return refuse(r, "pre_tokenizer", "a Split of behavior Isolated", object);
    return add_split(r, json_string_value(pattern), json_string_length(pattern), removed);
}

static clv_status add_byte_level(const reader *r, json_t *object)
{
    json_t *regex = json_object_get(object, "use_regex");
    if (json_is_true(json_object_get(object, "add_prefix_space")))
        return refuse(r, "pre_tokenizer", "add_prefix_space false", object);
    if (json_is_false(regex)) return CLV_OK;
    return add_split(r, gpt2_split, strlen(gpt2_split), false);
}

static clv_status add_digits(const reader *r, json_t *object)
{
    bool each = json_is_true(json_object_get(object, "individual_digits"));
    return add_split(r, each ? "\\p{N}" : "\\p{N}+", each ? 5 : 6, false);
}

typedef struct {
    const char *type;
    clv_status (*add)(const reader *r, json_t *object);
} splitter;

static const splitter splitters[] = {
    {"Split", add_split_of}, {"ByteLevel", add_byte_level}, {"Digits", add_digits}, {0}};

/* One pre-tokenizer after the other; bytes are written in GPT-2's way last. */
static clv_status add_splits(const reader *r, json_t *object)
{
    clv_status status = CLV_OK;
    json_t *list = is_type(object, "Sequence") ? json_object_get(object, "pretokenizers") : NULL;
    size_t count = list ? json_array_size(list) : 1;
    for (size_t i = 0; i < count; i++) {
        json_t *part = list ? json_array_get(list, i) : object;
        const splitter *s = splitters;
        while (s->type && !is_type(part, s->type)) s++;
        bool last = i == count - 1;
        if (!s->type || is_type(part, "ByteLevel") != last)
            return refuse(r, "pre_tokenizer", "Split or Digits before one ByteLevel at the end",
                          object);
        CLVI_TRY(s->add(r, part));
    }
    if (count == 0) status = refuse(r, "pre_tokenizer", "ByteLevel", object);
done:
    return status;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static clv_status check_normalizer(const reader *r, json_t *normalizer)
{
    json_t *list = json_object_get(normalizer, "normalizers");
    bool empty = is_type(normalizer, "Sequence") && json_is_array(list) && !json_array_size(list);
    return is_absent(normalizer) || empty ? CLV_OK : refuse(r, "normalizer", "none", normalizer);
}

static clv_status check_model(const reader *r, json_t *model)
{
    static const char *const empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    json_t *type = json_object_get(model, "type"), *dropout = json_object_get(model, "dropout");
    if (!json_is_object(model)) return refuse(r, "model", "an object", model);
    if (type && !is_type(model, "BPE")) return refuse(r, "model.type", "\"BPE\"", type);
    if (!is_absent(dropout) && json_number_value(dropout) != 0)
        return refuse(r, "model.dropout", "none", dropout);
    if (json_is_true(json_object_get(model, "byte_fallback")))
        return refuse(r, "model.byte_fallback", "false (bytes are tokens of ByteLevel)",
                      json_object_get(model, "byte_fallback"));
    for (int i = 0; i < 2; i++) {
        json_t *value = json_object_get(model, empty[i]);
        if (!is_absent(value) && json_string_length(value) > 0)
            return refuse(r, empty[i], "none", value);
    }
    if (!json_is_object(json_object_get(model, "vocab")))
        return refuse(r, "model.vocab", "an object", json_object_get(model, "vocab"));
    if (!json_is_array(json_object_get(model, "merges")))
        return refuse(r, "model.merges", "an array", json_object_get(model, "merges"));
    return CLV_OK;
}

clv_status clvi_tokenizer_parse(const char *path, const char *json, size_t bytes,
                                clv_tokenizer *tokenizer)
{
    clv_status status;
    const reader r = {path, tokenizer, bytes};
    json_t *object = NULL, *model, *vocab, *merges, *added;
    int64_t ids = 0;
    size_t text_bytes = 0;
    CLVI_TRY(load(&r, json, bytes, &object));
    model = json_object_get(object, "model");
    added = json_object_get(object, "added_tokens");
    CLVI_TRY(check_normalizer(&r, json_object_get(object, "normalizer")));
    CLVI_TRY(check_model(&r, model));
    vocab = json_object_get(model, "vocab");
    merges = json_object_get(model, "merges");
    CLVI_TRY(measure(&r, vocab, added, &ids, &text_bytes));
    CLVI_TRY(clvi_bpe_create(ids, text_bytes, (int64_t)json_array_size(merges), &tokenizer->bpe));
    CLVI_TRY(add_vocab(&r, vocab));
    CLVI_TRY(add_merges(&r, merges));
    CLVI_TRY(named(&r, clvi_bpe_finish(tokenizer->bpe,
                                       json_is_true(json_object_get(model, "ignore_merges")))));
    CLVI_TRY(clvi_tokenizer_add_level(tokenizer, CLVI_LEVEL_INVALID, NULL, 0));
    CLVI_TRY(add_added(&r, added));
    CLVI_TRY(add_splits(&r, json_object_get(object, "pre_tokenizer")));
done:
    json_decref(object);
    return status;
}

/* Lines of merges.txt: without the one that names the version, and empty ones. */
static clv_status add_merge_lines(const reader *r, const char *text, size_t bytes)
{
    clv_status status = CLV_OK;
    for (size_t at = 0, length; at < bytes; at += length + 1) {
        const char *line = text + at, *end = memchr(line, '\n', bytes - at);
        length = end ? (size_t)(end - line) : bytes - at;
        size_t used = length > 0 && line[length - 1] == '\r' ? length - 1 : length;
        if (used > 0 && strncmp(line, "#version", 8)) CLVI_TRY(add_merge_line(r, line, used));
    }
done:
    return status;
}

static int64_t count_lines(const char *text, size_t bytes)
{
    int64_t lines = 1;
    for (size_t i = 0; i < bytes; i++) lines += text[i] == '\n';
    return lines;
}

clv_status clvi_tokenizer_parse_pair(const char *vocab_path, const char *vocab, size_t vocab_bytes,
                                     const char *merges_path, const char *merges,
                                     size_t merges_bytes, clv_tokenizer *tokenizer)
{
    clv_status status;
    const reader r = {vocab_path, tokenizer, vocab_bytes};
    const reader of_merges = {merges_path, tokenizer, merges_bytes};
    json_t *object = NULL;
    int64_t ids = 0;
    size_t text_bytes = 0;
    CLVI_TRY(load(&r, vocab, vocab_bytes, &object));
    CLVI_TRY(measure(&r, object, NULL, &ids, &text_bytes));
    CLVI_TRY(clvi_bpe_create(ids, text_bytes, count_lines(merges, merges_bytes), &tokenizer->bpe));
    CLVI_TRY(add_vocab(&r, object));
    CLVI_TRY(add_merge_lines(&of_merges, merges, merges_bytes));
    CLVI_TRY(named(&r, clvi_bpe_finish(tokenizer->bpe, false)));
    CLVI_TRY(clvi_tokenizer_add_level(tokenizer, CLVI_LEVEL_INVALID, NULL, 0));
    CLVI_TRY(add_unmade(&of_merges));
    CLVI_TRY(add_split(&r, gpt2_split, strlen(gpt2_split), false));
done:
    json_decref(object);
    return status;
}
