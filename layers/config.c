/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config.c: the configuration of a GPT: what is valid, and its JSON form.
 *
 *     {"layers": 4, "width": 128, "heads": 4, "kv_heads": 4, "context": 128, "vocabulary": 256,
 *      "hidden": 512, "mlp": "gelu", "norm": "layer", "norm_eps": 1e-05, "position": "learned",
 *      "rotary_base": 10000.0, "no_bias": false, "tied": false, "dtype": "f32"}
 *
 * A key that is new in some version is optional, so that it reads the files of earlier ones, and
 * keys that are not in the table are left alone, so that those read its own.
 */
#include <clvi_layers.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const mlp_words[] = {"gelu", "swiglu", NULL};
static const char *const norm_words[] = {"layer", "rms", NULL};
static const char *const position_words[] = {"learned", "rotary", NULL};
static const char *const dtype_words[] = {"f32", "f64", NULL};

typedef struct field field;

/* What a member can be. */
typedef struct {
    clv_status (*check)(const field *f, const void *value);
    json_t *(*write)(const field *f, const void *value);
    bool (*read)(const field *f, const json_t *item, void *value); /* false: not such a thing */
    int64_t (*bits)(const void *value);                            /* equal where values are */
} kind;

struct field {
    const char *key;
    size_t offset;
    const kind *kind;
    bool optional; /* absent means zero, which means the default                 */
    const char *expected;
    const char *const *words; /* of a word, whose index is the value of an enum  */
};

/* ---- Kinds ----------------------------------------------------------------------- */

static clv_status check_integer(const field *f, const void *value)
{
    int64_t found = *(const int64_t *)value, least = f->optional ? 0 : 1;
    if (found < least)
        return clvi_fail(CLV_EARG, "GPT configuration: \"%s\": expected at least %lld, found %lld",
                         f->key, (long long)least, (long long)found);
    if (found > INT32_MAX)
        return clvi_fail(CLV_ELIMIT, "GPT configuration: \"%s\": expected at most %d, found %lld",
                         f->key, INT32_MAX, (long long)found);
    return CLV_OK;
}

static json_t *write_integer(const field *f, const void *value)
{
    (void)f;
    return json_integer(*(const int64_t *)value);
}

static bool read_integer(const field *f, const json_t *item, void *value)
{
    (void)f;
    *(int64_t *)value = json_integer_value(item);
    return json_is_integer(item) && json_integer_value(item) >= 0;
}

static int64_t integer_bits(const void *value)
{
    return *(const int64_t *)value;
}

static clv_status check_real(const field *f, const void *value)
{
    double found = *(const double *)value;
    if (found >= 0 && isfinite(found)) return CLV_OK;
    return clvi_fail(CLV_EARG, "GPT configuration: \"%s\": expected %s, found %g", f->key,
                     f->expected, found);
}

static json_t *write_real(const field *f, const void *value)
{
    (void)f;
    return json_real(*(const double *)value);
}

static bool read_real(const field *f, const json_t *item, void *value)
{
    (void)f;
    *(double *)value = json_number_value(item);
    return json_is_number(item) && json_number_value(item) >= 0;
}

static int64_t real_bits(const void *value)
{
    int64_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits;
}

static clv_status check_boolean(const field *f, const void *value)
{
    (void)f, (void)value;
    return CLV_OK;
}

static json_t *write_boolean(const field *f, const void *value)
{
    (void)f;
    return json_boolean(*(const bool *)value);
}

static bool read_boolean(const field *f, const json_t *item, void *value)
{
    (void)f;
    *(bool *)value = json_is_true(item);
    return json_is_boolean(item);
}

static int64_t boolean_bits(const void *value)
{
    return *(const bool *)value;
}

static clv_status check_word(const field *f, const void *value)
{
    int found = *(const int *)value, count = 0;
    while (f->words[count]) count++;
    if (found >= 0 && found < count) return CLV_OK;
    return clvi_fail(f->words == dtype_words ? CLV_EDTYPE : CLV_EARG,
                     "GPT configuration: \"%s\": expected %s, found number %d", f->key, f->expected,
                     found);
}

static json_t *write_word(const field *f, const void *value)
{
    return json_string(f->words[*(const int *)value]);
}

static bool read_word(const field *f, const json_t *item, void *value)
{
    const char *text = json_string_value(item);
    for (int i = 0; text && f->words[i]; i++)
        if (strcmp(text, f->words[i]) == 0) {
            *(int *)value = i;
            return true;
        }
    return false;
}

static int64_t word_bits(const void *value)
{
    return *(const int *)value;
}

static const kind integer = {check_integer, write_integer, read_integer, integer_bits};
static const kind real = {check_real, write_real, read_real, real_bits};
static const kind boolean = {check_boolean, write_boolean, read_boolean, boolean_bits};
static const kind word = {check_word, write_word, read_word, word_bits};

