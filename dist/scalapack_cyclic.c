/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scalapack_cyclic.c: a matrix as ScaLAPACK holds it: dealt in blocks, by columns, with its
 * descriptor.
 */
#include <clvi_scalapack.h>
#include <stdlib.h>
#include <string.h>

/* ---- Defaults -------------------------------------------------------------------- */

/* Blocks are large enough for BLAS, and several for each process so that the work left is spread to
 * the end; no process gets fewer than LEAST rows or columns, as small matrices only wait. */
enum { LEAST = 8, MOST = 64, BLOCKS_EACH = 4 };

/* The p x q grid in which m/p + n/q is least, which is what a process receives for each column that
 * is eliminated: the squarest for a square matrix, though a few processes be left out. */
static void choose_grid(int processes, int64_t m, int64_t n, int *p, int *q)
{
    double least = 0;
    *p = 0;
    int64_t most_p = clvi_larger(m / LEAST, 1), most_q = clvi_larger(n / LEAST, 1);
    int64_t most = clvi_smaller(processes, clvi_larger(clvi_larger(m, n), 1));
    for (int i = 1; i <= clvi_smaller(most, most_p); i++) {
        int j = (int)clvi_smaller(most / i, most_q);
        double part = (double)m / i + (double)n / j;
        if (*p > 0 && part >= least) continue;
        least = part;
        *p = i;
        *q = j;
    }
}

void clvi_cyclic_choose(int processes, clv_cyclic_config *config)
{
    if (config->p == 0 && config->q == 0)
        choose_grid(processes, config->m, config->n, &config->p, &config->q);
    if (config->mb != 0 || config->nb != 0 || config->p < 1 || config->q < 1) return;
    int64_t each = clvi_larger(config->m / config->p, config->n / config->q) / BLOCKS_EACH;
    int64_t most = clvi_smaller(clvi_larger(clvi_smaller(config->m, config->n), LEAST), MOST);
    config->mb = config->nb = clvi_smaller(clvi_larger(each, LEAST), most);
}

/* ---- Checks ------------------------------------------------------------------------- */

/* Whether ranks[count] are different ranks of the grid. */
static bool are_different(const clv_grid *grid, const int ranks[], int count)
{
    for (int i = 0; i < count; i++) {
        if (ranks[i] < 0 || ranks[i] >= clv_grid_size(grid)) return false;
        for (int j = 0; j < i; j++)
            if (ranks[i] == ranks[j]) return false;
    }
    return true;
}

/* Local: what makes a config valid, its defaults filled in. */
static clv_status check_config(const clv_grid *grid, const clv_cyclic_config *c)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(c->dtype == CLV_F32 || c->dtype == CLV_F64, CLV_EDTYPE,
               "block-cyclic: expected f32 or f64, found %s",
               clv_dtype_name(c->dtype) ? clv_dtype_name(c->dtype) : "an unknown dtype");
    CLVI_CHECK(c->m >= 0 && c->n >= 0, CLV_ESHAPE,
               "block-cyclic: expected extents of at least 0, found %lld x %lld", (long long)c->m,
               (long long)c->n);
    CLVI_CHECK(clvi_larger(c->m, c->n) <= INT32_MAX && clvi_larger(c->mb, c->nb) <= INT32_MAX,
               CLV_ELIMIT,
               "ScaLAPACK counts in 32 bits: expected extents up to %d, found %lld x %lld in "
               "blocks of %lld x %lld",
               INT32_MAX, (long long)c->m, (long long)c->n, (long long)c->mb, (long long)c->nb);
    CLVI_CHECK(c->p > 0 && c->q > 0 && c->p <= clv_grid_size(grid) / c->q, CLV_EARG,
               "block-cyclic: expected a process grid of 1 to %d processes, found %d x %d",
               clv_grid_size(grid), c->p, c->q);
    CLVI_CHECK(c->mb > 0 && c->nb > 0, CLV_EARG,
               "block-cyclic: expected blocks of at least 1 x 1, found %lld x %lld",
               (long long)c->mb, (long long)c->nb);
    CLVI_CHECK(c->row0 >= 0 && c->row0 < c->p && c->col0 >= 0 && c->col0 < c->q, CLV_EARG,
               "block-cyclic: expected the first block at a place of %d x %d, found (%d, %d)", c->p,
               c->q, c->row0, c->col0);
    CLVI_CHECK(!c->ranks || are_different(grid, c->ranks, c->p * c->q), CLV_EARG,
               "block-cyclic: expected %d different ranks below %d", c->p * c->q,
               clv_grid_size(grid));
done:
    return status;
}

