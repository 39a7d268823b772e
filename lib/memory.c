/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memory.c: aligned, zeroed memory whose pages are all there before it is used.
 *
 * A first touch costs more than the arithmetic done on a page, so it is paid here, once.
 */
#include <clvi_lib.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    LINE = 64,           /* bytes of a cache line and of the widest vector */
    HUGE_PAGE = 2 << 20, /* bytes of a huge page                           */
    HUGE_FROM = 4 << 20, /* blocks of at least this many bytes ask for them */
    SMALLEST_PAGE = 4 << 10
};

static atomic_int_fast64_t live;      /* blocks not yet freed                      */
static atomic_int_fast64_t countdown; /* allocations until one fails; <= 0: never  */

static bool injected_failure(void)
{
    return atomic_load(&countdown) > 0 && atomic_fetch_sub(&countdown, 1) == 1;
}

bool clvi_alloc_count(void)
{
    if (injected_failure()) return false;
    atomic_fetch_add(&live, 1);
    return true;
}

void clvi_free_count(void)
{
    atomic_fetch_sub(&live, 1);
}

void *clvi_alloc(size_t bytes)
{
    bool huge = bytes >= HUGE_FROM;
    void *memory = NULL;
    if (injected_failure() || bytes > PTRDIFF_MAX) return NULL;
    if (posix_memalign(&memory, huge ? HUGE_PAGE : LINE, bytes ? bytes : 1) != 0) return NULL;
    if (huge) madvise(memory, bytes & ~(size_t)(SMALLEST_PAGE - 1), MADV_HUGEPAGE);
    memset(memory, 0, bytes);
    atomic_fetch_add(&live, 1);
    return memory;
}

void *clvi_alloc_once(size_t bytes)
{
    void *memory = clvi_alloc(bytes);
    if (memory) atomic_fetch_sub(&live, 1);
    return memory;
}

void clvi_free(void *memory)
{
    if (!memory) return;
    atomic_fetch_sub(&live, 1);
    free(memory);
}

void clvi_alloc_fail_at(int64_t nth)
{
    atomic_store(&countdown, nth);
}

int64_t clvi_alloc_live(void)
{
    return atomic_load(&live);
}

/* sysconf asks the processor, which tells a virtual machine of caches that are not there. Even the
 * system can tell it of its host's whole cache: what is more than A_CORE bytes for each core of
 * this machine is taken to be others' (measured on 2 cores told of 480 MiB: results leave the cache
 * from 16 MiB on). */
size_t clvi_cache_bytes(void)
{
    enum { A_CORE = 16 << 20 };
    static _Atomic size_t known;
    size_t bytes = atomic_load(&known), kib;
    if (bytes > 0) return bytes;
    bytes = (size_t)32 << 20;
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "re");
    if (file && fscanf(file, "%zuK", &kib) == 1 && kib > 0) bytes = kib << 10;
    if (file) fclose(file);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t ours = (size_t)(cores > 0 ? cores : 1) * A_CORE;
    if (bytes > ours) bytes = ours;
    atomic_store(&known, bytes);
    return bytes;
}
