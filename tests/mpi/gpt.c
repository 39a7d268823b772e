/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gpt.c: loss, logits and all gradients of a small GPT, by central differences and against
 * the same model on one process.
 *
 * RANKS: 1 2 3 4 5 6 7 8
 */
#include <clvi_layers.h>
#include <grids.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 3, CONTEXT = 5, VOCABULARY = 11 };

enum { GPT, GATED, GPT2, LLAMA, LLAMA_TIED, MODELS };
static const clv_gpt_config small[MODELS] = {
    [GPT] = {.layers = 2,
             .width = 12,
             .heads = 3,
             .context = CONTEXT,
             .vocabulary = VOCABULARY,
             .hidden = 10,
             .mlp = CLV_MLP_GELU,
             .norm = CLV_LAYER_NORM,
             .dtype = CLV_F64},
    [GATED] = {.layers = 2,
               .width = 12,
               .heads = 3,
               .context = CONTEXT,
               .vocabulary = VOCABULARY,
               .hidden = 7,
               .mlp = CLV_MLP_SWIGLU,
               .norm = CLV_RMS_NORM,
               .dtype = CLV_F64},
    [GPT2] = {.layers = 2,
              .width = 12,
              .heads = 3,
              .context = CONTEXT,
              .vocabulary = VOCABULARY,
              .hidden = 10,
              .mlp = CLV_MLP_GELU,
              .norm = CLV_LAYER_NORM,
              .norm_eps = 1e-3,
              .tied = true,
              .dtype = CLV_F64},
    [LLAMA] = {.layers = 2,
               .width = 24,
               .heads = 6,
               .kv_heads = 3,
               .context = CONTEXT,
               .vocabulary = VOCABULARY,
               .hidden = 7,
               .mlp = CLV_MLP_SWIGLU,
               .norm = CLV_RMS_NORM,
               .position = CLV_POSITION_ROTARY,
               .rotary_base = 100,
               .no_bias = true,
               .dtype = CLV_F64},
    [LLAMA_TIED] = {.layers = 1,
                    .width = 12,
                    .heads = 6,
                    .kv_heads = 2,
                    .context = CONTEXT,
                    .vocabulary = VOCABULARY,
                    .mlp = CLV_MLP_GELU,
                    .norm = CLV_RMS_NORM,
                    .norm_eps = 1e-2,
                    .position = CLV_POSITION_ROTARY,
                    .no_bias = true,
                    .tied = true,
                    .dtype = CLV_F64},
};

/* Tokens by their global row; one target in five is left out. */
static void fill_tokens(clv_gpt *gpt)
{
    clv_matrix *both[] = {clv_gpt_ids(gpt), clv_gpt_targets(gpt)};
    for (int which = 0; which < 2; which++) {
        clv_block block = clv_matrix_block(both[which]);
        for (int64_t i = 0; i < block.m * block.n; i++) {
            int64_t row = block.row0 + i;
            int32_t token = (int32_t)((row * row + 3 * row + which) % VOCABULARY);
            ((int32_t *)block.data)[i] = which == 1 && row % 5 == 2 ? -1 : token;
        }
    }
}

/* Larger values than a model starts from: every gradient counts. */
static void fill_params(clv_params *params)
{
    for (int i = 0; i < clv_params_count(params); i++) {
        clv_param *param = clv_params_at(params, i);
        CHECK_OK(clv_matrix_fill_normal(param->value, 5, (uint64_t)i, param->mean, 0.4));
    }
}

static clv_gpt *make(clv_grid *grid, const clv_gpt_config *config)
{
    clv_gpt *gpt = NULL;
    if (!CHECK_OK(clv_gpt_create(grid, config, SEQUENCES, &gpt))) return NULL;
    fill_tokens(gpt);
    fill_params(clv_gpt_params(gpt));
    return gpt;
}

static double loss_of(clv_gpt *gpt)
{
    double loss = NAN;
    CHECK_OK(clv_gpt_forward(gpt, &loss));
    return loss;
}

/* Adds h to global element (i, j), on whoever holds it. */
static void nudge(clv_matrix *matrix, int64_t i, int64_t j, double h)
{
    clv_block b = clv_matrix_block(matrix);
    if (i < b.row0 || i >= b.row0 + b.m || j < b.col0 || j >= b.col0 + b.n) return;
    ((double *)b.data)[(i - b.row0) * b.ld + j - b.col0] += h;
}

