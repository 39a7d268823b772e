/* SPDX-License-Identifier: BSD-3-Clause
 *
 * load.c: all pairs of grids, bit for bit; partial and lax loads; one error for all that does not
 * fit; blocks of any place, size and type; bf16 exhaustively; damage found by a load and told by
 * verify, whoever reads it.
 *
 * RANKS: 1 2 4 8
 */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Files that cannot be mapped ------------------------------------------------------- */

static bool no_mapping;

/* In the library's place: populates nothing where a test says so, as on an old kernel. */
int madvise(void *memory, size_t bytes, int advice)
{
#ifdef MADV_POPULATE_READ
    if (no_mapping && advice == MADV_POPULATE_READ) return errno = EINVAL, -1;
#endif
    return (int)syscall(SYS_madvise, memory, bytes, advice);
}

static bool bad_copies;

/* In the library's place: reads a tile that begins with the mark wrongly where a test says so. */
__attribute__((noinline)) ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    ssize_t got = syscall(SYS_pread64, fd, data, bytes, offset);
    if (bad_copies && got > 100 && memcmp(data, "xxmarkxx", 8) == 0) ((char *)data)[100] ^= 1;
    return got;
}

/* ---- All pairs of grids --------------------------------------------------------------- */

/* Every way to lay row and col axes over p processes; jobs of the two axes. */
static const char *const layouts[] = {"row|col", "col|row", "row+col|-", "-|row+col", "-|-"};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

static clv_grid *grid_of(int p, int rows)
{
    MPI_Comm comm;
    clv_grid *grid = NULL;
    const clv_axis axes[] = {{"row", rows}, {"col", p / rows}};
    MPI_Comm_split(MPI_COMM_WORLD, check_rank() < p ? 0 : MPI_UNDEFINED, check_rank(), &comm);
    if (comm == MPI_COMM_NULL) return NULL;
    CHECK_OK(clv_grid_create(comm, 2, axes, &grid));
    MPI_Comm_free(&comm);
    return grid;
}

static clv_matrix *matrix_on(clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype,
                             const char *layout)
{
    clv_spec spec = {.m = m, .n = n, .dtype = dtype};
    clv_matrix *matrix = NULL;
    CHECK_OK(clv_layout_parse(grid, layout, &spec.layout));
    CHECK_OK(clv_matrix_create(grid, spec, &matrix));
    return matrix;
}

