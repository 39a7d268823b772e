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
/* The type of elements in the file, to be dropped. bf16 is the upper half of an IEEE single, so
 * that h5py and h5dump read it as an exact float. */
hid_t clvi_h5_type(clv_dtype dtype);

/* ---- h5_file.c --------------------------------------------------------------- */

typedef struct clvi_h5_open clvi_h5_open;

/* HDF5 reads a file of ours, whose first bytes are `checked` where they were read before (NULL:
 * they were not). *id is HDF5's, open's until that is closed, after a failure too. File and
 * checked are borrowed until then. */
clv_status clvi_h5_file_open(const clvi_file *file, const char *checked, int64_t bytes,
                             clvi_h5_open **open, hid_t *id);
/* The status of what HDF5 was asked for: of a read of the file that failed since the last time, if
 * there is one, whatever HDF5 makes of it. */
clv_status clvi_h5_file_status(clvi_h5_open *open, clv_status status);
/* After everything else in the file was dropped. */
void clvi_h5_file_close(clvi_h5_open **open);

/* ---- h5_memory.c ------------------------------------------------------------- */

/* A file of which the first `room` bytes, zeros at first, are in memory. HDF5's part first, as it
 * asks. */
typedef struct {
    H5FD_t base;
    char *data;
    size_t room;
    haddr_t end; /* of what HDF5 has allocated            */
    bool lost;   /* something was written behind the room */
} clvi_h5_image;

/* Files opened with this access list are the image. The driver, to be unregistered when they are
 * closed; < 0: none. */
hid_t clvi_h5_memory(hid_t access, clvi_h5_image *image);

#endif
