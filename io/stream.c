/* SPDX-License-Identifier: BSD-3-Clause
 *
 * stream.c: blocks become bytes of a checkpoint file.
 *
 * What lies one after the other in the file is gathered into whole tiles, which are hashed while
 * they are at hand and written past the page cache: pages would have to be found, filled and
 * written back. They lie in the buffer as they do in the file, tile on tile, so that they are
 * aligned as the disk wants them. The buffer pays for itself: the disk takes large pages in half of
 * the time that it needs for small ones, of which shared memory is made (measured, ext4 on a
 * virtual disk). Threads write while the next tiles are gathered: two writes at a time, so that the
 * disk never waits, and a buffer more.
 *
 * What is left over at the ends of a run of bytes goes through the page cache, and its tile has no
 * checksum yet: it may be others' as well.
 */
#include <clvi_io.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    STAGE = 8 * CLVI_TILE,    /* bytes of a buffer, and of one write          */
    PAGE = 4096,              /* what places and lengths on the disk divide by */
    SECTOR = 512,             /* what addresses in memory do                   */
    DIRECT_LEAST = 16 * PAGE, /* bytes that are worth it                       */
};

clv_status clvi_stream_open(const char *path, clvi_table *table, clvi_stream *stream)
{
    clv_status status;
    *stream = (clvi_stream){.file.fd = -1, .direct = -1, .table = table, .entry = -1};
    CLVI_TRY(clvi_file_open(path, true, &stream->file));
    stream->direct = open(path, O_WRONLY | O_CLOEXEC | O_DIRECT); /* without: slower, not wrong */
    stream->memory = clvi_alloc((CLVI_WRITES + 1) * (size_t)STAGE + PAGE);
    CLVI_CHECK(stream->memory, CLV_ENOMEM, "%s: a buffer to write", path);
    stream->buffers = stream->memory + (PAGE - (uintptr_t)stream->memory % PAGE) % PAGE;
done:
    if (status != CLV_OK) clvi_stream_drop(stream);
    return status;
}

void clvi_stream_drop(clvi_stream *stream)
{
    for (int i = 0; i < CLVI_WRITES; i++) clvi_job_drop(&stream->writes[i].job);
    clvi_file_close(&stream->file);
    if (stream->direct >= 0) close(stream->direct);
    stream->direct = -1;
    clvi_free(stream->memory);
    stream->memory = stream->buffers = NULL;
}

/* ---- Writing ----------------------------------------------------------------------- */

/* How many bytes went past the page cache: a whole number of pages, less than asked for where the
 * file system takes none, or an interrupted call took fewer. */
static clv_status write_direct(clvi_stream *s, const char *data, size_t bytes, int64_t offset,
                               size_t *done)
{
    *done = 0;
    if (s->direct < 0 || __atomic_load_n(&s->refused, __ATOMIC_RELAXED) || offset % PAGE ||
        (uintptr_t)data % SECTOR || bytes < DIRECT_LEAST)
        return CLV_OK;
    bytes -= bytes % PAGE;
    while (*done < bytes && *done % PAGE == 0) {
        size_t piece = bytes - *done < STAGE ? bytes - *done : STAGE;
        ssize_t put = pwrite(s->direct, data + *done, piece, offset + (int64_t)*done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EINVAL) { /* never here */
            __atomic_store_n(&s->refused, true, __ATOMIC_RELAXED);
            return CLV_OK;
        }
        if (put <= 0)
            return clvi_fail(CLV_EIO, "%s: cannot write: %s", s->file.path,
                             put ? strerror(errno) : "no room");
        *done += (size_t)put;
    }
    return CLV_OK;
}

static clv_status write_bytes(clvi_stream *s, const char *data, size_t bytes, int64_t offset)
{
    clv_status status;
    size_t head = (size_t)((PAGE - offset % PAGE) % PAGE), middle = 0;
    if (s->direct < 0 || bytes < head + DIRECT_LEAST) head = 0;
    if (head) CLVI_TRY(clvi_file_write(&s->file, data, head, offset));
    CLVI_TRY(write_direct(s, data + head, bytes - head, offset + (int64_t)head, &middle));
    head += middle;
    CLVI_TRY(clvi_file_write(&s->file, data + head, bytes - head, offset + (int64_t)head));
done:
    return status;
}

/* Bytes [begin, end) of an entry: the sums of the tiles that they fill; none of those they touch.
 */
static void hash_tiles(clvi_stream *s, const clvi_entry *entry, const char *data, int64_t begin,
                       int64_t end)
{
    int64_t all = clvi_entry_bytes(entry);
    uint64_t *sums = clvi_table_sums(s->table) + entry->first_tile;
    for (int64_t tile = begin / CLVI_TILE; tile * CLVI_TILE < end; tile++) {
        int64_t from = tile * CLVI_TILE, to = all - from < CLVI_TILE ? all : from + CLVI_TILE;
        bool filled = from >= begin && to <= end;
        sums[tile] = filled ? XXH3_64bits(data + (from - begin), (size_t)(to - from)) : 0;
    }
}

