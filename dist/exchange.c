/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exchange.c: one engine for every move.
 *
 * Each process sends to each other the part of its block that the other takes, and adds the terms
 * that belong to one sum. All-gather, reduce-scatter, all-to-all and every mixture of them over
 * any set of axes are this one exchange between other layouts, and all of them receive the least
 * possible: what a process lacks, once for each term.
 */
#include <clvi_dist.h>
#include <stdlib.h>

enum { TAG = 1 };

/* Part of a matrix, in global coordinates. */
typedef struct {
    int64_t row0, col0, m, n;
} rect;

/* One message, or what stays: then peer is this process. */
typedef struct {
    int peer;
    rect part;
    void *slot; /* where it arrives when it does not go straight to its place */
} piece;

/* Pieces taken come in groups of `terms` with the same part, by ascending rank: that is the order
 * of the summed coordinates. */
struct clvi_exchange {
    clv_grid *grid;
    clv_dtype dtype;
    int terms;
    bool accumulate;
    int ngiven, ntaken;
    piece *given, *taken;
    void *space; /* the slots */
    MPI_Request *requests;
};

static rect intersect(clv_block a, clv_block b)
{
    int64_t row0 = a.row0 > b.row0 ? a.row0 : b.row0, col0 = a.col0 > b.col0 ? a.col0 : b.col0;
    int64_t row1 = a.row0 + a.m < b.row0 + b.m ? a.row0 + a.m : b.row0 + b.m;
    int64_t col1 = a.col0 + a.n < b.col0 + b.n ? a.col0 + a.n : b.col0 + b.n;
    if (row1 <= row0 || col1 <= col0) return (rect){0};
    return (rect){row0, col0, row1 - row0, col1 - col0};
}

static int64_t elements(rect part)
{
    return part.m * part.n;
}

static void *at(clv_block block, clv_dtype dtype, rect part)
{
    return clvi_at(block, dtype, part.row0 - block.row0, part.col0 - block.col0);
}

/* ---- Who passes what to whom ---- */

static bool agree_along(const clv_grid *grid, int a, int b, clv_axes axes)
{
    int at_a[CLV_MAX_AXES], at_b[CLV_MAX_AXES];
    clvi_grid_coords(grid, a, at_a);
    clvi_grid_coords(grid, b, at_b);
    for (int i = 0; i < clv_grid_naxes(grid); i++)
        if ((axes >> i & 1) && at_a[i] != at_b[i]) return false;
    return true;
}

clv_block clvi_route_target(const clv_grid *grid, const clvi_route *route, int rank)
{
    clv_block block = clv_spec_block(grid, route->dst, rank);
    if (!agree_along(grid, rank, 0, route->first)) block.m = block.n = block.ld = 0;
    return block;
}

static rect passed(const clv_grid *grid, const clvi_route *route, int from, int to)
{
    clv_axes own = clvi_layout_copies(grid, route->src.layout) |
                   (route->src.layout.sum & route->dst.layout.sum);
    if (!agree_along(grid, from, to, own)) return (rect){0};
    return intersect(clv_spec_block(grid, route->src, from), clvi_route_target(grid, route, to));
}

clvi_volume clvi_route_volume(const clv_grid *grid, const clvi_route *route, int rank)
{
    clvi_volume volume = {0};
    for (int from = 0; from < clv_grid_size(grid); from++) {
        rect part = passed(grid, route, from, rank);
        if (from == rank || elements(part) == 0) continue;
        volume.bytes += (uint64_t)elements(part) * clv_dtype_size(route->dst.dtype);
        volume.messages++;
    }
    return volume;
}

/* Terms of each element: coordinates along the axes whose sum ends. */
static int count_terms(const clv_grid *grid, const clvi_route *route)
{
    clv_axes ended = route->src.layout.sum & ~route->dst.layout.sum;
    int terms = 1;
    for (int i = 0; i < clv_grid_naxes(grid); i++)
        if (ended >> i & 1) terms *= clv_grid_axis(grid, i).size;
    return terms;
}