/* Every enum is stored as an int. */
_Static_assert(sizeof(clv_mlp_kind) == sizeof(int), "enum");
_Static_assert(sizeof(clv_norm_kind) == sizeof(int), "enum");
_Static_assert(sizeof(clv_position_kind) == sizeof(int), "enum");
_Static_assert(sizeof(clv_dtype) == sizeof(int), "enum");

/* ---- Members --------------------------------------------------------------------- */

static const char an_integer[] = "an integer not below 0";

#define AT(member) #member, offsetof(clv_gpt_config, member)
static const field fields[] = {
    {AT(layers), &integer, false, an_integer, NULL},
    {AT(width), &integer, false, an_integer, NULL},
    {AT(heads), &integer, false, an_integer, NULL},
    {AT(kv_heads), &integer, true, an_integer, NULL},
    {AT(context), &integer, false, an_integer, NULL},
    {AT(vocabulary), &integer, false, an_integer, NULL},
    {AT(hidden), &integer, true, an_integer, NULL},
    {AT(mlp), &word, true, "\"gelu\" or \"swiglu\"", mlp_words},
    {AT(norm), &word, true, "\"layer\" or \"rms\"", norm_words},
    {AT(norm_eps), &real, true, "a finite number not below 0", NULL},
    {AT(position), &word, true, "\"learned\" or \"rotary\"", position_words},
    {AT(rotary_base), &real, true, "a finite number not below 0", NULL},
    {AT(no_bias), &boolean, true, "true or false", NULL},
    {AT(tied), &boolean, true, "true or false", NULL},
    {AT(dtype), &word, true, "\"f32\" or \"f64\"", dtype_words},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static const void *member(const clv_gpt_config *config, const field *f)
{
    return (const char *)config + f->offset;
}

clv_status clvi_gpt_config_check(const clv_gpt_config *config)
{
    clv_status status;
    for (const field *f = fields; f < fields + FIELDS; f++)
        CLVI_TRY(f->kind->check(f, member(config, f)));
    CLVI_CHECK(config->width % config->heads == 0, CLV_ESHAPE,
               "GPT configuration: expected \"heads\" to divide \"width\" %lld, found %lld",
               (long long)config->width, (long long)config->heads);
    CLVI_CHECK(!config->kv_heads || config->heads % config->kv_heads == 0, CLV_ESHAPE,
               "GPT configuration: expected \"kv_heads\" to divide \"heads\" %lld, found %lld",
               (long long)config->heads, (long long)config->kv_heads);
    CLVI_CHECK(config->position != CLV_POSITION_ROTARY || config->width / config->heads % 2 == 0,
               CLV_ESHAPE,
               "GPT configuration: \"position\" rotary: expected an even number of features in a "
               "head, found %lld",
               (long long)(config->width / config->heads));
    status = CLV_OK;
done:
    return status;
}

clv_gpt_config clvi_gpt_config_settle(clv_gpt_config config)
{
    if (config.kv_heads == 0) config.kv_heads = config.heads;
    if (config.hidden == 0) config.hidden = 4 * config.width;
    if (config.norm_eps == 0) config.norm_eps = 1e-5;
    if (config.rotary_base == 0) config.rotary_base = 10000;
    return config;
}

clv_status clvi_gpt_config_same(clv_grid *grid, clv_status mine, const clv_gpt_config *config,
                                int64_t sequences)
{
    int64_t values[FIELDS + 1] = {sequences};
    char names[256] = "sequences";
    for (int i = 0; i < FIELDS; i++) {
        values[i + 1] = fields[i].kind->bits(member(config, &fields[i]));
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
    clv_gpt_config settled = clvi_gpt_config_settle(*config);
    object = json_object();
    CLVI_CHECK(object, CLV_ENOMEM, "GPT configuration: no memory for JSON");
    for (const field *f = fields; f < fields + FIELDS; f++) {
        json_t *item = f->kind->write(f, member(&settled, f));
        CLVI_CHECK(json_object_set_new(object, f->key, item) == 0, CLV_ENOMEM,
                   "GPT configuration: no memory for JSON");
    }
    *json = json_dumps(object, 0);
    CLVI_CHECK(*json, CLV_ENOMEM, "GPT configuration: no memory for JSON");
done:
    json_decref(object);
    return status;
}

static clv_status read_field(const json_t *object, const field *f, clv_gpt_config *config)
{
    const json_t *item = json_object_get(object, f->key);
    if (!item && f->optional) return CLV_OK;
    if (f->kind->read(f, item, (char *)config + f->offset)) return CLV_OK;
    char *text = item ? json_dumps(item, JSON_ENCODE_ANY) : NULL;
    clv_status status =
        clvi_fail(CLV_EFORMAT, "GPT configuration: \"%s\": expected %s, found %.60s", f->key,
                  f->expected, text ? text : "nothing");
    free(text);
    return status;
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
    *config = clvi_gpt_config_settle(found);
done:
    json_decref(object);
    return status;
}
