/* SPDX-License-Identifier: BSD-3-Clause
 *
 * clvi_tokenizer.h: what the files of the tokenizer share. Everything here is Local.
 *
 * A text passes through levels. Each finds matches in what it is given; what lies between them goes
 * on to the next, and behind the last level each piece is merged on its own.
 */
#ifndef CLVI_TOKENIZER_H
#define CLVI_TOKENIZER_H

#include <clvi_io.h>

/* ---- bpe.c: a vocabulary of byte strings, and what is merged to what ------------- */

typedef struct clvi_bpe clvi_bpe;

/* Room for ids below vocabulary, for texts of so many bytes together and for so many merges. */
clv_status clvi_bpe_create(int64_t vocabulary, size_t text_bytes, int64_t merges, clvi_bpe **bpe);
void clvi_bpe_destroy(clvi_bpe **bpe);
/* Id stands for these bytes; pieces of text are found by them if `findable`, the last id added for
 * them. CLV_EFORMAT for an id that has another text. */
clv_status clvi_bpe_add(clvi_bpe *bpe, int64_t id, const char *text, size_t bytes, bool findable);
/* The next merge, of the tokens of two texts to that of both. CLV_EFORMAT where one is missing. */
clv_status clvi_bpe_add_merge(clvi_bpe *bpe, const char *left, size_t left_bytes, const char *right,
                              size_t right_bytes);
/* Whether id is a byte or made by a merge. */
bool clvi_bpe_is_made(const clvi_bpe *bpe, int64_t id);
/* After all of that; ignore_merges: a piece that is a token is not taken apart. CLV_EFORMAT unless
 * every byte is a token. */
clv_status clvi_bpe_finish(clvi_bpe *bpe, bool ignore_merges);

int64_t clvi_bpe_vocabulary(const clvi_bpe *bpe);
bool clvi_bpe_has_merges(const clvi_bpe *bpe);
int64_t clvi_bpe_find(const clvi_bpe *bpe, const char *text, size_t bytes); /* or -1 */
/* The text of id, NULL if there is none. */
const char *clvi_bpe_text(const clvi_bpe *bpe, int64_t id, size_t *bytes);

/* Ids that come one after the other, in memory of malloc. */
typedef struct {
    int32_t *ids;
    int64_t count, room;
} clvi_ids;
clv_status clvi_ids_add(clvi_ids *list, int64_t id);

/* Memory to merge in: it grows with the longest piece. {0} at first. */
typedef struct {
    size_t room;
    void *memory;
} clvi_bpe_work;
/* A piece of text becomes tokens: always the merge of least rank, of those the leftmost. n bytes
 * take n log n. */
clv_status clvi_bpe_encode(const clvi_bpe *bpe, clvi_bpe_work *work, const char *text, size_t bytes,
                           clvi_ids *list);

/* ---- expression.c: what tokenizers split texts with --------------------------------- */

/* What PCRE2 takes as Oniguruma takes the pattern, in new memory. CLV_EFORMAT: there is no such. */
clv_status clvi_expression(const char *pattern, size_t bytes, char **text, size_t *length);

/* ---- level.c: where a text is split ------------------------------------------------- */

typedef enum {
    CLVI_LEVEL_INVALID, /* matches are bytes that are not UTF-8: each its token        */
    CLVI_LEVEL_ADDED,   /* matches are texts of tokens                                 */
    CLVI_LEVEL_SPLIT    /* matches are pieces, which go on as what is between them does */
} clvi_level_kind;

typedef struct {
    clvi_level_kind kind;
    bool drop_gaps; /* what lies between matches does not count */
    void *code;     /* PCRE2's */
} clvi_level;

/* Matches are those of a regular expression. CLV_EFORMAT says what is wrong with it. */
clv_status clvi_level_create(clvi_level_kind kind, const char *pattern, size_t bytes,
                             clvi_level *level);
void clvi_level_destroy(clvi_level *level);

/* What searches in a text of so many bytes need beside the level; NULL if there is no memory. */
void *clvi_matcher_create(size_t bytes);
void clvi_matcher_destroy(void *matcher);

/* The next match in text[from, bytes), text being UTF-8 but for CLVI_LEVEL_INVALID. Unless `last`,
 * more text follows: a match that it could change or begin is undecided, begin says from where. */
typedef enum { CLVI_NO_MATCH, CLVI_MATCH, CLVI_UNDECIDED } clvi_found;
clv_status clvi_level_find(const clvi_level *level, void *matcher, const char *text, size_t bytes,
                           size_t from, bool last, clvi_found *found, size_t *begin, size_t *end);

/* ---- tokenizer_files.c: the files of a tokenizer --------------------------------------- */

enum { CLVI_LEVELS = 16 };

struct clv_tokenizer {
    clvi_bpe *bpe;
    int levels;
    clvi_level level[CLVI_LEVELS];
};

/* Fills a tokenizer of zeros from what path means. */
clv_status clvi_tokenizer_read(const char *path, clv_tokenizer *tokenizer);
/* The next level. CLV_ELIMIT if there are too many. */
clv_status clvi_tokenizer_add_level(clv_tokenizer *tokenizer, clvi_level_kind kind,
                                    const char *pattern, size_t bytes);

/* ---- tokenizer_json.c ------------------------------------------------------------------- */

/* From the text of a tokenizer.json, or of vocab.json and merges.txt; paths are for messages. */
clv_status clvi_tokenizer_parse(const char *path, const char *json, size_t bytes,
                                clv_tokenizer *tokenizer);
clv_status clvi_tokenizer_parse_pair(const char *vocab_path, const char *vocab, size_t vocab_bytes,
                                     const char *merges_path, const char *merges,
                                     size_t merges_bytes, clv_tokenizer *tokenizer);

/* ---- vocabulary.c: vocabularies as files write them ---------------------------------------- */

/* GPT-2's way to write bytes as characters: the bytes of text (UTF-8), written over it; false, and
 * nothing written, if it is not such a text. */
bool clvi_bytes_of(char *text, size_t *bytes);

#endif
