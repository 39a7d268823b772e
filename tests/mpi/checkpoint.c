/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint.c: what is saved on one grid is loaded on any other, bit for bit; arguments that do
 * not fit.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MATRICES = 7 };

/* ---- Any grid to any grid ---------------------------------------------------------- */

static clv_spec random_spec(uint64_t *state)
{
    static const int64_t extents[] = {0, 1, 7, 17, 127, 128, 300};
    clv_spec spec = {.m = extents[check_random_below(state, 7)],
                     .n = extents[check_random_below(state, 7)],
                     .m_unit = check_random_below(state, 4),
                     .n_unit = check_random_below(state, 4),
                     .dtype = (clv_dtype)check_random_below(state, CLV_DTYPE_COUNT)};
    return spec;
}

/* A matrix in a random layout, one in three over memory with ld > n. */
static clv_matrix *random_matrix(clv_grid *grid, clv_spec spec, uint64_t *state, void **memory)
{
    clv_matrix *matrix = NULL;
    spec.layout = random_layout(grid, state);
    *memory = NULL;
    if (check_random_below(state, 3) == 0) {
        clv_block block = clv_spec_block(grid, spec, clv_grid_rank(grid));
        int64_t ld = block.n + 1 + check_random_below(state, 9);
        *memory = calloc((size_t)(block.m * ld + 1), clv_dtype_size(spec.dtype));
        CHECK_OK(clv_matrix_wrap(grid, spec, *memory, ld, &matrix));
    } else {
        CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    }
    return matrix;
}

typedef struct {
    clv_grid *grid;
    clv_named named[MATRICES];
    void *memory[MATRICES];
} side;

static const char *const names[MATRICES] = {
    "embedding", "layer.0/weight",    "layer.0/bias", "a/b/c", "layer.1/weight",
    "a/d",       "\xc3\xa9t\xc3\xa9",
};

static void make_side(side *s, clv_grid *grid, const clv_spec specs[], uint64_t *state)
{
    s->grid = grid;
    for (int i = 0; i < MATRICES; i++)
        s->named[i] = (clv_named){names[i], random_matrix(grid, specs[i], state, &s->memory[i])};
}

static void drop_side(side *s)
{
    for (int i = 0; i < MATRICES; i++) {
        clv_matrix_destroy(&s->named[i].matrix);
        free(s->memory[i]);
    }
    clv_grid_destroy(&s->grid);
}

static void save(int p, const char *path, const clv_spec specs[], uint64_t key, uint64_t state)
{
    clv_grid *grid = random_grid(p, &state);
    if (!grid) return;
    side s;
    make_side(&s, grid, specs, &state);
    for (int i = 0; i < MATRICES; i++) fill_bits(s.named[i].matrix, key + (uint64_t)i);
    CHECK_OK(clv_checkpoint_write(grid, path, MATRICES, s.named, "{\"step\": 7}"));
    drop_side(&s);
}

/* Loads the matrices in another order than they were saved in. */
static void load(int q, const char *path, const clv_spec specs[], uint64_t key, uint64_t state)
{
    clv_grid *grid = random_grid(q, &state);
    if (!grid) return;
    side s;
    clv_checkpoint *checkpoint = NULL;
    make_side(&s, grid, specs, &state);
    clv_named turned[MATRICES];
    int shift = (int)check_random_below(&state, MATRICES);
    for (int i = 0; i < MATRICES; i++) turned[i] = s.named[(i + shift) % MATRICES];
    if (CHECK_OK(clv_checkpoint_open(grid, path, &checkpoint))) {
        CHECK_STRING(clv_checkpoint_json(checkpoint), "{\"step\": 7}");
        CHECK_INT(clv_checkpoint_count(checkpoint), MATRICES);
        CHECK_OK(clv_checkpoint_verify(checkpoint, NULL));
        CHECK_OK(clv_checkpoint_load(checkpoint, MATRICES, turned, NULL));
        for (int i = 0; i < MATRICES; i++)
            CHECK_INT(wrong_bits(s.named[i].matrix, key + (uint64_t)i), 0);
    }
    clv_checkpoint_close(&checkpoint);
    drop_side(&s);
}