static clv_status write_pending(void *write)
{
    clvi_write *w = write;
    return write_bytes(w->stream, w->data, w->bytes, w->offset);
}

/* All that are under way; the first failure. */
static clv_status wait_writes(clvi_stream *s)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < CLVI_WRITES; i++) {
        if (status == CLV_OK)
            status = clvi_job_end(&s->writes[i].job);
        else
            clvi_job_drop(&s->writes[i].job);
    }
    return status;
}

static char *stage_of(const clvi_stream *s)
{
    return s->buffers + (ptrdiff_t)s->buffer * STAGE;
}

/* The buffer holds bytes [begin, end) of its entry, the first of them at begin % CLVI_TILE. While
 * it is written the next one is filled, whose own write ended before this one began. Few bytes are
 * not worth a thread. */
static clv_status flush(clvi_stream *s)
{
    clv_status status = CLV_OK;
    int64_t begin = s->begin;
    if (begin == s->end) return CLV_OK;
    const clvi_entry *entry = clvi_table_entry(s->table, s->entry);
    clvi_write *w = &s->writes[s->turn];
    clvi_write next = {.stream = s,
                       .data = stage_of(s) + begin % CLVI_TILE,
                       .bytes = (size_t)(s->end - begin),
                       .offset = entry->offset + begin};
    s->begin = s->end;
    hash_tiles(s, entry, next.data, begin, s->end);
    if (next.bytes < CLVI_TILE) return write_bytes(s, next.data, next.bytes, next.offset);
    CLVI_TRY(clvi_job_end(&w->job));
    *w = next;
    clvi_job_start(&w->job, write_pending, w);
    s->turn = (s->turn + 1) % CLVI_WRITES;
    s->buffer = (s->buffer + 1) % (CLVI_WRITES + 1);
done:
    return status;
}

/* ---- Gathering ----------------------------------------------------------------------- */

static clv_status append(clvi_stream *s, int64_t i, const char *data, int64_t bytes, int64_t at)
{
    clv_status status = CLV_OK;
    if (s->entry != i || s->end != at) {
        CLVI_TRY(flush(s));
        s->entry = i;
        s->begin = s->end = at;
    }
    while (bytes > 0) {
        int64_t used = s->end - s->begin / CLVI_TILE * CLVI_TILE;
        int64_t step = bytes < STAGE - used ? bytes : STAGE - used;
        memcpy(stage_of(s) + used, data, (size_t)step);
        s->end += step;
        data += step;
        bytes -= step;
        if (used + step == STAGE) CLVI_TRY(flush(s));
    }
done:
    return status;
}

clv_status clvi_stream_put(clvi_stream *stream, int64_t i, clv_block block)
{
    clv_status status = CLV_OK;
    const clvi_entry *entry = clvi_table_entry(stream->table, i);
    int64_t size = (int64_t)clv_dtype_size(entry->dtype), row = block.n * size;
    if (block.m == 0 || block.n == 0) return CLV_OK;
    int64_t at = (block.row0 * entry->n + block.col0) * size;
    if (block.n == entry->n && (block.ld == block.n || block.m == 1))
        return append(stream, i, block.data, block.m * row, at);
    for (int64_t k = 0; k < block.m; k++)
        CLVI_TRY(
            append(stream, i, clvi_at(block, entry->dtype, k, 0), row, at + k * entry->n * size));
done:
    return status;
}

/* ---- Ending -------------------------------------------------------------------------- */

/* The sums of an entry's tiles from `tile` on that are known, in one piece; where it ends. */
static clv_status write_sums(const clvi_stream *s, const clvi_entry *entry, int64_t *tile)
{
    const uint64_t *sums = clvi_table_sums(s->table) + entry->first_tile;
    int64_t begin = *tile, end = begin;
    while (end < entry->tiles && sums[end]) end++;
    *tile = end;
    return clvi_file_write(&s->file, sums + begin, (size_t)(end - begin) * sizeof *sums,
                           entry->sums_offset + begin * (int64_t)sizeof *sums);
}

clv_status clvi_stream_close(clvi_stream *stream)
{
    clv_status status;
    CLVI_TRY(flush(stream));
    CLVI_TRY(wait_writes(stream));
    for (int64_t i = 0; i < stream->table->count; i++)
        for (int64_t tile = 0; tile < clvi_table_entry(stream->table, i)->tiles; tile++)
            CLVI_TRY(write_sums(stream, clvi_table_entry(stream->table, i), &tile));
    CLVI_TRY(clvi_file_close(&stream->file));
done:
    clvi_stream_drop(stream);
    return status;
}