static void check_difference(clv_gpt *gpt, clv_param *param, double gradient, int64_t i, int64_t j)
{
    const double h = 1e-5;
    nudge(param->value, i, j, h);
    double above = loss_of(gpt);
    nudge(param->value, i, j, -2 * h);
    double below = loss_of(gpt);
    nudge(param->value, i, j, h);
    if (!CHECK_NEAR(gradient, (above - below) / (2 * h), 2e-8))
        fprintf(stderr, "  %s (%lld, %lld)\n", param->name, (long long)i, (long long)j);
}

/* One process: every element of every parameter. */
static void all_differences(void)
{
    if (check_size() > 1) return;
    clv_grid *self = check_self_grid();
    for (int c = 0; c < MODELS; c++) {
        clv_gpt *gpt = make(self, &small[c]);
        clv_params *params = clv_gpt_params(gpt);
        loss_of(gpt);
        CHECK_OK(clv_gpt_backward(gpt));
        for (int p = 0; p < clv_params_count(params); p++) {
            clv_param *param = clv_params_at(params, p);
            clv_block g = clv_matrix_block(param->grad);
            for (int64_t i = 0; i < g.m; i++)
                for (int64_t j = 0; j < g.n; j++)
                    check_difference(gpt, param, ((double *)g.data)[i * g.ld + j], i, j);
        }
        clv_gpt_destroy(&gpt);
    }
    clv_grid_destroy(&self);
}

/* On a grid: everything against one process, and a few elements by differences. */
static void against_one(clv_grid *grid, const void *arg)
{
    const clv_gpt_config *config = arg;
    clv_grid *self = check_self_grid();
    clv_gpt *gpt = make(grid, config), *one = make(self, config);
    if (!gpt || !one) return;
    clv_params *params = clv_gpt_params(gpt), *whole = clv_gpt_params(one);
    CHECK_NEAR(loss_of(gpt), loss_of(one), 1e-13);
    check_same_block(clv_gpt_logits(gpt), clv_gpt_logits(one), 1e-12);
    CHECK_OK(clv_gpt_backward(gpt));
    CHECK_OK(clv_gpt_backward(one));
    CHECK_INT(clv_params_count(params), clv_params_count(whole));
    CHECK_INT(clv_params_elements(params), clv_params_elements(whole));
    uint64_t state = 9;
    for (int p = 0; p < clv_params_count(params); p++) {
        clv_param *mine = clv_params_at(params, p), *full = clv_params_at(whole, p);
        CHECK_STRING(mine->name, full->name);
        check_same_block(mine->grad, full->grad, 1e-12);
        if (p % 4 != 1) continue;
        clv_block g = clv_matrix_block(full->grad);
        int64_t i = check_random_below(&state, g.m), j = check_random_below(&state, g.n);
        check_difference(gpt, mine, ((double *)g.data)[i * g.ld + j], i, j);
    }
    /* A second backward adds the same again. */
    loss_of(gpt);
    CHECK_OK(clv_gpt_backward(gpt));
    for (int p = 0; p < clv_params_count(params); p++) {
        clv_param *full = clv_params_at(whole, p);
        clv_block g = clv_matrix_block(full->grad);
        for (int64_t i = 0; i < g.m * g.n; i++) ((double *)g.data)[i] *= 2;
        check_same_block(clv_params_at(params, p)->grad, full->grad, 1e-12);
    }
    clv_gpt_destroy(&gpt);
    clv_gpt_destroy(&one);
    clv_grid_destroy(&self);
}

static void gelu_layer_norm(void)
{
    check_on_grids(against_one, &small[GPT]);
}
static void swiglu_rms_norm(void)
{
    check_on_grids(against_one, &small[GATED]);
}
static void tied(void)
{
    check_on_grids(against_one, &small[GPT2]);
}
static void llama(void)
{
    check_on_grids(against_one, &small[LLAMA]);
}
static void llama_tied(void)
{
    check_on_grids(against_one, &small[LLAMA_TIED]);
}

/* A gradient that comes through the head alone, or through the embedding alone, is that of the same
 * model with a head of its own; the tied one is their sum. */
