/* SPDX-License-Identifier: BSD-3-Clause
 *
 * joint.c: the three products of a linear layer planned together.
 *
 *     forward  Y = X W       gathers X and W
 *     dw       dW = X^T dY   reads X as forward gathered it, gathers dY
 *     dx       dX = dY W^T   reads W as forward and dY as dw gathered it
 *
 * Every pair of products shares one operand, and saves its second move where both need it in the
 * same layout. Triples are not enumerated: a way of forward fixes how X and W lie, and with them
 * few ways of dw and dx are left, which are joined where they need dY alike. For each way of
 * forward and each of the seven sets of operands that can be shared this leaves one best triple by
 * rank 0's seconds; what those cost all processes decides (see choose.c).
 */
#include "clvi_planner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { F = CLVI_FORWARD, DW = CLVI_DW, DX = CLVI_DX };
enum { SHARE_X, SHARE_W, SHARE_Y, SHARES };

/* ---- Layouts by number ---- */

typedef struct {
    clv_layout layout;
    int64_t m_unit, n_unit;
} key;

/* Open addressing; a power of two of slots, at most half of them full. */
typedef struct {
    size_t slots;
    int count;
    struct {
        key key;
        int id; /* 0: free */
    } * table;
} numbers;

static clv_status numbers_open(numbers *n, int64_t most)
{
    n->count = 0;
    for (n->slots = 16; (int64_t)n->slots < 2 * most;) n->slots *= 2;
    n->table = calloc(n->slots, sizeof *n->table);
    return n->table ? CLV_OK : clvi_fail(CLV_ENOMEM, "%lld layouts", (long long)most);
}

static size_t hash(const key *k)
{
    uint64_t h = k->layout.rows * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ k->layout.cols) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ k->layout.sum) * UINT64_C(0x94d049bb133111eb);
    h = (h ^ (uint64_t)k->m_unit) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (uint64_t)k->n_unit) * UINT64_C(0xbf58476d1ce4e5b9);
    return (size_t)(h ^ h >> 32);
}

static bool same(const key *a, const key *b)
{
    return a->layout.rows == b->layout.rows && a->layout.cols == b->layout.cols &&
           a->layout.sum == b->layout.sum && a->m_unit == b->m_unit && a->n_unit == b->n_unit;
}

static int number_of(numbers *n, clv_spec spec)
{
    key k = {spec.layout, spec.m_unit, spec.n_unit};
    size_t at = hash(&k) & (n->slots - 1);
    while (n->table[at].id && !same(&n->table[at].key, &k)) at = (at + 1) & (n->slots - 1);
    if (!n->table[at].id) {
        n->table[at].key = k;
        n->table[at].id = ++n->count;
    }
    return n->table[at].id - 1;
}

/* ---- The ways of each product ---- */

/* One way, the layouts of the two operands it shares, and its seconds for each set of
 * these (bit i: the ith) that it need not gather. */
typedef struct {
    clvi_code code;
    int lies[2];
    double seconds[4];
} way;

typedef struct {
    int64_t count;
    way *ways;
    int64_t *first; /* of DW and DX: where the ways with layout i of the first operand begin */
} way_list;

/* The two shares of each product, in the order of way.lies. */
static const int shares_of[CLVI_TEAM][2] = {
    {SHARE_X, SHARE_W}, {SHARE_X, SHARE_Y}, {SHARE_W, SHARE_Y}};

static int operand_of(const clvi_share *share, int product)
{
    return share->maker == product ? share->made : share->operand;
}

/* All ways of a product that can be part of less than `limit` seconds. */
static clv_status list_ways(clvi_space *space, int product, const clvi_share all[SHARES],
                            double limit, numbers layouts[SHARES], way_list *list)
{
    clv_status status = CLV_OK;
    const clvi_problem *p = clvi_space_problem(space);
    int64_t count = clvi_space_list(space, NULL);
    clvi_code *codes = calloc((size_t)count, sizeof *codes);
    list->ways = calloc((size_t)count, sizeof *list->ways);
    CLVI_CHECK(codes && list->ways, CLV_ENOMEM, "%lld candidates", (long long)count);
    clvi_space_list(space, codes);
    for (int64_t i = 0; i < count; i++) {
        way w = {.code = codes[i]};
        int operands[2];
        for (int j = 0; j < 2; j++) operands[j] = operand_of(&all[shares_of[product][j]], product);
        for (unsigned kept = 0; kept < 4; kept++)
            w.seconds[kept] = clvi_space_seconds(
                space, codes[i], (kept & 1) << operands[0] | (kept >> 1) << operands[1]);
        if (w.seconds[product == F ? 0 : 3] >= limit) continue;
        clvi_candidate c = clvi_space_candidate(space, codes[i]);
        for (int j = 0; j < 2; j++)
            w.lies[j] = number_of(&layouts[shares_of[product][j]],
                                  clvi_stored(p, operands[j], c.specs[operands[j]]));
        list->ways[list->count++] = w;
    }
done:
    free(codes);
    return status;
}