/* Local, the same on every process: the process with the first block has most. */
static clv_status check_part(const clv_cyclic *cyclic)
{
    int64_t m = clvi_dealt_count(cyclic->rows, cyclic->rows.first, cyclic->rows.extent);
    int64_t n = clvi_dealt_count(cyclic->cols, cyclic->cols.first, cyclic->cols.extent);
    if (m == 0 || n <= INT32_MAX / m) return CLV_OK;
    return clvi_fail(CLV_ELIMIT,
                     "ScaLAPACK counts in 32 bits: expected at most %d elements a process, found "
                     "%lld x %lld",
                     INT32_MAX, (long long)m, (long long)n);
}

/* ---- Creation ---------------------------------------------------------------------- */

/* The config with its defaults and axes resolved, and its ranks in memory of their own. Local. */
static clv_status resolve(clv_grid *grid, clv_cyclic_config *c, int **ranks)
{
    clv_status status;
    bool by_axes = c->row_axes || c->col_axes;
    *ranks = NULL;
    if (by_axes) {
        clv_layout layout = {.rows = c->row_axes, .cols = c->col_axes};
        CLVI_TRY(clv_layout_check(grid, layout));
        CLVI_CHECK(c->p == 0 && c->q == 0 && !c->ranks, CLV_EARG,
                   "block-cyclic: expected either axes or p, q and ranks, found both");
        c->p = clvi_order_parts(grid, c->row_axes);
        c->q = clvi_order_parts(grid, c->col_axes);
    }
    clvi_cyclic_choose(clv_grid_size(grid), c);
    CLVI_TRY(check_config(grid, c));
    *ranks = clvi_alloc((size_t)(c->p * c->q) * sizeof **ranks);
    CLVI_CHECK(*ranks, CLV_ENOMEM, "%d ranks", c->p * c->q);
    if (by_axes)
        clvi_order_ranks(grid, c->row_axes, c->col_axes, *ranks);
    else
        for (int e = 0; e < c->p * c->q; e++)
            (*ranks)[e] = c->ranks ? c->ranks[e] : e % c->p * c->q + e / c->p;
done:
    return status;
}

/* Where this process is and what it has. */
static void find_part(clv_cyclic *cyclic)
{
    int rank = clv_grid_rank(cyclic->grid), p = cyclic->rows.parts, q = cyclic->cols.parts;
    cyclic->mine = (clv_cyclic_part){.row = -1, .col = -1};
    for (int e = 0; e < p * q; e++) {
        if (cyclic->ranks[e] != rank) continue;
        cyclic->mine.row = e % p;
        cyclic->mine.col = e / p;
        cyclic->mine.m = clvi_dealt_count(cyclic->rows, e % p, cyclic->rows.extent);
        cyclic->mine.n = clvi_dealt_count(cyclic->cols, e / p, cyclic->cols.extent);
    }
    cyclic->mine.ld = clvi_larger(cyclic->mine.m, 1);
}

/* Memory of its own, or the caller's. */
static clv_status find_memory(clv_cyclic *cyclic, bool wrap, void *data, int64_t ld)
{
    clv_cyclic_part *part = &cyclic->mine;
    int rank = clv_grid_rank(cyclic->grid);
    size_t bytes = (size_t)(part->m * part->n) * clv_dtype_size(cyclic->dtype);
    if (!wrap) {
        part->data = cyclic->owned = clvi_alloc(bytes);
        if (part->data) return CLV_OK;
        return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes for its part of a block-cyclic matrix",
                         rank, bytes);
    }
    if (part->row < 0) return CLV_OK;
    if (ld < part->m || ld < 1 || (!data && bytes > 0))
        return clvi_fail(CLV_EARG, "rank %d: expected memory with ld >= %lld, found %s, %lld", rank,
                         (long long)clvi_larger(part->m, 1), data ? "some" : "NULL", (long long)ld);
    if (ld > INT32_MAX / clvi_larger(part->n, 1))
        return clvi_fail(CLV_ELIMIT,
                         "ScaLAPACK counts in 32 bits: expected at most %d elements, rank %d has "
                         "%lld columns %lld apart",
                         INT32_MAX, rank, (long long)part->n, (long long)ld);
    part->data = data;
    part->ld = ld;
    return CLV_OK;
}

void clvi_cyclic_values(const clv_cyclic *c, int64_t values[])
{
    uint64_t hash = 0;
    for (int e = 0; e < c->rows.parts * c->cols.parts; e++)
        hash = (hash ^ (uint64_t)c->ranks[e]) * 0x100000001b3u;
    int64_t all[CLVI_CYCLIC_VALUES] = {c->rows.extent, c->cols.extent, c->rows.block, c->cols.block,
                                       c->rows.parts,  c->cols.parts,  c->rows.first, c->cols.first,
                                       c->dtype,       c->transposed,  (int64_t)hash};
    memcpy(values, all, sizeof all);
}

