/* SPDX-License-Identifier: BSD-3-Clause
 *
 * saver.c: no test, but what tests/crash.sh kills and tests/h5py.sh reads.
 *
 *     saver DIR STEPS    checks the newest checkpoint of DIR, saves steps after it until STEPS, and
 *                        says "saved N" once a step is committed; keeps 3
 *     saver DIR STEPS background     the same, written while the program goes on
 *     saver DIR          only checks the newest one, every byte, and says "newest N"
 *
 * Element i (row-major) of every matrix at step s is (7 i + s) mod 251 - 125: exact in all types.
 */
#include <cleave.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { MATRICES = 5, KEEP = 3 };

static clv_grid *grid;

static void die(const char *what)
{
    fprintf(stderr, "saver: %s: %s\n", what, clv_last_error());
    exit(1);
}

static void try(clv_status status, const char *what)
{
    if (status != CLV_OK) die(what);
}

static int value_of(int64_t i, int64_t step)
{
    return (int)((7 * i + step) % 251) - 125;
}

/* The bits of a small integer in a type. */
static uint64_t bits_of(clv_dtype dtype, int value)
{
    union {
        uint64_t bits;
        double f64;
        float f32;
        int32_t i32;
    } u = {0};
    if (dtype == CLV_F64) u.f64 = value;
    if (dtype == CLV_I32) u.i32 = value;
    if (dtype == CLV_F32 || dtype == CLV_BF16) u.f32 = (float)value;
    return dtype == CLV_BF16 ? u.bits >> 16 : u.bits;
}

/* Sets a matrix to its values at a step, or counts where it differs from them. */
static int64_t visit(const clv_matrix *matrix, int64_t step, bool set)
{
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block block = clv_matrix_block(matrix);
    size_t size = clv_dtype_size(spec.dtype);
    int64_t wrong = 0;
    for (int64_t i = 0; i < block.m; i++)
        for (int64_t j = 0; j < block.n; j++) {
            int64_t index = (block.row0 + i) * spec.n + block.col0 + j;
            uint64_t bits = bits_of(spec.dtype, value_of(index, step));
            char *at = (char *)block.data + (size_t)(i * block.ld + j) * size;
            if (set)
                memcpy(at, &bits, size);
            else
                wrong += memcmp(at, &bits, size) != 0;
        }
    return wrong;
}

static void make_matrices(clv_named named[MATRICES])
{
    static const struct {
        const char *name, *layout;
        int64_t m, n;
        clv_dtype dtype;
    } shapes[MATRICES] = {{"weight", "col|-", 515, 257, CLV_F32},
                          {"moment/weight", "-|col", 515, 257, CLV_F64},
                          {"bf16", "-|col", 17, 7, CLV_BF16},
                          {"ids", "-|-", 127, 1, CLV_I32},
                          {"none", "col|-", 0, 3, CLV_F32}};
    for (int i = 0; i < MATRICES; i++) {
        clv_spec spec = {.m = shapes[i].m, .n = shapes[i].n, .dtype = shapes[i].dtype};
        try(clv_layout_parse(grid, shapes[i].layout, &spec.layout), "layout");
        try(clv_matrix_create(grid, spec, &named[i].matrix), "matrix");
        named[i].name = shapes[i].name;
    }
}

/* The step of the newest checkpoint of dir, all of it checked; 0 if there is none. */
static int64_t check_newest(const char *dir, const clv_named named[MATRICES])
{
    char *file = NULL;
    clv_checkpoint *checkpoint = NULL;
    clv_status status = clv_checkpoint_resolve(grid, dir, &file);
    if (status == CLV_ENOTFOUND) return 0;
    try(status, dir);
    try(clv_checkpoint_open(grid, file, &checkpoint), file);
    try(clv_checkpoint_verify(checkpoint, NULL, NULL), file);
    try(clv_checkpoint_load(checkpoint, MATRICES, named), file);
    int64_t step = -1, wrong = 0;
    sscanf(clv_checkpoint_json(checkpoint), "{\"step\": %ld}", &step);
    for (int i = 0; i < MATRICES; i++) wrong += visit(named[i].matrix, step, false);
    if (wrong) die("loaded other values than were saved");
    clv_checkpoint_close(&checkpoint);
    free(file);
    return step;
}

static void save(clv_saver *saver, int64_t step, const clv_named named[MATRICES])
{
    char json[64];
    snprintf(json, sizeof json, "{\"step\": %ld}", step);
    for (int i = 0; i < MATRICES; i++) visit(named[i].matrix, step, true);
    try(clv_saver_save(saver, step, MATRICES, named, json), "save");
}

/* What became durable since the last time. */
static void tell(int64_t saved)
{
    static int64_t told = -1;
    if (saved == told) return;
    told = saved;
    if (clv_grid_rank(grid) == 0) printf("saved %ld\n", saved), fflush(stdout);
}

/* In the background, looks between two saves are a few, as many as the bits of the step say. */
static void save_all(const char *dir, bool background, int64_t step, int64_t last,
                     const clv_named named[MATRICES])
{
    clv_saver *saver = NULL;
    int64_t saved;
    clv_saver_options options = {.keep = KEEP, .background = background};
    try(clv_saver_create(grid, dir, &options, &saver), dir);
    while (step++ < last) {
        save(saver, step, named);
        for (int64_t looks = 0; looks <= step % 8; looks++) {
            try(clv_saver_check(saver, &saved), "check");
            tell(saved);
        }
    }
    try(clv_saver_wait(saver, &saved), "wait");
    tell(saved);
    clv_saver_destroy(&saver);
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlive the launcher */
    MPI_Init(&argc, &argv);
    clv_named named[MATRICES];
    try(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid), "grid");
    make_matrices(named);
    if (argc < 2 || argc > 4) die("usage: saver DIR [STEPS [background]]");
    int64_t step = check_newest(argv[1], named);
    if (argc == 2 && clv_grid_rank(grid) == 0) printf("newest %ld\n", step);
    if (argc > 2) save_all(argv[1], argc > 3, step, atol(argv[2]), named);
    for (int i = 0; i < MATRICES; i++) clv_matrix_destroy(&named[i].matrix);
    clv_grid_destroy(&grid);
    MPI_Finalize();
    return 0;
}
