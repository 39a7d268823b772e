/* SPDX-License-Identifier: BSD-3-Clause
 *
 * product.c: the executor of products.
 */
#include <clvi_dist.h>
#include <stdlib.h>

enum { A = CLVI_A, B = CLVI_B, C = CLVI_C, OPERANDS = CLVI_OPERANDS };

typedef clvi_problem problem;

struct clvi_product {
    clvi_problem of;
    clvi_candidate chosen;
    clv_block local[OPERANDS];  /* blocks of the local product; data where memory is ours    */
    bool view[2];               /* A or B is read where it lies                              */
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
    if (!(block->data = clvi_shared_alloc(p->grid, bytes)))
        return clvi_fail(CLV_ENOMEM, "rank %d: %zu bytes of workspace for a product",
                         clv_grid_rank(p->grid), bytes);
    return operand == C ? clvi_move_create(p->grid, local, caller, product->chosen.k,
                                           (clvi_exchange_options){.accumulate = true},
                                           &product->moves[operand])
                        : clvi_move_create(p->grid, caller, local, 0, (clvi_exchange_options){0},
                                           &product->moves[operand]);
}

uint64_t clvi_product_memory(const clvi_problem *problem, const clvi_candidate *candidate)
{
    (void)problem, (void)candidate;
    return 0;
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
        if (!clvi_spec_equal(p->given[i], product->chosen.specs[i]))
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
    for (int i = 0; i < OPERANDS && status == CLV_OK; i++) status = prepare(product, i);
    CLVI_TRY(clv_grid_agree(problem->grid, status));
done:
    if (status != CLV_OK) clvi_product_destroy(out);
    return status;
}

void clvi_product_destroy(clvi_product **product)
{
    if (!*product) return;
    for (int i = 0; i < OPERANDS; i++) {
        clvi_move_destroy(&(*product)->moves[i]);
        clvi_shared_free((*product)->of.grid, (*product)->local[i].data);
    }
    free(*product);
    *product = NULL;
}

/* ---- Executing ---- */

/* The block of A or B that the local product reads. */
static clv_status bring(clvi_product *product, int operand, clv_block from, clv_block *out)
{
    *out = product->local[operand];
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
