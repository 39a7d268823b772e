/* SPDX-License-Identifier: BSD-3-Clause
 *
 * train.c: cleave train: from texts or tokens, or from a checkpoint written on any grid, to
 * checkpoints.
 */
#include "hf.h"
#include "saving.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINES = 30, WARMUP = 20 };

typedef struct {
    record record; /* what was asked for, and after a resume what the file adds */
    const char *grid, *save, *resume;
    const char *init, *only; /* a checkpoint whose parameters a new run starts from; which */
    option_words data;
    int64_t save_every, keep, keep_every, log_every;
    bool overwrite, reproducible, background;
    const option *options;
} train_args;

typedef struct {
    const train_args *args;
    record record;
    clv_grid *grid;
    data data;
    clv_gpt *gpt;
    clv_trainer *trainer;
    char *from;      /* the checkpoint resumed, or NULL          */
    char *init;      /* the one that parameters come from, or NULL */
    char *home;      /* the folder it lies in, or NULL           */
    char *dir;       /* where checkpoints go, or NULL            */
    int initialised; /* parameters from init */
    int lock;        /* on that folder, rank 0's; or -1          */
    int newer;       /* checkpoints in dir after the step begun from that --keep lets go */
    char last[4096]; /* the greatest step's in dir */
    int64_t before;  /* tokens of the data before a resume; 0: not known */
    saving saving;
    progress shown;
} training;

static const manual about = {
    .name = "train",
    .synopsis = "--data FILE... [options]",
    .about =
        "Trains a GPT on texts, whose bytes are its tokens, or on token files (cleave tokenize\n"
        "makes them, and so can h5py: a 1-D data set \"tokens\" of unsigned integers), its\n"
        "matrices sharded over a grid of all ranks that mpiexec starts. Checkpoints do not know\n"
        "the grid: --resume goes on from one on any number of ranks, with the model, seed, step,\n"
        "order of samples and optimizer found in the file; an option given again replaces the\n"
        "file's, but the model, seed and kind of optimizer stay.\n"
        "\n"
        "--init starts a new run, at step 0 and with an optimizer that has seen nothing, from the\n"
        "parameters of a checkpoint whose names this model has too (--only: those of them that\n"
        "match a pattern such as 'block.*,!*.bias'; their shapes must agree); the others start "
        "from\n"
        "the seed. The model is the file's but for the options given.\n"
        "\n"
        "With --reproducible every loss and every parameter has the same bits on any grid whose "
        "axes\n"
        "are powers of two, and a --resume goes on in it.\n"
        "\n"
        "A save is announced once it is durable, and removes older ones only then. With\n"
        "--save-background the run goes on after a copy in memory while the file is written; the\n"
        "default waits, for the copy takes as much memory as the checkpoint. A save that fails is\n"
        "told, older ones stay, and the run goes on to the next save; exit status 1 if the last\n"
        "one failed.\n"
        "\n"
        "With --keep, checkpoints after the one resumed, of a course given up, go too as the\n"
        "run saves. It says so when it starts; where --resume names a file, it needs --overwrite\n"
        "for that.\n"
        "\n"
        "Axes of --grid: data splits the batch, row and col each weight matrix in two ways, depth\n"
        "stores weights in parts and gathers them for use. Without --grid the ranks that divide\n"
        "the batch evenly go to data and the rest to col: 8 sequences on 6 ranks: data=2,col=3.",
    .examples = "  mpiexec.mpich -n 2 cleave train --grid row=1,col=2 --data "
                "/usr/share/common-licenses/* \\\n"
                "      --layers 4 --width 128 --heads 4 --context 128 --batch 8 --steps 200 \\\n"
                "      --save run --save-every 50\n"
                "  mpiexec.mpich -n 4 cleave train --grid row=2,col=2 --resume run --steps 300 \\\n"
                "      --data /usr/share/common-licenses/*\n",
};

/* ---- Before the first step ---- */

