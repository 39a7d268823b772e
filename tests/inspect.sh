#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# inspect.sh: what the command says of checkpoints: inspect --stats against NumPy, diff, verify of
# damage in known places, and what starts from them: eval --dtype, train --init.
#
#     [CLEAVE=build/cleave] [MPIEXEC=mpiexec.mpich] sh tests/inspect.sh
set -u
# shellcheck source=tests/command.sh
. "$(dirname "$0")/command.sh"

: "${abs_top_builddir:=$(dirname "$CLEAVE")}"
: "${SAVER:=$abs_top_builddir/tests/torture/saver}"

# python SCRIPT ARGUMENT...: a Python that has h5py and NumPy.
python=''
for candidate in ${PYTHON:-} /usr/bin/python3 python3; do
    "$candidate" -c 'import h5py, numpy' 2>/dev/null && python=$candidate && break
done
if [ -z "$python" ]; then
    echo "no Python with h5py and NumPy"
    exit 77
fi

# status EXPECTED TITLE RANKS ARGUMENT...: exits so, silent on stderr.
status() {
    expected=$1 title=$2
    shift 2
    run "$@"
    check "$title: exit status $expected" [ $code = "$expected" ]
    check "$title: nothing on stderr" [ ! -s err ]
}

i=0
while [ $i -lt 40 ]; do
    echo "line $i: the quick brown fox jumps over the lazy dog"
    i=$((i + 1))
done >text
tiny="--layers 2 --width 64 --heads 2 --context 16 --batch 2"
# shellcheck disable=SC2086
good "train" 2 train --data text --steps 3 $tiny --save run --save-every 1 --seed 1
a=run/step-00000002.h5 b=run/step-00000003.h5

# ---- inspect ----

