/* SPDX-License-Identifier: BSD-3-Clause
 *
 * seeds.c: no test, but the small files that tests/torture/fuzz.sh begins with.
 *
 *     seeds DIR    makes DIR/TARGET/NAME for checkpoint, safetensors, tokenizer and tokens
 */
#include <cleave.h>
#include <clvi_h5.h>
#include <clvi_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static clv_grid *grid;

enum { MOST = 20 }; /* more than 8 links of a group are kept in another way */

static clv_status write_checkpoint(const char *dir, int count, const char *json)
{
    clv_status status = CLV_OK;
    char path[512], names[MOST][32];
    clv_named named[MOST] = {{0}};
    snprintf(path, sizeof path, "%.400s/checkpoint/%d", dir, count);
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], i ? "group/set-%d" : "set-%d", i);
        named[i].name = names[i];
        clv_spec spec = {.m = i < 3 ? 3 - i : 1, .n = 5, .dtype = (clv_dtype)(i % CLV_DTYPE_COUNT)};
        CLVI_TRY(clv_matrix_create(grid, spec, &named[i].matrix));
    }
    CLVI_TRY(clv_checkpoint_write(grid, path, count, named, json));
done:
    for (int i = 0; i < count; i++) clv_matrix_destroy(&named[i].matrix);
    return status;
}

/* Header and bytes of nothing. */
static clv_status write_safetensors(const char *dir, const char *name, const char *header,
                                    size_t bytes)
{
    char path[512], zeros[256] = "";
    uint64_t size = strlen(header);
    snprintf(path, sizeof path, "%.400s/safetensors/%s", dir, name);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(&size, 8, 1, file) == 1 && fputs(header, file) >= 0 &&
                fwrite(zeros, 1, bytes, file) == bytes;
    if (file && fclose(file) != 0) good = false;
    return good ? CLV_OK : clvi_fail(CLV_EIO, "%s: cannot write", path);
}

/* As fuzz.c says: byte 1 stands for the tokens of all bytes. */
static clv_status write_tokenizer(const char *dir, const char *name, const char *content)
{
    char path[512];
    snprintf(path, sizeof path, "%.400s/tokenizer/%s", dir, name);
    FILE *file = fopen(path, "wb");
    bool good = file && fputs(content, file) >= 0;
    if (file && fclose(file) != 0) good = false;
    return good ? CLV_OK : clvi_fail(CLV_EIO, "%s: cannot write", path);
}

#define VOCAB "{\1,\"ab\":256,\"\u0120a\":257,\"abab\":258,\"\u00c3\u00a9\":259,\"12\":260"
#define TEXT "abab ab 12\u00e9 <|x|>\n"

static clv_status make_tokenizers(const char *dir)
{
    clv_status status;
    CLVI_TRY(write_tokenizer(
        dir, "gpt2",
        "{\"version\":\"1.0\",\"truncation\":null,\"added_tokens\":[{\"id\":261,\"content\":"
        "\"<|x|>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":true,"
        "\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
        "\"add_prefix_space\":false},\"model\":{\"dropout\":null,\"unk_token\":null,"
        "\"continuing_subword_prefix\":\"\",\"vocab\":" VOCAB "},\"merges\":[\"a b\","
        "\"\u0120 a\",\"ab ab\",\"\u00c3 \u00a9\",\"1 2\"]}}\xff" TEXT));
    CLVI_TRY(write_tokenizer(
        dir, "llama3",
        "{\"added_tokens\":[{\"id\":261,\"content\":\"<|x|>\",\"normalized\":false}],"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"
        "\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+"
        "|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},"
        "\"model\":{\"type\":\"BPE\",\"byte_fallback\":false,\"ignore_merges\":true,"
        "\"vocab\":" VOCAB "},\"merges\":[[\"a\",\"b\"],[\"\u0120\",\"a\"],[\"ab\",\"ab\"]]}}"
        "\xff" TEXT));
    CLVI_TRY(write_tokenizer(
        dir, "digits",
        "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\","
        "\"individual_digits\":true},{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\"},"
        "\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\"}]},"
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[]},"
        "\"model\":{\"vocab\":{\1},\"merges\":[]}}\xff" TEXT));
    CLVI_TRY(write_tokenizer(dir, "pair",
                             "\xff" VOCAB ",\"<|x|>\":261}\xff#version: 0.2\na b\n\u0120 a\r\n"
                             "ab ab\n\u00c3 \u00a9\n1 2\n\xff" TEXT));
done:
    return status;
}

/* ---- Tokens, as HDF5 writes them -------------------------------------------------------- */

typedef struct {
    const char *name;
    H5F_libver_t format;
    H5D_layout_t layout;
    hsize_t chunk;
    bool packed, extends;
} storage;

