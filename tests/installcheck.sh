#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# installcheck.sh: the installed tree is enough for a user. Compiles the first program of
# README.md (the C block after the comment <!-- first-program -->) with nothing but pkg-config,
# and runs it on 2 ranks. Called by make installcheck with
#
#     CC PKG_CONFIG PKG_CONFIG_PATH MPIEXEC CLEAVE=installed-command installcheck.sh README.md
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

# shellcheck disable=SC2016
sed '1,/<!-- first-program -->/d' "$1" |
    sed -n '/^```c$/,/^```$/{/^```/!p;};/^```$/q' >"$folder/first.c"
if [ ! -s "$folder/first.c" ]; then
    echo "installcheck: $1 has no C block after <!-- first-program -->" >&2
    exit 1
fi

# As it says: no path of the build or the source tree.
# shellcheck disable=SC2046,SC2086
$CC "$folder/first.c" -o "$folder/first" $($PKG_CONFIG --cflags --libs cleave)
MPIEXEC_TIMEOUT=60 $MPIEXEC -n 2 "$folder/first" >"$folder/out" </dev/null
cat "$folder/out"
if [ ! -s "$folder/out" ]; then
    echo "installcheck: the first program of $1 printed nothing" >&2
    exit 1
fi

# Each public header is a C99 and a C++ program by itself.
for header in "$($PKG_CONFIG --variable=includedir cleave)"/cleave*.h; do
    echo "#include <${header##*/}>" >"$folder/header.c"
    # shellcheck disable=SC2046
    $CC -std=c99 -Wall -Wextra -Werror -fsyntax-only "$folder/header.c" \
        $($PKG_CONFIG --cflags cleave)
    # shellcheck disable=SC2046
    if $CC -x c++ -fsyntax-only /dev/null 2>/dev/null; then
        $CC -x c++ -fsyntax-only "$folder/header.c" $($PKG_CONFIG --cflags cleave)
    fi
done

"$CLEAVE" --version
echo "installcheck: the installed tree works"
