/* SPDX-License-Identifier: BSD-3-Clause
 *
 * h5_make.c: the structure of a checkpoint, made in memory and written in one piece, before all
 * values.
 */
#include "clvi_h5.h"

#include <string.h>

static hid_t string_type(size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, bytes);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

typedef struct {
    const char *path;
    hid_t file;
    hid_t access, creation, links, groups, sets; /* property lists                          */
    bool measuring;                              /* data sets of no elements: structure only */
} maker;

static maker new_maker(const char *path)
{
    maker make = {.path = path, .file = -1, .access = clvi_h5_access()};
    make.creation = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(make.creation, CLVI_FRONT);
    H5Pset_link_creation_order(make.creation, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    H5Pset_obj_track_times(make.creation, false);
    make.groups = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_link_creation_order(make.groups, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    H5Pset_obj_track_times(make.groups, false);
    make.links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_char_encoding(make.links, H5T_CSET_UTF8);
    make.sets = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(make.sets, H5D_CONTIGUOUS);
    H5Pset_alloc_time(make.sets, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(make.sets, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(make.sets, false);
    return make;
}

static void drop_maker(const maker *make)
{
    clvi_h5_drop(make->sets);
    clvi_h5_drop(make->links);
    clvi_h5_drop(make->groups);
    clvi_h5_drop(make->creation);
    clvi_h5_drop(make->access);
}

/* The groups that name lies in, those that are not there yet. */
static clv_status make_groups(const maker *make, const char *name)
{
    clv_status status = CLV_OK;
    char *path = clvi_format("%s", name);
    CLVI_CHECK(path, CLV_ENOMEM, "%s: name of a group", make->path);
    for (char *end = path; status == CLV_OK && (end = strchr(end, '/')); *end++ = '/') {
        *end = 0;
        if (H5Lexists(make->file, path, H5P_DEFAULT) > 0) continue;
        hid_t group = H5Gcreate2(make->file, path, make->links, make->groups, H5P_DEFAULT);
        if (group < 0) status = clvi_h5_failed(CLV_EIO, make->path, "make a group");
        clvi_h5_drop(group);
    }
done:
    clvi_free(path);
    return status;
}

/* A data set of room without values; takes type over. */
static clv_status make_set(const maker *make, const char *name, hid_t type, int rank,
                           const hsize_t dims[])
{
    static const hsize_t none[2] = {0, 0};
    clv_status status = make_groups(make, name);
    if (status != CLV_OK) {
        clvi_h5_drop(type);
        return status;
    }
    hid_t space = rank == 0 ? H5Screate(H5S_SCALAR)
                            : H5Screate_simple(rank, make->measuring ? none : dims, NULL);
    hid_t set = H5Dcreate2(make->file, name, type, space, make->links, make->sets, H5P_DEFAULT);
    if (set < 0) {
        char what[300];
        snprintf(what, sizeof what, "make data set %.256s", name);
        status = clvi_h5_failed(CLV_EIO, make->path, what);
    }
    clvi_h5_drop(set);
    clvi_h5_drop(space);
    clvi_h5_drop(type);
    return status;
}

static int64_t bytes_of(const clv_checkpoint_entry *entry)
{
    return entry->m * entry->n * (int64_t)clv_dtype_size(entry->dtype);
}

static clv_status make_entry(const maker *make, const clv_checkpoint_entry *entry)
{
    clv_status status = CLV_OK;
    const hsize_t shape[] = {(hsize_t)entry->m, (hsize_t)entry->n};
    const hsize_t tiles[] = {(hsize_t)clvi_tiles(bytes_of(entry))};
    char *sums = clvi_format("cleave/checksum/%s", entry->name);
    CLVI_CHECK(sums, CLV_ENOMEM, "%s: name of a data set", make->path);
    CLVI_TRY(make_set(make, entry->name, clvi_h5_type(entry->dtype), 2, shape));
    CLVI_TRY(make_set(make, sums, H5Tcopy(H5T_STD_U64LE), 1, tiles));
done:
    clvi_free(sums);
    return status;
}

static clv_status make_all(const maker *make, int count, const clv_checkpoint_entry entries[],
                           size_t json_bytes)
{
    clv_status status;
    const hsize_t one[] = {1};
    CLVI_TRY(make_set(make, "cleave/complete", H5Tcopy(H5T_STD_U64LE), 1, one));
    CLVI_TRY(make_set(make, "cleave/json", string_type(json_bytes), 0, NULL));
    for (int i = 0; i < count; i++) CLVI_TRY(make_entry(make, &entries[i]));
done:
    return status;
}

/* Bytes of the structure alone: it is made in memory, around data sets of no elements. */
static clv_status measure(maker *make, int count, const clv_checkpoint_entry entries[],
                          hsize_t *bytes)
{
    clv_status status;
    hid_t access = clvi_h5_access();
    H5Pset_fapl_core(access, 1 << 10, false);
    make->measuring = true;
    make->file = H5Fcreate("structure", H5F_ACC_TRUNC, make->creation, access);
    status = make->file < 0 ? clvi_h5_failed(CLV_ENOMEM, make->path, "begin a file in memory")
                            : make_all(make, count, entries, 1);
    if (status == CLV_OK &&
        (H5Fflush(make->file, H5F_SCOPE_LOCAL) < 0 || H5Fget_filesize(make->file, bytes) < 0))
        status = clvi_h5_failed(CLV_ENOMEM, make->path, "measure a file in memory");
    make->measuring = false;
    clvi_h5_drop(make->file);
    clvi_h5_drop(access);
    return status;
}

/* The structure around data sets of full size, in an image. */
static clv_status make_structure(maker *make, int count, const clv_checkpoint_entry entries[],
                                 size_t json_bytes, clvi_h5_image *image)
{
    clv_status status;
    hid_t driver = clvi_h5_memory(make->access, image);
    make->file =
        driver < 0 ? -1 : H5Fcreate("structure", H5F_ACC_TRUNC, make->creation, make->access);
    status = make->file < 0 ? clvi_h5_failed(CLV_ENOMEM, make->path, "make a file in memory")
                            : make_all(make, count, entries, json_bytes);
    if (make->file >= 0 && H5Fclose(make->file) < 0 && status == CLV_OK)
        status = clvi_h5_failed(CLV_ENOMEM, make->path, "write the structure");
    if (driver >= 0) H5FDunregister(driver);
    if (status == CLV_OK && image->lost)
        status = clvi_fail(CLV_ELIMIT, "%s: expected its structure in the first %zu bytes",
                           make->path, image->room);
    return status;
}

clv_status clvi_h5_create(const clvi_file *file, int count, const clv_checkpoint_entry entries[],
                          size_t json_bytes)
{
    enum { PAGE = 4096 };
    clv_status status;
    hsize_t structure = 0;
    clvi_h5_image image = {0};
    clvi_h5_enter();
    maker make = new_maker(file->path);
    CLVI_TRY(measure(&make, count, entries, &structure));
    structure += structure / 8;
    H5Pset_meta_block_size(make.access, structure); /* in one piece, before all values */
    image.room = CLVI_FRONT + (structure / PAGE + 1) * PAGE;
    image.data = clvi_alloc(image.room);
    CLVI_CHECK(image.data, CLV_ENOMEM, "%s: %zu bytes of structure", file->path, image.room);
    CLVI_TRY(make_structure(&make, count, entries, json_bytes, &image));
    if (image.room > image.end) image.room = image.end;
    CLVI_TRY(clvi_file_reserve(file, (int64_t)image.end));
    CLVI_TRY(clvi_file_write(file, image.data, image.room, 0));
done:
    clvi_free(image.data);
    drop_maker(&make);
    clvi_h5_leave();
    return status;
}
