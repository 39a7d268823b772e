/* SPDX-License-Identifier: BSD-3-Clause
 *
 * grid.c: processes along named axes, and their small agreements.
 *
 * RANKS: 1 2 3 4 6 8
 */
#include "../reference.h"

static clv_grid *open_grid(const char *text)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, text, &grid));
    return grid;
}

static void coordinates_are_row_major(void)
{
    int size = check_size();
    for (int outer = 1; outer <= size; outer++) {
        if (size % outer != 0) continue;
        const clv_axis axes[] = {{"outer", outer}, {"one", 1}, {"inner_2", size / outer}};
        clv_grid *grid = NULL;
        if (!CHECK_OK(clv_grid_create(MPI_COMM_WORLD, 3, axes, &grid))) return;
        CHECK_INT(clv_grid_rank(grid), check_rank());
        CHECK_INT(clv_grid_size(grid), size);
        CHECK_INT(clv_grid_naxes(grid), 3);
        for (int i = 0; i < 3; i++) {
            CHECK_STRING(clv_grid_axis(grid, i).name, axes[i].name);
            CHECK_INT(clv_grid_axis(grid, i).size, axes[i].size);
            CHECK_INT(clv_grid_find(grid, axes[i].name), i);
        }
        CHECK_INT(clv_grid_find(grid, "inner"), -1);
        for (int rank = 0; rank < size; rank++) {
            CHECK_INT(clv_grid_coord(grid, rank, 0), rank / (size / outer));
            CHECK_INT(clv_grid_coord(grid, rank, 1), 0);
            CHECK_INT(clv_grid_coord(grid, rank, 2), rank % (size / outer));
        }
        clv_grid_destroy(&grid);
        CHECK(grid == NULL);
    }
}

static void grids_from_text(void)
{
    const char *const defaults[] = {NULL, ""};
    for (int i = 0; i < 2; i++) {
        clv_grid *grid = open_grid(defaults[i]);
        CHECK_INT(clv_grid_naxes(grid), 1);
        CHECK_STRING(clv_grid_axis(grid, 0).name, "col");
        CHECK_INT(clv_grid_axis(grid, 0).size, check_size());
        clv_grid_destroy(&grid);
    }
    char text[64];
    snprintf(text, sizeof text, "row=1,col=%d,z=1", check_size());
    clv_grid *grid = open_grid(text);
    CHECK_INT(clv_grid_find(grid, "row"), 0);
    CHECK_INT(clv_grid_find(grid, "z"), 2);
    CHECK_INT(clv_grid_axis(grid, 1).size, check_size());
    clv_grid_destroy(&grid);
    clv_grid_destroy(&grid); /* of NULL: nothing */
}

/* The grid outlives the communicator it was made from, and messages of the two do not meet. */
static void the_communicator_is_duplicated(void)
{
    MPI_Comm comm;
    MPI_Request request;
    clv_grid *grid = NULL;
    MPI_Comm_idup(MPI_COMM_WORLD, &comm, &request);
    for (int done = 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE), !done;) sched_yield();
    CHECK_OK(clv_grid_create(comm, 1, (clv_axis[]){{"a", check_size()}}, &grid));
    MPI_Comm_free(&comm);
    double value = 1;
    CHECK_OK(clv_grid_reduce(grid, CLV_SUM, 1, &value));
    CHECK_INT((int)value, check_size());
    clv_grid_destroy(&grid);
}

/* Refused everywhere with this status and a text that holds `says`. */
static void refused(const char *text, const char *says)
{
    clv_grid *grid = NULL;
    CHECK_STATUS(clv_grid_create_text(MPI_COMM_WORLD, text, &grid), CLV_EARG);
    CHECK(grid == NULL);
    if (!CHECK(strstr(clv_last_error(), says) != NULL))
        fprintf(stderr, "\"%s\": expected \"%s\" in \"%s\"\n", text, says, clv_last_error());
}

