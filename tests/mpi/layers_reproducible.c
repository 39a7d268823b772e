/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers_reproducible.c: in reproducible mode what layers add up themselves has the same bits on
 * every grid as on one process: norms, losses, gradients of vectors, embeddings and attention, the
 * norm of all gradients. Products are tested elsewhere.
 *
 * RANKS: 1 2 3 4 8
 */
#include "layers_common.h"

#include <grids.h>
#include <math.h>
#include <string.h>

enum { ROUNDS = 6, FILLS = 8 };

/* There are many grids of many ranks, and few of few. */
static int more_rounds(void)
{
    return check_size() > 2 ? ROUNDS : 20;
}

/* A grid and what was built on it: side 0 is the grid of all ranks, side 1 this process alone. */
enum { SIDES = 2 };
typedef struct {
    clv_grid *grid;
    clv_params *params;
    clv_layer *layer;
    clv_matrix *x[4];
} side;

static clv_spec on(int which, clv_spec spec)
{
    if (which == 1) spec.layout = (clv_layout){0};
    return spec;
}

/* Matrices filled by global index. */
static clv_matrix *make(side *s, int which, int i, clv_spec spec)
{
    if (CHECK_OK(clv_matrix_create(s->grid, on(which, spec), &s->x[i])) && spec.dtype != CLV_I32)
        CHECK_OK(clv_matrix_fill_normal(s->x[i], 7, (uint64_t)i, 0.3, 2));
    return s->x[i];
}

static void fill_values(clv_params *params, bool grads, uint64_t key)
{
    for (int i = 0; i < clv_params_count(params); i++) {
        clv_param *p = clv_params_at(params, i);
        CHECK_OK(clv_matrix_fill_normal(grads ? p->grad : p->value, key, (uint64_t)i, 0.1, 1));
    }
}

static void begin(side sides[SIDES], clv_grid *grid, int leaves)
{
    memset(sides, 0, SIDES * sizeof *sides);
    sides[0].grid = grid;
    sides[1].grid = check_self_grid();
    for (int w = 0; w < SIDES; w++) {
        CHECK_OK(clv_grid_set_leaves(sides[w].grid, leaves));
        CHECK_INT(clv_grid_leaves(sides[w].grid), leaves);
        CHECK_OK(clv_params_create(sides[w].grid, &sides[w].params));
    }
}

static void end(side sides[SIDES])
{
    for (int w = 0; w < SIDES; w++) {
        clv_layer_destroy(&sides[w].layer);
        clv_params_destroy(&sides[w].params);
        for (int i = 0; i < 4; i++) clv_matrix_destroy(&sides[w].x[i]);
    }
    CHECK_OK(clv_grid_set_leaves(sides[0].grid, 0));
    clv_grid_destroy(&sides[1].grid);
}

/* Elements of my block that differ in any bit from the same ones of the whole matrix. */
static int64_t count_different(const clv_matrix *mine, const clv_matrix *whole)
{
    clv_block a = clv_matrix_block(mine), b = clv_matrix_block(whole);
    clv_dtype dtype = clv_matrix_spec(mine).dtype;
    int64_t different = 0;
    for (int64_t i = 0; i < a.m; i++)
        for (int64_t j = 0; j < a.n; j++)
            different += memcmp(clvi_at(a, dtype, i, j), clvi_at(b, dtype, a.row0 + i, a.col0 + j),
                                clv_dtype_size(dtype)) != 0;
    return different;
}

static void check_matrix(const side sides[SIDES], int i)
{
    CHECK_INT(count_different(sides[0].x[i], sides[1].x[i]), 0);
}

static void check_grad(const side sides[SIDES], const char *name)
{
    clv_param *mine = clv_params_find(sides[0].params, name);
    CHECK_INT(count_different(mine->grad, clv_params_find(sides[1].params, name)->grad), 0);
}