/* The folder that a checkpoint lies in; freed by the caller. */
static char *folder_of(const char *file)
{
    char *copy = strdup(file), *folder = copy ? strdup(dirname(copy)) : NULL;
    free(copy);
    return folder;
}

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The folder belongs to this run until the process ends, however it ends: the kernel drops the
 * lock, and the file that carries it stays. Where a file system has no locks, nothing protects. */
static clv_status lock_folder(const char *folder, int *lock)
{
    char file[4096];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(file, sizeof file, "%s/.lock", folder);
    *lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (*lock < 0)
        return tool_fail(CLV_EIO, "--save: expected a folder that can be written, found %s: %s",
                         folder, strerror(errno));
    if (fcntl(*lock, F_OFD_SETLK, &whole) && (errno == EAGAIN || errno == EACCES))
        return tool_fail(CLV_EIO,
                         "--save: expected a folder that no other run saves into, found one "
                         "saving into %s",
                         folder);
    return CLV_OK;
}

/* Makes the folder and tries it. Collective. */
static clv_status open_saving(training *t)
{
    const train_args *args = t->args;
    const clv_saver_options keep = {(int)args->keep, args->keep_every, args->background};
    clv_status status = saving_open(&t->saving, t->grid, t->dir, &keep, &t->shown);
    return status == CLV_OK ? status : tool_fail(status, "--save: %s", clv_last_error());
}

/* Nothing that lies in the folder is lost unasked. A run that does not go on from there finds no
 * checkpoint, damaged or not; one that goes back to a file finds none after it that --keep would
 * remove. A folder goes on from its newest, and what lies after that one was given up before. */
static clv_status check_others(const training *t, bool own, bool model, int count)
{
    if (count == 0 && model)
        return tool_fail(CLV_EARG,
                         "--save: expected a folder without config.json, found %s: a folder is a "
                         "model of Hugging Face's or a run, not both",
                         t->dir);
    if (count == 0 || t->args->overwrite) return CLV_OK;
    if (!own)
        return tool_fail(CLV_EARG,
                         "--save: expected a folder without checkpoints, found %d, up to %s: "
                         "--resume %s goes on from there, --overwrite lets them go",
                         count, t->last, t->dir);
    if (t->newer > 0 && strcmp(t->from, t->args->resume) == 0)
        return tool_fail(CLV_EARG,
                         "--resume: expected no checkpoints after %s that --keep would remove, "
                         "found %d, up to %s: --overwrite lets them go, --save DIR leaves them",
                         t->from, t->newer, t->last);
    return CLV_OK;
}

/* Before the first step, not at the first save: the folder can be written, and no other run's
 * checkpoints lie in it or come into it. Collective. */
static clv_status take_folder(training *t)
{
    int64_t *steps = NULL;
    int count;
    bool folder, model;
    char name[CLV_STEP_NAME];
    clv_status status = open_saving(t);
    if (status != CLV_OK || !t->dir) return status;
    TRY(clv_grid_agree(t->grid, tool.rank == 0 ? lock_folder(t->dir, &t->lock) : CLV_OK));
    double own[] = {t->home && same_folder(t->dir, t->home)};
    TRY(clv_grid_reduce(t->grid, CLV_MAX, 1, own));
    TRY(hf_look(t->grid, t->dir, &folder, &model));
    TRY(clv_checkpoint_list(t->grid, t->dir, &steps, &count));
    for (int i = 0; i < count && t->args->keep > 0; i++)
        t->newer += steps[i] > t->record.position.step;
    if (count > 0)
        snprintf(t->last, sizeof t->last, "%s/%s", t->dir,
                 clv_checkpoint_name(steps[count - 1], name));
    TRY(check_others(t, own[0] > 0, model, count));
done:
    free(steps);
    return status;
}

static clv_status resume_record(training *t, train_args *args)
{
    record *r = &args->record;
    clv_status status = record_resume(args->resume, args->options, false, r, &t->from);
    if (status == CLV_OK && r->position.step > r->schedule.steps)
        status = tool_fail(CLV_EARG,
                           "--steps: expected at least %" PRId64 ", the step of %s, found %" PRId64,
                           r->position.step, t->from, r->schedule.steps);
    return status;
}

