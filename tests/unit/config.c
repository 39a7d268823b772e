/* SPDX-License-Identifier: BSD-3-Clause
 *
 * config.c: a GPT's configuration to JSON and back, and what is refused, by name.
 *
 * RANKS: 1
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char *const whole =
    "{\"layers\": 4, \"width\": 128, \"heads\": 4, \"context\": 64, \"vocabulary\": 256, "
    "\"hidden\": 512, \"mlp\": \"swiglu\", \"norm\": \"rms\", \"dtype\": \"f64\"}";

static void check_equal(clv_gpt_config found, clv_gpt_config expected)
{
    CHECK_INT(found.layers, expected.layers);
    CHECK_INT(found.width, expected.width);
    CHECK_INT(found.heads, expected.heads);
    CHECK_INT(found.context, expected.context);
    CHECK_INT(found.vocabulary, expected.vocabulary);
    CHECK_INT(found.hidden, expected.hidden);
    CHECK_INT(found.mlp, expected.mlp);
    CHECK_INT(found.norm, expected.norm);
    CHECK_INT(found.dtype, expected.dtype);
}

static void there_and_back(void)
{
    clv_gpt_config config = {.layers = 4,
                             .width = 128,
                             .heads = 4,
                             .context = 64,
                             .vocabulary = 256,
                             .hidden = 512,
                             .mlp = CLV_MLP_SWIGLU,
                             .norm = CLV_RMS_NORM,
                             .dtype = CLV_F64};
    clv_gpt_config back;
    char *json = NULL;
    CHECK_OK(clv_gpt_config_to_json(&config, &json));
    CHECK_STRING(json, whole);
    CHECK_OK(clv_gpt_config_from_json(json, &back));
    check_equal(back, config);
    free(json);
}

static void defaults_and_unknown_keys(void)
{
    clv_gpt_config config;
    CHECK_OK(clv_gpt_config_from_json("{\"layers\":1,\"width\":6,\"heads\":3,\"context\":5,"
                                      "\"vocabulary\":7,\"later\":{\"x\":[1]}}",
                                      &config));
    check_equal(config, (clv_gpt_config){
                            .layers = 1, .width = 6, .heads = 3, .context = 5, .vocabulary = 7});
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
    CHECK(json == NULL);
}

const check_case check_cases[] = {{"there and back", there_and_back},
                                  {"defaults and unknown keys", defaults_and_unknown_keys},
                                  {"bad JSON", bad_json},
                                  {"bad structs", bad_structs},
                                  {0}};