static void tied_adds_both(void)
{
    if (check_size() > 1) return;
    clv_grid *self = check_self_grid();
    clv_gpt_config apart = small[LLAMA_TIED];
    apart.tied = false;
    clv_gpt *together = make(self, &small[LLAMA_TIED]), *two = make(self, &apart);
    clv_params *params = clv_gpt_params(together), *more = clv_gpt_params(two);
    clv_param *token = clv_params_find(more, "token.weight");
    clv_param *head = clv_params_find(more, "head.weight");
    CHECK(clv_params_find(params, "head.weight") == NULL);
    CHECK_INT(clv_params_count(params) + 1, clv_params_count(more));
    CHECK_OK(clv_move(token->value, head->value));
    CHECK_NEAR(loss_of(together), loss_of(two), 1e-15);
    CHECK_OK(clv_gpt_backward(together));
    CHECK_OK(clv_gpt_backward(two));
    clvi_add(head->grad, token->grad);
    check_same_block(clv_params_find(params, "token.weight")->grad, token->grad, 1e-14);
    clv_gpt_destroy(&together);
    clv_gpt_destroy(&two);
    clv_grid_destroy(&self);
}

/* The names of a Llama's parameters with the columns of q, k and v. */
static void llama_names(void)
{
    static const char *const expected[] = {"token.weight",
                                           "block.0.norm1.gain",
                                           "block.0.attention.qkv.weight",
                                           "block.0.attention.out.weight",
                                           "block.0.norm2.gain",
                                           "block.0.mlp.up.weight",
                                           "block.0.mlp.gate.weight",
                                           "block.0.mlp.down.weight",
                                           "norm.gain",
                                           "head.weight"};
    clv_grid *grid = NULL;
    clv_gpt *gpt = NULL;
    clv_gpt_config config = small[LLAMA];
    config.layers = 1;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_gpt_create(grid, &config, 1, &gpt));
    clv_params *params = clv_gpt_params(gpt);
    CHECK_INT(clv_params_count(params), sizeof expected / sizeof *expected);
    for (int p = 0; p < clv_params_count(params); p++)
        CHECK_STRING(clv_params_at(params, p)->name, expected[p]);
    clv_spec qkv = clv_matrix_spec(clv_params_find(params, expected[2])->value);
    CHECK_INT(qkv.n, (6 + 2 * 3) * 4);
    CHECK_INT(qkv.n_unit, (2 + 2) * 4);
    clv_gpt_destroy(&gpt);
    clv_grid_destroy(&grid);
}

static void names(void)
{
    static const char *const expected[] = {"token.weight",
                                           "position.weight",
                                           "block.0.norm1.gain",
                                           "block.0.norm1.bias",
                                           "block.0.attention.qkv.weight",
                                           "block.0.attention.qkv.bias",
                                           "block.0.attention.out.weight",
                                           "block.0.attention.out.bias",
                                           "block.0.norm2.gain",
                                           "block.0.norm2.bias",
                                           "block.0.mlp.up.weight",
                                           "block.0.mlp.up.bias",
                                           "block.0.mlp.down.weight",
                                           "block.0.mlp.down.bias",
                                           "norm.gain",
                                           "norm.bias",
                                           "head.weight"};
    clv_grid *grid = NULL;
    clv_gpt *gpt = NULL;
    clv_gpt_config config = small[0];
    config.layers = 1;
    config.hidden = 0;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_gpt_create(grid, &config, 1, &gpt));
    clv_params *params = clv_gpt_params(gpt);
    CHECK_INT(clv_params_count(params), sizeof expected / sizeof *expected);
    for (int p = 0; p < clv_params_count(params); p++)
        CHECK_STRING(clv_params_at(params, p)->name, expected[p]);
    CHECK_INT(clv_gpt_config_of(gpt).hidden, 4 * config.width);
    CHECK_INT(clv_gpt_config_of(gpt).kv_heads, config.heads);
    CHECK_NEAR(clv_gpt_config_of(gpt).norm_eps, 1e-5, 0);
    CHECK_NEAR(clv_gpt_config_of(gpt).rotary_base, 10000, 0);
    CHECK_INT(clv_matrix_spec(clv_params_find(params, "head.weight")->value).m, VOCABULARY);
    CHECK(!clv_params_find(params, "norm.gain")->decay);
    CHECK(clv_params_find(params, "block.0.mlp.up.weight")->decay);
    CHECK_NEAR(clv_params_find(params, "block.0.mlp.down.weight")->std, 0.02 / sqrt(2), 1e-15);

    /* Without loss there is nothing to go back from. */
    CHECK_OK(clv_gpt_forward(gpt, NULL));
    CHECK_STATUS(clv_gpt_backward(gpt), CLV_EARG);
    clv_gpt_destroy(&gpt);
    clv_gpt_destroy(&gpt);
    clv_grid_destroy(&grid);
}

