/* SPDX-License-Identifier: BSD-3-Clause
 *
 * file.c: whole reads and writes at an offset, and names that last. Every failure names the file,
 * what was tried and the system's reason.
 */
#include <clvi_io.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Bytes of one write. A file system holds the file's lock for all of a call, and processes that
 * wait for it spin: two that wrote 256 MiB in one call each took ten times as long as in calls of 4
 * MiB. */
enum { WRITE_PIECE = 4 << 20 };

static clv_status failed(const char *path, const char *verb)
{
    return clvi_fail(errno == ENOENT ? CLV_ENOTFOUND : CLV_EIO, "%s: cannot %s: %s", path, verb,
                     strerror(errno));
}

/* open, for as long as it is interrupted. */
static int opened(const char *path, int flags)
{
    int fd;
    do fd = open(path, flags | O_CLOEXEC, 0666);
    while (fd < 0 && errno == EINTR);
    return fd;
}

clv_status clvi_file_open(const char *path, bool writable, clvi_file *file)
{
    struct stat info;
    clv_status status = CLV_OK;
    *file = (clvi_file){.fd = -1, .path = path};
    /* O_NONBLOCK: a pipe that nobody writes to must not hang the open. */
    int fd = opened(path, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = failed(path, "open");
        goto done;
    }
    CLVI_CHECK(!S_ISDIR(info.st_mode), CLV_EFORMAT, "%s: expected a file, found a directory", path);
    CLVI_CHECK(S_ISREG(info.st_mode), CLV_EFORMAT, "%s: expected a file, found a pipe or device",
               path);
    file->fd = fd;
    file->bytes = info.st_size;
done:
    if (status != CLV_OK && fd >= 0) close(fd);
    return status;
}

/* Locks of the open file description: they end with the process however it ends, across process
 * namespaces too, and do not meet HDF5's own flock. */
static const struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

typedef enum { HELD, TAKEN, NO_LOCKS } lock_result;

/* Takes the lock of an open file. TAKEN too where path no longer names the file: who held the lock
 * before has removed it. */
static lock_result take_lock(int fd, const char *path)
{
    struct flock lock = whole_file;
    struct stat mine, named;
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
        return errno == EAGAIN || errno == EACCES ? TAKEN : NO_LOCKS;
    bool same = fstat(fd, &mine) == 0 && stat(path, &named) == 0 && mine.st_ino == named.st_ino &&
                mine.st_dev == named.st_dev;
    return same ? HELD : TAKEN;
}

void clvi_file_remove_abandoned(const char *path)
{
    int fd = opened(path, O_RDWR | O_NONBLOCK);
    if (fd < 0) return;
    if (take_lock(fd, path) == HELD) unlink(path);
    close(fd);
}

/* Only O_EXCL makes the file this writer's. One that a dead writer left makes way first; where a
 * cleaner is faster than the lock, the file is gone and made again. */
clv_status clvi_file_create_locked(const char *path, clvi_file *file)
{
    *file = (clvi_file){.fd = -1, .path = path};
    for (int tries = 0; tries < 3; tries++) {
        int fd = opened(path, O_RDWR | O_CREAT | O_EXCL);
        if (fd < 0 && errno != EEXIST) return failed(path, "create");
        if (fd < 0) {
            clvi_file_remove_abandoned(path);
        } else if (take_lock(fd, path) == TAKEN) {
            close(fd);
        } else { /* without locks nobody removes it either */
            file->fd = fd;
            return CLV_OK;
        }
    }
    return clvi_fail(CLV_EIO, "%s: cannot create: another process writes it", path);
}

void clvi_temporary_suffix(char suffix[CLVI_SUFFIX])
{
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof host - 1);
    snprintf(suffix, CLVI_SUFFIX, ".tmp-%.32s-%lld", host, (long long)getpid());
}

