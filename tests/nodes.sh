#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# nodes.sh: moves and plans where the ranks of this machine pretend to be on nodes of 1, 2 and 3.
set -eu

launch="$(dirname "$0")/launch.sh"
for size in 1 2 3; do
    CLEAVE_NODE_SIZE=$size RANKS="3 5" sh "$launch" "$abs_top_builddir/tests/mpi/move"
    CLEAVE_NODE_SIZE=$size RANKS="4" sh "$launch" "$abs_top_builddir/tests/mpi/plan"
    CLEAVE_NODE_SIZE=$size RANKS="4" sh "$launch" "$abs_top_builddir/tests/mpi/reproducible"
done
CLEAVE_NODE_SIZE=2 RANKS="4" sh "$launch" "$abs_top_builddir/tests/mpi/plan_memory"
echo "DONE nodes"