/* What create and its relations have in common: all but the BLACS context. Collective. */
static clv_status open_cyclic(clv_grid *grid, clv_cyclic_config c, bool wrap, void *data,
                              int64_t ld, clv_cyclic **out)
{
    int64_t values[CLVI_CYCLIC_VALUES] = {0};
    int *ranks = NULL;
    clv_status status;
    *out = NULL;
    CLVI_TRY(resolve(grid, &c, &ranks));
    *out = clvi_alloc(sizeof **out);
    CLVI_CHECK(*out, CLV_ENOMEM, "a block-cyclic matrix");
    **out = (clv_cyclic){.grid = grid,
                         .dtype = c.dtype,
                         .transposed = c.transposed,
                         .rows = {c.m, c.mb, c.p, c.row0},
                         .cols = {c.n, c.nb, c.q, c.col0},
                         .ranks = ranks};
    ranks = NULL;
    CLVI_TRY(check_part(*out));
    find_part(*out);
    clvi_cyclic_values(*out, values);
    CLVI_TRY(find_memory(*out, wrap, data, ld));
done:
    clvi_free(ranks);
    status = clvi_grid_same(grid, status, CLVI_CYCLIC_NAMES, CLVI_CYCLIC_VALUES, values);
    if (status != CLV_OK) clv_cyclic_destroy(out);
    return status;
}

static void describe(clv_cyclic *c, int context)
{
    c->operand = clvi_describe(context, (int64_t[]){c->rows.extent, c->cols.extent},
                               (int64_t[]){c->rows.block, c->cols.block},
                               (int[]){c->rows.first, c->cols.first}, c->mine.data, c->mine.ld);
}

static clv_status create(clv_grid *grid, const clv_cyclic_config *config, bool wrap, void *data,
                         int64_t ld, clv_cyclic **out)
{
    int context;
    clv_status status;
    CLVI_TRY(open_cyclic(grid, *config, wrap, data, ld, out));
    CLVI_TRY(
        clvi_blacs_context(grid, (*out)->rows.parts, (*out)->cols.parts, (*out)->ranks, &context));
    describe(*out, context);
done:
    if (status != CLV_OK) clv_cyclic_destroy(out);
    return status;
}

clv_status clv_cyclic_create(clv_grid *grid, const clv_cyclic_config *config, clv_cyclic **cyclic)
{
    return create(grid, config, false, NULL, 0, cyclic);
}

clv_status clv_cyclic_wrap(clv_grid *grid, const clv_cyclic_config *config, void *data, int64_t ld,
                           clv_cyclic **cyclic)
{
    return create(grid, config, true, data, ld, cyclic);
}

/* ---- From what is already there --------------------------------------------------------- */

/* What the members of a context know and the others have to learn. */
enum { KNOWN = 8 };

/* The entries 2 to 7 of the descriptor and the process grid, from those that have them: a maximum
 * over all. Members that differ are found by whoever does. Collective. */
static clv_status learn(clv_grid *grid, const int desc[9], double known[KNOWN], int place[2])
{
    int p, q;
    clv_status status = CLV_OK;
    double mine[KNOWN];
    bool member = clvi_blacs_place(desc[1], &p, &q, &place[0], &place[1]);
    for (int i = 0; i < 6; i++) mine[i] = member ? desc[2 + i] : -1;
    mine[6] = p;
    mine[7] = q;
    memcpy(known, mine, sizeof mine);
    CLVI_TRY(clv_grid_reduce(grid, CLV_MAX, KNOWN, known));
    if (known[6] <= 0)
        status = clvi_fail(CLV_EARG, "a descriptor: expected a BLACS context, found none");
    else if (member && memcmp(known, mine, sizeof mine) != 0)
        status = clvi_fail(CLV_EMISMATCH, "processes disagree on a descriptor");
    else if (member && desc[0] != 1)
        status = clvi_fail(CLV_EARG, "a descriptor: expected type 1, found %d", desc[0]);
    else if (known[6] * known[7] > clv_grid_size(grid))
        status = clvi_fail(CLV_EARG,
                           "a descriptor: expected a process grid of at most %d processes, found "
                           "%g x %g",
                           clv_grid_size(grid), known[6], known[7]);
    status = clv_grid_agree(grid, status);
done:
    return status;
}

/* ranks[i + j * p] of a context in which this process is at place; places[p * q] is workspace.
 * Collective. */
