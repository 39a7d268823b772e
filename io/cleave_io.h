/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cleave_io.h: checkpoints, safetensors, tokens.
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

/* ---- Names ---------------------------------------------------------------------- */

/* A pattern chooses tensors by name, as a shell chooses files: words between commas, of which one
 * must match; '*' stands for any characters, '/' and '.' too, '?' for one, "[a-z]" for one of them,
 * and a word after '!' takes away what words before it chose ("block.*,!*.bias"; a first word with
 * '!' takes away from all). NULL chooses everything. Local. */
CLV_API bool clv_name_matches(const char *pattern, const char *name);

/* ---- Writing a checkpoint ----------------------------------------------------------- */

/* One data set. Its name is UTF-8 of at most 1000 bytes, parts between single slashes, which make
 * groups; no part is empty, "." or "..", nor is the first one "cleave". Names differ, and none is a
 * group of another. */
typedef struct {
    const char *name;
    int64_t m, n;
    clv_dtype dtype;
} clv_checkpoint_entry;

/* Writes the matrices (no pending sums; names unique) and a JSON text, all text UTF-8, to path:
 * under a temporary name first, synced, checksummed tile by tile, marked complete, then renamed
 * over path. A crash at any moment leaves the old file or the new one. The same content is the same
 * file, byte for byte: there is no time in it. CLV_EIO before anything is written where the file
 * system has no room. Collective. */
CLV_API clv_status clv_checkpoint_write(clv_grid *grid, const char *path, int count,
                                        const clv_named matrices[], const char *json);

/* The same piece by piece, for what does not fit in memory at once. */
typedef struct clv_checkpoint_writer clv_checkpoint_writer;

/* Makes the file under its temporary name, with room for all, after removing what killed writers of
 * this path left. entries are copied. CLV_EARG (path, names), CLV_EDTYPE, CLV_ESHAPE;
 * CLV_EMISMATCH where the processes' arguments differ; CLV_EIO where it cannot be made or there is
 * no room: any process's failure is everyone's, and names its rank. Collective. */
CLV_API clv_status clv_checkpoint_begin(clv_grid *grid, const char *path, int count,
                                        const clv_checkpoint_entry entries[], const char *json,
                                        clv_checkpoint_writer **writer);
/* Writes a block of entry i, of the entry's type, anywhere within its shape. Every element has to
 * be put once, by any process; those never put are zeros. CLV_EARG for another i, CLV_ESHAPE for a
 * block not within; CLV_EIO, of this block or one before. Local. */
CLV_API clv_status clv_checkpoint_put(clv_checkpoint_writer *writer, int i, clv_block block);
/* Commits if `mine` is CLV_OK on every process, otherwise removes the temporary file and returns
 * the failure: what was at path stays. CLV_EIO. Sets *writer to NULL. Collective. */
CLV_API clv_status clv_checkpoint_commit(clv_checkpoint_writer **writer, clv_status mine);

/* ---- Reading a checkpoint ------------------------------------------------------------ */

typedef struct clv_checkpoint clv_checkpoint;

/* Opens path and checks that it is a complete checkpoint. CLV_ENOTFOUND, CLV_EFORMAT,
 * CLV_ECORRUPT. Collective. */
CLV_API clv_status clv_checkpoint_open(clv_grid *grid, const char *path,
                                       clv_checkpoint **checkpoint);
CLV_API void clv_checkpoint_close(clv_checkpoint **checkpoint); /* Local */

/* The JSON text given when it was written; the checkpoint's. Local. */
CLV_API const char *clv_checkpoint_json(const clv_checkpoint *checkpoint);

/* Its data sets; names are the checkpoint's. Local. */
CLV_API int clv_checkpoint_count(const clv_checkpoint *checkpoint);
CLV_API clv_checkpoint_entry clv_checkpoint_at(const clv_checkpoint *checkpoint, int i);
CLV_API int clv_checkpoint_find(const clv_checkpoint *checkpoint, const char *name); /* or -1 */
CLV_API int64_t clv_checkpoint_bytes(const clv_checkpoint *checkpoint); /* of the file */

/* What a load expects of the file. */
typedef struct {
    const char *only; /* a pattern: of the file's data sets and of the matrices, only these count */
    bool lax;         /* a matrix without data set keeps its values, a data set without matrix is
                       * left out */
} clv_load_options;

