#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# tokenizer.sh: token ids are those of a reference, OpenAI's tiktoken (from npm), on a megabyte of mixed
# text, through each form of a tokenizer's files; h5py reads what is written; text comes back.
#
# Skipped, loudly, where npm or its registry cannot be had.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_builddir:=$(dirname "$here")}" "${abs_top_srcdir:=$(dirname "$here")}"
: "${CLEAVE:=$abs_top_builddir/cleave}"
npm=$abs_top_builddir/tests/npm

skip() {
    echo "SKIP: tokenizer.sh compared nothing with the reference: $*"
    exit 77
}
fail() {
    echo "FAILED: $*"
    exit 1
}

command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || skip "no node and npm"
for python in /usr/bin/python3 python3 ''; do
    [ -z "$python" ] || ! "$python" -c 'import h5py' 2>/dev/null || break
done
[ -n "$python" ] || skip "no python3 with h5py"
mkdir -p "$npm"
[ -d "$npm/node_modules/tiktoken" ] ||
    timeout 60 npm install --prefix "$npm" --no-audit --no-fund tiktoken@1.0.22 >"$npm/log" 2>&1 ||
    skip "npm cannot install tiktoken: $(tail -n 1 "$npm/log")"

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# Prose and code of this repository, characters of many scripts, runs of white space, emoji, numbers, CR
# and LF; of characters only those that every Unicode since 14 has.
"$python" - "$abs_top_srcdir" <<'END' || exit 1
import random, sys, glob, unicodedata
random.seed(1)
top = sys.argv[1]
ranges = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x4ff), (0x590, 0x5ff),
          (0x600, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x1100, 0x11ff), (0x1800, 0x18af),
          (0x2000, 0x206f), (0x2070, 0x218f), (0x2190, 0x23ff), (0x3000, 0x30ff), (0x4e00, 0x9fa5),
          (0xac00, 0xd7a3), (0xfb00, 0xfeff), (0xff00, 0xffee), (0x10000, 0x1005d), (0x1d400, 0x1d7ff),
          (0x1f300, 0x1f64f), (0x1f900, 0x1f9ff), (0x20000, 0x2a6d6)]
def char(low, high):
    while True:
        c = chr(random.randint(low, high))
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            return c
white = [" ", " ", " ", "\n", "\r\n", "\t", "\u00a0", "\u2003", "\u3000", "\u180e", "\u0085", "\u200b", "\ufeff", "\u2028", "\x0b"]
def unicode_words():
    low, high = random.choice(ranges)
    return "".join(char(low, high) for _ in range(random.randint(1, 12))) + random.choice(white)
def blanks():
    return "".join(random.choice(white) for _ in range(random.randint(1, 20)))
def numbers():
    return random.choice(["%d", "%x", "%.3f", "-%d,", "$%d"]) % random.randrange(10 ** random.randint(1, 12))
def ends():
    return random.choice(["'s", "'S", "'ll", "'LL", "'\u017f", "'ve", "'d", "'", "''", "I'M", " don't", "CamelCase", "ALLCAPS"])
def controls():
    return "".join(chr(random.randrange(0x20)) for _ in range(random.randint(1, 4)))
def letters():
    return random.choice("aZ=-_. ") * random.randint(1, 300)
def emoji():
    return random.choice(["\U0001F468\u200d\U0001F469\u200d\U0001F467", "\U0001F44D\U0001F3FD", "\u2764\ufe0f", "\U0001F1E9\U0001F1EA"])
def mixed():
    return "".join(chr(random.choice([random.randrange(0x80), random.randrange(0x80, 0x800),
                   random.randrange(0x3040, 0x30ff), random.randrange(0x1f300, 0x1f5ff)]))
                   for _ in range(random.randint(1, 30)))
def assigned(text):
    return "".join(c for c in text if unicodedata.category(c) != "Cn")
makers = [unicode_words, unicode_words, blanks, numbers, ends, controls, letters, emoji, mixed]
text = "".join(open(f, encoding="utf-8").read() for f in
               [top + "/README.md"] + sorted(glob.glob(top + "/io/*.c") + glob.glob(top + "/tests/*.sh")))[:450000]
size = len(text.encode())
parts = [text]
while size < 1000000:
    part = assigned(random.choice(makers)())
    parts.append(part)
    size += len(part.encode())
open("text", "wb").write("".join(parts).replace("<|", "< |").encode()) # no special tokens
END

