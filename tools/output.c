/* SPDX-License-Identifier: BSD-3-Clause
 *
 * output.c: stdout, written by rank 0 alone: either JSON, one object a line, or text.
 */
#include "tool.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static bool failed;
static bool nameless; /* a line had text that is not UTF-8, and JSON knows no other */

void output_json(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    json_error_t error;
    json_t *object = json_vpack_ex(&error, 0, format, arguments);
    va_end(arguments);
    if (!object && tool.json) {
        failed = true;
        nameless |= json_error_code(&error) == json_error_invalid_utf8;
    }
    if (object && tool.json && tool.rank == 0) {
        /* 17 digits give back every double. */
        failed |= json_dumpf(object, stdout, JSON_REAL_PRECISION(17)) != 0;
        putchar('\n');
        output_flush();
    }
    json_decref(object);
}

json_t *output_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* jansson is the judge of what is UTF-8. */
json_t *output_string(const char *bytes, size_t count)
{
    char *clean = malloc(3 * count + 1);
    size_t used = 0;
    for (size_t i = 0; clean && i < count;) {
        json_t *character = NULL;
        int length = 0;
        while (!character && length < 4 && i + (size_t)length < count)
            character = json_stringn(bytes + i, (size_t)++length);
        memcpy(clean + used, character ? bytes + i : "\xEF\xBF\xBD",
               character ? (size_t)length : 3);
        used += character ? (size_t)length : 3;
        i += character ? (size_t)length : 1;
        json_decref(character);
    }
    json_t *text = clean ? json_stringn(clean, used) : NULL;
    free(clean);
    return text;
}

json_t *output_hex(const char *bytes, size_t count)
{
    char *digits = malloc(2 * count + 1);
    for (size_t i = 0; digits && i < count; i++)
        sprintf(digits + 2 * i, "%02x", (unsigned char)bytes[i]);
    json_t *hex = digits ? json_stringn(digits, 2 * count) : NULL;
    free(digits);
    return hex;
}

clv_status output_check_name(const char *option, const char *name)
{
    json_t *said = tool.json && name ? json_string(name) : json_null();
    bool can = said != NULL;
    json_decref(said);
    if (can) return CLV_OK;
    return tool_misuse(tool_fail(
        CLV_EUNSUPPORTED, "%s: --json: expected a name in UTF-8, found other bytes", option));
}

void output_text(const char *format, ...)
{
    va_list arguments;
    if (tool.json || tool.rank) return;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    output_flush();
}

void output_bytes(const void *bytes, size_t count)
{
    if (tool.json || tool.rank) return;
    fwrite(bytes, 1, count, stdout);
    output_flush();
}

const char *output_count(int64_t value, char buffer[32])
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%" PRId64, value), used = 0;
    for (int i = 0; i < length; i++) {
        if (i > (value < 0) && (length - i) % 3 == 0) buffer[used++] = ',';
        buffer[used++] = digits[i];
    }
    buffer[used] = '\0';
    return buffer;
}

bool output_flush(void)
{
    failed |= fflush(stdout) != 0 || ferror(stdout);
    return !failed;
}

clv_status output_status(void)
{
    if (output_flush()) return CLV_OK;
    if (nameless)
        return tool_fail(CLV_EUNSUPPORTED, "--json: expected names in UTF-8, found other bytes");
    return tool_fail(CLV_EIO, "standard output: expected every line to be written, found an error");
}
