/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 05_checkpoint.c: saved on one grid, loaded on another.
 *
 * RANKS: 1 2 4 6
 *
 * A checkpoint is one HDF5 file that holds global matrices and does not know the grid. Here two
 * matrices are written from one grid and read on another, in other layouts; look at the file
 * with h5dump, h5py or `cleave inspect`.
 */
#include <cleave.h>
#include <stdio.h>
#include <string.h>

#define TRY(call)                                   \
    do {                                            \
        if ((status = (call)) != CLV_OK) goto done; \
    } while (0)
#define CHECK(condition) \
    if (!(condition)) wrong += printf("line %d is wrong: %s\n", __LINE__, #condition)
static int wrong;

static const char path[] = "05_checkpoint.h5";

static clv_status make(clv_grid *grid, int64_t m, int64_t n, clv_dtype dtype, const char *layout,
                       clv_matrix **out)
{
    clv_spec spec = {.m = m, .n = n, .dtype = dtype};
    clv_status status = clv_layout_parse(grid, layout, &spec.layout);
    return status == CLV_OK ? clv_matrix_create(grid, spec, out) : status;
}

static clv_status save(clv_grid *grid)
{
    clv_status status;
    clv_matrix *weight = NULL, *bias = NULL;
    TRY(make(grid, 33, 17, CLV_F32, "col|-", &weight));
    TRY(make(grid, 1, 17, CLV_F64, "-|-", &bias));
    TRY(clv_matrix_fill_normal(weight, 7, 0, 0, 1));
    TRY(clv_matrix_fill(bias, 0.5));
    /* All or nothing: a crash at any moment leaves the old file or the new one. The text is
     * whatever the program wants to find again, as JSON. */
    const clv_named matrices[] = {{"layer/weight", weight}, {"layer/bias", bias}};
    TRY(clv_checkpoint_write(grid, path, 2, matrices, "{\"step\": 120}"));
done:
    clv_matrix_destroy(&weight);
    clv_matrix_destroy(&bias);
    return status;
}

static clv_status load(clv_grid *grid)
{
    clv_status status;
    clv_matrix *weight = NULL, *expected = NULL;
    clv_checkpoint *checkpoint = NULL;
    TRY(make(grid, 33, 17, CLV_F32, "b|a", &weight));
    TRY(make(grid, 33, 17, CLV_F32, "b|a", &expected));
    TRY(clv_matrix_fill_normal(expected, 7, 0, 0, 1)); /* by global index: on any grid the same */

    TRY(clv_checkpoint_open(grid, path, &checkpoint));
    CHECK(strcmp(clv_checkpoint_json(checkpoint), "{\"step\": 120}") == 0);
    for (int i = 0; i < clv_checkpoint_count(checkpoint) && clv_grid_rank(grid) == 0; i++) {
        clv_checkpoint_entry e = clv_checkpoint_at(checkpoint, i);
        printf("%s: %lld x %lld %s\n", e.name, (long long)e.m, (long long)e.n,
               clv_dtype_name(e.dtype));
    }
    /* Each process reads its own block, checked against the checksums in the file. A load is
     * strict: without `only`, layer/bias, for which there is no matrix here, would be an error. */
    clv_load_options options = {.only = "layer/weight"};
    TRY(clv_checkpoint_load(checkpoint, 1, &(clv_named){"layer/weight", weight}, &options));
    clv_block got = clv_matrix_block(weight), want = clv_matrix_block(expected);
    for (int64_t i = 0; i < got.m; i++)
        CHECK(memcmp((float *)got.data + i * got.ld, (float *)want.data + i * want.ld,
                     (size_t)got.n * sizeof(float)) == 0);
done:
    clv_checkpoint_close(&checkpoint);
    clv_matrix_destroy(&weight);
    clv_matrix_destroy(&expected);
    return status;
}

int main(int argc, char **argv)
{
    clv_status status;
    clv_grid *one = NULL, *two = NULL;
    int size = 1;
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int a = size % 2 == 0 ? 2 : 1;
    TRY(clv_grid_create(MPI_COMM_WORLD, 1, (clv_axis[]){{"col", size}}, &one));
    TRY(clv_grid_create(MPI_COMM_WORLD, 2, (clv_axis[]){{"a", a}, {"b", size / a}}, &two));
    TRY(save(one));
    TRY(load(two));
    if (clv_grid_rank(one) == 0 && !wrong) printf("DONE\n");
done:
    if (status != CLV_OK) fprintf(stderr, "%s: %s\n", argv[0], clv_last_error());
    clv_grid_destroy(&one);
    clv_grid_destroy(&two);
    MPI_Finalize();
    return status != CLV_OK || wrong;
}
