/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokenize.c: cleave tokenize: texts to a token file, and a token file back to text. Files come in
 * parts, so they may be larger than memory.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART = 1 << 20, IDS = 4096 };

typedef struct {
    option_words files;
    const char *out, *tokenizer, *separator;
    bool decode, overwrite;
} tokenize_args;

static const manual about = {
    .name = "tokenize",
    .synopsis = "FILE... -o OUT.h5 [options]",
    .about =
        "Makes a token file of texts, for --data of train and eval: an HDF5 file with a 1-D data\n"
        "set \"tokens\" of unsigned integers and its attribute \"vocabulary\". Without "
        "--tokenizer\n"
        "each byte is a token; with it, those of a byte-level byte-pair encoding as GPT-2, Llama "
        "3\n"
        "and many others have: a tokenizer.json, or vocab.json and merges.txt. Special tokens "
        "that\n"
        "stand in a text become their ids, none is added. Each file is a text of its own.\n"
        "\n"
        "With --decode the files are token files and their text goes to the standard output; with\n"
        "--json in lines of \"text\" (U+FFFD for each byte that is not UTF-8) and \"hex\" "
        "(exactly).",
    .examples = "  cleave tokenize corpus/*.txt -o corpus.h5 --tokenizer gpt2 "
                "--separator '<|endoftext|>'\n"
                "  cleave tokenize --decode corpus.h5 --tokenizer gpt2 | head\n",
};

/* A text that is being read, and the tokens it becomes. */
typedef struct {
    clv_tokenizer *tokenizer;
    clv_tokens_writer *writer;
    char *buffer;
    size_t held, room; /* bytes in the buffer whose tokens more text could change; its size */
    int64_t bytes, all, tokens;
    progress progress;
} tokenizing;

/* ---- Texts to tokens ---- */

