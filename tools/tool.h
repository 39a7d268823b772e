/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tool.h: what the files of the command share; private to tools/.
 *
 * A subcommand is one file: a table of options, a manual, and a function that does the work.
 * Its cmd_NAME hands all three to tool_main, which reads the words, starts MPI, works, reports an
 * error once, and ends:
 *
 *     int cmd_eval(int argc, char **argv)
 *     {
 *         eval_args args = {0};
 *         option options[] = {GRID_OPTION(&args.grid), JSON_OPTION, {0}};
 *         return tool_main(&about, options, argc, argv, eval, &args);
 *     }
 */
#ifndef TOOL_H
#define TOOL_H

#include <cleave.h>
#include <jansson.h>
#include <stdbool.h>

/* ---- options.c: one parser, driven by tables -------------------------------- */

typedef enum {
    OPTION_FLAG,   /* bool: given or not                                            */
    OPTION_INT,    /* int64_t in [low, high]                                        */
    OPTION_REAL,   /* double in [low, high]                                         */
    OPTION_TEXT,   /* const char *                                                  */
    OPTION_CHOICE, /* an enum: the index of the word in choices ("adamw|sgd")       */
    OPTION_LIST,   /* option_words: all words up to the next option, may be repeated */
} option_type;

typedef struct {
    const char **words;
    int count;
} option_words;

/* An initial value that says: the command does not run without this option. */
#define REQUIRED ""

/* A row. A name of one letter is written -m, a longer one --name, "" is the word that
 * belongs to no option; a row with only help is a heading; {0} ends the table. */
typedef struct {
    const char *name;
    const char *argument; /* "N"; what --help calls the value                         */
    option_type type;
    void *value;         /* of the type above                                         */
    const char *initial; /* the default as a user would type it; REQUIRED; NULL: none */
    const char *help;
    double low, high; /* of numbers; both 0: no limit                                 */
    const char *choices;
    bool given; /* set by options_parse                                               */
} option;

/* What --help says around the table. */
typedef struct {
    const char *name;     /* "train"                                     */
    const char *synopsis; /* words after "cleave train"                  */
    const char *about;    /* what it does, in lines of at most 90        */
    const char *examples; /* whole lines, each indented by two           */
} manual;

/* Fills the values: defaults, then argv[1..]. Returns OPTIONS_RUN, or the exit status after it has
 * shown the manual (0) or, on rank 0 alone, what is wrong with the words (2). No MPI. */
enum { OPTIONS_RUN = -1 };
int options_parse(const manual *about, option options[], int argc, char **argv);

/* Two records of one type, one that the options point into and one from a file.
 * inherit: asked becomes the file's record (found), but keeps every value that was given.
 * expect: every value given must be the file's; the error names both. */
void options_inherit(const option options[], void *asked, size_t size, void *found);
clv_status options_expect(const option options[], const void *asked, size_t size, const void *found,
                          const char *file);

/* Whether the words had this option. */
bool options_given(const option options[], const char *name);

/* What only a subcommand can judge of a value: "4096", "64K", "1.5G": whole bytes, rounded up;
 * false if text is nothing of the kind. And its refusal: a mistake in the command line. */
bool bytes_parse(const char *text, double *bytes);
clv_status options_refuse(const char *option, const char *expected, const char *found);

/* Rows: name, what the value is called, where it goes, its default, its limits, help. */
option opt_heading(const char *help);
option opt_flag(const char *name, bool *value, const char *help);
option opt_text(const char *name, const char *argument, const char **value, const char *initial,
                const char *help);
option opt_list(const char *name, const char *argument, option_words *value, const char *initial,
                const char *help);
option opt_int(const char *name, const char *argument, int64_t *value, const char *initial,
               double low, double high, const char *help);
option opt_real(const char *name, const char *argument, double *value, const char *initial,
                double low, double high, const char *help);
option opt_choice(const char *name, const char *argument, void *value, const char *initial,
                  const char *choices, const char *help);

/* Rows that several subcommands have; MODEL_OPTIONS points into a clv_gpt_config. */
#define JSON_OPTION opt_flag("json", &tool.json, "one JSON object a line on stdout, nothing else")
#define GRID_OPTION(text) \
    opt_text("grid", "AXES", text, NULL, "data=D,depth=P,row=R,col=C; sizes multiply to the ranks")
#define ONLY_OPTION(text) \
    opt_text("only", "PATTERN", text, NULL, "these names alone, all others left out")
