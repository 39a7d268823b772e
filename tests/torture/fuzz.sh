#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# fuzz.sh: coverage-guided fuzzing of the readers with AddressSanitizer (clang's libFuzzer).
#
#     [FUZZ=5] [TARGETS="checkpoint front safetensors tokenizer"] [KNOWN=tokens] \
#         tests/torture/fuzz.sh
#
# Builds tests/torture/fuzz (make tests/torture/fuzz), runs every file of corpus/TARGET and then
# each target for FUZZ seconds, beginning with those files and with good ones (tests/torture/seeds).
# Of targets in KNOWN the known files alone are run: TARGETS=tokens comes within minutes upon files
# that crash HDF5 1.10.8 where it opens a data set (H5Dopen2 divides by an extent of chunks that have
# none), which nobody can look at before.
# corpus/ holds the smallest of the files that hours of fuzzing found to reach all that they reach
# (-merge=1), 350 KB at most, and files of past findings under their names. What a run finds stays in
# fuzz-findings/ of the build folder, and is run again first the next time: a finding is a file, and
# FUZZ_TARGET=TARGET tests/torture/fuzz FILE shows it. No clang: skipped.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_builddir:=$(dirname "$(dirname "$here")")/build}"
: "${FUZZ:=5}" "${CLANG:=clang}"
: "${TARGETS:=checkpoint front safetensors tokenizer}" "${KNOWN:=tokens}"
: "${HWLOC_COMPONENTS:=-pci}"
export HWLOC_COMPONENTS

command -v "$CLANG" >/dev/null || { echo "skipped: no clang, nothing was fuzzed"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

MAKEFLAGS='' make -s -C "$abs_top_builddir" CLANG="$CLANG" tests/torture/fuzz tests/torture/seeds \
    >"$work/make" 2>&1 || { cat "$work/make"; exit 1; }
"$abs_top_builddir/tests/torture/seeds" "$work" || exit 1

echo 'interceptor_via_lib:libhdf5' >"$work/suppressions"
failed='' fuzz=$abs_top_builddir/tests/torture/fuzz
for target in $TARGETS $KNOWN; do
    findings=$abs_top_builddir/fuzz-findings/$target
    seeds=$work/$target leaks=0 # HDF5 1.10.8 loses memory on most damaged files
    case $target in
    front) seeds=$work/checkpoint ;;
    safetensors | tokenizer) leaks=1 ;;
    esac
    mkdir -p "$findings" "$work/corpus"
    # HDF5 asks for as much memory as a damaged file says; AddressSanitizer would mark all of it.
    options=detect_leaks=$leaks:allocator_may_return_null=1:max_allocation_size_mb=512
    # What HDF5 1.10.8 reads beyond an attribute (H5O_attr_decode) nobody can check before it does.
    [ "$target" != tokens ] || options=$options:suppressions=$work/suppressions
    export FUZZ_TARGET="$target" ASAN_OPTIONS="$options"
    set -- -timeout=5 -rss_limit_mb=2048 -detect_leaks=$leaks -artifact_prefix="$findings/"
    timeout 120 "$fuzz" "$@" "$here/corpus/$target"/* >"$work/log" 2>&1
    code=$? known=$(grep -c '^Executed' "$work/log")
    [ $code != 0 ] || [ "$known" = "$(find "$here/corpus/$target" -type f | wc -l)" ] || code=1
    case " $TARGETS " in *" $target "*) random=true ;; *) random=false ;; esac
    [ $code != 0 ] || ! $random ||
        timeout $((FUZZ + 120)) "$fuzz" "$@" -max_total_time="$FUZZ" -max_len=131072 \
            -print_final_stats=1 "$work/corpus" "$here/corpus/$target" "$seeds" "$findings" \
            >"$work/log" 2>&1 || code=$?
    rm -rf "$work/corpus"
    others=$(sed -n "s/^stat::number_of_executed_units: *//p" "$work/log")
    echo "$target: $known known files, ${others:-no} others"
    [ $code = 0 ] || { failed="$failed $target"; tail -n 40 "$work/log"; }
done
[ -z "$failed" ] || { echo "fuzz.sh: findings in$failed"; exit 1; }
echo "DONE fuzz.sh: $FUZZ s each of $TARGETS"
