/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_collective.c: `cleave bench collective`: an all-reduce, all-gather or reduce-scatter of a
 * Cleave matrix, against MPICH's own of the same bytes.
 *
 * Cleave's is the move that the two layouts mean, planned once, of matrices that the library
 * allocated. MPICH's runs on ordinary memory, aligned and on huge pages where the system gives
 * them.
 */
#include "bench.h"

#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { AGAINST_NOTHING, AGAINST_MPICH };
enum { OURS, BLOCKING, POLLED, CONTENDERS };
enum { MOST_SIZES = 64, HUGE_PAGE = 2 << 20 };
typedef enum { ALLREDUCE, ALLGATHER, REDUCESCATTER } collective;

static const char *const op_names[] = {"allreduce", "allgather", "reducescatter"};
/* The move that each is, over the only axis. */
static const char *const from_layouts[] = {"-|-;col", "col|-", "-|-;col"};
static const char *const to_layouts[] = {"-|-", "-|-", "col|-"};

static const double least_turn = 4e-3; /* seconds */

typedef struct {
    int op, against;
    clv_dtype dtype;
    int64_t repeat;
    const char *text; /* the sizes as given */
    double bytes[MOST_SIZES];
    int sizes;
    bool reproducible;
} collective_args;

/* MPICH's: count elements to or from each process, or of the whole for an all-reduce. */
typedef struct {
    collective op;
    MPI_Datatype type;
    MPI_Comm comm;
    int count;
    void *src, *dst;
} mpich;

typedef struct {
    const collective_args *args;
    clv_grid *grid;
    bool crowded; /* more ranks than cores */
    double asked; /* bytes of the whole matrix                             */
    double bytes; /* the same, rounded up to whole elements for each process */
    mover mover;
    mpich mpich;
    contender contenders[CONTENDERS];
} bench;

/* ---- MPICH's own ---- */

/* The only blocking MPI calls of the project: here they are what is measured. They spin, so they
 * are left out where ranks share cores: one of them can take a hundredth of a second there. */
static int call_blocking(const mpich *m)
{
    switch (m->op) {
    case ALLREDUCE:
        return MPI_Allreduce(m->src, m->dst, m->count, m->type, MPI_SUM, m->comm);
    case ALLGATHER:
        return MPI_Allgather(m->src, m->count, m->type, m->dst, m->count, m->type, m->comm);
    default:
        return MPI_Reduce_scatter_block(m->src, m->dst, m->count, m->type, MPI_SUM, m->comm);
    }
}

static int start_nonblocking(const mpich *m, MPI_Request *request)
{
    switch (m->op) {
    case ALLREDUCE:
        return MPI_Iallreduce(m->src, m->dst, m->count, m->type, MPI_SUM, m->comm, request);
    case ALLGATHER:
        return MPI_Iallgather(m->src, m->count, m->type, m->dst, m->count, m->type, m->comm,
                              request);
    default:
        return MPI_Ireduce_scatter_block(m->src, m->dst, m->count, m->type, MPI_SUM, m->comm,
                                         request);
    }
}

/* Its nonblocking call polled, leaving the core to others between polls. */
static int call_polled(const mpich *m)
{
    enum { SPINS = 64 };
    MPI_Request request;
    int done = 0, code = start_nonblocking(m, &request);
    for (int polls = 0; code == MPI_SUCCESS && !done; polls++) {
        if (polls >= SPINS) sched_yield();
        code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
    return code;
}

static clv_status verdict(const mpich *m, int code)
{
    return code == MPI_SUCCESS ? CLV_OK : tool_fail(CLV_EMPI, "MPICH's %s failed", op_names[m->op]);
}

static clv_status run_blocking(void *context)
{
    return verdict(context, call_blocking(context));
}

static clv_status run_polled(void *context)
{
    return verdict(context, call_polled(context));
}

/* MPICH at its best: the faster of its two calls. */
static int best_of_mpich(const contender c[])
{
    bool blocking = c[BLOCKING].run && c[BLOCKING].seconds.median <= c[POLLED].seconds.median;
    return blocking ? BLOCKING : POLLED;
}

static void *ordinary_memory(double bytes)
{
    size_t size = ((size_t)bytes / HUGE_PAGE + 1) * HUGE_PAGE;
    void *memory = aligned_alloc(HUGE_PAGE, size);
    if (!memory) return NULL;
    madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0, size);
    return memory;
}

