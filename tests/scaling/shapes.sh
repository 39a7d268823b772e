#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# shapes.sh: every product of the published grid (shapes.txt, or the file in SHAPES) on each number
# of RANKS (2), against the limit and ScaLAPACK, starting and ending in each of LAYOUTS (2d):
#
#     2d       rows and columns over the squarest grid
#     column   the first of a Megatron pair: A in copies, columns of B and C over the ranks
#     row      the second: columns of A and rows of B over the ranks, C in copies
#
# See common.sh for the rest.
set -u
: "${RANKS:=2}" "${LAYOUTS:=2d}"
# shellcheck source=tests/scaling/common.sh
. "$(dirname "$0")/common.sh"
: "${SHAPES:=$here/shapes.txt}"
[ -r "$SHAPES" ] || { echo "SHAPES: expected a file of shapes, found $SHAPES" >&2; exit 2; }
[ "$TIER" = quick ] && most=131072 || most=1e18

# stored LAYOUT T?: as it is stored: rows and columns change places in a transpose.
stored() {
    if [ "$2" = T ]; then echo "${1#*|}|${1%|*}"; else echo "$1"; fi
}

# measure RANKS LAYOUTS M N K OP
measure() {
    case $2 in
    2d) grid=$(square "$1") a='row|col' b='row|col' c='row|col' ;;
    column) grid=col=$1 a='-|-' b='-|col' c='-|col' ;;
    row) grid=col=$1 a='-|col' b='col|-' c='-|-' ;;
    *) echo "LAYOUTS: expected 2d, column or row, found $2" && exit 2 ;;
    esac
    point "$1" gemm -m "$3" -n "$4" -k "$5" --op "$6" --dtype f32 --grid "$grid" \
        --layout-a "$(stored "$a" "${6%?}")" --layout-b "$(stored "$b" "${6#?}")" --layout-c "$c" \
        --against scalapack
}

for p in $RANKS; do
    for layouts in $LAYOUTS; do
        title "on $p ranks, $layouts"
        while read -r m n k ops _; do
            case $m in '' | '#'*) continue ;; esac
            awk -v w="$m $n $k" -v most="$most" \
                'BEGIN {split(w, x, " "); exit !(x[1] * x[2] * x[3] <= most)}' || continue
            for op in $(echo "$ops" | tr , ' '); do measure "$p" "$layouts" "$m" "$n" "$k" "$op"; done
        done <"$SHAPES"
    done
done
awk -v header=0 -v totals=1 -f "$here/table.awk" "$OUT" | tail -n 1
finish
