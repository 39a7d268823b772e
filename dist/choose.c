/* SPDX-License-Identifier: BSD-3-Clause
 *
 * choose.c: the best way to do a product on all processes, within the memory they may have.
 *
 * The slowest process counts, so what a way costs rank 0 is a lower bound, and as larger parts
 * come first it is mostly the whole truth. Rank 0 alone looks at every way, and brings them in
 * the order of that bound, a batch at a time; all processes say what a batch costs them; and once
 * the best so far costs no more than the bound of what is left, nothing left can be better. So
 * the choice is exact, and most ways are looked at by one process only.
 */
#include "clvi_planner.h"

#include <math.h>
#include <stdlib.h>

enum { BATCH = 128, FIRST_BATCH = 8 };

/* What rank 0 brings. */
typedef struct {
    int count;
    bool last;
    double next; /* the least bound of all that is left */
    clvi_item items[BATCH];
} batch;

/* The greatest of any process, for one item. */
typedef struct {
    double seconds, panel; /* with one panel; of each further one                         */
    double panels;         /* that it needs; infinite where none are enough                */
    double least;          /* bytes with the most panels                                   */
} needs;
enum { NEEDS = sizeof(needs) / sizeof(double) };

static int by_bound(const void *left, const void *right)
{
    const clvi_item *a = left, *b = right;
    if (a->bound != b->bound) return a->bound < b->bound ? -1 : 1;
    for (int i = 0; i < 3; i++)
        if (a->codes[i] != b->codes[i]) return a->codes[i] < b->codes[i] ? -1 : 1;
    return 0;
}

/* Cuts the next batch off the sorted list. */
static void next_batch(batch *b, int64_t nitems, const clvi_item items[], int64_t *at, int size)
{
    b->count = 0;
    while (b->count < size && *at < nitems) b->items[b->count++] = items[(*at)++];
    b->last = *at == nitems;
    b->next = b->last ? 0 : items[*at].bound;
}

/* ---- What an item costs and needs on this process ---- */

static uint64_t memory_of(const clvi_problem *p, const clvi_candidate *c, int panels)
{
    clvi_candidate with = *c;
    with.panels = panels;
    return clvi_product_memory(p, &with);
}

/* The least number of panels with which a candidate fits; infinite if even the most do not. More
 * panels need less memory, but for the rounding of pieces (see fit). */
static double least_panels(const clvi_problem *p, const clvi_candidate *c, uint64_t cap)
{
    if (memory_of(p, c, 1) <= cap) return 1;
    if (memory_of(p, c, CLVI_PANELS) > cap) return INFINITY;
    int too_few = 1, enough = CLVI_PANELS;
    while (enough - too_few > 1) {
        int middle = (too_few + enough) / 2;
        if (memory_of(p, c, middle) <= cap)
            enough = middle;
        else
            too_few = middle;
    }
    return enough;
}

static bool keeps(const clvi_item *item)
{
    return item->kept[0] || item->kept[1] || item->kept[2];
}

static needs look(int nspaces, clvi_space *const spaces[], const clvi_item *item)
{
    uint64_t cap = clvi_space_problem(spaces[0])->options->memory;
    needs n = {.seconds = item->settled, .panels = 1};
    for (int i = 0; i < nspaces; i++) {
        if (item->codes[i] == CLVI_NONE) continue;
        n.seconds += clvi_space_seconds(spaces[i], item->codes[i], item->kept[i]);
        n.panel += clvi_space_panel(spaces[i], item->codes[i]);
        if (cap == 0) continue;
        const clvi_problem *p = clvi_space_problem(spaces[i]);
        clvi_candidate c = clvi_space_candidate(spaces[i], item->codes[i]);
        for (int operand = CLVI_A; operand <= CLVI_B; operand++) {
            c.lent[operand] = item->kept[i] >> operand & 1;
            c.keep[operand] = item->keeps[i] >> operand & 1;
        }
        n.panels = fmax(n.panels, least_panels(p, &c, cap));
        n.least = fmax(n.least, (double)memory_of(p, &c, CLVI_PANELS));
    }
    if (keeps(item) && n.panels > 1) n.panels = INFINITY; /* what is kept comes whole */
    return n;
}

/* ---- The search ---- */

/* Puts one in its place among the best; those found first stay first among equals. */
static void insert(clvi_found found[], int most, int *nfound, clvi_found one)
{
    int at = *nfound;
    while (at > 0 && found[at - 1].seconds > one.seconds) at--;
    if (at == most) return;
    if (*nfound < most) (*nfound)++;
    for (int i = *nfound - 1; i > at; i--) found[i] = found[i - 1];
    found[at] = one;
}

