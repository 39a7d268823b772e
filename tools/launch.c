/* SPDX-License-Identifier: BSD-3-Clause
 *
 * launch.c: the processes of one launch: their ranks, MPI's start and end, and that all were given
 * the same words.
 *
 * A process whose words are wrong, or ask for the manual, would leave while others wait for it, and
 * so would all wait if they had started different commands. So the words are compared before
 * anything is made of them.
 */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT = 300 };

/* Variables in which launchers tell a process its rank. */
static const char *const rank_variables[] = {"PMI_RANK", "PMIX_RANK", "SLURM_PROCID"};

int tool_launch_rank(void)
{
    for (size_t i = 0; i < sizeof rank_variables / sizeof *rank_variables; i++) {
        const char *text = getenv(rank_variables[i]);
        if (text) return atoi(text);
    }
    return -1;
}

bool tool_start(void)
{
    int started = 0, provided;
    MPI_Initialized(&started);
    if (!started && MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return false;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    return true;
}

void tool_end(void)
{
    int started = 0;
    MPI_Initialized(&started);
    if (started) MPI_Finalize();
}

/* A number that tells words apart and that a double holds exactly. */
static double number_of(int argc, char **argv)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a, of each word with its end */
    for (int i = 1; i < argc; i++)
        for (const char *c = argv[i];; c++) {
            hash = (hash ^ (unsigned char)*c) * 1099511628211u;
            if (!*c) break;
        }
    return (double)(hash >> 12);
}

static void join(int argc, char **argv, char text[TEXT])
{
    size_t used = 0;
    memset(text, 0, TEXT);
    for (int i = 1; i < argc && used < TEXT; i++)
        used += (size_t)snprintf(text + used, TEXT - used, "%s%s", i > 1 ? " " : "", argv[i]);
}

/* Rank 0's words and those of the first that has others. Collective. */
static clv_status tell_both(clv_grid *grid, int other, int argc, char **argv)
{
    clv_status status;
    char first[TEXT], found[TEXT];
    join(argc, argv, first);
    join(argc, argv, found);
    TRY(clv_grid_broadcast(grid, 0, first, sizeof first));
    TRY(clv_grid_broadcast(grid, other, found, sizeof found));
    status = tool_misuse(tool_fail(CLV_EARG,
                                   "expected the same words for every process, found \"%s\" on "
                                   "rank 0 and \"%s\" on rank %d",
                                   first, found, other));
done:
    return status;
}

clv_status tool_same_words(int argc, char **argv)
{
    clv_status status = CLV_OK;
    clv_grid *grid = NULL;
    double mine = number_of(argc, argv), root = mine;
    /* Where not even a grid can be made, whoever needs one says why. */
    if (!tool_start() || clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid) != CLV_OK) goto done;
    int size = clv_grid_size(grid);
    TRY(clv_grid_broadcast(grid, 0, &root, sizeof root));
    double other = mine == root ? size : clv_grid_rank(grid);
    TRY(clv_grid_reduce(grid, CLV_MIN, 1, &other));
    if (other < size) status = tell_both(grid, (int)other, argc, argv);
done:
    clv_grid_destroy(&grid);
    return status;
}
