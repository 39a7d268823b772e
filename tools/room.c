/* SPDX-License-Identifier: BSD-3-Clause
 *
 * room.c: whether a model can fit into memory at all. Linux promises memory that it does not have
 * and kills whoever touches it; a wrong --width should give a sentence instead.
 */
#include "tool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOST_BITS = 50 };

static double hidden_of(const clv_gpt_config *c)
{
    return c->hidden ? (double)c->hidden : 4 * (double)c->width;
}

/* Columns of q, k and v. */
static double qkv_of(const clv_gpt_config *c)
{
    double shared = c->kv_heads ? (double)c->kv_heads / (double)c->heads : 1;
    return (1 + 2 * shared) * (double)c->width;
}

static double parameters_of(const clv_gpt_config *c)
{
    double width = (double)c->width, products = c->mlp == CLV_MLP_SWIGLU ? 3 : 2;
    double tokens = (c->tied ? 1 : 2) * (double)c->vocabulary;
    double positions = c->position == CLV_POSITION_ROTARY ? 0 : (double)c->context;
    double layer = qkv_of(c) + width + products * hidden_of(c);
    return (tokens + positions + (double)c->layers * layer) * width;
}

/* A floor, not a forecast: parameters are sharded over every axis but data, activations (each
 * layer's few copies of X, q, k, v and the hidden features, and the logits) over all. */
static double bytes_per_rank(const clv_grid *grid, const clv_gpt_config *c, int64_t sequences,
                             bool training)
{
    int axis = clv_grid_find(grid, "data"), size = clv_grid_size(grid);
    int data = axis < 0 ? 1 : clv_grid_axis(grid, axis).size;
    double tokens = (double)sequences * (double)c->context, copies = training ? 4 : 2;
    double layer = 3 * (double)c->width + qkv_of(c) + hidden_of(c);
    double activations = tokens * ((double)c->layers * layer + (double)c->vocabulary);
    double elements = copies * parameters_of(c) * data / size + activations / size;
    return elements * (double)clv_dtype_size(c->dtype);
}

static double machine_memory(void)
{
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

/* A number that tells hosts apart and that a double holds exactly. */
static double host_number(void)
{
    char name[256] = "";
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    gethostname(name, sizeof name - 1);
    for (const char *c = name; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return (double)(hash >> (64 - HOST_BITS));
}

/* The sum of the ranks' values on this rank's node, and the number of nodes. Collective. */
static clv_status sum_on_node(clv_grid *grid, double value, double *sum, int *nodes)
{
    int size = clv_grid_size(grid), rank = clv_grid_rank(grid);
    double *hosts = calloc(2 * (size_t)size, sizeof *hosts), *values = hosts ? hosts + size : NULL;
    clv_status status =
        hosts ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for the names of %d hosts", size);
    *sum = *nodes = 0;
    TRY(clv_grid_agree(grid, status));
    hosts[rank] = host_number();
    values[rank] = value;
    TRY(clv_grid_reduce(grid, CLV_SUM, 2 * size, hosts));
    for (int r = 0; r < size; r++) {
        int earlier = 0;
        for (int q = 0; q < r; q++) earlier += hosts[q] == hosts[r];
        *nodes += !earlier;
        if (hosts[r] == hosts[rank]) *sum += values[r];
    }
done:
    free(hosts);
    return status;
}

clv_status room_neighbours(clv_grid *grid, int *neighbours, int *nodes)
{
    double ranks;
    clv_status status = sum_on_node(grid, 1, &ranks, nodes);
    *neighbours = (int)ranks;
    return status;
}

clv_status room_nodes(clv_grid *grid, int *nodes, int *ranks)
{
    int size = clv_grid_size(grid), rank = clv_grid_rank(grid), same = 1;
    const char *text = getenv("CLEAVE_NODE_SIZE");
    double pretended; /* ranks of a node, as the library reads it: 2, 1K */
    double *numbers = calloc((size_t)size, sizeof *numbers);
    clv_status status =
        numbers ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for the names of %d hosts", size);
    TRY(clv_grid_agree(grid, status));
    /* The library takes n consecutive ranks of a host for a node. */
    if (!text || !bytes_parse(text, &pretended)) pretended = 0;
    numbers[rank] = host_number() + (pretended > 0 ? floor(rank / pretended) : 0);
    TRY(clv_grid_reduce(grid, CLV_SUM, size, numbers));
    while (same < size && numbers[same] == numbers[0]) same++;
    *nodes = size / same, *ranks = size % same ? 0 : same;
    for (int r = 0; r < size && *ranks; r++) {
        bool first = r % same == 0, changes = r > 0 && numbers[r] != numbers[r - 1];
        if (r > 0 && first != changes) *ranks = 0;
    }
done:
    free(numbers);
    return status;
}

clv_status room_for(clv_grid *grid, const char *what, double bytes)
{
    static const double gib = 1 << 30;
    double needed, memory = machine_memory();
    int nodes;
    clv_status status = sum_on_node(grid, bytes, &needed, &nodes);
    if (status != CLV_OK) return status;
    double worst[] = {needed / memory};
    status = clv_grid_reduce(grid, CLV_MAX, 1, worst);
    if (status == CLV_OK && worst[0] > 1)
        status = tool_fail(CLV_ELIMIT,
                           "%s not fit: expected at most %.1f GiB, the memory of this machine, "
                           "found at least %.1f GiB",
                           what, memory / gib, needed / gib);
    return status;
}

clv_status room_check(clv_grid *grid, const clv_gpt_config *model, int64_t sequences, bool training)
{
    char what[80];
    snprintf(what, sizeof what, "the model of %.0f parameters does", parameters_of(model));
    return room_for(grid, what, bytes_per_rank(grid, model, sequences, training));
}
