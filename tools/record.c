/* SPDX-License-Identifier: BSD-3-Clause
 *
 * record.c: what a checkpoint says in JSON, so that a run continues from the file alone:
 *
 *     {"cleave": 1, "model": {...}, "optimizer": {...}, "schedule": {...}, "train": {...}}
 *
 * A record without "leaves" in "train" is of a run that was not reproducible; one without "tokens",
 * or 0 of them, does not say which data it saw.
 */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

enum { VERSION = 1 };

/* The whole of it for json_pack and json_unpack, which call a number "f" and "F", and a key that
 * may lack "s" and "s?". The model's JSON is the library's. */
#define RECORD(N, S)                                                                             \
    "{s:i, s:o, s:{s:s, s:" N ", s:" N ", s:" N ", s:" N ", s:" N ", s:" N "}, s:{s:" N ", s:" N \
    ", s:I, s:I}, s:{s:I, s:I, s:I, s:I, " S ":I, " S ":I}}"

static const char *const optimizer_names[] = {[CLV_ADAMW] = "adamw", [CLV_SGD] = "sgd"};

static clv_status parse_optimizer(const char *name, const char *file, clv_optimizer_kind *kind)
{
    for (int i = CLV_ADAMW; i <= CLV_SGD; i++) {
        *kind = (clv_optimizer_kind)i;
        if (!strcmp(optimizer_names[i], name)) return CLV_OK;
    }
    return tool_fail(CLV_EFORMAT, "%s: optimizer: expected adamw or sgd, found \"%s\"", file, name);
}

static clv_status parse_model(json_t *object, const char *file, clv_gpt_config *model)
{
    char *text = json_dumps(object, JSON_COMPACT);
    if (!text) return tool_fail(CLV_ENOMEM, "%s: no memory for its configuration", file);
    clv_status status = clv_gpt_config_from_json(text, model);
    free(text);
    if (status != CLV_OK) tool_fail(status, "%s: %s", file, clv_last_error());
    if (!model->hidden) model->hidden = 4 * model->width;
    return status;
}

/* Opens the checkpoint that path means, on a grid of all processes that stands no longer than
 * this. */
static clv_status read_record(const char *path, record *r, char **file)
{
    clv_status status;
    clv_grid *grid = NULL;
    clv_checkpoint *checkpoint = NULL;
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    TRY(clv_checkpoint_resolve(grid, path, file));
    TRY(clv_checkpoint_open(grid, *file, &checkpoint));
    TRY(clv_grid_agree(grid, record_parse(clv_checkpoint_json(checkpoint), *file, r)));
done:
    clv_checkpoint_close(&checkpoint);
    clv_grid_destroy(&grid);
    return status;
}

