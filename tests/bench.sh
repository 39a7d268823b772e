#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# bench.sh: what `cleave bench gemm` says, not how fast it is: keys, closed forms, and errors.
# Sizes are small; a fraction far from 1 here would be a wrong formula, not a slow product.
set -u

checks=0 failures=0

# check WHAT COMMAND...: counts; the command's exit status is the verdict.
check() {
    checks=$((checks + 1))
    what=$1
    shift
    "$@" && return
    failures=$((failures + 1))
    echo "FAILED: $what: $*"
    cat out err
}

# bench RANKS PART OPTION...: stdout in out, stderr in err.
bench() {
    ranks=$1
    shift
    MPIEXEC_TIMEOUT=60 $MPIEXEC -n "$ranks" "$CLEAVE" bench "$@" >out 2>err </dev/null
}

value() { sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p" out; }
equal() { [ "$(value "$1")" = "$2" ]; }
between() { awk -v x="$(value "$1")" -v low="$2" -v high="$3" 'BEGIN {exit !(x > low && x < high)}'; }

# result WHAT: one object with every key, whose numbers agree with each other.
result() {
    check "$1: one line" [ "$(wc -l <out)" = 1 ]
    for key in m n k dtype grid layouts ranks threads gflops limit_gflops fraction \
        scalapack_gflops bytes_per_rank seconds; do
        check "$1: key $key" grep -q "\"$key\": " out
    done
    check "$1: fraction" between fraction 0 10
    check "$1: ScaLAPACK" between scalapack_gflops 0 1e6
    for what in '' limit_ scalapack_; do
        check "$1: ${what}gflops of the seconds" awk -v m="$(value m)" -v n="$(value n)" \
            -v k="$(value k)" -v g="$(value ${what}gflops)" -v s="$(value ${what}seconds)" \
            'BEGIN {r = g * s * 1e9 / (2 * m * n * k); exit !(r > 0.999 && r < 1.001)}'
    done
    check "$1: fraction of the limit" awk -v f="$(value fraction)" -v g="$(value gflops)" \
        -v l="$(value limit_gflops)" 'BEGIN {r = f * l / g; exit !(r > 0.999 && r < 1.001)}'
}

# Rows over two processes: each receives the other's half of B.
check "row=2" bench 2 gemm -m 512 -n 512 -k 512 --grid row=2 --against scalapack --json
result "row=2"
check "row=2: bytes" equal bytes_per_rank $((512 / 2 * 512 * 8))
check "row=2: in the same layouts" equal scalapack_grid row=2

check "one process" bench 1 gemm -m 400 -n 300 -k 500 --dtype f32 --against scalapack --json
result "one process"
check "one process: bytes" equal bytes_per_rank 0

# Nothing moves where the layouts fit; ScaLAPACK has no copies, and takes a grid of its own.
check "copies of B" bench 2 gemm -m 512 -n 512 -k 512 --grid row=2 --layout-b '-|-' \
    --transpose-b --against scalapack --json
result "copies of B"
check "copies of B: bytes" equal bytes_per_rank 0
check "copies of B: ScaLAPACK's grid" equal scalapack_grid r=1
check "copies of B: why" grep -q '"scalapack_reason": "ScaLAPACK: expected every axis to shard' out

# Uneven on three processes: 1000 rows are 334, 333 and 333, which is not block-cyclic; 500 columns are.
check "uneven" bench 3 gemm -m 1000 -n 500 -k 500 --repeat 2 --against scalapack --json
result "uneven"
check "uneven: why" grep -q '"scalapack_reason": "ScaLAPACK: expected blocks of one size' out

# For people: a table and the plan; --plan alone measures nothing.
check "table" bench 2 gemm -m 256 -n 256 -k 256 --grid row=2 --repeat 1
check "table: rows" grep -Eq '^ +cleave +[0-9.e-]+ +[0-9.]+ +[0-9.]+ +row=2$' out
check "table: plan" grep -q 'all-gather     B\[256 x 256\] row|- -> -|-' out
check "plan" bench 2 gemm -m 256 -n 256 -k 256 --grid row=2 --plan --json
check "plan: text" grep -q '"plan": ".*all-gather' out
check "plan: no measurement" [ "$(grep -c gflops out)" = 0 ]

# refuse WHAT TEXT RANKS OPTION...: fails, says TEXT on one line of stderr, and nothing on stdout.
refuse() {
    what=$1 text=$2
    shift 2
    bench "$@" && check "$what: exit status" false
    check "$what: message" grep -q -- "$text" err
    check "$what: silent stdout" [ ! -s out ]
}
refuse "unknown axis" 'expected an axis of the grid or "-", found "depth"' 2 gemm --grid row=2 --layout-a 'depth|-'
refuse "wrong grid" 'expected the number of processes, 2' 2 gemm --grid row=3
refuse "dtype" 'f32|f64, found "bf16"' 1 gemm --dtype bf16
refuse "extent" 'found "0"' 1 gemm -m 0
refuse "no part" 'expected gemm, found "move"' 1 move

[ $failures = 0 ] || exit 1
echo "DONE bench.sh: $checks checks"
