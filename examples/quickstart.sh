#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# quickstart.sh: from a fresh Debian to a network that was trained, killed, resumed on another grid,
# evaluated and asked for text.
#
#     sh examples/quickstart.sh
#
# BUILD names the build folder (default: ./build), CLEAVE_QUICKSTART_DIR where the checkpoints
# go (default: the build folder's quickstart). The exit status is 0 only if all of it held.
set -eu

# The text, and the file of it that training never sees: none of the others is another version of it.
texts=/usr/share/common-licenses
held_out=Apache-2.0

# The model, and its training.
model="--layers 4 --width 128 --heads 4 --context 128"
training="--batch 8 --lr 0.002 --warmup 100 --seed 1"
steps=800
save_every=200
enough=2.0 # nats a byte on the held-out text

first_ranks=2 first_grid=row=1,col=2
second_ranks=4 second_grid=data=2,col=2
eval_ranks=3 eval_grid=col=3

top=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$top/build}
sh "$top/tools/setup.sh" "$build"
build=$(cd "$build" && pwd)
cleave=$build/cleave
mpiexec=$(sed -n 's/^MPIEXEC = //p' "$build/Makefile")
run=${CLEAVE_QUICKSTART_DIR:-$build/quickstart}
mkdir -p "$run"
rm -f "$run"/step-*.h5 "$run"/latest "$run"/eval.json "$run"/generated.txt

step() { printf '\n== %s\n' "$*"; }
fail() {
    echo "quickstart: $*" >&2
    exit 1
}

# Every text once: links and copies under other names are left out.
set --
seen=' '
for file in "$texts"/*; do
    if [ ! -f "$file" ] || [ -L "$file" ] || [ "${file##*/}" = "$held_out" ]; then continue; fi
    sum=$(cksum <"$file" | tr ' ' :)
    case $seen in *" $sum "*) continue ;; esac
    seen="$seen$sum "
    set -- "$@" "$file"
done
if [ $# = 0 ] || [ ! -r "$texts/$held_out" ]; then fail "no texts in $texts"; fi

# The processes below process $1, and of those the ones that have none below themselves: the ranks.
children() {
    sed -n "s/^\([0-9]*\) (.*) . $1 .*/\1/p" /proc/[0-9]*/stat 2>/dev/null || :
}
ranks_below() {
    for child in $(children "$1"); do
        below=$(ranks_below "$child")
        echo "${below:-$child}"
    done
}

step "Training on $first_ranks processes, grid $first_grid: $# texts, $(cat "$@" | wc -c) bytes"
begin=$(date +%s)
# shellcheck disable=SC2086
$mpiexec -n $first_ranks "$cleave" train --grid $first_grid --data "$@" $model $training \
    --steps $steps --save "$run" --save-every $save_every </dev/null &
launcher=$!
trap 'kill $launcher 2>/dev/null' INT TERM HUP
until ls "$run"/step-*.h5 >/dev/null 2>&1; do
    kill -0 $launcher 2>/dev/null || fail "training ended before its first checkpoint"
    sleep 0.2
done
sleep 1
ranks=$(ranks_below $launcher)
victim=$(echo "$ranks" | tail -n 1)
[ -n "$victim" ] || fail "training ended before it could be killed"

step "Killing one rank (kill -9 $victim) in mid-run"
kill -9 "$victim"
code=0
wait $launcher || code=$?
trap - INT TERM HUP
[ $code != 0 ] || fail "mpiexec did not notice that a rank was killed"
sleep 1
for rank in $ranks; do
    kill -0 "$rank" 2>/dev/null && fail "rank with process id $rank outlived its launcher"
done
[ ! -e "$(printf '%s/step-%08d.h5' "$run" $steps)" ] || fail "training had ended before the kill"
echo "The other rank is gone too (mpiexec's exit status: $code); what was committed is there:"
ls "$run"

step "Resuming on $second_ranks processes, grid $second_grid, from the newest checkpoint"
$mpiexec -n $second_ranks "$cleave" train --grid $second_grid --resume "$run" --data "$@" \
    --steps $steps --save-every $save_every </dev/null
seconds=$(($(date +%s) - begin))
newest=$(printf '%s/step-%08d.h5' "$run" $steps)
[ -f "$newest" ] || fail "there is no $newest"

step "Loss on $held_out, which the training never saw, on $eval_ranks processes, grid $eval_grid"
$mpiexec -n $eval_ranks "$cleave" eval --grid $eval_grid --load "$run" --data "$texts/$held_out" \
    --json </dev/null | tee "$run/eval.json"
loss=$(sed -n 's/.*"loss": *\([0-9.eE+-]*\).*/\1/p' "$run/eval.json" | tail -n 1)
awk -v loss="$loss" -v enough=$enough 'BEGIN { exit !(loss != "" && loss + 0 < enough) }' ||
    fail "a loss below $enough was expected, $loss was found"

step "200 bytes from one process"
"$cleave" generate --load "$run" --prompt "The " --tokens 200 </dev/null | tee "$run/generated.txt"
[ "$(wc -c <"$run/generated.txt")" -ge 200 ] || fail "fewer than 200 bytes were generated"

step "What is in the checkpoint (the optimizer's two matrices for each of the model's are left out)"
"$cleave" inspect "$run" </dev/null | grep -v ' adamw\.'
"$cleave" verify "$run" </dev/null

step "What this showed"
cat <<END
 * A GPT was trained on real text with every weight matrix cut over $first_ranks processes.
 * One process was killed in mid-run: no process stayed behind, no committed checkpoint was lost.
 * The newest checkpoint went on with $second_ranks processes on the grid $second_grid, up to step $steps ($seconds s in all).
 * A third grid ($eval_grid) read the same file: $loss nats a byte on text that was held out.
 * A single process read it too, and wrote 200 bytes in the manner of the texts.
 * Every byte of every checkpoint is as it was written.
The checkpoint: $newest
END
