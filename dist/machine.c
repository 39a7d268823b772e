/* SPDX-License-Identifier: BSD-3-Clause
 *
 * machine.c: what the machine can do: defaults, profiles, and one model for all processes.
 *
 * What the options of a plan say comes before the profile that CLEAVE_PROFILE names, and that
 * before the defaults below. For a plan the profile of rank 0 counts on every process: whether the
 * others can read it, or have the same one, does not matter.
 */
#include <clvi_dist.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A key of a profile. The defaults are those of a present core and network: what they are good
 * for is to tell a cheap plan from a dear one. */
static const struct {
    const char *name;
    size_t offset;
    double value; /* by default */
} keys[] = {
    {"node_latency", offsetof(clv_machine, node_latency), 1e-6},
    {"node_bandwidth", offsetof(clv_machine, node_bandwidth), 8e9},
    {"net_latency", offsetof(clv_machine, net_latency), 5e-6},
    {"net_bandwidth", offsetof(clv_machine, net_bandwidth), 4e9},
    {"memory_bandwidth", offsetof(clv_machine, memory_bandwidth), 1.2e10},
    {"flops", offsetof(clv_machine, flops), 1e11},
    {"half_m", offsetof(clv_machine, half_m), 6},
    {"half_n", offsetof(clv_machine, half_n), 8},
    {"half_k", offsetof(clv_machine, half_k), 16},
};
enum { KEYS = sizeof keys / sizeof *keys };

static double *value_of(clv_machine *machine, int i)
{
    return (double *)((char *)machine + keys[i].offset);
}

static double get(const clv_machine *machine, int i)
{
    return *(const double *)((const char *)machine + keys[i].offset);
}

static int find_key(const char *name)
{
    int i = 0;
    while (i < KEYS && strcmp(keys[i].name, name) != 0) i++;
    return i;
}

/* ---- Profiles ---- */

static clv_status read_value(const char *path, const char *name, const json_t *json,
                             clv_machine *machine)
{
    clv_status status = CLV_OK;
    int i = find_key(name);
    char *found = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
    CLVI_CHECK(i < KEYS, CLV_EFORMAT, "profile \"%s\": unknown key \"%s\"", path, name);
    double value = json_is_number(json) ? json_number_value(json) : 0;
    CLVI_CHECK(value > 0, CLV_EFORMAT,
               "profile \"%s\": \"%s\": expected a positive number, found %s", path, name,
               found ? found : "something else");
    *value_of(machine, i) = value;
done:
    free(found);
    return status;
}

clv_status clv_machine_read(const char *path, clv_machine *machine)
{
    clv_status status = CLV_OK;
    json_t *root = NULL, *value;
    json_error_t error;
    const char *name;
    clv_machine result = {0};
    struct stat info;
    FILE *file = fopen(path, "r");
    CLVI_CHECK(file, errno == ENOENT ? CLV_ENOTFOUND : CLV_EIO, "profile \"%s\": %s", path,
               strerror(errno));
    CLVI_CHECK(fstat(fileno(file), &info) || !S_ISDIR(info.st_mode), CLV_EFORMAT,
               "profile \"%s\": expected a file written by cleave bench calibrate, found a folder",
               path);
    root = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    CLVI_CHECK(root, CLV_EFORMAT, "profile \"%s\": line %d: %s", path, error.line, error.text);
    CLVI_CHECK(json_is_object(root), CLV_EFORMAT, "profile \"%s\": expected one JSON object", path);
    json_object_foreach(root, name, value) CLVI_TRY(read_value(path, name, value, &result));
    *machine = result;
done:
    if (file) fclose(file);
    json_decref(root);
    return status;
}

clv_status clv_machine_write(const char *path, const clv_machine *machine)
{
    clv_status status = CLV_OK;
    json_t *root = json_object();
    bool complete = root != NULL;
    for (int i = 0; i < KEYS; i++)
        if (get(machine, i) != 0 &&
            json_object_set_new(root, keys[i].name, json_real(get(machine, i))) != 0)
            complete = false;
    CLVI_CHECK(complete, CLV_EARG, "profile \"%s\": expected finite numbers", path);
    errno = 0;
    CLVI_CHECK(json_dump_file(root, path, JSON_INDENT(4) | JSON_REAL_PRECISION(17)) == 0, CLV_EIO,
               "profile \"%s\": %s", path, strerror(errno));
done:
    json_decref(root);
    return status;
}

/* ---- Defaults ---- */

static void fill(clv_machine *machine, const clv_machine *from)
{
    for (int i = 0; i < KEYS; i++)
        if (get(machine, i) == 0) *value_of(machine, i) = get(from, i);
}

clv_status clv_machine_default(clv_machine *machine)
{
    clv_status status = CLV_OK;
    clv_machine result = {0}, defaults;
    const char *path = getenv("CLEAVE_PROFILE");
    if (path && *path) CLVI_TRY(clv_machine_read(path, &result));
    for (int i = 0; i < KEYS; i++) *value_of(&defaults, i) = keys[i].value;
    fill(&result, &defaults);
    *machine = result;
done:
    return status;
}

clv_status clvi_plan_defaults(const clv_plan_options *options, clv_plan_options *model)
{
    clv_status status = CLV_OK;
    clv_machine defaults;
    *model = options ? *options : (clv_plan_options){0};
    for (int i = 0; i < KEYS; i++) {
        double value = get(&model->machine, i);
        CLVI_CHECK(value >= 0 && isfinite(value), CLV_EARG,
                   "plan: %s: expected a positive number, or 0 for the default, found %g",
                   keys[i].name, value);
    }
    CLVI_TRY(clv_machine_default(&defaults));
    fill(&model->machine, &defaults);
done:
    return status;
}

/* ---- One model for all processes ---- */

static clv_status differs(const clv_grid *grid, const char *name, double root, double mine)
{
    if (root == mine || (root != root && mine != mine)) return CLV_OK;
    return clvi_fail(CLV_EMISMATCH, "processes disagree on %s: rank 0 has %.15g, rank %d %.15g",
                     name, root, clv_grid_rank(grid), mine);
}

static clv_status compare(const clv_grid *grid, const clv_plan_options *root,
                          const clv_plan_options *mine)
{
    clv_status status;
    CLVI_TRY(differs(grid, "the backend", root->backend, mine->backend));
    CLVI_TRY(differs(grid, "overwrite", root->overwrite, mine->overwrite));
    CLVI_TRY(differs(grid, "measure", root->measure, mine->measure));
    CLVI_TRY(differs(grid, "memory", (double)root->memory, (double)mine->memory));
    for (int i = 0; i < KEYS; i++)
        CLVI_TRY(differs(grid, keys[i].name, get(&root->machine, i), get(&mine->machine, i)));
done:
    return status;
}

clv_status clvi_plan_agree(clv_grid *grid, clv_status mine, const clv_plan_options *options,
                           clv_plan_options *model)
{
    clv_status status;
    clv_plan_options given = options ? *options : (clv_plan_options){0};
    struct {
        clv_plan_options given, model;
    } root = {.given = given};
    if (mine == CLV_OK && clv_grid_rank(grid) == 0) mine = clvi_plan_defaults(options, &root.model);
    CLVI_TRY(clv_grid_broadcast(grid, 0, &root, sizeof root));
    *model = root.model;
    if (mine == CLV_OK) mine = compare(grid, &root.given, &given);
    CLVI_TRY(clv_grid_agree(grid, mine));
done:
    return status;
}
