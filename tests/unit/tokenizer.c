/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tokenizer.c: merges against a naive reference; a text in parts of any size gives the tokens of
 * the whole; text that is not UTF-8; long text without a place to split; files that are not
 * understood. The ids of real tokenizers: tests/tokenizer.sh.
 *
 * RANKS: 1
 */
#include "check.h"

#include <clvi_tokenizer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* ---- A small tokenizer -------------------------------------------------------------- */

/* Merges in their order: of letters, of a space (written U+0120) and of one half of a character. */
static const char *const merges[][2] = {{"a", "b"},    {"b", "c"},           {"\u0120", "a"},
                                        {"ab", "ab"},  {"\u0120a", "b"},     {"c", "d"},
                                        {"abab", "c"}, {"a", "a"},           {"aa", "aa"},
                                        {"1", "2"},    {"\u0120", "\u0120"}, {"\u00c3", "\u00a9"}};
enum { MERGES = sizeof merges / sizeof *merges, MERGED = 256, SPECIAL = MERGED + MERGES };

/* GPT-2's characters of the bytes, in their order. */
static void put_byte(FILE *file, int byte)
{
    bool own = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    int character = own ? byte : 0x100;
    for (int b = 0; !own && b < byte; b++)
        character += !((b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae);
    fprintf(file, "%s\"\\u%04x\": %d", byte ? ", " : "", character, byte);
}

static void put_vocab(FILE *file)
{
    for (int byte = 0; byte < 256; byte++) put_byte(file, byte);
    for (int i = 0; i < MERGES; i++)
        fprintf(file, ", \"%s%s\": %d", merges[i][0], merges[i][1], MERGED + i);
}

static const char added[] = "{\"id\": 268, \"content\": \"<|x|>\", \"normalized\": false}, "
                            "{\"id\": 269, \"content\": \"<|x|><|y|>\", \"normalized\": false}";
static const char llama_split[] =
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": "
    "\"(?i:'s|'t)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+"
    "[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}, \"behavior\": \"Isolated\", "
    "\"invert\": false}, {\"type\": \"ByteLevel\", \"use_regex\": false}]}";
static const char gpt2_split[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}";

/* What is told apart in a tokenizer.json; NULL: as it should be. */
typedef struct {
    const char *splits, *model, *added, *normalizer, *merge;
} parts;

static char folder[] = "tokenizer-XXXXXX";
static char path[64];

static const char *put_json(parts p)
{
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    FILE *file = fopen(path, "w");
    if (!CHECK(file)) return path;
    fprintf(file, "{\"normalizer\": %s, \"added_tokens\": [%s], \"pre_tokenizer\": %s, ",
            p.normalizer ? p.normalizer : "null", p.added ? p.added : added,
            p.splits ? p.splits : gpt2_split);
    fprintf(file, "\"model\": {%s, \"vocab\": {", p.model ? p.model : "\"type\": \"BPE\"");
    put_vocab(file);
    fprintf(file, "}, \"merges\": [");
    for (int i = 0; i < MERGES; i++)
        fprintf(file, i % 2 ? "%s[\"%s\", \"%s\"]" : "%s\"%s %s\"", i ? ", " : "", merges[i][0],
                merges[i][1]);
    fprintf(file, "%s%s]}}\n", p.merge ? ", " : "", p.merge ? p.merge : "");
    fclose(file);
    return path;
}

/* The first so many merges, and a line behind them. */
static void put_pair(int count, const char *last_line)
{
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    FILE *file = fopen(path, "w");
    fprintf(file, "{");
    put_vocab(file);
    fprintf(file, ", \"<|x|>\": 268}");
    fclose(file);
    snprintf(path, sizeof path, "%s/merges.txt", folder);
    file = fopen(path, "w");
    fprintf(file, "#version: 0.2\n");
    for (int i = 0; i < count; i++) fprintf(file, "%s %s\n", merges[i][0], merges[i][1]);
    fprintf(file, "%s", last_line);
    fclose(file);
}

static void begin(void)
{
    strcpy(folder, "tokenizer-XXXXXX");
    CHECK(mkdtemp(folder));
}

static void end(void)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "merges.txt"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    remove(folder);
}

/* ---- Known tokens --------------------------------------------------------------------- */