/* ---- Planning ---- */

static int by_place(const void *left, const void *right)
{
    const piece *a = left, *b = right;
    if (a->part.row0 != b->part.row0) return a->part.row0 < b->part.row0 ? -1 : 1;
    if (a->part.col0 != b->part.col0) return a->part.col0 < b->part.col0 ? -1 : 1;
    return (a->peer > b->peer) - (a->peer < b->peer);
}

static void list_pieces(clvi_exchange *x, const clvi_route *route)
{
    int rank = clv_grid_rank(x->grid);
    for (int peer = 0; peer < clv_grid_size(x->grid); peer++) {
        rect out = passed(x->grid, route, rank, peer), in = passed(x->grid, route, peer, rank);
        if (peer != rank && elements(out) > 0) x->given[x->ngiven++] = (piece){peer, out, NULL};
        if (elements(in) > 0) x->taken[x->ntaken++] = (piece){peer, in, NULL};
    }
    qsort(x->taken, (size_t)x->ntaken, sizeof *x->taken, by_place);
}

static clv_status reserve_slots(clvi_exchange *x)
{
    if (x->terms == 1 && !x->accumulate) return CLV_OK;
    size_t bytes = 0, size = clv_dtype_size(x->dtype);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1 && !(x->space = clvi_alloc(bytes)))
            return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes of workspace for a move",
                             clv_grid_rank(x->grid), bytes);
        bytes = 0;
        for (piece *p = x->taken; p < x->taken + x->ntaken; p++) {
            if (p->peer == clv_grid_rank(x->grid)) continue;
            if (pass == 1) p->slot = (char *)x->space + bytes;
            bytes += ((size_t)elements(p->part) * size + 63) & ~(size_t)63;
        }
    }
    return CLV_OK;
}

/* MPI counts rows, columns and strides of a message with ints. */
static clv_status check_limits(const clvi_route *route)
{
    if (route->src.m <= INT32_MAX && route->src.n <= INT32_MAX) return CLV_OK;
    return clvi_fail(CLV_ELIMIT, "move: extents up to %d, found %lld x %lld", INT32_MAX,
                     (long long)route->src.m, (long long)route->src.n);
}

clv_status clvi_exchange_create(clv_grid *grid, const clvi_route *route,
                                clvi_exchange_options options, clvi_exchange **out)
{
    clv_status status;
    size_t size = (size_t)clv_grid_size(grid);
    clvi_exchange *x = *out = calloc(1, sizeof *x);
    CLVI_CHECK(x, CLV_ENOMEM, "an exchange");
    *x = (clvi_exchange){.grid = grid, .dtype = route->dst.dtype, .accumulate = options.accumulate};
    x->terms = count_terms(grid, route);
    CLVI_CHECK(x->terms == 1 || x->dtype != CLV_I32, CLV_EDTYPE,
               "move: expected a type with sums, found i32");
    CLVI_TRY(check_limits(route));
    x->given = calloc(size, sizeof *x->given);
    x->taken = calloc(size, sizeof *x->taken);
    x->requests = calloc(2 * size, sizeof(MPI_Request));
    CLVI_CHECK(x->given && x->taken && x->requests, CLV_ENOMEM, "an exchange of %zu", size);
    list_pieces(x, route);
    CLVI_TRY(reserve_slots(x));
done:
    if (status != CLV_OK) clvi_exchange_destroy(out);
    return status;
}

void clvi_exchange_destroy(clvi_exchange **exchange)
{
    if (!*exchange) return;
    free((*exchange)->given);
    free((*exchange)->taken);
    free((*exchange)->requests);
    clvi_free((*exchange)->space);
    free(*exchange);
    *exchange = NULL;
}

/* ---- Executing ---- */

