/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz.c: a coverage-guided fuzzer of the readers (LLVM's libFuzzer), built and run by fuzz.sh.
 *
 *     FUZZ_TARGET=checkpoint    a checkpoint file whose front is made to fit, so that what lies
 *                               behind it is read: the structure, by HDF5; then every tile
 *     FUZZ_TARGET=front         the same as it is
 *     FUZZ_TARGET=safetensors   a file of safetensors, and every tensor of it
 *     FUZZ_TARGET=tokenizer     JSON 0xff TEXT: a tokenizer.json, and a text; or 0xff VOCAB 0xff
 *                               MERGES 0xff TEXT: vocab.json, merges.txt and a text. Where a file
 *                               has byte 1, the tokens of all bytes are put
 *     FUZZ_TARGET=tokens        a file of tokens (HDF5) or of text, and ranges of it
 *
 * What a reader accepts must lie within the file; what a tokenizer makes of a text, whole or in
 * parts, must be the same tokens and make the text.
 */
#include <cleave.h>
#include <clvi_tokenizer.h>
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

static void put_file(const void *bytes, size_t size)
{
    expect(pwrite(fd, bytes, size, 0) == (ssize_t)size && ftruncate(fd, (off_t)size) == 0);
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

/* ---- Tokenizers ------------------------------------------------------------------------- */

enum { MOST_TEXT = 1024, PART = 7 };

typedef struct {
    char *bytes;
    size_t size, room;
} buffer;

static void append(buffer *to, const void *bytes, size_t size)
{
    if (to->size + size + 1 > to->room) {
        to->room = 2 * (to->size + size + 1);
        to->bytes = realloc(to->bytes, to->room);
        expect(to->bytes != NULL);
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
    to->bytes[to->size] = '\0';
}

/* As a vocabulary has them: the characters that GPT-2 writes for bytes, in the order of these. */
static void append_byte_tokens(buffer *to)
{
    for (int byte = 0, others = 0x100; byte < 256; byte++) {
        char token[32];
        bool itself = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte < 0xad) || byte > 0xad;
        int length = snprintf(token, sizeof token, "%s\"\\u%04x\":%d", byte ? "," : "",
                              itself ? (unsigned)byte : (unsigned)others++, byte);
        append(to, token, (size_t)length);
    }
}

/* What comes before the next byte 0xff, or the end, is a file. */
static buffer next_file(const char **at, const char *end)
{
    buffer file = {0};
    append(&file, "", 0);
    for (; *at < end && **at != '\xff'; ++*at)
        if (**at == 1 && file.size < MOST_BYTES)
            append_byte_tokens(&file);
        else
            append(&file, *at, 1);
    *at += *at < end;
    return file;
}

/* Memory of its exact size, as the readers of files have it. */
static clv_status parse_pair(buffer vocab, buffer merges, clv_tokenizer *tokenizer)
{
    char *v = clvi_alloc(vocab.size + 1), *m = clvi_alloc(merges.size + 1);
    expect(v && m);
    memcpy(v, vocab.bytes, vocab.size);
    memcpy(m, merges.bytes, merges.size);
    clv_status status =
        clvi_tokenizer_parse_pair("vocab", v, vocab.size, "merges", m, merges.size, tokenizer);
    clvi_free(v);
    clvi_free(m);
    return status;
}

/* In parts, as long as no limit of an expression is met. */
static void check_parts(const clv_tokenizer *t, const char *text, size_t bytes, const int32_t *ids,
                        int64_t count)
{
    int64_t done = 0, some = 0;
    size_t begun = 0, used = 0;
    for (size_t given = 0; begun < bytes; begun += used) {
        int32_t *part = NULL;
        given = given + PART < bytes ? given + PART : bytes;
        clv_status status = clv_tokenizer_encode_part(t, text + begun, given - begun,
                                                      given == bytes, &part, &some, &used);
        if (status != CLV_OK) return;
        expect(used <= given - begun && some <= count - done);
        expect(some == 0 || !memcmp(part, ids + done, (size_t)some * sizeof *ids));
        free(part);
        done += some;
    }
    expect(done == count);
}

static void check_text(const clv_tokenizer *t, const char *text, size_t bytes)
{
    int32_t *ids = NULL;
    int64_t count = 0;
    char *back = NULL;
    size_t back_bytes = 0;
    bool gaps = false;
    if (clv_tokenizer_encode(t, text, bytes, &ids, &count) != CLV_OK) return;
    for (int64_t i = 0; i < count; i++) expect(ids[i] >= 0 && ids[i] < clv_tokenizer_vocabulary(t));
    expect(clv_tokenizer_decode(t, count, ids, &back, &back_bytes) == CLV_OK);
    for (int i = 0; i < t->levels; i++) gaps |= t->level[i].drop_gaps;
    expect(back_bytes == bytes || (gaps && back_bytes < bytes));
    expect(gaps || !memcmp(back, text, bytes));
    check_parts(t, text, bytes, ids, count);
    free(back);
    free(ids);
}

static void read_tokenizer(const char *input, size_t size)
{
    static const char text[] =
        "The 12345 caf\u00e9s' \u4e2d\u6587, don't!\r\n\n  \U0001f600 \xff\xc3"
        "  e\u0301 <|x|> \u0663\u3000_\tAB\xe4\xb8";
    const char *at = input, *end = input + size;
    clv_tokenizer *tokenizer = NULL;
    clv_status status;
    buffer files[2] = {next_file(&at, end)};
    if (files[0].size > 0) {
        put_file(files[0].bytes, files[0].size);
        status = clv_tokenizer_open(path, &tokenizer);
    } else {
        free(files[0].bytes);
        files[0] = next_file(&at, end);
        files[1] = next_file(&at, end);
        expect((tokenizer = clvi_alloc(sizeof *tokenizer)) != NULL);
        status = parse_pair(files[0], files[1], tokenizer);
    }
    if (status == CLV_OK) {
        check_text(tokenizer, at, end - at < MOST_TEXT ? (size_t)(end - at) : MOST_TEXT);
        check_text(tokenizer, text, sizeof text - 1);
    }
    clv_tokenizer_close(&tokenizer);
    free(files[0].bytes);
    free(files[1].bytes);
    expect(clvi_alloc_live() == 0);
}

/* ---- Tokens ------------------------------------------------------------------------------- */

static clv_grid *grid;

static void read_range(clv_tokens *tokens, int64_t begin, int64_t end)
{
    int64_t vocabulary = clv_tokens_vocabulary(tokens);
    int32_t *ids = malloc((size_t)(end - begin) * sizeof *ids);
    expect(ids != NULL);
    if (clv_tokens_read(tokens, begin, end - begin, ids) == CLV_OK)
        for (int64_t i = 0; i < end - begin; i++)
            expect(ids[i] >= 0 && (vocabulary == 0 || ids[i] < vocabulary));
    free(ids);
}

/* The begin, the middle, the end and as much as there is memory for. */
static void read_tokens(void)
{
    const char *const paths[] = {path};
    clv_tokens *tokens = NULL;
    if (clv_tokens_open(grid, 1, paths, &tokens) == CLV_OK) {
        int64_t size = clv_tokens_size(tokens), some = size < 100 ? size : 100;
        expect(size > 0);
        read_range(tokens, 0, some);
        read_range(tokens, (size - some) / 2, (size - some) / 2 + some);
        read_range(tokens, size - some, size);
        if (size < MOST_BYTES) read_range(tokens, 0, size);
    }
    clv_tokens_close(&tokens);
}

/* ---- libFuzzer ---------------------------------------------------------------------------- */

__attribute__((visibility("default"))) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    target = getenv("FUZZ_TARGET");
    if (!target) target = "safetensors";
    fd = memfd_create("fuzz", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (strcmp(target, "tokens") != 0) return fd < 0;
    MPI_Init(argc, argv);
    return fd < 0 || clv_grid_create_text(MPI_COMM_SELF, NULL, &grid) != CLV_OK;
}

__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (strcmp(target, "tokenizer") == 0) {
        read_tokenizer((const char *)data, size);
        return 0;
    }
    unsigned char *bytes = malloc(size + 1);
    expect(bytes != NULL);
    memcpy(bytes, data, size);
    if (strcmp(target, "checkpoint") == 0) fit_front(bytes, size);
    put_file(bytes, size);
    free(bytes);
    if (strcmp(target, "safetensors") == 0)
        read_safetensors((int64_t)size);
    else if (strcmp(target, "tokens") == 0)
        read_tokens();
    else
        read_checkpoint();
    return 0;
}
