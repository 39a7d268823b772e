/* SPDX-License-Identifier: BSD-3-Clause
 *
 * cost.c: the latency-bandwidth-flops model that plans are compared by.
 */
#include <clvi_dist.h>

double clvi_cost_messages(const clv_machine *machine, clvi_volume volume)
{
    return (volume.messages - volume.net_messages) * machine->node_latency +
           (double)(volume.bytes - volume.net) / machine->node_bandwidth +
           volume.net_messages * machine->net_latency + (double)volume.net / machine->net_bandwidth;
}

/* The share of full speed at an extent: half of it at `half`. */
static double efficiency(int64_t extent, double half)
{
    return (double)extent / ((double)extent + half);
}

double clvi_cost_product(const clv_machine *machine, clv_dtype dtype, int64_t m, int64_t n,
                         int64_t k)
{
    if (m == 0 || n == 0 || k == 0) return 0;
    double rate = machine->flops / (dtype == CLV_F64 ? 2 : 1) * efficiency(m, machine->half_m) *
                  efficiency(n, machine->half_n) * efficiency(k, machine->half_k);
    double compute = 2.0 * (double)m * (double)n * (double)k / rate;
    double words = (double)m * (double)k + (double)k * (double)n;
    double read = words * (double)clv_dtype_size(dtype) / machine->memory_bandwidth;
    return compute > read ? compute : read;
}
