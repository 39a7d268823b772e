/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config.c: a GPT's configuration to JSON and back, and what is refused, by name.
 *
 * RANKS: 1
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const whole =
    "{\"layers\": 4, \"width\": 128, \"heads\": 4, \"kv_heads\": 2, \"context\": 64, "
    "\"vocabulary\": 256, \"hidden\": 512, \"mlp\": \"swiglu\", \"norm\": \"rms\", "
    "\"norm_eps\": 0.001, \"position\": \"rotary\", \"rotary_base\": 500000.0, "
    "\"no_bias\": true, \"tied\": false, \"dtype\": \"f64\"}";

static void check_equal(clv_gpt_config found, clv_gpt_config expected)
{
    CHECK_INT(found.layers, expected.layers);
    CHECK_INT(found.width, expected.width);
    CHECK_INT(found.heads, expected.heads);
    CHECK_INT(found.context, expected.context);
    CHECK_INT(found.vocabulary, expected.vocabulary);
    CHECK_INT(found.kv_heads, expected.kv_heads);
    CHECK_INT(found.hidden, expected.hidden);
    CHECK_INT(found.position, expected.position);
    CHECK_NEAR(found.norm_eps, expected.norm_eps, 0);
    CHECK_NEAR(found.rotary_base, expected.rotary_base, 0);
    CHECK_INT(found.no_bias, expected.no_bias);
    CHECK_INT(found.tied, expected.tied);
    CHECK_INT(found.mlp, expected.mlp);
    CHECK_INT(found.norm, expected.norm);
    CHECK_INT(found.dtype, expected.dtype);
}

static void there_and_back(void)
{
    clv_gpt_config config = {.layers = 4,
                             .width = 128,
                             .heads = 4,
                             .kv_heads = 2,
                             .context = 64,
                             .vocabulary = 256,
                             .hidden = 512,
                             .mlp = CLV_MLP_SWIGLU,
                             .norm = CLV_RMS_NORM,
                             .norm_eps = 1e-3,
                             .position = CLV_POSITION_ROTARY,
                             .rotary_base = 500000,
                             .no_bias = true,
                             .dtype = CLV_F64};
    clv_gpt_config back;
    char *json = NULL;
    CHECK_OK(clv_gpt_config_to_json(&config, &json));
    CHECK_STRING(json, whole);
    CHECK_OK(clv_gpt_config_from_json(json, &back));
    check_equal(back, config);
    free(json);
}

/* A file of a version that did not know the newer keys, and one that knows more. */
static void defaults_and_unknown_keys(void)
{
    clv_gpt_config config;
    const clv_gpt_config expected = {.layers = 1,
                                     .width = 6,
                                     .heads = 3,
                                     .kv_heads = 3,
                                     .context = 5,
                                     .vocabulary = 7,
                                     .hidden = 24,
                                     .norm_eps = 1e-5,
                                     .rotary_base = 10000};
    CHECK_OK(clv_gpt_config_from_json("{\"layers\":1,\"width\":6,\"heads\":3,\"context\":5,"
                                      "\"vocabulary\":7,\"later\":{\"x\":[1]}}",
                                      &config));
    check_equal(config, expected);
}

/* Every real comes back as it was. */
static void reals(void)
{
    clv_gpt_config back,
        config = {.layers = 1, .width = 4, .heads = 2, .context = 3, .vocabulary = 5, .tied = true};
    uint64_t state = 1;
    for (int i = 0; i < 100; i++) {
        char *json = NULL;
        config.norm_eps = (double)(check_random(&state) >> 11) * 0x1p-60;
        config.rotary_base = (double)(check_random(&state) >> 11) * 0x1p-20;
        CHECK_OK(clv_gpt_config_to_json(&config, &json));
        CHECK_OK(clv_gpt_config_from_json(json, &back));
        CHECK(back.norm_eps == config.norm_eps && back.rotary_base == config.rotary_base);
        CHECK(back.tied && !back.no_bias);
        free(json);
    }
}

