/* SPDX-License-Identifier: BSD-3-Clause
 *
 * panel.c: transposes and copies into panels, of every number of lanes, against one element after
 * the other; nothing else is written, and nothing before or behind x is read, which ends at a page
 * that cannot be, or begins behind one.
 * RANKS: 1
 */
#include "check.h"

#include "clvi_panel.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LANES = 35, DEPTH = 70, PANELS = 3 };
static const double untouched = -7;

static clv_dtype real_of(clv_dtype stored)
{
    return stored == CLV_BF16 ? CLV_F32 : stored;
}

/* Element i of x: unlike its neighbours, and bf16 holds it. */
static double value(int64_t i)
{
    return (double)(i % 251);
}

/* Memory between two pages that nobody may touch. */
enum { ROOM = 1 << 17, GUARD = 1 << 16 };
static char *guarded;

static void open_guarded(void)
{
    guarded = mmap(NULL, ROOM + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(guarded != MAP_FAILED);
    guarded += GUARD;
    CHECK(mprotect(guarded, ROOM, PROT_READ | PROT_WRITE) == 0);
}

/* rows x n elements, ld apart, at the end of that memory or its beginning. */
static void *filled(clv_dtype dtype, int64_t rows, int64_t n, int64_t ld, bool at_end)
{
    int64_t count = rows > 0 && n > 0 ? (rows - 1) * ld + n : 0;
    size_t size = clv_dtype_size(dtype), bytes = (size_t)count * size;
    CHECK(bytes <= ROOM);
    char *x = guarded + (at_end ? ROOM - bytes : 0);
    for (int64_t i = 0; i < count; i++) {
        double v = value(i);
        clvi_convert(1, CLV_F64, &v, dtype, x + (size_t)i * size);
    }
    return x;
}

static double get(clv_dtype dtype, const void *y, int64_t i)
{
    double v;
    clvi_convert(1, dtype, (const char *)y + (size_t)i * clv_dtype_size(dtype), CLV_F64, &v);
    return v;
}

static void *blank(clv_dtype dtype, int64_t count)
{
    void *y = malloc((size_t)count * clv_dtype_size(dtype));
    clvi_fill(dtype, count, untouched, y);
    return y;
}

static void transpose(clv_dtype stored, int64_t m, int64_t n, int64_t ldx, int64_t ldy)
{
    clv_dtype real = real_of(stored);
    void *x = filled(stored, n, m, ldx, (m + n) % 2), *y = blank(real, (m + 1) * ldy);
    clvi_panel_transpose(stored, m, n, x, ldx, y, ldy);
    int64_t wrong = 0;
    for (int64_t l = 0; l <= m; l++)
        for (int64_t j = 0; j < ldy; j++)
            wrong += get(real, y, l * ldy + j) != (l < m && j < n ? value(j * ldx + l) : untouched);
    CHECK_INT(wrong, 0);
    free(y);
}

static void copy(clv_dtype stored, int64_t count, int64_t m, int64_t width, int64_t ldx,
                 int64_t ldy, int64_t next)
{
    clv_dtype real = real_of(stored);
    void *x = filled(stored, m, count * width, ldx, width % 2),
         *y = blank(real, (count + 1) * next);
    clvi_panel_copy(stored, count, m, width, x, ldx, y, ldy, next);
    int64_t wrong = 0;
    for (int64_t i = 0; i < (count + 1) * next; i++) {
        int64_t p = i / next, l = i % next / ldy, lane = i % next % ldy;
        bool there = p < count && l < m && lane < width;
        wrong += get(real, y, i) != (there ? value(l * ldx + p * width + lane) : untouched);
    }
    CHECK_INT(wrong, 0);
    free(y);
}

static const clv_dtype types[] = {CLV_F32, CLV_F64, CLV_BF16};

static void transposes(void)
{
    open_guarded();
    for (int t = 0; t < 3; t++)
        for (int64_t n = 0; n <= LANES; n++)
            for (int64_t m = 0; m <= DEPTH; m += m < 20 ? 1 : 7) {
                transpose(types[t], m, n, m + 1, n + 1);
                transpose(types[t], m, n, m + 5, n + 3);
            }
}

static void copies(void)
{
    open_guarded();
    for (int t = 0; t < 3; t++)
        for (int64_t width = 1; width <= LANES; width++)
            for (int64_t count = 0; count <= PANELS; count++)
                for (int64_t m = 0; m <= 9; m += 3) {
                    copy(types[t], count, m, width, count * width + 1, width, (m + 1) * width);
                    copy(types[t], count, m, width, count * width, width + 2, m * (width + 2) + 3);
                }
}

const check_case check_cases[] = {{"transposes", transposes}, {"copies", copies}, {0}};
