/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cyclic.c: block-cyclic matrices against the definition of a descriptor, element by element: every
 * layout to and from any blocks on any process grid, the bytes that move, and what is not copied.
 *
 * The reference asks of each global element which process and which place ScaLAPACK gives it
 * (its tool functions INDXG2P and INDXG2L); the library counts indices and walks along runs.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "../reference.h"
#include "polite.h"

#include <clvi_scalapack.h>

static const char *const grids[9][2] = {
    {NULL, NULL},       {"a=1", "a=1,b=1"}, {"a=2", "a=1,b=2"},
    {"a=3", "a=3,b=1"}, {"a=4", "a=2,b=2"}, {"a=5", "a=1,b=5"},
    {"a=6", "a=3,b=2"}, {"a=7", "a=7,b=1"}, {"a=8", "a=2,b=2,c=2"}};

static clv_grid *open_grid(const char *text)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, text, &grid));
    return grid;
}

/* ---- The reference ------------------------------------------------------------ */

typedef struct {
    int64_t m, n, mb, nb; /* as the descriptor counts */
    int p, q, row0, col0;
    bool transposed;
    int ranks[8];
} dealing;

static int ref_process(int64_t g, int64_t block, int first, int parts)
{
    return (int)((first + g / block) % parts);
}
static int64_t ref_local(int64_t g, int64_t block, int parts)
{
    return g / (block * parts) * block + g % block;
}

/* The rank that has element (i, j) of the descriptor's matrix. */
static int ref_owner(const dealing *d, int64_t i, int64_t j)
{
    return d
        ->ranks[ref_process(i, d->mb, d->row0, d->p) + ref_process(j, d->nb, d->col0, d->q) * d->p];
}

/* Whether the part holds the matrix called key and nothing else was written. */
static void check_part(const clv_cyclic *cyclic, const dealing *d, clv_dtype dtype, uint64_t key)
{
    clv_cyclic_part part = clv_cyclic_mine(cyclic);
    int64_t mine = 0, wrong = 0;
    for (int64_t i = 0; i < d->m; i++)
        for (int64_t j = 0; j < d->n; j++) {
            if (ref_owner(d, i, j) != check_rank()) continue;
            int64_t li = ref_local(i, d->mb, d->p), lj = ref_local(j, d->nb, d->q);
            double want = d->transposed ? ref_value(key, j, i) : ref_value(key, i, j);
            mine++;
            wrong += li >= part.m || lj >= part.n || clv_cyclic_row(cyclic, li) != i ||
                     clv_cyclic_col(cyclic, lj) != j ||
                     clvi_get(dtype, part.data, li + lj * part.ld) != want;
        }
    CHECK_INT(wrong, 0);
    CHECK_INT(part.m * part.n, mine);
}

/* Bytes that this process lacks: elements of its part that are not in its block, or of its block
 * that are not in its part. */
static int64_t ref_lacks(clv_grid *grid, clv_spec spec, const dealing *d, bool of_part)
{
    int64_t count = 0;
    ref_rect r = ref_block(grid, spec, check_rank());
    for (int64_t i = 0; i < spec.m; i++)
        for (int64_t j = 0; j < spec.n; j++) {
            bool in_block = i >= r.row0 && i < r.row1 && j >= r.col0 && j < r.col1;
            int owner = d->transposed ? ref_owner(d, j, i) : ref_owner(d, i, j);
            count += in_block != (owner == check_rank()) && in_block != of_part;
        }
    return count * (int64_t)clv_dtype_size(spec.dtype);
}

/* ---- Conversions ----------------------------------------------------------------- */

static clv_cyclic_config config_of(const dealing *d, clv_dtype dtype)
{
    return (clv_cyclic_config){.m = d->m,
                               .n = d->n,
                               .mb = d->mb,
                               .nb = d->nb,
                               .p = d->p,
                               .q = d->q,
                               .row0 = d->row0,
                               .col0 = d->col0,
                               .ranks = d->ranks,
                               .dtype = dtype,
                               .transposed = d->transposed};
}

