/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_route.h: who passes what to whom, for exchange.c.
 */
#ifndef CLVI_ROUTE_H
#define CLVI_ROUTE_H

#include <clvi_dist.h>

/* Part of a matrix, in global coordinates. */
typedef struct {
    int64_t row0, col0, m, n;
} clvi_rect;

static inline int64_t clvi_elements(clvi_rect part)
{
    return part.m * part.n;
}

/* What lies in both; {0} if nothing does. */
clvi_rect clvi_rect_meet(clvi_rect a, clvi_rect b);

/* What rank `from` passes to rank `to` (which may be the same). */
clvi_rect clvi_route_passed(const clv_grid *grid, const clvi_route *route, int from, int to);

/* Terms of each element: coordinates along the axes whose sum ends. */
int clvi_route_terms(const clv_grid *grid, const clvi_route *route);

/* The place of rank's term among them, in the order of the tree. */
int clvi_route_place(const clv_grid *grid, const clvi_route *route, int rank);

#endif
