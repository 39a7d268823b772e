#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# weak.sh: weak scaling: as many rows for each rank on more and more ranks, with the same weights.
# See common.sh for what it takes.
set -u
# shellcheck source=tests/scaling/common.sh
. "$(dirname "$0")/common.sh"

if [ "$TIER" = quick ]; then
    rows=16 n=32 k=48
else
    rows=1024 n=4096 k=4096
fi

title "C[$rows p x $n] = A[k = $k] B, f32, rows over p ranks"
for p in $RANKS; do
    point "$p" gemm -m $((rows * p)) -n $n -k $k --dtype f32 --grid "row=$p" --against scalapack
done
title "the same, $((rows * 2)) p rows, and rows and columns over the grid"
for p in $RANKS; do
    point "$p" gemm -m $((2 * rows * p)) -n $n -k $k --dtype f32 --grid "$(square "$p")" \
        --against scalapack
done
title "a linear layer, $k to $n features, $rows tokens a rank, forward and backward, layouts chosen"
for p in $RANKS; do
    point "$p" linear -m $((rows * p)) -n $n -k $k --grid "$(square "$p")"
done
finish