/* Reads each matrix's block, whatever its layout (no pending sums), checking every byte that is
 * read against its checksum. Strict unless options say otherwise: the data sets and the matrices
 * are the same names with the same shapes, or one error names all that are missing, extra
 * (CLV_ENOTFOUND) or misshapen (CLV_ESHAPE; CLV_EDTYPE: one of them integers), and nothing is
 * loaded; CLV_ENOTFOUND too where `only` fits no name at all. Floating types are converted once, to
 * nearest, ties to even; beyond the type's range lies infinity, and NaN stays NaN. After
 * CLV_ECORRUPT (damage, or the file was written to meanwhile) or CLV_EIO the matrices' values are
 * undefined. The file is mapped while it is read: SIGBUS is Cleave's meanwhile, and all but its own
 * faults go on to the program's handler. Parameters without an optimizer's state: only =
 * "*,!adamw.*,!sgd.*". NULL options: all defaults. Memory beside the matrices: 64 MiB at most.
 * Collective. */
CLV_API clv_status clv_checkpoint_load(clv_checkpoint *checkpoint, int count,
                                       const clv_named matrices[], const clv_load_options *options);

/* Reads any block of data set i into block.data of `dtype`, checked and converted as by a load
 * (CLV_EARG where it is not within the data set). The tiles of checksums, 1 MiB of the data set
 * each, that the block lies in are read whole: blocks of whole rows, and of many, are best. One
 * thread at a time. Local. */
CLV_API clv_status clv_checkpoint_read(clv_checkpoint *checkpoint, int i, clv_dtype dtype,
                                       clv_block block);

/* ---- Verifying ------------------------------------------------------------------------ */

/* Elements [begin, end) of a data set, in row-major order, are not as written. */
typedef struct {
    const char *name; /* the checkpoint's */
    int64_t begin, end;
    int64_t offset; /* of element begin in the file, in bytes */
} clv_damage;

typedef struct {
    const char *only; /* a pattern of data sets; NULL: all, and the structure and the JSON text */
    void (*progress)(void *context, int64_t done, int64_t all); /* bytes of this process's share;
                                                                 * may be NULL                   */
    void (*damage)(void *context, const clv_damage *damage);    /* on every process, in the order of
                                                                 * the file; may be NULL         */
    void *context;
} clv_verify_options;

/* Checks every byte against its checksum, the processes and their threads dividing the work; what
 * cannot be read is damage too. CLV_ECORRUPT after all damage was told: the same on any number of
 * processes. NULL options: all defaults. Collective. */
CLV_API clv_status clv_checkpoint_verify(clv_checkpoint *checkpoint,
                                         const clv_verify_options *options);

/* ---- A folder of checkpoints --------------------------------------------------------- */

/* A folder holds step-NNNNNNNN.h5 files, and "latest" names the newest; where it names none that is
 * there, the greatest step is. */

typedef struct {
    int keep;           /* newest that stay; 0: all                                          */
    int64_t keep_every; /* steps that it divides stay whatever keep says; 0: none            */
    bool background;    /* save returns after a copy in memory; written while the run goes on */
} clv_saver_options;

/* Saves the steps of one run. What crashes left under temporary names goes at the next save, and
 * steps greater than the one saved, which an abandoned run left, go with `keep`. No file is removed
 * before a newer one is durable. After a failure, older checkpoints are as they were and the saver
 * goes on with the next step; one that comes from removing old files leaves the new step durable,
 * and they go with the next. */
typedef struct clv_saver clv_saver;

/* Makes the folder where missing, and checks that it can be written: CLV_EIO. CLV_EARG,
 * CLV_EMISMATCH. Collective. */
CLV_API clv_status clv_saver_create(clv_grid *grid, const char *dir,
                                    const clv_saver_options *options, clv_saver **saver);
/* Saves a step. In the background: copies what this process has to write, after the save before, if
 * one is still under way, has ended; returns that one's failure if it failed. CLV_EARG for a step
 * below 0; else fails as clv_checkpoint_begin and commit do. Collective. */
CLV_API clv_status clv_saver_save(clv_saver *saver, int64_t step, int count,
                                  const clv_named matrices[], const char *json);
/* To be called after each step of a run: moves a save in the background on, and returns its failure
 * once. *saved (may be NULL): the last step that is durable, -1 before the first. A few
 * microseconds. Collective. */
CLV_API clv_status clv_saver_check(clv_saver *saver, int64_t *saved);
/* Until nothing is under way; returns as check does. Collective. */
CLV_API clv_status clv_saver_wait(clv_saver *saver, int64_t *saved);
/* After a wait; a save still under way is given up, its temporary file removed. Collective. */
CLV_API void clv_saver_destroy(clv_saver **saver);

/* The file meant by path: itself if it is a file, else the newest checkpoint of the folder. Caller
 * frees *file with free. CLV_ENOTFOUND says what was looked for; where the newest is damaged,
 * CLV_ECORRUPT or CLV_EFORMAT says which older one is complete. Collective. */
