/* SPDX-License-Identifier: BSD-3-Clause
 *
 * arena.c: memory that the processes of a node share, and the channels between them.
 *
 * RANKS: 1 2 3 4 8
 */
#include "../reference.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static clv_grid *open_grid(void)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, "", &grid));
    return grid;
}

/* A grid made with a variable set, on this process alone or not. */
static clv_grid *open_with(const char *name, const char *value)
{
    if (value) setenv(name, value, 1);
    clv_grid *grid = open_grid();
    unsetenv(name);
    return grid;
}

static bool is_filled(const unsigned char *memory, size_t bytes, int with)
{
    for (size_t i = 0; i < bytes; i++)
        if (memory[i] != with) return false;
    return true;
}

/* Blocks come and go in any order; none overlaps another, all are zero at first. */
static void blocks_come_and_go(void)
{
    enum { BLOCKS = 40 };
    clv_grid *grid = open_grid();
    unsigned char *block[BLOCKS] = {0};
    size_t bytes[BLOCKS] = {0};
    uint64_t state = (uint64_t)check_rank();
    int64_t live = clvi_alloc_live();
    for (int round = 0; round < 600; round++) {
        int i = (int)check_random_below(&state, BLOCKS);
        if (block[i]) {
            CHECK(is_filled(block[i], bytes[i], i + 1));
            clvi_shared_free(grid, block[i]);
            block[i] = NULL;
            continue;
        }
        bytes[i] = (size_t)check_random_below(&state, round % 50 == 0 ? 6 * MIB : 20000);
        block[i] = clvi_shared_alloc(grid, bytes[i]);
        if (!CHECK(block[i] != NULL)) return;
        CHECK_INT(clvi_is_shared(grid, block[i]), check_size() > 1);
        CHECK((uintptr_t)block[i] % 64 == 0);
        CHECK(is_filled(block[i], bytes[i], 0));
        memset(block[i], i + 1, bytes[i]);
    }
    for (int i = 0; i < BLOCKS; i++) clvi_shared_free(grid, block[i]);
    CHECK_INT(clvi_alloc_live(), live);
    clvi_shared_free(grid, NULL);
    clv_grid_destroy(&grid);
}

/* A field of the mapping that holds an address, in bytes; -1: none. */
static int64_t mapping_field(const void *address, const char *field)
{
    char line[512];
    unsigned long begin, end;
    long kib = -1;
    bool here = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    while (file && kib < 0 && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            here = (uintptr_t)address - begin < end - begin;
        else if (here && strncmp(line, field, strlen(field)) == 0)
            sscanf(line + strlen(field), " %ld", &kib);
    }
    if (file) fclose(file);
    return kib < 0 ? -1 : (int64_t)kib << 10;
}

/* Whether this system collapses shared memory at all. */
static bool collapses(void)
{
    enum { COLLAPSE = 25, HUGE_PAGE = 2 * MIB };
    int fd = memfd_create("probe", 0);
    if (fd < 0 || ftruncate(fd, 2 * HUGE_PAGE) != 0) return false;
    char *at = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *huge = at + (-(uintptr_t)at & (HUGE_PAGE - 1));
    *huge = 1;
    bool can = madvise(huge, HUGE_PAGE, COLLAPSE) == 0;
    munmap(at, 2 * HUGE_PAGE);
    close(fd);
    return can;
}

/* A large block has huge pages where the system has some, and gives all back. */
static void large_pages(void)
{
    clv_grid *grid = open_grid();
    bool shared = check_size() > 1, can = collapses();
    unsigned char *block = clvi_shared_alloc(grid, 9 * MIB);
    int64_t before = shared ? mapping_field(block, "Rss:") : 0;
    CHECK(block && is_filled(block, 9 * MIB, 0));
    if (shared && can) CHECK((uintptr_t)block % (2 * MIB) == 0);
    if (shared && can && check_rank() == 0)
        CHECK(mapping_field(block, "ShmemPmdMapped:") >= 2 * MIB); /* memory may be in pieces */
    clvi_shared_free(grid, block);
    if (shared) CHECK(mapping_field(block, "Rss:") <= before - 8 * MIB);
    clv_grid_destroy(&grid);
}

