/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exchange.c: the engine in steps: pieces given in any order, several exchanges at once, panels
 * routes, tiles that are not copied, and the order of sums; in shared memory, in messages, and in
 * mixtures of both.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "../reference.h"

enum { M = 150, N = 133 };

static clv_grid *open_grid(const char *node_size)
{
    static const char *const texts[9] = {NULL,          "a=1,b=1,c=1", "a=1,b=2,c=1",
                                         "a=3,b=1,c=1", "a=2,b=1,c=2", NULL,
                                         "a=1,b=3,c=2", NULL,          "a=2,b=2,c=2"};
    clv_grid *grid = NULL;
    if (node_size) setenv("CLEAVE_NODE_SIZE", node_size, 1);
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, texts[check_size()], &grid));
    unsetenv("CLEAVE_NODE_SIZE");
    return grid;
}

static const char *const node_sizes[] = {NULL, "1", "2", "3"};

/* A matrix in shared memory, or over the caller's. */
typedef struct {
    clv_matrix *matrix;
    void *memory;
} either;

static either make(clv_grid *grid, clv_spec spec, bool wrapped)
{
    either e = {0};
    ref_rect r = ref_block(grid, spec, check_rank());
    int64_t m = r.row1 - r.row0, ld = r.col1 - r.col0 + 3;
    if (wrapped) {
        e.memory = calloc((size_t)(m * ld) + 1, 8);
        CHECK_OK(clv_matrix_wrap(grid, spec, e.memory, ld, &e.matrix));
    } else {
        CHECK_OK(clv_matrix_create(grid, spec, &e.matrix));
    }
    return e;
}

static void drop(either *e)
{
    clv_matrix_destroy(&e->matrix);
    free(e->memory);
}

/* A random route: no sum begins. */
static clvi_route random_route(uint64_t *state)
{
    clvi_route route = {.src = {.m = M, .n = N, .dtype = CLV_F64}};
    route.src.layout = ref_random_layout(3, state);
    route.dst = route.src;
    route.dst.layout = ref_random_layout(3, state);
    clv_axes begun = route.dst.layout.sum & ~route.src.layout.sum;
    route.dst.layout.sum &= ~begun;
    return route;
}

/* Two exchanges at once, whose pieces are given turn by turn from the last to the first, and
 * finished in the other order. The second adds to what is there. */
static void check_steps(clv_grid *grid, uint64_t *state, bool wrapped, const double *want)
{
    clvi_route routes[2] = {random_route(state), random_route(state)};
    either src[2], dst[2];
    clvi_exchange *x[2] = {0};
    double beta[2] = {0, 2};
    for (int i = 0; i < 2; i++) {
        src[i] = make(grid, routes[i].src, wrapped);
        dst[i] = make(grid, routes[i].dst, false);
        ref_fill(src[i].matrix, 1, false);
        ref_fill_with(dst[i].matrix, NAN);
        if (i == 1) ref_fill(dst[1].matrix, 1, false);
        CHECK_OK(clvi_exchange_create(
            grid, &routes[i], (clvi_exchange_options){.accumulate = i, .staged = wrapped}, &x[i]));
    }
    for (int i = 0; i < 2; i++)
        CHECK_OK(clvi_exchange_begin(x[i], beta[i], clv_matrix_block(dst[i].matrix)));
    for (int piece = 63; piece >= 0; piece--)
        for (int i = 1; i >= 0; i--)
            if (piece < clvi_exchange_count(x[i]))
                CHECK_OK(clvi_exchange_give(x[i], piece, clv_matrix_block(src[i].matrix)));
    for (int i = 1; i >= 0; i--) {
        CHECK_OK(clvi_exchange_finish(x[i], 1, clv_matrix_block(src[i].matrix), beta[i],
                                      clv_matrix_block(dst[i].matrix)));
        CHECK_INT(ref_wrong(dst[i].matrix, want, i ? 3 : 1, 0), 0);
        clvi_exchange_destroy(&x[i]);
        drop(&src[i]);
        drop(&dst[i]);
    }
}

