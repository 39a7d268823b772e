/* SPDX-License-Identifier: BSD-3-Clause
 *
 * checkpoint_faults.c: whatever is wrong with a file, a disk or the memory of one process, every
 * process gets the same status soon, the message names the file, and the old checkpoint stays.
 *
 * RANKS: 1 3
 */
#include "scratch.h"

#include <clvi_io.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { MATRICES = 3 };

/* ---- One model, saved and loaded ----------------------------------------------------- */

typedef struct {
    clv_named named[MATRICES];
} model;

static void make_model(model *x, uint64_t key)
{
    static const char *const names[] = {"weight", "group/bias", "ids"};
    const clv_spec specs[] = {{.m = 60, .n = 50, .dtype = CLV_F64},
                              {.m = 1, .n = 33, .dtype = CLV_BF16},
                              {.m = 17, .n = 7, .dtype = CLV_I32}};
    for (int i = 0; i < MATRICES; i++) {
        clv_spec spec = specs[i];
        CHECK_OK(clv_layout_parse(world, i == 1 ? "-|col" : "col|-", &spec.layout));
        x->named[i].name = names[i];
        CHECK_OK(clv_matrix_create(world, spec, &x->named[i].matrix));
        fill_bits(x->named[i].matrix, key + (uint64_t)i);
    }
}

static void drop_model(model *x)
{
    for (int i = 0; i < MATRICES; i++) clv_matrix_destroy(&x->named[i].matrix);
}

static bool same_model(const model *x, uint64_t key)
{
    int64_t wrong = 0;
    for (int i = 0; i < MATRICES; i++) wrong += wrong_bits(x->named[i].matrix, key + (uint64_t)i);
    return wrong == 0;
}

static clv_status write_model(const model *x, const char *path)
{
    return clv_checkpoint_write(world, path, MATRICES, x->named, "{\"model\": \"small\"}");
}

/* Open, verify, load: the first failure. */
static clv_status read_model(const model *x, const char *path)
{
    clv_checkpoint *checkpoint = NULL;
    clv_status status = clv_checkpoint_open(world, path, &checkpoint);
    if (status == CLV_OK) status = clv_checkpoint_verify(checkpoint, NULL);
    if (status == CLV_OK) status = clv_checkpoint_load(checkpoint, MATRICES, x->named, NULL);
    if (status == CLV_OK)
        status = strcmp(clv_checkpoint_json(checkpoint), "{\"model\": \"small\"}") ? CLV_EARG : 0;
    CHECK(status == CLV_OK || !checkpoint || clv_checkpoint_count(checkpoint) == MATRICES);
    clv_checkpoint_close(&checkpoint);
    return status;
}

/* Whether every rank has the same status. */
static void check_everywhere(clv_status status)
{
    double low = status, high = status;
    CHECK_OK(clv_grid_reduce(world, CLV_MIN, 1, &low));
    CHECK_OK(clv_grid_reduce(world, CLV_MAX, 1, &high));
    CHECK(low == high);
}

/* ---- Files as bytes --------------------------------------------------------------------- */

typedef struct {
    unsigned char *bytes;
    int64_t size;
} image;

/* On every rank. */
static image read_image(const char *path)
{
    struct stat info;
    image file = {calloc(1, 1), 1};
    int fd = open(path, O_RDONLY);
    if (CHECK(fd >= 0 && fstat(fd, &info) == 0)) {
        free(file.bytes);
        file = (image){malloc((size_t)info.st_size), info.st_size};
        CHECK_INT(read(fd, file.bytes, (size_t)info.st_size), info.st_size);
    }
    close(fd);
    CHECK_OK(clv_grid_barrier(world));
    return file;
}

/* Rank 0 puts the first `size` bytes at path; everyone waits. */
static void put_image(const char *path, const unsigned char *bytes, int64_t size)
{
    if (check_rank() == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        CHECK(fd >= 0 && write(fd, bytes, (size_t)size) == size);
        close(fd);
    }
    CHECK_OK(clv_grid_barrier(world));
}

