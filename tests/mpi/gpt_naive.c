/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gpt_naive.c: logits and loss of GPTs of every kind against plain loops over whole matrices, which
 * take the configuration at its word. (Gradients: gpt.c.)
 *
 * RANKS: 1 2 3 4 6
 */
#include <clvi_layers.h>
#include <grids.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 2, CONTEXT = 7, TOKENS = SEQUENCES * CONTEXT, VOCABULARY = 13, ROUNDS = 12 };

/* ---- The model in plain loops ------------------------------------------------------ */

typedef struct {
    clv_gpt_config c;
    clv_params *params;
} model;

/* Element (i, j) of a parameter; 0 without it. */
static double element(const model *m, const char *name, int64_t i, int64_t j)
{
    const clv_param *param = clv_params_find(m->params, name);
    if (!param) return 0;
    clv_block b = clv_matrix_block(param->value);
    return ((const double *)b.data)[i * b.ld + j];
}

/* element of "PREFIX.PART". */
static double part(const model *m, const char *prefix, const char *name, int64_t i, int64_t j)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return element(m, full, i, j);
}

/* y[TOKENS, n] = x[TOKENS, k] W + b. */
static void linear(const model *m, const char *name, const double *x, int64_t k, double *y,
                   int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        for (int t = 0; t < TOKENS; t++) y[t * n + j] = part(m, name, "bias", 0, j);
        for (int64_t l = 0; l < k; l++) {
            double w = part(m, name, "weight", l, j);
            for (int t = 0; t < TOKENS; t++) y[t * n + j] += x[t * k + l] * w;
        }
    }
}

static void norm(const model *m, const char *name, const double *x, double *y)
{
    int64_t n = m->c.width;
    for (int t = 0; t < TOKENS; t++, x += n, y += n) {
        double mean = 0, square = 0;
        for (int64_t j = 0; j < n && m->c.norm == CLV_LAYER_NORM; j++) mean += x[j] / (double)n;
        for (int64_t j = 0; j < n; j++) square += (x[j] - mean) * (x[j] - mean) / (double)n;
        for (int64_t j = 0; j < n; j++)
            y[j] = (x[j] - mean) / sqrt(square + m->c.norm_eps) * part(m, name, "gain", 0, j) +
                   part(m, name, "bias", 0, j);
    }
}

/* Feature f of the head of q or k that begins at z, of token t, turned where positions are. */
static double turned(const model *m, const double *z, int64_t t, int64_t f)
{
    int64_t half = m->c.width / m->c.heads / 2, i = half ? f % half : 0;
    if (m->c.position != CLV_POSITION_ROTARY) return z[f];
    double angle = (double)t * pow(m->c.rotary_base, -(double)i / (double)half);
    return f < half ? z[f] * cos(angle) - z[f + half] * sin(angle)
                    : z[f] * cos(angle) + z[f - half] * sin(angle);
}

/* o[width]: what head h of token t of the sequence that begins at z sees. */
static void look(const model *m, const double *z, int64_t ldz, int64_t h, int64_t t, double *o)
{
    int64_t d = m->c.width / m->c.heads, g = m->c.heads / m->c.kv_heads;
    int64_t group = h / g * (g + 2) * d, q = group + h % g * d, k = group + g * d, v = k + d;
    double weight[CONTEXT], sum = 0;
    for (int64_t u = 0; u <= t; u++) {
        double score = 0;
        for (int64_t f = 0; f < d; f++)
            score += turned(m, z + t * ldz + q, t, f) * turned(m, z + u * ldz + k, u, f);
        sum += weight[u] = exp(score / sqrt((double)d));
    }
    for (int64_t f = 0; f < d; f++) {
        o[h * d + f] = 0;
        for (int64_t u = 0; u <= t; u++) o[h * d + f] += weight[u] / sum * z[u * ldz + v + f];
    }
}

