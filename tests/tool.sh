#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# tool.sh: the command `cleave`: what it does with good input, and that bad input of any kind gives one
# sentence on stderr that says what was expected and found, the same exit status, within
# five seconds, with nothing on stdout and every checkpoint as it was.
#
#     [CLEAVE=build/cleave] [MPIEXEC=mpiexec.mpich] sh tests/tool.sh
set -u

: "${CLEAVE:=cleave}" "${MPIEXEC:=mpiexec.mpich}" "${MPIEXEC_TIMEOUT:=20}"
: "${HWLOC_COMPONENTS:=-pci}" "${OMP_NUM_THREADS:=1}"
case $CLEAVE in
*/*) CLEAVE=$(cd "$(dirname "$CLEAVE")" && pwd)/$(basename "$CLEAVE") ;;
esac
export MPIEXEC_TIMEOUT HWLOC_COMPONENTS OMP_NUM_THREADS

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
checks=0 failures=0

# check WHAT COMMAND...: counts the command's verdict.
check() {
    what=$1
    shift
    checks=$((checks + 1))
    if "$@"; then return 0; fi
    failures=$((failures + 1))
    echo "FAILED: $what"
    echo "  exit status $code after $milliseconds ms"
    sed 's/^/  stdout: /' out | head -n 5
    sed 's/^/  stderr: /' err | head -n 5
}

# run RANKS ARGUMENT...: the command under the launcher, or 0: without it. Sets code, milliseconds; output in
# out and err.
run() {
    ranks=$1 begun=$(date +%s%N)
    shift
    if [ "$ranks" = 0 ]; then
        timeout "$MPIEXEC_TIMEOUT" "$CLEAVE" "$@" >out 2>err </dev/null
    else
        "$MPIEXEC" -n "$ranks" "$CLEAVE" "$@" >out 2>err </dev/null
    fi
    code=$?
    milliseconds=$((($(date +%s%N) - begun) / 1000000))
}

# Every line of a file is one JSON object.
is_json() {
    if command -v python3 >/dev/null 2>&1; then
        python3 -c 'import json, sys
assert all(type(json.loads(line)) is dict for line in open(sys.argv[1]))' "$1" 2>/dev/null
    else
        ! grep -v '^{".*}$' "$1"
    fi
}

# good WHAT RANKS ARGUMENT...: exits with 0 and is silent on stderr; JSON if asked for.
good() {
    title=$1
    shift
    run "$@"
    check "$title: exit status 0" [ $code = 0 ]
    check "$title: nothing on stderr" [ ! -s err ]
    case " $* " in *" --json "*)
        check "$title: something on stdout" [ -s out ]
        check "$title: every line is one object" is_json out ;;
    esac
}

# bad STATUS PATTERN RANKS ARGUMENT...: one line on stderr that fits the (basic) pattern.
bad() {
    expected=$1 pattern=$2
    shift 2
    title="ranks $*"
    run "$@"
    check "$title: exit status $expected" [ $code = "$expected" ]
    check "$title: under 5 seconds" [ $milliseconds -lt 5000 ]
    check "$title: nothing on stdout" [ ! -s out ]
    check "$title: one line on stderr" [ "$(wc -l <err)" = 1 ]
    check "$title: begins with the command" grep -q '^cleave' err
    check "$title: says \"$pattern\"" grep -q -e "$pattern" err
}

holds() { grep -q -e "$1" out; }
checksums() { find run -type f -exec sha256sum {} + | sort; }

# ---- Good input ----

i=0
while [ $i -lt 40 ]; do
    echo "line $i: the quick brown fox jumps over the lazy dog"
    i=$((i + 1))
done >text
tiny="--layers 1 --width 16 --heads 2 --context 16 --batch 2"

good "help" 0 --help
for name in doctor train eval generate inspect verify bench; do
    check "help lists $name" holds "^  $name "
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
good "doctor" 2 doctor --dir . --json
check "doctor: the folder" holds '"check": "commit", "grade": "ok"'

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

# Saves: which stay, in the background too; one that fails costs nothing if a later one succeeds.
for way in '' --save-background; do
    good "keep $way" 2 train --data text --steps 6 $tiny --save "kept$way" --save-every 1 --keep 1 \
        --keep-every 3 $way --json
    check "keep $way: all were announced" [ "$(grep -c '"event": "save"' out)" = 6 ]
    check "keep $way: the newest and the multiples stay" \
        [ "$(cd "kept$way" && echo step-*)" = "step-00000003.h5 step-00000006.h5" ]
    mkdir -p "early$way/step-00000002.h5" "late$way/step-00000004.h5"
    run 2 train --data text --steps 4 $tiny --save "early$way" --save-every 2 $way --json
    check "a failed save $way: a later one makes up for it" [ $code = 0 ]
    check "a failed save $way: told" grep -q '^cleave train: .*rank 0: .*step-00000002' err
    check "a failed save $way: an event" holds '"event": "save_failed", "error": ".*step-00000002'
    check "a failed save $way: nothing is left" [ -z "$(find "early$way" -name '.*.tmp-*')" ]
    run 2 train --data text --steps 4 $tiny --save "late$way" --save-every 2 $way --json
    check "a failed last save $way: exit status 1" [ $code = 1 ]
    check "a failed last save $way: the older one stays" "$CLEAVE" verify "late$way/step-00000002.h5"
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
bad 2 '--resume: expected PATH, found ""' 2 train --data text --resume= --json
bad 2 '--load: expected PATH, found ""' 0 eval --data text --load ''

# ---- Bad grids, sizes and data ----

bad 1 'powers of two, found row=3' 3 train --grid row=3 --data text --reproducible
bad 1 'powers of two, found col=3' 3 train --grid col=3 --data text --resume same --steps 9 --json
bad 1 'powers of two, found col=3' 3 eval --load run --data text --reproducible --json
bad 1 'powers of two, found col=3' 3 generate --load run --prompt a --reproducible --json
bad 1 'diagonal' 2 train --grid diagonal=2 --data text --json
bad 1 'product.*3.*expected.*2' 2 train --grid row=3,col=1 --data text --json
bad 1 'expected NAME=SIZE' 2 train --grid row --data text
bad 1 'row.*twice' 2 train --grid row=2,row=1 --data text
bad 1 '--heads: expected a divisor of the width 128, found 3' 2 train --data text --heads 3 --json
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
fi

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
bad 1 '--save: expected a folder without checkpoints, found run/' 2 train --data text $tiny --steps 9 --save run
# shellcheck disable=SC2086
bad 1 '--save: expected a folder that can be written, found text' 2 train --data text $tiny --save text
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
if [ -z "${PMI_SIZE:-}" ]; then
    PMI_SIZE=2 OMPI_COMM_WORLD_SIZE=2 timeout 20 "$CLEAVE" inspect run >out 2>err
    check "a launcher of another MPI is found out" [ $? = 1 ]
    check "a launcher of another MPI is named" grep -q 'launcher' err
fi
check "every checkpoint is as it was" [ "$before" = "$(checksums)" ]

[ $failures = 0 ] || echo "$failures of $checks checks failed"
echo "DONE tool.sh: $checks checks"
[ $failures = 0 ]
