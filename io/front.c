/* SPDX-License-Identifier: BSD-3-Clause
 *
 * front.c: the first bytes of a checkpoint file, HDF5's user block: what it is, how long it is, and
 * a checksum of HDF5's structure, which lies in one piece behind them, before all values.
 *
 * So a damaged structure is found before HDF5 reads it. HDF5 1.10.8 loses memory on most damaged
 * files, and in older formats can crash or hang.
 * The rest of the user block is zero.
 */
#include <clvi_io.h>
#include <stddef.h>
#include <string.h>

static const char kind[] = "Cleave checkpoint, format ", format[] = "1\n";

typedef struct {
    char text[40]; /* kind and format: a person who looks sees it too */
    int64_t file_bytes;
    int64_t structure_end; /* the structure: [CLVI_FRONT, structure_end)      */
    uint64_t structure;    /* its checksum                                    */
    uint64_t self;         /* the checksum of all fields above                */
} front;

static uint64_t self_of(const front *f)
{
    return clvi_hash(0, f, offsetof(front, self));
}

/* The structure where it lies in the file, behind zeros for the user block; clvi_free, whatever the
 * status. */
static clv_status structure_of(const clvi_file *file, int64_t end, char **front, uint64_t *hash)
{
    clv_status status = CLV_OK;
    size_t bytes = (size_t)(end - CLVI_FRONT);
    *front = clvi_alloc((size_t)end);
    CLVI_CHECK(*front, CLV_ENOMEM, "%s: %zu bytes of structure", file->path, bytes);
    CLVI_TRY(clvi_file_read(file, *front + CLVI_FRONT, bytes, CLVI_FRONT));
    *hash = clvi_hash(0, *front + CLVI_FRONT, bytes);
done:
    return status;
}

static clv_status check_padding(const clvi_file *file)
{
    clv_status status;
    unsigned char padding[CLVI_FRONT - sizeof(front)];
    CLVI_TRY(clvi_file_read(file, padding, sizeof padding, sizeof(front)));
    for (size_t i = 0; i < sizeof padding; i++)
        CLVI_CHECK(padding[i] == 0, CLV_ECORRUPT, "%s: byte %zu: expected 0, found %d", file->path,
                   sizeof(front) + i, padding[i]);
done:
    return status;
}

/* Where the first value begins. */
static int64_t structure_end(const clvi_table *table)
{
    int64_t end = table->json_offset < table->mark_offset ? table->json_offset : table->mark_offset;
    for (int64_t i = 0; i < table->count; i++) {
        const clvi_entry *entry = clvi_table_entry(table, i);
        if (entry->tiles == 0) continue;
        if (entry->offset < end) end = entry->offset;
        if (entry->sums_offset < end) end = entry->sums_offset;
    }
    return end;
}

clv_status clvi_front_write(const clvi_file *file, const clvi_table *table)
{
    clv_status status;
    char *structure = NULL;
    front f = {.file_bytes = table->file_bytes, .structure_end = structure_end(table)};
    snprintf(f.text, sizeof f.text, "%s%s", kind, format);
    CLVI_TRY(structure_of(file, f.structure_end, &structure, &f.structure));
    f.self = self_of(&f);
    CLVI_TRY(clvi_file_write(file, &f, sizeof f, 0));
done:
    clvi_free(structure);
    return status;
}

/* What a file is that does not begin as a checkpoint does. */
static const char *describe(const clvi_file *file, const front *f)
{
    return file->bytes == 0                               ? "an empty file"
           : memcmp(f->text, "\211HDF\r\n\032\n", 8) == 0 ? "another HDF5 file"
                                                          : "something else";
}

clv_status clvi_front_check(const clvi_file *file, char **checked, int64_t *bytes)
{
    clv_status status;
    uint64_t structure = 0;
    front f = {.text = ""};
    size_t there = file->bytes < (int64_t)sizeof f ? (size_t)file->bytes : sizeof f;
    CLVI_TRY(clvi_file_read(file, &f, there, 0));
    CLVI_CHECK(strncmp(f.text, kind, strlen(kind)) == 0, CLV_EFORMAT,
               "%s: expected a checkpoint, found %s", file->path, describe(file, &f));
    CLVI_CHECK(there == sizeof f, CLV_ECORRUPT, "%s: truncated after %zu bytes", file->path, there);
    CLVI_CHECK(f.self == self_of(&f), CLV_ECORRUPT,
               "%s: its first bytes: expected checksum %016llx, found %016llx", file->path,
               (unsigned long long)f.self, (unsigned long long)self_of(&f));
    CLVI_CHECK(strcmp(f.text + strlen(kind), format) == 0, CLV_EFORMAT,
               "%s: expected format %.1s, found %.13s", file->path, format, f.text + strlen(kind));
    CLVI_CHECK(f.file_bytes == file->bytes, CLV_ECORRUPT, "%s: expected %lld bytes, found %lld",
               file->path, (long long)f.file_bytes, (long long)file->bytes);
    CLVI_TRY(check_padding(file));
    CLVI_CHECK(f.structure_end >= CLVI_FRONT && f.structure_end <= file->bytes, CLV_ECORRUPT,
               "%s: expected its structure to end between byte %d and %lld, found %lld", file->path,
               CLVI_FRONT, (long long)file->bytes, (long long)f.structure_end);
    *bytes = f.structure_end;
    CLVI_TRY(structure_of(file, f.structure_end, checked, &structure));
    CLVI_CHECK(f.structure == structure, CLV_ECORRUPT,
               "%s: structure (bytes %d to %lld): expected checksum %016llx, found %016llx",
               file->path, CLVI_FRONT, (long long)f.structure_end, (unsigned long long)f.structure,
               (unsigned long long)structure);
done:
    return status;
}
