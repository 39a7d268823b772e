/* SPDX-License-Identifier: BSD-3-Clause
 *
 * convert.c: cleave convert: models from and to Hugging Face's files. The direction follows from
 * what the input is.
 */
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const manual about = {
    .name = "convert",
    .synopsis = "INPUT -o OUTPUT [options]",
    .about =
        "Converts a GPT-2 or Llama model between Hugging Face's files and a checkpoint of "
        "Cleave's.\n"
        "INPUT is a folder with config.json and model.safetensors (or shards with their index),\n"
        "and OUTPUT becomes a checkpoint; or INPUT is a checkpoint or a folder of them (its\n"
        "newest), and OUTPUT becomes such a folder. There and back, every tensor has the same\n"
        "bits. A folder is one of the two: an INPUT that is both is refused, and so is an OUTPUT\n"
        "that would make it both.\n"
        "\n"
        "Types stay as they are, but f16 becomes f32, exactly: Cleave has no f16. A model of bf16\n"
        "takes no more room than before; training and evaluation compute in f32 (f64 where a "
        "tensor\n"
        "is f64). A field of config.json that asks for anything that Cleave does not compute is "
        "an\n"
        "error that names it; fields that change nothing are kept for the way back. What an\n"
        "optimizer keeps is left out on the way to Hugging Face.\n"
        "\n"
        "The tokenizer (tokenizer.json, vocab.json, merges.txt, ...) is not part of a checkpoint:\n"
        "keep the folder for cleave's --tokenizer, and copy those files into the folder written.\n"
        "\n"
        "Models larger than memory convert: each rank holds two slabs of 32 MiB. Ranks share the\n"
        "work. A crash leaves no folder or file that looks whole.",
    .examples = "  cleave convert gpt2 -o gpt2.h5\n"
                "  mpiexec.mpich -n 4 cleave convert Llama-2-7b-hf -o llama.h5\n"
                "  cleave convert run -o mine-hf --dtype bf16 --shard-size 2G\n",
};

/* ---- Complaints ----------------------------------------------------------------------- */

