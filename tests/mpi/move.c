/* SPDX-License-Identifier: BSD-3-Clause
 *
 * move.c: the same matrix in another layout: every cell of the table, every pair of layouts over
 * one, two and three axes, against the global matrix that each rank works out for itself; and
 * the bytes that moved against closed forms.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include "../reference.h"

static const char *const one_axis[] = {"a=%d", NULL};
static const char *const two_axes[9][3] = {
    {0}, {"a=1,b=1"},           {"a=2,b=1"}, {0}, {"a=2,b=2"}, {0}, {"a=3,b=2", "a=2,b=3"},
    {0}, {"a=2,b=4", "a=4,b=2"}};
static const char *const three_axes[9][2] = {
    {0}, {"a=1,b=1,c=1"}, {0}, {0}, {"a=2,b=1,c=2"}, {0}, {"a=1,b=3,c=2"}, {0}, {"a=2,b=2,c=2"}};

static clv_grid *open_grid(const char *text)
{
    clv_grid *grid = NULL;
    char sized[32];
    snprintf(sized, sizeof sized, text, check_size());
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, sized, &grid));
    return grid;
}

/* What a pair of layouts is tried with. */
typedef struct {
    int64_t m, n;
    int64_t src_units[2], dst_units[2];
    clv_dtype dtype;
    double alpha, beta;
    int64_t src_pad, dst_pad; /* ld - columns */
} setting;

static const setting settings[] = {
    {7, 17, {0, 0}, {0, 0}, CLV_F32, 1, 0, 0, 0},  {5, 3, {1, 1}, {1, 1}, CLV_F64, 2, -3, 1, 3},
    {17, 7, {2, 1}, {1, 3}, CLV_BF16, 1, 1, 2, 0}, {16, 24, {3, 2}, {3, 2}, CLV_F32, -1, 2, 0, 1},
    {1, 17, {1, 2}, {1, 2}, CLV_F64, 1, 0, 3, 2},  {17, 1, {3, 1}, {2, 1}, CLV_F32, 0, 2, 0, 0},
    {0, 17, {0, 0}, {0, 0}, CLV_F32, 1, 0, 0, 0},  {7, 17, {1, 1}, {2, 3}, CLV_I32, 1, 0, 1, 1},
    {17, 5, {1, 1}, {1, 1}, CLV_BF16, 1, 0, 0, 2}, {1, 1, {0, 0}, {0, 0}, CLV_F64, 3, 1, 0, 0},
    {5, 0, {1, 1}, {1, 1}, CLV_F64, 1, 1, 1, 0},
};
enum { SETTINGS = sizeof settings / sizeof *settings, FULL = 4, ELEMENTS = 24 * 17 };

static clv_spec spec_of(const setting *s, const int64_t units[2], clv_layout layout)
{
    return (clv_spec){s->m, s->n, units[0], units[1], s->dtype, layout};
}

static uint64_t received(const clv_grid *grid)
{
    return clv_grid_traffic(grid).bytes_received;
}

/* The intermediate layout of an all-reduce: the axis scatters rows where every process would
 * get some, else columns. */
static clv_spec scattered(const clv_grid *grid, clv_spec spec, int axis)
{
    int64_t unit = spec.m_unit ? spec.m_unit : 1, units = (spec.m + unit - 1) / unit;
    int parts = ref_set_size(grid, ref_list_set(spec.layout.rows) | 1u << axis);
    clv_order *list = units >= parts ? &spec.layout.rows : &spec.layout.cols;
    *list = clv_order_append(*list, axis);
    return spec;
}

/* list with those axes of `more` that are in set, innermost. */
static clv_order with(clv_order list, clv_order more, clv_axes set)
{
    for (; more; more >>= 4)
        if (set >> ((more & 15) - 1) & 1) list = clv_order_append(list, (int)(more & 15) - 1);
    return list;
}

