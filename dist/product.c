/* SPDX-License-Identifier: BSD-3-Clause
 *
 * product.c: the executor of products.
 */
#include <clvi_dist.h>
#include <stdlib.h>

enum { A = CLVI_A, B = CLVI_B, C = CLVI_C, OPERANDS = CLVI_OPERANDS };

typedef clvi_problem problem;

/* Memory of a gathered operand, which several products may read. */
typedef struct {
    void *data;
    size_t bytes;
    int users;
} buffer;

struct clvi_product {
    clvi_problem of;
    clvi_candidate chosen;
    clv_block local[OPERANDS]; /* blocks of the local product; data where memory is ours    */
    bool view[2];              /* A or B is read where it lies                              */
    bool made[2];              /* A or B is read where another product gathered it          */
    buffer *buffers[OPERANDS];
    clvi_move *moves[OPERANDS]; /* NULL: nothing to move                                    */
};

static clv_spec stored(const problem *p, int operand, clv_spec spec)
{
    return operand != C && p->trans[operand] ? clvi_spec_transposed(spec) : spec;
}

/* ---- Planning ---- */

/* Memory and messages for one operand. Local. */
static clv_status prepare(clvi_product *product, int operand)
{
    const problem *p = &product->of;
    clv_spec caller = stored(p, operand, p->given[operand]);
    clv_spec local = stored(p, operand, product->chosen.specs[operand]);
    product->local[operand] = clv_spec_block(p->grid, local, clv_grid_rank(p->grid));
    if (operand != C && (product->view[operand] = clvi_move_is_view(p->grid, caller, local)))
        return CLV_OK;
    if (operand == C && clvi_spec_equal(caller, local)) return CLV_OK;
    clv_block *block = &product->local[operand];
    size_t bytes = (size_t)(block->m * block->n) * clv_dtype_size(p->dtype);
    product->buffers[operand] = calloc(1, sizeof(buffer));
    if (product->buffers[operand]) block->data = clvi_alloc(bytes);
    if (product->buffers[operand]) *product->buffers[operand] = (buffer){block->data, bytes, 1};
    if (!block->data)
        return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes of workspace for a product",
                         clv_grid_rank(p->grid), bytes);
    return operand == C ? clvi_move_create(p->grid, local, caller, product->chosen.k,
                                           (clvi_exchange_options){.accumulate = true},
                                           &product->moves[operand])
                        : clvi_move_create(p->grid, caller, local, 0, (clvi_exchange_options){0},
                                           &product->moves[operand]);
}

/* Workspace of a move: what lies between two routes, and a slot for each message. */
static uint64_t move_memory(const clv_grid *grid, clv_spec src, clv_spec dst, bool accumulate)
{
    clvi_route routes[2];
    int rank = clv_grid_rank(grid), n = clvi_move_routes(grid, src, dst, routes);
    uint64_t bytes = 0;
    for (int i = 0; i < n; i++) {
        clvi_volume volume = clvi_route_volume(grid, &routes[i], rank);
        bool ends = routes[i].src.layout.sum & ~routes[i].dst.layout.sum;
        if (ends || (accumulate && i == n - 1)) bytes += volume.bytes + 64 * volume.messages;
    }
    clv_block middle = clvi_route_target(grid, &routes[0], rank);
    return bytes + (n == 2 ? (uint64_t)(middle.m * middle.n) * clv_dtype_size(dst.dtype) : 0);
}

uint64_t clvi_product_memory(const clvi_problem *p, const clvi_candidate *candidate)
{
    uint64_t total = 0;
    for (int i = 0; i < OPERANDS; i++) {
        clv_spec caller = p->given[i], local = candidate->specs[i];
        if (i == C ? clvi_spec_equal(caller, local) : clvi_move_is_view(p->grid, caller, local))
            continue;
        clv_block block = clv_spec_block(p->grid, local, clv_grid_rank(p->grid));
        total += (uint64_t)(block.m * block.n) * clv_dtype_size(p->dtype);
        total += i == C ? move_memory(p->grid, local, caller, true)
                        : move_memory(p->grid, caller, local, false);
    }
    return total;
}

uint64_t clvi_product_held(const clvi_product *product)
{
    uint64_t total = clvi_product_memory(&product->of, &product->chosen);
    for (int i = A; i <= B; i++)
        if (product->made[i]) total -= product->buffers[i]->bytes;
    return total;
}

