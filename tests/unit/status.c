/* SPDX-License-Identifier: BSD-3-Clause
 *
 * status.c: names of statuses, and the detail of the last failure.
 * RANKS: 1
 */
#include "check.h"

#include <clvi_lib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void names(void)
{
    for (int s = 0; s < CLV_STATUS_COUNT; s++) {
        const char *name = clv_status_string((clv_status)s);
        CHECK(name && *name && strcmp(name, "unknown status") != 0);
        for (int t = 0; t < s; t++) CHECK(strcmp(name, clv_status_string((clv_status)t)) != 0);
    }
    CHECK_STRING(clv_status_string(CLV_STATUS_COUNT), "unknown status");
    CHECK_STRING(clv_status_string((clv_status)-1), "unknown status");
    CHECK_STRING(clv_status_string((clv_status)1000), "unknown status");
}

static void version(void)
{
    int major, minor, patch;
    CHECK_INT(sscanf(clv_version(), "%d.%d.%d", &major, &minor, &patch), 3);
}

static void detail(void)
{
    CHECK_STRING(clv_last_error(), "");
    CHECK_STATUS(clvi_fail(CLV_ESHAPE, "expected %d, found %s", 3, "four"), CLV_ESHAPE);
    CHECK_STRING(clv_last_error(), "expected 3, found four");
    clvi_fail(CLV_EIO, "again: %s", clv_last_error());
    CHECK_STRING(clv_last_error(), "again: expected 3, found four");
    CHECK_STATUS(clv_fail(CLV_EARG, "the caller's, after: %s", clv_last_error()), CLV_EARG);
    CHECK_STRING(clv_last_error(), "the caller's, after: again: expected 3, found four");
}

static void long_detail(void)
{
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    clvi_fail(CLV_EARG, "%s", text);
    size_t kept = strlen(clv_last_error());
    CHECK(kept >= 1000 && kept < sizeof text && strncmp(clv_last_error(), text, kept) == 0);
}

static void *other_thread(void *found)
{
    strcpy(found, clv_last_error());
    clvi_fail(CLV_EARG, "of another thread");
    return NULL;
}

static void threads(void)
{
    char found[5000] = "?";
    pthread_t thread;
    clvi_fail(CLV_EARG, "of this thread");
    CHECK_INT(pthread_create(&thread, NULL, other_thread, found), 0);
    pthread_join(thread, NULL);
    CHECK_STRING(found, "");
    CHECK_STRING(clv_last_error(), "of this thread");
}

static clv_status tried(bool fails)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(!fails, CLV_ELIMIT, "asked to fail");
done:
    return status;
}

static void macros(void)
{
    clv_status status = CLV_OK;
    int reached = 0;
    CLVI_TRY(tried(false));
    reached = 1;
    CLVI_TRY(tried(true));
    reached = 2;
done:
    CHECK_INT(reached, 1);
    CHECK_STATUS(status, CLV_ELIMIT);
    CHECK_STRING(clv_last_error(), "asked to fail");
}

const check_case check_cases[] = {{"detail", detail},
                                  {"names", names},
                                  {"version", version},
                                  {"long detail", long_detail},
                                  {"threads", threads},
                                  {"macros", macros},
                                  {0}};
