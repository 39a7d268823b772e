#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# tool.sh: the command `cleave`: what it does with good input, and that bad input of any kind gives one
# sentence on stderr that says what was expected and found, the same exit status, within
# five seconds, with nothing on stdout and every checkpoint as it was.
#
#     [CLEAVE=build/cleave] [MPIEXEC=mpiexec.mpich] sh tests/tool.sh
set -u
# shellcheck source=tests/command.sh
. "$(dirname "$0")/command.sh"

checksums() { find run -type f -exec sha256sum {} + | sort; }

# ---- Good input ----

i=0
while [ $i -lt 40 ]; do
    echo "line $i: the quick brown fox jumps over the lazy dog"
    i=$((i + 1))
done >text
tiny="--layers 1 --width 16 --heads 2 --context 16 --batch 2"

good "help" 0 --help
for name in doctor train eval generate inspect tokenize verify diff bench; do
    check "help lists $name" holds "^  $name "
done
for name in train eval generate inspect verify diff bench doctor; do
    "$CLEAVE" $name --help >out
    check "help of $name: no line is too wide" [ "$(wc -L <out)" -le 100 ]
done
good "version" 0 --version
good "help of train" 2 train --help
check "help: once, not once a rank" [ "$(grep -c '^Usage' out)" = 1 ]
check "help names every option" holds '--save-every N .*\[0\]'
check "help: ranges of the means" [ "$(grep -c '^  --beta[12] .*in \[0, 1)' out)" = 2 ]
check "help: the default warm-up" holds '--warmup N .*tenth of --steps'

# shellcheck disable=SC2086
good "train" 2 train --data text --steps 4 $tiny --save run --save-every 2 --seed 1 --dtype f32 --json
check "train: four steps" [ "$(grep -c '"step": .*"loss": .*"tokens_per_s": ' out)" = 4 ]
check "train: two saves" [ "$(grep -c '"event": "save"' out)" = 2 ]
cp out first
# shellcheck disable=SC2086
good "the same on another grid, without --json" 3 train --grid row=3,col=1 --data text --steps 4 $tiny
check "a progress line" holds '^step 4/4  loss [0-9.]*  [0-9,]* tokens/s  [0-9:]* left'
good "resume on another grid" 4 train --grid row=2,col=2 --data text --resume run --steps 6 --json
check "resume: begins after the newest" holds '"step": 5,'
check "resume: saves where it came from" [ -f run/step-00000006.h5 ]
# Every digit of the losses and norms, on one process and on four, and after a resume without the
# option.
numbers() { sed -n 's/.*"step": \([0-9]*\), "loss": \([^,]*\),.*"grad_norm": \([^}]*\)}.*/\1 \2 \3/p' "$1"; }
# shellcheck disable=SC2086
good "train --reproducible" 1 train --data text --steps 4 $tiny --reproducible --save same --save-every 2 --json
numbers out >one
check "reproducible: says so" holds '"reproducible": true'
check "reproducible: four steps" [ "$(wc -l <one)" = 4 ]
# shellcheck disable=SC2086
good "train --reproducible on four" 4 train --grid row=2,col=2 --data text --steps 4 $tiny --reproducible --json
numbers out >four
check "reproducible: the same digits on four" cmp one four
good "resume a reproducible run" 2 train --grid col=2 --data text --resume same/step-00000002.h5 --steps 4 --save again --json
numbers out >two
check "reproducible: the same digits after a resume" [ "$(tail -n 2 one)" = "$(cat two)" ]
for ranks in 1 2; do
    good "eval --reproducible on $ranks" $ranks eval --load same --data text --reproducible --json
    sed 's/, "file".*//' out >"eval$ranks"
done
check "reproducible: the same loss on two" cmp eval1 eval2

# A small Llama: its shape goes into the checkpoint, and nothing of it has to be said again.
llama="--layers 1 --width 24 --heads 6 --kv-heads 3 --context 16 --batch 2 --norm rms --norm-eps 1e-6
    --mlp swiglu --hidden 20 --position rotary --rotary-base 5000 --no-bias --tied"