static void failures_are_injected(void)
{
    clv_grid *grid = open_grid();
    int64_t live = clvi_alloc_live();
    clvi_alloc_fail_at(2);
    void *first = clvi_shared_alloc(grid, 100), *second = clvi_shared_alloc(grid, 100);
    CHECK(first != NULL);
    CHECK(second == NULL);
    CHECK_INT(clvi_alloc_live(), live + 1);
    clvi_shared_free(grid, first);
    CHECK_INT(clvi_alloc_live(), live);
    clv_grid_destroy(&grid);
}

/* The sum of the ranks' numbers in every element, by a move between created matrices. */
static void check_all_reduce(clv_grid *grid)
{
    clv_spec sums = {.m = 37, .n = 19, .layout.sum = 1}, all = sums;
    clv_matrix *A = NULL, *B = NULL;
    all.layout.sum = 0;
    CHECK_OK(clv_matrix_create(grid, sums, &A));
    CHECK_OK(clv_matrix_create(grid, all, &B));
    ref_fill_with(A, check_rank() + 1);
    CHECK_OK(clv_move(A, B));
    clv_block b = clv_matrix_block(B);
    for (int64_t i = 0; i < b.m * b.n; i++)
        CHECK_NEAR(((float *)b.data)[i], check_size() * (check_size() + 1) / 2, 0);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
}

/* A block without room is refused; a process without a segment is alone. */
static void little_room(void)
{
    clv_grid *grid = open_with("CLEAVE_SHARED_MEMORY", "2097152");
    void *large = clvi_shared_alloc(grid, 16 * MIB), *small = clvi_shared_alloc(grid, 1000);
    CHECK((large == NULL) == (check_size() > 1));
    CHECK(small && clvi_is_shared(grid, small) == (check_size() > 1));
    clvi_shared_free(grid, large);
    clvi_shared_free(grid, small);
    check_all_reduce(grid);
    clv_grid_destroy(&grid);
    bool last = check_rank() == check_size() - 1;
    grid = open_with("CLEAVE_SHARED_MEMORY", last ? "0" : NULL);
    for (int r = 0; r < check_size(); r++)
        CHECK_INT(clvi_grid_is_neighbour(grid, r),
                  r == check_rank() || (!last && r < check_size() - 1));
    check_all_reduce(grid);
    clv_grid_destroy(&grid);
}

static void pretended_nodes(void)
{
    for (int n = 1; n <= 3; n++) {
        char text[8];
        snprintf(text, sizeof text, "%d", n);
        clv_grid *grid = open_with("CLEAVE_NODE_SIZE", text);
        for (int r = 0; r < check_size(); r++) {
            CHECK_INT(clvi_grid_is_neighbour(grid, r), r / n == check_rank() / n);
            for (int s = 0; s < check_size(); s++)
                CHECK_INT(clvi_grid_same_node(grid, r, s), r / n == s / n);
        }
        check_all_reduce(grid);
        clv_grid_destroy(&grid);
    }
}

static int count_files(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static int count_mappings(void)
{
    char line[4096];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) count += strstr(line, "memfd:cleave") != NULL;
    fclose(maps);
    return count;
}

static void grids_leave_nothing(void)
{
    clv_grid *grid = open_grid();
    CHECK(count_mappings() >= (check_size() > 1 ? check_size() : 0));
    clv_grid_destroy(&grid);
    int files = count_files(), mappings = count_mappings();
    int64_t live = clvi_alloc_live();
    CHECK_INT(mappings, 0);
    for (int i = 0; i < 200; i++) {
        grid = open_grid();
        clvi_shared_free(grid, clvi_shared_alloc(grid, 1000));
        clv_grid_destroy(&grid);
    }
    CHECK_INT(count_files(), files);
    CHECK_INT(count_mappings(), 0);
    CHECK_INT(clvi_alloc_live(), live);
}

/* Two offers at a time to every neighbour, taken and released in the other order, so often that
 * the ring goes round; NULL is an offer too. */
