/* SPDX-License-Identifier: BSD-3-Clause
 *
 * h5.c: HDF5 and checkpoints. HDF5 makes and reads the structure of a file, always through its
 * serial driver; it never touches an element.
 *
 * The V110 format is asked for because all of its metadata carries checksums, and contiguous data
 * sets allocated early and never filled because then an element's place is an offset.
 *
 * A write that fails inside HDF5 (1.10.8, disk full) leaves a file that cannot be closed, and
 * crashes the program at its end. So HDF5 writes in memory alone, and the file's own writes can
 * fail as they like.
 */
#include "clvi_h5.h"

#include <pthread.h>
#include <string.h>

/* ---- Errors, and whose turn it is ------------------------------------------------ */

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* The caller's setting, which comes back afterwards. */
static struct {
    H5E_auto2_t call;
    void *data;
} printing;

void clvi_h5_enter(void)
{
    pthread_mutex_lock(&turn);
    H5Eget_auto2(H5E_DEFAULT, &printing.call, &printing.data);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void clvi_h5_leave(void)
{
    H5Eset_auto2(H5E_DEFAULT, printing.call, printing.data);
    pthread_mutex_unlock(&turn);
}

static herr_t keep_first(unsigned n, const H5E_error2_t *error, void *text)
{
    if (n == 0) snprintf(text, 256, "%s", error->desc);
    return 0;
}

clv_status clvi_h5_failed(clv_status status, const char *path, const char *what)
{
    char reason[256] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    return clvi_fail(status, "%s: HDF5 cannot %s: %s", path, what, reason);
}

void clvi_h5_drop(hid_t id)
{
    if (id >= 0) H5Idec_ref(id);
}

/* ---- What making and reading share ----------------------------------------------- */

hid_t clvi_h5_access(void)
{
    hid_t list = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_sec2(list);
    H5Pset_file_locking(list, false, true);
    H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_alignment(list, 1 << 16, 4096);
    return list;
}

hid_t clvi_h5_type(clv_dtype dtype)
{
    const hid_t base[CLV_DTYPE_COUNT] = {[CLV_F32] = H5T_IEEE_F32LE,
                                         [CLV_F64] = H5T_IEEE_F64LE,
                                         [CLV_BF16] = H5T_IEEE_F32LE,
                                         [CLV_I32] = H5T_STD_I32LE};
    hid_t type = H5Tcopy(base[dtype]);
    if (dtype == CLV_BF16) {
        H5Tset_fields(type, 15, 7, 8, 0, 7);
        H5Tset_size(type, 2);
        H5Tset_ebias(type, 127);
    }
    return type;
}

/* ---- Reading ----------------------------------------------------------------------- */

typedef struct {
    const clvi_file *file;
    hid_t id;
    hid_t types[CLV_DTYPE_COUNT];
    clvi_table *table;         /* NULL on the first visit, which only counts */
    int64_t visited;           /* links so far, those of /cleave too         */
    int64_t links, name_bytes; /* counted by the first visit                 */
    int64_t tiles_room;        /* in the table                               */
    int64_t text_end;          /* names so far                               */
    clv_status status;         /* of the visit                               */
} reader;

/* A contiguous data set: its shape, the bytes of an element, and its place in the file. */
typedef struct {
    hsize_t dims[2];
    int64_t element, offset, bytes;
} place;

/* The shape of a data set, which must have `rank` extents whose product can be an offset. */
static clv_status read_shape(const reader *r, hid_t set, const char *name, int rank, place *out)
{
    clv_status status = CLV_OK;
    hid_t space = H5Dget_space(set), type = H5Dget_type(set);
    int found = H5Sget_simple_extent_ndims(space);
    CLVI_CHECK(found == rank, CLV_EFORMAT, "%s: data set %s: expected %d extents, found %d",
               r->file->path, name, rank, found);
    out->dims[0] = out->dims[1] = 1;
    H5Sget_simple_extent_dims(space, out->dims, NULL);
    out->element = (int64_t)H5Tget_size(type);
    uint64_t m = out->dims[0], n = out->dims[1], most = INT64_MAX / 16;
    CLVI_CHECK(m <= most && n <= most && (n == 0 || m <= most / n) && out->element > 0 &&
                   (m * n == 0 || out->element <= r->file->bytes / (int64_t)(m * n)),
               CLV_EFORMAT, "%s: data set %s: %llu x %llu elements do not fit in %lld bytes",
               r->file->path, name, (unsigned long long)m, (unsigned long long)n,
               (long long)r->file->bytes);
    out->bytes = (int64_t)(m * n) * out->element;
done:
    clvi_h5_drop(space);
    clvi_h5_drop(type);
    return status;
}

/* Where the bytes of a data set of known shape lie: in one piece of this very file. */
static clv_status read_place(const reader *r, hid_t set, const char *name, int rank, place *out)
{
    clv_status status;
    hid_t properties = H5Dget_create_plist(set);
    CLVI_TRY(read_shape(r, set, name, rank, out));
    CLVI_CHECK(H5Pget_layout(properties) == H5D_CONTIGUOUS &&
                   H5Pget_external_count(properties) == 0,
               CLV_EFORMAT, "%s: data set %s: expected contiguous storage", r->file->path, name);
    if (out->bytes == 0) goto done;
    haddr_t offset = H5Dget_offset(set);
    hsize_t stored = H5Dget_storage_size(set);
    CLVI_CHECK(stored == (hsize_t)out->bytes && offset != HADDR_UNDEF &&
                   offset <= (haddr_t)(r->file->bytes - out->bytes),
               CLV_ECORRUPT,
               "%s: data set %s: expected %lld bytes within the file's %lld, found %llu at %llu",
               r->file->path, name, (long long)out->bytes, (long long)r->file->bytes,
               (unsigned long long)stored, (unsigned long long)offset);
    out->offset = (int64_t)offset;
done:
    clvi_h5_drop(properties);
    return status;
}

/* A data set of our own making, of `rank` extents and the given type (-1: any). */
static clv_status read_own(const reader *r, const char *name, hid_t type, int rank, place *out)
{
    clv_status status;
    hid_t set = H5Dopen2(r->id, name, H5P_DEFAULT), found = -1;
    if (set < 0) return clvi_h5_failed(CLV_ECORRUPT, r->file->path, "open a data set of /cleave");
    CLVI_TRY(read_place(r, set, name, rank, out));
    found = H5Dget_type(set);
    CLVI_CHECK(type < 0 || H5Tequal(found, type) > 0, CLV_EFORMAT,
               "%s: data set %s: expected 64-bit unsigned integers", r->file->path, name);
done:
    clvi_h5_drop(found);
    clvi_h5_drop(set);
    return status;
}

static clv_status read_dtype(const reader *r, hid_t set, const char *name, clv_dtype *dtype)
{
    int found = 0;
    hid_t type = H5Dget_type(set);
    while (found < CLV_DTYPE_COUNT && H5Tequal(type, r->types[found]) <= 0) found++;
    clvi_h5_drop(type);
    *dtype = (clv_dtype)found;
    if (found < CLV_DTYPE_COUNT) return CLV_OK;
    return clvi_fail(CLV_EDTYPE, "%s: data set %s: expected f32, f64, bf16 or i32, found another",
                     r->file->path, name);
}

/* Adds a data set and the place of its checksums to the table. */
static clv_status read_entry(reader *r, hid_t set, const char *name)
{
    clv_status status;
    clvi_table *table = r->table;
    place data = {0}, sums = {0};
    char *sums_name = clvi_format("cleave/checksum/%s", name);
    CLVI_CHECK(sums_name, CLV_ENOMEM, "%s: name of a data set", r->file->path);
    clvi_entry *entry = clvi_table_entry(table, table->count);
    CLVI_TRY(read_place(r, set, name, 2, &data));
    CLVI_TRY(read_dtype(r, set, name, &entry->dtype));
    CLVI_TRY(read_own(r, sums_name, H5T_STD_U64LE, 1, &sums));
    entry->m = (int64_t)data.dims[0];
    entry->n = (int64_t)data.dims[1];
    entry->offset = data.offset;
    entry->sums_offset = sums.offset;
    entry->tiles = clvi_tiles(data.bytes);
    entry->first_tile = table->tiles;
    entry->name = r->text_end;
    CLVI_CHECK((int64_t)sums.dims[0] == entry->tiles &&
                   table->tiles + entry->tiles <= r->tiles_room,
               CLV_EFORMAT, "%s: data set %s: expected %lld checksums, found %lld", r->file->path,
               name, (long long)entry->tiles, (long long)sums.dims[0]);
    strcpy(clvi_table_json(table) + r->text_end, name);
    r->text_end += (int64_t)strlen(name) + 1;
    table->tiles += entry->tiles;
    table->count++;
done:
    clvi_free(sums_name);
    return status;
}

static clv_status read_object(reader *r, const char *name)
{
    clv_status status = CLV_OK;
    hid_t object = H5Oopen(r->id, name, H5P_DEFAULT);
    if (object < 0) {
        status = clvi_h5_failed(CLV_ECORRUPT, r->file->path, "open an object");
        goto done;
    }
    H5I_type_t kind = H5Iget_type(object);
    CLVI_CHECK(kind == H5I_DATASET || kind == H5I_GROUP, CLV_EFORMAT,
               "%s: %s: expected a data set or group, found another object", r->file->path, name);
    if (kind == H5I_DATASET) CLVI_TRY(read_entry(r, object, name));
done:
    clvi_h5_drop(object);
    return status;
}

/* Whether the walk may go on to one more link. Where a group holds itself it would not end, and
 * HDF5 sees that only of objects that say that they have several links. */
static bool plausible(reader *r, const char *name)
{
    enum { LINK_BYTES = 64 }; /* of a link and what it leads to, at least */
    size_t longest = strlen("cleave/checksum/") + CLVI_NAME_BYTES;
    if (++r->visited <= r->file->bytes / LINK_BYTES && strlen(name) <= longest) return true;
    r->status = clvi_fail(CLV_ECORRUPT,
                          "%s: expected names of up to %zu bytes in up to %lld links, found more: "
                          "\"%.64s...\"",
                          r->file->path, longest, (long long)(r->file->bytes / LINK_BYTES), name);
    return false;
}

/* The first visit counts links, the second reads what is behind them. */
static herr_t visit(hid_t root, const char *name, const H5L_info_t *info, void *context)
{
    reader *r = context;
    (void)root;
    if (!plausible(r, name)) return 1;
    if (strncmp(name, "cleave", 6) == 0 && (name[6] == 0 || name[6] == '/')) return 0;
    if (info->type != H5L_TYPE_HARD)
        r->status = clvi_fail(CLV_EFORMAT, "%s: %s: expected a data set or group, found a link",
                              r->file->path, name);
    else if (r->table)
        r->status = read_object(r, name);
    r->links++;
    r->name_bytes += (int64_t)strlen(name) + 1;
    return r->status == CLV_OK ? 0 : 1;
}

/* In the order of making: of native order is the index as it lies in the file. Any other would be
 * sorted in a table, which HDF5 (1.10.8) frees before it is filled if the index is damaged. */
static clv_status visit_all(reader *r)
{
    r->status = CLV_OK;
    r->visited = 0;
    if (H5Lvisit(r->id, H5_INDEX_CRT_ORDER, H5_ITER_NATIVE, visit, r) < 0)
        return clvi_h5_failed(CLV_ECORRUPT, r->file->path, "list the data sets");
    return r->status;
}

static clv_status read_all(reader *r)
{
    clv_status status;
    place json = {0}, mark = {0};
    CLVI_TRY(read_own(r, "cleave/complete", H5T_STD_U64LE, 1, &mark));
    CLVI_TRY(read_own(r, "cleave/json", -1, 0, &json));
    CLVI_CHECK(mark.bytes > 0, CLV_EFORMAT, "%s: no room for the mark", r->file->path);
    CLVI_TRY(visit_all(r));
    r->tiles_room = r->file->bytes / CLVI_TILE + r->links;
    r->table = clvi_table_create(r->links, r->tiles_room, json.bytes, r->name_bytes);
    CLVI_CHECK(r->table, CLV_ENOMEM, "%s: a table of %lld data sets", r->file->path,
               (long long)r->links);
    r->table->count = r->table->tiles = 0; /* room so far; the visit counts */
    r->table->json_offset = json.offset;
    r->table->mark_offset = mark.offset;
    r->table->file_bytes = r->file->bytes;
    r->text_end = json.bytes + 1;
    CLVI_TRY(visit_all(r));
done:
    return status;
}

clv_status clvi_h5_read(const clvi_file *file, const char *checked, int64_t bytes,
                        clvi_table **table)
{
    reader r = {.file = file};
    clvi_h5_open *open;
    clvi_h5_enter();
    for (int dtype = 0; dtype < CLV_DTYPE_COUNT; dtype++)
        r.types[dtype] = clvi_h5_type((clv_dtype)dtype);
    clv_status status = clvi_h5_file_open(file, checked, bytes, &open, &r.id);
    if (status == CLV_OK) status = clvi_h5_file_status(open, read_all(&r));
    clvi_h5_file_close(&open);
    for (int dtype = 0; dtype < CLV_DTYPE_COUNT; dtype++) clvi_h5_drop(r.types[dtype]);
    clvi_h5_leave();
    if (status != CLV_OK) {
        clvi_free(r.table);
        r.table = NULL;
    }
    *table = r.table;
    return status;
}