/* Only what lies in the panel is written, and as many bytes are counted. */
static void check_panel(clv_grid *grid, uint64_t *state, bool wrapped, const double *want)
{
    clvi_route route = random_route(state);
    route.panels = 2 + (int)check_random_below(state, 3);
    route.panel = (int)check_random_below(state, route.panels);
    route.by_columns = check_random_below(state, 2);
    route.dst.layout.sum = 0;
    either src = make(grid, route.src, wrapped), dst = make(grid, route.dst, wrapped);
    clvi_exchange *x = NULL;
    ref_fill(src.matrix, 1, false);
    ref_fill_with(dst.matrix, 99);
    CHECK_OK(clvi_exchange_create(grid, &route, (clvi_exchange_options){0}, &x));
    uint64_t before = clv_grid_traffic(grid).bytes_received;
    CHECK_OK(
        clvi_exchange_execute(x, 1, clv_matrix_block(src.matrix), 0, clv_matrix_block(dst.matrix)));
    CHECK_INT((long long)(clv_grid_traffic(grid).bytes_received - before),
              (long long)clvi_route_volume(grid, &route, check_rank()).bytes);
    clv_block b = clv_matrix_block(dst.matrix),
              taken = clvi_route_target(grid, &route, check_rank());
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++) {
            int64_t row = b.row0 + i, col = b.col0 + j;
            bool in = row >= taken.row0 && row < taken.row0 + taken.m && col >= taken.col0 &&
                      col < taken.col0 + taken.n;
            CHECK_NEAR(clvi_get(CLV_F64, b.data, i * b.ld + j), in ? want[row * N + col] : 99, 0);
        }
    clvi_exchange_destroy(&x);
    drop(&src);
    drop(&dst);
}

/* The tiles cover my block of dst once, with the right values. Two are shown at once. */
static void check_tiles(clv_grid *grid, uint64_t *state, bool wrapped, const double *want)
{
    clvi_exchange *x[2] = {0};
    clvi_route routes[2];
    either src[2];
    for (int i = 0; i < 2; i++) {
        routes[i] = random_route(state);
        routes[i].src.layout.sum = routes[i].dst.layout.sum = 0;
        src[i] = make(grid, routes[i].src, wrapped);
        ref_fill(src[i].matrix, 1, false);
        CHECK_OK(clvi_exchange_create(grid, &routes[i], (clvi_exchange_options){.accumulate = true},
                                      &x[i]));
        CHECK_OK(clvi_exchange_show(x[i], clv_matrix_block(src[i].matrix)));
    }
    for (int i = 1; i >= 0; i--) {
        clvi_tile tiles[8];
        int count = clvi_exchange_ntiles(x[i]), seen[M * N] = {0};
        CHECK_OK(clvi_exchange_tiles(x[i], clv_matrix_block(src[i].matrix), tiles));
        for (int t = 0; t < count; t++)
            for (int64_t e = 0; e < tiles[t].m * tiles[t].n; e++) {
                int64_t row = e / tiles[t].n, col = e % tiles[t].n;
                int64_t place = (tiles[t].row0 + row) * N + tiles[t].col0 + col;
                seen[place]++;
                CHECK_NEAR(((const double *)tiles[t].data)[row * tiles[t].ld + col], want[place],
                           0);
            }
        ref_rect mine = ref_block(grid, routes[i].dst, check_rank());
        for (int64_t e = 0; e < M * N; e++)
            CHECK_INT(seen[e], e / N >= mine.row0 && e / N < mine.row1 && e % N >= mine.col0 &&
                                   e % N < mine.col1);
        CHECK_OK(clvi_exchange_close(x[i]));
        clvi_exchange_destroy(&x[i]);
        drop(&src[i]);
    }
}

