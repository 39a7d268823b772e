/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mutate.c: no changed byte is accepted.
 *
 *     [MUTATIONS=4000] [SEED=1] mutate
 *
 * Files with changed bytes, in every way listed under `mutations`, are opened, verified and loaded.
 * None may crash the reader or take 5 seconds. Of a checkpoint, what a load accepts has exactly the
 * values saved, and what verify accepts is byte for byte a file that was saved. safetensors have no
 * checksums: what their reader accepts must keep the rules of the format.
 *
 * A child process does the work and another one takes over where it dies; the parent watches.
 * "SEED=S MUTATIONS=N" names the Nth mutation for ever.
 */
#include "torture.h"

#include <check.h>
#include <clvi_io.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUICK = 4000, PATIENCE = 5 /* seconds */, MOST_FAILURES = 20, PATH = 512 };

/* What parent and children know of each other. */
static struct report {
    _Atomic int64_t next; /* mutation */
    _Atomic int64_t accepted, refused, failures;
    char what[256]; /* is being done, for the parent to tell */
} * report;

static char folder[256];
static uint64_t seed;

/* ---- Files as bytes ------------------------------------------------------------------- */

typedef struct {
    unsigned char *bytes;
    int64_t size, room;
} image;

static void stop(const char *what)
{
    fprintf(stderr, "mutate: %s: %s\n", what, clv_last_error());
    _exit(2);
}

static void try(clv_status status, const char *what)
{
    if (status != CLV_OK) stop(what);
}

static image read_image(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &info) != 0) stop(path);
    image x = {.size = info.st_size, .room = info.st_size + (1 << 16)};
    x.bytes = calloc(1, (size_t)x.room);
    if (!x.bytes || read(fd, x.bytes, (size_t)x.size) != x.size) stop(path);
    close(fd);
    return x;
}

static void copy_image(image *to, const image *from)
{
    if (to->room < from->room) {
        to->bytes = realloc(to->bytes, (size_t)from->room);
        to->room = from->room;
    }
    if (!to->bytes) stop("no memory");
    memcpy(to->bytes, from->bytes, (size_t)from->size);
    to->size = from->size;
}

static bool same_image(const image *x, const image *y)
{
    return x->size == y->size && memcmp(x->bytes, y->bytes, (size_t)x->size) == 0;
}

static void put_image(const char *path, const image *x)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0666);
    if (fd < 0 || pwrite(fd, x->bytes, (size_t)x->size, 0) != x->size || ftruncate(fd, x->size))
        stop(path);
    close(fd);
}

/* ---- Mutations ------------------------------------------------------------------------- */

static int64_t below(uint64_t *state, int64_t bound)
{
    return bound > 0 ? check_random_below(state, bound) : 0;
}

/* One to eight bytes of the first `range`. */
static void change_bytes(image *x, int64_t range, uint64_t *state)
{
    for (int64_t n = 1 + below(state, 8); n > 0; n--)
        x->bytes[below(state, range < x->size ? range : x->size)] ^=
            (unsigned char)(1 + below(state, 255));
}

static void change_structure(image *x, const image *other, uint64_t *state)
{
    (void)other;
    change_bytes(x, 8 << 10, state);
}

static void change_anywhere(image *x, const image *other, uint64_t *state)
{
    (void)other;
    change_bytes(x, x->size, state);
}

static void flip_bit(image *x, const image *other, uint64_t *state)
{
    (void)other;
    x->bytes[below(state, x->size)] ^= (unsigned char)(1u << below(state, 8));
}

/* Among zeros, which may be nobody's. */
static void change_zeros(image *x, const image *other, uint64_t *state)
{
    (void)other;
    enum { RUN = 24 };
    static const unsigned char zeros[RUN];
    int64_t from = below(state, x->size);
    const unsigned char *run = memmem(x->bytes + from, (size_t)(x->size - from), zeros, RUN);
    if (run) x->bytes[run - x->bytes + below(state, RUN)] = 1;
}

static void cut(image *x, const image *other, uint64_t *state)
{
    (void)other;
    x->size = below(state, below(state, 4) ? x->size : 200);
}

static void extend(image *x, const image *other, uint64_t *state)
{
    (void)other;
    bool zeros = below(state, 2);
    for (int64_t n = 1 + below(state, x->room - x->size); n > 0; n--)
        x->bytes[x->size++] = zeros ? 0 : (unsigned char)below(state, 256);
}

/* A piece that begins at a multiple of its length, a power of two. */
typedef struct {
    int64_t at, bytes;
} piece;

static piece pick(const image *x, int64_t bytes, uint64_t *state)
{
    piece p = {below(state, x->size / bytes) * bytes, bytes};
    if (p.at + bytes > x->size) p.bytes = x->size - p.at;
    return p;
}