/* Words about checkpoints, of a run that writes none. */
static clv_status check_saving(const train_args *args)
{
    static const char *const names[] = {"save-every", "keep", "keep-every", "save-background",
                                        "overwrite"};
    for (size_t i = 0; !args->save && !args->resume && i < sizeof names / sizeof *names; i++)
        if (options_given(args->options, names[i]))
            return tool_fail(CLV_EARG, "--%s: expected --save DIR too, found none", names[i]);
    return CLV_OK;
}

static clv_status settle_record(training *t, train_args *args)
{
    record *r = &args->record;
    clv_schedule *s = &r->schedule;
    if (args->resume && args->init)
        return tool_misuse(
            tool_fail(CLV_EARG, "--init: expected a new run, found --resume %s", args->resume));
    if (args->only && !args->init)
        return tool_misuse(tool_fail(CLV_EARG, "--only: expected --init PATH too, found none"));
    if (args->resume) return resume_record(t, args);
    if (args->init) {
        clv_status status = record_init(args->init, args->options, r, &t->init);
        if (status != CLV_OK) return status;
    }
    if (s->warmup < 0) s->warmup = least(WARMUP, s->steps / 10);
    if (r->model.width % r->model.heads)
        return tool_misuse(tool_fail(
            CLV_EARG, "--heads: expected a divisor of the width %" PRId64 ", found %" PRId64,
            r->model.width, r->model.heads));
    return CLV_OK;
}

/* Everything a run stands on. Collective. */
static clv_status prepare(training *t, train_args *args)
{
    clv_status status;
    TRY(output_check_name("--save", args->save));
    TRY(output_check_name("--resume", args->resume));
    TRY(output_check_name("--init", args->init));
    TRY(tool_misuse(check_saving(args)));
    TRY(settle_record(t, args));
    record *r = &t->record;
    *r = args->record;
    if (r->schedule.final < 0) r->schedule.final = r->schedule.peak / 10;
    if (args->reproducible && !r->leaves) r->leaves = CLV_LEAVES;
    TRY(tool_model_grid(args->grid, r->batch, r->leaves, &t->grid));
    t->home = t->from ? folder_of(t->from) : NULL;
    t->dir = args->save ? strdup(args->save) : t->home ? strdup(t->home) : NULL;
    TRY(data_open(t->grid, &args->data, &t->data));
    t->before = r->tokens;
    r->tokens = t->data.source.size;
    if (!r->model.vocabulary) r->model.vocabulary = t->data.vocabulary;
    TRY(data_check(&t->data, r->model.vocabulary, options_given(args->options, "vocabulary")));
    TRY(room_check(t->grid, &r->model, r->batch, true));
    TRY(take_folder(t));
    TRY(tool_misuse(clv_gpt_create(t->grid, &r->model, r->batch, &t->gpt)));
    clv_train_config config = {r->optimizer, r->schedule, r->position.seed};
    TRY(clv_trainer_create(t->gpt, &t->data.source, &config, &t->trainer));
    if (t->from) {
        const clv_optimizer *optimizer = clv_trainer_optimizer(t->trainer);
        TRY(record_load(t->grid, t->from, clv_gpt_params(t->gpt), optimizer));
        clv_trainer_seek(t->trainer, r->position);
    }
    if (t->init)
        TRY(record_load_some(t->grid, t->init, args->only, clv_gpt_params(t->gpt),
                             &t->initialised));
done:
    return status;
}

/* The position counts sequences in an order of the data: of others, some come twice, some never. */
static void announce_other_data(const training *t)
{
    output_json("{s:s, s:I, s:I}", "event", "other_data", "tokens", (json_int_t)t->record.tokens,
                "saved_tokens", (json_int_t)t->before);
    output_text("other data: %s saw %" PRId64 " %ss, these are %" PRId64
                "; the samples go on in the order of these\n",
                t->from, t->before, data_unit(&t->data), t->record.tokens);
}

static void announce_newer(const training *t)
{
    output_json("{s:s, s:i, s:s}", "event", "newer", "count", t->newer, "file", t->last);
    output_text("--keep: checkpoints after step %" PRId64 " go as this run saves: %d, up to %s\n",
                t->record.position.step, t->newer, t->last);
}

