/* SPDX-License-Identifier: BSD-3-Clause
 *
 * train.c: training, evaluation and sampling are the same on every grid.
 *
 * Rank 0 runs the reference on a grid of its own process and tells the others.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include <grids.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 4, CONTEXT = 8, VOCABULARY = 17, STEPS = 20, TEXT = 201 };

static clv_gpt_config config_of(clv_dtype dtype)
{
    return (clv_gpt_config){.layers = 2,
                            .width = 24,
                            .heads = 4,
                            .context = CONTEXT,
                            .vocabulary = VOCABULARY,
                            .dtype = dtype};
}

static const clv_train_config training = {
    .optimizer = {.kind = CLV_ADAMW, .weight_decay = 0.1, .clip = 1},
    .schedule = {.peak = 1e-2, .final = 1e-3, .warmup = 5, .steps = STEPS},
    .seed = 42};

/* ---- A text with something to learn -------------------------------------------- */

typedef struct {
    int64_t reads, fail_at; /* the fail_at-th read fails, 0: none */
    int32_t last_token;     /* in the place of the text's last    */
    int windows;            /* whose ids were read                */
    int64_t starts[256];    /* of the first of them               */
} text;

static clv_status text_read(void *context, int64_t offset, int64_t count, int32_t *ids)
{
    text *t = context;
    if (++t->reads == t->fail_at) return CLV_EIO;
    CHECK(offset >= 0 && count >= 0 && offset + count <= TEXT);
    if (offset % CONTEXT == 0 && t->windows < 256) t->starts[t->windows++] = offset;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = offset + i;
        ids[i] = (int32_t)((at % 7 * 3 + (at % 11 == 0)) % VOCABULARY);
        if (at == TEXT - 1 && t->last_token) ids[i] = t->last_token;
    }
    return CLV_OK;
}

static clv_source source_of(text *t)
{
    return (clv_source){.context = t, .size = TEXT, .read = text_read};
}

/* ---- A model in training -------------------------------------------------------- */

typedef struct {
    text text;
    clv_source source;
    clv_gpt *gpt;
    clv_trainer *trainer;
} run;

static bool run_begin(run *r, clv_grid *grid, const clv_gpt_config *config, int64_t sequences,
                      const clv_train_config *train)
{
    *r = (run){0};
    r->source = source_of(&r->text);
    return CHECK_OK(clv_gpt_create(grid, config, sequences, &r->gpt)) &&
           CHECK_OK(clv_trainer_create(r->gpt, &r->source, train, &r->trainer));
}

static void run_end(run *r)
{
    clv_trainer_destroy(&r->trainer);
    clv_gpt_destroy(&r->gpt);
}

static double run_step(run *r)
{
    clv_step_report report = {.loss = NAN};
    CHECK_OK(clv_trainer_step(r->trainer, &report));
    CHECK_INT(report.step, clv_trainer_position(r->trainer).step);
    return report.loss;
}

/* ---- Losses --------------------------------------------------------------------- */

typedef struct {
    clv_gpt_config config;
    clv_train_config train;
    double tolerance;
    int steps;
    double losses[STEPS];
} reference;

static void losses_on_grid(clv_grid *grid, const void *arg)
{
    const reference *expected = arg;
    run r;
    if (run_begin(&r, grid, &expected->config, SEQUENCES, &expected->train))
        for (int s = 0; s < expected->steps; s++)
            CHECK(fabs(run_step(&r) / expected->losses[s] - 1) <= expected->tolerance);
    run_end(&r);
}

/* What rank 0 computed goes to all. */
static void tell(void *data, size_t bytes)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_grid_broadcast(grid, 0, data, bytes));
    clv_grid_destroy(&grid);
}

static void losses(clv_gpt_config config, clv_train_config train, int steps, double tolerance)
{
    reference one = {.config = config, .train = train, .tolerance = tolerance, .steps = steps};
    if (check_rank() == 0) {
        clv_grid *self = check_self_grid();
        run r;
        if (run_begin(&r, self, &config, SEQUENCES, &train))
            for (int s = 0; s < steps; s++) one.losses[s] = run_step(&r);
        run_end(&r);
        clv_grid_destroy(&self);
        CHECK(fabs(one.losses[0] - log(VOCABULARY)) < 0.1);
        CHECK(one.losses[steps - 1] < one.losses[0] - 0.2);
    }
    tell(one.losses, sizeof one.losses);
    check_on_grids(losses_on_grid, &one);
}