static void bad_grids_are_refused(void)
{
    char product[64], found[16], size[16];
    snprintf(product, sizeof product, "row=7,col=%d", check_size());
    snprintf(found, sizeof found, "%d", 7 * check_size());
    snprintf(size, sizeof size, "%d", check_size());
    refused(product, found);
    refused(product, size);
    refused("a=2000000,b=2000000,c=2000000", size); /* the product overflows 32 bits */
    refused("row", "row");
    refused("row=", "row=");
    refused("row=two", "row=two");
    refused("row=0", "row=0");
    refused("row=-1", "row=-1");
    refused("row=2x", "row=2x");
    refused("row=+1", "row=+1");
    refused("row= 1", "row= 1");
    refused("row=1,,col=1", "found \"\"");
    refused("row=1,", "found \"\"");
    refused("row=99999999999999999999", "999");
    refused("2row=1", "2row");
    refused("_=1", "_");
    refused("ro w=1", "ro w");
    refused("=1", "axis 0");
    refused("a=1,a=1", "a");
    refused("a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1", "8");
    refused("a_name_that_is_too_long_to_be_one_that_is_any_help_to_anyone_who_has_to_type_it=1",
            "a_name_that");
    clv_grid *grid = NULL;
    CHECK_STATUS(clv_grid_create(MPI_COMM_WORLD, 0, NULL, &grid), CLV_EARG);
    CHECK_STATUS(clv_grid_create(MPI_COMM_WORLD, 1, (clv_axis[]){{NULL, check_size()}}, &grid),
                 CLV_EARG);
}

/* Every process has a valid opinion, but not the same one. */
static void disagreeing_processes_are_told(void)
{
    if (check_size() == 1) return;
    bool last = check_rank() == check_size() - 1;
    char swapped[64], one[64];
    snprintf(swapped, sizeof swapped, last ? "a=1,b=%d" : "a=%d,b=1", check_size());
    snprintf(one, sizeof one, last ? "a=%d" : "b=%d", check_size());
    clv_grid *grid = NULL;
    CHECK_STATUS(clv_grid_create_text(MPI_COMM_WORLD, swapped, &grid), CLV_EMISMATCH);
    CHECK_STATUS(clv_grid_create_text(MPI_COMM_WORLD, one, &grid), CLV_EMISMATCH);
    CHECK_STATUS(clv_grid_create_text(MPI_COMM_WORLD, last ? NULL : swapped, &grid), CLV_EMISMATCH);
    /* One alone is wrong: its status, on all. */
    CHECK_STATUS(clv_grid_create_text(MPI_COMM_WORLD, last ? "nonsense" : one, &grid), CLV_EARG);
    CHECK(strstr(clv_last_error(), "nonsense") != NULL);
    CHECK(grid == NULL);
}

static void the_lowest_failing_rank_is_heard(void)
{
    static const clv_status codes[] = {CLV_EIO, CLV_ENOMEM, CLV_ESHAPE};
    clv_grid *grid = open_grid(NULL);
    for (int first = 0; first < check_size(); first++) {
        clv_status mine = CLV_OK;
        if (check_rank() >= first)
            mine = clvi_fail(codes[(check_rank() - first) % 3], "said by rank %d", check_rank());
        char text[32];
        snprintf(text, sizeof text, "said by rank %d", first);
        CHECK_STATUS(clv_grid_agree(grid, mine), codes[0]);
        CHECK_STRING(clv_last_error(), text);
    }
    CHECK_OK(clv_grid_agree(grid, CLV_OK));
    clv_grid_destroy(&grid);
}

static void broadcast_from_every_root(void)
{
    static const size_t sizes[] = {0, 1, 7, 4096, 1000003};
    clv_grid *grid = open_grid(NULL);
    unsigned char *data = malloc(1000004);
    for (int root = 0; root < check_size(); root++)
        for (int s = 0; s < 5; s++) {
            size_t bytes = sizes[s], wrong = 0;
            memset(data, check_rank() == root ? 100 + root : 0, bytes);
            data[bytes] = 55;
            CHECK_OK(clv_grid_broadcast(grid, root, data, bytes));
            for (size_t i = 0; i < bytes; i++) wrong += data[i] != 100 + root;
            CHECK_INT((long long)wrong, 0);
            CHECK_INT(data[bytes], 55);
        }
    free(data);
    clv_grid_destroy(&grid);
}

