/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model.c: a decoder-only transformer (Vaswani et al. 2017; norms first, as in GPT-2).
 *
 * The model is a chain of layers with matrices between them, all made when it is created:
 *
 *     x[0] = token[ids] + position[0 .. context)    (rotary positions: token[ids])
 *     x[i + 1] = layer[i](x[i])     attention, MLP, attention, MLP, ..., norm, head
 *
 * x[1], x[2], ... are kept for the backward, which goes down the chain with two matrices for
 * dx. All lie as the residual stream does; the last, the logits, as heads do. A head that is tied
 * to the token embedding adds to its gradient first, the embedding then.
 */
#include <clvi_layers.h>
#include <math.h>
#include <stdio.h>

static const double initial_std = 0.02;

struct clv_gpt {
    clv_gpt_config config;
    clv_transformer_shape shape;
    clv_params *params;
    clv_matrix *ids, *targets;
    clv_layer *token, *position; /* position, positions: learned ones only */
    clv_matrix *positions;
    int length;          /* layers of the chain                */
    clv_layer **layer;   /* [length]                           */
    clv_matrix **x;      /* [length + 1]; the last: the logits */
    clv_matrix *dlogits; /* as the logits                      */
    clv_matrix *dx[2];   /* as the residual stream             */
    clv_loss *loss;
    bool has_loss; /* of the last forward */
    double *scratch;
};

/* Row s * context + t is token t of a sequence. */
static void fill_positions(clv_gpt *gpt)
{
    clv_block block = clv_matrix_block(gpt->positions);
    for (int64_t i = 0; i < block.m * block.n; i++)
        ((int32_t *)block.data)[i] = (int32_t)((block.row0 + i) % gpt->config.context);
}

/* Learned positions lie as the token embedding does. Collective. */
static clv_status create_positions(clv_gpt *gpt, clv_embedding_config position)
{
    clv_status status;
    position.w.m = gpt->shape.context;
    CLVI_TRY(clv_embedding_create(gpt->params, "position", &position, &gpt->position));
    CLVI_TRY(clv_matrix_create(gpt->shape.grid, position.x, &gpt->positions));
    fill_positions(gpt);
done:
    return status;
}

/* x[0], from ids. Collective. */
static clv_status create_embeddings(clv_gpt *gpt)
{
    clv_status status;
    clv_transformer_shape *shape = &gpt->shape;
    clv_embedding_config token = {
        .x = clvi_ids_spec(shape),
        .w = {gpt->config.vocabulary, shape->width, 1, 1, shape->dtype, shape->layouts.embedding},
        .y = clvi_residual_spec(shape),
        .std = initial_std};
    CLVI_TRY(clv_embedding_create(gpt->params, "token", &token, &gpt->token));
    if (gpt->config.position == CLV_POSITION_LEARNED) CLVI_TRY(create_positions(gpt, token));
    CLVI_TRY(clv_matrix_create(shape->grid, token.x, &gpt->ids));
    CLVI_TRY(clv_matrix_create(shape->grid, token.y, &gpt->x[0]));
done:
    return status;
}

/* Appends a layer, of which the chain becomes the owner. Collective. */
static clv_status append(clv_gpt *gpt, clv_layer *layer)
{
    gpt->layer[gpt->length++] = layer;
    return clv_matrix_create(gpt->shape.grid, clv_layer_output(layer), &gpt->x[gpt->length]);
}

/* "block.B.PART". */
static const char *part_name(char buffer[64], int64_t block, const char *part)
{
    snprintf(buffer, 64, "block.%lld.%s", (long long)block, part);
    return buffer;
}

static clv_norm_config norm_config(const clv_gpt *gpt)
{
    return (clv_norm_config){.x = clvi_residual_spec(&gpt->shape),
                             .kind = gpt->config.norm,
                             .eps = gpt->config.norm_eps};
}

/* Attention (0) or the MLP (1). Collective. */
static clv_status create_half(clv_gpt *gpt, const char *name, int half, clv_layer **layer)
{
    const clv_gpt_config *c = &gpt->config;
    double out_std = initial_std / sqrt(2.0 * (double)c->layers);
    clv_attention_config attention = {.heads = (int)c->heads,
                                      .kv_heads = (int)c->kv_heads,
                                      .rotary_base =
                                          c->position == CLV_POSITION_ROTARY ? c->rotary_base : 0,
                                      .no_bias = c->no_bias,
                                      .out_std = out_std};
    clv_mlp_config mlp = {
        .kind = c->mlp, .hidden = c->hidden, .no_bias = c->no_bias, .out_std = out_std};
    return half == 0 ? clv_attention_create(gpt->params, name, &gpt->shape, &attention, layer)
                     : clv_mlp_create(gpt->params, name, &gpt->shape, &mlp, layer);
}

