/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench.c: `cleave bench`: a table of the parts that can be measured, and the words they share.
 */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *name;    /* "gemm"                                       */
    const char *command; /* what messages and the manual call it         */
    int (*run)(int argc, char **argv);
    const char *help;
} part;

static const part parts[] = {
    {"gemm", "bench gemm", bench_gemm, "a product, against its limit and ScaLAPACK"},
    {"move", "bench move", bench_move, "a matrix from one layout to another"},
    {"collective", "bench collective", bench_collective,
     "an all-reduce, all-gather or reduce-scatter, against MPICH"},
    {"linear", "bench linear", bench_linear, "forward and backward of a linear layer"},
    {"skinny", "bench skinny", bench_skinny, "few rows by many weights: the speed of memory"},
    {"checkpoint", "bench checkpoint", bench_checkpoint,
     "saving and loading, against plain writing and reading"},
    {"calibrate", "bench calibrate", bench_calibrate, "the machine itself: a profile for plans"},
    {0},
};

static void show_help(void)
{
    printf(
        "Usage: cleave bench PART [options]\n"
        "       mpiexec.mpich -n RANKS cleave bench PART [options]\n\n"
        "Measures a part of Cleave against the limit of the machine and against its peers, all\n"
        "in one run: the contenders take turns, so that what disturbs the machine disturbs all\n"
        "of them alike. Seconds are the median of the turns, each being that of the slowest\n"
        "process.\n\n"
        "A size in bytes becomes whole elements for each process, or whole matrices; the result\n"
        "says the size that was measured and, where it is another, the size asked for.\n\n"
        "Parts:\n");
    for (const part *p = parts; p->name; p++) printf("  %-12s %s\n", p->name, p->help);
    printf("\ncleave bench PART --help explains each, with examples.\n");
}

int cmd_bench(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    char names[120] = "";
    for (const part *p = parts; p->name; p++) {
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", *names ? "|" : "",
                 p->name);
        if (strcmp(word, p->name)) continue;
        tool.command = p->command;
        return p->run(argc - 1, argv + 1);
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        if (tool.rank == 0) show_help();
        return 0;
    }
    tool_misuse(tool_fail(CLV_EARG, "expected %s, found \"%.200s\"", names, word));
    return tool_report();
}

bool bytes_parse(const char *text, double *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (end == text || (*end && (!unit || end[1])) || !(value >= 0 && value < 1e18)) return false;
    for (const char *u = units; unit && u <= unit; u++) value *= 1024;
    *bytes = ceil(value);
    return true;
}

const char *bytes_format(double bytes, char buffer[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 4) bytes /= 1024, unit++;
    snprintf(buffer, 32, "%.4g %s", bytes, units[unit]);
    return buffer;
}

const char *bytes_note(double bytes, double asked, char buffer[64])
{
    char text[32];
    *buffer = '\0';
    if (bytes != asked) snprintf(buffer, 64, ", for %s asked for", bytes_format(asked, text));
    return buffer;
}

clv_status bench_misuse(const char *option, const char *expected, const char *found)
{
    return tool_misuse(
        tool_fail(CLV_EARG, "%s: expected %s, found \"%.200s\"", option, expected, found));
}

clv_status bench_read_bytes(const char *option, const char *text, double *bytes)
{
    bool read = bytes_parse(text, bytes) && *bytes >= 1;
    return read ? CLV_OK : bench_misuse(option, "bytes as 1000000, 512K or 1.5G", text);
}

clv_status bench_read_plan(const char *memory, bool measure, clv_plan_options *options)
{
    double bytes = 0;
    clv_status status = memory ? bench_read_bytes("--memory", memory, &bytes) : CLV_OK;
    options->memory = bytes < 0x1p64 ? (uint64_t)bytes : UINT64_MAX;
    options->measure = measure;
    return status;
}

clv_status bench_read_operands(int op, int weights, product_kind *kind)
{
    kind->trans_a |= op / 2;
    kind->trans_b |= op % 2;
    kind->weights = weights ? CLV_BF16 : kind->dtype;
    if (!weights || kind->dtype == CLV_F32) return CLV_OK;
    return bench_misuse("--weights", "same unless --dtype is f32", "bf16");
}

char *plan_text(const clv_plan *plan)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (!out) return NULL;
    clv_status status = clv_plan_print(plan, out);
    if (fclose(out) == 0 && status == CLV_OK) return text;
    free(text);
    return NULL;
}