static void attend(const model *m, const char *name, const double *x, double *y)
{
    char full[128];
    int64_t n = m->c.width, ldz = n / m->c.heads * (m->c.heads + 2 * m->c.kv_heads);
    double *z = calloc((size_t)(TOKENS * ldz), sizeof *z);
    double *o = calloc((size_t)(TOKENS * n), sizeof *o);
    snprintf(full, sizeof full, "%s.qkv", name);
    linear(m, full, x, n, z, ldz);
    for (int64_t i = 0; i < TOKENS; i++)
        for (int64_t h = 0; h < m->c.heads; h++)
            look(m, z + i / CONTEXT * CONTEXT * ldz, ldz, h, i % CONTEXT, o + i * n);
    snprintf(full, sizeof full, "%s.out", name);
    linear(m, full, o, n, y, n);
    free(z);
    free(o);
}

static double gelu(double x)
{
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static void mlp(const model *m, const char *name, const double *x, double *y)
{
    char up[128], gate[128], down[128];
    int64_t n = m->c.width, hidden = m->c.hidden;
    double *u = calloc((size_t)(2 * TOKENS * hidden), sizeof *u), *a = u + TOKENS * hidden;
    snprintf(up, sizeof up, "%s.up", name);
    snprintf(gate, sizeof gate, "%s.gate", name);
    snprintf(down, sizeof down, "%s.down", name);
    linear(m, up, x, n, u, hidden);
    if (m->c.mlp == CLV_MLP_SWIGLU) linear(m, gate, x, n, a, hidden);
    for (int64_t i = 0; i < TOKENS * hidden; i++)
        a[i] = m->c.mlp == CLV_MLP_SWIGLU ? a[i] / (1 + exp(-a[i])) * u[i] : gelu(u[i]);
    linear(m, down, a, hidden, y, n);
    free(u);
}

static int32_t token(int64_t row, bool target)
{
    return (int32_t)((row * row + 5 * row + target) % VOCABULARY);
}

/* x += f(norm(x)). */
static void add_half(const model *m, int64_t block, bool second, double *x)
{
    char name[64];
    size_t size = (size_t)(TOKENS * m->c.width);
    double *n = calloc(2 * size, sizeof *n), *y = n + size;
    snprintf(name, sizeof name, "block.%d.norm%d", (int)block, 1 + second);
    norm(m, name, x, n);
    snprintf(name, sizeof name, "block.%d.%s", (int)block, second ? "mlp" : "attention");
    (second ? mlp : attend)(m, name, n, y);
    for (size_t i = 0; i < size; i++) x[i] += y[i];
    free(n);
}

/* logits[TOKENS, VOCABULARY]; returns the loss. */
static double naive(const model *m, double *logits)
{
    int64_t n = m->c.width;
    double *x = calloc((size_t)(2 * TOKENS * n), sizeof *x), *y = x + TOKENS * n, loss = 0;
    for (int64_t i = 0; i < TOKENS * n; i++) /* 0 where there is no position.weight */
        x[i] = element(m, "token.weight", token(i / n, false), i % n) +
               element(m, "position.weight", i / n % CONTEXT, i % n);
    for (int64_t b = 0; b < 2 * m->c.layers; b++) add_half(m, b / 2, b % 2, x);
    norm(m, "norm", x, y);
    const char *head = m->c.tied ? "token.weight" : "head.weight";
    for (int64_t t = 0; t < TOKENS; t++) {
        double sum = 0, *row = logits + t * VOCABULARY;
        for (int64_t v = 0; v < VOCABULARY; v++) {
            for (int64_t j = 0; j < n; j++) row[v] += y[t * n + j] * element(m, head, v, j);
            sum += exp(row[v]);
        }
        loss += (log(sum) - row[token(t, true)]) / TOKENS;
    }
    free(x);
    return loss;
}

/* ---- Against the library ------------------------------------------------------------ */

static clv_gpt *make(clv_grid *grid, const clv_gpt_config *config)
{
    clv_gpt *gpt = NULL;
    if (!CHECK_OK(clv_gpt_create(grid, config, SEQUENCES, &gpt))) return NULL;
    clv_matrix *both[] = {clv_gpt_ids(gpt), clv_gpt_targets(gpt)};
    for (int w = 0; w < 2; w++) {
        clv_block b = clv_matrix_block(both[w]);
        for (int64_t i = 0; i < b.m * b.n; i++) ((int32_t *)b.data)[i] = token(b.row0 + i, w);
    }
    clv_params *params = clv_gpt_params(gpt);
    for (int i = 0; i < clv_params_count(params); i++) {
        clv_param *param = clv_params_at(params, i);
        CHECK_OK(clv_matrix_fill_normal(param->value, 5, (uint64_t)i, param->mean, 0.4));
    }
    return gpt;
}

static clv_gpt_config draw(uint64_t *state)
{
    clv_gpt_config c = {.layers = 1 + check_random_below(state, 2),
                        .kv_heads = 1 + check_random_below(state, 3),
                        .context = CONTEXT,
                        .vocabulary = VOCABULARY,
                        .hidden = 1 + check_random_below(state, 9),
                        .mlp = (clv_mlp_kind)check_random_below(state, 2),
                        .norm = (clv_norm_kind)check_random_below(state, 2),
                        .position = (clv_position_kind)check_random_below(state, 2),
                        .norm_eps = check_random_below(state, 2) ? 1e-5 : 0.3,
                        .rotary_base = check_random_below(state, 2) ? 10000 : 7,
                        .no_bias = check_random_below(state, 2),
                        .tied = check_random_below(state, 2),
                        .dtype = CLV_F64};
    c.heads = c.kv_heads * (1 + check_random_below(state, 3));
    c.width = c.heads * 2 * (1 + check_random_below(state, 3));
    return c;
}

/* The same configuration with zeros where it says what the defaults are. */
static clv_gpt_config abbreviated(clv_gpt_config c)
{
    if (c.norm_eps == 1e-5) c.norm_eps = 0;
    if (c.rotary_base == 10000) c.rotary_base = 0;
    if (c.kv_heads == c.heads) c.kv_heads = 0;
    return c;
}

static void compare(clv_grid *grid, const clv_gpt_config *config)
{
    clv_grid *self = check_self_grid();
    clv_gpt_config given = abbreviated(*config);
    clv_gpt *gpt = make(grid, &given), *whole = make(self, config);
    double found = NAN, expected[TOKENS * VOCABULARY] = {0};
    if (gpt && whole) {
        model m = {*config, clv_gpt_params(whole)};
        double loss = naive(&m, expected);
        CHECK_OK(clv_gpt_forward(gpt, &found));
        CHECK_NEAR(found, loss, 1e-12);
        clv_matrix *logits = NULL;
        clv_spec spec = {.m = TOKENS, .n = VOCABULARY, .dtype = CLV_F64};
        CHECK_OK(clv_matrix_wrap(self, spec, expected, VOCABULARY, &logits));
        check_same_block(clv_gpt_logits(gpt), logits, 1e-11);
        clv_matrix_destroy(&logits);
    }
    clv_gpt_destroy(&gpt);
    clv_gpt_destroy(&whole);
    clv_grid_destroy(&self);
}

static void on_grid(clv_grid *grid, const void *arg)
{
    static uint64_t state = 8; /* goes on from grid to grid */
    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        clv_gpt_config config = draw(&state);
        char *json = NULL;
        long long before = check_failures();
        compare(grid, &config);
        if (check_failures() == before) continue;
        CHECK_OK(clv_gpt_config_to_json(&config, &json));
        fprintf(stderr, "  of %s\n", json);
        free(json);
    }
}

static void every_kind(void)
{
    check_on_grids(on_grid, NULL);
}

const check_case check_cases[] = {{"every kind", every_kind}, {0}};
