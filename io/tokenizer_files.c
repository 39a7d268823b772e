/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokenizer_files.c: which files a tokenizer is made of.
 */
#include "clvi_tokenizer.h"

#include <sys/stat.h>

/* All bytes of a file, in new memory. */
static clv_status read_whole(const char *path, char **text, size_t *bytes)
{
    clv_status status;
    clvi_file file = {.fd = -1};
    enum { LARGEST = 1 << 30 };
    *text = NULL;
    CLVI_TRY(clvi_file_open(path, false, &file));
    CLVI_CHECK(file.bytes <= LARGEST, CLV_ELIMIT, "%s: expected at most %d bytes, found %lld", path,
               LARGEST, (long long)file.bytes);
    *bytes = (size_t)file.bytes;
    *text = clvi_alloc(*bytes + 1);
    CLVI_CHECK(*text, CLV_ENOMEM, "%s: no memory for %zu bytes", path, *bytes);
    CLVI_TRY(clvi_file_read(&file, *text, *bytes, 0));
done:
    clvi_file_close(&file);
    return status;
}

static clv_status read_json(const char *path, clv_tokenizer *tokenizer)
{
    char *json = NULL;
    size_t bytes = 0;
    clv_status status = read_whole(path, &json, &bytes);
    if (status == CLV_OK) status = clvi_tokenizer_parse(path, json, bytes, tokenizer);
    clvi_free(json);
    return status;
}

static clv_status read_pair(const char *vocab_path, const char *merges_path,
                            clv_tokenizer *tokenizer)
{
    clv_status status;
    char *vocab = NULL, *merges = NULL;
    size_t vocab_bytes = 0, merges_bytes = 0;
    CLVI_TRY(read_whole(vocab_path, &vocab, &vocab_bytes));
    CLVI_TRY(read_whole(merges_path, &merges, &merges_bytes));
    CLVI_TRY(clvi_tokenizer_parse_pair(vocab_path, vocab, vocab_bytes, merges_path, merges,
                                       merges_bytes, tokenizer));
done:
    clvi_free(vocab);
    clvi_free(merges);
    return status;
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static clv_status read_folder(const char *folder, clv_tokenizer *tokenizer)
{
    clv_status status = CLV_OK;
    char *json = clvi_format("%s/tokenizer.json", folder);
    char *vocab = clvi_format("%s/vocab.json", folder);
    char *merges = clvi_format("%s/merges.txt", folder);
    CLVI_CHECK(json && vocab && merges, CLV_ENOMEM, "%s: names of its files", folder);
    if (exists(json)) {
        status = read_json(json, tokenizer);
        goto done;
    }
    CLVI_CHECK(exists(vocab) && exists(merges), CLV_ENOTFOUND,
               "%s: expected tokenizer.json, or vocab.json and merges.txt, found neither", folder);
    status = read_pair(vocab, merges, tokenizer);
done:
    clvi_free(json);
    clvi_free(vocab);
    clvi_free(merges);
    return status;
}

clv_status clvi_tokenizer_read(const char *path, clv_tokenizer *tokenizer)
{
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return read_folder(path, tokenizer);
    return read_json(path, tokenizer);
}

clv_status clvi_tokenizer_add_level(clv_tokenizer *tokenizer, clvi_level_kind kind,
                                    const char *pattern, size_t bytes)
{
    if (tokenizer->levels == CLVI_LEVELS)
        return clvi_fail(CLV_ELIMIT, "a tokenizer: expected at most %d ways to split, found more",
                         CLVI_LEVELS);
    clv_status status =
        clvi_level_create(kind, pattern, bytes, &tokenizer->level[tokenizer->levels]);
    if (status == CLV_OK) tokenizer->levels++;
    return status;
}