/* Guarded memory for this process's part, pad elements longer than its columns. */
typedef struct {
    unsigned char *memory;
    size_t bytes, element;
    int64_t m, n, ld;
} room;

static room make_room(const dealing *d, size_t element, int64_t pad)
{
    room r = {.element = element};
    for (int64_t i = 0; i < d->m; i++)
        for (int e = 0; e < d->p * d->q; e++)
            r.m += d->ranks[e] == check_rank() && ref_process(i, d->mb, d->row0, d->p) == e % d->p;
    for (int64_t j = 0; j < d->n; j++)
        for (int e = 0; e < d->p * d->q; e++)
            r.n += d->ranks[e] == check_rank() && ref_process(j, d->nb, d->col0, d->q) == e / d->p;
    r.ld = r.m + pad > 0 ? r.m + pad : 1;
    r.bytes = (size_t)(r.ld * r.n) * element;
    r.memory = malloc(r.bytes + 1);
    memset(r.memory, REF_GUARD, r.bytes + 1);
    return r;
}

static void check_room(const room *r)
{
    int64_t wrong = 0;
    for (size_t i = 0; i < r->bytes; i++)
        if (i / r->element % (size_t)r->ld >= (size_t)r->m) wrong += r->memory[i] != REF_GUARD;
    CHECK_INT(wrong, 0);
    free(r->memory);
}

static void enter(const clv_grid *grid, clv_spec spec, const dealing *d)
{
    static char text[200];
    char of[96];
    snprintf(text, sizeof text, "%s and %lld x %lld in %lld x %lld on %d x %d%s",
             clvi_spec_format(grid, spec, of, sizeof of), (long long)d->m, (long long)d->n,
             (long long)d->mb, (long long)d->nb, d->p, d->q, d->transposed ? " transposed" : "");
    check_enter(text, check_rank());
}

/* There and back: values, bytes, guards. */
static void check_conversion(clv_grid *grid, clv_spec spec, const dealing *d, int64_t pad)
{
    clv_cyclic *cyclic = NULL;
    clv_cyclic_plan *plan = NULL;
    clv_cyclic_config config = config_of(d, spec.dtype);
    double *whole = calloc((size_t)(spec.m * spec.n + 1), sizeof *whole);
    room space = make_room(d, clv_dtype_size(spec.dtype), pad);
    enter(grid, spec, d);
    ref_matrix A = ref_wrap(grid, spec, pad), B = ref_wrap(grid, spec, 0);
    ref_fill(A.matrix, 7, false);
    ref_fill_with(B.matrix, NAN);
    ref_whole(spec.m, spec.n, 7, whole);
    CHECK_OK(clv_cyclic_wrap(grid, &config, space.memory, space.ld, &cyclic));
    CHECK_OK(clv_plan_cyclic(A.matrix, cyclic, &plan));
    for (int round = 0; round < 2; round++) { /* planned once, executed twice */
        clv_grid_traffic_reset(grid);
        CHECK_OK(clv_cyclic_from(plan, A.matrix, cyclic));
        check_part(cyclic, d, spec.dtype, 7);
        CHECK_INT((long long)clv_grid_traffic(grid).bytes_received,
                  (long long)clv_cyclic_from_bytes(plan));
        if (!spec.layout.sum)
            CHECK_INT((long long)clv_cyclic_from_bytes(plan), ref_lacks(grid, spec, d, true));
        clv_grid_traffic_reset(grid);
        CHECK_OK(clv_cyclic_to(plan, cyclic, B.matrix));
        CHECK_INT(ref_wrong(B.matrix, whole, 1, 0), 0);
        CHECK_INT((long long)clv_grid_traffic(grid).bytes_received,
                  (long long)clv_cyclic_to_bytes(plan));
        if (!spec.layout.sum)
            CHECK_INT((long long)clv_cyclic_to_bytes(plan), ref_lacks(grid, spec, d, false));
    }
    clv_cyclic_plan_destroy(&plan);
    clv_cyclic_destroy(&cyclic);
    ref_free(&A);
    ref_free(&B);
    check_room(&space);
    free(whole);
}