static clv_status open_mpich(bench *b)
{
    double size = clv_grid_size(b->grid), element = (double)clv_dtype_size(b->args->dtype);
    double count = b->bytes / element / (b->args->op == ALLREDUCE ? 1 : size);
    clv_status status = CLV_OK;
    if (count > INT32_MAX) /* on every process */
        return tool_fail(CLV_ELIMIT,
                         "--bytes: expected at most %d elements for MPI's int, found %.0f",
                         INT32_MAX, count);
    b->mpich = (mpich){.op = (collective)b->args->op,
                       .type = b->args->dtype == CLV_F32 ? MPI_FLOAT : MPI_DOUBLE,
                       .comm = MPI_COMM_WORLD,
                       .count = (int)count,
                       .src = ordinary_memory(b->bytes),
                       .dst = ordinary_memory(b->bytes)};
    if (!b->mpich.src || !b->mpich.dst)
        status = tool_fail(CLV_ENOMEM, "no memory for two buffers of %.0f bytes", b->bytes);
    return clv_grid_agree(b->grid, status);
}

/* ---- One size ---- */

/* One row for each process, so that every part is contiguous, in Cleave as in MPICH. */
static clv_status open_move(bench *b)
{
    clv_status status;
    int op = b->args->op, size = clv_grid_size(b->grid);
    double row = b->bytes / size / (double)clv_dtype_size(b->args->dtype);
    clv_spec rows = {.m = size, .n = (int64_t)row, .dtype = b->args->dtype};
    TRY(mover_specs(b->grid, rows, from_layouts[op], to_layouts[op], &b->mover));
    TRY(mover_open(b->grid, &b->mover));
done:
    return status;
}

static void close_size(bench *b)
{
    contenders_free(CONTENDERS, b->contenders);
    free(b->mpich.src);
    free(b->mpich.dst);
    b->mpich = (mpich){0};
    mover_close(&b->mover);
}

static void show_size(const bench *b)
{
    char bytes[32], note[64];
    int best = best_of_mpich(b->contenders);
    spread ours = b->contenders[OURS].seconds, theirs = b->contenders[best].seconds;
    output_text("  %10s %12.4g %12.4g %12.4g %10.4g", bytes_format(b->bytes, bytes), ours.median,
                ours.least, ours.most, b->bytes / ours.median / 1e9);
    if (b->args->against == AGAINST_MPICH)
        output_text(" %12.4g %8.2f  %s", theirs.median, theirs.median / ours.median,
                    b->contenders[best].name);
    output_text("%s\n", bytes_note(b->bytes, b->asked, note));
    json_t *object = json_pack(
        "{s:s,s:s,s:b,s:I,s:I,s:s,s:i,s:b,s:I}", "bench", "collective", "op", op_names[b->args->op],
        "reproducible", b->args->reproducible, "bytes", (json_int_t)b->bytes, "asked_bytes",
        (json_int_t)b->asked, "dtype", clv_dtype_name(b->args->dtype), "ranks",
        clv_grid_size(b->grid), "crowded", b->crowded, "repeat", (json_int_t)b->args->repeat);
    json_seconds(object, "", ours);
    if (b->args->against == AGAINST_MPICH) {
        json_seconds(object, "mpich_", theirs);
        json_object_set_new(object, "mpich_call", json_string(b->contenders[best].name));
        json_object_set_new(object, "ratio", output_number(theirs.median / ours.median));
    }
    output_json("o", object);
}

/* Before anything is allocated. Collective. */
static clv_status check_room(const bench *b)
{
    double most = 0;
    for (int i = 0; i < b->args->sizes; i++) most = fmax(most, b->args->bytes[i]);
    return room_for(b->grid, "the matrices do", most * (b->args->against == AGAINST_MPICH ? 4 : 2));
}

static clv_status measure_size(bench *b, double asked)
{
    clv_status status;
    double unit = clv_grid_size(b->grid) * (double)clv_dtype_size(b->args->dtype);
    b->asked = asked;
    b->bytes = ceil(asked / unit) * unit;
    bool peer = b->args->against == AGAINST_MPICH;
    TRY(open_move(b));
    if (peer) TRY(open_mpich(b));
    b->contenders[OURS] = (contender){.name = "cleave", .run = mover_run, .context = &b->mover};
    b->contenders[BLOCKING] = (contender){
        .name = "blocking", .run = peer && !b->crowded ? run_blocking : NULL, .context = &b->mpich};
    b->contenders[POLLED] =
        (contender){.name = "polled", .run = peer ? run_polled : NULL, .context = &b->mpich};
    TRY(contenders_measure(b->grid, CONTENDERS, b->contenders, b->args->repeat, least_turn));
    show_size(b);
done:
    close_size(b);
    return status;
}

