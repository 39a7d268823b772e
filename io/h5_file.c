/* SPDX-License-Identifier: BSD-3-Clause
 *
 * h5_file.c: an HDF5 driver (H5FD) that reads a file which we have open. So HDF5 sees the very file
 * whose front was checked, whatever its name means by now, and has no descriptor of its own: one
 * that it fails to close (1.10.8) crashes the program at its end.
 */
#include <clvi_h5.h>
#include <string.h>

/* What the access list leads to is the open file itself: nothing is allocated, so that nothing but
 * reading can fail. */
static H5FD_t *open_ours(const char *name, unsigned flags, hid_t access, haddr_t most)
{
    (void)name, (void)most;
    clvi_h5_open *const *info = H5Pget_driver_info(access);
    if (!info || flags & H5F_ACC_RDWR) return NULL;
    (*info)->closed = false;
    return &(*info)->base;
}

static herr_t close_ours(H5FD_t *base)
{
    ((clvi_h5_open *)base)->closed = true;
    return 0;
}

static haddr_t get_end(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return ((const clvi_h5_open *)base)->end;
}

static herr_t set_end(H5FD_t *base, H5FD_mem_t type, haddr_t end)
{
    (void)type;
    ((clvi_h5_open *)base)->end = end;
    return 0;
}

static haddr_t get_size(const H5FD_t *base, H5FD_mem_t type)
{
    (void)type;
    return (haddr_t)((const clvi_h5_open *)base)->file->bytes;
}

/* HDF5 knows only that a read failed; why stays with the open file. */
static herr_t read_ours(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                        void *to)
{
    (void)type, (void)transfer;
    clvi_h5_open *open = (clvi_h5_open *)base;
    if (at > INT64_MAX) return -1;
    if (bytes <= (size_t)open->checked_bytes && at <= (haddr_t)open->checked_bytes - bytes) {
        memcpy(to, open->checked + at, bytes);
        return 0;
    }
    clv_status status = clvi_file_read(open->file, to, bytes, (int64_t)at);
    if (status == CLV_OK) return 0;
    if (open->status == CLV_OK)
        snprintf(open->message, sizeof open->message, "%s", clv_last_error());
    open->status = status;
    return -1;
}

static herr_t refuse_write(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                           const void *from)
{
    (void)base, (void)type, (void)transfer, (void)at, (void)bytes, (void)from;
    return -1;
}

static const H5FD_class_t driver = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)514,
#endif
    .name = "cleave-file",
    .maxaddr = INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(clvi_h5_open *),
    .open = open_ours,
    .close = close_ours,
    .get_eoa = get_end,
    .set_eoa = set_end,
    .get_eof = get_size,
    .read = read_ours,
    .write = refuse_write,
    .fl_map = H5FD_FLMAP_SINGLE,
};

hid_t clvi_h5_file(hid_t access, clvi_h5_open *open)
{
    hid_t id = H5FDregister(&driver);
    if (id >= 0) H5Pset_driver(access, id, &open);
    return id;
}
