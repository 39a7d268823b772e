/* SPDX-License-Identifier: BSD-3-Clause
 *
 * node.c: the processes that share a host, and a segment of memory of each that all of them map.
 *
 * A segment is an anonymous file (memfd_create), far larger than will be used and sparse: pages
 * exist once they are allocated. Neighbours open it through /proc while the grid is made. Nothing
 * has a name, so nothing is left behind however the processes end, the size of /dev/shm is no
 * limit, and no mount has a say in huge pages (arena.c).
 *
 * MPI_Win_allocate_shared is not used: it is collective for each allocation, its blocking calls
 * spin, and writing past the end of a full /dev/shm is a SIGBUS instead of an error.
 *
 * That the host has the same name does not mean that memory can be shared: containers can have
 * equal names. So a segment begins with a random token, which who maps it compares. Processes share
 * memory if the lowest rank that they can map is the same; who has no segment is alone, and if one
 * of them cannot map another, all of them are. Those alone send messages.
 */
#include "clvi_node.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

static const size_t largest_segment = (size_t)1 << 38, all_segments = (size_t)1 << 44;
enum { HUGE_PAGE = 2 << 20, SMALLEST_SEGMENT = 1 << 20, LINE = 64 };

/* What processes tell each other of their segments. */
typedef struct {
    uint64_t token, bytes;
    int64_t pid, fd; /* fd -1: no segment */
} card;

/* ---- One segment ---- */

static size_t least(size_t a, uint64_t b)
{
    return b < a ? (size_t)b : a;
}

/* A number from the environment, with K, M or G behind it or not; -1 where it is not set or empty,
 * -2 where it is none. */
static int64_t number_of(const char *variable)
{
    const char *units = "KMG", *text = getenv(variable);
    char *end;
    if (!text || !*text) return -1;
    int64_t value = strtoll(text, &end, 10);
    if (end == text || value < 0 || value > INT64_MAX >> 30) return -2;
    if (!*end) return value;
    const char *unit = strchr(units, *end);
    return unit && !end[1] ? value << 10 * (unit - units + 1) : -2;
}

static clv_status check_environment(void)
{
    static const char *const variables[] = {"CLEAVE_SHARED_MEMORY", "CLEAVE_NODE_SIZE"};
    for (int i = 0; i < 2; i++)
        if (number_of(variables[i]) == -2)
            return clvi_fail(CLV_EARG, "%s: expected a number, as 2 or 64M, found \"%s\"",
                             variables[i], getenv(variables[i]));
    return CLV_OK;
}

/* Bytes for a segment where `hosted` processes map as many each. CLEAVE_SHARED_MEMORY in the
 * environment is a limit in bytes; 0 turns sharing off. */
static size_t segment_bytes(int hosted)
{
    int64_t limit = number_of("CLEAVE_SHARED_MEMORY");
    struct rlimit space, file;
    size_t bytes = least(largest_segment, all_segments / (size_t)hosted);
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
        bytes = 0; /* what is mapped of others counts too: room would end early */
    if (getrlimit(RLIMIT_FSIZE, &file) == 0 && file.rlim_cur != RLIM_INFINITY)
        bytes = least(bytes, file.rlim_cur); /* past it ftruncate is a signal */
    if (limit >= 0) bytes = least(bytes, (uint64_t)limit);
    return bytes & ~(size_t)(SMALLEST_SEGMENT - 1);
}

