/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hf_config.c: config.json, in one table a kind of model: fields that are ours under another name,
 * and fields that must have the one value that Cleave computes. Fields that are in no table (names,
 * special tokens, dropout, which is of training) change nothing, and come back as they were read.
 */
#include "hf.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum {
    COUNT, /* int64_t; null: 0, which is the default */
    REAL,
    TRUTH,
    OBJECT, /* or null: only looked at, other fields are inside */
    FIXED
} sort;

/* keys: "a|b.c": all of them that are there, which say the same; the first to be written. initial:
 * what a field means that is not there, in JSON; NULL: it has to be. allowed: of FIXED, JSON texts;
 * "" where nothing is written unless it was read. */
typedef struct {
    const char *keys;
    sort sort;
    size_t offset; /* in hf_model */
    const char *initial, *allowed;
} field;

#define AT(member) offsetof(hf_model, config.member)

static const field gpt2[] = {
    {"n_layer", COUNT, AT(layers), NULL, NULL},
    {"n_embd", COUNT, AT(width), NULL, NULL},
    {"n_head", COUNT, AT(heads), NULL, NULL},
    {"n_positions|n_ctx", COUNT, AT(context), NULL, NULL},
    {"vocab_size", COUNT, AT(vocabulary), NULL, NULL},
    {"n_inner", COUNT, AT(hidden), "null", NULL},
    {"layer_norm_epsilon", REAL, AT(norm_eps), "1e-05", NULL},
    {"tie_word_embeddings", TRUTH, AT(tied), "true", NULL},
    {"activation_function", FIXED, 0, "\"gelu_new\"", "\"gelu_new\" \"gelu_pytorch_tanh\""},
    {"scale_attn_weights", FIXED, 0, "true", "true"},
    {"scale_attn_by_inverse_layer_idx", FIXED, 0, "false", "false"},
    {"add_cross_attention", FIXED, 0, "false", "false"},
    {"quantization_config", FIXED, 0, "null", "null"},
    {0},
};

static const field llama[] = {
    {"num_hidden_layers", COUNT, AT(layers), NULL, NULL},
    {"hidden_size", COUNT, AT(width), NULL, NULL},
    {"num_attention_heads", COUNT, AT(heads), NULL, NULL},
    {"num_key_value_heads", COUNT, AT(kv_heads), "null", NULL},
    {"head_dim", COUNT, offsetof(hf_model, head_dim), "null", NULL},
    {"max_position_embeddings", COUNT, AT(context), NULL, NULL},
    {"vocab_size", COUNT, AT(vocabulary), NULL, NULL},
    {"intermediate_size", COUNT, AT(hidden), NULL, NULL},
    {"rms_norm_eps", REAL, AT(norm_eps), "1e-06", NULL},
    {"rope_parameters", OBJECT, 0, "null", NULL},
    {"rope_theta|rope_parameters.rope_theta", REAL, AT(rotary_base), "10000.0", NULL},
    {"tie_word_embeddings", TRUTH, AT(tied), "false", NULL},
    {"hidden_act", FIXED, 0, "\"silu\"", "\"silu\" \"swish\""},
    {"attention_bias", FIXED, 0, "false", "false"},
    {"mlp_bias", FIXED, 0, "false", "false"},
    {"rope_scaling", FIXED, 0, "null",
     "null {\"rope_type\":\"default\"} {\"type\":\"default\"} "
     "{\"rope_type\":\"default\",\"type\":\"default\"}"},
    {"rope_parameters.rope_type|rope_parameters.type", FIXED, 0, "null", "null \"default\""},
    {"rope_parameters.factor", FIXED, 0, "null", "null"},
    {"partial_rotary_factor|rope_parameters.partial_rotary_factor", FIXED, 0, "null", "null 1 1.0"},
    {"quantization_config", FIXED, 0, "null", "null"},
    {0},
};

/* What a kind of model always is. */
static const struct {
    const char *architecture;
    const field *fields;
    clv_gpt_config always;
} kinds[HF_KINDS] = {
    [HF_GPT2] = {"GPT2LMHeadModel", gpt2, {.mlp = CLV_MLP_GELU, .norm = CLV_LAYER_NORM}},
    [HF_LLAMA] = {"LlamaForCausalLM",
                  llama,
                  {.mlp = CLV_MLP_SWIGLU,
                   .norm = CLV_RMS_NORM,
                   .position = CLV_POSITION_ROTARY,
                   .no_bias = true}},
};

