/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cleave_io.h: checkpoints and data sets.
 *
 * A checkpoint is one HDF5 file that does not know the grid: one data set for each global
 * matrix, in its global shape, so h5dump and h5py see the model. It loads on any grid,
 * and it is committed as a whole or not at all.
 */
#ifndef CLEAVE_IO_H
#define CLEAVE_IO_H

#include <cleave_dist.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Checkpoint files --------------------------------------------------------- */

/* Writes the matrices (no pending sums; names unique, '/' makes groups) and a JSON text to path:
 * under a temporary name first, synced, checksummed tile by tile, marked complete, then renamed
 * over path. A crash at any moment leaves the old file or the new one. Collective. */
CLV_API clv_status clv_checkpoint_write(clv_grid *grid, const char *path, int count,
                                        const clv_named matrices[], const char *json);

typedef struct clv_checkpoint clv_checkpoint;

/* Opens path and checks that it is a complete checkpoint. CLV_ENOTFOUND, CLV_EFORMAT,
 * CLV_ECORRUPT. Collective. */
CLV_API clv_status clv_checkpoint_open(clv_grid *grid, const char *path,
                                       clv_checkpoint **checkpoint);
CLV_API void clv_checkpoint_close(clv_checkpoint **checkpoint); /* Local */

/* The JSON text given when it was written; the checkpoint's. Local. */
CLV_API const char *clv_checkpoint_json(const clv_checkpoint *checkpoint);

/* Its data sets. Local. */
typedef struct {
    const char *name; /* the checkpoint's */
    int64_t m, n;
    clv_dtype dtype;
} clv_checkpoint_entry;
CLV_API int clv_checkpoint_count(const clv_checkpoint *checkpoint);
CLV_API clv_checkpoint_entry clv_checkpoint_at(const clv_checkpoint *checkpoint, int i);
CLV_API int clv_checkpoint_find(const clv_checkpoint *checkpoint, const char *name); /* or -1 */
CLV_API int64_t clv_checkpoint_bytes(const clv_checkpoint *checkpoint); /* of the file */

/* Reads each matrix's block, whatever its layout (no pending sums), after its tiles' checksums
 * were checked. The shapes must be the file's (CLV_ESHAPE); floating types are converted.
 * CLV_ENOTFOUND names a missing data set. Collective. */
CLV_API clv_status clv_checkpoint_load(clv_checkpoint *checkpoint, int count,
                                       const clv_named matrices[]);

/* Checks every byte of the structure, the JSON text and the data sets against its checksum. progress
 * may be NULL. Collective. */
CLV_API clv_status clv_checkpoint_verify(clv_checkpoint *checkpoint,
                                         void (*progress)(void *context, int64_t done, int64_t all),
                                         void *context);

/* ---- Folders of checkpoints ------------------------------------------------------ */

/* A folder holds step-NNNNNNNN.h5 files, and "latest" names the newest. All Collective. */

/* Writes DIR/step-NNNNNNNN.h5 (DIR is made where missing), points latest at it, and
 * removes temporary files that crashes left. keep > 0: of the steps up to this one the greatest
 * `keep` stay, and greater ones, which an abandoned run left, go. */
CLV_API clv_status clv_checkpoint_save_step(clv_grid *grid, const char *dir, int64_t step, int keep,
                                            int count, const clv_named matrices[],
                                            const char *json);

/* The file meant by path: itself if it is a file, else the newest checkpoint of the folder. Caller
 * frees *file with free. CLV_ENOTFOUND says what was looked for; where the newest is damaged,
 * CLV_ECORRUPT or CLV_EFORMAT says which older one is complete. */
CLV_API clv_status clv_checkpoint_resolve(clv_grid *grid, const char *path, char **file);

/* ---- Text ---------------------------------------------------------------------------- */

/* Files read as one long text, one byte a token. */
typedef struct clv_text clv_text;

/* Opens the files in the order given; CLV_EIO or CLV_ENOTFOUND names the one at fault. Collective.
 */
CLV_API clv_status clv_text_open(clv_grid *grid, int count, const char *const paths[],
                                 clv_text **text);
CLV_API void clv_text_close(clv_text **text);        /* Local */
CLV_API int64_t clv_text_size(const clv_text *text); /* Local: tokens, all files */
/* ids[i] = byte at offset + i; 0 <= offset, offset + count <= size (CLV_EARG). Local. */
CLV_API clv_status clv_text_read(clv_text *text, int64_t offset, int64_t count, int32_t *ids);

#ifdef __cplusplus
}
#endif
#endif
