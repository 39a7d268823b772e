/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_io.h: what the rooms of io offer each other.
 *
 * A checkpoint in HDF5 terms: a contiguous data set of global shape for each matrix, and
 *
 *     /cleave/json               one fixed-length string
 *     /cleave/checksum/<name>    uint64, XXH3-64 of each tile of data set <name>
 *     /cleave/complete           uint64, the mark: a hash of all of the above, names and shapes
 *
 * Before them, in 4 KiB that HDF5 leaves to others, stands what guards HDF5's own bytes (front.c).
 *
 * HDF5 is asked for structure alone, by rank 0 alone, of a file that nobody else has open. What it
 * answers is a table of plain numbers; from then on everything is pread and pwrite at offsets.
 */
#ifndef CLVI_IO_H
#define CLVI_IO_H

#include <cleave_io.h>
#include <clvi_dist.h>
#include <pthread.h>

/* ---- file.c: whole reads and writes, lasting names ------------------------- */

typedef struct {
    int fd;           /* -1: not open          */
    int64_t bytes;    /* when it was opened    */
    const char *path; /* borrowed, for messages */
} clvi_file;

/* Opens a regular file; CLV_ENOTFOUND or CLV_EIO says why not. All in this section are Local. */
clv_status clvi_file_open(const char *path, bool writable, clvi_file *file);
/* Before a new file is made that is to become path: CLV_EIO unless a regular file or nothing is
 * there, for renaming replaces anything. Removes what dead writers left of it; of the run or the
 * model that a file of this name is part of, what they left of any of its files. */
clv_status clvi_file_prepare(const char *path);
/* A new, empty file under a temporary name, locked until it is closed or its process dies. It takes
 * the place of a dead writer's file, never of a living one's (CLV_EIO). */
clv_status clvi_file_create_locked(const char *path, clvi_file *file);
/* Removes it if its lock can be taken: no process writes it. */
void clvi_file_remove_abandoned(const char *path);
/* ".tmp-HOST-PID": different for every process that may write to the same folder. */
enum { CLVI_SUFFIX = 64 };
void clvi_temporary_suffix(char suffix[CLVI_SUFFIX]);
/* Closes it where it is open; a failure means that what was written may be lost. */
clv_status clvi_file_close(clvi_file *file);

/* All bytes or a failure; interrupted and short calls go on. */
clv_status clvi_file_read(const clvi_file *file, void *data, size_t bytes, int64_t offset);
clv_status clvi_file_write(const clvi_file *file, const void *data, size_t bytes, int64_t offset);
clv_status clvi_file_sync(const clvi_file *file);
/* Makes the file so many bytes long and takes their room on the disk now; where the file system
 * cannot do that, as far as it says what is free. */
clv_status clvi_file_reserve(const clvi_file *file, int64_t bytes);
/* Renames and syncs the folder: after this the new name outlives a power cut. */
clv_status clvi_file_rename(const char *from, const char *to);
/* Removes a file; one that is not there is fine. */
clv_status clvi_file_remove(const char *path);
/* Syncs the folder that path is in. */
clv_status clvi_file_sync_folder(const char *path);
/* Makes a folder whose name outlives a power cut; whatever is there already is fine. */
clv_status clvi_folder_make(const char *path);
/* Calls action for the path of every file in dir whose name fits a pattern of the shell's (of
 * bash's extglob), until one fails. */
clv_status clvi_each_file(const char *dir, const char *pattern,
                          clv_status (*action)(void *context, const char *path), void *context);

/* printf into new memory (clvi_free); NULL if there is none. */
char *clvi_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "DIR/.NAME<suffix>" for path "DIR/NAME", in new memory; NULL if there is none. */
char *clvi_hidden_name(const char *path, const char *suffix);

/* ---- table.c: what a checkpoint file holds, and where ------------------------ */

/* One data set: m x n elements, row-major at offset; its tiles' checksums stand in the file at
 * sums_offset and in the table from sum[first_tile] on. */
typedef struct {
    int64_t m, n;
    int64_t offset, sums_offset;
    int64_t first_tile, tiles;
    int64_t name; /* position in the table's text */
    clv_dtype dtype;
} clvi_entry;

/* One block of memory without pointers, so that it travels as it is: this head, entries[count],
 * sums[tiles], then text_bytes of text: the JSON, and the names. Positions are in bytes from the
 * head. */
typedef struct {
    size_t bytes;
    int64_t count, tiles;
    int64_t entries_at, sums_at, text_at;
    int64_t text_bytes, json_bytes;
    int64_t json_offset, mark_offset, file_bytes; /* in the file */
    uint64_t mark;
} clvi_table;

