/* SPDX-License-Identifier: BSD-3-Clause
 *
 * generate.c: cleave generate: text from a checkpoint, a token at a time.
 */
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    model_args model;
    const char *prompt, *tokenizer;
    int64_t tokens, seed, top_k;
    double temperature;
} generate_args;

static const manual about = {
    .name = "generate",
    .synopsis = "--load PATH --prompt TEXT [options]",
    .about =
        "Continues a prompt, drawing each token from what the model predicts after the last\n"
        "`context` tokens. The same seed gives the same text on every grid. Tokens are bytes, or\n"
        "those of --tokenizer, which a model of another vocabulary needs.\n"
        "The model is the file's; with --dtype its numbers are rounded to another type first.\n"
        "\n"
        "With --json: \"text\" is the continuation, with U+FFFD for each byte that is not UTF-8,\n"
        "and \"hex\" is the same continuation exactly, two digits a byte.",
    .examples = "  cleave generate --load run --prompt \"The \" --tokens 200\n"
                "  mpiexec.mpich -n 2 cleave generate --load run --prompt \"The \" --tokens 50 "
                "--temperature 0 --json\n",
};

/* Each process fills its own rows: ids[r] = window[r], zeros after it (which no earlier row
 * sees). */
static void fill_ids(clv_matrix *ids, const int32_t *window, int64_t length)
{
    clv_block block = clv_matrix_block(ids);
    for (int64_t i = 0; block.n > 0 && i < block.m; i++) {
        int64_t row = block.row0 + i;
        ((int32_t *)block.data)[i * block.ld] = row < length ? window[row] : 0;
    }
}

/* The token that follows ids[0, length). Collective. */
static clv_status draw(const model *m, const generate_args *args, const int32_t *ids,
                       int64_t length, uint64_t index, int32_t *next)
{
    int64_t context = clv_gpt_config_of(m->gpt).context;
    int64_t seen = length < context ? length : context;
    fill_ids(clv_gpt_ids(m->gpt), ids + length - seen, seen);
    clv_status status = clv_gpt_forward(m->gpt, NULL);
    if (status == CLV_OK)
        status = clv_gpt_sample(m->gpt, seen - 1, args->temperature, (int)args->top_k,
                                (uint64_t)args->seed, index, next);
    return status;
}

/* What was said so far, and how: every process has the same. */
typedef struct {
    clv_tokenizer *tokenizer;
    int32_t *ids; /* of the prompt, then of what was drawn */
    int64_t given, drawn;
    char *text; /* of what was drawn */
    size_t bytes;
} speech;

/* The model must know every token of the tokenizer; bytes are all the tokens there are or none. */
static clv_status check_tokenizer(const model *m, const generate_args *args, const speech *s)
{
    int64_t known = clv_gpt_config_of(m->gpt).vocabulary;
    int64_t vocabulary = clv_tokenizer_vocabulary(s->tokenizer);
    if (args->tokenizer && vocabulary > known)
        return tool_fail(
            CLV_EARG, "--tokenizer: expected at most %" PRId64 " tokens as in %s, found %" PRId64,
            known, m->file, vocabulary);
    if (!args->tokenizer && vocabulary != known)
        return tool_fail(CLV_EARG,
                         "expected --tokenizer PATH for the %" PRId64 " tokens of %s, found none",
                         known, m->file);
    return CLV_OK;
}

/* The prompt's ids, with room for those to come. */
static clv_status begin(const model *m, const generate_args *args, speech *s)
{
    clv_status status;
    TRY(clv_tokenizer_open(args->tokenizer, &s->tokenizer));
    TRY(check_tokenizer(m, args, s));
    TRY(clv_tokenizer_encode(s->tokenizer, args->prompt, strlen(args->prompt), &s->ids, &s->given));
    int32_t *ids = realloc(s->ids, (size_t)(s->given + args->tokens) * sizeof *ids);
    if (!ids) return tool_fail(CLV_ENOMEM, "no memory for the text");
    s->ids = ids;
done:
    return status;
}

/* Adds the text of the token just drawn; an id that only the model has is U+FFFD. */
static clv_status say(speech *s)
{
    static const char unknown[] = "\xEF\xBF\xBD";
    char *text = NULL;
    size_t bytes = sizeof unknown - 1;
    bool known = clv_tokenizer_decode(s->tokenizer, 1, &s->ids[s->given + s->drawn], &text,
                                      &bytes) == CLV_OK;
    char *more = realloc(s->text, s->bytes + bytes + 1);
    if (more) {
        memcpy(more + s->bytes, known ? text : unknown, bytes);
        output_bytes(more + s->bytes, bytes);
        s->text = more;
        s->bytes += bytes;
        s->drawn++;
    }
    free(text);
    return more ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for the text");
}

static clv_status generate(void *untyped)
{
    generate_args *args = untyped;
    clv_status status;
    model m = {0};
    speech s = {0};
    TRY(model_open(&args->model, 1, &m));
    TRY(clv_grid_agree(m.grid, begin(&m, args, &s)));
    output_bytes(args->prompt, strlen(args->prompt));
    for (int64_t i = 0; i < args->tokens; i++) {
        TRY(draw(&m, args, s.ids, s.given + i, (uint64_t)i, &s.ids[s.given + i]));
        TRY(clv_grid_agree(m.grid, say(&s)));
    }
    output_text("\n");
    output_json("{s:o, s:o, s:o, s:I, s:s}", "prompt",
                output_string(args->prompt, strlen(args->prompt)), "text",
                output_string(s.text, s.bytes), "hex", output_hex(s.text, s.bytes), "tokens",
                (json_int_t)args->tokens, "file", m.file);
done:
    free(s.text);
    free(s.ids);
    clv_tokenizer_close(&s.tokenizer);
    model_close(&m);
    return status;
}

int cmd_generate(int argc, char **argv)
{
    generate_args args = {0};
    option options[] = {
        opt_text("prompt", "TEXT", &args.prompt, REQUIRED, "what the text begins with"),
        TOKENIZER_OPTION(&args.tokenizer),
        opt_int("tokens", "N", &args.tokens, "200", 1, 1e9, "tokens to add"),
        opt_real("temperature", "X", &args.temperature, "0.8", 0, 100, "0: always the likeliest"),
        opt_int("top-k", "N", &args.top_k, "0", 0, 1 << 30, "draw from the likeliest N; 0: all"),
        opt_int("seed", "N", &args.seed, "1", 0, 9e15, "of the draws"),
        TRAINED_OPTIONS(&args.model),
        {0},
    };
    args.model.options = options;
    return tool_main(&about, options, argc, argv, generate, &args);
}