CLV_API clv_status clv_checkpoint_resolve(clv_grid *grid, const char *path, char **file);

/* The steps that a folder has a file of, complete or not, in ascending order; none of what is no
 * folder. Caller frees *steps with free. CLV_EIO where the folder cannot be listed. Collective. */
CLV_API clv_status clv_checkpoint_list(clv_grid *grid, const char *dir, int64_t **steps,
                                       int *count);
/* The name that the file of a step has in its folder; returns name. Local. */
enum { CLV_STEP_NAME = 32 };
CLV_API const char *clv_checkpoint_name(int64_t step, char name[CLV_STEP_NAME]);
/* The step whose file has this name; -1 for any other name. Local. */
CLV_API int64_t clv_checkpoint_step(const char *name);

/* ---- Safetensors ------------------------------------------------------------------------ */

/* Files of Hugging Face's format: 8 bytes of header size (little-endian), a JSON header of names,
 * types, shapes and byte ranges, then the tensors, row-major, without holes. A model is a folder
 * with one file, or with several and an index. */
#define CLV_ST_SINGLE "model.safetensors"
#define CLV_ST_INDEX "model.safetensors.index.json"

/* Types that Cleave computes with, and f16, which is converted, and others, which are only listed.
 */
typedef enum {
    CLV_ST_F32 = 0,
    CLV_ST_F64,
    CLV_ST_BF16,
    CLV_ST_F16,
    CLV_ST_I32,
    CLV_ST_OTHER
} clv_st_dtype;

typedef struct {
    const char *name, *dtype_name; /* "F32"; the object's                                      */
    clv_st_dtype dtype;
    int ndims;
    int64_t shape[8];
    int64_t bytes;
} clv_st_tensor;

typedef struct clv_safetensors clv_safetensors;

/* Opens a file, or the folder of a model, with a single file or the index of several, not both.
 * Checks every rule of the format: header size at most 100 MB and within the file, JSON without
 * duplicate keys, ranges of shape x type, without holes or overlaps, up to the file's end; and that
 * index and files agree. CLV_ENOTFOUND, CLV_EFORMAT naming file, tensor, expected and found. Local.
 */
CLV_API clv_status clv_safetensors_open(const char *path, clv_safetensors **file);
CLV_API void clv_safetensors_close(clv_safetensors **file);                      /* Local */
CLV_API int clv_safetensors_count(const clv_safetensors *file);                  /* Local */
CLV_API clv_st_tensor clv_safetensors_at(const clv_safetensors *file, int i);    /* Local */
CLV_API int clv_safetensors_find(const clv_safetensors *file, const char *name); /* Local: or -1 */
/* A tensor of up to two dimensions as a matrix (one of n is 1 x n): reads any block of it into
 * block.data of a floating dtype, converted to nearest even, or of its own. Of a model's files, 64
 * are open at a time; CLV_ECORRUPT: one that had to be opened again is another now. Local. */
CLV_API clv_status clv_safetensors_read(clv_safetensors *file, int i, clv_dtype dtype,
                                        clv_block block);

/* Writes a model: tensors of f32, f64, bf16 or i32, in one file or in several of at most
 * shard_bytes (0: one; a larger tensor has a file of its own) with an index, as checkpoints are:
 * under temporary names, synced, renamed, what makes them a model last. The folder is made where
 * missing, not those above it. Another model in it is replaced: a crash then leaves either, or,
 * where shards or the kind of model change, none that opens; never a mixture. begin and commit are
 * Collective, put is Local and means what clv_checkpoint_put means. begin: CLV_EARG (names are
 * UTF-8, different, and not "__metadata__"), CLV_ESHAPE, CLV_EDTYPE, CLV_EMISMATCH where arguments
 * differ, CLV_EIO; put: CLV_EARG, CLV_EIO; commit: CLV_EIO. */
typedef struct clv_safetensors_writer clv_safetensors_writer;
typedef struct {
    const char *name;
    clv_dtype dtype;
    int ndims; /* 1: n elements, m is 1; 2: m x n */
    int64_t m, n;
} clv_st_entry;
CLV_API clv_status clv_safetensors_begin(clv_grid *grid, const char *folder, int count,
                                         const clv_st_entry entries[], int64_t shard_bytes,
                                         clv_safetensors_writer **writer);
CLV_API clv_status clv_safetensors_put(clv_safetensors_writer *writer, int i, clv_block block);
/* Syncs what was put: commit does it too, but after this it only renames. So another file of the
 * model, which has to go before its tensors do, goes when little can fail. CLV_EIO. Collective. */
