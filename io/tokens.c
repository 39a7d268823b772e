/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokens.c: files read as one long sequence of token ids. Every process opens the files itself and
 * reads only what it asks for.
 *
 * Whatever a file is, its tokens are unsigned integers of some width at some place in it; a text is
 * the case of one byte from the first on.
 */
#include "clvi_tokens.h"

#include <string.h>

typedef struct {
    clvi_file file;
    char *path;
    clvi_token_set set;
    uint64_t ends;      /* hash of the file's        */
    int64_t begin, end; /* in the whole sequence     */
} part;

struct clv_tokens {
    int count;
    bool texts;         /* or all HDF5                      */
    int64_t vocabulary; /* of all of them; 0: one lacks it */
    int64_t size;
    part parts[]; /* [count] */
};

/* ---- Opening -------------------------------------------------------------------- */

/* HDF5 begins with its signature at byte 0, 512, 1024, 2048, ... */
static bool is_hdf5(const clvi_file *file)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    char found[8];
    for (int64_t at = 0; at + 8 <= file->bytes; at = at ? 2 * at : 512) {
        if (clvi_file_read(file, found, sizeof found, at) != CLV_OK) return false;
        if (!memcmp(found, signature, sizeof signature)) return true;
    }
    return false;
}

/* Files of one name and size may be others on another machine: most differ at one of their ends. */
static clv_status hash_ends(const clvi_file *file, uint64_t *hash)
{
    char bytes[32768];
    clv_status status;
    int64_t some = clvi_smaller(file->bytes, sizeof bytes);
    CLVI_TRY(clvi_file_read(file, bytes, (size_t)some, 0));
    *hash = clvi_hash(0, bytes, (size_t)some);
    CLVI_TRY(clvi_file_read(file, bytes, (size_t)some, file->bytes - some));
    *hash = clvi_hash(*hash, bytes, (size_t)some);
done:
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

static clv_status open_part(clv_tokens *tokens, const char *path)
{
    clv_status status = CLV_OK;
    part *p = &tokens->parts[tokens->count++];
    *p = (part){.file.fd = -1, .set.h5_set = -1, .begin = tokens->size, .end = tokens->size};
    CLVI_CHECK(path && *path, CLV_EARG, "expected the path of a text or of tokens, found none");
    CLVI_CHECK((p->path = clvi_format("%s", path)), CLV_ENOMEM, "%s: its name", path);
    CLVI_TRY(clvi_file_open(p->path, false, &p->file));
    CLVI_TRY(hash_ends(&p->file, &p->ends));
    bool text = !is_hdf5(&p->file);
    CLVI_CHECK(!text || (!ends_with(path, ".h5") && !ends_with(path, ".hdf5")), CLV_EFORMAT,
               "%s: expected HDF5, found no signature of it", path);
    if (tokens->count == 1) tokens->texts = text;
    CLVI_CHECK(text == tokens->texts, CLV_EARG,
               "%s: expected %s as %s before it, found %s: all are texts or all are tokens", path,
               text ? "tokens" : "a text", tokens->parts[0].path, text ? "a text" : "tokens");
    if (text)
        p->set =
            (clvi_token_set){.size = p->file.bytes, .vocabulary = 256, .h5_set = -1, .element = 1};
    else
        CLVI_TRY(clvi_h5_tokens_open(&p->file, &p->set));
    CLVI_CHECK(p->set.size <= INT64_MAX / 2 - tokens->size, CLV_ELIMIT,
               "%s: more tokens than can be counted", path);
    tokens->size = p->end = p->begin + p->set.size;
done:
    return status;
}

/* Over all files: ids are below it, or nobody knows. */
static int64_t common_vocabulary(const clv_tokens *tokens)
{
    int64_t most = 0;
    for (const part *p = tokens->parts; p < tokens->parts + tokens->count; p++) {
        if (p->set.vocabulary == 0) return 0;
        if (p->set.vocabulary > most) most = p->set.vocabulary;
    }
    return most;
}

static clv_status open_all(int count, const char *const paths[], clv_tokens **tokens)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(count > 0 && paths, CLV_EARG,
               "expected at least one file of text or tokens, found %d", count);
    *tokens = clvi_alloc(sizeof **tokens + (size_t)count * sizeof(part));
    CLVI_CHECK(*tokens, CLV_ENOMEM, "%d files of text or tokens", count);
    for (int i = 0; i < count; i++) CLVI_TRY(open_part(*tokens, paths[i]));
    CLVI_CHECK((*tokens)->size > 0, CLV_ESHAPE, "%s: expected %s, found 0 %s in %d file%s",
               paths[0], (*tokens)->texts ? "text" : "tokens",
               (*tokens)->texts ? "bytes" : "tokens", count, count > 1 ? "s" : "");
    (*tokens)->vocabulary = common_vocabulary(*tokens);
done:
    return status;
}