static clv_status write_tokens(const char *dir, storage s)
{
    enum { COUNT = 40 };
    uint16_t ids[COUNT];
    int64_t vocabulary = 500;
    hsize_t size = COUNT, most = H5S_UNLIMITED;
    char path[512];
    for (int i = 0; i < COUNT; i++) ids[i] = (uint16_t)(i * i % vocabulary);
    snprintf(path, sizeof path, "%.400s/tokens/%s", dir, s.name);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_libver_bounds(access, s.format, H5F_LIBVER_LATEST);
    H5Pset_layout(creation, s.layout);
    if (s.chunk) H5Pset_chunk(creation, 1, &s.chunk);
    if (s.packed) H5Pset_shuffle(creation), H5Pset_deflate(creation, 6);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    hid_t space = H5Screate_simple(1, &size, s.extends ? &most : NULL), one = H5Screate(H5S_SCALAR);
    hid_t set =
        H5Dcreate2(file, "tokens", H5T_STD_U16LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    hid_t attribute = H5Acreate2(set, "vocabulary", H5T_STD_I64LE, one, H5P_DEFAULT, H5P_DEFAULT);
    bool good = H5Dwrite(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, ids) >= 0 &&
                H5Awrite(attribute, H5T_NATIVE_INT64, &vocabulary) >= 0;
    const hid_t all[] = {attribute, set, one, space, file, creation, access};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) clvi_h5_drop(all[i]);
    return good ? CLV_OK : clvi_fail(CLV_EIO, "%s: HDF5 cannot write", path);
}

static clv_status make_tokens(const char *dir)
{
    static const storage all[] = {
        {"contiguous", H5F_LIBVER_EARLIEST, H5D_CONTIGUOUS, 0, false, false},
        {"compact", H5F_LIBVER_EARLIEST, H5D_COMPACT, 0, false, false},
        {"chunked", H5F_LIBVER_EARLIEST, H5D_CHUNKED, 16, false, false},
        {"packed", H5F_LIBVER_EARLIEST, H5D_CHUNKED, 16, true, false},
        {"new", H5F_LIBVER_LATEST, H5D_CONTIGUOUS, 0, false, false},
        {"new-chunked", H5F_LIBVER_LATEST, H5D_CHUNKED, 16, false, false},
        {"new-packed", H5F_LIBVER_LATEST, H5D_CHUNKED, 16, true, false},
        {"new-single", H5F_LIBVER_LATEST, H5D_CHUNKED, 40, true, false},
        {"new-extends", H5F_LIBVER_LATEST, H5D_CHUNKED, 16, true, true}};
    clv_status status;
    clv_tokens_writer *writer = NULL;
    char path[512];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) CLVI_TRY(write_tokens(dir, all[i]));
    snprintf(path, sizeof path, "%.400s/tokens/own", dir);
    CLVI_TRY(clv_tokens_create(path, 500, &writer));
    CLVI_TRY(clv_tokens_append(writer, 4, (const int32_t[]){3, 1, 4, 159}));
    CLVI_TRY(clv_tokens_commit(&writer, true));
done:
    return status;
}

static clv_status make_all(const char *dir)
{
    static const int counts[] = {0, 1, 2, 3, MOST};
    static const char *const targets[] = {"checkpoint", "safetensors", "tokenizer", "tokens"};
    clv_status status;
    char path[512];
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        snprintf(path, sizeof path, "%.400s/%s", dir, targets[i]);
        mkdir(path, 0777);
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        CLVI_TRY(write_checkpoint(dir, counts[i], counts[i] % 2 ? NULL : "{\"step\": 1}"));
    CLVI_TRY(write_safetensors(dir, "none", "{}", 0));
    CLVI_TRY(write_safetensors(
        dir, "two",
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]}}   ",
        32));
    CLVI_TRY(write_safetensors(dir, "kinds",
                               "{\"x\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]},"
                               "\"\\u00e9\":{\"dtype\":\"I64\",\"shape\":[1,0,2],"
                               "\"data_offsets\":[2,2]},"
                               "\"z\":{\"dtype\":\"U8\",\"shape\":[3,2,1],\"data_offsets\":[2,8]}}",
                               8));
    CLVI_TRY(make_tokenizers(dir));
    CLVI_TRY(make_tokens(dir));
done:
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    MPI_Init(&argc, &argv);
    clv_status status = clv_grid_create_text(MPI_COMM_SELF, NULL, &grid);
    if (status == CLV_OK) status = make_all(argv[1]);
    if (status != CLV_OK) fprintf(stderr, "seeds: %s\n", clv_last_error());
    clv_grid_destroy(&grid);
    MPI_Finalize();
    return status != CLV_OK;
}