static void check_ids(const clv_tokenizer *tokenizer, const char *text, size_t bytes, int count,
                      const int32_t expected[])
{
    int32_t *ids = NULL;
    int64_t found = -1;
    char *back = NULL;
    size_t back_bytes = 0;
    if (!CHECK_OK(clv_tokenizer_encode(tokenizer, text, bytes, &ids, &found))) return;
    if (CHECK_INT(found, count))
        for (int i = 0; i < count; i++) CHECK_INT(ids[i], expected[i]);
    CHECK_OK(clv_tokenizer_decode(tokenizer, found, ids, &back, &back_bytes));
    CHECK(back_bytes == bytes && (bytes == 0 || memcmp(back, text, bytes) == 0));
    free(back);
    free(ids);
}

#define CHECK_IDS(tokenizer, text, ...)         \
    check_ids(tokenizer, text, sizeof text - 1, \
              sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), (int32_t[]){__VA_ARGS__})

static void check_known(const clv_tokenizer *t)
{
    CHECK_IDS(t, "abc", 256, 'c');
    CHECK_IDS(t, "ababc", 262);
    CHECK_IDS(t, "ababab", 259, 256);
    CHECK_IDS(t, "aaaaa", 264, 'a');
    CHECK_IDS(t, "bcd", 257, 'd');
    CHECK_IDS(t, " ab a", ' ', 256, 258); /* not 260: "a b" has the lesser rank  */
    CHECK_IDS(t, "a  a", 'a', ' ', 258);  /* the split comes before the merges */
    CHECK_IDS(t, "\xc3\xa9", 267);
    CHECK_IDS(t, "<|x|>ab", 268, 256);
    CHECK_IDS(t, "<|x|<|x|>>", '<', '|', 'x', '|', 268, '>');
    /* Bytes that are not UTF-8: alone, cut off, too long, a surrogate, beyond the last. */
    CHECK_IDS(t,
              "ab\xff"
              "ab",
              256, 255, 256);
    CHECK_IDS(t,
              "\xc3"
              "ab\xc3",
              0xc3, 256, 0xc3);
    CHECK_IDS(t, "\xc0\xaf\xe0\x80\x80", 0xc0, 0xaf, 0xe0, 0x80, 0x80);
    CHECK_IDS(t, "\xed\xa0\x80\xf4\x90\x80\x80", 0xed, 0xa0, 0x80, 0xf4, 0x90, 0x80, 0x80);
    check_ids(t, "\0\0", 2, 2, (int32_t[]){0, 0});
    check_ids(t, NULL, 0, 0, (int32_t[]){0});
}

/* A pre_tokenizer that splits by an expression, as it is written in JSON. */
static const char *split_by(const char *expression)
{
    static char splits[400];
    snprintf(splits, sizeof splits,
             "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
             "{\"Regex\": \"%s\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\", "
             "\"use_regex\": false}]}",
             expression);
    return splits;
}

static void known(void)
{
    begin();
    clv_tokenizer *t = NULL;
    put_pair(MERGES, "");
    if (CHECK_OK(clv_tokenizer_open(folder, &t))) {
        CHECK_INT(clv_tokenizer_vocabulary(t), 269);
        check_known(t);
    }
    clv_tokenizer_close(&t);
    CHECK(!t);
    put_json((parts){0}); /* preferred to the pair */
    if (CHECK_OK(clv_tokenizer_open(folder, &t))) {
        int32_t hole = 270;
        char *text = NULL;
        size_t bytes;
        CHECK_INT(clv_tokenizer_vocabulary(t), 270);
        CHECK_INT(clv_tokenizer_find(t, "<|x|>", 5), 268);
        CHECK_INT(clv_tokenizer_find(t, "<|z|>", 5), -1);
        check_known(t);
        CHECK_IDS(t, "<|x|><|y|>", 269); /* the longest */
        CHECK_STATUS(clv_tokenizer_decode(t, 1, &hole, &text, &bytes), CLV_EARG);
        CHECK(!text && strstr(clv_last_error(), "270"));
        hole = -1;
        CHECK_STATUS(clv_tokenizer_decode(t, 1, &hole, &text, &bytes), CLV_EARG);
    }
    clv_tokenizer_close(&t);
    /* ignore_merges: a piece that is a token is that token, whatever merges would make. */
    put_json((parts){.model = "\"ignore_merges\": true", .splits = llama_split});
    if (CHECK_OK(clv_tokenizer_open(folder, &t))) {
        CHECK_IDS(t, " ab", 260);
        CHECK_IDS(t, "12", 265);
        CHECK_IDS(t, "1212", 265, '1', '2'); /* three digits at most */
    }
    clv_tokenizer_close(&t);
    /* $ is the end of any line, but not in a class. */
    put_json((parts){.splits = split_by("b$|c[]^$[:digit:]$]")});
    if (CHECK_OK(clv_tokenizer_open(folder, &t))) {
        CHECK_IDS(t, "ab\nabc\nab", 'a', 'b', '\n', 256, 'c', '\n', 'a', 'b');
        CHECK_IDS(t, "bc^bc$bc]bc1", 'b', 'c', '^', 'b', 'c', '$', 'b', 'c', ']', 'b', 'c', '1');
    }
    clv_tokenizer_close(&t);
    end();
}

