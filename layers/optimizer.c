/* SPDX-License-Identifier: BSD-3-Clause
 *
 * optimizer.c: SGD with momentum and AdamW over sharded parameters.
 *
 * An update is elementwise and the state lies as the parameters lie, so every process updates
 * its own blocks and nothing moves; processes that hold copies do the same arithmetic on the
 * same bits. Only the norm that clips the gradients is a sum over the grid.
 */
#include <clvi_layers.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STATES = 2 };

/* What one update needs besides the parameter. */
typedef struct {
    const clv_optimizer_config *config;
    double lr, decay, grad_scale;
    int64_t step;
} update_args;

/* The kinds: which matrices a parameter needs as state, and the update of a block of n elements. */
typedef struct {
    int states;
    const char *prefix[MOST_STATES];
    void (*update)(const update_args *args, clv_dtype dtype, int64_t n, void *g,
                   void *state[MOST_STATES], void *w);
} rule;

struct clv_optimizer {
    clv_params *params;
    clv_optimizer_config config;
    const rule *rule;
    clv_named *states; /* params x rule->states; names are owned */
};

static void update_adamw(const update_args *args, clv_dtype dtype, int64_t n, void *g,
                         void *state[MOST_STATES], void *w)
{
    clvi_adamw_args adamw = {.lr = args->lr,
                             .beta1 = args->config->beta1,
                             .beta2 = args->config->beta2,
                             .eps = args->config->eps,
                             .decay = args->decay,
                             .grad_scale = args->grad_scale,
                             .step = args->step};
    clvi_adamw(dtype, n, &adamw, g, state[0], state[1], w);
}

/* Clipped gradients stay clipped: the kernel takes them as they are. */
static void update_sgd(const update_args *args, clv_dtype dtype, int64_t n, void *g,
                       void *state[MOST_STATES], void *w)
{
    if (args->grad_scale != 1) clvi_axpby(dtype, n, args->grad_scale, g, 0, g);
    clvi_sgd(dtype, n, args->lr, args->config->momentum, args->decay, g, state[0], w);
}

static const rule rules[] = {
    [CLV_ADAMW] = {2, {"adamw.m", "adamw.v"}, update_adamw},
    [CLV_SGD] = {1, {"sgd.v"}, update_sgd},
};

static clv_status check_range(const char *name, double value, double low, double high)
{
    if (value >= low && value < high) return CLV_OK;
    return clvi_fail(CLV_EARG, "optimizer: expected %s in [%g, %g), found %g", name, low, high,
                     value);
}

static clv_status check_config(const clv_optimizer_config *config)
{
    clv_status status;
    CLVI_CHECK((int)config->kind >= 0 && config->kind <= CLV_SGD, CLV_EARG,
               "optimizer: expected kind %d (AdamW) or %d (SGD), found %d", CLV_ADAMW, CLV_SGD,
               (int)config->kind);
    CLVI_TRY(check_range("momentum", config->momentum, 0, 1));
    CLVI_TRY(check_range("beta1", config->beta1, 0, 1));
    CLVI_TRY(check_range("beta2", config->beta2, 0, 1));
    CLVI_TRY(check_range("eps", config->eps, 0, HUGE_VAL));
    CLVI_TRY(check_range("weight_decay", config->weight_decay, 0, HUGE_VAL));
    CLVI_TRY(check_range("clip", config->clip, 0, HUGE_VAL));
done:
    return status;
}

static clv_optimizer_config with_defaults(clv_optimizer_config config)
{
    if (config.beta1 == 0) config.beta1 = 0.9;
    if (config.beta2 == 0) config.beta2 = 0.95;
    if (config.eps == 0) config.eps = 1e-8;
    return config;
}

/* "PREFIX/NAME" in memory of its own. */
static char *state_name(const char *prefix, const char *name)
{
    size_t size = strlen(prefix) + strlen(name) + 2;
    char *text = clvi_alloc(size);
    if (text) snprintf(text, size, "%s/%s", prefix, name);
    return text;
}

/* Everything of a create that can fail on one process alone. Local. */
static clv_status prepare(clv_params *params, const clv_optimizer_config *config,
                          clv_optimizer **optimizer)
{
    clv_status status;
    clv_optimizer *o = *optimizer = NULL;
    CLVI_TRY(check_config(config));
    o = *optimizer = clvi_alloc(sizeof *o);
    CLVI_CHECK(o, CLV_ENOMEM, "optimizer: no memory");
    o->params = params;
    o->config = with_defaults(*config);
    o->rule = &rules[config->kind];

    int count = clv_params_count(params), states = o->rule->states;
    o->states = clvi_alloc((size_t)(count * states) * sizeof *o->states);
    CLVI_CHECK(o->states, CLV_ENOMEM, "optimizer: no memory for %d parameters", count);
    for (int i = 0; i < count * states; i++) {
        clv_param *param = clv_params_at(params, i / states);
        o->states[i].name = state_name(o->rule->prefix[i % states], param->name);
        CLVI_CHECK(o->states[i].name, CLV_ENOMEM, "optimizer: no memory for a name");
    }
done:
    return status;
}