/* Starts one message of part.m rows of part.n elements, ld apart. */
static clv_status post(clvi_exchange *x, bool send, const piece *p, void *data, int64_t ld,
                       MPI_Request *request)
{
    int bytes = (int)clv_dtype_size(x->dtype);
    uint64_t volume = (uint64_t)elements(p->part) * (uint64_t)bytes;
    MPI_Comm comm = clvi_grid_comm(x->grid);
    MPI_Datatype element, rows;
    MPI_Type_contiguous(bytes, MPI_BYTE, &element);
    MPI_Type_vector((int)p->part.m, (int)p->part.n, (int)ld, element, &rows);
    MPI_Type_commit(&rows);
    int code = send ? MPI_Isend(data, 1, rows, p->peer, TAG, comm, request)
                    : MPI_Irecv(data, 1, rows, p->peer, TAG, comm, request);
    MPI_Type_free(&rows);
    MPI_Type_free(&element);
    clvi_grid_count(x->grid, send ? volume : 0, send ? 0 : volume);
    return clvi_mpi(code, send ? "MPI_Isend" : "MPI_Irecv");
}

/* A term in memory: this process's own may not be written. */
typedef struct {
    void *data;
    int64_t ld;
    bool own;
} term;

/* The sum of n terms as a tree over the prime factors of n: the larger strides at the top, as
 * recursive halving would add them. Own terms are only read. */
static term add_terms(clvi_exchange *x, const piece *p, int n, clv_block src)
{
    if (n <= 1) {
        bool own = p->peer == clv_grid_rank(x->grid);
        return own ? (term){at(src, x->dtype, p->part), src.ld, true}
                   : (term){p->slot, p->part.n, false};
    }
    int factor = clvi_smallest_factor(n), step = n / factor;
    term total = add_terms(x, p, step, src);
    for (int i = 1; i < factor; i++) {
        term next = add_terms(x, p + i * step, step, src), into = total.own ? next : total;
        term from = total.own ? total : next;
        clvi_axpby_rows(x->dtype, p->part.m, p->part.n, 1, from.data, from.ld, 1, into.data,
                        into.ld);
        total = into;
    }
    return total;
}

/* dst := alpha terms + beta dst for the pieces that messages did not put there already. */
static void place(clvi_exchange *x, bool own, bool straight, double alpha, clv_block src,
                  double beta, clv_block dst)
{
    for (piece *p = x->taken; p < x->taken + x->ntaken; p += x->terms) {
        if (x->terms == 1 && (p->peer == clv_grid_rank(x->grid)) != own) continue;
        void *to = at(dst, x->dtype, p->part);
        bool there = straight && p->peer != clv_grid_rank(x->grid);
        term sum = there ? (term){to, dst.ld, false} : add_terms(x, p, x->terms, src);
        if (!there || alpha != 1)
            clvi_axpby_rows(x->dtype, p->part.m, p->part.n, alpha, sum.data, sum.ld, beta, to,
                            dst.ld);
    }
}

clv_status clvi_exchange_execute(clvi_exchange *x, double alpha, clv_block src, double beta,
                                 clv_block dst)
{
    clv_status status = CLV_OK;
    int n = 0;
    bool straight = x->terms == 1 && beta == 0; /* messages arrive where they belong */
    assert(beta == 0 || x->accumulate || x->terms > 1);
    for (piece *p = x->taken; p < x->taken + x->ntaken; p++) {
        if (p->peer == clv_grid_rank(x->grid)) continue;
        CLVI_TRY(post(x, false, p, straight ? at(dst, x->dtype, p->part) : p->slot,
                      straight ? dst.ld : p->part.n, &x->requests[n++]));
    }
    for (piece *p = x->given; p < x->given + x->ngiven; p++)
        CLVI_TRY(post(x, true, p, at(src, x->dtype, p->part), src.ld, &x->requests[n++]));
    if (x->terms == 1) place(x, true, straight, alpha, src, beta, dst); /* while they travel */
    CLVI_TRY(clvi_wait_all(n, x->requests));
    place(x, false, straight, alpha, src, beta, dst);
done:
    return status;
}
