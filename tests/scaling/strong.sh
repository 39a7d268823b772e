#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# strong.sh: strong scaling: the same product, and the same layer, on more and more ranks. See
# common.sh for what it takes.
set -u
# shellcheck source=tests/scaling/common.sh
. "$(dirname "$0")/common.sh"

if [ "$TIER" = quick ]; then
    products='128,96,64' layers='64,32,48'
else
    products='4096,4096,4096 2048,11008,4096 2048,3072,768' layers='2048,4096,11008 2048,768,3072'
fi

for shape in $products; do
    m=${shape%%,*} k=${shape##*,} n=${shape#*,}
    n=${n%,*}
    title "C[$m x $n] = A[k = $k] B, f32, rows and columns over the grid"
    for p in $RANKS; do
        point "$p" gemm -m "$m" -n "$n" -k "$k" --dtype f32 --grid "$(square "$p")" \
            --against scalapack
    done
done
for shape in $layers; do
    m=${shape%%,*} n=${shape##*,} k=${shape#*,}
    k=${k%,*}
    title "a linear layer, $k to $n features, $m tokens, forward and backward, layouts chosen"
    for p in $RANKS; do
        point "$p" linear -m "$m" -n "$n" -k "$k" --grid "$(square "$p")"
    done
done
finish
