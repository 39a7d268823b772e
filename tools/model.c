/* SPDX-License-Identifier: BSD-3-Clause
 *
 * model.c: a trained model out of a checkpoint, for those who only use it.
 */
#include "tool.h"

#include <stdlib.h>

clv_status model_open(model_args *args, int64_t sequences, model *m)
{
    clv_status status;
    record *r = &args->record;
    *m = (model){0};
    TRY(output_check_name("--load", args->load));
    TRY(record_resume(args->load, args->options, true, r, &m->file));
    TRY(tool_model_grid(args->grid, sequences, args->reproducible ? CLV_LEAVES : 0, &m->grid));
    TRY(room_check(m->grid, &r->model, sequences, false));
    TRY(tool_misuse(clv_gpt_create(m->grid, &r->model, sequences, &m->gpt)));
    TRY(record_load(m->grid, m->file, clv_gpt_params(m->gpt), NULL));
done:
    return status;
}

void model_close(model *m)
{
    clv_gpt_destroy(&m->gpt);
    clv_grid_destroy(&m->grid);
    free(m->file);
}