static void engine_in_steps(void)
{
    static double want[M * N];
    ref_whole(M, N, 1, want);
    for (int nodes = 0; nodes < 4; nodes++) {
        clv_grid *grid = open_grid(node_sizes[nodes]);
        uint64_t state = (uint64_t)nodes;
        for (int round = 0; round < 30; round++) {
            check_steps(grid, &state, round % 2, want);
            check_panel(grid, &state, round % 2, want);
            check_tiles(grid, &state, round % 2, want);
        }
        clv_traffic t = clv_grid_traffic(grid);
        double total[] = {(double)t.bytes_sent - (double)t.bytes_received};
        ref_sum(total, 1);
        CHECK_NEAR(total[0], 0, 0);
        clv_grid_destroy(&grid);
    }
}

/* ---- The order of sums ---------------------------------------------------------- */

static float term(int rank, int64_t e)
{
    uint64_t state = (uint64_t)(rank * 1000 + e);
    return (float)check_random_below(&state, 1 << 24) / 1000 - 7000;
}

/* count terms (a power of two) as a binary tree; ranks[i] holds term i. */
static float tree(const int ranks[], int count, int64_t e)
{
    volatile float left, right;
    if (count == 1) return term(ranks[0], e);
    left = tree(ranks, count / 2, e);
    right = tree(ranks + count / 2, count / 2, e);
    return left + right;
}

/* The ranks of this process's terms along the axes of list, outermost first. */
static int list_ranks(const clv_grid *grid, clv_order list, int ranks[])
{
    int count = 0, at[CLV_MAX_AXES], total = 1;
    for (int i = 0; i < clv_order_length(list); i++)
        total *= clv_grid_axis(grid, clv_order_axis(list, i)).size;
    for (int index = 0; index < total; index++) {
        int left = index, rank = 0;
        clvi_grid_coords(grid, check_rank(), at);
        for (int i = clv_order_length(list) - 1; i >= 0; i--) {
            int axis = clv_order_axis(list, i), size = clv_grid_axis(grid, axis).size;
            at[axis] = left % size;
            left /= size;
        }
        for (int a = 0; a < clv_grid_naxes(grid); a++)
            rank = rank * clv_grid_axis(grid, a).size + at[a];
        ranks[count++] = rank;
    }
    return count;
}

/* The sum over all axes, in this order, of m x n terms in layout `text`. On some ranks the result
 * lies where neighbours cannot write. Where in_parts, two processes share the work as more do. */
static void check_sum(clv_grid *grid, const int axes[], const char *text, int64_t m, int64_t n,
                      int variant)
{
    clv_spec sums = {.m = m, .n = n, .layout.sum = 7}, all = sums;
    clv_order order = 0;
    clvi_move *move = NULL;
    for (int i = 0; i < 3; i++) order = clv_order_append(order, axes[i]);
    all.layout = ref_layout(3, text, NULL);
    either src = make(grid, sums, variant % 2), dst = make(grid, all, false);
    clv_block s = clv_matrix_block(src.matrix), d = clv_matrix_block(dst.matrix);
    void *private = (check_rank() + variant) % 3 ? NULL : calloc((size_t)(d.m * d.ld) + 1, 4);
    if (private) d.data = private;
    for (int64_t e = 0; e < m * n; e++)
        ((float *)s.data)[e / n * s.ld + e % n] = term(check_rank(), e);
    CHECK_OK(clvi_move_create(grid, sums, all, order,
                              (clvi_exchange_options){.in_parts = variant % 2}, &move));
    CHECK_OK(clvi_move_execute(move, 1, s, 0, d));
    int ranks[8], count = list_ranks(grid, order, ranks);
    int64_t wrong = 0;
    for (int64_t e = 0; e < d.m * d.n; e++) {
        int64_t row = e / d.n, col = e % d.n;
        float is = ((float *)d.data)[row * d.ld + col];
        wrong += is != tree(ranks, count, (d.row0 + row) * n + d.col0 + col);
    }
    CHECK_INT(wrong, 0);
    clvi_move_destroy(&move);
    free(private);
    drop(&src);
    drop(&dst);
}

static void sums_follow_the_order(void)
{
    if (check_size() & (check_size() - 1)) return;
    static const int orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
    for (int nodes = 0; nodes < 4; nodes++) {
        clv_grid *grid = open_grid(node_sizes[nodes]);
        for (int o = 0; o < 6; o++)
            check_sum(grid, orders[o % 3], o < 3 ? "===" : "RC=", 9, 1100, o);
        check_sum(grid, orders[0], "===", 1, 3, 0); /* less than there are processes */
        clv_grid_destroy(&grid);
    }
}