static void announce(const training *t)
{
    char grid[256], parameters[32], tokens[32];
    const record *r = &t->record;
    int64_t elements = clv_params_elements(clv_gpt_params(t->gpt));
    tool_grid_format(t->grid, grid, sizeof grid);
    output_json("{s:s, s:s, s:i, s:b, s:I, s:s, s:I, s:I, s:I, s:I, s:s?, s:s?}", "event", "start",
                "grid", grid, "ranks", clv_grid_size(t->grid), "reproducible", r->leaves > 0,
                "parameters", (json_int_t)elements, "dtype", clv_dtype_name(r->model.dtype),
                "tokens", (json_int_t)t->data.source.size, "vocabulary",
                (json_int_t)r->model.vocabulary, "from_step", (json_int_t)r->position.step,
                "to_step", (json_int_t)r->schedule.steps, "resumed", t->from, "init", t->init);
    if (t->init)
        output_text("%d parameters of %s, the others from the seed\n", t->initialised, t->init);
    if (t->from) output_text("resumed %s at step %" PRId64 "\n", t->from, r->position.step);
    if (t->newer > 0) announce_newer(t);
    if (t->before > 0 && t->before != r->tokens) announce_other_data(t);
    output_text("%s parameters (%s) on %s%s, %s %ss of a vocabulary of %" PRId64 ", %" PRId64
                " sequences of %" PRId64 " a step\n",
                output_count(elements, parameters), clv_dtype_name(r->model.dtype), grid,
                r->leaves ? ", reproducible" : "", output_count(t->data.source.size, tokens),
                data_unit(&t->data), r->model.vocabulary, r->batch, r->model.context);
}

/* ---- Steps ---- */

static clv_status save(training *t)
{
    int count = 0;
    char *json = NULL;
    clv_named *list = NULL;
    clv_params *params = clv_gpt_params(t->gpt);
    t->record.position = clv_trainer_position(t->trainer);
    int64_t step = t->record.position.step;
    clv_status status = record_format(&t->record, &json);
    if (status == CLV_OK)
        status = clv_training_state(params, clv_trainer_optimizer(t->trainer), &list, &count);
    TRY(clv_grid_agree(t->grid, status));
    TRY(saving_save(&t->saving, step, count, list, json));
done:
    free(list);
    free(json);
    return status;
}

static void report(const clv_step_report *step, double tokens, double seconds, progress *p)
{
    output_json("{s:I, s:o, s:o, s:o, s:o}", "step", (json_int_t)step->step, "loss",
                output_number(step->loss), "tokens_per_s", output_number(tokens / seconds), "lr",
                output_number(step->lr), "grad_norm", output_number(step->grad_norm));
    progress_show(p, step->step, step->loss, tokens);
}

/* One step, told, and saved where it is due. Collective. */
static clv_status advance(training *t)
{
    clv_status status;
    clv_step_report step;
    int64_t every = t->args->save_every;
    double tokens = (double)t->record.batch * (double)t->record.model.context;
    double started = tool_seconds();
    TRY(clv_trainer_step(t->trainer, &step));
    report(&step, tokens, tool_seconds() - started, &t->shown);
    TRY(saving_check(&t->saving));
    if (!t->dir || (step.step != t->record.schedule.steps && (!every || step.step % every)))
        return CLV_OK;
    TRY(save(t));
done:
    return status;
}

static clv_status run(training *t)
{
    clv_status status = CLV_OK;
    int64_t step = t->record.position.step, steps = t->record.schedule.steps;
    int64_t every = t->args->log_every ? t->args->log_every : (steps - step) / LINES + 1;
    if (step == steps) {
        output_text("nothing to do: %s is at step %" PRId64 ", and --steps is %" PRId64 "\n",
                    t->from, step, steps);
        output_json("{s:s, s:I, s:I, s:s}", "event", "nothing_to_do", "saved_step",
                    (json_int_t)step, "steps", (json_int_t)steps, "file", t->from);
        return CLV_OK;
    }
    announce(t);
    t->shown = progress_start("step", step, steps, every);
    while (step++ < steps) TRY(advance(t));
    TRY(saving_end(&t->saving));
done:
    progress_end(&t->shown);
    return status;
}