static void offers_in_any_order(void)
{
    enum { ROUNDS = 3 * CLVI_CHANNEL };
    clv_grid *grid = open_grid();
    int64_t *values = clvi_shared_alloc(grid, 2 * ROUNDS * sizeof *values);
    int rank = check_rank(), size = check_size();
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t given[8][2], taken[8][2];
        for (int i = 0; i < 2; i++) {
            values[2 * round + i] = 1000 * rank + 2 * round + i;
            for (int r = 0; r < size; r++) {
                if (r == rank) continue;
                given[r][i] = clvi_channel_next_given(grid, r);
                taken[r][i] = clvi_channel_next_taken(grid, r);
            }
        }
        for (int i = 1; i >= 0; i--)
            for (int r = 0; r < size; r++)
                if (r != rank)
                    CHECK_OK(clvi_channel_offer(grid, r, given[r][i],
                                                i && round == 5 ? NULL : &values[2 * round + i],
                                                round + i));
        for (int i = 0; i < 2; i++)
            for (int r = 0; r < size; r++) {
                const void *data = NULL;
                int64_t ld = 0;
                if (r == rank) continue;
                CHECK_OK(clvi_channel_take(grid, r, taken[r][i], &data, &ld));
                CHECK_INT(ld, round + i);
                if (i && round == 5)
                    CHECK(data == NULL);
                else
                    CHECK_INT(*(const int64_t *)data, 1000 * r + 2 * round + i);
                clvi_channel_release(grid, r, taken[r][i]);
            }
        for (int i = 0; i < 2; i++)
            for (int r = 0; r < size; r++)
                if (r != rank) CHECK_OK(clvi_channel_reclaim(grid, r, given[r][i]));
    }
    clvi_shared_free(grid, values);
    clv_grid_destroy(&grid);
}

/* What the caller wraps has to be copied to be shown; no room for that at one process is an error
 * at all that need it, and no hang. With room the same move works. */
static void no_room_to_show(void)
{
    for (int room = 0; room < 2; room++) {
        bool first = check_rank() == 0;
        clv_grid *grid = open_with("CLEAVE_SHARED_MEMORY", first && !room ? "1048576" : NULL);
        clv_spec rows = {.m = 600 * check_size(), .n = 1000, .layout.rows = 1}, all = rows;
        all.layout.rows = 0;
        ref_matrix src = ref_wrap(grid, rows, 0), dst = ref_wrap(grid, all, 0);
        clvi_move *move = NULL;
        ref_fill_with(src.matrix, 3);
        CHECK_OK(clvi_move_create(grid, rows, all, 0, (clvi_exchange_options){0}, &move));
        clv_status status = clvi_move_execute(move, 1, clv_matrix_block(src.matrix), 0,
                                              clv_matrix_block(dst.matrix));
        CHECK_INT(status, room || check_size() == 1 ? CLV_OK : CLV_ENOMEM);
        clvi_move_destroy(&move);
        clv_plan *plan = NULL;
        status = clv_plan_move(src.matrix, dst.matrix, NULL, &plan); /* knows it beforehand */
        CHECK_INT(status, room || check_size() == 1 ? CLV_OK : CLV_ENOMEM);
        clv_plan_destroy(&plan);
        ref_free(&src);
        ref_free(&dst);
        clv_grid_destroy(&grid);
    }
}

static void leaves_fit_the_grid(void)
{
    clv_grid *grid = open_grid();
    bool power = (check_size() & (check_size() - 1)) == 0;
    CHECK_INT(clv_grid_leaves(grid), 0);
    CHECK_STATUS(clv_grid_set_leaves(grid, 3), CLV_EARG);
    CHECK_STATUS(clv_grid_set_leaves(grid, 128), CLV_EARG);
    CHECK_STATUS(clv_grid_set_leaves(grid, -1), CLV_EARG);
    CHECK_STATUS(clv_grid_set_leaves(grid, CLV_LEAVES), power ? CLV_OK : CLV_EUNSUPPORTED);
    if (!power) CHECK(strstr(clv_last_error(), "col=") != NULL);
    CHECK_INT(clv_grid_leaves(grid), power ? CLV_LEAVES : 0);
    if (check_size() > 1 && power)
        CHECK_STATUS(clv_grid_set_leaves(grid, check_rank() ? 2 : 4), CLV_EMISMATCH);
    CHECK_OK(clv_grid_set_leaves(grid, 0));
    CHECK_INT(clv_grid_leaves(grid), 0);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"blocks come and go", blocks_come_and_go},
    {"large pages", large_pages},
    {"failures are injected", failures_are_injected},
    {"little room", little_room},
    {"pretended nodes", pretended_nodes},
    {"grids leave nothing", grids_leave_nothing},
    {"offers in any order", offers_in_any_order},
    {"no room to show", no_room_to_show},
    {"leaves fit the grid", leaves_fit_the_grid},
    {0},
};
