/* SPDX-License-Identifier: BSD-3-Clause
 *
 * run.c: one process among others: starting, failing in one voice, ending.
 */
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

tool_state tool;

/* What tool_fail recorded; "" where the library's own words hold. */
static char message[1024];

/* Variables in which launchers tell a process its rank. */
static const char *const rank_variables[] = {"PMI_RANK", "PMIX_RANK", "SLURM_PROCID"};

static int64_t gcd(int64_t a, int64_t b)
{
    return b ? gcd(b, a % b) : a;
}

/* One line for one error, whatever the library wrote. */
static void print_line(const char *text)
{
    fprintf(stderr, "cleave%s%s: ", tool.command ? " " : "", tool.command ? tool.command : "");
    for (; *text; text++) fputc(*text == '\n' ? ' ' : *text, stderr);
    fputc('\n', stderr);
    fflush(stderr);
}

clv_status tool_fail(clv_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status;
}

void tool_report(void)
{
    const char *text = *message ? message : clv_last_error();
    if (tool.rank == 0) print_line(*text ? text : "failed, and nothing says why");
}

int tool_launch_rank(void)
{
    for (size_t i = 0; i < sizeof rank_variables / sizeof *rank_variables; i++) {
        const char *text = getenv(rank_variables[i]);
        if (text) return atoi(text);
    }
    return -1;
}

int tool_run(clv_status (*work)(void *args), void *args)
{
    int provided;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        tool_fail(CLV_EMPI, "MPI could not be started");
        tool_report();
        return EXIT_FAILURE;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &tool.rank);
    clv_status status = work(args);
    if (status != CLV_OK) tool_report();
    MPI_Finalize();
    return status == CLV_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

clv_status tool_grid(const char *text, int64_t batch, int leaves, clv_grid **grid)
{
    int size;
    char automatic[64];
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int data = (int)gcd(batch, size);
    snprintf(automatic, sizeof automatic, "data=%d,col=%d", data, size / data);
    clv_status status = clv_grid_create_text(MPI_COMM_WORLD, text ? text : automatic, grid);
    return status == CLV_OK ? clv_grid_set_leaves(*grid, leaves) : status;
}

const char *tool_grid_format(const clv_grid *grid, char *buffer, size_t size)
{
    size_t used = 0;
    *buffer = '\0';
    for (int i = 0; i < clv_grid_naxes(grid) && used < size; i++) {
        clv_axis axis = clv_grid_axis(grid, i);
        used += (size_t)snprintf(buffer + used, size - used, "%s%s=%d", i ? "," : "", axis.name,
                                 axis.size);
    }
    return buffer;
}

double tool_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
