/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz.c: a coverage-guided fuzzer of the readers (LLVM's libFuzzer), built and run by fuzz.sh.
 *
 *     FUZZ_TARGET=checkpoint    a checkpoint file whose front is made to fit, so that what lies
 *                               behind it is read: the structure, by HDF5; then every tile
 *     FUZZ_TARGET=front         the same as it is
 *     FUZZ_TARGET=safetensors   a file of safetensors, and every tensor of it
 *
 * What a reader accepts must lie within the file.
 */
#include <clvi_io.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_BYTES = 1 << 20 };

static int fd = -1;
static char path[64];
static const char *target;

static void expect(bool condition)
{
    if (!condition) abort();
}

/* ---- Checkpoints ------------------------------------------------------------------------ */

/* The front as front.c describes it, with checksums that hold; where the structure is said to end
 * stays as it is. */
static void fit_front(unsigned char *bytes, size_t size)
{
    struct {
        char text[40];
        int64_t file_bytes, structure_end;
        uint64_t structure, self;
    } front;
    if (size < CLVI_FRONT + sizeof front) return;
    memcpy(&front, bytes, sizeof front);
    front.file_bytes = (int64_t)size;
    if (front.structure_end >= CLVI_FRONT && front.structure_end <= (int64_t)size)
        front.structure =
            clvi_hash(0, bytes + CLVI_FRONT, (size_t)(front.structure_end - CLVI_FRONT));
    front.self = clvi_hash(0, &front, sizeof front - sizeof front.self);
    memcpy(bytes, &front, sizeof front);
}

static void read_set(const clvi_table *table, const clvi_file *file, const clvi_entry *entry)
{
    clvi_reader *reader = NULL;
    int64_t bytes = clvi_entry_bytes(entry);
    expect(entry->m >= 0 && entry->n >= 0 && bytes >= 0);
    if (bytes == 0 || bytes > MOST_BYTES) return;
    expect(entry->offset >= 0 && entry->offset + bytes <= file->bytes);
    clv_block all = {.m = entry->m, .n = entry->n, .ld = entry->n, .data = malloc((size_t)bytes)};
    clvi_target whole = {entry, entry->dtype, all};
    if (all.data && clvi_reader_open(table, file, NULL, &reader) == CLV_OK)
        clvi_reader_read(reader, (clv_spec){0}, &whole);
    clvi_reader_close(&reader);
    free(all.data);
}

static void read_checkpoint(void)
{
    clvi_table *table = NULL;
    clvi_file file;
    if (clvi_table_read(path, true, &table) != CLV_OK) return;
    expect(clvi_file_open(path, false, &file) == CLV_OK);
    expect(strlen(clvi_table_json(table)) <= (size_t)table->json_bytes);
    for (int64_t i = 0; i < table->count; i++) {
        const clvi_entry *entry = clvi_table_entry(table, i);
        expect(strlen(clvi_table_name(table, entry)) > 0);
        read_set(table, &file, entry);
    }
    clvi_file_close(&file);
    clvi_free(table);
}

/* ---- Safetensors ------------------------------------------------------------------------ */

static void read_tensor(clv_safetensors *file, int i, int64_t bytes)
{
    clv_st_tensor t = clv_safetensors_at(file, i);
    expect(t.bytes >= 0 && t.bytes <= bytes && t.ndims >= 0 && t.ndims <= 8);
    int64_t n = t.ndims ? t.shape[t.ndims - 1] : 1, m = t.ndims == 2 ? t.shape[0] : 1;
    if (t.ndims > 2 || t.dtype >= CLV_ST_I32 || t.bytes == 0) return;
    clv_block all = {.m = m, .n = n, .ld = n, .data = malloc((size_t)(m * n) * 8)};
    expect(clv_safetensors_read(file, i, CLV_F64, all) == CLV_OK);
    free(all.data);
}

static void read_safetensors(int64_t bytes)
{
    clv_safetensors *file = NULL;
    if (clv_safetensors_open(path, &file) != CLV_OK) return;
    for (int i = 0; i < clv_safetensors_count(file); i++) read_tensor(file, i, bytes);
    clv_safetensors_close(&file);
}

/* ---- libFuzzer ---------------------------------------------------------------------------- */

__attribute__((visibility("default"))) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    target = getenv("FUZZ_TARGET");
    if (!target) target = "safetensors";
    fd = memfd_create("fuzz", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return fd < 0;
}

__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    expect(bytes != NULL);
    memcpy(bytes, data, size);
    if (strcmp(target, "checkpoint") == 0) fit_front(bytes, size);
    expect(pwrite(fd, bytes, size, 0) == (ssize_t)size && ftruncate(fd, (off_t)size) == 0);
    free(bytes);
    if (strcmp(target, "safetensors") == 0)
        read_safetensors((int64_t)size);
    else
        read_checkpoint();
    return 0;
}
