/* SPDX-License-Identifier: BSD-3-Clause
 *
 * generate.c: cleave generate: text from a checkpoint, a byte at a time.
 */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    model_args model;
    const char *prompt;
    int64_t tokens, seed, top_k;
    double temperature;
} generate_args;

static const manual about = {
    .name = "generate",
    .synopsis = "--load PATH --prompt TEXT [options]",
    .about =
        "Continues a prompt, drawing each byte from what the model predicts after the last\n"
        "`context` bytes. The same seed gives the same text on every grid.\n"
        "The model is the file's; with --dtype its numbers are rounded to another type first.\n"
        "\n"
        "With --json: \"text\" is the continuation, with U+FFFD for each byte that is not UTF-8,\n"
        "and \"hex\" is the same continuation exactly, two digits a byte.",
    .examples = "  cleave generate --load run --prompt \"The \" --tokens 200\n"
                "  mpiexec.mpich -n 2 cleave generate --load run --prompt \"The \" --tokens 50 "
                "--temperature 0 --json\n",
};

/* Bytes as JSON text: what is not UTF-8 becomes U+FFFD. jansson is the judge. */
static json_t *text_of(const unsigned char *bytes, int64_t count)
{
    char *clean = malloc(3 * (size_t)count + 1);
    size_t used = 0;
    for (int64_t i = 0; clean && i < count;) {
        json_t *character = NULL;
        int length = 0;
        while (!character && length < 4 && i + length < count)
            character = json_stringn((const char *)bytes + i, (size_t)++length);
        memcpy(clean + used, character ? (const void *)(bytes + i) : "\xEF\xBF\xBD",
               character ? (size_t)length : 3);
        used += character ? (size_t)length : 3;
        i += character ? length : 1;
        json_decref(character);
    }
    json_t *text = clean ? json_stringn(clean, used) : NULL;
    free(clean);
    return text;
}

static json_t *hex_of(const unsigned char *bytes, int64_t count)
{
    char *digits = malloc(2 * (size_t)count + 1);
    for (int64_t i = 0; digits && i < count; i++) sprintf(digits + 2 * i, "%02x", bytes[i]);
    json_t *hex = digits ? json_stringn(digits, 2 * (size_t)count) : NULL;
    free(digits);
    return hex;
}

/* Each process fills its own rows: ids[r] = window[r], zeros after it (which no earlier row
 * sees). */
static void fill_ids(clv_matrix *ids, const unsigned char *window, int64_t length)
{
    clv_block block = clv_matrix_block(ids);
    for (int64_t i = 0; block.n > 0 && i < block.m; i++) {
        int64_t row = block.row0 + i;
        ((int32_t *)block.data)[i * block.ld] = row < length ? window[row] : 0;
    }
}

/* The byte that follows text[0, length). Collective. */
static clv_status draw(const model *m, const generate_args *args, const unsigned char *text,
                       int64_t length, uint64_t index, unsigned char *next)
{
    int32_t id;
    int64_t context = clv_gpt_config_of(m->gpt).context;
    int64_t seen = length < context ? length : context;
    fill_ids(clv_gpt_ids(m->gpt), text + length - seen, seen);
    clv_status status = clv_gpt_forward(m->gpt, NULL);
    if (status == CLV_OK)
        status = clv_gpt_sample(m->gpt, seen - 1, args->temperature, (int)args->top_k,
                                (uint64_t)args->seed, index, &id);
    if (status == CLV_OK) *next = (unsigned char)id;
    return status;
}

static clv_status generate(void *untyped)
{
    generate_args *args = untyped;
    clv_status status;
    model m = {0};
    int64_t given = (int64_t)strlen(args->prompt), count = args->tokens;
    unsigned char *text = NULL;
    TRY(model_open(&args->model, 1, &m));
    text = malloc((size_t)(given + count));
    TRY(clv_grid_agree(m.grid, text ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for the text")));
    memcpy(text, args->prompt, (size_t)given);
    output_bytes(text, (size_t)given);
    for (int64_t i = 0; i < count; i++) {
        TRY(draw(&m, args, text, given + i, (uint64_t)i, &text[given + i]));
        output_bytes(&text[given + i], 1);
    }
    output_text("\n");
    output_json("{s:o, s:o, s:o, s:I, s:s}", "prompt", text_of(text, given), "text",
                text_of(text + given, count), "hex", hex_of(text + given, count), "tokens",
                (json_int_t)count, "file", m.file);
done:
    free(text);
    model_close(&m);
    return status;
}

int cmd_generate(int argc, char **argv)
{
    generate_args args = {0};
    option options[] = {
        LOAD_OPTION(&args.model.load),
        opt_text("prompt", "TEXT", &args.prompt, REQUIRED, "what the text begins with"),
        opt_int("tokens", "N", &args.tokens, "200", 1, 1e9, "bytes to add"),
        opt_real("temperature", "X", &args.temperature, "0.8", 0, 100, "0: always the likeliest"),
        opt_int("top-k", "N", &args.top_k, "0", 0, 1 << 30, "draw from the likeliest N; 0: all"),
        opt_int("seed", "N", &args.seed, "1", 0, 9e15, "of the draws"),
        GRID_OPTION(&args.model.grid),
        REPRODUCIBLE_OPTION(&args.model.reproducible),
        JSON_OPTION,
        MODEL_OPTIONS(&args.model.record.model),
        {0},
    };
    args.model.options = options;
    int code = options_parse(&about, options, argc, argv);
    return code == OPTIONS_RUN ? tool_run(generate, &args) : code;
}
