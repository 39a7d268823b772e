/* SPDX-License-Identifier: BSD-3-Clause
 *
 * view.c: a file's bytes as memory are what was written, wherever windows and pages end; a file
 * that is cut short or changed under a view is an error and not a signal; other faults stay whose
 * they were.
 *
 * RANKS: 1
 */
#include "check.h"

#include <clvi_io.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTES = (20 << 20) + 123 };

static char path[64];

static unsigned char byte_at(int64_t at)
{
    return (unsigned char)(at * 7 + (at >> 12) * 13 + (at >> 20));
}

static clvi_file begin(void)
{
    unsigned char *all = malloc(BYTES);
    clvi_file file;
    strcpy(path, "/tmp/cleave-test-XXXXXX");
    int fd = mkstemp(path);
    for (int64_t i = 0; i < BYTES; i++) all[i] = byte_at(i);
    for (size_t put = 0; put < BYTES;) {
        ssize_t more = write(fd, all + put, BYTES - put);
        if (!CHECK(more > 0)) break;
        put += (size_t)more;
    }
    close(fd);
    free(all);
    CHECK_OK(clvi_file_open(path, false, &file));
    return file;
}

static void end(clvi_file *file)
{
    CHECK_OK(clvi_file_close(file));
    unlink(path);
}

typedef struct {
    int64_t offset;
    size_t bytes;
    int calls, shared, wrong;
    bool cut; /* the file, before its bytes are looked at */
} look;

static clv_status look_at(const void *data, bool shared, void *context)
{
    look *l = context;
    l->calls++;
    l->shared += shared;
    if (l->cut) CHECK_INT(truncate(path, 5000), 0);
    for (size_t i = 0; i < l->bytes; i++)
        l->wrong += ((const unsigned char *)data)[i] != byte_at(l->offset + (int64_t)i);
    return l->wrong ? CLV_ECORRUPT : CLV_OK;
}

static void all_bytes(void)
{
    static const int64_t edges[] = {
        0, 1, 4095, 4096, (8 << 20) - 1, (8 << 20) - 100000, 9 << 20, (16 << 20) + 4095};
    clvi_file file = begin();
    clvi_view view;
    CHECK_OK(clvi_view_open(&file, &view));
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        for (size_t bytes = 1; bytes <= CLVI_TILE; bytes = bytes * 17 + (bytes == 1)) {
            look l = {edges[i], bytes, 0, 0, 0, false};
            CHECK_OK(clvi_view_use(&view, edges[i], bytes, look_at, &l));
            CHECK_INT(l.wrong, 0);
            CHECK_INT(l.calls, 1);
        }
    look last = {BYTES - CLVI_TILE, CLVI_TILE, 0, 0, 0, false};
    CHECK_OK(clvi_view_use(&view, last.offset, last.bytes, look_at, &last));
    look whole = {0, CLVI_TILE, 0, 0, 0, false}; /* backwards: the window moves */
    CHECK_OK(clvi_view_use(&view, 0, whole.bytes, look_at, &whole));
    CHECK_OK(clvi_view_close(&view));
    end(&file);
}

/* What cannot be mapped is read: /proc has files that are nowhere before they are read. */
static void unmapped(void)
{
    clvi_file file;
    clvi_view view;
    CHECK_OK(clvi_file_open("/proc/version", false, &file));
    CHECK_OK(clvi_view_open(&file, &view));
    look l = {0, 0, 0, 0, 0, false};
    CHECK_OK(clvi_view_use(&view, 0, 5, look_at, &l));
    CHECK_INT(l.calls, 1);
    CHECK_INT(l.shared, 0);
    CHECK_OK(clvi_view_close(&view));
    CHECK_OK(clvi_file_close(&file));
}

static void cut_short(void)
{
    clvi_file file = begin();
    clvi_view view;
    CHECK_OK(clvi_view_open(&file, &view));
    look l = {10 << 20, CLVI_TILE, 0, 0, 0, true};
    CHECK_STATUS(clvi_view_use(&view, l.offset, l.bytes, look_at, &l), CLV_ECORRUPT);
    if (l.shared) CHECK(strstr(clv_last_error(), "found the end after"));
    CHECK_STATUS(clvi_view_use(&view, l.offset, l.bytes, look_at, &l), CLV_ECORRUPT);
    CHECK_INT(l.calls, 1);
    CHECK_STATUS(clvi_view_close(&view), CLV_ECORRUPT);
    CHECK(strstr(clv_last_error(), "changed while it was read"));
    end(&file);
}

static void changed(void)
{
    clvi_file file = begin();
    clvi_view view;
    CHECK_OK(clvi_view_open(&file, &view));
    usleep(20000); /* clocks of file systems are coarse */
    int fd = open(path, O_WRONLY);
    CHECK_INT(pwrite(fd, "x", 1, 100), 1);
    close(fd);
    CHECK_STATUS(clvi_view_close(&view), CLV_ECORRUPT);
    CHECK(strstr(clv_last_error(), "changed while it was read"));
    CHECK_OK(clvi_view_open(&file, &view)); /* and is what it is from then on */
    CHECK_OK(clvi_view_close(&view));
    end(&file);
}

static volatile sig_atomic_t faults;

static void count_fault(int signal)
{
    (void)signal;
    faults++;
}

static void others_faults(void)
{
    clvi_file file = begin();
    clvi_view first, second;
    struct sigaction now, theirs = {.sa_handler = count_fault};
    sigemptyset(&theirs.sa_mask);
    sigaction(SIGBUS, &theirs, NULL);
    CHECK_OK(clvi_view_open(&file, &first));
    CHECK_OK(clvi_view_open(&file, &second));
    raise(SIGBUS);
    CHECK_OK(clvi_view_close(&first));
    raise(SIGBUS);
    CHECK_INT(faults, 2);
    CHECK_OK(clvi_view_close(&second));
    CHECK_INT(sigaction(SIGBUS, NULL, &now), 0);
    CHECK(now.sa_handler == count_fault);
    signal(SIGBUS, SIG_DFL);
    end(&file);
}

const check_case check_cases[] = {{"all bytes", all_bytes},          {"unmapped", unmapped},
                                  {"cut short", cut_short},          {"changed", changed},
                                  {"others' faults", others_faults}, {0}};