static void bytes_alone(void)
{
    clv_tokenizer *t = NULL;
    CHECK_OK(clv_tokenizer_open(NULL, &t));
    CHECK_INT(clv_tokenizer_vocabulary(t), 256);
    CHECK_IDS(t, "a b\xff", 'a', ' ', 'b', 255);
    clv_tokenizer_close(&t);
}

/* ---- Merges against the simplest way ----------------------------------------------------- */

static const char *bytes_of_token(int32_t id, char buffer[16])
{
    static const char *const texts[] = {"ab",    "bc", " a",   "abab", " ab", "cd",
                                        "ababc", "aa", "aaaa", "12",   "  ",  "\xc3\xa9"};
    if (id >= MERGED) return texts[id - MERGED];
    buffer[0] = (char)id, buffer[1] = '\0';
    return buffer;
}

/* Again and again the first of the pairs of least rank, over the whole piece. */
static int naive(const char *text, int length, int32_t ids[])
{
    int count = length;
    for (int i = 0; i < length; i++) ids[i] = (unsigned char)text[i];
    for (;;) {
        int least = MERGES, at = -1;
        for (int i = 0; i + 1 < count; i++) {
            char a[16], b[16], both[32];
            snprintf(both, sizeof both, "%s|%s", bytes_of_token(ids[i], a),
                     bytes_of_token(ids[i + 1], b));
            static const char *const pairs[] = {"a|b",   "b|c", " |a",    "ab|ab",
                                                " a|b",  "c|d", "abab|c", "a|a",
                                                "aa|aa", "1|2", " | ",    "\xc3|\xa9"};
            for (int r = 0; r < least; r++)
                if (!strcmp(pairs[r], both)) least = r, at = i;
        }
        if (at < 0) return count;
        ids[at] = MERGED + least;
        memmove(&ids[at + 1], &ids[at + 2], (size_t)(count-- - at - 2) * sizeof *ids);
    }
}

static void merges_as_the_naive(void)
{
    enum { LONGEST = 60 };
    begin();
    clv_tokenizer *t = NULL;
    uint64_t state = 3;
    CHECK_OK(clv_tokenizer_open(put_json((parts){0}), &t));
    for (int trial = 0; trial < 3000 && t; trial++) {
        char text[LONGEST];
        int32_t expected[LONGEST];
        int length = 1 + (int)check_random_below(&state, LONGEST);
        for (int i = 0; i < length; i++) text[i] = "aaabbcd"[check_random_below(&state, 7)];
        check_ids(t, text, (size_t)length, naive(text, length, expected), expected);
    }
    clv_tokenizer_close(&t);
    end();
}

/* ---- A text in parts ------------------------------------------------------------------------ */

/* Pieces of text with everything that a part's end could cut. */
static size_t make_text(char *text, size_t room, uint64_t *state)
{
    static const char *const words[] = {
        "ab",       "abab",  "c",   " ",          "  ",     "\n",         "\r\n",   "'s",
        "'",        "12",    "1",   "\u00e9",     "\u4e2d", "\U0001f600", "\xff",   "\xc3",
        "\xe4\xb8", "<|x|>", "<|x", "<|x|><|y|>", "<",      "|>",         "\u3000", "!?"};
    size_t used = 0;
    while (used + 16 < room) {
        const char *word = words[check_random_below(state, sizeof words / sizeof *words)];
        strcpy(text + used, word);
        used += strlen(word);
    }
    return used;
}

