/* SPDX-License-Identifier: BSD-3-Clause
 *
 * level.c: where a text is split: at bytes that are not UTF-8, and at matches of regular
 * expressions. Every PCRE2 call of the library.
 *
 * PCRE2's hard partial matching tells what more text could change, whatever the expression: a match
 * that looked at the end of the text is undecided. So a text may come in parts.
 */
#include "clvi_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* ---- UTF-8 --------------------------------------------------------------------------- */

/* Bytes of the character that begins here (1 to 4), 0 for none, -1 for one that the end cuts off.
 */
static int character(const unsigned char *s, size_t bytes)
{
    int more = s[0] < 0x80   ? 0
               : s[0] < 0xc2 ? -1
               : s[0] < 0xe0 ? 1
               : s[0] < 0xf0 ? 2
               : s[0] < 0xf5 ? 3
                             : -1;
    if (more < 0) return 0;
    for (int i = 1; i <= more; i++) {
        if ((size_t)i >= bytes) return -1;
        unsigned char low = 0x80, high = 0xbf;
        if (i == 1 && s[0] == 0xe0) low = 0xa0; /* not shorter than it could be */
        if (i == 1 && s[0] == 0xf0) low = 0x90;
        if (i == 1 && s[0] == 0xed) high = 0x9f; /* no surrogates                */
        if (i == 1 && s[0] == 0xf4) high = 0x8f; /* at most U+10FFFF             */
        if (s[i] < low || s[i] > high) return 0;
    }
    return more + 1;
}

static clvi_found find_invalid(const unsigned char *text, size_t bytes, size_t from, bool last,
                               size_t *begin, size_t *end)
{
    size_t i = from;
    while (i < bytes) {
        if (text[i] < 0x80) {
            i++;
            continue;
        }
        int length = character(text + i, bytes - i);
        if (length <= 0) {
            *begin = i;
            *end = i + 1;
            return length < 0 && !last ? CLVI_UNDECIDED : CLVI_MATCH;
        }
        i += (size_t)length;
    }
    return CLVI_NO_MATCH;
}

bool clvi_is_utf8(const char *text)
{
    size_t begin, end, bytes = strlen(text);
    return find_invalid((const unsigned char *)text, bytes, 0, true, &begin, &end) == CLVI_NO_MATCH;
}

/* ---- Expressions ------------------------------------------------------------------------- */

static clv_status check_code(const pcre2_code *code)
{
    clv_status status = CLV_OK;
    uint32_t behind = 0;
    pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
    CLVI_CHECK(behind == 0, CLV_EFORMAT,
               "expected an expression that does not look behind a match, found one that does");
done:
    return status;
}

