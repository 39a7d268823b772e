/* SPDX-License-Identifier: BSD-3-Clause
 *
 * seeds.c: no test, but the small files that tests/torture/fuzz.sh begins with.
 *
 *     seeds DIR    makes DIR/checkpoint/NAME and DIR/safetensors/NAME
 */
#include <cleave.h>
#include <clvi_lib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static clv_grid *grid;

enum { MOST = 20 }; /* more than 8 links of a group are kept in another way */

static clv_status write_checkpoint(const char *dir, int count, const char *json)
{
    clv_status status = CLV_OK;
    char path[512], names[MOST][32];
    clv_named named[MOST] = {{0}};
    snprintf(path, sizeof path, "%.400s/checkpoint/%d", dir, count);
    for (int i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], i ? "group/set-%d" : "set-%d", i);
        named[i].name = names[i];
        clv_spec spec = {.m = i < 3 ? 3 - i : 1, .n = 5, .dtype = (clv_dtype)(i % CLV_DTYPE_COUNT)};
        CLVI_TRY(clv_matrix_create(grid, spec, &named[i].matrix));
    }
    CLVI_TRY(clv_checkpoint_write(grid, path, count, named, json));
done:
    for (int i = 0; i < count; i++) clv_matrix_destroy(&named[i].matrix);
    return status;
}

/* Header and bytes of nothing. */
static clv_status write_safetensors(const char *dir, const char *name, const char *header,
                                    size_t bytes)
{
    char path[512], zeros[256] = "";
    uint64_t size = strlen(header);
    snprintf(path, sizeof path, "%.400s/safetensors/%s", dir, name);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(&size, 8, 1, file) == 1 && fputs(header, file) >= 0 &&
                fwrite(zeros, 1, bytes, file) == bytes;
    if (file && fclose(file) != 0) good = false;
    return good ? CLV_OK : clvi_fail(CLV_EIO, "%s: cannot write", path);
}

static clv_status make_all(const char *dir)
{
    static const int counts[] = {0, 1, 2, 3, MOST};
    clv_status status;
    char path[512];
    snprintf(path, sizeof path, "%.400s/checkpoint", dir);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%.400s/safetensors", dir);
    mkdir(path, 0777);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        CLVI_TRY(write_checkpoint(dir, counts[i], counts[i] % 2 ? NULL : "{\"step\": 1}"));
    CLVI_TRY(write_safetensors(dir, "none", "{}", 0));
    CLVI_TRY(write_safetensors(
        dir, "two",
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"a.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]}}   ",
        32));
    CLVI_TRY(write_safetensors(dir, "kinds",
                               "{\"x\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]},"
                               "\"\\u00e9\":{\"dtype\":\"I64\",\"shape\":[1,0,2],"
                               "\"data_offsets\":[2,2]},"
                               "\"z\":{\"dtype\":\"U8\",\"shape\":[3,2,1],\"data_offsets\":[2,8]}}",
                               8));
done:
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    MPI_Init(&argc, &argv);
    clv_status status = clv_grid_create_text(MPI_COMM_SELF, NULL, &grid);
    if (status == CLV_OK) status = make_all(argv[1]);
    if (status != CLV_OK) fprintf(stderr, "seeds: %s\n", clv_last_error());
    clv_grid_destroy(&grid);
    MPI_Finalize();
    return status != CLV_OK;
}
