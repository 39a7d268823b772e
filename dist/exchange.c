/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exchange.c: one engine for every move.
 *
 * Each process gives each other the part of its block that the other takes, and adds the terms
 * that belong to one sum. All-gather, reduce-scatter, all-to-all and every mixture of them over
 * any set of axes are this one exchange between other layouts, and all of them receive the least
 * possible: what a process lacks, once for each term.
 *
 * Neighbours read each other's blocks where they lie: the giver offers the address, the taker
 * copies or adds and releases, the giver reclaims before it returns. To other nodes go messages.
 * Bytes read from a neighbour count as received by the reader and sent by the owner.
 *
 * Where a second exchange passes on what a first one brings, its takers invite: they offer the
 * places where they want it, and the first one writes there too. So an all-reduce reads every term
 * once and writes every copy once; a result is never read again. What the giver offers then says
 * that it is written, and needs no reclaiming. Who takes where neighbours cannot write invites to
 * nothing, and reads as ever. Bytes count the same either way.
 */
#include "clvi_route.h"

#include <stdlib.h>

/* What goes one way between this process and another, or stays: then peer is this process. */
typedef struct {
    int peer, place; /* place: of its term in the tree */
    bool near;       /* a neighbour, and not myself    */
    clvi_rect part;
    void *slot; /* where it arrives when it does not go straight to its place */
    /* Of one execution: */
    uint64_t number;
    const void *data; /* where it lies; NULL: its giver has no memory to show */
    int64_t ld;
    uint64_t invitation; /* number of the offer of a place, from taker to giver                */
    bool invited;        /* taken: the giver writes it                                         */
    void *there;         /* given: where its taker wants it written, ldthere apart; NULL: not  */
    int64_t ldthere;
} piece;

/* Pieces taken come in groups of `terms` with the same part, in the order of the tree. */
struct clvi_exchange {
    clv_grid *grid;
    clv_dtype dtype;
    int terms;
    bool accumulate, tiles, lent;
    bool follows;         /* another one passes it on   */
    clvi_exchange *next;  /* which passes this one on   */
    size_t reads, writes; /* bytes, of the node         */
    int ngiven, ntaken;
    piece *given, *taken;
    void *space; /* the slots; of others where it is lent */
    size_t space_bytes, stage_bytes;
    clvi_rect box; /* all that neighbours read of src        */
    void *stage;   /* a copy of it, box.n apart; NULL: none  */
    int nrequests;
    MPI_Request *requests;
    bool straight, failed; /* of one execution: messages arrive where they belong; no memory */
};

static void *at(clv_block block, clv_dtype dtype, clvi_rect part)
{
    return clvi_at(block, dtype, part.row0 - block.row0, part.col0 - block.col0);
}

static uint64_t bytes_of(const clvi_exchange *x, clvi_rect part)
{
    return (uint64_t)clvi_elements(part) * clv_dtype_size(x->dtype);
}

/* ---- Planning ---- */

static int by_group(const void *left, const void *right)
{
    const piece *a = left, *b = right;
    if (a->part.row0 != b->part.row0) return a->part.row0 < b->part.row0 ? -1 : 1;
    if (a->part.col0 != b->part.col0) return a->part.col0 < b->part.col0 ? -1 : 1;
    return (a->place > b->place) - (a->place < b->place);
}

/* The smallest part of the matrix that holds both. */
static clvi_rect enclose(clvi_rect a, clvi_rect b)
{
    if (clvi_elements(a) == 0) return b;
    int64_t row1 = a.row0 + a.m > b.row0 + b.m ? a.row0 + a.m : b.row0 + b.m;
    int64_t col1 = a.col0 + a.n > b.col0 + b.n ? a.col0 + a.n : b.col0 + b.n;
    if (b.row0 < a.row0) a.row0 = b.row0;
    if (b.col0 < a.col0) a.col0 = b.col0;
    return (clvi_rect){a.row0, a.col0, row1 - a.row0, col1 - a.col0};
}