/* The greatest of each type: several tiles, of which every process wants a part. */
static const int64_t shapes[][2] = {{1, 1},      {7, 17},    {127, 1},    {1, 127},
                                    {17, 31123}, {31123, 7}, {31123, 17}, {127, 31123}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static clv_dtype dtype_of(int shape)
{
    return (clv_dtype)(shape % CLV_DTYPE_COUNT);
}

typedef struct {
    clv_grid *grid;
    clv_named named[SHAPES];
    char names[SHAPES][8];
} model;

static void make_model(model *x, int p, int rows, int turn)
{
    *x = (model){.grid = grid_of(p, rows)};
    for (int i = 0; i < SHAPES && x->grid; i++) {
        snprintf(x->names[i], sizeof x->names[i], "m%d", i);
        x->named[i].name = x->names[i];
        x->named[i].matrix = matrix_on(x->grid, shapes[i][0], shapes[i][1], dtype_of(i),
                                       layouts[(i + turn) % LAYOUTS]);
    }
}

static void drop_model(model *x)
{
    for (int i = 0; i < SHAPES; i++) clv_matrix_destroy(&x->named[i].matrix);
    clv_grid_destroy(&x->grid);
}

static void load_on(int q, int rows, int turn, const char *path)
{
    model x;
    clv_checkpoint *c = NULL;
    make_model(&x, q, rows, turn);
    if (x.grid && CHECK_OK(clv_checkpoint_open(x.grid, path, &c))) {
        CHECK_OK(clv_checkpoint_load(c, SHAPES, x.named, NULL));
        for (uint64_t i = 0; i < SHAPES; i++)
            if (!CHECK_INT(wrong_bits(x.named[i].matrix, i), 0))
                fprintf(stderr, "  %lld x %lld %s on %d ranks, row=%d\n", (long long)shapes[i][0],
                        (long long)shapes[i][1], layouts[((int)i + turn) % LAYOUTS], q, rows);
    }
    clv_checkpoint_close(&c);
    drop_model(&x);
}

/* What is in the file must not depend on who wrote it, so a load is tried of each writer's file. */
static void all_pairs(void)
{
    int turn = 0;
    scratch_begin();
    for (int p = 1; p <= check_size(); p++) {
        model x;
        make_model(&x, p, p % 2 ? 1 : 2, p);
        for (uint64_t i = 0; i < SHAPES && x.grid; i++) fill_bits(x.named[i].matrix, i);
        if (x.grid)
            CHECK_OK(clv_checkpoint_write(x.grid, in_scratch("p.h5"), SHAPES, x.named, NULL));
        drop_model(&x);
        for (int q = 1; q <= check_size(); q++) {
            CHECK_OK(clv_grid_barrier(world));
            load_on(q, q % 2 ? q : 2, turn++, in_scratch("p.h5"));
        }
        CHECK_OK(clv_grid_barrier(world));
    }
    scratch_end();
}

/* ---- What does not fit -------------------------------------------------------------------- */

static bool error_has(const char *text)
{
    return strstr(clv_last_error(), text) != NULL;
}

static void fits(void)
{
    scratch_begin();
    clv_matrix *x[6];
    for (int i = 0; i < 6; i++) x[i] = matrix_on(world, 7 + i, 5, CLV_F32, "col|-");
    clv_matrix *integers = matrix_on(world, 8, 5, CLV_I32, "-|col");
    for (uint64_t i = 0; i < 6; i++) fill_bits(x[i], i);
    const clv_named saved[] = {
        {"a", x[0]}, {"b.weight", x[1]}, {"b.bias", x[2]}, {"adamw.m/a", x[3]}};
    clv_checkpoint *c = NULL;
    CHECK_OK(clv_checkpoint_write(world, in_scratch("f.h5"), 4, saved, NULL));
    CHECK_OK(clv_checkpoint_open(world, in_scratch("f.h5"), &c));
    for (int i = 0; i < 6; i++) CHECK_OK(clv_matrix_fill(x[i], -1));

    const clv_named wrong[] = {
        {"a", x[1]}, {"b.bias", x[2]}, {"new", x[3]}, {"other", x[4]}, {"b.weight", integers}};
    CHECK_STATUS(clv_checkpoint_load(c, 5, wrong, NULL), CLV_ENOTFOUND);
    CHECK(error_has("2 missing in the file: new, other"));
    CHECK(error_has("1 only in the file: adamw.m/a"));
    CHECK(error_has("1 of another shape: a (expected 8 x 5, found 7 x 5)"));
    CHECK(error_has("1 of another kind of numbers: b.weight (expected i32, found f32)"));
    CHECK(wrong_bits(x[2], 2) > 0 || clv_matrix_block(x[2]).m == 0); /* nothing was loaded */

    clv_load_options options = {.only = "b.*"};
    const clv_named chosen[] = {{"a", x[1]}, {"b.bias", x[2]}, {"b.weight", x[1]}, {"new", x[3]}};
    CHECK_OK(clv_checkpoint_load(c, 4, chosen, &options));
    CHECK_INT(wrong_bits(x[2], 2) + wrong_bits(x[1], 1), 0);
    options.only = "zzz*";
    CHECK_STATUS(clv_checkpoint_load(c, 4, chosen, &options), CLV_ENOTFOUND);
    CHECK(error_has("expected a pattern that some matrix or data set fits, found zzz*"));
    options.lax = true;
    CHECK_STATUS(clv_checkpoint_load(c, 4, chosen, &options), CLV_ENOTFOUND);
    options.lax = false;
    options.only = "*,!adamw.*,!sgd.*";
    CHECK_STATUS(clv_checkpoint_load(c, 4, chosen, &options), CLV_ENOTFOUND);
    CHECK(!error_has("adamw") && !error_has("only in the file"));
    CHECK_OK(clv_matrix_fill(x[3], -1));
    options = (clv_load_options){.lax = true};
    CHECK_STATUS(clv_checkpoint_load(c, 4, chosen, &options), CLV_ESHAPE); /* lax is not blind */
    CHECK_OK(clv_checkpoint_load(c, 3, &chosen[1], &options));
    clv_block kept = clv_matrix_block(x[3]);
    for (int64_t i = 0; i < kept.m; i++) CHECK(*(float *)element_at(x[3], i, 0) == -1);
    if (check_size() > 1) {
        options.lax = check_rank() == 0;
        CHECK_STATUS(clv_checkpoint_load(c, 3, &chosen[1], &options), CLV_EMISMATCH);
    }

    char names[200][16];
    clv_named many[200];
    for (int i = 0; i < 200; i++) {
        snprintf(names[i], sizeof names[i], "layer.%d", i);
        many[i] = (clv_named){names[i], x[0]};
    }
    CHECK_STATUS(clv_checkpoint_load(c, 200, many, NULL), CLV_ENOTFOUND);
    CHECK(error_has("200 missing in the file: layer.0, layer.1, ") && error_has(" more; 4 only"));
    clv_checkpoint_close(&c);
    for (int i = 0; i < 6; i++) clv_matrix_destroy(&x[i]);
    clv_matrix_destroy(&integers);
    scratch_end();
}

/* ---- Blocks --------------------------------------------------------------------------------- */

/* Any block of a matrix of several tiles against the elements as they were filled, with a margin
 * that must stay. */
static void blocks(void)
{
    enum { M = 611, N = 1031 };
    uint64_t state = 7 + (uint64_t)check_rank(); /* Local: each process reads its own */
    scratch_begin();
    clv_matrix *x = matrix_on(world, M, N, CLV_F64, "-|col");
    clv_checkpoint *c = NULL;
    fill_bits(x, 3);
    CHECK_OK(clv_checkpoint_write(world, in_scratch("b.h5"), 1, &(clv_named){"x", x}, NULL));
    CHECK_OK(clv_checkpoint_open(world, in_scratch("b.h5"), &c));
    uint64_t *memory = calloc((size_t)(M * (N + 8) + 1), sizeof *memory);
    for (int trial = 0; trial < 40; trial++) {
        clv_block b = {.data = memory,
                       .row0 = check_random_below(&state, M + 1),
                       .col0 = check_random_below(&state, N + 1)};
        b.m = check_random_below(&state, M - b.row0 + 1);
        b.n = check_random_below(&state, N - b.col0 + 1);
        if (trial % 4 == 0) b.col0 = 0, b.n = N;
        b.ld = b.n + check_random_below(&state, 3);
        memset(memory, 0xee, (size_t)(M * (N + 8) + 1) * sizeof *memory);
        CHECK_OK(clv_checkpoint_read(c, 0, CLV_F64, b));
        int64_t wrong = 0;
        for (int64_t i = 0; i < b.m; i++)
            for (int64_t j = 0; j < b.ld; j++)
                wrong += memory[i * b.ld + j] !=
                         (j < b.n ? element_bits(3, b, N, i, j) : 0xeeeeeeeeeeeeeeeeu);
        CHECK_INT(wrong + (memory[b.m * b.ld] != 0xeeeeeeeeeeeeeeeeu), 0);
    }
    const clv_block beyond[] = {{memory, 1, 1, 1, M, 0},        {memory, 1, 1, 1, 0, N},
                                {memory, 1, 1, 1, -1, 0},       {memory, 2, 2, 1, 0, 0},
                                {NULL, 1, 1, 1, 0, 0},          {memory, M, 1, 1, 1, 0},
                                {memory, INT64_MAX, 1, 1, 1, 0}};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        CHECK_STATUS(clv_checkpoint_read(c, 0, CLV_F64, beyond[i]), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_read(c, 1, CLV_F64, (clv_block){0}), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_read(c, -1, CLV_F64, (clv_block){0}), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_read(c, 0, CLV_I32, (clv_block){0}), CLV_EDTYPE);
    CHECK_OK(clv_checkpoint_read(c, 0, CLV_BF16, (clv_block){0}));
    free(memory);
    clv_checkpoint_close(&c);
    clv_matrix_destroy(&x);
    scratch_end();
}

/* ---- bf16 --------------------------------------------------------------------------------------
 */

static float single_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearest bf16 by its definition: of the two around x the nearer, of two as near the even one;
 * beyond the last one infinity is as far as the next would be. */
static uint16_t nearest(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    double a = fabs(x);
    uint32_t low = 0, high = 0x7f80; /* value(low) <= a < value(high), unless a is infinite */
    if (a >= 0x1p128) return sign | 0x7f80;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if ((double)single_of(middle << 16) <= a)
            low = middle;
        else
            high = middle;
    }
    double below = single_of(low << 16), above = high == 0x7f80 ? 0x1p128 : single_of(high << 16);
    double down = a - below, up = above - a;
    return (uint16_t)(sign | (down < up || (down == up && low % 2 == 0) ? low : high));
}

