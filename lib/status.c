/* SPDX-License-Identifier: BSD-3-Clause
 *
 * status.c: what a status is called, and the detail of the last failure of each thread.
 */
#include <clvi_lib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0.1.0"
#endif

enum { DETAIL = 2048 }; /* bytes of the longest detail, its end included */

static _Thread_local char detail[DETAIL];

static const char *const names[] = {
    [CLV_OK] = "success",
    [CLV_EARG] = "invalid argument",
    [CLV_ESHAPE] = "shapes do not fit",
    [CLV_ELAYOUT] = "invalid layout",
    [CLV_EDTYPE] = "unsupported data type",
    [CLV_EMISMATCH] = "processes disagree",
    [CLV_ELIMIT] = "size over a limit",
    [CLV_ENOMEM] = "out of memory",
    [CLV_EMPI] = "MPI error",
    [CLV_EIO] = "input or output error",
    [CLV_EFORMAT] = "wrong file format",
    [CLV_ECORRUPT] = "corrupt data",
    [CLV_ENOTFOUND] = "not found",
    [CLV_EUNSUPPORTED] = "not supported here",
    [CLV_ENUMERIC] = "infinite or not a number",
};
_Static_assert(sizeof names / sizeof *names == CLV_STATUS_COUNT, "every status has a name");

static void record(const char *format, va_list args)
{
    char text[DETAIL]; /* an argument may point into the detail being replaced */
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = '\0';
    strcpy(detail, text);
}

clv_status clvi_fail(clv_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(format, args);
    va_end(args);
    return status;
}

clv_status clv_fail(clv_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(format, args);
    va_end(args);
    return status;
}

const char *clv_status_string(clv_status status)
{
    unsigned code = (unsigned)status;
    return code < CLV_STATUS_COUNT ? names[code] : "unknown status";
}

const char *clv_last_error(void)
{
    return detail;
}

const char *clv_version(void)
{
    return PACKAGE_VERSION;
}
