/* SPDX-License-Identifier: BSD-3-Clause
 *
 * check.c: the checks themselves.
 */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 20 }; /* failures printed in full by each process */

static long long count, failures;
static const char *current = "";
static int current_rank;

long long check_count(void)
{
    return count;
}
long long check_failures(void)
{
    return failures;
}

void check_enter(const char *case_name, int rank)
{
    current = case_name;
    current_rank = rank;
}

const char *check_entered(void)
{
    return current;
}

/* Counts a check; true if its failure should be printed. */
static bool failed(bool ok)
{
    count++;
    if (ok) return false;
    return ++failures <= SHOWN;
}

#define REPORT(...)                                                                           \
    do {                                                                                      \
        fprintf(stderr, "%s:%d: rank %d, %s: %s: ", file, line, current_rank, current, text); \
        fprintf(stderr, __VA_ARGS__);                                                         \
        fputc('\n', stderr);                                                                  \
    } while (0)

bool check_true(bool condition, const char *file, int line, const char *text)
{
    if (failed(condition)) REPORT("is false");
    return condition;
}

bool check_int(long long found, long long expected, const char *file, int line, const char *text)
{
    bool ok = found == expected;
    if (failed(ok)) REPORT("found %lld, expected %lld", found, expected);
    return ok;
}

bool check_near(double found, double expected, double tolerance, const char *file, int line,
                const char *text)
{
    bool ok = fabs(found - expected) <= tolerance * fmax(1.0, fabs(expected));
    if (failed(ok))
        REPORT("found %.17g, expected %.17g (tolerance %g)", found, expected, tolerance);
    return ok;
}

bool check_string(const char *found, const char *expected, const char *file, int line,
                  const char *text)
{
    bool ok = found && strcmp(found, expected) == 0;
    if (failed(ok)) REPORT("found \"%s\", expected \"%s\"", found ? found : "(null)", expected);
    return ok;
}

bool check_status(clv_status found, clv_status expected, const char *file, int line,
                  const char *text)
{
    bool ok = found == expected;
    if (failed(ok))
        REPORT("found \"%s\" (%s), expected \"%s\"", clv_status_string(found), clv_last_error(),
               clv_status_string(expected));
    return ok;
}

uint64_t check_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int64_t check_random_below(uint64_t *state, int64_t bound)
{
    return (int64_t)(check_random(state) % (uint64_t)bound);
}