#define PATTERN_HELP                                                                               \
    "A PATTERN is one or more words with commas between: '*' stands for any characters, '?' for\n" \
    "one, [a-z] for one of them, and a word after '!' takes away: --only 'block.*,!*.bias'."
#define REPRODUCIBLE_OPTION(flag) \
    opt_flag("reproducible", flag, "the same bits on every grid of powers of two")
#define MODEL_OPTIONS(m, heading)                                                                  \
    opt_heading(heading),                                                                          \
        opt_int("layers", "N", &(m)->layers, "4", 1, 10000, "transformer blocks"),                 \
        opt_int("width", "N", &(m)->width, "128", 1, 1 << 24, "features of a token"),              \
        opt_int("heads", "N", &(m)->heads, "4", 1, 1 << 24, "heads of attention; divides width"),  \
        opt_int("kv-heads", "N", &(m)->kv_heads, NULL, 1, 1 << 24,                                 \
                "heads of keys and values; divides heads (heads)"),                                \
        opt_int("context", "N", &(m)->context, "128", 1, 1 << 24, "tokens seen at once"),          \
        opt_int("hidden", "N", &(m)->hidden, NULL, 1, 1 << 26, "features in the MLP (4 x width)"), \
        opt_choice("mlp", "KIND", &(m)->mlp, "gelu", "gelu|swiglu", "activation of the MLP"),      \
        opt_choice("norm", "KIND", &(m)->norm, "layer", "layer|rms", "norm before each part"),     \
        opt_real("norm-eps", "X", &(m)->norm_eps, "1e-5", 1e-300, 1, "added to variances"),        \
        opt_choice("position", "KIND", &(m)->position, "learned", "learned|rotary",                \
                   "how tokens know where they stand"),                                            \
        opt_real("rotary-base", "X", &(m)->rotary_base, "10000", 1, 1e300, "of rotary angles"),    \
        opt_flag("no-bias", &(m)->no_bias, "no biases in attention and MLP"),                      \
        opt_flag("tied", &(m)->tied, "the head is the token embedding"),                           \
        opt_choice("dtype", "TYPE", &(m)->dtype, "f32", "f32|f64", "type of all numbers")

#define VOCABULARY_OPTION(m) \
    opt_int("vocabulary", "N", &(m)->vocabulary, NULL, 1, 1 << 30, "ids of tokens (the data's)")

/* ---- launch.c: the processes of one launch ------------------------------------- */

/* This process's rank as the launcher's environment says it, before MPI has started; -1 without a
 * launcher. */
int tool_launch_rank(void);

/* Starts MPI unless it has been; false if it cannot be. end: ends it if it has been started. */
bool tool_start(void);
void tool_end(void);

/* Starts MPI; a mistake in the command line, naming two processes and their words, unless all have
 * the same. Collective over all processes. */
clv_status tool_same_words(int argc, char **argv);

/* ---- run.c: one process among others ------------------------------------------ */

/* Set up by main before a subcommand runs. */
typedef struct {
    const char *command; /* "train"                                                   */
    int rank;            /* as the launcher says; 0 without one                       */
    bool json;           /* JSON_OPTION                                               */
} tool_state;
extern tool_state tool;

/* Reads the words; unless they ask for the manual or are wrong starts MPI, works, reports a failure
 * on rank 0. Returns the exit status: 0 done, 1 failed, 2 a mistake in the command line.
 */
int tool_main(const manual *about, option options[], int argc, char **argv,
              clv_status (*work)(void *args), void *args);

/* clv_fail: the tool's failures and the library's have one place, so that the last one is told, and
 * clv_grid_agree brings either to rank 0. */
