/* SPDX-License-Identifier: BSD-3-Clause
 *
 * doctor.c: cleave doctor: what this installation runs on, and what to fix.
 *
 * Each finding is one line: what was looked at, what was found and, where something can be
 * better, what to do.
 */
#include "doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const manual about = {
    .name = "doctor",
    .synopsis = "[options]",
    .about =
        "Looks at what Cleave runs on here: MPI and its launcher, ranks and cores, the BLAS that "
        "is\n"
        "really called and how fast it is, memory, shared memory, and the file system of --dir:\n"
        "whether checkpoints there survive a crash and can be told from those of a dead run; says\n"
        "what to fix.\n"
        "Exit status 1 if something does not work; advice alone is status 0. Run it under mpiexec\n"
        "as you run training.",
    .examples = "  mpiexec.mpich -n 2 cleave doctor\n"
                "  mpiexec.mpich -n 2 cleave doctor --dir /scratch/run --json\n",
};

static const char *const grade_names[] = {"ok", "advice", "broken"};

static int broken; /* findings of grade BROKEN */

static void tell(grade g, const char *what, const char *fix, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void tell(grade g, const char *what, const char *fix, const char *format, ...)
{
    char found[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(found, sizeof found, format, arguments);
    va_end(arguments);
    if (g == GOOD) fix = NULL;
    broken += g == BROKEN;
    output_json("{s:s, s:s, s:s, s:s?}", "check", what, "grade", grade_names[g], "found", found,
                "fix", fix);
    output_text("%-7s %-10s %s\n", grade_names[g], what, found);
    if (fix) output_text("%-18s -> %s\n", "", fix);
}

static void check_mpi(void)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length, major, minor;
    MPI_Get_library_version(version, &length);
    MPI_Get_version(&major, &minor);
    version[strcspn(version, "\n")] = '\0';
    for (char *c = version; *c; c++)
        if (*c == '\t') *c = ' ';
    bool mpich = strstr(version, "MPICH") != NULL;
    tell(mpich ? GOOD : ADVICE, "mpi", "Cleave is built for and tested with MPICH",
         "%s (MPI %d.%d)", version, major, minor);
}

/* That the launcher is the library's has been agreed by the grid; else there would be none. */
static clv_status check_ranks(clv_grid *grid)
{
    int neighbours, nodes, threads = clv_blas_describe().threads;
    cpu_set_t set;
    clv_status status = room_neighbours(grid, &neighbours, &nodes);
    if (status != CLV_OK) return status;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    tell(GOOD, "launcher", NULL, "matches the library: %d rank%s on %d node%s", clv_grid_size(grid),
         clv_grid_size(grid) > 1 ? "s" : "", nodes, nodes > 1 ? "s" : "");
    tell(neighbours * threads > cores ? ADVICE : GOOD, "cores",
         "start no more ranks than cores, or set BLIS_NUM_THREADS=1",
         "%d for %d rank%s of %d thread%s on this node", cores, neighbours,
         neighbours > 1 ? "s" : "", threads, threads > 1 ? "s" : "");
    return CLV_OK;
}

static void check_blas(void)
{
    clv_blas_info blas = clv_blas_describe();
    bool blis = strstr(blas.file, "blis") != NULL;
    tell(GOOD, "blas", NULL, "%s, kernel %s (%s), %d thread%s a rank", blas.library, blas.kernel,
         blas.reason, blas.threads, blas.threads > 1 ? "s" : "");
    tell(blis ? GOOD : ADVICE, "dgemm_",
         "ScaLAPACK calls another BLAS than BLIS: LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/"
         "blis-openmp",
         "comes from %s", blas.file);
}

/* ---- Speed ---- */

/* GFLOP/s of C = A B of n x n on this process alone, the best of a few. */
static clv_status measure(clv_dtype dtype, int64_t n, double *gflops)
{
    enum { REPEATS = 4 };
    clv_status status;
    int threads = clv_blas_describe().threads;
    clv_grid *grid = NULL;
    clv_matrix *matrices[3] = {NULL};
    clv_plan *plan = NULL;
    clv_spec spec = {.m = n, .n = n, .dtype = dtype};
    double best = 1e30;
    TRY(clv_grid_create_text(MPI_COMM_SELF, NULL, &grid));
    clv_blas_set_threads(threads); /* a grid of one took all cores */
    for (int i = 0; i < 3; i++) {
        TRY(clv_matrix_create(grid, spec, &matrices[i]));
        TRY(clv_matrix_fill_normal(matrices[i], 1, (uint64_t)i, 0, 1));
    }
    clv_matrix **m = matrices;
    TRY(clv_plan_gemm(CLV_N, m[0], CLV_N, m[1], m[2], NULL, &plan));
    for (int i = 0; i < REPEATS; i++) {
        double started = tool_seconds();
        TRY(clv_execute_gemm(plan, 1, m[0], m[1], 0, m[2]));
        double seconds = tool_seconds() - started;
        if (seconds < best) best = seconds;
    }
    *gflops = 2e-9 * (double)n * (double)n * (double)n / best;
done:
    clv_plan_destroy(&plan);
    for (int i = 0; i < 3; i++) clv_matrix_destroy(&matrices[i]);
    clv_grid_destroy(&grid);
    return status;
}

/* All ranks at once, as in training. */
static clv_status check_speed(clv_grid *grid, clv_dtype dtype, const char *name)
{
    enum { EXTENT = 1024 };
    double mine = 0;
    clv_status status = clv_grid_barrier(grid);
    if (status != CLV_OK) return status;
    status = clv_grid_agree(grid, measure(dtype, EXTENT, &mine));
    double least[] = {mine}, most[] = {mine}, sum[] = {mine};
    if (status == CLV_OK) status = clv_grid_reduce(grid, CLV_MIN, 1, least);
    if (status == CLV_OK) status = clv_grid_reduce(grid, CLV_MAX, 1, most);
    if (status == CLV_OK) status = clv_grid_reduce(grid, CLV_SUM, 1, sum);
    if (status != CLV_OK) return status;
    tell(least[0] < most[0] / 2 ? ADVICE : GOOD, name,
         "one rank is slower than half of another: pin ranks to cores (mpiexec -bind-to core)",
         "%.1f to %.1f GFLOP/s a rank, %.1f together (%d x %d x %d, all ranks at once)", least[0],
         most[0], sum[0], EXTENT, EXTENT, EXTENT);
    output_json("{s:s, s:o, s:o, s:o}", "speed", name, "least_gflops", output_number(least[0]),
                "most_gflops", output_number(most[0]), "all_gflops", output_number(sum[0]));
    return CLV_OK;
}

/* ---- The machine ---- */

/* Enough of memory for /dev/shm; Linux gives it half. */
enum { SHARED_PART = 8 };

static void check_memory(void)
{
    static const double mib = 1 << 20;
    double page = (double)sysconf(_SC_PAGESIZE);
    struct statvfs room;
    tell(GOOD, "memory", NULL, "%.0f MiB, %.0f MiB free",
         page * (double)sysconf(_SC_PHYS_PAGES) / mib,
         page * (double)sysconf(_SC_AVPHYS_PAGES) / mib);
    if (statvfs("/dev/shm", &room)) {
        tell(BROKEN, "/dev/shm", "mount a tmpfs there: MPICH needs it between ranks of one node",
             "%s", strerror(errno));
        return;
    }
    double free = (double)room.f_bavail * (double)room.f_frsize;
    bool little = free < page * (double)sysconf(_SC_PHYS_PAGES) / SHARED_PART;
    tell(little ? ADVICE : GOOD, "/dev/shm",
         "matrices of ranks of one node lie there, those without room move slower, through "
         "messages: give a container more (docker --shm-size=8g)",
         "%.0f MiB, %.0f MiB free", (double)room.f_blocks * (double)room.f_frsize / mib,
         free / mib);
}

/* What plans are compared by: before anything is planned. */
static void check_profile(void)
{
    const char *path = getenv("CLEAVE_PROFILE");
    clv_machine machine;
    if (clv_machine_default(&machine) != CLV_OK) {
        tell(BROKEN, "profile",
             "write it by cleave bench calibrate -o FILE, or unset CLEAVE_PROFILE",
             "CLEAVE_PROFILE: %s", clv_last_error());
        unsetenv("CLEAVE_PROFILE"); /* what follows is looked at all the same */
    } else if (path && *path)
        tell(GOOD, "profile", NULL, "%s: %.1f GFLOP/s a rank, %.1f GB/s between ranks", path,
             machine.flops / 1e9, machine.node_bandwidth / 1e9);
    else
        tell(GOOD, "profile", NULL,
             "none, plans use defaults: cleave bench calibrate -o FILE measures this machine, "
             "CLEAVE_PROFILE=FILE uses it");
}

typedef struct {
    const char *dir;
    const option *options;
} doctor_args;

static clv_status doctor(void *untyped)
{
    const doctor_args *args = untyped;
    clv_status status;
    clv_grid *grid = NULL;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    tell(GOOD, "cleave", NULL, "%s on %s", clv_version(), host);
    check_mpi();
    TRY(clv_grid_create_text(MPI_COMM_WORLD, NULL, &grid));
    TRY(check_ranks(grid));
    check_blas();
    check_profile();
    TRY(check_speed(grid, CLV_F32, "sgemm"));
    TRY(check_speed(grid, CLV_F64, "dgemm"));
    if (tool.rank == 0) {
        check_memory();
        folder_check(args->dir, options_given(args->options, "dir"), tell);
    }
    TRY(clv_grid_agree(grid, broken ? tool_fail(CLV_EUNSUPPORTED, "%d thing%s to fix, named above",
                                                broken, broken > 1 ? "s" : "")
                                    : CLV_OK));
done:
    clv_grid_destroy(&grid);
    return status;
}

int cmd_doctor(int argc, char **argv)
{
    doctor_args args = {0};
    option options[] = {
        opt_text("dir", "DIR", &args.dir, ".", "a folder for checkpoints"),
        JSON_OPTION,
        {0},
    };
    args.options = options;
    return tool_main(&about, options, argc, argv, doctor, &args);
}