static int64_t pick_bytes(const image *x, uint64_t *state)
{
    int64_t bytes = 512 << below(state, 12); /* a sector to a tile */
    while (bytes > x->size / 2 && bytes > 1) bytes /= 2;
    return bytes;
}

static void lose_piece(image *x, const image *other, uint64_t *state)
{
    (void)other;
    piece p = pick(x, pick_bytes(x, state), state);
    memset(x->bytes + p.at, below(state, 2) ? 0 : 0xff, (size_t)p.bytes);
}

static void swap_pieces(image *x, const image *other, uint64_t *state)
{
    (void)other;
    int64_t bytes = pick_bytes(x, state);
    piece p = pick(x, bytes, state), q = pick(x, bytes, state);
    for (int64_t i = 0; i < p.bytes && i < q.bytes; i++) {
        unsigned char byte = x->bytes[p.at + i];
        x->bytes[p.at + i] = x->bytes[q.at + i];
        x->bytes[q.at + i] = byte;
    }
}

/* A piece that is still as another step wrote it. */
static void stale_piece(image *x, const image *other, uint64_t *state)
{
    piece p = pick(x, pick_bytes(x, state), state);
    if (p.at + p.bytes <= other->size)
        memcpy(x->bytes + p.at, other->bytes + p.at, (size_t)p.bytes);
}

/* The end of another step's file. */
static void join_end(image *x, const image *other, uint64_t *state)
{
    int64_t at = below(state, x->size);
    if (other->room > x->room) return;
    if (at < other->size) memcpy(x->bytes + at, other->bytes + at, (size_t)(other->size - at));
    x->size = other->size;
}

/* The whole of it: a good file. */
static void replace(image *x, const image *other, uint64_t *state)
{
    (void)state;
    copy_image(x, other);
}

/* A digit of a number becomes another, as the readers of texts fear. */
static void change_digit(image *x, const image *other, uint64_t *state)
{
    (void)other;
    int64_t from = below(state, x->size < 2000 ? x->size : 2000);
    for (int64_t i = from; i < x->size; i++)
        if (x->bytes[i] >= '0' && x->bytes[i] <= '9') {
            x->bytes[i] = (unsigned char)('0' + below(state, 10));
            return;
        }
}

/* A byte of the first 2000 comes or goes, and all after it move. */
static void shift(image *x, const image *other, uint64_t *state)
{
    (void)other;
    int64_t at = below(state, x->size < 2000 ? x->size : 2000);
    if (below(state, 2)) {
        memmove(x->bytes + at, x->bytes + at + 1, (size_t)(x->size - at - 1));
        x->size--;
    } else {
        memmove(x->bytes + at + 1, x->bytes + at, (size_t)(x->size - at));
        x->bytes[at] = (unsigned char)below(state, 256);
        x->size++;
    }
}

/* A checkpoint's front says where its structure ends; its own checksum holds (front.c). */
static void move_end(image *x, const image *other, uint64_t *state)
{
    (void)other;
    enum { END = 48, SELF = 64 };
    if (x->size < CLVI_FRONT) return;
    int64_t end = below(state, (int64_t)1 << below(state, 63));
    memcpy(x->bytes + END, &end, sizeof end);
    uint64_t self = clvi_hash(0, x->bytes, SELF);
    memcpy(x->bytes + SELF, &self, sizeof self);
}

static const struct {
    const char *name;
    void (*apply)(image *x, const image *other, uint64_t *state);
} mutations[] = {{"bytes of the structure", change_structure},
                 {"bytes anywhere", change_anywhere},
                 {"a bit", flip_bit},
                 {"among zeros", change_zeros},
                 {"truncated", cut},
                 {"extended", extend},
                 {"a piece lost", lose_piece},
                 {"pieces swapped", swap_pieces},
                 {"a piece of another step", stale_piece},
                 {"the end of another step", join_end},
                 {"another step", replace},
                 {"a digit", change_digit},
                 {"a byte more or less", shift},
                 {"the structure's end", move_end}};
enum { MUTATIONS = sizeof mutations / sizeof *mutations };

/* ---- Subjects: what is mutated and how it is read ----------------------------------------- */

typedef struct subject subject;
struct subject {
    const char *name;
    char path[PATH]; /* of the mutated file */
    image good[2];   /* two steps of the same shapes */
    torture_model *model;
    /* Whether it was accepted; complains with NULL unless what it must be then holds. */
    const char *(*read)(const subject *s, const image *mutated, bool *accepted);
};

static clv_grid *grid;
static torture_model small, large;

