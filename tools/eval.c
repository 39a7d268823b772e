/* SPDX-License-Identifier: BSD-3-Clause
 *
 * eval.c: cleave eval: the loss of a checkpoint on text files.
 */
#include "tool.h"

#include <math.h>

typedef struct {
    model_args model;
    option_words data;
    int64_t batch;
} eval_args;

static const manual about = {
    .name = "eval",
    .synopsis = "--load PATH --data FILE... [options]",
    .about =
        "The mean cross-entropy, in nats a byte, over consecutive windows of the model's context,\n"
        "each byte predicting the next; an incomplete last window is left out. It is the same on\n"
        "every grid and for every batch, which may differ from those of the training. The model "
        "is\n"
        "the file's; an option of it that is given must agree, but for --dtype: the type that is\n"
        "computed with may be another than the file's, of which each number is rounded once.",
    .examples = "  mpiexec.mpich -n 3 cleave eval --grid col=3 --load run \\\n"
                "      --data /usr/share/common-licenses/BSD --json\n"
                "  cleave eval --load run/step-00000200.h5 --data notes.txt\n",
};

static clv_status eval(void *untyped)
{
    eval_args *args = untyped;
    clv_status status;
    model m = {0};
    clv_text *text = NULL;
    double loss;
    int64_t tokens;
    char count[32];
    TRY(model_open(&args->model, args->batch, &m));
    TRY(clv_text_open(m.grid, args->data.count, args->data.words, &text));
    clv_source source = tool_source(text);
    progress p = progress_start("evaluated", 0, 0, 0);
    TRY(clv_gpt_evaluate(m.gpt, &source, progress_callback, &p, &loss, &tokens));
    progress_end(&p);
    output_json("{s:o, s:I, s:s}", "loss", output_number(loss), "tokens", (json_int_t)tokens,
                "file", m.file);
    output_text("loss %.6f nats (%.4f bits) a byte over %s bytes, %s\n", loss, loss / M_LN2,
                output_count(tokens, count), m.file);
done:
    clv_text_close(&text);
    model_close(&m);
    return status;
}

int cmd_eval(int argc, char **argv)
{
    eval_args args = {0};
    option options[] = {
        LOAD_OPTION(&args.model.load),
        opt_list("data", "FILE...", &args.data, REQUIRED, "text, read as one, a byte a token"),
        GRID_OPTION(&args.model.grid),
        opt_int("batch", "N", &args.batch, "8", 1, 1 << 20, "windows at once, all ranks together"),
        REPRODUCIBLE_OPTION(&args.model.reproducible),
        JSON_OPTION,
        MODEL_OPTIONS(&args.model.record.model),
        {0},
    };
    args.model.options = options;
    int code = options_parse(&about, options, argc, argv);
    return code == OPTIONS_RUN ? tool_run(eval, &args) : code;
}
