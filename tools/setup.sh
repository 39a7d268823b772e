#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# setup.sh: from a fresh Debian to a built tree, in one command; quick to repeat.
#
#     sh tools/setup.sh [FOLDER]        builds in FOLDER (default: build, in the source tree)
#
# Installs the Debian packages that are missing if it may (as root, or by sudo without a
# password), else prints the one line to run and exits with 1. JOBS is the number of compilers
# at once; CONFIGURE_FLAGS are passed to configure the first time.
set -eu

packages="gcc libc6-dev make autoconf automake libtool pkg-config
mpich libmpich-dev libblis-openmp-dev libblis4-openmp
libscalapack-mpich-dev libblas3 liblapack3 liblapack-dev
libhdf5-mpich-dev hdf5-tools librandom123-dev libjansson-dev libpcre2-dev
libxxhash-dev python3 python3-h5py python3-numpy"

# For a test alone, and large: about 300 MB with what it needs. NO_TORCH=1 leaves it out, and that
# test (tests/convert.sh) fails.
[ -n "${NO_TORCH:-}" ] || packages="$packages python3-torch"

# For tests alone too, where there is no other: a compiler that fuzzes (tests/torture/fuzz.sh), and
# node, for a reference of tokens (tests/tokenizer.sh).
command -v clang >/dev/null 2>&1 || packages="$packages clang libclang-rt-dev"
command -v node >/dev/null 2>&1 || packages="$packages nodejs npm"

top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$top/build}
jobs=${JOBS:-$(nproc)}

say() { echo "setup: $*"; }

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

install_packages() {
    command -v dpkg-query >/dev/null 2>&1 || {
        say "not a Debian system: configure will say what is missing"
        return
    }
    missing=''
    for package in $packages; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ]; then
        root='env'
    elif sudo -n true 2>/dev/null; then
        root='sudo -n env'
    else
        echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends$missing"
        exit 1
    fi
    say "installing$missing"
    apt="$root DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
    # shellcheck disable=SC2086
    { $apt update && $apt install -y --no-install-recommends $missing; } >"$log" 2>&1 </dev/null ||
        fail "apt-get"
}

# A quiet command's output matters only if it fails.
fail() {
    tail -n 40 "$log" >&2
    say "$1 failed (whole output: $log)" >&2
    exit 1
}
quietly() {
    what=$1
    shift
    "$@" >"$log" 2>&1 </dev/null || fail "$what"
}

begin=$(date +%s)
mkdir -p "$build"
build=$(cd "$build" && pwd)
log=$build/setup.log
install_packages
if [ ! -f "$top/configure" ] || [ ! -f "$top/Makefile.in" ]; then
    say "generating configure"
    cd "$top"
    quietly autoreconf autoreconf -fi
fi
cd "$build"
if [ ! -f Makefile ]; then
    say "configuring in $build"
    # shellcheck disable=SC2086
    quietly configure "$top/configure" --prefix="$build/installed" ${CONFIGURE_FLAGS:-}
    sed -n '/^cleave .* takes$/,$p' "$log"
fi
say "building with $jobs jobs"
quietly make make -j"$jobs"
say "ready after $(($(date +%s) - begin)) s"
