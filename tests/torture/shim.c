/* SPDX-License-Identifier: BSD-3-Clause */
#include "shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

const char *const shim_fault_names[SHIM_FAULTS] = {"EIO", "ENOSPC", "short write", "EINTR"};

enum { MOST_FILES = 4096, MOST_FOLDERS = 16, PATH = 512 };

static struct {
    atomic_bool armed;
    const char *folder;
    shim_fault fault;
    atomic_int_fast64_t left; /* calls until the one that is struck */
    const char *_Atomic struck;
    atomic_bool vital;
    atomic_bool ours[MOST_FILES];      /* descriptors of files in the folder */
    char unsynced[MOST_FOLDERS][PATH]; /* folders with new names; "": a free place */
} shim;

void shim_arm(const char *folder, int64_t nth, shim_fault fault)
{
    shim.folder = folder;
    shim.fault = fault;
    shim.struck = NULL;
    shim.vital = false;
    shim.left = nth;
    for (int fd = 0; fd < MOST_FILES; fd++) shim.ours[fd] = false;
    memset(shim.unsynced, 0, sizeof shim.unsynced);
    shim.armed = true;
}

const char *shim_disarm(bool *vital)
{
    shim.armed = false;
    *vital = shim.vital;
    return shim.struck;
}

const char *shim_unsynced(void)
{
    for (int i = 0; i < MOST_FOLDERS; i++)
        if (shim.unsynced[i][0]) return shim.unsynced[i];
    return NULL;
}

/* ---- Names -------------------------------------------------------------------------------- */

static void sync_names(const char *folder)
{
    for (int i = 0; i < MOST_FOLDERS; i++)
        if (strcmp(shim.unsynced[i], folder) == 0) shim.unsynced[i][0] = 0;
}

/* The calling thread alone changes names: rank 0 does it stage by stage. */
static void note_name(const char *path)
{
    char folder[PATH];
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    while (length > 1 && path[length - 1] != '/') length--;
    while (length > 1 && path[length - 1] == '/') length--;
    snprintf(folder, sizeof folder, "%.*s", (int)length, path);
    sync_names(folder);
    for (int i = 0; i < MOST_FOLDERS; i++)
        if (!shim.unsynced[i][0]) {
            strcpy(shim.unsynced[i], folder);
            return;
        }
}

static void note_sync(int fd)
{
    char link[64], folder[PATH];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, folder, sizeof folder - 1);
    if (length > 0) folder[length] = 0, sync_names(folder);
}

/* ---- What happens to a call ----------------------------------------------------------- */

/* Kinds of calls: what a fault of them means. */
enum { NEEDS_ROOM = 1, VITAL = 2 };

static bool is_ours(const char *path)
{
    return shim.armed && strncmp(path, shim.folder, strlen(shim.folder)) == 0;
}

static bool is_open(int fd)
{
    return shim.armed && fd >= 0 && fd < MOST_FILES && shim.ours[fd];
}

/* Counts a call that is about the folder; the error it has to fail with, 0: none, -1: to be cut
 * short. */
static int fault_of(bool about, const char *call, int kind)
{
    static const int errors[SHIM_FAULTS] = {EIO, ENOSPC, -1, EINTR};
    if (!about) return 0;
    bool full = shim.fault == SHIM_ENOSPC && shim.struck && (kind & NEEDS_ROOM);
    if (atomic_fetch_sub(&shim.left, 1) != 1 && !full) return 0;
    if (!shim.struck) shim.struck = call;
    if (kind & VITAL) shim.vital = true;
    return errors[shim.fault];
}

/* Returns -1 from the caller, with its error, if the call is struck. */
#define STRIKE(about, kind)                              \
    do {                                                 \
        int error = fault_of((about), __func__, (kind)); \
        if (error > 0) {                                 \
            errno = error;                               \
            return -1;                                   \
        }                                                \
    } while (0)

