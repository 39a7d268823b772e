/* SPDX-License-Identifier: BSD-3-Clause
 *
 * load.c: matrices and blocks out of an open checkpoint.
 *
 * What the caller's matrices and the file's data sets have in common is settled first, in memory:
 * a load that does not fit touches no matrix.
 */
#include <clvi_io.h>
#include <stdarg.h>
#include <string.h>

/* ---- What does not fit ----------------------------------------------------------------- */

/* Names of one kind, as many as a message has room for: "; 3 missing: a, b and 1 more". */
typedef struct {
    int count, told;
    char text[200];
} roll;

/* Adds a name; after the first that found no room, none: the order of the names stays. The first
 * is told in any case, cut short. */
__attribute__((format(printf, 2, 3))) static void add(roll *r, const char *format, ...)
{
    va_list args;
    size_t used = strlen(r->text), room = sizeof r->text - used;
    char name[sizeof r->text];
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    bool fits = r->told == 0 || strlen(name) + 2 < room;
    if (r->told == r->count++ && fits)
        r->told += snprintf(r->text + used, room, "%s%s", used ? ", " : "", name) > 0;
}

/* What a load found before it began. */
typedef struct {
    int64_t *found; /* of each matrix: its entry, or -1: it keeps its values       */
    bool *taken;    /* of each entry: a matrix has its name                        */
    roll missing, extra, misshapen, mistyped;
} matching;

static void match_matrix(const clv_checkpoint *c, const clv_named *named, int i, bool lax,
                         matching *match)
{
    clv_spec spec = clv_matrix_spec(named->matrix);
    int64_t found = clvi_table_find(c->table, named->name, i);
    match->found[i] = found;
    if (found < 0) {
        if (!lax) add(&match->missing, "%s", named->name);
        return;
    }
    const clvi_entry *entry = clvi_table_entry(c->table, found);
    match->taken[found] = true;
    if (entry->m != spec.m || entry->n != spec.n)
        add(&match->misshapen, "%s (expected %lld x %lld, found %lld x %lld)", named->name,
            (long long)spec.m, (long long)spec.n, (long long)entry->m, (long long)entry->n);
    else if ((entry->dtype == CLV_I32) != (spec.dtype == CLV_I32))
        add(&match->mistyped, "%s (expected %s, found %s)", named->name, clv_dtype_name(spec.dtype),
            clv_dtype_name(entry->dtype));
}

/* "; 3 missing: a, b and 1 more", or nothing. */
static void tell(const roll *r, const char *kind, char *message, size_t size)
{
    size_t used = strlen(message);
    if (r->count == 0) return;
    used += (size_t)snprintf(message + used, size - used, "; %d %s: %s", r->count, kind, r->text);
    if (r->told < r->count)
        snprintf(message + used, size - used, " and %d more", r->count - r->told);
}

/* One failure for all that does not fit. */
static clv_status judge(const clv_checkpoint *c, int count, const matching *match)
{
    char message[4 * (sizeof match->missing.text + 80)] = "";
    tell(&match->missing, "missing in the file", message, sizeof message);
    tell(&match->extra, "only in the file", message, sizeof message);
    tell(&match->misshapen, "of another shape", message, sizeof message);
    tell(&match->mistyped, "of another kind of numbers", message, sizeof message);
    if (!*message) return CLV_OK;
    return clvi_fail(match->missing.count || match->extra.count ? CLV_ENOTFOUND
                     : match->misshapen.count                   ? CLV_ESHAPE
                                                                : CLV_EDTYPE,
                     "%s: expected data sets that fit %d matrices%s", c->path, count, message);
}

/* Whether a pattern fits any matrix or data set: one that fits none is a mistake. */
static bool is_of_use(const clv_checkpoint *c, int count, const clv_named matrices[],
                      const char *only)
{
    for (int i = 0; i < count; i++)
        if (clv_name_matches(only, matrices[i].name)) return true;
    for (int64_t e = 0; e < c->table->count; e++)
        if (clv_name_matches(only, clvi_table_name(c->table, clvi_table_entry(c->table, e))))
            return true;
    return false;
}

static clv_status match_all(const clv_checkpoint *c, int count, const clv_named matrices[],
                            const clv_load_options *options, matching *match)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(!options->only || is_of_use(c, count, matrices, options->only), CLV_ENOTFOUND,
               "%s: expected a pattern that some matrix or data set fits, found %s", c->path,
               options->only);
    match->found = clvi_alloc((size_t)count * sizeof *match->found);
    match->taken = clvi_alloc((size_t)c->table->count * sizeof *match->taken);
    CLVI_CHECK(match->found && match->taken, CLV_ENOMEM, "rank %d: a list of %d matrices",
               clv_grid_rank(c->grid), count);
    memset(match->taken, 0, (size_t)c->table->count * sizeof *match->taken);
    for (int i = 0; i < count; i++) {
        match->found[i] = -1;
        if (clv_name_matches(options->only, matrices[i].name))
            match_matrix(c, &matrices[i], i, options->lax, match);
    }
    for (int64_t e = 0; e < c->table->count && !options->lax; e++) {
        const char *name = clvi_table_name(c->table, clvi_table_entry(c->table, e));
        if (!match->taken[e] && clv_name_matches(options->only, name))
            add(&match->extra, "%s", name);
    }
    status = judge(c, count, match);