static void any_grid_to_any_grid(void)
{
    uint64_t state = 1;
    scratch_begin();
    for (uint64_t trial = 0; trial < 16; trial++) {
        clv_spec specs[MATRICES];
        for (int i = 0; i < MATRICES; i++) specs[i] = random_spec(&state);
        int p = 1 + (int)check_random_below(&state, check_size());
        int q = 1 + (int)check_random_below(&state, check_size());
        save(p, in_scratch("any.h5"), specs, trial * MATRICES, trial); /* over the last one */
        CHECK_OK(clv_grid_barrier(world));
        load(q, in_scratch("any.h5"), specs, trial * MATRICES, trial + 1000);
        CHECK_OK(clv_grid_barrier(world));
    }
    scratch_end();
}

/* ---- Sizes beyond a tile and beyond the buffer --------------------------------------- */

static clv_matrix *matrix_of(clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype,
                             const char *layout)
{
    clv_spec spec = {.m = m, .n = n, .dtype = dtype};
    clv_matrix *matrix = NULL;
    CHECK_OK(clv_layout_parse(grid, layout, &spec.layout));
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    return matrix;
}

typedef struct {
    int64_t calls, done, all;
} progress;

static void count_progress(void *context, int64_t done, int64_t all)
{
    progress *p = context;
    CHECK(done >= p->done && done <= all);
    *p = (progress){p->calls + 1, done, all};
}

/* Rows of one to ten thousand kilobytes, blocks of whole rows, wide and narrow columns. */
static void large(void)
{
    static const int64_t shapes[][2] = {{3, 700000}, {40000, 40}, {2000, 700}, {1, 1 << 20}};
    scratch_begin();
    for (uint64_t i = 0; i < 4; i++) {
        clv_matrix *from =
            matrix_of(world, shapes[i][0], shapes[i][1], CLV_F64, i % 2 ? "col|-" : "-|col");
        clv_matrix *to =
            matrix_of(world, shapes[i][0], shapes[i][1], CLV_F64, i % 2 ? "-|col" : "col|-");
        clv_checkpoint *checkpoint = NULL;
        fill_bits(from, i);
        CHECK_OK(
            clv_checkpoint_write(world, in_scratch("large.h5"), 1, &(clv_named){"x", from}, NULL));
        if (CHECK_OK(clv_checkpoint_open(world, in_scratch("large.h5"), &checkpoint))) {
            progress p = {0};
            CHECK_OK(clv_checkpoint_load(checkpoint, 1, &(clv_named){"x", to}, NULL));
            CHECK_INT(wrong_bits(to, i), 0);
            CHECK_OK(clv_checkpoint_verify(
                checkpoint, &(clv_verify_options){.progress = count_progress, .context = &p}));
            CHECK_INT(p.done, p.all);
        }
        clv_checkpoint_close(&checkpoint);
        clv_matrix_destroy(&from);
        clv_matrix_destroy(&to);
    }
    scratch_end();
}

/* ---- Conversion ------------------------------------------------------------------------ */

/* Small integers are exact in every type; negative ones show sign errors. */
static double small_value(int64_t index)
{
    return (double)(index * 7 % 251) - 125;
}

static double get(const clv_matrix *matrix, int64_t i, int64_t j)
{
    const void *x = element_at(matrix, i, j);
    uint32_t bits = 0;
    float single;
    switch (clv_matrix_spec(matrix).dtype) {
    case CLV_F32:
        return *(const float *)x;
    case CLV_F64:
        return *(const double *)x;
    default:
        bits = (uint32_t) * (const uint16_t *)x << 16;
        memcpy(&single, &bits, sizeof single);
        return single;
    }
}

