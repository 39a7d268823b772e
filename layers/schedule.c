/* SPDX-License-Identifier: BSD-3-Clause
 *
 * schedule.c: the learning rate of a step.
 *
 * Linear warm-up to the peak, then half a cosine down to the final rate (Loshchilov and Hutter
 * 2017, without restarts):
 *
 *     rate(s) = final + (peak - final) (1 + cos(pi (s - warmup) / (steps - warmup))) / 2
 */
#include <cleave_layers.h>
#include <math.h>

double clv_schedule_rate(const clv_schedule *schedule, int64_t step)
{
    const clv_schedule *s = schedule;
    if (step < s->warmup) return s->peak * (double)step / (double)s->warmup;
    if (s->steps == 0) return s->peak;
    if (step >= s->steps) return s->final;
    double turn = M_PI * (double)(step - s->warmup) / (double)(s->steps - s->warmup);
    return s->final + (s->peak - s->final) * (1 + cos(turn)) / 2;
}