static void losses_f32(void)
{
    losses(config_of(CLV_F32), training, STEPS, 1e-4);
}
static void losses_f64(void)
{
    losses(config_of(CLV_F64), training, STEPS, 1e-10);
}

static void losses_sgd(void)
{
    clv_gpt_config config = config_of(CLV_F64);
    clv_train_config train = {
        .optimizer = {.kind = CLV_SGD, .momentum = 0.9}, .schedule = {.peak = 0.3}, .seed = 7};
    config.mlp = CLV_MLP_SWIGLU;
    config.norm = CLV_RMS_NORM;
    config.hidden = 29;
    losses(config, train, 8, 1e-10);
}

/* ---- Going on from where one was -------------------------------------------------- */

/* This process's blocks of all state, saved or brought back. */
static void *copy_state(run *r, void *saved)
{
    clv_named *list = NULL;
    int count = 0;
    size_t at = 0;
    char *memory = saved ? saved : malloc((size_t)1 << 20);
    CHECK_OK(clv_training_state(clv_gpt_params(r->gpt), clv_trainer_optimizer(r->trainer), &list,
                                &count));
    CHECK_INT(count, 3 * clv_params_count(clv_gpt_params(r->gpt)));
    for (int i = 0; i < count; i++) {
        clv_block b = clv_matrix_block(list[i].matrix);
        size_t bytes = (size_t)(b.m * b.n) * clv_dtype_size(clv_matrix_spec(list[i].matrix).dtype);
        if (saved)
            memcpy(b.data, memory + at, bytes);
        else
            memcpy(memory + at, b.data, bytes);
        at += bytes;
    }
    CHECK(at < (size_t)1 << 20);
    free(list);
    return memory;
}

static void resume_on_grid(clv_grid *grid, const void *arg)
{
    clv_gpt_config config = config_of(CLV_F32);
    (void)arg;
    enum { BEFORE = 2, ALL = 4 };
    double expected[ALL];
    run r;
    if (!run_begin(&r, grid, &config, SEQUENCES, &training)) return;
    for (int s = 0; s < BEFORE; s++) expected[s] = run_step(&r);
    void *saved = copy_state(&r, NULL);
    clv_train_position position = clv_trainer_position(r.trainer);
    CHECK_INT(position.step, BEFORE);
    CHECK_INT(position.sample, BEFORE * SEQUENCES);
    CHECK_INT(position.seed, training.seed);
    for (int s = BEFORE; s < ALL; s++) expected[s] = run_step(&r);
    run_end(&r);

    clv_train_config other = training;
    other.seed = 1;
    if (!run_begin(&r, grid, &config, SEQUENCES, &other)) return;
    copy_state(&r, saved);
    clv_trainer_seek(r.trainer, position);
    for (int s = BEFORE; s < ALL; s++) CHECK(run_step(&r) == expected[s]);
    run_end(&r);
    free(saved);
}

static void resume(void)
{
    check_on_grids(resume_on_grid, NULL);
}

/* ---- The order of samples --------------------------------------------------------- */

enum { WINDOWS = (TEXT - 1) / CONTEXT, PASSES = 3 };

/* The windows that sequences at a time go through, from a sample on. */
static void read_order(uint64_t sample, int64_t sequences, text *seen)
{
    clv_grid *self = check_self_grid();
    clv_gpt_config config = {
        .layers = 1, .width = 2, .heads = 1, .context = CONTEXT, .vocabulary = VOCABULARY};
    run r;
    if (run_begin(&r, self, &config, sequences, &training)) {
        clv_trainer_seek(r.trainer, (clv_train_position){.sample = sample, .seed = training.seed});
        while (clv_trainer_position(r.trainer).sample < PASSES * WINDOWS) run_step(&r);
    }
    *seen = r.text;
    run_end(&r);
    clv_grid_destroy(&self);
}

