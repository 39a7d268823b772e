/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hf_map.c: which part of which tensor of Hugging Face's is which part of ours: one table a kind of
 * model, read in both directions.
 *
 * A row says: the columns `part` of OURS, which is m x n, are THEIRS. Rows of the same OURS make it
 * whole, rows of the same THEIRS lie side by side in it. "#" is the number of a block. Ours is [in
 * x out]; theirs is too in GPT-2 (Conv1D), and [out x in], turned, in Llama (Linear).
 *
 * With g = heads / kv_heads and d = width / heads, ours of q, k, v holds for each head of k and v
 * its g heads of q, its k, its v; theirs hold all heads of q, all of k, all of v.
 */
#include "hf.h"

#include <stdlib.h>
#include <string.h>

typedef enum { ONE, WIDTH, QKV, HIDDEN, VOCABULARY, CONTEXT } extent;
typedef enum { ALL, Q, K, V } part;

typedef struct {
    const char *ours;
    extent m, n;
    part part;
    const char *theirs;
    enum { STRAIGHT, TURNED } way;
    enum { ALWAYS, UNTIED } when;
} row;

static const row gpt2[] = {
    {"token.weight", VOCABULARY, WIDTH, ALL, "transformer.wte.weight", STRAIGHT, ALWAYS},
    {"position.weight", CONTEXT, WIDTH, ALL, "transformer.wpe.weight", STRAIGHT, ALWAYS},
    {"block.#.norm1.gain", ONE, WIDTH, ALL, "transformer.h.#.ln_1.weight", STRAIGHT, ALWAYS},
    {"block.#.norm1.bias", ONE, WIDTH, ALL, "transformer.h.#.ln_1.bias", STRAIGHT, ALWAYS},
    {"block.#.attention.qkv.weight", WIDTH, QKV, Q, "transformer.h.#.attn.c_attn.weight", STRAIGHT,
     ALWAYS},
    {"block.#.attention.qkv.weight", WIDTH, QKV, K, "transformer.h.#.attn.c_attn.weight", STRAIGHT,
     ALWAYS},
    {"block.#.attention.qkv.weight", WIDTH, QKV, V, "transformer.h.#.attn.c_attn.weight", STRAIGHT,
     ALWAYS},
    {"block.#.attention.qkv.bias", ONE, QKV, Q, "transformer.h.#.attn.c_attn.bias", STRAIGHT,
     ALWAYS},
    {"block.#.attention.qkv.bias", ONE, QKV, K, "transformer.h.#.attn.c_attn.bias", STRAIGHT,
     ALWAYS},
    {"block.#.attention.qkv.bias", ONE, QKV, V, "transformer.h.#.attn.c_attn.bias", STRAIGHT,
     ALWAYS},
    {"block.#.attention.out.weight", WIDTH, WIDTH, ALL, "transformer.h.#.attn.c_proj.weight",
     STRAIGHT, ALWAYS},
    {"block.#.attention.out.bias", ONE, WIDTH, ALL, "transformer.h.#.attn.c_proj.bias", STRAIGHT,
     ALWAYS},
    {"block.#.norm2.gain", ONE, WIDTH, ALL, "transformer.h.#.ln_2.weight", STRAIGHT, ALWAYS},
    {"block.#.norm2.bias", ONE, WIDTH, ALL, "transformer.h.#.ln_2.bias", STRAIGHT, ALWAYS},
    {"block.#.mlp.up.weight", WIDTH, HIDDEN, ALL, "transformer.h.#.mlp.c_fc.weight", STRAIGHT,
     ALWAYS},
    {"block.#.mlp.up.bias", ONE, HIDDEN, ALL, "transformer.h.#.mlp.c_fc.bias", STRAIGHT, ALWAYS},
    {"block.#.mlp.down.weight", HIDDEN, WIDTH, ALL, "transformer.h.#.mlp.c_proj.weight", STRAIGHT,
     ALWAYS},
    {"block.#.mlp.down.bias", ONE, WIDTH, ALL, "transformer.h.#.mlp.c_proj.bias", STRAIGHT, ALWAYS},
    {"norm.gain", ONE, WIDTH, ALL, "transformer.ln_f.weight", STRAIGHT, ALWAYS},
    {"norm.bias", ONE, WIDTH, ALL, "transformer.ln_f.bias", STRAIGHT, ALWAYS},
    {"head.weight", VOCABULARY, WIDTH, ALL, "lm_head.weight", STRAIGHT, UNTIED},
    {0},
};

