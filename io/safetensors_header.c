/* SPDX-License-Identifier: BSD-3-Clause
 *
 * safetensors_header.c: the header of one safetensors file, and every rule of the format.
 *
 *     8 bytes           N, the size of the header, little-endian
 *     N bytes           {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *     to the file's end the values; offsets count from here
 *
 * Nothing in the file is believed before it has been checked, sizes before they are allocated.
 */
#include <clvi_safetensors.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_BYTES = 8, MOST_EXTENTS = sizeof((clv_st_tensor *)0)->shape / sizeof(int64_t) };

typedef struct {
    const char *name;
    int64_t size; /* bytes of an element */
    clv_st_dtype dtype;
} type;

static const type types[] = {
    {"F32", 4, CLV_ST_F32},       {"F64", 8, CLV_ST_F64},       {"BF16", 2, CLV_ST_BF16},
    {"F16", 2, CLV_ST_F16},       {"I32", 4, CLV_ST_I32},       {"BOOL", 1, CLV_ST_OTHER},
    {"U8", 1, CLV_ST_OTHER},      {"I8", 1, CLV_ST_OTHER},      {"F8_E5M2", 1, CLV_ST_OTHER},
    {"F8_E4M3", 1, CLV_ST_OTHER}, {"F8_E8M0", 1, CLV_ST_OTHER}, {"I16", 2, CLV_ST_OTHER},
    {"U16", 2, CLV_ST_OTHER},     {"U32", 4, CLV_ST_OTHER},     {"I64", 8, CLV_ST_OTHER},
    {"U64", 8, CLV_ST_OTHER},     {"C64", 8, CLV_ST_OTHER},
};
enum { TYPES = sizeof types / sizeof *types };

const char *clvi_st_name(clv_dtype dtype)
{
    static const char *const names[CLV_DTYPE_COUNT] = {"F32", "F64", "BF16", "I32"};
    return names[dtype];
}

/* ---- JSON ------------------------------------------------------------------------ */

/* Without the spaces that may stand behind the object. */
static size_t without_padding(const char *text, size_t bytes)
{
    while (bytes > 0 && text[bytes - 1] == ' ') bytes--;
    return bytes;
}

/* Nothing but spaces behind it may stand around the object of a header. */
static clv_status check_edges(const char *path, const char *text, size_t bytes)
{
    bytes = without_padding(text, bytes);
    if (bytes >= 2 && text[0] == '{' && text[bytes - 1] == '}') return CLV_OK;
    return clvi_fail(CLV_EFORMAT,
                     "%s: expected a JSON object from '{' to '}', found other bytes around it",
                     path);
}

static clv_status parse(const char *path, const char *text, size_t bytes, json_t **object)
{
    clv_status status = CLV_OK;
    json_error_t error;
    *object = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    CLVI_CHECK(*object || json_error_code(&error) != json_error_out_of_memory, CLV_ENOMEM,
               "%s: %zu bytes of JSON", path, bytes);
    CLVI_CHECK(*object, CLV_EFORMAT, "%s: expected a JSON object, found at line %d, column %d: %s",
               path, error.line, error.column, error.text);
    CLVI_CHECK(json_is_object(*object), CLV_EFORMAT,
               "%s: expected a JSON object, found another value", path);
done:
    return status;
}

clv_status clvi_st_json(const clvi_file *file, int64_t offset, int64_t bytes, bool header,
                        json_t **object)
{
    clv_status status = CLV_OK;
    char *text = NULL;
    *object = NULL;
    CLVI_CHECK(bytes >= 0 && bytes <= CLVI_ST_HEADER && offset <= file->bytes - bytes, CLV_EFORMAT,
               "%s: expected at most %d bytes of JSON within the file's %" PRId64
               ", found %" PRId64,
               file->path, CLVI_ST_HEADER, file->bytes, bytes);
    text = clvi_alloc((size_t)bytes);
    CLVI_CHECK(text, CLV_ENOMEM, "%s: %" PRId64 " bytes of JSON", file->path, bytes);
    CLVI_TRY(clvi_file_read(file, text, (size_t)bytes, offset));
    if (header) CLVI_TRY(check_edges(file->path, text, (size_t)bytes));
    CLVI_TRY(parse(file->path, text, (size_t)bytes, object));
done:
    clvi_free(text);
    return status;
}