/* Every window once a pass, in another order each; the same whatever the batch, and from anywhere.
 */
static void order(void)
{
    text all, part;
    if (check_rank() > 0) return;
    read_order(0, 1, &all);
    CHECK_INT(all.windows, PASSES * WINDOWS);
    for (int pass = 0; pass < PASSES; pass++) {
        const int64_t *starts = all.starts + pass * WINDOWS;
        int seen[WINDOWS] = {0};
        for (int w = 0; w < WINDOWS; w++) seen[starts[w] / CONTEXT]++;
        for (int w = 0; w < WINDOWS; w++) CHECK_INT(seen[w], 1);
        CHECK(pass == 0 || memcmp(starts, all.starts, WINDOWS * sizeof *starts) != 0);
    }
    for (int64_t sequences = 1; sequences <= 64; sequences = 3 * sequences + 1)
        for (int from = 0; from < PASSES * WINDOWS; from += 11) {
            int count = PASSES * WINDOWS - from;
            read_order((uint64_t)from, sequences, &part);
            CHECK(part.windows >= count);
            CHECK(memcmp(part.starts, all.starts + from, (size_t)count * sizeof *all.starts) == 0);
        }
}

/* ---- Evaluation -------------------------------------------------------------------- */

/* Reports of progress; on the same process as the call. */
typedef struct {
    int calls;
    int64_t done, all;
} steps_seen;
static void see(void *context, int64_t done, int64_t all)
{
    steps_seen *seen = context;
    CHECK(done > seen->done);
    *seen = (steps_seen){seen->calls + 1, done, all};
}

/* Window by window, on one process. */
static double evaluate_alone(const clv_gpt_config *config)
{
    clv_grid *self = check_self_grid();
    double sum = 0;
    run r;
    if (run_begin(&r, self, config, 1, &training)) {
        int32_t *ids = clv_matrix_block(clv_gpt_ids(r.gpt)).data;
        int32_t *targets = clv_matrix_block(clv_gpt_targets(r.gpt)).data;
        for (int64_t w = 0; w < WINDOWS; w++) {
            double loss = NAN;
            text_read(&r.text, w * CONTEXT, CONTEXT, ids);
            text_read(&r.text, w * CONTEXT + 1, CONTEXT, targets);
            CHECK_OK(clv_gpt_forward(r.gpt, &loss));
            sum += loss;
        }
    }
    run_end(&r);
    clv_grid_destroy(&self);
    return sum / WINDOWS;
}

static void evaluate_on_grid(clv_grid *grid, const void *arg)
{
    clv_gpt_config config = config_of(CLV_F64);
    run r;
    double loss = NAN;
    int64_t tokens = 0;
    steps_seen seen = {0};
    for (int64_t sequences = 7; sequences <= 64; sequences += 57) {
        if (!run_begin(&r, grid, &config, sequences, &training)) return;
        seen = (steps_seen){0};
        CHECK_OK(clv_gpt_evaluate(r.gpt, &r.source, see, &seen, &loss, &tokens));
        CHECK_NEAR(loss, *(const double *)arg, 1e-12);
        CHECK_INT(tokens, WINDOWS * CONTEXT);
        CHECK_INT(seen.calls, (WINDOWS + sequences - 1) / sequences);
        CHECK(seen.done == seen.all && seen.all > 0);

        clv_source tiny = r.source;
        tiny.size = CONTEXT;
        CHECK_STATUS(clv_gpt_evaluate(r.gpt, &tiny, NULL, NULL, &loss, &tokens), CLV_ESHAPE);
        run_end(&r);
    }
}

static void evaluate(void)
{
    clv_gpt_config config = config_of(CLV_F64);
    double expected = NAN;
    if (check_rank() == 0) expected = evaluate_alone(&config);
    tell(&expected, sizeof expected);
    check_on_grids(evaluate_on_grid, &expected);
}

/* ---- Sampling ------------------------------------------------------------------------ */

enum { ROW = 2 * CONTEXT + 5, DRAWS = 2000, FEW = 25 };