clv_status clvi_file_close(clvi_file *file)
{
    int fd = file->fd;
    file->fd = -1; /* an interrupted close has closed it all the same */
    return fd < 0 || close(fd) == 0 || errno == EINTR ? CLV_OK
                                                      : failed(file->path, "finish writing");
}

clv_status clvi_file_read(const clvi_file *file, void *data, size_t bytes, int64_t offset)
{
    for (size_t at = 0; at < bytes;) {
        ssize_t got = pread(file->fd, (char *)data + at, bytes - at, offset + (int64_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failed(file->path, "read");
        if (got == 0)
            return clvi_fail(CLV_ECORRUPT,
                             "%s: expected at least %lld bytes, found the end after %lld",
                             file->path, (long long)offset + (long long)bytes,
                             (long long)offset + (long long)at);
        at += (size_t)got;
    }
    return CLV_OK;
}

clv_status clvi_file_write(const clvi_file *file, const void *data, size_t bytes, int64_t offset)
{
    for (size_t at = 0; at < bytes;) {
        size_t piece = bytes - at < WRITE_PIECE ? bytes - at : WRITE_PIECE;
        ssize_t put = pwrite(file->fd, (const char *)data + at, piece, offset + (int64_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return failed(file->path, "write");
        at += (size_t)put;
    }
    return CLV_OK;
}

/* fsync, for as long as it is interrupted. */
static bool synced(int fd)
{
    int code;
    do code = fsync(fd);
    while (code != 0 && errno == EINTR);
    return code == 0;
}

clv_status clvi_file_sync(const clvi_file *file)
{
    return synced(file->fd) ? CLV_OK : failed(file->path, "sync");
}

/* What the file lacks of so many bytes must be free. Some file systems do not say. */
static clv_status check_room(const clvi_file *file, int64_t bytes)
{
    struct statvfs room;
    struct stat info;
    if (fstatvfs(file->fd, &room) != 0 || room.f_blocks == 0 || fstat(file->fd, &info) != 0)
        return CLV_OK;
    int64_t lacking = bytes - (int64_t)info.st_blocks * 512;
    double there = (double)room.f_bavail * (double)room.f_frsize;
    if ((double)lacking <= there) return CLV_OK;
    return clvi_fail(CLV_EIO, "%s: expected %lld bytes free on its file system, found %.0f",
                     file->path, (long long)lacking, there);
}

clv_status clvi_file_reserve(const clvi_file *file, int64_t bytes)
{
    clv_status status;
    int code;
    CLVI_TRY(check_room(file, bytes));
    do code = fallocate(file->fd, 0, 0, bytes);
    while (code != 0 && errno == EINTR);
    if (code != 0 && errno == EOPNOTSUPP) code = ftruncate(file->fd, bytes);
    CLVI_CHECK(code == 0, CLV_EIO, "%s: cannot reserve %lld bytes: %s", file->path,
               (long long)bytes, strerror(errno));
done:
    return status;
}

/* The length of "DIR/" in path; 0 without one. */
static int folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash - path) + 1 : 0;
}

/* The folder of path in new memory; NULL if there is none. */
static char *folder_of(const char *path)
{
    int length = folder_length(path);
    return clvi_format("%.*s", length ? length : 1, length ? path : ".");
}

clv_status clvi_file_sync_folder(const char *path)
{
    clv_status status = CLV_OK;
    int fd = -1;
    char *folder = folder_of(path);
    CLVI_CHECK(folder, CLV_ENOMEM, "%s: name of its folder", path);
    fd = opened(folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0 || !synced(fd)) status = failed(folder, "sync");
    if (fd >= 0) close(fd);
done:
    clvi_free(folder);
    return status;
}

/* Of a folder, whose name may end in slashes. */
static clv_status sync_parent(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    char *bare = clvi_format("%.*s", (int)length, path);
    clv_status status =
        bare ? clvi_file_sync_folder(bare) : clvi_fail(CLV_ENOMEM, "%s: name of its folder", path);
    clvi_free(bare);
    return status;
}

clv_status clvi_folder_make(const char *path)
{
    struct stat info;
    int code, error;
    do code = mkdir(path, 0777);
    while (code != 0 && errno == EINTR);
    if (code == 0) return sync_parent(path);
    error = errno;
    if (stat(path, &info) == 0) return CLV_OK;
    return clvi_fail(CLV_EIO, "%s: cannot make the folder: %s", path, strerror(error));
}

clv_status clvi_file_rename(const char *from, const char *to)
{
    int code;
    do code = rename(from, to);
    while (code != 0 && errno == EINTR);
    if (code != 0)
        return clvi_fail(CLV_EIO, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    return clvi_file_sync_folder(to);
}

clv_status clvi_file_remove(const char *path)
{
    int code;
    do code = unlink(path);
    while (code != 0 && errno == EINTR);
    if (code == 0 || errno == ENOENT) return CLV_OK;
    return clvi_fail(CLV_EIO, "%s: cannot remove: %s", path, strerror(errno));
}

/* opendir, for as long as it is interrupted. */
static DIR *listed(const char *dir)
{
    DIR *list;
    do list = opendir(dir);
    while (!list && errno == EINTR);
    return list;
}

clv_status clvi_each_file(const char *dir, const char *pattern,
                          clv_status (*action)(void *context, const char *path), void *context)
{
    clv_status status = CLV_OK;
    DIR *list = listed(dir);
    CLVI_CHECK(list, CLV_EIO, "%s: cannot list: %s", dir, strerror(errno));
    for (struct dirent *entry; errno = 0, status == CLV_OK && (entry = readdir(list));) {
        if (fnmatch(pattern, entry->d_name, FNM_PERIOD | FNM_EXTMATCH) != 0) continue;
        char *path = clvi_format("%s/%s", dir, entry->d_name);
        status = path ? action(context, path) : clvi_fail(CLV_ENOMEM, "%s: name of a file", dir);
        clvi_free(path);
    }
    if (status == CLV_OK && errno != 0)
        status = clvi_fail(CLV_EIO, "%s: cannot list: %s", dir, strerror(errno));
done:
    if (list) closedir(list);
    return status;
}

static clv_status remove_leftover(void *context, const char *path)
{
    (void)context;
    clvi_file_remove_abandoned(path);
    return CLV_OK;
}

/* A pattern of the names that a folder has together: those of a run, those of a model; any other is
 * alone. In new memory; NULL if there is none. */
static char *kin_of(const char *name)
{
    static const char *const kinds[] = {"@(step-*.h5|latest)", "model*.safetensors*"};
    for (int i = 0; i < 2; i++)
        if (fnmatch(kinds[i], name, FNM_EXTMATCH) == 0) return clvi_format("%s", kinds[i]);
    char *pattern = clvi_alloc(2 * strlen(name) + 1), *end = pattern;
    for (; pattern && *name; *end++ = *name++)
        if (strchr("\\*?[(", *name)) *end++ = '\\';
    return pattern;
}

/* Of path and its kin. Where the folder cannot be listed, they stay. */
static void remove_leftovers(const char *path)
{
    char *folder = folder_of(path), *kin = kin_of(path + folder_length(path));
    char *pattern = kin ? clvi_format(".%s.tmp-*-*", kin) : NULL;
    if (folder && pattern) clvi_each_file(folder, pattern, remove_leftover, NULL);
    clvi_free(pattern);
    clvi_free(kin);
    clvi_free(folder);
}

clv_status clvi_file_prepare(const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return clvi_fail(CLV_EIO, "%s: expected a file or nothing there, found something else",
                         path);
    remove_leftovers(path); /* their room may be needed */
    return CLV_OK;
}

char *clvi_format(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = length < 0 ? NULL : clvi_alloc((size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

char *clvi_hidden_name(const char *path, const char *suffix)
{
    int length = folder_length(path);
    return clvi_format("%.*s.%s%s", length, path, path + length, suffix);
}