/* The system's own function. */
#define REAL(name)                 \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* ---- Calls ---------------------------------------------------------------------------- */

#define EXPORT __attribute__((visibility("default")))

EXPORT int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    bool ours = is_ours(path);
    STRIKE(ours, flags & O_CREAT ? NEEDS_ROOM : 0);
    int fd = real(path, flags, mode);
    if (fd >= 0 && fd < MOST_FILES) shim.ours[fd] = ours;
    return fd;
}

/* Closes it in any case, as Linux does. */
EXPORT int close(int fd)
{
    REAL(close);
    bool ours = is_open(fd);
    if (ours) shim.ours[fd] = false;
    int code = real(fd);
    STRIKE(ours, 0);
    return code;
}

EXPORT ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    REAL(pwrite);
    int error = fault_of(is_open(fd), __func__, NEEDS_ROOM | VITAL);
    if (error < 0 && bytes > 1) bytes /= 2;
    if (error <= 0) return real(fd, data, bytes, offset);
    errno = error;
    return -1;
}

EXPORT ssize_t write(int fd, const void *data, size_t bytes)
{
    REAL(write);
    int error = fault_of(is_open(fd), __func__, NEEDS_ROOM | VITAL);
    if (error < 0 && bytes > 1) bytes /= 2;
    if (error <= 0) return real(fd, data, bytes);
    errno = error;
    return -1;
}

EXPORT ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    REAL(pwritev);
    int error = fault_of(is_open(fd), __func__, NEEDS_ROOM | VITAL);
    if (error < 0 && count > 1) count /= 2;
    if (error <= 0) return real(fd, pieces, count, offset);
    errno = error;
    return -1;
}

EXPORT ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    REAL(pread);
    int error = fault_of(is_open(fd), __func__, VITAL);
    if (error < 0 && bytes > 1) bytes /= 2;
    if (error <= 0) return real(fd, data, bytes, offset);
    errno = error;
    return -1;
}

EXPORT int fsync(int fd)
{
    REAL(fsync);
    STRIKE(is_open(fd), VITAL);
    int code = real(fd);
    if (code == 0 && is_open(fd)) note_sync(fd);
    return code;
}

EXPORT int fdatasync(int fd)
{
    REAL(fdatasync);
    STRIKE(is_open(fd), VITAL);
    return real(fd);
}

EXPORT int ftruncate(int fd, off_t bytes)
{
    REAL(ftruncate);
    STRIKE(is_open(fd), VITAL);
    return real(fd, bytes);
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    REAL(fallocate);
    STRIKE(is_open(fd), NEEDS_ROOM | VITAL);
    return real(fd, mode, offset, bytes);
}

/* Returns its error. */
EXPORT int posix_fallocate(int fd, off_t offset, off_t bytes)
{
    REAL(posix_fallocate);
    int error = fault_of(is_open(fd), __func__, NEEDS_ROOM | VITAL);
    return error > 0 ? error : real(fd, offset, bytes);
}

/* Only locks. */
EXPORT int fcntl(int fd, int command, ...)
{
    REAL(fcntl);
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    STRIKE(is_open(fd) && command == F_OFD_SETLK, 0);
    return real(fd, command, argument);
}

EXPORT int unlink(const char *path)
{
    REAL(unlink);
    STRIKE(is_ours(path), 0);
    return real(path);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    STRIKE(is_ours(path), NEEDS_ROOM);
    int code = real(path, mode);
    if (code == 0 && is_ours(path)) note_name(path);
    return code;
}

EXPORT DIR *opendir(const char *path)
{
    REAL(opendir);
    int error = fault_of(is_ours(path), __func__, 0);
    if (error <= 0) return real(path);
    errno = error;
    return NULL;
}

EXPORT int rename(const char *from, const char *to)
{
    REAL(rename);
    STRIKE(is_ours(to), VITAL);
    int code = real(from, to);
    if (code == 0 && is_ours(to)) note_name(to);
    return code;
}
