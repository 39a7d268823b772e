/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config.c: the configuration of a GPT: what is valid, and its JSON form.
 *
 *     {"layers": 4, "width": 128, "heads": 4, "context": 128, "vocabulary": 256,
 *      "hidden": 512, "mlp": "gelu", "norm": "layer", "dtype": "f32"}
 *
 * Keys that are not in the table are left alone, so that a later version can add some and an
 * earlier one still read the file.
 */
#include <clvi_layers.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* A key is an integer (int64_t), or one of the words, whose index is the value of an enum. */
typedef struct {
    const char *key;
    size_t offset;
    const char *const *words;
    const char *expected;
    bool optional; /* absent means zero, which means the default */
} field;

static const char *const mlp_words[] = {"gelu", "swiglu", NULL};
static const char *const norm_words[] = {"layer", "rms", NULL};
static const char *const dtype_words[] = {"f32", "f64", NULL};

/* Every enum is stored as an int. */
_Static_assert(sizeof(clv_mlp_kind) == sizeof(int), "enum");
_Static_assert(sizeof(clv_norm_kind) == sizeof(int), "enum");
_Static_assert(sizeof(clv_dtype) == sizeof(int), "enum");

#define AT(member) offsetof(clv_gpt_config, member)
static const field fields[] = {
    {"layers", AT(layers), NULL, "an integer", false},
    {"width", AT(width), NULL, "an integer", false},
    {"heads", AT(heads), NULL, "an integer", false},
    {"context", AT(context), NULL, "an integer", false},
    {"vocabulary", AT(vocabulary), NULL, "an integer", false},
    {"hidden", AT(hidden), NULL, "an integer", true},
    {"mlp", AT(mlp), mlp_words, "\"gelu\" or \"swiglu\"", true},
    {"norm", AT(norm), norm_words, "\"layer\" or \"rms\"", true},
    {"dtype", AT(dtype), dtype_words, "\"f32\" or \"f64\"", true},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static void *member(const clv_gpt_config *config, const field *f)
{
    return (char *)config + f->offset;
}

/* The value of a field as an integer: itself, or the index of the word. */
static int64_t get(const clv_gpt_config *config, const field *f)
{
    return f->words ? *(int *)member(config, f) : *(int64_t *)member(config, f);
}

static void set(clv_gpt_config *config, const field *f, int64_t value)
{
    if (f->words)
        *(int *)member(config, f) = (int)value;
    else
        *(int64_t *)member(config, f) = value;
}

static int count_words(const char *const *words)
{
    int n = 0;
    while (words[n]) n++;
    return n;
}

static clv_status check_field(const clv_gpt_config *config, const field *f)
{
    int64_t value = get(config, f), least = f->optional ? 0 : 1;
    if (f->words) {
        if (value >= 0 && value < count_words(f->words)) return CLV_OK;
        return clvi_fail(strcmp(f->key, "dtype") == 0 ? CLV_EDTYPE : CLV_EARG,
                         "GPT configuration: \"%s\": expected %s, found number %lld", f->key,
                         f->expected, (long long)value);
    }
    if (value < least)
        return clvi_fail(CLV_EARG, "GPT configuration: \"%s\": expected at least %lld, found %lld",
                         f->key, (long long)least, (long long)value);
    if (value > INT32_MAX)
        return clvi_fail(CLV_ELIMIT, "GPT configuration: \"%s\": expected at most %d, found %lld",
                         f->key, INT32_MAX, (long long)value);
    return CLV_OK;
}

clv_status clvi_gpt_config_check(const clv_gpt_config *config)
{
    clv_status status;
    for (const field *f = fields; f < fields + FIELDS; f++) CLVI_TRY(check_field(config, f));
    CLVI_CHECK(config->width % config->heads == 0, CLV_ESHAPE,
               "GPT configuration: expected \"heads\" to divide \"width\" %lld, found %lld",
               (long long)config->width, (long long)config->heads);
    status = CLV_OK;
done:
    return status;
}

clv_status clvi_gpt_config_same(clv_grid *grid, clv_status mine, const clv_gpt_config *config,
                                int64_t sequences)
{
    int64_t values[FIELDS + 1] = {sequences};
    char names[128] = "sequences";
    for (int i = 0; i < FIELDS; i++) {
        values[i + 1] = get(config, &fields[i]);
        strcat(strcat(names, ","), fields[i].key);
    }
    return clvi_grid_same(grid, mine, names, FIELDS + 1, values);
}

clv_status clv_gpt_config_to_json(const clv_gpt_config *config, char **json)
{
    clv_status status;
    json_t *object = NULL;
    *json = NULL;
    CLVI_TRY(clvi_gpt_config_check(config));
    object = json_object();
    CLVI_CHECK(object, CLV_ENOMEM, "GPT configuration: no memory for JSON");
    for (const field *f = fields; f < fields + FIELDS; f++) {
        int64_t value = get(config, f);
        json_t *item = f->words ? json_string(f->words[value]) : json_integer(value);
        CLVI_CHECK(json_object_set_new(object, f->key, item) == 0, CLV_ENOMEM,
                   "GPT configuration: no memory for JSON");
    }
    *json = json_dumps(object, 0);
    CLVI_CHECK(*json, CLV_ENOMEM, "GPT configuration: no memory for JSON");
done:
    json_decref(object);
    return status;
}

/* The value that item gives a field, or -1. */
static int64_t parse(const json_t *item, const field *f)
{
    if (!f->words) return json_is_integer(item) ? json_integer_value(item) : -1;
    const char *text = json_string_value(item);
    for (int i = 0; text && f->words[i]; i++)
        if (strcmp(text, f->words[i]) == 0) return i;
    return -1;
}

static clv_status read_field(const json_t *object, const field *f, clv_gpt_config *config)
{
    const json_t *item = json_object_get(object, f->key);
    if (!item && f->optional) return CLV_OK;
    int64_t value = parse(item, f);
    if (value < 0) {
        char *text = item ? json_dumps(item, JSON_ENCODE_ANY) : NULL;
        clv_status status =
            clvi_fail(CLV_EFORMAT, "GPT configuration: \"%s\": expected %s%s, found %.60s", f->key,
                      f->expected, f->words ? "" : " not below 0", text ? text : "nothing");
        free(text);
        return status;
    }
    set(config, f, value);
    return CLV_OK;
}

clv_status clv_gpt_config_from_json(const char *json, clv_gpt_config *config)
{
    clv_status status;
    clv_gpt_config found = {0};
    json_error_t error;
    char detail[256];
    json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, &error);
    CLVI_CHECK(json_is_object(object), CLV_EFORMAT,
               "GPT configuration: expected a JSON object, found \"%.60s\"%s%s", json,
               object ? "" : ": ", object ? "" : error.text);
    for (const field *f = fields; f < fields + FIELDS; f++) CLVI_TRY(read_field(object, f, &found));
    if (clvi_gpt_config_check(&found) != CLV_OK) {
        snprintf(detail, sizeof detail, "%s", clv_last_error());
        CLVI_TRY(clvi_fail(CLV_EFORMAT, "%s", detail));
    }
    *config = found;
done:
    json_decref(object);
    return status;
}
