/* SPDX-License-Identifier: BSD-3-Clause
 *
 * h5_memory.c: an HDF5 driver (H5FD) whose file is a piece of memory that is there beforehand: what
 * HDF5 writes cannot fail. Its values, which are never written, lie beyond the memory's end; what
 * is written there all the same is lost, and told.
 */
#include <clvi_h5.h>
#include <string.h>

/* HDF5's part first, as it asks. */
typedef struct {
    H5FD_t base;
    clvi_h5_image *image;
    haddr_t end; /* of what HDF5 has allocated */
} memory_file;

static H5FD_t *open_memory(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    (void)name, (void)flags, (void)most;
    clvi_h5_image *const *info = H5Pget_driver_info(access);
    memory_file *file = info ? clvi_alloc(sizeof *file) : NULL;
    if (!file) return NULL;
    file->image = *info;
    return &file->base;
}

static herr_t close_memory(H5FD_t *base)
{
    memory_file *file = (memory_file *)base;
    file->image->bytes = (int64_t)file->end;
    clvi_free(file);
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
    return ((const memory_file *)base)->end;
}

static herr_t set_end(H5FD_t *base, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    ((memory_file *)base)->end = end;
    return 0;
}

/* The page behind the room that holds byte `at`; NULL: none. */
static clvi_h5_page *page_of(const clvi_h5_image *image, haddr_t at)
{
    clvi_h5_page *page = image->pages;
    while (page && page->at != at - at % sizeof page->data) page = page->next;
    return page;
}

static clvi_h5_page *new_page(clvi_h5_image *image, haddr_t at)
{
    clvi_h5_page *page = clvi_alloc(sizeof *page);
    if (!page) return NULL;
    page->at = at - at % sizeof page->data;
    page->next = image->pages;
    return image->pages = page;
}

/* Where byte `at` is, and in *bytes how many of them are there in one piece. NULL: nowhere. */
static char *find(clvi_h5_image *image, haddr_t at, size_t *bytes, bool make)
{
    bool front = at < image->room;
    size_t rest =
        front ? image->room - at : sizeof image->pages->data - at % sizeof image->pages->data;
    if (*bytes > rest) *bytes = rest;
    if (front) return image->data + at;
    clvi_h5_page *page = page_of(image, at);
    if (!page && make) page = new_page(image, at);
    return page ? page->data + at % sizeof page->data : NULL;
}

static herr_t read_memory(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                          void *to)
{
    (void)type, (void)transfer;
    for (size_t step; bytes > 0; at += step, bytes -= step, to = (char *)to + step) {
        step = bytes;
        const char *from = find(((memory_file *)base)->image, at, &step, false);
        if (from)
            memcpy(to, from, step);
        else
            memset(to, 0, step);
    }
    return 0;
}

static herr_t write_memory(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                           const void *from)
{
    (void)type, (void)transfer;
    clvi_h5_image *image = ((memory_file *)base)->image;
    for (size_t step; bytes > 0; at += step, bytes -= step, from = (const char *)from + step) {
        step = bytes;
        char *to = find(image, at, &step, true);
        if (to)
            memcpy(to, from, step);
        else
            image->lost = true;
    }
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

clv_status clvi_h5_write_image(const clvi_h5_image *image, const clvi_file *file)
{
    clv_status status;
    CLVI_TRY(clvi_file_write(file, image->data, image->room, 0));
    for (const clvi_h5_page *page = image->pages; page; page = page->next) {
        int64_t rest = image->bytes - (int64_t)page->at;
        size_t bytes = rest < (int64_t)sizeof page->data ? (size_t)rest : sizeof page->data;
        CLVI_TRY(clvi_file_write(file, page->data, bytes, (int64_t)page->at));
    }
done:
    return status;
}

void clvi_h5_free_image(clvi_h5_image *image)
{
    for (clvi_h5_page *next, *page = image->pages; page; page = next) {
        next = page->next;
        clvi_free(page);
    }
    clvi_free(image->data);
}