static const char *read_checkpoint(const subject *s, const image *mutated, bool *accepted)
{
    clv_checkpoint *checkpoint = NULL;
    int64_t step;
    *accepted = false;
    if (clv_checkpoint_open(grid, s->path, &checkpoint) != CLV_OK)
        return strstr(clv_last_error(), s->path) ? NULL : "the message does not name the file";
    bool verified = clv_checkpoint_verify(checkpoint, NULL) == CLV_OK;
    bool loads = clv_checkpoint_load(checkpoint, TORTURE_MATRICES, s->model->named, NULL) == CLV_OK;
    clv_checkpoint_close(&checkpoint);
    *accepted = verified || loads;
    if (verified && !loads) return "verified, but does not load";
    if (verified && !same_image(mutated, &s->good[0]) && !same_image(mutated, &s->good[1]))
        return "verified, but bytes have changed";
    clv_status status = verified ? torture_check(s->model, s->path, &step)
                        : loads  ? torture_check_loaded(s->model, s->path, &step)
                                 : CLV_OK;
    return status == CLV_OK ? NULL : "loads, but with other values";
}

/* Bytes of an element by the format's name of its type; 0: unknown here. */
static int64_t element_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        int64_t bytes;
    } types[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},    {"I32", 4},
                 {"I16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, dtype) == 0) return types[i].bytes;
    return 0;
}

static const char *check_tensor(clv_safetensors *file, int i)
{
    clv_st_tensor t = clv_safetensors_at(file, i);
    int64_t elements = 1, size = element_bytes(t.dtype_name);
    if (t.ndims < 0 || t.ndims > 8) return "more than 8 extents";
    for (int d = 0; d < t.ndims; d++) {
        if (t.shape[d] < 0) return "a negative extent";
        elements *= t.shape[d];
    }
    if (size && elements * size != t.bytes) return "a range that is not shape x type";
    for (int k = 0; k < i; k++)
        if (strcmp(clv_safetensors_at(file, k).name, t.name) == 0) return "a name twice";
    if (t.dtype >= CLV_ST_I32 || t.ndims > 2) return NULL;
    int64_t n = t.ndims ? t.shape[t.ndims - 1] : 1, m = t.ndims == 2 ? t.shape[0] : 1;
    clv_block all = {.m = m, .n = n, .ld = n, .data = malloc((size_t)(m * n) * 8 + 1)};
    clv_status status = clv_safetensors_read(file, i, CLV_F64, all);
    free(all.data);
    return status == CLV_OK ? NULL : "a tensor that cannot be read";
}

static const char *read_safetensors(const subject *s, const image *mutated, bool *accepted)
{
    clv_safetensors *file = NULL;
    const char *complaint = NULL;
    uint64_t header = 0;
    int64_t bytes = 8;
    *accepted = clv_safetensors_open(s->path, &file) == CLV_OK;
    if (!*accepted)
        return strstr(clv_last_error(), s->path) ? NULL : "the message does not name the file";
    memcpy(&header, mutated->bytes, 8);
    for (int i = 0; i < clv_safetensors_count(file) && !complaint; i++) {
        complaint = check_tensor(file, i);
        bytes += clv_safetensors_at(file, i).bytes;
    }
    if (!complaint &&
        (header > (uint64_t)mutated->size || bytes + (int64_t)header != mutated->size))
        complaint = "header and tensors are not the file";
    clv_safetensors_close(&file);
    return complaint;
}

/* A step's file of a model, as bytes. */
static image save_image(torture_model *model, int64_t step)
{
    char path[PATH];
    try(torture_save(model, folder, step), folder);
    snprintf(path, sizeof path, "%s/step-%08lld.h5", folder, (long long)step);
    return read_image(path);
}

static void put_all(clv_safetensors_writer *writer, int i, clv_dtype dtype, int64_t m, int64_t n)
{
    clv_block all = {.m = m, .n = n, .ld = n};
    all.data = calloc((size_t)(m * n) + 1, 8);
    for (int64_t k = 0; k < m * n * (int64_t)clv_dtype_size(dtype); k++)
        ((unsigned char *)all.data)[k] = (unsigned char)(k % 61);
    try(clv_safetensors_put(writer, i, all), "put");
    free(all.data);
}

static image save_safetensors(int rows)
{
    char path[PATH];
    const clv_st_entry entries[] = {{"model.layers.0.self_attn.q_proj.weight", CLV_F32, 2, rows, 9},
                                    {"model.norm.weight", CLV_BF16, 1, 1, 33},
                                    {"ids", CLV_I32, 1, 1, 5},
                                    {"moment", CLV_F64, 2, 3, rows}};
    enum { COUNT = sizeof entries / sizeof *entries };
    clv_safetensors_writer *writer = NULL;
    snprintf(path, sizeof path, "%s/st", folder);
    try(clv_safetensors_begin(grid, path, COUNT, entries, 0, &writer), path);
    for (int i = 0; i < COUNT; i++)
        put_all(writer, i, entries[i].dtype, entries[i].m, entries[i].n);
    try(clv_safetensors_commit(&writer, CLV_OK), path);
    snprintf(path, sizeof path, "%s/st/model.safetensors", folder);
    return read_image(path);
}

