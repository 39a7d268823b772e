/* SPDX-License-Identifier: BSD-3-Clause
 *
 * text.c: files read as one long text, one byte a token. Every process opens the files itself and
 * reads only what it asks for.
 */
#include <clvi_io.h>
#include <string.h>

typedef struct {
    clvi_file file;
    char *path;
    int64_t begin, end; /* of its bytes in the whole text */
} part;

struct clv_text {
    int count;
    int64_t size;
    part parts[]; /* [count] */
};

static clv_status open_part(clv_text *text, const char *path)
{
    clv_status status = CLV_OK;
    part *p = &text->parts[text->count++];
    *p = (part){.file.fd = -1, .begin = text->size, .end = text->size};
    CLVI_CHECK(path && *path, CLV_EARG, "expected the path of a text, found none");
    CLVI_CHECK((p->path = clvi_format("%s", path)), CLV_ENOMEM, "%s: its name", path);
    CLVI_TRY(clvi_file_open(p->path, false, &p->file));
    text->size = p->end = p->begin + p->file.bytes;
done:
    return status;
}

static clv_status open_all(int count, const char *const paths[], clv_text **text)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(count > 0 && paths, CLV_EARG, "expected at least one file of text, found %d", count);
    *text = clvi_alloc(sizeof **text + (size_t)count * sizeof(part));
    CLVI_CHECK(*text, CLV_ENOMEM, "%d files of text", count);
    for (int i = 0; i < count; i++) CLVI_TRY(open_part(*text, paths[i]));
    CLVI_CHECK((*text)->size > 0, CLV_ESHAPE, "%s: expected text, found 0 bytes in %d file%s",
               paths[0], count, count > 1 ? "s" : "");
done:
    return status;
}

clv_status clv_text_open(clv_grid *grid, int count, const char *const paths[], clv_text **text)
{
    clv_status status;
    if (!grid || !text) return clvi_fail(CLV_EARG, "expected a grid and a place, found NULL");
    *text = NULL;
    int64_t same[3] = {count};
    status = open_all(count, paths, text);
    for (int i = 0; status == CLV_OK && i < count; i++) {
        same[1] = (int64_t)clvi_hash(same[1], paths[i], strlen(paths[i]) + 1);
        same[2] = (int64_t)clvi_hash(same[2], &(*text)->parts[i].end, sizeof(int64_t));
    }
    CLVI_TRY(clvi_grid_same(grid, status,
                            "the number of files of text,their paths (hash),their sizes (hash)", 3,
                            same));
done:
    if (status != CLV_OK) clv_text_close(text);
    return status;
}

void clv_text_close(clv_text **text)
{
    if (!text || !*text) return;
    for (int i = 0; i < (*text)->count; i++) {
        clvi_file_close(&(*text)->parts[i].file);
        clvi_free((*text)->parts[i].path);
    }
    clvi_free(*text);
    *text = NULL;
}

int64_t clv_text_size(const clv_text *text)
{
    return text->size;
}

/* ids[0 .. count) from position `offset` of one file. */
static clv_status read_part(const part *p, int64_t offset, int64_t count, int32_t *ids)
{
    unsigned char bytes[16384];
    clv_status status = CLV_OK;
    for (int64_t i = 0; i < count;) {
        int64_t some = count - i < (int64_t)sizeof bytes ? count - i : (int64_t)sizeof bytes;
        CLVI_TRY(clvi_file_read(&p->file, bytes, (size_t)some, offset + i));
        for (int64_t k = 0; k < some; k++) ids[i + k] = bytes[k];
        i += some;
    }
done:
    return status;
}

clv_status clv_text_read(clv_text *text, int64_t offset, int64_t count, int32_t *ids)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(text && (ids || count == 0), CLV_EARG, "expected a text and ids, found NULL");
    CLVI_CHECK(offset >= 0 && count >= 0 && offset <= text->size && count <= text->size - offset,
               CLV_EARG, "expected tokens within 0 to %lld, found %lld from %lld",
               (long long)text->size, (long long)count, (long long)offset);
    for (const part *p = text->parts; p < text->parts + text->count; p++) {
        int64_t begin = offset > p->begin ? offset : p->begin;
        int64_t end = offset + count < p->end ? offset + count : p->end;
        if (begin < end)
            CLVI_TRY(read_part(p, begin - p->begin, end - begin, ids + (begin - offset)));
    }
done:
    return status;
}
