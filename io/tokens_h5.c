/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokens_h5.c: HDF5 and tokens. A file of tokens can be anyone's, so nothing in it is believed:
 * what HDF5 says of it is checked against the file before it is used.
 */
#include "clvi_h5.h"
#include "clvi_tokens.h"

static const char name[] = "tokens";

/* ---- Reading ------------------------------------------------------------------------ */

static clv_status read_type(const clvi_file *file, hid_t h5_set, clvi_token_set *set)
{
    clv_status status = CLV_OK;
    hid_t type = H5Dget_type(h5_set);
    size_t bytes = H5Tget_size(type);
    CLVI_CHECK(H5Tget_class(type) == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE, CLV_EDTYPE,
               "%s: data set %s: expected unsigned integers (numpy: astype(\"uint32\")), found "
               "another type",
               file->path, name);
    CLVI_CHECK((bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) &&
                   H5Tget_precision(type) == 8 * bytes,
               CLV_EDTYPE, "%s: data set %s: expected integers of 8, 16, 32 or 64 bits, found %zu",
               file->path, name, H5Tget_precision(type));
    set->element = (int)bytes;
    set->big_endian = H5Tget_order(type) == H5T_ORDER_BE;
done:
    clvi_h5_drop(type);
    return status;
}

static clv_status read_size(const clvi_file *file, hid_t h5_set, clvi_token_set *set)
{
    clv_status status = CLV_OK;
    hsize_t size = 0;
    hid_t space = H5Dget_space(h5_set);
    int extents = H5Sget_simple_extent_ndims(space);
    CLVI_CHECK(extents == 1, CLV_EFORMAT, "%s: data set %s: expected 1 extent, found %d",
               file->path, name, extents);
    H5Sget_simple_extent_dims(space, &size, NULL);
    CLVI_CHECK(size <= INT64_MAX / 16, CLV_EFORMAT,
               "%s: data set %s: expected a number of tokens, found %llu", file->path, name,
               (unsigned long long)size);
    set->size = (int64_t)size;
done:
    clvi_h5_drop(space);
    return status;
}

/* Chunks lie whole in the file unless a filter packs them, which leaves a byte of each: HDF5 is not
 * asked to count more than there is room for, as it counts to any number that a file gives. */
static clv_status check_chunks(const clvi_file *file, hid_t h5_set, hid_t properties,
                               const clvi_token_set *set)
{
    clv_status status = CLV_OK;
    hsize_t chunk = 0, found = 0, expected, room;
    hid_t space = H5Dget_space(h5_set);
    if (H5Pget_chunk(properties, 1, &chunk) != 1 || chunk == 0) {
        status = clvi_h5_failed(CLV_ECORRUPT, file->path, "tell the size of chunks of tokens");
        goto done;
    }
    expected = ((hsize_t)set->size + chunk - 1) / chunk;
    room = (hsize_t)file->bytes;
    if (H5Pget_nfilters(properties) == 0) room /= chunk * (hsize_t)set->element;
    CLVI_CHECK(expected <= room, CLV_ESHAPE,
               "%s: data set %s: expected %llu chunks of tokens, found a file with room for %llu",
               file->path, name, (unsigned long long)expected, (unsigned long long)room);
    if (H5Dget_num_chunks(h5_set, space, &found) < 0) {
        status = clvi_h5_failed(CLV_ECORRUPT, file->path, "count the chunks of tokens");
        goto done;
    }
    CLVI_CHECK(found == expected, CLV_ESHAPE,
               "%s: data set %s: expected %llu chunks of tokens, found %llu that were written",
               file->path, name, (unsigned long long)expected, (unsigned long long)found);
done:
    clvi_h5_drop(space);
    return status;
}

/* Of a data set that was made and not written, or in part, HDF5 reads zeros; of one that is compact
 * and too short, what lies behind it in memory. */
