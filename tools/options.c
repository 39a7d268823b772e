/* SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c: one option parser and one manual, both driven by the same table.
 *
 * Reading words needs no MPI: every rank has the same words (tool_same_words), comes to the same
 * verdict before any communication, and rank 0 alone says it.
 */
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 24 };

/* The words, and which of them is next. */
typedef struct {
    int count, next;
    char **words;
} reader;

static bool is_end(const option *o)
{
    return !o->name && !o->help;
}
static bool is_required(const option *o)
{
    return o->initial && !*o->initial;
}

/* How a row is written on the command line: "-m", "--batch", or what an operand is called. */
static const char *spelling(const option *o, char buffer[80])
{
    if (!*o->name) return o->argument;
    snprintf(buffer, 80, "%s%s", o->name[1] ? "--" : "-", o->name);
    return buffer;
}

/* An option begins with '-' and a letter or another '-'; so "-1" and "-" are values. */
static bool is_option(const char *word)
{
    return word[0] == '-' && (word[1] == '-' || isalpha((unsigned char)word[1]));
}

/* ---- Values ---- */

static clv_status wrong(const option *o, const char *expected, const char *found)
{
    char name[80];
    return tool_fail(CLV_EARG, "%s: expected %s, found \"%.200s\"", spelling(o, name), expected,
                     found);
}

static clv_status read_int(const option *o, const char *word)
{
    char *end, expected[120];
    errno = 0;
    long long value = strtoll(word, &end, 10);
    snprintf(expected, sizeof expected, "an integer from %.0f to %.0f", o->low, o->high);
    if (end == word || *end || errno || (double)value < o->low || (double)value > o->high)
        return wrong(o, expected, word);
    *(int64_t *)o->value = value;
    return CLV_OK;
}

static clv_status read_real(const option *o, const char *word)
{
    char *end, expected[120];
    double value = strtod(word, &end);
    snprintf(expected, sizeof expected, "a number from %g to %g", o->low, o->high);
    if (end == word || *end || !(value >= o->low && value <= o->high))
        return wrong(o, expected, word);
    *(double *)o->value = value;
    return CLV_OK;
}

/* Length of the choice at text; *text moves behind it and its '|'. */
static size_t next_choice(const char **text)
{
    size_t length = strcspn(*text, "|");
    *text += length + ((*text)[length] == '|');
    return length;
}

static clv_status read_choice(const option *o, const char *word)
{
    const char *at = o->choices, *start = at;
    for (int index = 0; *at; index++, start = at) {
        size_t length = next_choice(&at);
        if (strlen(word) != length || strncmp(start, word, length)) continue;
        *(int *)o->value = index;
        return CLV_OK;
    }
    return wrong(o, o->choices, word);
}

/* The list lies in argv itself, of which the words before the next are done with; a
 * table has one list at most. */
static void append_word(option_words *list, reader *in)
{
    if (!list->count) list->words = (const char **)in->words + in->next;
    list->words[list->count++] = in->words[in->next++];
}

static clv_status read_value(option *o, const char *word)
{
    switch (o->type) {
    case OPTION_INT:
        return read_int(o, word);
    case OPTION_REAL:
        return read_real(o, word);
    case OPTION_CHOICE:
        return read_choice(o, word);
    case OPTION_TEXT:
        if (!*word) return wrong(o, o->argument, word);
        *(const char **)o->value = word;
        return CLV_OK;
    case OPTION_FLAG:
        *(bool *)o->value = true;
        return CLV_OK;
    case OPTION_LIST:
        break;
    }
    return CLV_OK;
}

/* ---- Words ---- */

/* The row of a name. Of several rows for words of no option ("") the first that takes one more. */
static option *find(option options[], const char *name, size_t length)
{
    for (option *o = options; !is_end(o); o++)
        if (o->name && strlen(o->name) == length && !strncmp(o->name, name, length) &&
            (length || !o->given || o->type == OPTION_LIST))
            return o;
    return NULL;
}

