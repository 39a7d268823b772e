#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# pairs.sh: a run that was stopped and resumed ends with the bits of the run that never stopped.
#
#     [PAIRS=few] tests/torture/pairs.sh
#
# On the same grid always; in reproducible mode on any other grid of powers of two. Compared are the
# last checkpoints: every data set (cleave diff --bits), parameters and optimizer alike. PAIRS=all tries more
# grids.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_builddir:=$(dirname "$(dirname "$here")")/build}" "${MPIEXEC:=mpiexec.mpich}"
: "${CLEAVE:=$abs_top_builddir/cleave}" "${MPIEXEC_TIMEOUT:=60}"
: "${HWLOC_COMPONENTS:=-pci}" "${OMP_NUM_THREADS:=1}"
export MPIEXEC_TIMEOUT HWLOC_COMPONENTS OMP_NUM_THREADS
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
pairs=0

i=0
while [ $i -lt 80 ]; do
    echo "line $i: the quick brown fox jumps over the lazy dog"
    i=$((i + 1))
done >text

# The ranks of a grid: the product of its sizes.
ranks() { echo "$1" | tr ',' '\n' | awk -F= '{ p = p ? p * $2 : $2 } END { print p }'; }

# $1: grid; the rest: more words.
train() {
    grid=$1
    shift
    "$MPIEXEC" -n "$(ranks "$grid")" "$CLEAVE" train --data text --grid "$grid" "$@" >log 2>&1 ||
        { echo "pairs.sh: --grid $grid $*"; cat log; exit 1; }
}

# A run to step 6 that also saves step 3, in folder $1 on grid $2.
whole() {
    name=$1
    shift
    train "$@" --layers 1 --width 32 --heads 4 --context 32 --batch 8 --steps 6 --seed 7 \
        --save "$name" --save-every 3
}

# From step 3 of folder $1 on grid $2: the same last step.
resume() {
    rm -rf resumed
    train "$2" --resume "$1/step-00000003.h5" --save resumed
    pairs=$((pairs + 1))
    "$CLEAVE" diff --bits "$1/step-00000006.h5" resumed/step-00000006.h5 >log 2>&1 ||
        { echo "pairs.sh: $1, resumed on $2, differs:"; head -n 20 log; exit 1; }
}

case ${PAIRS:-few} in
few) same='row=2,col=2' one='depth=2 data=2,col=2 data=2,row=2,col=2' four='col=1' ;;
*)
    same='col=1 col=2 data=2 row=2,col=2 data=3'
    one='data=2 depth=2 row=2 col=2 row=2,col=2 data=2,depth=2 data=2,row=2,col=2 depth=2,row=2,col=2'
    four='col=1 row=2 depth=4'
    ;;
esac

for grid in $same; do
    whole "same-$grid" "$grid"
    resume "same-$grid" "$grid"
done

whole one col=1 --reproducible
whole four data=2,col=2 --reproducible
"$CLEAVE" diff --bits one/step-00000006.h5 four/step-00000006.h5 >log 2>&1 ||
    { echo "pairs.sh: two grids differ:"; head -n 20 log; exit 1; }
for grid in $one; do resume one "$grid"; done
for grid in $four; do resume four "$grid"; done
echo "DONE pairs.sh: $pairs resumed runs, the same bits"