static const row llama[] = {
    {"token.weight", VOCABULARY, WIDTH, ALL, "model.embed_tokens.weight", STRAIGHT, ALWAYS},
    {"block.#.norm1.gain", ONE, WIDTH, ALL, "model.layers.#.input_layernorm.weight", STRAIGHT,
     ALWAYS},
    {"block.#.attention.qkv.weight", WIDTH, QKV, Q, "model.layers.#.self_attn.q_proj.weight",
     TURNED, ALWAYS},
    {"block.#.attention.qkv.weight", WIDTH, QKV, K, "model.layers.#.self_attn.k_proj.weight",
     TURNED, ALWAYS},
    {"block.#.attention.qkv.weight", WIDTH, QKV, V, "model.layers.#.self_attn.v_proj.weight",
     TURNED, ALWAYS},
    {"block.#.attention.out.weight", WIDTH, WIDTH, ALL, "model.layers.#.self_attn.o_proj.weight",
     TURNED, ALWAYS},
    {"block.#.norm2.gain", ONE, WIDTH, ALL, "model.layers.#.post_attention_layernorm.weight",
     STRAIGHT, ALWAYS},
    {"block.#.mlp.gate.weight", WIDTH, HIDDEN, ALL, "model.layers.#.mlp.gate_proj.weight", TURNED,
     ALWAYS},
    {"block.#.mlp.up.weight", WIDTH, HIDDEN, ALL, "model.layers.#.mlp.up_proj.weight", TURNED,
     ALWAYS},
    {"block.#.mlp.down.weight", HIDDEN, WIDTH, ALL, "model.layers.#.mlp.down_proj.weight", TURNED,
     ALWAYS},
    {"norm.gain", ONE, WIDTH, ALL, "model.norm.weight", STRAIGHT, ALWAYS},
    {"head.weight", VOCABULARY, WIDTH, ALL, "lm_head.weight", STRAIGHT, UNTIED},
    {0},
};

/* ignored: buffers that old files hold; the names as a model without prefix says them. */
static const struct {
    const char *name, *prefix, *ignored;
    const row *rows;
} kinds[HF_KINDS] = {
    [HF_GPT2] = {"gpt2", "transformer.", "h.*.attn.bias,h.*.attn.masked_bias", gpt2},
    [HF_LLAMA] = {"llama", "model.", "layers.*.self_attn.rotary_emb.inv_freq", llama},
};

/* ---- Names ------------------------------------------------------------------------ */

const char *hf_name(hf_kind kind)
{
    return kinds[kind].name;
}

const char *hf_bare_name(hf_kind kind, const char *theirs)
{
    size_t length = strlen(kinds[kind].prefix);
    return strncmp(theirs, kinds[kind].prefix, length) == 0 ? theirs + length : theirs;
}

bool hf_is_ignored(const hf_model *model, const char *theirs)
{
    if (model->config.tied && strcmp(theirs, "lm_head.weight") == 0) return true;
    return clv_name_matches(kinds[model->kind].ignored, hf_bare_name(model->kind, theirs));
}

/* pattern with the number of a block in the place of '#'. */
static void expand(char name[HF_NAME], const char *pattern, int64_t block)
{
    int before = (int)strcspn(pattern, "#");
    if (pattern[before])
        snprintf(name, HF_NAME, "%.*s%lld%s", before, pattern, (long long)block,
                 pattern + before + 1);
    else
        snprintf(name, HF_NAME, "%s", pattern);
}

/* ---- Extents ------------------------------------------------------------------------ */

static int64_t extent_of(const clv_gpt_config *c, extent e)
{
    switch (e) {
    case ONE:
        return 1;
    case WIDTH:
        return c->width;
    case QKV:
        return (c->heads + 2 * c->kv_heads) * (c->width / c->heads);
    case HIDDEN:
        return c->hidden;
    case VOCABULARY:
        return c->vocabulary;
    default:
        return c->context;
    }
}

/* The columns of a part among the n of ours. */
static hf_piece piece_of(const clv_gpt_config *c, part part, int64_t n)
{
    int64_t d = c->width / c->heads, q = c->heads / c->kv_heads * d, stride = q + 2 * d;
    switch (part) {
    case Q:
        return (hf_piece){.col0 = 0, .run = q, .count = c->kv_heads, .stride = stride};
    case K:
        return (hf_piece){.col0 = q, .run = d, .count = c->kv_heads, .stride = stride};
    case V:
        return (hf_piece){.col0 = q + d, .run = d, .count = c->kv_heads, .stride = stride};
    default:
        return (hf_piece){.col0 = 0, .run = n, .count = 1, .stride = n};
    }
}