static void check_bits(double found, double expected)
{
    if (!CHECK(memcmp(&found, &expected, sizeof found) == 0))
        fprintf(stderr, "  expected %a, found %a\n", expected, found);
}

static clv_spec draw(const clv_grid *grid, uint64_t *state)
{
    return (clv_spec){random_extent(state),
                      random_extent(state),
                      check_random_below(state, 4),
                      check_random_below(state, 4),
                      check_random_below(state, 2) ? CLV_F32 : CLV_F64,
                      random_layout(grid, state)};
}

/* ---- Norms ---------------------------------------------------------------------- */

static void norm_case(clv_grid *grid, clv_norm_kind kind, int leaves, uint64_t *state)
{
    enum { X, Y, DY, DX };
    side sides[SIDES];
    clv_spec x = draw(grid, state);
    begin(sides, grid, leaves);
    for (int w = 0; w < SIDES; w++) {
        side *s = &sides[w];
        clv_norm_config config = {.x = on(w, x), .kind = kind};
        if (!CHECK_OK(clv_norm_create(s->params, "n", &config, &s->layer))) continue;
        fill_values(s->params, false, 9);
        fill_values(s->params, true, 9);
        for (int i = X; i <= DX; i++) make(s, w, i, x);
        CHECK_OK(clv_layer_forward(s->layer, s->x[X], s->x[Y]));
        CHECK_OK(clv_layer_backward(s->layer, s->x[DY], s->x[DX]));
    }
    check_matrix(sides, Y);
    check_matrix(sides, DX);
    check_grad(sides, "n.gain");
    if (kind == CLV_LAYER_NORM) check_grad(sides, "n.bias");
    end(sides);
}

static void norms_on(clv_grid *grid)
{
    static uint64_t state = 1; /* goes on from grid to grid */
    for (int i = 0; i < ROUNDS; i++)
        norm_case(grid, i % 2 ? CLV_RMS_NORM : CLV_LAYER_NORM, i % 3 ? 8 : 32, &state);
}

/* ---- Loss ------------------------------------------------------------------------- */

static void loss_case(clv_grid *grid, uint64_t *state)
{
    enum { X, TARGETS, DX };
    side sides[SIDES];
    clv_spec x = draw(grid, state);
    x.m = 97; /* many, so that another order would show */
    clv_spec targets = {.m = x.m, .n = 1, .m_unit = x.m_unit, .dtype = CLV_I32};
    double mean[SIDES] = {0};
    int64_t count[SIDES] = {0};
    targets.layout.rows = x.layout.rows;
    begin(sides, grid, 8);
    for (int w = 0; w < SIDES; w++) {
        side *s = &sides[w];
        clv_loss *loss = NULL;
        make(s, w, X, x);
        make(s, w, DX, x);
        fill_ids(make(s, w, TARGETS, targets), x.n);
        if (!CHECK_OK(clv_loss_create(s->grid, on(w, x), on(w, targets), &loss))) continue;
        CHECK_OK(clv_loss_forward(loss, s->x[X], s->x[TARGETS], &mean[w], &count[w]));
        CHECK_OK(clv_loss_backward(loss, s->x[DX]));
        clv_loss_destroy(&loss);
    }
    CHECK_INT(count[0], count[1]);
    check_bits(mean[0], mean[1]);
    check_matrix(sides, DX);
    end(sides);
}

static void losses_on(clv_grid *grid)
{
    static uint64_t state = 2;
    for (int i = 0; i < more_rounds(); i++) loss_case(grid, &state);
}

/* ---- Embeddings --------------------------------------------------------------------- */