/* Any blocks on one of a few process grids, p x q of the ranks in any order: making a context is
 * slow where ranks share cores. */
static dealing some_dealing(int64_t m, int64_t n, uint64_t *state)
{
    enum { ARRANGEMENTS = 5 };
    int size = check_size();
    uint64_t which = 40 + (uint64_t)check_random_below(state, ARRANGEMENTS);
    dealing d = {.transposed = check_random_below(state, 2)};
    d.m = d.transposed ? n : m;
    d.n = d.transposed ? m : n;
    d.mb = 1 + check_random_below(state, 7);
    d.nb = 1 + check_random_below(state, 7);
    d.p = 1 + (int)check_random_below(&which, size);
    d.q = 1 + (int)check_random_below(&which, size / d.p);
    d.row0 = (int)check_random_below(state, d.p);
    d.col0 = (int)check_random_below(state, d.q);
    for (int i = 0; i < size; i++) {
        int j = (int)check_random_below(&which, i + 1);
        d.ranks[i] = d.ranks[j];
        d.ranks[j] = i;
    }
    return d;
}

static clv_spec some_spec(int naxes, uint64_t *state)
{
    static const int64_t extents[] = {0, 1, 2, 5, 8, 13, 17, 24, 31};
    enum { EXTENTS = sizeof extents / sizeof *extents };
    return (clv_spec){.m = extents[check_random_below(state, EXTENTS)],
                      .n = extents[check_random_below(state, EXTENTS)],
                      .m_unit = check_random_below(state, 3),
                      .n_unit = check_random_below(state, 3),
                      .dtype = check_random_below(state, 2) ? CLV_F64 : CLV_F32,
                      .layout = ref_random_layout(naxes, state)};
}

static void every_layout_both_ways(void)
{
    clv_grid *grid = open_grid(grids[check_size()][0]);
    clv_layout layouts[REF_LAYOUTS];
    uint64_t state = 1;
    int count = ref_all_layouts(1, layouts);
    for (int i = 0; i < 5 * count; i++) {
        clv_spec spec = {
            .m = 17, .n = 13, .dtype = i % 2 ? CLV_F32 : CLV_F64, .layout = layouts[i % count]};
        dealing d = some_dealing(spec.m, spec.n, &state);
        check_conversion(grid, spec, &d, i % 3);
    }
    clv_grid_destroy(&grid);
}

static void random_layouts_both_ways(void)
{
    clv_grid *grid = open_grid(grids[check_size()][1]);
    uint64_t state = 2;
    for (int i = 0; i < 40; i++) {
        clv_spec spec = some_spec(clv_grid_naxes(grid), &state);
        dealing d = some_dealing(spec.m, spec.n, &state);
        check_conversion(grid, spec, &d, i % 3);
    }
    clv_grid_destroy(&grid);
}