/* The next part behind what is held; *last: there is no more. */
static clv_status read_part(tokenizing *t, int fd, const char *path, bool *last)
{
    ssize_t got;
    if (t->room < t->held + PART) {
        size_t room = 2 * t->held + PART;
        char *buffer = realloc(t->buffer, room);
        if (!buffer) return tool_fail(CLV_ENOMEM, "%s: no memory for %zu bytes", path, room);
        t->buffer = buffer;
        t->room = room;
    }
    /* As much as is held, so that a text without a place to split is not looked at too often. */
    do {
        got = read(fd, t->buffer + t->held, t->room - t->held);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return tool_fail(CLV_EIO, "%s: cannot read: %s", path, strerror(errno));
    *last = got == 0;
    t->held += (size_t)got;
    t->bytes += got;
    return CLV_OK;
}

static clv_status encode_part(tokenizing *t, const char *path, bool last)
{
    size_t used = 0;
    int64_t count = 0;
    int32_t *ids = NULL;
    clv_status status =
        clv_tokenizer_encode_part(t->tokenizer, t->buffer, t->held, last, &ids, &count, &used);
    if (status != CLV_OK) return tool_fail(status, "%s: %s", path, clv_last_error());
    status = clv_tokens_append(t->writer, count, ids);
    free(ids);
    t->held -= used;
    if (used > 0) memmove(t->buffer, t->buffer + used, t->held);
    t->tokens += count;
    progress_show(&t->progress, t->bytes, 0, 0);
    return status;
}

static clv_status add_file(tokenizing *t, const char *path)
{
    bool last = false;
    clv_status status = CLV_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tool_fail(CLV_EIO, "%s: cannot open: %s", path, strerror(errno));
    t->held = 0;
    while (!last) {
        TRY(read_part(t, fd, path, &last));
        TRY(encode_part(t, path, last));
    }
done:
    close(fd);
    return status;
}

static clv_status measure(const tokenize_args *args, int64_t *bytes)
{
    struct stat info;
    for (int i = 0; i < args->files.count; i++) {
        const char *path = args->files.words[i];
        if (stat(path, &info) != 0)
            return tool_fail(CLV_ENOTFOUND, "%s: cannot open: %s", path, strerror(errno));
        if (!S_ISREG(info.st_mode))
            return tool_fail(CLV_EIO, "%s: expected a file, found none", path);
        *bytes += info.st_size;
    }
    if (*bytes > 0) return CLV_OK;
    return tool_fail(CLV_ESHAPE, "%s: expected text, found 0 bytes in %d file%s",
                     args->files.words[0], args->files.count, args->files.count > 1 ? "s" : "");
}

/* An id, or the text of a token. */
static clv_status find_separator(const tokenize_args *args, const clv_tokenizer *tokenizer,
                                 int32_t *id)
{
    char *end;
    const char *text = args->separator;
    int64_t vocabulary = clv_tokenizer_vocabulary(tokenizer);
    *id = -1;
    if (!text) return CLV_OK;
    long long number = strtoll(text, &end, 10);
    if (*end == '\0')
        *id = number >= 0 && number < vocabulary ? (int32_t)number : -1;
    else
        *id = clv_tokenizer_find(tokenizer, text, strlen(text));
    if (*id >= 0) return CLV_OK;
    return tool_fail(CLV_EARG,
                     "--separator: expected a token or an id below %" PRId64 ", found \"%.200s\"",
                     vocabulary, text);
}

/* A file that is there stays unless --overwrite says otherwise; a text that is read, in any case.
 */
static clv_status check_output(const tokenize_args *args)
{
    struct stat out, text;
    if (stat(args->out, &out) != 0) return CLV_OK;
    if (!args->overwrite)
        return tool_fail(CLV_EARG, "-o: expected nothing there, found %s: --overwrite replaces it",
                         args->out);
    for (int i = 0; i < args->files.count; i++) {
        const char *path = args->files.words[i];
        if (stat(path, &text) == 0 && text.st_dev == out.st_dev && text.st_ino == out.st_ino)
            return tool_fail(CLV_EARG, "-o: expected another file than the text %s, found %s", path,
                             args->out);
    }
    return CLV_OK;
}

static clv_status encode_all(tokenizing *t, const tokenize_args *args)
{
    clv_status status;
    int32_t separator;
    TRY(find_separator(args, t->tokenizer, &separator));
    TRY(measure(args, &t->all));
    TRY(check_output(args));
    t->progress = progress_start("tokenized", 0, t->all, 0);
    TRY(clv_tokens_create(args->out, clv_tokenizer_vocabulary(t->tokenizer), &t->writer));
    for (int i = 0; i < args->files.count; i++) {
        TRY(add_file(t, args->files.words[i]));
        if (separator < 0 || i == args->files.count - 1) continue;
        TRY(clv_tokens_append(t->writer, 1, &separator));
        t->tokens++;
    }
    progress_end(&t->progress);
done:
    return status;
}

static void announce(const tokenizing *t, const char *out)
{
    char tokens[32], bytes[32];
    int64_t vocabulary = clv_tokenizer_vocabulary(t->tokenizer);
    output_json("{s:s, s:I, s:I, s:I}", "file", out, "tokens", (json_int_t)t->tokens, "bytes",
                (json_int_t)t->bytes, "vocabulary", (json_int_t)vocabulary);
    output_text("%s tokens of %s bytes, a vocabulary of %" PRId64 ", %s\n",
                output_count(t->tokens, tokens), output_count(t->bytes, bytes), vocabulary, out);
}

static clv_status encode(tokenizing *t, const tokenize_args *args)
{
    clv_status status = encode_all(t, args);
    if (t->writer) {
        clv_status written = clv_tokens_commit(&t->writer, status == CLV_OK);
        if (status == CLV_OK) status = written;
    }
    if (status == CLV_OK) announce(t, args->out);
    free(t->buffer);
    return status;
}

/* ---- Tokens to text ---- */

/* The first of some ids that has no text: by its file and its place there. */
static clv_status refuse_id(const clv_tokenizer *tokenizer, const clv_tokens *tokens, int64_t at,
                            const int32_t *ids)
{
    char *text;
    size_t bytes;
    int64_t i = 0;
    for (; clv_tokenizer_decode(tokenizer, 1, &ids[i], &text, &bytes) == CLV_OK; i++) free(text);
    int64_t place = at + i;
    const char *path = clv_tokens_file(tokens, &place);
    return tool_fail(CLV_EARG,
                     "%s: token %" PRId64 ": expected an id of the tokenizer (below %" PRId64
                     "), found %d",
                     path, place, clv_tokenizer_vocabulary(tokenizer), (int)ids[i]);
}

static clv_status decode_some(const clv_tokenizer *tokenizer, clv_tokens *tokens, int64_t at,
                              int64_t count)
{
    int32_t ids[IDS];
    char *text = NULL;
    size_t bytes = 0;
    clv_status status;
    TRY(clv_tokens_read(tokens, at, count, ids));
    status = clv_tokenizer_decode(tokenizer, count, ids, &text, &bytes);
    if (status == CLV_EARG) status = refuse_id(tokenizer, tokens, at, ids);
    if (status != CLV_OK) goto done;
    output_bytes(text, bytes);
    output_json("{s:o, s:o, s:I}", "text", output_string(text, bytes), "hex",
                output_hex(text, bytes), "tokens", (json_int_t)count);
done:
    free(text);
    return status;
}

static clv_status decode(const clv_tokenizer *tokenizer, clv_grid *grid, const tokenize_args *args)
{
    clv_status status;
    clv_tokens *tokens = NULL;
    TRY(clv_tokens_open(grid, args->files.count, args->files.words, &tokens));
    int64_t size = clv_tokens_size(tokens);
    for (int64_t at = 0; at < size; at += IDS)
        TRY(decode_some(tokenizer, tokens, at, size - at < IDS ? size - at : IDS));
done:
    clv_tokens_close(&tokens);
    return status;
}

/* The words that only belong to one of the two. */
static clv_status check_words(const tokenize_args *args)
{
    if (args->decode && (args->out || args->separator || args->overwrite))
        return tool_fail(CLV_EARG, "--decode: expected no option of what is written, found %s",
                         args->out         ? "-o"
                         : args->separator ? "--separator"
                                           : "--overwrite");
    if (!args->decode && !args->out)
        return tool_fail(CLV_EARG, "expected -o OUT.h5 or --decode, found none");
    return CLV_OK;
}

static clv_status tokenize(void *untyped)
{
    const tokenize_args *args = untyped;
    clv_status status;
    clv_grid *grid = NULL;
    tokenizing t = {0};
    TRY(tool_misuse(check_words(args)));
    TRY(output_check_name("-o", args->out));
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    if (clv_grid_size(grid) > 1) {
        status = tool_fail(CLV_EARG, "expected one process, found %d", clv_grid_size(grid));
        goto done;
    }
    TRY(clv_tokenizer_open(args->tokenizer, &t.tokenizer));
    status = args->decode ? decode(t.tokenizer, grid, args) : encode(&t, args);
done:
    clv_tokenizer_close(&t.tokenizer);
    clv_grid_destroy(&grid);
    return status;
}

int cmd_tokenize(int argc, char **argv)
{
    tokenize_args args = {0};
    option options[] = {
        opt_list("", "FILE...", &args.files, REQUIRED, "texts; with --decode token files"),
        opt_text("o", "OUT.h5", &args.out, NULL, "the token file to write"),
        TOKENIZER_OPTION(&args.tokenizer),
        opt_text("separator", "TOKEN", &args.separator, NULL,
                 "between files: an id, or a token's text such as <|endoftext|>"),
        opt_flag("overwrite", &args.overwrite, "replace what is there"),
        opt_flag("decode", &args.decode, "token files back to text"),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, tokenize, &args);
}