/* The text with one thing replaced is refused, and the message holds every word of `says`. */
static void refused(const char *from, const char *to, const char *says)
{
    char text[512];
    const char *at = strstr(whole, from);
    CHECK(at != NULL);
    if (!at) return;
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from));
    clv_gpt_config config = {.layers = 77};
    CHECK_STATUS(clv_gpt_config_from_json(text, &config), CLV_EFORMAT);
    CHECK_INT(config.layers, 77);
    if (!CHECK(strstr(clv_last_error(), says) != NULL))
        fprintf(stderr, "  said: %s\n  for:  %s\n", clv_last_error(), text);
}

static void bad_json(void)
{
    refused("\"layers\": 4, ", "", "\"layers\": expected an integer not below 0, found nothing");
    refused("\"layers\": 4", "\"layers\": \"4\"", "found \"4\"");
    refused("\"layers\": 4", "\"layers\": 4.5", "\"layers\": expected an integer");
    refused("\"layers\": 4", "\"layers\": 0", "\"layers\": expected at least 1, found 0");
    refused("\"layers\": 4", "\"layers\": -3", "found -3");
    refused("\"width\": 128", "\"width\": 1e99", "\"width\"");
    refused("\"width\": 128", "\"width\": 8589934592",
            "\"width\": expected at most 2147483647, found 8589934592");
    refused("\"heads\": 4", "\"heads\": 5", "\"heads\" to divide \"width\" 128, found 5");
    refused("\"hidden\": 512", "\"hidden\": null", "\"hidden\"");
    refused("swiglu", "relu", "\"mlp\": expected \"gelu\" or \"swiglu\", found \"relu\"");
    refused("rms", "batch", "\"norm\": expected \"layer\" or \"rms\", found \"batch\"");
    refused("f64", "bf16", "\"dtype\": expected \"f32\" or \"f64\", found \"bf16\"");
    refused("\"kv_heads\": 2", "\"kv_heads\": 3", "\"kv_heads\" to divide \"heads\" 4, found 3");
    refused("\"rotary\"", "\"absolute\"", "\"position\": expected \"learned\" or \"rotary\"");
    refused("500000.0", "-1", "\"rotary_base\": expected a finite number not below 0, found -1");
    refused("500000.0", "\"big\"", "\"rotary_base\": expected a finite number not below 0");
    refused("500000.0", "1e999", "real number overflow");
    refused("\"no_bias\": true", "\"no_bias\": 1", "\"no_bias\": expected true or false, found 1");
    refused("\"width\": 128", "\"width\": 12", "an even number of features in a head, found 3");
    refused("\"width\": 128", "\"width\": 128, \"width\": 128", "duplicate");
    refused("}", "", "expected a JSON object");
    refused(whole, "[1, 2]", "expected a JSON object, found \"[1, 2]\"");
    refused(whole, "", "expected a JSON object");
}

static void bad_structs(void)
{
    clv_gpt_config good = {.layers = 1, .width = 4, .heads = 2, .context = 3, .vocabulary = 5};
    clv_gpt_config bad = good;
    char *json = NULL;
    bad.dtype = CLV_BF16;
    CHECK_STATUS(clv_gpt_config_to_json(&bad, &json), CLV_EDTYPE);
    bad = good;
    bad.mlp = 9;
    CHECK_STATUS(clv_gpt_config_to_json(&bad, &json), CLV_EARG);
    bad = good;
    bad.hidden = -1;
    CHECK_STATUS(clv_gpt_config_to_json(&bad, &json), CLV_EARG);
    bad = good;
    bad.heads = 3;
    CHECK_STATUS(clv_gpt_config_to_json(&bad, &json), CLV_ESHAPE);
    bad = good;
    bad.rotary_base = INFINITY;
    CHECK_STATUS(clv_gpt_config_to_json(&bad, &json), CLV_EARG);
    bad = good;
    bad.width = 6; /* heads of three features */
    bad.position = CLV_POSITION_ROTARY;
    CHECK_STATUS(clv_gpt_config_to_json(&bad, &json), CLV_ESHAPE);
    CHECK(json == NULL);
}

const check_case check_cases[] = {{"there and back", there_and_back},
                                  {"defaults and unknown keys", defaults_and_unknown_keys},
                                  {"reals", reals},
                                  {"bad JSON", bad_json},
                                  {"bad structs", bad_structs},
                                  {0}};
