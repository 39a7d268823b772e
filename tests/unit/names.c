/* SPDX-License-Identifier: BSD-3-Clause
 *
 * names.c: patterns of names.
 *
 * RANKS: 0
 */
#include "check.h"

static const struct {
    const char *pattern, *name;
    bool chosen;
} rows[] = {
    {NULL, "anything/at.all", true},
    {"", "a", false},
    {"", "", true},
    {"*", "", true},
    {"*", "adamw.m/block.0.weight", true},
    {"block.*", "block.0.mlp.up.weight", true},
    {"block.*", "blocks.0", false},
    {"block.*", "a.block.0", false},
    {"*.weight", "block.0.weight", true},
    {"*.weight", "block.0.weights", false},
    {"*a*b*c", "xxaxxbxxbxxc", true},
    {"*a*b*c", "xxaxxcxxb", false},
    {"*aab", "aaaaab", true},
    {"**", "a", true},
    {"a*", "a", true},
    {"a?c", "abc", true},
    {"a?c", "ac", false},
    {"?", "", false},
    {"block.[0-2].*", "block.2.x", true},
    {"block.[0-2].*", "block.3.x", false},
    {"block.[0-2].*", "block.10.x", false},
    {"[abc]", "b", true},
    {"[abc]", "d", false},
    {"[!abc]", "d", true},
    {"[!abc]", "a", false},
    {"[!abc]", "", false},
    {"[]]", "]", true},
    {"[a-]", "-", true},
    {"[a-c", "[a-c", true},
    {"[", "[", true},
    {"[!", "[!", true},
    {"a[", "a", false},
    {"[\x80-\xff]", "\xc3", true},
    {"a,b", "a", true},
    {"a,b", "b", true},
    {"a,b", "c", false},
    {"a,,b", "b", true},
    {"block.*,!*.bias", "block.0.weight", true},
    {"block.*,!*.bias", "block.0.bias", false},
    {"block.*,!*.bias", "head.weight", false},
    {"!*.bias", "head.weight", true},
    {"!*.bias", "head.bias", false},
    {"!*.bias,head.*", "head.bias", true},
    {"*,!adamw.*,!sgd.*", "adamw.m/token.weight", false},
    {"*,!adamw.*,!sgd.*", "sgd.v/token.weight", false},
    {"*,!adamw.*,!sgd.*", "token.weight", true},
    {"!", "a", true},
    {"!", "", false},
    {"[a,b]", "a", false}, /* commas come first */
    {"a!b", "a!b", true},
};

static void patterns(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_true(clv_name_matches(rows[i].pattern, rows[i].name) == rows[i].chosen, __FILE__,
                   (int)i, rows[i].pattern ? rows[i].pattern : "NULL");
}

/* Two stars that both match everywhere: time must not multiply. */
static void long_names(void)
{
    static char name[100001], pattern[2001];
    for (int i = 0; i < 100000; i++) name[i] = 'a';
    for (int i = 0; i < 2000; i += 2) pattern[i] = '*', pattern[i + 1] = 'a';
    CHECK(clv_name_matches(pattern, name));
    pattern[1999] = 'b';
    CHECK(!clv_name_matches(pattern, name));
}

const check_case check_cases[] = {{"patterns", patterns}, {"long names", long_names}, {0}};