# shellcheck disable=SC2086
good "train a Llama" 1 train --data text --steps 4 $llama --reproducible --save llama --save-every 2 --json
numbers out >one
# Tokens 256 x 24; norms 3 x 24; qkv 24 x (6 + 2 x 3) 4, out 24 x 24, MLP 3 x 24 x 20.
check "Llama: its parameters" holds '"parameters": 9384'
good "resume a Llama" 4 train --grid row=2,col=2 --data text --resume llama/step-00000002.h5 --steps 4 --save llama2 --json
numbers out >two
check "Llama: the same digits after a resume on four" [ "$(tail -n 2 one)" = "$(cat two)" ]
good "eval a Llama" 3 eval --grid col=3 --load llama --data text --json
good "generate from a Llama" 2 generate --load llama --prompt 'The ' --tokens 20 --json
check "Llama: text" holds '"text": ".*"tokens": 20'
bad 1 '--kv-heads: expected 3 as in llama/.*, found 2' 1 eval --load llama --data text --kv-heads 2 --json
bad 1 '--position: expected rotary as in llama/.*, found learned' 1 train --data text --resume llama --position learned
bad 1 '--tied: expected no as in run/.*, found yes' 1 train --data text --resume run --tied --json
bad 1 '"kv_heads" to divide "heads" 4, found 3' 2 train --data text --kv-heads 3 --json
bad 1 'even number of features in a head, found 3' 1 train --data text --width 12 --position rotary

good "resume a run that is done" 1 train --data text --resume run --steps 6 --json
check "resume: says that nothing is to do" holds '"nothing_to_do", "saved_step": 6, "steps": 6, "file": "run/'
# shellcheck disable=SC2086
good "a short run" 1 train --data text --steps 10 $tiny --json
check "a short run: warms up and comes down to a tenth" holds '"step": 10, .*"lr": 0\.0001[0,]'
# shellcheck disable=SC2086
good "a run of two steps" 1 train --data text --steps 2 $tiny --json
good "eval" 3 eval --grid col=3 --load run --data text --json
check "eval: loss and tokens" holds '"loss": .*"tokens": '
good "generate" 0 generate --load run --prompt 'The ' --tokens 20 --seed 3 --json
check "generate: text" holds '"text": ".*"tokens": 20'
grep -o '"hex": "[0-9a-f]*"' out >one
good "generate on a grid" 2 generate --load run --prompt 'The ' --tokens 20 --seed 3 --json
grep -o '"hex": "[0-9a-f]*"' out >two
check "generate: the same text on every grid" cmp -s one two
good "inspect" 0 inspect run --json
check "inspect: shapes" holds '"shape": \[16, 48\], "dtype": "f32"'
check "inspect: step" holds '"step": 6'
good "verify" 2 verify run --json
check "verify: all three" [ "$(grep -c '"ok": true' out)" = 3 ]
cp -r run named
: >named/step-1.h5
: >"named/step-00000009 .h5"
mkdir named/step-00000008.h5
good "verify: files named as a save names them" 1 verify named --json
check "verify: those alone" [ "$(grep -c '"ok": true' out)" = 3 ]
ln -s step-00000009.h5 named/step-00000009.h5
run 2 verify named
check "verify: what cannot be opened: exit status 1" [ $code = 1 ]
check "verify: what cannot be opened is not called damaged" holds '^NOT verified: .*step-00000009.h5: cannot open'
check "verify: the others are told" [ "$(grep -c ' all as written$' out)" = 3 ]
good "doctor" 2 doctor --dir . --json
check "doctor: the folder" holds '"check": "commit", "grade": "ok"'
for dir in nowhere text; do
    run 1 doctor --dir $dir --json
    check "doctor --dir $dir: exit status 1" [ $code = 1 ]
    check "doctor --dir $dir: broken" holds "\"folder\", \"grade\": \"broken\", \"found\": \"$dir cannot be written"