void complain(complaints *list, const char *format, ...)
{
    char text[300];
    size_t used = strlen(list->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    list->count++;
    if (used + strlen(text) + 3 < sizeof list->text)
        sprintf(list->text + used, "%s%s", used ? "; " : "", text);
    else if (!strstr(list->text, "; ..."))
        snprintf(list->text + used, sizeof list->text - used, "; ...");
}

clv_status complaints_status(const complaints *list, clv_status status, const char *file)
{
    if (!list->count) return CLV_OK;
    return tool_fail(status, "%.180s: %d tensor%s not as expected: %s", file, list->count,
                     list->count == 1 ? " is" : "s are", list->text);
}

/* ---- Files ------------------------------------------------------------------------------ */

clv_dtype convert_dtype(const convert_args *args, clv_dtype found)
{
    static const clv_dtype dtypes[] = {
        [DTYPE_F32] = CLV_F32, [DTYPE_F64] = CLV_F64, [DTYPE_BF16] = CLV_BF16};
    return args->dtype == DTYPE_SAME ? found : dtypes[args->dtype];
}

clv_status convert_check_free(const conversion *c, const char *path)
{
    clv_status status = CLV_OK;
    if (tool.rank == 0 && !c->args->overwrite && access(path, F_OK) == 0) status = CLV_EARG;
    double found = status;
    if (clv_grid_reduce(c->grid, CLV_MAX, 1, &found) == CLV_OK && found == 0) return CLV_OK;
    return tool_fail(CLV_EARG, "-o: expected nothing there, found %s: --overwrite replaces it",
                     path);
}

static clv_status write_failed(const char *path)
{
    return tool_fail(CLV_EIO, "%s: cannot write: %s", path, strerror(errno));
}

/* The folder of path, so that its new name outlives a power cut. Where a file system syncs no
 * folders, nothing better can be had. */
static clv_status sync_folder(const char *path)
{
    char *folder = strdup(path);
    int fd = folder ? open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    clv_status status = fd < 0 || (fsync(fd) != 0 && errno != EINVAL) ? write_failed(path) : CLV_OK;
    if (fd >= 0) close(fd);
    free(folder);
    return status;
}

/* The same name each time: what a crash leaves goes with the next text. In new memory (free). */
static char *temporary_of(const char *path)
{
    char *temporary = NULL;
    return asprintf(&temporary, "%s.tmp", path) < 0 ? NULL : temporary;
}

clv_status convert_write_text(const char *path, const char *text)
{
    clv_status status = CLV_OK;
    char *temporary = temporary_of(path);
    FILE *file = temporary ? fopen(temporary, "w") : NULL;
    bool written =
        file && fprintf(file, "%s\n", text) > 0 && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (!written) status = write_failed(path);
    if (file && fclose(file) != 0 && status == CLV_OK) status = write_failed(path);
    free(temporary);
    return status;
}

void convert_drop_text(const char *path)
{
    char *temporary = temporary_of(path);
    if (temporary) unlink(temporary);
    free(temporary);
}

clv_status convert_rename_text(const char *path)
{
    char *temporary = temporary_of(path);
    bool renamed = temporary && rename(temporary, path) == 0;
    clv_status status = renamed ? sync_folder(path) : write_failed(path);
    free(temporary);
    return status;
}

/* ---- What a path is --------------------------------------------------------------------- */

/* Whether a folder has checkpoints; *file is the newest, NULL if that one is damaged. Collective.
 */
static clv_status find_checkpoints(clv_grid *grid, const char *path, bool *found, char **file)
{
    clv_status status = clv_checkpoint_resolve(grid, path, file);
    *found = status == CLV_OK || status == CLV_ECORRUPT || status == CLV_EFORMAT;
    return *found || status == CLV_ENOTFOUND ? CLV_OK : status;
}

/* What the input is; *file: the checkpoint, of a folder of Hugging Face's NULL. Collective. */
static clv_status find_input(conversion *c, bool *import, char **file)
{
    clv_status status;
    bool folder, both;
    const char *input = c->args->input;
    TRY(hf_look(c->grid, input, &folder, import));
    if (*import) {
        TRY(find_checkpoints(c->grid, input, &both, file));
        if (both)
            status = tool_fail(CLV_EARG,
                               "%s: expected config.json or checkpoints, found both: name the "
                               "checkpoint meant (%s), or keep the two in folders of their own",
                               input, *file ? *file : "a file");
    } else {
        status = clv_checkpoint_resolve(c->grid, input, file);
        if (status == CLV_ENOTFOUND && folder)
            status = tool_fail(status, "%s; and no config.json", clv_last_error());
    }
done:
    return status;
}

/* The folder that a checkpoint is to lie in. Collective. */
static clv_status check_parent(const conversion *c)
{
    clv_status status;
    bool folder, hf;
    const char *output = c->args->output, *slash = strrchr(output, '/');
    const char *name = slash ? slash + 1 : output;
    char *copy = strdup(output), *parent = dirname(copy);
    TRY(clv_grid_agree(c->grid, copy ? CLV_OK : tool_fail(CLV_ENOMEM, "no memory for a name")));
    TRY(hf_look(c->grid, parent, &folder, &hf));
    if (hf && clv_checkpoint_step(name) >= 0)
        status =
            tool_fail(CLV_EARG,
                      "-o: expected a folder without config.json for %s, found %s: a folder is "
                      "a model of Hugging Face's or a run, not both; name a file elsewhere",
                      name, parent);
done:
    free(copy);
    return status;
}

/* A folder is a model of Hugging Face's or one of checkpoints, not both. Collective. */
static clv_status check_output(const conversion *c, bool import)
{
    clv_status status;
    bool folder, hf, found = false;
    char *file = NULL;
    const char *output = c->args->output;
    TRY(hf_look(c->grid, output, &folder, &hf));
    if (import) TRY(check_parent(c));
    if (folder && !import) TRY(find_checkpoints(c->grid, output, &found, &file));
    if (folder && import)
        status =
            tool_fail(CLV_EARG, "-o: expected the name of a file, found the folder %s", output);
    else if (found)
        status = tool_fail(CLV_EARG, "-o: expected a folder without checkpoints, found %s",
                           file ? file : output);
done:
    free(file);
    return status;
}

/* ---- The command ------------------------------------------------------------------------- */

static void report(const conversion *c, bool import, double seconds)
{
    char parameters[32];
    int64_t elements = 0;
    const clv_gpt_config *m = &c->model.config;
    for (int i = 0; i < c->map->links; i++)
        elements += c->map->link[i].ours.m * c->map->link[i].ours.n;
    output_json("{s:s, s:s, s:s, s:i, s:I, s:i, s:i, s:o}", "input", c->input, "output",
                c->args->output, "model", hf_name(c->model.kind), "tensors",
                import ? c->map->links : c->map->tensors, "parameters", (json_int_t)elements,
                "f16_to_f32", c->halves, "left_out", c->left_out, "seconds",
                output_number(seconds));
    output_text("%s of %lld layers, width %lld, %s parameters: %s\n", hf_name(c->model.kind),
                (long long)m->layers, (long long)m->width, output_count(elements, parameters),
                c->args->output);
    if (c->halves)
        output_text("%d tensor%s of f16 became f32\n", c->halves, c->halves == 1 ? "" : "s");
    if (c->left_out)
        output_text("%d tensor%s left out\n", c->left_out, c->left_out == 1 ? "" : "s");
}

static clv_status read_shard_size(convert_args *args)
{
    double bytes;
    if (!bytes_parse(args->shard_text, &bytes) || bytes < 0 || bytes > 1e18)
        return options_refuse("--shard-size", "bytes, as 500M or 5G", args->shard_text);
    args->shard_bytes = (int64_t)bytes;
    return CLV_OK;
}

/* Every shard that is written stays open and locked until all are whole. */
static void allow_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static clv_status convert(void *untyped)
{
    clv_status status;
    conversion c = {.args = untyped};
    char *file = NULL;
    bool import;
    double started = tool_seconds();
    TRY(output_check_name("INPUT", c.args->input));
    TRY(output_check_name("-o", c.args->output));
    TRY(read_shard_size(untyped));
    allow_files();
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &c.grid));
    TRY(find_input(&c, &import, &file));
    TRY(check_output(&c, import));
    c.input = file ? file : c.args->input;
    TRY(import ? convert_from_hf(&c) : convert_to_hf(&c));
    report(&c, import, tool_seconds() - started);
done:
    clv_safetensors_close(&c.theirs);
    clv_checkpoint_close(&c.ours);
    hf_map_destroy(&c.map);
    hf_model_drop(&c.model);
    free(c.source);
    free(c.dtype);
    free(file);
    clv_grid_destroy(&c.grid);
    return status;
}

int cmd_convert(int argc, char **argv)
{
    convert_args args = {0};
    option options[] = {
        opt_text("", "INPUT", &args.input, REQUIRED, "a folder of Hugging Face's, or a checkpoint"),
        opt_text("o", "OUTPUT", &args.output, REQUIRED, "a checkpoint, or a folder to write"),
        opt_choice("dtype", "TYPE", &args.dtype, "same", "same|f32|f64|bf16",
                   "of what is written, rounded to nearest even"),
        opt_text("only", "PATTERN", &args.only, NULL,
                 "tensors of these names of Cleave's: \"block.0.*,!*.bias\""),
        opt_text("shard-size", "BYTES", &args.shard_text, "5G",
                 "of a file of Hugging Face's at most; 0: one file"),
        opt_flag("overwrite", &args.overwrite, "replace what is there"),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, convert, &args);
}
