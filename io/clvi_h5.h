/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_h5.h: what the files that call HDF5 share. No other file includes hdf5.h.
 */
#ifndef CLVI_H5_H
#define CLVI_H5_H

#define H5_USE_110_API
#include <clvi_io.h>
#include <hdf5.h>

/* HDF5 is one thread's at a time, and prints its errors by default. Between enter and leave it is
 * the caller's and silent; never one inside the other. */
void clvi_h5_enter(void);
void clvi_h5_leave(void);

/* Records "PATH: HDF5 cannot WHAT: " and HDF5's reason. To be called before any other HDF5 call:
 * each forgets the errors of the last. */
clv_status clvi_h5_failed(clv_status status, const char *path, const char *what);

/* Closes an identifier of any kind; none (negative) is fine. */
void clvi_h5_drop(hid_t id);

/* A file access list: serial driver, V110 format, large data sets on page boundaries; to be
 * dropped. Locks off: a file being made is ours alone, and a finished one never changes. */
hid_t clvi_h5_access(void);

#endif
