#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# bench.sh: what `cleave bench` says, not how fast it is: keys, closed forms, and errors, of each
# of its parts. Sizes are small; a fraction far from 1 here would be a wrong formula, not a slow
# product.
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

# bench RANKS PART OPTION...: stdout in out, stderr in err; without a launcher for 0 ranks.
bench() {
    ranks=$1
    shift
    if [ "$ranks" = 0 ]; then
        "$CLEAVE" bench "$@" >out 2>err </dev/null
    else
        MPIEXEC_TIMEOUT=60 $MPIEXEC -n "$ranks" "$CLEAVE" bench "$@" >out 2>err </dev/null
    fi
}

value() { sed -n "s/.*\"$1\": \"\{0,1\}\([^,\"}]*\).*/\1/p" out; }
equal() { [ "$(value "$1")" = "$2" ]; }
between() { awk -v x="$(value "$1")" -v low="$2" -v high="$3" 'BEGIN {exit !(x > low && x < high)}'; }

# keys WHAT KEY...: one line, which has every key, none of them null.
keys() {
    check "$1: one line" [ "$(wc -l <out)" = 1 ]
    name=$1
    shift
    for key in "$@"; do
        check "$name: key $key" grep -Eq "\"$key\": [^n]" out
    done
}

# ordered WHAT PREFIX: median between minimum and maximum.
ordered() {
    check "$1: spread of ${2}seconds" awk -v x="$(value "${2}seconds")" \
        -v low="$(value "${2}seconds_min")" -v high="$(value "${2}seconds_max")" \
        'BEGIN {exit !(low > 0 && low <= x && x <= high)}'
}

# quotient WHAT RATIO NUMERATOR DENOMINATOR: of the values of those keys, to three digits.
quotient() {
    check "$1: $2 is $3 / $4" awk -v r="$(value "$2")" -v a="$(value "$3")" -v b="$(value "$4")" \
        'BEGIN {q = r * b / a; exit !(q > 0.999 && q < 1.001)}'
}

