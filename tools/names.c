/* SPDX-License-Identifier: BSD-3-Clause
 *
 * names.c: what the names of data sets say.
 */
#include "tool.h"

#include <string.h>

bool is_parameter(const char *name)
{
    return !strchr(name, '/');
}

static bool has_match(const clv_checkpoint *checkpoint, const char *only)
{
    for (int i = 0; i < clv_checkpoint_count(checkpoint); i++)
        if (clv_name_matches(only, clv_checkpoint_at(checkpoint, i).name)) return true;
    return false;
}

clv_status only_check(const clv_checkpoint *a, const clv_checkpoint *b, const char *only)
{
    if (!only || has_match(a, only) || (b && has_match(b, only))) return CLV_OK;
    return tool_fail(CLV_ENOTFOUND, "--only: expected a pattern that some data set fits, found %s",
                     only);
}