/* Some bytes at a time, those whose tokens are not settled going before the next. */
static void check_parts(const clv_tokenizer *t, const char *text, size_t bytes, size_t part)
{
    int32_t *whole = NULL, *ids = NULL;
    int64_t all = 0, done = 0, count = 0;
    size_t begun = 0, used = 0, wrong = 0;
    CHECK_OK(clv_tokenizer_encode(t, text, bytes, &whole, &all));
    for (size_t given = 0; begun < bytes; begun += used) {
        given = given + part < bytes ? given + part : bytes;
        if (!CHECK_OK(clv_tokenizer_encode_part(t, text + begun, given - begun, given == bytes,
                                                &ids, &count, &used)))
            break;
        for (int64_t i = 0; i < count; i++) wrong += done + i >= all || ids[i] != whole[done + i];
        done += count;
        free(ids);
        if (given == bytes && !CHECK_INT((long long)used, (long long)(given - begun))) break;
    }
    CHECK_INT((long long)wrong, 0);
    CHECK_INT(done, all);
    free(whole);
}

static void text_in_parts(void)
{
    enum { ROOM = 600 };
    static const char *const splits[] = {gpt2_split, llama_split};
    begin();
    uint64_t state = 17;
    for (int s = 0; s < 2; s++) {
        clv_tokenizer *t = NULL;
        CHECK_OK(clv_tokenizer_open(put_json((parts){.splits = splits[s]}), &t));
        for (int trial = 0; trial < 60 && t; trial++) {
            char text[ROOM];
            size_t bytes = make_text(text, ROOM, &state);
            for (size_t part = 1; part < 40; part++) check_parts(t, text, bytes, part);
        }
        clv_tokenizer_close(&t);
    }
    end();
}

/* ---- Hostile text ------------------------------------------------------------------------------
 */

/* Megabytes without a place to split, or of nothing but such places: seconds would be too long. */
static void long_runs(void)
{
    enum { BYTES = 1 << 20 };
    static const char *const patterns[] = {"a",      "ab", " ",    "\n",  "A",        "1", "\xff",
                                           "\u4e2d", "' ", "<|x|", " \t", "\xe4\xb8", "!"};
    static const char *const splits[] = {gpt2_split, llama_split};
    begin();
    char *text = malloc(BYTES);
    for (int s = 0; s < 2; s++) {
        clv_tokenizer *t = NULL;
        CHECK_OK(clv_tokenizer_open(put_json((parts){.splits = splits[s]}), &t));
        for (size_t p = 0; t && p < sizeof patterns / sizeof *patterns; p++) {
            int32_t *ids = NULL;
            int64_t count = 0;
            char *back = NULL;
            size_t bytes = 0, length = strlen(patterns[p]);
            for (size_t i = 0; i < BYTES; i++) text[i] = patterns[p][i % length];
            clock_t begun = clock();
            CHECK_OK(clv_tokenizer_encode(t, text, BYTES, &ids, &count));
            CHECK((double)(clock() - begun) / CLOCKS_PER_SEC < 5);
            CHECK_OK(clv_tokenizer_decode(t, count, ids, &back, &bytes));
            CHECK(bytes == BYTES && memcmp(back, text, BYTES) == 0);
            free(back);
            free(ids);
        }
        clv_tokenizer_close(&t);
    }
    free(text);
    end();
}

/* An expression that takes steps without end at one place, or many at each, is an error, not a
 * hang. */
static void endless_expression(void)
{
    enum { BYTES = 1 << 18, RUN = 340 };
    static const struct {
        const char *expression;
        size_t bytes;
    } cases[] = {{"(?:a+a+)+[bc]", 64}, {"a*a*a*a*d|.", BYTES}};
    begin();
    char *text = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++) text[i] = i % RUN ? 'a' : ' ';
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clv_tokenizer *t = NULL;
        int32_t *ids = NULL;
        int64_t count = 0;
        CHECK_OK(
            clv_tokenizer_open(put_json((parts){.splits = split_by(cases[i].expression)}), &t));
        clock_t begun = clock();
        CHECK_STATUS(clv_tokenizer_encode(t, text, cases[i].bytes, &ids, &count), CLV_ELIMIT);
        CHECK((double)(clock() - begun) / CLOCKS_PER_SEC < 5);
        CHECK(!ids);
        clv_tokenizer_close(&t);
    }
    free(text);
    end();
}