static clv_status train(void *args)
{
    training t = {.args = args, .lock = -1};
    clv_status status = prepare(&t, args);
    if (status == CLV_OK) status = run(&t);
    saving_close(&t.saving);
    clv_trainer_destroy(&t.trainer);
    clv_gpt_destroy(&t.gpt);
    data_close(&t.data);
    clv_grid_destroy(&t.grid);
    if (t.lock >= 0) close(t.lock);
    free(t.from);
    free(t.init);
    free(t.home);
    free(t.dir);
    return status;
}

int cmd_train(int argc, char **argv)
{
    train_args args = {.record = {.schedule = {.final = -1, .warmup = -1}, .optimizer.eps = 1e-8}};
    record *r = &args.record;
    clv_optimizer_config *o = &r->optimizer;
    clv_schedule *s = &r->schedule;
    int64_t *seed = (int64_t *)&r->position.seed;
    option options[] = {
        DATA_OPTION(&args.data),
        opt_text("resume", "PATH", &args.resume, NULL, "go on from this checkpoint or folder"),
        opt_text("init", "PATH", &args.init, NULL,
                 "a new run whose parameters start from this checkpoint's"),
        opt_text("only", "PATTERN", &args.only, NULL, "of --init: these parameters (all it has)"),
        GRID_OPTION(&args.grid),
        opt_int("steps", "N", &s->steps, "200", 1, 1e12, "updates, those before a resume included"),
        opt_int("batch", "N", &r->batch, "8", 1, 1 << 20, "sequences a step, all ranks together"),
        REPRODUCIBLE_OPTION(&args.reproducible),
        opt_int("seed", "N", seed, "1", 0, 9e15, "of the parameters and the order of samples"),
        MODEL_OPTIONS(&r->model, "Model:"),
        VOCABULARY_OPTION(&r->model),
        opt_heading("Optimizer:"),
        opt_choice("optimizer", "KIND", &o->kind, "adamw", "adamw|sgd", "how parameters follow"),
        opt_real("lr", "X", &s->peak, "0.001", 0, 1e3, "largest learning rate"),
        opt_int("warmup", "N", &s->warmup, NULL, 0, 1e12,
                "steps in which it rises from 0 (20, or a tenth of --steps if less)"),
        opt_real("final-lr", "X", &s->final, NULL, 0, 1e3, "at the last step (a tenth of --lr)"),
        opt_real("beta1", "X", &o->beta1, "0.9", 0, 1, "adamw's mean of gradients, in [0, 1)"),
        opt_real("beta2", "X", &o->beta2, "0.95", 0, 1,
                 "adamw's mean of squared gradients, in [0, 1)"),
        opt_real("weight-decay", "X", &o->weight_decay, "0.1", 0, 1e3, "of matrices"),
        opt_real("clip", "X", &o->clip, "1", 0, 1e9, "largest norm of all gradients; 0: any"),
        opt_real("momentum", "X", &o->momentum, "0.9", 0, 1, "of sgd, in [0, 1)"),
        opt_heading("Output:"),
        opt_text("save", "DIR", &args.save, NULL, "folder of checkpoints (that of --resume)"),
        opt_int("save-every", "N", &args.save_every, "0", 0, 1e12, "steps; 0: at the end only"),
        opt_int("keep", "N", &args.keep, "0", 0, 1e9, "newest checkpoints that stay; 0: all"),
        opt_int("keep-every", "N", &args.keep_every, "0", 0, 1e12,
                "checkpoints of its multiples stay too, whatever --keep says; 0: none"),
        opt_flag("save-background", &args.background, "go on while a checkpoint is written"),
        opt_flag("overwrite", &args.overwrite, "let checkpoints go that lie in the folder"),
        opt_int("log-every", "N", &args.log_every, "0", 0, 1e12, "steps a line; 0: 30 lines"),
        JSON_OPTION,
        {0},
    };
    args.options = options;
    return tool_main(&about, options, argc, argv, train, &args);
}
