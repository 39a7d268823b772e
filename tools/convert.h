/* SPDX-License-Identifier: BSD-3-Clause
 *
 * convert.h: what the files of cleave convert share; private to them.
 */
#ifndef CONVERT_H
#define CONVERT_H

#include "hf.h"

typedef enum { DTYPE_SAME = 0, DTYPE_F32, DTYPE_F64, DTYPE_BF16 } dtype_choice;

typedef struct {
    const char *input, *output, *only, *shard_text;
    dtype_choice dtype;
    int64_t shard_bytes;
    bool overwrite;
} convert_args;

/* One conversion, in either direction. */
typedef struct {
    const convert_args *args;
    clv_grid *grid;
    const char *input; /* the folder, or the checkpoint meant by args->input */
    hf_model model;
    hf_map *map;
    clv_safetensors *theirs; /* one of these is what is read, */
    clv_checkpoint *ours;
    clv_checkpoint_writer *to_ours; /* one of these what is written */
    clv_safetensors_writer *to_theirs;
    int *source;      /* of each of the map's tensors or links: its place in what is read */
    clv_dtype *dtype; /* of each link: what is written                                    */
    int halves;       /* tensors of f16, which become f32                                 */
    int left_out;     /* tensors that are read by nobody                                  */
} conversion;

/* What a conversion in one direction is made of. All Collective; input and output were looked at.
 */
clv_status convert_from_hf(conversion *c);
clv_status convert_to_hf(conversion *c);

/* ---- convert_stream.c ------------------------------------------------------------------- */

/* Moves every link's elements from what is read to what is written, rows after rows in slabs, this
 * process's share of them. import: from theirs to ours. Local. */
clv_status convert_stream(conversion *c, bool import);

/* ---- convert.c ---------------------------------------------------------------------------- */

/* What is wrong with a set of names, as one message. */
typedef struct {
    char text[800];
    int count;
} complaints;
void complain(complaints *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* CLV_OK without complaints; otherwise `status`, with all of them, as far as a line is readable. */
clv_status complaints_status(const complaints *list, clv_status status, const char *file);

/* The type of the result for elements of this type. */
clv_dtype convert_dtype(const convert_args *args, clv_dtype found);
/* Rank 0 looks, all agree: CLV_EARG if path is there and --overwrite is not given. Collective. */
clv_status convert_check_free(const conversion *c, const char *path);
/* The whole text under a temporary name, synced; then its name, synced too, or its end. Local. */
clv_status convert_write_text(const char *path, const char *text);
clv_status convert_rename_text(const char *path);
void convert_drop_text(const char *path);

#endif