static void embedding_case(clv_grid *grid, uint64_t *state)
{
    enum { X, Y, DY };
    side sides[SIDES];
    clv_spec y = draw(grid, state), w = y, x = {.m = y.m, .n = 1, .dtype = CLV_I32};
    w.m = 1 + check_random_below(state, 9); /* few: many tokens a row */
    w.layout = random_layout(grid, state);
    begin(sides, grid, 8);
    for (int which = 0; which < SIDES; which++) {
        side *s = &sides[which];
        clv_embedding_config config = {.x = x, .w = on(which, w), .y = on(which, y)};
        if (!CHECK_OK(clv_embedding_create(s->params, "e", &config, &s->layer))) continue;
        fill_values(s->params, false, 9);
        fill_ids(make(s, which, X, x), w.m);
        make(s, which, Y, y);
        make(s, which, DY, y);
        CHECK_OK(clv_layer_forward(s->layer, s->x[X], s->x[Y]));
        for (int twice = 0; twice < 2; twice++)
            CHECK_OK(clv_layer_backward(s->layer, s->x[DY], NULL));
    }
    check_matrix(sides, Y);
    check_grad(sides, "e.weight");
    end(sides);
}

static void embeddings_on(clv_grid *grid)
{
    static uint64_t state = 3;
    for (int i = 0; i < ROUNDS; i++) embedding_case(grid, &state);
}

/* ---- Attention ------------------------------------------------------------------------ */

/* Groups of heads of q that share k and v, turned. */
static void attention_case(clv_grid *grid, uint64_t *state)
{
    enum { X, Y, DY, DX };
    side sides[SIDES];
    int shared = 1 + (int)check_random_below(state, 5), g = 1 + (int)check_random_below(state, 3);
    clv_attention_config config = {.heads = shared * g, .kv_heads = shared, .rotary_base = 100};
    clv_transformer_shape shape = {.sequences = 1 + check_random_below(state, 9),
                                   .context = 7,
                                   .width = 6 * config.heads,
                                   .dtype = check_random_below(state, 2) ? CLV_F32 : CLV_F64};
    begin(sides, grid, 8);
    for (int which = 0; which < SIDES; which++) {
        side *s = &sides[which];
        shape.grid = s->grid;
        shape.layouts = (clv_transformer_layouts){0};
        if (which == 0) CHECK_OK(clv_transformer_layouts_of(s->grid, &shape.layouts));
        if (!CHECK_OK(clv_attention_create(s->params, "a", &shape, &config, &s->layer))) continue;
        fill_values(s->params, false, 9);
        for (int i = X; i <= DX; i++) make(s, which, i, clv_layer_input(s->layer));
        CHECK_OK(clv_layer_forward(s->layer, s->x[X], s->x[Y]));
        for (int twice = 0; twice < 2; twice++)
            CHECK_OK(clv_layer_backward(s->layer, s->x[DY], s->x[DX]));
    }
    check_matrix(sides, Y);
    check_matrix(sides, DX);
    for (int i = 0; i < clv_params_count(sides[0].params); i++)
        check_grad(sides, clv_params_at(sides[0].params, i)->name);
    end(sides);
}

static void attention_on(clv_grid *grid)
{
    static uint64_t state = 5;
    for (int i = 0; i < 2; i++) attention_case(grid, &state);
}

/* ---- Biases and the norm of all gradients --------------------------------------------- */

static void gradients_case(clv_grid *grid, uint64_t *state)
{
    enum { X, Y, DY };
    side sides[SIDES];
    clv_spec y = draw(grid, state), x = y, w;
    double norm[SIDES] = {0};
    y.n = check_random_below(state, 2) ? 131 : y.n;
    w = y;
    x.n = w.m = 3;
    w.layout = random_layout(grid, state);
    begin(sides, grid, 8);
    for (int which = 0; which < SIDES; which++) {
        side *s = &sides[which];
        clv_linear_config config = {.x = on(which, x), .w = on(which, w), .y = on(which, y)};
        if (!CHECK_OK(clv_linear_create(s->params, "l", &config, &s->layer))) continue;
        make(s, which, X, x);
        make(s, which, Y, y);
        make(s, which, DY, y);
        CHECK_OK(clv_layer_forward(s->layer, s->x[X], s->x[Y]));
        CHECK_OK(clv_layer_backward(s->layer, s->x[DY], NULL));
    }
    check_grad(sides, "l.bias");
    for (uint64_t key = 0; key < FILLS; key++) {
        for (int which = 0; which < SIDES; which++) {
            fill_values(sides[which].params, true, key);
            CHECK_OK(clv_params_grad_norm(sides[which].params, &norm[which]));
        }
        check_bits(norm[0], norm[1]);
    }
    end(sides);
}

