/* SPDX-License-Identifier: BSD-3-Clause
 *
 * move.c: the same matrix in another layout, by at most two exchanges: what ends a sum goes
 * first, into the most finely cut layout on the way, so that what is reduced is least; gathers go
 * last.
 *
 *     from \ to    =            R                 C                 +
 *     =            -            slice             slice             keep on coordinate 0
 *     R            all-gather   -                 all-to-all        zero elsewhere
 *     C            all-gather   all-to-all        -                 zero elsewhere
 *     +            all-reduce   reduce-scatter    reduce-scatter    -
 *
 * Between the two, the process holds its part of the sum where it belongs in dst, with alpha and
 * beta applied once, and the others copy it from there, or have it written to theirs at once.
 *
 * Axes that become sums keep their part of the matrix: the exchange leads to a layout in which
 * they still cut it, and the rest of the block is zero.
 */
#include <clvi_dist.h>
#include <stdlib.h>

struct clvi_move {
    clv_grid *grid;
    clv_dtype dtype;
    int nexchanges;
    clvi_exchange *exchanges[2];
    clv_block middle; /* of two exchanges: what the first brings, a part of kept    */
    clv_block kept;   /* this process's part of its block of dst; the rest is zero */
};

static clv_order join_kept(clv_order list, clv_order from, clv_axes axes)
{
    return clv_order_join(list, clvi_order_keep(from, axes));
}

/* Parts that the axes of a list make. */
static int64_t parts(const clv_grid *grid, clv_order list)
{
    int64_t product = 1;
    for (; list; list >>= 4) product *= clv_grid_axis(grid, (int)(list & 15) - 1).size;
    return product;
}

/* The axes whose sum ends in copies cut the block on the way: by rows if every process gets some,
 * else by columns. */
static void cut_further(const clv_grid *grid, clv_spec *spec, clv_axes axes)
{
    int64_t units = clvi_units(spec->m, clvi_unit(spec->m_unit));
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++) {
        if (!(axes >> axis & 1)) continue;
        clv_order rows = clv_order_append(spec->layout.rows, axis);
        if (units >= parts(grid, rows))
            spec->layout.rows = rows;
        else
            spec->layout.cols = clv_order_append(spec->layout.cols, axis);
    }
}

int clvi_move_routes(const clv_grid *grid, clv_spec src, clv_spec dst, clvi_route routes[2])
{
    clv_layout from = src.layout, to = dst.layout;
    clv_axes split = clv_order_set(from.rows) | clv_order_set(from.cols);
    clv_axes copied = clvi_layout_copies(grid, to), ended = from.sum & ~to.sum;
    clv_axes begun = to.sum & ~from.sum, first = begun & ~split;
    clv_spec last = dst, middle;
    last.layout.rows = join_kept(to.rows, from.rows, begun);
    last.layout.cols = join_kept(to.cols, from.cols, begun);
    last.layout.sum = from.sum & to.sum;
    middle = last;
    middle.layout.rows = join_kept(last.layout.rows, from.rows, copied);
    middle.layout.cols = join_kept(last.layout.cols, from.cols, copied);
    cut_further(grid, &middle, ended & copied);
    if (!ended || clvi_spec_equal(middle, last)) {
        routes[0] = (clvi_route){.src = src, .dst = last, .first = first};
        return 1;
    }
    routes[0] = (clvi_route){.src = src, .dst = middle, .first = first};
    routes[1] = (clvi_route){.src = middle, .dst = last, .first = first};
    return 2;
}

clvi_volume clvi_move_volume(const clv_grid *grid, clv_spec src, clv_spec dst, int rank)
{
    clvi_route routes[2];
    clvi_volume total = {0};
    for (int i = clvi_move_routes(grid, src, dst, routes) - 1; i >= 0; i--) {
        clvi_volume volume = clvi_route_volume(grid, &routes[i], rank);
        total.bytes += volume.bytes;
        total.messages += volume.messages;
        total.net += volume.net;
        total.net_messages += volume.net_messages;
    }
    return total;
}

bool clvi_move_is_view(const clv_grid *grid, clv_spec src, clv_spec dst)
{
    if (src.layout.sum != dst.layout.sum) return false;
    for (int rank = 0; rank < clv_grid_size(grid); rank++) {
        clv_block whole = clv_spec_block(grid, src, rank), part = clv_spec_block(grid, dst, rank);
        if (part.m > 0 && part.n > 0 &&
            (part.row0 < whole.row0 || part.row0 + part.m > whole.row0 + whole.m ||
             part.col0 < whole.col0 || part.col0 + part.n > whole.col0 + whole.n))
            return false;
    }
    return true;
}

