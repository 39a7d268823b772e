/* SPDX-License-Identifier: BSD-3-Clause
 *
 * schedule.c: learning rates against values worked out by hand.
 *
 * RANKS: 1
 */
#include <check.h>

static void warmup_then_cosine(void)
{
    clv_schedule s = {.peak = 1, .final = 0.1, .warmup = 10, .steps = 110};
    CHECK_NEAR(clv_schedule_rate(&s, 1), 0.1, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 5), 0.5, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 10), 1.0, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 35), 0.1 + 0.9 * 0.85355339059327376, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 60), 0.55, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 110), 0.1, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 500), 0.1, 1e-15);
}

static void never_rises_after_warmup(void)
{
    clv_schedule s = {.peak = 3e-4, .final = 3e-5, .warmup = 7, .steps = 200};
    for (int64_t i = 1; i < 7; i++) CHECK(clv_schedule_rate(&s, i) < clv_schedule_rate(&s, i + 1));
    for (int64_t i = 7; i < 220; i++)
        CHECK(clv_schedule_rate(&s, i) >= clv_schedule_rate(&s, i + 1));
}

static void constant_without_steps(void)
{
    clv_schedule s = {.peak = 0.5, .warmup = 2};
    CHECK_NEAR(clv_schedule_rate(&s, 1), 0.25, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 2), 0.5, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&s, 1000000), 0.5, 1e-15);
    clv_schedule flat = {.peak = 0.5};
    CHECK_NEAR(clv_schedule_rate(&flat, 1), 0.5, 1e-15);
}

static void short_runs(void)
{
    clv_schedule one = {.peak = 2, .final = 1, .steps = 1};
    CHECK_NEAR(clv_schedule_rate(&one, 1), 1, 1e-15);
    clv_schedule warm = {.peak = 2, .final = 1, .warmup = 4, .steps = 4};
    CHECK_NEAR(clv_schedule_rate(&warm, 2), 1, 1e-15);
    CHECK_NEAR(clv_schedule_rate(&warm, 4), 1, 1e-15);
}

const check_case check_cases[] = {{"warm-up, then a cosine", warmup_then_cosine},
                                  {"never rises after warm-up", never_rises_after_warmup},
                                  {"constant without steps", constant_without_steps},
                                  {"short runs", short_runs},
                                  {0}};
