/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dtype.c: names and sizes of data types; every bf16 value and the roundings around it.
 * RANKS: 1
 */
#include "vectors.h"

static void table(void)
{
    static const struct {
        clv_dtype dtype;
        const char *name;
        int size;
    } expected[] = {
        {CLV_F32, "f32", 4}, {CLV_F64, "f64", 8}, {CLV_BF16, "bf16", 2}, {CLV_I32, "i32", 4}};
    for (int t = 0; t < CLV_DTYPE_COUNT; t++) {
        clv_dtype found = CLV_DTYPE_COUNT;
        CHECK_STRING(clv_dtype_name(expected[t].dtype), expected[t].name);
        CHECK_INT(clv_dtype_size(expected[t].dtype), expected[t].size);
        CHECK_OK(clv_dtype_parse(expected[t].name, &found));
        CHECK_INT(found, expected[t].dtype);
    }
    CHECK(clv_dtype_name(CLV_DTYPE_COUNT) == NULL && clv_dtype_name((clv_dtype)-1) == NULL);
    CHECK(clv_dtype_size(CLV_DTYPE_COUNT) == 0 && clv_dtype_size((clv_dtype)-1) == 0);
}

static void bad_names(void)
{
    static const char *const bad[] = {"", "f", "f3", "f322", "F32", "float", NULL};
    for (int i = 0; i < 7; i++) {
        clv_dtype dtype = CLV_I32;
        CHECK_STATUS(clv_dtype_parse(bad[i], &dtype), CLV_EDTYPE);
        CHECK_INT(dtype, CLV_I32);
        CHECK(strstr(clv_last_error(), bad[i] ? bad[i] : "null"));
    }
}

/* Every bf16 value goes to f32 and f64 and back unchanged (NaN: quiet). */
static void all_values(void)
{
    for (uint32_t b = 0; b <= 0xffff; b++) {
        uint16_t x = (uint16_t)b, from_f32, from_f64;
        float f = clvi_f32_from_bf16(x), g;
        double d;
        clvi_convert(1, CLV_BF16, &x, CLV_F32, &g);
        clvi_convert(1, CLV_BF16, &x, CLV_F64, &d);
        clvi_convert(1, CLV_F32, &f, CLV_BF16, &from_f32);
        clvi_convert(1, CLV_F64, &d, CLV_BF16, &from_f64);
        if (isnan(f)) {
            CHECK(isnan(g) && isnan(d) && isnan(clvi_f32_from_bf16(from_f32)) &&
                  isnan(clvi_f32_from_bf16(from_f64)) && (from_f32 & 0x40) && (from_f64 & 0x40));
        } else {
            CHECK(memcmp(&f, &g, sizeof f) == 0 && d == (double)f);
            CHECK(from_f32 == x && from_f64 == x && clvi_bf16_from_f32(f) == x);
        }
    }
}

/* Between neighbours a < b: under the middle a, over it b, on it the even one. */
static void rounding(void)
{
    for (int sign = 0; sign <= 0x8000; sign += 0x8000)
        for (int b = 0; b < 0x7f7f; b++) {
            uint16_t low = (uint16_t)(b | sign), high = (uint16_t)(low + 1), found;
            double x = clvi_f32_from_bf16(low), y = clvi_f32_from_bf16(high);
            double middle = (x + y) / 2, off = (y - x) * 1e-9;
            uint16_t even = low & 1 ? high : low;
            CHECK_INT(clvi_bf16_from_f32((float)middle), even);
            clvi_convert(1, CLV_F64, &middle, CLV_BF16, &found);
            CHECK_INT(found, even);
            clvi_set(CLV_BF16, &found, 0, middle - off);
            CHECK_INT(found, low);
            clvi_set(CLV_BF16, &found, 0, middle + off);
            CHECK_INT(found, high);
            float step = nextafterf((float)middle, (float)y);
            if (step != (float)y) CHECK_INT(clvi_bf16_from_f32(step), high);
        }
}

static void overflow(void)
{
    CHECK_INT(clvi_bf16_from_f32(0x1.fep127f), 0x7f7f);
    CHECK_INT(clvi_bf16_from_f32(0x1.fefffep127f), 0x7f7f);
    CHECK_INT(clvi_bf16_from_f32(0x1.ffp127f), 0x7f80);
    CHECK_INT(clvi_bf16_from_f32(-INFINITY), 0xff80);
    uint16_t found;
    clvi_set(CLV_BF16, &found, 0, 1e300);
    CHECK_INT(found, 0x7f80);
    clvi_set(CLV_BF16, &found, 0, -1e-300);
    CHECK_INT(found, 0x8000);
    uint32_t signalling = 0x7f800001u; /* its only bit is cut off */
    float nan_value;
    memcpy(&nan_value, &signalling, sizeof nan_value);
    CHECK_INT(clvi_bf16_from_f32(nan_value), 0x7fc0);
}

/* Loops against single elements, at every length. */
static void vectors(void)
{
    static const clv_dtype types[] = {CLV_F32, CLV_F64, CLV_BF16};
    uint64_t state = 1;
    vector source, x, y;
    randomize(CLV_F64, &source, 100, &state);
    for (int from = 0; from < 3; from++)
        for (int to = 0; to < 3; to++)
            for (int l = 0; l < LENGTHS; l++) {
                int64_t n = lengths[l];
                memset(&y, 0x55, sizeof y);
                for (int64_t i = 0; i < LONGEST; i++) clvi_set(types[from], &x, i, source.f64[i]);
                clvi_convert(n, types[from], &x, types[to], &y);
                for (int64_t i = 0; i < n; i++) {
                    double expected;
                    clvi_set(types[to], &expected, 0, clvi_get(types[from], &x, i));
                    CHECK(same(types[to], 1, at(types[to], &y, i), &expected));
                }
                CHECK(n == LONGEST || *(char *)at(types[to], &y, n) == 0x55);
            }
}

static void integers(void)
{
    int32_t x[3] = {INT32_MIN, 0, INT32_MAX}, y[3];
    clvi_convert(3, CLV_I32, x, CLV_I32, y);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(y[i], x[i]);
        clvi_set(CLV_I32, y, i, clvi_get(CLV_I32, x, i));
        CHECK_INT(y[i], x[i]);
    }
}

const check_case check_cases[] = {{"table", table},           {"bad names", bad_names},
                                  {"all values", all_values}, {"rounding", rounding},
                                  {"overflow", overflow},     {"vectors", vectors},
                                  {"integers", integers},     {0}};
