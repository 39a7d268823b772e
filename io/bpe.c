/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bpe.c: byte-pair encoding: a vocabulary of byte strings, and the order in which pairs are merged.
 *
 * A piece of text is a linked list of tokens, at first its bytes. A heap holds the merges that are
 * possible, least rank and then leftmost on top; a merge makes two pairs at most, so n bytes take
 * n log n however hostile they are.
 *
 * Most pieces are words that are one token. Which tokens come out of merging their own bytes is
 * found out once, when the vocabulary is complete; such a piece is looked up and not merged.
 */
#include "clvi_tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = UINT32_MAX }; /* as a rank */

typedef struct {
    size_t at; /* its text in the texts of all */
    uint32_t bytes;
    bool there; /* the id has a text                                   */
    bool made;  /* a byte, or made by a merge                          */
    bool whole; /* a piece of this text is this token, without merging */
} token;

typedef struct {
    uint64_t pair; /* left id << 32 | right id */
    uint32_t rank; /* NONE: an empty slot      */
} merge;

struct clvi_bpe {
    int64_t vocabulary, ranks, most_ranks;
    token *tokens; /* [vocabulary] */
    char *texts;
    size_t used;
    uint32_t *slots; /* id + 1 by text; 0: empty  */
    merge *merges;   /* by pair                   */
    size_t slot_mask, merge_mask;
    uint32_t *merged; /* [rank] id */
    uint32_t byte[256];
};

/* ---- Making ------------------------------------------------------------------------ */

/* Slots for open addressing: a power of two, at most half of them used. */
static size_t slots_for(int64_t count)
{
    size_t slots = 16;
    while (slots < 2 * (size_t)count) slots *= 2;
    return slots;
}

clv_status clvi_bpe_create(int64_t vocabulary, size_t text_bytes, int64_t merges, clvi_bpe **bpe)
{
    clv_status status = CLV_OK;
    clvi_bpe *b = *bpe = clvi_alloc(sizeof *b);
    CLVI_CHECK(b, CLV_ENOMEM, "a tokenizer: no memory");
    *b = (clvi_bpe){.vocabulary = vocabulary, .most_ranks = merges};
    b->slot_mask = slots_for(vocabulary) - 1;
    b->merge_mask = slots_for(merges) - 1;
    b->tokens = clvi_alloc((size_t)vocabulary * sizeof *b->tokens);
    b->texts = clvi_alloc(text_bytes);
    b->slots = clvi_alloc((b->slot_mask + 1) * sizeof *b->slots);
    b->merges = clvi_alloc((b->merge_mask + 1) * sizeof *b->merges);
    b->merged = clvi_alloc((size_t)merges * sizeof *b->merged);
    CLVI_CHECK(b->tokens && b->texts && b->slots && b->merges && b->merged, CLV_ENOMEM,
               "a tokenizer of %lld tokens: no memory", (long long)vocabulary);
    for (size_t i = 0; i <= b->merge_mask; i++) b->merges[i].rank = NONE;
done:
    if (status != CLV_OK) clvi_bpe_destroy(bpe);
    return status;
}

void clvi_bpe_destroy(clvi_bpe **bpe)
{
    clvi_bpe *b = *bpe;
    if (!b) return;
    clvi_free(b->merged);
    clvi_free(b->merges);
    clvi_free(b->slots);
    clvi_free(b->texts);
    clvi_free(b->tokens);
    clvi_free(b);
    *bpe = NULL;
}

static bool is_text(const clvi_bpe *bpe, int64_t id, const char *text, size_t bytes)
{
    const token *t = &bpe->tokens[id];
    return t->bytes == bytes && !memcmp(bpe->texts + t->at, text, bytes);
}

/* The slot of a text, or the empty one where it belongs. */
static uint32_t *slot_of(const clvi_bpe *bpe, const char *text, size_t bytes)
{
    size_t i = clvi_hash(0, text, bytes) & bpe->slot_mask;
    while (bpe->slots[i] && !is_text(bpe, bpe->slots[i] - 1, text, bytes))
        i = (i + 1) & bpe->slot_mask;
    return &bpe->slots[i];
}

clv_status clvi_bpe_add(clvi_bpe *bpe, int64_t id, const char *text, size_t bytes, bool findable)
{
    clv_status status = CLV_OK;
    assert(id >= 0 && id < bpe->vocabulary);
    token *t = &bpe->tokens[id];
    CLVI_CHECK(!t->there || is_text(bpe, id, text, bytes), CLV_EFORMAT,
               "id %lld: expected one text, found \"%.*s\" and \"%.*s\"", (long long)id,
               (int)t->bytes, bpe->texts + t->at, (int)bytes, text);
    if (!t->there) {
        *t = (token){.at = bpe->used, .bytes = (uint32_t)bytes, .there = true};
        memcpy(bpe->texts + bpe->used, text, bytes);
        bpe->used += bytes;
    }
    if (findable) *slot_of(bpe, text, bytes) = (uint32_t)id + 1;
done:
    return status;
}

