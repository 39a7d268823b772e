/* SPDX-License-Identifier: BSD-3-Clause
 *
 * main.c: the command `cleave`: a table of subcommands.
 */
#include "tool.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

int cmd_convert(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_bench(int argc, char **argv);

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} subcommand;

static const subcommand subcommands[] = {
    {"diff", cmd_diff, "where two checkpoints differ"},
    {"doctor", cmd_doctor, "what this installation runs on, and what to fix"},
    {"train", cmd_train, "train a GPT on texts or tokens, saving and resuming on any grid"},
    {"eval", cmd_eval, "the loss of a checkpoint on texts or tokens"},
    {"generate", cmd_generate, "text from a checkpoint"},
    {"inspect", cmd_inspect, "what is in a checkpoint"},
    {"tokenize", cmd_tokenize, "text files to a file of token ids, and back"},
    {"verify", cmd_verify, "whether every byte of a checkpoint is as it was written"},
    {"convert", cmd_convert, "a GPT-2 or Llama from Hugging Face's files, or into them"},
    {"bench", cmd_bench, "measure a part against its limit and against ScaLAPACK"},
    {0},
};

static void show_help(void)
{
    printf("Usage: cleave SUBCOMMAND [options]\n"
           "       mpiexec.mpich -n RANKS cleave SUBCOMMAND [options]\n\n"
           "Trains and runs models whose matrices are sharded over a grid of MPI processes.\n\n"
           "Subcommands:\n");
    for (const subcommand *s = subcommands; s->name; s++) printf("  %-10s %s\n", s->name, s->help);
    printf(
        "\ncleave SUBCOMMAND --help explains each, with examples. Exit status: 0 done, 1 failed,\n"
        "2 a mistake in the command line.\n");
}

static const subcommand *find(const char *name)
{
    for (const subcommand *s = subcommands; s->name; s++)
        if (!strcmp(s->name, name)) return s;
    return NULL;
}

static int run(const char *word, int argc, char **argv)
{
    const subcommand *s = find(word);
    tool.command = s ? s->name : NULL;
    if (s) return s->run(argc - 1, argv + 1);
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        if (tool.rank == 0) show_help();
        return 0;
    }
    if (!strcmp(word, "--version")) {
        if (tool.rank == 0) printf("cleave %s\n", clv_version());
        return 0;
    }
    tool_misuse(tool_fail(CLV_EARG, "expected a subcommand, found \"%.200s\"", word));
    return tool_report();
}

/* What the shell left closed is opened the wrong way, so that using it fails: a file or a socket
 * that got its number would be written into. */
static void occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
    occupy_standard_descriptors();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow further is an error like any other */
    int rank = tool_launch_rank();
    /* A launcher that is killed cannot end its ranks: the system does. */
    if (rank >= 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    tool.rank = rank > 0 ? rank : 0;
    bool same = rank < 0 || tool_same_words(argc, argv) == CLV_OK;
    int code = same ? run(argc > 1 ? argv[1] : "", argc, argv) : tool_report();
    if (code == 0 && output_status() != CLV_OK) code = tool_report();
    tool_end();
    return code;
}
