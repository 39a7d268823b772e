/* SPDX-License-Identifier: BSD-3-Clause
 *
 * check.h: checks that print both values, for serial and MPI test programs alike.
 *
 * A program defines check_cases[] and links check.c with check_serial.c or
 * check_mpi.c, which hold main. Its first comment declares the numbers of ranks it
 * runs with, which tests/launch.sh reads:
 *
 *     RANKS: 1 2 3 4
 *
 * A failed check is counted and the case goes on; a case that fails on one rank fails the program
 * on all. The last line of every complete run is the completion mark "DONE NAME: N checks".
 */
#ifndef CLEAVE_CHECK_H
#define CLEAVE_CHECK_H

#include <cleave.h>

typedef struct {
    const char *name;
    void (*run)(void);
} check_case;

/* Defined by the test program; ends with {0}. */
extern const check_case check_cases[];

/* Each returns whether it holds. */
bool check_true(bool condition, const char *file, int line, const char *text);
bool check_int(long long found, long long expected, const char *file, int line, const char *text);
/* |found - expected| <= tolerance * max(1, |expected|); NaN fails. */
bool check_near(double found, double expected, double tolerance, const char *file, int line,
                const char *text);
bool check_string(const char *found, const char *expected, const char *file, int line,
                  const char *text);
/* Prints clv_last_error too. */
bool check_status(clv_status found, clv_status expected, const char *file, int line,
                  const char *text);

#define CHECK(condition) check_true((condition), __FILE__, __LINE__, #condition)
#define CHECK_INT(found, expected) check_int((found), (expected), __FILE__, __LINE__, #found)
#define CHECK_NEAR(found, expected, tolerance) \
    check_near((found), (expected), (tolerance), __FILE__, __LINE__, #found)
#define CHECK_STRING(found, expected) check_string((found), (expected), __FILE__, __LINE__, #found)
#define CHECK_STATUS(call, expected) check_status((call), (expected), __FILE__, __LINE__, #call)
#define CHECK_OK(call) CHECK_STATUS((call), CLV_OK)

/* What has been counted so far; which case is running (for messages). */
long long check_count(void);
long long check_failures(void);
void check_enter(const char *case_name, int rank);
const char *check_entered(void);

/* In MPI programs: the ranks of the world, and uniform integers that are the same on every rank. */
int check_rank(void);
int check_size(void);

/* A small generator for test data (splitmix64); seed it per case. */
uint64_t check_random(uint64_t *state);
/* Uniform in [0, bound). */
int64_t check_random_below(uint64_t *state, int64_t bound);

#endif
