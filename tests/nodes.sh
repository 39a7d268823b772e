#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# nodes.sh: moves and plans where the ranks of this machine pretend to be on nodes of 1, 2 and 3;
# and over a network whose queues are full after two messages, where whatever is to be sent waits.
set -eu

launch="$(dirname "$0")/launch.sh"
MPIEXEC_TIMEOUT=100 # of each run: less than this script has
export MPIEXEC_TIMEOUT
for size in 1 2 3; do
    CLEAVE_NODE_SIZE=$size RANKS="3 5" sh "$launch" "$abs_top_builddir/tests/mpi/move"
    CLEAVE_NODE_SIZE=$size RANKS="4" sh "$launch" "$abs_top_builddir/tests/mpi/plan"
    CLEAVE_NODE_SIZE=$size RANKS="4" sh "$launch" "$abs_top_builddir/tests/mpi/reproducible"
done
export CLEAVE_NODE_SIZE=2
RANKS="4" sh "$launch" "$abs_top_builddir/tests/mpi/plan_memory"
export UCX_POSIX_FIFO_SIZE=2 UCX_SYSV_FIFO_SIZE=2 # of MPICH's transport in shared memory
RANKS="6 6" sh "$launch" "$abs_top_builddir/tests/mpi/move"
RANKS="4" sh "$launch" "$abs_top_builddir/tests/mpi/plan_memory"
echo "DONE nodes"
