#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# launch.sh: runs one test, once for each number of ranks that it declares.
#
#     [TESTMPIRUN="mpiexec -n"] [RANKS="2 4"] tests/launch.sh PROGRAM
#
# The first comment of a test's source holds a line " * RANKS: 1 2 3" (in a shell script
# "# RANKS: ..."), which RANKS in the environment overrides; without one the program runs once, not
# under the launcher. A run passes if it exits with 0 and prints the completion mark, a line that
# begins with DONE: a rank that leaves early can make mpiexec exit with 0 too. 77 means skipped.
# Each run has an empty working folder of its own, removed afterwards, and MPIEXEC_TIMEOUT seconds
# (300 by default); a script, which launches many, twice as long.
#
# make check calls it as Automake's test driver, with a log and a list of results for each test;
# each number of ranks counts as one.
set -u

name='' log=/dev/null trs=/dev/null color=no
while [ $# -gt 0 ]; do
    case $1 in
    --test-name) name=$2; shift 2 ;;
    --log-file) log=$2; shift 2 ;;
    --trs-file) trs=$2; shift 2 ;;
    --color-tests) color=$2; shift 2 ;;
    --expect-failure | --enable-hard-errors) shift 2 ;;
    --) shift; break ;;
    -*) echo "launch.sh: unknown option $1" >&2; exit 2 ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "usage: tests/launch.sh PROGRAM [ARGUMENT...]" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_srcdir:=$(dirname "$here")}" "${abs_top_builddir:=$PWD}"
: "${MPIEXEC:=mpiexec.mpich}" "${MPIEXEC_TIMEOUT:=300}"
: "${TESTMPIRUN:=$MPIEXEC -n}"
# For the sanitizers: hwloc's pci plugin leaks a little in every rank, and tests ask for more
# memory than there is.
: "${HWLOC_COMPONENTS:=-pci}" "${ASAN_OPTIONS:=allocator_may_return_null=1}"
: "${OMP_NUM_THREADS:=1}"
export abs_top_srcdir abs_top_builddir MPIEXEC MPIEXEC_TIMEOUT
export HWLOC_COMPONENTS ASAN_OPTIONS OMP_NUM_THREADS

# The program or script is the last word; it must be found from any folder.
for last in "$@"; do :; done
path=$(cd "$(dirname "$last")" && pwd)/$(basename "$last")
case $last in
*.sh) source=$path interpreter=sh ;;
*) source=$abs_top_srcdir/${path#"$abs_top_builddir"/}.c interpreter='' ;;
esac
: "${name:=${path#"$abs_top_builddir"/}}"
name=${name#"$abs_top_srcdir"/}
declared=$(sed -n '1,30s/^[ *#]*RANKS: *\([0-9 ]*\)$/\1/p' "$source")
runs=0
[ -z "$declared" ] || runs=${RANKS:-$declared}

folder=$abs_top_builddir/tests/scratch/$(echo "$name" | tr / -).$$
output=$folder.out
trap 'rm -rf "$folder" "$output"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$folder"
: >"$log"
: >"$trs"

# One run with $1 ranks (0: without the launcher); its output in $output.
run() {
    cd "$folder" || return 1
    # shellcheck disable=SC2086
    case $1 in
    0) timeout -k 5 $((2 * MPIEXEC_TIMEOUT)) $interpreter "$path" ;;
    *) $TESTMPIRUN "$1" $interpreter "$path" ;;
    esac >"$output" 2>&1 </dev/null
}

verdict() {
    case $1 in
    0) if grep -q '^DONE' "$output"; then echo PASS; else echo FAIL; fi ;;
    77) echo SKIP ;;
    *) echo FAIL ;;
    esac
}

paint() {
    case $color$1 in
    yesPASS) printf '\033[0;32mPASS\033[m' ;;
    yesSKIP) printf '\033[1;34mSKIP\033[m' ;;
    yesFAIL) printf '\033[0;31mFAIL\033[m' ;;
    *) printf '%s' "$1" ;;
    esac
}

now() { date +%s%N; }

worst=PASS
for ranks in $runs; do
    begin=$(now)
    (run "$ranks")
    code=$?
    tenths=$((($(now) - begin) / 100000000))
    result=$(verdict $code)
    case $ranks in
    0) what=$name ;;
    1) what="$name on 1 rank" ;;
    *) what="$name on $ranks ranks" ;;
    esac
    printf '%s: %s (%d.%d s)\n' "$(paint "$result")" "$what" $((tenths / 10)) $((tenths % 10))
    echo ":test-result: $result $what" >>"$trs"
    {
        echo "==== $result: $what (exit status $code)"
        cat "$output"
        [ $code != 0 ] || [ "$result" = PASS ] || echo "==== no completion mark: no line begins with DONE"
    } >>"$log"
    [ "$log" != /dev/null ] || cat "$output"
    case $result$worst in
    FAIL*) worst=FAIL ;;
    SKIPPASS) worst=SKIP ;;
    esac
    rm -rf "$folder" && mkdir -p "$folder"
done

copy=no
[ $worst = PASS ] || copy=yes
cat >>"$trs" <<END
:global-test-result: $worst
:recheck: $([ $worst = FAIL ] && echo yes || echo no)
:copy-in-global-log: $copy
END
# Automake reads the results; a caller by hand wants the exit status.
[ "$trs" != /dev/null ] || [ $worst != FAIL ]
