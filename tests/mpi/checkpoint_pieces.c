/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint_pieces.c: a checkpoint written block by block, by any process, in any order, with
 * holes.
 *
 * RANKS: 1 2 3 5
 */
#include "scratch.h"

#include <dirent.h>

enum { ENTRIES = 5, MIB = 1 << 20 };

/* Order in groups differs from the order given; several tiles, one, less, none. */
static const clv_checkpoint_entry entries[ENTRIES] = {{"a/long", 9000, 130, CLV_F32},
                                                      {"wide", 3, 700000, CLV_F64},
                                                      {"a/short", 17, 7, CLV_BF16},
                                                      {"none", 0, 5, CLV_I32},
                                                      {"b", 1, MIB, CLV_I32}};

static bool is_hole(int entry, int64_t row0, int64_t col0)
{
    return (row0 + col0 + entry) % 5 == 0;
}

/* A block of entry i with its bits, ld somewhat more than n. */
static void put_block(clv_checkpoint_writer *writer, int i, clv_block block)
{
    size_t size = clv_dtype_size(entries[i].dtype);
    block.ld = block.n + (block.row0 % 3 ? 3 : 0);
    char *data = malloc((size_t)(block.m * block.ld + 1) * size);
    for (int64_t k = 0; k < block.m; k++)
        for (int64_t j = 0; j < block.n; j++) {
            uint64_t bits = element_bits((uint64_t)i, block, entries[i].n, k, j);
            memcpy(data + (size_t)(k * block.ld + j) * size, &bits, size);
        }
    block.data = data;
    CHECK_OK(clv_checkpoint_put(writer, i, block));
    free(data);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Cuts entry i into m x n blocks; calls visit for each with the process it belongs to. */
static void each_block(int i, int64_t m, int64_t n,
                       void (*visit)(void *context, int i, clv_block block, int owner),
                       void *context)
{
    int turn = 0;
    for (int64_t row = 0; row < entries[i].m; row += m)
        for (int64_t col = 0; col < entries[i].n; col += n) {
            clv_block block = {
                NULL, least(m, entries[i].m - row), least(n, entries[i].n - col), 0, row, col};
            visit(context, i, block, turn++ % check_size());
        }
}

static void put_if_mine(void *writer, int i, clv_block block, int owner)
{
    if (owner == check_rank() && !is_hole(i, block.row0, block.col0)) put_block(writer, i, block);
}

static void count_wrong(void *context, int i, clv_block block, int owner)
{
    (void)owner;
    clv_matrix *const *matrices = context;
    clv_block all = clv_matrix_block(matrices[i]);
    size_t size = clv_dtype_size(entries[i].dtype);
    int64_t wrong = 0;
    for (int64_t k = 0; k < block.m; k++)
        for (int64_t j = 0; j < block.n; j++) {
            uint64_t bits = element_bits((uint64_t)i, block, entries[i].n, k, j);
            if (is_hole(i, block.row0, block.col0)) bits = 0;
            wrong += memcmp(element_at(matrices[i], block.row0 + k - all.row0, block.col0 + j),
                            &bits, size) != 0;
        }
    CHECK_INT(wrong, 0);
}

/* Every process loads everything. */
static void check_file(const char *path, const int64_t cut[][2])
{
    clv_checkpoint *checkpoint = NULL;
    clv_matrix *matrices[ENTRIES];
    clv_named named[ENTRIES];
    for (int i = 0; i < ENTRIES; i++) {
        clv_spec spec = {.m = entries[i].m, .n = entries[i].n, .dtype = entries[i].dtype};
        CHECK_OK(clv_matrix_create(world, spec, &matrices[i]));
        named[i] = (clv_named){entries[i].name, matrices[i]};
    }
    if (CHECK_OK(clv_checkpoint_open(world, path, &checkpoint))) {
        CHECK_OK(clv_checkpoint_verify(checkpoint, NULL));
        CHECK_OK(clv_checkpoint_load(checkpoint, ENTRIES, named, NULL));
        CHECK_STRING(clv_checkpoint_json(checkpoint), "{\"by\": \"pieces\"}");
        for (int i = 0; i < ENTRIES; i++)
            each_block(i, cut[i][0], cut[i][1], count_wrong, matrices);
    }
    clv_checkpoint_close(&checkpoint);
    for (int i = 0; i < ENTRIES; i++) clv_matrix_destroy(&matrices[i]);
}

/* Rows of all lengths, columns, squares; blocks that end inside, at and beyond a tile. */
static void any_blocks(void)
{
    static const int64_t cuts[][ENTRIES][2] = {
        {{9000, 130}, {3, 700000}, {17, 7}, {1, 1}, {1, MIB}},
        {{1000, 130}, {1, 700000}, {5, 7}, {1, 1}, {1, MIB / 4}},
        {{2500, 47}, {2, 262144}, {4, 3}, {1, 1}, {1, 300000}},
        {{9000, 13}, {3, 131072}, {17, 1}, {1, 1}, {1, MIB / 4 - 1}}};
    scratch_begin();
    for (int cut = 0; cut < 4; cut++) {
        clv_checkpoint_writer *writer = NULL;
        CHECK_OK(clv_checkpoint_begin(world, in_scratch("p.h5"), ENTRIES, entries,
                                      "{\"by\": \"pieces\"}", &writer));
        for (int k = 0; k < ENTRIES && writer; k++) { /* in another order on every process */
            int i = (k + check_rank()) % ENTRIES;
            each_block(i, cuts[cut][i][0], cuts[cut][i][1], put_if_mine, writer);
        }
        CHECK_OK(clv_checkpoint_commit(&writer, CLV_OK));
        CHECK(!writer);
        check_file(in_scratch("p.h5"), cuts[cut]);
    }
    scratch_end();
}

static int hidden_files(void)
{
    int hidden = 0;
    DIR *folder = opendir(scratch);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        hidden += strstr(entry->d_name, ".tmp-") != NULL;
    if (folder) closedir(folder);
    return hidden;
}

/* What one process brings is everyone's, and nothing stays. */
static void given_up(void)
{
    scratch_begin();
    for (int rank = 0; rank < check_size(); rank++) {
        clv_checkpoint_writer *writer = NULL;
        char name[24];
        CHECK_OK(clv_checkpoint_begin(world, in_scratch("p.h5"), ENTRIES, entries, NULL, &writer));
        clv_block beyond = {NULL, 1, 8, 8, 16, 0};
        CHECK_STATUS(clv_checkpoint_put(writer, 2, beyond), CLV_ESHAPE);
        CHECK(strstr(clv_last_error(), "a/short"));
        CHECK_STATUS(clv_checkpoint_put(writer, ENTRIES, beyond), CLV_EARG);
        CHECK_INT(hidden_files(), 1);
        CHECK_OK(clv_grid_barrier(world));
        clv_status mine = check_rank() == rank ? clv_checkpoint_put(writer, 2, beyond) : CLV_OK;
        CHECK_STATUS(clv_checkpoint_commit(&writer, mine), CLV_ESHAPE);
        snprintf(name, sizeof name, "rank %d: ", rank);
        CHECK(strstr(clv_last_error(), name));
        CHECK(!writer);
        CHECK_OK(clv_grid_barrier(world));
        CHECK_INT(hidden_files(), 0);
        CHECK(access(in_scratch("p.h5"), F_OK) != 0);
        CHECK_OK(clv_grid_barrier(world));
    }
    scratch_end();
}

static void arguments(void)
{
    scratch_begin();
    clv_checkpoint_writer *writer = NULL;
    const char *path = in_scratch("p.h5");
    const clv_checkpoint_entry bad[] = {
        {NULL, 1, 1, 0}, {"x", -1, 1, 0}, {"x", INT64_MAX / 4, 8, 0}, {"x", 1, 1, (clv_dtype)99}};
    static const clv_status says[] = {CLV_EARG, CLV_ESHAPE, CLV_ESHAPE, CLV_EDTYPE};
    for (int i = 0; i < 4; i++)
        CHECK_STATUS(clv_checkpoint_begin(world, path, 1, &bad[i], NULL, &writer), says[i]);
    CHECK_STATUS(clv_checkpoint_begin(world, path, 1, NULL, NULL, &writer), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_begin(world, path, 1, entries, NULL, NULL), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_begin(NULL, path, 1, entries, NULL, &writer), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_commit(&writer, CLV_OK), CLV_EARG);
    /* More than any disk has: said before anything is written. */
    const clv_checkpoint_entry huge = {"x", 1 << 20, 1 << 30, CLV_F64};
    CHECK_STATUS(clv_checkpoint_begin(world, path, 1, &huge, NULL, &writer), CLV_EIO);
    CHECK(strstr(clv_last_error(), "bytes free on its file system, found"));
    CHECK(!writer);
    CHECK_OK(clv_grid_barrier(world));
    CHECK_INT(hidden_files(), 0);
    scratch_end();
}

/* As many in one group as no model has yet, in a time that grows no faster than their number. */
static void many(void)
{
    enum { MANY = 20000 };
    clv_checkpoint_entry *all = calloc(MANY, sizeof *all);
    char(*names)[40] = calloc(MANY, sizeof *names);
    clv_checkpoint_writer *writer = NULL;
    clv_checkpoint *checkpoint = NULL;
    scratch_begin();
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "layers/expert.%d.weight", (i * 7) % MANY);
        all[i] = (clv_checkpoint_entry){names[i], 1, 1 + i % 3, CLV_F32};
    }
    CHECK_OK(clv_checkpoint_begin(world, in_scratch("many.h5"), MANY, all, NULL, &writer));
    CHECK_OK(clv_checkpoint_commit(&writer, CLV_OK));
    CHECK_OK(clv_checkpoint_open(world, in_scratch("many.h5"), &checkpoint));
    CHECK_INT(clv_checkpoint_count(checkpoint), MANY);
    CHECK_OK(clv_checkpoint_verify(checkpoint, NULL));
    for (int i = 0; i < MANY; i += 999) {
        clv_checkpoint_entry entry = clv_checkpoint_at(checkpoint, i);
        CHECK(strcmp(entry.name, names[i]) == 0);
        CHECK_INT(entry.n, 1 + i % 3);
    }
    clv_checkpoint_close(&checkpoint);
    scratch_end();
    free(names);
    free(all);
}

const check_case check_cases[] = {
    {"any blocks", any_blocks},
    {"given up", given_up},
    {"arguments", arguments},
    {"many", many},
    {0},
};
