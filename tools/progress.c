/* SPDX-License-Identifier: BSD-3-Clause
 *
 * progress.c: how far, how fast, how long still: "step 120/200  loss 2.4312  12,345 tokens/s
 * 0:35 left". A launcher hands stdout through a pipe, so mostly this is a line now and then.
 */
#include "tool.h"

#include <inttypes.h>
#include <unistd.h>

/* Between two lines, where no number of positions was asked for. */
static const double SECONDS_BETWEEN = 2.0, SECONDS_ON_TERMINAL = 0.1;

static bool is_due(const progress *p, int64_t done, double now)
{
    if (done == p->all) return true;
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

progress progress_start(const char *what, const char *unit, int64_t first, int64_t all,
                        int64_t every)
{
    double now = tool_seconds();
    return (progress){.what = what,
                      .unit = unit,
                      .first = first,
                      .all = all,
                      .every = every,
                      .started = now,
                      .shown_at = now,
                      .shown = first};
}

void progress_show(progress *p, int64_t done, double amount, const char *note)
{
    char rate[32], left[32];
    double now = tool_seconds();
    if (!is_due(p, done, now) || done <= p->shown) return;
    bool terminal = isatty(STDOUT_FILENO);
    double per_second = (double)(done - p->shown) * amount / (now - p->shown_at + 1e-9);
    double seconds = (now - p->started) / (double)(done - p->first) * (double)(p->all - done);
    output_text("%s%s %" PRId64 "/%" PRId64 "  %s%s%s %s/s  %s left%s", terminal ? "\r" : "",
                p->what, done, p->all, note, *note ? "  " : "",
                output_count((int64_t)per_second, rate), p->unit, format_time(seconds, left),
                terminal ? "\033[K" : "\n");
    p->open = terminal;
    p->shown = done;
    p->shown_at = now;
}

void progress_end(progress *p)
{
    if (p->open) output_text("\n");
    p->open = false;
}