static clv_status find_ranks(clv_grid *grid, int p, int q, const int place[2], double places[],
                             int ranks[])
{
    clv_status status;
    for (int e = 0; e < p * q; e++)
        places[e] = place[0] + place[1] * p == e && place[0] >= 0 ? clv_grid_rank(grid) : -1;
    CLVI_TRY(clv_grid_reduce(grid, CLV_MAX, p * q, places));
    for (int e = 0; e < p * q; e++) {
        CLVI_CHECK(places[e] >= 0, CLV_EARG,
                   "a descriptor: process (%d, %d) of its context is not in the grid", e % p,
                   e / p);
        ranks[e] = (int)places[e];
    }
done:
    return status;
}

clv_status clv_cyclic_wrap_desc(clv_grid *grid, const int desc[9], clv_dtype dtype, bool transposed,
                                void *data, clv_cyclic **cyclic)
{
    double known[KNOWN], *places = NULL;
    int place[2], *ranks = NULL;
    clv_status status;
    *cyclic = NULL;
    CLVI_TRY(learn(grid, desc, known, place));
    size_t count = (size_t)(known[6] * known[7]);
    places = clvi_alloc(count * sizeof *places);
    ranks = clvi_alloc(count * sizeof *ranks);
    if (!places || !ranks) status = clvi_fail(CLV_ENOMEM, "%zu ranks", count);
    CLVI_TRY(clv_grid_agree(grid, status));
    CLVI_TRY(find_ranks(grid, (int)known[6], (int)known[7], place, places, ranks));
    clv_cyclic_config config = {.m = (int64_t)known[0],
                                .n = (int64_t)known[1],
                                .mb = (int64_t)known[2],
                                .nb = (int64_t)known[3],
                                .row0 = (int)known[4],
                                .col0 = (int)known[5],
                                .p = (int)known[6],
                                .q = (int)known[7],
                                .ranks = ranks,
                                .dtype = dtype,
                                .transposed = transposed};
    CLVI_TRY(open_cyclic(grid, config, true, data, desc[8], cyclic));
    describe(*cyclic, desc[1]);
done:
    clvi_free(places);
    clvi_free(ranks);
    return status;
}

clv_status clv_cyclic_view(clv_matrix *matrix, clv_cyclic **cyclic)
{
    clv_status status = CLV_OK;
    clv_grid *grid = clv_matrix_grid(matrix);
    clv_block block = clv_matrix_block(matrix);
    clv_spec spec = clvi_spec_without_single_axes(grid, clv_matrix_spec(matrix));
    clv_axes used = clv_order_set(spec.layout.rows) | clv_order_set(spec.layout.cols);
    clvi_dealt rows = {0}, cols = {0};
    char text[256];
    *cyclic = NULL;
    if (used != clvi_wide_axes(grid) ||
        !clvi_deal_layout(grid, spec.m, spec.m_unit, spec.layout.rows, &rows) ||
        !clvi_deal_layout(grid, spec.n, spec.n_unit, spec.layout.cols, &cols))
        status = clvi_fail(CLV_EUNSUPPORTED,
                           "block-cyclic: expected every axis to shard rows or columns, into parts "
                           "of one length, only the last shorter; found %s",
                           clvi_spec_format(grid, clv_matrix_spec(matrix), text, sizeof text));
    clv_cyclic_config config = {.m = spec.n,
                                .n = spec.m,
                                .mb = cols.block,
                                .nb = rows.block,
                                .row_axes = spec.layout.cols,
                                .col_axes = spec.layout.rows,
                                .dtype = spec.dtype,
                                .transposed = true};
    if (!used) config.p = config.q = 1; /* no axes to say so */
    CLVI_TRY(clv_grid_agree(grid, status));
    status = create(grid, &config, true, block.data, clvi_larger(block.ld, 1), cyclic);
done:
    return status;
}

void clv_cyclic_destroy(clv_cyclic **cyclic)
{
    if (!cyclic || !*cyclic) return;
    clvi_free((*cyclic)->owned);
    clvi_free((*cyclic)->ranks);
    clvi_free(*cyclic);
    *cyclic = NULL;
}

const int *clv_cyclic_desc(const clv_cyclic *cyclic)
{
    return cyclic->operand.desc;
}
clv_cyclic_part clv_cyclic_mine(const clv_cyclic *cyclic)
{
    return cyclic->mine;
}
int64_t clv_cyclic_row(const clv_cyclic *cyclic, int64_t i)
{
    return clvi_dealt_global(cyclic->rows, cyclic->mine.row, i);
}
int64_t clv_cyclic_col(const clv_cyclic *cyclic, int64_t j)
{
    return clvi_dealt_global(cyclic->cols, cyclic->mine.col, j);
}
