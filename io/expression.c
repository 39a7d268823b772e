/* SPDX-License-Identifier: BSD-3-Clause
 *
 * expression.c: the regular expressions that tokenizers split texts with. They are written for
 * Oniguruma; PCRE2 is given what means the same to it. What has no such form, or is not worth one,
 * is refused: pieces other than those a model was trained with would be silent nonsense.
 */
#include "clvi_tokenizer.h"
#include <string.h>

/* ---- One piece ------------------------------------------------------------------------ */

enum { OUTSIDE = 1, INSIDE = 2, ANYWHERE = OUTSIDE | INSIDE }; /* of classes, [...] */

static const struct {
    const char *text;
    int where;
    const char *other; /* NULL: refused */
} pieces[] = {
    {"\\s", ANYWHERE, "\\p{White_Space}"}, /* PCRE2's own has U+180E too */
    {"\\S", ANYWHERE, "\\P{White_Space}"},
    {"[:space:]", INSIDE, "\\p{White_Space}"},
    {"[:^space:]", INSIDE, "\\P{White_Space}"},
    {"^", OUTSIDE, "(?<![^\\n])"}, /* the begin of any line */
    {"$", OUTSIDE, "(?![^\\n])"},  /* and the end           */
    {"\\h", ANYWHERE, NULL},       /* hexadecimal digits; to PCRE2, blanks         */
    {"\\H", ANYWHERE, NULL},
    {"\\Q", ANYWHERE, NULL}, /* the letter; to PCRE2, what follows as it is  */
    {"\\G", OUTSIDE, NULL},  /* where a search began: a part's begin is none */
    {"}+", OUTSIDE, NULL},   /* repeats the repetition; to PCRE2, possessive */
    {"{,", OUTSIDE, NULL},   /* from none on; to PCRE2, text                 */
    {"(?#", OUTSIDE, NULL},  /* a comment                                    */
    {"(*", OUTSIDE, NULL},   /* a callout; to PCRE2, verbs                   */
    {"&&", INSIDE, NULL},    /* what classes have in common; to PCRE2, text  */
};
enum { PIECES = sizeof pieces / sizeof *pieces, NONE = -1 };

static bool begins(const char *at, const char *end, const char *with)
{
    size_t bytes = strlen(with);
    return (size_t)(end - at) >= bytes && memcmp(at, with, bytes) == 0;
}

static int piece_at(const char *at, const char *end, bool in_class)
{
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].where & (in_class ? INSIDE : OUTSIDE) && begins(at, end, pieces[i].text))
            return i;
    return NONE;
}

/* Up to and with the first `last` from `from` on; `otherwise` where there is none. */
static size_t through(const char *at, const char *end, size_t from, const char *last,
                      size_t otherwise)
{
    for (size_t i = from; at + i < end; i++)
        if (begins(at + i, end, last)) return i + strlen(last);
    return otherwise;
}

/* "\d", "\p{^Lu}", "\cA" */
static size_t escape_bytes(const char *at, const char *end)
{
    size_t bytes = end - at < 2 ? 1 : at[1] == 'c' && end - at > 2 ? 3 : 2;
    bool named = bytes == 2 && strchr("pPxkgoN", at[1]) && begins(at + 2, end, "{");
    return named ? through(at, end, 3, "}", bytes) : bytes;
}

/* "[", "[^", and a ] that comes first, which is of the class. */
static size_t class_begin(const char *at, const char *end)
{
    size_t bytes = 1;
    if (begins(at + bytes, end, "^")) bytes++;
    if (begins(at + bytes, end, "]")) bytes++;
    return bytes;
}

/* Options by which . takes ends of lines there, or blanks and comments do not count. */
static bool has_options(const char *at, const char *end)
{
    bool found = false;
    if (!begins(at, end, "(?")) return false;
    for (at += 2; at < end && *at && strchr("imxsnaWDSPyU-", *at); at++)
        found = found || *at == 'm' || *at == 'x';
    return found && at < end && (*at == ':' || *at == ')');
}

/* ---- All of them ---------------------------------------------------------------------- */

static size_t longest(void)
{
    size_t most = 1;
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].other && strlen(pieces[i].other) > most) most = strlen(pieces[i].other);
    return most;
}

/* The bytes that stay as they are; 0: they are refused. */
static size_t plain_bytes(const char *at, const char *end, bool in_class)
{
    if (*at == '\\') return escape_bytes(at, end);
    if (*at == '[') {
        if (!in_class) return class_begin(at, end);
        return begins(at, end, "[:") ? through(at, end, 2, ":]", 0) : 0;
    }
    return !in_class && has_options(at, end) ? 0 : 1;
}

clv_status clvi_expression(const char *pattern, size_t bytes, char **text, size_t *length)
{
    clv_status status = CLV_OK;
    bool in_class = false;
    int shown = bytes < 100 ? (int)bytes : 100;
    char *out = *text = clvi_alloc(bytes * longest() + 1);
    CLVI_CHECK(out, CLV_ENOMEM, "an expression: no memory");
    for (const char *at = pattern, *end = pattern + bytes; at < end;) {
        int piece = piece_at(at, end, in_class);
        const char *from = piece == NONE ? at : pieces[piece].other;
        size_t taken = piece == NONE ? plain_bytes(at, end, in_class) : strlen(pieces[piece].text);
        CLVI_CHECK(from && taken, CLV_EFORMAT,
                   "expected an expression that PCRE2 takes as Oniguruma does, found \"%.*s\" in "
                   "\"%.*s\"",
                   (int)(taken ? taken : 1), at, shown, pattern);
        size_t given = piece == NONE ? taken : strlen(from);
        memcpy(out, from, given);
        out += given;
        if (piece == NONE && (*at == '[' || *at == ']')) in_class = *at == '[';
        at += taken;
    }
    *length = (size_t)(out - *text);
done:
    if (status != CLV_OK) {
        clvi_free(*text);
        *text = NULL;
    }
    return status;
}