/* CLV_EFORMAT naming file, tensor, member, and what was found there. */
static clv_status unexpected(const char *path, const char *tensor, const char *member,
                             const char *expected, const json_t *found)
{
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    clv_status status = clvi_fail(CLV_EFORMAT, "%s: tensor %.200s: %s: expected %s, found %.100s",
                                  path, tensor, member, expected, text ? text : "nothing");
    free(text);
    return status;
}

/* ---- One tensor -------------------------------------------------------------------- */

static clv_status read_type(const char *path, const char *name, const json_t *member,
                            const type **t)
{
    const char *text = json_string_value(member);
    for (int i = 0; text && i < TYPES; i++)
        if (strcmp(types[i].name, text) == 0) {
            *t = &types[i];
            return CLV_OK;
        }
    return unexpected(path, name, "dtype", "a type of whole bytes, as \"F32\"", member);
}

/* *elements: their product. */
static clv_status read_shape(const char *path, const json_t *member, clv_st_tensor *t,
                             int64_t *elements)
{
    size_t ndims = json_array_size(member);
    *elements = 1;
    if (!json_is_array(member) || ndims > MOST_EXTENTS)
        return unexpected(path, t->name, "shape", "an array of at most 8 extents", member);
    for (size_t d = 0; d < ndims; d++) {
        const json_t *extent = json_array_get(member, d);
        t->shape[d] = json_integer_value(extent);
        if (!json_is_integer(extent) || t->shape[d] < 0 ||
            __builtin_mul_overflow(*elements, t->shape[d], elements))
            return unexpected(path, t->name, "shape", "extents whose product is a size", member);
    }
    t->ndims = (int)ndims;
    return CLV_OK;
}

static clv_status read_range(const char *path, const json_t *member, const clv_st_tensor *t,
                             int64_t *begin)
{
    const json_t *first = json_array_get(member, 0), *last = json_array_get(member, 1);
    int64_t from = json_integer_value(first), to = json_integer_value(last);
    char expected[80];
    snprintf(expected, sizeof expected, "[begin, begin + %" PRId64 "], of shape and type",
             t->bytes);
    if (json_array_size(member) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        from < 0 || to < from || to - from != t->bytes)
        return unexpected(path, t->name, "data_offsets", expected, member);
    *begin = from;
    return CLV_OK;
}

static clv_status read_tensor(const char *path, const char *name, const json_t *entry,
                              clvi_st_item *item)
{
    clv_status status;
    const type *t = NULL;
    int64_t elements;
    clv_st_tensor *tensor = &item->tensor;
    tensor->name = name;
    if (json_object_size(entry) != 3)
        return unexpected(path, name, "its entry", "dtype, shape and data_offsets", entry);
    CLVI_TRY(read_type(path, name, json_object_get(entry, "dtype"), &t));
    CLVI_TRY(read_shape(path, json_object_get(entry, "shape"), tensor, &elements));
    tensor->dtype_name = t->name;
    tensor->dtype = t->dtype;
    if (__builtin_mul_overflow(elements, t->size, &tensor->bytes))
        CLVI_TRY(
            unexpected(path, name, "shape", "a size in bytes", json_object_get(entry, "shape")));
    CLVI_TRY(read_range(path, json_object_get(entry, "data_offsets"), tensor, &item->offset));
done:
    return status;
}

/* ---- All of them --------------------------------------------------------------------- */

