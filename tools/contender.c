/* SPDX-License-Identifier: BSD-3-Clause
 *
 * contender.c: contenders in turns: times, medians and spread.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>

enum { MOST_TIMES = 1 << 20 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

spread spread_of(double values[], int64_t count)
{
    if (count <= 0) return (spread){NAN, NAN, NAN};
    qsort(values, (size_t)count, sizeof *values, compare);
    return (spread){(values[(count - 1) / 2] + values[count / 2]) / 2, values[0],
                    values[count - 1]};
}

/* Processes of one host read the same clock: a turn then lasts from the first that begins to the
 * last that ends. Between hosts only each one's own time can be compared. Where a turn is several
 * executions one goes before it, so that a contender finds its own matrices in the cache and not
 * those of whoever came before, unless they are the same. */
static clv_status take_turn(clv_grid *all, bool one_clock, contender *c, double *seconds)
{
    clv_status status = c->times > 1 ? c->run(c->context) : CLV_OK;
    TRY(clv_grid_agree(all, status));
    TRY(clv_grid_barrier(all));
    double start = tool_seconds();
    for (int64_t i = 0; i < c->times && status == CLV_OK; i++) status = c->run(c->context);
    double end = tool_seconds();
    TRY(clv_grid_agree(all, status));
    double span[] = {one_clock ? end : end - start, one_clock ? -start : 0};
    TRY(clv_grid_reduce(all, CLV_MAX, 2, span));
    *seconds = (span[0] + span[1]) / (double)c->times;
done:
    return status;
}

/* Turns that do not count, until one lasts long enough; the first also meets cold caches. */
static clv_status warm_up(clv_grid *all, bool one_clock, contender *c, double least)
{
    clv_status status;
    double seconds;
    c->times = 1;
    TRY(take_turn(all, one_clock, c, &seconds));
    while ((double)c->times * seconds < least && c->times < MOST_TIMES) {
        double wanted = 1.2 * least / fmax(seconds, 1e-9);
        c->times = (int64_t)fmin(fmax(wanted, 2.0 * (double)c->times), MOST_TIMES);
        TRY(take_turn(all, one_clock, c, &seconds));
    }
done:
    return status;
}

static clv_status allocate_turns(clv_grid *all, int count, contender list[], int64_t repeat)
{
    clv_status status = CLV_OK;
    for (int i = 0; i < count; i++)
        if (!list[i].turns && !(list[i].turns = calloc((size_t)repeat, sizeof(double))))
            status = tool_fail(CLV_ENOMEM, "no memory for %lld turns", (long long)repeat);
    return clv_grid_agree(all, status);
}

clv_status contenders_measure(clv_grid *all, int count, contender list[], int64_t repeat,
                              double least)
{
    clv_status status;
    int neighbours, hosts;
    progress shown = progress_start("measured", 0, (repeat + 1) * count, 0);
    TRY(room_neighbours(all, &neighbours, &hosts));
    TRY(allocate_turns(all, count, list, repeat));
    for (int i = 0; i < count; i++) {
        if (list[i].run) TRY(warm_up(all, hosts == 1, &list[i], least));
        progress_show(&shown, i + 1, 0, 0);
    }
    for (int64_t turn = 0; turn < repeat; turn++)
        for (int i = 0; i < count; i++) {
            if (list[i].run) TRY(take_turn(all, hosts == 1, &list[i], &list[i].turns[turn]));
            progress_show(&shown, (turn + 1) * count + i + 1, 0, 0);
        }
    for (int i = 0; i < count; i++)
        list[i].seconds = spread_of(list[i].turns, list[i].run ? repeat : 0);
done:
    progress_end(&shown);
    return status;
}

void contenders_free(int count, contender list[])
{
    for (int i = 0; i < count; i++) {
        free(list[i].turns);
        list[i].turns = NULL;
    }
}

static void set(json_t *object, const char *name, const char *rest, double value)
{
    char key[80];
    snprintf(key, sizeof key, "%s%s", name, rest);
    json_object_set_new(object, key, output_number(value));
}

void json_seconds(json_t *object, const char *name, spread seconds)
{
    set(object, name, "seconds", seconds.median);
    set(object, name, "seconds_min", seconds.least);
    set(object, name, "seconds_max", seconds.most);
}

void json_rate(json_t *object, const char *name, double work, spread seconds)
{
    set(object, name, "", work / seconds.median);
    set(object, name, "_min", work / seconds.most);
    set(object, name, "_max", work / seconds.least);
}
