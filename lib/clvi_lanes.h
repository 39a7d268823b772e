/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_lanes.h: sums whose order is the same on every processor.
 *
 * Term i goes to lane i mod 16, lanes are added as a binary tree at the end: whole vectors of any
 * width up to 16 doubles, one fixed order.
 */
#ifndef CLVI_LANES_H
#define CLVI_LANES_H

#include "clvi_vector.h"

enum { CLVI_LANES = 16 };

/* The lanes of a sum or a maximum, joined in place as a tree; the result is lane[0]. Each level by
 * itself, so that its loop has constant bounds and becomes an instruction or two: short rows are
 * mostly tree. */
#define CLVI_LEVEL(lane, width, join) \
    for (int l = 0; l < (width); l++) (lane)[l] = join((lane)[l], (lane)[l + (width)])
#define CLVI_TREE(lane, join)      \
    do {                           \
        CLVI_LEVEL(lane, 8, join); \
        CLVI_LEVEL(lane, 4, join); \
        CLVI_LEVEL(lane, 2, join); \
        CLVI_LEVEL(lane, 1, join); \
    } while (0)

#define CLVI_ADD(a, b) ((a) + (b))
#define CLVI_LARGER(a, b) ((b) > (a) ? (b) : (a))

/* result = sum over i of term, an expression in i. */
#define CLVI_SUM(result, n, term)                            \
    do {                                                     \
        double lane[CLVI_LANES];                             \
        for (int l = 0; l < CLVI_LANES; l++) lane[l] = 0;    \
        int64_t base = 0;                                    \
        for (; base + CLVI_LANES <= (n); base += CLVI_LANES) \
            for (int l = 0; l < CLVI_LANES; l++) {           \
                int64_t i = base + l;                        \
                lane[l] += (double)(term);                   \
            }                                                \
        for (int l = 0; base + l < (n); l++) {               \
            int64_t i = base + l;                            \
            lane[l] += (double)(term);                       \
        }                                                    \
        CLVI_TREE(lane, CLVI_ADD);                           \
        (result) = lane[0];                                  \
    } while (0)

#endif
