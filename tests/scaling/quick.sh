#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# quick.sh: the scaling scripts at tiny sizes: that they run, that every point has its peers, and
# that the table has a row for each.
set -u

scripts=$abs_top_srcdir/tests/scaling
failures=0

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}

# try SCRIPT POINTS PRODUCTS: how many lines it makes, and how many of them products with peers.
try() {
    OUT=$1.jsonl TIER=quick REPEAT=1 RANKS="1 2" MPIEXEC_TIMEOUT=60 LAYOUTS='2d column' \
        sh "$scripts/$1.sh" >table 2>&1 || fail "$1.sh: $(cat table)"
    [ "$(wc -l <"$1.jsonl")" = "$2" ] || fail "$1.sh: expected $2 points: $(cat table)"
    [ "$(grep -c '"scalapack_tuned_gflops": [0-9].*"fraction": [0-9]' "$1.jsonl")" = "$3" ] ||
        fail "$1.sh: expected $3 products with their peers: $(cat "$1.jsonl")"
    [ "$(grep -Ec '^ +[12] (row|col)=.* [0-9.]+ +[0-9.]+ ' table)" = "$2" ] ||
        fail "$1.sh: expected $2 rows: $(cat table)"
}
try strong 4 2
try weak 6 4
try shapes 12 12

[ "$(grep -vc -e '^#' -e '^$' "$scripts/shapes.txt")" = 30 ] || fail "shapes.txt: expected 30 shapes"

# A point that cannot be measured is told, and is no success.
OUT=none.jsonl TIER=quick RANKS=1 REPEAT=none sh "$scripts/strong.sh" >table 2>&1 &&
    fail "strong.sh: expected a failure: $(cat table)"
grep -q 'FAILED on 1 ranks: .*--repeat: expected an integer' table || fail "no reason: $(cat table)"

SHAPES=nowhere OUT=none.jsonl TIER=quick sh "$scripts/shapes.sh" >table 2>&1 &&
    fail "shapes.sh: expected a failure without shapes: $(cat table)"

[ $failures = 0 ] || exit 1
echo "DONE quick.sh"