static clv_status check_written(const clvi_file *file, hid_t h5_set, hid_t properties,
                                const clvi_token_set *set)
{
    clv_status status = CLV_OK;
    hsize_t expected, stored;
    if (H5Pget_layout(properties) == H5D_CHUNKED)
        return check_chunks(file, h5_set, properties, set);
    stored = H5Dget_storage_size(h5_set);
    expected = (hsize_t)(set->size * set->element);
    CLVI_CHECK(stored >= expected, CLV_ESHAPE,
               "%s: data set %s: expected %llu bytes of tokens, found %llu that were written",
               file->path, name, (unsigned long long)expected, (unsigned long long)stored);
done:
    return status;
}

/* A filter that packed the elements and that HDF5 has neither in itself nor as a plugin. */
static clv_status check_filters(const clvi_file *file, hid_t properties)
{
    clv_status status = CLV_OK;
    int count = H5Pget_nfilters(properties);
    for (int i = 0; i < count; i++) {
        unsigned flags, config;
        size_t values = 0;
        char filter[64] = "";
        H5Z_filter_t id = H5Pget_filter2(properties, (unsigned)i, &flags, &values, NULL,
                                         sizeof filter - 1, filter, &config);
        CLVI_CHECK(id >= 0 && H5Zfilter_avail(id) > 0, CLV_EUNSUPPORTED,
                   "%s: data set %s: expected filters that HDF5 has here, found %s (number %d)",
                   file->path, name, *filter ? filter : "one without a name", (int)id);
    }
done:
    return status;
}

/* In one piece, if HDF5 says so and it is true; otherwise HDF5 has to be asked for elements. */
static clv_status read_place(const clvi_file *file, hid_t h5_set, clvi_token_set *set)
{
    clv_status status = CLV_OK;
    hid_t properties = H5Dget_create_plist(h5_set);
    H5D_layout_t layout = H5Pget_layout(properties);
    haddr_t offset = layout == H5D_CONTIGUOUS ? H5Dget_offset(h5_set) : HADDR_UNDEF;
    int64_t bytes = set->size * set->element;
    CLVI_CHECK(layout != H5D_VIRTUAL && H5Pget_external_count(properties) == 0, CLV_EFORMAT,
               "%s: data set %s: expected its elements in this file, found them in others",
               file->path, name);
    CLVI_TRY(check_filters(file, properties));
    CLVI_TRY(check_written(file, h5_set, properties, set));
    if (offset == HADDR_UNDEF) goto done;
    CLVI_CHECK(bytes <= file->bytes && offset <= (haddr_t)(file->bytes - bytes), CLV_ECORRUPT,
               "%s: data set %s: expected %lld bytes within the file's %lld, found them at %llu",
               file->path, name, (long long)bytes, (long long)file->bytes,
               (unsigned long long)offset);
    set->offset = (int64_t)offset;
done:
    clvi_h5_drop(properties);
    return status;
}

static clv_status read_vocabulary(const clvi_file *file, hid_t h5_set, clvi_token_set *set)
{
    clv_status status = CLV_OK;
    hid_t attribute = -1, type = -1, space = -1;
    if (H5Aexists(h5_set, "vocabulary") <= 0) return status;
    attribute = H5Aopen(h5_set, "vocabulary", H5P_DEFAULT);
    type = H5Aget_type(attribute);
    space = H5Aget_space(attribute);
    CLVI_CHECK(H5Tget_class(type) == H5T_INTEGER && H5Sget_simple_extent_npoints(space) == 1 &&
                   H5Aread(attribute, H5T_NATIVE_INT64, &set->vocabulary) >= 0,
               CLV_EFORMAT, "%s: attribute vocabulary of %s: expected one integer", file->path,
               name);
    CLVI_CHECK(set->vocabulary > 0 && set->vocabulary <= (int64_t)INT32_MAX + 1, CLV_EFORMAT,
               "%s: attribute vocabulary of %s: expected 1 to 2^31, found %lld", file->path, name,
               (long long)set->vocabulary);
done:
    clvi_h5_drop(space);
    clvi_h5_drop(type);
    clvi_h5_drop(attribute);
    return status;
}

