/* SPDX-License-Identifier: BSD-3-Clause
 *
 * shim_malloc.h: one allocation fails on purpose. A program that links shim_malloc.c has its own
 * malloc, calloc and realloc; armed, they count the calls that come from the program itself
 * (Cleave, which it is linked with statically) and from the libraries named; not MPI's.
 */
#ifndef CLEAVE_SHIM_MALLOC_H
#define CLEAVE_SHIM_MALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* Whether there is such a shim: not with AddressSanitizer, which has an own malloc. */
bool shim_malloc_works(void);
/* The nth allocation from now on of the program and of libraries whose names have one of these
 * beginnings (ended by NULL, borrowed) fails. */
void shim_malloc_arm(const char *const libraries[], int64_t nth);
/* Whether one has failed. */
bool shim_malloc_disarm(void);

#endif
