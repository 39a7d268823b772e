/* SPDX-License-Identifier: BSD-3-Clause
 *
 * arena.c: allocation inside this process's segment of shared memory.
 *
 * First fit over the extents in order; there are few of them, and nothing is allocated in a step.
 * Pages are committed before they are used, so that a full machine is an error and not a SIGBUS,
 * and those of a large block are given back when it is freed. What does not fit is refused: a block
 * that neighbours expect to read and cannot would fail in the middle of a move.
 */
#include "clvi_node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LINE = 64,             /* granularity, and the least alignment     */
    HUGE_PAGE = 2 << 20,   /* what large blocks are aligned to         */
    HUGE_FROM = 4 << 20,   /* blocks of so many bytes have some        */
    RETURN_FROM = 1 << 20, /* and of so many go back when they are freed */
    FIRST_ROOM = 16
};

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

bool clvi_arena_open(clvi_node *node)
{
    node->room = FIRST_ROOM;
    node->extents = calloc((size_t)node->room, sizeof *node->extents);
    if (!node->extents) return false;
    node->extents[0] = (clvi_extent){node->arena, node->bytes - node->arena, false};
    node->nextents = 1;
    return true;
}

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) & ~(to - 1);
}

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- Pages ---- */

/* Gives back the whole pages of a part of the segment. */
static void discard(clvi_node *node, size_t begin, size_t bytes)
{
    size_t first = round_up(begin, page()), end = (begin + bytes) & ~(page() - 1);
    if (end > first) madvise(node->base + first, end - first, MADV_REMOVE);
}

/* Huge pages for a part that begins at one, if they can be had: walking the tables of small ones
 * costs up to a fifth where memory is the limit. Most systems make none for shared memory by
 * themselves (shmem_enabled), but collapse small ones on request, of which one of each is enough,
 * unless that is denied or no memory is in one piece. */
static void enlarge(clvi_node *node, size_t begin, size_t bytes)
{
    char *first = node->base + begin, *end = first + (bytes & ~(size_t)(HUGE_PAGE - 1));
    madvise(first, (size_t)(end - first), MADV_HUGEPAGE);
    for (char *at = first; at < end; at += HUGE_PAGE)
        if (madvise(at, page(), MADV_POPULATE_WRITE) != 0) return;
    madvise(first, (size_t)(end - first), MADV_COLLAPSE);
}

/* Every page of a part of the segment is there; false if there are none left. */
static bool commit(clvi_node *node, size_t begin, size_t bytes)
{
    size_t first = begin & ~(page() - 1), length = round_up(begin + bytes, page()) - first;
    if (bytes >= HUGE_FROM) enlarge(node, begin, bytes);
    if (madvise(node->base + first, length, MADV_POPULATE_WRITE) == 0) return true;
    if (errno == EINVAL && posix_fallocate(node->fd, (off_t)first, (off_t)length) == 0) return true;
    discard(node, begin, bytes);
    return false;
}

/* ---- Extents ---- */

static bool make_room(clvi_node *node, int more)
{
    if (node->nextents + more <= node->room) return true;
    clvi_extent *larger = realloc(node->extents, 2 * (size_t)node->room * sizeof *larger);
    if (!larger) return false;
    node->extents = larger;
    node->room *= 2;
    return true;
}

static void insert(clvi_node *node, int i, clvi_extent extent)
{
    clvi_extent *at = node->extents + i;
    memmove(at + 1, at, (size_t)(node->nextents - i) * sizeof *at);
    *at = extent;
    node->nextents++;
}

static void remove_extent(clvi_node *node, int i)
{
    clvi_extent *at = node->extents + i;
    memmove(at, at + 1, (size_t)(node->nextents - i - 1) * sizeof *at);
    node->nextents--;
}

/* Turns part of free extent i into a used one; what is left before and after stays free. */
static void take(clvi_node *node, int i, size_t begin, size_t bytes)
{
    clvi_extent whole = node->extents[i];
    size_t before = begin - whole.begin, after = whole.bytes - before - bytes;
    if (after > 0) insert(node, i + 1, (clvi_extent){begin + bytes, after, false});
    node->extents[i] = (clvi_extent){begin, bytes, true};
    if (before > 0) insert(node, i, (clvi_extent){whole.begin, before, false});
}

/* The place of a new block in the segment; 0 if there is none. */
static size_t find_place(clvi_node *node, size_t bytes, size_t align)
{
    if (!make_room(node, 2)) return 0;
    for (int i = 0; i < node->nextents; i++) {
        const clvi_extent *e = &node->extents[i];
        size_t begin = round_up(e->begin, align);
        if (e->used || begin - e->begin > e->bytes || e->bytes - (begin - e->begin) < bytes)
            continue;
        if (!commit(node, begin, bytes)) return 0;
        take(node, i, begin, bytes);
        return begin;
    }
    return 0;
}

static void release(clvi_node *node, size_t begin)
{
    int i = 0;
    while (node->extents[i].begin != begin) i++;
    clvi_extent *e = node->extents + i;
    assert(e->used);
    e->used = false;
    if (e->bytes >= RETURN_FROM) discard(node, e->begin, e->bytes);
    if (i + 1 < node->nextents && !e[1].used) {
        e->bytes += e[1].bytes;
        remove_extent(node, i + 1);
    }
    if (i > 0 && !e[-1].used) {
        e[-1].bytes += e->bytes;
        remove_extent(node, i);
    }
}

/* ---- For others ---- */

bool clvi_is_shared(const clv_grid *grid, const void *memory)
{
    const clvi_node *node = clvi_grid_node(grid);
    return node && node->base && (uintptr_t)memory - (uintptr_t)node->base < node->bytes;
}

void *clvi_shared_alloc(clv_grid *grid, size_t bytes)
{
    clvi_node *node = clvi_grid_node(grid);
    if (!node || !node->base) return clvi_alloc(bytes);
    if (bytes > node->bytes) return NULL;
    if (!clvi_alloc_count()) return NULL;
    size_t room = round_up(bytes ? bytes : 1, LINE);
    size_t begin = find_place(node, room, room >= HUGE_FROM ? HUGE_PAGE : LINE);
    if (begin == 0) {
        clvi_free_count();
        return NULL;
    }
    return memset(node->base + begin, 0, bytes);
}

void clvi_shared_free(clv_grid *grid, void *memory)
{
    if (!memory || !clvi_is_shared(grid, memory)) {
        clvi_free(memory);
        return;
    }
    clvi_node *node = clvi_grid_node(grid);
    release(node, (size_t)((char *)memory - node->base));
    clvi_free_count();
}

const char *clvi_shared_what(const clv_grid *grid)
{
    const clvi_node *node = clvi_grid_node(grid);
    return node && node->base ? " of shared memory (CLEAVE_SHARED_MEMORY=0 does without)" : "";
}