/* ---- The command ---- */

/* "8K", "8K..64M" (doubling): more sizes of args. */
static bool append_sizes(char *word, collective_args *args)
{
    char *dots = strstr(word, "..");
    double size, last;
    if (dots) *dots = '\0';
    if (!bytes_parse(word, &size) || size < 1) return false;
    if (!bytes_parse(dots ? dots + 2 : word, &last) || last < size) return false;
    for (; size <= last && args->sizes < MOST_SIZES; size *= 2) args->bytes[args->sizes++] = size;
    return size > last;
}

/* Lists of those, joined by ','. */
static clv_status read_sizes(collective_args *args)
{
    char words[1024], *rest = words;
    bool read = strlen(args->text) < sizeof words;
    if (read) strcpy(words, args->text);
    for (char *word; read && (word = strsep(&rest, ","));) read = append_sizes(word, args);
    return read
               ? CLV_OK
               : options_refuse("--bytes", "at most 64 sizes as 64K, 8K,1M or 8K..64M", args->text);
}

static clv_status ask_crowded(bench *b)
{
    int neighbours, nodes;
    cpu_set_t set;
    clv_status status = room_neighbours(b->grid, &neighbours, &nodes);
    if (status != CLV_OK) return status;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    double crowded[] = {neighbours > cores};
    status = clv_grid_reduce(b->grid, CLV_MAX, 1, crowded);
    b->crowded = crowded[0] > 0;
    return status;
}

static clv_status work(void *asked)
{
    clv_status status;
    bench b = {.args = asked};
    TRY(read_sizes(asked));
    TRY(tool_grid(NULL, b.args->reproducible ? CLV_LEAVES : 0, &b.grid));
    TRY(check_room(&b));
    TRY(ask_crowded(&b));
    output_text("%s of %s over %d processes%s\n\n", op_names[b.args->op],
                clv_dtype_name(b.args->dtype), clv_grid_size(b.grid),
                b.crowded ? ", more than cores" : "");
    output_text("  %10s %12s %12s %12s %10s%s\n", "bytes", "seconds", "least", "most", "GB/s",
                b.args->against == AGAINST_MPICH ? "        mpich    ratio" : "");
    for (int i = 0; i < b.args->sizes; i++) TRY(measure_size(&b, b.args->bytes[i]));
done:
    clv_grid_destroy(&b.grid);
    return status;
}

static const manual about = {
    .name = "bench collective",
    .synopsis = "--op OP [options]",
    .about =
        "Measures an all-reduce, all-gather or reduce-scatter of a Cleave matrix over all\n"
        "processes, against MPICH's own of the same bytes: those of the whole matrix. ratio is "
        "how\n"
        "many times faster Cleave is. With more ranks than cores MPICH's nonblocking call is\n"
        "polled, which is its best. Sizes are rounded up to whole elements for each process.\n"
        "Sums are added in one tree with --reproducible as without: it costs nothing here.",
    .examples =
        "  mpiexec.mpich -n 2 cleave bench collective --op allreduce --bytes 8K..64M \\\n"
        "      --against mpich\n"
        "  mpiexec.mpich -n 2 cleave bench collective --op allgather --bytes 64K,1M --json\n",
};

int bench_collective(int argc, char **argv)
{
    collective_args args = {0};
    option options[] = {
        opt_choice("op", "OP", &args.op, REQUIRED, "allreduce|allgather|reducescatter",
                   "what to measure"),
        opt_text("bytes", "BYTES", &args.text, "8K..64M",
                 "of the whole matrix: 64K, a list 8K,1M, or a range 8K..64M that doubles"),
        BENCH_DTYPE(&args.dtype, "f32"),
        opt_choice("against", "PEER", &args.against, "nothing", "nothing|mpich",
                   "MPI_Allreduce, MPI_Allgather or MPI_Reduce_scatter_block"),
        REPRODUCIBLE_OPTION(&args.reproducible),
        BENCH_REPEAT(&args.repeat),
        JSON_OPTION,
        {0},
    };
    return tool_main(&about, options, argc, argv, work, &args);
}
