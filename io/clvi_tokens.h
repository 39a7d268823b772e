/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_tokens.h: what the files about tokens share.
 */
#ifndef CLVI_TOKENS_H
#define CLVI_TOKENS_H

#include <clvi_io.h>

/* Elements of a file that are token ids: unsigned integers of 1, 2, 4 or 8 bytes. A text is such a
 * set too, of one byte each from the file's begin. */
typedef struct {
    int64_t size;            /* elements                                                  */
    int64_t vocabulary;      /* ids are below it; 0: the file does not say                */
    int64_t offset;          /* in the file, where they lie in one piece; else -1         */
    int64_t h5_set;          /* HDF5's data set, which reads them otherwise; else -1      */
    struct clvi_h5_open *h5; /* how HDF5 reads them then; else NULL                       */
    int element;             /* bytes of each                                             */
    bool big_endian;
} clvi_token_set;

/* ---- tokens_h5.c: HDF5 and tokens (all Local) ---------------------------------- */

/* The data set "tokens" of an HDF5 file, which stays where it is until the set is closed. */
clv_status clvi_h5_tokens_open(const clvi_file *file, clvi_token_set *set);
void clvi_h5_tokens_close(clvi_token_set *set);
/* Elements as they are in the file; within the set, which has an h5_set. */
clv_status clvi_h5_tokens_read(const clvi_file *file, const clvi_token_set *set, int64_t offset,
                               int64_t count, void *elements);

/* A file is made around elements that are written without HDF5: begin, set.size little-endian
 * elements from CLVI_TOKENS_AT on, end. */
enum { CLVI_TOKENS_AT = 3 * 4096 };
clv_status clvi_h5_tokens_begin(const clvi_file *file);
clv_status clvi_h5_tokens_end(const clvi_file *file, const clvi_token_set *set);

#endif
