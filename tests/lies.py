"""Every way in which a weight folder can lie that files and headers show.

Each is a mutation of what `write_falcon` writes, with the rule that reports it and the file that it
is in. `ERRORS` stop every verb; `WARNINGS` are printed.
"""
# ruff: noqa: E501  # a lie is a line

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.weight_folders import (
    CONFIG,
    FIRST,
    GENERATION,
    INDEX,
    SECOND,
    SINGLE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VOCABULARY,
    Apply,
    add,
    as_refined_web,
    edit_json,
    header_of,
    read_tensors,
    renamed,
    split,
    tensor,
    write_falcon,
    write_json,
    write_shard,
    write_tensors,
)
from vacc_gen.schema.falcon import EMBEDDING, HEAD

QKV = "transformer.h.0.self_attention.query_key_value"
LORA = "transformer.h.0.self_attention.dense.lora_A.weight"
LAST = "transformer.ln_f.bias"


class Lie(NamedTuple):
    """`apply` makes a sound folder lie; `code` is reported in `file` with `words` in it."""

    name: str
    apply: Apply
    code: str
    file: str
    words: str


def config(**changes: Any) -> Apply:
    return lambda folder: edit_json(folder / CONFIG, **changes)


def falcon(variant: str, **changes: Any) -> Apply:
    """Write the tensors of `variant`, and `changes` in its config.json."""
    return lambda folder: edit_json(write_falcon(folder, variant) / CONFIG, **changes)


def text(file: str, content: str | bytes) -> Apply:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / file).write_bytes(data)


def config_text(old: str, new: str) -> Apply:
    """Replace a part of config.json as it is written."""

    def apply(folder: Path) -> None:
        written = (folder / CONFIG).read_text()
        assert old in written
        (folder / CONFIG).write_text(written.replace(old, new, 1))

    return apply


def in_place_of(file: str, make: Apply) -> Apply:
    return lambda folder: ((folder / file).unlink(), make(folder / file))


def sharded(change: Apply) -> Apply:
    return lambda folder: change(split(folder))


def index(change: Callable[[dict[str, str]], Any]) -> Apply:
    """Change the weight map of an index."""

    def apply(folder: Path) -> None:
        weight_map = json.loads((split(folder) / INDEX).read_text())["weight_map"]
        change(weight_map)
        write_json(folder / INDEX, {"weight_map": weight_map})

    return apply


def header(change: Callable[[dict[str, Any]], Any], name: str = EMBEDDING) -> Apply:
    """Change a record of the header."""

    def apply(folder: Path) -> None:
        tensors = read_tensors(folder / SINGLE)
        records = header_of(tensors)
        change(records[name])
        data = b"".join(data for _, _, data in tensors.values())
        write_shard(folder / SINGLE, json.dumps(records).encode(), data)

    return apply


def cut(file: str) -> Apply:
    return lambda folder: os.truncate(folder / file, (folder / file).stat().st_size - 7)


def tokens(**changes: Any) -> Apply:
    return lambda folder: edit_json(folder / TOKENIZER, **changes)


def model(**changes: Any) -> Apply:
    return tokens(model={"type": "BPE", "vocab": {"a": 0}, "merges": [], **changes})