static inline clvi_entry *clvi_table_entry(const clvi_table *table, int64_t i)
{
    return (clvi_entry *)((char *)table + table->entries_at) + i;
}
static inline uint64_t *clvi_table_sums(const clvi_table *table)
{
    return (uint64_t *)((char *)table + table->sums_at);
}
static inline char *clvi_table_json(const clvi_table *table)
{
    return (char *)table + table->text_at;
}
static inline const char *clvi_table_name(const clvi_table *table, const clvi_entry *entry)
{
    return (char *)table + table->text_at + entry->name;
}
static inline int64_t clvi_entry_bytes(const clvi_entry *entry)
{
    return entry->m * entry->n * (int64_t)clv_dtype_size(entry->dtype);
}

/* A table with room for count entries, tiles checksums, the JSON and names of name_bytes with
 * their ends; NULL if there is no memory. Free with clvi_free. */
clvi_table *clvi_table_create(int64_t count, int64_t tiles, int64_t json_bytes, int64_t name_bytes);
/* The index of name, looked for from `hint` on (where it is if the orders agree), or -1. */
int64_t clvi_table_find(const clvi_table *table, const char *name, int64_t hint);
/* Structure (through HDF5), JSON, checksums and mark of a file; front and mark must hold where
 * `complete`. Local. */
clv_status clvi_table_read(const char *path, bool complete, clvi_table **table);
/* The same memory on every process: rank 0 brings it, the others get it in new memory. Any process
 * may bring a failure instead. Collective. */
clv_status clvi_share(clv_grid *grid, clv_status mine, void **memory, size_t bytes);

/* ---- h5.c: HDF5 and checkpoints (all Local) ----------------------------------- */

enum { CLVI_NAME_BYTES = 1000 }; /* of a data set's name, at most */

/* Makes the structure of a checkpoint in an empty file. Elements, JSON, checksums and mark have
 * their places, reserved on the disk, but no values: they are zeros. */
clv_status clvi_h5_create(const clvi_file *file, int count, const clv_checkpoint_entry entries[],
                          size_t json_bytes);
/* The structure of the checkpoint in file. Everything in the table has been checked
 * against the size of the file; JSON and checksums have their room in it but no values.
 * checked: the file's first bytes, which are not read again; NULL: none. */
clv_status clvi_h5_read(const clvi_file *file, const char *checked, int64_t bytes,
                        clvi_table **table);

/* ---- front.c: before HDF5 ------------------------------------------------------- */

enum { CLVI_FRONT = 4096 }; /* bytes of the user block */

/* Describes a file of which all but these bytes and the mark is written. Local. */
clv_status clvi_front_write(const clvi_file *file, const clvi_table *table);
/* Whether the file is a checkpoint of the right length and its structure is as written: if not,
 * HDF5 must not read it. checked (clvi_free, whatever the status): the file's first bytes that
 * were, for HDF5. CLV_EFORMAT, CLV_ECORRUPT. Local. */
clv_status clvi_front_check(const clvi_file *file, char **checked, int64_t *bytes);

/* ---- checksum.c: tiles --------------------------------------------------------- */

enum { CLVI_TILE = 1 << 20 }; /* bytes of a data set under one checksum */

/* The XXH3-64 of bytes, seeded with another hash: a chain over several pieces. */
uint64_t clvi_hash(uint64_t hash, const void *data, size_t bytes);
/* Tiles of so many bytes. */
int64_t clvi_tiles(int64_t bytes);
/* The bytes of an entry's tile, as a range of the data set's bytes. */
clvi_range clvi_tile_range(const clvi_entry *entry, int64_t tile);
/* The hash over names, shapes, JSON and checksums that marks a file as complete. */
uint64_t clvi_table_mark(const clvi_table *table);

/* The checksum of a tile that comes piece by piece, while each is in the cache. */
typedef struct {
    _Alignas(64) unsigned char state[576];
} clvi_hasher;
void clvi_hasher_begin(clvi_hasher *hasher);
void clvi_hasher_add(clvi_hasher *hasher, const void *data, size_t bytes);
uint64_t clvi_hasher_end(const clvi_hasher *hasher);

/* ---- block.c: a process's block of a matrix that lies row-major in a file -------- */

enum { CLVI_STAGE = 4 << 20 }; /* bytes of the buffer `stage` below */

/* Whether a block's place is within m x n, whatever its memory is. */
static inline bool clvi_block_placed(clv_block block, int64_t m, int64_t n)
{
    return block.row0 >= 0 && block.col0 >= 0 && block.m >= 0 && block.n >= 0 && block.row0 <= m &&
           block.m <= m - block.row0 && block.col0 <= n && block.n <= n - block.col0;
}
/* And its rows do not overlap. */
static inline bool clvi_block_inside(clv_block block, int64_t m, int64_t n)
{
    return clvi_block_placed(block, m, n) && (block.m <= 1 || block.ld >= block.n);
}