static merge *merge_of(const clvi_bpe *bpe, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t i = (pair * 0x9e3779b97f4a7c15u >> 32) & bpe->merge_mask;
    while (bpe->merges[i].rank != NONE && bpe->merges[i].pair != pair)
        i = (i + 1) & bpe->merge_mask;
    return &bpe->merges[i];
}

clv_status clvi_bpe_add_merge(clvi_bpe *bpe, const char *left, size_t left_bytes, const char *right,
                              size_t right_bytes)
{
    clv_status status = CLV_OK;
    int64_t a = clvi_bpe_find(bpe, left, left_bytes), b = clvi_bpe_find(bpe, right, right_bytes);
    int64_t both = -1;
    assert(bpe->ranks < bpe->most_ranks);
    char *text = clvi_alloc(left_bytes + right_bytes);
    CLVI_CHECK(text, CLV_ENOMEM, "a merge: no memory");
    memcpy(text, left, left_bytes);
    memcpy(text + left_bytes, right, right_bytes);
    both = clvi_bpe_find(bpe, text, left_bytes + right_bytes);
    CLVI_CHECK(a >= 0 && b >= 0 && both >= 0, CLV_EFORMAT,
               "merge %lld: expected tokens of the vocabulary, found \"%.*s\" and \"%.*s\"",
               (long long)bpe->ranks, (int)left_bytes, left, (int)right_bytes, right);
    merge *m = merge_of(bpe, (uint32_t)a, (uint32_t)b);
    *m = (merge){(uint64_t)a << 32 | (uint64_t)b, (uint32_t)bpe->ranks};
    bpe->merged[bpe->ranks++] = (uint32_t)both;
    bpe->tokens[both].made = true;
done:
    clvi_free(text);
    return status;
}

clv_status clvi_bpe_finish(clvi_bpe *bpe, bool ignore_merges)
{
    clv_status status = CLV_OK;
    clvi_bpe_work work = {0};
    clvi_ids list = {0};
    for (int byte = 0; byte < 256; byte++) {
        int64_t id = clvi_bpe_find(bpe, (char[]){(char)byte}, 1);
        CLVI_CHECK(id >= 0, CLV_EFORMAT,
                   "vocabulary: expected a token for each byte, found none "
                   "for 0x%02x",
                   byte);
        bpe->byte[byte] = (uint32_t)id;
        bpe->tokens[id].made = true;
    }
    for (int64_t id = 0; id < bpe->vocabulary; id++) {
        token *t = &bpe->tokens[id];
        list.count = 0;
        if (!t->there || (!t->made && !ignore_merges)) continue;
        if (!ignore_merges)
            CLVI_TRY(clvi_bpe_encode(bpe, &work, bpe->texts + t->at, t->bytes, &list));
        t->whole = ignore_merges || (list.count == 1 && list.ids[0] == id);
    }
done:
    clvi_free(work.memory);
    free(list.ids);
    return status;
}

/* ---- Asking --------------------------------------------------------------------------- */

bool clvi_bpe_is_made(const clvi_bpe *bpe, int64_t id)
{
    return bpe->tokens[id].made;
}

int64_t clvi_bpe_vocabulary(const clvi_bpe *bpe)
{
    return bpe->vocabulary;
}

bool clvi_bpe_has_merges(const clvi_bpe *bpe)
{
    return bpe->ranks > 0;
}

int64_t clvi_bpe_find(const clvi_bpe *bpe, const char *text, size_t bytes)
{
    return (int64_t)*slot_of(bpe, text, bytes) - 1;
}

const char *clvi_bpe_text(const clvi_bpe *bpe, int64_t id, size_t *bytes)
{
    if (id < 0 || id >= bpe->vocabulary || !bpe->tokens[id].there) return NULL;
    *bytes = bpe->tokens[id].bytes;
    return bpe->texts + bpe->tokens[id].at;
}

/* ---- Merging ---------------------------------------------------------------------------- */

