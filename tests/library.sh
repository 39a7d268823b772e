#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# library.sh: what the shared library shows, and what it brings along: only public names are
# exported, and every BLAS call of every library in the process ends in BLIS.
set -u

library=$abs_top_builddir/.libs/libcleave.so
failures=0

# check WHAT LINES: no line may be left.
check() {
    [ -z "$2" ] && return
    failures=$((failures + 1))
    printf 'FAILED: %s:\n%s\n' "$1" "$2"
}

[ -e "$library" ] || { echo "there is no shared library in this build"; exit 77; }

# A sanitized library needs its runtime and exports its helpers.
if nm -D "$library" | grep -q __asan_init; then
    echo "built with sanitizers"
    exit 77
fi

# pilaenv_ is the block size that ScaLAPACK asks for; clvi_alloc_ are hooks for tests.
check "exported, but not public" \
    "$(nm -D --defined-only "$library" | awk '{print $3}' | grep -vE '^(clv_|clvi_alloc_|pilaenv_$)')"

loaded=$(ldd "$library")
check "not found" "$(echo "$loaded" | grep 'not found')"
check "a second BLAS is loaded" "$(echo "$loaded" | grep -E 'openblas|mkl|atlas')"
check "two MPIs are loaded" "$(echo "$loaded" | grep -E '^[[:space:]]*libmpi(ch)?\.so' | tail -n +2)"

# The first library that is needed has dgemm_, and it is BLIS; DT_RPATH, because unlike
# DT_RUNPATH it holds for what ScaLAPACK needs too.
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -E 'blis|blas|lapack')
check "BLIS is not ahead of ScaLAPACK" "$(echo "$needed" | head -n 1 | grep -v '^libblis')"
check "DT_RUNPATH in place of DT_RPATH" "$(readelf -d "$library" | grep RUNPATH)"
file=$("$CLEAVE" doctor --json | grep '"dgemm_"')
check "dgemm_ is not BLIS's" "$(echo "$file" | grep -v 'libblis')"

echo "DONE library.sh"
exit $((failures != 0))