/* Others come in the order of their ranks after this one, so that not all read from one. */
static void list_pieces(clvi_exchange *x, const clvi_route *route)
{
    int rank = clv_grid_rank(x->grid), size = clv_grid_size(x->grid);
    for (int i = 0; i < size; i++) {
        int peer = (rank + i) % size;
        piece p = {.peer = peer, .near = i > 0 && clvi_grid_is_neighbour(x->grid, peer)};
        p.part = clvi_route_passed(x->grid, route, rank, peer);
        if (i > 0 && clvi_elements(p.part) > 0) {
            x->given[x->ngiven++] = p;
            if (p.near) x->box = enclose(x->box, p.part);
        }
        p.part = clvi_route_passed(x->grid, route, peer, rank);
        p.place = clvi_route_place(x->grid, route, peer);
        if (clvi_elements(p.part) > 0) x->taken[x->ntaken++] = p;
    }
    if (x->terms > 1) qsort(x->taken, (size_t)x->ntaken, sizeof *x->taken, by_group);
}

static size_t block_bytes(clv_block block, clv_dtype dtype)
{
    return (size_t)(block.m * block.n) * clv_dtype_size(dtype);
}

/* What all processes of the node read and write between them. */
static void count_touched(clvi_exchange *x, const clvi_route *route)
{
    for (int rank = 0; rank < clv_grid_size(x->grid); rank++) {
        if (!clvi_grid_is_neighbour(x->grid, rank)) continue;
        x->reads += block_bytes(clv_spec_block(x->grid, route->src, rank), x->dtype);
        x->writes += block_bytes(clvi_route_target(x->grid, route, rank), x->dtype);
    }
}

static clv_status no_memory(const clvi_exchange *x, size_t bytes)
{
    return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes of workspace for a move",
                     clv_grid_rank(x->grid), bytes);
}

/* The slots of what comes in messages, one after the other from `space`; bytes of all. */
static size_t place_slots(clvi_exchange *x, char *space)
{
    size_t bytes = 0;
    if (x->terms == 1 && !x->accumulate && !x->tiles) return 0;
    for (piece *p = x->taken; p < x->taken + x->ntaken; p++) {
        if (p->peer == clv_grid_rank(x->grid) || p->near) continue;
        if (space) p->slot = space + bytes;
        bytes += clvi_round_up(bytes_of(x, p->part));
    }
    return bytes;
}

static clv_status reserve_slots(clvi_exchange *x)
{
    x->space_bytes = place_slots(x, NULL);
    if (x->lent || x->space_bytes == 0) return CLV_OK;
    if (!(x->space = clvi_alloc(x->space_bytes))) return no_memory(x, x->space_bytes);
    place_slots(x, x->space);
    return CLV_OK;
}

/* Room for a copy of what neighbours read. */
static clv_status reserve_stage(clvi_exchange *x)
{
    size_t bytes = bytes_of(x, x->box);
    if (bytes == 0 || x->stage) return CLV_OK;
    x->stage = clvi_shared_alloc(x->grid, bytes);
    if (x->stage && !clvi_is_shared(x->grid, x->stage)) {
        clvi_shared_free(x->grid, x->stage);
        x->stage = NULL;
    }
    if (x->stage) return CLV_OK;
    return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes%s for a move", clv_grid_rank(x->grid), bytes,
                     clvi_shared_what(x->grid));
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
    *x = (clvi_exchange){.grid = grid,
                         .dtype = route->dst.dtype,
                         .accumulate = options.accumulate,
                         .tiles = options.tiles,
                         .lent = options.lent};
    x->terms = clvi_route_terms(grid, route);
    CLVI_CHECK(x->terms == 1 || x->dtype != CLV_I32, CLV_EDTYPE,
               "move: expected a type with sums, found i32");
    CLVI_TRY(check_limits(route));
    x->given = clvi_alloc(size * sizeof *x->given);
    x->taken = clvi_alloc(size * sizeof *x->taken);
    x->requests = clvi_alloc(2 * size * sizeof(MPI_Request));
    CLVI_CHECK(x->given && x->taken && x->requests, CLV_ENOMEM, "an exchange of %zu", size);
    list_pieces(x, route);
    count_touched(x, route);
    CLVI_TRY(reserve_slots(x));
    if (options.staged && x->lent)
        x->stage_bytes = clvi_round_up(bytes_of(x, x->box));
    else if (options.staged)
        CLVI_TRY(reserve_stage(x));
