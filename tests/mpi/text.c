/* SPDX-License-Identifier: BSD-3-Clause
 *
 * text.c: several files as one text; files that are not there or not the same everywhere.
 *
 * RANKS: 1 3
 */
#include "scratch.h"

#include <clvi_lib.h>
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
    clv_text *text = NULL;
    int64_t all = put_files();
    uint64_t state = 1 + (uint64_t)check_rank();
    int32_t *ids = malloc((size_t)(all + 1) * sizeof *ids);
    if (CHECK_OK(clv_text_open(world, FILES, list, &text))) {
        CHECK_INT(clv_text_size(text), all);
        for (int trial = 0; trial < 100; trial++) {
            int64_t offset = trial ? check_random_below(&state, all + 1) : 0, wrong = 0;
            int64_t count = trial ? check_random_below(&state, all - offset + 1) : all;
            ids[count] = -7;
            CHECK_OK(clv_text_read(text, offset, count, ids));
            for (int64_t i = 0; i < count; i++) wrong += ids[i] != byte_at(offset + i);
            CHECK_INT(wrong, 0);
            CHECK_INT(ids[count], -7);
        }
        CHECK_STATUS(clv_text_read(text, -1, 1, ids), CLV_EARG);
        CHECK_STATUS(clv_text_read(text, all, 1, ids), CLV_EARG);
        CHECK_STATUS(clv_text_read(text, 1, INT64_MAX, ids), CLV_EARG);
        CHECK_STATUS(clv_text_read(text, 0, 1, NULL), CLV_EARG);
        CHECK_OK(clv_text_read(text, all, 0, NULL));
        CHECK_STATUS(clv_text_read(NULL, 0, 0, NULL), CLV_EARG);
    }
    free(ids);
    clv_text_close(&text);
    CHECK(!text);
    scratch_end();
}

static void refuses(void)
{
    scratch_begin();
    clv_text *text = NULL;
    put_files();
    const char *nothing = in_scratch("nothing");
    const char *const missing[] = {paths[0], nothing}, *const folder[] = {scratch};
    CHECK_STATUS(clv_text_open(world, 2, missing, &text), CLV_ENOTFOUND);
    CHECK(!text && strstr(clv_last_error(), nothing));
    CHECK_STATUS(clv_text_open(world, 1, folder, &text), CLV_EIO);
    CHECK(!text && strstr(clv_last_error(), "directory"));
    CHECK_STATUS(clv_text_open(world, 1, list + 2, &text), CLV_ESHAPE); /* the empty one */
    CHECK(!text && strstr(clv_last_error(), paths[2]));
    CHECK_STATUS(clv_text_open(world, 0, list, &text), CLV_EARG);
    CHECK_STATUS(clv_text_open(world, 1, NULL, &text), CLV_EARG);
    CHECK_STATUS(clv_text_open(NULL, 1, list, &text), CLV_EARG);
    if (check_size() > 1) { /* the last rank alone differs */
        bool last = check_rank() == check_size() - 1;
        CHECK_STATUS(clv_text_open(world, 1, last ? list : list + 1, &text), CLV_EMISMATCH);
        CHECK_STATUS(clv_text_open(world, last ? 1 : 2, list, &text), CLV_EMISMATCH);
        CHECK_STATUS(clv_text_open(world, 1, last ? &nothing : list, &text), CLV_ENOTFOUND);
        CHECK(!text && strstr(clv_last_error(), "nothing"));
    }
    scratch_end();
}

/* A file cut short while it is open is an error, not a crash. */
static void cut_short(void)
{
    scratch_begin();
    clv_text *text = NULL;
    put_files();
    int32_t ids[100];
    CHECK_OK(clv_text_open(world, FILES, list, &text));
    if (check_rank() == 0) CHECK(truncate(paths[4], 10) == 0);
    CHECK_OK(clv_grid_barrier(world));
    CHECK_STATUS(clv_text_read(text, clv_text_size(text) - 100, 100, ids), CLV_ECORRUPT);
    CHECK(strstr(clv_last_error(), paths[4]));
    clv_text_close(&text);
    scratch_end();
}

static void one_rank_has_no_memory(void)
{
    scratch_begin();
    clv_text *text = NULL;
    put_files();
    int64_t live = clvi_alloc_live();
    for (int64_t nth = 1; nth <= FILES + 1; nth++) {
        if (check_rank() == check_size() - 1) clvi_alloc_fail_at(nth);
        CHECK_STATUS(clv_text_open(world, FILES, list, &text), CLV_ENOMEM);
        clvi_alloc_fail_at(0);
        CHECK(!text);
        CHECK_INT(clvi_alloc_live(), live);
    }
    scratch_end();
}

const check_case check_cases[] = {
    {"reads across files", reads_across_files},
    {"refuses", refuses},
    {"cut short", cut_short},
    {"one rank has no memory", one_rank_has_no_memory},
    {0},
};
