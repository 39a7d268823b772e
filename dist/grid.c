/* SPDX-License-Identifier: BSD-3-Clause
 *
 * grid.c: processes along named axes. The grid owns the only communicator: everything else is
 * messages between ranks that coordinates name, so no axis needs a communicator of its own.
 */
#include "clvi_node.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 32, KEPT_MAX = 8 };

struct clv_grid {
    MPI_Comm comm;
    int rank, size, naxes;
    int sizes[CLV_MAX_AXES];
    char names[CLV_MAX_AXES][NAME_SIZE];
    int leaves;
    clvi_node *node;
    clv_traffic traffic;
    struct {
        void *object;
        void (*destroy)(void *);
    } kept[KEPT_MAX];
    int nkept;
};

static bool name_is_valid(const char *name)
{
    if (!name || !isalpha((unsigned char)name[0]) || strlen(name) >= NAME_SIZE) return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_') return false;
    return true;
}

/* A launcher of another MPI starts N times "rank 0 of 1", and every one exits 0. */
static clv_status check_launcher(void)
{
    static const char *const variables[] = {"PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE"};
    int world = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &world);
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *text = getenv(variables[i]);
        if (text && world == 1 && atoi(text) > 1)
            return clvi_fail(CLV_EMPI,
                             "the launcher started %s processes (%s), but MPI sees 1: start with "
                             "mpiexec.mpich, the launcher of the MPI that Cleave is built with",
                             text, variables[i]);
    }
    return CLV_OK;
}

static clv_status set_axes(clv_grid *grid, int naxes, const clv_axis axes[])
{
    if (naxes < 1 || naxes > CLV_MAX_AXES)
        return clvi_fail(CLV_EARG, "a grid has 1 to %d axes, found %d", CLV_MAX_AXES, naxes);
    int64_t product = 1;
    for (int i = 0; i < naxes; i++) {
        if (!name_is_valid(axes[i].name))
            return clvi_fail(CLV_EARG,
                             "axis %d: expected a name of at most %d letters, digits and '_' that "
                             "begins with a letter, found \"%s\"",
                             i, NAME_SIZE - 1, axes[i].name ? axes[i].name : "(null)");
        if (clv_grid_find(grid, axes[i].name) >= 0)
            return clvi_fail(CLV_EARG, "grid axis \"%s\" is named twice", axes[i].name);
        if (axes[i].size < 1)
            return clvi_fail(CLV_EARG, "grid axis \"%s\": expected a size of at least 1, found %d",
                             axes[i].name, axes[i].size);
        strcpy(grid->names[i], axes[i].name);
        grid->sizes[i] = axes[i].size;
        grid->naxes = i + 1;
        product *= axes[i].size;
        if (product > INT32_MAX) product = INT32_MAX;
    }
    if (product != grid->size)
        return clvi_fail(CLV_EARG,
                         "the product of the grid's axes is %lld, expected the number of "
                         "processes, %d",
                         (long long)product, grid->size);
    return CLV_OK;
}

/* Unless the user has said otherwise, the ranks of a node share its cores evenly: by the largest
 * grid that this process was ever part of, as a small one says nothing of the others beside it. */
static void share_cores(const clv_grid *grid)
{
    static int most_neighbours;
    int neighbours = grid->node->hosted;
    if (neighbours <= most_neighbours) return;
    most_neighbours = neighbours;
    clvi_wait_crowded(neighbours > sysconf(_SC_NPROCESSORS_ONLN));
    if (!clvi_threads_set_by_user())
        clv_blas_set_threads(neighbours < clvi_cores() ? clvi_cores() / neighbours : 1);
}

/* Sizes and names as numbers, so that processes can compare what they were given. */
static clv_status check_same(clv_grid *grid, clv_status mine)
{
    int64_t values[1 + 2 * CLV_MAX_AXES] = {grid->naxes};
    for (int i = 0; i < grid->naxes; i++) {
        values[1 + 2 * i] = grid->sizes[i];
        values[2 + 2 * i] = (int64_t)(clvi_hash_string(grid->names[i]) >> 1);
    }
    return clvi_grid_same(grid, mine,
                          "naxes,size of axis 0,name of axis 0,size of axis 1,name of axis 1,size "
                          "of axis 2,name of axis 2,size of axis 3,name of axis 3",
                          1 + 2 * CLV_MAX_AXES, values);
}