done:
    if (status != CLV_OK) clvi_exchange_destroy(out);
    return status;
}

void clvi_exchange_chain(clvi_exchange *first, clvi_exchange *next)
{
    assert(next->terms == 1 && !next->accumulate);
    first->next = next;
    first->writes = next->writes;
    next->follows = true;
}

void clvi_exchange_destroy(clvi_exchange **exchange)
{
    if (!*exchange) return;
    clvi_free((*exchange)->given);
    clvi_free((*exchange)->taken);
    clvi_free((*exchange)->requests);
    if (!(*exchange)->lent) clvi_free((*exchange)->space);
    if (!(*exchange)->stage_bytes) clvi_shared_free((*exchange)->grid, (*exchange)->stage);
    free(*exchange);
    *exchange = NULL;
}

uint64_t clvi_exchange_memory(const clvi_exchange *x)
{
    if (x->lent) return x->space_bytes + x->stage_bytes;
    return x->space_bytes + (x->stage ? bytes_of(x, x->box) : 0);
}

void clvi_exchange_lend(clvi_exchange *x, void *space)
{
    assert(x->lent);
    x->space = space;
    place_slots(x, space);
    if (x->stage_bytes) x->stage = (char *)space + x->space_bytes;
}

int clvi_exchange_count(const clvi_exchange *x)
{
    return x->ngiven;
}

int clvi_exchange_ntiles(const clvi_exchange *x)
{
    return x->ntaken;
}

static clvi_tile tile_of(const piece *p)
{
    return (clvi_tile){p->part.row0, p->part.col0, p->part.m, p->part.n, p->data, p->ld};
}

clvi_tile clvi_exchange_part(const clvi_exchange *x, int i)
{
    return tile_of(&x->given[i]);
}

clvi_tile clvi_exchange_own_part(const clvi_exchange *x)
{
    for (const piece *p = x->taken; p < x->taken + x->ntaken; p++)
        if (p->peer == clv_grid_rank(x->grid)) return tile_of(p);
    return (clvi_tile){0};
}

/* ---- Giving ---- */

/* Starts one message of part.m rows of part.n elements, ld apart. */
static clv_status post(clvi_exchange *x, bool send, const piece *p, void *data, int64_t ld)
{
    enum { TAGS = 1 << 14 }; /* of those that every MPI has */
    int size = (int)clv_dtype_size(x->dtype), tag = (int)(p->number % TAGS);
    MPI_Comm comm = clvi_grid_comm(x->grid);
    MPI_Request *request = &x->requests[x->nrequests++];
    MPI_Datatype element, rows;
    MPI_Type_contiguous(size, MPI_BYTE, &element);
    MPI_Type_vector((int)p->part.m, (int)p->part.n, (int)ld, element, &rows);
    MPI_Type_commit(&rows);
    int code = send ? MPI_Isend(data, 1, rows, p->peer, tag, comm, request)
                    : MPI_Irecv(data, 1, rows, p->peer, tag, comm, request);
    MPI_Type_free(&rows);
    MPI_Type_free(&element);
    return clvi_mpi(code, send ? "MPI_Isend" : "MPI_Irecv");
}

