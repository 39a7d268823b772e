/* SPDX-License-Identifier: BSD-3-Clause
 *
 * embedding.c: Y[t,:] = E[X[t],:], E vocabulary x width sharded in any way.
 *
 * With E[v|c], each process looks up the ids that fall in its rows, of the tokens that are not
 * sharded by the axes of E (r: the rows of Y without v and c). What others have is zero:
 *
 *     forward    P[r|c;v] = rows of E[v|c]       Y = P
 *     backward   D[r|c] = dY                     T[v|c;r] = rows of D added up     dE += T
 *
 * Tokens are sorted by id, so that each row of T is added up at once, leaf by leaf of r in
 * ascending order of tokens, and the leaves as a tree. On a transformer's layouts P to Y is a
 * reduce-scatter, dY to D an all-gather: vocabulary-parallel embedding is no special case.
 */
#include <clvi_layers.h>
#include <string.h>

typedef struct {
    clv_layer base;
    clv_param *weight;
    clv_matrix *ids;   /* [r|-]                               */
    clv_matrix *P, *D; /* one memory: P is of the forward only */
    clv_matrix *T;     /* [v|c;r]                             */
    clv_plan *ids_to_rows, *P_to_Y, *dY_to_D;
    clvi_move *T_to_grad;
    clvi_leaves leaves; /* of r                                                         */
    int64_t *start;     /* [rows of E + 2]: where the tokens of each row begin, in       */
    int64_t *token;     /* [rows of D]: those of this process, by row, ascending         */
    void *work;         /* rows of T for the tree: one a level                           */
} embedding;

/* The row of E's block for the id of local token i, or -1 where another process has it. */
static int64_t row_of(const embedding *e, clv_block E, int64_t i)
{
    int64_t row = *(const int32_t *)clvi_at(clv_matrix_block(e->ids), CLV_I32, i, 0) - E.row0;
    return 0 <= row && row < E.m ? row : -1;
}

static clv_status forward(clv_layer *layer, const clv_matrix *X, clv_matrix *Y)
{
    embedding *e = (embedding *)layer;
    clv_dtype dtype = layer->y.dtype;
    clv_block E = clv_matrix_block(e->weight->value), P = clv_matrix_block(e->P);
    clv_status status;
    CLVI_TRY(clv_execute_move(e->ids_to_rows, 1, X, 0, e->ids));
    for (int64_t i = 0; i < P.m; i++) {
        int64_t row = row_of(e, E, i);
        if (row < 0)
            clvi_fill(dtype, P.n, 0, clvi_at(P, dtype, i, 0));
        else
            clvi_axpby(dtype, P.n, 1, clvi_at(E, dtype, row, 0), 0, clvi_at(P, dtype, i, 0));
    }
    CLVI_TRY(clv_execute_move(e->P_to_Y, 1, e->P, 0, Y));
done:
    return status;
}

/* Tokens of row v become token[start[v]] to token[start[v + 1]]: a counting sort, which keeps their
 * order. start is kept one row ahead while tokens are counted and put down. */
static void sort_tokens(embedding *e, clv_block T, int64_t tokens)
{
    int64_t *ahead = e->start + 1;
    memset(e->start, 0, (size_t)(T.m + 2) * sizeof *e->start);
    for (int64_t i = 0; i < tokens; i++) {
        int64_t row = row_of(e, T, i);
        if (row >= 0) ahead[row + 1]++;
    }
    for (int64_t row = 0; row < T.m; row++) ahead[row + 1] += ahead[row];
    for (int64_t i = 0; i < tokens; i++) {
        int64_t row = row_of(e, T, i);
        if (row >= 0) e->token[ahead[row]++] = i;
    }
}

/* into, zero before, becomes the sum of the rows of D of tokens [t, end), all of them in own leaves
 * [leaf, leaf + count). Where half the leaves have none, their sum is the zero that need not be
 * added. */
static void add_tokens(embedding *e, const int64_t *t, const int64_t *end, int leaf, int count,
                       void *into, char *work)
{
    clv_block D = clv_matrix_block(e->D);
    clv_dtype dtype = e->base.y.dtype;
    if (count == 1) {
        for (; t < end; t++) clvi_axpby(dtype, D.n, 1, clvi_at(D, dtype, *t, 0), 1, into);
        return;
    }
    const int64_t *middle = t;
    int half = count / 2;
    while (middle < end && *middle < e->leaves.edges[leaf + half]) middle++;
    if (t < middle) add_tokens(e, t, middle, leaf, half, into, work);
    if (middle == end) return;
    if (t == middle) {
        add_tokens(e, middle, end, leaf + half, half, into, work);
        return;
    }
    char *below = work + (size_t)D.n * clv_dtype_size(dtype);
    clvi_fill(dtype, D.n, 0, work);
    add_tokens(e, middle, end, leaf + half, half, work, below);
    clvi_axpby(dtype, D.n, 1, work, 1, into);
}

static clv_status backward(clv_layer *layer, const clv_matrix *dY, clv_matrix *dX)
{
    embedding *e = (embedding *)layer;
    clv_block T = clv_matrix_block(e->T);
    clv_status status;
    CLVI_CHECK(!dX, CLV_EARG, "embedding: expected NULL for dX (ids have no gradient)");
    CLVI_TRY(clv_execute_move(e->dY_to_D, 1, dY, 0, e->D));
    clv_matrix_fill(e->T, 0);
    sort_tokens(e, T, clv_matrix_block(e->D).m);
    for (int64_t row = 0; row < T.m; row++)
        add_tokens(e, e->token + e->start[row], e->token + e->start[row + 1], 0, e->leaves.own,
                   clvi_at(T, layer->y.dtype, row, 0), e->work);
    CLVI_TRY(clvi_move_execute(e->T_to_grad, 1, T, 1, clv_matrix_block(e->weight->grad)));
done:
    return status;
}

