#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# h5py.sh: the world outside reads a checkpoint: h5py sees global shapes and the values saved,
# bf16 as exact floats; h5dump lists it. Token files go both ways.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${abs_top_builddir:=$(dirname "$here")}" "${MPIEXEC:=mpiexec.mpich}"
: "${SAVER:=$abs_top_builddir/tests/torture/saver}" "${CLEAVE:=$abs_top_builddir/cleave}"

for python in /usr/bin/python3 python3 ''; do
    [ -z "$python" ] || ! "$python" -c 'import h5py' 2>/dev/null || break
done
[ -n "$python" ] || { echo "skipped: no python3 with h5py"; exit 77; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
$MPIEXEC -n 3 "$SAVER" "$work" 3 40 || exit 1

"$python" - "$work/step-00000003.h5" <<'END' || exit 1
import sys, h5py, numpy
file = h5py.File(sys.argv[1], "r")
step = 3
expected = {"weight": ((5080, 127), "<f4"), "moment/weight": ((1240, 127), "<f8"),
            "moment/bias": ((40, 127), "<f8"), "bf16": ((680, 7), "<f4"), "ids": ((5080, 1), "<i4"),
            "none": ((0, 3), "<f4")}
for k, (name, (shape, dtype)) in enumerate(expected.items()):
    data = file[name]
    assert data.shape == shape, (name, data.shape, shape)
    assert data.dtype == dtype, (name, data.dtype, dtype)
    index = numpy.arange(numpy.prod(shape, dtype=int)).reshape(shape)
    assert (data[()] == (7 * index + 13 * k + step) % 251 - 125).all(), (name, data[()])
    tiles = file["cleave/checksum/" + name]
    assert tiles.shape == (-(-data.id.get_storage_size() // (1 << 20)),), (name, tiles.shape)
assert file["bf16"].id.get_storage_size() == 2 * 680 * 7
names = []
def visit(name, item):
    if isinstance(item, h5py.Dataset) and not name.startswith("cleave/"):
        names.append(name)
file.visititems(visit)
assert sorted(names) == sorted(expected), names
assert file["cleave/json"][()].rstrip(b"\0") == b'{"step": 3}', file["cleave/json"][()]
assert open(sys.argv[1], "rb").read(28) == b"Cleave checkpoint, format 1\n"
END

if command -v h5dump >/dev/null; then
    h5dump -H "$work/step-00000003.h5" >"$work/dump" || exit 1
    grep -q 'SIMPLE { ( 5080, 127 )' "$work/dump" || { cat "$work/dump"; exit 1; }
fi
# Tokens as h5py writes them, read by cleave; then the other way.
"$python" - "$work" <<'END' || exit 1
import sys, h5py, numpy
text = bytes(range(256)) * 500
open(sys.argv[1] + "/text", "wb").write(text)
ids = numpy.frombuffer(text, "u1")
kinds = {"plain": {}, "chunked": {"chunks": (1000,)}, "gzip": {"compression": "gzip", "shuffle": True},
         "resizable": {"maxshape": (None,)}, "checked": {"chunks": (4096,), "fletcher32": True}}
for kind, options in kinds.items():
    for dtype in "u1", "<u2", ">u2", "<u4", ">u4", "<u8", ">u8":
        for latest in "earliest", "latest":
            name = "%s/tokens-%s-%s-%s.h5" % (sys.argv[1], kind, dtype.strip("<"), latest)
            with h5py.File(name, "w", libver=latest) as file:
                file.create_dataset("tokens", data=ids.astype(dtype), **options)
END
for file in "$work"/tokens-*.h5; do
    "$CLEAVE" tokenize --decode "$file" | cmp - "$work/text" || { echo "FAILED: $file"; exit 1; }
done
"$python" - "$work" <<'END' || exit 1
import sys, h5py, numpy
with h5py.File(sys.argv[1] + "/lzf.h5", "w") as file:
    file.create_dataset("tokens", data=numpy.zeros(5000, "u2"), compression="lzf")
with h5py.File(sys.argv[1] + "/huge.h5", "w") as file:
    file.create_dataset("tokens", shape=(2**50,), dtype="u2", chunks=(1000,))[:2000] = 1
with h5py.File(sys.argv[1] + "/part.h5", "w") as file:
    file.create_dataset("tokens", shape=(50,), dtype="u2", chunks=(10,))[:20] = 1
END
for case in 'lzf:found lzf (number 32000)' 'huge:found a file with room for' \
    'part:found 2 that were written'; do
    timeout 20 "$CLEAVE" train --data "$work/${case%%:*}.h5" >"$work/out" 2>"$work/err" &&
        { echo "FAILED: $case"; exit 1; }
    grep -qF "${case#*:}" "$work/err" || { echo "FAILED: $case"; cat "$work/err"; exit 1; }
done
"$CLEAVE" tokenize "$work/text" -o "$work/ours.h5" >/dev/null || exit 1
"$python" - "$work" <<'END' || exit 1
import sys, h5py
tokens = h5py.File(sys.argv[1] + "/ours.h5", "r")["tokens"]
assert tokens.shape == (128000,) and tokens.dtype == "<u2" and tokens.attrs["vocabulary"] == 256
assert bytes(tokens[()].astype("u1")) == open(sys.argv[1] + "/text", "rb").read()
END
echo "DONE h5py.sh"