CLV_API clv_status clv_safetensors_settle(clv_safetensors_writer *writer, clv_status mine);
CLV_API clv_status clv_safetensors_commit(clv_safetensors_writer **writer, clv_status mine);

/* ---- Tokens ----------------------------------------------------------------------------- */

/* Files read as one long sequence of token ids: texts, one byte a token, or HDF5 files with a 1-D
 * data set of unsigned integers named "tokens", as h5py writes them. */
typedef struct clv_tokens clv_tokens;

/* Opens the files in the order given, all texts or all HDF5; the error names the one at fault.
 * Collective. */
CLV_API clv_status clv_tokens_open(clv_grid *grid, int count, const char *const paths[],
                                   clv_tokens **tokens);
CLV_API void clv_tokens_close(clv_tokens **tokens);        /* Local */
CLV_API int64_t clv_tokens_size(const clv_tokens *tokens); /* Local: of all files */
/* Ids are below it: 256 for texts; for HDF5 the attribute "vocabulary" of "tokens", 0 where a file
 * has none. Local. */
CLV_API int64_t clv_tokens_vocabulary(const clv_tokens *tokens);
CLV_API bool clv_tokens_are_bytes(const clv_tokens *tokens); /* Local: the files are texts */
/* The file that the token at *offset (0 <= *offset < size) is in; *offset: its place there. Local.
 */
CLV_API const char *clv_tokens_file(const clv_tokens *tokens, int64_t *offset);
/* ids[i] = token at offset + i; 0 <= offset, offset + count <= size (CLV_EARG); CLV_ELIMIT for ids
 * that are not below their file's vocabulary, or above 2^31 - 1. Local. */
CLV_API clv_status clv_tokens_read(clv_tokens *tokens, int64_t offset, int64_t count, int32_t *ids);

/* Writes such an HDF5 file, of 16-bit integers where the vocabulary allows it, else of 32 bits:
 * under a temporary name, synced and renamed by commit. Local. */
typedef struct clv_tokens_writer clv_tokens_writer;
CLV_API clv_status clv_tokens_create(const char *path, int64_t vocabulary,
                                     clv_tokens_writer **writer);
CLV_API clv_status clv_tokens_append(clv_tokens_writer *writer, int64_t count, const int32_t *ids);
/* keep false removes what was written. Sets *writer to NULL. */
CLV_API clv_status clv_tokens_commit(clv_tokens_writer **writer, bool keep);

/* ---- Tokenizers ---------------------------------------------------------------------------- */

/* Byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019): text is split by a
 * regular expression, the bytes of each piece are merged pair by pair in the order of the ranks of
 * pairs. */
typedef struct clv_tokenizer clv_tokenizer;

/* path: NULL: bytes are tokens; a folder with tokenizer.json, or with vocab.json and merges.txt; or
 * a tokenizer.json. CLV_EFORMAT says which part of a tokenizer.json is not of this kind. Local. */
CLV_API clv_status clv_tokenizer_open(const char *path, clv_tokenizer **tokenizer);
CLV_API void clv_tokenizer_close(clv_tokenizer **tokenizer); /* Local */
CLV_API int64_t
clv_tokenizer_vocabulary(const clv_tokenizer *tokenizer); /* Local: ids are below it */
/* The id of the token that is this text, or -1. Local. */
CLV_API int32_t clv_tokenizer_find(const clv_tokenizer *tokenizer, const char *text, size_t bytes);
/* *ids: caller frees with free. Text that is not UTF-8 goes byte by byte. Tokens that a
 * tokenizer.json adds, special ones too, are found in the text; none is put before or behind it.
 * CLV_ELIMIT where the split takes too long, or a piece of text is longer than 2^30 bytes. Local.
 */
CLV_API clv_status clv_tokenizer_encode(const clv_tokenizer *tokenizer, const char *text,
                                        size_t bytes, int32_t **ids, int64_t *count);
/* The same for a text that comes in parts: tokens of the first *used bytes, which no further text
 * can change; what is left goes before the next part. last: nothing follows, all is used. Local. */
CLV_API clv_status clv_tokenizer_encode_part(const clv_tokenizer *tokenizer, const char *text,
                                             size_t bytes, bool last, int32_t **ids, int64_t *count,
                                             size_t *used);
/* *text: caller frees with free; ids outside the vocabulary are CLV_EARG. Local. */
CLV_API clv_status clv_tokenizer_decode(const clv_tokenizer *tokenizer, int64_t count,
                                        const int32_t *ids, char **text, size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
