/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokens.c: several files as one sequence of tokens, whatever their elements; files that are not
 * there, not the same everywhere or not what they say.
 *
 * RANKS: 1 3
 */
#include "scratch.h"
#include <grids.h>

#include <clvi_lib.h>
#include <hdf5.h>
#include <sys/stat.h>

enum { FILES = 5 };

/* Extents around the reading buffer's, an empty file in the middle. */
static const int64_t sizes[FILES] = {1, 16384, 0, 16385, 40000};

static int32_t byte_at(int64_t position)
{
    return (int32_t)(position * 31 % 251) + 5 * (position % 2);
}

static void put_file(const char *path, int64_t begin, int64_t size)
{
    if (check_rank() == 0) {
        FILE *file = fopen(path, "w");
        if (!CHECK(file)) return;
        for (int64_t i = 0; i < size; i++) fputc(byte_at(begin + i), file);
        fclose(file);
    }
    CHECK_OK(clv_grid_barrier(world));
}

/* The files' paths, made once for a case. */
static char paths[FILES][512];
static const char *const list[FILES] = {paths[0], paths[1], paths[2], paths[3], paths[4]};

static int64_t put_files(void)
{
    int64_t all = 0;
    for (int i = 0; i < FILES; i++) {
        snprintf(paths[i], sizeof paths[i], "%s", in_scratch("%d.txt", i));
        put_file(paths[i], all, sizes[i]);
        all += sizes[i];
    }
    return all;
}

static void reads_across_files(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    int64_t all = put_files();
    uint64_t state = 1 + (uint64_t)check_rank();
    int32_t *ids = malloc((size_t)(all + 1) * sizeof *ids);
    if (CHECK_OK(clv_tokens_open(world, FILES, list, &tokens))) {
        CHECK_INT(clv_tokens_size(tokens), all);
        CHECK_INT(clv_tokens_vocabulary(tokens), 256);
        for (int trial = 0; trial < 100; trial++) {
            int64_t offset = trial ? check_random_below(&state, all + 1) : 0, wrong = 0;
            int64_t count = trial ? check_random_below(&state, all - offset + 1) : all;
            ids[count] = -7;
            CHECK_OK(clv_tokens_read(tokens, offset, count, ids));
            for (int64_t i = 0; i < count; i++) wrong += ids[i] != byte_at(offset + i);
            CHECK_INT(wrong, 0);
            CHECK_INT(ids[count], -7);
        }
        CHECK_STATUS(clv_tokens_read(tokens, -1, 1, ids), CLV_EARG);
        CHECK_STATUS(clv_tokens_read(tokens, all, 1, ids), CLV_EARG);
        CHECK_STATUS(clv_tokens_read(tokens, 1, INT64_MAX, ids), CLV_EARG);
        CHECK_STATUS(clv_tokens_read(tokens, 0, 1, NULL), CLV_EARG);
        CHECK_OK(clv_tokens_read(tokens, all, 0, NULL));
        CHECK_STATUS(clv_tokens_read(NULL, 0, 0, NULL), CLV_EARG);
    }
    free(ids);
    clv_tokens_close(&tokens);
    CHECK(!tokens);
    scratch_end();
}