clv_status clvi_level_create(clvi_level_kind kind, const char *pattern, size_t bytes,
                             clvi_level *level)
{
    clv_status status = CLV_OK;
    int error = 0;
    size_t length = 0, at = 0;
    char *text = NULL;
    *level = (clvi_level){.kind = kind};
    if (kind == CLVI_LEVEL_INVALID) return CLV_OK;
    CLVI_TRY(clvi_expression(pattern, bytes, &text, &length));
    level->code =
        pcre2_compile((PCRE2_SPTR)text, length,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT,
                      &error, &at, NULL);
    if (!level->code) {
        char reason[200] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
        CLVI_CHECK(false, CLV_EFORMAT, "expected an expression, found \"%.*s\": %s",
                   bytes < 100 ? (int)bytes : 100, pattern, reason);
    }
    CLVI_TRY(check_code(level->code));
    /* Without a just-in-time compiler here, PCRE2 interprets. */
    pcre2_jit_compile(level->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
done:
    if (status != CLV_OK) clvi_level_destroy(level);
    clvi_free(text);
    return status;
}

void clvi_level_destroy(clvi_level *level)
{
    pcre2_code_free(level->code);
    level->code = NULL;
}

/* ---- Matching ------------------------------------------------------------------------------ */

/* Steps back that a match may take at each place without being counted. */
enum { FREE_STEPS = 1000 };

typedef struct {
    pcre2_match_data *data;
    pcre2_match_context *context;
    uint64_t steps; /* beyond those, which are left for the text */
} matcher;

/* Some steps for each byte: an expression that goes back more often is refused. A run of what is
 * one character's repetition ([^b]*) is no step, whatever its length: where none of them matches,
 * the text's length squared is what they take. */
void *clvi_matcher_create(size_t bytes)
{
    enum { HEAP_KIB = 1 << 20 };
    matcher *m = clvi_alloc(sizeof *m);
    if (!m) return NULL;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->steps = 10000000 + 64 * (uint64_t)bytes;
    if (m->data && m->context) {
        pcre2_set_heap_limit(m->context, HEAP_KIB);
        return m;
    }
    clvi_matcher_destroy(m);
    return NULL;
}

void clvi_matcher_destroy(void *untyped)
{
    matcher *m = untyped;
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    clvi_free(m);
}

static clv_status match_failed(int error)
{
    char reason[200] = "";
    pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
    return clvi_fail(error == PCRE2_ERROR_NOMEMORY ? CLV_ENOMEM : CLV_ELIMIT,
                     "the expression that splits a text: expected an end within its limits, found "
                     "\"%s\"",
                     reason);
}

static int match(const clvi_level *level, const matcher *m, const char *text, size_t bytes,
                 size_t from, uint32_t options)
{
    int result =
        pcre2_match(level->code, (PCRE2_SPTR)text, bytes, from, options, m->data, m->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(level->code, (PCRE2_SPTR)text, bytes, from, options | PCRE2_NO_JIT,
                             m->data, m->context);
    return result;
}

/* PCRE2 limits the steps at each place alone, and does not say how many they were. So a place that
 * takes more than the free ones is looked for in spans that double, and tried alone with ever more
 * steps: of those that did not do, the text has only so many. */
static int search(const clvi_level *level, matcher *m, const char *text, size_t bytes, size_t from,
                  uint32_t options)
{
    uint64_t steps = FREE_STEPS;
    for (size_t at = from, span = bytes;;) {
        size_t to = span < bytes - at ? at + span : bytes;
        pcre2_set_match_limit(m->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
        pcre2_set_offset_limit(m->context, to);
        int result = match(level, m, text, bytes, at, options);
        if (result == PCRE2_ERROR_MATCHLIMIT && to > at) {
            span = 0;
        } else if (result == PCRE2_ERROR_MATCHLIMIT && steps <= m->steps) {
            m->steps -= steps;
            steps *= 8;
        } else if (result == PCRE2_ERROR_NOMATCH && to < bytes) {
            steps = FREE_STEPS;
            span = 2 * span + 1;
            for (at = to + 1; at < bytes && (text[at] & 0xc0) == 0x80;) at++;
        } else {
            return result;
        }
    }
}

clv_status clvi_level_find(const clvi_level *level, void *untyped, const char *text, size_t bytes,
                           size_t from, bool last, clvi_found *found, size_t *begin, size_t *end)
{
    matcher *m = untyped;
    if (level->kind == CLVI_LEVEL_INVALID) {
        *found = find_invalid((const unsigned char *)text, bytes, from, last, begin, end);
        return CLV_OK;
    }
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY | (last ? 0 : PCRE2_PARTIAL_HARD);
    int result = search(level, m, text, bytes, from, options);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH && result != PCRE2_ERROR_PARTIAL)
        return match_failed(result);
    const size_t *range = pcre2_get_ovector_pointer(m->data);
    *found = result == PCRE2_ERROR_NOMATCH   ? CLVI_NO_MATCH
             : result == PCRE2_ERROR_PARTIAL ? CLVI_UNDECIDED
                                             : CLVI_MATCH;
    if (*found == CLVI_NO_MATCH) return CLV_OK;
    *begin = range[0];
    *end = range[1];
    if (*begin < from || (*found == CLVI_MATCH && *end <= *begin))
        return clvi_fail(CLV_EFORMAT, "the expression that splits a text: expected matches one "
                                      "after the other, found one out of order");
    return CLV_OK;
}