/* Into a block of any floating type, or of the same type. */
clv_status clvi_block_read(const clvi_file *file, const clvi_entry *entry, clv_dtype dtype,
                           clv_block block, void *stage);

/* ---- view.c: the bytes of a file as memory ------------------------------------------ */

typedef struct {
    int64_t bytes, seconds, nanoseconds; /* its size, and when it was last written */
} clvi_file_state;

/* For one thread at a time. */
typedef struct {
    const clvi_file *file; /* borrowed; NULL: not open                    */
    clvi_file_state state; /* when the view was opened                    */
    char *window;          /* what is mapped, [begin, end); NULL: nothing */
    int64_t begin, end;
    char *buffer; /* CLVI_TILE, for what cannot be mapped; NULL before the first such bytes */
} clvi_view;

/* Uses bytes that stay there until it returns. shared: processes of the node that have these bytes
 * shared too have the very same; else they are this process's own copy. Called again, from the
 * start, with a copy of bytes that went away during the call. */
typedef clv_status clvi_use(const void *data, bool shared, void *context);

/* All Local. A view takes SIGBUS from the program while it is open. Close it also if opening it
 * failed. */
clv_status clvi_view_open(const clvi_file *file, clvi_view *view);
/* Shows bytes of the file, at most CLVI_TILE, to use, and returns what that returns. */
clv_status clvi_view_use(clvi_view *view, int64_t offset, size_t bytes, clvi_use *use,
                         void *context);
/* CLV_ECORRUPT: the file was written to since the view was opened. */
clv_status clvi_view_close(clvi_view *view);

/* ---- read.c: blocks out of checked tiles ------------------------------------------- */

/* A process's block of one data set, whose elements become dtype. */
typedef struct {
    const clvi_entry *entry;
    clv_dtype dtype;
    clv_block block;
} clvi_target;

/* Reads for all processes of a grid (each with a reader of its own), or with grid NULL for this one
 * alone. table, file and grid are borrowed. All Local; of a grid's readers, nothing is valid before
 * all processes have agreed that all of them, closing too, succeeded. */
typedef struct clvi_reader clvi_reader;
clv_status clvi_reader_open(const clvi_table *table, const clvi_file *file, clv_grid *grid,
                            clvi_reader **reader);
/* Reads this process's block; of a grid's reader, that of a matrix of this spec, which all
 * processes read. spec is not used by one that reads alone. */
clv_status clvi_reader_read(clvi_reader *reader, clv_spec spec, const clvi_target *mine);
/* Fails as clvi_view_close does. */
clv_status clvi_reader_close(clvi_reader **reader);

/* ---- job.c: file work in a thread of its own ------------------------------------------ */

typedef struct {
    clv_status (*work)(void *context);
    void *context;
    pthread_t thread;
    bool active, threaded, done;
    clv_status status;
    char message[2048];
} clvi_job;

/* Begins work, which must not call MPI; job stays where it is until its end. Local. */
void clvi_job_start(clvi_job *job, clv_status (*work)(void *context), void *context);
bool clvi_job_done(const clvi_job *job);
/* Waits for it; its status, with its message. CLV_OK where none was begun. Local. */
clv_status clvi_job_end(clvi_job *job);
void clvi_job_drop(clvi_job *job); /* the same, and nothing is told */

/* ---- stream.c: blocks become bytes of the file ------------------------------------ */

enum { CLVI_WRITES = 2 }; /* at a time */

typedef struct clvi_stream clvi_stream;
typedef struct {
    clvi_job job;
    clvi_stream *stream;
    const char *data;
    size_t bytes;
    int64_t offset;
} clvi_write;

struct clvi_stream {
    clvi_file file;
    int direct;        /* the same file past the page cache; -1: not there             */
    bool refused;      /* it takes no writes                                           */
    clvi_table *table; /* borrowed; its sums become those of the tiles written whole   */
    char *memory, *buffers;
    int buffer, turn;          /* the one that is filled; the write that is next  */
    int64_t entry, begin, end; /* what the buffer holds: bytes of an entry        */
    clvi_write writes[CLVI_WRITES];
};

/* All in this section are Local. path is borrowed. */
clv_status clvi_stream_open(const char *path, clvi_table *table, clvi_stream *stream);
/* Failures of writes may come with a later call. */
clv_status clvi_stream_put(clvi_stream *stream, int64_t i, clv_block block);
/* Writes what is left and the checksums of the tiles that were written whole; not synced. */
clv_status clvi_stream_close(clvi_stream *stream);
void clvi_stream_drop(clvi_stream *stream); /* gives up */

