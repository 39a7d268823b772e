#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# convert.sh: models made by PyTorch, converted: cleave eval gives PyTorch's loss, and what comes back
# has the bits of what went in, on any number of ranks; what Cleave does not compute is refused, by
# name. Needs python3 with torch, numpy and h5py, and fails without them.
set -u

here=$(cd "$(dirname "$0")" && pwd)
: "${CLEAVE:=cleave}" "${MPIEXEC:=mpiexec.mpich}" "${MPIEXEC_TIMEOUT:=60}"
: "${HWLOC_COMPONENTS:=-pci}" "${OMP_NUM_THREADS:=1}"
case $CLEAVE in
*/*) CLEAVE=$(cd "$(dirname "$CLEAVE")" && pwd)/$(basename "$CLEAVE") ;;
esac
export MPIEXEC_TIMEOUT HWLOC_COMPONENTS OMP_NUM_THREADS

for python in /usr/bin/python3 python3 ''; do
    [ -z "$python" ] || ! "$python" -c 'import torch, numpy, h5py' 2>/dev/null || break
done
[ -n "$python" ] || {
    echo "FAILED: no python3 with torch, numpy and h5py (Debian: python3-torch, python3-numpy, python3-h5py)"
    exit 1
}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
checks=0 failures=0 code=0

# check WHAT COMMAND...: counts the command's verdict.
check() {
    what=$1
    shift
    checks=$((checks + 1))
    "$@" 2>check.err && return 0
    failures=$((failures + 1))
    echo "FAILED: $what (exit status $code)"
    tail -qn 3 check.err out err | sed 's/^/  /'
}

# run RANKS ARGUMENT...: the command under the launcher, or 0: without it; its exit status in code.
run() {
    ranks=$1
    shift
    if [ "$ranks" = 0 ]; then
        timeout "$MPIEXEC_TIMEOUT" "$CLEAVE" "$@" >out 2>err </dev/null
    else
        "$MPIEXEC" -n "$ranks" "$CLEAVE" "$@" >out 2>err </dev/null
    fi
    code=$?
}
good() {
    run "$@"
    check "ranks $*: exit status 0" [ $code = 0 ]
    check "ranks $*: nothing on stderr" [ ! -s err ]
}
# bad PATTERN RANKS ARGUMENT...: fails in one line that fits the pattern, and writes nothing.
bad() {
    pattern=$1
    shift
    run "$@"
    check "ranks $*: exit status 1" [ $code = 1 ]
    check "ranks $*: one line" [ "$(wc -l <err)" = 1 ]
    check "ranks $*: says $pattern" grep -q -e "$pattern" err
    check "ranks $*: writes nothing" [ ! -e no.h5 ]
}
hf() { "$python" "$here/hf_models.py" "$@"; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; exit !(a != "" && d < 1e-4 && d > -1e-4) }'; }
# agrees RANKS MODEL DATA LOSS: cleave eval says so too.
agrees() {
    good "$1" eval --load "$2" --data "$3" --json
    loss=$(sed -n 's/.*"loss": \([0-9.]*\).*/\1/p' out)
    check "$2 on $1 ranks: loss of $4, found $loss" near "$loss" "$4"
}

hf make . || exit 1

# ---- There and back ----

hf names >names
turn=0
while read -r model data <&3; do
    turn=$((turn + 1))
    loss=$(hf loss "$model" "$data")
    good 1 convert "$model" -o "$model.h5"
    good 3 convert "$model" -o "$model.3.h5" --json
    good 1 diff --bits "$model.h5" "$model.3.h5"
    for ranks in 1 2 4; do agrees $ranks "$model.h5" "$data" "$loss"; done
    good 1 convert "$model.h5" -o "$model.back"
    check "$model: back on 1 rank, one file" hf same "$model" "$model.back"
    check "$model: one file" [ ! -e "$model.back/model.safetensors.index.json" ]
    good 4 convert "$model.h5" -o "$model.back" --shard-size $((turn * 7000)) --overwrite
    check "$model: back on 4 ranks, in shards" hf same "$model" "$model.back"
    check "$model: more files" [ -e "$model.back/model.safetensors.index.json" ]
done 3<names

# Values that are equal, or NaN alike, but not the same bits.
rm -rf broken
for bits in 00000000 80000000 7fc00000 7fc00001 7f800001; do
    cp -r gpt2 broken
    hf tensor broken h.0.ln_1.bias 0x$bits
    good 2 convert broken -o $bits.h5
    good 1 convert $bits.h5 -o $bits.back
    check "0x$bits: the same bits" hf same broken $bits.back
    rm -rf broken
