/* SPDX-License-Identifier: BSD-3-Clause
 *
 * split.c: how p processes cut an extent.
 *
 * The reference makes the list of all cut points, factor by factor; the library finds
 * one part alone from the digits of its index.
 */
#include "../reference.h"

/* Sizes of the parts, as text: "2 1 2 1". */
static const char *sizes(int64_t units, int parts)
{
    static char text[256];
    int length = 0;
    text[0] = '\0';
    for (int i = 0; i < parts; i++) {
        clvi_range r = clvi_split(units, parts, i);
        length += snprintf(text + length, sizeof text - (size_t)length, i ? " %lld" : "%lld",
                           (long long)(r.end - r.begin));
    }
    return text;
}

static void known_cuts(void)
{
    CHECK_STRING(sizes(6, 1), "6");
    CHECK_STRING(sizes(6, 4), "2 1 2 1"); /* 2 x 2, not 2 2 1 1 */
    CHECK_STRING(sizes(7, 3), "3 2 2");
    CHECK_STRING(sizes(8, 3), "3 3 2");
    CHECK_STRING(sizes(2, 3), "1 1 0");
    CHECK_STRING(sizes(1, 4), "1 0 0 0");
    CHECK_STRING(sizes(3, 4), "1 1 1 0");
    CHECK_STRING(sizes(5, 6), "1 1 1 1 1 0"); /* 3 | 2, then thirds */
    CHECK_STRING(sizes(17, 6), "3 3 3 3 3 2");
    CHECK_STRING(sizes(10, 8), "2 1 1 1 2 1 1 1");
    CHECK_STRING(sizes(0, 5), "0 0 0 0 0");
}

static void every_part_is_where_the_cuts_are(void)
{
    for (int64_t units = 0; units <= 130; units++)
        for (int parts = 1; parts <= 64; parts++) {
            int64_t edges[65] = {0, units};
            CHECK_INT(ref_cut_by_factors(edges, 1, parts), parts);
            for (int i = 0; i < parts; i++) {
                clvi_range r = clvi_split(units, parts, i);
                if (r.begin != edges[i] || r.end != edges[i + 1])
                    CHECK_INT(r.begin * 1000 + r.end, edges[i] * 1000 + edges[i + 1]);
            }
        }
}

/* Parts follow one another, differ by little, and cover everything. */
static void parts_tile_the_extent(void)
{
    const int64_t extents[] = {1, 127, 4096, 1000003, INT64_C(1) << 40, INT64_MAX / 2};
    for (size_t e = 0; e < sizeof extents / sizeof *extents; e++)
        for (int parts = 1; parts <= 97; parts += parts < 13 ? 1 : 7) {
            int64_t at = 0, least = INT64_MAX, most = 0;
            for (int i = 0; i < parts; i++) {
                clvi_range r = clvi_split(extents[e], parts, i);
                CHECK_INT(r.begin, at);
                at = r.end;
                least = r.end - r.begin < least ? r.end - r.begin : least;
                most = r.end - r.begin > most ? r.end - r.begin : most;
            }
            CHECK_INT(at, extents[e]);
            CHECK_INT(least, extents[e] / parts);
            CHECK_INT(most, extents[e] / parts + (extents[e] % parts != 0));
        }
}

/* Boundaries on powers of two are always the same ones. */
static void eight_is_two_times_two_times_two(void)
{
    for (int64_t units = 0; units < 200; units++)
        for (int i = 0; i < 4; i++) {
            clvi_range whole = clvi_split(units, 4, i);
            clvi_range left = clvi_split(units, 8, 2 * i), right = clvi_split(units, 8, 2 * i + 1);
            CHECK_INT(left.begin, whole.begin);
            CHECK_INT(left.end, right.begin);
            CHECK_INT(right.end, whole.end);
        }
}

const check_case check_cases[] = {
    {"known cuts", known_cuts},
    {"every part is where the cuts are", every_part_is_where_the_cuts_are},
    {"parts tile the extent", parts_tile_the_extent},
    {"8 = 2 x 2 x 2", eight_is_two_times_two_times_two},
    {0},
};