clv_status record_format(const record *r, char **json)
{
    char *model = NULL;
    const clv_optimizer_config *o = &r->optimizer;
    clv_status status = clv_gpt_config_to_json(&r->model, &model);
    if (status != CLV_OK) return status;
    json_t *object = json_pack(
        RECORD("f", "s"), "cleave", VERSION, "model", json_loads(model, 0, NULL), "optimizer",
        "kind", optimizer_names[o->kind], "momentum", o->momentum, "beta1", o->beta1, "beta2",
        o->beta2, "eps", o->eps, "weight_decay", o->weight_decay, "clip", o->clip, "schedule",
        "peak", r->schedule.peak, "final", r->schedule.final, "warmup",
        (json_int_t)r->schedule.warmup, "steps", (json_int_t)r->schedule.steps, "train", "step",
        (json_int_t)r->position.step, "sample", (json_int_t)r->position.sample, "seed",
        (json_int_t)r->position.seed, "batch", (json_int_t)r->batch, "leaves",
        (json_int_t)r->leaves, "tokens", (json_int_t)r->tokens);
    *json = object ? json_dumps(object, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(object);
    free(model);
    return *json ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for the text of a checkpoint");
}

clv_status record_parse(const char *json, const char *file, record *r)
{
    json_error_t error;
    int version;
    json_t *model;
    const char *kind;
    json_int_t warmup, steps, step, sample, seed, batch, leaves = 0, tokens = 0;
    clv_optimizer_config *o = &r->optimizer;
    json_t *object = json_loads(json, 0, &error);
    int failed = !object || json_unpack_ex(object, &error, 0, RECORD("F", "s?"), "cleave", &version,
                                           "model", &model, "optimizer", "kind", &kind, "momentum",
                                           &o->momentum, "beta1", &o->beta1, "beta2", &o->beta2,
                                           "eps", &o->eps, "weight_decay", &o->weight_decay, "clip",
                                           &o->clip, "schedule", "peak", &r->schedule.peak, "final",
                                           &r->schedule.final, "warmup", &warmup, "steps", &steps,
                                           "train", "step", &step, "sample", &sample, "seed", &seed,
                                           "batch", &batch, "leaves", &leaves, "tokens", &tokens);
    clv_status status = CLV_OK;
    if (failed)
        status = tool_fail(CLV_EFORMAT, "%s: expected the record of a training run, found %s", file,
                           error.text);
    else if (version != VERSION)
        status = tool_fail(CLV_EFORMAT, "%s: expected a record of version %d, found %d", file,
                           VERSION, version);
    else if (step < 0 || sample < 0 || seed < 0 || batch < 1)
        status = tool_fail(CLV_EFORMAT,
                           "%s: expected step, sample and seed from 0 and batch from 1, "
                           "found %lld, %lld, %lld and %lld",
                           file, step, sample, seed, batch);
    else if (leaves < 0 || leaves > CLV_MAX_LEAVES || (leaves & (leaves - 1)))
        status =
            tool_fail(CLV_EFORMAT, "%s: leaves: expected 0 or a power of two up to %d, found %lld",
                      file, CLV_MAX_LEAVES, leaves);
    if (status == CLV_OK) status = parse_optimizer(kind, file, &o->kind);
    if (status == CLV_OK) status = parse_model(model, file, &r->model);
    if (status == CLV_OK) {
        r->schedule.warmup = warmup, r->schedule.steps = steps;
        r->position = (clv_train_position){step, (uint64_t)sample, (uint64_t)seed};
        r->batch = batch;
        r->tokens = tokens;
        r->leaves = (int)leaves;
    }
    json_decref(object);
    return status;
}

clv_status record_resume(const char *path, const option options[], bool any_dtype, record *asked,
                         char **file)
{
    clv_status status;
    record found = {0};
    TRY(read_record(path, &found, file));
    clv_gpt_config expected = found.model;
    if (any_dtype) expected.dtype = asked->model.dtype;
    TRY(options_expect(options, &asked->model, sizeof asked->model, &expected, *file));
    TRY(options_expect(options, &asked->optimizer.kind, sizeof asked->optimizer.kind,
                       &found.optimizer.kind, *file));
    TRY(options_expect(options, &asked->position, sizeof asked->position, &found.position, *file));
    options_inherit(options, asked, sizeof *asked, &found);
done:
    return status;
}

clv_status record_init(const char *path, const option options[], record *asked, char **file)
{
    record found = {0};
    clv_status status = read_record(path, &found, file);
    if (status == CLV_OK)
        options_inherit(options, &asked->model, sizeof asked->model, &found.model);
    return status;
}

static bool has_state(const clv_checkpoint *checkpoint)
{
    for (int i = 0; i < clv_checkpoint_count(checkpoint); i++)
        if (!is_parameter(clv_checkpoint_at(checkpoint, i).name)) return true;
    return false;
}

static bool needs_state(int count, const clv_named list[])
{
    for (int i = 0; i < count; i++)
        if (!is_parameter(list[i].name)) return true;
    return false;
}

clv_status record_load(clv_grid *grid, const char *file, const clv_params *params,
                       const clv_optimizer *optimizer)
{
    clv_status status;
    int count = 0;
    clv_named *list = NULL;
    clv_checkpoint *checkpoint = NULL;
    TRY(clv_grid_agree(grid, clv_training_state(params, optimizer, &list, &count)));
    TRY(clv_checkpoint_open(grid, file, &checkpoint));
    if (needs_state(count, list) && !has_state(checkpoint))
        TRY(tool_fail(CLV_ENOTFOUND,
                      "%s: expected an optimizer's state to go on with, found parameters alone: "
                      "--init starts from those",
                      file));
    TRY(clv_checkpoint_load(checkpoint, count, list,
                            &(clv_load_options){.only = optimizer ? NULL : "*" NO_OPTIMIZER}));
done:
    clv_checkpoint_close(&checkpoint);
    free(list);
    return status;
}

/* How many parameters a pattern means that the file has. */
static int count_matching(const clv_checkpoint *checkpoint, const char *pattern, int count,
                          const clv_named list[])
{
    int matching = 0;
    for (int i = 0; i < count; i++)
        matching += clv_name_matches(pattern, list[i].name) &&
                    clv_checkpoint_find(checkpoint, list[i].name) >= 0;
    return matching;
}

clv_status record_load_some(clv_grid *grid, const char *file, const char *only,
                            const clv_params *params, int *loaded)
{
    clv_status status;
    int count = 0;
    clv_named *list = NULL;
    clv_checkpoint *checkpoint = NULL;
    TRY(clv_grid_agree(grid, clv_training_state(params, NULL, &list, &count)));
    TRY(clv_checkpoint_open(grid, file, &checkpoint));
    *loaded = count_matching(checkpoint, only, count, list);
    if (*loaded == 0)
        TRY(tool_fail(CLV_ENOTFOUND, "%s: expected parameters of this model%s%s, found none", file,
                      only ? " among " : "", only ? only : ""));
    TRY(clv_checkpoint_load(checkpoint, count, list,
                            &(clv_load_options){.only = only, .lax = true}));
done:
    clv_checkpoint_close(&checkpoint);
    free(list);
    return status;
}