static void refuses(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    put_files();
    const char *nothing = in_scratch("nothing");
    const char *const missing[] = {paths[0], nothing}, *const folder[] = {scratch};
    CHECK_STATUS(clv_tokens_open(world, 2, missing, &tokens), CLV_ENOTFOUND);
    CHECK(!tokens && strstr(clv_last_error(), nothing));
    CHECK_STATUS(clv_tokens_open(world, 1, folder, &tokens), CLV_EFORMAT);
    CHECK(!tokens && strstr(clv_last_error(), "directory"));
    CHECK_STATUS(clv_tokens_open(world, 1, list + 2, &tokens), CLV_ESHAPE); /* the empty one */
    CHECK(!tokens && strstr(clv_last_error(), paths[2]));
    CHECK_STATUS(clv_tokens_open(world, 0, list, &tokens), CLV_EARG);
    CHECK_STATUS(clv_tokens_open(world, 1, NULL, &tokens), CLV_EARG);
    CHECK_STATUS(clv_tokens_open(NULL, 1, list, &tokens), CLV_EARG);
    if (check_size() > 1) { /* the last rank alone differs */
        bool last = check_rank() == check_size() - 1;
        CHECK_STATUS(clv_tokens_open(world, 1, last ? list : list + 1, &tokens), CLV_EMISMATCH);
        CHECK_STATUS(clv_tokens_open(world, last ? 1 : 2, list, &tokens), CLV_EMISMATCH);
        CHECK_STATUS(clv_tokens_open(world, 1, last ? &nothing : list, &tokens), CLV_ENOTFOUND);
        CHECK(!tokens && strstr(clv_last_error(), "nothing"));
    }
    scratch_end();
}

/* One path, one size, other bytes: as on a machine with a folder of its own. */
static void other_bytes(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    bool last = check_rank() == check_size() - 1;
    const char *own = in_scratch("%d", last), *path = "text";
    char before[512];
    CHECK(getcwd(before, sizeof before) != NULL);
    for (int place = 0; place < 3; place++) {
        if (check_rank() == 0 || last) {
            mkdir(own, 0700);
            FILE *file = chdir(own) == 0 ? fopen(path, "w") : NULL;
            if (!CHECK(file)) break;
            for (int i = 0; i < 100000; i++)
                fputc('a' + (last && place > 0 && i == (place == 1 ? 0 : 99999)), file);
            fclose(file);
        }
        CHECK_OK(clv_grid_barrier(world));
        CHECK(chdir(own) == 0);
        clv_status expected = place > 0 && check_size() > 1 ? CLV_EMISMATCH : CLV_OK;
        CHECK_STATUS(clv_tokens_open(world, 1, &path, &tokens), expected);
        clv_tokens_close(&tokens);
        CHECK_OK(clv_grid_barrier(world));
    }
    CHECK(chdir(before) == 0);
    scratch_end();
}

/* A file cut short while it is open is an error, not a crash. */
static void cut_short(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    put_files();
    int32_t ids[100];
    CHECK_OK(clv_tokens_open(world, FILES, list, &tokens));
    if (check_rank() == 0) CHECK(truncate(paths[4], 10) == 0);
    CHECK_OK(clv_grid_barrier(world));
    CHECK_STATUS(clv_tokens_read(tokens, clv_tokens_size(tokens) - 100, 100, ids), CLV_ECORRUPT);
    CHECK(strstr(clv_last_error(), paths[4]));
    clv_tokens_close(&tokens);
    scratch_end();
}

static void one_rank_has_no_memory(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    put_files();
    int64_t live = clvi_alloc_live();
    for (int64_t nth = 1; nth <= FILES + 1; nth++) {
        if (check_rank() == check_size() - 1) clvi_alloc_fail_at(nth);
        CHECK_STATUS(clv_tokens_open(world, FILES, list, &tokens), CLV_ENOMEM);
        clvi_alloc_fail_at(0);
        CHECK(!tokens);
        CHECK_INT(clvi_alloc_live(), live);
    }
    scratch_end();
}

/* ---- HDF5 ------------------------------------------------------------------------- */

/* How a data set of tokens can lie in a file. */
typedef enum { CONTIGUOUS, CHUNKED, PACKED, COMPACT, LAYOUTS } storage;

typedef struct {
    storage layout;
    int bytes;
    bool big_endian;
    int64_t size, vocabulary; /* 0: no attribute */
    int64_t unwritten;        /* elements at the end */
} variant;

static hid_t type_of(int bytes, bool big_endian)
{
    hid_t type = H5Tcopy(big_endian ? H5T_STD_U64BE : H5T_STD_U64LE);
    H5Tset_size(type, (size_t)bytes);
    return type;
}