/* Elements that I take from others when each of dst is the sum of all terms in src. */
static int64_t taken(const clv_grid *grid, clv_spec src, clv_spec dst)
{
    clv_axes own = ref_copies(grid, src.layout) | (src.layout.sum & dst.layout.sum);
    int64_t elements = 0;
    for (int from = 0; from < check_size(); from++) {
        bool near = from != check_rank();
        for (int a = 0; a < clv_grid_naxes(grid); a++)
            if (own >> a & 1)
                near =
                    near && clv_grid_coord(grid, from, a) == clv_grid_coord(grid, check_rank(), a);
        if (near)
            elements +=
                ref_area(ref_meet(ref_block(grid, src, from), ref_block(grid, dst, check_rank())));
    }
    return elements;
}

/* Elements received by any move. What ends a sum comes first, into the finest layout on the way:
 * every axis that ends in copies still cuts there. An axis that becomes a sum keeps its part; of
 * copies that become a sum, coordinate 0 keeps its own. */
static int64_t received_by_move(const clv_grid *grid, clv_spec src, clv_spec dst)
{
    clv_axes ended = src.layout.sum & ~dst.layout.sum, begun = dst.layout.sum & ~src.layout.sum;
    clv_axes copied = ref_copies(grid, dst.layout), silent = begun & ref_copies(grid, src.layout);
    for (int a = 0; a < clv_grid_naxes(grid); a++)
        if ((silent >> a & 1) && clv_grid_coord(grid, check_rank(), a) != 0) return 0;
    dst.layout.rows = with(dst.layout.rows, src.layout.rows, begun);
    dst.layout.cols = with(dst.layout.cols, src.layout.cols, begun);
    dst.layout.sum &= src.layout.sum;
    if (!ended) return taken(grid, src, dst);
    clv_spec middle = dst;
    middle.layout.rows = with(middle.layout.rows, src.layout.rows, copied);
    middle.layout.cols = with(middle.layout.cols, src.layout.cols, copied);
    for (int a = 0; a < clv_grid_naxes(grid); a++)
        if (ended >> a & copied >> a & 1) middle = scattered(grid, middle, a);
    return taken(grid, src, middle) + taken(grid, middle, dst);
}

/* The bytes of a move: as defined; where no sums are pending, what of my new block is not in my
 * old one; and never more than all terms of my new block. */
static void check_bytes(const clv_grid *grid, clv_spec src, clv_spec dst, uint64_t bytes)
{
    ref_rect to = ref_block(grid, dst, check_rank());
    ref_rect own = ref_meet(to, ref_block(grid, src, check_rank()));
    int64_t size = (int64_t)clv_dtype_size(src.dtype);
    int terms = ref_set_size(grid, src.layout.sum & ~dst.layout.sum);
    CHECK_INT((long long)bytes, received_by_move(grid, src, dst) * size);
    CHECK((int64_t)bytes <= terms * ref_area(to) * size);
    if (!src.layout.sum && !dst.layout.sum)
        CHECK_INT((long long)bytes, (ref_area(to) - ref_area(own)) * size);
}

/* Integers are not added. */
static bool can_move(const setting *s, clv_spec src, clv_spec dst)
{
    return s->dtype != CLV_I32 || (!src.layout.sum && !dst.layout.sum);
}

/* dst holds the matrix called 2, or what may not be read. */
static void prepare(const setting *s, clv_matrix *dst)
{
    ref_fill(dst, 2, false);
    if (s->beta == 0) ref_fill_with(dst, s->dtype == CLV_I32 ? 999 : NAN);
}

