/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cleave_layers.h: parameters, layers, models, optimizers, training.
 *
 * A layer is a forward and a backward over matrices, with named parameters. It does not know
 * whether it is row-parallel, column-parallel or 2D: that is in the layouts of the specs
 * it is created with, and everything that has to move between them is planned then.
 *
 * Rows are tokens, columns are features. A layout holds a gradient as it holds the
 * value: dX has the layout of X, dW that of W; pending sums never leave a layer.
 */
#ifndef CLEAVE_LAYERS_H
#define CLEAVE_LAYERS_H

#include <cleave_dist.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Parameters: matrices by name ----------------------------------------- */

typedef struct clv_params clv_params;

/* One parameter. A vector of n is stored as 1 x n. grad has the spec of value. */
typedef struct {
    const char *name; /* "block.0.attention.qkv.weight"                        */
    clv_matrix *value, *grad;
    double mean, std; /* of the normal distribution it starts from             */
    bool decay;       /* weight decay applies (matrices, not vectors)          */
} clv_param;

/* An empty list. Local. */
CLV_API clv_status clv_params_create(clv_grid *grid, clv_params **params);
/* Frees the list and every matrix in it; layers built on it must be gone. Local. */
CLV_API void clv_params_destroy(clv_params **params);

/* Adds a parameter of zeros. name is copied and must be new. The pointer holds
 * until the list is destroyed. Collective. */
CLV_API clv_status clv_params_add(clv_params *params, const char *name, clv_spec spec, double mean,
                                  double std, bool decay, clv_param **param);

CLV_API clv_grid *clv_params_grid(const clv_params *params);       /* Local */
CLV_API int clv_params_count(const clv_params *params);            /* Local */
CLV_API clv_param *clv_params_at(const clv_params *params, int i); /* Local: order of adding */
CLV_API clv_param *clv_params_find(const clv_params *params, const char *name); /* Local: or NULL */
CLV_API int64_t clv_params_elements(const clv_params *params); /* Local: global, all together */

/* Draws every value from its distribution by (seed, hash of the name, element
 * index): the same model on every grid. Local. */
CLV_API clv_status clv_params_init(clv_params *params, uint64_t seed);
/* Every gradient becomes zero. Local. */
CLV_API void clv_params_zero_grad(clv_params *params);
/* The Euclidean norm of all gradients together. Collective. */
CLV_API clv_status clv_params_grad_norm(clv_params *params, double *norm);

/* ---- Layers ------------------------------------------------------------------ */

typedef struct clv_layer clv_layer;

/* Y = f(X). X and Y have the specs the layer was created with and share no memory; the
 * layer borrows X until the backward that follows. Collective. */
CLV_API clv_status clv_layer_forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y);

/* dX = (df/dX)^T dY, and every parameter's gradient += its own. dX may be NULL
 * where it is not wanted. After a forward of the same layer. Collective. */
CLV_API clv_status clv_layer_backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX);

/* Frees plans and workspace, not parameters; sets *layer to NULL. Local. */
CLV_API void clv_layer_destroy(clv_layer **layer);

/* The specs it was created with. Local. */
CLV_API clv_spec clv_layer_input(const clv_layer *layer);
CLV_API clv_spec clv_layer_output(const clv_layer *layer);

/* All creators are Collective, add their parameters to params as "NAME.part"
 * and check that the specs fit together (CLV_ESHAPE, CLV_EDTYPE). x is the
 * spec of X, y that of Y. */

/* Y[t,n] = X[t,k] W[k,n] + b[1,n]. Parameters: NAME.weight (k x n, or n x k
 * with w_transposed: Y = X W^T), NAME.bias. y may not hold a pending sum. */
typedef struct {
    clv_spec x, w, y;
    bool w_transposed;
    bool no_bias;
    double std; /* of the initial weight; 0: 1/sqrt(k) */
} clv_linear_config;
CLV_API clv_status clv_linear_create(clv_params *params, const char *name,
                                     const clv_linear_config *config, clv_layer **layer);

/* Y[t,:] = E[X[t],:]: X is t x 1 of CLV_I32, E is vocabulary x width, sharded in any
 * way (vocabulary-parallel where its rows are). Ids outside the vocabulary give rows of
 * zeros. dX must be NULL. Parameter: NAME.weight. */
