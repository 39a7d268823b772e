/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_safetensors.h: what the files of safetensors share; private to them.
 */
#ifndef CLVI_SAFETENSORS_H
#define CLVI_SAFETENSORS_H

#include <clvi_io.h>
#include <jansson.h>

/* ---- safetensors_header.c: what one file holds --------------------------------- */

enum { CLVI_ST_HEADER = 100000000 }; /* bytes of a header at most */

typedef struct {
    clv_st_tensor tensor; /* its name is the header's           */
    int64_t offset;       /* in the file; before: behind the header */
    int file;             /* which of the model's files            */
} clvi_st_item;

/* The JSON object in bytes [offset, offset + bytes) of the file, of no more than CLVI_ST_HEADER
 * bytes and without duplicate keys. Around a header's object only spaces behind it are allowed; an
 * index is a text like any other. Caller calls json_decref, after a failure too. Local, as all
 * here. */
clv_status clvi_st_json(const clvi_file *file, int64_t offset, int64_t bytes, bool header,
                        json_t **object);
/* The tensors of a file in the order of their bytes, every rule of the format checked. Caller calls
 * clvi_free for *items and json_decref for *header. */
clv_status clvi_st_header(const clvi_file *file, json_t **header, clvi_st_item **items, int *count);
/* "F32" of f32, f64, bf16 and i32. */
const char *clvi_st_name(clv_dtype dtype);

/* ---- safetensors_plan.c: the files of a model to write -------------------------- */

/* A shard, or the index, whose text is all of it. */
typedef struct {
    char name[64];
    json_t *json;
    char *text; /* what stands before the values; from malloc */
    int64_t text_bytes, bytes;
} clvi_st_file;

typedef struct {
    int count, files;  /* tensors; files, the index last where there is one */
    bool indexed;      /* more than one shard                                */
    clvi_entry *entry; /* where each tensor lies in ...                      */
    int *shard;        /* ... which file                                     */
    clvi_st_file *file;
} clvi_st_plan;

/* Local, the same on every process; to be freed after a failure too. */
clv_status clvi_st_plan_make(int count, const clv_st_entry entries[], int64_t shard_bytes,
                             clvi_st_plan *plan);
void clvi_st_plan_free(clvi_st_plan *plan);

#endif
