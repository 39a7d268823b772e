/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_checkpoint.c: `cleave bench checkpoint`: saving and loading, against what a program would
 * do that needs no more than its own bytes back: every process pwrite and fsync, or pread, of as
 * many bytes, in one piece in a file of its own (faster than pieces of one file, where writers wait
 * for each other). Loading also meets pread of the same bytes of the same file, those of this
 * process's shards: row by row where columns are cut. The disk itself is measured too: the same
 * past the page cache.
 *
 * Three groups of contenders take turns among themselves: writing, reading (of files that were read
 * before: both from the page cache where they fit), and what a save in the background holds up
 * against a copy in memory.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MATRICES = 8, COLUMNS = 4096, PIECE = 16 << 20, PAGE = 4096 };

typedef enum { DISK, WRITE, SAVE, READ, SAME, LOAD, COPY, STALL, TIMES } what;
typedef enum { ROWS, COLS } shards;

typedef struct {
    const char *grid, *dir, *bytes;
    shards shards;
    int64_t repeat;
} checkpoint_args;

typedef struct {
    const checkpoint_args *args;
    clv_grid *grid;
    clv_saver *now, *background;
    clv_named named[MATRICES];
    char names[MATRICES][16];
    char folder[1024], own[1100], file[1100]; /* files: of this process; of all */
    char *memory, *copy;                      /* as many bytes as this process has, on a page */
    size_t bytes;
    double *turns[TIMES];
    spread seconds[TIMES];
    char axes[256];
} checkpoint;

/* ---- Contenders ------------------------------------------------------------------------- */

static clv_status failed(const char *path, const char *verb, int error)
{
    return tool_fail(CLV_EIO, "%s: cannot %s: %s", path, verb, strerror(error));
}

/* One call for each piece. */
static clv_status move_bytes(const char *path, int fd, bool writing, char *memory, size_t bytes,
                             int64_t offset)
{
    for (size_t at = 0; at < bytes;) {
        size_t piece = bytes - at < PIECE ? bytes - at : PIECE;
        off_t place = (off_t)offset + (off_t)at;
        ssize_t done =
            writing ? pwrite(fd, memory + at, piece, place) : pread(fd, memory + at, piece, place);
        if (done < 0) return failed(path, writing ? "write" : "read", errno);
        if (done == 0)
            return tool_fail(CLV_EIO, "%s: expected %zu bytes, found the end after %zu", path,
                             bytes, at);
        at += (size_t)done;
    }
    return CLV_OK;
}

/* All bytes of this process, to or from its own file. */
static clv_status transfer(const checkpoint *b, int flags, bool reserve)
{
    clv_status status = CLV_OK;
    bool writing = (flags & O_ACCMODE) != O_RDONLY;
    int fd = open(b->own, flags | O_CLOEXEC, 0666);
    if (fd < 0) return failed(b->own, "open", errno);
    int error = reserve ? posix_fallocate(fd, 0, (off_t)b->bytes) : 0; /* leaves errno alone */
    if (error) status = failed(b->own, "reserve", error);
    if (status == CLV_OK) status = move_bytes(b->own, fd, writing, b->memory, b->bytes, 0);
    if (writing && status == CLV_OK && fsync(fd)) status = failed(b->own, "sync", errno);
    close(fd);
    return status;
}

static clv_status run_disk(checkpoint *b)
{
    return transfer(b, O_WRONLY | O_CREAT | O_DIRECT, true);
}
static clv_status run_write(checkpoint *b)
{
    return transfer(b, O_WRONLY | O_CREAT, false);
}
static clv_status run_read(checkpoint *b)
{
    return transfer(b, O_RDONLY, false);
}

/* The bytes of a matrix that are this process's, to `to`, from the checkpoint, whose header is so
 * small that it is taken for nothing: whole rows in one piece. */
static clv_status read_shard(checkpoint *b, int fd, int i, char *to)
{
    clv_status status = CLV_OK;
    clv_spec spec = clv_matrix_spec(b->named[i].matrix);
    clv_block mine = clv_matrix_block(b->named[i].matrix);
    bool whole = mine.n == spec.n;
    int64_t rows = whole ? 1 : mine.m;
    size_t run = (size_t)((whole ? mine.m : 1) * mine.n) * sizeof(float);
    for (int64_t r = 0; r < rows; r++, to += run) {
        int64_t element = (i * spec.m + mine.row0 + r) * spec.n + mine.col0;
        TRY(move_bytes(b->file, fd, false, to, run, element * (int64_t)sizeof(float)));
    }
done:
    return status;
}