/* A cache that holds two chunks, lest each read unpack its chunk again; HDF5's own is of 1 MiB. */
static hid_t open_cached(hid_t file, hid_t h5_set)
{
    enum { LARGEST = 256 << 20 };
    hsize_t chunk = 0;
    hid_t properties = H5Dget_create_plist(h5_set), access = H5Pcreate(H5P_DATASET_ACCESS);
    hid_t type = H5Dget_type(h5_set), cached = -1;
    size_t element = H5Tget_size(type);
    if (H5Pget_layout(properties) == H5D_CHUNKED && H5Pget_chunk(properties, 1, &chunk) == 1 &&
        element > 0 && chunk <= LARGEST / element) {
        size_t two = 2 * (size_t)chunk * element;
        H5Pset_chunk_cache(access, 521, two > (1 << 20) ? two : 1 << 20, 1);
    }
    clvi_h5_drop(type);
    clvi_h5_drop(properties);
    clvi_h5_drop(h5_set);
    cached = H5Dopen2(file, name, access);
    clvi_h5_drop(access);
    return cached;
}

/* A link to another file would let a file of tokens read any other. */
static clv_status open_set(const clvi_file *file, hid_t h5_file, hid_t *h5_set)
{
    clv_status status = CLV_OK;
    H5L_info_t link;
    CLVI_CHECK(H5Lexists(h5_file, name, H5P_DEFAULT) > 0, CLV_EFORMAT,
               "%s: expected a data set named %s, found none", file->path, name);
    CLVI_CHECK(H5Lget_info(h5_file, name, &link, H5P_DEFAULT) >= 0 && link.type == H5L_TYPE_HARD,
               CLV_EFORMAT, "%s: expected a data set named %s, found a link", file->path, name);
    *h5_set = H5Dopen2(h5_file, name, H5P_DEFAULT);
    if (*h5_set < 0) status = clvi_h5_failed(CLV_EFORMAT, file->path, "open the data set tokens");
done:
    return status;
}

static clv_status read_structure(const clvi_file *file, hid_t h5_file, clvi_token_set *set)
{
    clv_status status;
    hid_t h5_set = -1;
    CLVI_TRY(open_set(file, h5_file, &h5_set));
    CLVI_TRY(read_type(file, h5_set, set));
    CLVI_TRY(read_size(file, h5_set, set));
    CLVI_TRY(read_place(file, h5_set, set));
    CLVI_TRY(read_vocabulary(file, h5_set, set));
    if (set->offset >= 0) goto done;
    set->h5_set = h5_set = open_cached(h5_file, h5_set);
    if (h5_set < 0) return clvi_h5_failed(CLV_EFORMAT, file->path, "open the data set tokens");
    H5Iinc_ref(h5_set);
done:
    clvi_h5_drop(h5_set);
    return status;
}

clv_status clvi_h5_tokens_open(const clvi_file *file, clvi_token_set *set)
{
    hid_t h5_file;
    *set = (clvi_token_set){.offset = -1, .h5_set = -1};
    clvi_h5_enter();
    clv_status status = clvi_h5_file_open(file, NULL, 0, &set->h5, &h5_file);
    if (status == CLV_OK) status = clvi_h5_file_status(set->h5, read_structure(file, h5_file, set));
    if (set->h5_set < 0) clvi_h5_file_close(&set->h5); /* HDF5 has nothing more to read */
    clvi_h5_leave();
    return status;
}

void clvi_h5_tokens_close(clvi_token_set *set)
{
    if (!set->h5) return;
    clvi_h5_enter();
    clvi_h5_drop(set->h5_set);
    clvi_h5_file_close(&set->h5);
    clvi_h5_leave();
    set->h5_set = -1;
}

clv_status clvi_h5_tokens_read(const clvi_file *file, const clvi_token_set *set, int64_t offset,
                               int64_t count, void *elements)
{
    clv_status status = CLV_OK;
    hsize_t from = (hsize_t)offset, many = (hsize_t)count;
    clvi_h5_enter();
    hid_t all = H5Dget_space(set->h5_set), some = H5Screate_simple(1, &many, NULL);
    hid_t type = H5Dget_type(set->h5_set);
    if (H5Sselect_hyperslab(all, H5S_SELECT_SET, &from, NULL, &many, NULL) < 0 ||
        H5Dread(set->h5_set, type, some, all, H5P_DEFAULT, elements) < 0)
        status = clvi_h5_failed(CLV_ECORRUPT, file->path, "read tokens");
    clvi_h5_drop(type);
    clvi_h5_drop(some);
    clvi_h5_drop(all);
    clvi_h5_leave();
    return clvi_h5_file_status(set->h5, status);
}