/* The last rank's configuration alone is changed: every rank gets the same refusal. */
static void refuse(clv_grid *grid, clv_gpt_config odd, int64_t sequences, clv_status expected,
                   const char *says)
{
    clv_gpt *gpt = NULL;
    bool last = check_rank() == check_size() - 1;
    CHECK_STATUS(clv_gpt_create(grid, last ? &odd : &small[0], last ? sequences : 1, &gpt),
                 expected);
    if (!CHECK(strstr(clv_last_error(), says) != NULL))
        fprintf(stderr, "  expected \"%s\" in: %s\n", says, clv_last_error());
    CHECK(gpt == NULL);
}

static void refused(void)
{
    clv_grid *grid = NULL;
    clv_gpt_config odd = small[0];
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    odd.heads = 5;
    refuse(grid, odd, 1, CLV_ESHAPE, "heads");
    odd = small[0];
    odd.layers = 0;
    refuse(grid, odd, 1, CLV_EARG, "layers");
    odd = small[0];
    odd.dtype = CLV_I32;
    refuse(grid, odd, 1, CLV_EDTYPE, "dtype");
    refuse(grid, small[0], 0, CLV_EARG, "sequence");
    odd = small[0];
    odd.kv_heads = 2;
    refuse(grid, odd, 1, CLV_ESHAPE, "kv_heads");
    odd = small[0];
    odd.norm_eps = -1;
    refuse(grid, odd, 1, CLV_EARG, "norm_eps");
    odd = small[0];
    odd.heads = 4;
    odd.position = CLV_POSITION_ROTARY;
    refuse(grid, odd, 1, CLV_ESHAPE, "position");
    odd = small[0];
    odd.vocabulary++;
    if (check_size() > 1) refuse(grid, odd, 1, CLV_EMISMATCH, "vocabulary");
    odd = small[0];
    odd.tied = true;
    if (check_size() > 1) refuse(grid, odd, 1, CLV_EMISMATCH, "tied");
    odd = small[0];
    odd.norm_eps = 1e-4;
    if (check_size() > 1) refuse(grid, odd, 1, CLV_EMISMATCH, "norm_eps");
    clv_grid_destroy(&grid);

    clv_gpt *gpt = NULL;
    CHECK_OK(clv_grid_create(MPI_COMM_WORLD, 1, (clv_axis[]){{"pipe", check_size()}}, &grid));
    CHECK(clv_gpt_create(grid, &small[0], 1, &gpt) != CLV_OK);
    CHECK(strstr(clv_last_error(), "pipe") != NULL);
    clv_grid_destroy(&grid);
}

/* The nth allocation fails on the last rank alone: the same status everywhere, nothing lost. */
static void out_of_memory_of(clv_grid *grid, const clv_gpt_config *config)
{
    int64_t live = clvi_alloc_live();
    clv_status status = CLV_ENOMEM;
    for (int64_t nth = 1, step = 1; status != CLV_OK && nth < 100000; nth += step) {
        clv_gpt *gpt = NULL;
        if (check_rank() == check_size() - 1) clvi_alloc_fail_at(nth);
        status = clv_gpt_create(grid, config, 2, &gpt);
        clvi_alloc_fail_at(0);
        double found[2] = {status, -(double)status};
        CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 2, found));
        CHECK_INT((int)found[0], -(int)found[1]);
        if (status != CLV_OK) CHECK_INT(status, CLV_ENOMEM);
        CHECK((status == CLV_OK) == (gpt != NULL));
        clv_gpt_destroy(&gpt);
        if (!CHECK_INT(clvi_alloc_live(), live))
            fprintf(stderr, "  after allocation %lld\n", (long long)nth);
        if (nth > 60) step = 7;
    }
    CHECK_INT(status, CLV_OK);
}

static void out_of_memory(void)
{
    if (check_size() > 3) return;
    clv_grid *grid = NULL;
    clv_gpt_config config = small[GPT];
    config.layers = 1;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    out_of_memory_of(grid, &config);
    out_of_memory_of(grid, &small[LLAMA_TIED]);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {{"central differences", all_differences},
                                  {"GELU and layer norm", gelu_layer_norm},
                                  {"SwiGLU and RMS norm", swiglu_rms_norm},
                                  {"tied head", tied},
                                  {"Llama", llama},
                                  {"Llama, tied head", llama_tied},
                                  {"tied adds both", tied_adds_both},
                                  {"names", names},
                                  {"names of a Llama", llama_names},
                                  {"refused", refused},
                                  {"out of memory", out_of_memory},
                                  {0}};