/* Offers the places of what neighbours give, where they can write there. */
static clv_status invite(clvi_exchange *x, clv_block dst)
{
    clv_status status = CLV_OK;
    for (piece *p = x->taken; p < x->taken + x->ntaken; p++) {
        if (!p->near) continue;
        void *place = at(dst, x->dtype, p->part);
        p->invited = clvi_is_shared(x->grid, place);
        p->invitation = clvi_channel_next_given(x->grid, p->peer);
        CLVI_TRY(
            clvi_channel_offer(x->grid, p->peer, p->invitation, p->invited ? place : NULL, dst.ld));
    }
    for (piece *p = x->given; p < x->given + x->ngiven; p++)
        if (p->near) p->invitation = clvi_channel_next_taken(x->grid, p->peer);
done:
    return status;
}

/* Learns where neighbours want what x gives. */
static clv_status accept(clvi_exchange *x)
{
    clv_status status = CLV_OK;
    for (piece *p = x->given; p < x->given + x->ngiven; p++) {
        const void *place;
        if (!p->near) continue;
        CLVI_TRY(clvi_channel_take(x->grid, p->peer, p->invitation, &place, &p->ldthere));
        clvi_channel_release(x->grid, p->peer, p->invitation);
        p->there = (void *)place;
    }
done:
    return status;
}

/* Draws the numbers of all pieces and posts the receives; dst NULL: into the slots. */
static clv_status begin(clvi_exchange *x, const clv_block *dst)
{
    clv_status status = CLV_OK;
    int rank = clv_grid_rank(x->grid);
    x->nrequests = 0;
    x->failed = false;
    x->straight = dst != NULL;
    for (piece *p = x->given; p < x->given + x->ngiven; p++)
        p->number = clvi_channel_next_given(x->grid, p->peer);
    for (piece *p = x->taken; p < x->taken + x->ntaken; p++) {
        if (p->peer == rank) continue;
        p->number = clvi_channel_next_taken(x->grid, p->peer);
        clvi_grid_count(x->grid, 0, bytes_of(x, p->part));
        if (p->near) continue;
        p->data = dst ? at(*dst, x->dtype, p->part) : p->slot;
        p->ld = dst ? dst->ld : p->part.n;
        CLVI_TRY(post(x, false, p, (void *)p->data, p->ld));
    }
    if (x->follows) CLVI_TRY(invite(x, *dst));
done:
    return status;
}

static clv_block staged(const clvi_exchange *x)
{
    return (clv_block){x->stage, x->box.m, x->box.n, x->box.n, x->box.row0, x->box.col0};
}

/* Where neighbours read src: there, or in a copy, of which `part` is made now. data NULL: there
 * is no memory for it. */
static clv_block readable(clvi_exchange *x, clv_block src, clvi_rect part)
{
    if (clvi_elements(part) == 0 || clvi_is_shared(x->grid, at(src, x->dtype, part))) return src;
    if (reserve_stage(x) != CLV_OK) {
        x->failed = true;
        return (clv_block){0};
    }
    clv_block copy = staged(x);
    clvi_axpby_rows(x->dtype, part.m, part.n, 1, at(src, x->dtype, part), src.ld, 0,
                    at(copy, x->dtype, part), copy.ld);
    return copy;
}

/* Shows or sends one piece; neighbours read it in `shown`. */
static clv_status give(clvi_exchange *x, const piece *p, clv_block src, clv_block shown)
{
    clvi_grid_count(x->grid, bytes_of(x, p->part), 0);
    if (!p->near) return post(x, true, p, at(src, x->dtype, p->part), src.ld);
    if (p->there) return clvi_channel_offer(x->grid, p->peer, p->number, NULL, 0);
    return clvi_channel_offer(x->grid, p->peer, p->number,
                              shown.data ? at(shown, x->dtype, p->part) : NULL, shown.ld);
}

clv_status clvi_exchange_give_all(clvi_exchange *x, clv_block src)
{
    clv_status status = CLV_OK;
    bool read = false;
    for (const piece *p = x->given; p < x->given + x->ngiven; p++)
        read = read || (p->near && !p->there);
    clv_block shown = read ? readable(x, src, x->box) : src;
    for (piece *p = x->given; p < x->given + x->ngiven; p++) CLVI_TRY(give(x, p, src, shown));
done:
    return status;
}

