/* SPDX-License-Identifier: BSD-3-Clause
 *
 * channel.c: one process shows another what it may read.
 *
 * An offer is one cache line in the giver's segment: the reader polls its number, and what comes
 * with the number is there when it is. The reader answers with the same number in a line of its
 * own segment. So every line has one writer, and showing costs one transfer of a line each way.
 *
 * Numbers are taken when an exchange begins, on both sides in the order of the exchanges. So
 * offers may be made, taken and released in any order, and several exchanges be under way at once.
 */
#include "clvi_node.h"

/* A number that another process writes, and what it must reach. */
typedef struct {
    const _Atomic uint64_t *number;
    uint64_t least;
} awaited;

static bool reached(const void *context)
{
    const awaited *a = context;
    return atomic_load_explicit(a->number, memory_order_acquire) >= a->least;
}

static clv_status await(const _Atomic uint64_t *number, uint64_t least)
{
    return clvi_wait_until(reached, &(awaited){number, least});
}

static clvi_peer *peer_of(const clv_grid *grid, int rank)
{
    return &clvi_grid_node(grid)->peers[rank];
}

uint64_t clvi_channel_next_given(clv_grid *grid, int to)
{
    return ++peer_of(grid, to)->given;
}

uint64_t clvi_channel_next_taken(clv_grid *grid, int from)
{
    return ++peer_of(grid, from)->taken;
}

clv_status clvi_channel_offer(clv_grid *grid, int to, uint64_t number, const void *data, int64_t ld)
{
    clvi_peer *peer = peer_of(grid, to);
    clvi_offer *offer = &peer->mine->offers[number % CLVI_CHANNEL];
    clv_status status = CLV_OK;
    if (number > CLVI_CHANNEL) status = clvi_channel_reclaim(grid, to, number - CLVI_CHANNEL);
    if (status != CLV_OK) return status;
    assert(!data || clvi_is_shared(grid, data));
    offer->place = data ? (uint64_t)((const char *)data - clvi_grid_node(grid)->base) : 0;
    offer->ld = ld;
    atomic_store_explicit(&offer->number, number, memory_order_release);
    return CLV_OK;
}

clv_status clvi_channel_take(clv_grid *grid, int from, uint64_t number, const void **data,
                             int64_t *ld)
{
    const clvi_peer *peer = peer_of(grid, from);
    const clvi_offer *offer = &peer->its->offers[number % CLVI_CHANNEL];
    clv_status status = await(&offer->number, number);
    if (status != CLV_OK) return status;
    *data = offer->place ? peer->base + offer->place : NULL;
    *ld = offer->ld;
    return CLV_OK;
}

void clvi_channel_release(clv_grid *grid, int from, uint64_t number)
{
    atomic_store_explicit(&peer_of(grid, from)->mine->released[number % CLVI_CHANNEL], number,
                          memory_order_release);
}

clv_status clvi_channel_reclaim(clv_grid *grid, int to, uint64_t number)
{
    return await(&peer_of(grid, to)->its->released[number % CLVI_CHANNEL], number);
}