typedef struct {
    clv_spec x, w, y;
    double std; /* 0: 0.02 */
} clv_embedding_config;
CLV_API clv_status clv_embedding_create(clv_params *params, const char *name,
                                        const clv_embedding_config *config, clv_layer **layer);

/* Layer norm (Ba et al. 2016) or RMS norm (Zhang and Sennrich 2019) of each row, features
 * sharded or not; x and y have one spec. Parameters: NAME.gain, NAME.bias (1 x n; layer norm only).
 */
typedef enum { CLV_LAYER_NORM = 0, CLV_RMS_NORM } clv_norm_kind;
typedef struct {
    clv_spec x;
    clv_norm_kind kind;
    double eps; /* 0: 1e-5 */
} clv_norm_config;
CLV_API clv_status clv_norm_create(clv_params *params, const char *name,
                                   const clv_norm_config *config, clv_layer **layer);

/* How the matrices of a transformer lie on a grid with axes named data, depth,
 * row, col (each may be absent; others are refused), AxoNN's scheme: neighbouring
 * products swap row and col, so one's output lies as the next one's input. Rows
 * of activations are cut in whole sequences. */
typedef struct {
    clv_layout ids;        /* data+depth+col | -    token ids and positions       */
    clv_layout residual;   /* data+depth+col | row  X between blocks              */
    clv_layout heads;      /* data+depth+row | col  q, k, v, hidden, logits       */
    clv_layout weight_in;  /* row+depth | col       Wqkv, Wup, Wgate              */
    clv_layout weight_out; /* col+depth | row      Wo, Wdown                     */
    clv_layout embedding;  /* col | row             vocabulary x width            */
} clv_transformer_layouts;
CLV_API clv_status clv_transformer_layouts_of(const clv_grid *grid, clv_transformer_layouts *out);

/* What the layers of a transformer share. Units of tokens are whole sequences. */
typedef struct {
    clv_grid *grid;
    int64_t sequences, context; /* tokens = sequences * context             */
    int64_t width;
    clv_dtype dtype; /* f32 or f64                                          */
    clv_transformer_layouts layouts;
} clv_transformer_shape;

/* Causal multi-head attention (Vaswani et al. 2017) with heads of d = width / heads features,
 * sharded over col, uneven too; heads must divide width, kv_heads heads. With g = heads / kv_heads,
 * NAME.qkv.weight is width x kv_heads (g + 2) d: for each head of k and v the columns of its g
 * heads of q, then its k, then its v, which are never cut apart. More parameters: NAME.qkv.bias,
 * NAME.out.weight, NAME.out.bias. X, Y: residual. */
typedef struct {
    int heads, kv_heads; /* kv_heads 0: heads                                    */
    double rotary_base;  /* of rotary embeddings, for which d is even; 0: none   */
    bool no_bias;
    double out_std; /* of the initial NAME.out.weight; 0: 1/sqrt(width)     */
} clv_attention_config;
CLV_API clv_status clv_attention_create(clv_params *params, const char *name,
                                        const clv_transformer_shape *shape,
                                        const clv_attention_config *config, clv_layer **layer);

/* GELU: Y = gelu(X Wup + b) Wdown + b. SwiGLU: Y = (silu(X Wgate) * X Wup) Wdown, no
 * biases. Parameters: NAME.up.*, NAME.gate.weight, NAME.down.*. X, Y: residual. */
typedef enum { CLV_MLP_GELU = 0, CLV_MLP_SWIGLU } clv_mlp_kind;
typedef struct {
    clv_mlp_kind kind;
    int64_t hidden; /* features between the products                            */
    bool no_bias;   /* of GELU                                                  */
    double out_std; /* of the initial NAME.down.weight; 0: 1/sqrt(hidden)       */
} clv_mlp_config;
CLV_API clv_status clv_mlp_create(clv_params *params, const char *name,
                                  const clv_transformer_shape *shape, const clv_mlp_config *config,
                                  clv_layer **layer);

/* Y = X + f(norm(X)): owns both layers from success on (they are destroyed with it). */
CLV_API clv_status clv_residual_create(clv_params *params, clv_layer *norm, clv_layer *f,
                                       clv_layer **layer);

/* ---- Loss --------------------------------------------------------------------- */

typedef struct clv_loss clv_loss;

/* Mean cross-entropy in nats of softmax(logits[t, vocabulary]) against targets[t, 1]
 * (CLV_I32), the vocabulary sharded in any way without gathering it; a target outside
 * the vocabulary is left out of the mean. Collective. */