/* ---- Damaged files ---------------------------------------------------------------------- */

/* A checkpoint written to path in the scratch folder, and its bytes, to be put back damaged. */
static image begin_damage(model *x, char *path, size_t size)
{
    scratch_begin();
    make_model(x, 1);
    snprintf(path, size, "%s", in_scratch("bad.h5"));
    CHECK_OK(write_model(x, path));
    return read_image(path);
}

static void end_damage(model *x, image *file)
{
    free(file->bytes);
    drop_model(x);
    scratch_end();
}

static void truncated(void)
{
    model x;
    char bad[512];
    image file = begin_damage(&x, bad, sizeof bad);
    for (int64_t size = 0; size < file.size; size += size < 96 ? 1 : file.size / 97) {
        put_image(bad, file.bytes, size);
        clv_status status = read_model(&x, bad);
        check_everywhere(status);
        CHECK(status == CLV_ECORRUPT || (size < 40 && status == CLV_EFORMAT));
        CHECK(strstr(clv_last_error(), bad));
    }
    end_damage(&x, &file);
}

/* A few hundred files with one to eight bytes changed anywhere: either it is noticed, or what is
 * loaded is what was saved (bytes between data sets that hold nothing). */
static void mutated(void)
{
    model x;
    char bad[512];
    image file = begin_damage(&x, bad, sizeof bad);
    uint64_t state = 42;
    int noticed = 0;
    for (int trial = 0; trial < 300; trial++) {
        int64_t at[8], changes = 1 + check_random_below(&state, 8);
        unsigned char before[8];
        for (int64_t i = 0; i < changes; i++) { /* half of them at the start, in the structure */
            int64_t range = trial % 2 ? file.size : file.size < 8000 ? file.size : 8000;
            at[i] = check_random_below(&state, range);
            before[i] = file.bytes[at[i]];
            file.bytes[at[i]] ^= (unsigned char)(1 + check_random_below(&state, 255));
        }
        put_image(bad, file.bytes, file.size);
        for (int64_t i = changes; i-- > 0;) file.bytes[at[i]] = before[i];
        clv_status status = read_model(&x, bad);
        check_everywhere(status);
        noticed += status != CLV_OK;
        if (status == CLV_OK)
            CHECK(same_model(&x, 1));
        else
            CHECK(strstr(clv_last_error(), bad));
    }
    CHECK(noticed > 200);
    end_damage(&x, &file);
}

/* Every byte of every element, of the JSON and of the names counts. */
static void content_counts(void)
{
    model x;
    char bad[512];
    image file = begin_damage(&x, bad, sizeof bad);
    uint64_t bits = element_bits(1, (clv_block){0}, 50, 59, 49); /* weight[59,49] */
    const struct {
        const void *bytes;
        size_t size;
        const char *says;
    } needles[] = {{&bits, 8, "weight, elements 0 to 2999"},
                   {"small", 5, "JSON"},
                   {"weight", 6, "structure"}, /* found before HDF5 reads it */
                   {"bias", 4, "structure"}};
    for (int i = 0; i < 4; i++) {
        unsigned char *at =
            memmem(file.bytes, (size_t)file.size, needles[i].bytes, needles[i].size);
        if (!CHECK(at)) at = file.bytes;
        for (size_t k = 0; k < needles[i].size; k++) {
            at[k] ^= 1;
            put_image(bad, file.bytes, file.size);
            at[k] ^= 1;
            CHECK_STATUS(read_model(&x, bad), CLV_ECORRUPT);
            CHECK(strstr(clv_last_error(), needles[i].says));
        }
    }
    end_damage(&x, &file);
}

/* Nor may the bytes between the front and HDF5's own change. */
static void padding_counts(void)
{
    model x;
    char bad[512];
    image file = begin_damage(&x, bad, sizeof bad);
    static const int places[] = {72, 233, 2000, 3961, 4095};
    for (int i = 0; i < 5; i++) {
        file.bytes[places[i]] ^= 1;
        put_image(bad, file.bytes, file.size);
        file.bytes[places[i]] ^= 1;
        CHECK_STATUS(read_model(&x, bad), CLV_ECORRUPT);
        CHECK(strstr(clv_last_error(), bad));
    }
    end_damage(&x, &file);
}