/* Every bit pattern survives: NaNs with a payload, -0, denormals. */
static void bits_are_kept(void)
{
    clv_grid *grid = open_grid(grids[check_size()][0]);
    for (int dtype = CLV_F32; dtype <= CLV_F64; dtype++)
        for (int transposed = 0; transposed < 2; transposed++) {
            clv_spec spec = {.m = 19, .n = 11, .dtype = (clv_dtype)dtype, .layout.rows = 1};
            clv_matrix *A = NULL, *B = NULL;
            clv_cyclic *cyclic = NULL;
            clv_cyclic_plan *plan = NULL;
            clv_cyclic_config config = {.m = transposed ? 11 : 19,
                                        .n = transposed ? 19 : 11,
                                        .mb = 2,
                                        .nb = 3,
                                        .dtype = spec.dtype,
                                        .transposed = transposed};
            CHECK_OK(clv_matrix_create(grid, spec, &A));
            CHECK_OK(clv_matrix_create(grid, spec, &B));
            clv_block a = clv_matrix_block(A), b = clv_matrix_block(B);
            uint64_t state = (uint64_t)check_rank();
            size_t bytes = (size_t)(a.m * a.n) * clv_dtype_size(spec.dtype);
            for (size_t i = 0; i < bytes; i++)
                ((unsigned char *)a.data)[i] = (unsigned char)check_random(&state);
            CHECK_OK(clv_cyclic_create(grid, &config, &cyclic));
            CHECK_OK(clv_plan_cyclic(A, cyclic, &plan));
            CHECK_OK(clv_cyclic_from(plan, A, cyclic));
            CHECK_OK(clv_cyclic_to(plan, cyclic, B));
            CHECK(memcmp(a.data, b.data, bytes) == 0);
            CHECK_INT(clv_cyclic_plan_memory(plan) > 0, check_size() > 1);
            clv_cyclic_plan_destroy(&plan);
            clv_cyclic_destroy(&cyclic);
            clv_matrix_destroy(&A);
            clv_matrix_destroy(&B);
        }
    clv_grid_destroy(&grid);
}

/* ---- Descriptors -------------------------------------------------------------------- */