clv_block clvi_block_view(clv_block whole, clv_dtype dtype, clv_block part)
{
    part.data = part.m > 0 && part.n > 0
                    ? clvi_at(whole, dtype, part.row0 - whole.row0, part.col0 - whole.col0)
                    : whole.data;
    part.ld = whole.ld;
    return part;
}

/* Whether each of two processes adds all of a sum for itself, where the routes say that each adds
 * half and copies the other: as many bytes, half the waiting, the same bits. Measured: faster up
 * to 64 KiB, half of the time at 512 bytes; what is larger is read once too often. */
static bool both_add(clv_grid *grid, const clvi_route routes[2])
{
    enum { SMALL = 64 << 10 }; /* bytes */
    clvi_route direct = routes[0];
    clv_axes ended = routes[0].src.layout.sum & ~routes[1].dst.layout.sum;
    clv_spec alone = routes[0].src;
    int terms = 1;
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (ended >> axis & 1) terms *= clv_grid_axis(grid, axis).size;
    alone.layout.sum &= ~ended;
    if (terms != 2 || !clvi_spec_equal(alone, routes[1].dst)) return false;
    direct.dst = routes[1].dst;
    return clvi_route_volume(grid, &direct, clv_grid_rank(grid)).bytes <= SMALL;
}

static bool alone_on_its_node(const clv_grid *grid, int rank)
{
    for (int other = 0; other < clv_grid_size(grid); other++)
        if (other != rank && clvi_grid_same_node(grid, rank, other)) return false;
    return true;
}

/* Whether a move that copies and nothing else is worth splitting: each process first puts its block
 * where it belongs in dst, and the exchange that follows passes it on, so that it is read once and
 * written to all, where each would read the blocks of all: (1 + p) / 2p of the bytes. Measured:
 * slower below, where processes wait for each other once more. Who is alone on a node would only
 * send later. The same on every process. */
static bool worth_spreading(const clv_grid *grid, clv_spec src, clv_spec dst)
{
    enum { LARGE = 1 << 20 }; /* bytes */
    int64_t most = 0;         /* elements that a process lacks */
    if (!clvi_move_is_view(grid, dst, src)) return false;
    for (int rank = 0; rank < clv_grid_size(grid); rank++) {
        clv_block has = clv_spec_block(grid, src, rank), wants = clv_spec_block(grid, dst, rank);
        int64_t lacks = wants.m * wants.n - has.m * has.n;
        if (alone_on_its_node(grid, rank)) return false;
        if (lacks > most) most = lacks;
    }
    return most * (int64_t)clv_dtype_size(dst.dtype) >= LARGE;
}

clv_status clvi_move_create(clv_grid *grid, clv_spec src, clv_spec dst, clv_order order,
                            clvi_exchange_options options, clvi_move **out)
{
    clv_status status = CLV_OK;
    clvi_route routes[2];
    clvi_move *move = *out = calloc(1, sizeof *move);
    int rank = clv_grid_rank(grid);
    CLVI_CHECK(move, CLV_ENOMEM, "a move");
    move->grid = grid;
    move->dtype = dst.dtype;
    move->nexchanges = clvi_move_routes(grid, src, dst, routes);
    move->kept = clvi_route_target(grid, &routes[move->nexchanges - 1], rank);
    if (move->nexchanges == 2 && !options.in_parts && both_add(grid, routes)) {
        routes[0].dst = routes[1].dst;
        move->nexchanges = 1;
    } else if (move->nexchanges == 1 && options.spread && worth_spreading(grid, src, dst)) {
        routes[1] = routes[0];
        routes[0].dst = src;
        move->nexchanges = 2;
    }
    move->middle = clvi_route_target(grid, &routes[0], rank);
    for (int i = 0; i < move->nexchanges; i++) {
        clvi_exchange_options of = {.accumulate = options.accumulate && i == 0,
                                    .lent = options.lent,
                                    .staged = i == 0 ? options.staged : options.staged_dst};
        routes[i].order = order;
        CLVI_TRY(clvi_exchange_create(grid, &routes[i], of, &move->exchanges[i]));
    }
    if (move->nexchanges == 2) clvi_exchange_chain(move->exchanges[0], move->exchanges[1]);
done:
    if (status != CLV_OK) clvi_move_destroy(out);
    return status;
}

