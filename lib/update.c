/* SPDX-License-Identifier: BSD-3-Clause
 *
 * update.c: one step of an optimizer on a vector of parameters.
 */
#include "clvi_vector.h"

#define CLVI_BODY "update.inc"
#include "clvi_twice.h"

void clvi_sgd(clv_dtype dtype, int64_t n, double lr, double mu, double decay, const void *g,
              void *v, void *w)
{
    CLVI_DISPATCH(dtype, sgd, n, lr, mu, decay, g, v, w);
}

/* x^n by squaring: the same bits everywhere, which pow does not promise. */
static double power(double x, int64_t n)
{
    double result = 1;
    for (; n > 0; n /= 2, x *= x)
        if (n % 2) result *= x;
    return result;
}

void clvi_adamw(clv_dtype dtype, int64_t n, const clvi_adamw_args *args, const void *g, void *m1,
                void *m2, void *w)
{
    assert(args->step >= 1);
    double rate = args->lr / (1 - power(args->beta1, args->step));
    double unbias = 1 / (1 - power(args->beta2, args->step));
    CLVI_DISPATCH(dtype, adamw, n, args, rate, unbias, g, m1, m2, w);
}