static void set(clv_matrix *matrix, int64_t i, int64_t j, double value)
{
    void *x = element_at(matrix, i, j);
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    switch (clv_matrix_spec(matrix).dtype) {
    case CLV_F32:
        *(float *)x = single;
        break;
    case CLV_F64:
        *(double *)x = value;
        break;
    default:
        *(uint16_t *)x = (uint16_t)(bits >> 16);
    }
}

/* The last shape has rows longer than the buffer. */
static void converts(void)
{
    static const int64_t shapes[][2] = {{17, 127}, {127, 7}, {2, 600000}};
    scratch_begin();
    for (int which = 0; which < 3 * 9; which++) {
        int64_t m = shapes[which / 9][0], n = shapes[which / 9][1];
        clv_matrix *from = matrix_of(world, m, n, (clv_dtype)(which % 3), "col|-");
        clv_matrix *to = matrix_of(world, m, n, (clv_dtype)(which / 3 % 3), "-|col");
        clv_block block = clv_matrix_block(from);
        clv_checkpoint *checkpoint = NULL;
        for (int64_t i = 0; i < block.m; i++)
            for (int64_t j = 0; j < block.n; j++)
                set(from, i, j, small_value((block.row0 + i) * n + j));
        CHECK_OK(clv_checkpoint_write(world, in_scratch("c.h5"), 1, &(clv_named){"x", from}, ""));
        CHECK_OK(clv_checkpoint_open(world, in_scratch("c.h5"), &checkpoint));
        CHECK_OK(clv_checkpoint_load(checkpoint, 1, &(clv_named){"x", to}, NULL));
        block = clv_matrix_block(to);
        int64_t wrong = 0;
        for (int64_t i = 0; i < block.m; i++)
            for (int64_t j = 0; j < block.n; j++)
                wrong += get(to, i, j) != small_value(i * n + block.col0 + j);
        CHECK_INT(wrong, 0);
        clv_checkpoint_close(&checkpoint);
        clv_matrix_destroy(&from);
        clv_matrix_destroy(&to);
    }
    scratch_end();
}

/* ---- What it says it holds ----------------------------------------------------------------- */

static void contents(void)
{
    scratch_begin();
    clv_named named[24];
    char text[24][16];
    for (int i = 0; i < 24; i++) { /* more names than an HDF5 group holds compactly */
        snprintf(text[i], sizeof text[i], "block.%d", 23 - i);
        named[i] = (clv_named){text[i], matrix_of(world, i, 3, (clv_dtype)(i % 4), "col|-")};
    }
    static char json[200000];
    memset(json, 'j', sizeof json - 1);
    clv_checkpoint *checkpoint = NULL;
    CHECK_OK(clv_checkpoint_write(world, in_scratch("contents.h5"), 24, named, json));
    if (CHECK_OK(clv_checkpoint_open(world, in_scratch("contents.h5"), &checkpoint))) {
        CHECK_STRING(clv_checkpoint_json(checkpoint), json);
        CHECK_INT(clv_checkpoint_count(checkpoint), 24);
        for (int i = 0; i < 24; i++) { /* in the order written */
            clv_checkpoint_entry entry = clv_checkpoint_at(checkpoint, i);
            CHECK_STRING(entry.name, text[i]);
            CHECK(entry.m == i && entry.n == 3 && entry.dtype == (clv_dtype)(i % 4));
            CHECK_INT(clv_checkpoint_find(checkpoint, text[i]), i);
        }
        CHECK_INT(clv_checkpoint_find(checkpoint, "block"), -1);
        CHECK(clv_checkpoint_bytes(checkpoint) > (int64_t)sizeof json);
    }
    clv_checkpoint_close(&checkpoint);
    CHECK_OK(clv_checkpoint_write(world, in_scratch("none.h5"), 0, NULL, NULL));
    if (CHECK_OK(clv_checkpoint_open(world, in_scratch("none.h5"), &checkpoint))) {
        CHECK_INT(clv_checkpoint_count(checkpoint), 0);
        CHECK_STRING(clv_checkpoint_json(checkpoint), "{}");
        CHECK_OK(clv_checkpoint_load(checkpoint, 0, NULL, NULL));
    }
    clv_checkpoint_close(&checkpoint);
    for (int i = 0; i < 24; i++) clv_matrix_destroy(&named[i].matrix);
    scratch_end();
}