# The reference's ids, and its vocabularies as files: which pair a token is merged from is found by
# merging its bytes with the ranks below its own.
cat >reference.cjs <<'END'
const fs = require("fs"), path = require("path");
const root = path.join(process.argv[2], "node_modules", "tiktoken");
const { Tiktoken } = require(path.join(root, "tiktoken.cjs"));
const chars = (() => {
  const own = b => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(own(b) ? b : next++));
})();
const write = key => Array.from(Buffer.from(key, "latin1"), b => chars[b]).join("");
function pair(ranks, token, rank) {
  let parts = Array.from(token);
  while (parts.length > 2) {
    let best = -1, least = rank;
    for (let i = 0; i + 1 < parts.length; i++) {
      const r = ranks.get(parts[i] + parts[i + 1]);
      if (r !== undefined && r < least) [best, least] = [i, r];
    }
    if (best < 0) throw new Error("no merge makes token " + rank);
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
  return parts;
}
const text = fs.readFileSync("text", "utf8");
for (const name of ["gpt2", "cl100k_base", "o200k_base"]) {
  const data = JSON.parse(fs.readFileSync(path.join(root, "encoders", name + ".json"), "utf8"));
  const ranks = new Map();
  for (const line of data.bpe_ranks.split("\n").filter(Boolean)) {
    const [, first, ...tokens] = line.split(" ");
    tokens.forEach((t, i) => ranks.set(Buffer.from(t, "base64").toString("latin1"), Number(first) + i));
  }
  const vocab = {}, merges = [];
  for (const [token, rank] of [...ranks].sort((a, b) => a[1] - b[1])) {
    vocab[write(token)] = rank;
    if (token.length > 1) merges.push(pair(ranks, token, rank).map(write));
  }
  fs.mkdirSync(name);
  if (name == "gpt2") {
    Object.assign(vocab, data.special_tokens);
    fs.writeFileSync("gpt2/vocab.json", JSON.stringify(vocab));
    fs.writeFileSync("gpt2/merges.txt", "#version: 0.2\n" + merges.map(m => m.join(" ") + "\n").join(""));
    merges.forEach((m, i) => merges[i] = m.join(" "));
  }
  const added = Object.entries(data.special_tokens).map(([content, id]) => ({ id, content,
    single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }));
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: name == "gpt2" };
  const split = { type: "Split", pattern: { Regex: data.pat_str }, behavior: "Isolated", invert: false };
  fs.writeFileSync(name + "/tokenizer.json.off", JSON.stringify({ version: "1.0", truncation: null,
    padding: null, added_tokens: added, normalizer: null,
    pre_tokenizer: name == "gpt2" ? bytes : { type: "Sequence", pretokenizers: [split, bytes] },
    post_processor: null, decoder: { type: "ByteLevel" },
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null,
      end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: name != "gpt2",
      vocab, merges } }));
  const reference = new Tiktoken(data.bpe_ranks, data.special_tokens, data.pat_str);
  fs.writeFileSync(name + ".ids", Buffer.from(reference.encode_ordinary(text).buffer));
  const special = Object.keys(data.special_tokens).join(" x") + "<|endof<|endoftext|><|endoftext|";
  fs.writeFileSync("special-" + name, special);
  fs.writeFileSync(name + ".special", Buffer.from(reference.encode(special, "all").buffer));
}
END
node reference.cjs "$npm" || fail "the reference"

# same IDS FILE.h5: the ids, and what h5py says of the data set.
same() {
    "$python" - "$1" "$2" <<'END'
import sys, h5py, numpy
expected = numpy.fromfile(sys.argv[1], "<u4")
tokens = h5py.File(sys.argv[2], "r")["tokens"]
found = tokens[()]
assert found.ndim == 1 and tokens.attrs["vocabulary"] > found.max(), tokens.attrs["vocabulary"]
assert found.dtype == ("<u2" if tokens.attrs["vocabulary"] <= 65536 else "<u4"), found.dtype
n = min(len(expected), len(found))
wrong = numpy.flatnonzero(expected[:n] != found[:n])
assert len(expected) == len(found) and not len(wrong), (len(expected), len(found), wrong[:5],
    [(expected[i:i + 5], found[i:i + 5]) for i in wrong[:1]])
END
}

checks=0
compare() { # NAME TOKENIZER
    "$CLEAVE" tokenize text -o out.h5 --overwrite --tokenizer "$2" >/dev/null || fail "tokenize with $2"
    same "$1.ids" out.h5 || fail "ids of $2"
    "$CLEAVE" tokenize --decode out.h5 --tokenizer "$2" | cmp - text || fail "text of $2"
    "$CLEAVE" tokenize "special-$1" -o out.h5 --overwrite --tokenizer "$2" >/dev/null || fail "tokenize with $2"
    same "$1.special" out.h5 || fail "special tokens of $2"
    checks=$((checks + 4))
}
compare gpt2 gpt2
for name in gpt2 cl100k_base o200k_base; do
    mv $name/tokenizer.json.off $name/tokenizer.json
    compare $name $name
    compare $name $name/tokenizer.json
done
echo "DONE tokenizer.sh: $checks checks"