/* ---- rows.c: a matrix as rows of the file ------------------------------------------- */

/* The rows of a matrix divided over all processes, whatever its layout: each has one piece of the
 * file to write. They are taken panel by panel. */
typedef struct {
    const clv_matrix *matrix;
    clv_spec spec; /* the layout of whole rows                                */
    bool view;     /* every process has its rows at hand: nothing has to move */
    int panels;
} clvi_rows;

/* panel_bytes: about so many a panel (0: all in one), in multiples of 64 rows. Local, the same on
 * every process. */
clvi_rows clvi_rows_of(const clv_matrix *matrix, int64_t panel_bytes);
/* This process's rows of a panel; without data and ld. Local. */
clv_block clvi_rows_block(const clvi_rows *rows, int panel);
/* Bytes of the largest panel of this process that has to be moved into memory; 0 for a view. */
int64_t clvi_rows_memory(const clvi_rows *rows);
/* Brings them: block's data are the matrix's own memory or `memory`. A failure that any process
 * brings as `mine` is everyone's and nothing moves. Collective. */
clv_status clvi_rows_take(const clvi_rows *rows, int panel, void *memory, clv_status mine,
                          clv_block *block);

/* ---- level.c: text ---------------------------------------------------------------------- */

bool clvi_is_utf8(const char *text);

/* ---- entries.c: what a checkpoint shall hold ------------------------------------------- */

clv_checkpoint_entry clvi_entry_of(const clv_named *named); /* Local */
/* Adds an entry to hashes of names and of shapes, which begin with 0. Local. */
void clvi_entry_hash(const clv_checkpoint_entry *entry, int64_t *names, int64_t *shapes);
/* Checks matrices and makes their entries (clvi_free). Local. */
clv_status clvi_entries_of(const clv_grid *grid, int count, const clv_named matrices[],
                           clv_checkpoint_entry **entries);
/* Whether all arguments of a begin are right, and the same everywhere; any process may bring a
 * failure instead. Collective. */
clv_status clvi_entries_agree(clv_grid *grid, const char *path, int count,
                              const clv_checkpoint_entry entries[], const char *json,
                              clv_status mine);

/* ---- commit.c: what a writer does, step by step ------------------------------------------ */

/* clv_grid_agree, with the name of the process in the message. Collective. */
clv_status clvi_vote(clv_grid *grid, clv_status mine);

/* clv_checkpoint_begin; any process may bring a failure instead. Collective. */
clv_status clvi_writer_begin(clv_grid *grid, const char *path, int count,
                             const clv_checkpoint_entry entries[], const char *json,
                             clv_status mine, clv_checkpoint_writer **writer);
/* Writes the rows of all matrices, panel by panel. Collective. */
clv_status clvi_writer_put_all(clv_checkpoint_writer *writer, int count,
                               const clv_named matrices[]);
/* The stages of a commit, each to be begun when every process has done the one before it. Local,
 * and without MPI or HDF5: a thread may run them. */
typedef clv_status (*clvi_stage)(clv_checkpoint_writer *writer);
enum { CLVI_STAGES = 3 };
extern const clvi_stage clvi_writer_stages[CLVI_STAGES];
/* Ends it, after a failure by removing the temporary file. Local. */
void clvi_writer_end(clv_checkpoint_writer **writer, clv_status status);

/* ---- folder.c: steps by name, "latest" ---------------------------------------------- */

/* All in this section are Local, and the caller sees to it that one process alone calls them. */
/* "DIR/step-NNNNNNNN.h5" in new memory; NULL if there is none. */
char *clvi_step_path(const char *dir, int64_t step);
/* mkdir -p. */
clv_status clvi_folder_prepare(const char *dir);
/* "latest" names a step. */
clv_status clvi_folder_point(const char *dir, int64_t step);
/* Removes what does not stay once step `written` is durable (clv_saver_options). */
clv_status clvi_folder_prune(const char *dir, int64_t written, int keep, int64_t every);

/* ---- checkpoint.c ------------------------------------------------------------------ */

struct clv_checkpoint {
    clv_grid *grid;
    clvi_table *table;
    clvi_file file; /* stays open: a newer file of this name, or none, does not matter */
    char *path;
};

/* What write and load have in common. Local: the matrices are this grid's, named, without pending
 * sums. */
clv_status clvi_named_check(const clv_grid *grid, int count, const clv_named matrices[]);
/* Hashes of names and of shapes, for clvi_grid_same. */
void clvi_named_hash(int count, const clv_named matrices[], int64_t *names, int64_t *shapes);

#endif
