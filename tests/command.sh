# SPDX-License-Identifier: BSD-3-Clause
#
# command.sh: for scripts that test the command `cleave` (". command.sh"): runs it in an empty folder
# and counts what holds of its exit status, its output and its time.
#
#     [CLEAVE=build/cleave] [MPIEXEC=mpiexec.mpich]
# shellcheck shell=sh
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

# finish NAME: the completion mark, and the script's exit status.
finish() {
    [ $failures = 0 ] || echo "$failures of $checks checks failed"
    echo "DONE $1: $checks checks"
    [ $failures = 0 ]
}
