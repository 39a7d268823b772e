/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_product.h: what the files of the executor of products share.
 */
#ifndef CLVI_PRODUCT_H
#define CLVI_PRODUCT_H

#include <clvi_dist.h>

/* ---- operand.c: how A or B comes to the local product ---------------------------- */

typedef struct clvi_supply clvi_supply;

/* From the layout in which the caller has it to that of the local product; both as stored. */
typedef struct {
    clv_spec given, local;
    bool staged;     /* given is the caller's memory: neighbours cannot read it          */
    bool keep, lent; /* for another product; by another product                          */
    int panels;      /* it comes in so many parts of its rows, or of its columns         */
    bool by_columns;
} clvi_supply_args;

/* Everything but memory, which is lent: _memory bytes, aligned to a cache line, shared. Local. */
clv_status clvi_supply_create(clv_grid *grid, const clvi_supply_args *args, clvi_supply **out);
void clvi_supply_destroy(clvi_supply **supply);
uint64_t clvi_supply_memory(const clvi_supply *supply);
void clvi_supply_lend(clvi_supply *supply, void *space);

/* reader, created as lent, reads what maker, created to be kept, has moved last. */
bool clvi_supply_borrow(clvi_supply *reader, const clvi_supply *maker);

/* One execution: begin; for each panel, `panel` waits until it is there, starts the next one
 * on its way and sets the tiles of *operand; `end` when it is multiplied. Collective. */
clv_status clvi_supply_begin(clvi_supply *supply, clv_block src);
clv_status clvi_supply_panel(clvi_supply *supply, int panel, clv_block src, clvi_operand *operand);
clv_status clvi_supply_end(clvi_supply *supply, int panel, int panels);

#endif