done
run 1 doctor --dir nowhere
check "doctor --dir: a folder that is not there is to be made" holds "mkdir -p"

# Tokens: to a file and back, and everywhere that texts are taken.
good "tokenize" 0 tokenize text text -o text.h5 --separator 10 --json
check "tokenize: counts" holds "\"tokens\": $((2 * $(wc -c <text) + 1)), \"bytes\": $((2 * $(wc -c <text))), \"vocabulary\": 256"
"$CLEAVE" tokenize --decode text.h5 >back 2>err
check "tokenize: the text comes back" sh -c '{ cat text; echo; cat text; } | cmp -s - back'
good "decode" 0 tokenize --decode text.h5 --json
check "decode: text" holds '"text": "line 0: the quick'
good "tokenize one" 0 tokenize text -o one.h5
# shellcheck disable=SC2086
good "train on tokens" 2 train --data one.h5 --steps 2 $tiny --seed 1 --json
check "tokens: the vocabulary" holds '"vocabulary": 256'
numbers out >one
# shellcheck disable=SC2086
good "train on the same text" 2 train --data text --steps 2 $tiny --seed 1 --json
numbers out >two
check "tokens: the losses are those of the text" cmp one two
# shellcheck disable=SC2086
good "train with a vocabulary" 2 train --data one.h5 --steps 2 $tiny --vocabulary 300 --save wide --json
check "a vocabulary that was asked for" holds '"vocabulary": 300'
good "eval on tokens" 2 eval --load wide --data one.h5
check "eval: a token" holds 'bits) a token over'
good "eval on a text" 2 eval --load run --data text
check "eval: a byte" holds 'bits) a byte over'
# A tokenizer of 256 bytes and one merge.
python3 - <<'END'
import json
own = lambda b: 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xac or b >= 0xae
other = iter(range(0x100, 0x200))
chars = [chr(b if own(b) else next(other)) for b in range(256)]
json.dump({"model": {"type": "BPE", "vocab": {**{c: i for i, c in enumerate(chars)}, "th": 256},
           "merges": ["t h"]}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
           "added_tokens": [{"id": 257, "content": "<end>"}]}, open("tokenizer.json", "w"))
END
good "tokenize by pairs" 0 tokenize text text -o pairs.h5 --tokenizer tokenizer.json --separator '<end>' --json
check "pairs: the vocabulary" holds '"vocabulary": 258'
# shellcheck disable=SC2086
good "train on pairs" 2 train --data pairs.h5 --steps 2 $tiny --save pairs --json
check "pairs: the model's vocabulary" holds '"vocabulary": 258'
good "generate by pairs" 0 generate --load pairs --prompt 'the ' --tokens 20 --seed 3 --tokenizer tokenizer.json --json
grep -o '"hex": "[0-9a-f]*"' out >one
good "generate by pairs on a grid" 2 generate --load pairs --prompt 'the ' --tokens 20 --seed 3 --tokenizer . --json
grep -o '"hex": "[0-9a-f]*"' out >two
check "generate: the same text by pairs on every grid" cmp -s one two

# Bytes are those of the rank that receives most, foretold and measured.
uneven="-m 5 -n 6 -k 4 --grid row=3 --layout-a row|- --layout-b row|- --layout-c row|- --repeat 1 --json"
# shellcheck disable=SC2086
good "bench: the plan" 3 bench gemm $uneven --plan
grep -o '"bytes_per_rank": [0-9]*' out >one
# shellcheck disable=SC2086
good "bench: measured" 3 bench gemm $uneven
grep -o '"bytes_per_rank": [0-9]*' out >two
check "bench: the bytes of the plan are those received" cmp -s one two