static void take(const batch *b, const needs all[], int most, clvi_found found[], int *nfound,
                 clvi_least *least)
{
    for (int i = 0; i < b->count; i++) {
        if (all[i].least < least->bytes) *least = (clvi_least){b->items[i], all[i].least};
        if (!isfinite(all[i].panels)) continue;
        double seconds = all[i].seconds + (all[i].panels - 1) * all[i].panel;
        insert(found, most, nfound, (clvi_found){b->items[i], seconds, (int)all[i].panels});
    }
}

clv_status clvi_search(clv_status mine, int nspaces, clvi_space *const spaces[], int64_t nitems,
                       clvi_item items[], int most, clvi_found found[], int *nfound,
                       clvi_least *least)
{
    clv_status status;
    clv_grid *grid = clvi_space_problem(spaces[0])->grid;
    batch b;
    needs all[BATCH];
    int64_t at = 0;
    int size = FIRST_BATCH;
    bool root = clv_grid_rank(grid) == 0, done = false;
    *nfound = 0;
    *least = (clvi_least){.bytes = INFINITY};
    CLVI_TRY(clv_grid_agree(grid, mine));
    if (root) qsort(items, (size_t)nitems, sizeof *items, by_bound);
    while (!done) {
        if (root) next_batch(&b, nitems, items, &at, size);
        CLVI_TRY(clv_grid_broadcast(grid, 0, &b, sizeof b));
        for (int i = 0; i < b.count; i++) all[i] = look(nspaces, spaces, &b.items[i]);
        CLVI_TRY(clv_grid_reduce(grid, CLV_MAX, NEEDS * b.count, &all[0].seconds));
        take(&b, all, most, found, nfound, least);
        size = size * 4 < BATCH ? size * 4 : BATCH;
        done = b.last || (*nfound == most && found[most - 1].seconds <= b.next);
    }
done:
    return status;
}

/* ---- One product ---- */

/* Rank 0's list of everything; the others bring nothing. */
static clv_status list_all(clvi_space *space, clvi_item **items, int64_t *nitems)
{
    clvi_code *codes = NULL;
    *items = NULL;
    *nitems = 0;
    if (clv_grid_rank(clvi_space_problem(space)->grid) != 0) return CLV_OK;
    clv_status status = CLV_OK;
    int64_t count = clvi_space_list(space, NULL);
    *items = calloc((size_t)count, sizeof **items);
    codes = calloc((size_t)count, sizeof *codes);
    CLVI_CHECK(*items && codes, CLV_ENOMEM, "%lld candidates", (long long)count);
    *nitems = clvi_space_list(space, codes);
    for (int64_t i = 0; i < count; i++)
        (*items)[i] = (clvi_item){.bound = clvi_space_seconds(space, codes[i], 0),
                                  .codes = {codes[i], CLVI_NONE, CLVI_NONE}};
done:
    free(codes);
    return status;
}

/* CLV_ENOMEM with what the most frugal way needs, and on which process. Collective. */
static clv_status refuse(clvi_space *space, const clvi_least *least)
{
    const clvi_problem *p = clvi_space_problem(space);
    clvi_candidate c = clvi_space_candidate(space, least->item.codes[0]);
    bool mine = (double)memory_of(p, &c, CLVI_PANELS) == least->bytes;
    double rank = mine ? clv_grid_rank(p->grid) : clv_grid_size(p->grid);
    clv_status status = clv_grid_reduce(p->grid, CLV_MIN, 1, &rank);
    if (status != CLV_OK) return status;
    return clvi_fail(CLV_ENOMEM,
                     "product %lld x %lld x %lld: %llu bytes of workspace allowed a process, the "
                     "cheapest plan needs %.0f on rank %.0f",
                     (long long)p->given[CLVI_C].m, (long long)p->given[CLVI_C].n,
                     (long long)p->given[CLVI_A].n, (unsigned long long)p->options->memory,
                     least->bytes, rank);
}

/* In how many panels what comes from other nodes comes soonest: all but the first travel while
 * another is multiplied, so P panels hide all but net / P seconds and cost what each adds: most is
 * gained with sqrt(net / added). None is so thin that the product gets slower. */
static double wanted_panels(clvi_space *space, clvi_code code)
{
    enum { THINNEST = 256 }; /* of k, or of the dimension that panels cut in reproducible mode */
    const clvi_problem *p = clvi_space_problem(space);
    clvi_candidate c = clvi_space_candidate(space, code);
    int rank = clv_grid_rank(p->grid);
    clvi_volume net = {0};
    for (int i = CLVI_A; i <= CLVI_B; i++) {
        clvi_volume volume = clvi_move_volume(p->grid, p->given[i], c.specs[i], rank);
        net.bytes += volume.net;
        net.net += volume.net;
    }
    if (net.net == 0) return 1;
    double added = clvi_space_panel(space, code);
    clv_block a = clv_spec_block(p->grid, c.specs[CLVI_A], rank);
    clv_block b = clv_spec_block(p->grid, c.specs[CLVI_B], rank);
    double thin = clv_grid_leaves(p->grid) ? fmin((double)a.m, (double)b.n) : (double)a.n;
    double most = thin / THINNEST;
    double panels = sqrt(clvi_cost_messages(&p->options->machine, net) / fmax(added, 1e-9));
    return floor(fmax(1, fmin(fmin(panels, most), CLVI_PANELS)));
}

