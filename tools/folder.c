/* SPDX-License-Identifier: BSD-3-Clause
 *
 * folder.c: whether a folder's file system does what a checkpoint's commit relies on: tried, not
 * only looked up.
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- What it is ------------------------------------------------------------------------ */

/* Types by statfs's f_type (man 2 statfs), and what is to be known of them; NULL: nothing. */
static const struct {
    unsigned type;
    const char *name, *advice;
} types[] = {
    {0xef53, "ext4", NULL},
    {0x58465342, "xfs", NULL},
    {0x9123683e, "btrfs", NULL},
    {0x2fc12fc1, "zfs", NULL},
    {0xf2f52010, "f2fs", NULL},
    {0x01021994, "tmpfs", "it is memory: checkpoints are gone after a restart; save to a disk"},
    {0x794c7630, "overlay",
     "a container's own layer goes with the container; mount a volume for checkpoints"},
    {0x6969, "nfs",
     "mount it hard and with locks (not nolock, not soft), for all ranks the same; one that is "
     "exported async loses what was synced when the server crashes"},
    {0x0bd00bd0, "lustre",
     "mount it with -o flock, or nobody cleans up after dead runs; stripe the folder over several "
     "targets (lfs setstripe -c -1 DIR)"},
    {0xff534d42, "cifs", "renaming over an open file can fail there; save to another file system"},
    {0xfe534d42, "smb2", "renaming over an open file can fail there; save to another file system"},
    {0x65735546, "fuse", "what lasts depends on the program behind it; save to a disk if in doubt"},
    {0x47504653, "gpfs", NULL},
    {0x19830326, "beegfs", "file locks are off by default: tuneUseGlobalFileLocks = true"},
    {0x00c36400, "ceph", NULL},
    {0x01021997, "9p", "what lasts depends on the host; save to a volume if in doubt"},
    {0, NULL, NULL},
};

static void check_type(const char *dir, teller tell)
{
    struct statfs info;
    int i = 0;
    if (statfs(dir, &info)) return;
    while (types[i].name && types[i].type != (unsigned)info.f_type) i++;
    if (types[i].name)
        tell(types[i].advice ? ADVICE : GOOD, "files", types[i].advice, "%s is on %s", dir,
             types[i].name);
    else
        tell(ADVICE, "files", "Cleave was not tried there; look at the lines below",
             "%s is on a file system of type %#x", dir, (unsigned)info.f_type);
}

static void check_free(const char *dir, teller tell)
{
    static const double mib = 1 << 20;
    struct statvfs room;
    if (statvfs(dir, &room)) return;
    double free = (double)room.f_bavail * (double)room.f_frsize / mib;
    double all = (double)room.f_blocks * (double)room.f_frsize / mib;
    tell(free < all / 20 ? ADVICE : GOOD, "room", "less than a twentieth is free: train --keep N",
         "%.0f MiB, %.0f MiB free", all, free);
}

/* ---- What it does ------------------------------------------------------------------------ */

typedef struct {
    char first[4200], second[4300]; /* paths of two test files */
    int fd;
} trial;

static bool is_full(int error)
{
    return error == ENOSPC || error == EDQUOT;
}

/* What to do about a failed call; fix: where its reason tells nothing else. */
static const char *remedy(int error, const char *fix)
{
    return is_full(error)    ? "the disk is full, or what of it is yours: make room"
           : error == ENOENT ? "make the folder first: mkdir -p"
                             : fix;
}

/* Another process's lock, as far as one process can have it: of another open file. */
static void check_locks(const trial *t, teller tell)
{
    static const char *const fix =
        "without locks what crashed runs leave is not removed, and two runs "
        "can save into one folder: mount with locks, or take care";
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET}, again = lock;
    int other = open(t->first, O_RDWR | O_CLOEXEC);
    bool held = fcntl(t->fd, F_OFD_SETLK, &lock) == 0;
    int error = errno;
    bool kept = held && other >= 0 && fcntl(other, F_OFD_SETLK, &again) != 0;
    if (other >= 0) close(other);
    tell(kept ? GOOD : ADVICE, "locks", fix, "%s",
         kept   ? "files can be locked"
         : held ? "two locks of one file are granted at once"
                : strerror(error));
}

static void check_reserve(const trial *t, teller tell)
{
    static const char *const fix =
        "a full disk is found while writing, not before; the save fails cleanly all the same";
    bool reserved = fallocate(t->fd, 0, 0, 1 << 20) == 0;
    int error = reserved ? 0 : errno;
    tell(reserved         ? GOOD
         : is_full(error) ? BROKEN
                          : ADVICE,
         "reserve", remedy(error, fix), "room %s be reserved%s%s", reserved ? "can" : "cannot",
         reserved ? "" : ": ", reserved ? "" : strerror(error));
    int direct = open(t->first, O_WRONLY | O_DIRECT | O_CLOEXEC);
    tell(GOOD, "direct", NULL, "writes %s past the page cache", direct >= 0 ? "go" : "do not go");
    if (direct >= 0) close(direct);
}

/* What a commit does at its end: sync, rename over a file that is there, sync the folder. */
static void check_commit(const trial *t, const char *dir, teller tell)
{
    static const char *const fix = "a crash there can lose or tear a checkpoint: save elsewhere";
    const char *what = NULL;
    int target = open(t->second, O_RDWR | O_CREAT | O_CLOEXEC, 0666), error = 0;
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target < 0 || write(t->fd, "x", 1) != 1)
        what = "write", error = errno;
    else if (fsync(t->fd))
        what = "sync a file", error = errno;
    else if (rename(t->first, t->second))
        what = "rename over a file", error = errno;
    else if (folder < 0 || fsync(folder))
        what = "sync the folder", error = errno;
    tell(what ? BROKEN : GOOD, "commit", remedy(error, fix), "%s%s%s%s", what ? "cannot " : "",
         what ? what : "", what ? ": " : "files and names can be synced, and renamed over others",
         what ? strerror(error) : "");
    if (target >= 0) close(target);
    if (folder >= 0) close(folder);
}

void folder_check(const char *dir, bool asked, teller tell)
{
    trial t = {.fd = -1};
    snprintf(t.first, sizeof t.first, "%.4000s/.cleave-doctor-XXXXXX", dir);
    t.fd = mkstemp(t.first);
    if (t.fd < 0) {
        tell(asked ? BROKEN : ADVICE, "folder", remedy(errno, "save checkpoints elsewhere"),
             "%s cannot be written: %s", dir, strerror(errno));
        return;
    }
    snprintf(t.second, sizeof t.second, "%s-2", t.first);
    check_type(dir, tell);
    check_free(dir, tell);
    check_locks(&t, tell);
    check_reserve(&t, tell);
    check_commit(&t, dir, tell);
    close(t.fd);
    unlink(t.first);
    unlink(t.second);
}