clv_status clv_tokens_open(clv_grid *grid, int count, const char *const paths[],
                           clv_tokens **tokens)
{
    clv_status status;
    if (!grid || !tokens) return clvi_fail(CLV_EARG, "expected a grid and a place, found NULL");
    *tokens = NULL;
    int64_t same[5] = {count};
    status = open_all(count, paths, tokens);
    for (int i = 0; status == CLV_OK && i < count; i++) {
        same[1] = (int64_t)clvi_hash(same[1], paths[i], strlen(paths[i]) + 1);
        same[2] = (int64_t)clvi_hash(same[2], &(*tokens)->parts[i].end, sizeof(int64_t));
        same[3] = (*tokens)->vocabulary;
        same[4] =
            (int64_t)clvi_hash((uint64_t)same[4], &(*tokens)->parts[i].ends, sizeof(uint64_t));
    }
    CLVI_TRY(clvi_grid_same(
        grid, status,
        "the number of files,their paths (hash),their sizes (hash),their vocabulary,their first "
        "and last bytes (hash)",
        5, same));
done:
    if (status != CLV_OK) clv_tokens_close(tokens);
    return status;
}

void clv_tokens_close(clv_tokens **tokens)
{
    if (!tokens || !*tokens) return;
    for (int i = 0; i < (*tokens)->count; i++) {
        part *p = &(*tokens)->parts[i];
        clvi_h5_tokens_close(&p->set);
        clvi_file_close(&p->file);
        clvi_free(p->path);
    }
    clvi_free(*tokens);
    *tokens = NULL;
}

int64_t clv_tokens_size(const clv_tokens *tokens)
{
    return tokens->size;
}

int64_t clv_tokens_vocabulary(const clv_tokens *tokens)
{
    return tokens->vocabulary;
}

bool clv_tokens_are_bytes(const clv_tokens *tokens)
{
    return tokens->texts;
}

const char *clv_tokens_file(const clv_tokens *tokens, int64_t *offset)
{
    const part *p = tokens->parts;
    while (*offset >= p->end) p++;
    *offset -= p->begin;
    return p->path;
}

/* ---- Reading -------------------------------------------------------------------- */

static uint64_t element_at(const clvi_token_set *set, const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int k = 0; k < set->element; k++)
        value |= (uint64_t)bytes[set->big_endian ? set->element - 1 - k : k] << 8 * k;
    return value;
}

/* Elements as they are in the file. */
static clv_status read_elements(const part *p, int64_t offset, int64_t count, void *elements)
{
    const clvi_token_set *set = &p->set;
    if (set->h5_set >= 0) return clvi_h5_tokens_read(&p->file, set, offset, count, elements);
    return clvi_file_read(&p->file, elements, (size_t)(count * set->element),
                          set->offset + offset * set->element);
}

/* ids[0 .. count) from position `offset` of one file. */
static clv_status read_part(const part *p, int64_t offset, int64_t count, int32_t *ids)
{
    unsigned char bytes[32768];
    const clvi_token_set *set = &p->set;
    const int64_t room = (int64_t)sizeof bytes / set->element;
    const int64_t most = set->vocabulary ? set->vocabulary - 1 : INT32_MAX;
    clv_status status = CLV_OK;
    for (int64_t i = 0; i < count;) {
        int64_t some = count - i < room ? count - i : room;
        CLVI_TRY(read_elements(p, offset + i, some, bytes));
        for (int64_t k = 0; k < some; k++) {
            uint64_t id = element_at(set, bytes + k * set->element);
            CLVI_CHECK(id <= (uint64_t)most, CLV_ELIMIT,
                       "%s: token %lld: expected at most %lld, found %llu", p->path,
                       (long long)(offset + i + k), (long long)most, (unsigned long long)id);
            ids[i + k] = (int32_t)id;
        }
        i += some;
    }
done:
    return status;
}

clv_status clv_tokens_read(clv_tokens *tokens, int64_t offset, int64_t count, int32_t *ids)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(tokens && (ids || count == 0), CLV_EARG, "expected tokens and ids, found NULL");
    CLVI_CHECK(offset >= 0 && count >= 0 && offset <= tokens->size &&
                   count <= tokens->size - offset,
               CLV_EARG, "expected tokens within 0 to %lld, found %lld from %lld",
               (long long)tokens->size, (long long)count, (long long)offset);
    for (const part *p = tokens->parts; p < tokens->parts + tokens->count; p++) {
        int64_t begin = offset > p->begin ? offset : p->begin;
        int64_t end = offset + count < p->end ? offset + count : p->end;
        if (begin < end)
            CLVI_TRY(read_part(p, begin - p->begin, end - begin, ids + (begin - offset)));
    }
done:
    return status;
}