static void destroy(clv_layer *layer)
{
    embedding *e = (embedding *)layer;
    clv_plan_destroy(&e->ids_to_rows);
    clv_plan_destroy(&e->P_to_Y);
    clv_plan_destroy(&e->dY_to_D);
    clvi_move_destroy(&e->T_to_grad);
    clv_matrix_destroy(&e->ids);
    clv_matrix_destroy(&e->D); /* borrows P's memory */
    clv_matrix_destroy(&e->P);
    clv_matrix_destroy(&e->T);
    clvi_free(e->start);
    clvi_free(e->token);
    clvi_free(e->work);
}

static const clvi_layer_type type = {"embedding", forward, backward, destroy};

static clv_status check(const char *name, const clv_embedding_config *c)
{
    clv_status status;
    CLVI_TRY(clvi_check_values(name, "y", c->y));
    CLVI_CHECK(c->x.dtype == CLV_I32 && c->w.dtype == c->y.dtype, CLV_EDTYPE,
               "%s: expected x of i32 and one dtype for w and y, found %s, %s and %s", name,
               clv_dtype_name(c->x.dtype), clv_dtype_name(c->w.dtype), clv_dtype_name(c->y.dtype));
    CLVI_CHECK(!c->x.layout.sum, CLV_ELAYOUT, "%s: x: expected a layout without a pending sum",
               name);
    CLVI_TRY(clvi_check_extent(name, "columns of x", c->x.n, 1));
    CLVI_TRY(clvi_check_extent(name, "rows of y", c->y.m, c->x.m));
    CLVI_TRY(clvi_check_extent(name, "columns of y", c->y.n, c->w.n));
done:
    return status;
}

/* Memory for the order of the tokens and the tree. Local. */
static clv_status prepare_tree(embedding *e)
{
    clv_block T = clv_matrix_block(e->T), D = clv_matrix_block(e->D);
    int levels = 0;
    while (1 << levels < e->leaves.own) levels++;
    e->start = clvi_alloc((size_t)(T.m + 2) * sizeof *e->start);
    e->token = clvi_alloc((size_t)D.m * sizeof *e->token);
    e->work = clvi_alloc((size_t)levels * (size_t)D.n * clv_dtype_size(e->base.y.dtype));
    if (e->start && e->token && e->work) return CLV_OK;
    return clvi_fail(CLV_ENOMEM, "embedding: no memory for %lld tokens", (long long)D.m);
}

static clv_status create_workspace(embedding *e, clv_spec w)
{
    clv_grid *grid = e->base.grid;
    clv_spec x = e->base.x, y = e->base.y;
    clv_axes in_w = clv_order_set(w.layout.rows) | clv_order_set(w.layout.cols);
    clv_order rows = clvi_order_keep(y.layout.rows, ~in_w);

    clv_spec ids = {.m = x.m, .n = 1, .m_unit = y.m_unit, .dtype = CLV_I32, .layout.rows = rows};
    clv_spec D = {.m = y.m,
                  .n = y.n,
                  .m_unit = y.m_unit,
                  .n_unit = w.n_unit,
                  .dtype = y.dtype,
                  .layout = {.rows = rows, .cols = w.layout.cols}};
    clv_spec P = D, T = w;
    P.layout.sum = clv_order_set(w.layout.rows);
    T.layout.sum = clv_order_set(rows);

    clv_status status;
    CLVI_TRY(clvi_leaves_check(grid, e->weight->name, rows));
    e->leaves = clvi_leaves_of(grid, y.m, y.m_unit, rows);
    CLVI_TRY(clv_matrix_create(grid, ids, &e->ids));
    CLVI_TRY(clv_matrix_create(grid, P, &e->P));
    clv_block block = clv_matrix_block(e->P);
    CLVI_TRY(clv_matrix_wrap(grid, D, block.data, block.ld, &e->D));
    CLVI_TRY(clv_matrix_create(grid, T, &e->T));
    CLVI_TRY(clvi_plan_move_specs(grid, x, ids, &e->ids_to_rows));
    CLVI_TRY(clvi_plan_move_specs(grid, P, y, &e->P_to_Y));
    CLVI_TRY(clvi_plan_move_specs(grid, y, D, &e->dY_to_D));
    CLVI_TRY(clvi_plan_sum(e->T, rows, e->weight->grad, &e->T_to_grad));
    CLVI_TRY(clv_grid_agree(grid, prepare_tree(e)));
done:
    return status;
}

clv_status clv_embedding_create(clv_params *params, const char *name,
                                const clv_embedding_config *config, clv_layer **layer)
{
    clv_grid *grid = clv_params_grid(params);
    double std = config->std != 0 ? config->std : 0.02;
    clv_status status;
    *layer = NULL;
    CLVI_TRY(clv_grid_agree(grid, check(name, config)));
    CLVI_TRY(clvi_layer_create(grid, sizeof(embedding), &type, config->x, config->y, layer));
    embedding *e = (embedding *)*layer;
    CLVI_TRY(clvi_params_add_part(params, name, "weight", config->w, 0, std, true, &e->weight));
    CLVI_TRY(create_workspace(e, config->w));
done:
    if (status != CLV_OK) clv_layer_destroy(layer);
    return status;
}