/* Pieces are rounded up to cache lines, so that more panels can need a little more than fewer: the
 * next number with which every process keeps to the memory, else one between `least` and the one
 * that was wanted. Collective. */
static clv_status fit(const clvi_problem *p, int least, clvi_candidate *c)
{
    double cap = (double)p->options->memory, needed = INFINITY;
    int wanted = c->panels;
    for (int i = 0; cap > 0 && i <= CLVI_PANELS - least; i++) {
        bool more = wanted + i <= CLVI_PANELS;
        c->panels = more ? wanted + i : least + (wanted + i - CLVI_PANELS - 1);
        double bytes = (double)clvi_product_memory(p, c);
        clv_status status = clv_grid_reduce(p->grid, CLV_MAX, 1, &bytes);
        if (status != CLV_OK || bytes <= cap) return status;
        needed = fmin(needed, bytes);
    }
    if (cap == 0) return CLV_OK;
    return clvi_fail(CLV_ENOMEM,
                     "product: %.0f bytes of workspace allowed a process, the cheapest plan needs "
                     "%.0f",
                     cap, needed);
}

/* The number of panels: what the memory asks for, and more where they hide what travels.
 * Collective. */
static clv_status set_panels(clvi_space *space, int count, const clvi_found found[],
                             clvi_candidate few[])
{
    double panels[CLVI_FEW];
    for (int i = 0; i < count; i++) panels[i] = wanted_panels(space, found[i].item.codes[0]);
    clv_status status = clv_grid_reduce(clvi_space_problem(space)->grid, CLV_MAX, count, panels);
    for (int i = 0; i < count && status == CLV_OK; i++) {
        few[i].panels = (int)fmax(panels[i], (double)found[i].panels);
        status = fit(clvi_space_problem(space), found[i].panels, &few[i]);
    }
    return status;
}

/* The most workspace of any process. Collective. */
static clv_status fill_memory(const clvi_problem *p, int count, clvi_candidate few[])
{
    double bytes[CLVI_FEW];
    for (int i = 0; i < count; i++) bytes[i] = (double)clvi_product_memory(p, &few[i]);
    clv_status status = clv_grid_reduce(p->grid, CLV_MAX, count, bytes);
    for (int i = 0; i < count && status == CLV_OK; i++) {
        few[i].memory = (uint64_t)bytes[i];
        if (bytes[i] >= (double)UINT64_MAX) /* on a process that could not even draw it */
            status = clvi_fail(CLV_ENOMEM, "the plan of a product");
    }
    return status;
}

clv_status clvi_choose_few(clvi_space *space, int most, clvi_candidate few[], int *count)
{
    clv_status status;
    const clvi_problem *p = clvi_space_problem(space);
    clvi_item *items;
    int64_t nitems;
    clvi_found found[CLVI_FEW];
    clvi_least least;
    status = list_all(space, &items, &nitems);
    CLVI_TRY(clvi_search(status, 1, &space, nitems, items, most, found, count, &least));
    if (*count == 0) CLVI_TRY(refuse(space, &least));
    for (int i = 0; i < *count; i++) {
        few[i] = clvi_space_candidate(space, found[i].item.codes[0]);
        few[i].seconds = found[i].seconds;
    }
    CLVI_TRY(set_panels(space, *count, found, few));
    CLVI_TRY(fill_memory(p, *count, few));
done:
    free(items);
    return status;
}

static clv_status measure_few(const clvi_problem *p, int count, const clvi_candidate few[],
                              int *fastest)
{
    clvi_team teams[CLVI_FEW];
    for (int i = 0; i < count; i++)
        teams[i] = (clvi_team){.count = 1, .problems = {p}, .ways = {few[i]}};
    return clvi_measure(count, teams, fastest);
}

clv_status clvi_choose(const clvi_problem *problem, clvi_candidate *best)
{
    clv_status status;
    clvi_space *space = NULL;
    clvi_candidate few[CLVI_FEW];
    int count = 0, fastest = 0;
    bool measure = problem->options->measure;
    CLVI_TRY(clv_grid_agree(problem->grid, clvi_space_create(problem, &space)));
    CLVI_TRY(clvi_choose_few(space, measure ? CLVI_FEW : 1, few, &count));
    if (measure && count > 1) CLVI_TRY(measure_few(problem, count, few, &fastest));
    *best = few[fastest];
done:
    clvi_space_destroy(&space);
    return status;
}