/* Maps a segment at an address that huge pages can have; NULL if it cannot. */
static char *map(int fd, size_t bytes)
{
    char *room = mmap(NULL, bytes + HUGE_PAGE, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return NULL;
    size_t before = -(uintptr_t)room & (HUGE_PAGE - 1), after = HUGE_PAGE - before;
    char *base = mmap(room + before, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
    if (base == MAP_FAILED) {
        munmap(room, bytes + HUGE_PAGE);
        return NULL;
    }
    if (before) munmap(room, before);
    if (after) munmap(base + bytes, after);
    madvise(base, bytes, MADV_DONTDUMP); /* a core file would walk all of it */
    return base;
}

static size_t lanes_offset(void)
{
    return LINE;
}

static clvi_lane *lanes_of(char *base)
{
    return (clvi_lane *)(base + lanes_offset());
}

/* My segment and what to say of it; *mine says fd -1 if there is none. */
static void make_segment(clvi_node *node, int lanes, card *mine)
{
    size_t bytes = segment_bytes(lanes), arena = lanes_offset() + (size_t)lanes * sizeof(clvi_lane);
    *mine = (card){.pid = getpid(), .fd = -1};
    if (lanes < 2 || bytes < arena + LINE) return;
    if (getrandom(&mine->token, sizeof mine->token, 0) != sizeof mine->token) return;
    node->fd = memfd_create("cleave", MFD_CLOEXEC);
    if (node->fd < 0 || ftruncate(node->fd, (off_t)bytes) != 0) return;
    if (posix_fallocate(node->fd, 0, (off_t)arena) != 0) return;
    node->base = map(node->fd, bytes);
    if (!node->base) return;
    node->bytes = bytes;
    node->arena = (arena + LINE - 1) & ~(size_t)(LINE - 1);
    memcpy(node->base, &mine->token, sizeof mine->token);
    mine->fd = node->fd;
    mine->bytes = bytes;
}

/* A neighbour's segment; NULL unless it can be mapped and holds what its owner says. */
static char *map_other(const card *other)
{
    char path[64];
    struct {
        uint64_t token;
    } found;
    if (other->fd < 0) return NULL;
    snprintf(path, sizeof path, "/proc/%lld/fd/%lld", (long long)other->pid, (long long)other->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return NULL;
    bool known = pread(fd, &found, sizeof found, 0) == sizeof found &&
                 found.token == other->token && lseek(fd, 0, SEEK_END) == (off_t)other->bytes;
    char *base = known ? map(fd, (size_t)other->bytes) : NULL;
    close(fd);
    return base;
}

/* ---- All of them ---- */

/* Which processes might share memory: those of equal numbers. */
typedef struct {
    uint64_t host, node;
} home;

static home home_of(int rank)
{
    int64_t size = number_of("CLEAVE_NODE_SIZE");
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    return (home){clvi_hash_string(host), size > 0 ? (uint64_t)(rank / size) : 0};
}

static bool at_home(const home homes[], int rank, int other)
{
    return homes[rank].host == homes[other].host && homes[rank].node == homes[other].node;
}

static void drop(clvi_peer *peer)
{
    if (peer->base) munmap(peer->base, peer->its_bytes);
    peer->base = NULL;
}

static void forget(clvi_node *node)
{
    for (int r = 0; r < node->size; r++) drop(&node->peers[r]);
    if (node->base) munmap(node->base, node->bytes);
    if (node->fd >= 0) close(node->fd);
    node->base = NULL;
    node->fd = -1;
    node->count = 1;
}

/* Maps the segments of who is at home here. *leader: the lowest rank of those that can be. */
static void map_others(clvi_node *node, int rank, const home homes[], const card cards[],
                       int *leader)
{
    *leader = rank;
    for (int r = 0; node->base && r < node->size; r++) {
        clvi_peer *peer = &node->peers[r];
        if (r == rank || !at_home(homes, rank, r)) continue;
        peer->base = map_other(&cards[r]);
        peer->its_bytes = (size_t)cards[r].bytes;
        if (peer->base && r < *leader) *leader = r;
    }
}

/* Keeps those with the same leader; whether all of them could be mapped and there are any. */
static bool keep_members(clvi_node *node, int rank, const home homes[], const int leaders[])
{
    int place = 0, mine = 0;
    bool all = node->base != NULL;
    for (int r = 0; r < node->size; r++) {
        if (!at_home(homes, rank, r) || leaders[r] != leaders[rank]) {
            drop(&node->peers[r]);
            continue;
        }
        if (r == rank) mine = place;
        if (r != rank && !node->peers[r].base) all = false;
        node->peers[r].place = place++;
    }
    node->count = place;
    for (int r = 0; all && r < node->size; r++) {
        clvi_peer *peer = &node->peers[r];
        if (!peer->base) continue;
        peer->mine = lanes_of(node->base) + peer->place;
        peer->its = lanes_of(peer->base) + mine;
    }
    return all && node->count > 1 && clvi_arena_open(node);
}

/* Every process's node, by the lowest rank; those of a node in which somebody failed are alone. */
static void name_nodes(clvi_node *node, const home homes[], const int leaders[], const char well[])
{
    for (int r = 0; r < node->size; r++) node->peers[r].node = leaders[r];
    for (int r = 0; r < node->size; r++)
        for (int other = 0; !well[r] && other < node->size; other++)
            if (at_home(homes, r, other) && leaders[r] == leaders[other])
                node->peers[other].node = other;
}

/* What all processes tell each other, one array for each question. */
typedef struct {
    home *homes;
    card *cards;
    int *leaders;
    char *well;
} answers;

static clv_status meet(clv_grid *grid, clvi_node *node, answers a)
{
    clv_status status;
    int rank = clv_grid_rank(grid), size = clv_grid_size(grid), lanes = 0, leader;
    home here = home_of(rank);
    card mine;
    CLVI_TRY(clvi_grid_gather(grid, &here, sizeof here, MPI_BYTE, a.homes));
    for (int r = 0; r < size; r++) {
        node->hosted += a.homes[r].host == here.host;
        lanes += at_home(a.homes, rank, r);
    }
    make_segment(node, lanes, &mine);
    CLVI_TRY(clvi_grid_gather(grid, &mine, sizeof mine, MPI_BYTE, a.cards));
    map_others(node, rank, a.homes, a.cards, &leader);
    CLVI_TRY(clvi_grid_gather(grid, &leader, sizeof leader, MPI_BYTE, a.leaders));
    char well = keep_members(node, rank, a.homes, a.leaders);
    CLVI_TRY(clvi_grid_gather(grid, &well, sizeof well, MPI_BYTE, a.well));
    name_nodes(node, a.homes, a.leaders, a.well);
    bool alone = true;
    for (int r = 0; r < size; r++)
        if (r != rank && node->peers[r].node == node->peers[rank].node) alone = false;
    if (alone) forget(node);
done:
    return status;
}

clv_status clvi_node_create(clv_grid *grid, clvi_node **out)
{
    clv_status status = check_environment();
    size_t size = (size_t)clv_grid_size(grid);
    clvi_node *node = *out = calloc(1, sizeof *node);
    answers a = {calloc(size, sizeof *a.homes), calloc(size, sizeof *a.cards),
                 calloc(size, sizeof *a.leaders), calloc(size, sizeof *a.well)};
    if (node) {
        *node = (clvi_node){.fd = -1, .count = 1, .size = (int)size};
        node->peers = calloc(size, sizeof *node->peers);
    }
    if (!node || !node->peers || !a.homes || !a.cards || !a.leaders || !a.well)
        status = clvi_fail(CLV_ENOMEM, "a node of %zu processes", size);
    CLVI_TRY(clv_grid_agree(grid, status));
    CLVI_TRY(meet(grid, node, a));
done:
    free(a.homes);
    free(a.cards);
    free(a.leaders);
    free(a.well);
    return status;
}

void clvi_node_destroy(clvi_node **node)
{
    if (!*node) return;
    if ((*node)->peers) forget(*node);
    free((*node)->peers);
    free((*node)->extents);
    free(*node);
    *node = NULL;
}

bool clvi_grid_is_neighbour(const clv_grid *grid, int rank)
{
    const clvi_node *node = clvi_grid_node(grid);
    return rank == clv_grid_rank(grid) || node->peers[rank].base;
}

bool clvi_grid_same_node(const clv_grid *grid, int a, int b)
{
    const clvi_node *node = clvi_grid_node(grid);
    return node->peers[a].node == node->peers[b].node;
}