CLV_API clv_status clv_loss_create(clv_grid *grid, clv_spec logits, clv_spec targets,
                                   clv_loss **loss);
/* *mean: the same bits on every process; *count (may be NULL): targets in the mean.
 * Borrows both until backward. Collective. */
CLV_API clv_status clv_loss_forward(clv_loss *loss, const clv_matrix *logits,
                                    const clv_matrix *targets, double *mean, int64_t *count);
/* dlogits = d(mean)/d(logits), of the spec of logits. Local. */
CLV_API clv_status clv_loss_backward(clv_loss *loss, clv_matrix *dlogits);
CLV_API void clv_loss_destroy(clv_loss **loss);

/* ---- GPT ------------------------------------------------------------------------ */

/* How a token knows where it stands: an embedding of its position that is added to its own, or
 * queries and keys turned by angles that grow with it (rotary embeddings, Su et al. 2021; feature i
 * of a head turns with feature i + d/2, as Hugging Face's Llama stores them). */
typedef enum { CLV_POSITION_LEARNED = 0, CLV_POSITION_ROTARY } clv_position_kind;

typedef struct {
    int64_t layers, width, heads, context, vocabulary; /* all at least 1; heads divides width */
    int64_t kv_heads; /* heads of k and v, which heads / kv_heads of q share (grouped-query
                       * attention, Ainslie et al. 2023); divides heads; 0: heads            */
    int64_t hidden;   /* of the MLP; 0: 4 width                                            */
    clv_mlp_kind mlp;
    clv_norm_kind norm;
    clv_position_kind position;
    double norm_eps;    /* 0: 1e-5                                                          */
    double rotary_base; /* 0: 10000                                                         */
    bool no_bias;       /* of attention and MLP                                             */
    bool tied;          /* the head is the token embedding: no parameter head.weight        */
    clv_dtype dtype;    /* f32 or f64                                                       */
} clv_gpt_config;

/* The configuration as a JSON object, and back, with the defaults in the place of zeros; keys of
 * members that have a default may lack. Local. to_json: caller frees with free. from_json errors:
 * CLV_EFORMAT naming the key. */
CLV_API clv_status clv_gpt_config_to_json(const clv_gpt_config *config, char **json);
CLV_API clv_status clv_gpt_config_from_json(const char *json, clv_gpt_config *config);

/* A decoder-only transformer: token embeddings, `layers` blocks of attention and MLP with norms
 * before them, a last norm, and a head; with learned positions their embeddings too. */
typedef struct clv_gpt clv_gpt;

/* For batches of `sequences` rows of config.context tokens. Collective. */
CLV_API clv_status clv_gpt_create(clv_grid *grid, const clv_gpt_config *config, int64_t sequences,
                                  clv_gpt **gpt);
CLV_API void clv_gpt_destroy(clv_gpt **gpt); /* Local */

CLV_API clv_params *clv_gpt_params(const clv_gpt *gpt);       /* Local: the gpt's    */
CLV_API clv_gpt_config clv_gpt_config_of(const clv_gpt *gpt); /* Local               */
CLV_API int64_t clv_gpt_sequences(const clv_gpt *gpt);        /* Local               */

/* ids and targets (tokens x 1, CLV_I32, owned by the gpt): fill their blocks before
 * forward. Token t of sequence s is row s * context + t. Local. */
CLV_API clv_matrix *clv_gpt_ids(const clv_gpt *gpt);
CLV_API clv_matrix *clv_gpt_targets(const clv_gpt *gpt);
/* tokens x vocabulary, after forward; the gpt's. Local. */
CLV_API clv_matrix *clv_gpt_logits(const clv_gpt *gpt);

/* Collective. forward gives logits and, where loss is not NULL, the mean loss; backward adds
 * to the gradients, after a forward with loss. */
CLV_API clv_status clv_gpt_forward(clv_gpt *gpt, double *loss);
CLV_API clv_status clv_gpt_backward(clv_gpt *gpt);

/* ---- Optimizers -------------------------------------------------------------------- */

typedef enum { CLV_ADAMW = 0, CLV_SGD } clv_optimizer_kind;
typedef struct {
    clv_optimizer_kind kind;
    double momentum;          /* SGD; 0: none                                  */
    double beta1, beta2, eps; /* AdamW; 0: 0.9, 0.95, 1e-8                     */
    double weight_decay;      /* of parameters with decay set; 0: none         */
    double clip;              /* largest norm of all gradients; 0: no clipping */
} clv_optimizer_config;