static int by_first(const void *left, const void *right)
{
    const way *a = left, *b = right;
    if (a->lies[0] != b->lies[0]) return a->lies[0] < b->lies[0] ? -1 : 1;
    return (a->code > b->code) - (a->code < b->code);
}

/* Puts ways with the same layout of the first operand together. */
static clv_status group(way_list *list, int layouts)
{
    list->first = calloc((size_t)layouts + 1, sizeof *list->first);
    if (!list->first) return clvi_fail(CLV_ENOMEM, "%d layouts", layouts);
    qsort(list->ways, (size_t)list->count, sizeof *list->ways, by_first);
    for (int64_t i = 0; i < list->count; i++) list->first[list->ways[i].lies[0] + 1]++;
    for (int i = 0; i < layouts; i++) list->first[i + 1] += list->first[i];
    return CLV_OK;
}

/* ---- Triples ---- */

/* What rank 0 works with. */
typedef struct {
    const clvi_share *all;
    double settled[CLVI_TEAM]; /* seconds of each product by itself */
    double limit;              /* of all three                      */
    way_list list[CLVI_TEAM];
    numbers layouts[SHARES];
    const way **dw_of, **dx_of; /* by the layout of dY: the cheapest that makes it, that reads it */
    const way **here;           /* the same for dx with one layout of W; empty between uses       */
    int64_t nitems;
    clvi_item *items;
} joint;

/* The cheapest found so far of one pattern. */
typedef struct {
    double seconds;
    const way *dw, *dx;
} pair;

static void better(pair *best, double seconds, const way *dw, const way *dx)
{
    if (seconds < best->seconds) *best = (pair){seconds, dw, dx};
}

static void add_item(joint *j, const way *f, pair best, unsigned shared)
{
    const way *ways[CLVI_TEAM] = {f, best.dw, best.dx};
    clvi_item item = {.codes = {CLVI_NONE, CLVI_NONE, CLVI_NONE}};
    if (!isfinite(best.seconds)) return;
    item.bound = best.seconds + (f ? f->seconds[0] : 0);
    for (int i = 0; i < CLVI_TEAM; i++) {
        if (ways[i])
            item.codes[i] = ways[i]->code;
        else
            item.settled += j->settled[i];
    }
    item.bound += item.settled;
    if (item.bound >= j->limit) return;
    for (int s = 0; s < SHARES; s++)
        if (shared >> s & 1) {
            item.kept[j->all[s].reader] |= 1u << j->all[s].operand;
            item.keeps[j->all[s].maker] |= 1u << j->all[s].made;
        }
    j->items[j->nitems++] = item;
}

/* The best of every pattern with one way of forward. */
static void add_triples(joint *j, const way *f)
{
    enum { X = 1 << SHARE_X, W = 1 << SHARE_W, Y = 1 << SHARE_Y, PATTERNS = 8 };
    const way_list *dws = &j->list[DW], *dxs = &j->list[DX];
    const way *d0 = dws->ways + dws->first[f->lies[0]],
              *d1 = dws->ways + dws->first[f->lies[0] + 1];
    const way *e0 = dxs->ways + dxs->first[f->lies[1]],
              *e1 = dxs->ways + dxs->first[f->lies[1] + 1];
    pair best[PATTERNS];
    for (int i = 0; i < PATTERNS; i++) best[i] = (pair){INFINITY, NULL, NULL};
    for (const way *e = e0; e < e1; e++) {
        const way **slot = &j->here[e->lies[1]], *d = j->dw_of[e->lies[1]];
        better(&best[W], e->seconds[1], NULL, e);
        if (d) better(&best[W | Y], d->seconds[0] + e->seconds[3], d, e);
        if (!*slot || e->seconds[3] < (*slot)->seconds[3]) *slot = e;
    }
    for (const way *d = d0; d < d1; d++) {
        const way *e = j->dx_of[d->lies[1]], *both = j->here[d->lies[1]];
        better(&best[X], d->seconds[1], d, NULL);
        if (e) better(&best[X | Y], d->seconds[1] + e->seconds[2], d, e);
        if (both) better(&best[X | W | Y], d->seconds[1] + both->seconds[3], d, both);
    }
    if (best[X].dw && best[W].dx)
        better(&best[X | W], best[X].seconds + best[W].seconds, best[X].dw, best[W].dx);
    for (const way *e = e0; e < e1; e++) j->here[e->lies[1]] = NULL;
    for (int i = 1; i < PATTERNS; i++) add_item(j, f, best[i], (unsigned)i);
}