/* All 65,536 bf16 as f32 and f64 and back; and the f32 (m = 0) or f64 halfway between neighbours,
 * and next to halfway. */
static void bf16_exhaustively(void)
{
    enum { ALL = 1 << 16, KINDS = 5 };
    scratch_begin();
    clv_checkpoint *c = NULL;
    clv_matrix *x = matrix_on(world, KINDS, ALL, CLV_F32, "-|col");
    clv_matrix *d = matrix_on(world, KINDS, ALL, CLV_F64, "-|col");
    clv_matrix *h = matrix_on(world, 1, ALL, CLV_BF16, "-|col");
    static const uint32_t below[KINDS] = {0, 0x7fff, 0x8000, 0x8001, 0xffff};
    clv_block b = clv_matrix_block(x);
    for (int64_t j = 0; j < b.n; j++) {
        uint32_t upper = (uint32_t)(b.col0 + j) << 16;
        uint16_t bits = (uint16_t)(b.col0 + j);
        memcpy(element_at(h, 0, j), &bits, sizeof bits);
        for (int k = 0; k < KINDS; k++) {
            float value = single_of(upper | below[k]);
            double wide = (double)value;
            if (k == 2) wide = nextafter(wide, INFINITY); /* f32 would round it to the tie */
            memcpy(element_at(x, k, j), &value, sizeof value);
            memcpy(element_at(d, k, j), &wide, sizeof wide);
        }
    }
    const clv_named named[] = {{"x", x}, {"d", d}, {"h", h}};
    CHECK_OK(clv_checkpoint_write(world, in_scratch("h.h5"), 3, named, NULL));
    CHECK_OK(clv_checkpoint_open(world, in_scratch("h.h5"), &c));
    uint16_t *to = calloc(KINDS * ALL, sizeof *to);
    float *wide = calloc(ALL, sizeof *wide);
    double *wider = calloc(ALL, sizeof *wider);
    clv_block whole = {.data = to, .m = KINDS, .n = ALL, .ld = ALL};
    for (int which = 0; which < 2; which++) {
        int64_t wrong = 0;
        CHECK_OK(clv_checkpoint_read(c, which, CLV_BF16, whole));
        for (uint32_t k = 0; k < KINDS; k++)
            for (uint32_t j = 0; j < ALL; j++) {
                double value = single_of(j << 16 | below[k]);
                uint16_t got = to[k * ALL + j];
                if (which == 1 && k == 2) value = nextafter(value, INFINITY);
                if (isnan(value))
                    wrong += !isnan(single_of((uint32_t)got << 16));
                else
                    wrong += got != nearest(value);
            }
        CHECK_INT(wrong, 0);
    }
    int64_t wrong = 0;
    whole.m = 1;
    whole.data = wide;
    CHECK_OK(clv_checkpoint_read(c, 2, CLV_F32, whole));
    whole.data = wider;
    CHECK_OK(clv_checkpoint_read(c, 2, CLV_F64, whole));
    for (uint32_t j = 0; j < ALL; j++) {
        float value = single_of(j << 16);
        if (isnan(value))
            wrong += !isnan(wide[j]) || !isnan(wider[j]);
        else
            wrong +=
                wide[j] != value || wider[j] != (double)value || signbit(wide[j]) != signbit(value);
    }
    CHECK_INT(wrong, 0);
    free(to), free(wide), free(wider);
    clv_checkpoint_close(&c);
    clv_matrix_destroy(&x), clv_matrix_destroy(&d), clv_matrix_destroy(&h);
    scratch_end();
}

