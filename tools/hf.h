/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hf.h: models as Hugging Face's transformers write them: what config.json says in Cleave's terms,
 * and which part of which of their tensors is which part of ours. Private to tools/. All but
 * hf_look Local.
 */
#ifndef HF_H
#define HF_H

#include "tool.h"

typedef enum { HF_GPT2 = 0, HF_LLAMA, HF_KINDS } hf_kind;

typedef struct {
    hf_kind kind;
    clv_gpt_config config; /* with numbers in the place of defaults                        */
    int64_t head_dim;      /* width / heads                                                 */
    bool bare;             /* names lack the prefix: "wte.weight", not "transformer.wte.weight" */
    json_t *origin;        /* config.json as it was read, or NULL: what it says besides is kept */
} hf_model;

/* "gpt2", "llama": config.json's model_type. */
const char *hf_name(hf_kind kind);
void hf_model_drop(hf_model *model);
/* "FOLDER/NAME" in new memory (free); NULL if there is none. */
char *hf_path(const char *folder, const char *name);
/* Whether path is a folder, and one with config.json. Rank 0 looks, all know. Collective. */
clv_status hf_look(clv_grid *grid, const char *path, bool *folder, bool *hf);

/* ---- hf_config.c ----------------------------------------------------------------- */

/* Reads FOLDER/config.json. Everything in it that changes what the model computes is something that
 * Cleave computes, or CLV_EUNSUPPORTED names file, field, expected and found; CLV_EFORMAT where it
 * is no such thing at all. config.dtype stays to be set. model is to be dropped, after a failure
 * too. */
clv_status hf_config_read(const char *folder, hf_model *model);
/* The text of a config.json for tensors of this type (of the first kind of model that computes what
 * model->config says, where there is no origin); freed by the caller with free. */
clv_status hf_config_write(hf_model *model, clv_dtype dtype, char **text);
/* The kind that computes what config says; CLV_EUNSUPPORTED if there is none. */
clv_status hf_config_kind(const clv_gpt_config *config, hf_kind *kind);

/* ---- hf_map.c ---------------------------------------------------------------------- */

enum { HF_NAME = 128 };

/* A tensor, theirs or ours; ndims 1: a row of n, m is 1. */
typedef struct {
    char name[HF_NAME];
    int ndims;
    int64_t m, n;
} hf_tensor;

/* Columns of one of ours that are of one of theirs: count runs of `run` columns, from col0 on and
 * each `stride` behind the last. There they are columns side by side from their0 on; rows, where
 * the link is turned. */
typedef struct {
    int theirs; /* which */
    int64_t col0, run, count, stride, their0;
} hf_piece;

/* One of ours, all of whose columns are the pieces [first, last). Rows are rows of theirs; columns,
 * where it is turned. */
typedef struct {
    hf_tensor ours;
    bool turned;
    int first, last;
} hf_link;

typedef struct {
    int links, tensors;
    hf_link *link;
    hf_tensor *theirs; /* [tensors] */
    hf_piece *piece;
} hf_map;

/* The tensors of a model whose names (ours) fit the pattern; NULL: all. most: layers at most, of
 * which the rest of the caller's input, `file`, speaks: a configuration that claims more, and many,
 * is refused before anything is allocated by it. Freed by hf_map_destroy, which takes NULL. */
clv_status hf_map_create(const hf_model *model, const char *file, const char *only, int64_t most,
                         hf_map **map);
void hf_map_destroy(hf_map **map);
/* The name as a model without prefix says it. */
const char *hf_bare_name(hf_kind kind, const char *theirs);
/* Whether a tensor of theirs says nothing about the model: masks, angles, a tied head. */
bool hf_is_ignored(const hf_model *model, const char *theirs);

#endif
