/* SPDX-License-Identifier: BSD-3-Clause
 *
 * machine.c: what plans assume of the machine: options before profile before defaults, the same on
 * every process, and bad profiles named.
 *
 * RANKS: 1 2 3
 */
#include "../reference.h"

#include <unistd.h>

static const char *const path = "profile.json";

/* Every rank waits for rank 0, which writes. */
static void write_text(const char *text)
{
    clv_grid *grid = NULL;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_grid_barrier(grid));
    if (check_rank() == 0) {
        FILE *file = fopen(path, "w");
        if (CHECK(file != NULL)) {
            fputs(text, file);
            fclose(file);
        }
    }
    CHECK_OK(clv_grid_barrier(grid));
    clv_grid_destroy(&grid);
}

static void says(const char *word)
{
    if (!CHECK(strstr(clv_last_error(), word) != NULL))
        fprintf(stderr, "expected \"%s\" in \"%s\"\n", word, clv_last_error());
}

static void refused(const char *text, clv_status expected, const char *word)
{
    clv_machine machine = {.flops = 7};
    write_text(text);
    CHECK_STATUS(clv_machine_read(path, &machine), expected);
    says(word);
    says(path);
    CHECK_NEAR(machine.flops, 7, 0); /* untouched */
}

static void bad_profiles_are_named(void)
{
    clv_machine machine;
    CHECK_STATUS(clv_machine_read("absent.json", &machine), CLV_ENOTFOUND);
    says("absent.json");
    refused("{\"flops\": 1e11, \"flop\": 2}", CLV_EFORMAT, "unknown key \"flop\"");
    refused("{\"net_latency\": -1}", CLV_EFORMAT, "\"net_latency\"");
    refused("{\"net_latency\": -1}", CLV_EFORMAT, "-1");
    refused("{\"half_m\": 0}", CLV_EFORMAT, "\"half_m\"");
    refused("{\"node_bandwidth\": \"fast\"}", CLV_EFORMAT, "\"fast\"");
    refused("{\"flops\": 1, \"flops\": 2}", CLV_EFORMAT, "line 1");
    refused("{\n\"flops\" 1}", CLV_EFORMAT, "line 2");
    refused("[1, 2]", CLV_EFORMAT, "object");
    refused("", CLV_EFORMAT, "line");
}

static void profiles_come_back(void)
{
    clv_machine out = {1.5e-7, 1.25e10, 3e-6, 1e9, 2e10, 1.234567890123e11, 3, 5, 1.0 / 3}, in;
    char own[64];
    snprintf(own, sizeof own, "own%d.json", check_rank());
    CHECK_OK(clv_machine_write(own, &out));
    CHECK_OK(clv_machine_read(own, &in));
    CHECK(memcmp(&in, &out, sizeof in) == 0);
    CHECK_OK(clv_machine_write(own, &(clv_machine){.half_k = 2}));
    CHECK_OK(clv_machine_read(own, &in));
    CHECK_NEAR(in.half_k, 2, 0);
    CHECK_NEAR(in.flops, 0, 0); /* the default */
    CHECK_STATUS(clv_machine_write("no/such/folder.json", &out), CLV_EIO);
    says("no/such/folder.json");
    CHECK_STATUS(clv_machine_write(own, &(clv_machine){.flops = INFINITY}), CLV_EARG);
    unlink(own);
}

static void options_come_before_the_profile(void)
{
    clv_machine plain, machine;
    clv_plan_options model;
    unsetenv("CLEAVE_PROFILE");
    CHECK_OK(clv_machine_default(&plain));
    CHECK(plain.node_latency > 0 && plain.node_bandwidth > 0 && plain.net_latency > 0 &&
          plain.net_bandwidth > 0 && plain.memory_bandwidth > 0 && plain.flops > 0 &&
          plain.half_m > 0 && plain.half_n > 0 && plain.half_k > 0);
    write_text("{\"flops\": 5e9, \"half_n\": 12}");
    setenv("CLEAVE_PROFILE", path, 1);
    CHECK_OK(clv_machine_default(&machine));
    CHECK_NEAR(machine.flops, 5e9, 0);
    CHECK_NEAR(machine.half_n, 12, 0);
    CHECK_NEAR(machine.half_m, plain.half_m, 0);
    CHECK_OK(
        clvi_plan_defaults(&(clv_plan_options){.memory = 9, .machine = {.half_n = 3}}, &model));
    CHECK_NEAR(model.machine.flops, 5e9, 0);
    CHECK_NEAR(model.machine.half_n, 3, 0);
    CHECK_INT((long long)model.memory, 9);
    CHECK_STATUS(clvi_plan_defaults(&(clv_plan_options){.machine = {.flops = -2}}, &model),
                 CLV_EARG);
    says("flops");
    CHECK_STATUS(clvi_plan_defaults(&(clv_plan_options){.machine = {.half_k = NAN}}, &model),
                 CLV_EARG);
    says("half_k");
    unsetenv("CLEAVE_PROFILE");
}

