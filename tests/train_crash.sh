#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# train_crash.sh: kill -9 at random moments of a training run that saves at every step (in every
# fourth round, of its start). After each: all checkpoints verify, the newest is no older than
# the newest one announced, the next run goes on from it, and no process is left.
#
#     [CLEAVE=build/cleave] [MPIEXEC=mpiexec.mpich] sh tests/train_crash.sh [ROUNDS]
#
# Two rounds of three kill a random rank, the third the launcher.
set -u

: "${CLEAVE:=cleave}" "${MPIEXEC:=mpiexec.mpich}" "${MPIEXEC_TIMEOUT:=60}"
: "${HWLOC_COMPONENTS:=-pci}" "${OMP_NUM_THREADS:=1}"
case $CLEAVE in
*/*) CLEAVE=$(cd "$(dirname "$CLEAVE")" && pwd)/$(basename "$CLEAVE") ;;
esac
export MPIEXEC_TIMEOUT HWLOC_COMPONENTS OMP_NUM_THREADS
rounds=${1:-10}

work=$(mktemp -d) || exit 1
launcher=''
cleanup() {
    [ -z "$launcher" ] || kill -TERM "$launcher" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
checks=0 failures=0

check() {
    what=$1
    shift
    checks=$((checks + 1))
    "$@" && return 0
    failures=$((failures + 1))
    echo "FAILED: round $round: $what"
    tail -n 2 out err verified 2>/dev/null | cut -c 1-300
}

# A number from 0 to 65535.
random() { od -An -N2 -tu2 /dev/urandom | tr -d ' '; }

# All processes below $1: the parent is the fourth field of /proc/PID/stat, whose second may hold
# blanks.
descendants() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v root="$1" '
        { pid = $1; sub(/.*\) /, ""); parent[pid] = $2 }
        END {
            for (pid in parent)
                for (up = parent[pid]; up > 1; up = parent[up])
                    if (up == root) { print pid; break }
        }'
}

# Those of the processes given whose command is ours.
ranks_among() {
    for pid in "$@"; do
        case $(readlink "/proc/$pid/exe" 2>/dev/null) in *cleave) echo "$pid" ;; esac
    done
}

# Whether all processes given are gone (or dead and not yet buried) within three seconds.
all_gone() {
    for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        left=''
        for pid in "$@"; do
            read -r line 2>/dev/null <"/proc/$pid/stat" || continue
            case ${line##*) } in Z*) ;; *) left="$left $pid" ;; esac
        done
        [ -z "$left" ] && return 0
        sleep 0.2
    done
    echo "still there after attempt $attempt:$left"
    return 1
}

# The newest step that output or folder know of.
announced() { sed -n 's/.*"saved_step": \([0-9]*\), .*}$/\1/p' "$@" | sort -n | tail -n 1; }

i=0
while [ $i -lt 40 ]; do
    echo "line $i: the quick brown fox jumps over the lazy dog"
    i=$((i + 1))
done >text

start() {
    from=''
    [ "$newest" = 0 ] || from='--resume run'
    # shellcheck disable=SC2086
    "$MPIEXEC" -n 2 "$CLEAVE" train --data text $from --layers 1 --width 32 --heads 2 --context 32 \
        --batch 2 --steps 1000000 --save run --save-every 1 --keep 3 --json >out 2>err </dev/null &
    launcher=$!
}

# Training has begun, or 20 seconds have passed.
await_training() {
    attempt=0
    until grep -q '"event": "start"' out || [ $attempt = 200 ]; do
        attempt=$((attempt + 1))
        sleep 0.1
    done
}

# Kills a random rank, or every third time the launcher. $1: the round; the rest: the ranks.
strike() {
    [ $(($1 % 3)) = 0 ] && { kill -9 "$launcher"; return; }
    shift
    shift $(($(random) % $#))
    kill -9 "$1"
}

newest=0 round=0 killed=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    start
    [ $((round % 4)) = 0 ] || await_training
    sleep "$(awk -v r="$(random)" 'BEGIN { print 0.05 + 0.75 * r / 65536 }')"
    family=$(descendants "$launcher")
    # shellcheck disable=SC2086
    ranks=$(ranks_among $family)
    # shellcheck disable=SC2086
    [ -z "$ranks" ] || { killed=$((killed + 1)); strike $round $ranks; }
    [ -n "$ranks" ] || kill -9 "$launcher"
    wait "$launcher" 2>/dev/null
    check "the launcher tells the failure" [ $? != 0 ]
    # shellcheck disable=SC2086
    check "no process is left" all_gone $family
    launcher=''
    step=$(announced out)
    [ "${step:-0}" -le "$newest" ] || newest=$step
    [ "$newest" != 0 ] || [ -e run/latest ] || continue
    "$CLEAVE" verify run --json >verified 2>err
    check "every checkpoint verifies" [ $? = 0 ]
    step=$("$CLEAVE" inspect run --json 2>err | sed -n 's/.*"step": \([0-9]*\), "datasets".*/\1/p')
    check "the newest is at least step $newest, found ${step:-none}" [ "${step:-0}" -ge "$newest" ]
    newest=${step:-$newest}
done

check "ranks were killed in most rounds" [ $((2 * killed)) -ge "$rounds" ]
check "training went on" [ "$newest" -gt 0 ]
echo "$killed of $rounds rounds killed running ranks; step $newest was reached"
[ $failures = 0 ] || echo "$failures of $checks checks failed"
echo "DONE train_crash.sh: $checks checks"
[ $failures = 0 ]
