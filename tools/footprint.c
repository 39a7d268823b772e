/* SPDX-License-Identifier: BSD-3-Clause
 *
 * footprint.c: the memory that a process really takes, from Linux's own accounts.
 *
 * VmHWM is the most that has been resident, and counts a page that several processes share in each
 * of them: whoever reads a neighbour's matrix would seem to hold a copy. Rss - Pss is what the
 * others hold of this process's pages, so its growth is taken off. Of all processes together that
 * is exact; of one alone as far as they are alike.
 */
#include "bench.h"

#include <malloc.h>
#include <math.h>
#include <string.h>

/* The number behind "Key:" in a file of lines of kB, as bytes; NaN if there is none. */
static double read_line(const char *path, const char *key)
{
    char line[256];
    double found = NAN;
    FILE *file = fopen(path, "r");
    while (file && isnan(found) && fgets(line, sizeof line, file)) {
        size_t length = strlen(key);
        if (!strncmp(line, key, length) && line[length] == ':')
            sscanf(line + length + 1, "%lf", &found);
    }
    if (file) fclose(file);
    return found * 1024;
}

static double foreign_bytes(void)
{
    return read_line("/proc/self/smaps_rollup", "Rss") -
           read_line("/proc/self/smaps_rollup", "Pss");
}

clv_status footprint_start(clv_grid *all, footprint *start)
{
    clv_status status;
    malloc_trim(0);
    TRY(clv_grid_barrier(all));
    start->foreign = foreign_bytes();
    FILE *file = fopen("/proc/self/clear_refs", "w");
    bool reset = file && fputs("5", file) >= 0;
    if (file && fclose(file)) reset = false;
    start->resident = reset ? read_line("/proc/self/status", "VmHWM") : NAN;
    TRY(clv_grid_barrier(all));
done:
    return status;
}

clv_status footprint_growth(clv_grid *all, const footprint *start, double *bytes)
{
    clv_status status;
    *bytes = NAN;
    TRY(clv_grid_barrier(all));
    double peak = read_line("/proc/self/status", "VmHWM") - start->resident;
    *bytes = peak - (foreign_bytes() - start->foreign);
    TRY(clv_grid_barrier(all));
done:
    return status;
}