/* The profile of rank 0 counts, wherever the others look; options must agree. */
static void one_model_for_all(void)
{
    clv_grid *grid = NULL;
    clv_matrix *A = NULL, *C = NULL;
    clv_plan *plan = NULL;
    clv_plan_options model;
    clv_spec spec = {.m = 8, .n = 8, .dtype = CLV_F32};
    bool last = check_rank() == check_size() - 1, alone = check_size() == 1;
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    CHECK_OK(clv_matrix_create(grid, spec, &A));
    CHECK_OK(clv_matrix_create(grid, spec, &C));
    write_text("{\"flops\": 5e9}");
    setenv("CLEAVE_PROFILE", check_rank() == 0 ? path : "absent.json", 1);
    clv_layout X, W, Y;
    CHECK_OK(clvi_plan_agree(grid, CLV_OK, NULL, &model));
    CHECK_NEAR(model.machine.flops, 5e9, 0);
    CHECK_OK(clv_plan_gemm(CLV_N, A, CLV_N, A, C, NULL, &plan));
    clv_plan_destroy(&plan);
    setenv("CLEAVE_PROFILE", check_rank() == 0 ? "absent.json" : path, 1);
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, A, C, NULL, &plan), CLV_ENOTFOUND);
    says("absent.json");
    CHECK_STATUS(clv_plan_move(A, C, NULL, &plan), CLV_ENOTFOUND);
    CHECK_STATUS(clv_choose_linear(grid, CLV_F32, 8, 8, 8, NULL, &X, &W, &Y), CLV_ENOTFOUND);
    CHECK(plan == NULL);
    unsetenv("CLEAVE_PROFILE");
    clv_plan_options options = {.machine = {.net_latency = last ? 2e-6 : 1e-6}};
    CHECK_STATUS(clv_plan_gemm(CLV_N, A, CLV_N, A, C, &options, &plan),
                 alone ? CLV_OK : CLV_EMISMATCH);
    if (!alone) says("net_latency: rank 0 has 1e-06");
    clv_plan_destroy(&plan);
    options = (clv_plan_options){.memory = last ? 1 << 20 : 1 << 21};
    CHECK_STATUS(clv_plan_move(A, C, &options, &plan), alone ? CLV_OK : CLV_EMISMATCH);
    if (!alone) says("memory");
    clv_plan_destroy(&plan);
    clv_matrix_destroy(&A);
    clv_matrix_destroy(&C);
    clv_grid_destroy(&grid);
}

/* Layouts follow from rank 0's profile too: the same everywhere, and others with another profile.
 */
static void one_layout_for_all(void)
{
    static const char *const profiles[] = {"{\"half_m\": 1e6, \"half_n\": 1e-3}",
                                           "{\"half_m\": 1e-3, \"half_n\": 1e6}"};
    clv_grid *grid = NULL;
    clv_layout found[2][3];
    CHECK_OK(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    for (int i = 0; i < 2; i++) {
        clv_layout *l = found[i];
        write_text(profiles[i]);
        setenv("CLEAVE_PROFILE", check_rank() == 0 ? path : "absent.json", 1);
        CHECK_OK(clv_choose_linear(grid, CLV_F32, 4096, 256, 4096, NULL, &l[0], &l[1], &l[2]));
        CHECK(ref_same((int)(l[2].rows ^ l[2].cols << 8)));
    }
    if (check_size() > 1) CHECK(found[0][2].rows != found[1][2].rows);
    unsetenv("CLEAVE_PROFILE");
    clv_grid_destroy(&grid);
}

/* Half the speed at half_m, and no less than the operands take to be read. */
static void products_by_shape(void)
{
    clv_machine machine = {
        .memory_bandwidth = 1e9, .flops = 1e9, .half_m = 10, .half_n = 1e-9, .half_k = 1e-9};
    CHECK_NEAR(clvi_cost_product(&machine, CLV_F32, 10, 100, 100), 2 * 2e5 / 1e9, 1e-9);
    CHECK_NEAR(clvi_cost_product(&machine, CLV_F64, 10, 100, 100), 4 * 2e5 / 1e9, 1e-9);
    machine.half_m = 1e-9;
    CHECK_NEAR(clvi_cost_product(&machine, CLV_F32, 1, 1000, 1000), 4 * 1001e3 / 1e9, 1e-9);
    CHECK_NEAR(clvi_cost_product(&machine, CLV_F32, 0, 1000, 1000), 0, 0);
    machine.node_latency = 1, machine.node_bandwidth = 10;
    machine.net_latency = 100, machine.net_bandwidth = 1;
    CHECK_NEAR(clvi_cost_messages(&machine, (clvi_volume){50, 20, 5, 2}), 3 + 3 + 200 + 20, 1e-12);
}

const check_case check_cases[] = {
    {"bad profiles are named", bad_profiles_are_named},
    {"profiles come back", profiles_come_back},
    {"options come before the profile", options_come_before_the_profile},
    {"one model for all", one_model_for_all},
    {"one layout for all", one_layout_for_all},
    {"products by shape", products_by_shape},
    {0}};