/* Of all widths the widest that ids may have. */
static int32_t id_at(const variant *v, int64_t i)
{
    uint64_t state = (uint64_t)i;
    return (int32_t)(check_random(&state) &
                     (((uint64_t)1 << (v->bytes < 4 ? 8 * v->bytes : 31)) - 1));
}

static hid_t storage_of(const variant *v)
{
    hsize_t chunk = 1000;
    hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
    if (v->layout == CHUNKED || v->layout == PACKED) H5Pset_chunk(properties, 1, &chunk);
    if (v->layout == PACKED) H5Pset_shuffle(properties), H5Pset_deflate(properties, 6);
    if (v->layout == COMPACT) H5Pset_layout(properties, H5D_COMPACT);
    return properties;
}

static void put_attribute(hid_t set, int64_t vocabulary)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(set, "vocabulary", H5T_STD_I32BE, space, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(H5Awrite(attribute, H5T_NATIVE_INT64, &vocabulary) >= 0);
    H5Aclose(attribute), H5Sclose(space);
}

static void put_variant(const char *path, const variant *v)
{
    hsize_t size = (hsize_t)v->size, none = 0, written = (hsize_t)(v->size - v->unwritten);
    uint64_t *values = malloc((size_t)(v->size + 1) * sizeof *values);
    for (int64_t i = 0; i < v->size; i++) values[i] = (uint64_t)id_at(v, i);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(1, &size, NULL), type = type_of(v->bytes, v->big_endian);
    hid_t properties = storage_of(v);
    hid_t set = H5Dcreate2(file, "tokens", type, space, H5P_DEFAULT, properties, H5P_DEFAULT);
    if (written > 0) {
        CHECK(H5Sselect_hyperslab(space, H5S_SELECT_SET, &none, NULL, &written, NULL) >= 0);
        CHECK(H5Dwrite(set, H5T_NATIVE_UINT64, space, space, H5P_DEFAULT, values) >= 0);
    }
    if (v->vocabulary) put_attribute(set, v->vocabulary);
    H5Dclose(set), H5Pclose(properties), H5Tclose(type), H5Sclose(space), H5Fclose(file);
    free(values);
}

/* Any part of the sequence that the variants in turn make. */
static void check_parts(clv_tokens *tokens, int count, const variant variants[])
{
    uint64_t state = 5 + (uint64_t)check_rank();
    int64_t all = clv_tokens_size(tokens), expected = 0;
    int32_t *ids = malloc((size_t)(all + 1) * sizeof *ids),
            *whole = malloc((size_t)all * sizeof *ids);
    for (int v = 0; v < count; v++)
        for (int64_t i = 0; i < variants[v].size; i++) whole[expected++] = id_at(&variants[v], i);
    CHECK_INT(all, expected);
    for (int trial = 0; trial < 20; trial++) {
        int64_t offset = trial ? check_random_below(&state, all + 1) : 0;
        int64_t some = trial ? check_random_below(&state, all - offset + 1) : all;
        ids[some] = -7;
        CHECK_OK(clv_tokens_read(tokens, offset, some, ids));
        CHECK(memcmp(ids, whole + offset, (size_t)some * sizeof *ids) == 0);
        CHECK_INT(ids[some], -7);
    }
    free(ids);
    free(whole);
}

