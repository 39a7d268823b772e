#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# tokens.sh: the command with files of tokens that are wrong, and with what a shell can take from it.
set -u
# shellcheck source=tests/command.sh
. "$(dirname "$0")/command.sh"

echo "the quick brown fox" >text
tiny="--layers 1 --width 16 --heads 2 --context 8 --batch 1 --steps 1"

# ---- What may stand where a file is to be written ----

good "tokenize" 0 tokenize text -o ids.h5
mkfifo pipe
mkdir folder
for other in pipe folder; do
    bad 1 "$other: expected a file or nothing there" 0 tokenize text -o $other --overwrite
done
check "a pipe stays" [ -p pipe ]
touch .ids.h5.tmp-killed-1
good "tokenize after a writer that was killed" 0 tokenize text -o ids.h5 --overwrite
check "nothing is left of it" [ ! -e .ids.h5.tmp-killed-1 ]

# ---- What JSON cannot say ----

odd=$(printf 'odd\377.h5')
bad 2 '-o: --json: expected a name in UTF-8' 0 tokenize text -o "$odd" --json
check "it was not written" [ ! -e "$odd" ]
good "without --json" 0 tokenize text -o "$odd"
bad 2 '--save: --json: expected a name in UTF-8' 2 train --data text --save "$odd" --json
bad 2 'INPUT: --json: expected a name in UTF-8' 1 convert "$odd" -o x.h5 --json
bad 2 'PATH: --json: expected a name in UTF-8' 1 verify "$odd" --json
bad 2 '--load: --json: expected a name in UTF-8' 2 eval --load "$odd" --data text --json

# ---- Tokenizers ----

# Of 256 bytes and "<end>"; one whose expression never ends; one with added tokens that are no list.
python3 - <<'END'
import json
own = lambda b: 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xac or b >= 0xae
other = iter(range(0x100, 0x200))
chars = [chr(b if own(b) else next(other)) for b in range(256)]
good = {"model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(chars)}, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        "added_tokens": [{"id": 256, "content": "<end>"}]}
split = {"type": "Split", "pattern": {"Regex": "(x+x+)+[yz]"}, "behavior": "Isolated", "invert": False}
endless = {"type": "Sequence", "pretokenizers": [split, good["pre_tokenizer"]]}
json.dump(good, open("good.json", "w"))
json.dump({**good, "pre_tokenizer": endless}, open("endless.json", "w"))
json.dump({**good, "added_tokens": "x"}, open("unlisted.json", "w"))
json.dump({**good, "normalizer": {"type": "Sequence", "normalizers": "x"}}, open("unknown.json", "w"))
open("ended", "w").write("a" * 5000 + "<end>" + "b" * 1000)
open("xs", "w").write("x" * 5000)
END
good "tokenize with a token at 5000" 0 tokenize ended -o ended.h5 --tokenizer good.json
run 0 tokenize --decode ids.h5 ended.h5
check "an id without a text: exit status 1" [ $code = 1 ]
check "an id without a text: where it is" \
    grep -q 'ended.h5: token 5000: expected an id .*below 256), found 256' err
bad 1 'xs: the expression that splits' 0 tokenize text xs -o more.h5 --tokenizer endless.json
bad 1 'unlisted.json: added_tokens: expected an array, found "x"' 0 tokenize text -o more.h5 --tokenizer unlisted.json
bad 1 'unknown.json: normalizer: expected none' 0 tokenize text -o more.h5 --tokenizer unknown.json

# ---- What a shell can take away ----

milliseconds=0
# 10 MB: MPI has files of some MB of its own.
head -c 6000000 /dev/zero >long
(ulimit -f 20480 && exec "$CLEAVE" tokenize long -o long.h5) >out 2>err
code=$?
check "a file that may not grow: exit status 1" [ $code = 1 ]
check "a file that may not grow: says so" grep -q '^cleave tokenize: .*long.h5.*File too large' err
"$CLEAVE" tokenize text -o closed.h5 <&- >&- 2>err
code=$?
check "without standard input and output: exit status 1" [ $code = 1 ]
check "without standard input and output: says so" grep -q 'standard output: expected' err
"$CLEAVE" tokenize text -o closed.h5 --overwrite <&- >out 2>err
code=$?
check "without a standard input: exit status 0" [ $code = 0 ]
check "without a standard input: the same file" cmp -s ids.h5 closed.h5
check "nothing is left of what failed" [ -z "$(find . -name '.*.tmp*')" ]

finish tokens.sh
