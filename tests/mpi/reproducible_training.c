/* SPDX-License-Identifier: BSD-3-Clause
 *
 * reproducible_training.c: in reproducible mode every loss, every gradient norm and every bit of
 * the parameters of a training are those of one process, on every grid; and so are evaluation and
 * logits.
 *
 * RANKS: 1 2 4 8
 */
#include <clvi_lib.h>
#include <grids.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 8, CONTEXT = 12, VOCABULARY = 37, STEPS = 5, TEXT = 200, NUMBERS = 2 * STEPS };

/* Extents that no grid divides evenly. */
static const clv_gpt_config models[] = {
    {.layers = 1, .width = 36, .heads = 6, .context = CONTEXT, .vocabulary = VOCABULARY},
    {.layers = 1,
     .width = 40,
     .heads = 5,
     .context = CONTEXT,
     .vocabulary = VOCABULARY,
     .hidden = 53,
     .mlp = CLV_MLP_SWIGLU,
     .norm = CLV_RMS_NORM},
    {.layers = 1,
     .width = 60,
     .heads = 10,
     .kv_heads = 5,
     .context = CONTEXT,
     .vocabulary = VOCABULARY,
     .hidden = 53,
     .mlp = CLV_MLP_SWIGLU,
     .norm = CLV_RMS_NORM,
     .position = CLV_POSITION_ROTARY,
     .no_bias = true,
     .tied = true},
};
enum { MODELS = sizeof models / sizeof *models };

static const clv_train_config training = {
    .optimizer = {.kind = CLV_ADAMW, .weight_decay = 0.1, .clip = 0.5},
    .schedule = {.peak = 1e-2, .final = 1e-3, .warmup = 2, .steps = STEPS},
    .seed = 3};

static clv_status text_read(void *context, int64_t offset, int64_t count, int32_t *ids)
{
    (void)context;
    for (int64_t i = 0; i < count; i++)
        ids[i] = (int32_t)((offset + i) % 7 * 5 + ((offset + i) % 11 == 0));
    return CLV_OK;
}
static const clv_source source = {.size = TEXT, .read = text_read};

/* What a training leaves behind. */
typedef struct {
    clv_gpt_config config;
    double numbers[NUMBERS]; /* loss and gradient norm of each step    */
    double evaluated;        /* of the whole text, after the last step */
    uint64_t bits;           /* of all parameters and of the logits    */
} trace;

/* A mixture of the bits and the global index of every element of my block, added up: no order, no
 * grid. Of copies the first counts. */
static uint64_t mix(const clv_matrix *matrix, uint64_t stream)
{
    clv_grid *grid = clv_matrix_grid(matrix);
    clv_spec spec = clv_matrix_spec(matrix);
    clv_block b = clv_matrix_block(matrix);
    clv_axes cuts = clv_order_set(spec.layout.rows) | clv_order_set(spec.layout.cols);
    uint64_t sum = 0, size = clv_dtype_size(spec.dtype);
    for (int axis = 0; axis < clv_grid_naxes(grid); axis++)
        if (!(cuts >> axis & 1) && clv_grid_coord(grid, clv_grid_rank(grid), axis)) return 0;
    for (int64_t i = 0; i < b.m; i++)
        for (int64_t j = 0; j < b.n; j++) {
            uint64_t bits = 0, state = (uint64_t)((b.row0 + i) * spec.n + b.col0 + j);
            memcpy(&bits, (char *)b.data + (uint64_t)(i * b.ld + j) * size, size);
            state = (bits ^ check_random(&state)) + 0x9e3779b97f4a7c15u * stream;
            sum += check_random(&state);
        }
    return sum;
}

/* Of all parameters and the logits, on every process. */
static uint64_t mix_all(clv_gpt *gpt)
{
    clv_params *params = clv_gpt_params(gpt);
    uint64_t sum = mix(clv_gpt_logits(gpt), 1000), whole = 0;
    double pieces[4]; /* of 16 bits: exact as doubles */
    for (int p = 0; p < clv_params_count(params); p++)
        sum += mix(clv_params_at(params, p)->value, (uint64_t)p);
    for (int p = 0; p < 4; p++) pieces[p] = (double)(sum >> 16 * p & 0xffff);
    CHECK_OK(clv_grid_reduce(clv_params_grid(params), CLV_SUM, 4, pieces));
    for (int p = 0; p < 4; p++) whole += (uint64_t)pieces[p] << 16 * p;
    return whole;
}