/* Each alone, and all of a storage as one. */
static void every_element(void)
{
    scratch_begin();
    for (int layout = 0; layout < LAYOUTS; layout++) {
        variant all[8];
        for (int i = 0; i < 8; i++) {
            bool large = layout != COMPACT && i == 5;
            all[i] = (variant){(storage)layout, 1 << i % 4, i >= 4, large ? 50000 : 2345 + i, 0, 0};
            snprintf(paths[0], sizeof paths[0], "%s", in_scratch("%d-%d.h5", layout, i));
            if (check_rank() == 0) put_variant(paths[0], &all[i]);
            CHECK_OK(clv_grid_barrier(world));
            clv_tokens *tokens = NULL;
            if (CHECK_OK(clv_tokens_open(world, 1, list, &tokens))) check_parts(tokens, 1, &all[i]);
            clv_tokens_close(&tokens);
        }
        char names[8][512];
        const char *const eight[] = {names[0], names[1], names[2], names[3],
                                     names[4], names[5], names[6], names[7]};
        for (int i = 0; i < 8; i++)
            snprintf(names[i], 512, "%s", in_scratch("%d-%d.h5", layout, i));
        clv_tokens *tokens = NULL;
        if (CHECK_OK(clv_tokens_open(world, 8, eight, &tokens))) {
            check_parts(tokens, 8, all);
            CHECK_INT(clv_tokens_vocabulary(tokens), 0);
        }
        clv_tokens_close(&tokens);
    }
    scratch_end();
}