LINEAR = {"type": "linear", "factor": 2.0}
FLAGS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
IM_START = {"id": VOCABULARY, "content": "<|im_start|>", **FLAGS}
ERRORS = [
    # JSON files
    Lie("nested", text(CONFIG, '{"a":' * 100_000), "VG920", CONFIG, "recursion limit"),
    Lie("nested-500", text(TOKENIZER, '{"a":' * 500 + "1" + "}" * 500), "VG920", TOKENIZER, "recursion limit"),
    Lie("latin-1", text(CONFIG, b'{"a": "\xe9"}'), "VG920", CONFIG, "invalid unicode"),
    Lie("surrogate-value", config_text('"falcon"', r'"falcon", "a": "\ud800"'), "VG920", CONFIG, "hex escape"),
    Lie("surrogate-key", text(GENERATION, r'{"\udfff": 1}'), "VG920", GENERATION, "surrogate in hex escape"),
    Lie("digits-5000", config_text("80", "8" * 5000), "VG920", CONFIG, "number out of range"),
    Lie("pointer", text(TOKENIZER, "version https://git-lfs.github.com/spec/v1\noid 0"), "VG920", TOKENIZER, "a pointer of Git LFS"),
    Lie("tokenizer-nan", text(TOKENIZER, '{"model": {"type": "Unigram", "vocab": [["a", NaN]]}}'), "VG920", TOKENIZER, "expected value"),
    Lie("config-fifo", in_place_of(CONFIG, os.mkfifo), "VG920", CONFIG, "not a regular file"),
    Lie("config-device", in_place_of(CONFIG, lambda at: at.symlink_to("/dev/zero")), "VG920", CONFIG, "not a regular file"),
    Lie("config-loop", in_place_of(CONFIG, lambda at: at.symlink_to(at)), "VG920", CONFIG, "cannot be read"),
    Lie("config-link", in_place_of(CONFIG, lambda at: at.symlink_to("nowhere")), "VG920", CONFIG, "a link to nothing"),
    Lie("tokenizer-folder", in_place_of(TOKENIZER, Path.mkdir), "VG920", TOKENIZER, "not a regular file"),
    Lie("tokenizer-broken", text(TOKENIZER, "{"), "VG920", TOKENIZER, "not valid JSON"),
    Lie("index-broken", sharded(text(INDEX, "[]")), "VG920", INDEX, "not an object"),
    # files of weights
    Lie("config-missing", lambda at: (at / CONFIG).unlink(), "VG925", CONFIG, "config.json"),
    Lie("truncated", cut(SINGLE), "VG925", SINGLE, "is truncated"),
    *(Lie(f"truncated-to-{size}", lambda at, size=size: os.truncate(at / SINGLE, size), "VG925", SINGLE, "is truncated") for size in (0, 7, 100)),
    Lie("shard-pointer", text(SINGLE, "version https://git-lfs.github.com/spec/v1\noid 0"), "VG925", SINGLE, "a pointer of Git LFS"),
    Lie("truncated-shard", sharded(cut(SECOND)), "VG925", INDEX, f"{SECOND} is truncated"),
    Lie("shard-missing", sharded(lambda at: (at / SECOND).unlink()), "VG925", INDEX, f"{SECOND} is not there"),
    Lie("shards-missing", sharded(lambda at: [(at / file).unlink() for file in (FIRST, SECOND)]), "VG925", INDEX, "and 1 more"),
    Lie("no-weights", lambda at: (at / SINGLE).unlink(), "VG929", CONFIG, "holds no weights"),
    Lie("fifo", in_place_of(SINGLE, os.mkfifo), "VG925", SINGLE, "not a regular file"),
    Lie("folder", in_place_of(SINGLE, Path.mkdir), "VG925", SINGLE, "not a regular file"),
    Lie("link-to-nothing", in_place_of(SINGLE, lambda at: at.symlink_to("nowhere")), "VG925", SINGLE, "cannot be read"),
    Lie("only-pickle", lambda at: (at / SINGLE).rename(at / "pytorch_model.bin"), "VG925", "pytorch_model.bin", "only pickle"),
    Lie("two-sets", lambda at: (shutil.copy(at / SINGLE, at / "x"), split(at), (at / "x").rename(at / SINGLE)), "VG925", SINGLE, "two sets"),
    Lie("twice", sharded(lambda at: write_tensors(at / SECOND, {**read_tensors(at / SECOND), EMBEDDING: tensor(VOCABULARY, 80)})), "VG925", INDEX, f"differ in {EMBEDDING}"),
    Lie("copy-of-a-shard", sharded(lambda at: (shutil.copy(at / FIRST, at / "copy.safetensors"), (at / INDEX).unlink())), "VG925", FIRST, f"is in copy.safetensors and in {FIRST}, and 6 more"),
    Lie("index-lacks", index(lambda names: names.pop(EMBEDDING)), "VG925", INDEX, f"differ in {EMBEDDING}"),
    Lie("index-invents", index(lambda names: names.update({HEAD: FIRST})), "VG925", INDEX, f"differ in {HEAD}"),
    Lie("index-up", index(lambda names: names.update({HEAD: "../x.safetensors"})), "VG925", INDEX, "not a file of this folder"),
    Lie("index-absolute", index(lambda names: names.update({HEAD: "/etc/passwd"})), "VG925", INDEX, "not a file of this folder"),
    Lie("index-nul", index(lambda names: names.update({HEAD: "a\0b"})), "VG925", INDEX, "is not there"),
    Lie("index-empty", index(lambda names: names.update({HEAD: ""})), "VG925", INDEX, "'' is not a file of this folder"),
    Lie("index-null", sharded(text(INDEX, '{"weight_map": null}')), "VG925", INDEX, "`weight_map`"),
    Lie("index-of-numbers", index(lambda names: names.update({HEAD: 1})), "VG925", INDEX, "`weight_map`"),
    Lie("header-length", text(SINGLE, struct.pack("<Q", 1 << 63) + b"{}"), "VG925", SINGLE, "a header of 9223372036854775808 bytes"),
    Lie("header-nested", lambda at: write_shard(at / SINGLE, b'{"w":' * 100_000, b""), "VG925", SINGLE, "recursion limit"),
    Lie("header-surrogate", lambda at: write_shard(at / SINGLE, rb'{"\ud800":{}}', b""), "VG925", SINGLE, "hex escape"),
    Lie("gap", lambda at: write_shard(at / SINGLE, b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', bytes(8)), "VG925", SINGLE, "w does not begin where"),
    Lie("overlap", header(lambda w: w.update(shape=[132, 80], data_offsets=[0, 132 * 160])), "VG925", SINGLE, "does not begin where"),
    Lie("out-of-range", header(lambda w: w.update(dtype="U8", shape=[1 << 60], data_offsets=[0, 1 << 60]), LAST), "VG925", SINGLE, "does not begin where"),
    Lie("negative", header(lambda w: w.update(shape=[-1, -80])), "VG925", SINGLE, "is damaged"),
    Lie("true-as-number", header(lambda w: w.update(shape=[True, 80])), "VG925", SINGLE, "is damaged"),
    Lie("product", header(lambda w: w.update(shape=[(1 << 62) + 1] * 50_000)), "VG925", SINGLE, "is damaged"),
    Lie("dtype", header(lambda w: w.update(dtype="Q9")), "VG925", SINGLE, "of an unknown dtype"),
    Lie("adapter-file-alone", lambda at: (at / SINGLE).rename(at / "adapter_model.safetensors"), "VG925", "adapter_model.safetensors", "an adapter alone"),
    Lie("adapter-alone", lambda at: [(at / a).rename(at / b) for a, b in ((SINGLE, "adapter_model.safetensors"), (CONFIG, "adapter_config.json"))], "VG925", "adapter_config.json", "an adapter alone"),
    # quantized, not merged
    *(Lie(method, config(quantization_config={"quant_method": method}), "VG926", CONFIG, f"quantized: {method}") for method in ("gptq", "awq", "bitsandbytes", "fp8")),
    Lie("8-bit", config(quantization_config={"load_in_8bit": True}), "VG926", CONFIG, "load_in_8bit"),
    Lie("compressed", config(compression_config={"quant_method": "compressed-tensors"}), "VG926", CONFIG, "compressed-tensors"),
    Lie("qweight", add(f"{QKV}.qweight", 8, 8), "VG926", SINGLE, "quantized"),
    Lie("fp8-tensors", lambda at: write_tensors(at / SINGLE, {**read_tensors(at / SINGLE), f"{QKV}.weight": ("F8_E4M3", [112, 80], bytes(8960))}), "VG926", SINGLE, "F8_E4M3"),
    # config.json by itself
    *(Lie(f"{key}-scaling", config(**{key: value}), "VG927", CONFIG, "rope scaling") for key, value in (
        ("rope_scaling", LINEAR), ("rope_parameters", LINEAR), ("rope_scaling", {"rope_type": "yarn"}), ("rope_parameters", {"rope_type": "default", "type": "dynamic"}),
        ("rope_scaling", {"factor": 4.0}), ("rope_parameters", {"full_attention": {"rope_type": "linear"}}), ("rope_parameters", {"partial_rotary_factor": 0.5}))),
    Lie("scaling-beside", config(rope_parameters={"rope_type": "default", "rope_theta": 1e4}, rope_scaling=LINEAR), "VG927", CONFIG, "'linear' is not supported"),
    Lie("scaling-text", config(rope_scaling="linear"), "VG927", CONFIG, "rope scaling 'linear'"),
    Lie("two-thetas", config(rope_theta=1e4, rope_parameters={"rope_theta": 5e5}), "VG927", CONFIG, "rope_theta is"),
    *(Lie(f"theta-{name}", config_text('"rope_scaling"', f'"rope_theta": {theta}, "rope_scaling"'), "VG927", CONFIG, "rope_theta is") for name, theta in (
        ("digits-400", "9" * 400), ("infinite", "Infinity"), ("1e999", "1e999"), ("text", '"10000"'), ("true", "true"), ("null", "null"))),
    Lie("eps-zero", config(layer_norm_epsilon=0), "VG927", CONFIG, "layer_norm_epsilon is 0, and must be greater than 0"),
    Lie("eps-nan", config(layer_norm_epsilon=float("nan")), "VG927", CONFIG, "layer_norm_epsilon is nan"),
    *(Lie(f"layers-{value}", config(num_hidden_layers=value), "VG927", CONFIG, "num_hidden_layers is") for value in ("2", True, -1, 0, 2.0, 10**30)),
    Lie("hidden-negative", config(hidden_size=-(10**300)), "VG927", CONFIG, "hidden_size is"),
    Lie("heads-do-not-divide", config(num_attention_heads=7), "VG927", CONFIG, "not a multiple"),
    Lie("kv-heads-do-not-divide", falcon("40b", num_kv_heads=4), "VG927", CONFIG, "do not divide"),
    Lie("flag-text", config(new_decoder_architecture="false"), "VG927", CONFIG, "must be a valid boolean"),
    Lie("multi-query-null", config(multi_query=None), "VG927", CONFIG, "multi_query is None, and must be a valid boolean"),
    Lie("not-parallel", falcon("40b", parallel_attn=False), "VG927", CONFIG, "needs parallel_attn"),
    Lie("multi-query-text", config(multi_query="yes"), "VG927", CONFIG, "must be a valid boolean"),
    Lie("multi-head-kv", falcon("rw", num_kv_heads=1), "VG927", CONFIG, "num_kv_heads is 1"),
    Lie("kv-text", config(num_kv_heads="5"), "VG927", CONFIG, "num_kv_heads is '5'"),
    Lie("refined-web-model", lambda at: (write_falcon(at, "40b"), as_refined_web(at, "RefinedWebModel")), "VG927", CONFIG, "n_head_kv is 2"),
    Lie("norms", falcon("40b", num_ln_in_parallel_attn=3), "VG927", CONFIG, "num_ln_in_parallel_attn is 3"),
    Lie("norms-of-7b", config(num_ln_in_parallel_attn=2), "VG927", CONFIG, "num_ln_in_parallel_attn is 2"),
    Lie("odd-heads", config(num_attention_heads=16, num_kv_heads=16), "VG927", CONFIG, "rotated in pairs"),
    Lie("activation", config(activation=["gelu"]), "VG927", CONFIG, "activation"),
    Lie("classifier-class", config(architectures=["FalconForSequenceClassification"]), "VG927", CONFIG, "writes no text"),
    Lie("no-model-type", config(model_type=None), "VG927", CONFIG, "model_type is"),
    Lie("other-model-type", config(model_type="llama"), "VG927", CONFIG, "model_type is"),
    # config.json against tensors
    Lie("too-many-layers", config(num_hidden_layers=3), "VG928", CONFIG, "asks for 3 layers, the weights hold 2"),
    Lie("too-few-layers", config(num_hidden_layers=1), "VG928", CONFIG, "asks for 1 layers, the weights hold 2"),
    Lie("million-layers", config(num_hidden_layers=10**9), "VG928", CONFIG, "the weights hold 2"),
    Lie("width", config(hidden_size=160), "VG928", CONFIG, "has shape [131, 80]"),
    Lie("vocabulary", config(vocab_size=256), "VG928", CONFIG, "asks for [256, 80]"),
    Lie("ffn", falcon("11b", ffn_hidden_size=256), "VG928", CONFIG, "mlp.dense_h_to_4h"),
    Lie("kv-heads", falcon("40b", num_kv_heads=3), "VG928", CONFIG, "query_key_value.weight has shape"),
    Lie("multi-head", config(multi_query=False), "VG928", CONFIG, "query_key_value.weight has shape"),
    Lie("kind", falcon("40b", num_ln_in_parallel_attn=1), "VG928", CONFIG, "input_layernorm"),
    Lie("biases-missing", config(bias=True), "VG928", CONFIG, ".bias"),
    Lie("biases-unused", falcon("rw", bias=False), "VG928", CONFIG, "not used"),
    Lie("tensor-missing", lambda at: write_tensors(at / SINGLE, {k: v for k, v in read_tensors(at / SINGLE).items() if k != f"{QKV}.weight"}), "VG928", CONFIG, f"missing: {QKV}.weight"),
    Lie("tensor-unused", add("v_head.summary.weight", 1, 80), "VG928", SINGLE, "not used"),
    Lie("classifier", add("score.weight", 3, 80), "VG928", SINGLE, "a classifier's head"),
    Lie("head-missing", config(tie_word_embeddings=False), "VG928", CONFIG, HEAD),
    Lie("other-head", add(HEAD, VOCABULARY, 80, seed=1), "VG928", CONFIG, "ties it to"),
    Lie("head-of-other-shape", add(HEAD, VOCABULARY + 1, 80), "VG928", CONFIG, HEAD),
    Lie("peft-names", lambda at: renamed(at, lambda name: f"base_model.model.{name}"), "VG928", SINGLE, "a merged model is needed"),
    Lie("lora", add(LORA, 4, 80), "VG928", SINGLE, "a merged model is needed"),
    Lie("ddp-names", lambda at: renamed(at, lambda name: f"module.{name}"), "VG928", CONFIG, "the tensors are not: module.transformer"),
    Lie("other-model", lambda at: write_tensors(at / SINGLE, {"model.norm.weight": tensor(80)}), "VG928", CONFIG, "the tensors are not: model.norm.weight"),
    Lie("no-tensors", lambda at: write_tensors(at / SINGLE, {}), "VG928", CONFIG, "hold no tensors"),
    Lie("no-tensors-indexed", sharded(text(INDEX, '{"weight_map": {}}')), "VG928", CONFIG, "hold no tensors"),
    Lie("both-names", add("ln_f.weight", 80), "VG928", SINGLE, "stored twice"),
    Lie("doubles", lambda at: write_tensors(at / SINGLE, {**read_tensors(at / SINGLE), "transformer.ln_f.weight": ("F64", [80], bytes(640))}), "VG928", SINGLE, "stored as F64"),
    # tokenizer
    Lie("tokenizer-missing", lambda at: (at / TOKENIZER).unlink(), "VG930", TOKENIZER, "missing"),
    Lie("id-beyond", tokens(added_tokens=[IM_START]), "VG930", TOKENIZER, "has the id 131"),
    Lie("id-in-vocabulary", model(vocab={"a": 0, "b": 131}), "VG930", TOKENIZER, "has the id 131"),
    Lie("id-negative", model(vocab={"a": -1}), "VG930", TOKENIZER, "has the id -1"),
    Lie("id-in-config", lambda at: edit_json(at / TOKENIZER_CONFIG, added_tokens_decoder={"131": {"content": "x"}}), "VG930", TOKENIZER_CONFIG, "has the id 131"),
    Lie("unigram-beyond", tokens(model={"type": "Unigram", "vocab": [[f"t{i}", 0.0] for i in range(200)]}), "VG930", TOKENIZER, "has the id 131"),
    Lie("model-text", tokens(model="BPE"), "VG930", TOKENIZER, "not a tokenizer"),
    Lie("model-type", model(type="Foo"), "VG930", TOKENIZER, "`model.type`"),
    Lie("step-text", tokens(pre_tokenizer="ByteLevel"), "VG930", TOKENIZER, "`pre_tokenizer`"),
    Lie("vocabulary-missing", tokens(model={"type": "BPE"}), "VG930", TOKENIZER, "not a tokenizer"),
    Lie("vocabulary-of-text", model(vocab={"a": "0"}), "VG930", TOKENIZER, "not a tokenizer"),
    Lie("added-of-text", tokens(added_tokens=["<|im_start|>"]), "VG930", TOKENIZER, "not a tokenizer"),
    *(Lie(f"added-without-{flag}", tokens(added_tokens=[{k: v for k, v in IM_START.items() if k != flag}]), "VG930", TOKENIZER, f"`added_tokens[0].{flag}` is missing") for flag in FLAGS),
    Lie("added-flag-text", tokens(added_tokens=[{**IM_START, "special": "no"}]), "VG930", TOKENIZER, "`added_tokens[0].special`: Input should be a valid boolean"),
    *(Lie(f"merge-{name}", model(merges=[merge]), "VG930", TOKENIZER, "not a pair of tokens") for name, merge in (("of-three", "a a a"), ("number", 1), ("of-lists", [["a"], ["a"]]))),
    Lie("merge-unknown", model(merges=["a b"]), "VG930", TOKENIZER, "not in `vocab`"),
    # token ids
    *(Lie(f"stop-{name}", lambda at, value=value: edit_json(at / GENERATION, eos_token_id=value), "VG932", GENERATION, "`eos_token_id` is") for name, value in (
        ("text", "11"), ("texts", ["<|endoftext|>"]), ("nested", [[2]]), ("negative", -1), ("beyond", 131), ("true", True), ("empty", []), ("number", 2.0))),
    Lie("stop-in-config", config(eos_token_id=65024), "VG932", CONFIG, "65024; the model has 131"),
]  # fmt: skip

WARNINGS = [
    Lie("adapter-beside", text("adapter_config.json", "{}"), "VG926", "adapter_config.json", "not applied"),
    Lie("link-out", lambda at: (shutil.move(at / SINGLE, at.parent / "elsewhere"), (at / SINGLE).symlink_to("../elsewhere")), "VG925", SINGLE, "not in this folder"),
    Lie("index-missing", sharded(lambda at: (at / INDEX).unlink()), "VG925", INDEX, "the index is missing"),
    Lie("truncation", tokens(truncation={"max_length": 8}), "VG931", TOKENIZER, "stored truncation"),
    Lie("padding", tokens(padding={"strategy": "BatchLongest"}), "VG931", TOKENIZER, "stored padding"),
    Lie("other-eos", config(eos_token_id=3), "VG931", TOKENIZER_CONFIG, "config.json says 3"),
    Lie("eos-unknown", lambda at: edit_json(at / TOKENIZER_CONFIG, eos_token="</s>"), "VG931", TOKENIZER_CONFIG, "not in tokenizer.json"),
    Lie("bos-in-map", text("special_tokens_map.json", json.dumps({"bos_token": {"content": "\u0105"}})), "VG931", "special_tokens_map.json", "config.json says 1"),
]  # fmt: skip
LIES = [*ERRORS, *WARNINGS]
