#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# crash.sh: kill -9 of one rank at random moments loses no checkpoint and leaves no process.
#
#     [KILLS=50] [LIMIT=90] [RUN=...] [NEWEST=...] tests/crash.sh
#
# RUN     a command that saves to $dir for ever, going on from what is there; a line "saved N" (or
#         JSON with "saved": N) says that step N is committed
# NEWEST  a command that verifies the newest checkpoint of $dir and prints its step in the same way,
#         after the word "newest" or the one in the variable WORD
#
# Beyond LIMIT seconds, on a busy machine, 10 kills are enough.
#
# After each kill the newest checkpoint must verify, and be of the last step said to be committed or
# of a later one; every process of the run must be gone.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_builddir:=$(dirname "$here")}" "${MPIEXEC:=mpiexec.mpich}" "${KILLS:=50}" "${LIMIT:=90}"
: "${SAVER:=$abs_top_builddir/tests/mpi/saver}"
: "${RUN:=\$MPIEXEC -n 2 \$SAVER \$dir 1000000 \$way}" "${NEWEST:=\$SAVER \$dir}"
export MPIEXEC SAVER

[ ! -w /dev/shm ] || : "${TMPDIR:=/dev/shm}" # syncing memory takes no time
export TMPDIR
work=$(mktemp -d) || exit 1
dir=$work/run log=$work/log run=
export dir
finish() {
    [ -z "$run" ] || kill -9 "$run" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "crash.sh: kill $count: $*" >&2
    sed 's/^/    /' "$log" | tail -n 20 >&2
    exit 1
}

children() { grep -l "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status 2>/dev/null | cut -d/ -f3; }

# mpiexec starts one proxy, and that one the ranks.
ranks_of() { for proxy in $(children "$1"); do children "$proxy"; done; }

# A whole number below $1.
random() { echo $(($(od -An -N4 -tu4 /dev/urandom) % $1)); }

# Waits for a condition, at most 10 seconds.
await() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        [ $tries -lt 1000 ] || return 1
        sleep 0.01
    done
}

# The last number after the word $1 in file $2, plain or JSON.
last_step() { sed -n "s/.*$1\"*:* *\\([0-9][0-9]*\\).*/\\1/p" "$2" | tail -n 1; }

committed=0 steps=0 count=0
end=$(($(date +%s) + LIMIT))
while [ $count -lt "$KILLS" ]; do
    [ $count -lt 10 ] || [ "$(date +%s)" -lt $end ] || break
    count=$((count + 1))
    : >"$log"
    way= # every second run saves in the background
    [ $((count % 2)) = 0 ] || way=background
    export way
    sh -c "exec $RUN" >"$log" 2>&1 &
    run=$!
    await "[ -s $log ]" || fail "the run said nothing in 10 s"
    sleep "0.$(printf %03d "$(random 150)")"
    ranks=$(ranks_of "$run")
    # shellcheck disable=SC2086
    set -- $ranks
    [ $# -gt 0 ] || fail "found no ranks: the run has ended"
    shift "$(random $#)"
    kill -9 "$1" || fail "rank with pid $1 had gone"
    await "! kill -0 $run 2>/dev/null" || fail "the launcher did not end"
    wait "$run" && fail "the run succeeded with a rank killed"
    run=
    for pid in $ranks; do
        await "[ ! -d /proc/$pid ]" || fail "process $pid stays"
    done
    said=$(last_step saved "$log")
    [ -z "$said" ] || committed=$said
    sh -c "exec $NEWEST" >"$work/newest" 2>&1 || fail "not verified: $(cat "$work/newest")"
    newest=$(last_step "${WORD:-newest}" "$work/newest")
    [ "${newest:-0}" -ge "$committed" ] ||
        fail "step $committed was committed, the newest is ${newest:-none}"
    steps=$newest
done
left=$(find "$dir" -name '.*.tmp-*' | wc -l)
[ "$left" -le 1 ] || fail "$left temporary files of dead runs stay"
echo "DONE crash.sh: $count kills over $steps saves, none lost"