static int next_descriptor(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

/* HDF5 reads the file that was opened, not another that has its name by now. */
static void opened_once(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    snprintf(paths[0], sizeof paths[0], "%s", in_scratch("packed.h5"));
    const variant v = {PACKED, 4, false, 5000, 0, 0};
    if (check_rank() == 0) put_variant(paths[0], &v);
    CHECK_OK(clv_grid_barrier(world));
    int before = next_descriptor();
    if (CHECK_OK(clv_tokens_open(world, 1, list, &tokens))) {
        CHECK_INT(next_descriptor(), before + 1);
        check_parts(tokens, 1, &v);
    }
    clv_tokens_close(&tokens);
    CHECK_INT(next_descriptor(), before);
    scratch_end();
}

/* ---- Writing -------------------------------------------------------------------------- */

static bool put_written(const char *path, int64_t size, int64_t vocabulary, bool keep)
{
    clv_tokens_writer *writer = NULL;
    if (!CHECK_OK(clv_tokens_create(path, vocabulary, &writer))) return false;
    for (int64_t i = 0; i < size; i++) {
        int32_t id = (int32_t)(i * 7919 % vocabulary);
        if (!CHECK_OK(clv_tokens_append(writer, 1, &id))) break;
    }
    bool done = CHECK_OK(clv_tokens_commit(&writer, keep));
    CHECK(!writer);
    return done;
}

/* Sizes around the buffer's; vocabularies of both widths. */
static void writes(void)
{
    static const int64_t written[] = {1, 2047, 2048, 2049, 131071, 131072, 131073, 300000};
    static const int64_t vocabularies[] = {1, 256, 65536, 65537, (int64_t)INT32_MAX + 1};
    scratch_begin();
    snprintf(paths[0], sizeof paths[0], "%s", in_scratch("written.h5"));
    for (int s = 0; s < 8; s++)
        for (int v = 0; v < 5; v++) {
            if (check_rank() == 0) put_written(paths[0], written[s], vocabularies[v], true);
            CHECK_OK(clv_grid_barrier(world));
            clv_tokens *tokens = NULL;
            int32_t *ids = malloc((size_t)written[s] * sizeof *ids);
            if (CHECK_OK(clv_tokens_open(world, 1, list, &tokens))) {
                int64_t wrong = 0;
                CHECK_INT(clv_tokens_size(tokens), written[s]);
                CHECK_INT(clv_tokens_vocabulary(tokens), vocabularies[v]);
                CHECK_OK(clv_tokens_read(tokens, 0, written[s], ids));
                for (int64_t i = 0; i < written[s]; i++)
                    wrong += ids[i] != (int32_t)(i * 7919 % vocabularies[v]);
                CHECK_INT(wrong, 0);
            }
            free(ids);
            clv_tokens_close(&tokens);
            CHECK_OK(clv_grid_barrier(world));
        }
    scratch_end();
}

/* The old file stays until a new one is whole; one writer at a time; what a crash left goes. */
static void writes_or_not(void)
{
    scratch_begin();
    clv_tokens_writer *writer = NULL, *second = NULL;
    clv_tokens *tokens = NULL;
    int32_t id = 5, wrong = 300;
    snprintf(paths[0], sizeof paths[0], "%s", in_scratch("written.h5"));
    snprintf(paths[1], sizeof paths[1], "%s", in_scratch(".written.h5.tmp-killed-1"));
    snprintf(paths[2], sizeof paths[2], "%s", in_scratch("pipe"));
    if (check_rank() == 0) {
        fclose(fopen(paths[1], "w"));
        CHECK(mkfifo(paths[2], 0600) == 0);
        CHECK_STATUS(clv_tokens_create(paths[2], 256, &writer), CLV_EIO);
        CHECK(!writer && strstr(clv_last_error(), "expected a file or nothing there"));
        CHECK_STATUS(clv_tokens_create(scratch, 256, &writer), CLV_EIO);
        put_written(paths[0], 100, 256, true);
        put_written(paths[0], 200, 256, false);
        CHECK(access(paths[1], F_OK) != 0);
        CHECK_OK(clv_tokens_create(paths[0], 256, &writer));
        CHECK_STATUS(clv_tokens_create(paths[0], 256, &second), CLV_EIO);
        CHECK(!second && strstr(clv_last_error(), "another process"));
        CHECK_STATUS(clv_tokens_append(writer, 1, &wrong), CLV_EARG);
        CHECK(strstr(clv_last_error(), "expected 0 to 255") && strstr(clv_last_error(), "300"));
        CHECK_OK(clv_tokens_append(writer, 1, &id));
        CHECK_OK(clv_tokens_commit(&writer, false));
        CHECK_STATUS(clv_tokens_create(in_scratch("no/folder.h5"), 256, &writer), CLV_ENOTFOUND);
        CHECK_STATUS(clv_tokens_create(paths[0], 0, &writer), CLV_EARG);
        CHECK_STATUS(clv_tokens_create(NULL, 1, &writer), CLV_EARG);
        CHECK_STATUS(clv_tokens_commit(&writer, true), CLV_EARG);
    }
    CHECK_OK(clv_grid_barrier(world));
    if (CHECK_OK(clv_tokens_open(world, 1, list, &tokens))) CHECK_INT(clv_tokens_size(tokens), 100);
    clv_tokens_close(&tokens);
    scratch_end();
}

/* ---- Files that are not what they say --------------------------------------------------- */

static void check_refused(const char *path, clv_status status, const char *words)
{
    clv_tokens *tokens = NULL;
    CHECK_OK(clv_grid_barrier(world));
    CHECK_STATUS(clv_tokens_open(world, 1, &path, &tokens), status);
    if (!CHECK(!tokens && strstr(clv_last_error(), path) && strstr(clv_last_error(), words)))
        fprintf(stderr, "  %s\n", clv_last_error());
    CHECK_OK(clv_grid_barrier(world));
}

/* A data set of other elements, of `extents`, under another name, or behind a link. */
static void put_other(const char *path, hid_t type, int extents, const char *called, bool link)
{
    const hsize_t dims[] = {3, 4};
    if (check_rank() > 0) return;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(extents, dims, NULL);
    hid_t set = H5Dcreate2(file, called, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    if (link)
        CHECK(H5Lcreate_external(path, called, file, "tokens", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Dclose(set), H5Sclose(space), H5Fclose(file);
}

static void refuses_hdf5(void)
{
    scratch_begin();
    const char *path = in_scratch("other.h5");
    put_other(path, H5T_STD_I32LE, 1, "tokens", false);
    check_refused(path, CLV_EDTYPE, "unsigned");
    put_other(path, H5T_IEEE_F32LE, 1, "tokens", false);
    check_refused(path, CLV_EDTYPE, "unsigned");
    put_other(path, H5T_STD_U32LE, 2, "tokens", false);
    check_refused(path, CLV_EFORMAT, "1 extent, found 2");
    put_other(path, H5T_STD_U32LE, 1, "words", false);
    check_refused(path, CLV_EFORMAT, "named tokens, found none");
    put_other(path, H5T_STD_U32LE, 1, "words", true);
    check_refused(path, CLV_EFORMAT, "found a link");
    if (check_rank() == 0) put_variant(path, &(variant){CONTIGUOUS, 4, false, 0, 0, 0});
    check_refused(path, CLV_ESHAPE, "found 0 tokens");
    if (check_rank() == 0) put_variant(path, &(variant){CONTIGUOUS, 4, false, 10, -1, 0});
    check_refused(path, CLV_EFORMAT, "vocabulary");
    put_file(path, 0, 100);
    check_refused(path, CLV_EFORMAT, "no signature");
    scratch_end();
}

/* Every number of 8 bytes that is `from` becomes `to`: the extents of a data set. */
static void replace(const char *path, int64_t from, int64_t to)
{
    static char bytes[1 << 16];
    FILE *file = fopen(path, "r+");
    size_t size = fread(bytes, 1, sizeof bytes, file);
    for (size_t at = 0; at + sizeof from <= size; at++)
        if (memcmp(bytes + at, &from, sizeof from) == 0) memcpy(bytes + at, &to, sizeof to);
    rewind(file);
    fwrite(bytes, 1, size, file);
    fclose(file);
}

static void never_written(void)
{
    scratch_begin();
    const char *path = in_scratch("unwritten.h5");
    const struct {
        variant of;
        const char *words;
    } lacking[] = {{{CONTIGUOUS, 2, false, 5000, 0, 5000}, "found 0 that were written"},
                   {{CONTIGUOUS, 2, false, 5000, 77, 5000}, "found 0 that were written"},
                   {{CHUNKED, 2, false, 5000, 0, 5000}, "found a file with room for"},
                   {{CHUNKED, 2, false, 5000, 0, 1000}, "found 4 that were written"},
                   {{PACKED, 4, false, 5500, 0, 500}, "that were written"}};
    for (int i = 0; i < 5; i++) {
        if (check_rank() == 0) put_variant(path, &lacking[i].of);
        check_refused(path, CLV_ESHAPE, lacking[i].words);
    }
    if (check_rank() == 0) {
        put_variant(path, &(variant){COMPACT, 2, false, 5000, 0, 0});
        replace(path, 5000, 5000000);
    }
    check_refused(path, CLV_ESHAPE,
                  "expected 10000000 bytes of tokens, found 10000 that were written");
    scratch_end();
}

static void mixed(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    const char *text = in_scratch("a.txt"), *ids = in_scratch("b.h5");
    const char *const two[] = {text, ids}, *const turned[] = {ids, text};
    put_file(text, 0, 100);
    if (check_rank() == 0) put_variant(ids, &(variant){CONTIGUOUS, 4, false, 10, 77, 0});
    CHECK_OK(clv_grid_barrier(world));
    CHECK_STATUS(clv_tokens_open(world, 2, two, &tokens), CLV_EARG);
    CHECK_STATUS(clv_tokens_open(world, 2, turned, &tokens), CLV_EARG);
    CHECK_OK(clv_tokens_open(world, 1, two, &tokens));
    CHECK_INT(clv_tokens_vocabulary(tokens), 256);
    clv_tokens_close(&tokens);
    CHECK_OK(clv_tokens_open(world, 1, turned, &tokens));
    CHECK_INT(clv_tokens_vocabulary(tokens), 77);
    clv_tokens_close(&tokens);
    scratch_end();
}

/* Ids that are not below the vocabulary that their file says. */
static void beyond_vocabulary(void)
{
    scratch_begin();
    clv_tokens *tokens = NULL;
    int32_t ids[10];
    const char *path = in_scratch("a.h5");
    if (check_rank() == 0) put_variant(path, &(variant){CONTIGUOUS, 4, false, 10, 1, 0});
    CHECK_OK(clv_grid_barrier(world));
    CHECK_OK(clv_tokens_open(world, 1, &path, &tokens));
    CHECK_STATUS(clv_tokens_read(tokens, 0, 10, ids), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), path) && strstr(clv_last_error(), "expected at most 0, found"));
    clv_tokens_close(&tokens);
    scratch_end();
}

/* 64-bit ids that no model has. */
static void too_large(void)
{
    scratch_begin();
    const char *path = in_scratch("large.h5");
    clv_tokens *tokens = NULL;
    int32_t ids[3];
    const hsize_t three = 3;
    const uint64_t values[] = {1, (uint64_t)INT32_MAX + 1, ~(uint64_t)0};
    if (check_rank() == 0) {
        hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        hid_t space = H5Screate_simple(1, &three, NULL);
        hid_t set =
            H5Dcreate2(file, "tokens", H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        CHECK(H5Dwrite(set, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
        H5Dclose(set), H5Sclose(space), H5Fclose(file);
    }
    CHECK_OK(clv_grid_barrier(world));
    CHECK_OK(clv_tokens_open(world, 1, &path, &tokens));
    CHECK_OK(clv_tokens_read(tokens, 0, 1, ids));
    CHECK_STATUS(clv_tokens_read(tokens, 0, 2, ids), CLV_ELIMIT);
    CHECK(strstr(clv_last_error(), "token 1:") && strstr(clv_last_error(), "2147483648"));
    CHECK_STATUS(clv_tokens_read(tokens, 2, 1, ids), CLV_ELIMIT);
    clv_tokens_close(&tokens);
    scratch_end();
}

/* Bytes changed, files cut: an error or other tokens, never a crash. */
static void damaged(void)
{
    scratch_begin();
    static char bytes[1 << 20];
    uint64_t state = 11;
    if (check_rank() > 0) goto done;
    clv_grid *self = check_self_grid();
    const char *path = in_scratch("whole.h5"), *other = in_scratch("damaged.h5");
    for (int layout = 0; layout < LAYOUTS; layout++) {
        if (layout == CONTIGUOUS)
            put_written(path, 500, 1000, true);
        else
            put_variant(path, &(variant){(storage)layout, 4, false, 3000, 0, 0});
        FILE *file = fopen(path, "r");
        size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        for (int trial = 0; trial < 300; trial++) {
            size_t at = (size_t)check_random_below(&state, trial % 2 ? (int64_t)size : 1000);
            size_t kept = trial % 10 ? size : at;
            char before = bytes[at];
            bytes[at] ^= (char)(1 + check_random_below(&state, 255));
            file = fopen(other, "w");
            fwrite(bytes, 1, kept, file);
            fclose(file);
            bytes[at] = before;
            clv_tokens *tokens = NULL;
            int32_t ids[1000];
            if (clv_tokens_open(self, 1, &other, &tokens) != CLV_OK) continue;
            int64_t count = clv_tokens_size(tokens) < 1000 ? clv_tokens_size(tokens) : 1000;
            clv_tokens_read(tokens, 0, count, ids);
            clv_tokens_read(tokens, clv_tokens_size(tokens) - count, count, ids);
            clv_tokens_close(&tokens);
        }
        CHECK(size > 1000);
    }
    clv_grid_destroy(&self);
done:
    scratch_end();
}

const check_case check_cases[] = {
    {"reads across files", reads_across_files},
    {"refuses", refuses},
    {"other bytes", other_bytes},
    {"cut short", cut_short},
    {"one rank has no memory", one_rank_has_no_memory},
    {"every element", every_element},
    {"opened once", opened_once},
    {"writes", writes},
    {"writes or not", writes_or_not},
    {"refuses HDF5", refuses_hdf5},
    {"never written", never_written},
    {"texts and tokens do not mix", mixed},
    {"too large", too_large},
    {"beyond vocabulary", beyond_vocabulary},
    {"damaged", damaged},
    {0},
};
