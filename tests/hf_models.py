# SPDX-License-Identifier: BSD-3-Clause
#
# hf_models.py: models as Hugging Face writes them, made by plain PyTorch and bytes put together here,
# so that nothing of Cleave's is its own judge. Called by convert.sh:
#
#     hf_models.py make DIR             random models, one a folder, and a text
#     hf_models.py names                theirs, and of each what --data is to be (text or tokens.h5)
#     hf_models.py loss DIR DATA        the loss of a model, in f64
#     hf_models.py same A B             the tensors of two folders have the same bits; f16 of A, of which
#                                       there is none in B, the same values; config.json says the same
#     hf_models.py rounded A B          B has A's tensors of f32 as bf16, to nearest even
#     hf_models.py config DIR KEY=JSON...   changes DIR/config.json (KEY= takes it away)
#     hf_models.py tensor DIR NAME ACTION   changes a tensor: drop, add, flatten, narrow; f16, bf16:
#                                       its elements of f32 become that; 0x...: become these bits
#     hf_models.py list DIR             the names of its tensors
#     hf_models.py peak MIB COMMAND...  runs it; fails if one of its processes held more
#     hf_models.py large DIR            a model of 210 MiB, of random bytes
import json
import os
import struct
import subprocess
import sys

import numpy as np

CONTEXT = 24
TEXT = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the "
    "age of foolishness, it was the epoch of belief, it was the epoch of incredulity. \u00e9\u4e2d\n"
).encode() * 3


# ---- Files, by hand ---------------------------------------------------------------------