/* X + f(norm(X)), with f attention (0) or the MLP (1) of a block. Collective. */
static clv_status append_half(clv_gpt *gpt, int64_t block, int half)
{
    static const char *const parts[2][2] = {{"norm1", "attention"}, {"norm2", "mlp"}};
    clv_status status;
    clv_layer *norm = NULL, *f = NULL, *whole = NULL;
    clv_norm_config config = norm_config(gpt);
    char name[64];
    CLVI_TRY(clv_norm_create(gpt->params, part_name(name, block, parts[half][0]), &config, &norm));
    CLVI_TRY(create_half(gpt, part_name(name, block, parts[half][1]), half, &f));
    CLVI_TRY(clv_residual_create(gpt->params, norm, f, &whole));
    norm = f = NULL;
    CLVI_TRY(append(gpt, whole));
done:
    clv_layer_destroy(&f);
    clv_layer_destroy(&norm);
    return status;
}

/* The last norm, and logits = X Whead^T. Collective. */
static clv_status append_head(clv_gpt *gpt)
{
    clv_status status;
    clv_transformer_shape *shape = &gpt->shape;
    clv_norm_config norm = norm_config(gpt);
    clv_param *token = clv_params_find(gpt->params, "token.weight");
    clv_linear_config head = {.x = norm.x,
                              .w = clv_matrix_spec(token->value),
                              .y = clvi_heads_spec(shape, gpt->config.vocabulary, 1),
                              .w_transposed = true,
                              .no_bias = true,
                              .std = initial_std};
    clv_layer *layer;
    CLVI_TRY(clv_norm_create(gpt->params, "norm", &norm, &layer));
    CLVI_TRY(append(gpt, layer));
    CLVI_TRY(
        clvi_linear_create_on(gpt->params, "head", gpt->config.tied ? token : NULL, &head, &layer));
    CLVI_TRY(append(gpt, layer));
done:
    return status;
}

/* Targets lie with the rows of the logits, so that the loss moves none of them. Collective. */
static clv_status create_loss(clv_gpt *gpt)
{
    clv_status status;
    clv_grid *grid = gpt->shape.grid;
    clv_spec logits = clv_matrix_spec(clv_gpt_logits(gpt)),
             residual = clvi_residual_spec(&gpt->shape);
    clv_spec targets = {logits.m, 1, logits.m_unit, 1, CLV_I32, {.rows = logits.layout.rows}};
    CLVI_TRY(clv_matrix_create(grid, targets, &gpt->targets));
    CLVI_TRY(clv_loss_create(grid, logits, targets, &gpt->loss));
    CLVI_TRY(clv_matrix_create(grid, logits, &gpt->dlogits));
    for (int i = 0; i < 2; i++) CLVI_TRY(clv_matrix_create(grid, residual, &gpt->dx[i]));
done:
    return status;
}

/* Everything of a create that can fail on one process alone. Local. */
static clv_status prepare(clv_grid *grid, const clv_gpt_config *config, int64_t sequences,
                          clv_gpt **gpt)
{
    clv_status status;
    clv_gpt *g = *gpt = NULL;
    CLVI_TRY(clvi_gpt_config_check(config));
    CLVI_CHECK(sequences >= 1, CLV_EARG, "GPT: expected at least 1 sequence, found %lld",
               (long long)sequences);
    g = *gpt = clvi_alloc(sizeof *g);
    CLVI_CHECK(g, CLV_ENOMEM, "GPT: no memory");
    g->config = clvi_gpt_config_settle(*config);
    g->shape = (clv_transformer_shape){.grid = grid,
                                       .sequences = sequences,
                                       .context = config->context,
                                       .width = config->width,
                                       .dtype = config->dtype};
    CLVI_TRY(clv_transformer_layouts_of(grid, &g->shape.layouts));
    CLVI_TRY(clv_params_create(grid, &g->params));
    size_t most = 2 * (size_t)config->layers + 2;
    g->layer = clvi_alloc(most * sizeof *g->layer);
    g->x = clvi_alloc((most + 1) * sizeof *g->x);
    g->scratch = clvi_alloc(2 * (size_t)config->vocabulary * sizeof *g->scratch);
    CLVI_CHECK(g->layer && g->x && g->scratch, CLV_ENOMEM, "GPT: no memory for %lld layers",
               (long long)config->layers);
done:
    return status;
}

