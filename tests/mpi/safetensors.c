/* SPDX-License-Identifier: BSD-3-Clause
 *
 * safetensors.c: models written by any number of processes in uneven blocks, in one file or in
 * shards, read back bit for bit; and whatever goes wrong, on one process alone too, the same status
 * on every process, with the model that was there before as it was.
 *
 * RANKS: 1 2 3 4 8
 */
#include "scratch.h"

#include <clvi_lib.h>
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { TENSORS = 7 };

static const clv_st_entry entries[TENSORS] = {{"model.embed", CLV_F32, 2, 127, 17},
                                              {"norm", CLV_BF16, 1, 1, 31},
                                              {"ids", CLV_I32, 2, 7, 1},
                                              {"none", CLV_F32, 2, 0, 5},
                                              {"odd", CLV_BF16, 2, 5, 129},
                                              {"deep", CLV_F64, 2, 33, 7},
                                              {"one", CLV_F64, 1, 1, 1}};

static int64_t bytes_of(const clv_st_entry *e)
{
    return e->m * e->n * (int64_t)clv_dtype_size(e->dtype);
}

/* ---- Writing and reading back -------------------------------------------------------------- */

/* This process's block of each tensor, cut over rows or columns, with a wider ld. */
static clv_status put_blocks(clv_safetensors_writer *writer, clv_grid *grid, uint64_t key)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < TENSORS && status == CLV_OK; i++) {
        const clv_st_entry *e = &entries[i];
        clv_spec spec = {.m = e->m, .n = e->n, .dtype = e->dtype};
        clv_layout_parse(grid, i % 2 ? "-|col" : "col|-", &spec.layout);
        clv_block block = clv_spec_block(grid, spec, clv_grid_rank(grid));
        size_t size = clv_dtype_size(e->dtype);
        block.ld += 3;
        block.data = calloc((size_t)(block.m * block.ld + 1), size);
        for (int64_t r = 0; r < block.m; r++)
            for (int64_t c = 0; c < block.n; c++) {
                uint64_t bits = element_bits(key + (uint64_t)i, block, e->n, r, c);
                memcpy((char *)block.data + (size_t)(r * block.ld + c) * size, &bits, size);
            }
        status = clv_safetensors_put(writer, i, block);
        free(block.data);
    }
    return status;
}

static clv_status write_model(clv_grid *grid, const char *folder, int64_t shard, uint64_t key)
{
    clv_safetensors_writer *writer = NULL;
    clv_status status = clv_safetensors_begin(grid, folder, TENSORS, entries, shard, &writer);
    if (status != CLV_OK) {
        CHECK(writer == NULL);
        return status;
    }
    status = clv_safetensors_commit(&writer, put_blocks(writer, grid, key));
    CHECK(writer == NULL);
    return status;
}

/* Elements that differ from what write_model wrote; -1 where it is another model. */
static int64_t wrong_in(const clv_safetensors *model, const clv_st_entry *e, int i, uint64_t key)
{
    int at = clv_safetensors_find(model, e->name);
    int64_t wrong = 0;
    size_t size = clv_dtype_size(e->dtype);
    if (at < 0) return -1;
    clv_st_tensor t = clv_safetensors_at(model, at);
    if (t.ndims != e->ndims || t.shape[t.ndims - 1] != e->n || t.bytes != bytes_of(e)) return -1;
    clv_block block = {malloc((size_t)t.bytes + 1), e->m, e->n, e->n, 0, 0};
    CHECK_OK(clv_safetensors_read((clv_safetensors *)model, at, e->dtype, block));
    for (int64_t r = 0; r < e->m; r++)
        for (int64_t c = 0; c < e->n; c++) {
            uint64_t bits = element_bits(key + (uint64_t)i, block, e->n, r, c);
            wrong += memcmp((char *)block.data + (size_t)(r * e->n + c) * size, &bits, size) != 0;
        }
    free(block.data);
    return wrong;
}

static bool is_model(const char *folder, uint64_t key)
{
    clv_safetensors *model = NULL;
    int64_t wrong = 0;
    if (clv_safetensors_open(folder, &model) != CLV_OK) return false;
    if (clv_safetensors_count(model) != TENSORS) wrong = -1;
    for (int i = 0; i < TENSORS && wrong == 0; i++) wrong = wrong_in(model, &entries[i], i, key);
    clv_safetensors_close(&model);
    return wrong == 0;
}

