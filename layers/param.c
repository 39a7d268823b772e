/* SPDX-License-Identifier: BSD-3-Clause
 *
 * param.c: parameters by name, in the order they were added.
 */
#include <clvi_layers.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Parameters do not move once added: the list holds pointers to them. */
struct clv_params {
    clv_grid *grid;
    clv_param **list;
    int count, room;
};

static void destroy_param(clv_param *param)
{
    if (!param) return;
    clv_matrix_destroy(&param->value);
    clv_matrix_destroy(&param->grad);
    clvi_free(param);
}

/* Room for one more pointer. */
static clv_status reserve(clv_params *params)
{
    if (params->count < params->room) return CLV_OK;
    int room = 2 * params->room + 16;
    clv_param **list = clvi_alloc((size_t)room * sizeof *list);
    if (!list) return clvi_fail(CLV_ENOMEM, "a list of %d parameters", room);
    if (params->count) memcpy(list, params->list, (size_t)params->count * sizeof *list);
    clvi_free(params->list);
    params->list = list;
    params->room = room;
    return CLV_OK;
}

/* A parameter and the copy of its name in one piece of memory. */
static clv_status allocate(const char *name, double mean, double std, bool decay, clv_param **out)
{
    clv_param *param = *out = clvi_alloc(sizeof *param + strlen(name) + 1);
    if (!param) return clvi_fail(CLV_ENOMEM, "parameter %s", name);
    *param = (clv_param){
        .name = strcpy((char *)(param + 1), name), .mean = mean, .std = std, .decay = decay};
    return CLV_OK;
}

static clv_status check_new(const clv_params *params, const char *name, clv_spec spec)
{
    char text[96];
    if (clv_params_find(params, name))
        return clvi_fail(CLV_EARG, "parameter %s: expected a new name, found one already added",
                         name);
    if (spec.layout.sum)
        return clvi_fail(CLV_ELAYOUT, "parameter %s: expected no pending sum, found %s", name,
                         clvi_spec_format(params->grid, spec, text, sizeof text));
    return clvi_leaves_check(params->grid, name, spec.layout.cols);
}

clv_status clv_params_create(clv_grid *grid, clv_params **params)
{
    *params = clvi_alloc(sizeof **params);
    if (!*params) return clvi_fail(CLV_ENOMEM, "a list of parameters");
    (*params)->grid = grid;
    return CLV_OK;
}

void clv_params_destroy(clv_params **params)
{
    if (!*params) return;
    for (int i = 0; i < (*params)->count; i++) destroy_param((*params)->list[i]);
    clvi_free((*params)->list);
    clvi_free(*params);
    *params = NULL;
}

clv_status clv_params_add(clv_params *params, const char *name, clv_spec spec, double mean,
                          double std, bool decay, clv_param **param)
{
    clv_param *new = NULL;
    clv_status status = check_new(params, name, spec);
    if (status == CLV_OK) status = reserve(params);
    if (status == CLV_OK) status = allocate(name, mean, std, decay, &new);
    CLVI_TRY(clv_grid_agree(params->grid, status));
    CLVI_TRY(clv_matrix_create(params->grid, spec, &new->value));
    CLVI_TRY(clv_matrix_create(params->grid, spec, &new->grad));
    params->list[params->count++] = *param = new;
    new = NULL;
done:
    destroy_param(new);
    return status;
}

clv_status clvi_name_join(char buffer[CLVI_NAME_SIZE], const char *name, const char *part)
{
    if (snprintf(buffer, CLVI_NAME_SIZE, "%s.%s", name, part) < CLVI_NAME_SIZE) return CLV_OK;
    return clvi_fail(CLV_ELIMIT, "%s.%s: expected a name of less than %d bytes", name, part,
                     CLVI_NAME_SIZE);
}

clv_status clvi_params_add_part(clv_params *params, const char *name, const char *part,
                                clv_spec spec, double mean, double std, bool decay,
                                clv_param **param)
{
    char full[CLVI_NAME_SIZE];
    clv_status status;
    CLVI_TRY(clvi_name_join(full, name, part));
    CLVI_TRY(clv_params_add(params, full, spec, mean, std, decay, param));
done:
    return status;
}

clv_grid *clv_params_grid(const clv_params *params)
{
    return params->grid;
}

int clv_params_count(const clv_params *params)
{
    return params->count;
}

clv_param *clv_params_at(const clv_params *params, int i)
{
    assert(0 <= i && i < params->count);
    return params->list[i];
}

clv_param *clv_params_find(const clv_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++)
        if (strcmp(params->list[i]->name, name) == 0) return params->list[i];
    return NULL;
}

int64_t clv_params_elements(const clv_params *params)
{
    int64_t elements = 0;
    for (int i = 0; i < params->count; i++) {
        clv_spec spec = clv_matrix_spec(params->list[i]->value);
        elements += spec.m * spec.n;
    }
    return elements;
}

clv_status clv_params_init(clv_params *params, uint64_t seed)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < params->count; i++) {
        clv_param *p = params->list[i];
        CLVI_TRY(
            clv_matrix_fill_normal(p->value, seed, clvi_hash_string(p->name), p->mean, p->std));
    }
done:
    return status;
}

void clv_params_zero_grad(clv_params *params)
{
    for (int i = 0; i < params->count; i++) clv_matrix_fill(params->list[i]->grad, 0);
}

/* The squares of this process's block, row by row and leaf by leaf: they are the same numbers on
 * every grid in reproducible mode, and added exactly. */
static void add_squares(const clv_grid *grid, const clv_matrix *x, clvi_exact *squares)
{
    clv_spec spec = clv_matrix_spec(x);
    clv_block block = clv_matrix_block(x);
    clvi_leaves leaves = clvi_leaves_of(grid, spec.n, spec.n_unit, spec.layout.cols);
    for (int64_t row = 0; row < block.m; row++)
        for (int l = 0; l < leaves.own; l++) {
            int64_t begin = leaves.edges[l], n = leaves.edges[l + 1] - begin;
            if (n == 0) continue;
            const void *part = clvi_at(block, spec.dtype, row, begin);
            clvi_exact_add(squares, clvi_sum_squares(spec.dtype, n, part));
        }
}

/* The Euclidean norm of all values or gradients together, each element counted once. */
static clv_status norm_of(clv_params *params, bool of_grads, double *norm)
{
    clvi_exact squares = {0};
    double unused = 0;
    for (int i = 0; i < params->count; i++) {
        const clv_matrix *x = of_grads ? params->list[i]->grad : params->list[i]->value;
        if (clvi_matrix_is_first_copy(x)) add_squares(params->grid, x, &squares);
    }
    clv_status status = clvi_exact_reduce(params->grid, &squares, &unused);
    *norm = sqrt(clvi_exact_value(&squares));
    return status;
}

clv_status clv_params_grad_norm(clv_params *params, double *norm)
{
    return norm_of(params, true, norm);
}

clv_status clvi_params_check_finite(clv_params *params)
{
    double norm = 0;
    clv_status status = norm_of(params, false, &norm);
    if (status != CLV_OK || isfinite(norm)) return status;
    return clvi_fail(CLV_ENUMERIC, "expected finite parameters, found a norm of %g", norm);
}