/* So many bytes that results go past the caches, in rows that begin anywhere in a line. */
static void large_sums(void)
{
    static const int order[] = {0, 1, 2};
    if (check_size() & (check_size() - 1)) return;
    for (int nodes = 0; nodes < 4; nodes += 2) {
        clv_grid *grid = open_grid(node_sizes[nodes]);
        for (int variant = 0; variant < 3; variant++)
            check_sum(grid, order, "===", 37, 40001, variant);
        clv_grid_destroy(&grid);
    }
}

static float old_or_new(int64_t e, bool new)
{
    return (float)(e % 1009 + (new ? 3 : 7));
}

/* Copies of an m x n matrix that `from` cuts, where all of every process's could be written by its
 * neighbours but on some ranks is not; with accumulate, dst := 3 src - 2 dst. */
static void check_gather(clv_grid *grid, const char *from, const char *to, int64_t m, int64_t n,
                         bool accumulate, int variant)
{
    double alpha = accumulate ? 3 : 1, beta = accumulate ? -2 : 0;
    clv_spec cut = {.m = m, .n = n, .layout = ref_layout(3, from, NULL)}, whole = cut;
    whole.layout = ref_layout(3, to, NULL);
    either src = make(grid, cut, variant % 2), dst = make(grid, whole, false);
    clv_block s = clv_matrix_block(src.matrix), d = clv_matrix_block(dst.matrix);
    void *private = (check_rank() + variant) % 3 ? NULL : calloc((size_t)(d.m * d.ld) + 1, 4);
    clvi_move *move = NULL;
    if (private) d.data = private;
    for (int64_t i = 0; i < s.m; i++)
        for (int64_t j = 0; j < s.n; j++)
            ((float *)s.data)[i * s.ld + j] = old_or_new((s.row0 + i) * n + s.col0 + j, true);
    for (int64_t i = 0; i < d.m; i++)
        for (int64_t j = 0; j < d.n; j++)
            ((float *)d.data)[i * d.ld + j] = old_or_new((d.row0 + i) * n + d.col0 + j, false);
    CHECK_OK(clvi_move_create(grid, cut, whole, 0,
                              (clvi_exchange_options){.accumulate = accumulate, .spread = true},
                              &move));
    CHECK_OK(clvi_move_execute(move, alpha, s, beta, d));
    int64_t wrong = 0;
    for (int64_t i = 0; i < d.m; i++)
        for (int64_t j = 0; j < d.n; j++) {
            int64_t e = (d.row0 + i) * n + d.col0 + j;
            double want = alpha * old_or_new(e, true) + beta * old_or_new(e, false);
            wrong += ((float *)d.data)[i * d.ld + j] != (float)want;
        }
    CHECK_INT(wrong, 0);
    clvi_move_destroy(&move);
    free(private);
    drop(&src);
    drop(&dst);
}

/* What a move only copies, small and so large that each process writes its part to all. */
static void gathers(void)
{
    static const char *const layouts[][2] = {
        {"RRR", "==="}, {"CRC", "==="}, {"=R=", "==="}, {"RRC", "R=="}, {"RCR", "R=R"}};
    for (int nodes = 0; nodes < 4; nodes++) {
        clv_grid *grid = open_grid(node_sizes[nodes]);
        for (int l = 0; l < 5; l++) {
            const char *from = layouts[l][0], *to = layouts[l][1];
            check_gather(grid, from, to, 13, 31, l % 2, l);
            check_gather(grid, from, to, 1103, 997, l % 2, l);
            check_gather(grid, from, to, 3, 400001, !(l % 2), l + 1);
        }
        clv_grid_destroy(&grid);
    }
}

const check_case check_cases[] = {
    {"the engine in steps", engine_in_steps},
    {"sums follow the order", sums_follow_the_order},
    {"large sums", large_sums},
    {"gathers", gathers},
    {0},
};