typedef struct clv_optimizer clv_optimizer;

/* State lies as the parameters lie. Collective. */
CLV_API clv_status clv_optimizer_create(clv_params *params, const clv_optimizer_config *config,
                                        clv_optimizer **optimizer);
CLV_API void clv_optimizer_destroy(clv_optimizer **optimizer); /* Local */
/* One update of every parameter with learning rate lr; step counts from 1. *grad_norm
 * (may be NULL): before clipping. Collective. */
CLV_API clv_status clv_optimizer_step(clv_optimizer *optimizer, double lr, int64_t step,
                                      double *grad_norm);

/* Learning rate of step (from 1 to steps): linear warm-up, then a cosine down to final.
 * Local. */
typedef struct {
    double peak, final;    /* final: at the last step     */
    int64_t warmup, steps; /* steps 0: constant after warm-up */
} clv_schedule;
CLV_API double clv_schedule_rate(const clv_schedule *schedule, int64_t step);

/* Everything that a checkpoint has to hold: parameters, then optimizer state ("adamw.m/NAME",
 * "adamw.v/NAME", "sgd.v/NAME"); optimizer may be NULL. *list: caller frees with
 * free; names and matrices stay theirs. Local. */
CLV_API clv_status clv_training_state(const clv_params *params, const clv_optimizer *optimizer,
                                      clv_named **list, int *count);

/* ---- Training ------------------------------------------------------------------------ */

/* Where tokens come from: count ids from position offset (0 <= offset, offset + count <=
 * size) of one long text. Called by each process for its own rows. Local. */
typedef struct {
    void *context;
    int64_t size;
    clv_status (*read)(void *context, int64_t offset, int64_t count, int32_t *ids);
} clv_source;

typedef struct {
    clv_optimizer_config optimizer;
    clv_schedule schedule;
    uint64_t seed; /* of the parameters and of the order of samples */
} clv_train_config;

/* What a run is besides its matrices; a checkpoint stores it. */
typedef struct {
    int64_t step;    /* updates done                          */
    uint64_t sample; /* global index of the next sequence      */
    uint64_t seed;
} clv_train_position;

typedef struct clv_trainer clv_trainer;

/* Initialises the parameters from the seed and borrows gpt and source. The text must
 * have more than context tokens (CLV_ESHAPE). Collective. */
CLV_API clv_status clv_trainer_create(clv_gpt *gpt, const clv_source *source,
                                      const clv_train_config *config, clv_trainer **trainer);
CLV_API void clv_trainer_destroy(clv_trainer **trainer); /* Local */

/* One step: sequences drawn by global sample index (the same on every grid), forward, backward,
 * update. CLV_ENUMERIC when the loss, the gradients or the updated parameters are not finite: do
 * not save then. Collective. */
typedef struct {
    int64_t step; /* just done, from 1 */
    double loss, lr, grad_norm;
} clv_step_report;
CLV_API clv_status clv_trainer_step(clv_trainer *trainer, clv_step_report *report);

CLV_API clv_train_position clv_trainer_position(const clv_trainer *trainer); /* Local */
/* Continues from a position, once the matrices are loaded. Local. */
CLV_API void clv_trainer_seek(clv_trainer *trainer, clv_train_position position);
CLV_API const clv_optimizer *clv_trainer_optimizer(const clv_trainer *trainer); /* Local */

/* The mean loss over consecutive windows of context tokens from the start of the text, each token
 * predicting the next; an incomplete last window is left out. *tokens: predictions made.
 * progress (may be NULL) is called on every process after each batch. CLV_ESHAPE if there is no
 * whole window. Collective. */
CLV_API clv_status clv_gpt_evaluate(clv_gpt *gpt, const clv_source *source,
                                    void (*progress)(void *context, int64_t done, int64_t all),
                                    void *progress_context, double *loss, int64_t *tokens);

/* Next-token sampling: after a forward, draws the id that follows row `row` of the logits by
 * (seed, index), the same on every process and grid. temperature 0 takes the likeliest. Collective.
 */
CLV_API clv_status clv_gpt_sample(clv_gpt *gpt, int64_t row, double temperature, int top_k,
                                  uint64_t seed, uint64_t index, int32_t *id);

#ifdef __cplusplus
}
#endif
#endif
