/* SPDX-License-Identifier: BSD-3-Clause
 *
 * h5_memory.c: an HDF5 driver (H5FD) whose file begins with a piece of memory that is there
 * beforehand, so that what HDF5 writes cannot fail. Values, which are never written, lie behind it;
 * what is written there all the same is lost, and told.
 */
#include <clvi_h5.h>
#include <string.h>

/* What the access list leads to is the image itself: nothing is allocated. */
static H5FD_t *open_memory(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    (void)name, (void)flags, (void)most;
    clvi_h5_image *const *info = H5Pget_driver_info(access);
    return info ? &(*info)->base : NULL;
}

static herr_t close_memory(H5FD_t *base)
{
    (void)base;
    return 0;
}

/* As of files on disks: small pieces of metadata are gathered into blocks. */
static herr_t query(const H5FD_t *base, unsigned long *flags)
{
    (void)base;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA |
             H5FD_FEAT_AGGREGATE_SMALLDATA;
    return 0;
}

static haddr_t get_end(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const clvi_h5_image *)base)->end;
}

static herr_t set_end(H5FD_t *base, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    ((clvi_h5_image *)base)->end = end;
    return 0;
}

static herr_t read_memory(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                          void *to)
{
    (void)type, (void)transfer;
    const clvi_h5_image *image = (const clvi_h5_image *)base;
    size_t there = at >= image->room ? 0 : image->room - at < bytes ? image->room - at : bytes;
    memcpy(to, image->data + at, there);
    memset((char *)to + there, 0, bytes - there);
    return 0;
}

static herr_t write_memory(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                           const void *from)
{
    (void)type, (void)transfer;
    clvi_h5_image *image = (clvi_h5_image *)base;
    if (bytes <= image->room && at <= image->room - bytes)
        memcpy(image->data + at, from, bytes);
    else
        image->lost = true;
    return 0;
}

static const H5FD_class_t driver = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)513,
#endif
    .name = "cleave-memory",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(clvi_h5_image *),
    .open = open_memory,
    .close = close_memory,
    .query = query,
    .get_eoa = get_end,
    .set_eoa = set_end,
    .get_eof = get_end,
    .read = read_memory,
    .write = write_memory,
    /* Metadata never fill the gaps before aligned values: the structure is one piece. A file space
     * strategy would do it too, but is kept in a header that has the time in it. */
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

hid_t clvi_h5_memory(hid_t access, clvi_h5_image *image)
{
    hid_t id = H5FDregister(&driver);
    if (id >= 0) H5Pset_driver(access, id, &image);
    return id;
}
