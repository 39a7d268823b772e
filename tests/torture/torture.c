/* SPDX-License-Identifier: BSD-3-Clause */
#include "torture.h"

#include <clvi_lib.h>
#include <dirent.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Values ------------------------------------------------------------------------- */

static int value_of(int k, int64_t i, int64_t step)
{
    return (int)((7 * i + 13 * k + step) % 251) - 125;
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

/* Sets a block of data set k, of n columns in all, to its values at a step, or counts where it
 * differs from them. */
static int64_t visit(int k, int64_t n, clv_dtype dtype, clv_block block, int64_t step, bool set)
{
    size_t size = clv_dtype_size(dtype);
    int64_t wrong = 0;
    for (int64_t i = 0; i < block.m; i++)
        for (int64_t j = 0; j < block.n; j++) {
            int64_t index = (block.row0 + i) * n + block.col0 + j;
            uint64_t bits = bits_of(dtype, value_of(k, index, step));
            char *at = (char *)block.data + (size_t)(i * block.ld + j) * size;
            if (set)
                memcpy(at, &bits, size);
            else
                wrong += memcmp(at, &bits, size) != 0;
        }
    return wrong;
}

static int64_t visit_matrices(const torture_model *model, int64_t step, bool set)
{
    int64_t wrong = 0;
    for (int k = 0; k < TORTURE_MATRICES; k++) {
        clv_spec spec = clv_matrix_spec(model->named[k].matrix);
        wrong += visit(k, spec.n, spec.dtype, clv_matrix_block(model->named[k].matrix), step, set);
    }
    return wrong;
}

/* ---- The model ----------------------------------------------------------------------- */

static const struct {
    const char *name, *layout;
    int64_t m, n; /* of size 1; m grows */
    clv_dtype dtype;
} shapes[TORTURE_MATRICES] = {
    {"weight", "col|-", 127, 127, CLV_F32},    {"moment/weight", "-|col", 31, 127, CLV_F64},
    {"moment/bias", "-|col", 1, 127, CLV_F64}, {"bf16", "-|col", 17, 7, CLV_BF16},
    {"ids", "-|-", 127, 1, CLV_I32},           {"none", "col|-", 0, 3, CLV_F32}};

clv_status torture_create(clv_grid *grid, int size, torture_model *model)
{
    clv_status status = CLV_OK;
    *model = (torture_model){.grid = grid};
    for (int k = 0; k < TORTURE_MATRICES; k++) {
        clv_spec spec = {.m = shapes[k].m * size, .n = shapes[k].n, .dtype = shapes[k].dtype};
        model->named[k].name = shapes[k].name;
        CLVI_TRY(clv_layout_parse(grid, shapes[k].layout, &spec.layout));
        CLVI_TRY(clv_matrix_create(grid, spec, &model->named[k].matrix));
    }
done:
    if (status != CLV_OK) torture_destroy(model);
    return status;
}

void torture_destroy(torture_model *model)
{
    clv_saver_destroy(&model->saver);
    for (int k = 0; k < TORTURE_MATRICES; k++) clv_matrix_destroy(&model->named[k].matrix);
}

clv_status torture_begin_save(torture_model *model, const char *dir, int64_t step, int64_t *saved)
{
    clv_status status;
    char json[64];
    clv_saver_options options = {.keep = TORTURE_KEEP, .background = model->background};
    snprintf(json, sizeof json, "{\"step\": %lld}", (long long)step);
    visit_matrices(model, step, true);
    if (!model->saver) CLVI_TRY(clv_saver_create(model->grid, dir, &options, &model->saver));
    CLVI_TRY(clv_saver_save(model->saver, step, TORTURE_MATRICES, model->named, json));
    CLVI_TRY(clv_saver_check(model->saver, saved));
done:
    return status;
}

clv_status torture_save(torture_model *model, const char *dir, int64_t step)
{
    clv_status status;
    int64_t saved;
    CLVI_TRY(torture_begin_save(model, dir, step, &saved));
    CLVI_TRY(clv_saver_wait(model->saver, &saved));
    CLVI_CHECK(saved == step, CLV_EMISMATCH, "expected step %lld to be durable, found %lld",
               (long long)step, (long long)saved);
done:
    return status;
}

/* ---- Checking ------------------------------------------------------------------------ */

/* Data set k of a file, all of it, of any shape. Local. */
static clv_status check_set(clv_checkpoint *checkpoint, int k, int64_t step, int64_t *wrong)
{
    clv_status status;
    int i = clv_checkpoint_find(checkpoint, shapes[k].name);
    if (i < 0) return clvi_fail(CLV_ENOTFOUND, "no data set %s", shapes[k].name);
    clv_checkpoint_entry entry = clv_checkpoint_at(checkpoint, i);
    clv_block all = {.m = entry.m, .n = entry.n, .ld = entry.n};
    all.data = malloc((size_t)(entry.m * entry.n) * clv_dtype_size(entry.dtype) + 1);
    CLVI_CHECK(all.data, CLV_ENOMEM, "%s", entry.name);
    CLVI_TRY(clv_checkpoint_read(checkpoint, i, entry.dtype, all));
    *wrong += visit(k, entry.n, entry.dtype, all, step, false);
    if (entry.dtype != shapes[k].dtype || entry.n != shapes[k].n) ++*wrong;
done:
    free(all.data);
    return status;
}

static bool same_shapes(const torture_model *model, clv_checkpoint *checkpoint)
{
    bool same = clv_checkpoint_count(checkpoint) == TORTURE_MATRICES;
    for (int k = 0; same && k < TORTURE_MATRICES; k++) {
        int i = clv_checkpoint_find(checkpoint, shapes[k].name);
        same = i >= 0 &&
               clv_checkpoint_at(checkpoint, i).m == clv_matrix_spec(model->named[k].matrix).m;
    }
    return same;
}

/* Through clv_checkpoint_read, the data sets divided over the processes, or through a load. */
static clv_status check_values(const torture_model *model, clv_checkpoint *checkpoint, int64_t step)
{
    clv_status status = CLV_OK;
    int64_t wrong = clv_checkpoint_count(checkpoint) != TORTURE_MATRICES;
    int size = clv_grid_size(model->grid);
    for (int k = clv_grid_rank(model->grid); k < TORTURE_MATRICES && status == CLV_OK; k += size)
        status = check_set(checkpoint, k, step, &wrong);
    CLVI_TRY(clv_grid_agree(model->grid, status));
    if (same_shapes(model, checkpoint)) {
        CLVI_TRY(clv_checkpoint_load(checkpoint, TORTURE_MATRICES, model->named, NULL));
        wrong += visit_matrices(model, step, false);
    }
    if (wrong)
        status = clvi_fail(CLV_EMISMATCH, "step %lld: %lld elements are not as saved",
                           (long long)step, (long long)wrong);
    CLVI_TRY(clv_grid_agree(model->grid, status));
done:
    return status;
}

static clv_status check(const torture_model *model, const char *file, bool verify, int64_t *step)
{
    clv_status status;
    clv_checkpoint *checkpoint = NULL;
    long long named = -1;
    int end = 0;
    *step = -1;
    CLVI_TRY(clv_checkpoint_open(model->grid, file, &checkpoint));
    const char *json = clv_checkpoint_json(checkpoint);
    CLVI_CHECK(sscanf(json, "{\"step\": %lld}%n", &named, &end) == 1 && end > 0 && !json[end],
               CLV_EMISMATCH, "%s: expected a step, found \"%.64s\"", file, json);
    *step = named;
    if (verify) CLVI_TRY(clv_checkpoint_verify(checkpoint, NULL));
    CLVI_TRY(check_values(model, checkpoint, named));
done:
    clv_checkpoint_close(&checkpoint);
    return status;
}

clv_status torture_check(const torture_model *model, const char *file, int64_t *step)
{
    return check(model, file, true, step);
}

clv_status torture_check_loaded(const torture_model *model, const char *file, int64_t *step)
{
    return check(model, file, false, step);
}

clv_status torture_check_newest(const torture_model *model, const char *dir, int64_t *step)
{
    char *file = NULL;
    *step = 0;
    clv_status status = clv_checkpoint_resolve(model->grid, dir, &file);
    if (status == CLV_ENOTFOUND) return CLV_OK;
    if (status == CLV_OK) status = torture_check(model, file, step);
    free(file);
    return status;
}

int torture_list(const char *dir, const char *pattern, int most, char (*names)[256])
{
    int count = 0;
    DIR *folder = opendir(dir);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (fnmatch(pattern, entry->d_name, 0) != 0) continue;
        if (count < most) snprintf(names[count], 256, "%s", entry->d_name);
        count++;
    }
    if (folder) closedir(folder);
    return count;
}