clv_status clv_optimizer_create(clv_params *params, const clv_optimizer_config *config,
                                clv_optimizer **optimizer)
{
    clv_status status;
    clv_grid *grid = clv_params_grid(params);
    clv_optimizer *o;
    double given[] = {config->momentum, config->beta1,        config->beta2,
                      config->eps,      config->weight_decay, config->clip};
    int64_t same[2 + sizeof given / sizeof *given] = {config->kind, clv_params_count(params)};
    memcpy(&same[2], given, sizeof given);
    *optimizer = NULL;
    status = prepare(params, config, &o);
    CLVI_TRY(clvi_grid_same(grid, status,
                            "optimizer kind,number of parameters,momentum,beta1,beta2,eps,"
                            "weight_decay,clip",
                            sizeof same / sizeof *same, same));
    int states = o->rule->states;
    for (int i = 0; i < clv_params_count(params) * states; i++) {
        clv_spec spec = clv_matrix_spec(clv_params_at(params, i / states)->value);
        CLVI_TRY(clv_matrix_create(grid, spec, &o->states[i].matrix));
    }
    *optimizer = o;
done:
    if (status != CLV_OK) clv_optimizer_destroy(&o);
    return status;
}

void clv_optimizer_destroy(clv_optimizer **optimizer)
{
    clv_optimizer *o = *optimizer;
    if (!o) return;
    int count = o->states ? clv_params_count(o->params) * o->rule->states : 0;
    for (int i = 0; i < count; i++) {
        clv_matrix_destroy(&o->states[i].matrix);
        clvi_free((void *)o->states[i].name);
    }
    clvi_free(o->states);
    clvi_free(o);
    *optimizer = NULL;
}

/* A matrix of the library's own is contiguous: its block is one vector. */
static void *vector_of(clv_matrix *matrix, int64_t *n)
{
    clv_block block = clv_matrix_block(matrix);
    assert(block.ld == block.n || block.m <= 1);
    *n = block.m * block.n;
    return block.data;
}

clv_status clv_optimizer_step(clv_optimizer *optimizer, double lr, int64_t step, double *grad_norm)
{
    clv_status status;
    clv_optimizer *o = optimizer;
    double norm = 0;
    CLVI_CHECK(step >= 1, CLV_EARG, "optimizer: steps count from 1, found %lld", (long long)step);
    if (o->config.clip > 0 || grad_norm) CLVI_TRY(clv_params_grad_norm(o->params, &norm));
    if (grad_norm) *grad_norm = norm;
    CLVI_CHECK(isfinite(norm), CLV_ENUMERIC,
               "step %lld: expected finite gradients, found a norm of %g: the parameters stay as "
               "they are",
               (long long)step, norm);

    update_args args = {.config = &o->config, .lr = lr, .grad_scale = 1, .step = step};
    if (o->config.clip > 0 && norm > o->config.clip) args.grad_scale = o->config.clip / norm;
    for (int i = 0; i < clv_params_count(o->params); i++) {
        clv_param *param = clv_params_at(o->params, i);
        void *state[MOST_STATES] = {NULL};
        int64_t n;
        for (int s = 0; s < o->rule->states; s++)
            state[s] = vector_of(o->states[i * o->rule->states + s].matrix, &n);
        void *g = vector_of(param->grad, &n), *w = vector_of(param->value, &n);
        args.decay = param->decay ? o->config.weight_decay : 0;
        o->rule->update(&args, clv_matrix_spec(param->value).dtype, n, g, state, w);
    }
    status = CLV_OK;
done:
    return status;
}

clv_status clv_training_state(const clv_params *params, const clv_optimizer *optimizer,
                              clv_named **list, int *count)
{
    clv_status status = CLV_OK;
    int values = clv_params_count(params);
    int states = optimizer ? clv_params_count(optimizer->params) * optimizer->rule->states : 0;
    clv_named *all = malloc((size_t)(values + states + 1) * sizeof *all);
    CLVI_CHECK(all, CLV_ENOMEM, "training state: no memory for %d entries", values + states);
    for (int i = 0; i < values; i++) {
        const clv_param *param = clv_params_at(params, i);
        all[i] = (clv_named){param->name, param->value};
    }
    if (states) memcpy(&all[values], optimizer->states, (size_t)states * sizeof *all);
    *list = all;
    *count = values + states;
done:
    return status;
}
