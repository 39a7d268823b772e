/* SPDX-License-Identifier: BSD-3-Clause
 *
 * safetensors.c: a model in Hugging Face's format, opened: one file, or several with an index.
 *
 *     {"metadata": {...}, "weight_map": {"NAME": "model-00001-of-00002.safetensors", ...}}
 */
#include <clvi_safetensors.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_OPEN = 64 }; /* files at a time: a model may have more than a process may open */

typedef struct {
    char *path;
    clvi_file file;    /* fd -1: closed, for others to be open   */
    struct stat state; /* when it was opened first               */
    json_t *header;    /* holds the names of its tensors; NULL: not yet read */
} part;

struct clv_safetensors {
    char *path;
    int parts, parts_room;
    part *part;
    int opened[MOST_OPEN], turn; /* 1 + the parts opened last, a ring; the place of the next */
    int count, room;
    clvi_st_item *items; /* by file, then by offset            */
    json_t *names;       /* the place in items of every name   */
    void *stage;         /* of reads; made by the first         */
};

/* ---- Opening ------------------------------------------------------------------------- */

/* Room for one more element of `size` in *list; false where there is no memory. */
static bool grow(void **list, int *room, int needed, size_t size)
{
    if (needed <= *room) return true;
    int64_t wanted = 2 * (int64_t)needed;
    void *larger = wanted <= INT_MAX ? clvi_alloc((size_t)wanted * size) : NULL;
    if (!larger) return false;
    if (*list) memcpy(larger, *list, (size_t)*room * size);
    clvi_free(*list);
    *list = larger;
    *room = (int)wanted;
    return true;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Opens a part unless it is open; then the one that was opened longest ago is closed. */
static clv_status open_part(clv_safetensors *s, int i)
{
    clv_status status = CLV_OK;
    struct stat state;
    clvi_file file;
    part *p = &s->part[i];
    int *slot = &s->opened[s->turn];
    if (p->file.fd >= 0) return CLV_OK;
    CLVI_TRY(clvi_file_open(p->path, false, &file));
    CLVI_CHECK(fstat(file.fd, &state) == 0, CLV_EIO, "%s: cannot look at it", p->path);
    if (!p->header) p->state = state;
    CLVI_CHECK(is_same_file(&state, &p->state), CLV_ECORRUPT,
               "%s: expected it as it was when its header was read, found it changed", p->path);
    if (*slot) clvi_file_close(&s->part[*slot - 1].file);
    *slot = i + 1;
    s->turn = (s->turn + 1) % MOST_OPEN;
    p->file = file;
done:
    if (status != CLV_OK) clvi_file_close(&file);
    return status;
}

/* Appends a file's tensors; no two files have one of the same name. */
static clv_status add_items(clv_safetensors *s, const part *p, clvi_st_item items[], int count)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(count <= INT_MAX / 4 - s->count &&
                   grow((void **)&s->items, &s->room, s->count + count, sizeof *items),
               CLV_ENOMEM, "%s: %d tensors", p->path, count);
    for (int i = 0; i < count; i++) {
        const char *name = items[i].tensor.name;
        CLVI_CHECK(!json_object_get(s->names, name), CLV_EFORMAT,
                   "%s: tensor %.200s: expected in one file, found in two", p->path, name);
        CLVI_CHECK(json_object_set_new(s->names, name, json_integer(s->count)) == 0, CLV_ENOMEM,
                   "%s: %d names", p->path, count);
        items[i].file = s->parts - 1;
        s->items[s->count++] = items[i];
    }
done:
    return status;
}

/* Takes path over, whatever happens; NULL is a failure. */
static clv_status add_part(clv_safetensors *s, char *path)
{
    clv_status status = CLV_OK;
    clvi_st_item *items = NULL;
    int count;
    if (!path || !grow((void **)&s->part, &s->parts_room, s->parts + 1, sizeof *s->part)) {
        clvi_free(path);
        return clvi_fail(CLV_ENOMEM, "%s: one of its files", s->path);
    }
    part *p = &s->part[s->parts++];
    *p = (part){.path = path, .file.fd = -1};
    CLVI_TRY(open_part(s, s->parts - 1));
    CLVI_TRY(clvi_st_header(&p->file, &p->header, &items, &count));
    CLVI_TRY(add_items(s, p, items, count));
done:
    clvi_free(items);
    return status;
}

/* ---- An index ---------------------------------------------------------------------------- */

