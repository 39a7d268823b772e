/* SPDX-License-Identifier: BSD-3-Clause
 *
 * shim.h: one call of the system fails on purpose. A program that links shim.c has its own write,
 * pwrite, pwritev, pread, fsync, fdatasync, rename, unlink, mkdir, opendir, open, ftruncate,
 * fallocate, posix_fallocate, close and fcntl (of locks), which the library and the libraries under
 * it get as well. They are the system's until the shim is armed, and then count those calls that
 * are about files of one folder.
 */
#ifndef CLEAVE_SHIM_H
#define CLEAVE_SHIM_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    SHIM_EIO,    /* the call fails                                               */
    SHIM_ENOSPC, /* so do all later ones that need room: the disk stays full     */
    SHIM_SHORT,  /* a read or write does half; other calls are as they are       */
    SHIM_EINTR,  /* the call is interrupted before it has done anything          */
    SHIM_FAULTS
} shim_fault;

extern const char *const shim_fault_names[SHIM_FAULTS];

/* The nth call from now on that is about a path beginning with folder (borrowed) is struck. */
void shim_arm(const char *folder, int64_t nth, shim_fault fault);
/* Ends it; the name of the call that was struck, or NULL where there were less than n. *vital:
 * whether a save cannot have succeeded if that call failed: it was a read, a write, a sync, a
 * rename or a reservation. */
const char *shim_disarm(bool *vital);
/* A folder in which a name was made since the shim was armed, and not synced since then: a power
 * cut can lose the name. NULL: none. */
const char *shim_unsynced(void);

#endif