good "inspect --only" 1 inspect run --only 'block.*,!*.bias' --json
check "only: what is chosen" holds '"name": "block.0.mlp.up.weight"'
check "only: not what is taken away" [ "$(grep -c '"name": ".*\(bias\|token\|adamw\)' out)" = 0 ]
for ranks in 1 2 3; do
    good "inspect --stats on $ranks" $ranks inspect run --stats --json
    cp out "stats$ranks"
done
check "stats: the same on 2 ranks" cmp stats1 stats2
check "stats: the same on 3 ranks" cmp stats1 stats3
cat >stats.py <<'END'
import h5py, json, numpy, sys
file = h5py.File(sys.argv[2])
lines = [json.loads(line) for line in open(sys.argv[1])]
count = 0
for line in lines:
    if "stats" not in line: continue
    x, s = numpy.asarray(file[line["name"]], "f8").ravel(), line["stats"]
    finite = x[numpy.isfinite(x)]
    assert s["finite"] == len(finite) and s["zeros"] == (x == 0).sum(), line
    assert s["nan"] == numpy.isnan(x).sum() and s["infinite"] == numpy.isinf(x).sum(), line
    if len(finite):
        assert s["min"] == finite.min() and s["max"] == finite.max(), line
        scale = max(abs(finite.min()), abs(finite.max()), 1e-300)
        assert abs(s["mean"] - finite.mean()) <= 1e-14 * scale, (line, finite.mean())
        assert abs(s["std"] - finite.std()) <= 1e-12 * scale, (line, finite.std())
    count += 1
assert count > 20
END
check "stats: NumPy's" "$python" stats.py stats2 $b

bad 1 '--only: expected a pattern that some data set fits, found block.\[' 2 inspect run --only 'block.[' --json

# ---- diff ----

status 0 "diff of the same" 2 diff $b run
status 0 "diff of the same, bit by bit" 2 diff $b run --bits
check "diff: says so" holds '^the same: '
status 1 "diff of two steps" 1 diff $a $b --json
cp out diff1
check "diff: every line is one object" is_json out
check "diff: not the same" holds '"same": false'
check "diff: the step" holds '"config": "train.step", "differs": "config", "a": 2, "b": 3'
status 1 "diff of two steps on 3" 3 diff $a $b --json
check "diff: the same on 3 ranks" cmp out diff1
cat >diff.py <<'END'
import h5py, json, numpy, sys
a, b = h5py.File(sys.argv[2]), h5py.File(sys.argv[3])
lines = {l["name"]: l for l in map(json.loads, open(sys.argv[1])) if l.get("differs") == "values"}
names = []
a.visititems(lambda n, o: names.append(n) if hasattr(o, "shape") and not n.startswith("cleave/") else None)
assert len(names) > 20
for name in names:
    x, y = numpy.asarray(a[name], "f8"), numpy.asarray(b[name], "f8")
    d = numpy.abs(x - y)
    if not d.any():
        assert name not in lines, name
        continue
    line, first = lines[name], numpy.argwhere(d > 0)[0]
    assert line["count"] == (d > 0).sum() and line["absolute"] == d.max(), line
    assert line["relative"] == (d[d > 0] / numpy.maximum(abs(x), abs(y))[d > 0]).max(), line
    assert line["first"] == list(first) and line["values"] == [x[tuple(first)], y[tuple(first)]], line
END
check "diff: NumPy's" "$python" diff.py diff1 $a $b
status 0 "diff with a tolerance" 2 diff $a $b --only '*.gain' --tolerance 0.1
status 1 "diff of what is chosen" 2 diff $a $b --only 'token.*' --json
check "diff --only: nothing else" [ "$(grep -v 'token\|"same"' out)" = '' ]
run 0 diff --help
check "diff --help: what --only leaves out besides" holds '--only the configurations are left out'
# shellcheck disable=SC2086
good "another model" 1 train --data text --steps 1 --layers 1 --width 32 --heads 2 --context 16 --dtype f64 --save other
status 1 "diff of models" 2 diff $b other
check "diff: a shape" holds '^token.weight: shape: 256 x 64, 256 x 32'
check "diff: a type" holds '^token.weight: type: f32, f64'
check "diff: what one lacks" holds "^only in $b: block.1.mlp.up.weight"
check "diff: the model" holds '^configuration model.width: 64, 32'
run 2 diff $a nowhere --json
check "diff: trouble has exit status 2, as diff's" [ $code = 2 ]
check "diff: names what is not there" grep -q 'nowhere: expected' err
bad 2 'expected B, found none' 0 diff $a
bad 2 'bits: expected no --tolerance beside it, found 0.1' 0 diff $a $b --bits --tolerance 0.1

run 2 diff $a $b --only 'zzz*' --json
check "diff of nothing: trouble" [ $code = 2 ]
check "diff of nothing: no verdict" [ ! -s out ]
check "diff of nothing: says so" grep -q '^cleave diff: --only: expected a pattern that some data set fits, found zzz' err
"$CLEAVE" diff $a $b >/dev/full 2>err
check "diff: lines that were lost are trouble" [ $? = 2 ]
check "diff: lines that were lost are told" grep -q '^cleave diff: standard output: ' err
"$CLEAVE" diff $b $b >/dev/full 2>err
check "diff: a lost line of the same is trouble" [ $? = 2 ]

# ---- verify ----

cat >damage.py <<'END'
import h5py, sys
file, name, element = sys.argv[1], sys.argv[2], int(sys.argv[3])
with h5py.File(file) as h: at = h[name].id.get_offset() + element * h[name].dtype.itemsize
with open(file, "r+b") as f:
    f.seek(at)
    byte = f.read(1)
    f.seek(at)
    f.write(bytes([byte[0] ^ 1]))
print(at - element * 4)
END
cp $b bad.h5
place=$("$python" damage.py bad.h5 block.0.mlp.up.weight 777)
"$python" damage.py bad.h5 adamw.v/head.weight 5 >place2
for ranks in 1 2 3; do
    run $ranks verify bad.h5 --json
    check "verify on $ranks: exit status 1" [ $code = 1 ]
    check "verify on $ranks: every line is one object" is_json out
    cp out "verify$ranks"
done
check "verify: the same on 2 ranks" cmp verify1 verify2
check "verify: the same on 3 ranks" cmp verify1 verify3
check "verify: which, where" holds "\"damage\": \[{\"name\": \"block.0.mlp.up.weight\", \"elements\": \[0, 16384\], \"rows\": \[0, 64\], \"bytes\": \[$place, $((place + 65536))\]}, {\"name\": \"adamw.v/head.weight\""
run 2 verify bad.h5
check "verify: in words" holds '^damaged: block.0.mlp.up.weight: elements 0 to 16383 (rows 0 to 63), bytes '
check "verify: one line on stderr" [ "$(wc -l <err)" = 1 ]
bad 1 '--only: expected a pattern that some data set fits, found zzz' 2 verify run --only 'zzz*' --json
status 0 "verify --only around the damage" 2 verify bad.h5 --only '*,!*.up.*,!adamw.v*' --json
bad 1 'data set block.0.mlp.up.weight, elements 0 to 16384' 2 eval --data text --load bad.h5 --json
run 2 inspect --stats --only '*.up.*' bad.h5 --json
check "inspect --stats of damage: exit status 1" [ $code = 1 ]
check "inspect --stats of damage: says where" grep -q 'data set block.0.mlp.up.weight, elements 0 to 16384' err
# A checkpoint that no training run wrote, damaged: not being of a run is no failure.
"$SAVER" plain 1 >saver.log 2>&1
"$python" damage.py plain/step-00000001.h5 weight 0 >place2
bad 1 '^cleave inspect: .*data set weight, elements 0 to ' 1 inspect plain --stats --json
cp $b bad2.h5
printf x | dd of=bad2.h5 bs=1 seek=6000 conv=notrunc 2>dd.err
run 2 verify bad2.h5 --json
check "verify: the structure" [ $code = 1 ]
check "verify: no damage list for it" [ "$(grep -c damage out)" = 0 ]
check "verify: says structure" holds '"error": ".*bad2.h5: structure'

# A folder whose newest file has a damaged structure and whose oldest has damaged values.
mkdir three
cp bad.h5 three/step-00000001.h5
cp $b three/step-00000003.h5
cp bad2.h5 three/step-00000004.h5
echo step-00000004.h5 >three/latest
for ranks in 1 3; do
    run $ranks verify three --json
    check "verify of a folder on $ranks: exit status 1" [ $code = 1 ]
    check "verify of a folder on $ranks: a verdict on each" [ "$(sed 's/.*"file": "\([^"]*\)", "ok": \([a-z]*\).*/\1 \2/' out)" = \
        "three/step-00000001.h5 false
three/step-00000003.h5 true
three/step-00000004.h5 false" ]
    check "verify of a folder on $ranks: the last bad one on stderr" grep -q '^cleave verify: three/step-00000004.h5: structure' err
done
cp $b three/step-00000004.h5
run 2 verify three
check "verify of a folder: an error before good ones is told" grep -q '^cleave verify: three/step-00000001.h5: expected data sets as they were written' err
mkdir bare
bad 1 'bare: expected a complete step-NNNNNNNN.h5, found none' 2 verify bare --json

# ---- What starts from a checkpoint ----

loss() { sed -n 's/.*"loss": \([0-9.]*\)[0-9]\{9\},.*/\1/p' out; }
good "eval" 2 eval --load run --data text --json
narrow=$(loss)
good "eval --dtype f64" 3 eval --load run --data text --dtype f64 --json
check "eval: nearly the same loss" [ "${narrow%??}" = "$(loss | cut -c "1-$((${#narrow} - 2))")" ]
good "generate --dtype f64" 2 generate --load run --prompt The --tokens 5 --dtype f64 --json
bad 1 '--dtype: expected f32 as in run/.*, found f64' 2 train --data text --resume run --dtype f64

good "train --init" 2 train --data text --steps 1 --lr 0 --weight-decay 0 --init run --save init --json
check "init: says from what" holds "\"from_step\": 0, .*\"init\": \"$b\""
status 0 "init: the parameters" 2 diff init run --bits --only '*,!adamw.*'
good "train --init --only, more layers" 2 train --data text --steps 1 --lr 0 --init run --only 'block.*' --layers 3 --seed 7 --save init2 --json
status 0 "init --only: what was chosen" 2 diff init2 run --bits --only 'block.[01].*'
status 1 "init --only: the others" 2 diff init2 run --only 'token.*'
good "train --init in another type" 3 train --data text --steps 1 --lr 0 --init run --dtype f64 --save init3 --json
status 1 "init --dtype" 1 diff init3 run --only '*,!adamw.*' --json
check "init --dtype: only the type differs" [ "$(grep -c '"differs": "values"' out)" = 0 ]
bad 1 'of another shape: token.weight (expected 256 x 32, found 256 x 64).* more' 2 train --data text --steps 1 --init run --width 32 --json
bad 1 'expected parameters of this model among x\*, found none' 2 train --data text --steps 1 --init run --only 'x*' --json
bad 2 '--init: expected a new run' 2 train --data text --steps 9 --init run --resume run
bad 2 '--only: expected --init' 2 train --data text --steps 9 --only 'x*'
bad 1 'nowhere' 2 train --data text --steps 9 --init nowhere

finish inspect.sh