/* A name within the folder. */
static bool is_plain(const char *name)
{
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The index names the file for each of the tensors [first, count). */
static clv_status check_named(const clv_safetensors *s, const char *index, const json_t *map,
                              const char *file, int first)
{
    clv_status status = CLV_OK;
    for (int i = first; i < s->count; i++) {
        const char *name = s->items[i].tensor.name;
        const char *said = json_string_value(json_object_get(map, name));
        CLVI_CHECK(said && strcmp(said, file) == 0, CLV_EFORMAT,
                   "%s: tensor %.200s: expected in %.200s, where it is, found %.200s", index, name,
                   file, said ? said : "nothing");
    }
done:
    return status;
}

/* Each file once; each tensor where the index says, and nowhere else. */
static clv_status read_map(clv_safetensors *s, const char *index, json_t *map)
{
    clv_status status = CLV_OK;
    const char *name;
    json_t *value, *seen = json_object();
    CLVI_CHECK(seen, CLV_ENOMEM, "%s: a list of files", index);
    json_object_foreach(map, name, value)
    {
        const char *file = json_string_value(value);
        CLVI_CHECK(
            file && is_plain(file), CLV_EFORMAT,
            "%s: tensor %.200s: expected the name of a file in the same folder, found %.200s",
            index, name, file ? file : "no text");
        if (json_object_get(seen, file)) continue;
        CLVI_CHECK(json_object_set_new(seen, file, json_true()) == 0, CLV_ENOMEM,
                   "%s: a list of files", index);
        int first = s->count;
        CLVI_TRY(add_part(s, clvi_format("%s/%s", s->path, file)));
        CLVI_TRY(check_named(s, index, map, file, first));
    }
    json_object_foreach(map, name, value)
        CLVI_CHECK(json_object_get(s->names, name), CLV_EFORMAT,
                   "%s: tensor %.200s: expected in %.200s, found none of this name there", index,
                   name, json_string_value(value));
done:
    json_decref(seen);
    return status;
}

static clv_status read_index(clv_safetensors *s, const char *index)
{
    clv_status status;
    clvi_file file;
    json_t *object = NULL;
    CLVI_TRY(clvi_file_open(index, false, &file));
    CLVI_TRY(clvi_st_json(&file, 0, file.bytes, false, &object));
    json_t *map = json_object_get(object, "weight_map");
    CLVI_CHECK(json_is_object(map), CLV_EFORMAT,
               "%s: weight_map: expected an object of file names, found %s", index,
               map ? "another value" : "nothing");
    CLVI_TRY(read_map(s, index, map));
done:
    clvi_file_close(&file);
    json_decref(object);
    return status;
}

/* A folder's index, or its only file. Of both nobody knows which is meant: transformers takes the
 * file, others the index. */
static clv_status open_folder(clv_safetensors *s)
{
    clv_status status = CLV_OK;
    char *single = NULL, *index = clvi_format("%s/" CLV_ST_INDEX, s->path);
    CLVI_CHECK(index && (single = clvi_format("%s/" CLV_ST_SINGLE, s->path)), CLV_ENOMEM,
               "%s: names of its files", s->path);
    bool indexed = access(index, F_OK) == 0, alone = access(single, F_OK) == 0;
    CLVI_CHECK(indexed != alone, indexed ? CLV_EFORMAT : CLV_ENOTFOUND,
               "%s: expected " CLV_ST_SINGLE " or " CLV_ST_INDEX ", found %s", s->path,
               indexed ? "both: take away the one that is not meant" : "neither");
    if (indexed) {
        CLVI_TRY(read_index(s, index));
    } else {
        status = add_part(s, single);
        single = NULL;
    }
done:
    clvi_free(index);
    clvi_free(single);
    return status;
}

clv_status clv_safetensors_open(const char *path, clv_safetensors **file)
{
    clv_status status = CLV_OK;
    struct stat info;
    clv_safetensors *s = NULL;
    if (!path || !*path || !file)
        return clvi_fail(CLV_EARG, "expected a path and a place, found none");
    *file = NULL;
    s = clvi_alloc(sizeof *s);
    CLVI_CHECK(s, CLV_ENOMEM, "%s: a model", path);
    *s = (clv_safetensors){.path = clvi_format("%s", path), .names = json_object()};
    CLVI_CHECK(s->path && s->names, CLV_ENOMEM, "%s: its name", path);
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    CLVI_TRY(folder ? open_folder(s) : add_part(s, clvi_format("%s", path)));
    *file = s;
done:
    if (status != CLV_OK) clv_safetensors_close(&s);
    return status;
}

void clv_safetensors_close(clv_safetensors **file)
{
    if (!file || !*file) return;
    clv_safetensors *s = *file;
    for (int i = 0; i < s->parts; i++) {
        clvi_file_close(&s->part[i].file);
        json_decref(s->part[i].header);
        clvi_free(s->part[i].path);
    }
    json_decref(s->names);
    clvi_free(s->part);
    clvi_free(s->items);
    clvi_free(s->stage);
    clvi_free(s->path);
    clvi_free(s);
    *file = NULL;
}

/* ---- What it holds ---------------------------------------------------------------------- */

int clv_safetensors_count(const clv_safetensors *file)
{
    return file->count;
}

clv_st_tensor clv_safetensors_at(const clv_safetensors *file, int i)
{
    return file->items[i].tensor;
}

int clv_safetensors_find(const clv_safetensors *file, const char *name)
{
    const json_t *place = json_object_get(file->names, name);
    return place ? (int)json_integer_value(place) : -1;
}

/* ---- Reading ---------------------------------------------------------------------------- */

/* IEEE half to single: the exponents of both are read as single's, 112 too small, which a product
 * mends exactly, subnormal numbers too. */
static float f32_from_f16(uint16_t half)
{
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    memcpy(&bits, &value, sizeof bits);
    if ((half & 0x7c00) == 0x7c00) bits = 0x7f800000 | (uint32_t)(half & 0x03ff) << 13;
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Row of n halves at its beginning becomes a row of dtype, the last first: no element of dtype is
 * smaller, so that none is overwritten before it was read. */
static void widen_row(int64_t n, clv_dtype dtype, void *row)
{
    size_t size = clv_dtype_size(dtype);
    for (int64_t j = n; j-- > 0;) {
        uint16_t half;
        memcpy(&half, (char *)row + (size_t)j * sizeof half, sizeof half);
        float value = f32_from_f16(half);
        clvi_convert(1, CLV_F32, &value, dtype, (char *)row + (size_t)j * size);
    }
}

static clv_status read_halves(const clvi_file *file, clvi_entry entry, clv_dtype dtype,
                              clv_block block, void *stage)
{
    clv_status status;
    clv_block halves = block;
    halves.ld = block.ld * (int64_t)(clv_dtype_size(dtype) / sizeof(uint16_t));
    entry.dtype = CLV_BF16; /* two bytes, read as they are */
    CLVI_TRY(clvi_block_read(file, &entry, CLV_BF16, halves, stage));
    for (int64_t i = 0; i < block.m; i++) widen_row(block.n, dtype, clvi_at(block, dtype, i, 0));
done:
    return status;
}

/* Whether a tensor can be read into elements of dtype. */
static bool is_readable(clv_st_dtype found, clv_dtype dtype)
{
    if (found == CLV_ST_OTHER || (unsigned)dtype >= CLV_DTYPE_COUNT) return false;
    return (found == CLV_ST_I32) == (dtype == CLV_I32);
}

static clv_status check_read(const clv_safetensors *s, const clvi_st_item *item, clv_dtype dtype,
                             clv_block block, const clvi_entry *entry)
{
    clv_status status = CLV_OK;
    const clv_st_tensor *t = &item->tensor;
    const char *path = s->part[item->file].path;
    CLVI_CHECK(t->ndims <= 2, CLV_ESHAPE,
               "%s: tensor %.200s: expected at most 2 extents to read it, found %d", path, t->name,
               t->ndims);
    CLVI_CHECK(is_readable(t->dtype, dtype), CLV_EDTYPE,
               "%s: tensor %.200s: expected a type that can be read as %s, found %s", path, t->name,
               (unsigned)dtype < CLV_DTYPE_COUNT ? clv_dtype_name(dtype) : "that", t->dtype_name);
    CLVI_CHECK(clvi_block_inside(block, entry->m, entry->n), CLV_EARG,
               "%s: tensor %.200s: expected a block within %" PRId64 " x %" PRId64
               ", found %" PRId64 " x %" PRId64 " at (%" PRId64 ", %" PRId64 ")",
               path, t->name, entry->m, entry->n, block.m, block.n, block.row0, block.col0);
done:
    return status;
}

clv_status clv_safetensors_read(clv_safetensors *file, int i, clv_dtype dtype, clv_block block)
{
    static const clv_dtype dtypes[] = {[CLV_ST_F32] = CLV_F32,
                                       [CLV_ST_F64] = CLV_F64,
                                       [CLV_ST_BF16] = CLV_BF16,
                                       [CLV_ST_F16] = CLV_BF16,
                                       [CLV_ST_I32] = CLV_I32};
    clv_status status = CLV_OK;
    if (!file || i < 0 || i >= file->count)
        return clvi_fail(CLV_EARG, "expected a tensor of a model, found number %d of %d", i,
                         file ? file->count : 0);
    const clvi_st_item *item = &file->items[i];
    const clv_st_tensor *t = &item->tensor;
    clvi_entry entry = {.m = t->ndims == 2 ? t->shape[0] : 1,
                        .n = t->ndims >= 1 ? t->shape[t->ndims - 1] : 1,
                        .offset = item->offset};
    CLVI_TRY(check_read(file, item, dtype, block, &entry));
    entry.dtype = dtypes[t->dtype];
    if (!file->stage) file->stage = clvi_alloc(CLVI_STAGE);
    CLVI_CHECK(file->stage, CLV_ENOMEM, "%s: a buffer to read", file->path);
    CLVI_TRY(open_part(file, item->file));
    const clvi_file *from = &file->part[item->file].file;
    status = t->dtype == CLV_ST_F16 ? read_halves(from, entry, dtype, block, file->stage)
                                    : clvi_block_read(from, &entry, dtype, block, file->stage);
done:
    return status;
}