enum { SUBJECTS = 3 };
static subject subjects[SUBJECTS] = {{.name = "a checkpoint", .read = read_checkpoint},
                                     {.name = "a large one", .read = read_checkpoint},
                                     {.name = "safetensors", .read = read_safetensors}};

static void make_subjects(void)
{
    try(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid), "grid");
    try(torture_create(grid, 1, &small), "model");
    try(torture_create(grid, 40, &large), "model"); /* of several tiles */
    for (int i = 0; i < 2; i++) {
        if (i == 1) sleep(1); /* were the time in a file, it would differ */
        subjects[0].good[i] = save_image(&small, 1 + i);
        subjects[1].good[i] = save_image(&large, 3 + i);
        subjects[2].good[i] = save_safetensors(6 + i);
    }
    subjects[0].model = &small;
    subjects[1].model = &large;
    for (int i = 0; i < SUBJECTS; i++)
        snprintf(subjects[i].path, PATH, "%s/mutated-%d%s", folder, i,
                 i == 2 ? ".safetensors" : ".h5");
}

/* ---- The child --------------------------------------------------------------------------- */

/* Two of four are small checkpoints; one of sixteen is a large one, which takes longer. */
static const subject *subject_of(uint64_t *state)
{
    int64_t draw = below(state, 16);
    return &subjects[draw == 0 ? 1 : draw < 10 ? 0 : 2];
}

static void mutate(int64_t number, image *x)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15u + (uint64_t)number;
    const subject *s = subject_of(&state);
    int64_t way = below(&state, MUTATIONS);
    bool accepted;
    snprintf(report->what, sizeof report->what, "%s, %s", s->name, mutations[way].name);
    copy_image(x, &s->good[0]);
    mutations[way].apply(x, &s->good[1], &state);
    put_image(s->path, x);
    const char *complaint = s->read(s, x, &accepted);
    ++*(accepted ? &report->accepted : &report->refused);
    if (!complaint) return;
    report->failures++;
    printf("FAILED: SEED=%llu, mutation %lld: %s: %s\n", (unsigned long long)seed,
           (long long)number, report->what, complaint);
}

static int work(int64_t end)
{
    image x = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    MPI_Init(NULL, NULL);
    make_subjects();
    while (report->next < end && report->failures < MOST_FAILURES) {
        mutate(report->next, &x);
        report->next++;
    }
    fflush(stdout);
    _exit(0);
}

/* ---- The parent -------------------------------------------------------------------------- */

/* Until the child ends; one that does nothing new for long is killed. Its status. */
static int watch(pid_t child)
{
    int status = 0;
    double idle = -10; /* seconds; it has to begin */
    for (int64_t seen = -1; waitpid(child, &status, WNOHANG) == 0; usleep(20000)) {
        idle = report->next == seen ? idle + 0.02 : report->next > 0 || seen > 0 ? 0 : -10;
        seen = report->next;
        if (idle > PATIENCE) kill(child, SIGALRM);
    }
    return status;
}

static int drop(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(path);
}

static int64_t number_in(const char *name, int64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? atoll(text) : otherwise;
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    if (!base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%.200s/cleave-mutate-XXXXXX", base);
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED || !mkdtemp(folder)) return 1;
    int64_t end = number_in("MUTATIONS", QUICK), deaths = 0;
    seed = (uint64_t)number_in("SEED", 1);
    while (report->next < end && report->failures < MOST_FAILURES) {
        pid_t child = fork();
        if (child == 0) work(end);
        int status = watch(child);
        if (status == 0) continue;
        report->failures++;
        deaths++;
        printf("FAILED: SEED=%llu, mutation %lld: %s: %s %d\n", (unsigned long long)seed,
               (long long)report->next, report->what,
               WIFSIGNALED(status) ? "killed by signal" : "ended with status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        report->next++;
    }
    if (report->failures)
        printf("the files are in %s\n", folder);
    else
        nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS);
    if (report->refused * 2 < report->next) {
        report->failures++;
        printf("FAILED: only %lld of %lld were refused\n", (long long)report->refused,
               (long long)report->next);
    }
    printf("%s mutate: %lld mutations: %lld refused, %lld accepted, %lld failures, %lld deaths\n",
           report->failures ? "FAILED" : "DONE", (long long)report->next,
           (long long)report->refused, (long long)report->accepted, (long long)report->failures,
           (long long)deaths);
    return report->failures != 0;
}
