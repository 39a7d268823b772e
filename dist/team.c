/* SPDX-License-Identifier: BSD-3-Clause
 *
 * team.c: products that are planned together, some of which read what others have gathered.
 */
#include "clvi_planner.h"

clv_spec clvi_stored(const clvi_problem *problem, int operand, clv_spec spec)
{
    return operand != CLVI_C && problem->trans[operand] ? clvi_spec_transposed(spec) : spec;
}

clv_status clvi_team_create(const clvi_team *team, clvi_product *products[CLVI_TEAM])
{
    clv_status status = CLV_OK;
    clvi_candidate ways[CLVI_TEAM];
    for (int i = 0; i < CLVI_TEAM; i++) products[i] = NULL;
    for (int i = 0; i < team->count; i++) ways[i] = team->ways[i];
    for (const clvi_share *s = team->shares; s < team->shares + team->nshares; s++) {
        ways[s->maker].keep[s->made] = true;
        ways[s->reader].lent[s->operand] = true;
    }
    for (int i = 0; i < team->count; i++)
        CLVI_TRY(clvi_product_create(team->problems[i], &ways[i], &products[i]));
    for (const clvi_share *s = team->shares; s < team->shares + team->nshares; s++)
        CLVI_CHECK(clvi_product_lend(products[s->maker], s->made, products[s->reader], s->operand),
                   CLV_EARG,
                   "products planned together: what they share does not lie the same in both");
done:
    if (status != CLV_OK) clvi_team_destroy(products);
    return status;
}

void clvi_team_destroy(clvi_product *products[CLVI_TEAM])
{
    for (int i = 0; i < CLVI_TEAM; i++) clvi_product_destroy(&products[i]);
}
