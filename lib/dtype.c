/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dtype.c: data types: sizes, names, conversion.
 */
#include "clvi_vector.h"

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [CLV_F32] = {"f32", sizeof(float)},
    [CLV_F64] = {"f64", sizeof(double)},
    [CLV_BF16] = {"bf16", sizeof(uint16_t)},
    [CLV_I32] = {"i32", sizeof(int32_t)},
};
_Static_assert(sizeof types / sizeof *types == CLV_DTYPE_COUNT, "every data type has a row");

CLVI_INLINE float f32_from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Adds half a unit less one, and one more if the kept part is odd: to nearest, ties to even. */
CLVI_INLINE uint16_t bf16_from_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/* Rounds once: 15 bits of the fraction are kept, the last one set if anything was cut (round to
 * odd). That is exact in f32, also where bf16 is subnormal, and rounds on to bf16 as x would. */
CLVI_INLINE uint16_t bf16_from_f64(double x)
{
    const uint64_t last = (uint64_t)1 << 37;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t cut = bits & (last - 1);
    bits = (bits - cut) | (cut ? last : 0);
    memcpy(&x, &bits, sizeof x);
    return bf16_from_f32((float)x);
}

/* Each pair of types is one loop: element of type src to element of type dst by f. */
#define CONVERSION(name, src_type, dst_type, f)                         \
    CLVI_VECTOR static void name(int64_t n, const void *src, void *dst) \
    {                                                                   \
        const src_type *x = src;                                        \
        dst_type *restrict y = dst;                                     \
        CLVI_EACH for (int64_t i = 0; i < n; i++) y[i] = f(x[i]);       \
    }
CONVERSION(f32_to_f64, float, double, (double))
CONVERSION(f64_to_f32, double, float, (float))
CONVERSION(f32_to_bf16, float, uint16_t, bf16_from_f32)
CONVERSION(f64_to_bf16, double, uint16_t, bf16_from_f64)
CONVERSION(bf16_to_f32, uint16_t, float, f32_from_bf16)
CONVERSION(bf16_to_f64, uint16_t, double, (double)f32_from_bf16)

typedef void conversion(int64_t n, const void *src, void *dst);

static conversion *const conversions[CLV_DTYPE_COUNT][CLV_DTYPE_COUNT] = {
    [CLV_F32] = {[CLV_F64] = f32_to_f64, [CLV_BF16] = f32_to_bf16},
    [CLV_F64] = {[CLV_F32] = f64_to_f32, [CLV_BF16] = f64_to_bf16},
    [CLV_BF16] = {[CLV_F32] = bf16_to_f32, [CLV_F64] = bf16_to_f64},
};

size_t clv_dtype_size(clv_dtype dtype)
{
    return (unsigned)dtype < CLV_DTYPE_COUNT ? types[dtype].size : 0;
}

const char *clv_dtype_name(clv_dtype dtype)
{
    return (unsigned)dtype < CLV_DTYPE_COUNT ? types[dtype].name : NULL;
}

clv_status clv_dtype_parse(const char *text, clv_dtype *dtype)
{
    for (int t = 0; text && t < CLV_DTYPE_COUNT; t++)
        if (strcmp(text, types[t].name) == 0) {
            *dtype = (clv_dtype)t;
            return CLV_OK;
        }
    return clvi_fail(CLV_EDTYPE, "data type: expected f32, f64, bf16 or i32, found \"%s\"",
                     text ? text : "(null)");
}

uint16_t clvi_bf16_from_f32(float x)
{
    return bf16_from_f32(x);
}

float clvi_f32_from_bf16(uint16_t x)
{
    return f32_from_bf16(x);
}

void clvi_convert(int64_t n, clv_dtype src_type, const void *src, clv_dtype dst_type, void *dst)
{
    if (n <= 0) return;
    if (src_type == dst_type) {
        memmove(dst, src, (size_t)n * clv_dtype_size(src_type));
        return;
    }
    conversion *convert = conversions[src_type][dst_type];
    assert(convert);
    convert(n, src, dst);
}

double clvi_get(clv_dtype dtype, const void *x, int64_t i)
{
    switch (dtype) {
    case CLV_F32:
        return ((const float *)x)[i];
    case CLV_F64:
        return ((const double *)x)[i];
    case CLV_BF16:
        return f32_from_bf16(((const uint16_t *)x)[i]);
    case CLV_I32:
        return ((const int32_t *)x)[i];
    default:
        assert(!"a data type");
        return 0;
    }
}

void clvi_set(clv_dtype dtype, void *x, int64_t i, double value)
{
    switch (dtype) {
    case CLV_F32:
        ((float *)x)[i] = (float)value;
        break;
    case CLV_F64:
        ((double *)x)[i] = value;
        break;
    case CLV_BF16:
        ((uint16_t *)x)[i] = bf16_from_f64(value);
        break;
    case CLV_I32:
        ((int32_t *)x)[i] = (int32_t)value;
        break;
    default:
        assert(!"a data type");
    }
}