/* After a forward on ids that depend on the row only. */
static bool sampling_begin(run *r, clv_grid *grid)
{
    clv_gpt_config config = config_of(CLV_F64);
    if (!run_begin(r, grid, &config, SEQUENCES, &training)) return false;
    clv_params *params = clv_gpt_params(r->gpt);
    CHECK_OK(clv_matrix_fill_normal(clv_params_find(params, "head.weight")->value, 3, 1, 0, 0.3));
    clv_block ids = clv_matrix_block(clv_gpt_ids(r->gpt));
    for (int64_t i = 0; i < ids.m * ids.n; i++)
        ((int32_t *)ids.data)[i] = (int32_t)((ids.row0 + i) * 5 % VOCABULARY);
    return CHECK_OK(clv_gpt_forward(r->gpt, NULL));
}

static void count_draws(clv_gpt *gpt, double temperature, int top_k, int draws, double counts[])
{
    memset(counts, 0, VOCABULARY * sizeof *counts);
    for (int i = 0; i < draws; i++) {
        int32_t id = -1, again = -2;
        CHECK_OK(clv_gpt_sample(gpt, ROW, temperature, top_k, 11, (uint64_t)i, &id));
        if (CHECK(id >= 0 && id < VOCABULARY)) counts[id]++;
        if (i > 3) continue;
        CHECK_OK(clv_gpt_sample(gpt, ROW, temperature, top_k, 11, (uint64_t)i, &again));
        CHECK_INT(again, id);
    }
}

/* What is drawn in a few ways. */
typedef struct {
    double likeliest[VOCABULARY], two[VOCABULARY], hot[VOCABULARY];
} sampled;

static void sample_all(clv_gpt *gpt, sampled *s)
{
    count_draws(gpt, 0, 0, 3, s->likeliest);
    count_draws(gpt, 1.5, 2, FEW, s->two);
    count_draws(gpt, 2, 0, FEW, s->hot);
}

static void sample_on_grid(clv_grid *grid, const void *arg)
{
    const sampled *expected = arg;
    sampled found;
    run r;
    if (!sampling_begin(&r, grid)) return;
    sample_all(r.gpt, &found);
    CHECK(memcmp(&found, expected, sizeof found) == 0);
    int32_t id;
    CHECK_STATUS(clv_gpt_sample(r.gpt, SEQUENCES * CONTEXT, 1, 0, 0, 0, &id), CLV_EARG);
    CHECK_STATUS(clv_gpt_sample(r.gpt, -1, 1, 0, 0, 0, &id), CLV_EARG);
    CHECK_STATUS(clv_gpt_sample(r.gpt, ROW, -1, 0, 0, 0, &id), CLV_EARG);
    CHECK_STATUS(clv_gpt_sample(r.gpt, ROW, NAN, 0, 0, 0, &id), CLV_EARG);
    run_end(&r);
}

/* Many draws on one process against the softmax of its logits: each within five deviations. */
static void check_frequencies(clv_gpt *gpt, const double *x, double temperature)
{
    double sum = 0, counts[VOCABULARY];
    count_draws(gpt, temperature, 0, DRAWS, counts);
    for (int v = 0; v < VOCABULARY; v++) sum += exp(x[v] / temperature);
    for (int v = 0; v < VOCABULARY; v++) {
        double p = exp(x[v] / temperature) / sum;
        CHECK(fabs(counts[v] - DRAWS * p) < 5 * sqrt(DRAWS * p * (1 - p)) + 1);
    }
}

static void check_few(const double *x, const sampled *s)
{
    int best = 0, second, kept = 0;
    for (int v = 0; v < VOCABULARY; v++)
        if (x[v] > x[best]) best = v;
    second = best == 0;
    for (int v = 0; v < VOCABULARY; v++)
        if (v != best && x[v] > x[second]) second = v;
    for (int v = 0; v < VOCABULARY; v++) kept += s->two[v] > 0;
    CHECK_NEAR(s->likeliest[best], 3, 0);
    CHECK_INT(kept, 2);
    CHECK(s->two[best] > 0 && s->two[second] > 0);
}

