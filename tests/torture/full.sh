#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# full.sh: a disk that gets full, at many sizes: every save ends, and nothing that was saved is lost.
#
#     [SIZES=20] tests/torture/full.sh
#
# A tmpfs of each size, from one that takes nothing to one that takes all, is saved into by
# tests/torture/saver on 1 to 4 ranks, half of them in the background, and, every fifth one, by a
# training run. Each must end within 10 seconds (30 for training): with all saved, or with a message
# that names the folder and says that there is no room. Then no temporary file may be there, the newest checkpoint is no older than
# the last one said to be saved, every file verifies, and once there is room the next save works.
# Mounts as root, or in a user namespace of its own; 77 where neither is allowed: then
# tests/torture/faults, whose disk stays full from any call on, is the test.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_builddir:=$(dirname "$(dirname "$here")")/build}" "${MPIEXEC:=mpiexec.mpich}"
: "${SIZES:=20}" "${SAVER:=$abs_top_builddir/tests/torture/saver}" "${CLEAVE:=$abs_top_builddir/cleave}"
: "${HWLOC_COMPONENTS:=-pci}" "${OMP_NUM_THREADS:=1}"
export HWLOC_COMPONENTS OMP_NUM_THREADS MPIEXEC_TIMEOUT

work=$(mktemp -d) || exit 1
disk=$work/disk dir=$work/disk/run log=$work/log
mkdir "$disk"
if ! mount -t tmpfs -o size=64k none "$disk" 2>/dev/null; then
    rm -rf "$work"
    if [ -z "${FULL_NAMESPACE:-}" ] && unshare -rm true 2>/dev/null; then
        echo "full.sh: mounts in a namespace of its own"
        FULL_NAMESPACE=1 exec unshare -rm sh "$0"
    fi
    echo "skipped: no right to mount a tmpfs"
    exit 77
fi
cleanup() {
    umount "$disk" 2>/dev/null || umount -l "$disk"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "full.sh: $what: $*" >&2
    tail -n 10 "$log" | cut -c 1-300 >&2
    ls -la "$dir" >&2
    df "$disk" >&2
    exit 1
}

# Runs the rest, at most $1 seconds; its exit status in $code.
run() {
    MPIEXEC_TIMEOUT=$1
    shift
    "$@" >"$log" 2>&1 </dev/null
    code=$?
    [ $code != 255 ] || fail "took more than $MPIEXEC_TIMEOUT s"
}

# After a run: either all went well, or it says why not, and the folder is in order. $1: the last
# step said to be saved.
check() {
    if [ $code != 0 ]; then
        refused=$((refused + 1))
        grep -qE 'No space left|bytes free|cannot reserve' "$log" || fail "no word of room"
        grep -q "$disk" "$log" || fail "the message does not name the folder"
        [ -z "$(find "$disk" -name '.*.tmp-*')" ] || fail "temporary files stay"
    fi
    said=$1
    mount -o remount,size=16m "$disk" || fail "cannot make room"
    [ "$said" != 0 ] || return 0
    run 10 "$CLEAVE" verify "$dir"
    [ $code = 0 ] || fail "the newest does not verify"
}

# $1: ranks. $2: background or not.
save() {
    run 10 "$MPIEXEC" -n "$1" "$SAVER" "$dir" 6 2 "$2"
    said=$(sed -n 's/^saved \([0-9]*\)$/\1/p' "$log" | tail -n 1)
    [ $code != 0 ] || [ "$said" = 6 ] || fail "succeeded, but saved ${said:-nothing}"
    check "${said:-0}"
    run 20 "$MPIEXEC" -n 2 "$SAVER" "$dir" 7 2
    [ $code = 0 ] || fail "does not go on where there is room"
    newest=$(sed -n 's/^newest \([0-9]*\)$/\1/p' "$log")
    [ "$newest" -ge "$said" ] || fail "step $said was saved, the newest is $newest"
}

train() {
    i=0
    while [ $i -lt 40 ]; do
        echo "line $i: the quick brown fox jumps over the lazy dog"
        i=$((i + 1))
    done >"$work/text"
    run 30 "$MPIEXEC" -n 2 "$CLEAVE" train --data "$work/text" --layers 1 --width 32 --heads 2 \
        --context 32 --batch 2 --steps 8 --save "$dir" --save-every 1 --keep 3
    [ $code != 0 ] || [ -e "$dir/step-00000008.h5" ] || fail "succeeded without its last step"
    said=0
    [ ! -e "$dir/latest" ] || said=1
    check $said
}

# From 64 KiB to about 1.4 MiB: what two saves of the model and one of the training take.
k=0 refused=0
while [ $k -lt "$SIZES" ]; do
    kib=$((64 + k * 1400 / SIZES))
    what="a disk of $kib KiB"
    umount "$disk" && mount -t tmpfs -o size=${kib}k none "$disk" || fail "cannot mount"
    case $((k / 4 % 2)) in 0) way=foreground ;; *) way=background ;; esac
    if [ $((k % 5)) = 4 ]; then train; else save $((k % 4 + 1)) $way; fi
    k=$((k + 1))
done
what="all sizes"
[ $refused -gt 0 ] && [ $refused -lt "$SIZES" ] || fail "$refused of $SIZES disks were too small"

# What doctor says of a disk without room, and of one that nobody may write to.
doctor() {
    run 60 "$CLEAVE" doctor --dir "$disk"
    [ $code = 1 ] || fail "exit status $code of doctor"
    grep -q "$1" "$log" || fail "doctor does not say $1"
    ! grep -qi 'elsewhere\|crash' "$log" || [ "$2" = elsewhere ] || fail "doctor sends elsewhere"
}
what="a full disk"
dd if=/dev/zero of="$disk/filler" bs=4k 2>"$log"
doctor 'make room' here
what="a disk to read"
mount -o remount,ro "$disk" || fail "cannot remount"
doctor 'Read-only file system' elsewhere
echo "DONE full.sh: $SIZES sizes, $refused of them too small"