void clvi_product_explain(const clvi_product *product, clv_plan *plan)
{
    const problem *p = &product->of;
    static const char *const names[OPERANDS] = {"A", "B", "C"};
    char text[OPERANDS][96];
    int rank = clv_grid_rank(p->grid);
    clv_block a = clv_spec_block(p->grid, product->chosen.specs[A], rank);
    clv_block c = clv_spec_block(p->grid, product->chosen.specs[C], rank);
    for (int i = 0; i < OPERANDS; i++)
        clv_layout_format(p->grid, product->chosen.specs[i].layout, text[i], sizeof text[i]);
    for (int i = A; i <= B; i++)
        if (!product->made[i] && !clvi_spec_equal(p->given[i], product->chosen.specs[i]))
            clvi_plan_add_move(plan, names[i], stored(p, i, p->given[i]),
                               stored(p, i, product->chosen.specs[i]));
    clvi_plan_add_step(plan, (clvi_volume){0},
                       clvi_cost_product(&p->options->machine, p->dtype, c.m, c.n, a.n),
                       "%-14s C[%s] = op(A)[%s] op(B)[%s]", "multiply", text[C], text[A], text[B]);
    if (product->moves[C]) clvi_plan_add_move(plan, "C", product->chosen.specs[C], p->given[C]);
}

clv_status clvi_product_create(const clvi_problem *problem, const clvi_candidate *candidate,
                               clvi_product **out)
{
    clv_status status = CLV_OK;
    clvi_product *product = *out = calloc(1, sizeof *product);
    if (!product) status = clvi_fail(CLV_ENOMEM, "the plan of a product");
    CLVI_TRY(clv_grid_agree(problem->grid, status));
    product->of = *problem;
    product->chosen = *candidate;
    for (int i = A; i <= B; i++)
        if (problem->given[i].dtype != problem->dtype)
            status =
                clvi_fail(CLV_EDTYPE, "gemm: expected operands of the type of C, %s, found %s",
                          clv_dtype_name(problem->dtype), clv_dtype_name(problem->given[i].dtype));
    for (int i = 0; i < OPERANDS && status == CLV_OK; i++) status = prepare(product, i);
    CLVI_TRY(clv_grid_agree(problem->grid, status));
done:
    if (status != CLV_OK) clvi_product_destroy(out);
    return status;
}

static void release(buffer *b)
{
    if (!b || --b->users > 0) return;
    clvi_free(b->data);
    free(b);
}

bool clvi_product_keep(clvi_product *maker, int made, clvi_product *reader, int operand)
{
    clv_spec there = stored(&maker->of, made, maker->chosen.specs[made]);
    clv_spec here = stored(&reader->of, operand, reader->chosen.specs[operand]);
    if (!maker->buffers[made] || !reader->buffers[operand]) return false;
    if (!clvi_spec_equal(there, here)) return false;
    clvi_move_destroy(&reader->moves[operand]);
    release(reader->buffers[operand]);
    reader->buffers[operand] = maker->buffers[made];
    reader->buffers[operand]->users++;
    reader->local[operand].data = reader->buffers[operand]->data;
    return reader->made[operand] = true;
}

void clvi_product_destroy(clvi_product **product)
{
    if (!*product) return;
    for (int i = 0; i < OPERANDS; i++) {
        clvi_move_destroy(&(*product)->moves[i]);
        release((*product)->buffers[i]);
    }
    free(*product);
    *product = NULL;
}

/* ---- Executing ---- */

/* The block of A or B that the local product reads. */
static clv_status bring(clvi_product *product, int operand, clv_block from, clv_block *out)
{
    *out = product->local[operand];
    if (product->made[operand]) return CLV_OK;
    if (product->view[operand]) {
        *out = clvi_block_view(from, product->of.dtype, *out);
        return CLV_OK;
    }
    return clvi_move_execute(product->moves[operand], 1, from, 0, *out);
}

clv_status clvi_product_execute(clvi_product *product, double alpha, clv_block a, clv_block b,
                                double beta, clv_block c)
{
    clv_status status;
    const problem *p = &product->of;
    CLVI_TRY(bring(product, A, a, &a));
    CLVI_TRY(bring(product, B, b, &b));
    clv_block to = product->moves[C] ? product->local[C] : c;
    int64_t k = p->trans[A] ? a.m : a.n;
    clvi_gemm(p->dtype, p->trans[A], p->trans[B], to.m, to.n, k, alpha, a.data, a.ld, b.data, b.ld,
              product->moves[C] ? 0 : beta, to.data, to.ld);
    if (product->moves[C]) CLVI_TRY(clvi_move_execute(product->moves[C], 1, to, beta, c));
done:
    return status;
}