/* ---- The map -------------------------------------------------------------------------- */

typedef struct {
    const hf_model *model;
    const char *only;
    hf_map *map;
    int pieces;
} builder;

/* Widens one of theirs, the last or a new one, by so many columns of ours; returns where they
 * begin. */
static int64_t widen(builder *b, const row *r, const char *name, int64_t m, int64_t columns)
{
    hf_map *map = b->map;
    bool turned = r->way == TURNED;
    hf_tensor *t = map->tensors ? &map->theirs[map->tensors - 1] : NULL;
    if (!t || strcmp(t->name, name) != 0) {
        t = &map->theirs[map->tensors++];
        *t = (hf_tensor){.ndims = r->m == ONE ? 1 : 2, .m = turned ? 0 : m, .n = turned ? m : 0};
        snprintf(t->name, HF_NAME, "%s", name);
    }
    int64_t *extent = turned ? &t->m : &t->n, begin = *extent;
    *extent += columns;
    return begin;
}

static void add(builder *b, const row *r, int64_t block)
{
    const clv_gpt_config *c = &b->model->config;
    hf_map *map = b->map;
    char ours[HF_NAME], theirs[HF_NAME];
    expand(ours, r->ours, block);
    expand(theirs, b->model->bare ? hf_bare_name(b->model->kind, r->theirs) : r->theirs, block);
    if ((r->when == UNTIED && c->tied) || !clv_name_matches(b->only, ours)) return;
    int64_t m = extent_of(c, r->m), n = extent_of(c, r->n);
    hf_link *link = map->links ? &map->link[map->links - 1] : NULL;
    if (!link || strcmp(link->ours.name, ours) != 0) {
        link = &map->link[map->links++];
        *link = (hf_link){{"", 2, m, n}, r->way == TURNED, b->pieces, b->pieces};
        memcpy(link->ours.name, ours, HF_NAME);
    }
    hf_piece piece = piece_of(c, r->part, n);
    piece.their0 = widen(b, r, theirs, m, piece.run * piece.count);
    piece.theirs = map->tensors - 1;
    map->piece[b->pieces++] = piece;
    link->last = b->pieces;
}

static bool is_of_block(const row *r)
{
    return r->ours && strchr(r->ours, '#');
}

/* All rows; those of blocks once for each. */
static void add_all(builder *b)
{
    const row *r = kinds[b->model->kind].rows;
    while (r->ours) {
        const row *end = r + 1;
        while (is_of_block(r) && is_of_block(end)) end++;
        for (int64_t block = 0; block < (is_of_block(r) ? b->model->config.layers : 1); block++)
            for (const row *each = r; each < end; each++) add(b, each, block);
        r = end;
    }
}

/* Layers for which there is memory whoever claims them: missing names say more than a number. */
enum { FEW = 1000 };

clv_status hf_map_create(const hf_model *model, const char *file, const char *only, int64_t most,
                         hf_map **map)
{
    clv_status status = CLV_OK;
    size_t rows = 0, count;
    while (kinds[model->kind].rows[rows].ours) rows++;
    *map = NULL;
    if (model->config.layers > most && model->config.layers > FEW)
        return tool_fail(CLV_EFORMAT,
                         "%s: expected at most %lld layers, as many as tensors, found %lld", file,
                         (long long)most, (long long)model->config.layers);
    count = rows * (size_t)model->config.layers + rows;
    hf_map *made = calloc(1, sizeof *made);
    *map = made;
    if (made) {
        made->link = calloc(count, sizeof *made->link);
        made->theirs = calloc(count, sizeof *made->theirs);
        made->piece = calloc(count, sizeof *made->piece);
    }
    if (made && made->link && made->theirs && made->piece) {
        add_all(&(builder){.model = model, .only = only, .map = made});
    } else {
        status = tool_fail(CLV_ENOMEM, "no memory for a list of %zu tensors", count);
        hf_map_destroy(map);
    }
    return status;
}

void hf_map_destroy(hf_map **map)
{
    if (*map) {
        free((*map)->link);
        free((*map)->theirs);
        free((*map)->piece);
    }
    free(*map);
    *map = NULL;
}