/* ---- A file that is replaced -------------------------------------------------------------- */

static atomic_bool stop;

/* Again and again another complete file under the name, as saves do it. */
static void *replace(void *path)
{
    char from[600], over[600];
    for (int turn = 0; !stop; turn++) {
        snprintf(from, sizeof from, "%s.%d", (char *)path, turn % 2);
        snprintf(over, sizeof over, "%s.over", (char *)path);
        if (link(from, over) != 0 || rename(over, path) != 0) break;
        usleep(30000);
    }
    return NULL;
}

static void replaced(void)
{
    scratch_begin();
    char path[512];
    pthread_t thread;
    clv_matrix *x = matrix_of(world, 70, 5, CLV_F32, "col|-");
    snprintf(path, sizeof path, "%s", in_scratch("r.h5"));
    CHECK_OK(clv_checkpoint_write(world, in_scratch("r.h5.0"), 1, &(clv_named){"x", x}, "0"));
    CHECK_OK(clv_checkpoint_write(world, in_scratch("r.h5.1"), 1, &(clv_named){"x", x}, "{}"));
    CHECK_OK(clv_checkpoint_write(world, path, 1, &(clv_named){"x", x}, NULL));
    stop = false;
    if (check_rank() == 0) CHECK_INT(pthread_create(&thread, NULL, replace, path), 0);
    for (int i = 0; i < 60; i++) {
        clv_checkpoint *c = NULL;
        if (CHECK_OK(clv_checkpoint_open(world, path, &c)))
            CHECK_OK(clv_checkpoint_verify(c, NULL));
        clv_checkpoint_close(&c);
    }
    stop = true;
    if (check_rank() == 0) pthread_join(thread, NULL);
    clv_matrix_destroy(&x);
    scratch_end();
}

/* ---- Arguments ------------------------------------------------------------------------------- */

static void write_arguments(void)
{
    scratch_begin();
    const char *path = in_scratch("refused.h5");
    clv_matrix *x = matrix_of(world, 7, 7, CLV_F32, "col|-");
    clv_matrix *sum = matrix_of(world, 7, 7, CLV_F32, "-|-;col");
    static const char *const bad[] = {"",       "/a",     "a/",       "a//b",  ".",
                                      "a/../b", "cleave", "cleave/a", "a\xff", "\xc3/a"};
    for (int i = 0; i < 10; i++)
        CHECK_STATUS(clv_checkpoint_write(world, path, 1, &(clv_named){bad[i], x}, NULL), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_write(world, path, 1, &(clv_named){"x", x}, "{\"a\": \"\xe9\"}"),
                 CLV_EARG);
    static const char *const pairs[][2] = {{"a", "a"}, {"a/b", "a"}, {"a", "a/b/c"}};
    for (int i = 0; i < 3; i++) {
        const clv_named two[] = {{pairs[i][0], x}, {"a-b", x}, {pairs[i][1], x}};
        CHECK_STATUS(clv_checkpoint_write(world, path, 3, two, NULL), CLV_EARG);
    }
    CHECK_STATUS(clv_checkpoint_write(world, path, 1, &(clv_named){"s", sum}, NULL), CLV_ELAYOUT);
    CHECK_STATUS(clv_checkpoint_write(world, NULL, 1, &(clv_named){"x", x}, NULL), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_write(world, path, -1, NULL, NULL), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_write(world, path, 1, &(clv_named){"x", NULL}, NULL), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_write(world, scratch, 1, &(clv_named){"x", x}, NULL), CLV_EIO);
    CHECK_STATUS(
        clv_checkpoint_write(world, in_scratch("no/such/x.h5"), 1, &(clv_named){"x", x}, NULL),
        CLV_ENOTFOUND);
    if (check_size() > 1) { /* the last rank alone differs */
        bool last = check_rank() == check_size() - 1;
        const char *name = last ? "y" : "x", *json = last ? "1" : "2";
        CHECK_STATUS(clv_checkpoint_write(world, path, 1, &(clv_named){name, x}, NULL),
                     CLV_EMISMATCH);
        CHECK_STATUS(clv_checkpoint_write(world, path, last, &(clv_named){"x", x}, NULL),
                     CLV_EMISMATCH);
        CHECK_STATUS(clv_checkpoint_write(world, path, 1, &(clv_named){"x", x}, json),
                     CLV_EMISMATCH);
        CHECK_STATUS(clv_checkpoint_write(world, last ? "other" : path, 1, &(clv_named){"x", x}, 0),
                     CLV_EMISMATCH);
        CHECK_STATUS(clv_checkpoint_write(world, last ? NULL : path, 1, &(clv_named){"x", x}, 0),
                     CLV_EARG);
    }
    CHECK(access(path, F_OK) != 0);
    clv_matrix_destroy(&x);
    clv_matrix_destroy(&sum);
    scratch_end();
}