done:
    return status;
}

/* ---- Load ------------------------------------------------------------------------------- */

/* Closes a reader after what it did; that the file changed explains any other failure. */
static clv_status closed(clvi_reader **reader, clv_status status)
{
    clv_status changed = clvi_reader_close(reader);
    return changed == CLV_OK ? status : changed;
}

/* This process's blocks; the others' votes tell whether all tiles are good. */
static clv_status read_all(const clv_checkpoint *c, int count, const clv_named matrices[],
                           const matching *match)
{
    clv_status status;
    clvi_reader *reader = NULL;
    CLVI_TRY(clvi_reader_open(c->table, &c->file, c->grid, &reader));
    for (int i = 0; i < count; i++) {
        if (match->found[i] < 0) continue;
        clv_spec spec = clv_matrix_spec(matrices[i].matrix);
        clvi_target mine = {clvi_table_entry(c->table, match->found[i]), spec.dtype,
                            clv_matrix_block(matrices[i].matrix)};
        CLVI_TRY(clvi_reader_read(reader, spec, &mine));
    }
done:
    return closed(&reader, status);
}

clv_status clv_checkpoint_load(clv_checkpoint *checkpoint, int count, const clv_named matrices[],
                               const clv_load_options *options)
{
    clv_status status;
    matching match = {0};
    if (!checkpoint) return clvi_fail(CLV_EARG, "expected a checkpoint, found NULL");
    clv_load_options all = {0};
    if (!options) options = &all;
    int64_t same[] = {count, 0, 0, options->lax,
                      options->only ? (int64_t)clvi_hash_string(options->only) : 0};
    status = clvi_named_check(checkpoint->grid, count, matrices);
    if (status == CLV_OK) clvi_named_hash(count, matrices, &same[1], &same[2]);
    CLVI_TRY(clvi_grid_same(checkpoint->grid, status,
                            "the number of matrices to load,their names (hash),their shapes "
                            "(hash),lax,only (hash)",
                            5, same));
    status = match_all(checkpoint, count, matrices, options, &match);
    CLVI_TRY(clv_grid_agree(checkpoint->grid, status));
    status = read_all(checkpoint, count, matrices, &match);
    CLVI_TRY(clv_grid_agree(checkpoint->grid, status));
done:
    clvi_free(match.taken);
    clvi_free(match.found);
    return status;
}

/* ---- Read -------------------------------------------------------------------------------- */

static clv_status check_read(const clv_checkpoint *c, int i, clv_dtype dtype, const clv_block *b)
{
    clv_status status = CLV_OK;
    CLVI_CHECK(i >= 0 && i < c->table->count, CLV_EARG,
               "%s: expected a data set below %lld, found %d", c->path, (long long)c->table->count,
               i);
    const clvi_entry *entry = clvi_table_entry(c->table, i);
    const char *name = clvi_table_name(c->table, entry);
    CLVI_CHECK(clv_dtype_size(dtype) && (entry->dtype == CLV_I32) == (dtype == CLV_I32), CLV_EDTYPE,
               "%s: data set %s: expected a type that %s becomes, found %s", c->path, name,
               clv_dtype_name(entry->dtype),
               clv_dtype_size(dtype) ? clv_dtype_name(dtype) : "none");
    CLVI_CHECK(
        clvi_block_placed(*b, entry->m, entry->n), CLV_EARG,
        "%s: data set %s: expected a block within %lld x %lld, found %lld x %lld at %lld, %lld",
        c->path, name, (long long)entry->m, (long long)entry->n, (long long)b->m, (long long)b->n,
        (long long)b->row0, (long long)b->col0);
    CLVI_CHECK(b->m == 0 || b->n == 0 || (b->data && b->ld >= b->n), CLV_EARG,
               "%s: data set %s: expected memory of rows of at least %lld, found %s of %lld",
               c->path, name, (long long)b->n, b->data ? "some" : "none", (long long)b->ld);
done:
    return status;
}

clv_status clv_checkpoint_read(clv_checkpoint *checkpoint, int i, clv_dtype dtype, clv_block block)
{
    clv_status status;
    clv_checkpoint *c = checkpoint;
    clvi_reader *reader = NULL;
    if (!c) return clvi_fail(CLV_EARG, "expected a checkpoint, found NULL");
    CLVI_TRY(check_read(c, i, dtype, &block));
    clvi_target target = {clvi_table_entry(c->table, i), dtype, block};
    CLVI_TRY(clvi_reader_open(c->table, &c->file, NULL, &reader));
    status = clvi_reader_read(reader, (clv_spec){0}, &target);
done:
    return closed(&reader, status);
}
