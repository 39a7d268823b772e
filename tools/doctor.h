/* SPDX-License-Identifier: BSD-3-Clause
 *
 * doctor.h: what the parts of `cleave doctor` share; private to tools/.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "tool.h"

typedef enum { GOOD, ADVICE, BROKEN } grade;

/* One finding, printf; fix is NULL where nothing is to be done. */
typedef void (*teller)(grade g, const char *what, const char *fix, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* folder.c: what a folder's file system is and does. Makes the folder's test files and removes
 * them; asked: somebody wants checkpoints there, so that one that cannot be written is BROKEN.
 * Local, on rank 0. */
void folder_check(const char *dir, bool asked, teller tell);

#endif