void hf_model_drop(hf_model *model)
{
    json_decref(model->origin);
    model->origin = NULL;
}

char *hf_path(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

clv_status hf_look(clv_grid *grid, const char *path, bool *folder, bool *hf)
{
    clv_status status = CLV_OK;
    struct stat info;
    double found[2] = {0};
    if (tool.rank == 0) {
        char *config = hf_path(path, "config.json");
        if (!config) status = tool_fail(CLV_ENOMEM, "%s: no memory for a name in it", path);
        found[0] = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
        found[1] = config && found[0] > 0 && (access(config, F_OK) == 0 || errno != ENOENT);
        free(config);
    }
    TRY(clv_grid_agree(grid, status));
    TRY(clv_grid_reduce(grid, CLV_MAX, 2, found));
    *folder = found[0] > 0, *hf = found[1] > 0;
done:
    return status;
}

/* ---- Keys ---------------------------------------------------------------------------- */

/* Length of the first of the keys. */
static int first_key(const char *keys)
{
    return (int)strcspn(keys, "|");
}

/* The value of one key, "a" or "a.b", of so many characters. */
static json_t *get_key(const json_t *object, const char *key, int length)
{
    char name[80];
    int part = (int)strcspn(key, ".");
    if (part > length) part = length;
    snprintf(name, sizeof name, "%.*s", part, key);
    json_t *value = json_object_get(object, name);
    return part == length ? value : get_key(value, key + part + 1, length - part - 1);
}

/* Key and length become those of the next of the field's keys that is there, of the first for key
 * NULL: its value; NULL: there is none. */
static json_t *next_value(const json_t *object, const field *f, const char **key, int *length)
{
    json_t *value = NULL;
    const char *each = *key ? *key + *length : f->keys;
    while (!value && *each) {
        each += *each == '|';
        *key = each, *length = first_key(each);
        value = get_key(object, each, *length);
        each += *length;
    }
    return value;
}

/* Takes value over; the objects on the way to a key "a.b" are there. */
static bool set_key(json_t *object, const char *key, int length, json_t *value)
{
    char name[80];
    int part = (int)strcspn(key, ".");
    if (part > length) part = length;
    snprintf(name, sizeof name, "%.*s", part, key);
    if (part == length) return json_object_set_new(object, name, value) == 0;
    return set_key(json_object_get(object, name), key + part + 1, length - part - 1, value);
}

/* ---- Reading --------------------------------------------------------------------------- */

/* found NULL: nothing. */
static clv_status refuse(clv_status status, const char *file, const char *key, int length,
                         const char *expected, const json_t *found)
{
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    tool_fail(status, "%s: %.*s: expected %s, found %.200s", file, length, key, expected,
              text ? text : "nothing");
    free(text);
    return status;
}

static clv_status refuse_value(const char *file, const field *f, const char *key, int length,
                               const json_t *value)
{
    static const char *const expected[] = {[COUNT] = "an integer above 0",
                                           [REAL] = "a number above 0",
                                           [TRUTH] = "true or false",
                                           [OBJECT] = "an object or null"};
    char fixed[160];
    if (f->sort != FIXED) return refuse(CLV_EFORMAT, file, key, length, expected[f->sort], value);
    snprintf(fixed, sizeof fixed, "%s (all that Cleave computes)", f->allowed);
    return refuse(CLV_EUNSUPPORTED, file, key, length, fixed, value);
}

/* Whether one of the JSON texts in `allowed`, with spaces between, is this value. */
static bool is_allowed(const json_t *value, const char *allowed)
{
    bool found = false;
    for (const char *each = allowed; !found && *each;) {
        int length = (int)strcspn(each, " ");
        json_t *one = json_loadb(each, (size_t)length, JSON_DECODE_ANY, NULL);
        found = json_equal(one, value);
        json_decref(one);
        each += length + (each[length] == ' ');
    }
    return found;
}

/* Whether value is of the field's sort; then it is stored. */
static bool store(const field *f, const json_t *value, hf_model *model)
{
    void *member = (char *)model + f->offset;
    switch (f->sort) {
    case COUNT:
        if (f->initial && json_is_null(value)) return true; /* 0: the default */
        *(int64_t *)member = json_integer_value(value);
        return json_is_integer(value) && json_integer_value(value) > 0;
    case REAL:
        *(double *)member = json_number_value(value);
        return json_is_number(value) && json_number_value(value) > 0;
    case TRUTH:
        *(bool *)member = json_is_true(value);
        return json_is_boolean(value);
    case OBJECT:
        return json_is_object(value) || json_is_null(value);
    default:
        return is_allowed(value, f->allowed);
    }
}

static bool says_the_same(const field *f, const hf_model *a, const hf_model *b)
{
    static const size_t sizes[] = {
        [COUNT] = sizeof(int64_t), [REAL] = sizeof(double), [TRUTH] = sizeof(bool)};
    size_t size = f->sort < OBJECT ? sizes[f->sort] : 0;
    return memcmp((const char *)a + f->offset, (const char *)b + f->offset, size) == 0;
}

static clv_status read_field(const char *file, const json_t *object, const field *f,
                             hf_model *model)
{
    const char *key = NULL, *first = NULL;
    int length = 0;
    json_t *value;
    while ((value = next_value(object, f, &key, &length))) {
        char expected[100];
        hf_model before = *model;
        if (!store(f, value, model)) return refuse_value(file, f, key, length, value);
        if (first && !says_the_same(f, &before, model)) {
            snprintf(expected, sizeof expected, "what %.*s says", first_key(first), first);
            return refuse(CLV_EFORMAT, file, key, length, expected, value);
        }
        first = key;
    }
    if (first) return CLV_OK;
    value = f->initial ? json_loads(f->initial, JSON_DECODE_ANY, NULL) : NULL;
    bool stored = store(f, value, model);
    json_decref(value);
    return stored ? CLV_OK : refuse_value(file, f, f->keys, first_key(f->keys), NULL);
}

/* Numbers in the place of defaults, and what the fields mean together. */
static clv_status settle(const char *file, hf_model *model)
{
    clv_gpt_config *c = &model->config;
    char *json = NULL;
    clv_status status = clv_gpt_config_to_json(c, &json);
    free(json);
    if (status != CLV_OK) return tool_fail(CLV_EFORMAT, "%s: %s", file, clv_last_error());
    if (!c->hidden) c->hidden = 4 * c->width;
    if (!c->kv_heads) c->kv_heads = c->heads;
    if (c->norm_eps == 0) c->norm_eps = 1e-5;
    if (c->rotary_base == 0) c->rotary_base = 10000;
    if (!model->head_dim) model->head_dim = c->width / c->heads;
    if (model->head_dim != c->width / c->heads)
        return tool_fail(CLV_EUNSUPPORTED,
                         "%s: head_dim: expected %lld, hidden_size / num_attention_heads (all that "
                         "Cleave computes), found %lld",
                         file, (long long)(c->width / c->heads), (long long)model->head_dim);
    return CLV_OK;
}

static clv_status read_kind(const char *file, const json_t *object, hf_kind *kind)
{
    static const field f = {"model_type", FIXED, 0, NULL, "\"gpt2\" \"llama\""};
    const json_t *type = json_object_get(object, f.keys);
    for (int k = 0; json_is_string(type) && k < HF_KINDS; k++)
        if (strcmp(hf_name((hf_kind)k), json_string_value(type)) == 0) {
            *kind = (hf_kind)k;
            return CLV_OK;
        }
    return refuse_value(file, &f, f.keys, first_key(f.keys), type);
}

static clv_status read_object(const char *file, const json_t *object, hf_model *model)
{
    clv_status status;
    TRY(read_kind(file, object, &model->kind));
    clv_dtype dtype = model->config.dtype;
    model->config = kinds[model->kind].always;
    model->config.dtype = dtype;
    model->head_dim = 0;
    for (const field *f = kinds[model->kind].fields; f->keys; f++)
        TRY(read_field(file, object, f, model));
    TRY(settle(file, model));
done:
    return status;
}

clv_status hf_config_read(const char *folder, hf_model *model)
{
    json_error_t error;
    struct stat info;
    clv_status status = CLV_OK;
    char *file = hf_path(folder, "config.json");
    if (!file) return tool_fail(CLV_ENOMEM, "%s: no memory for a name in it", folder);
    bool is_folder = stat(file, &info) == 0 && S_ISDIR(info.st_mode);
    model->origin = is_folder ? NULL : json_load_file(file, JSON_REJECT_DUPLICATES, &error);
    if (json_is_object(model->origin))
        status = read_object(file, model->origin, model);
    else
        status = tool_fail(CLV_EFORMAT, "%s: expected a JSON object, found %s", file,
                           is_folder       ? "a folder"
                           : model->origin ? "another value"
                                           : error.text);
    free(file);
    return status;
}

/* ---- Writing ------------------------------------------------------------------------------- */

clv_status hf_config_kind(const clv_gpt_config *config, hf_kind *kind)
{
    for (int k = 0; k < HF_KINDS; k++) {
        const clv_gpt_config *always = &kinds[k].always;
        *kind = (hf_kind)k;
        if (config->mlp == always->mlp && config->norm == always->norm &&
            config->position == always->position && config->no_bias == always->no_bias &&
            (k == HF_LLAMA || !config->kv_heads || config->kv_heads == config->heads))
            return CLV_OK;
    }
    char *json = NULL;
    clv_gpt_config_to_json(config, &json);
    clv_status status =
        tool_fail(CLV_EUNSUPPORTED,
                  "expected a model like gpt2 (layer norm, gelu, learned positions, biases, "
                  "kv_heads = heads) "
                  "or llama (RMS norm, swiglu, rotary positions, no biases), found %s",
                  json ? json : "another");
    free(json);
    return status;
}

static json_t *value_of(const field *f, const hf_model *model)
{
    const void *member = (const char *)model + f->offset;
    switch (f->sort) {
    case COUNT:
        return json_integer(*(const int64_t *)member);
    case REAL:
        return json_real(*(const double *)member);
    case TRUTH:
        return json_boolean(*(const bool *)member);
    default:
        return json_loads(f->initial, JSON_DECODE_ANY, NULL);
    }
}

/* said: what the object says already, which stays as it is; NULL: it is new. */
static bool write_field(json_t *object, const field *f, const hf_model *said, const hf_model *model)
{
    const char *key = NULL;
    int length = 0;
    json_t *value = value_of(f, model);
    bool written = value, there = false;
    if ((said && says_the_same(f, said, model)) || json_is_null(value)) goto done;
    while (written && next_value(object, f, &key, &length)) {
        written = set_key(object, key, length, json_incref(value));
        there = true;
    }
    if (!there)
        written = written && set_key(object, f->keys, first_key(f->keys), json_incref(value));
done:
    json_decref(value);
    return written;
}

/* The type of the tensors, under the key of today's transformers or the one of before. */
static bool write_type(json_t *object, clv_dtype dtype)
{
    static const char *const names[] = {
        [CLV_F32] = "float32", [CLV_F64] = "float64", [CLV_BF16] = "bfloat16"};
    const char *key = json_object_get(object, "dtype") ? "dtype" : "torch_dtype";
    return json_object_set_new(object, key, json_string(names[dtype])) == 0;
}

clv_status hf_config_write(hf_model *model, clv_dtype dtype, char **text)
{
    clv_status status = CLV_OK;
    json_t *object = NULL;
    hf_model said = {.config.dtype = model->config.dtype};
    *text = NULL;
    TRY(settle("the model", model));
    bool known = model->origin && read_object("", model->origin, &said) == CLV_OK &&
                 said.kind == model->kind;
    object = known ? json_deep_copy(model->origin)
                   : json_pack("{s:[s], s:s}", "architectures", kinds[model->kind].architecture,
                               "model_type", hf_name(model->kind));
    bool written = object && write_type(object, dtype);
    for (const field *f = kinds[model->kind].fields; written && f->keys; f++)
        written = write_field(object, f, known ? &said : NULL, model);
    *text = written ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    if (!*text) status = tool_fail(CLV_ENOMEM, "no memory for the text of config.json");
done:
    json_decref(object);
    return status;
}