static void reductions(void)
{
    clv_grid *grid = open_grid(NULL);
    int p = check_size(), rank = check_rank();
    double sum[3] = {rank, 1, -rank * rank}, low[2] = {rank + 3, -rank}, high[2] = {-rank, rank};
    CHECK_OK(clv_grid_reduce(grid, CLV_SUM, 3, sum));
    CHECK_OK(clv_grid_reduce(grid, CLV_MIN, 2, low));
    CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 2, high));
    CHECK_OK(clv_grid_reduce(grid, CLV_SUM, 0, NULL));
    CHECK_INT((int)sum[0], p * (p - 1) / 2);
    CHECK_INT((int)sum[1], p);
    CHECK_INT((int)sum[2], -(p - 1) * p * (2 * p - 1) / 6);
    CHECK_INT((int)low[0], 3);
    CHECK_INT((int)low[1], 1 - p);
    CHECK_INT((int)high[0], 0);
    CHECK_INT((int)high[1], p - 1);
    /* The bits depend on the order of addition, and have to be rank 0's everywhere. */
    double mine = rank % 3 == 0 ? 1e16 : rank % 3 == 1 ? 1.25 : -1e16 / 3, first;
    CHECK_OK(clv_grid_reduce(grid, CLV_SUM, 1, &mine));
    first = mine;
    CHECK_OK(clv_grid_broadcast(grid, 0, &first, sizeof first));
    CHECK(memcmp(&first, &mine, sizeof first) == 0);
    clv_grid_destroy(&grid);
}

/* Nobody leaves before the last has come. */
static void barriers_hold(void)
{
    clv_grid *grid = open_grid(NULL);
    for (int round = 0; round < 3; round++) {
        double before = MPI_Wtime(), latest, left;
        if (check_rank() == check_size() - 1)
            while (MPI_Wtime() < before + 0.02) sched_yield();
        latest = MPI_Wtime(); /* all ranks are on one node, with one clock */
        CHECK_OK(clv_grid_barrier(grid));
        left = MPI_Wtime();
        CHECK_OK(clv_grid_reduce(grid, CLV_MAX, 1, &latest));
        CHECK(left >= latest);
    }
    clv_grid_destroy(&grid);
}

static void agreements_are_not_counted(void)
{
    clv_grid *grid = open_grid(NULL);
    double value = 1;
    CHECK_OK(clv_grid_barrier(grid));
    CHECK_OK(clv_grid_reduce(grid, CLV_SUM, 1, &value));
    CHECK_OK(clv_grid_broadcast(grid, 0, &value, sizeof value));
    clv_traffic t = clv_grid_traffic(grid);
    CHECK_INT((long long)(t.bytes_received + t.bytes_sent), 0);
    CHECK_INT((long long)(t.messages_received + t.messages_sent), 0);
    clvi_grid_count(grid, 10, 0);
    clvi_grid_count(grid, 0, 4);
    t = clv_grid_traffic(grid);
    CHECK_INT((long long)t.bytes_sent, 10);
    CHECK_INT((long long)t.bytes_received, 4);
    clv_grid_traffic_reset(grid);
    CHECK_INT((long long)clv_grid_traffic(grid).bytes_sent, 0);
    clv_grid_destroy(&grid);
}

/* The 1st, 2nd, ... allocation fails on one process only. */
static void failing_memory(void)
{
    for (int victim = 0; victim < check_size(); victim++) {
        int64_t live = clvi_alloc_live();
        clv_status status = CLV_ENOMEM;
        for (int nth = 1; status != CLV_OK && nth < 100; nth++) {
            clv_grid *grid = NULL;
            double value = 1;
            if (check_rank() == victim) clvi_alloc_fail_at(nth);
            status = clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid);
            if (status == CLV_OK) status = clv_grid_reduce(grid, CLV_SUM, 1, &value);
            clvi_alloc_fail_at(0);
            CHECK(status == CLV_OK || status == CLV_ENOMEM);
            CHECK(ref_same(status));
            clv_grid_destroy(&grid);
            CHECK_INT(clvi_alloc_live(), live);
        }
        CHECK_OK(status);
    }
}

const check_case check_cases[] = {
    {"coordinates are row-major", coordinates_are_row_major},
    {"grids from text", grids_from_text},
    {"the communicator is duplicated", the_communicator_is_duplicated},
    {"bad grids are refused", bad_grids_are_refused},
    {"disagreeing processes are told", disagreeing_processes_are_told},
    {"the lowest failing rank is heard", the_lowest_failing_rank_is_heard},
    {"broadcast from every root", broadcast_from_every_root},
    {"reductions", reductions},
    {"barriers hold", barriers_hold},
    {"agreements are not counted", agreements_are_not_counted},
    {"failing memory", failing_memory},
    {0},
};
