/* SPDX-License-Identifier: BSD-3-Clause
 *
 * eval.c: cleave eval: the loss of a checkpoint on texts or token files.
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
        "The mean cross-entropy, in nats a token (a byte of text), over consecutive windows of\n"
        "the model's context, each token predicting the next; an incomplete last window is left\n"
        "out. It is the same on every grid and for every batch, which may differ from those of "
        "the\n"
        "training. The model is the file's; an option of it that is given must agree, but for\n"
        "--dtype: the type that is computed with may be another than the file's, of which each\n"
        "number is rounded once.",
    .examples = "  mpiexec.mpich -n 3 cleave eval --grid col=3 --load run \\\n"
                "      --data /usr/share/common-licenses/BSD --json\n"
                "  cleave eval --load run/step-00000200.h5 --data notes.txt\n",
};

static clv_status eval(void *untyped)
{
    eval_args *args = untyped;
    clv_status status;
    model m = {0};
    data d = {0};
    double loss;
    int64_t tokens;
    char count[32];
    TRY(model_open(&args->model, args->batch, &m));
    TRY(data_open(m.grid, &args->data, &d));
    TRY(data_check(&d, args->model.record.model.vocabulary,
                   options_given(args->model.options, "vocabulary")));
    progress p = progress_start("evaluated", 0, 0, 0);
    TRY(clv_gpt_evaluate(m.gpt, &d.source, progress_callback, &p, &loss, &tokens));
    progress_end(&p);
    output_json("{s:o, s:I, s:s}", "loss", output_number(loss), "tokens", (json_int_t)tokens,
                "file", m.file);
    output_text("loss %.6f nats (%.4f bits) a %s over %s %ss, %s\n", loss, loss / M_LN2,
                data_unit(&d), output_count(tokens, count), data_unit(&d), m.file);
done:
    data_close(&d);
    model_close(&m);
    return status;
}

int cmd_eval(int argc, char **argv)
{
    eval_args args = {0};
    option options[] = {
        DATA_OPTION(&args.data),
        opt_int("batch", "N", &args.batch, "8", 1, 1 << 20, "windows at once, all ranks together"),
        TRAINED_OPTIONS(&args.model),
        {0},
    };
    args.model.options = options;
    return tool_main(&about, options, argc, argv, eval, &args);
}
