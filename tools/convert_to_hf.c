/* SPDX-License-Identifier: BSD-3-Clause
 *
 * convert_to_hf.c: from a checkpoint of ours to a folder of Hugging Face's. config.json, without
 * which the folder is no model, gets its name last, and one that is there goes before its tensors,
 * but not before all that comes in their place is on the disk.
 */
#include "convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- What is there ------------------------------------------------------------------------ */

/* The model that the file's JSON speaks of; of one that came from Hugging Face, config.json too. */
static clv_status read_model(conversion *c)
{
    clv_status status;
    record r = {0};
    const char *json = clv_checkpoint_json(c->ours);
    json_t *object = json_loads(json, 0, NULL);
    json_t *origin = json_object_get(object, "huggingface");
    TRY(record_parse(json, c->input, &r));
    c->model.config = r.model;
    TRY(hf_config_kind(&r.model, &c->model.kind));
    c->model.bare = json_is_true(json_object_get(origin, "bare"));
    c->model.origin = json_incref(json_object_get(origin, "config"));
done:
    json_decref(object);
    return status;
}

static void match(conversion *c, int i, complaints *wrong)
{
    const hf_tensor *expected = &c->map->link[i].ours;
    int at = clv_checkpoint_find(c->ours, expected->name);
    c->source[i] = at;
    if (at < 0) {
        complain(wrong, "%s is missing", expected->name);
        return;
    }
    clv_checkpoint_entry found = clv_checkpoint_at(c->ours, at);
    if (found.m != expected->m || found.n != expected->n)
        complain(wrong, "%s: expected %lld x %lld, found %lld x %lld", found.name,
                 (long long)expected->m, (long long)expected->n, (long long)found.m,
                 (long long)found.n);
    else if (found.dtype == CLV_I32)
        complain(wrong, "%s: expected f32, f64 or bf16, found i32", found.name);
    c->dtype[i] = convert_dtype(c->args, found.dtype);
}

static clv_status find_strangers(conversion *c, complaints *wrong)
{
    json_t *known = json_object();
    for (int i = 0; i < c->map->links; i++)
        json_object_set_new(known, c->map->link[i].ours.name, json_true());
    clv_status status = json_object_size(known) == (size_t)c->map->links
                            ? CLV_OK
                            : tool_fail(CLV_ENOMEM, "no memory for %d names", c->map->links);
    for (int i = 0; i < clv_checkpoint_count(c->ours); i++) {
        const char *name = clv_checkpoint_at(c->ours, i).name;
        if (json_object_get(known, name)) continue;
        c->left_out++;
        if (!c->args->only && is_parameter(name))
            complain(wrong, "%.100s is not part of such a model", name);
    }
    json_decref(known);
    return status;
}

/* Local. */
static clv_status prepare(conversion *c)
{
    clv_status status;
    complaints wrong = {.count = 0};
    TRY(read_model(c));
    TRY(hf_map_create(&c->model, c->input, c->args->only, clv_checkpoint_count(c->ours), &c->map));
    c->source = calloc((size_t)c->map->links + 1, sizeof *c->source);
    c->dtype = calloc((size_t)c->map->links + 1, sizeof *c->dtype);
    if (!c->source || !c->dtype)
        return tool_fail(CLV_ENOMEM, "no memory for a list of %d tensors", c->map->links);
    for (int i = 0; i < c->map->links; i++) match(c, i, &wrong);
    TRY(find_strangers(c, &wrong));
    TRY(complaints_status(&wrong, CLV_ESHAPE, c->input));
    if (!c->map->links)
        return tool_fail(CLV_ENOTFOUND,
                         "--only: expected a pattern that some tensor fits, found %s",
                         c->args->only);
done:
    return status;
}

/* ---- What is written -------------------------------------------------------------------- */

static clv_status begin(conversion *c)
{
    const hf_map *map = c->map;
    clv_st_entry *entries = calloc((size_t)map->tensors, sizeof *entries);
    clv_status status =
        entries ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for %d entries", map->tensors);
    TRY(clv_grid_agree(c->grid, status));
    for (int i = 0; i < map->links; i++)
        for (int p = map->link[i].first; p < map->link[i].last; p++) {
            int at = map->piece[p].theirs;
            const hf_tensor *t = &map->theirs[at];
            entries[at] = (clv_st_entry){t->name, c->dtype[i], t->ndims, t->m, t->n};
        }
    TRY(clv_safetensors_begin(c->grid, c->args->output, map->tensors, entries, c->args->shard_bytes,
                              &c->to_theirs));
done:
    free(entries);
    return status;
}

/* The type of most of the elements. */
static clv_dtype main_dtype(const conversion *c)
{
    double elements[CLV_DTYPE_COUNT] = {0};
    clv_dtype most = c->dtype[0];
    for (int i = 0; i < c->map->links; i++) {
        const hf_tensor *t = &c->map->link[i].ours;
        elements[c->dtype[i]] += (double)t->m * (double)t->n;
    }
    for (int d = 0; d < CLV_DTYPE_COUNT; d++)
        if (elements[d] > elements[most]) most = (clv_dtype)d;
    return most;
}

/* Rank 0. */
static clv_status remove_config(const char *path)
{
    if (unlink(path) == 0 || errno == ENOENT) return CLV_OK;
    return tool_fail(CLV_EIO, "%s: cannot remove: %s", path, strerror(errno));
}

/* After begin. Collective. */
static clv_status write_all(conversion *c, const char *config, const char *text)
{
    bool root = tool.rank == 0;
    clv_status status = root ? convert_write_text(config, text) : CLV_OK;
    if (status == CLV_OK) status = convert_stream(c, false);
    status = clv_safetensors_settle(c->to_theirs, status);
    if (status == CLV_OK && root) status = remove_config(config);
    TRY(clv_safetensors_commit(&c->to_theirs, status));
    TRY(clv_grid_agree(c->grid, root ? convert_rename_text(config) : CLV_OK));
done:
    if (status != CLV_OK && root) convert_drop_text(config);
    return status;
}

/* No file that makes a folder a model is there. Collective. */
static clv_status check_free(const conversion *c)
{
    static const char *const heads[] = {CLV_ST_INDEX, CLV_ST_SINGLE, "config.json"};
    clv_status status = CLV_OK;
    for (int i = 0; i < 3 && status == CLV_OK; i++) {
        char *path = hf_path(c->args->output, heads[i]);
        status =
            clv_grid_agree(c->grid, path ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for a name"));
        if (status == CLV_OK) status = convert_check_free(c, path);
        free(path);
    }
    return status;
}

clv_status convert_to_hf(conversion *c)
{
    clv_status status;
    char *config = hf_path(c->args->output, "config.json"), *text = NULL;
    TRY(clv_grid_agree(c->grid, config ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for a name")));
    TRY(check_free(c));
    TRY(clv_checkpoint_open(c->grid, c->input, &c->ours));
    status = prepare(c);
    if (status == CLV_OK) status = hf_config_write(&c->model, main_dtype(c), &text);
    TRY(clv_grid_agree(c->grid, status));
    TRY(begin(c));
    TRY(write_all(c, config, text));
done:
    free(config);
    free(text);
    return status;
}