static int files_in(const char *folder, const char *with)
{
    int files = 0;
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list));)
        files += strstr(entry->d_name, with) != NULL;
    if (list) closedir(list);
    return files;
}

/* Whether every rank has the same status. */
static void check_everywhere(clv_status status)
{
    double low = status, high = status;
    CHECK_OK(clv_grid_reduce(world, CLV_MIN, 1, &low));
    CHECK_OK(clv_grid_reduce(world, CLV_MAX, 1, &high));
    CHECK(low == high);
}

static void there_and_back(void)
{
    scratch_begin();
    /* 8636 + 62 + 28 + 0 + 1290 + 1848 + 8 bytes */
    const struct {
        int64_t shard;
        int files;
    } cases[] = {{0, 1}, {1 << 30, 1}, {11872, 1}, {11871, 2}, {8636, 2}, {1290, 5}, {1, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = in_scratch("model%d", (int)i);
        bool single = cases[i].files == 1;
        CHECK_OK(write_model(world, folder, cases[i].shard, 10 * i));
        CHECK(is_model(folder, 10 * i));
        CHECK_INT(files_in(folder, ".tmp-"), 0);
        CHECK_INT(files_in(folder, "-of-"), single ? 0 : cases[i].files);
        CHECK_INT(files_in(folder, ".index.json"), !single);
        CHECK_OK(clv_grid_barrier(world));
    }
    scratch_end();
}

/* Every element is at a multiple of its size, as readers that map the file expect. */
static void aligned(void)
{
    scratch_begin();
    CHECK_OK(write_model(world, in_scratch("a"), 0, 1));
    if (check_rank() == 0) {
        unsigned char first[8];
        FILE *file = fopen(in_scratch("a/model.safetensors"), "rb");
        CHECK_INT(fread(first, 1, 8, file), 8);
        int64_t header = first[0] | first[1] << 8;
        char *text = calloc(1, (size_t)header + 1);
        CHECK_INT(fread(text, 1, (size_t)header, file), header);
        CHECK_INT(header % 8, 0);
        CHECK(strncmp(text, "{\"__metadata__\":{\"format\":\"pt\"},", 32) == 0);
        for (int i = 0; i < TENSORS; i++) {
            char name[64];
            snprintf(name, sizeof name, "\"%s\":{", entries[i].name);
            const char *at = strstr(text, name);
            at = at ? strstr(at, "\"data_offsets\":[") : NULL;
            if (CHECK(at)) CHECK_INT(atoll(at + 16) % (int64_t)clv_dtype_size(entries[i].dtype), 0);
        }
        free(text);
        fclose(file);
    }
    scratch_end();
}

/* One model after the other in the same folder: the last is there, and nothing of the others. */
static void replaces(void)
{
    static const int64_t shard[] = {0, 1290, 1, 8636, 0, 0};
    scratch_begin();
    const char *folder = in_scratch("model");
    if (check_rank() == 0) {
        CHECK(mkdir(folder, 0777) == 0);
        fclose(fopen(in_scratch("model/tokenizer.json"), "w"));
        fclose(fopen(in_scratch("model/.model.safetensors.tmp-somewhere-1"), "w"));
    }
    CHECK_OK(clv_grid_barrier(world));
    for (uint64_t i = 0; i < 6; i++) {
        CHECK_OK(write_model(world, folder, shard[i], i * 100));
        CHECK(is_model(folder, i * 100));
        CHECK_INT(files_in(folder, "tmp-"), 0);
        CHECK_INT(files_in(folder, "tokenizer.json"), 1);
        CHECK_INT(files_in(folder, "model.safetensors"), 1);
        CHECK_OK(clv_grid_barrier(world));
    }
    CHECK_INT(files_in(folder, "model"), 1);
    scratch_end();
}

/* A single file beside an index: nobody knows which is meant. */
static void both(void)
{
    scratch_begin();
    clv_safetensors *model = NULL;
    const char *folder = in_scratch("both");
    CHECK_OK(write_model(world, folder, 0, 1));
    if (check_rank() == 0) fclose(fopen(in_scratch("both/model.safetensors.index.json"), "w"));
    CHECK_OK(clv_grid_barrier(world));
    CHECK_STATUS(clv_safetensors_open(folder, &model), CLV_EFORMAT);
    CHECK(!model && strstr(clv_last_error(), "found both"));
    CHECK_OK(clv_grid_barrier(world));
    CHECK_OK(write_model(world, folder, 0, 2)); /* a writer leaves one of the two */
    CHECK(is_model(folder, 2));
    CHECK_OK(clv_grid_barrier(world));
    scratch_end();
}

enum { FILES = 150 };

static void write_files(const char *folder, const char names[FILES][8], float first)
{
    clv_st_entry many[FILES];
    clv_safetensors_writer *writer = NULL;
    for (int i = 0; i < FILES; i++) many[i] = (clv_st_entry){names[i], CLV_F32, 1, 1, 1};
    CHECK_OK(clv_safetensors_begin(world, folder, FILES, many, 1, &writer));
    for (int i = check_rank(); i < FILES; i += check_size()) {
        float value = first + (float)i;
        CHECK_OK(clv_safetensors_put(writer, i, (clv_block){&value, 1, 1, 1, 0, 0}));
    }
    CHECK_OK(clv_safetensors_commit(&writer, CLV_OK));
}

/* Reads all in another order than that of the files; how many of them are others now. */
static int read_files(clv_safetensors *model, const char names[FILES][8])
{
    int changed = 0;
    for (int turn = 0; model && turn < FILES; turn++) {
        int i = turn * 7 % FILES, at = clv_safetensors_find(model, names[i]);
        float value = -1;
        clv_status status =
            clv_safetensors_read(model, at, CLV_F32, (clv_block){&value, 1, 1, 1, 0, 0});
        changed += status == CLV_ECORRUPT;
        CHECK(status == CLV_ECORRUPT || (status == CLV_OK && value == (float)i));
    }
    return changed;
}

/* A model of more files than a process may open; and all of them replaced while it is read. */
static void many_files(void)
{
    char names[FILES][8];
    struct rlimit before, small;
    clv_safetensors *model = NULL;
    scratch_begin();
    const char *folder = in_scratch("many");
    for (int i = 0; i < FILES; i++) snprintf(names[i], sizeof names[i], "t%03d", i);
    write_files(folder, names, 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    small = (struct rlimit){FILES - 1, before.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &small) == 0);
    CHECK_OK(clv_safetensors_open(folder, &model));
    CHECK_INT(read_files(model, names), 0);
    CHECK_INT(read_files(model, names), 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK_OK(clv_grid_barrier(world));
    write_files(folder, names, 1000);
    CHECK_INT(read_files(model, names), FILES - 64);
    clv_safetensors_close(&model);
    scratch_end();
}

/* ---- Bad arguments --------------------------------------------------------------------------- */

static void refused(const clv_st_entry *e, int count, clv_status expected, const char *says)
{
    clv_safetensors_writer *writer = NULL;
    CHECK_STATUS(clv_safetensors_begin(world, in_scratch("no"), count, e, 0, &writer), expected);
    CHECK(!writer && strstr(clv_last_error(), says));
    CHECK(access(in_scratch("no"), F_OK) != 0);
}

static void bad_arguments(void)
{
    scratch_begin();
    const clv_st_entry twice[] = {{"a", CLV_F32, 1, 1, 1}, {"a", CLV_F64, 1, 1, 1}};
    const clv_st_entry cases[] = {{NULL, CLV_F32, 1, 1, 1},
                                  {"", CLV_F32, 1, 1, 1},
                                  {"__metadata__", CLV_F32, 1, 1, 1},
                                  {"\xff", CLV_F32, 1, 1, 1},
                                  {"a", (clv_dtype)9, 1, 1, 1},
                                  {"a", CLV_F32, 1, 2, 1},
                                  {"a", CLV_F32, 3, 1, 1},
                                  {"a", CLV_F32, 2, -1, 1},
                                  {"a", CLV_F32, 2, INT64_MAX, 2},
                                  {"a", CLV_F32, 2, INT64_MAX / 2, 1}};
    for (int i = 0; i < 10; i++)
        refused(&cases[i], 1, i < 4 ? CLV_EARG : i == 4 ? CLV_EDTYPE : CLV_ESHAPE, "expected");
    refused(twice, 2, CLV_EARG, "found \"a\" twice");
    refused(NULL, 1, CLV_EARG, "expected a folder, tensors");
    refused(twice, -1, CLV_EARG, "expected a folder, tensors");
    clv_safetensors_writer *writer = NULL;
    if (check_size() > 1) {
        const clv_st_entry mine = {"a", CLV_F32, 2, 3, check_rank() == 1 ? 3 : 4};
        refused(&mine, 1, CLV_EMISMATCH, "names and shapes");
        CHECK_STATUS(clv_safetensors_begin(world, check_rank() ? "a" : "b", 0, NULL, 0, &writer),
                     CLV_EMISMATCH);
    }
    CHECK_OK(clv_safetensors_begin(world, in_scratch("a"), 1, twice, 0, &writer));
    float two[2] = {0};
    CHECK_STATUS(clv_safetensors_put(writer, 1, (clv_block){two, 1, 1, 1, 0, 0}), CLV_EARG);
    CHECK_STATUS(clv_safetensors_put(writer, 0, (clv_block){two, 1, 2, 2, 0, 0}), CLV_EARG);
    CHECK_STATUS(clv_safetensors_put(writer, 0, (clv_block){two, 1, 1, 1, 1, 0}), CLV_EARG);
    CHECK(strstr(clv_last_error(), "expected a block within 1 x 1"));
    CHECK_STATUS(clv_safetensors_commit(&writer, check_rank() == check_size() - 1 ? CLV_EIO : 0),
                 CLV_EIO);
    CHECK_OK(clv_grid_barrier(world)); /* each process removes its own */
    CHECK_INT(files_in(in_scratch("a"), "model"), 0);
    scratch_end();
}

/* ---- Faults ------------------------------------------------------------------------------------
 */

/* A failed write over a good model: same status, nothing left, the old one as it was. */
static void check_old_stays(const char *folder, clv_status status, clv_status expected)
{
    check_everywhere(status);
    CHECK_STATUS(status, expected);
    CHECK_OK(clv_grid_barrier(world));
    CHECK_INT(files_in(folder, ".tmp-"), 0);
    CHECK(is_model(folder, 1));
    CHECK_OK(clv_grid_barrier(world));
}

/* One rank alone may not write beyond a size: rank 0 while it reserves, others at their blocks. */
static void one_rank_cannot_write(void)
{
    scratch_begin();
    signal(SIGXFSZ, SIG_IGN);
    const char *folder = in_scratch("model");
    CHECK_OK(write_model(world, folder, 3000, 1));
    for (int rank = 0; rank < check_size(); rank++)
        for (int64_t shard = 0; shard <= 3000; shard += 3000) {
            char name[24];
            struct rlimit before, small;
            CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
            small = (struct rlimit){100, before.rlim_max};
            if (check_rank() == rank) CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
            clv_status status = write_model(world, folder, shard, 2);
            if (check_rank() == rank) CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
            snprintf(name, sizeof name, "rank %d: ", rank);
            CHECK(strstr(clv_last_error(), name));
            check_old_stays(folder, status, CLV_EIO);
        }
    signal(SIGXFSZ, SIG_DFL);
    CHECK_STATUS(write_model(world, in_scratch("not/there"), 0, 1), CLV_EIO);
    CHECK(strstr(clv_last_error(), "not/there: cannot make the folder: No such file"));
    scratch_end();
}

/* The 1st, 2nd, 3rd ... allocation of one rank fails, until a write needs no more. */
static void one_rank_has_no_memory(void)
{
    scratch_begin();
    const char *folder = in_scratch("model");
    CHECK_OK(write_model(world, folder, 3000, 1));
    int64_t live = clvi_alloc_live();
    for (int rank = 0; rank<check_size(); rank += check_size()> 1 ? check_size() - 1 : 1) {
        clv_status status = CLV_ENOMEM;
        int64_t nth = 0;
        while (status != CLV_OK && ++nth < 200) {
            if (check_rank() == rank) clvi_alloc_fail_at(nth);
            status = write_model(world, folder, 3000, 1);
            clvi_alloc_fail_at(0);
            check_everywhere(status);
            CHECK(status == CLV_OK || status == CLV_ENOMEM);
            CHECK_INT(clvi_alloc_live(), live);
            CHECK_OK(clv_grid_barrier(world));
            CHECK_INT(files_in(folder, ".tmp-"), 0);
            CHECK_OK(clv_grid_barrier(world));
        }
        CHECK(nth > 8 && nth < 200);
    }
    CHECK(is_model(folder, 1));
    scratch_end();
}

const check_case check_cases[] = {
    {"there and back", there_and_back},
    {"aligned", aligned},
    {"replaces", replaces},
    {"both", both},
    {"many files", many_files},
    {"bad arguments", bad_arguments},
    {"one rank cannot write", one_rank_cannot_write},
    {"one rank has no memory", one_rank_has_no_memory},
    {0},
};
