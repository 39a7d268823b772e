/* SPDX-License-Identifier: BSD-3-Clause
 *
 * load_memory.c: what a process holds at most while it loads 256 MiB: its own shard, 64 MiB and
 * 2 %, by rows, by columns and both.
 *
 * RANKS: 2 4
 */
#include "scratch.h"

#include <malloc.h>
#include <sys/resource.h>

enum { M = 8192, N = 8192 }; /* of f32: 256 MiB */
static const int64_t MIB = 1 << 20;

/* The most this process has held so far, in bytes; forgotten where the system lets us. */
static int64_t high_water(void)
{
    char line[128];
    long long kib = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lld", &kib) == 1) break;
    if (status) fclose(status);
    return kib * 1024;
}

static void forget(void)
{
    FILE *refs = fopen("/proc/self/clear_refs", "w");
    malloc_trim(0);
    if (refs) fputs("5", refs), fclose(refs);
}

static void fill(const char *path)
{
    clv_spec spec = {.m = M, .n = N};
    clv_matrix *x = NULL;
    CHECK_OK(clv_layout_parse(world, "col|-", &spec.layout));
    CHECK_OK(clv_matrix_create(world, spec, &x));
    CHECK_OK(clv_matrix_fill_normal(x, 1, 2, 0, 1));
    CHECK_OK(clv_checkpoint_write(world, path, 1, &(clv_named){"x", x}, NULL));
    clv_matrix_destroy(&x);
}

/* In a file of its own on the disk: what lies in /dev/shm would be memory too. */
static void peak(void)
{
    static const char *const lies[] = {"col|-", "-|col", "-|-"};
    scratch_begin();
    fill(in_scratch("m.h5"));
    for (int i = 0; i < 3; i++) {
        clv_checkpoint *c = NULL;
        clv_matrix *x = NULL;
        clv_spec spec = {.m = M, .n = N};
        CHECK_OK(clv_layout_parse(world, lies[i], &spec.layout));
        CHECK_OK(clv_checkpoint_open(world, in_scratch("m.h5"), &c));
        CHECK_OK(clv_grid_barrier(world));
        forget();
        int64_t before = high_water();
        CHECK_OK(clv_matrix_create(world, spec, &x));
        CHECK_OK(clv_checkpoint_load(c, 1, &(clv_named){"x", x}, NULL));
        clv_block b = clv_matrix_block(x);
        int64_t shard = b.m * b.n * (int64_t)sizeof(float), grown = high_water() - before;
        if (!CHECK(grown <= shard + 64 * MIB + shard / 50))
            fprintf(stderr, "  %s: %lld MiB for a shard of %lld MiB\n", lies[i],
                    (long long)(grown / MIB), (long long)(shard / MIB));
        if (check_rank() == 0)
            printf("  %s: shard %lld MiB, grown %lld MiB\n", lies[i], (long long)(shard / MIB),
                   (long long)(grown / MIB));
        clv_checkpoint_close(&c);
        clv_matrix_destroy(&x);
        CHECK_OK(clv_grid_barrier(world));
    }
    scratch_end();
}

const check_case check_cases[] = {{"peak", peak}, {0}};
