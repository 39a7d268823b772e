#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# tokens.sh: the command with files of tokens that are wrong, and with what a shell can take from it.
set -u
# shellcheck source=tests/command.sh
. "$(dirname "$0")/command.sh"

echo "the quick brown fox" >text
tiny="--layers 1 --width 16 --heads 2 --context 8 --batch 1 --steps 1"

# ---- What may stand where a file is to be written ----

good "tokenize" 0 tokenize text -o ids.h5
mkfifo pipe
mkdir folder
for other in pipe folder; do
    bad 1 "$other: expected a file or nothing there" 0 tokenize text -o $other --overwrite
done
check "a pipe stays" [ -p pipe ]
touch .ids.h5.tmp-killed-1
good "tokenize after a writer that was killed" 0 tokenize text -o ids.h5 --overwrite
check "nothing is left of it" [ ! -e .ids.h5.tmp-killed-1 ]

finish tokens.sh
