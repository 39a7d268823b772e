#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# kills.sh: kill -9 at random moments of runs that save all the time.
#
#     [KILLS=50] [SEED=1] [LIMIT=60] tests/torture/kills.sh
#
# Each round starts tests/torture/saver in the same folder, with 1 to 4 ranks and a model of another
# size, every third time saving in the background, lets it run for up to 0.2 s and kills, in turn, one
# random rank (or its proxy), the launcher, or all at once. Then every process must be gone; the
# launcher must not have succeeded; and the next round's saver checks that
#
#     every checkpoint left verifies and is of exactly one step, that of its name;
#     the newest is no older than the last one said to be saved;
#     after its first save no temporary file is there.
#
# KILLS   rounds; beyond LIMIT seconds, on a busy machine, 10 are enough (0: no limit)
# SEED    of victims, numbers of ranks, sizes and delays: what the script chooses is the same again,
#         what the machine makes of the delays is not
# TMPDIR  where the folder is; /dev/shm by default, where syncing takes no time
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_builddir:=$(dirname "$(dirname "$here")")/build}" "${MPIEXEC:=mpiexec.mpich}"
: "${KILLS:=50}" "${SEED:=$(date +%s)}" "${LIMIT:=60}" "${MPIEXEC_TIMEOUT:=60}"
: "${SAVER:=$abs_top_builddir/tests/torture/saver}"
: "${HWLOC_COMPONENTS:=-pci}" "${OMP_NUM_THREADS:=1}"
export MPIEXEC_TIMEOUT HWLOC_COMPONENTS OMP_NUM_THREADS

[ ! -w /dev/shm ] || : "${TMPDIR:=/dev/shm}"
export TMPDIR
work=$(mktemp -d) || exit 1
dir=$work/run log=$work/log run='' count=0
finish() {
    [ -z "$run" ] || kill -9 "$run" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "kills.sh: SEED=$SEED, kill $count: $*" >&2
    sed 's/^/    /' "$log" | tail -n 20 >&2
    ls -la "$dir" >&2
    exit 1
}

children() {
    for task in /proc/"$1"/task/*/children; do
        cat "$task" 2>/dev/null
    done
}

# mpiexec starts one proxy, and that one the ranks.
ranks_of() { for proxy in $(children "$1"); do children "$proxy"; done; }

# Sets $drawn to a whole number below $1 (a linear congruential generator; Park and Miller 1988).
state=$((SEED % 2147483646 + 1))
draw() {
    state=$((state * 48271 % 2147483647))
    drawn=$((state / 7 % $1))
}

# Waits for a condition, at most 10 seconds.
await() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || return 1
        sleep 0.01
    done
}

# Dead, or dead and not yet buried.
gone() {
    read -r line 2>/dev/null <"/proc/$1/stat" || return 0
    case ${line##*) } in Z*) ;; *) return 1 ;; esac
}

# The last number after the word $1 in the log.
last() { sed -n "s/^$1 \\([0-9][0-9]*\\)$/\\1/p" "$log" | tail -n 1; }

start() {
    : >"$log"
    "$MPIEXEC" -n "$1" "$SAVER" "$dir" "$2" "$3" "$4" >"$log" 2>&1 </dev/null &
    run=$!
}

# What the saver found before it saved anything.
check_found() {
    newest=$(last newest)
    [ -n "$newest" ] || fail "the checkpoints that are there do not verify"
    [ "$newest" -ge "$acknowledged" ] ||
        fail "step $acknowledged was saved, the newest is $newest"
}

# One of the victims $2..., or $run, or all of them: some die by themselves once $run is dead.
strike() {
    case $1 in
    launcher) kill -9 "$run" ;;
    all) shift && kill -9 "$run" && { kill -9 "$@" || :; } ;;
    *) shift && draw $# && shift "$drawn" && kill -9 "$1" ;;
    esac
}

echo "kills.sh: SEED=$SEED KILLS=$KILLS in $dir"
acknowledged=0
end=$(($(date +%s) + LIMIT))
while [ $count -lt "$KILLS" ]; do
    [ $count -lt 10 ] || [ "$LIMIT" = 0 ] || [ "$(date +%s)" -lt $end ] || break
    count=$((count + 1))
    draw 4 && np=$((drawn + 1))
    draw 8 && size=$((drawn + 1))
    way=foreground
    [ $((count % 3)) != 2 ] || way=background
    start $np 1000000000 $size $way
    await "grep -q '^newest' '$log' || gone $run" || fail "the run said nothing in 10 s"
    check_found
    draw 200 && sleep "$(printf '0.%03d' "$drawn")"
    proxies=$(children "$run")
    ranks=$(ranks_of "$run")
    [ -n "$ranks" ] || fail "found no ranks: the run has ended"
    case $((count % 4)) in 0) victim=launcher ;; 1) victim=all ;; *) victim=rank ;; esac
    # shellcheck disable=SC2086
    strike $victim $ranks $proxies 2>/dev/null || fail "nothing to kill: the run has ended"
    await "gone $run" || fail "the launcher did not end"
    wait "$run" 2>/dev/null && fail "the run succeeded with its $victim killed"
    run=''
    for pid in $ranks $proxies; do
        await "gone $pid" || fail "process $pid stays after its $victim was killed"
    done
    ! grep -q '^saver:' "$log" || fail "the saver complained"
    saved=$(last saved)
    acknowledged=${saved:-$newest}
done

kills=$count count=last
start 2 0 1 foreground
wait "$run" || fail "the checkpoints that are there do not verify"
run=''
check_found
echo "DONE kills.sh: $kills kills over $newest saves, none lost"