done
# Of no finite value there is no least, greatest or mean.
good 2 inspect --stats --only block.0.norm1.bias 7fc00000.h5
check "stats of NaN: no value" grep -q 'min -  max -  mean -  std -  zeros 0  NaN 30 ' out
good 2 inspect --stats --only block.0.norm1.bias 7fc00000.h5 --json
check "stats of NaN: null" grep -q '"min": null, "max": null, "mean": null, "std": null, "finite": 0' out
for pair in '00000000 80000000' '7fc00000 7fc00001' '7fc00001 7f800001'; do
    good 2 diff ${pair% *}.h5 ${pair#* }.h5
    run 2 diff --bits ${pair% *}.h5 ${pair#* }.h5
    check "$pair: different bits" [ $code = 1 ]
    check "$pair: 30 of them" grep -q ": 30 of 30 values differ" out
done

# Other types: those that hold the values bring them back; nothing else moves.
good 2 convert gpt2 -o f64.h5 --dtype f64
good 2 convert f64.h5 -o f64.back --dtype f32
check "f32 through f64" hf same gpt2 f64.back
good 2 convert llama-bf16 -o f32.h5 --dtype f32
good 2 convert f32.h5 -o f32.back --dtype bf16
check "bf16 through f32" hf same llama-bf16 f32.back
good 2 convert llama -o rounded.h5 --dtype bf16
good 1 inspect rounded.h5
check "--dtype bf16: nothing else" [ "$(grep -c ' bf16 ' out)" = "$(grep -c ' x ' out)" ]

# More files than a process has by default, as far as it may have more.
(
    ulimit -Sn 32
    run 0 convert gpt2.h5 -o many.back --shard-size 1
    exit $code
)
check "28 files written of 32 that may be open" hf same gpt2 many.back

# Of mixed types, torch_dtype is that of most elements.
cp -r gpt2 mixed
hf tensor mixed wte.weight bf16
good 1 convert mixed -o mixed.h5
good 1 convert mixed.h5 -o mixed.back
check "mixed: the same bits" hf same mixed mixed.back
check "mixed: most are f32" grep -q '"torch_dtype": "float32"' mixed.back/config.json
for name in $(hf list mixed | grep 'attn\|mlp'); do hf tensor mixed "$name" bf16; done
good 1 convert mixed -o mixed.h5 --overwrite
good 1 convert mixed.h5 -o mixed.back --overwrite
check "mixed: most are bf16" grep -q '"torch_dtype": "bfloat16"' mixed.back/config.json

# One tensor, two tensors.
rm -rf mixed
cp -r llama-tied mixed
hf tensor mixed lm_head.weight add
hf tensor mixed model.norm.weight f16
good 1 convert mixed -o mixed.h5 --overwrite
check "one of f16" grep -qx '1 tensor of f16 became f32' out
check "one left out" grep -qx '1 tensor left out' out
hf tensor mixed model.layers.0.input_layernorm.weight f16
good 1 convert mixed -o mixed.h5 --overwrite --only 'norm.gain,*.norm1.gain'
check "two of f16" grep -qx '2 tensors of f16 became f32' out
check "many left out" grep -qx '[0-9]* tensors left out' out
good 1 convert mixed -o mixed.h5 --overwrite --only norm.gain
good 1 inspect mixed.h5
check "inspect: one data set" grep -q '^1 data set, ' out
good 1 diff mixed.h5 mixed.h5
check "diff: one data set" grep -qx 'the same: 1 data set' out

# Models of cleave's own making, of both kinds, that never saw such a file.
tiny="--data text --layers 2 --width 24 --heads 4 --context 16 --batch 2 --steps 3"
# shellcheck disable=SC2086
good 2 train $tiny --save run
# shellcheck disable=SC2086
good 2 train $tiny --save run2 --mlp swiglu --norm rms --position rotary --no-bias --kv-heads 2 --tied
for run in run run2; do
    good 3 convert $run -o $run.hf --json
    check "$run: optimizer state left out" grep -q '"left_out": [1-9]' out
    agrees 2 $run text "$(hf loss $run.hf text)"
    good 2 convert $run.hf -o $run.h5
    good 2 convert $run.h5 -o $run.again
    check "$run: there and back again" hf same $run.hf $run.again
done

# ---- A part ----

good 2 convert llama -o part.h5 --only 'block.1.*,!*.mlp.*'
good 1 inspect part.h5
check "--only: what was asked for" [ "$(grep -c ' x .*block.1' out)" = 4 ]
check "--only: nothing else" [ "$(grep -c ' x ' out)" = 4 ]
good 2 convert llama.h5 -o part.hf --only 'norm*,head.weight'
check "--only: to Hugging Face" grep -q lm_head.weight part.hf/model.safetensors
check "--only: not the rest" [ "$(grep -c q_proj part.hf/model.safetensors)" = 0 ]
bad 'only: expected a pattern that some tensor fits, found nothing' 2 convert llama -o no.h5 --only nothing

# ---- What is there already ----

cp llama.h5 kept.h5
bad 'expected nothing there, found kept.h5: --overwrite' 2 convert gpt2 -o kept.h5
check "what was there stays" cmp llama.h5 kept.h5
good 2 convert gpt2 -o kept.h5 --overwrite
check "--overwrite" h5diff gpt2.h5 kept.h5
bad 'expected nothing there, found gpt2-untied/model.safetensors.index.json' 2 convert llama.h5 -o gpt2-untied
bad 'expected nothing there, found llama-tied/model.safetensors' 2 convert llama.h5 -o llama-tied
good 2 convert llama-tied.h5 -o gpt2-untied --overwrite
check "--overwrite of a folder" hf same llama-tied gpt2-untied
check "shards of the model before are gone" [ ! -e gpt2-untied/model-00001-of-00003.safetensors ]
bad 'not/there: cannot make the folder' 2 convert llama.h5 -o not/there
mkdir gpt2-untied/config.json.tmp # stands where the text is to be written
bad 'gpt2-untied/config.json: cannot write' 2 convert gpt2.h5 -o gpt2-untied --overwrite
check "the model before stays until all of the next is on the disk" hf same llama-tied gpt2-untied
check "nothing of the next is left" [ -z "$(find gpt2-untied -name '*.tmp-*')" ]
rmdir gpt2-untied/config.json.tmp
bad 'nowhere' 2 convert nowhere -o no.h5
mkdir hollow
bad 'hollow: expected a complete step-NNNNNNNN.h5, found none; and no config.json' 2 convert hollow -o no.h5
bad '-o: expected the name of a file, found the folder hollow' 2 convert gpt2 -o hollow --overwrite

# A folder is a model of theirs or a run: which of the two must not turn on what was written last.
ln -s run alias
newest=run/step-00000003.h5
for output in run alias ./run/; do
    for input in run $newest gpt2.h5; do
        bad "-o: expected a folder without checkpoints, found ${output%/}/*step-00000003.h5" 2 convert $input -o $output --overwrite
    done
done
check "a run stays a run" [ ! -e run/config.json ]
ln -s gpt2 alias-hf
for output in gpt2 alias-hf ./gpt2/; do
    bad "-o: expected a folder without config.json for step-00000001.h5, found ${output%/}: " 2 convert llama \
        -o "$output/step-00000001.h5" --overwrite
done
bad "--save: expected a folder without config.json, found gpt2: " 2 train --data text --save gpt2
check "a model stays a model" [ ! -e gpt2/step-00000001.h5 ]
good 2 convert gpt2 -o gpt2/other.h5 # no step's name
good 2 convert gpt2 -o gpt2.h5 --overwrite
rm gpt2/other.h5
cp -r run both
cp gpt2/config.json gpt2/model.safetensors both
bad 'both: expected config.json or checkpoints, found both: .*(both/step-00000003.h5)' 2 convert both -o no.h5
good 2 convert both/step-00000003.h5 -o both.hf
check "the checkpoint that was named" hf same run.hf both.hf
printf x | dd of=both/step-00000003.h5 bs=1 seek=6000 conv=notrunc 2>dd.err
bad 'both: expected config.json or checkpoints, found both' 2 convert both -o no.h5
bad 'part.h5: [0-9]* tensors are not as expected: .*token.weight is missing' 2 convert part.h5 -o no.h5

# ---- What Cleave does not compute ----

# refused PATTERN MODEL KEY=JSON...: a config.json with that in it.
refused() {
    pattern=$1 model=$2
    shift 2
    rm -rf broken
    cp -r "$model" broken
    hf config broken "$@"
    bad "broken/config.json: $pattern" 0 convert broken -o no.h5
}
refused 'model_type: expected "gpt2" "llama" .*, found "mistral"' llama model_type='"mistral"'
refused 'model_type: expected "gpt2" "llama" .*, found nothing' llama model_type=
refused 'model_type: expected "gpt2" "llama" .*, found 5' llama model_type=5
refused 'activation_function: expected .*gelu_new.*, found "relu"' gpt2 activation_function='"relu"'
refused 'scale_attn_weights: expected true .*, found false' gpt2 scale_attn_weights=false
refused 'scale_attn_by_inverse_layer_idx: expected false .*, found true' gpt2 scale_attn_by_inverse_layer_idx=true
refused 'n_head: expected an integer above 0, found 0' gpt2 n_head=0
refused '.*"heads" to divide "width" 30, found 4' gpt2 n_head=4
refused 'n_embd: expected an integer above 0, found "x"' gpt2 n_embd='"x"'
refused 'n_layer: expected an integer above 0, found nothing' gpt2 n_layer=
refused 'layer_norm_epsilon: expected a number above 0, found -1' gpt2 layer_norm_epsilon=-1
refused 'tie_word_embeddings: expected true or false, found 1' gpt2 tie_word_embeddings=1
refused 'n_ctx: expected what n_positions says, found 12' gpt2 n_ctx=12
refused 'hidden_act: expected "silu".*, found "gelu"' llama hidden_act='"gelu"'
refused 'rope_scaling: expected null .*, found {"type":"linear","factor":2.0}' llama \
    rope_scaling='{"type": "linear", "factor": 2.0}'
refused 'rope_scaling: expected null .*, found {"rope_type":"default","factor":2.0}' llama \
    rope_scaling='{"rope_type": "default", "factor": 2.0}'
refused 'rope_parameters.rope_type: expected .*"default".*, found "yarn"' llama \
    rope_parameters='{"rope_type": "yarn"}'
refused 'rope_parameters.type: expected .*"default".*, found "linear"' llama \
    rope_parameters='{"type": "linear", "factor": 2.0, "rope_theta": 500.0}'
refused 'rope_parameters.type: expected .*"default".*, found "linear"' llama \
    rope_parameters='{"rope_type": "default", "type": "linear"}'
refused 'rope_parameters.factor: expected null .*, found 8.0' llama rope_parameters='{"factor": 8.0}'
for value in '"llama3"' 5 '\[\]' false; do
    refused "rope_parameters: expected an object or null, found $value" llama rope_parameters="$(echo "$value" | tr -d '\\')"
done
refused 'rope_parameters.rope_theta: expected what rope_theta says, found 1000000.0' llama \
    rope_parameters='{"rope_theta": 1e6}'
refused 'rope_parameters.partial_rotary_factor: expected null .*, found 0.5' llama \
    rope_parameters='{"partial_rotary_factor": 0.5}' partial_rotary_factor=1.0
refused 'attention_bias: expected false .*, found true' llama attention_bias=true
refused 'mlp_bias: expected false .*, found true' llama mlp_bias=true
refused 'head_dim: expected 8, .*, found 16' llama head_dim=16
refused 'quantization_config: expected null .*, found {"bits":4}' llama quantization_config='{"bits": 4}'
echo '{"model_type": "gpt2"' >broken/config.json
bad 'broken/config.json: expected a JSON object' 0 convert broken -o no.h5
rm broken/config.json
mkdir broken/config.json
bad 'broken/config.json: expected a JSON object, found a folder' 0 convert broken -o no.h5

# The same in other words: what newer versions write, and what the defaults are.
rm -rf newer
cp -r llama newer
hf config newer rope_theta= rope_parameters='{"rope_type": "default", "rope_theta": 500.0}' \
    attention_bias= dtype='"float32"' torch_dtype=
good 0 convert newer -o newer.h5
good 0 convert newer.h5 -o newer.back
check "rope_parameters" hf same newer newer.back
agrees 2 newer.h5 text "$(hf loss llama text)"

rm -rf newer
cp -r llama newer
hf config newer rope_parameters='{"type": "default", "rope_theta": 500, "factor": null}'
good 0 convert newer -o newer.h5 --overwrite
hf config newer rope_parameters=null
good 0 convert newer -o newer.h5 --overwrite
for scaling in '{"rope_type": "default"}' '{"type": "default"}' '{"type": "default", "rope_type": "default"}'; do
    hf config newer rope_scaling="$scaling"
    good 0 convert newer -o newer.h5 --overwrite
    good 0 convert newer.h5 -o newer.back --overwrite
    check "rope_scaling $scaling" hf same newer newer.back
done

# ---- What does not fit ----

# broken PATTERN MODEL (NAME ACTION)...: tensors that are not what config.json says.
broken() {
    pattern=$1 model=$2
    shift 2
    rm -rf broken
    cp -r "$model" broken
    while [ $# -gt 0 ]; do
        hf tensor broken "$1" "$2"
        shift 2
    done
    bad "broken: $pattern" 0 convert broken -o no.h5
}
broken '1 tensor is not as expected: wpe.weight is missing' gpt2 wpe.weight drop
broken '1 tensor is .*: model.norm.weight: expected 48, found 48 x 1' llama-tied model.norm.weight flatten
broken '1 tensor is .*: extra is not part' gpt2 extra add
broken '1 tensor is .*: h.1.ln_1.bias: expected F32, F64, BF16 or F16, found U8' gpt2 h.1.ln_1.bias narrow
broken '3 tensors are .*: wte.weight is missing; wpe.weight: expected 24 x 30, found 720 x 1; x is not' gpt2 \
    wte.weight drop wpe.weight flatten x add
rm -rf broken
cp -r gpt2 broken
hf config broken n_embd=60 n_layer=2000000000
bad 'broken: expected at most 28 layers' 0 convert broken -o no.h5
hf config broken n_layer=2 n_embd=2000000000 n_head=1000000000 vocab_size=2000000000 n_inner=2000000000
bad 'wte.weight: expected 2000000000 x 2000000000, found 256 x 30' 0 convert broken -o no.h5
rm broken/model.safetensors
bad 'broken: expected model.safetensors or model.safetensors.index.json' 0 convert broken -o no.h5
rm -rf broken
cp -r gpt2 broken
for name in $(hf list broken | grep -v '^wpe.weight$'); do hf tensor broken "$name" drop; done
bad 'broken: 27 tensors are not as expected: wte.weight is missing; h.0.ln_1.weight is missing' 0 convert broken -o no.h5
hf tensor broken wpe.weight drop
bad 'broken: 28 tensors are not as expected: wte.weight is missing; wpe.weight is missing' 0 convert broken -o no.h5
rm -rf broken
cp -r llama broken
cp llama-tied/model.safetensors broken
bad 'broken: expected model.safetensors or model.safetensors.index.json, found both' 0 convert broken -o no.h5
rm broken/model.safetensors
rm broken/model-00003-of-00004.safetensors
bad 'broken/model-00003-of-00004.safetensors: cannot open' 3 convert broken -o no.h5
check "no temporary files" [ -z "$(find . -name '*.tmp-*')" ]

# ---- Memory, and crashes ----

# Two slabs of 32 MiB and what MPI takes, not the model's 210 MiB.
hf large large
check "to ours in little memory" hf peak 150 "$MPIEXEC" -n 2 "$CLEAVE" convert large -o large.h5
check "to theirs in little memory" hf peak 150 "$MPIEXEC" -n 2 "$CLEAVE" convert large.h5 -o f32
check "large: there and back" hf same large f32

# Killed at any moment while one model replaces another in the same folder: what is there afterwards
# is one of the two, or is refused.
good 2 convert large.h5 -o bf16 --dtype bf16 --shard-size 40M
check "large: as bf16" hf rounded large bf16
good 2 convert large.h5 -o target
whole=0 refused=0 dtype=f32
for moment in 1 2 3 4 5 6; do
    case $dtype in f32) dtype=bf16 size=40M ;; *) dtype=f32 size=0 ;; esac
    "$MPIEXEC" -n 2 "$CLEAVE" convert large.h5 -o target --dtype $dtype --shard-size $size --overwrite \
        >out 2>err </dev/null &
    pid=$!
    sleep "0.$moment"
    kill -9 $pid 2>err
    wait $pid 2>err
    sleep 0.2 # the system ends its ranks
    rm -f probe.h5
    run 2 convert target -o probe.h5
    if [ $code = 0 ]; then
        whole=$((whole + 1))
        check "after a crash: one of two models" eval 'hf same f32 target 2>err || hf same bf16 target'
    else
        refused=$((refused + 1))
        check "after a crash: refused" grep -q target err
    fi
done
echo "crashes: $whole whole, $refused refused"
good 2 convert large.h5 -o target --overwrite
check "after crashes: whole again" hf same f32 target
check "after crashes: nothing left behind" [ "$(find target -type f | wc -l)" = 2 ]

[ $failures = 0 ] || echo "$failures of $checks checks failed"
echo "DONE convert.sh: $checks checks"
[ $failures = 0 ]
