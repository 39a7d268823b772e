/* SPDX-License-Identifier: BSD-3-Clause
 *
 * view.c: the bytes of a file as memory.
 *
 * The file is mapped, a window at a time: nothing is copied before it is used, and neighbours share
 * the pages, so that what one of them has checked is what the others see. Pages are populated
 * before they are touched: one that cannot be read is then an error and not a signal. What cannot
 * be mapped or populated is read into a buffer, which also says what is wrong.
 *
 * A page can still go away under its user, where another program cuts the file short. That is
 * SIGBUS; while views are open a handler turns it back into what a read would have said, and leaves
 * all other faults to whoever had the signal before.
 */
#include <clvi_io.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 8 << 20 }; /* bytes from one mapping to the next; each has a tile more */

/* ---- Pages that go away ---------------------------------------------------------------- */

/* What this thread uses now; initial-exec: a handler must not allocate. */
static _Thread_local struct {
    const char *begin, *end;
    sigjmp_buf *gone; /* where to go on; NULL: nothing is in use */
} in_use __attribute__((tls_model("initial-exec")));

static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;
static int guard_users;
static struct sigaction before; /* whose signal it was */

static void on_fault(int signal, siginfo_t *info, void *context)
{
    const char *at = info->si_addr;
    if (in_use.gone && at >= in_use.begin && at < in_use.end) siglongjmp(*in_use.gone, 1);
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(signal, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(signal);
    else
        sigaction(SIGBUS, &before, NULL); /* the fault comes again, to it */
}

static void guard_begin(void)
{
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigemptyset(&ours.sa_mask);
    pthread_mutex_lock(&guard_lock);
    if (guard_users++ == 0) sigaction(SIGBUS, &ours, &before);
    pthread_mutex_unlock(&guard_lock);
}

static void guard_end(void)
{
    struct sigaction now;
    pthread_mutex_lock(&guard_lock);
    bool last = --guard_users == 0 && sigaction(SIGBUS, NULL, &now) == 0;
    if (last && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)
        sigaction(SIGBUS, &before, NULL);
    pthread_mutex_unlock(&guard_lock);
}

/* Whether all of the bytes stayed until `use` was done with them; its status in *result. */
static bool use_guarded(const void *data, size_t bytes, clvi_use *use, void *context,
                        clv_status *result)
{
    sigjmp_buf gone;
    if (sigsetjmp(gone, 1)) {
        in_use.gone = NULL;
        return false;
    }
    in_use.begin = data;
    in_use.end = in_use.begin + bytes;
    in_use.gone = &gone;
    *result = use(data, true, context);
    in_use.gone = NULL;
    return true;
}

/* ---- Windows --------------------------------------------------------------------------- */

static void unmap(clvi_view *view)
{
    if (view->window) munmap(view->window, (size_t)(view->end - view->begin));
    view->window = NULL;
}

/* Maps around the bytes: windows begin at multiples of their size, wherever their use begins. */
static bool map(clvi_view *view, int64_t begin, int64_t end)
{
    if (view->window && begin >= view->begin && end <= view->end) return true;
    unmap(view);
    view->begin = begin / WINDOW * WINDOW;
    view->end = view->begin + WINDOW + CLVI_TILE;
    void *window = mmap(NULL, (size_t)(view->end - view->begin), PROT_READ, MAP_SHARED,
                        view->file->fd, view->begin);
    view->window = window == MAP_FAILED ? NULL : window;
    return view->window;
}

/* The bytes in memory, every page of them there; NULL where that cannot be. */
static const char *populated(clvi_view *view, int64_t offset, size_t bytes)
{
#ifdef MADV_POPULATE_READ
    int64_t page = sysconf(_SC_PAGESIZE), first = offset / page * page;
    int64_t end = offset + (int64_t)bytes;
    if (map(view, offset, end) && madvise(view->window + (first - view->begin),
                                          (size_t)(end - first), MADV_POPULATE_READ) == 0)
        return view->window + (offset - view->begin);
#else
    (void)view, (void)offset, (void)bytes;
#endif
    return NULL;
}

/* ---- Views -------------------------------------------------------------------------------- */

static clv_status state_of(const clvi_file *file, clvi_file_state *state)
{
    clv_status status = CLV_OK;
    struct stat info;
    CLVI_CHECK(fstat(file->fd, &info) == 0, CLV_EIO, "%s: expected an open file, found none",
               file->path);
    *state = (clvi_file_state){info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
done:
    return status;
}

clv_status clvi_view_open(const clvi_file *file, clvi_view *view)
{
    *view = (clvi_view){.file = file};
    guard_begin();
    return state_of(file, &view->state);
}

clv_status clvi_view_use(clvi_view *view, int64_t offset, size_t bytes, clvi_use *use,
                         void *context)
{
    clv_status status = CLV_OK;
    const char *data = populated(view, offset, bytes);
    if (data && use_guarded(data, bytes, use, context, &status)) return status;
    if (!view->buffer) view->buffer = clvi_alloc(CLVI_TILE);
    CLVI_CHECK(view->buffer, CLV_ENOMEM, "%s: a buffer to read", view->file->path);
    CLVI_TRY(clvi_file_read(view->file, view->buffer, bytes, offset));
    status = use(view->buffer, false, context);
done:
    return status;
}

clv_status clvi_view_close(clvi_view *view)
{
    clv_status status = CLV_OK;
    clvi_file_state now;
    if (!view->file) return status;
    CLVI_TRY(state_of(view->file, &now));
    CLVI_CHECK(memcmp(&now, &view->state, sizeof now) == 0, CLV_ECORRUPT,
               "%s: expected a file that stays as it is, found that it changed while it was read",
               view->file->path);
done:
    unmap(view);
    clvi_free(view->buffer);
    guard_end();
    *view = (clvi_view){0};
    return status;
}