/* dst := alpha src + beta dst, twice by one plan. old is what dst holds at first. */
static void check_move(const setting *s, const clv_matrix *src, clv_matrix *dst,
                       const double *value, const double *old)
{
    clv_grid *grid = clv_matrix_grid(src);
    static double want[ELEMENTS];
    clv_plan *plan = NULL;
    if (!CHECK_OK(clv_plan_move(src, dst, NULL, &plan))) return;
    uint64_t bytes = clv_plan_bytes(plan);
    for (int64_t e = 0; e < s->m * s->n; e++) want[e] = old[e];
    prepare(s, dst);
    for (int round = 0; round < 2; round++) {
        uint64_t before = received(grid);
        for (int64_t e = 0; e < s->m * s->n; e++)
            want[e] = s->alpha * value[e] + (s->beta == 0 ? 0 : s->beta * want[e]);
        CHECK_OK(clv_execute_move(plan, s->alpha, src, s->beta, dst));
        CHECK_INT(ref_wrong(dst, want, 1, 0), 0);
        CHECK_INT((long long)(received(grid) - before), (long long)bytes);
    }
    clv_plan_destroy(&plan);
    CHECK(plan == NULL);
    CHECK_INT(
        (long long)clvi_move_volume(grid, clv_matrix_spec(src), clv_matrix_spec(dst), check_rank())
            .bytes,
        (long long)bytes);
}

/* Names the pair, so that a failed check says which one it was. */
static void enter(const clv_grid *grid, clv_spec src, clv_spec dst)
{
    static char text[256];
    char from[96], to[96];
    snprintf(text, sizeof text, "%s (%lld, %lld) -> %s (%lld, %lld)",
             clvi_spec_format(grid, src, from, sizeof from), (long long)src.m_unit,
             (long long)src.n_unit, clvi_spec_format(grid, dst, to, sizeof to),
             (long long)dst.m_unit, (long long)dst.n_unit);
    check_enter(text, check_rank());
}

/* Everything that was sent has been received, over all ranks. */
static void check_balance(const clv_grid *grid)
{
    clv_traffic t = clv_grid_traffic(grid);
    double total[] = {(double)t.bytes_sent - (double)t.bytes_received,
                      (double)t.messages_sent - (double)t.messages_received};
    ref_sum(total, 2);
    CHECK_INT((long long)total[0], 0);
    CHECK_INT((long long)total[1], 0);
}

/* One source to every destination by the engine below the plans, which agrees on nothing and so
 * costs no meeting of all processes: about `share` in 64 of them, chosen by a fixed seed, values
 * and bytes. Pending sums of all of them are added up together at the end. */
static void move_to_all(const setting *s, const clv_matrix *src, int count, const ref_matrix dst[],
                        int share, const double *want)
{
    static double sums[REF_LAYOUTS * ELEMENTS * 8];
    size_t begin[REF_LAYOUTS + 1] = {0};
    clv_grid *grid = clv_matrix_grid(src);
    clv_spec from = clv_matrix_spec(src);
    uint64_t state = from.layout.rows + 64 * from.layout.cols + 4096 * from.layout.sum;
    for (int j = 0; j < count; j++) {
        clv_spec to = clv_matrix_spec(dst[j].matrix);
        clvi_move *move = NULL;
        begin[j + 1] = begin[j];
        enter(grid, from, to);
        check_bytes(grid, from, to, clvi_move_volume(grid, from, to, check_rank()).bytes);
        if (check_random_below(&state, 64) >= share || !can_move(s, from, to)) continue;
        prepare(s, dst[j].matrix);
        uint64_t before = received(grid);
        CHECK_OK(clvi_move_create(
            grid, from, to, 0, (clvi_exchange_options){.accumulate = s->dtype != CLV_I32}, &move));
        CHECK_OK(clvi_move_execute(move, s->alpha, clv_matrix_block(src), s->beta,
                                   clv_matrix_block(dst[j].matrix)));
        clvi_move_destroy(&move);
        CHECK_INT((long long)(received(grid) - before),
                  (long long)clvi_move_volume(grid, from, to, check_rank()).bytes);
        if (to.layout.sum)
            begin[j + 1] += ref_terms(dst[j].matrix, sums + begin[j]);
        else
            CHECK_INT(ref_wrong_here(dst[j].matrix, want, 1, 0), 0);
    }
    ref_sum(sums, (int)begin[count]);
    for (int j = 0; j < count; j++) {
        int64_t wrong = 0;
        for (size_t e = begin[j]; e < begin[j + 1]; e++)
            wrong += sums[e] != want[(e - begin[j]) % (size_t)(s->m * s->n)];
        enter(grid, from, clv_matrix_spec(dst[j].matrix));
        if (begin[j + 1] > begin[j]) CHECK_INT(wrong, 0);
    }
}