clv_status tool_fail(clv_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Returns status, the verdict on words of the command line. If they are what is wrong (CLV_EARG,
 * CLV_ELAYOUT, CLV_EUNSUPPORTED), this is a mistake in the command line. */
clv_status tool_misuse(clv_status status);

/* Prints clv_last_error on rank 0's stderr, in one line; after a mistake in the command line with a
 * hint at --help. Returns the exit status of a failure. */
int tool_report(void);

/* Leaves a function through its label `done:` with a local `clv_status status`. */
#define TRY(call)                                   \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)

/* The grid of --grid's text over all ranks, NULL: all on col. leaves: as clv_grid_set_leaves.
 * Collective over all processes. */
clv_status tool_grid(const char *text, int leaves, clv_grid **grid);
/* A model's: without text, the ranks that divide `batch` on data and the rest on col. */
clv_status tool_model_grid(const char *text, int64_t batch, int leaves, clv_grid **grid);
/* The layout of an option's text. Local. */
clv_status tool_layout(const clv_grid *grid, const char *text, clv_layout *layout);

/* "data=2,col=1", in buffer. */
const char *tool_grid_format(const clv_grid *grid, char *buffer, size_t size);

static inline int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Seconds on a clock that only goes forward. */
double tool_seconds(void);

/* ---- output.c: what goes to stdout, from rank 0 alone ---------------------------- */

/* One line, with --json only: an object built as json_pack builds it. */
void output_json(const char *format, ...);
/* A number for output_json's "o": null if it is not finite. */
json_t *output_number(double value);
/* Bytes for it, as text with U+FFFD for each that is not UTF-8, and exactly, two digits a byte. */
json_t *output_string(const char *bytes, size_t count);
json_t *output_hex(const char *bytes, size_t count);
/* A word that output_json is to say, NULL: none: a mistake in the command line if it cannot, which
 * is better found before the work than after it. */
clv_status output_check_name(const char *option, const char *name);
/* Text, and bytes as they are, without --json only. */
void output_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
void output_bytes(const void *bytes, size_t count);
/* "12,345", in buffer. */
const char *output_count(int64_t value, char buffer[32]);
/* Whether all of it arrived. */
bool output_flush(void);
/* The same as a status: CLV_EIO if not. */
clv_status output_status(void);

/* ---- progress.c: how far, how fast, how long still -------------------------------- */

typedef struct {
    const char *what;   /* "step", "verified"                                     */
    int64_t first, all; /* where it started and where it ends                     */
    int64_t every;      /* shown each so many and at the end; 0: each two seconds */
    double started, shown_at;
    int64_t shown; /* position at shown_at                                        */
    bool open;     /* a line on the terminal waits for its end                    */
} progress;

progress progress_start(const char *what, int64_t first, int64_t all, int64_t every);
/* At position `done`, each of so many tokens; 0 tokens shows the share done instead of
 * positions and loss. A line on rank 0, without --json. */
void progress_show(progress *p, int64_t done, double loss, double tokens);
/* The same as the library calls it, context being the progress. */
void progress_callback(void *context, int64_t done, int64_t all);
/* Ends the line. */
void progress_end(progress *p);

/* ---- names.c: what the names of data sets say ------------------------------------------- */

/* Parameters have plain names; what an optimizer keeps of them lies in groups. */
bool is_parameter(const char *name);
/* CLV_ENOTFOUND if --only (NULL: all) means no data set of a, nor of b unless NULL: a pattern with
 * a mistake must not pass for one whose data sets are all good. Local, the same everywhere. */
clv_status only_check(const clv_checkpoint *a, const clv_checkpoint *b, const char *only);

/* ---- chunks.c, stats.c: data sets of any size ----------------------------------------- */

enum { CHUNK_ELEMENTS = 1 << 21 }; /* at most, of a chunk */
int64_t chunk_count(clv_checkpoint_entry entry);
clv_block chunk_at(clv_checkpoint_entry entry, int64_t chunk); /* without memory */
/* Its values, of any type, row by row. Local. */
clv_status chunk_read(clv_checkpoint *checkpoint, int i, clv_block block, double *values);
/* one() computes `width` numbers (0 before) of a chunk, each chunk on one rank; fold() then takes
 * those of all chunks in their order, on every rank. *turn, 0 at first, goes on from one data set
 * to the next, so that small ones are dealt out too. Collective. */
clv_status chunk_fold(clv_grid *grid, clv_checkpoint_entry entry, int64_t *turn, int width,
                      clv_status (*one)(void *context, clv_block block, double *partial),
                      void (*fold)(void *context, const double *partial), void *context);

/* min to std are of the finite values; NaN where there are none. */
typedef struct {
    double min, max, mean, std;
    int64_t finite, zeros, nans, infinite;
} statistics;
/* values: room for a chunk. Collective. */
clv_status statistics_of(clv_grid *grid, clv_checkpoint *checkpoint, int i, int64_t *turn,
                         double *values, statistics *out);

/* ---- record.c: what a checkpoint says in JSON --------------------------------------- */

typedef struct {
    clv_gpt_config model;
    clv_optimizer_config optimizer;
    clv_schedule schedule;
    clv_train_position position;
    int64_t batch;  /* sequences a step, all processes together            */
    int64_t tokens; /* of the data that position speaks of; 0: not known   */
    int leaves;     /* of every sum in a reproducible run; 0: it is not one */
} record;

/* Caller frees *json with free. Local. */
clv_status record_format(const record *r, char **json);
/* CLV_EFORMAT naming file and key. Local. */
clv_status record_parse(const char *json, const char *file, record *r);
/* Reads path (a checkpoint or a folder of them) before there is a grid of the user's; *file is the
 * one meant, freed by the caller. Model options that were given must be the file's
 * (asked->model), but for the type where any_dtype, and all that were not given become it.
 * Collective over all processes. */
clv_status record_resume(const char *path, const option options[], bool any_dtype, record *asked,
                         char **file);
/* The model alone becomes the file's, where its options were not given. Collective over all
 * processes. */
clv_status record_init(const char *path, const option options[], record *asked, char **file);
/* To be added to a pattern: takes away what optimizers keep. */
#define NO_OPTIMIZER ",!adamw.*,!sgd.*"
/* Loads parameters and, unless NULL, the optimizer's state. Collective. */
clv_status record_load(clv_grid *grid, const char *file, const clv_params *params,
                       const clv_optimizer *optimizer);
/* Loads those parameters whose names match `only` (NULL: all) and that the file has, and counts
 * them; CLV_ENOTFOUND if there are none. Collective. */
clv_status record_load_some(clv_grid *grid, const char *file, const char *only,
                            const clv_params *params, int *loaded);

/* ---- model.c: a trained model to use -------------------------------------------------- */

typedef struct {
    record record;           /* MODEL_OPTIONS point into it            */
    const char *load, *grid; /* a checkpoint or a folder; as tool_model_grid */
    bool reproducible;
    const option *options;
} model_args;

typedef struct {
    char *file;
    clv_grid *grid;
    clv_gpt *gpt;
} model;

/* The model of args->load for batches of `sequences`. To be closed, even after a failure.
 * Collective over all processes. */
clv_status model_open(model_args *args, int64_t sequences, model *m);
void model_close(model *m);

/* Rows for a model_args. */
#define TRAINED_OPTIONS(m)                                                                   \
    opt_text("load", "PATH", &(m)->load, REQUIRED, "a checkpoint, or a folder: its newest"), \
        GRID_OPTION(&(m)->grid), REPRODUCIBLE_OPTION(&(m)->reproducible), JSON_OPTION,       \
        MODEL_OPTIONS(&(m)->record.model,                                                    \
                      "Model: what the file says; what is given here must agree with it"),   \
        VOCABULARY_OPTION(&(m)->record.model)

/* ---- data.c: the tokens to train on or to evaluate -------------------------------------- */

typedef struct {
    clv_tokens *tokens;
    clv_source source;  /* for trainer and evaluation                             */
    int64_t vocabulary; /* ids are below it                                       */
    bool bytes;         /* tokens are the bytes of texts; else ids of a tokenizer */
} data;

/* Opens the files. Where they do not say what their vocabulary is, all ids are looked at. To be
 * closed, even after a failure. Collective. */
clv_status data_open(clv_grid *grid, const option_words *files, data *d);
void data_close(data *d);
/* CLV_EARG unless a model of this vocabulary is one for the data: for bytes, one of 256 tokens
 * unless --vocabulary was given. Local, the same everywhere. */
clv_status data_check(const data *d, int64_t vocabulary, bool given);
/* "byte" or "token" */
const char *data_unit(const data *d);

#define DATA_OPTION(list)                       \
    opt_list("data", "FILE...", list, REQUIRED, \
             "text, read as one, a byte a token; or token files (HDF5)")
#define TOKENIZER_OPTION(text)                \
    opt_text("tokenizer", "PATH", text, NULL, \
             "tokenizer.json, or a folder with it or vocab.json and merges.txt")

/* ---- room.c ---------------------------------------------------------------------------- */

/* CLV_ELIMIT if this machine's memory cannot hold the model: asked before anything of it is
 * allocated. training: with gradients and optimizer state. Collective. */
clv_status room_check(clv_grid *grid, const clv_gpt_config *model, int64_t sequences,
                      bool training);
/* The same for `bytes` of each rank, which may differ; what: "the matrices do". Collective. */
clv_status room_for(clv_grid *grid, const char *what, double bytes);
/* Ranks on this rank's node, and nodes. Collective. */
clv_status room_neighbours(clv_grid *grid, int *neighbours, int *nodes);
/* Nodes as plans see them (CLEAVE_NODE_SIZE too), and the ranks on each: 0 unless all have the
 * same number of consecutive ranks. Collective. */
clv_status room_nodes(clv_grid *grid, int *nodes, int *ranks);

#endif