# result WHAT: one object with every key, whose numbers agree with each other.
result() {
    keys "$1" m n k op dtype weights grid layouts ranks threads gflops limit_gflops fraction \
        scalapack_gflops scalapack_tuned_gflops bytes_per_rank planned_bytes_per_rank \
        workspace_per_rank mean_workspace_per_rank measured_workspace_per_rank seconds repeat plan
    check "$1: fraction" between fraction 0 10
    check "$1: ScaLAPACK" between scalapack_gflops 0 1e6
    check "$1: bytes as planned" equal bytes_per_rank "$(value planned_bytes_per_rank)"
    for who in '' limit_ scalapack_ scalapack_tuned_; do
        ordered "$1" "$who"
        check "$1: ${who}gflops of the seconds" awk -v m="$(value m)" -v n="$(value n)" \
            -v k="$(value k)" -v g="$(value ${who}gflops)" -v s="$(value ${who}seconds)" \
            'BEGIN {r = g * s * 1e9 / (2 * m * n * k); exit !(r > 0.999 && r < 1.001)}'
    done
    quotient "$1" fraction gflops limit_gflops
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
check "table: rows" grep -Eq '^ +cleave( +[0-9.e-]+){5} +row=2$' out
check "table: plan" grep -q 'all-gather     B\[256 x 256\] row|- -> -|-' out
check "plan" bench 2 gemm -m 256 -n 256 -k 256 --grid row=2 --plan --json
check "plan: text" grep -q '"plan": ".*all-gather' out
check "plan: no measurement" [ "$(grep -c gflops out)" = 0 ]

# The plan asked for is the one shown, of sizes that no machine has.
check "reproducible plan" bench 2 gemm -m 64 -n 64 -k 4096 --grid col=2 --reproducible --plan --json
keys "reproducible plan" plan workspace_per_rank seconds
check "reproducible plan: says so" equal reproducible true
check "a plan without memory" bench 2 gemm -m 500000000 -n 500000000 -k 500000000 --grid row=2 --plan --json
check "a plan without memory: bytes" equal bytes_per_rank $((500000000 * 500000000 / 2 * 8))
check "a layer without memory" bench 2 linear -m 1000000000 -k 512 -n 512 --plan --json
check "a move without memory" bench 2 move -m 500000000 -n 500000000 --from 'col|-' --to '-|col' --plan --json
check "more memory than can be counted" bench 2 gemm -m 64 -n 64 -k 64 --memory 1e17T --plan

# The three ways to say how A and B are stored, and what they mean.
check "TN" bench 2 gemm -m 96 -n 64 -k 128 --grid row=2 --op TN --dtype f32 --repeat 1 --json
keys "TN" gflops limit_gflops
check "TN: op" equal op TN
check "TN: transpose_a" equal transpose_a true
check "NT by name" bench 1 gemm -m 96 -n 64 -k 128 --transpose-b --repeat 1 --json
check "NT by name: op" equal op NT

# Options of the plan: timed, and within a cap.
check "measured plan" bench 2 gemm -m 256 -n 256 -k 256 --grid row=2 --measure --repeat 1 --json
keys "measured plan" gflops fraction
check "cap" bench 2 gemm -m 256 -n 256 -k 256 --grid row=2 --memory 1G --plan --json
keys "cap" workspace_per_rank planned_bytes_per_rank

# The memory that the plan says is the memory that it takes (and a sanitizer takes its own): none
# where neighbours' blocks are read in place, the gathered operand where each rank is a node.
sanitized() { nm -D "$abs_top_builddir/.libs/libcleave.so" 2>/dev/null | grep -q __asan_init; }
# takes WHAT LEAST: bytes of workspace at least, and measured as planned in one of six runs: the
# system may take pages of zeros back, and libraries touch some of theirs for the first time.
takes() {
    for run in 1 2 3 4 5 6; do
        bench 2 gemm -m 2048 -n 2048 -k 1024 --dtype f32 --grid row=2 --repeat 1 --json
        awk -v x="$(value measured_workspace_per_rank)" -v planned="$(value mean_workspace_per_rank)" \
            'BEGIN {exit !(x >= 0.5 * planned && x < 1.05 * planned + 1e6)}' && break
    done
    check "$1: planned" between workspace_per_rank "$2" 1e9
    sanitized || check "$1: measured" awk -v x="$(value measured_workspace_per_rank)" \
        -v planned="$(value mean_workspace_per_rank)" \
        'BEGIN {exit !(x >= 0.5 * planned && x < 1.05 * planned + 1e6)}'
}
takes "memory inside a node" -1
export CLEAVE_NODE_SIZE=1
takes "memory between nodes" 4000000
# Where plans are uneven the greediest process needs more than the mean, which is what is measured.
check "uneven plan" bench 3 gemm -m 300 -n 200 -k 2 --grid row=3 --repeat 1 --json
check "uneven plan: the mean" awk -v mean="$(value mean_workspace_per_rank)" \
    -v most="$(value workspace_per_rank)" 'BEGIN {exit !(mean > 0 && mean < most)}'
bench 2 gemm -m 64 -n 64 -k 64 --grid row=2 --memory 1
check "too little memory: exit status" [ $? = 1 ]
check "too little memory: how much" grep -q 'bytes of workspace allowed.*the cheapest plan needs' err
unset CLEAVE_NODE_SIZE

# Moves: half of the matrix from the other process; as many bytes as the closed form says.
check "move" bench 2 move -m 256 -n 512 --grid row=2 --from 'row|-' --to '-|-' --repeat 3 --json
keys "move" m n dtype from to grid ranks seconds copy_seconds fraction gbytes_per_second \
    workspace_per_rank predicted_seconds plan
check "move: bytes" equal bytes_per_rank $((256 * 512 * 4 / 2))
check "move: as planned" equal planned_bytes_per_rank $((256 * 512 * 4 / 2))
ordered "move" ''
ordered "move" copy_
quotient "move" fraction copy_seconds seconds
check "a move on five processes" bench 5 move -m 7 -n 3 --from 'col|-' --to '-|col' --repeat 1 --json
keys "a move on five processes" seconds bytes_per_rank
for ranks in 1 3; do
    check "nothing moves on $ranks" bench $ranks move -m 64 -n 32 --from '-|-' --to 'col|-' --repeat 1 --json
    keys "nothing moves on $ranks" seconds bytes_per_rank
    check "nothing moves on $ranks: no fraction" [ "$(grep -c fraction out)" = 0 ]
done
check "a move: the plan" bench 2 move --from '-|-;col' --to '-|-' --plan
check "a move: its steps" grep -q 'reduce-scatter' out

# Collectives: one line a size, rounded up to whole elements for each process.
for op in allreduce allgather reducescatter; do
    check "$op" bench 3 collective --op $op --bytes 100,1K..2K --against mpich --repeat 2 --json
    check "$op: three sizes" [ "$(wc -l <out)" = 3 ]
    check "$op: the sizes" [ "$(value bytes | tr '\n' ' ')" = '108 1032 2052 ' ]
    check "$op: the sizes asked for" [ "$(value asked_bytes | tr '\n' ' ')" = '100 1024 2048 ' ]
    cp out all
    for line in 1 2 3; do
        sed -n ${line}p all >out
        keys "$op" op bytes ranks seconds mpich_seconds mpich_call ratio
        ordered "$op" ''
        ordered "$op" mpich_
        quotient "$op" ratio mpich_seconds seconds
    done
done
check "collective without a peer" bench 2 collective --op allgather --bytes 64 --repeat 1
check "collective: table" grep -Eq '^ +64 B +[0-9.e-]+' out
check "collective: as asked" [ "$(grep -c asked out)" = 0 ]
check "collective of 3 bytes" bench 2 collective --op allgather --bytes 3 --repeat 1
check "collective of 3 bytes: says so" grep -q '^ *8 B .*, for 3 B asked for$' out

# Layers, in every scheme.
for scheme in chosen column row; do
    check "linear $scheme" bench 2 linear -m 48 -k 32 -n 64 --layouts $scheme --repeat 2 --json
    keys "linear $scheme" m n k layouts fraction gflops limit_gflops forward_seconds \
        backward_seconds planned_bytes_per_rank bytes_per_rank workspace_per_rank plan_dx plan_dw
    check "linear $scheme: bytes as planned" equal bytes_per_rank "$(value planned_bytes_per_rank)"
    ordered "linear $scheme" ''
    ordered "linear $scheme" limit_
    quotient "linear $scheme" fraction gflops limit_gflops
done
# What reproducible mode costs.
check "linear reproducible" bench 2 linear -m 48 -k 32 -n 64 --repeat 2 --reproducible --json
keys "linear reproducible" seconds reproducible_seconds reproducible_ratio
check "linear reproducible: says so" equal reproducible true
ordered "linear reproducible" reproducible_
quotient "linear reproducible" reproducible_ratio reproducible_seconds seconds
check "linear reproducible: its plan" bench 2 linear -m 48 -k 32 -n 64 --reproducible --plan --json
check "move reproducible" bench 2 move -m 64 -n 32 --from '-|-;col' --to '-|-' --repeat 1 --reproducible --json
check "move reproducible: says so" equal reproducible true
check "collective reproducible" bench 2 collective --op allreduce --bytes 1K --repeat 1 --reproducible --json
check "collective reproducible: says so" equal reproducible true
# One column of processes: forward nothing, backward an all-reduce of dX, 2 (P-1)/P m k.
check "linear column" bench 2 linear -m 48 -k 32 -n 64 --layouts column --repeat 1 --json
check "linear column: bytes" equal bytes_per_rank $((48 * 32 * 4))
check "linear 2d" bench 4 linear -m 48 -k 32 -n 64 --grid row=2,col=2 --layouts 2d --repeat 1 --json
check "linear 2d: layouts" grep -q '{"x": "row|col", "w": "row|col", "y": "row|col"}' out
check "linear 3d" bench 8 linear -m 48 -k 32 -n 64 --grid z=2,k=2,n=2 --layouts 3d --repeat 1 --json
check "linear 3d: layouts" grep -q '{"x": "z+n|k", "w": "k+z|n", "y": "z+k|n"}' out
check "linear 3d: no faster than nothing" between fraction 0 10
check "linear by hand" bench 2 linear -m 48 -k 32 -n 64 --layout-x 'col|-' --layout-y 'col|-' \
    --layout-w 'col|-' --plan
check "linear by hand: gathers W" grep -q 'all-gather  *B\[32 x 64\] col|- -> -|-' out

# Few rows: the weights together are as many as asked for, and each process reads its share.
check "skinny" bench 2 skinny -m 2 -k 64 -n 128 --set 100K --repeat 2 --json
keys "skinny" m n k dtype weights ranks threads matrices set_bytes gbytes_per_second \
    read_gbytes_per_second gflops blis_gflops products_per_second fraction ratio seconds
check "skinny: matrices" equal matrices 4
check "skinny: bytes" equal set_bytes $((4 * 64 * 128 * 4))
check "skinny: bytes asked for" equal asked_set_bytes $((100 * 1024))
quotient "skinny" fraction gbytes_per_second read_gbytes_per_second
quotient "skinny" ratio gflops blis_gflops
check "skinny: flops of the bytes" awk -v g="$(value gflops)" -v b="$(value gbytes_per_second)" \
    'BEGIN {r = g / b; exit !(r > 0.999 && r < 1.001)}'
check "skinny, stored across, on threads" bench 1 skinny -m 1 -k 64 -n 128 --op NT --threads 2 \
    --set 100K --repeat 1
check "skinny: says what was asked for" grep -q '4 of them (128 KiB, for 100 KiB asked for)' out
check "skinny: table" grep -Eq '^  blis +[0-9.]+' out

# Saving and loading, by rows and by columns, and nothing stays behind.
for shards in rows cols; do
    check "checkpoint $shards" bench 3 checkpoint --bytes 3M --shards $shards --dir . --repeat 3 --json
    keys "checkpoint $shards" grid shards dir bytes ranks save_fraction load_fraction piece_fraction \
        disk_fraction stall_copies repeat
    for who in disk_ write_ save_ read_ same_ load_ copy_ stall_; do ordered "checkpoint $shards" $who; done
    quotient "checkpoint $shards" save_fraction write_seconds save_seconds
    quotient "checkpoint $shards" load_fraction same_seconds load_seconds
    quotient "checkpoint $shards" piece_fraction read_seconds load_seconds
    check "checkpoint $shards: nothing stays" [ -z "$(find . -name 'cleave-bench-*')" ]
done
check "checkpoint: table" bench 1 checkpoint --bytes 64K --dir . --repeat 1

# The profile: every number that one node can tell, and the file is read back.
check "calibrate" bench 2 calibrate --repeat 1 --json -o profile
keys "calibrate" node_latency node_bandwidth memory_bandwidth flops half_m half_n half_k file
check "calibrate: no network" equal net_latency null
check "calibrate: the file" grep -q '"node_bandwidth": ' profile
CLEAVE_PROFILE=profile "$CLEAVE" doctor --json >doctor 2>&1
check "calibrate: doctor names it" grep -q '"profile", "grade": "ok", "found": "profile: ' doctor
echo '{"flops": "many"}' >broken
CLEAVE_PROFILE=broken "$CLEAVE" doctor --json >doctor 2>&1
check "doctor: a broken profile" grep -q '"profile", "grade": "broken"' doctor
mkdir folder
CLEAVE_PROFILE=folder "$CLEAVE" doctor --json >doctor 2>&1
check "doctor: a folder for a profile" grep -q 'expected a file written by cleave bench calibrate, found a folder' doctor
export CLEAVE_NODE_SIZE=1
check "pretended nodes" bench 2 calibrate --repeat 1 --json
unset CLEAVE_NODE_SIZE
check "pretended nodes: two" equal nodes 2
check "pretended nodes: a network" between net_bandwidth 0 1e13
check "pretended nodes: nothing inside" equal node_latency null
check "calibrate for people" bench 1 calibrate --repeat 1
check "calibrate for people: flops" grep -Eq '^  of large products +[0-9.]+ GFLOP/s' out

# refuse WHAT STATUS TEXT RANKS OPTION...: exit status 2 if the words are wrong and 1 if the machine
# is, TEXT on one line of stderr, and nothing on stdout.
refuse() {
    what=$1 expected=$2 text=$3
    shift 3
    bench "$@"
    check "$what: exit status" [ $? = "$expected" ]
    check "$what: message" grep -q -- "$text" err
    check "$what: one line" [ "$(wc -l <err)" = 1 ]
    check "$what: names --help" [ "$(grep -c '(see cleave bench.* --help)$' err)" = $((expected / 2)) ]
    check "$what: silent stdout" [ ! -s out ]
}
refuse "no folder for a checkpoint" 1 'nowhere/cleave-bench-' 1 checkpoint --bytes 64K --dir nowhere
(
    ulimit -f 16384 # 8 or 16 MiB, as shells count: more than MPI needs, less than the file
    trap '' XFSZ
    bench 0 checkpoint --bytes 24M --dir . --repeat 1
)
check "no room for a checkpoint" grep -q 'plain-0: cannot reserve: File too large' err
refuse "a checkpoint of no size" 2 'expected bytes as 1000000' 1 checkpoint --bytes many
refuse "unknown axis" 2 'expected an axis of the grid or "-", found "depth"' 2 gemm --grid row=2 --layout-a 'depth|-'
refuse "wrong grid" 2 'expected the number of processes, 2' 2 gemm --grid row=3
refuse "a grid that is none" 2 'expected NAME=SIZE' 2 linear --grid row
refuse "a layout that is none" 2 'expected "rows|cols"' 2 move --from row --to '-|-'
refuse "layout of a layer" 2 'found "row"' 2 linear --layout-w 'row|-'
refuse "not reproducible" 2 'powers of two, found row=3' 3 gemm -m 64 -n 64 -k 64 --grid row=3 --reproducible
refuse "no reproducible plan" 2 'powers of two, found row=3' 3 gemm -m 64 -n 64 -k 64 --grid row=3 --reproducible --plan
refuse "no reproducible layer" 2 'powers of two, found col=3' 3 linear -m 64 -n 64 -k 64 --reproducible
refuse "no reproducible move" 2 'powers of two, found col=3' 3 move -m 64 -n 64 --from '-|-' --to 'col|-' --reproducible
refuse "no reproducible collective" 2 'powers of two, found col=3' 3 collective --op allreduce --bytes 1K --reproducible
CLEAVE_NODE_SIZE=-1 && export CLEAVE_NODE_SIZE
refuse "a node of no size" 1 'CLEAVE_NODE_SIZE: expected a number' 2 gemm -m 64 -n 64 -k 64 --plan
refuse "a node of no size, on a grid" 1 'CLEAVE_NODE_SIZE: expected a number' 2 gemm -m 64 -n 64 -k 64 --grid row=2 --plan
unset CLEAVE_NODE_SIZE
refuse "a profile nowhere" 1 '-o: expected a file that can be written, found nowhere/x: No such' 2 calibrate --repeat 1 -o nowhere/x
refuse "a profile that is a folder" 1 '-o: expected a file that can be written, found folder: Is a' 1 calibrate --repeat 1 -o folder
refuse "dtype" 2 'f32|f64, found "bf16"' 1 gemm --dtype bf16
refuse "extent" 2 'found "0"' 1 gemm -m 0
refuse "op" 2 'NN|NT|TN|TT, found "XX"' 1 gemm --op XX
refuse "memory" 2 '--memory: expected bytes' 2 gemm --memory lots
refuse "weights" 2 'same unless --dtype is f32' 1 gemm --weights bf16
refuse "sizes" 2 '--bytes: expected at most 64 sizes' 2 collective --op allreduce --bytes 8K..
refuse "sizes backwards" 2 '--bytes: expected' 2 collective --op allreduce --bytes 8K..4K
refuse "no op" 2 'expected --op OP' 2 collective
refuse "no layout" 2 'expected --from LAYOUT' 2 move --to '-|-'
refuse "move that does not fit" 1 'matrices do not fit' 2 move -m 1000000000 -n 1000000 --from '-|-' --to '-|-'
refuse "collective that does not fit" 1 'matrices do not fit' 2 collective --op allreduce --bytes 1T
refuse "scheme" 2 'expected a grid of 2 axes, found col=2' 2 linear --layouts 2d
refuse "set" 2 '--set: expected bytes' 2 skinny --set none
refuse "no part" 2 'expected gemm|move|collective|linear|skinny|checkpoint|calibrate, found "train"' 1 train
refuse "nothing" 2 'found ""' 1

# Processes with words of their own are told so, and nobody waits: differ WHAT WORDS WORDS.
differ() {
    # shellcheck disable=SC2086
    MPIEXEC_TIMEOUT=60 $MPIEXEC -n 1 "$CLEAVE" $2 : -n 1 "$CLEAVE" $3 >out 2>err </dev/null
    check "$1: exit status" [ $? = 2 ]
    check "$1: one line" [ "$(wc -l <err)" = 1 ]
    check "$1: both" grep -q -- "found \"$2\" on rank 0 and \"$3\" on rank 1" err
    check "$1: silent stdout" [ ! -s out ]
}
differ "turns" 'bench gemm --repeat 1' 'bench gemm --repeat 2'
differ "wrong on one" 'bench gemm -m 64' 'bench gemm -m 64 --wrong'
differ "help on one" 'bench gemm --help' 'bench gemm -m 64'
differ "another part" 'bench move --from -|- --to -|-' 'bench linear'
differ "another subcommand" 'doctor' 'bench linear'
differ "nothing on one" '' 'bench linear'

# One profile for all, that of rank 0.
echo '{"flops": 1e11}' >p1.json
MPIEXEC_TIMEOUT=60 $MPIEXEC -n 1 env CLEAVE_PROFILE=p1.json "$CLEAVE" bench linear -m 64 -k 256 -n 64 --plan --json : \
    -n 1 env CLEAVE_PROFILE=nofile "$CLEAVE" bench linear -m 64 -k 256 -n 64 --plan --json >out 2>err </dev/null
check "a profile that one alone can read" [ $? = 0 ]
keys "a profile that one alone can read" plan_forward

# The words of every part, once; wrong words are exit status 2.
for part in gemm move collective linear skinny calibrate; do
    check "help of $part" bench 2 $part --help
    check "help of $part: once, with examples" [ "$(grep -c -e "^Usage: cleave bench $part" -e '^Examples' out)" = 2 ]
    bench 1 $part --wrong
    check "$part: exit status of wrong words" [ $? = 2 ]
done
check "help" bench 0 --help
check "help: parts" grep -q '^  collective ' out

[ $failures = 0 ] || exit 1
echo "DONE bench.sh: $checks checks"