clv_status clvi_exchange_begin(clvi_exchange *x, double beta, clv_block dst)
{
    assert(beta == 0 || x->accumulate || x->terms > 1);
    return begin(x, x->terms == 1 && beta == 0 ? &dst : NULL);
}

clv_status clvi_exchange_give(clvi_exchange *x, int i, clv_block src)
{
    piece *p = &x->given[i];
    return give(x, p, src, p->near ? readable(x, src, p->part) : src);
}

/* ---- Taking ---- */

/* Waits for a neighbour's piece, or knows where my own lies. */
static clv_status take(clvi_exchange *x, piece *p, clv_block src)
{
    clv_status status = CLV_OK;
    if (p->near) {
        status = clvi_channel_take(x->grid, p->peer, p->number, &p->data, &p->ld);
        if (!p->data && !p->invited) x->failed = true;
    } else if (p->peer == clv_grid_rank(x->grid)) {
        p->data = at(src, x->dtype, p->part);
        p->ld = src.ld;
    }
    return status;
}

static void release(clvi_exchange *x, const piece *p)
{
    if (p->near) clvi_channel_release(x->grid, p->peer, p->number);
}

/* Where a neighbour wants a piece. */
static clv_block invitation(const piece *p)
{
    return (clv_block){p->there, p->part.m, p->part.n, p->ldthere, p->part.row0, p->part.col0};
}

/* The given pieces of the next exchange that lie in `part`, to which its takers invite: all of it
 * where whole, else some of it. Fills in the next one from *i on, and what of it that is. */
static const piece *next_invited(const clvi_exchange *x, clvi_rect part, bool whole, int *i,
                                 clvi_rect *common)
{
    for (; x->next && *i < x->next->ngiven; ++*i) {
        const piece *p = &x->next->given[*i];
        if (!p->there) continue;
        *common = clvi_rect_meet(p->part, part);
        int64_t count = clvi_elements(*common);
        if (count > 0 && (count == clvi_elements(part)) == whole) return &x->next->given[(*i)++];
    }
    return NULL;
}

/* Results that fill more than half of the last cache would push out what is still to be read, and
 * be pushed out themselves before anybody uses them (measured: of copies as of sums). */
static bool streamed(const clvi_exchange *x)
{
    return x->reads + x->writes > clvi_cache_bytes() / 2;
}

/* dst := alpha sum + beta dst for a group of pieces that are there, and wherever it is wanted. */
static void place(clvi_exchange *x, const piece *p, double alpha, double beta, clv_block dst)
{
    enum { WHOLE = true };
    int count = 1, room = x->next ? x->next->ngiven + 1 : 1;
    const void *data[x->terms];
    int64_t ld[x->terms], ldto[room];
    void *to[room];
    clvi_rect common;
    const piece *q;
    to[0] = at(dst, x->dtype, p->part);
    ldto[0] = dst.ld;
    for (int i = 0; i < x->terms; i++) {
        data[i] = p[i].data;
        ld[i] = p[i].ld;
        if (!data[i]) return;
    }
    for (int i = 0; (q = next_invited(x, p->part, WHOLE, &i, &common)); count++) {
        to[count] = at(invitation(q), x->dtype, common);
        ldto[count] = q->ldthere;
    }
    int there = x->terms == 1 && data[0] == to[0] && alpha == 1 && beta == 0;
    if (count > there)
        clvi_sum_rows(x->dtype, p->part.m, p->part.n, x->terms, data, ld, alpha, beta,
                      count - there, to + there, ldto + there, streamed(x));
    for (int i = 0; (q = next_invited(x, p->part, !WHOLE, &i, &common));)
        clvi_axpby_rows(x->dtype, common.m, common.n, 1, at(dst, x->dtype, common), dst.ld, 0,
                        at(invitation(q), x->dtype, common), q->ldthere);
}

