/* SPDX-License-Identifier: BSD-3-Clause
 *
 * operand.c: how A or B comes to the local product.
 *
 *     view     every process reads its own block of it, where it lies
 *     tiles    the pieces are read where they lie: in this process, in the memory of neighbours,
 *              or in the room where messages from other nodes arrive, panel by panel, the next one
 *              travelling while one is multiplied
 *     moved    into memory of the product's own: where sums end on the way, or it is kept
 *     lent     as another product has moved it
 *
 * Panels cut the dimension `along` of the local product; an operand that does not have it comes
 * whole, before the first.
 */
#include <clvi_product.h>
#include <stdlib.h>

typedef enum { VIEW, TILES, MOVED, LENT } way;

struct clvi_supply {
    clv_grid *grid;
    clv_dtype dtype;
    way way;
    clv_block block; /* what the local product reads; data where the memory is one */
    clvi_move *move;
    const clvi_supply *lender;
    int npanels; /* exchanges, 1 where it comes whole */
    clvi_exchange **panels;
    clvi_tile *tiles; /* of the panel that is being multiplied */
};

/* ---- Drawing: everything but memory ---- */

static bool ends_sums(const clvi_route *route)
{
    return (route->src.layout.sum & ~route->dst.layout.sum) != 0;
}

static clv_status draw_panels(clvi_supply *s, const clvi_supply_args *args, clvi_route route)
{
    clv_status status = CLV_OK;
    int most = 0;
    s->npanels = args->panels;
    s->panels = calloc((size_t)s->npanels, sizeof(clvi_exchange *));
    CLVI_CHECK(s->panels, CLV_ENOMEM, "%d panels of a product", s->npanels);
    for (int p = 0; p < s->npanels; p++) {
        route.panel = p;
        route.panels = s->npanels;
        route.by_columns = args->by_columns;
        CLVI_TRY(clvi_exchange_create(
            s->grid, &route,
            (clvi_exchange_options){.staged = args->staged, .tiles = true, .lent = true},
            &s->panels[p]));
        int ntiles = clvi_exchange_ntiles(s->panels[p]);
        if (ntiles > most) most = ntiles;
    }
    s->tiles = calloc((size_t)most + 1, sizeof *s->tiles);
    CLVI_CHECK(s->tiles, CLV_ENOMEM, "%d tiles of a product", most);
done:
    return status;
}

clv_status clvi_supply_create(clv_grid *grid, const clvi_supply_args *args, clvi_supply **out)
{
    clv_status status = CLV_OK;
    clvi_route routes[2];
    clvi_supply *s = *out = calloc(1, sizeof *s);
    CLVI_CHECK(s, CLV_ENOMEM, "an operand of a product");
    *s = (clvi_supply){.grid = grid, .dtype = args->local.dtype};
    s->block = clv_spec_block(grid, args->local, clv_grid_rank(grid));
    if (clvi_move_is_view(grid, args->given, args->local)) {
        s->way = VIEW;
    } else if (args->lent) {
        s->way = LENT;
    } else if (!args->keep && clvi_move_routes(grid, args->given, args->local, routes) == 1 &&
               !ends_sums(&routes[0])) {
        s->way = TILES;
        CLVI_TRY(draw_panels(s, args, routes[0]));
    } else {
        s->way = MOVED;
        CLVI_TRY(clvi_move_create(grid, args->given, args->local, 0,
                                  (clvi_exchange_options){.staged = args->staged, .lent = true},
                                  &s->move));
    }
    if (!s->tiles) s->tiles = calloc(1, sizeof *s->tiles);
    CLVI_CHECK(s->tiles, CLV_ENOMEM, "an operand of a product");
done:
    if (status != CLV_OK) clvi_supply_destroy(out);
    return status;
}

void clvi_supply_destroy(clvi_supply **supply)
{
    clvi_supply *s = *supply;
    if (!s) return;
    for (int p = 0; s->panels && p < s->npanels; p++) clvi_exchange_destroy(&s->panels[p]);
    free(s->panels);
    free(s->tiles);
    clvi_move_destroy(&s->move);
    free(s);
    *supply = NULL;
}

bool clvi_supply_borrow(clvi_supply *reader, const clvi_supply *maker)
{
    if (reader->way == VIEW) return true;
    if (reader->way != LENT || maker->way != MOVED) return false;
    reader->lender = maker;
    return true;
}

/* ---- Memory: panels take turns in two rooms ---- */

static uint64_t room(const clvi_supply *s, int parity)
{
    uint64_t most = 0;
    for (int p = parity; s->panels && p < s->npanels; p += 2) {
        uint64_t bytes = clvi_exchange_memory(s->panels[p]);
        if (bytes > most) most = bytes;
    }
    return most;
}

static uint64_t whole_bytes(const clvi_supply *s)
{
    return clvi_round_up((uint64_t)(s->block.m * s->block.n) * clv_dtype_size(s->dtype));
}

uint64_t clvi_supply_memory(const clvi_supply *s)
{
    if (s->way == MOVED) return whole_bytes(s) + clvi_move_memory(s->move);
    return room(s, 0) + room(s, 1);
}

void clvi_supply_lend(clvi_supply *s, void *space)
{
    char *at = space;
    if (s->way == MOVED) {
        s->block.data = at;
        clvi_move_lend(s->move, at + whole_bytes(s));
    }
    for (int p = 0; s->panels && p < s->npanels; p++)
        clvi_exchange_lend(s->panels[p], p % 2 ? at + room(s, 0) : at);
}

/* ---- Executing ---- */

static clvi_tile whole_tile(clv_block block)
{
    return (clvi_tile){block.row0, block.col0, block.m, block.n, block.data, block.ld};
}

clv_status clvi_supply_begin(clvi_supply *s, clv_block src)
{
    if (s->way == MOVED) return clvi_move_execute(s->move, 1, src, 0, s->block);
    return s->way == TILES ? clvi_exchange_show(s->panels[0], src) : CLV_OK;
}

clv_status clvi_supply_panel(clvi_supply *s, int panel, clv_block src, clvi_operand *operand)
{
    clv_status status = CLV_OK, next = CLV_OK;
    operand->tiles = s->tiles;
    operand->ntiles = 1;
    switch (s->way) {
    case VIEW:
        s->tiles[0] = whole_tile(clvi_block_view(src, s->dtype, s->block));
        break;
    case MOVED:
        s->tiles[0] = whole_tile(s->block);
        break;
    case LENT:
        s->tiles[0] = whole_tile(s->lender->block);
        break;
    case TILES:
        if (panel < s->npanels) status = clvi_exchange_tiles(s->panels[panel], src, s->tiles);
        if (panel + 1 < s->npanels) next = clvi_exchange_show(s->panels[panel + 1], src);
        operand->ntiles = clvi_exchange_ntiles(s->panels[panel < s->npanels ? panel : 0]);
    }
    return status == CLV_OK ? next : status;
}

clv_status clvi_supply_end(clvi_supply *s, int panel, int panels)
{
    if (s->way != TILES) return CLV_OK;
    bool whole = s->npanels == 1;
    if (whole && panel < panels - 1) return CLV_OK;
    return clvi_exchange_close(s->panels[whole ? 0 : panel]);
}