clv_status clv_gpt_create(clv_grid *grid, const clv_gpt_config *config, int64_t sequences,
                          clv_gpt **gpt)
{
    clv_gpt *g;
    clv_status status = prepare(grid, config, sequences, &g);
    *gpt = NULL;
    CLVI_TRY(clvi_gpt_config_same(grid, status, config, sequences));
    CLVI_TRY(create_embeddings(g));
    for (int64_t b = 0; b < config->layers; b++)
        for (int half = 0; half < 2; half++) CLVI_TRY(append_half(g, b, half));
    CLVI_TRY(append_head(g));
    CLVI_TRY(create_loss(g));
    *gpt = g;
done:
    if (status != CLV_OK) clv_gpt_destroy(&g);
    return status;
}

void clv_gpt_destroy(clv_gpt **gpt)
{
    clv_gpt *g = *gpt;
    if (!g) return;
    clv_loss_destroy(&g->loss);
    for (int i = 0; i < 2; i++) clv_matrix_destroy(&g->dx[i]);
    clv_matrix_destroy(&g->dlogits);
    for (int i = g->length; i-- > 0;) {
        clv_matrix_destroy(&g->x[i + 1]);
        clv_layer_destroy(&g->layer[i]);
    }
    if (g->x) clv_matrix_destroy(&g->x[0]);
    clv_layer_destroy(&g->position);
    clv_layer_destroy(&g->token);
    clv_matrix_destroy(&g->targets);
    clv_matrix_destroy(&g->positions);
    clv_matrix_destroy(&g->ids);
    clv_params_destroy(&g->params);
    clvi_free(g->scratch);
    clvi_free(g->x);
    clvi_free(g->layer);
    clvi_free(g);
    *gpt = NULL;
}

clv_params *clv_gpt_params(const clv_gpt *gpt)
{
    return gpt->params;
}

clv_gpt_config clv_gpt_config_of(const clv_gpt *gpt)
{
    return gpt->config;
}

int64_t clv_gpt_sequences(const clv_gpt *gpt)
{
    return gpt->shape.sequences;
}

clv_matrix *clv_gpt_ids(const clv_gpt *gpt)
{
    return gpt->ids;
}

clv_matrix *clv_gpt_targets(const clv_gpt *gpt)
{
    return gpt->targets;
}

clv_matrix *clv_gpt_logits(const clv_gpt *gpt)
{
    return gpt->x[gpt->length];
}

double *clvi_gpt_scratch(const clv_gpt *gpt)
{
    return gpt->scratch;
}

clv_status clv_gpt_forward(clv_gpt *gpt, double *loss)
{
    clv_status status;
    gpt->has_loss = false;
    CLVI_TRY(clv_layer_forward(gpt->token, gpt->ids, gpt->x[0]));
    if (gpt->position) {
        CLVI_TRY(clv_layer_forward(gpt->position, gpt->positions, gpt->dx[0]));
        clvi_add(gpt->dx[0], gpt->x[0]);
    }
    for (int i = 0; i < gpt->length; i++)
        CLVI_TRY(clv_layer_forward(gpt->layer[i], gpt->x[i], gpt->x[i + 1]));
    if (loss) CLVI_TRY(clv_loss_forward(gpt->loss, clv_gpt_logits(gpt), gpt->targets, loss, NULL));
    gpt->has_loss = loss;
done:
    return status;
}

clv_status clv_gpt_backward(clv_gpt *gpt)
{
    clv_status status;
    const clv_matrix *dy = gpt->dlogits;
    CLVI_CHECK(gpt->has_loss, CLV_EARG, "GPT: expected a forward with loss before the backward");
    CLVI_TRY(clv_loss_backward(gpt->loss, gpt->dlogits));
    for (int i = gpt->length; i-- > 0;) {
        clv_matrix *dx = gpt->dx[i % 2];
        CLVI_TRY(clv_layer_backward(gpt->layer[i], dy, dx));
        dy = dx;
    }
    CLVI_TRY(clv_layer_backward(gpt->token, dy, NULL));
    if (gpt->position) CLVI_TRY(clv_layer_backward(gpt->position, dy, NULL));
done:
    return status;
}
