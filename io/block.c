/* SPDX-License-Identifier: BSD-3-Clause
 *
 * block.c: one process's block of a matrix that lies row-major in a file:
 *
 *     A[row0 + i, col0 + j] at offset + ((row0 + i) n + col0 + j) size
 *
 * A block of whole rows is one piece of the file. Otherwise each row is a piece, and where
 * pieces are short, many go through a buffer at once: a system call costs as much as copying some
 * kilobytes, so the gaps between short pieces are read too, and dropped.
 */
#include <clvi_io.h>
#include <string.h>

enum {
    LONG_PIECE = 64 << 10, /* bytes from which a piece is worth a call of its own  */
    SHORT_GAP = 4 << 10    /* bytes between pieces that are cheaper read than skipped */
};

/* How a block lies in the file and in memory, in bytes. */
typedef struct {
    int64_t size;         /* of an element in the file    */
    int64_t offset;       /* of element (0, 0) of the block */
    int64_t piece, pitch; /* a row of the block; from row to row */
    bool whole;           /* one piece in file and memory */
} shape;

static shape shape_of(const clvi_entry *entry, clv_block block)
{
    int64_t size = (int64_t)clv_dtype_size(entry->dtype);
    return (shape){.size = size,
                   .offset = entry->offset + (block.row0 * entry->n + block.col0) * size,
                   .piece = block.n * size,
                   .pitch = entry->n * size,
                   .whole = block.n == entry->n && (block.ld == block.n || block.m == 1)};
}

static bool is_empty(clv_block block)
{
    return block.m == 0 || block.n == 0;
}

/* Reads rows through the buffer, converting: each step spans whole pieces and the gaps between. */
static clv_status read_staged(const clvi_file *file, const clvi_entry *entry, clv_dtype dtype,
                              clv_block block, shape s, void *stage)
{
    clv_status status = CLV_OK;
    int64_t step = 1 + (CLVI_STAGE - s.piece) / s.pitch;
    if (s.pitch - s.piece > SHORT_GAP) step = 1;
    for (int64_t i = 0; i < block.m; i += step) {
        int64_t rows = block.m - i < step ? block.m - i : step;
        CLVI_TRY(clvi_file_read(file, stage, (size_t)((rows - 1) * s.pitch + s.piece),
                                s.offset + i * s.pitch));
        for (int64_t k = 0; k < rows; k++)
            clvi_convert(block.n, entry->dtype, (char *)stage + k * s.pitch, dtype,
                         clvi_at(block, dtype, i + k, 0));
    }
done:
    return status;
}

/* Rows longer than the buffer are converted in bands of columns. */
static clv_status read_bands(const clvi_file *file, const clvi_entry *entry, clv_dtype dtype,
                             clv_block block, void *stage)
{
    clv_status status = CLV_OK;
    int64_t width = CLVI_STAGE / (int64_t)clv_dtype_size(entry->dtype);
    for (int64_t j = 0; j < block.n; j += width) {
        clv_block band = block;
        band.data = clvi_at(block, dtype, 0, j);
        band.col0 += j;
        band.n = block.n - j < width ? block.n - j : width;
        CLVI_TRY(read_staged(file, entry, dtype, band, shape_of(entry, band), stage));
    }
done:
    return status;
}

clv_status clvi_block_read(const clvi_file *file, const clvi_entry *entry, clv_dtype dtype,
                           clv_block block, void *stage)
{
    clv_status status = CLV_OK;
    shape s = shape_of(entry, block);
    if (is_empty(block)) return CLV_OK;
    bool close_pieces = s.piece < LONG_PIECE && s.pitch - s.piece <= SHORT_GAP;
    if (entry->dtype != dtype || (close_pieces && !s.whole))
        return read_bands(file, entry, dtype, block, stage);
    if (s.whole) return clvi_file_read(file, block.data, (size_t)(block.m * s.piece), s.offset);
    for (int64_t i = 0; i < block.m; i++)
        CLVI_TRY(clvi_file_read(file, clvi_at(block, dtype, i, 0), (size_t)s.piece,
                                s.offset + i * s.pitch));
done:
    return status;
}