/* A front that agrees with itself is not believed where its structure cannot end there. */
static void structure_beyond(void)
{
    enum { END = 48, SELF = 64 }; /* where they stand in the front */
    model x;
    char bad[512];
    image file = begin_damage(&x, bad, sizeof bad);
    const int64_t ends[] = {INT64_MIN, -1, 0, 4095, file.size + 1, 8000000000, INT64_MAX};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        memcpy(file.bytes + END, &ends[i], sizeof *ends);
        uint64_t self = clvi_hash(0, file.bytes, SELF);
        memcpy(file.bytes + SELF, &self, sizeof self);
        put_image(bad, file.bytes, file.size);
        CHECK_STATUS(read_model(&x, bad), CLV_ECORRUPT);
        CHECK(strstr(clv_last_error(), "bad.h5: expected its structure to end between"));
    }
    end_damage(&x, &file);
}

/* ---- What is no checkpoint ---------------------------------------------------------------- */

static void not_checkpoints(void)
{
    scratch_begin();
    clv_checkpoint *c = NULL;
    static const unsigned char text[] = "Once upon a time there was a text file of some length.\n";
    put_image(in_scratch("text"), text, sizeof text - 1);
    put_image(in_scratch("empty"), text, 0);
    put_image(in_scratch("secret"), text, sizeof text - 1);
    if (check_rank() == 0) {
        CHECK(mkfifo(in_scratch("pipe"), 0666) == 0);
        CHECK(chmod(in_scratch("secret"), 0) == 0);
    }
    CHECK_OK(clv_grid_barrier(world));
    const struct {
        const char *name, *says;
        clv_status status;
    } cases[] = {{"nothing", "No such file", CLV_ENOTFOUND},
                 {"text", "something else", CLV_EFORMAT},
                 {"empty", "empty file", CLV_EFORMAT},
                 {"", "a directory", CLV_EFORMAT},
                 {"pipe", "a pipe", CLV_EFORMAT},
                 {"secret", "Permission", CLV_EIO}};
    for (int i = 0; i < 5 + (geteuid() != 0); i++) {
        CHECK_STATUS(clv_checkpoint_open(world, in_scratch("%s", cases[i].name), &c),
                     cases[i].status);
        CHECK(!c && strstr(clv_last_error(), cases[i].says));
        CHECK(strstr(clv_last_error(), in_scratch("%s", cases[i].name)));
    }
    CHECK_STATUS(clv_checkpoint_open(world, NULL, &c), CLV_EARG);
    CHECK_STATUS(clv_checkpoint_open(NULL, "x", &c), CLV_EARG);
    if (check_size() > 1)
        CHECK_STATUS(clv_checkpoint_open(world, check_rank() ? "a" : "b", &c), CLV_EMISMATCH);
    scratch_end();
}

/* ---- Disks ---------------------------------------------------------------------------------- */

static int hidden_files(const char *dir)
{
    int hidden = 0;
    DIR *folder = opendir(dir);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        hidden += strstr(entry->d_name, ".tmp-") != NULL;
    if (folder) closedir(folder);
    return hidden;
}

/* A failed write over a good checkpoint: same status, nothing left, the old one as it was. */
static void check_old_stays(model *x, const char *dir, const char *path, clv_status status)
{
    check_everywhere(status);
    CHECK_STATUS(status, CLV_EIO);
    CHECK(strstr(clv_last_error(), dir));
    CHECK_OK(clv_grid_barrier(world));
    CHECK_INT(hidden_files(dir), 0);
    CHECK_OK(read_model(x, path));
    CHECK(same_model(x, 1));
}

