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

/* Whether the failure is a mistake in the command line. */
static bool misused;

enum { EXIT_USAGE = 2 };

static int64_t gcd(int64_t a, int64_t b)
{
    return b ? gcd(b, a % b) : a;
}

/* One line for one error, whatever the library wrote. */
static void print_line(const char *text)
{
    const char *space = tool.command ? " " : "", *command = tool.command ? tool.command : "";
    fprintf(stderr, "cleave%s%s: ", space, command);
    for (; *text; text++) fputc(*text == '\n' ? ' ' : *text, stderr);
    if (misused) fprintf(stderr, " (see cleave%s%s --help)", space, command);
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

clv_status tool_misuse(clv_status status)
{
    misused |= status == CLV_EARG || status == CLV_ELAYOUT || status == CLV_EUNSUPPORTED;
    return status;
}

int tool_report(void)
{
    const char *text = *message ? message : clv_last_error();
    if (tool.rank == 0) print_line(*text ? text : "failed, and nothing says why");
    return misused ? EXIT_USAGE : EXIT_FAILURE;
}

int tool_main(const manual *about, option options[], int argc, char **argv,
              clv_status (*work)(void *args), void *args)
{
    int code = options_parse(about, options, argc, argv);
    if (code != OPTIONS_RUN) return code;
    if (!tool_start()) {
        tool_fail(CLV_EMPI, "MPI could not be started");
        return tool_report();
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &tool.rank);
    return work(args) == CLV_OK ? EXIT_SUCCESS : tool_report();
}

/* Whether there can be the grid that no words ask for: if not, the environment is wrong, or the
 * machine. Collective over all processes. */
static bool has_plain_grid(void)
{
    clv_grid *grid = NULL;
    bool has = clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid) == CLV_OK;
    clv_grid_destroy(&grid);
    return has;
}

clv_status tool_grid(const char *text, int leaves, clv_grid **grid)
{
    clv_status status = clv_grid_create_text(MPI_COMM_WORLD, text, grid);
    if (status == CLV_OK) return tool_misuse(clv_grid_set_leaves(*grid, leaves));
    return text && has_plain_grid() ? tool_misuse(status) : status;
}

clv_status tool_model_grid(const char *text, int64_t batch, int leaves, clv_grid **grid)
{
    int size;
    char automatic[64];
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int data = (int)gcd(batch, size);
    snprintf(automatic, sizeof automatic, "data=%d,col=%d", data, size / data);
    return tool_grid(text ? text : automatic, leaves, grid);
}

clv_status tool_layout(const clv_grid *grid, const char *text, clv_layout *layout)
{
    return tool_misuse(clv_layout_parse(grid, text, layout));
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