/* All pairs of the layouts: so many in 64 by the engine, so many by plans. */
static void move_all_pairs(clv_grid *grid, const setting *s, int count, const clv_layout layouts[],
                           int by_engine, int by_plan)
{
    static double value[ELEMENTS], old[ELEMENTS], want[ELEMENTS];
    ref_matrix src[REF_LAYOUTS], dst[REF_LAYOUTS];
    uint64_t state = (uint64_t)(s - settings);
    ref_whole(s->m, s->n, 1, value);
    ref_whole(s->m, s->n, 2, old);
    for (int e = 0; e < ELEMENTS; e++) want[e] = s->alpha * value[e] + s->beta * old[e];
    for (int i = 0; i < count; i++) {
        src[i] = ref_wrap(grid, spec_of(s, s->src_units, layouts[i]), s->src_pad);
        dst[i] = ref_wrap(grid, spec_of(s, s->dst_units, layouts[i]), s->dst_pad);
        ref_fill(src[i].matrix, 1, false);
    }
    for (int i = 0; i < count; i++) {
        move_to_all(s, src[i].matrix, count, dst, by_engine, want);
        for (int j = 0; j < count; j++) {
            clv_spec from = clv_matrix_spec(src[i].matrix), to = clv_matrix_spec(dst[j].matrix);
            enter(grid, from, to);
            if (check_random_below(&state, 64) < by_plan && can_move(s, from, to))
                check_move(s, src[i].matrix, dst[j].matrix, value, old);
        }
    }
    for (int i = 0; i < count; i++) {
        CHECK_INT(ref_wrong(src[i].matrix, value, 1, 0), 0); /* as it was */
        ref_free(&src[i]);
        ref_free(&dst[i]);
    }
    check_balance(grid);
}

static void one_axis_all_pairs(void)
{
    clv_layout layouts[REF_LAYOUTS];
    clv_grid *grid = open_grid(one_axis[0]);
    int count = ref_all_layouts(1, layouts);
    for (int s = 0; s < SETTINGS; s++) move_all_pairs(grid, &settings[s], count, layouts, 32, 64);
    clv_grid_destroy(&grid);
}

static void two_axes_all_pairs(void)
{
    clv_layout layouts[REF_LAYOUTS];
    for (int g = 0; g < 2 && two_axes[check_size()][g]; g++) {
        clv_grid *grid = open_grid(two_axes[check_size()][g]);
        int count = ref_all_layouts(2, layouts);
        for (int s = 0; s < SETTINGS; s++)
            move_all_pairs(grid, &settings[s], count, layouts, s == 2 * g ? 64 : 8, s == 1 ? 8 : 2);
        clv_grid_destroy(&grid);
    }
}

/* All 4096 pairs on 1 and 8 processes (else an axis has only one); then lists in any order, with
 * other extents, units, types and factors. */
static void three_axes_all_pairs(void)
{
    clv_layout layouts[REF_LAYOUTS];
    if (!three_axes[check_size()][0]) return;
    clv_grid *grid = open_grid(three_axes[check_size()][0]);
    bool all = check_size() == 1 || check_size() == 8;
    move_all_pairs(grid, &settings[0], ref_all_layouts(3, layouts), layouts, all ? 64 : 8, 1);
    for (int s = 1; s < SETTINGS; s++) {
        uint64_t state = (uint64_t)s;
        for (int i = 0; i < 16; i++) layouts[i] = ref_random_layout(3, &state);
        move_all_pairs(grid, &settings[s], 16, layouts, 16, 2);
    }
    clv_grid_destroy(&grid);
}

/* ---- Bytes: one axis changes its job, the others keep theirs ------------------ */