def write_file(path, tensors, metadata=True):
    """tensors: name -> (type, shape, bytes)"""
    header, at = {"__metadata__": {"format": "pt"}} if metadata else {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def write_model(folder, config, tensors, shards=1):
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/config.json", "w") as file:
        json.dump(config, file, indent=2)
    if shards == 1:
        write_file(folder + "/model.safetensors", tensors)
        return
    names, where = list(tensors), {}
    for s in range(shards):
        name = f"model-{s + 1:05}-of-{shards:05}.safetensors"
        mine = {key: tensors[key] for key in names[s::shards]}
        write_file(f"{folder}/{name}", mine, metadata=s == 0)
        where.update(dict.fromkeys(mine, name))
    size = sum(len(data) for _, _, data in tensors.values())
    with open(folder + "/model.safetensors.index.json", "w") as file:
        index = {"metadata": {"total_size": size}, "weight_map": where}
        file.write(json.dumps(index, indent=2, sort_keys=True) + "\n")  # as transformers does


def read_file(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        values = file.read()
    header.pop("__metadata__", None)
    return {
        name: (entry["dtype"], tuple(entry["shape"]), values[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def read_model(folder):
    index = folder + "/model.safetensors.index.json"
    if not os.path.exists(index):
        return read_file(folder + "/model.safetensors")
    with open(index) as file:
        where = json.load(file)["weight_map"]
    tensors = {}
    for name in sorted(set(where.values())):
        part = read_file(f"{folder}/{name}")
        assert all(where[key] == name for key in part), name
        tensors.update(part)
    assert tensors.keys() == where.keys()
    return tensors


# ---- Models, in PyTorch ---------------------------------------------------------------------


def gpt2_loss(torch, config, w, ids, targets):
    """Radford et al. 2019: norms first, gelu_new, Conv1D (x @ weight + bias)."""
    from torch.nn import functional as F

    width, heads, eps = config["n_embd"], config["n_head"], config["layer_norm_epsilon"]

    def norm(x, name):
        return F.layer_norm(x, (width,), w[name + ".weight"], w[name + ".bias"], eps)

    def product(x, name):
        return x @ w[name + ".weight"] + w[name + ".bias"]

    def gelu_new(x):
        return 0.5 * x * (1 + torch.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))

    windows, length = ids.shape
    mask = torch.full((length, length), float("-inf"), dtype=torch.float64).triu(1)
    x = w["wte.weight"][ids] + w["wpe.weight"][:length]
    for layer in range(config["n_layer"]):
        h = f"h.{layer}."
        parts = product(norm(x, h + "ln_1"), h + "attn.c_attn").split(width, dim=2)
        q, k, v = (p.view(windows, length, heads, -1).transpose(1, 2) for p in parts)
        scores = q @ k.transpose(2, 3) / (width // heads) ** 0.5 + mask
        y = (scores.softmax(3) @ v).transpose(1, 2).reshape(windows, length, width)
        x = x + product(y, h + "attn.c_proj")
        x = x + product(gelu_new(product(norm(x, h + "ln_2"), h + "mlp.c_fc")), h + "mlp.c_proj")
    head = w["wte.weight"] if config.get("tie_word_embeddings", True) else w["lm_head.weight"]
    return F.cross_entropy((norm(x, "ln_f") @ head.T).flatten(0, 1), targets.flatten())


def llama_loss(torch, config, w, ids, targets):
    """Touvron et al. 2023: RMS norm, rotary positions of halves, grouped queries, SwiGLU."""
    from torch.nn import functional as F

    width, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads, d = config.get("num_key_value_heads") or heads, width // heads
    windows, length = ids.shape

    def norm(x, name):
        square = x.pow(2).mean(-1, keepdim=True)
        return w[name + ".weight"] * x * torch.rsqrt(square + config["rms_norm_eps"])

    def product(x, name):
        return x @ w[name + ".weight"].T

    inverse = config.get("rope_theta", 10000.0) ** (-torch.arange(0, d, 2).double() / d)
    angles = torch.outer(torch.arange(length).double(), inverse)
    angles = torch.cat((angles, angles), dim=1)

    def rotate(x):
        half = torch.cat((-x[..., d // 2 :], x[..., : d // 2]), dim=-1)
        return x * angles.cos() + half * angles.sin()

    def split(x, count):
        return x.view(windows, length, count, d).transpose(1, 2)

    mask = torch.full((length, length), float("-inf"), dtype=torch.float64).triu(1)
    x = w["embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        h = f"layers.{layer}."
        n = norm(x, h + "input_layernorm")
        q = rotate(split(product(n, h + "self_attn.q_proj"), heads))
        k = rotate(split(product(n, h + "self_attn.k_proj"), kv_heads))
        v = split(product(n, h + "self_attn.v_proj"), kv_heads)
        k, v = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (k, v))
        scores = q @ k.transpose(2, 3) / d**0.5 + mask
        y = (scores.softmax(3) @ v).transpose(1, 2).reshape(windows, length, width)
        x = x + product(y, h + "self_attn.o_proj")
        n = norm(x, h + "post_attention_layernorm")
        gate = F.silu(product(n, h + "mlp.gate_proj")) * product(n, h + "mlp.up_proj")
        x = x + product(gate, h + "mlp.down_proj")
    tied = config.get("tie_word_embeddings", False)
    head = w["embed_tokens.weight"] if tied else w["lm_head.weight"]
    return F.cross_entropy((norm(x, "norm") @ head.T).flatten(0, 1), targets.flatten())


def gpt2_shapes(config):
    width, hidden = config["n_embd"], config.get("n_inner") or 4 * config["n_embd"]
    yield "wte.weight", (config["vocab_size"], width)
    yield "wpe.weight", (config["n_positions"], width)
    for layer in range(config["n_layer"]):
        h = f"h.{layer}."
        for name, shape in (
            ("ln_1", (width,)), ("attn.c_attn", (width, 3 * width)), ("attn.c_proj", (width, width)),
            ("ln_2", (width,)), ("mlp.c_fc", (width, hidden)), ("mlp.c_proj", (hidden, width)),
        ):
            yield f"{h}{name}.weight", shape
            yield f"{h}{name}.bias", shape[-1:]
    yield "ln_f.weight", (width,)
    yield "ln_f.bias", (width,)
    if not config.get("tie_word_embeddings", True):
        yield "lm_head.weight", (config["vocab_size"], width)


def llama_shapes(config):
    width, hidden = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    kv = (config.get("num_key_value_heads") or heads) * (width // heads)
    yield "embed_tokens.weight", (config["vocab_size"], width)
    for layer in range(config["num_hidden_layers"]):
        h = f"layers.{layer}."
        for name, shape in (
            ("input_layernorm", (width,)), ("self_attn.q_proj", (width, width)),
            ("self_attn.k_proj", (kv, width)), ("self_attn.v_proj", (kv, width)),
            ("self_attn.o_proj", (width, width)), ("post_attention_layernorm", (width,)),
            ("mlp.gate_proj", (hidden, width)), ("mlp.up_proj", (hidden, width)),
            ("mlp.down_proj", (width, hidden)),
        ):
            yield f"{h}{name}.weight", shape
    yield "norm.weight", (width,)
    if not config.get("tie_word_embeddings", False):
        yield "lm_head.weight", (config["vocab_size"], width)


GPT2 = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": 2, "n_embd": 30,
    "n_head": 5, "n_positions": CONTEXT, "n_inner": None, "vocab_size": 256,
    "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "bos_token_id": 7,
    "attn_pdrop": 0.1, "scale_attn_weights": True,
}
LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2,
    "hidden_size": 48, "intermediate_size": 71, "num_attention_heads": 6,
    "max_position_embeddings": CONTEXT, "vocab_size": 256, "hidden_act": "silu",
    "rms_norm_eps": 1e-06, "rope_scaling": None, "attention_bias": False, "torch_dtype": "float32",
}
# name -> configuration, prefix of names, type, number of files, vocabulary of HDF5 tokens or 0
MODELS = {
    "gpt2": (GPT2, "", "F32", 1, 0),
    "gpt2-untied": (
        {**GPT2, "tie_word_embeddings": False, "n_inner": 77, "layer_norm_epsilon": 3e-3,
         "vocab_size": 307},
        "transformer.", "F32", 3, 307,
    ),
    "gpt2-f16": ({**GPT2, "n_head": 1, "n_layer": 1}, "transformer.", "F16", 1, 0),
    "llama": (
        {**LLAMA, "num_key_value_heads": 2, "rope_theta": 500.0, "tie_word_embeddings": False},
        "model.", "F32", 4, 0,
    ),
    "llama-tied": (
        {**LLAMA, "tie_word_embeddings": True, "head_dim": 8, "rms_norm_eps": 2e-3}, "model.", "F32",
        1, 0,
    ),
    "llama-bf16": ({**LLAMA, "num_key_value_heads": 1, "vocab_size": 401}, "", "BF16", 2, 401),
    "llama-f64": ({**LLAMA, "num_key_value_heads": 3}, "model.", "F64", 1, 0),
}


# What older files hold besides: masks, and a head that is tied.
IGNORED = ("transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias", "lm_head.weight")


def make(folder):
    import h5py
    import torch

    types = {"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}
    with open(folder + "/text", "wb") as file:
        file.write(TEXT)
    for seed, (name, (config, prefix, dtype, shards, vocabulary)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        shapes = (gpt2_shapes if config["model_type"] == "gpt2" else llama_shapes)(config)
        tensors = {}
        for key, shape in shapes:
            centre = 1.0 if len(shape) == 1 and key.endswith("weight") else 0.0
            value = (centre + 0.2 * torch.randn(shape)).to(types[dtype])
            data = value.view(torch.int16) if value.element_size() == 2 else value
            whole = key if key == "lm_head.weight" else prefix + key
            tensors[whole] = (dtype, shape, data.numpy().tobytes())
        if dtype == "F16":
            tensors[IGNORED[0]] = ("U8", (1, 1, 4, 4), bytes(16))
            tensors[IGNORED[1]] = ("F32", (), bytes(4))
            tensors[IGNORED[2]] = tensors["transformer.wte.weight"]
        write_model(f"{folder}/{name}", config, tensors, shards)
        if vocabulary:
            ids = np.frombuffer(TEXT, np.uint8).astype(np.int64)
            ids = (ids * 7 + np.arange(len(ids)) * 13) % vocabulary
            with h5py.File(f"{folder}/{name}/tokens.h5", "w") as file:
                file["tokens"] = ids.astype(np.uint16)


def values_of(torch, dtype, shape, data):
    """A tensor in f64."""
    if dtype == "BF16":
        bits = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        array = bits.view(np.float32)
    else:
        array = np.frombuffer(data, {"F32": np.float32, "F64": np.float64, "F16": np.float16}[dtype])
    return torch.from_numpy(array.astype(np.float64).reshape(shape))


def loss_of(folder, data):
    import h5py
    import torch

    torch.set_num_threads(1)
    with open(folder + "/config.json") as file:
        config = json.load(file)
    gpt2 = config["model_type"] == "gpt2"
    prefix = "transformer." if gpt2 else "model."
    weights = {
        name[len(prefix) :] if name.startswith(prefix) else name: values_of(torch, *tensor)
        for name, tensor in read_model(folder).items()
        if tensor[0] != "U8"
    }
    if h5py.is_hdf5(data):
        ids = h5py.File(data)["tokens"][()]
    else:
        ids = np.fromfile(data, np.uint8)
    ids = torch.from_numpy(ids.astype(np.int64))
    context = config["n_positions" if gpt2 else "max_position_embeddings"]
    windows = (len(ids) - 1) // context
    x = ids[: windows * context].view(windows, context)
    y = ids[1 : windows * context + 1].view(windows, context)
    return float((gpt2_loss if gpt2 else llama_loss)(torch, config, weights, x, y))


def same(a, b):
    first, second = read_model(a), read_model(b)
    if any(dtype == "F16" for dtype, _, _ in first.values()):
        first = {
            name: ("F32", shape, np.frombuffer(data, np.float16).astype(np.float32).tobytes())
            for name, (dtype, shape, data) in first.items()
            if name not in IGNORED
        }
    assert first.keys() == second.keys(), (set(first) ^ set(second))
    for name in first:
        assert first[name] == second[name], (name, first[name][:2], second[name][:2])
    with open(a + "/config.json") as file, open(b + "/config.json") as other:
        old, new = json.load(file), json.load(other)
    assert old.keys() <= new.keys(), (old, new)
    for key in old:
        assert key == "torch_dtype" or new[key] == old[key], (key, old[key], new[key])


def rounded(a, b):
    first, second = read_model(a), read_model(b)
    assert first.keys() == second.keys(), (set(first) ^ set(second))
    for name in first:
        assert second[name][:2] == ("BF16", first[name][1]), (name, first[name][:2], second[name][:2])
        x = np.frombuffer(first[name][2], np.uint32)
        y = np.frombuffer(second[name][2], np.uint16)
        nearest = (x + (np.uint32(0x7FFF) + ((x >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
        is_nan = (x & np.uint32(0x7FFFFFFF)) > 0x7F800000
        assert np.array_equal((y & 0x7FFF) > 0x7F80, is_nan), name
        assert np.array_equal(y[~is_nan], nearest[~is_nan]), name


def change_config(folder, changes):
    path = folder + "/config.json"
    with open(path) as file:
        config = json.load(file)
    for change in changes:
        key, _, value = change.partition("=")
        config.pop(key, None)
        if value:
            config[key] = json.loads(value)
    with open(path, "w") as file:
        json.dump(config, file)


def change_tensor(folder, name, action):
    path = folder + "/model.safetensors"
    tensors = read_file(path)
    dtype, shape, data = tensors.get(name, ("F32", (2, 2), bytes(16)))
    if action == "drop":
        del tensors[name]
    elif action == "add":
        tensors[name] = (dtype, shape, data)
    elif action == "flatten":
        tensors[name] = (dtype, (int(np.prod(shape)), 1), data)
    elif action == "narrow":
        tensors[name] = ("U8", shape, data[: int(np.prod(shape))])
    elif action == "f16":
        tensors[name] = ("F16", shape, np.frombuffer(data, np.float32).astype(np.float16).tobytes())
    elif action == "bf16":
        tensors[name] = ("BF16", shape, np.frombuffer(data, np.uint16)[1::2].tobytes())
    elif action.startswith("0x"):
        tensors[name] = (dtype, shape, struct.pack("<I", int(action, 16)) * int(np.prod(shape)))
    write_file(path, tensors)


def large(folder):
    config = {**LLAMA, "num_hidden_layers": 1, "hidden_size": 2048, "intermediate_size": 5504, "num_attention_heads": 16,
              "num_key_value_heads": 4, "vocab_size": 4096, "tie_word_embeddings": True}
    random = np.random.default_rng(1)  # zeros would be what is never written, too
    write_model(folder, config, {
        "model." + name: ("F32", shape, random.bytes(4 * int(np.prod(shape))))
        for name, shape in llama_shapes(config)
    })


def peak(most, command):
    import resource

    code = subprocess.run(command).returncode
    found = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak {found:.0f} MiB of {most}")
    return code or found > most


if __name__ == "__main__":
    action, *words = sys.argv[1:]
    if action == "make":
        make(words[0])
    elif action == "same":
        same(*words)
    elif action == "rounded":
        rounded(*words)
    elif action == "names":
        for name, model in MODELS.items():
            print(name, f"{name}/tokens.h5" if model[4] else "text")
    elif action == "loss":
        print(loss_of(*words))
    elif action == "config":
        change_config(words[0], words[1:])
    elif action == "tensor":
        change_tensor(*words)
    elif action == "list":
        print(*read_model(words[0]), sep="\n")
    elif action == "large":
        large(words[0])
    elif action == "peak":
        sys.exit(peak(int(words[0]), words[1:]))
