/* SPDX-License-Identifier: BSD-3-Clause */
#include "shim_malloc.h"

#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__

bool shim_malloc_works(void)
{
    return false;
}
void shim_malloc_arm(const char *const libraries[], int64_t nth)
{
    (void)libraries, (void)nth;
}
bool shim_malloc_disarm(void)
{
    return false;
}

#else

enum { MOST_RANGES = 64 };

static struct {
    atomic_bool armed;
    atomic_int_fast64_t left; /* allocations until one fails */
    struct {
        uintptr_t begin, end;
    } code[MOST_RANGES]; /* of who is counted */
    int ranges;
    const char *const *libraries;
} shim;

bool shim_malloc_works(void)
{
    return true;
}

/* The program comes first, without a name. */
static bool is_counted(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    bool counted = !*path;
    for (const char *const *library = shim.libraries; *library; library++)
        counted |= strncmp(name, *library, strlen(*library)) == 0;
    return counted;
}

static int add_code(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size, (void)context;
    for (int i = 0; is_counted(info->dlpi_name) && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X) || shim.ranges == MOST_RANGES)
            continue;
        uintptr_t begin = info->dlpi_addr + part->p_vaddr;
        shim.code[shim.ranges].begin = begin;
        shim.code[shim.ranges++].end = begin + part->p_memsz;
    }
    return 0;
}

void shim_malloc_arm(const char *const libraries[], int64_t nth)
{
    shim.ranges = 0;
    shim.libraries = libraries;
    dl_iterate_phdr(add_code, NULL);
    shim.left = nth;
    shim.armed = true;
}

bool shim_malloc_disarm(void)
{
    shim.armed = false;
    return shim.left <= 0;
}

static bool fails(const void *caller)
{
    if (!shim.armed) return false;
    for (int i = 0; i < shim.ranges; i++)
        if ((uintptr_t)caller >= shim.code[i].begin && (uintptr_t)caller < shim.code[i].end) {
            bool mine = atomic_fetch_sub(&shim.left, 1) == 1;
            if (mine) errno = ENOMEM;
            return mine;
        }
    return false;
}

/* glibc's own, under the names that it keeps for this. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

EXPORT void *malloc(size_t bytes)
{
    return fails(CALLER) ? NULL : __libc_malloc(bytes);
}
EXPORT void *calloc(size_t count, size_t bytes)
{
    return fails(CALLER) ? NULL : __libc_calloc(count, bytes);
}
EXPORT void *realloc(void *memory, size_t bytes)
{
    return fails(CALLER) ? NULL : __libc_realloc(memory, bytes);
}

#endif