/* What stands behind `o`: the words up to the next option for a list, one for the others. */
static clv_status read_argument(option *o, const char *attached, reader *in)
{
    char name[80];
    bool empty = in->next >= in->count || is_option(in->words[in->next]);
    if (o->type == OPTION_FLAG)
        return attached ? wrong(o, "no value", attached) : read_value(o, NULL);
    if (attached && o->type != OPTION_LIST) return read_value(o, attached);
    if (attached || empty)
        return tool_fail(CLV_EARG, "%s: expected %s, found %s", spelling(o, name), o->argument,
                         attached                ? "'='"
                         : in->next >= in->count ? "the end of the command"
                                                 : in->words[in->next]);
    if (o->type != OPTION_LIST) return read_value(o, in->words[in->next++]);
    while (in->next < in->count && !is_option(in->words[in->next])) append_word(o->value, in);
    return CLV_OK;
}

static clv_status read_word(option options[], reader *in)
{
    const char *word = in->words[in->next];
    if (!is_option(word)) {
        option *operand = find(options, "", 0);
        if (!operand) return tool_fail(CLV_EARG, "expected an option, found \"%.200s\"", word);
        operand->given = true;
        if (operand->type == OPTION_LIST) {
            append_word(operand->value, in);
            return CLV_OK;
        }
        in->next++;
        return read_value(operand, word);
    }
    in->next++;
    const char *name = word + 1 + (word[1] == '-'), *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    option *o = length && (length == 1) == (word[1] != '-') ? find(options, name, length) : NULL;
    if (!o) return tool_fail(CLV_EARG, "unknown option %.200s", word);
    o->given = true;
    return read_argument(o, equals ? equals + 1 : NULL, in);
}

static clv_status read_words(option options[], reader *in)
{
    char name[80];
    clv_status status = CLV_OK;
    for (option *o = options; !is_end(o); o++)
        if (o->initial && *o->initial) TRY(read_value(o, o->initial));
    while (in->next < in->count) TRY(read_word(options, in));
    for (const option *o = options; !is_end(o); o++)
        if (is_required(o) && !o->given)
            return tool_fail(CLV_EARG, "expected %s%s%s, found none", spelling(o, name),
                             *o->name ? " " : "", *o->name ? o->argument : "");
done:
    return status;
}

/* ---- The manual ---- */

static void show_default(const option *o)
{
    if (o->choices) printf(" (%s)", o->choices);
    if (is_required(o))
        printf(" [required]");
    else if (o->initial)
        printf(" [%s]", o->initial);
}

static void show_option(const option *o)
{
    char name[80], left[120];
    if (!o->name) {
        printf("\n%s\n", o->help);
        return;
    }
    const char *argument = *o->name && o->argument ? o->argument : "";
    snprintf(left, sizeof left, "%s%s%s", spelling(o, name), *argument ? " " : "", argument);
    printf("  %-*s  %s", HELP_COLUMN, left, o->help);
    show_default(o);
    putchar('\n');
}

