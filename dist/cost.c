/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cost.c: the latency-bandwidth-flops model that plans are compared by.
 */
#include <clvi_dist.h>

clv_plan_options clvi_plan_defaults(const clv_plan_options *options)
{
    clv_plan_options model = options ? *options : (clv_plan_options){0};
    if (model.latency <= 0) model.latency = 5e-6;
    if (model.bandwidth <= 0) model.bandwidth = 4e9;
    if (model.flops <= 0) model.flops = 1e11;
    return model;
}

double clvi_cost_messages(const clv_plan_options *model, clvi_volume volume)
{
    return volume.messages * model->latency + (double)volume.bytes / model->bandwidth;
}

double clvi_cost_product(const clv_plan_options *model, clv_dtype dtype, int64_t m, int64_t n,
                         int64_t k)
{
    double rate = model->flops / (dtype == CLV_F64 ? 2 : 1);
    return 2.0 * (double)m * (double)n * (double)k / rate;
}