static void descriptors_say_it(void)
{
    clv_grid *grid = open_grid(grids[check_size()][0]);
    int q = check_size() > 2 ? check_size() - 1 : check_size(), rank = check_rank();
    clv_cyclic_config config = {
        .m = 9, .n = 20, .mb = 4, .nb = 2, .p = 1, .q = q, .col0 = q - 1, .dtype = CLV_F64};
    clv_cyclic *cyclic = NULL, *again = NULL, *wrapped = NULL;
    CHECK_OK(clv_cyclic_create(grid, &config, &cyclic));
    const int *desc = clv_cyclic_desc(cyclic);
    const int want[] = {1, -1, 9, 20, 4, 2, 0, q - 1, rank < q ? 9 : 1};
    CHECK_INT(desc[1] >= 0, rank < q);
    for (int i = 0; i < 9; i++)
        if (i != 1) CHECK_INT(desc[i], want[i]);
    CHECK_INT(clv_cyclic_mine(cyclic).row, rank < q ? 0 : -1);
    CHECK_INT(clv_cyclic_mine(cyclic).col, rank < q ? rank : -1);
    CHECK_OK(clv_cyclic_create(grid, &config, &again)); /* one context serves both */
    CHECK_INT(clv_cyclic_desc(again)[1], desc[1]);

    /* From the descriptor alone, as another program's; rubbish outside of its context. */
    int other[9] = {rank, -1, rank, -rank, 0, 0, 7, rank, -1};
    if (rank < q) memcpy(other, desc, sizeof other);
    void *data = clv_cyclic_mine(cyclic).data;
    CHECK_OK(clv_cyclic_wrap_desc(grid, other, CLV_F64, false, data, &wrapped));
    CHECK(wrapped->ranks[q - 1] == q - 1 && wrapped->cols.first == q - 1);
    CHECK(memcmp(clv_cyclic_desc(wrapped), desc, sizeof other) == 0);
    if (rank < q) CHECK(clv_cyclic_mine(wrapped).data == data);
    CHECK_INT(clv_cyclic_mine(wrapped).n, clv_cyclic_mine(cyclic).n);
    int64_t a[CLVI_CYCLIC_VALUES], b[CLVI_CYCLIC_VALUES];
    clvi_cyclic_values(cyclic, a);
    clvi_cyclic_values(wrapped, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    clv_cyclic_destroy(&wrapped);
    other[1] = -1;
    CHECK_STATUS(clv_cyclic_wrap_desc(grid, other, CLV_F64, false, data, &wrapped), CLV_EARG);
    if (rank < q) memcpy(other, desc, sizeof other);
    if (rank == q - 1) other[4]++;
    CHECK_STATUS(clv_cyclic_wrap_desc(grid, other, CLV_F64, false, data, &wrapped),
                 q > 1 ? CLV_EMISMATCH : CLV_OK);
    clv_cyclic_destroy(&wrapped);
    clv_cyclic_destroy(&again);
    clv_cyclic_destroy(&cyclic);
    clv_grid_destroy(&grid);
}

/* Processes by axes of the grid: those not named at coordinate 0. */
static void axes_make_the_process_grid(void)
{
    clv_grid *grid = open_grid(grids[check_size()][1]);
    clv_cyclic_config config = {
        .m = 10, .n = 12, .mb = 2, .nb = 3, .row_axes = 2, .col_axes = 1, .dtype = CLV_F32};
    clv_cyclic *cyclic = NULL;
    int p = clv_grid_naxes(grid) > 1 ? clv_grid_axis(grid, 1).size : 1;
    if (clv_grid_naxes(grid) > 1) {
        CHECK_OK(clv_cyclic_create(grid, &config, &cyclic));
        CHECK_INT(cyclic->rows.parts, p);
        CHECK_INT(cyclic->cols.parts, clv_grid_axis(grid, 0).size);
        bool member = true;
        for (int a = 2; a < clv_grid_naxes(grid); a++)
            member = member && clv_grid_coord(grid, check_rank(), a) == 0;
        clv_cyclic_part part = clv_cyclic_mine(cyclic);
        CHECK_INT(part.row, member ? clv_grid_coord(grid, check_rank(), 1) : -1);
        CHECK_INT(part.col, member ? clv_grid_coord(grid, check_rank(), 0) : -1);
        clv_cyclic_destroy(&cyclic);
    }
    config.row_axes = 1;
    CHECK_STATUS(clv_cyclic_create(grid, &config, &cyclic), CLV_ELAYOUT);
    clv_grid_destroy(&grid);
}

/* The default: as square as it goes, several blocks for each, nobody with next to nothing. */
static void defaults_are_square(void)
{
    static const struct {
        int64_t m, n;
        int processes, p, q, nb;
    } rows[] = {{1000, 1000, 1, 1, 1, 64}, {1000, 1000, 2, 1, 2, 64},  {1000, 1000, 4, 2, 2, 64},
                {1000, 1000, 5, 2, 2, 64}, {1000, 1000, 7, 2, 3, 64},  {1000, 1000, 8, 2, 4, 64},
                {400, 400, 12, 3, 4, 33},  {1000, 1000, 64, 8, 8, 31}, {5, 5, 8, 1, 1, 8},
                {60, 60, 8, 2, 4, 8},      {100000, 10, 6, 6, 1, 10},  {16, 1000, 6, 1, 6, 16},
                {0, 0, 4, 1, 1, 8},        {1, 40, 8, 1, 5, 8}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        clv_cyclic_config c = {.m = rows[i].m, .n = rows[i].n};
        clvi_cyclic_choose(rows[i].processes, &c);
        bool ok = c.p == rows[i].p && c.q == rows[i].q && c.mb == rows[i].nb && c.nb == c.mb;
        if (!CHECK(ok))
            fprintf(stderr, "%lld x %lld on %d: %d x %d, %lld\n", (long long)c.m, (long long)c.n,
                    rows[i].processes, c.p, c.q, (long long)c.mb);
    }
}

/* ---- Without a copy ---------------------------------------------------------------------- */

/* Whether the range that the processes have along a list of axes is, for each, the block of its
 * number. */
static bool is_dealt(clv_grid *grid, int64_t extent, clv_order list)
{
    int64_t begin, end, block;
    ref_interval(grid, extent, 1, list, 0, &begin, &block);
    for (int rank = 0; rank < check_size(); rank++) {
        int64_t number = 0;
        for (clv_order rest = list; rest; rest >>= 4) {
            int axis = (int)(rest & 15) - 1;
            number = number * clv_grid_axis(grid, axis).size + clv_grid_coord(grid, rank, axis);
        }
        int64_t from = number * block < extent ? number * block : extent;
        int64_t to = from + block < extent ? from + block : extent;
        ref_interval(grid, extent, 1, list, rank, &begin, &end);
        if (end - begin != to - from || (end > begin && begin != from)) return false;
    }
    return true;
}

static void views_share_memory(void)
{
    static const char *const jobs[] = {"RC", "CR", "RR", "CC", "R=", "=C", "+R"};
    clv_grid *grid = open_grid(check_size() == 8 ? "a=2,b=4" : grids[check_size()][1]);
    static const int64_t extents[][2] = {{16, 24}, {11, 8}, {7, 5}, {3, 40}, {0, 4}};
    int viewed = 0;
    for (int job = 0; job < 7; job++)
        for (int e = 0; e < 5; e++) {
            clv_spec spec = {.m = extents[e][0],
                             .n = extents[e][1],
                             .dtype = CLV_F64,
                             .layout = ref_layout(2, jobs[job], NULL)};
            int used = ref_set_size(grid, ref_list_set(spec.layout.rows)) *
                       ref_set_size(grid, ref_list_set(spec.layout.cols));
            bool taken = used == check_size() && is_dealt(grid, spec.m, spec.layout.rows) &&
                         is_dealt(grid, spec.n, spec.layout.cols);
            ref_matrix A = ref_wrap(grid, spec, 2);
            clv_cyclic *view = NULL;
            clv_cyclic_plan *plan = NULL;
            ref_fill(A.matrix, 5, false);
            enter(grid, spec, &(dealing){.m = spec.n, .n = spec.m});
            if (CHECK_STATUS(clv_cyclic_view(A.matrix, &view), taken ? CLV_OK : CLV_EUNSUPPORTED) &&
                taken) {
                clv_block block = clv_matrix_block(A.matrix);
                clv_cyclic_part part = clv_cyclic_mine(view);
                CHECK(part.data == block.data && view->transposed);
                CHECK_INT(part.m, block.n);
                CHECK_INT(part.n, block.m);
                CHECK(part.ld == block.ld || block.ld == 0);
                if (block.m > 0 && block.n > 0) {
                    CHECK_INT(clv_cyclic_row(view, 0), block.col0);
                    CHECK_INT(clv_cyclic_col(view, block.m - 1), block.row0 + block.m - 1);
                }
                CHECK_OK(clv_plan_cyclic(A.matrix, view, &plan));
                CHECK_INT((long long)clv_cyclic_from_bytes(plan), 0);
                CHECK_INT((long long)clv_cyclic_to_bytes(plan), 0);
                CHECK_INT((long long)clv_cyclic_plan_memory(plan), 0);
                CHECK_OK(clv_cyclic_from(plan, A.matrix, view)); /* nothing to do */
                double *whole = calloc((size_t)(spec.m * spec.n + 1), sizeof *whole);
                ref_whole(spec.m, spec.n, 5, whole);
                CHECK_INT(ref_wrong(A.matrix, whole, 1, 0), 0);
                free(whole);
                viewed++;
            }
            clv_cyclic_plan_destroy(&plan);
            clv_cyclic_destroy(&view);
            ref_free(&A);
        }
    CHECK(viewed >= 4);
    clv_grid_destroy(&grid);
}

/* ---- What is refused ----------------------------------------------------------------------- */

static clv_status status_of(clv_grid *grid, clv_cyclic_config config)
{
    clv_cyclic *cyclic = NULL;
    clv_status status = clv_cyclic_create(grid, &config, &cyclic);
    CHECK((cyclic != NULL) == (status == CLV_OK));
    clv_cyclic_destroy(&cyclic);
    return status;
}

static void refusals(void)
{
    clv_grid *grid = open_grid(NULL);
    int size = check_size(), twice[8] = {0}, beyond[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    bool last = check_rank() == size - 1;
    clv_cyclic_config c = {.m = 8, .n = 8, .mb = 2, .nb = 2, .p = 1, .q = size, .dtype = CLV_F64};
    clv_cyclic_config x = c;
    CHECK_STATUS(status_of(grid, c), CLV_OK);
    CHECK_STATUS((x.dtype = CLV_BF16, status_of(grid, x)), CLV_EDTYPE);
    CHECK_STATUS((x = c, x.m = -1, status_of(grid, x)), CLV_ESHAPE);
    CHECK_STATUS((x = c, x.nb = 0, status_of(grid, x)), CLV_EARG);
    CHECK_STATUS((x = c, x.q = size + 1, status_of(grid, x)), CLV_EARG);
    CHECK_STATUS((x = c, x.p = 0, status_of(grid, x)), CLV_EARG);
    CHECK_STATUS((x = c, x.p = x.mb = x.nb = 0, status_of(grid, x)), CLV_EARG);
    CHECK(strstr(clv_last_error(), "expected a process grid") != NULL);
    CHECK_STATUS((x = c, x.col0 = size, status_of(grid, x)), CLV_EARG);
    CHECK_STATUS((x = c, x.m = 3000000000, status_of(grid, x)), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "3000000000"));
    CHECK_STATUS((x = c, x.m = 2000000000, x.n = 2 * size, status_of(grid, x)), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "2000000000 x 2"));
    beyond[size - 1] = size;
    CHECK_STATUS((x = c, x.ranks = beyond, status_of(grid, x)), CLV_EARG);
    if (size > 1) {
        CHECK_STATUS((x = c, x.ranks = twice, status_of(grid, x)), CLV_EARG);
        CHECK_STATUS((x = c, x.mb = last ? 3 : 2, status_of(grid, x)), CLV_EMISMATCH);
        beyond[size - 1] = last ? 0 : size - 1;
        beyond[0] = last ? size - 1 : 0;
        CHECK_STATUS((x = c, x.ranks = beyond, status_of(grid, x)), CLV_EMISMATCH);
        CHECK(strstr(clv_last_error(), "ranks (checksum)"));
    }
    clv_grid_destroy(&grid);
}