/* A grid without axes: enough for its processes to agree on the rest. */
static clv_status open_grid(MPI_Comm comm, clv_grid **out)
{
    clv_grid *grid = *out = calloc(1, sizeof *grid);
    if (!grid) return clvi_fail(CLV_ENOMEM, "a grid");
    clv_status status;
    MPI_Request request;
    grid->comm = MPI_COMM_NULL;
    MPI_Comm_rank(comm, &grid->rank);
    MPI_Comm_size(comm, &grid->size);
    CLVI_TRY(clvi_wait_open());
    CLVI_TRY(clvi_mpi(MPI_Comm_idup(comm, &grid->comm, &request), "MPI_Comm_idup"));
    CLVI_TRY(clvi_wait(&request));
    MPI_Comm_set_errhandler(grid->comm, MPI_ERRORS_RETURN);
done:
    return status;
}

static clv_status create(MPI_Comm comm, clv_status mine, int naxes, const clv_axis axes[],
                         clv_grid **out)
{
    clv_status status;
    *out = NULL;
    CLVI_TRY(check_launcher());
    CLVI_TRY(open_grid(comm, out));
    if (mine == CLV_OK) mine = set_axes(*out, naxes, axes);
    CLVI_TRY(check_same(*out, mine));
    CLVI_TRY(clvi_node_create(*out, &(*out)->node));
    share_cores(*out);
done:
    if (status != CLV_OK) clv_grid_destroy(out);
    return status;
}

clv_status clv_grid_create(MPI_Comm comm, int naxes, const clv_axis axes[], clv_grid **grid)
{
    return create(comm, CLV_OK, naxes, axes, grid);
}

/* "row=2,col=4" into axes whose names lie in text, which is cut up. */
static clv_status parse_axes(char *text, int *naxes, clv_axis axes[])
{
    *naxes = 0;
    for (char *word; (word = strsep(&text, ","));) {
        char *equals = strchr(word, '='), *end = NULL;
        bool digit = equals && equals[1] >= '0' && equals[1] <= '9';
        long size = digit ? strtol(equals + 1, &end, 10) : 0;
        if (!digit || *end || size < 1 || size > INT32_MAX)
            return clvi_fail(CLV_EARG,
                             "grid: expected NAME=SIZE,... as in row=2,col=2, found \"%s\"", word);
        if (*naxes == CLV_MAX_AXES)
            return clvi_fail(CLV_EARG, "grid: expected at most %d axes, found more", CLV_MAX_AXES);
        *equals = 0;
        axes[(*naxes)++] = (clv_axis){word, (int)size};
    }
    return CLV_OK;
}

clv_status clv_grid_create_text(MPI_Comm comm, const char *text, clv_grid **grid)
{
    clv_axis axes[CLV_MAX_AXES] = {{"col", 1}};
    int naxes = 1;
    MPI_Comm_size(comm, &axes[0].size);
    char *copy = NULL;
    clv_status mine = CLV_OK;
    if (text && *text) {
        copy = strdup(text);
        mine = copy ? parse_axes(copy, &naxes, axes) : clvi_fail(CLV_ENOMEM, "a grid");
    }
    clv_status status = create(comm, mine, naxes, axes, grid);
    free(copy);
    return status;
}

void clv_grid_destroy(clv_grid **grid)
{
    if (!grid || !*grid) return;
    while ((*grid)->nkept > 0) {
        (*grid)->nkept--;
        (*grid)->kept[(*grid)->nkept].destroy((*grid)->kept[(*grid)->nkept].object);
    }
    clvi_node_destroy(&(*grid)->node);
    if ((*grid)->comm != MPI_COMM_NULL) MPI_Comm_free(&(*grid)->comm);
    clvi_wait_close();
    free(*grid);
    *grid = NULL;
}

