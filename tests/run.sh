#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh: sets everything up, builds, and runs every test.
#
#     sh tests/run.sh                   from any folder; quick to repeat
#     BUILD=DIR sh tests/run.sh         builds in DIR instead of ./build
#     TESTS="tests/mpi/move" sh tests/run.sh
#
# The last line is "N passed, N failed, N skipped": a program counts once for each number of
# ranks. The exit status is 0 only if none failed and one passed at least.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$top/build}
jobs=${JOBS:-$(nproc)}

if ! sh "$top/tools/setup.sh" "$build"; then
    echo "0 passed, 1 failed"
    exit 1
fi
cd "$build"
echo "run: make check in $build"
find . -name '*.trs' -exec rm -f {} +
made=0
make -j"$jobs" check ${TESTS+TESTS="$TESTS"} >check.out 2>&1 </dev/null &
make_pid=$!
trap 'kill $make_pid 2>/dev/null' INT TERM HUP
# Progress: each result as it comes, and what the compiler says.
tail -f --pid=$make_pid check.out 2>/dev/null |
    grep --line-buffered -E '^(PASS|FAIL|SKIP|ERROR): |warning: |error: ' || :
wait $make_pid || made=$?

results() { find . -name '*.trs' -exec grep -h "^:test-result: $1" {} + | wc -l; }
passed=$(results PASS) failed=$(results '[FE]') skipped=$(results SKIP)
for trs in $(grep -rl --include='*.trs' '^:global-test-result: [FE]' . || :); do
    log=${trs%.trs}.log
    echo
    echo "---- $log, the last 80 lines"
    tail -n 80 "$log"
done
if [ "$made" != 0 ] && [ "$failed" = 0 ]; then
    echo "---- make check, the last 40 lines of $build/check.out"
    tail -n 40 check.out
    failed=1
fi

# The same tree as a user gets it.
if [ -z "${TESTS+set}" ]; then
    if make -s install LIBTOOLFLAGS=--silent >install.out 2>&1 </dev/null &&
        make -s installcheck >>install.out 2>&1 </dev/null; then
        passed=$((passed + 1))
        echo "PASS: make install, make installcheck"
    else
        failed=$((failed + 1))
        echo "FAIL: make install, make installcheck; the last 40 lines of $build/install.out"
        tail -n 40 install.out
    fi
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