static void gradients_on(clv_grid *grid)
{
    static uint64_t state = 4;
    for (int i = 0; i < more_rounds(); i++) gradients_case(grid, &state);
}

/* ---- Refusals ----------------------------------------------------------------------------- */

static void refused_on(clv_grid *grid)
{
    int P = check_size();
    CHECK_STATUS(clv_grid_set_leaves(grid, 3), CLV_EARG);
    CHECK_STATUS(clv_grid_set_leaves(grid, -8), CLV_EARG);
    CHECK_STATUS(clv_grid_set_leaves(grid, 2 * CLV_MAX_LEAVES), CLV_EARG);
    CHECK(strstr(clv_last_error(), "found 128") != NULL);
    CHECK_INT(clv_grid_leaves(grid), 0);
    if (P > 1 && P != 3) {
        CHECK_STATUS(clv_grid_set_leaves(grid, check_rank() ? 8 : 4), CLV_EMISMATCH);
        CHECK_INT(clv_grid_leaves(grid), 0);
    }
    if (P == 3) {
        CHECK_STATUS(clv_grid_set_leaves(grid, 8), CLV_EUNSUPPORTED);
        CHECK(strstr(clv_last_error(), "powers of two, found ") != NULL);
        CHECK(strstr(clv_last_error(), "=3") != NULL);
        CHECK_INT(clv_grid_leaves(grid), 0);
    }
}

/* More processes along one axis than leaves. */
static void too_few_leaves(void)
{
    clv_grid *grid = NULL;
    clv_params *params = NULL;
    clv_layer *layer = NULL;
    clv_param *param = NULL;
    clv_norm_config norm = {.x = {8, 8, 0, 0, CLV_F32, {.cols = clv_order_append(0, 0)}}};
    clv_spec row = {8, 8, 0, 0, CLV_F32, {.rows = clv_order_append(0, 0)}};
    if (check_size() < 4) return;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_grid_set_leaves(grid, 2));
    CHECK_OK(clv_params_create(grid, &params));
    CHECK_STATUS(clv_norm_create(params, "n", &norm, &layer), CLV_EUNSUPPORTED);
    CHECK_STATUS(clv_params_add(params, "w", norm.x, 0, 1, true, &param), CLV_EUNSUPPORTED);
    CHECK_OK(clv_params_add(params, "v", row, 0, 1, true, &param));
    norm.x = row;
    CHECK_STATUS(clv_norm_create(params, "m", &norm, &layer), CLV_EUNSUPPORTED);
    CHECK(strstr(clv_last_error(), "m.gain: reproducible mode adds 2 leaves") != NULL);
    clv_params_destroy(&params);
    clv_grid_destroy(&grid);
}

static void on_each_grid(void (*run)(clv_grid *grid))
{
    if (check_size() != 3) each_grid(false, run);
}

static void norms(void)
{
    on_each_grid(norms_on);
}
static void losses(void)
{
    on_each_grid(losses_on);
}
static void embeddings(void)
{
    on_each_grid(embeddings_on);
}
static void attention(void)
{
    if (check_size() != 3) each_grid(true, attention_on);
}
static void gradients(void)
{
    on_each_grid(gradients_on);
}
static void refused(void)
{
    each_grid(false, refused_on);
}

const check_case check_cases[] = {{"norms", norms},
                                  {"losses", losses},
                                  {"embeddings", embeddings},
                                  {"attention", attention},
                                  {"gradients", gradients},
                                  {"refused", refused},
                                  {"too few leaves", too_few_leaves},
                                  {0}};