# One run at a time saves into a folder; the lock ends with the process, however that ends.
# shellcheck disable=SC2086
"$CLEAVE" train --data text --steps 1000000 $tiny --save busy --log-every 1 >long 2>err &
long=$!
i=0
while [ ! -s long ] && [ $i -lt 100 ]; do
    sleep 0.05
    i=$((i + 1))
done
# shellcheck disable=SC2086
bad 1 '--save: expected .*no other run .*busy' 2 train --data text --steps 2 $tiny --save busy --json
kill -9 $long
wait $long 2>/dev/null
# shellcheck disable=SC2086
good "a folder whose run was killed" 2 train --data text --steps 2 $tiny --save busy

# A library whose unlink leaves step 1 alone, where there is a compiler and programs let it in.
cat >stays.c <<'END'
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
int unlink(const char *path)
{
    if (!strstr(path, "/step-00000001.h5")) return unlinkat(AT_FDCWD, path, 0);
    errno = EPERM;
    return -1;
}
END
stays=''
if cc -shared -fPIC stays.c -o stays.so 2>cc.err && LD_PRELOAD=$PWD/stays.so "$CLEAVE" --version >out 2>err; then
    stays=$PWD/stays.so
fi

# Saves: which stay, in the background too; one that fails costs nothing if a later one succeeds.
for way in '' --save-background; do
    good "keep $way" 2 train --data text --steps 6 $tiny --save "kept$way" --save-every 1 --keep 1 \
        --keep-every 3 $way --json
    check "keep $way: all were announced" [ "$(grep -c '"event": "save"' out)" = 6 ]
    check "keep $way: the newest and the multiples stay" \
        [ "$(cd "kept$way" && echo step-*)" = "step-00000003.h5 step-00000006.h5" ]
    mkdir -p "folder$way/step-00000001.h5"
    good "a folder named as a step $way" 2 train --data text --steps 4 $tiny --save "folder$way" --save-every 2 --keep 1 $way --json
    check "a folder named as a step $way: stays, and keeps nothing else" \
        [ "$(cd "folder$way" && echo step-*)" = "step-00000001.h5 step-00000004.h5" ]
    if [ -n "$stays" ]; then
        export LD_PRELOAD="$stays"
        run 2 train --data text --steps 3 $tiny --save "stays$way" --save-every 1 --keep 1 $way --json
        unset LD_PRELOAD
        check "an old step that cannot be removed $way: exit status 1" [ $code = 1 ]
        check "an old step that cannot be removed $way: told after each save" \
            [ "$(grep -o '"event": "save[_a-z]*"' out | cut -d '"' -f 4 | xargs)" = "save save save_failed save save_failed" ]
        check "an old step that cannot be removed $way: the others go" \
            [ "$(cd "stays$way" && echo step-*)" = "step-00000001.h5 step-00000003.h5" ]
    fi
    mkdir -p "failed-first$way/step-00000002.h5" "failed-last$way/step-00000004.h5"
    run 2 train --data text --steps 4 $tiny --save "failed-first$way" --save-every 2 $way --json
    check "a failed save $way: a later one makes up for it" [ $code = 0 ]
    check "a failed save $way: told" grep -q '^cleave train: .*rank 0: .*step-00000002' err
    check "a failed save $way: an event" holds '"event": "save_failed", "error": ".*step-00000002'
    check "a failed save $way: nothing is left" [ -z "$(find "failed-first$way" -name '.*.tmp-*')" ]
    run 2 train --data text --steps 4 $tiny --save "failed-last$way" --save-every 2 $way --json
    check "a failed last save $way: exit status 1" [ $code = 1 ]
    check "a failed last save $way: the older one stays" "$CLEAVE" verify "failed-last$way/step-00000002.h5"
done

# A run that diverges ends with an error and saves nothing of that.
wild="--optimizer sgd --lr 1000 --warmup 0 --weight-decay 1000 --clip 0"
# shellcheck disable=SC2086
run 2 train --data text --steps 40 $tiny $wild --save wild --save-every 1 --json
check "diverging: exit status 1" [ $code = 1 ]
check "diverging: says what is not finite" grep -q 'finite' err
check "diverging: only finite steps are saved" [ "$(grep -c '"event": "save"' out)" = \
    "$(grep -c '"loss": [-0-9.e+]*, .*"grad_norm": [-0-9.e+]*}' out)" ]
bad 1 'finite' 2 eval --load wild --data text --json
bad 1 'finite' 2 generate --load wild --prompt The --tokens 5 --json

# What fails on another rank than 0 is told too: rank 1 alone stands where the model is not.
good "convert" 2 convert run -o hf
cat >apart.sh <<'END'
[ "${PMI_RANK:-0}" = 0 ] || cd elsewhere || exit
exec "$@"
END
mkdir elsewhere
good "convert back" 2 convert hf -o from-hf.h5
"$MPIEXEC" -n 2 sh "$PWD/apart.sh" "$CLEAVE" convert hf -o apart.h5 >out 2>err
check "a failure of rank 1: exit status 1" [ $? = 1 ]
check "a failure of rank 1: what it is" grep -q '^cleave convert: hf/config.json: expected' err
"$MPIEXEC" -n 2 sh "$PWD/apart.sh" "$CLEAVE" verify run/step-00000002.h5 >out 2>err
check "a checkpoint that rank 1 cannot open: exit status 1" [ $? = 1 ]
check "a checkpoint that rank 1 cannot open: says who" grep -q '^cleave verify: rank 1: run/step-00000002.h5: cannot open' err

bad 1 'from-hf.h5: expected an optimizer.s state .* found parameters alone: --init' 2 train --data text --resume from-hf.h5 --steps 9 --json
cp -r hf emptied && rm emptied/model.safetensors
printf '{"weight_map": {}}' >emptied/model.safetensors.index.json
bad 1 'emptied: 17 tensors are not as expected: wte.weight is missing; ' 1 convert emptied -o apart.h5
echo half >hf/config.json.tmp # what a crash left
good "convert over what is there" 2 convert from-hf.h5 -o hf --overwrite
check "convert: nothing is left beside the files" [ "$(cd hf && echo *)" = "config.json model.safetensors" ]

# Other data than before a resume: told.
good "resume with the same data" 2 train --data text --resume run/step-00000002.h5 --steps 3 --save told --json
check "the same data: nothing to tell" [ "$(grep -c other_data out)" = 0 ]
good "resume with other data" 2 train --data text text --resume run/step-00000002.h5 --steps 3 --save told2 --json
check "other data: told" holds "\"other_data\", \"tokens\": $((2 * $(wc -c <text))), \"saved_tokens\": $(wc -c <text)"

# Back to an older checkpoint: newer ones go with --keep alone, and not unasked.
cp -r run returned
bad 1 '--resume: expected no checkpoints after returned/step-00000002.h5 .*found 2, up to returned/step-00000006.h5' 2 train --data text --resume returned/step-00000002.h5 --steps 5 --save-every 1 --keep 1
check "going back: nothing is lost" [ "$(cd returned && echo step-*)" = "$(cd run && echo step-*)" ]
good "go back without --keep" 2 train --data text --resume returned/step-00000002.h5 --steps 3 --json
check "go back without --keep: all stay" [ "$(cd returned && echo step-*)" = "step-00000002.h5 step-00000003.h5 step-00000004.h5 step-00000006.h5" ]
check "go back without --keep: nothing to tell" [ "$(grep -c newer out)" = 0 ]
good "go on in a folder that went back" 2 train --data text --resume returned --steps 4 --keep 2 --json
check "a folder that went back: told" holds '"event": "newer", "count": 2, "file": "returned/step-00000006.h5"'
check "a folder that went back: they go" [ "$(cd returned && echo step-*)" = "step-00000003.h5 step-00000004.h5" ]
good "go back with --overwrite" 2 train --data text --resume returned/step-00000003.h5 --steps 5 --save-every 1 --keep 1 --overwrite
check "go back with --overwrite: told" holds '^--keep: checkpoints after step 3 go as this run saves: 1, up to returned/step-00000004.h5'

# ---- Bad words ----

before=$(checksums)
bad 2 'expected a subcommand.*found "trian"' 2 trian
bad 2 'expected a subcommand' 0
bad 2 'unknown option --stepz' 2 train --data text --stepz 5
bad 2 '--steps: expected N, found the end' 0 train --data text --steps
bad 2 '--steps: expected an integer from 1 .*found "many"' 2 train --data text --steps many
bad 2 '--steps: expected .*found "-5"' 0 train --data text --steps -5
bad 2 '--batch: expected .*found "0"' 0 train --data text --batch 0
bad 2 '--width: expected .*found "99999999999999999999"' 0 train --data text --width 99999999999999999999
bad 2 '--lr: expected a number from .*found "nan"' 0 train --data text --lr nan
bad 2 '--dtype: expected f32|f64, found "f16"' 0 train --data text --dtype f16
bad 2 'expected --data FILE..., found none' 0 train --steps 5
bad 2 '--data: expected FILE..., found --steps' 0 train --data --steps 5
bad 2 'expected --load PATH, found none' 0 eval --data text --json
bad 2 'expected PATH, found none' 0 inspect
bad 2 'found "more"' 0 verify run more
bad 2 '--prompt: expected TEXT, found ""' 0 generate --load run --prompt ''
bad 2 '--save: expected DIR, found ""' 2 train --data text --save ''
bad 2 '--save-every: expected --save DIR too, found none' 2 train --data text --save-every 1 --keep 2 --json
bad 2 '--keep: expected --save DIR too, found none' 0 train --data text --keep 2
bad 2 '--keep-every: expected --save DIR too, found none' 0 train --data text --keep-every 2
bad 2 '--save-background: expected --save DIR too, found none' 0 train --data text --save-background
bad 2 '--only: expected --init PATH too, found none' 2 train --data text --only 'x*'
bad 2 '--init: expected a new run, found --resume run' 2 train --data text --steps 9 --init run --resume run --json
bad 2 '--resume: expected PATH, found ""' 2 train --data text --resume= --json
bad 2 '--load: expected PATH, found ""' 0 eval --data text --load ''

# ---- Bad grids, sizes and data: exit status 2 as long as the words alone are wrong ----

bad 2 'powers of two, found row=3' 3 train --grid row=3 --data text --reproducible
bad 2 'powers of two, found col=3' 3 train --grid col=3 --data text --resume same --steps 9 --json
bad 2 'powers of two, found col=3' 3 eval --load run --data text --reproducible --json
bad 2 'powers of two, found col=3' 3 generate --load run --prompt a --reproducible --json
bad 2 'diagonal' 2 train --grid diagonal=2 --data text --json
bad 2 'product.*3.*expected.*2' 2 train --grid row=3,col=1 --data text --json
bad 2 'expected NAME=SIZE' 2 train --grid row --data text
bad 2 'expected NAME=SIZE' 2 eval --grid col=two --load run --data text --json
bad 2 'product.*3.*expected.*1' 0 generate --grid col=3 --load run --prompt a
bad 2 'row.*twice' 2 train --grid row=2,row=1 --data text
bad 2 '--heads: expected a divisor of the width 128, found 3' 2 train --data text --heads 3 --json
bad 1 'does not fit: expected at most .* found at least' 2 train --data text --width 1048576 --layers 1000
bad 1 'matrices do not fit: expected at most .* found at least' 2 bench gemm -m 1000000000 -n 1000000000 -k 1 --json
bad 1 'absent' 2 train --data text absent --json
bad 1 'run' 2 train --data run
: >empty
bad 1 'expected.*found' 2 train --data empty --json
bad 1 'expected.*found' 2 eval --load run --data empty --json
if [ "$(id -u)" != 0 ]; then
    cp text secret && chmod 000 secret
    bad 1 'secret' 2 train --data secret
    mkdir unlisted && chmod 300 unlisted
    # shellcheck disable=SC2086
    bad 1 'unlisted: cannot list' 2 train --data text --steps 2 $tiny --save unlisted
    chmod 700 unlisted
    cp -r run unseen && chmod 111 unseen
    bad 1 'unseen: cannot list' 2 verify unseen
    chmod 700 unseen
fi

# ---- Bad tokens ----

bad 1 'vocabulary of the model, found a vocabulary of 258' 2 train --data pairs.h5 --resume run --steps 9 --json
bad 1 'vocabulary of the model, found a vocabulary of 258' 2 eval --load run --data pairs.h5 --json
bad 1 'ids below 100, the vocabulary of the model' 2 train --data text --vocabulary 100 --json
bad 1 'expected token files .* 258 tokens, found texts' 2 eval --load pairs --data text --json
bad 1 '--vocabulary: expected 256 as in run' 2 train --data text --resume run --vocabulary 300
bad 1 'text.h5: expected a text as text before it' 2 train --data text text.h5 --json
bad 1 'expected --tokenizer PATH for the 258 tokens' 2 generate --load pairs --prompt the --json
bad 1 '--tokenizer: expected at most 256 tokens' 2 generate --load run --prompt the --tokenizer .
bad 1 'nowhere' 0 generate --load pairs --prompt the --tokenizer nowhere --json
bad 2 'expected -o OUT.h5 or --decode' 0 tokenize text
bad 2 '--decode: expected no option .* found -o' 0 tokenize --decode text.h5 -o more.h5
bad 1 '--separator: expected a token .* found "<fin>"' 0 tokenize text -o more.h5 --separator '<fin>' --json
bad 1 '--separator: expected .*below 256, found "256"' 0 tokenize text -o more.h5 --separator 256
bad 1 'expected one process, found 2' 2 tokenize text -o more.h5 --json
bad 1 'absent' 0 tokenize text absent -o more.h5
bad 1 'expected text, found 0 bytes' 0 tokenize empty -o more.h5
bad 1 'no/.more.h5' 0 tokenize text -o no/more.h5
bad 1 'run/latest: expected a JSON object' 0 tokenize text -o more.h5 --tokenizer run/latest
cp text precious
ln precious twin
cp "run/step-00000006.h5" kept.h5
bad 1 '-o: expected nothing there, found kept.h5: --overwrite' 0 tokenize text -o kept.h5
check "a checkpoint stays" cmp -s run/step-00000006.h5 kept.h5
bad 1 '-o: expected nothing there, found precious: --overwrite' 0 tokenize precious -o precious --json
bad 1 '-o: expected another file than the text precious, found twin' 0 tokenize text precious -o twin --overwrite
check "a text stays" cmp -s text precious
good "tokenize --overwrite" 0 tokenize text -o kept.h5 --overwrite
check "--overwrite" cmp -s one.h5 kept.h5
check "nothing is left of what failed" [ -z "$(find . -name '*more.h5*')" ]

# ---- Bad checkpoints ----

newest=run/step-00000006.h5
bad 1 'nowhere' 2 train --data text --resume nowhere --json
bad 1 'nowhere' 2 eval --data text --load nowhere --json
bad 1 'nowhere' 2 inspect nowhere --json
bad 1 'nowhere' 2 verify nowhere/step-00000001.h5 --json
mkdir hollow
bad 1 'hollow' 2 generate --load hollow --prompt The
bad 1 '--width: expected 16 as in run/.*, found 32' 2 train --data text --resume run --width 32 --json
bad 1 '--dtype: expected f32 as in run/.*, found f64' 2 train --data text --resume run --dtype f64
bad 1 '--seed: expected 1 as in run/.*, found 2' 2 train --data text --resume run --seed 2
bad 1 '--optimizer: expected adamw as in run/.*, found sgd' 2 train --data text --resume run --optimizer sgd
bad 1 '--layers: expected 1 as in run/.*, found 2' 3 eval --data text --load run --layers 2 --json
bad 1 '--steps: expected at least 6, .*run/step-00000006.h5, found 5' 2 train --data text --resume run --steps 5 --json
# shellcheck disable=SC2086
bad 1 '--save: expected a folder without checkpoints, found 3, up to run/step-00000006.h5: ' 2 train --data text $tiny --steps 9 --save run
# Checkpoints that are damaged, without latest, are another run's all the same.
cp -r run ruined && rm ruined/latest
for file in ruined/step-*; do truncate -s -1 "$file"; done
# shellcheck disable=SC2086
bad 1 '--save: expected a folder without checkpoints, found 3, up to ruined/step-00000006.h5: ' 2 train --data text $tiny --steps 2 --save ruined --keep 1
bad 1 'ruined/step-00000006.h5: .*; older: 2, none of them complete' 2 train --data text --steps 9 --resume ruined --keep 1 --json
cp run/step-00000004.h5 ruined
bad 1 'ruined/step-00000006.h5: .*; older and complete: step-00000004.h5' 2 train --data text --steps 9 --resume ruined --keep 1
check "a damaged folder: all files stay" [ "$(cd ruined && echo step-*)" = "$(cd run && echo step-*)" ]
# shellcheck disable=SC2086
bad 1 '--save: rank 0: text: expected a folder, found a file' 2 train --data text $tiny --save text
# shellcheck disable=SC2086
bad 1 '--save: .*/proc/run' 2 train --data text $tiny --save /proc/run --json
bad 1 'text' 2 train --data text --resume text --json
bad 1 'text' 2 inspect text

# Damage: cut short, emptied, a byte changed at many places.
size=$(stat -c %s "$newest")
head -c $((size / 2)) "$newest" >cut.h5
bad 1 'cut.h5' 2 train --data text --resume cut.h5 --json
bad 1 'cut.h5' 2 eval --data text --load cut.h5 --json
bad 1 'empty' 0 inspect empty
flip() {
    cp "$newest" flipped.h5
    byte=$(od -An -tu1 -j "$1" -N1 flipped.h5 | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf %o $((byte ^ 255)))" | dd of=flipped.h5 bs=1 seek="$1" conv=notrunc 2>dd.err
}
for part in 1 3 5 7 9; do
    flip $((size * part / 10))
    run 2 verify flipped.h5 --json
    check "byte $((size * part / 10)) of $size flipped: verify fails" [ $code = 1 ]
    check "byte flipped: one line on stderr" [ "$(wc -l <err)" = 1 ]
    check "byte flipped: verify says which file" grep -q flipped.h5 err
done
flip $((size / 2))
bad 1 'flipped.h5' 2 train --data text --resume flipped.h5 --json

# A disk without room for what is printed, and a run under a launcher of another MPI.
"$CLEAVE" inspect run >/dev/full 2>err
check "a full standard output is a failure" [ $? = 1 ]
odd=$(printf 'odd\377.h5') # a name that JSON cannot say
cp "$newest" "$odd"
good "a file whose name is not UTF-8" 2 inspect "$odd"
run 2 inspect "$odd" --json
check "with --json: exit status 1" [ $code = 1 ]
check "with --json: says why" grep -q -e '--json: expected names in UTF-8' err
if [ -z "${PMI_SIZE:-}" ]; then
    PMI_SIZE=2 OMPI_COMM_WORLD_SIZE=2 timeout 20 "$CLEAVE" inspect run >out 2>err
    check "a launcher of another MPI is found out" [ $? = 1 ]
    check "a launcher of another MPI is named" grep -q 'launcher' err
fi
check "every checkpoint is as it was" [ "$before" = "$(checksums)" ]

finish tool.sh
