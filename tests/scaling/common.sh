# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
#
# common.sh: what the scaling scripts share: how a point is measured and shown. Read by them, not
# run. They take from the environment:
#
#     RANKS="1 2 4 8"    numbers of ranks          REPEAT=5    turns of each contender
#     TIER=quick         tiny sizes: seconds, to see that everything works
#     OUT=FILE           where the JSON lines go   CLEAVE, MPIEXEC, LAUNCH (options of mpiexec)

here=$(cd "$(dirname "$0")" && pwd)
: "${RANKS:=1 2 4 8}" "${REPEAT:=5}" "${TIER:=full}" "${LAUNCH:=}"
: "${MPIEXEC:=$(command -v mpiexec.mpich || echo mpiexec)}"
: "${CLEAVE:=$(command -v cleave || echo ./cleave)}"
: "${OUT:=$(basename "$0" .sh).jsonl}"
: "${MPIEXEC_TIMEOUT:=600}"
export MPIEXEC_TIMEOUT

failures=0
: >"$OUT" || exit 1

# point RANKS PART OPTION...: measures it, adds its line to OUT; a failure is told and counted.
point() {
    ranks=$1
    shift
    # shellcheck disable=SC2086
    if $MPIEXEC -n "$ranks" $LAUNCH "$CLEAVE" bench "$@" --repeat "$REPEAT" --json \
        >"$OUT.point" 2>"$OUT.error" </dev/null; then
        cat "$OUT.point" >>"$OUT"
        awk -v header="${header-1}" -f "$here/table.awk" "$OUT.point"
        header=0
    else
        failures=$((failures + 1))
        echo "FAILED on $ranks ranks: bench $*: $(head -n 1 "$OUT.error")"
    fi
}

# title TEXT: of the next table.
title() {
    header=1
    printf '\n%s\n\n' "$1"
}

# square RANKS: the squarest grid of that many, rows first: row=4,col=2.
square() {
    awk -v p="$1" 'BEGIN {c = int(sqrt(p)); while (p % c) c--; printf "row=%d,col=%d", p / c, c}'
}

finish() {
    rm -f "$OUT.point" "$OUT.error"
    printf '\n%s points in %s\n' "$(wc -l <"$OUT" | tr -d ' ')" "$OUT"
    [ "$failures" = 0 ]
}