void clvi_move_destroy(clvi_move **move)
{
    if (!*move) return;
    for (int i = 0; i < 2; i++) clvi_exchange_destroy(&(*move)->exchanges[i]);
    free(*move);
    *move = NULL;
}

uint64_t clvi_move_memory(const clvi_move *move)
{
    uint64_t bytes = 0;
    for (int i = 0; i < move->nexchanges; i++) bytes += clvi_exchange_memory(move->exchanges[i]);
    return bytes;
}

void clvi_move_lend(clvi_move *move, void *space)
{
    for (int i = 0; i < move->nexchanges; i++) {
        clvi_exchange_lend(move->exchanges[i], space);
        space = (char *)space + clvi_exchange_memory(move->exchanges[i]);
    }
}

static void scale(clv_dtype dtype, clv_block block, int64_t i, int64_t j, int64_t m, int64_t n,
                  double beta)
{
    if (m == 0 || n == 0) return;
    clv_block part = {.data = clvi_at(block, dtype, i, j), .m = m, .n = n, .ld = block.ld};
    clvi_block_scale(dtype, part, beta);
}

/* Scales what lies above, below, left and right of `inner`. */
static void scale_outside(clv_dtype dtype, clv_block block, clv_block inner, double beta)
{
    if (beta == 1) return;
    if (inner.m == 0 || inner.n == 0) {
        scale(dtype, block, 0, 0, block.m, block.n, beta);
        return;
    }
    int64_t top = inner.row0 - block.row0, left = inner.col0 - block.col0;
    int64_t bottom = top + inner.m, right = left + inner.n;
    scale(dtype, block, 0, 0, top, block.n, beta);
    scale(dtype, block, bottom, 0, block.m - bottom, block.n, beta);
    scale(dtype, block, top, 0, inner.m, left, beta);
    scale(dtype, block, top, right, inner.m, block.n - right, beta);
}

/* What the first exchange brings, in dst. */
static clv_block middle_of(const clvi_move *move, clv_block dst)
{
    return clvi_block_view(dst, move->dtype, move->middle);
}

int clvi_move_count(const clvi_move *move)
{
    return clvi_exchange_count(move->exchanges[0]);
}

clvi_tile clvi_move_part(const clvi_move *move, int i)
{
    return clvi_exchange_part(move->exchanges[0], i);
}

clvi_tile clvi_move_own_part(const clvi_move *move)
{
    return clvi_exchange_own_part(move->exchanges[0]);
}

/* What the last exchange leaves in dst. */
static clv_block kept_of(const clvi_move *move, clv_block dst)
{
    return clvi_block_view(dst, move->dtype, move->kept);
}

clv_status clvi_move_begin(clvi_move *move, double beta, clv_block dst)
{
    clv_status status;
    scale_outside(move->dtype, dst, move->kept, beta);
    CLVI_TRY(clvi_exchange_begin(move->exchanges[0], beta, middle_of(move, dst)));
    if (move->nexchanges == 2)
        CLVI_TRY(clvi_exchange_begin(move->exchanges[1], 0, kept_of(move, dst)));
done:
    return status;
}

clv_status clvi_move_give(clvi_move *move, int i, clv_block src)
{
    return clvi_exchange_give(move->exchanges[0], i, src);
}

clv_status clvi_move_finish(clvi_move *move, double alpha, clv_block src, double beta,
                            clv_block dst)
{
    clv_block part = middle_of(move, dst);
    clv_status status = clvi_exchange_finish(move->exchanges[0], alpha, src, beta, part);
    if (move->nexchanges == 1) return status;
    /* After a failure too: others count on the second. */
    clv_status second = clvi_exchange_give_all(move->exchanges[1], part);
    if (second == CLV_OK)
        second = clvi_exchange_finish(move->exchanges[1], 1, part, 0, kept_of(move, dst));
    return status == CLV_OK ? second : status;
}

clv_status clvi_move_execute(clvi_move *move, double alpha, clv_block src, double beta,
                             clv_block dst)
{
    clv_status status;
    CLVI_TRY(clvi_move_begin(move, beta, dst));
    CLVI_TRY(clvi_exchange_give_all(move->exchanges[0], src));
    CLVI_TRY(clvi_move_finish(move, alpha, src, beta, dst));
done:
    return status;
}
