/* SPDX-License-Identifier: BSD-3-Clause
 *
 * safetensors_plan.c: the files of a model to write, before any is made: which tensor lies where,
 * the headers, the index. Every process plans the same.
 */
#include <clvi_safetensors.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 8 }; /* of the values in a file: no element is larger */

static clv_status check_entry(const clv_st_entry *e, int64_t *bytes)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(e->name && *e->name && strcmp(e->name, "__metadata__") != 0, CLV_EARG,
               "expected the name of a tensor, found \"%s\"", e->name ? e->name : "NULL");
    CLVI_CHECK(clv_dtype_size(e->dtype) > 0, CLV_EDTYPE,
               "tensor %.200s: expected f32, f64, bf16 or i32, found number %d", e->name,
               (int)e->dtype);
    CLVI_CHECK((e->ndims == 1 && e->m == 1) || e->ndims == 2, CLV_ESHAPE,
               "tensor %.200s: expected 1 or 2 extents, a single one as a row, found %d of %" PRId64
               " rows",
               e->name, e->ndims, e->m);
    CLVI_CHECK(e->m >= 0 && e->n >= 0 && !__builtin_mul_overflow(e->m, e->n, bytes) &&
                   !__builtin_mul_overflow(*bytes, (int64_t)clv_dtype_size(e->dtype), bytes),
               CLV_ESHAPE,
               "tensor %.200s: expected extents whose product is a size, found %" PRId64
               " x %" PRId64,
               e->name, e->m, e->n);
done:
    return status;
}

/* Tensors go into files in the order given; a file ends before the tensor that would be too much.
 */
static clv_status choose_shards(clvi_st_plan *p, const clv_st_entry entries[], int64_t shard_bytes,
                                int *count)
{
    clv_status status = CLV_OK;
    int64_t bytes = 0, used = 0;
    *count = 1;
    for (int i = 0; i < p->count; i++) {
        CLVI_TRY(check_entry(&entries[i], &bytes));
        if (shard_bytes > 0 && used > 0 && bytes > shard_bytes - used) ++*count, used = 0;
        used += bytes;
        p->shard[i] = *count - 1;
        p->entry[i] = (clvi_entry){.m = entries[i].m, .n = entries[i].n, .dtype = entries[i].dtype};
    }
done:
    return status;
}

static clv_status add_to_header(clvi_st_plan *p, const clv_st_entry *e, int i)
{
    clvi_st_file *o = &p->file[p->shard[i]];
    clvi_entry *entry = &p->entry[i];
    json_int_t begin = o->bytes, end = begin + clvi_entry_bytes(entry);
    json_t *shape = e->ndims == 1 ? json_pack("[I]", (json_int_t)e->n)
                                  : json_pack("[II]", (json_int_t)e->m, (json_int_t)e->n);
    json_t *item = json_pack("{s:s, s:o, s:[II]}", "dtype", clvi_st_name(e->dtype), "shape", shape,
                             "data_offsets", begin, end);
    if (json_object_get(o->json, e->name)) {
        json_decref(item);
        return clvi_fail(CLV_EARG, "expected different names, found \"%.200s\" twice", e->name);
    }
    if (json_object_set_new(o->json, e->name, item) != 0)
        return clvi_fail(CLV_EARG, "tensor \"%.200s\": expected a name in UTF-8", e->name);
    entry->offset = begin;
    o->bytes = end;
    return CLV_OK;
}

/* Offsets count from behind the header, whose length is known once all are in it. Larger elements
 * come first, so that every tensor is aligned. */
static clv_status lay_out(clvi_st_plan *p, const clv_st_entry entries[])
{
    clv_status status = CLV_OK;
    for (size_t size = ALIGNMENT; size > 0; size /= 2)
        for (int i = 0; i < p->count; i++)
            if (clv_dtype_size(entries[i].dtype) == size)
                CLVI_TRY(add_to_header(p, &entries[i], i));
done:
    return status;
}

/* The text of a file from its JSON, padded with spaces; size: whether its length stands before it.
 */