/* One rank alone may not write beyond a size: rank 0 while it reserves, others at their blocks. */
static void one_rank_cannot_write(void)
{
    scratch_begin();
    signal(SIGXFSZ, SIG_IGN);
    model x;
    make_model(&x, 1);
    CHECK_OK(write_model(&x, in_scratch("a.h5")));
    for (int rank = 0; rank < check_size(); rank++)
        for (rlim_t limit = 0; limit <= 4000; limit += 2000) {
            struct rlimit before, small;
            CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
            small = (struct rlimit){limit, before.rlim_max};
            if (check_rank() == rank) CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
            clv_status status = write_model(&x, in_scratch("a.h5"));
            if (check_rank() == rank) CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
            check_old_stays(&x, scratch, in_scratch("a.h5"), status);
        }
    CHECK_OK(write_model(&x, in_scratch("a.h5")));
    drop_model(&x);
    signal(SIGXFSZ, SIG_DFL);
    scratch_end();
}

/* A small file system of our own, filled up to less and less room; needs the right to mount. */
static void disk_full(void)
{
    scratch_begin();
    const char *disk = in_scratch("disk");
    double mounted = 1;
    if (check_rank() == 0)
        mounted = mkdir(disk, 0777) == 0 && mount("none", disk, "tmpfs", 0, "size=256k") == 0;
    CHECK_OK(clv_grid_reduce(world, CLV_MIN, 1, &mounted));
    if (mounted) {
        model x;
        make_model(&x, 1);
        CHECK_OK(write_model(&x, in_scratch("disk/a.h5")));
        static unsigned char filler[256 << 10];
        for (int64_t fill = 176 << 10; fill <= 224 << 10; fill += 4096) {
            if (check_rank() == 0) {
                int fd = open(in_scratch("disk/filler"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
                CHECK(write(fd, filler, (size_t)fill) > 0);
                close(fd);
            }
            CHECK_OK(clv_grid_barrier(world));
            clv_status status = write_model(&x, in_scratch("disk/a.h5"));
            if (status != CLV_OK)
                check_old_stays(&x, in_scratch("disk"), in_scratch("disk/a.h5"), status);
            else
                CHECK(fill < 200 << 10);
        }
        drop_model(&x);
        CHECK_OK(clv_grid_barrier(world));
        if (check_rank() == 0) CHECK(umount2(in_scratch("disk"), MNT_DETACH) == 0);
    }
    scratch_end();
}

/* ---- Memory ------------------------------------------------------------------------------------
 */

enum { LAST_ALLOCATION = 200 };

/* The 1st, 2nd, 3rd ... allocation of one rank fails, until the call needs no more. */
static void one_rank_has_no_memory(void)
{
    scratch_begin();
    model x;
    make_model(&x, 1);
    CHECK_OK(write_model(&x, in_scratch("a.h5")));
    int64_t live = clvi_alloc_live();
    for (int rank = 0; rank<check_size(); rank += check_size()> 1 ? check_size() - 1 : 1)
        for (int what = 0; what < 2; what++) {
            clv_status status = CLV_ENOMEM;
            int64_t nth = 0;
            while (status != CLV_OK && ++nth < LAST_ALLOCATION) {
                if (check_rank() == rank) clvi_alloc_fail_at(nth);
                status =
                    what ? read_model(&x, in_scratch("a.h5")) : write_model(&x, in_scratch("a.h5"));
                clvi_alloc_fail_at(0);
                check_everywhere(status);
                CHECK(status == CLV_OK || status == CLV_ENOMEM);
                CHECK_INT(clvi_alloc_live(), live);
                CHECK_OK(clv_grid_barrier(world));
                CHECK_INT(hidden_files(scratch), 0);
            }
            CHECK(nth > 4 && nth < LAST_ALLOCATION);
        }
    CHECK(same_model(&x, 1));
    drop_model(&x);
    scratch_end();
}

const check_case check_cases[] = {
    {"truncated", truncated},
    {"mutated", mutated},
    {"content counts", content_counts},
    {"padding counts", padding_counts},
    {"structure beyond", structure_beyond},
    {"not checkpoints", not_checkpoints},
    {"one rank cannot write", one_rank_cannot_write},
    {"disk full", disk_full},
    {"one rank has no memory", one_rank_has_no_memory},
    {0},
};