bool clvi_grid_keep(clv_grid *grid, void *object, void (*destroy)(void *))
{
    if (grid->nkept == KEPT_MAX) return false;
    grid->kept[grid->nkept].object = object;
    grid->kept[grid->nkept++].destroy = destroy;
    return true;
}

void *clvi_grid_kept(const clv_grid *grid, void (*destroy)(void *))
{
    for (int i = 0; i < grid->nkept; i++)
        if (grid->kept[i].destroy == destroy) return grid->kept[i].object;
    return NULL;
}

int clv_grid_rank(const clv_grid *grid)
{
    return grid->rank;
}
int clv_grid_size(const clv_grid *grid)
{
    return grid->size;
}
int clv_grid_naxes(const clv_grid *grid)
{
    return grid->naxes;
}
MPI_Comm clvi_grid_comm(const clv_grid *grid)
{
    return grid->comm;
}

clvi_node *clvi_grid_node(const clv_grid *grid)
{
    return grid->node;
}

/* Local: whether trees of `leaves` fit this grid. */
static clv_status check_leaves(const clv_grid *grid, int leaves)
{
    if (leaves < 0 || leaves > CLV_MAX_LEAVES || (leaves & (leaves - 1)))
        return clvi_fail(CLV_EARG, "leaves: expected 0 or a power of two up to %d, found %d",
                         CLV_MAX_LEAVES, leaves);
    for (int i = 0; leaves > 0 && i < grid->naxes; i++)
        if (grid->sizes[i] & (grid->sizes[i] - 1))
            return clvi_fail(CLV_EUNSUPPORTED,
                             "reproducible sums: expected axes that are powers of two, found "
                             "%s=%d",
                             grid->names[i], grid->sizes[i]);
    return CLV_OK;
}

clv_status clv_grid_set_leaves(clv_grid *grid, int leaves)
{
    int64_t value = leaves;
    clv_status status =
        clvi_grid_same(grid, check_leaves(grid, leaves), "the number of leaves", 1, &value);
    if (status == CLV_OK) grid->leaves = leaves;
    return status;
}

int clv_grid_leaves(const clv_grid *grid)
{
    return grid->leaves;
}

clv_axis clv_grid_axis(const clv_grid *grid, int i)
{
    return (clv_axis){grid->names[i], grid->sizes[i]};
}

int clv_grid_find(const clv_grid *grid, const char *name)
{
    for (int i = 0; i < grid->naxes; i++)
        if (strcmp(grid->names[i], name) == 0) return i;
    return -1;
}

void clvi_grid_coords(const clv_grid *grid, int rank, int coords[])
{
    for (int i = grid->naxes - 1; i >= 0; i--) {
        coords[i] = rank % grid->sizes[i];
        rank /= grid->sizes[i];
    }
}

bool clvi_grid_agree_along(const clv_grid *grid, int a, int b, clv_axes axes)
{
    int at_a[CLV_MAX_AXES], at_b[CLV_MAX_AXES];
    clvi_grid_coords(grid, a, at_a);
    clvi_grid_coords(grid, b, at_b);
    for (int i = 0; i < grid->naxes; i++)
        if ((axes >> i & 1) && at_a[i] != at_b[i]) return false;
    return true;
}

int clv_grid_coord(const clv_grid *grid, int rank, int axis)
{
    int coords[CLV_MAX_AXES];
    clvi_grid_coords(grid, rank, coords);
    return coords[axis];
}

clv_traffic clv_grid_traffic(const clv_grid *grid)
{
    return grid->traffic;
}

void clv_grid_traffic_reset(clv_grid *grid)
{
    memset(&grid->traffic, 0, sizeof grid->traffic);
}

void clvi_grid_count(clv_grid *grid, uint64_t sent, uint64_t received)
{
    grid->traffic.bytes_sent += sent;
    grid->traffic.bytes_received += received;
    grid->traffic.messages_sent += sent > 0;
    grid->traffic.messages_received += received > 0;
}