/* ---- Making --------------------------------------------------------------------------- */

/* HDF5 begins each piece on a page: the root group of the empty file on the second, the structure
 * that comes last on the third, and the elements behind it. */
static hid_t making(void)
{
    enum { PAGE = 4096 };
    hid_t access = clvi_h5_access();
    H5Pset_meta_block_size(access, PAGE);
    H5Pset_small_data_block_size(access, 0);
    H5Pset_alignment(access, 1, PAGE);
    return access;
}

clv_status clvi_h5_tokens_begin(const clvi_file *file)
{
    clv_status status = clvi_file_reserve(file, CLVI_TOKENS_AT);
    if (status != CLV_OK) return status;
    clvi_h5_enter();
    hid_t access = making(), creation = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_obj_track_times(creation, false); /* the same content is the same file */
    hid_t h5_file = H5Fcreate(file->path, H5F_ACC_TRUNC, creation, access);
    if (h5_file < 0 || H5Fclose(h5_file) < 0)
        status = clvi_h5_failed(CLV_EIO, file->path, "make an empty file");
    clvi_h5_drop(creation);
    clvi_h5_drop(access);
    clvi_h5_leave();
    return status == CLV_OK ? clvi_file_reserve(file, CLVI_TOKENS_AT) : status;
}

static clv_status write_vocabulary(const clvi_file *file, hid_t h5_set, int64_t vocabulary)
{
    clv_status status = CLV_OK;
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute =
        H5Acreate2(h5_set, "vocabulary", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    if (attribute < 0 || H5Awrite(attribute, H5T_NATIVE_INT64, &vocabulary) < 0)
        status = clvi_h5_failed(CLV_EIO, file->path, "write the attribute vocabulary");
    clvi_h5_drop(attribute);
    clvi_h5_drop(space);
    return status;
}

/* The data set, whose elements must come to lie where they were written. */
static clv_status make_set(const clvi_file *file, hid_t h5_file, const clvi_token_set *set)
{
    clv_status status = CLV_OK;
    hsize_t size = (hsize_t)set->size;
    hid_t space = H5Screate_simple(1, &size, NULL), sets = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(sets, H5D_CONTIGUOUS);
    H5Pset_alloc_time(sets, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(sets, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(sets, false);
    hid_t h5_set = H5Dcreate2(h5_file, name, set->element == 2 ? H5T_STD_U16LE : H5T_STD_U32LE,
                              space, H5P_DEFAULT, sets, H5P_DEFAULT);
    if (h5_set < 0) {
        status = clvi_h5_failed(CLV_EIO, file->path, "make the data set tokens");
        goto done;
    }
    haddr_t found = size > 0 ? H5Dget_offset(h5_set) : CLVI_TOKENS_AT;
    CLVI_CHECK(found == CLVI_TOKENS_AT, CLV_EUNSUPPORTED,
               "%s: expected this HDF5 library to put tokens at byte %d, found %llu", file->path,
               CLVI_TOKENS_AT, (unsigned long long)found);
    CLVI_TRY(write_vocabulary(file, h5_set, set->vocabulary));
done:
    clvi_h5_drop(h5_set);
    clvi_h5_drop(sets);
    clvi_h5_drop(space);
    return status;
}

clv_status clvi_h5_tokens_end(const clvi_file *file, const clvi_token_set *set)
{
    clv_status status;
    clvi_h5_enter();
    hid_t access = making(), h5_file = H5Fopen(file->path, H5F_ACC_RDWR, access);
    status = h5_file < 0 ? clvi_h5_failed(CLV_EIO, file->path, "open the new file")
                         : make_set(file, h5_file, set);
    if (h5_file >= 0 && H5Fclose(h5_file) < 0 && status == CLV_OK)
        status = clvi_h5_failed(CLV_EIO, file->path, "write the structure");
    clvi_h5_drop(access);
    clvi_h5_leave();
    return status;
}