static void plans_are_refused(void)
{
    clv_grid *grid = open_grid(NULL), *other = open_grid(NULL);
    clv_cyclic_config c = {.m = 8, .n = 6, .dtype = CLV_F64};
    clv_cyclic *cyclic = NULL, *turned = NULL;
    clv_cyclic_plan *plan = NULL;
    clv_matrix *A = NULL, *f32 = NULL, *T = NULL, *there = NULL;
    clv_spec spec = {.m = 8, .n = 6, .dtype = CLV_F64}, t = {.m = 6, .n = 8, .dtype = CLV_F64};
    CHECK_OK(clv_cyclic_create(grid, &c, &cyclic));
    c.transposed = true;
    CHECK_OK(clv_cyclic_create(grid, &c, &turned));
    CHECK_OK(clv_matrix_create(grid, spec, &A));
    CHECK_OK(clv_matrix_create(other, spec, &there));
    CHECK_OK(clv_matrix_create(grid, t, &T));
    spec.dtype = CLV_F32;
    CHECK_OK(clv_matrix_create(grid, spec, &f32));
    CHECK_STATUS(clv_plan_cyclic(T, cyclic, &plan), CLV_ESHAPE);
    CHECK_STATUS(clv_plan_cyclic(A, turned, &plan), CLV_ESHAPE);
    CHECK_STATUS(clv_plan_cyclic(f32, cyclic, &plan), CLV_EDTYPE);
    CHECK_STATUS(clv_plan_cyclic(there, cyclic, &plan), CLV_EARG);
    CHECK_OK(clv_plan_cyclic(A, cyclic, &plan));
    CHECK_STATUS(clv_cyclic_from(plan, T, cyclic), CLV_ESHAPE);
    CHECK_STATUS(clv_cyclic_to(plan, turned, A), CLV_EARG);
    clv_cyclic_plan_destroy(&plan);
    clv_matrix **const made[] = {&A, &f32, &T, &there};
    for (int i = 0; i < 4; i++) clv_matrix_destroy(made[i]);
    clv_cyclic_destroy(&cyclic);
    clv_cyclic_destroy(&turned);
    clv_grid_destroy(&other);
    clv_grid_destroy(&grid);
}