/* ---- Expressions ------------------------------------------------------------------------- */

/* How many of `text` the expression finds first, as Oniguruma does; -1: it is refused. */
static void expressions(void)
{
    static const struct {
        const char *expression, *text;
        int bytes;
    } cases[] = {
        {"\\p{^L}+", "12ab", 2},
        {"[^\\]x]+", "ab]", 2},
        {"[]a]+", "a]b", 2},
        {"[^]a]+", "bc]", 2},
        {"[[:alpha:]$^]+", "a$^1", 3},
        {"[\\S]+", "ab c", 2},
        {"\\$+", "$$a", 2},
        {"a$", "a\nb", 1},
        {"(?i:A)b", "ab", 2},
        {"\\p{L}++", "ab1", 2},
        {"\\x{61}+", "aab", 2},
        {"[[:space:]]+", "  a", 2},
        {"[[:space:]]", "\u180e", 0},
        {"\\s", "\u180e", 0},
        {"\\p{N}{1,3}+", "", -1},
        {"b{,2}", "", -1},
        {"\\h", "", -1},
        {"[\\H]", "", -1},
        {"[a[b]]", "", -1},
        {"[a&&[b]]", "", -1},
        {"[[:a]$b", "", -1},
        {"[a", "", -1},
        {"(?#[)b$", "", -1},
        {"(?mi)b.", "", -1},
        {"(?x) b", "", -1},
        {"(?i-x:b)", "", -1},
        {"\\Qa\\E", "", -1},
        {"(*COMMIT)b", "", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clvi_level level;
        clvi_found found;
        size_t begin = 0, end = 0, bytes = strlen(cases[i].text);
        void *matcher = clvi_matcher_create(bytes);
        clv_status status = clvi_level_create(CLVI_LEVEL_SPLIT, cases[i].expression,
                                              strlen(cases[i].expression), &level);
        check_enter(cases[i].expression, 0);
        CHECK_STATUS(status, cases[i].bytes < 0 ? CLV_EFORMAT : CLV_OK);
        if (status == CLV_OK) {
            CHECK_OK(clvi_level_find(&level, matcher, cases[i].text, bytes, 0, true, &found, &begin,
                                     &end));
            CHECK_INT(found == CLVI_MATCH ? (long long)(end - begin) : 0, cases[i].bytes);
        }
        clvi_level_destroy(&level);
        clvi_matcher_destroy(matcher);
    }
}

/* ---- What is not understood
 * ----------------------------------------------------------------------- */

static void refuses(void)
{
    static const struct {
        parts p;
        const char *words;
    } cases[] = {
        {{.model = "\"type\": \"Unigram\""}, "model.type: expected \"BPE\", found \"Unigram\""},
        {{.model = "\"byte_fallback\": true"}, "model.byte_fallback"},
        {{.model = "\"dropout\": 0.1"}, "model.dropout"},
        {{.model = "\"end_of_word_suffix\": \"</w>\""}, "end_of_word_suffix"},
        {{.normalizer = "{\"type\": \"NFC\"}"},
         "normalizer: expected none, found {\"type\":\"NFC\"}"},
        {{.splits = "null"}, "pre_tokenizer"},
        {{.splits = "{\"type\": \"Metaspace\"}"}, "Metaspace"},
        {{.splits = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true}"}, "add_prefix_space"},
        {{.splits = "{\"type\": \"Sequence\", \"pretokenizers\": []}"}, "pre_tokenizer"},
        {{.splits =
              "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
              "{\"Regex\": \"(?<=a)b\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\"}]}"},
         "look behind"},
        {{.splits =
              "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
              "{\"Regex\": \"^a\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\"}]}"},
         "look behind"},
        {{.splits =
              "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": "
              "{\"Regex\": \"(a\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\"}]}"},
         "(a"},
        {{.added = "{\"id\": 5, \"content\": \"x\"}"}, "id 5"},
        {{.added = "{\"id\": -5, \"content\": \"x\"}"}, "added_tokens"},
        {{.added = "{\"id\": 1e300, \"content\": \"x\"}"}, "added_tokens"},
        {{.added = "{\"id\": 16000000, \"content\": \"x\"}"}, "ids from 0 to"},
        {{.added = "{\"id\": 270}"}, "content"},
        {{.added = "{\"id\": 270, \"content\": \"x\", \"lstrip\": true}"}, "lstrip"},
        {{.merge = "\"a q\""}, "merge 12: expected tokens of the vocabulary"},
        {{.merge = "\"a b c\""}, "merges"},
        {{.merge = "\"ab\""}, "merges"},
        {{.merge = "[\"a\"]"}, "merges"},
        {{.merge = "7"}, "merges"},
        {{.merge = "}"}, "line"},
    };
    begin();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clv_tokenizer *t = NULL;
        int64_t live = clvi_alloc_live();
        const char *file = put_json(cases[i].p);
        CHECK_STATUS(clv_tokenizer_open(file, &t), CLV_EFORMAT);
        if (!CHECK(!t && strstr(clv_last_error(), cases[i].words) &&
                   strstr(clv_last_error(), file)))
            printf("%s\n", clv_last_error());
        CHECK_INT(clvi_alloc_live(), live);
    }
    end();
    begin();
    clv_tokenizer *t = NULL;
    CHECK_STATUS(clv_tokenizer_open(folder, &t), CLV_ENOTFOUND);
    CHECK(strstr(clv_last_error(), "vocab.json"));
    CHECK_STATUS(clv_tokenizer_open("nowhere/at.all", &t), CLV_ENOTFOUND);
    put_pair(MERGES, "a q\n");
    CHECK_STATUS(clv_tokenizer_open(folder, &t), CLV_EFORMAT);
    CHECK(strstr(clv_last_error(), "merges.txt"));
    put_pair(MERGES, "ab\r\n");
    CHECK_STATUS(clv_tokenizer_open(folder, &t), CLV_EFORMAT);
    for (int count = 0; count < MERGES; count++) { /* cut short */
        char words[64], token[16];
        put_pair(count, "");
        CHECK_STATUS(clv_tokenizer_open(folder, &t), CLV_EFORMAT);
        snprintf(words, sizeof words, "merges.txt: expected a merge that makes \"%s\"",
                 bytes_of_token(MERGED + count, token));
        CHECK(strstr(clv_last_error(), words));
    }
    put_pair(MERGES, "\r\n\n");
    CHECK_OK(clv_tokenizer_open(folder, &t));
    clv_tokenizer_close(&t);
    end();
}

/* Every allocation fails in turn: an error and no leak. */
static void no_memory(void)
{
    begin();
    const char *file = put_json((parts){.splits = llama_split});
    clv_tokenizer *t = NULL;
    int64_t live = clvi_alloc_live(), nth = 0;
    clv_status status = CLV_ENOMEM;
    while (status == CLV_ENOMEM && nth < 2000) {
        clvi_alloc_fail_at(++nth);
        status = clv_tokenizer_open(file, &t);
        clvi_alloc_fail_at(0);
        if (status == CLV_ENOMEM) CHECK(!t && clvi_alloc_live() == live);
    }
    CHECK_STATUS(status, CLV_OK);
    CHECK(nth > 20);
    int32_t *ids = NULL;
    int64_t count, before = clvi_alloc_live();
    for (nth = 1; nth < 3 && t; nth++) {
        clvi_alloc_fail_at(nth);
        CHECK_STATUS(clv_tokenizer_encode(t, "abcabcd", 7, &ids, &count), CLV_ENOMEM);
        clvi_alloc_fail_at(0);
        CHECK(!ids && clvi_alloc_live() == before);
    }
    clv_tokenizer_close(&t);
    CHECK_INT(clvi_alloc_live(), live);
    end();
}

const check_case check_cases[] = {{"known", known},
                                  {"bytes alone", bytes_alone},
                                  {"merges as the naive", merges_as_the_naive},
                                  {"a text in parts", text_in_parts},
                                  {"long runs", long_runs},
                                  {"endless expression", endless_expression},
                                  {"expressions", expressions},
                                  {"refuses", refuses},
                                  {"no memory", no_memory},
                                  {0}};
