/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_node.h: what node.c, arena.c and channel.c share: the segments of a node's processes.
 *
 * Every process of a node owns one segment, which all of them map. It begins with a token and one
 * lane for each process of the node (channel.c); the rest is the arena (arena.c).
 */
#ifndef CLVI_NODE_H
#define CLVI_NODE_H

#include <clvi_dist.h>
#include <stdatomic.h>

/* One offer. A cache line holds all of it: one transfer shows it. */
typedef struct {
    _Alignas(64) _Atomic uint64_t number; /* of the last offer made here; 0: none yet      */
    uint64_t place;                       /* in the owner's segment; 0: nothing            */
    int64_t ld;
} clvi_offer;

/* Between the owner of a segment and one process of its node: what it offers to that process, and
 * which of the offers of that process it has released. Only the owner writes here. */
typedef struct {
    clvi_offer offers[CLVI_CHANNEL];
    _Alignas(64) _Atomic uint64_t released[CLVI_CHANNEL];
} clvi_lane;

/* A process of the grid; of this one itself, only the node. */
typedef struct {
    char *base; /* of its segment here; NULL unless it is a neighbour         */
    size_t its_bytes;
    int node;              /* the lowest rank of its node: itself where it shares nothing */
    int place;             /* among those of my node                                      */
    clvi_lane *mine, *its; /* in my segment and in its own: of us two                    */
    uint64_t given, taken; /* numbers of the last exchange's offers                      */
} clvi_peer;

typedef struct {
    size_t begin, bytes; /* in the segment */
    bool used;
} clvi_extent;

typedef struct clvi_node {
    int fd;
    char *base;           /* of my segment; NULL: none, and no neighbours */
    size_t bytes, arena;  /* of the segment; where its arena begins */
    int size;             /* processes of the grid                                              */
    int count;            /* processes of the node, this one included                           */
    int hosted;           /* processes of the grid on this host, whatever nodes are pretended    */
    clvi_peer *peers;     /* by rank in the grid                                                */
    clvi_extent *extents; /* of the arena, in order, used and free                             */
    int nextents, room;
} clvi_node;

/* Collective; with *node set even where nothing can be shared. */
clv_status clvi_node_create(clv_grid *grid, clvi_node **node);
void clvi_node_destroy(clvi_node **node);

clvi_node *clvi_grid_node(const clv_grid *grid);

/* The arena as one free extent, and what it takes. Local. */
bool clvi_arena_open(clvi_node *node);

#endif