/* dw and dx with dY in each layout, forward by itself. */
static void add_backward_pairs(joint *j)
{
    for (int y = 0; y < j->layouts[SHARE_Y].count; y++) {
        const way *d = j->dw_of[y], *e = j->dx_of[y];
        if (d && e) add_item(j, NULL, (pair){d->seconds[0] + e->seconds[2], d, e}, 1u << SHARE_Y);
    }
}

/* The cheapest way for each layout of dY. */
static void best_by_dy(const way_list *list, unsigned kept, const way *best[])
{
    for (const way *w = list->ways; w < list->ways + list->count; w++) {
        const way **slot = &best[w->lies[1]];
        if (!*slot || w->seconds[kept] < (*slot)->seconds[kept]) *slot = w;
    }
}

/* All that rank 0 brings. Local. */
static clv_status list_triples(clvi_space *const spaces[], joint *j)
{
    clv_status status = CLV_OK;
    for (int s = 0; s < SHARES; s++) {
        int64_t most = clvi_space_list(spaces[j->all[s].maker], NULL) +
                       clvi_space_list(spaces[j->all[s].reader], NULL);
        CLVI_TRY(numbers_open(&j->layouts[s], most));
    }
    for (int i = 0; i < CLVI_TEAM; i++)
        CLVI_TRY(list_ways(spaces[i], i, j->all, j->limit, j->layouts, &j->list[i]));
    CLVI_TRY(group(&j->list[DW], j->layouts[SHARE_X].count));
    CLVI_TRY(group(&j->list[DX], j->layouts[SHARE_W].count));
    size_t ny = (size_t)j->layouts[SHARE_Y].count + 1;
    j->dw_of = calloc(ny, sizeof *j->dw_of);
    j->dx_of = calloc(ny, sizeof *j->dx_of);
    j->here = calloc(ny, sizeof *j->here);
    j->items = calloc((size_t)(7 * j->list[F].count) + ny, sizeof *j->items);
    CLVI_CHECK(j->dw_of && j->dx_of && j->here && j->items, CLV_ENOMEM, "%zu layouts", ny);
    best_by_dy(&j->list[DW], 0, j->dw_of);
    best_by_dy(&j->list[DX], 2, j->dx_of);
    for (const way *f = j->list[F].ways; f < j->list[F].ways + j->list[F].count; f++)
        add_triples(j, f);
    add_backward_pairs(j);
done:
    return status;
}

static void close_joint(joint *j)
{
    for (int i = 0; i < CLVI_TEAM; i++) {
        free(j->list[i].ways);
        free(j->list[i].first);
        free(j->layouts[i].table);
    }
    free(j->dw_of);
    free(j->dx_of);
    free(j->here);
    free(j->items);
}

/* ---- The choice ---- */

static void adopt(clvi_space *const spaces[], const clvi_item *item, const clvi_share all[],
                  clvi_team *team)
{
    for (int i = 0; i < team->count; i++)
        if (item->codes[i] != CLVI_NONE)
            team->ways[i] = clvi_space_candidate(spaces[i], item->codes[i]);
    for (int s = 0; s < SHARES; s++)
        if (item->kept[all[s].reader] >> all[s].operand & 1) team->shares[team->nshares++] = all[s];
}

clv_status clvi_choose_joint(clvi_space *const spaces[CLVI_TEAM], clvi_team *team)
{
    clv_status status = CLV_OK;
    clvi_share all[SHARES];
    clvi_found found;
    clvi_least least;
    int nfound;
    memcpy(all, team->shares, sizeof all);
    team->nshares = 0;
    joint j = {.all = all};
    for (int i = 0; i < CLVI_TEAM; i++) j.limit += j.settled[i] = team->ways[i].seconds;
    j.limit *= 1 - 1e-9; /* the same sum in another order is no gain */
    if (clv_grid_rank(team->problems[0]->grid) == 0) status = list_triples(spaces, &j);
    CLVI_TRY(clvi_search(status, CLVI_TEAM, spaces, j.nitems, j.items, 1, &found, &nfound, &least));
    if (nfound && found.seconds < j.limit) adopt(spaces, &found.item, all, team);
done:
    close_joint(&j);
    return status;
}
