/* SPDX-License-Identifier: BSD-3-Clause
 *
 * check_serial.c: main of a test program without MPI.
 */
#include "check.h"

#include <stdio.h>

int check_rank(void)
{
    return 0;
}
int check_size(void)
{
    return 1;
}

int main(int argc, char **argv)
{
    (void)argc;
    for (const check_case *c = check_cases; c->name; c++) {
        long long before = check_failures();
        check_enter(c->name, 0);
        c->run();
        printf("%s %s\n", check_failures() == before ? "ok  " : "FAIL", c->name);
    }
    printf("DONE %s: %lld checks\n", argv[0], check_count());
    return check_failures() != 0;
}
