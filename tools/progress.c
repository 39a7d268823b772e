/* SPDX-License-Identifier: BSD-3-Clause
 *
 * progress.c: how far, how fast, how long still: "step 120/200  loss 2.4312  12,345 tokens/s
 * 0:35 left". A launcher hands stdout through a pipe, so mostly this is a line now and then; on
 * a terminal one line is written over and over.
 */
#include "tool.h"

#include <inttypes.h>
#include <unistd.h>

/* Between two lines, where no number of positions was asked for. */
static const double SECONDS_BETWEEN = 2.0, SECONDS_ON_TERMINAL = 0.1;

static bool is_due(const progress *p, int64_t done, double now)
{
    if (p->every && done == p->all) return true;
    if (isatty(STDOUT_FILENO)) return now - p->shown_at >= SECONDS_ON_TERMINAL;
    if (p->every) return done % p->every == 0 || done == p->first + 1;
    return now - p->shown_at >= SECONDS_BETWEEN;
}

/* "0:35", "2:03:59". */
static const char *format_time(double seconds, char buffer[32])
{
    int64_t s = (int64_t)(seconds + 0.5), minutes = s / 60 % 60, hours = s / 3600;
    if (hours)
        snprintf(buffer, 32, "%" PRId64 ":%02" PRId64 ":%02" PRId64, hours, minutes, s % 60);
    else
        snprintf(buffer, 32, "%" PRId64 ":%02" PRId64, minutes, s % 60);
    return buffer;
}

progress progress_start(const char *what, int64_t first, int64_t all, int64_t every)
{
    double now = tool_seconds();
    return (progress){.what = what,
                      .first = first,
                      .all = all,
                      .every = every,
                      .started = now,
                      .shown_at = now,
                      .shown = first};
}

void progress_show(progress *p, int64_t done, double loss, double tokens)
{
    char rate[32], left[32];
    double now = tool_seconds();
    if (done <= p->shown || !is_due(p, done, now)) return;
    bool terminal = isatty(STDOUT_FILENO);
    int64_t per_second = (int64_t)((double)(done - p->shown) * tokens / (now - p->shown_at + 1e-9));
    double seconds = (now - p->started) / (double)(done - p->first) * (double)(p->all - done);
    output_text("%s%s ", terminal ? "\r" : "", p->what);
    if (tokens > 0)
        output_text("%" PRId64 "/%" PRId64 "  loss %.4f  %s tokens/s", done, p->all, loss,
                    output_count(per_second, rate));
    else
        output_text("%.0f%%", 100.0 * (double)done / (double)p->all);
    output_text("  %s left%s", format_time(seconds, left), terminal ? "\033[K" : "\n");
    p->open = terminal;
    p->shown = done;
    p->shown_at = now;
}

void progress_callback(void *context, int64_t done, int64_t all)
{
    progress *p = context;
    p->all = all;
    progress_show(p, done, 0, 0);
}

void progress_end(progress *p)
{
    if (p->open) output_text("\n");
    p->open = false;
}
