/* SPDX-License-Identifier: BSD-3-Clause
 *
 * h5_file.c: an HDF5 driver (H5FD) that reads a file which we have open. So HDF5 sees the very file
 * whose front was checked, whatever its name means by now, and has no descriptor of its own: one
 * that it fails to close (1.10.8) crashes the program at its end.
 */
#include <clvi_h5.h>
#include <string.h>

/* HDF5's part first, as it asks. */
struct clvi_h5_open {
    H5FD_t base;
    hid_t driver, id;
    clvi_file file;
    const char *checked;
    int64_t checked_bytes;
    haddr_t end;       /* of what HDF5 knows to be in use */
    bool closed;       /* HDF5 is done with it            */
    clv_status status; /* of the reads, and its message   */
    char message[1024];
};

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
    return (haddr_t)((const clvi_h5_open *)base)->file.bytes;
}

/* HDF5 knows only that a read failed; why stays with the open file. */
static herr_t read_ours(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                        void *to)
{
    (void)type, (void)transfer;
    clvi_h5_open *open = (clvi_h5_open *)base;
    if (open->file.fd < 0 || at > INT64_MAX) return -1;
    if (bytes <= (size_t)open->checked_bytes && at <= (haddr_t)open->checked_bytes - bytes) {
        memcpy(to, open->checked + at, bytes);
        return 0;
    }
    clv_status status = clvi_file_read(&open->file, to, bytes, (int64_t)at);
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

clv_status clvi_h5_file_open(const clvi_file *file, const char *checked, int64_t bytes,
                             clvi_h5_open **open, hid_t *id)
{
    clvi_h5_open *o = *open = clvi_alloc(sizeof *o);
    if (!o) return clvi_fail(CLV_ENOMEM, "%s: no memory to open it", file->path);
    *o = (clvi_h5_open){.file = *file, .checked = checked, .checked_bytes = bytes, .closed = true};
    hid_t access = clvi_h5_access();
    o->driver = H5FDregister(&driver);
    bool ready = o->driver >= 0 && H5Pset_driver(access, o->driver, &o) >= 0;
    *id = o->id = ready ? H5Fopen(file->path, H5F_ACC_RDONLY, access) : -1;
    clv_status status =
        *id < 0 ? clvi_h5_failed(CLV_ECORRUPT, file->path, "open the file") : CLV_OK;
    clvi_h5_drop(access);
    return clvi_h5_file_status(o, status);
}

clv_status clvi_h5_file_status(clvi_h5_open *open, clv_status status)
{
    if (open->status != CLV_OK) status = clvi_fail(open->status, "%s", open->message);
    open->status = CLV_OK;
    return status;
}

/* What HDF5 fails to close, of a damaged file, it goes back to at the program's end, and finds
 * nothing there any more. */
void clvi_h5_file_close(clvi_h5_open **open)
{
    clvi_h5_open *o = *open;
    *open = NULL;
    if (!o) return;
    clvi_h5_drop(o->id);
    o->file.fd = -1;
    if (!o->closed) return;
    if (o->driver >= 0) H5FDunregister(o->driver);
    clvi_free(o);
}