/* Elements received when the axis goes from one job to the other. */
static int64_t closed_form(const clv_grid *grid, clv_spec src, clv_spec dst, int axis, char from,
                           char to)
{
    ref_rect old = ref_block(grid, src, check_rank()), new = ref_block(grid, dst, check_rank());
    int p = clv_grid_axis(grid, axis).size;
    if (from == to || from == '=' || to == '+') return 0;                 /* slice, keep, zero */
    if (from != '+') return ref_area(new) - ref_area(ref_meet(old, new)); /* gather, all-to-all */
    if (to != '=') return (p - 1) * ref_area(new);                        /* reduce-scatter    */
    int64_t piece = ref_area(ref_block(grid, scattered(grid, dst, axis), check_rank()));
    return (p - 1) * piece + ref_area(new) - piece; /* reduce-scatter, all-gather */
}

/* All cells for one axis, innermost in its list, whatever the jobs of the others. Volumes need no
 * messages to be known; that execution moves as much is checked with every move above. */
static void check_cells(const clv_grid *grid, clv_spec spec, int axis)
{
    int naxes = clv_grid_naxes(grid), order[3] = {0, 1, 2};
    char jobs[CLV_MAX_AXES + 1];
    for (int i = axis; i < naxes - 1; i++) order[i] = i + 1;
    order[naxes - 1] = axis;
    for (int code = 0; code < 1 << 2 * naxes; code++)
        for (int to = 0; to < 4; to++) {
            clv_spec src = spec, dst = spec;
            src.layout = ref_layout(naxes, ref_jobs_of(naxes, code, jobs), order);
            char from = jobs[axis];
            jobs[axis] = ref_jobs[to];
            dst.layout = ref_layout(naxes, jobs, order);
            enter(grid, src, dst);
            CHECK_INT((long long)clvi_move_volume(grid, src, dst, check_rank()).bytes,
                      closed_form(grid, src, dst, axis, from, jobs[axis]) *
                          (int64_t)clv_dtype_size(spec.dtype));
        }
}

static void bytes_of_every_cell(void)
{
    static const clv_spec specs[] = {{.m = 7, .n = 17, .dtype = CLV_F32},
                                     {.m = 24, .n = 48, .dtype = CLV_F64},
                                     {.m = 3, .n = 29, .dtype = CLV_BF16},
                                     {.m = 17, .n = 31, .m_unit = 3, .n_unit = 2}};
    const char *const texts[] = {one_axis[0], two_axes[check_size()][0], two_axes[check_size()][1],
                                 three_axes[check_size()][0]};
    for (int g = 0; g < 4; g++) {
        if (!texts[g]) continue;
        clv_grid *grid = open_grid(texts[g]);
        for (int s = 0; s < 4; s++)
            for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
                check_cells(grid, specs[s], axis);
        clv_grid_destroy(&grid);
    }
}

/* The textbook: even blocks of a matrix of size s over p processes. */
static void bytes_by_the_textbook(void)
{
    static const struct {
        const char *from, *to;
        int halves; /* in units of (p-1)/p s; all-to-all has one p more below */
        bool all_to_all;
    } rows[] = {{"a|-", "-|-", 1, false},    {"-|a", "-|-", 1, false},   {"-|-;a", "a|-", 1, false},
                {"-|-;a", "-|a", 1, false},  {"-|-;a", "-|-", 2, false}, {"a|-", "-|a", 1, true},
                {"-|a", "a|-", 1, true},     {"-|-", "a|-", 0, false},   {"-|-", "-|a", 0, false},
                {"-|-", "-|-;a", 0, false},  {"a|-", "-|-;a", 0, false}, {"-|a", "-|-;a", 0, false},
                {"-|-;a", "-|-;a", 0, false}};
    clv_grid *grid = open_grid(one_axis[0]);
    int64_t p = check_size(), m = 6 * p, n = 4 * p, bytes = m * n * 8;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        clv_spec src = {.m = m, .n = n, .dtype = CLV_F64}, dst = src;
        clv_matrix *A = NULL, *B = NULL;
        clv_plan *plan = NULL;
        CHECK_OK(clv_layout_parse(grid, rows[i].from, &src.layout));
        CHECK_OK(clv_layout_parse(grid, rows[i].to, &dst.layout));
        enter(grid, src, dst);
        CHECK_OK(clv_matrix_create(grid, src, &A));
        CHECK_OK(clv_matrix_create(grid, dst, &B));
        CHECK_OK(clv_plan_move(A, B, NULL, &plan));
        int64_t expected = rows[i].halves * (p - 1) * bytes / p;
        if (rows[i].all_to_all) expected /= p;
        CHECK_INT((long long)clv_plan_bytes(plan), expected);
        clv_plan_destroy(&plan);
        clv_matrix_destroy(&A);
        clv_matrix_destroy(&B);
    }
    clv_grid_destroy(&grid);
}