/* Trains, with leaves or without; CLV_OK everywhere. */
static void train(clv_grid *grid, int leaves, trace *t)
{
    clv_gpt *gpt = NULL;
    clv_trainer *trainer = NULL;
    int64_t tokens;
    CHECK_OK(clv_grid_set_leaves(grid, leaves));
    if (CHECK_OK(clv_gpt_create(grid, &t->config, SEQUENCES, &gpt)) &&
        CHECK_OK(clv_trainer_create(gpt, &source, &training, &trainer))) {
        for (int s = 0; s < STEPS; s++) {
            clv_step_report report = {0};
            CHECK_OK(clv_trainer_step(trainer, &report));
            t->numbers[2 * s] = report.loss;
            t->numbers[2 * s + 1] = report.grad_norm;
        }
        CHECK_OK(clv_gpt_evaluate(gpt, &source, NULL, NULL, &t->evaluated, &tokens));
        t->bits = mix_all(gpt);
    }
    clv_trainer_destroy(&trainer);
    clv_gpt_destroy(&gpt);
    CHECK_OK(clv_grid_set_leaves(grid, 0));
}

/* ---- The same bits on every grid ------------------------------------------------- */

static void check_grid(const char *text, const trace *expected)
{
    clv_grid *grid = NULL;
    trace found = {.config = expected->config};
    long long before = check_failures();
    if (!CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, text, &grid))) return;
    train(grid, CLV_LEAVES, &found);
    for (int i = 0; i < NUMBERS; i++)
        if (!CHECK(memcmp(&found.numbers[i], &expected->numbers[i], sizeof(double)) == 0))
            fprintf(stderr, "  step %d: expected %a, found %a\n", 1 + i / 2, expected->numbers[i],
                    found.numbers[i]);
    CHECK(memcmp(&found.evaluated, &expected->evaluated, sizeof(double)) == 0);
    CHECK(found.bits == expected->bits);
    if (check_failures() != before) fprintf(stderr, "  on rank %d of %s\n", check_rank(), text);
    clv_grid_destroy(&grid);
}

/* The expected trace is rank 0's, on a grid of its own process. */
static void expect(trace *t)
{
    clv_grid *self = check_self_grid(), *all = NULL;
    if (check_rank() == 0) train(self, CLV_LEAVES, t);
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &all));
    CHECK_OK(clv_grid_broadcast(all, 0, t, sizeof *t));
    clv_grid_destroy(&all);
    clv_grid_destroy(&self);
    CHECK(t->numbers[0] > 3 && t->numbers[2 * STEPS - 2] < t->numbers[0]); /* log(37) = 3.6 */
    CHECK(t->numbers[1] > 0.5);                                            /* it is clipped */
}

/* Every way to write the ranks as data x depth x row x col, and some with the axes in other order;
 * of many, each model takes every second one. */
static void same_bits(clv_dtype dtype, int model)
{
    int P = check_size(), number = model + (dtype == CLV_F64);
    char text[96];
    trace expected = {.config = models[model]};
    expected.config.dtype = dtype;
    expect(&expected);
    for (int data = 1; data <= P; data *= 2)
        for (int depth = 1; data * depth <= P; depth *= 2)
            for (int row = 1; data * depth * row <= P; row *= 2) {
                int col = P / (data * depth * row);
                if (P > 2 && number++ % 2) continue;
                snprintf(text, sizeof text, "data=%d,depth=%d,row=%d,col=%d", data, depth, row,
                         col);
                check_grid(text, &expected);
            }
    for (int col = 1; col <= P && P > 2; col *= 2) {
        snprintf(text, sizeof text, "col=%d,row=%d,data=%d", col, P / col > 2 ? 2 : 1,
                 P / col > 2 ? P / col / 2 : P / col);
        check_grid(text, &expected);
    }
}

static void gelu_f32(void)
{
    same_bits(CLV_F32, 0);
}
static void gelu_f64(void)
{
    same_bits(CLV_F64, 0);
}
static void swiglu_f32(void)
{
    same_bits(CLV_F32, 1);
}
static void swiglu_f64(void)
{
    same_bits(CLV_F64, 1);
}
static void llama_f32(void)
{
    same_bits(CLV_F32, 2);
}
static void llama_f64(void)
{
    same_bits(CLV_F64, 2);
}

/* Without leaves the grid shows: the mode does something. */
static void plain_differs(void)
{
    if (check_size() < 2) return;
    clv_grid *grid = NULL;
    trace expected = {.config = models[0]}, found = expected;
    expect(&expected);
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    train(grid, 0, &found);
    CHECK(found.bits != expected.bits);
    CHECK(fabs(found.numbers[NUMBERS - 2] - expected.numbers[NUMBERS - 2]) < 1e-3);
    clv_grid_destroy(&grid);
}

const check_case check_cases[] = {
    {"GELU and layer norm, f32", gelu_f32},   {"GELU and layer norm, f64", gelu_f64},
    {"SwiGLU and RMS norm, f32", swiglu_f32}, {"SwiGLU and RMS norm, f64", swiglu_f64},
    {"tied Llama, f32", llama_f32},           {"tied Llama, f64", llama_f64},
    {"plain mode differs", plain_differs},    {0}};