clv_status clvi_ids_add(clvi_ids *list, int64_t id)
{
    if (list->count == list->room) {
        int64_t room = list->room ? 2 * list->room : 64;
        int32_t *ids = realloc(list->ids, (size_t)room * sizeof *ids);
        if (!ids) return clvi_fail(CLV_ENOMEM, "%lld tokens: no memory", (long long)room);
        list->ids = ids;
        list->room = room;
    }
    list->ids[list->count++] = (int32_t)id;
    return CLV_OK;
}

/* A place is that of a token's first byte in the piece. */
typedef struct {
    uint32_t id, next, before; /* next: places; the number of bytes behind the last */
    uint32_t rank;             /* of the merge with the next token; NONE            */
} link;

typedef struct {
    const clvi_bpe *bpe;
    link *links;    /* [bytes] */
    uint64_t *heap; /* rank << 32 | place, the least first; what links do not say is out of date */
    uint32_t bytes;
    size_t waiting;
} merging;

static void push(merging *m, uint64_t entry)
{
    size_t i = m->waiting++;
    for (; i > 0 && m->heap[(i - 1) / 2] > entry; i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = entry;
}

static uint64_t pop(merging *m)
{
    uint64_t least = m->heap[0], entry = m->heap[--m->waiting];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < m->waiting; i = child) {
        if (child + 1 < m->waiting && m->heap[child + 1] < m->heap[child]) child++;
        if (m->heap[child] >= entry) break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = entry;
    return least;
}

/* The pair that begins here is new. */
static void offer(merging *m, uint32_t place)
{
    link *l = &m->links[place];
    l->rank = l->next < m->bytes ? merge_of(m->bpe, l->id, m->links[l->next].id)->rank : NONE;
    if (l->rank != NONE) push(m, (uint64_t)l->rank << 32 | place);
}

static void merge_at(merging *m, uint32_t place)
{
    link *left = &m->links[place], *right = &m->links[left->next];
    left->id = m->bpe->merged[left->rank];
    left->next = right->next;
    right->rank = NONE;
    if (left->next < m->bytes) m->links[left->next].before = place;
    offer(m, place);
    if (place > 0) offer(m, left->before);
}

static void merge_all(merging *m, const char *text)
{
    for (uint32_t i = 0; i < m->bytes; i++)
        m->links[i] = (link){m->bpe->byte[(unsigned char)text[i]], i + 1, i - 1, NONE};
    for (uint32_t i = 0; i < m->bytes; i++) offer(m, i);
    while (m->waiting > 0) {
        uint64_t entry = pop(m);
        uint32_t place = (uint32_t)entry;
        if (m->links[place].rank == entry >> 32) merge_at(m, place);
    }
}

/* Links and heap for a piece of so many bytes: each byte is offered once, and twice for each merge.
 */
static clv_status reserve(clvi_bpe_work *work, size_t bytes)
{
    if (bytes <= work->room) return CLV_OK;
    clvi_free(work->memory);
    work->room = 2 * bytes > 256 ? 2 * bytes : 256;
    work->memory = clvi_alloc(work->room * (sizeof(link) + 3 * sizeof(uint64_t)));
    if (work->memory) return CLV_OK;
    work->room = 0;
    return clvi_fail(CLV_ENOMEM, "a piece of text of %zu bytes: no memory", bytes);
}

/* Without merges, every byte. */
static clv_status encode_bytes(const clvi_bpe *bpe, const char *text, size_t bytes, clvi_ids *list)
{
    clv_status status = CLV_OK;
    for (size_t i = 0; i < bytes; i++)
        CLVI_TRY(clvi_ids_add(list, bpe->byte[(unsigned char)text[i]]));
done:
    return status;
}

clv_status clvi_bpe_encode(const clvi_bpe *bpe, clvi_bpe_work *work, const char *text, size_t bytes,
                           clvi_ids *list)
{
    clv_status status = CLV_OK;
    if (bpe->ranks == 0) return encode_bytes(bpe, text, bytes, list);
    int64_t id = clvi_bpe_find(bpe, text, bytes);
    if (id >= 0 && bpe->tokens[id].whole) return clvi_ids_add(list, id);
    CLVI_CHECK(bytes <= UINT32_MAX / 4, CLV_ELIMIT,
               "a piece of text without a place to split: expected at most %u bytes, found %zu",
               UINT32_MAX / 4, bytes);
    CLVI_TRY(reserve(work, bytes));
    merging m = {.bpe = bpe, .links = work->memory, .bytes = (uint32_t)bytes};
    m.heap = (uint64_t *)(m.links + work->room);
    merge_all(&m, text);
    for (uint32_t i = 0; i < m.bytes; i = m.links[i].next)
        CLVI_TRY(clvi_ids_add(list, m.links[i].id));
done:
    return status;
}
