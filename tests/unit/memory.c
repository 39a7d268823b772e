/* SPDX-License-Identifier: BSD-3-Clause
 *
 * memory.c: alignment, zeros, pages really there, counting, injected failures.
 * RANKS: 1
 */
#include "check.h"

#include <clvi_lib.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t sizes[] = {
    0, 1, 63, 64, 65, 4095, 1 << 20, 4u << 20, (4u << 20) + 1, (8u << 20) - 7, 9000001};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void blocks(void)
{
    int64_t before = clvi_alloc_live();
    for (int round = 0; round < 2; round++) /* the second time, of memory used before */
        for (int s = 0; s < SIZES; s++) {
            unsigned char *block = clvi_alloc(sizes[s]);
            bool zero = true;
            CHECK(block != NULL);
            CHECK_INT((uintptr_t)block % 64, 0);
            if (sizes[s] >= 4u << 20) CHECK_INT((uintptr_t)block % (2u << 20), 0);
            for (size_t i = 0; i < sizes[s]; i++) zero &= block[i] == 0;
            CHECK(zero);
            CHECK_INT(clvi_alloc_live(), before + 1);
            memset(block, 0xff, sizes[s]);
            clvi_free(block);
            CHECK_INT(clvi_alloc_live(), before);
        }
    clvi_free(NULL);
    CHECK_INT(clvi_alloc_live(), before);
}

/* No page of a large block is left to be faulted in later. */
static void touched(void)
{
    enum { BYTES = 40 << 20, SMALLEST_PAGE = 4096 };
    static unsigned char present[BYTES / SMALLEST_PAGE];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = BYTES / page, missing = 0;
    void *block = clvi_alloc(BYTES);
    CHECK(block != NULL);
    CHECK_INT(mincore(block, BYTES, present), 0);
    for (size_t p = 0; p < pages; p++) missing += !(present[p] & 1);
    CHECK_INT(missing, 0);
    clvi_free(block);
}

static void impossible(void)
{
    int64_t before = clvi_alloc_live();
    CHECK(clvi_alloc(SIZE_MAX) == NULL);
    CHECK(clvi_alloc(SIZE_MAX - 63) == NULL);
    CHECK(clvi_alloc(SIZE_MAX / 2 + 1) == NULL);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* which stop there */
    CHECK(clvi_alloc((size_t)1 << 50) == NULL);
#endif
    CHECK_INT(clvi_alloc_live(), before);
}

static void injected(void)
{
    for (int64_t nth = 1; nth <= 3; nth++) {
        int64_t before = clvi_alloc_live();
        clvi_alloc_fail_at(nth);
        for (int64_t i = 1; i <= 6; i++) {
            void *block = clvi_alloc(8);
            CHECK((block == NULL) == (i == nth));
            clvi_free(block);
        }
        CHECK_INT(clvi_alloc_live(), before);
    }
    clvi_alloc_fail_at(1);
    clvi_alloc_fail_at(0);
    void *block = clvi_alloc(8);
    CHECK(block != NULL);
    clvi_free(block);
}

static void *churn(void *failures)
{
    for (int i = 0; i < 2000; i++) {
        void *block = clvi_alloc(100);
        *(int *)failures += block == NULL;
        clvi_free(block);
    }
    return NULL;
}

static void threads(void)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    int failures[THREADS] = {0}, total = 0;
    int64_t before = clvi_alloc_live();
    clvi_alloc_fail_at(3000);
    for (int t = 0; t < THREADS; t++) pthread_create(&thread[t], NULL, churn, &failures[t]);
    for (int t = 0; t < THREADS; t++) {
        pthread_join(thread[t], NULL);
        total += failures[t];
    }
    clvi_alloc_fail_at(0);
    CHECK_INT(total, 1);
    CHECK_INT(clvi_alloc_live(), before);
}

/* Within reason, whatever the machine says of itself; the same each time. */
static void cache(void)
{
    size_t bytes = clvi_cache_bytes(), cores = (size_t)sysconf(_SC_NPROCESSORS_ONLN);
    CHECK(bytes > 0 && bytes <= cores * ((size_t)16 << 20));
    CHECK_INT(clvi_cache_bytes(), bytes);
}

const check_case check_cases[] = {{"blocks", blocks},
                                  {"touched", touched},
                                  {"impossible", impossible},
                                  {"injected", injected},
                                  {"threads", threads},
                                  {"cache", cache},
                                  {0}};
