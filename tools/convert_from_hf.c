/* SPDX-License-Identifier: BSD-3-Clause
 *
 * convert_from_hf.c: from a folder of Hugging Face's to a checkpoint of ours.
 */
#include "convert.h"

#include <stdlib.h>
#include <string.h>

/* ---- What is there ---------------------------------------------------------------------- */

/* "2 x 3"; "no extents" of a scalar. */
static const char *describe(int ndims, const int64_t shape[], char buffer[200])
{
    int used = 0;
    snprintf(buffer, 200, "no extents");
    for (int d = 0; d < ndims; d++)
        used += snprintf(buffer + used, 200 - (size_t)used, "%s%lld", d ? " x " : "",
                         (long long)shape[d]);
    return buffer;
}

static void match(conversion *c, int i, complaints *wrong)
{
    const hf_tensor *t = &c->map->theirs[i];
    const int64_t shape[] = {t->m, t->n}, *expected = &shape[2 - t->ndims];
    int at = clv_safetensors_find(c->theirs, t->name);
    char there[200], here[200];
    c->source[i] = at;
    if (at < 0) {
        complain(wrong, "%s is missing", t->name);
        return;
    }
    clv_st_tensor found = clv_safetensors_at(c->theirs, at);
    size_t bytes = (size_t)t->ndims * sizeof *expected;
    if (found.dtype > CLV_ST_F16)
        complain(wrong, "%s: expected F32, F64, BF16 or F16, found %s", t->name, found.dtype_name);
    else if (found.ndims != t->ndims || memcmp(found.shape, expected, bytes) != 0)
        complain(wrong, "%s: expected %s, found %s", t->name, describe(t->ndims, expected, here),
                 describe(found.ndims, found.shape, there));
    c->halves += found.dtype == CLV_ST_F16;
}

/* Every tensor of the file is in the map, or says nothing. */
static clv_status find_strangers(conversion *c, complaints *wrong)
{
    json_t *known = json_object();
    for (int i = 0; i < c->map->tensors; i++)
        json_object_set_new(known, c->map->theirs[i].name, json_true());
    clv_status status = json_object_size(known) == (size_t)c->map->tensors
                            ? CLV_OK
                            : tool_fail(CLV_ENOMEM, "no memory for %d names", c->map->tensors);
    for (int i = 0; i < clv_safetensors_count(c->theirs); i++) {
        const char *name = clv_safetensors_at(c->theirs, i).name;
        if (json_object_get(known, name)) continue;
        c->left_out++;
        if (!c->args->only && !hf_is_ignored(&c->model, name))
            complain(wrong, "%.100s is not part of such a model", name);
    }
    json_decref(known);
    return status;
}

/* The widest type of the tensors that a link is made of; f16 is f32. */
static clv_dtype found_dtype(const conversion *c, const hf_link *link)
{
    static const clv_dtype dtypes[] = {[CLV_ST_F32] = CLV_F32,
                                       [CLV_ST_F64] = CLV_F64,
                                       [CLV_ST_BF16] = CLV_BF16,
                                       [CLV_ST_F16] = CLV_F32};
    clv_dtype widest = CLV_BF16;
    for (int p = link->first; p < link->last; p++) {
        int at = c->source[c->map->piece[p].theirs];
        clv_dtype dtype = dtypes[clv_safetensors_at(c->theirs, at).dtype];
        if (clv_dtype_size(dtype) > clv_dtype_size(widest)) widest = dtype;
    }
    return widest;
}

/* Opens the folder and finds every tensor. Local. */
static clv_status prepare(conversion *c)
{
    clv_status status;
    complaints wrong = {.count = 0};
    TRY(hf_config_read(c->input, &c->model));
    TRY(clv_safetensors_open(c->input, &c->theirs));
    int count = clv_safetensors_count(c->theirs);
    hf_kind kind = c->model.kind;
    c->model.bare = true;
    for (int i = 0; i < count && c->model.bare; i++) {
        const char *name = clv_safetensors_at(c->theirs, i).name;
        c->model.bare = hf_bare_name(kind, name) == name;
    }
    TRY(hf_map_create(&c->model, c->input, c->args->only, count, &c->map));
    c->source = calloc((size_t)c->map->tensors + 1, sizeof *c->source);
    c->dtype = calloc((size_t)c->map->links + 1, sizeof *c->dtype);
    if (!c->source || !c->dtype)
        return tool_fail(CLV_ENOMEM, "no memory for a list of %d tensors", count);
    for (int i = 0; i < c->map->tensors; i++) match(c, i, &wrong);
    TRY(find_strangers(c, &wrong));
    TRY(complaints_status(&wrong, CLV_ESHAPE, c->input));
    if (!c->map->links)
        return tool_fail(CLV_ENOTFOUND,
                         "--only: expected a pattern that some tensor fits, found %s",
                         c->args->only);
    c->model.config.dtype = CLV_F32;
    for (int i = 0; i < c->map->links; i++) {
        c->dtype[i] = convert_dtype(c->args, found_dtype(c, &c->map->link[i]));
        if (c->dtype[i] == CLV_F64) c->model.config.dtype = CLV_F64;
    }
done:
    return status;
}

/* ---- What is written -------------------------------------------------------------------- */

/* That of a run before its first step; and config.json, for the way back. */
static clv_status write_record(const conversion *c, char **json)
{
    clv_status status;
    char *text = NULL;
    json_t *object = NULL;
    record r = {
        .model = c->model.config,
        .optimizer = {.kind = CLV_ADAMW,
                      .momentum = 0.9,
                      .beta1 = 0.9,
                      .beta2 = 0.95,
                      .eps = 1e-8,
                      .weight_decay = 0.1,
                      .clip = 1},
        .schedule = {.peak = 1e-3, .final = 1e-4},
        .position.seed = 1,
        .batch = 8,
    };
    TRY(record_format(&r, &text));
    object = json_loads(text, 0, NULL);
    json_t *origin = json_pack("{s:O, s:b}", "config", c->model.origin, "bare", c->model.bare);
    bool complete = json_object_set_new(object, "huggingface", origin) == 0;
    *json = complete ? json_dumps(object, JSON_REAL_PRECISION(17)) : NULL;
    if (!*json) status = tool_fail(CLV_ENOMEM, "no memory for the text of a checkpoint");
done:
    json_decref(object);
    free(text);
    return status;
}

static clv_status begin(conversion *c)
{
    char *json = NULL;
    clv_checkpoint_entry *entries = calloc((size_t)c->map->links, sizeof *entries);
    clv_status status =
        entries ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for %d entries", c->map->links);
    if (status == CLV_OK) status = write_record(c, &json);
    TRY(clv_grid_agree(c->grid, status));
    for (int i = 0; i < c->map->links; i++) {
        const hf_tensor *ours = &c->map->link[i].ours;
        entries[i] = (clv_checkpoint_entry){ours->name, ours->m, ours->n, c->dtype[i]};
    }
    TRY(clv_checkpoint_begin(c->grid, c->args->output, c->map->links, entries, json, &c->to_ours));
done:
    free(json);
    free(entries);
    return status;
}

clv_status convert_from_hf(conversion *c)
{
    clv_status status;
    TRY(convert_check_free(c, c->args->output));
    TRY(clv_grid_agree(c->grid, prepare(c)));
    TRY(begin(c));
    TRY(clv_checkpoint_commit(&c->to_ours, convert_stream(c, true)));
done:
    return status;
}
