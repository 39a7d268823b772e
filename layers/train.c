/* SPDX-License-Identifier: BSD-3-Clause
 *
 * train.c: one step after the other.
 *
 * The text is cut into windows of context tokens (what is left over at its end is not trained on).
 * Which of them a step sees follows from the seed and from the global index of each of its
 * sequences, never from the grid: a run goes on anywhere from its position and its matrices.
 */
#include <clvi_layers.h>
#include <math.h>
#include <string.h>

struct clv_trainer {
    clv_gpt *gpt;
    clv_source source;
    clv_schedule schedule;
    clv_optimizer *optimizer;
    clv_train_position position;
    uint64_t stream; /* of the order of samples; + a pass's number */
    int64_t *starts; /* of the sequences of a batch                  */
};

/* Where in the text sequence `sample` begins. Each pass over the windows has its own order. */
static int64_t start_of(const clv_trainer *t, uint64_t sample)
{
    int64_t context = clv_gpt_config_of(t->gpt).context;
    uint64_t windows = (uint64_t)((t->source.size - 1) / context), pass = sample / windows;
    return context *
           (int64_t)clvi_permute(t->position.seed, t->stream + pass, windows, sample % windows);
}

static clv_status check_schedule(const clv_schedule *s)
{
    if (isfinite(s->peak) && isfinite(s->final) && s->warmup >= 0 && s->steps >= 0) return CLV_OK;
    return clvi_fail(CLV_EARG,
                     "schedule: expected finite rates and steps not below 0, found peak %g, final "
                     "%g, warmup %lld, steps %lld",
                     s->peak, s->final, (long long)s->warmup, (long long)s->steps);
}

/* Everything of a create that can fail on one process alone. Local. */
static clv_status prepare(clv_gpt *gpt, const clv_source *source, const clv_train_config *config,
                          clv_trainer **trainer)
{
    clv_status status;
    clv_trainer *t = *trainer = NULL;
    int64_t context = clv_gpt_config_of(gpt).context;
    CLVI_TRY(check_schedule(&config->schedule));
    CLVI_CHECK(source->size > context, CLV_ESHAPE,
               "trainer: expected a text of more than %lld tokens (the context), found %lld",
               (long long)context, (long long)source->size);
    t = *trainer = clvi_alloc(sizeof *t);
    CLVI_CHECK(t, CLV_ENOMEM, "trainer: no memory");
    *t = (clv_trainer){.gpt = gpt,
                       .source = *source,
                       .schedule = config->schedule,
                       .position = {.seed = config->seed},
                       .stream = clvi_hash_string("sample")};
    t->starts = clvi_alloc((size_t)clv_gpt_sequences(gpt) * sizeof *t->starts);
    CLVI_CHECK(t->starts, CLV_ENOMEM, "trainer: no memory");
done:
    return status;
}

clv_status clv_trainer_create(clv_gpt *gpt, const clv_source *source,
                              const clv_train_config *config, clv_trainer **trainer)
{
    clv_status status;
    clv_params *params = clv_gpt_params(gpt);
    clv_trainer *t;
    const clv_schedule *s = &config->schedule;
    int64_t same[] = {source->size, (int64_t)config->seed, s->warmup, s->steps, 0, 0};
    memcpy(&same[4], &s->peak, sizeof s->peak);
    memcpy(&same[5], &s->final, sizeof s->final);
    *trainer = NULL;
    status = prepare(gpt, source, config, &t);
    CLVI_TRY(clvi_grid_same(clv_params_grid(params), status,
                            "size of the text,seed,warmup,schedule steps,peak rate,final rate",
                            sizeof same / sizeof *same, same));
    CLVI_TRY(clv_optimizer_create(params, &config->optimizer, &t->optimizer));
    CLVI_TRY(clv_params_init(params, config->seed));
    *trainer = t;
done:
    if (status != CLV_OK) clv_trainer_destroy(&t);
    return status;
}

void clv_trainer_destroy(clv_trainer **trainer)
{
    clv_trainer *t = *trainer;
    if (!t) return;
    clv_optimizer_destroy(&t->optimizer);
    clvi_free(t->starts);
    clvi_free(t);
    *trainer = NULL;
}

clv_status clv_trainer_step(clv_trainer *trainer, clv_step_report *report)
{
    clv_status status;
    clv_trainer *t = trainer;
    int64_t sequences = clv_gpt_sequences(t->gpt), step = t->position.step + 1;
    clv_step_report done = {.step = step, .lr = clv_schedule_rate(&t->schedule, step)};
    for (int64_t s = 0; s < sequences; s++)
        t->starts[s] = start_of(t, t->position.sample + (uint64_t)s);

    CLVI_TRY(clvi_batch_load(t->gpt, &t->source, t->starts));
    clv_params_zero_grad(clv_gpt_params(t->gpt));
    CLVI_TRY(clv_gpt_forward(t->gpt, &done.loss));
    CLVI_CHECK(isfinite(done.loss), CLV_ENUMERIC,
               "step %lld: expected a finite loss, found %g: the training has diverged (a lower "
               "learning rate, a longer warm-up or clipping may help)",
               (long long)step, done.loss);
    CLVI_TRY(clv_gpt_backward(t->gpt));
    CLVI_TRY(clv_optimizer_step(t->optimizer, done.lr, step, &done.grad_norm));
    CLVI_TRY(clvi_params_check_finite(clv_gpt_params(t->gpt)));
    t->position.step = step;
    t->position.sample += (uint64_t)sequences;
    if (report) *report = done;
done:
    return status;
}

clv_train_position clv_trainer_position(const clv_trainer *trainer)
{
    return trainer->position;
}

void clv_trainer_seek(clv_trainer *trainer, clv_train_position position)
{
    trainer->position = position;
}

const clv_optimizer *clv_trainer_optimizer(const clv_trainer *trainer)
{
    return trainer->optimizer;
}
