/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokens_writer.c: a new file of tokens. How many come is known at the end only, and memory must
 * not grow with them: elements are written as they come, and HDF5 is told of them last.
 */
#include "clvi_tokens.h"

#include <string.h>
#include <unistd.h>

struct clv_tokens_writer {
    clvi_file file; /* under the temporary name */
    char *path, *temporary;
    clvi_token_set set; /* size: all that were appended */
    size_t used;        /* bytes that wait in the buffer */
    unsigned char buffer[256 << 10];
};

static void destroy(clv_tokens_writer **writer)
{
    clv_tokens_writer *w = *writer;
    if (!w) return;
    if (w->file.fd >= 0) unlink(w->temporary); /* while its lock is held */
    clvi_file_close(&w->file);
    clvi_free(w->temporary);
    clvi_free(w->path);
    clvi_free(w);
    *writer = NULL;
}

clv_status clv_tokens_create(const char *path, int64_t vocabulary, clv_tokens_writer **writer)
{
    clv_status status = CLV_OK;
    char suffix[CLVI_SUFFIX];
    if (!path || !*path || !writer) return clvi_fail(CLV_EARG, "expected a path, found none");
    clv_tokens_writer *w = *writer = NULL;
    CLVI_CHECK(vocabulary > 0 && vocabulary <= (int64_t)INT32_MAX + 1, CLV_EARG,
               "%s: expected a vocabulary of 1 to 2^31, found %lld", path, (long long)vocabulary);
    w = clvi_alloc(sizeof *w);
    CLVI_CHECK(w, CLV_ENOMEM, "%s: no memory to write it", path);
    w->file.fd = -1;
    w->set = (clvi_token_set){.vocabulary = vocabulary, .element = vocabulary <= 65536 ? 2 : 4};
    w->path = clvi_format("%s", path);
    clvi_temporary_suffix(suffix);
    w->temporary = clvi_hidden_name(path, suffix);
    CLVI_CHECK(w->path && w->temporary, CLV_ENOMEM, "%s: its name", path);
    CLVI_TRY(clvi_file_prepare(path));
    CLVI_TRY(clvi_file_create_locked(w->temporary, &w->file));
    CLVI_TRY(clvi_h5_tokens_begin(&w->file));
    *writer = w;
done:
    if (status != CLV_OK) destroy(&w);
    return status;
}

/* What waits in the buffer goes behind what the file has. */
static clv_status flush(clv_tokens_writer *w)
{
    int64_t end = CLVI_TOKENS_AT + w->set.size * w->set.element;
    clv_status status = clvi_file_write(&w->file, w->buffer, w->used, end - (int64_t)w->used);
    w->used = 0;
    return status;
}

clv_status clv_tokens_append(clv_tokens_writer *writer, int64_t count, const int32_t *ids)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(writer && count >= 0 && (ids || count == 0), CLV_EARG,
               "expected a writer and ids, found NULL");
    for (int64_t i = 0; i < count; i++) {
        CLVI_CHECK(ids[i] >= 0 && ids[i] < writer->set.vocabulary, CLV_EARG,
                   "%s: token %lld: expected 0 to %lld (the vocabulary), found %d", writer->path,
                   (long long)writer->set.size, (long long)(writer->set.vocabulary - 1), ids[i]);
        for (int k = 0; k < writer->set.element; k++)
            writer->buffer[writer->used++] = (unsigned char)((uint32_t)ids[i] >> 8 * k);
        writer->set.size++;
        if (writer->used == sizeof writer->buffer) CLVI_TRY(flush(writer));
    }
done:
    return status;
}

clv_status clv_tokens_commit(clv_tokens_writer **writer, bool keep)
{
    clv_status status = CLV_OK;
    if (!writer || !*writer) return clvi_fail(CLV_EARG, "expected a writer, found NULL");
    clv_tokens_writer *w = *writer;
    if (!keep) goto done;
    CLVI_TRY(flush(w));
    CLVI_TRY(clvi_h5_tokens_end(&w->file, &w->set));
    CLVI_TRY(clvi_file_sync(&w->file));
    CLVI_TRY(clvi_file_rename(w->temporary, w->path));
    CLVI_TRY(clvi_file_close(&w->file));
done:
    destroy(writer);
    return status;
}