static clv_status write_text(clvi_st_file *o, bool size)
{
    clv_status status = CLV_OK;
    char *json = json_dumps(o->json, size ? JSON_COMPACT : JSON_INDENT(2));
    size_t bytes = json ? strlen(json) : 0, before = size ? ALIGNMENT : 0;
    size_t padded = size ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : bytes;
    CLVI_CHECK(json && (o->text = malloc(before + padded)), CLV_ENOMEM, "%s: its JSON", o->name);
    CLVI_CHECK(padded <= CLVI_ST_HEADER, CLV_ELIMIT,
               "%s: expected at most %d bytes of header, found %zu", o->name, CLVI_ST_HEADER,
               padded);
    for (size_t i = 0; i < before; i++) o->text[i] = (char)(padded >> 8 * i & 0xff);
    memset(o->text + before, ' ', padded);
    memcpy(o->text + before, json, bytes);
    o->text_bytes = (int64_t)(before + padded);
    o->bytes += o->text_bytes;
done:
    free(json);
    return status;
}

static clv_status write_index(clvi_st_plan *p, const clv_st_entry entries[])
{
    clv_status status = CLV_OK;
    clvi_st_file *o = &p->file[p->files - 1];
    json_int_t total = 0;
    json_t *map = json_object();
    for (int i = 0; i < p->count; i++) {
        total += clvi_entry_bytes(&p->entry[i]);
        json_object_set_new(map, entries[i].name, json_string(p->file[p->shard[i]].name));
    }
    CLVI_CHECK(map && json_object_size(map) == (size_t)p->count, CLV_EARG,
               "expected %d different names, found %zu", p->count, json_object_size(map));
    o->json = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", total, "weight_map", map);
    CLVI_TRY(write_text(o, false));
done:
    json_decref(map);
    return status;
}

static clv_status make_files(clvi_st_plan *p, int count)
{
    clv_status status = CLV_OK;
    p->indexed = count > 1;
    p->file = clvi_alloc((size_t)(count + p->indexed) * sizeof *p->file);
    CLVI_CHECK(p->file, CLV_ENOMEM, "a list of %d files", count);
    p->files = count + p->indexed;
    for (int f = 0; f < p->files; f++) {
        clvi_st_file *o = &p->file[f];
        if (f == count)
            strcpy(o->name, CLV_ST_INDEX);
        else if (!p->indexed)
            strcpy(o->name, CLV_ST_SINGLE);
        else
            snprintf(o->name, sizeof o->name, "model-%05d-of-%05d.safetensors", f + 1, count);
        if (f < count) o->json = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
        CLVI_CHECK(o->json || f == count, CLV_ENOMEM, "%s: its JSON", o->name);
    }
done:
    return status;
}

clv_status clvi_st_plan_make(int count, const clv_st_entry entries[], int64_t shard_bytes,
                             clvi_st_plan *p)
{
    clv_status status = CLV_OK;
    int shards = 0;
    *p = (clvi_st_plan){.count = count};
    p->entry = clvi_alloc((size_t)count * sizeof *p->entry);
    p->shard = clvi_alloc((size_t)count * sizeof *p->shard);
    CLVI_CHECK(p->entry && p->shard, CLV_ENOMEM, "a list of %d tensors", count);
    CLVI_TRY(choose_shards(p, entries, shard_bytes, &shards));
    CLVI_TRY(make_files(p, shards));
    CLVI_TRY(lay_out(p, entries));
    for (int f = 0; f < shards; f++) CLVI_TRY(write_text(&p->file[f], true));
    if (p->indexed) CLVI_TRY(write_index(p, entries));
    for (int i = 0; i < count; i++) p->entry[i].offset += p->file[p->shard[i]].text_bytes;
done:
    return status;
}

void clvi_st_plan_free(clvi_st_plan *p)
{
    for (int f = 0; f < p->files; f++) {
        json_decref(p->file[f].json);
        free(p->file[f].text);
    }
    clvi_free(p->file);
    clvi_free(p->entry);
    clvi_free(p->shard);
    *p = (clvi_st_plan){0};
}