/* Axes that change together move together: gathering two at once receives no element twice. */
static void two_axes_move_at_once(void)
{
    if (!two_axes[check_size()][0]) return;
    clv_grid *grid = open_grid(two_axes[check_size()][0]);
    clv_layout split = ref_layout(2, "RR", NULL), swapped = ref_layout(2, "RR", (int[]){1, 0});
    clv_spec src = {.m = 24, .n = 4, .dtype = CLV_F64, .layout = split}, dst = src;
    const clv_layout to[] = {{0}, swapped, ref_layout(2, "CC", NULL), ref_layout(2, "RC", NULL)};
    for (int i = 0; i < 4; i++) {
        clv_matrix *A = NULL, *B = NULL;
        clv_plan *plan = NULL;
        dst.layout = to[i];
        enter(grid, src, dst);
        CHECK_OK(clv_matrix_create(grid, src, &A));
        CHECK_OK(clv_matrix_create(grid, dst, &B));
        CHECK_OK(clv_plan_move(A, B, NULL, &plan));
        check_bytes(grid, src, dst, clv_plan_bytes(plan));
        clv_plan_destroy(&plan);
        clv_matrix_destroy(&A);
        clv_matrix_destroy(&B);
    }
    clv_grid_destroy(&grid);
}

/* A plan belongs to the specs, not to the matrices it was made with. */
static void plans_serve_other_matrices(void)
{
    static double value[17 * 7];
    clv_grid *grid = open_grid(one_axis[0]);
    clv_spec rows = {.m = 17, .n = 7, .layout = {.rows = 1}},
             sums = {.m = 17, .n = 7, .layout.sum = 1};
    clv_plan *plan = NULL;
    clv_matrix *A = NULL, *B = NULL;
    CHECK_OK(clv_matrix_create(grid, sums, &A));
    CHECK_OK(clv_matrix_create(grid, rows, &B));
    CHECK_OK(clv_plan_move(A, B, NULL, &plan));
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&B);
    for (uint64_t key = 5; key < 8; key++) {
        ref_matrix src = ref_wrap(grid, sums, (int64_t)key - 5), dst = ref_wrap(grid, rows, 2);
        ref_whole(17, 7, key, value);
        ref_fill(src.matrix, key, false);
        CHECK_OK(clv_execute_move(plan, 1, src.matrix, 0, dst.matrix));
        CHECK_INT(ref_wrong(dst.matrix, value, 1, 0), 0);
        ref_fill_with(dst.matrix, NAN);
        CHECK_OK(clv_move(src.matrix, dst.matrix)); /* the same without a plan */
        CHECK_INT(ref_wrong(dst.matrix, value, 1, 0), 0);
        ref_free(&src);
        ref_free(&dst);
    }
    clv_plan_destroy(&plan);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"one axis, all pairs", one_axis_all_pairs},
    {"two axes, all pairs", two_axes_all_pairs},
    {"three axes, all pairs", three_axes_all_pairs},
    {"bytes of every cell", bytes_of_every_cell},
    {"bytes by the textbook", bytes_by_the_textbook},
    {"two axes move at once", two_axes_move_at_once},
    {"plans serve other matrices", plans_serve_other_matrices},
    {0},
};
