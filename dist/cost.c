/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cost.c: the latency-bandwidth-flops model that plans are compared by.
 */
#include <clvi_dist.h>

clv_status clvi_plan_defaults(const clv_plan_options *options, clv_plan_options *model)
{
    *model = options ? *options : (clv_plan_options){0};
    clv_machine *m = &model->machine;
    if (m->net_latency <= 0) m->net_latency = 5e-6;
    if (m->net_bandwidth <= 0) m->net_bandwidth = 4e9;
    if (m->flops <= 0) m->flops = 1e11;
    return CLV_OK;
}

double clvi_cost_messages(const clv_machine *machine, clvi_volume volume)
{
    return volume.messages * machine->net_latency + (double)volume.bytes / machine->net_bandwidth;
}

double clvi_cost_product(const clv_machine *machine, clv_dtype dtype, int64_t m, int64_t n,
                         int64_t k)
{
    double rate = machine->flops / (dtype == CLV_F64 ? 2 : 1);
    return 2.0 * (double)m * (double)n * (double)k / rate;
}