/* Messages are done: what has arrived can be read, what was sent overwritten. */
static clv_status wait_messages(clvi_exchange *x)
{
    if (x->nrequests == 0) return CLV_OK;
    clv_status status = clvi_wait_all(x->nrequests, x->requests);
    x->nrequests = 0;
    return status;
}

/* Takes and places the groups of neighbours and my own, or those with messages. */
static clv_status take_groups(clvi_exchange *x, bool far, double alpha, clv_block src, double beta,
                              clv_block dst)
{
    clv_status status = CLV_OK;
    int rank = clv_grid_rank(x->grid);
    for (piece *p = x->taken; p < x->taken + x->ntaken; p += x->terms) {
        bool messages = false;
        for (int i = 0; i < x->terms; i++) messages = messages || (!p[i].near && p[i].peer != rank);
        if (messages != far) continue;
        for (int i = 0; i < x->terms; i++) CLVI_TRY(take(x, &p[i], src));
        place(x, p, alpha, beta, dst);
        for (int i = 0; i < x->terms; i++) release(x, &p[i]);
    }
done:
    return status;
}

/* All that neighbours were offered has been read. */
static clv_status reclaim_all(clvi_exchange *x)
{
    clv_status status = CLV_OK;
    for (const piece *p = x->given; p < x->given + x->ngiven; p++)
        if (p->near && !p->there) CLVI_TRY(clvi_channel_reclaim(x->grid, p->peer, p->number));
done:
    return status;
}

static clv_status report(const clvi_exchange *x)
{
    if (!x->failed) return CLV_OK;
    return clvi_fail(
        CLV_ENOMEM,
        "rank %d: a move: no shared memory here or at a neighbour for a copy of what lies in "
        "the program's own (CLEAVE_SHARED_MEMORY=0 does without)",
        clv_grid_rank(x->grid));
}

clv_status clvi_exchange_finish(clvi_exchange *x, double alpha, clv_block src, double beta,
                                clv_block dst)
{
    clv_status status = CLV_OK;
    if (x->next) CLVI_TRY(accept(x->next));
    CLVI_TRY(take_groups(x, false, alpha, src, beta, dst));
    CLVI_TRY(wait_messages(x));
    CLVI_TRY(take_groups(x, true, alpha, src, beta, dst));
    CLVI_TRY(reclaim_all(x));
    status = report(x);
done:
    return status;
}

clv_status clvi_exchange_execute(clvi_exchange *x, double alpha, clv_block src, double beta,
                                 clv_block dst)
{
    clv_status status;
    CLVI_TRY(clvi_exchange_begin(x, beta, dst));
    CLVI_TRY(clvi_exchange_give_all(x, src));
    CLVI_TRY(clvi_exchange_finish(x, alpha, src, beta, dst));
done:
    return status;
}

/* ---- Showing ---- */

clv_status clvi_exchange_show(clvi_exchange *x, clv_block src)
{
    clv_status status;
    assert(x->terms == 1);
    CLVI_TRY(begin(x, NULL));
    CLVI_TRY(clvi_exchange_give_all(x, src));
done:
    return status;
}

clv_status clvi_exchange_tiles(clvi_exchange *x, clv_block src, clvi_tile tiles[])
{
    clv_status status;
    for (int i = 0; i < x->ntaken; i++) CLVI_TRY(take(x, &x->taken[i], src));
    CLVI_TRY(wait_messages(x));
    for (int i = 0; i < x->ntaken; i++) tiles[i] = tile_of(&x->taken[i]);
    status = report(x);
done:
    return status;
}

clv_status clvi_exchange_close(clvi_exchange *x)
{
    clv_status status;
    for (const piece *p = x->taken; p < x->taken + x->ntaken; p++) release(x, p);
    CLVI_TRY(wait_messages(x));
    CLVI_TRY(reclaim_all(x));
done:
    return status;
}