static clv_status check_metadata(const char *path, json_t *metadata)
{
    const char *key;
    json_t *value;
    bool strings = json_is_object(metadata);
    json_object_foreach(metadata, key, value) strings = strings && json_is_string(value);
    if (strings) return CLV_OK;
    return clvi_fail(CLV_EFORMAT, "%s: __metadata__: expected an object of strings, found another",
                     path);
}

static int compare_offsets(const void *a, const void *b)
{
    const clvi_st_item *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->tensor.bytes > y->tensor.bytes) - (x->tensor.bytes < y->tensor.bytes);
}

/* Each begins where the one before ends, and the last ends with the file. The offsets become those
 * of the file, whose values begin at `values`. */
static clv_status check_ranges(const clvi_file *file, int64_t values, clvi_st_item items[],
                               int count)
{
    clv_status status = CLV_OK;
    int64_t end = 0, room = file->bytes - values;
    qsort(items, (size_t)count, sizeof *items, compare_offsets);
    for (int i = 0; i < count; i++) {
        const clv_st_tensor *t = &items[i].tensor;
        CLVI_CHECK(items[i].offset == end, CLV_EFORMAT,
                   "%s: tensor %.200s: data_offsets: expected %" PRId64
                   ", where the one before ends, found %" PRId64,
                   file->path, t->name, end, items[i].offset);
        CLVI_CHECK(t->bytes <= room - end, CLV_EFORMAT,
                   "%s: tensor %.200s: expected its end within the %" PRId64
                   " bytes of values, found %" PRId64 " + %" PRId64,
                   file->path, t->name, room, end, t->bytes);
        end += t->bytes;
        items[i].offset += values;
    }
    CLVI_CHECK(end == room, CLV_EFORMAT,
               "%s: expected the last tensor to end with the file, found %" PRId64
               " bytes behind it",
               file->path, room - end);
done:
    return status;
}

static clv_status read_tensors(const char *path, json_t *header, clvi_st_item **items, int *count)
{
    clv_status status = CLV_OK;
    const char *name;
    json_t *entry;
    clvi_st_item *list = clvi_alloc(json_object_size(header) * sizeof *list);
    *items = list;
    *count = 0;
    CLVI_CHECK(list, CLV_ENOMEM, "%s: a list of %zu tensors", path, json_object_size(header));
    json_object_foreach(header, name, entry) CLVI_TRY(
        strcmp(name, "__metadata__") == 0 ? check_metadata(path, entry)
                                          : read_tensor(path, name, entry, &list[(*count)++]));
done:
    return status;
}

clv_status clvi_st_header(const clvi_file *file, json_t **header, clvi_st_item **items, int *count)
{
    clv_status status = CLV_OK;
    unsigned char first[SIZE_BYTES];
    uint64_t bytes = 0;
    *header = NULL;
    *items = NULL;
    CLVI_CHECK(file->bytes >= SIZE_BYTES, CLV_EFORMAT,
               "%s: expected a safetensors file, found %" PRId64 " bytes", file->path, file->bytes);
    CLVI_TRY(clvi_file_read(file, first, SIZE_BYTES, 0));
    for (int i = SIZE_BYTES; i-- > 0;) bytes = bytes << 8 | first[i];
    CLVI_CHECK(bytes <= CLVI_ST_HEADER && (int64_t)bytes <= file->bytes - SIZE_BYTES, CLV_EFORMAT,
               "%s: expected a header of at most %d bytes within the file's %" PRId64
               ", found %" PRIu64,
               file->path, CLVI_ST_HEADER, file->bytes, bytes);
    CLVI_TRY(clvi_st_json(file, SIZE_BYTES, (int64_t)bytes, true, header));
    CLVI_TRY(read_tensors(file->path, *header, items, count));
    CLVI_TRY(check_ranges(file, SIZE_BYTES + (int64_t)bytes, *items, *count));
done:
    if (status != CLV_OK) {
        clvi_free(*items);
        json_decref(*header);
        *items = NULL;
        *header = NULL;
    }
    return status;
}