/* ---- Memory that fails on one process only --------------------------------------------------- */

static clv_status make_all(clv_matrix *matrix, const int desc[9], void *data)
{
    clv_status status;
    clv_grid *grid = clv_matrix_grid(matrix);
    clv_cyclic_config config = {.m = 9, .n = 7, .mb = 2, .nb = 2, .dtype = CLV_F64};
    clv_cyclic *cyclic = NULL, *wrapped = NULL;
    clv_cyclic_plan *plan = NULL;
    CLVI_TRY(clv_cyclic_create(grid, &config, &cyclic));
    CLVI_TRY(clv_cyclic_wrap_desc(grid, desc, CLV_F64, false, data, &wrapped));
    CLVI_TRY(clv_plan_cyclic(matrix, cyclic, &plan));
    int64_t live = clvi_alloc_live();
    clvi_alloc_fail_at(1); /* executing does not allocate */
    CHECK_OK(clv_cyclic_from(plan, matrix, cyclic));
    CHECK_OK(clv_cyclic_to(plan, cyclic, matrix));
    clvi_alloc_fail_at(0);
    CHECK_INT(clvi_alloc_live(), live);
done:
    CHECK(status == CLV_OK || !cyclic || !wrapped || !plan);
    clv_cyclic_plan_destroy(&plan);
    clv_cyclic_destroy(&cyclic);
    clv_cyclic_destroy(&wrapped);
    return status;
}