static void sample(void)
{
    sampled one = {0};
    if (check_rank() == 0) {
        clv_grid *self = check_self_grid();
        run r;
        if (sampling_begin(&r, self)) {
            sample_all(r.gpt, &one);
            const double *logits = clv_matrix_block(clv_gpt_logits(r.gpt)).data;
            check_few(logits + ROW * VOCABULARY, &one);
            check_frequencies(r.gpt, logits + ROW * VOCABULARY, 1);
            check_frequencies(r.gpt, logits + ROW * VOCABULARY, 0.4);
        }
        run_end(&r);
        clv_grid_destroy(&self);
    }
    tell(&one, sizeof one);
    check_on_grids(sample_on_grid, &one);
}

/* ---- What goes wrong ------------------------------------------------------------------ */

/* One process cannot read, or reads nonsense: every process gets the same status. */
static void refused_on_grid(clv_grid *grid, const void *arg)
{
    clv_gpt_config config = config_of(CLV_F32);
    clv_train_config train = training;
    bool last = check_rank() == check_size() - 1;
    int64_t tokens;
    double loss;
    run r;
    (void)arg;
    if (!run_begin(&r, grid, &config, 8, &training)) return;
    run_step(&r);
    r.text.fail_at = last ? r.text.reads + 1 : 0;
    CHECK_STATUS(clv_trainer_step(r.trainer, NULL), CLV_EIO);
    CHECK_INT(clv_trainer_position(r.trainer).step, 1);
    r.text.fail_at = last ? r.text.reads + 1 : 0;
    CHECK_STATUS(clv_gpt_evaluate(r.gpt, &r.source, NULL, NULL, &loss, &tokens), CLV_EIO);
    r.text.last_token = VOCABULARY;
    CHECK_STATUS(clv_gpt_evaluate(r.gpt, &r.source, NULL, NULL, &loss, &tokens), CLV_EARG);
    CHECK(strstr(clv_last_error(), "vocabulary") != NULL);
    r.text.last_token = 0;
    run_step(&r);
    run_end(&r);

    clv_gpt *gpt = NULL;
    clv_trainer *trainer = NULL;
    CHECK_OK(clv_gpt_create(grid, &config, 1, &gpt));
    clv_source tiny = r.source;
    tiny.size = CONTEXT;
    CHECK_STATUS(clv_trainer_create(gpt, &tiny, &training, &trainer), CLV_ESHAPE);
    train.schedule.warmup = last ? -1 : 0;
    CHECK_STATUS(clv_trainer_create(gpt, &r.source, &train, &trainer), CLV_EARG);
    train = training;
    train.seed = last;
    if (check_size() > 1)
        CHECK_STATUS(clv_trainer_create(gpt, &r.source, &train, &trainer), CLV_EMISMATCH);
    CHECK(trainer == NULL);
    clv_gpt_destroy(&gpt);
}

static void refused(void)
{
    check_on_grids(refused_on_grid, NULL);
}

/* A rate that overflows within a few steps: an error, the same on every rank, and no update with a
 * loss or a gradient that is not a number. */
static void diverges(void)
{
    clv_grid *grid = NULL;
    clv_gpt_config config = config_of(CLV_F32);
    clv_train_config wild = {.optimizer = {.kind = CLV_SGD}, .schedule = {.peak = 1e30}, .seed = 1};
    run r;
    clv_status status = CLV_OK;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, "", &grid));
    if (run_begin(&r, grid, &config, SEQUENCES, &wild)) {
        for (int i = 0; i < STEPS && status == CLV_OK; i++)
            status = clv_trainer_step(r.trainer, NULL);
        CHECK_INT(status, CLV_ENUMERIC);
        int32_t id = 0;
        CHECK_OK(clv_gpt_forward(r.gpt, NULL));
        CHECK_STATUS(clv_gpt_sample(r.gpt, 0, 1, 0, 1, 1, &id), CLV_ENUMERIC);
    }
    run_end(&r);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"losses in f32", losses_f32},
                                  {"losses in f64", losses_f64},
                                  {"losses with SGD, SwiGLU and RMS norm", losses_sgd},
                                  {"resume", resume},
                                  {"order of samples", order},
                                  {"evaluate", evaluate},
                                  {"sample", sample},
                                  {"refused", refused},
                                  {"diverges", diverges},
                                  {0}};