/* ---- Damage -------------------------------------------------------------------------------------
 */

static int64_t place_of_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "r");
    char window[8] = "";
    int64_t at = -1;
    for (int c; at < 0 && file && (c = fgetc(file)) != EOF;) {
        memmove(window, window + 1, 7);
        window[7] = (char)c;
        if (memcmp(window, text, 8) == 0) at = ftell(file) - 8;
    }
    if (file) fclose(file);
    return at;
}

static void flip(const char *path, int64_t at)
{
    unsigned char byte;
    int fd = open(path, O_RDWR);
    CHECK(pread(fd, &byte, 1, at) == 1);
    byte ^= 4;
    CHECK(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

enum { DAMAGE_ROOM = 8 };
typedef struct {
    int count;
    char name[DAMAGE_ROOM][16];
    int64_t begin[DAMAGE_ROOM], end[DAMAGE_ROOM];
} told;

static void note(void *context, const clv_damage *damage)
{
    told *t = context;
    if (t->count == DAMAGE_ROOM) return;
    snprintf(t->name[t->count], sizeof t->name[0], "%s", damage->name);
    t->begin[t->count] = damage->begin;
    t->end[t->count++] = damage->end;
}

static void expect_damage(const told *t, int i, const char *name, int64_t begin, int64_t end)
{
    CHECK_STRING(t->name[i], name);
    CHECK_INT(t->begin[i], begin);
    CHECK_INT(t->end[i], end);
}

/* f32: 262,144 elements a tile; x has 4 tiles and a bit, y one that is not full, z none. */
static void damage(void)
{
    enum { TILE = 262144 };
    scratch_begin();
    clv_matrix *x = matrix_on(world, 100, 11000, CLV_F32, "col|-");
    clv_matrix *y = matrix_on(world, 7, 5, CLV_F32, "-|col");
    clv_matrix *z = matrix_on(world, 0, 5, CLV_F32, "-|col");
    CHECK_OK(clv_matrix_fill(x, 1));
    CHECK_OK(clv_matrix_fill(y, 2));
    clv_block b = clv_matrix_block(x);
    if (b.m > 0 && b.row0 == 0) memcpy(b.data, "xxmarkxx", 8);
    const clv_named named[] = {{"x", x}, {"y", y}, {"z", z}};
    const char *path = in_scratch("d.h5");
    CHECK_OK(clv_checkpoint_write(world, path, 3, named, NULL));
    int64_t place = 0;
    if (check_rank() == 0) {
        place = place_of_text(path, "xxmarkxx");
        CHECK(place > 0);
        flip(path, place + 4 * TILE + 5); /* tiles 1, 2 and 4 */
        flip(path, place + 8 * TILE + 4 * TILE - 1);
        flip(path, place + 4 * 1100000 - 1);
    }
    CHECK_OK(clv_grid_barrier(world));
    clv_checkpoint *c = NULL;
    CHECK_OK(clv_checkpoint_open(world, path, &c));
    told t = {0};
    clv_verify_options options = {.damage = note, .context = &t};
    CHECK_STATUS(clv_checkpoint_verify(c, &options), CLV_ECORRUPT);
    CHECK_INT(t.count, 2);
    expect_damage(&t, 0, "x", TILE, 3 * TILE);
    expect_damage(&t, 1, "x", 4 * TILE, 1100000);
    CHECK(error_has("the first: x, elements 262144 to 786431"));
    options.only = "y,z";
    CHECK_OK(clv_checkpoint_verify(c, &options));
    CHECK_INT(t.count, 2);

    static const char *const lies[] = {"col|-", "-|col", "-|-"};
    for (int i = 0; i < 3; i++) { /* a load fails on all, whoever found it */
        clv_matrix *to = matrix_on(world, 100, 11000, CLV_F32, lies[i]);
        clv_matrix *good = matrix_on(world, 7, 5, CLV_F32, lies[i]);
        const clv_named both[] = {{"x", to}, {"y", good}};
        CHECK_STATUS(clv_checkpoint_load(c, 2, both, &(clv_load_options){.lax = true}),
                     CLV_ECORRUPT);
        CHECK(error_has("data set x, elements "));
        CHECK_OK(clv_checkpoint_load(c, 2, both, &(clv_load_options){.only = "y"}));
        CHECK_OK(clv_grid_barrier(world));
        clv_matrix_destroy(&to), clv_matrix_destroy(&good);
    }
    float element;
    clv_block one = {.data = &element, .m = 1, .n = 1, .ld = 1, .row0 = 1100000 / 11000 - 1};
    CHECK_OK(clv_checkpoint_read(c, 0, CLV_F32, (clv_block){&element, 1, 1, 1, 0, 2}));
    CHECK(element == 1);
    CHECK_STATUS(clv_checkpoint_read(c, 0, CLV_F32, one), CLV_ECORRUPT);
    clv_checkpoint_close(&c);
    clv_matrix_destroy(&x), clv_matrix_destroy(&y), clv_matrix_destroy(&z);
    scratch_end();
}

/* The file ends within a matrix after it was opened: an error or damage, on all, and no hang. */
static void truncated(void)
{
    scratch_begin();
    clv_matrix *x = matrix_on(world, 300, 11000, CLV_F32, "-|col");
    clv_checkpoint *c = NULL;
    const char *path = in_scratch("t.h5");
    CHECK_OK(clv_checkpoint_write(world, path, 1, &(clv_named){"x", x}, NULL));
    CHECK_OK(clv_checkpoint_open(world, path, &c));
    CHECK_OK(clv_grid_barrier(world));
    if (check_rank() == 0) CHECK(truncate(path, 5 << 20) == 0);
    CHECK_OK(clv_grid_barrier(world));
    CHECK_STATUS(clv_checkpoint_load(c, 1, &(clv_named){"x", x}, NULL), CLV_ECORRUPT);
    told t = {0};
    CHECK_STATUS(clv_checkpoint_verify(c, &(clv_verify_options){.damage = note, .context = &t}),
                 CLV_ECORRUPT);
    CHECK(t.count == 1 && t.end[0] == 300 * 11000);
    clv_checkpoint_close(&c);
    clv_matrix_destroy(&x);
    scratch_end();
}

/* A byte that belongs to nothing. */
static void gaps(void)
{
    scratch_begin();
    clv_matrix *x = matrix_on(world, 100, 1000, CLV_F32, "-|col");
    clv_checkpoint *c = NULL;
    const char *path = in_scratch("g.h5");
    CHECK_OK(clv_checkpoint_write(world, path, 1, &(clv_named){"x", x}, "{\"a\": 123}"));
    CHECK_OK(clv_checkpoint_open(world, path, &c));
    int64_t found = 0;
    for (int64_t at = place_of_text(path, "\"a\": 123") + 9; found == 0 && at < 100000; at += 64) {
        CHECK_OK(clv_grid_barrier(world));
        if (check_rank() == 0) flip(path, at);
        CHECK_OK(clv_grid_barrier(world));
        if (clv_checkpoint_verify(c, NULL) == CLV_ECORRUPT && error_has("between values")) found++;
        CHECK_OK(clv_grid_barrier(world));
        if (check_rank() == 0) flip(path, at);
    }
    CHECK_INT(found, 1);
    clv_checkpoint_close(&c);
    clv_matrix_destroy(&x);
    scratch_end();
}

/* A tile that its own process hashes is good; the last one's copy of it is not. */
static void bad_copy(void)
{
    scratch_begin();
    clv_matrix *x = matrix_on(world, 100, 11000, CLV_F32, "-|col");
    clv_block b = clv_matrix_block(x);
    clv_checkpoint *c = NULL;
    if (b.n > 0 && b.col0 == 0) memcpy(b.data, "xxmarkxx", 8);
    const clv_named named = {"x", x};
    CHECK_OK(clv_checkpoint_write(world, in_scratch("b.h5"), 1, &named, NULL));
    CHECK_OK(clv_checkpoint_open(world, in_scratch("b.h5"), &c));
    CHECK_OK(clv_checkpoint_load(c, 1, &named, NULL));
    bad_copies = no_mapping;
    CHECK_STATUS(clv_checkpoint_load(c, 1, &named, NULL), CLV_ECORRUPT);
    CHECK(error_has("data set x, elements 0 to 262144"));
    bad_copies = false;
    clv_checkpoint_close(&c);
    clv_matrix_destroy(&x);
    scratch_end();
}

/* All again, where every process has a copy of its own of what it reads; and where one alone has:
 * it hashes for its neighbours too. */
static void without_mapping(void)
{
    no_mapping = true;
    all_pairs();
    blocks();
    damage();
    no_mapping = check_rank() == check_size() - 1;
    damage();
    bad_copy();
    no_mapping = false;
}

const check_case check_cases[] = {
    {"all pairs of grids", all_pairs},
    {"what fits", fits},
    {"any block", blocks},
    {"bf16, exhaustively", bf16_exhaustively},
    {"damage", damage},
    {"truncated", truncated},
    {"gaps", gaps},
    {"without mapping", without_mapping},
    {0},
};