static void load_arguments(void)
{
    scratch_begin();
    clv_grid *other = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &other));
    clv_matrix *x = matrix_of(world, 7, 5, CLV_F32, "col|-"), *foreign;
    clv_matrix *turned = matrix_of(world, 5, 7, CLV_F32, "col|-");
    clv_matrix *integers = matrix_of(world, 7, 5, CLV_I32, "col|-");
    clv_matrix *sum = matrix_of(world, 7, 5, CLV_F32, "-|-;col");
    foreign = matrix_of(other, 7, 5, CLV_F32, "col|-");
    clv_checkpoint *c = NULL;
    CHECK_OK(clv_checkpoint_write(world, in_scratch("x.h5"), 1, &(clv_named){"x", x}, NULL));
    CHECK_OK(clv_checkpoint_open(world, in_scratch("x.h5"), &c));
    CHECK_STATUS(clv_checkpoint_load(c, 1, &(clv_named){"y", x}, NULL), CLV_ENOTFOUND);
    CHECK_STATUS(clv_checkpoint_load(c, 1, &(clv_named){"x", turned}, NULL), CLV_ESHAPE);
    CHECK_STATUS(clv_checkpoint_load(c, 1, &(clv_named){"x", integers}, NULL), CLV_EDTYPE);
    CHECK_STATUS(clv_checkpoint_load(c, 1, &(clv_named){"x", sum}, NULL), CLV_ELAYOUT);
    CHECK_STATUS(clv_checkpoint_load(c, 1, &(clv_named){"x", foreign}, NULL), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_load(c, 1, NULL, NULL), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_load(NULL, 0, NULL, NULL), CLV_EARG);
    if (check_size() > 1) {
        bool last = check_rank() == check_size() - 1;
        CHECK_STATUS(clv_checkpoint_load(c, last, &(clv_named){"x", x}, NULL), CLV_EMISMATCH);
        CHECK_STATUS(clv_checkpoint_load(c, 1, &(clv_named){last ? "y" : "x", x}, NULL),
                     CLV_EMISMATCH);
    }
    CHECK_OK(clv_checkpoint_load(c, 1, &(clv_named){"x", x}, NULL));
    clv_checkpoint_close(&c);
    clv_matrix *all[] = {x, turned, integers, sum, foreign};
    for (int i = 0; i < 5; i++) clv_matrix_destroy(&all[i]);
    clv_grid_destroy(&other);
    scratch_end();
}

const check_case check_cases[] = {
    {"any grid to any grid", any_grid_to_any_grid},
    {"large", large},
    {"converts", converts},
    {"contents", contents},
    {"replaced", replaced},
    {"write arguments", write_arguments},
    {"load arguments", load_arguments},
    {0},
};
