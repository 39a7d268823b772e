/* SPDX-License-Identifier: BSD-3-Clause
 *
 * safetensors.c: files in Hugging Face's format, written here byte by byte: what they hold is read,
 * and each rule of the format, broken alone, is an error that names file, tensor, expected and
 * found.
 *
 * RANKS: 1
 */
#include "check.h"

#include <clvi_lib.h>
#include <ftw.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int drop(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

static void begin(void)
{
    strcpy(folder, "/tmp/cleave-test-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

static void end(void)
{
    CHECK_INT(nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *data, size_t bytes)
{
    FILE *file = fopen(in_folder(name), "wb");
    CHECK(file && fwrite(data, 1, bytes, file) == bytes);
    if (file) fclose(file);
}

/* A file of a header and so many bytes 0, 1, 2, ...; the size before the header can lie. */
static void put_model(const char *name, uint64_t size, const char *header, size_t bytes)
{
    size_t length = strlen(header);
    unsigned char *all = calloc(1, 8 + length + bytes);
    for (int i = 0; i < 8; i++) all[i] = (unsigned char)(size >> 8 * i);
    memcpy(all + 8, header, length);
    for (size_t i = 0; i < bytes; i++) all[8 + length + i] = (unsigned char)i;
    put(name, all, 8 + length + bytes);
    free(all);
}

static void put_honest(const char *name, const char *header, size_t bytes)
{
    put_model(name, strlen(header), header, bytes);
}

/* ---- Valid ------------------------------------------------------------------------------- */

#define ITEM(name, type, shape, begin, end) \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void lists(void)
{
    begin();
    int64_t live = clvi_alloc_live();
    /* Not in the order of their bytes; spaces around and within; an empty one; a scalar. */
    put_honest(
        "model.safetensors",
        "{ " ITEM("b", "I64", "[2,1,1]", "24", "40") "," ITEM("a", "F32", "[2,3]", "0", "24") //
        ",\"__metadata__\":{\"format\":\"pt\"}," ITEM("none", "U8", "[0,7]", "40", "40")      //
        "," ITEM("one", "F64", "[]", "40", "48") "}   ",
        48);
    clv_safetensors *s = NULL;
    for (int way = 0; way < 2; way++) { /* the file, and the folder it is in */
        CHECK_OK(clv_safetensors_open(way ? folder : in_folder("model.safetensors"), &s));
        if (!s) break;
        CHECK_INT(clv_safetensors_count(s), 4);
        CHECK_STRING(clv_safetensors_at(s, 0).name, "a");
        CHECK_STRING(clv_safetensors_at(s, 1).name, "b");
        CHECK_INT(clv_safetensors_find(s, "b"), 1);
        CHECK_INT(clv_safetensors_find(s, "__metadata__"), -1);
        CHECK_INT(clv_safetensors_find(s, "c"), -1);
        clv_st_tensor a = clv_safetensors_at(s, 0);
        CHECK_INT(a.dtype, CLV_ST_F32);
        CHECK_STRING(a.dtype_name, "F32");
        CHECK(a.ndims == 2 && a.shape[0] == 2 && a.shape[1] == 3 && a.bytes == 24);
        clv_st_tensor b = clv_safetensors_at(s, clv_safetensors_find(s, "b"));
        CHECK(b.dtype == CLV_ST_OTHER && b.ndims == 3 && b.bytes == 16);
        CHECK_STRING(b.dtype_name, "I64");
        clv_st_tensor one = clv_safetensors_at(s, clv_safetensors_find(s, "one"));
        CHECK(one.ndims == 0 && one.bytes == 8);
        CHECK_INT(clv_safetensors_at(s, clv_safetensors_find(s, "none")).bytes, 0);
        clv_safetensors_close(&s);
        CHECK(s == NULL);
    }
    CHECK_INT(clvi_alloc_live(), live);
    put_honest("empty", "{}", 0);
    CHECK_OK(clv_safetensors_open(in_folder("empty"), &s));
    CHECK_INT(clv_safetensors_count(s), 0);
    clv_safetensors_close(&s);
    end();
}

/* Every block of a matrix, in another type and a wider row. */
static void reads_blocks(void)
{
    enum { M = 5, N = 7, LD = 9 };
    float values[M * N];
    char all[4096];
    begin();
    const char *header = "{" ITEM("w", "F32", "[5,7]", "0", "140") "}  ";
    uint64_t size = strlen(header);
    for (int i = 0; i < M * N; i++) values[i] = 1.0f / (float)(i + 3);
    memcpy(all, &size, 8);
    memcpy(all + 8, header, size);
    memcpy(all + 8 + size, values, sizeof values);
    put("w", all, 8 + size + sizeof values);
    clv_safetensors *s = NULL;
    CHECK_OK(clv_safetensors_open(in_folder("w"), &s));
    for (int type = CLV_F32; s && type <= CLV_BF16; type++)
        for (int64_t r = 0; r <= M; r++)
            for (int64_t c = 0; c <= N; c++)
                for (int64_t m = 0; m <= M - r; m++) {
                    double memory[M * LD];
                    int64_t n = N - c, wrong = 0;
                    memset(memory, 0x55, sizeof memory);
                    clv_block block = {memory, m, n, LD, r, c};
                    CHECK_OK(clv_safetensors_read(s, 0, (clv_dtype)type, block));
                    for (int64_t i = 0; i < m; i++)
                        for (int64_t j = 0; j < LD; j++) {
                            double found = clvi_get((clv_dtype)type, memory, i * LD + j), value;
                            double untouched = clvi_get((clv_dtype)type, memory, M * LD - 1);
                            value = j < n ? values[(r + i) * N + c + j] : untouched;
                            if (j < n && type == CLV_BF16)
                                value = clvi_f32_from_bf16(clvi_bf16_from_f32((float)value));
                            wrong += found != value && i * LD + j < M * LD - 1;
                        }
                    CHECK_INT(wrong, 0);
                }
    float one;
    CHECK_STATUS(clv_safetensors_read(s, 0, CLV_F32, (clv_block){&one, 1, 1, 1, 5, 0}), CLV_EARG);
    CHECK(
        strstr(clv_last_error(), "tensor w: expected a block within 5 x 7, found 1 x 1 at (5, 0)"));
    CHECK_STATUS(clv_safetensors_read(s, 0, CLV_F32, (clv_block){&one, 1, 8, 8, 0, 0}), CLV_EARG);
    CHECK_STATUS(clv_safetensors_read(s, 0, CLV_F32, (clv_block){&one, 1, 1, 1, -1, 0}), CLV_EARG);
    CHECK_STATUS(clv_safetensors_read(s, 0, CLV_F32, (clv_block){&one, 2, 2, 1, 0, 0}), CLV_EARG);
    CHECK_STATUS(clv_safetensors_read(s, 0, CLV_I32, (clv_block){&one, 1, 1, 1, 0, 0}), CLV_EDTYPE);
    CHECK_STATUS(clv_safetensors_read(s, 1, CLV_F32, (clv_block){&one, 1, 1, 1, 0, 0}), CLV_EARG);
    clv_safetensors_close(&s);
    end();
}

/* The value of a half by its definition. */
static double half_value(unsigned half)
{
    unsigned exponent = half >> 10 & 31, fraction = half & 1023;
    double size = exponent == 31  ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? ldexp(fraction, -24)
                                  : ldexp(1024 + fraction, (int)exponent - 25);
    return half & 0x8000 ? -size : size;
}

/* All 65,536 halves, in one row and in 256, to every floating type. */
static void reads_every_half(void)
{
    static unsigned char data[8 + 128 + 2 * 65536];
    static double memory[65536];
    begin();
    for (int rows = 1; rows <= 256; rows *= 256) {
        char header[128];
        snprintf(header, sizeof header, "{" ITEM("h", "F16", "[%d,%d]", "0", "131072") "}", rows,
                 65536 / rows);
        uint64_t size = strlen(header);
        memcpy(data, &size, 8);
        memcpy(data + 8, header, size);
        for (unsigned h = 0; h < 65536; h++) {
            data[8 + size + 2 * h] = (unsigned char)h;
            data[8 + size + 2 * h + 1] = (unsigned char)(h >> 8);
        }
        put("h", data, 8 + size + 131072);
        clv_safetensors *s = NULL;
        CHECK_OK(clv_safetensors_open(in_folder("h"), &s));
        for (int type = CLV_F32; s && type <= CLV_BF16; type++) {
            clv_block block = {memory, rows, 65536 / rows, 65536 / rows, 0, 0};
            int64_t wrong = 0;
            CHECK_OK(clv_safetensors_read(s, 0, (clv_dtype)type, block));
            for (unsigned h = 0; h < 65536; h++) {
                double found = clvi_get((clv_dtype)type, memory, h), value = half_value(h);
                if (type == CLV_BF16) value = clvi_f32_from_bf16(clvi_bf16_from_f32((float)value));
                wrong += isnan(value) ? !isnan(found)
                                      : found != value || signbit(found) != signbit(value);
            }
            CHECK_INT(wrong, 0);
        }
        clv_safetensors_close(&s);
    }
    end();
}

static void reads_other_ranks(void)
{
    begin();
    put_honest(
        "x",
        "{" ITEM("cube", "F32", "[1,1,1]", "0", "4") "," ITEM("ids", "I32", "[2]", "4", "12") //
        "," ITEM("byte", "U8", "[1]", "12", "13") "," ITEM("scalar", "F32", "[]", "13", "17") "}",
        17);
    clv_safetensors *s = NULL;
    int32_t ids[2] = {0};
    unsigned char scalar[4];
    CHECK_OK(clv_safetensors_open(in_folder("x"), &s));
    clv_block one = {ids, 1, 1, 1, 0, 0}, two = {ids, 1, 2, 2, 0, 0};
    CHECK_STATUS(clv_safetensors_read(s, 0, CLV_F32, one), CLV_ESHAPE);
    CHECK(strstr(clv_last_error(), "tensor cube: expected at most 2 extents to read it, found 3"));
    CHECK_STATUS(clv_safetensors_read(s, 1, CLV_F32, two), CLV_EDTYPE);
    CHECK_STATUS(clv_safetensors_read(s, 2, CLV_F32, one), CLV_EDTYPE);
    CHECK(strstr(clv_last_error(), "can be read as f32, found U8"));
    CHECK_OK(clv_safetensors_read(s, 1, CLV_I32, two));
    CHECK(ids[0] == 0x07060504 && ids[1] == 0x0b0a0908);
    one.data = scalar;
    CHECK_OK(clv_safetensors_read(s, 3, CLV_F32, one));
    CHECK(scalar[0] == 13 && scalar[3] == 16);
    clv_safetensors_close(&s);
    end();
}

/* ---- Broken ---------------------------------------------------------------------------------- */

/* Opening fails with a message that names the path and holds `says`; nothing is left behind. */
static void refused_at(const char *path, clv_status expected, const char *says)
{
    int64_t live = clvi_alloc_live();
    clv_safetensors *s = NULL;
    CHECK_STATUS(clv_safetensors_open(path, &s), expected);
    CHECK(s == NULL);
    if (!CHECK(strstr(clv_last_error(), says)) || !CHECK(strstr(clv_last_error(), folder)))
        fprintf(stderr, "  said: %s\n  not:  %s\n", clv_last_error(), says);
    CHECK_INT(clvi_alloc_live(), live);
    clv_safetensors_close(&s);
}

static void refused(const char *header, size_t bytes, const char *says)
{
    put_honest("bad", header, bytes);
    refused_at(in_folder("bad"), CLV_EFORMAT, says);
}

static void broken_sizes(void)
{
    const char *good = "{" ITEM("a", "F32", "[2]", "0", "8") "}";
    size_t length = strlen(good);
    begin();
    put_model("bad", length, good, 8);
    clv_safetensors *s = NULL;
    CHECK_OK(clv_safetensors_open(in_folder("bad"), &s));
    clv_safetensors_close(&s);
    put("bad", "1234567", 7);
    refused_at(in_folder("bad"), CLV_EFORMAT, "expected a safetensors file, found 7 bytes");
    put("bad", "", 0);
    refused_at(in_folder("bad"), CLV_EFORMAT, "found 0 bytes");
    const uint64_t lies[] = {0,         1,         length - 1, length + 1, length + 8, length + 9,
                             100000000, 100000001, UINT32_MAX, INT64_MAX,  UINT64_MAX};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        put_model("bad", lies[i], good, 8);
        refused_at(in_folder("bad"), CLV_EFORMAT, "expected");
    }
    put_model("bad", length + 9, good, 8);
    refused_at(in_folder("bad"), CLV_EFORMAT,
               "expected a header of at most 100000000 bytes within");
    put_model("bad", length, good, 7);
    refused_at(in_folder("bad"), CLV_EFORMAT, "tensor a: expected its end within the 7 bytes");
    put_model("bad", length, good, 9);
    refused_at(in_folder("bad"), CLV_EFORMAT, "end with the file, found 1 bytes behind it");
    refused_at(in_folder("nothing"), CLV_ENOTFOUND, "nothing");
    refused_at(folder, CLV_ENOTFOUND, "expected model.safetensors or model.safetensors.index.json");
    end();
}

static void broken_headers(void)
{
    begin();
    refused(" {}", 0, "from '{' to '}'");
    refused("{}\n", 0, "from '{' to '}'");
    refused("[]", 0, "from '{' to '}'");
    refused("{\"a\"}", 0, "expected a JSON object, found at line 1");
    refused("{\"a\":1}", 0, "tensor a: its entry: expected dtype, shape and data_offsets, found 1");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[0]}}", 0, "its entry: expected dtype");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0],\"more\":1}}", 0,
            "its entry");
    refused("{" ITEM("a", "F32", "[1]", "0", "4") "," ITEM("a", "F32", "[1]", "4", "8") "}", 8,
            "duplicate");
    refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
            "duplicate");
    refused("{" ITEM("a", "F33", "[1]", "0", "4") "}", 4, "tensor a: dtype: expected a type");
    refused("{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype: expected");
    refused("{" ITEM("a", "F32", "1", "0", "4") "}", 4, "tensor a: shape: expected an array");
    refused("{" ITEM("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "at most 8 extents");
    refused("{" ITEM("a", "F32", "[-1]", "0", "4") "}", 4, "shape: expected extents");
    refused("{" ITEM("a", "F32", "[1.0]", "0", "4") "}", 4, "shape: expected extents");
    refused("{" ITEM("a", "F32", "[4294967296,4294967296]", "0", "4") "}", 4, "shape: expected");
    refused("{" ITEM("a", "F32", "[4611686018427387904]", "0", "0") "}", 0, "size in bytes");
    refused("{" ITEM("a", "F32", "[9223372036854775808]", "0", "0") "}", 0, "too big integer");
    refused("{" ITEM("a", "F32", "[1]", "0", "3") "}", 3,
            "tensor a: data_offsets: expected [begin, begin + 4], of shape and type, found [0,3]");
    refused("{" ITEM("a", "F32", "[1]", "4", "0") "}", 4, "data_offsets: expected");
    refused("{" ITEM("a", "F32", "[1]", "-4", "0") "}", 4, "data_offsets: expected");
    refused("{" ITEM("a", "F32", "[1]", "0", "4,8") "}", 4, "data_offsets: expected");
    refused("{" ITEM("a", "F32", "[1]", "0.0", "4") "}", 4, "data_offsets: expected");
    refused("{" ITEM("a", "F32", "[1]", "4", "8") "}", 8,
            "tensor a: data_offsets: expected 0, where the one before ends, found 4");
    refused("{" ITEM("a", "F32", "[1]", "0", "4") "," ITEM("b", "F32", "[1]", "5", "9") "}", 9,
            "tensor b: data_offsets: expected 4, where the one before ends, found 5");
    refused("{" ITEM("a", "F32", "[1]", "0", "4") "," ITEM("b", "F32", "[1]", "3", "7") "}", 7,
            "tensor b: data_offsets: expected 4");
    refused("{" ITEM("a", "F32", "[1]", "0", "4") "," ITEM("b", "F32", "[1]", "0", "4") "}", 4,
            "data_offsets: expected 4, where the one before ends, found 0");
    refused("{" ITEM("a", "F32", "[1]", "0", "4") "," ITEM("b", "F32", "[0]", "2", "2") "}", 4,
            "tensor b: data_offsets: expected 4");
    refused("{\"__metadata__\":[]}", 0, "__metadata__: expected an object of strings");
    refused("{\"__metadata__\":{\"format\":1}}", 0, "__metadata__: expected an object of strings");
    refused("{\"__metadata__\":{\"a\":{}}}", 0, "__metadata__");
    refused("{\"\xff\":1}", 0, "expected a JSON object, found at line 1");
    end();
}

/* A header of nothing but brackets, or of a great many tensors. */
static void heavy_headers(void)
{
    enum { BYTES = 3 << 20 };
    char *header = malloc(BYTES + 1), *at = header;
    begin();
    memset(header, '[', BYTES);
    memcpy(header, "{\"a\":", 5);
    header[BYTES - 1] = '}';
    header[BYTES] = 0;
    refused(header, 0, "expected a JSON object, found at line 1");
    *at++ = '{';
    int tensors = 0;
    for (; at - header < BYTES - 200; tensors++)
        at += sprintf(at, "%s" ITEM("t%d", "F32", "[1]", "%d", "%d"), tensors ? "," : "", tensors,
                      4 * tensors, 4 * tensors + 4);
    strcpy(at, "}");
    put_honest("many", header, 4 * (size_t)tensors);
    clv_safetensors *s = NULL;
    CHECK_OK(clv_safetensors_open(in_folder("many"), &s));
    CHECK_INT(clv_safetensors_count(s), tensors);
    CHECK_INT(clv_safetensors_find(s, "t12345"), 12345);
    clv_safetensors_close(&s);
    free(header);
    end();
}

/* ---- With an index --------------------------------------------------------------------------- */

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void put_shards(void)
{
    put_honest("one",
               "{" ITEM("a", "F32", "[1]", "0", "4") "," ITEM("b", "F32", "[1]", "4", "8") "}", 8);
    put_honest("two", "{" ITEM("c", "F64", "[1]", "0", "8") "}", 8);
}

static const char index_file[] = "model.safetensors.index.json";

static void opens_an_index(void)
{
    begin();
    put_shards();
    put_text(index_file,
             "\n{\"metadata\":{\"total_size\":16},\n" /* a text: not as strict as headers */
             "\"weight_map\":{\"c\":\"two\",\"a\":\"one\",\"b\":\"one\"}}\n");
    clv_safetensors *s = NULL;
    double c;
    CHECK_OK(clv_safetensors_open(folder, &s));
    CHECK_INT(clv_safetensors_count(s), 3);
    int at = clv_safetensors_find(s, "c");
    CHECK_OK(clv_safetensors_read(s, at, CLV_F64, (clv_block){&c, 1, 1, 1, 0, 0}));
    const unsigned char bytes[] = {0, 1, 2, 3, 4, 5, 6, 7};
    CHECK(memcmp(&c, bytes, 8) == 0);
    CHECK_STRING(clv_safetensors_at(s, clv_safetensors_find(s, "b")).name, "b");
    clv_safetensors_close(&s);
    put_honest("model.safetensors", "{}", 0); /* nobody knows which of them is meant */
    refused_at(folder, CLV_EFORMAT, "found both");
    end();
}

static void bad_index(const char *text, clv_status expected, const char *says)
{
    put_text(index_file, text);
    refused_at(folder, expected, says);
}

#define MAP(entries) "{\"weight_map\":{" entries "}}"

static void broken_indices(void)
{
    begin();
    put_shards();
    put_honest("three", "{" ITEM("a", "F32", "[1]", "0", "4") "}", 4);
    bad_index("", CLV_EFORMAT, "expected a JSON object, found at line");
    bad_index("[]\n", CLV_EFORMAT, "expected a JSON object, found another value");
    bad_index(MAP("\"a\":\"one\"") "\n{}", CLV_EFORMAT, "expected a JSON object, found at line 2");
    bad_index("{}", CLV_EFORMAT, "weight_map: expected an object of file names, found nothing");
    bad_index("{\"weight_map\":[]}", CLV_EFORMAT, "weight_map: expected an object");
    bad_index(MAP("\"a\":\"one\""), CLV_EFORMAT,
              "tensor b: expected in one, where it is, found nothing");
    bad_index(MAP("\"a\":\"one\",\"b\":\"one\",\"d\":\"one\""), CLV_EFORMAT,
              "tensor d: expected in one, found none of this name there");
    bad_index(MAP("\"a\":\"one\",\"b\":\"two\",\"c\":\"two\""), CLV_EFORMAT,
              "tensor b: expected in one, where it is, found two");
    bad_index(MAP("\"b\":\"one\",\"a\":\"three\""), CLV_EFORMAT, "tensor a: expected in one");
    bad_index(MAP("\"a\":\"one\",\"b\":\"one\",\"c\":\"four\""), CLV_ENOTFOUND, "four");
    bad_index(MAP("\"a\":\"one\",\"a\":\"one\",\"b\":\"one\""), CLV_EFORMAT, "duplicate");
    bad_index(MAP("\"a\":1"), CLV_EFORMAT, "tensor a: expected the name of a file");
    bad_index(MAP("\"a\":\"\""), CLV_EFORMAT, "expected the name of a file in the same folder");
    bad_index(MAP("\"a\":\"..\""), CLV_EFORMAT, "same folder, found ..");
    bad_index(MAP("\"a\":\".\""), CLV_EFORMAT, "same folder, found .");
    bad_index(MAP("\"a\":\"../one\""), CLV_EFORMAT, "same folder, found ../one");
    bad_index(MAP("\"a\":\"/etc/passwd\""), CLV_EFORMAT, "same folder, found /etc/passwd");
    end();
}

/* ---- Memory and bytes --------------------------------------------------------------------------
 */

static void without_memory(void)
{
    begin();
    put_shards();
    put_text(index_file, MAP("\"c\":\"two\",\"a\":\"one\",\"b\":\"one\""));
    int64_t live = clvi_alloc_live(), nth = 0;
    clv_status status = CLV_ENOMEM;
    while (status != CLV_OK && ++nth < 100) {
        clv_safetensors *s = NULL;
        float a;
        clvi_alloc_fail_at(nth);
        status = clv_safetensors_open(folder, &s);
        if (status == CLV_OK)
            status = clv_safetensors_read(s, 0, CLV_F32, (clv_block){&a, 1, 1, 1, 0, 0});
        clvi_alloc_fail_at(0);
        clv_safetensors_close(&s);
        CHECK(status == CLV_OK || status == CLV_ENOMEM);
        CHECK_INT(clvi_alloc_live(), live);
    }
    CHECK(nth > 8 && nth < 100);
    end();
}

/* Any bytes: refused, or read as they are. */
static void mutated(void)
{
    const char *header =
        "{\"__metadata__\":{\"format\":\"pt\"}," ITEM("a", "F32", "[2,3]", "0", "24") //
        "," ITEM("b", "F16", "[4]", "24", "32") "}  ";
    size_t length = 8 + strlen(header) + 32;
    unsigned char all[512];
    uint64_t state = 7;
    int opened = 0;
    begin();
    put_honest("good", header, 32);
    FILE *file = fopen(in_folder("good"), "rb");
    CHECK_INT(fread(all, 1, sizeof all, file), length);
    fclose(file);
    for (int trial = 0; trial < 20000; trial++) {
        unsigned char bad[512];
        memcpy(bad, all, length);
        for (int64_t k = 1 + check_random_below(&state, 4); k-- > 0;)
            bad[check_random_below(&state, (int64_t)length)] = (unsigned char)check_random(&state);
        put("bad", bad, trial % 8 ? length : (size_t)check_random_below(&state, (int64_t)length));
        clv_safetensors *s = NULL;
        if (clv_safetensors_open(in_folder("bad"), &s) != CLV_OK) continue;
        opened++;
        for (int i = 0; i < clv_safetensors_count(s); i++) {
            clv_st_tensor t = clv_safetensors_at(s, i);
            double memory[16];
            int64_t m = t.ndims == 2 ? t.shape[0] : 1, n = t.ndims ? t.shape[t.ndims - 1] : 1;
            CHECK(t.bytes <= 32);
            if (m * n <= 16)
                clv_safetensors_read(s, i, CLV_F64, (clv_block){memory, m, n, n, 0, 0});
        }
        clv_safetensors_close(&s);
    }
    CHECK(opened > 1000);
    end();
}

const check_case check_cases[] = {{"lists", lists},
                                  {"reads blocks", reads_blocks},
                                  {"reads every half", reads_every_half},
                                  {"reads other ranks", reads_other_ranks},
                                  {"broken sizes", broken_sizes},
                                  {"broken headers", broken_headers},
                                  {"heavy headers", heavy_headers},
                                  {"opens an index", opens_an_index},
                                  {"broken indices", broken_indices},
                                  {"without memory", without_memory},
                                  {"mutated", mutated},
                                  {0}};