static clv_status run_same(checkpoint *b)
{
    clv_status status = CLV_OK;
    int fd = open(b->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return failed(b->file, "open", errno);
    char *to = b->memory;
    for (int i = 0; i < MATRICES && status == CLV_OK; i++) {
        clv_block mine = clv_matrix_block(b->named[i].matrix);
        status = read_shard(b, fd, i, to);
        to += (size_t)(mine.m * mine.n) * sizeof(float);
    }
    close(fd);
    return status;
}

static clv_status run_save(checkpoint *b)
{
    return clv_saver_save(b->now, 1, MATRICES, b->named, NULL);
}

static clv_status run_load(checkpoint *b)
{
    clv_checkpoint *c = NULL;
    clv_status status = clv_checkpoint_open(b->grid, b->file, &c);
    if (status == CLV_OK) status = clv_checkpoint_load(c, MATRICES, b->named, NULL);
    clv_checkpoint_close(&c);
    return status;
}

/* Of what a save in the background copies: this process's blocks. */
static clv_status run_copy(checkpoint *b)
{
    char *to = b->copy;
    for (int i = 0; i < MATRICES; i++) {
        clv_block block = clv_matrix_block(b->named[i].matrix);
        size_t bytes = (size_t)(block.m * block.n) * sizeof(float);
        memcpy(to, block.data, bytes); /* ld is n: the matrix has its own memory */
        to += bytes;
    }
    __asm__ volatile("" ::: "memory"); /* nobody reads it: it is copied all the same */
    return CLV_OK;
}

static clv_status run_stall(checkpoint *b)
{
    return clv_saver_save(b->background, 1, MATRICES, b->named, NULL);
}

/* Between turns: the last one's file goes, so that none pays for removing it; the one of the disk
 * goes too, for its place. */
static clv_status remove_own(checkpoint *b)
{
    unlink(b->own);
    return CLV_OK;
}
static clv_status remove_file(checkpoint *b)
{
    if (tool.rank == 0) unlink(b->file);
    return CLV_OK;
}
static clv_status wait_saved(checkpoint *b)
{
    clv_status status = clv_saver_wait(b->background, NULL);
    return status == CLV_OK ? remove_file(b) : status;
}

static const struct {
    const char *key; /* KEYseconds in JSON */
    const char *help;
    clv_status (*before)(checkpoint *);
    clv_status (*run)(checkpoint *);
} contenders[TIMES] = {
    [DISK] = {"disk_", "plain, past the page cache", remove_own, run_disk},
    [WRITE] = {"write_", "plain pwrite, fsync", remove_own, run_write},
    [SAVE] = {"save_", "cleave saves", remove_file, run_save},
    [READ] = {"read_", "plain pread in one piece", NULL, run_read},
    [SAME] = {"same_", "plain pread of the same bytes", NULL, run_same},
    [LOAD] = {"load_", "cleave loads, verified", NULL, run_load},
    [COPY] = {"copy_", "copy in memory", wait_saved, run_copy},
    [STALL] = {"stall_", "cleave saves in the background", wait_saved, run_stall},
};

/* ---- Measuring ------------------------------------------------------------------------------ */

/* From when all begin to when the last one ends. */
static clv_status take_turn(checkpoint *b, what i, double *seconds)
{
    clv_status status = contenders[i].before ? contenders[i].before(b) : CLV_OK;
    TRY(clv_grid_agree(b->grid, status));
    TRY(clv_grid_barrier(b->grid));
    double started = tool_seconds();
    status = contenders[i].run(b);
    double span[] = {tool_seconds() - started};
    TRY(clv_grid_agree(b->grid, status));
    TRY(clv_grid_reduce(b->grid, CLV_MAX, 1, span));
    *seconds = span[0];
done:
    return status;
}

/* Contenders [first, end) in turns; one more turn before them does not count. */
static clv_status measure(checkpoint *b, what first, what end)
{
    clv_status status = CLV_OK;
    double warm;
    for (int64_t turn = -1; turn < b->args->repeat; turn++)
        for (what i = first; i < end; i++)
            TRY(take_turn(b, i, turn < 0 ? &warm : &b->turns[i][turn]));
    for (what i = first; i < end; i++) b->seconds[i] = spread_of(b->turns[i], b->args->repeat);
done:
    return status;
}

static clv_status measure_all(checkpoint *b)
{
    clv_status status;
    TRY(measure(b, DISK, READ));
    TRY(measure(b, READ, COPY));
    TRY(clv_grid_agree(b->grid, remove_own(b)));
    TRY(measure(b, COPY, TIMES));
    TRY(clv_saver_wait(b->background, NULL));
done:
    return status;
}

/* ---- Opening and closing ----------------------------------------------------------------- */

static clv_status open_matrices(checkpoint *b, double bytes)
{
    clv_status status;
    clv_spec spec = {.n = COLUMNS, .dtype = CLV_F32};
    spec.m = (int64_t)(bytes / MATRICES / COLUMNS / 4) + 1;
    for (int axis = 0; axis < clv_grid_naxes(b->grid); axis++) {
        clv_order *list = b->args->shards == ROWS ? &spec.layout.rows : &spec.layout.cols;
        *list = clv_order_append(*list, axis);
    }
    clv_block mine = clv_spec_block(b->grid, spec, clv_grid_rank(b->grid));
    b->bytes = (size_t)(MATRICES * mine.m * mine.n) * 4 / PAGE * PAGE;
    TRY(room_for(b->grid, "matrices, a copy and buffers do", 5 * (double)b->bytes));
    for (int i = 0; i < MATRICES; i++) {
        snprintf(b->names[i], sizeof b->names[i], "matrix.%d", i);
        b->named[i].name = b->names[i];
        TRY(clv_matrix_create(b->grid, spec, &b->named[i].matrix));
        TRY(clv_matrix_fill_normal(b->named[i].matrix, 1, (uint64_t)i, 0, 1));
    }
done:
    return status;
}

static clv_status open_memory(checkpoint *b)
{
    bool had = posix_memalign((void **)&b->memory, PAGE, b->bytes + PAGE) == 0 &&
               posix_memalign((void **)&b->copy, PAGE, b->bytes + PAGE) == 0;
    for (int i = 0; i < TIMES; i++) {
        b->turns[i] = calloc((size_t)b->args->repeat, sizeof(double));
        had = had && b->turns[i];
    }
    if (had) memset(b->memory, 1, b->bytes), memset(b->copy, 2, b->bytes);
    return clv_grid_agree(
        b->grid, had ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for %zu bytes", 2 * b->bytes));
}

/* A folder of its own in the one given, so that all that is in it may go. */
static clv_status open_folder(checkpoint *b)
{
    clv_status status = CLV_OK;
    snprintf(b->folder, sizeof b->folder, "%s/cleave-bench-XXXXXX", b->args->dir);
    if (tool.rank == 0 && !mkdtemp(b->folder)) status = failed(b->folder, "make the folder", errno);
    TRY(clv_grid_agree(b->grid, status));
    TRY(clv_grid_broadcast(b->grid, 0, b->folder, sizeof b->folder));
    snprintf(b->own, sizeof b->own, "%s/plain-%d", b->folder, tool.rank);
    snprintf(b->file, sizeof b->file, "%s/step-00000001.h5", b->folder);
    const clv_saver_options background = {.background = true};
    TRY(clv_saver_create(b->grid, b->folder, NULL, &b->now));
    TRY(clv_saver_create(b->grid, b->folder, &background, &b->background));
done:
    return status;
}

static clv_status open_all(checkpoint *b, double bytes)
{
    clv_status status;
    TRY(clv_grid_create_text(MPI_COMM_WORLD, b->args->grid, &b->grid));
    tool_grid_format(b->grid, b->axes, sizeof b->axes);
    TRY(open_matrices(b, bytes));
    TRY(open_memory(b));
    TRY(open_folder(b));
done:
    return status;
}

static void close_all(checkpoint *b)
{
    char latest[1100];
    clv_saver_destroy(&b->background);
    clv_saver_destroy(&b->now);
    snprintf(latest, sizeof latest, "%s/latest", b->folder);
    if (b->own[0]) unlink(b->own);
    if (b->grid) clv_grid_barrier(b->grid);
    if (b->own[0] && tool.rank == 0) unlink(b->file), unlink(latest), rmdir(b->folder);
    for (int i = 0; i < MATRICES; i++) clv_matrix_destroy(&b->named[i].matrix);
    for (int i = 0; i < TIMES; i++) free(b->turns[i]);
    free(b->memory);
    free(b->copy);
    clv_grid_destroy(&b->grid);
}

/* ---- Output ------------------------------------------------------------------------------ */

static void show(const checkpoint *b)
{
    double all = (double)b->bytes * clv_grid_size(b->grid);
    const spread *s = b->seconds;
    json_t *object = json_pack("{s:s,s:s,s:s,s:s,s:I,s:i,s:I}", "bench", "checkpoint", "grid",
                               b->axes, "shards", b->args->shards == ROWS ? "rows" : "cols", "dir",
                               b->args->dir, "bytes", (json_int_t)all, "ranks",
                               clv_grid_size(b->grid), "repeat", (json_int_t)b->args->repeat);
    output_text("%.4g GiB in %d matrices, %s cut over %s, in %s\n\n", all / (1 << 30), MATRICES,
                b->args->shards == ROWS ? "rows" : "columns", b->axes, b->args->dir);
    output_text("  %-32s %10s %10s %10s %10s\n", "", "seconds", "least", "most", "GiB/s");
    for (what i = 0; i < TIMES; i++) {
        output_text("  %-32s %10.4g %10.4g %10.4g %10.4g\n", contenders[i].help, s[i].median,
                    s[i].least, s[i].most, all / s[i].median / (1 << 30));
        json_seconds(object, contenders[i].key, s[i]);
    }
    double save = s[WRITE].median / s[SAVE].median, load = s[SAME].median / s[LOAD].median;
    double piece = s[READ].median / s[LOAD].median;
    double disk = s[DISK].median / s[SAVE].median, stall = s[STALL].median / s[COPY].median;
    output_text(
        "\nof plain writing %.3g, of the disk %.3g, of plain reading of the same bytes %.3g, "
        "in one piece %.3g; a save in the background holds up for %.3g copies\n",
        save, disk, load, piece, stall);
    json_object_update_new(object,
                           json_pack("{s:o,s:o,s:o,s:o,s:o}", "save_fraction", output_number(save),
                                     "load_fraction", output_number(load), "piece_fraction",
                                     output_number(piece), "disk_fraction", output_number(disk),
                                     "stall_copies", output_number(stall)));
    output_json("o", object);
}

static clv_status work(void *asked)
{
    clv_status status;
    checkpoint b = {.args = asked};
    double bytes = 0;
    TRY(bench_read_bytes("--bytes", b.args->bytes, &bytes));
    TRY(open_all(&b, bytes));
    TRY(measure_all(&b));
    show(&b);
done:
    close_all(&b);
    return status;
}

static const manual about = {
    .name = "bench checkpoint",
    .synopsis = "[options]",
    .about =
        "Saves and loads matrices of so many bytes in all, and says what fraction of the speed of\n"
        "plain writing and reading that is: every process pwrite and fsync, or pread, of as many\n"
        "bytes in one piece, or pread of the very bytes of the shards, in turns with Cleave. A\n"
        "load checks every checksum. Reading is done again and again: from memory where the file\n"
        "fits. The disk row is writing past the page cache. The last rows say how long a save in\n"
        "the background holds a run up, against a copy in memory of as many bytes. Needs room in\n"
        "DIR for three times the bytes.",
    .examples = "  mpiexec.mpich -n 2 cleave bench checkpoint --bytes 2G --shards rows\n"
                "  mpiexec.mpich -n 4 cleave bench checkpoint --bytes 256M --grid row=2,col=2 \\\n"
                "      --shards cols --dir /scratch --json\n",
};

int bench_checkpoint(int argc, char **argv)
{
    checkpoint_args args = {0};
    option options[] = {
        opt_text("bytes", "SIZE", &args.bytes, "256M", "of all matrices together: 64K, 2G"),
        opt_text("grid", "AXES", &args.grid, NULL, "row=2,col=2; sizes multiply to the ranks"),
        opt_choice("shards", "KIND", &args.shards, "rows", "rows|cols", "what all axes cut"),
        opt_text("dir", "DIR", &args.dir, "/tmp", "a folder on the disk to measure"),
        BENCH_REPEAT(&args.repeat),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, work, &args);
}