static void failing_memory(void)
{
    clv_grid *grid = open_grid(NULL);
    clv_cyclic_config config = {.m = 9, .n = 7, .mb = 2, .nb = 2, .dtype = CLV_F64};
    for (int sums = 0; sums < 2; sums++) {
        clv_matrix *matrix = NULL;
        clv_cyclic *cyclic = NULL;
        clv_spec spec = {.m = 9, .n = 7, .dtype = CLV_F64, .layout.sum = sums};
        CHECK_OK(clv_cyclic_create(grid, &config, &cyclic));
        CHECK_OK(clv_matrix_create(grid, spec, &matrix));
        for (int victim = 0; victim<check_size(); victim += check_size()> 2 ? 3 : 1) {
            int64_t live = clvi_alloc_live();
            clv_status status = CLV_ENOMEM;
            int nth = 0;
            while (status != CLV_OK && ++nth < 100) {
                if (check_rank() == victim) clvi_alloc_fail_at(nth);
                status = make_all(matrix, clv_cyclic_desc(cyclic), clv_cyclic_mine(cyclic).data);
                clvi_alloc_fail_at(0);
                CHECK(status == CLV_OK || status == CLV_ENOMEM);
                CHECK(ref_same(status));
                CHECK_INT(clvi_alloc_live(), live);
            }
            CHECK(status == CLV_OK && nth > 5);
        }
        clv_matrix_destroy(&matrix);
        clv_cyclic_destroy(&cyclic);
    }
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"every layout both ways", every_layout_both_ways},
    {"random layouts both ways", random_layouts_both_ways},
    {"bits are kept", bits_are_kept},
    {"descriptors say it", descriptors_say_it},
    {"axes make the process grid", axes_make_the_process_grid},
    {"defaults are square", defaults_are_square},
    {"views share memory", views_share_memory},
    {"refusals", refusals},
    {"plans are refused", plans_are_refused},
    {"failing memory", failing_memory},
    {0},
};