static void show_manual(const manual *about, const option *options)
{
    printf("Usage: cleave %s %s\n\n%s\n\nOptions:\n", about->name, about->synopsis, about->about);
    for (const option *o = options; !is_end(o); o++) show_option(o);
    printf("  %-*s  this page\n\nExamples:\n%s", HELP_COLUMN, "--help", about->examples);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

/* ---- Two records ---- */

/* The bytes of a value; only those that a record can hold. */
static size_t value_size(option_type type)
{
    switch (type) {
    case OPTION_INT:
        return sizeof(int64_t);
    case OPTION_REAL:
        return sizeof(double);
    case OPTION_CHOICE:
        return sizeof(int);
    case OPTION_FLAG:
        return sizeof(bool);
    default:
        return 0;
    }
}

static void format_value(const option *o, const void *value, char buffer[64])
{
    const char *at = o->choices;
    switch (o->type) {
    case OPTION_INT:
        snprintf(buffer, 64, "%" PRId64, *(const int64_t *)value);
        break;
    case OPTION_REAL:
        snprintf(buffer, 64, "%g", *(const double *)value);
        break;
    case OPTION_FLAG:
        snprintf(buffer, 64, "%s", *(const bool *)value ? "yes" : "no");
        break;
    default:
        for (int index = *(const int *)value; index > 0; index--) next_choice(&at);
        snprintf(buffer, 64, "%.*s", (int)strcspn(at, "|"), at);
    }
}

/* Where the value of `o` lies within the record `asked`; -1 if elsewhere. */
static ptrdiff_t offset_in(const option *o, const void *asked, size_t size)
{
    uintptr_t value = (uintptr_t)o->value, first = (uintptr_t)asked;
    bool inside = value_size(o->type) && value >= first && value < first + size;
    return inside ? (ptrdiff_t)(value - first) : -1;
}

bool options_given(const option options[], const char *name)
{
    for (const option *o = options; !is_end(o); o++)
        if (o->name && !strcmp(o->name, name)) return o->given;
    return false;
}

static option row(option_type type, const char *name, const char *argument, void *value,
                  const char *initial, const char *help)
{
    return (option){name, argument, type, value, initial, help, 0, 0, NULL, false};
}

/* ---- Exported ---- */

option opt_heading(const char *help)
{
    return (option){.help = help};
}

option opt_flag(const char *name, bool *value, const char *help)
{
    return (option){.name = name, .type = OPTION_FLAG, .value = value, .help = help};
}

option opt_text(const char *name, const char *argument, const char **value, const char *initial,
                const char *help)
{
    return row(OPTION_TEXT, name, argument, value, initial, help);
}

option opt_list(const char *name, const char *argument, option_words *value, const char *initial,
                const char *help)
{
    return row(OPTION_LIST, name, argument, value, initial, help);
}

option opt_int(const char *name, const char *argument, int64_t *value, const char *initial,
               double low, double high, const char *help)
{
    option o = row(OPTION_INT, name, argument, value, initial, help);
    o.low = low, o.high = high;
    return o;
}

option opt_real(const char *name, const char *argument, double *value, const char *initial,
                double low, double high, const char *help)
{
    option o = row(OPTION_REAL, name, argument, value, initial, help);
    o.low = low, o.high = high;
    return o;
}

option opt_choice(const char *name, const char *argument, void *value, const char *initial,
                  const char *choices, const char *help)
{
    option o = row(OPTION_CHOICE, name, argument, value, initial, help);
    o.choices = choices;
    return o;
}

int options_parse(const manual *about, option options[], int argc, char **argv)
{
    reader in = {.count = argc, .next = 1, .words = argv};
    if (asks_for_help(argc, argv)) {
        if (tool.rank == 0) show_manual(about, options);
        return 0;
    }
    return tool_misuse(read_words(options, &in)) == CLV_OK ? OPTIONS_RUN : tool_report();
}

void options_inherit(const option options[], void *asked, size_t size, void *found)
{
    for (const option *o = options; !is_end(o); o++) {
        ptrdiff_t at = offset_in(o, asked, size);
        if (at >= 0 && o->given) memcpy((char *)found + at, o->value, value_size(o->type));
    }
    memcpy(asked, found, size);
}

clv_status options_expect(const option options[], const void *asked, size_t size, const void *found,
                          const char *file)
{
    char name[80], given[64], stored[64];
    for (const option *o = options; !is_end(o); o++) {
        ptrdiff_t at = offset_in(o, asked, size);
        if (at < 0 || !o->given) continue;
        format_value(o, o->value, given);
        format_value(o, (const char *)found + at, stored);
        if (strcmp(given, stored))
            return tool_fail(CLV_EARG, "%s: expected %s as in %s, found %s", spelling(o, name),
                             stored, file, given);
    }
    return CLV_OK;
}
