/* SPDX-License-Identifier: BSD-3-Clause
 *
 * names.c: patterns that choose tensors by name.
 */
#include <clvi_io.h>
#include <string.h>

/* What the text [p, end) begins with: a set in brackets, '?', or a character that stands for
 * itself. Whether c fits, and where the rest of the pattern begins. A bracket that nothing closes
 * stands for itself. */
static bool fits_one(const char *p, const char *end, char c, const char **rest)
{
    *rest = p + 1;
    if (*p == '?') return true;
    bool negated = *p == '[' && p + 1 < end && p[1] == '!';
    const char *set = p + 1 + negated;
    const char *close =
        *p == '[' && set + 1 < end ? memchr(set + 1, ']', (size_t)(end - set - 1)) : NULL;
    if (!close) return c == *p;
    bool found = false;
    *rest = close + 1;
    for (; set < close; set++) {
        bool range = set + 2 < close && set[1] == '-';
        unsigned char low = (unsigned char)set[0], high = (unsigned char)set[range ? 2 : 0];
        found |= low <= (unsigned char)c && (unsigned char)c <= high;
        if (range) set += 2;
    }
    return found != negated;
}

/* Whether the word [p, end) stands for all of name. After a failure only the last '*' is tried
 * again, one character longer: what earlier ones could take, it can take too. */
static bool fits(const char *p, const char *end, const char *name)
{
    const char *star = NULL, *taken = NULL, *rest = NULL;
    while (*name) {
        if (p < end && *p == '*') {
            star = ++p;
            taken = name;
        } else if (p < end && fits_one(p, end, *name, &rest)) {
            p = rest;
            name++;
        } else if (star) {
            p = star;
            name = ++taken;
        } else {
            return false;
        }
    }
    while (p < end && *p == '*') p++;
    return p == end;
}

bool clv_name_matches(const char *pattern, const char *name)
{
    if (!pattern) return true;
    bool chosen = *pattern == '!';
    for (const char *word = pattern;; word++) {
        bool takes_away = *word == '!';
        const char *end = word + strcspn(word, ",");
        if (fits(word + takes_away, end, name)) chosen = !takes_away;
        if (!*end) return chosen;
        word = end;
    }
}
