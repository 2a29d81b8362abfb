"""Small sound weight folders of every kind, written without a tensor library."""

import json
import random
import shutil
import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from tests.falcons import VARIANTS, VOCABULARY, write_tokenizer
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint, checkpoint_of
from vacc_gen.schema.falcon import EMBEDDING, HEAD, architecture_from_config
from vacc_gen.schema.lint.check import open_weights

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
CONFIG, GENERATION = "config.json", "generation_config.json"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
REFINED_WEB = {
    "num_attention_heads": "n_head", "num_hidden_layers": "n_layer", "num_kv_heads": "n_head_kv",
}  # fmt: skip

Apply = Callable[[Path], Any]
Tensors = dict[str, tuple[str, list[int], bytes]]
"""dtype, shape and bytes, by name."""


def open_checkpoint(folder: Path) -> Checkpoint:
    return checkpoint_of(open_weights(folder, falcon_only=True)[0])


def config_of(variant: str, **changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "num_hidden_layers": 2,
        "vocab_size": VOCABULARY,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        **VARIANTS[variant],
        **changes,
    }


def write_falcon(folder: Path, variant: str = "7b", **changes: Any) -> Path:
    """Write a sound checkpoint in one file, all values small and finite bf16, and its tokenizer."""
    config = config_of(variant, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    write_json(folder / GENERATION, {"bos_token_id": 1, "eos_token_id": 2})
    write_tokenizer(folder)
    shapes = architecture_from_config(config).parameters()
    write_tensors(folder / SINGLE, {name: tensor(*shape) for name, shape in shapes.items()})
    return folder


def tensor(*shape: int, dtype: str = "BF16", seed: int = 0) -> tuple[str, list[int], bytes]:
    data = bytearray(b"\x00\x3c" * prod(shape))
    data[::2] = random.Random(f"{shape}{seed}").randbytes(prod(shape))
    return dtype, list(shape), bytes(data)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def header_of(tensors: Tensors) -> dict[str, Any]:
    header, end = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    return header


def write_tensors(path: Path, tensors: Tensors) -> None:
    data = b"".join(data for _, _, data in tensors.values())
    write_shard(path, json.dumps(header_of(tensors)).encode(), data)


def write_shard(path: Path, header: bytes, data: bytes) -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def read_tensors(path: Path) -> Tensors:
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    read: Tensors = {}
    for name, entry in json.loads(content[8:start]).items():
        begin, end = entry["data_offsets"]
        read[name] = entry["dtype"], entry["shape"], content[start + begin : start + end]
    return read


def split(folder: Path) -> Path:
    """Make two shards and an index of the one file."""
    tensors = read_tensors(folder / SINGLE)
    (folder / SINGLE).unlink()
    names = list(tensors)
    for file, part in ((FIRST, names[:7]), (SECOND, names[7:])):
        write_tensors(folder / file, {name: tensors[name] for name in part})
    weight_map = {name: FIRST if name in names[:7] else SECOND for name in names}
    write_json(folder / INDEX, {"metadata": {}, "weight_map": weight_map})
    return folder


def renamed(folder: Path, change: Callable[[str], str]) -> None:
    tensors = read_tensors(folder / SINGLE)
    write_tensors(folder / SINGLE, {change(name): value for name, value in tensors.items()})


def snapshot(folder: Path) -> None:
    """Make a snapshot of the hub's cache of a folder, and put the folder's link in its place."""
    split(folder)
    cache = folder.parent / "models--tiiuae--falcon-7b"
    at = cache / "snapshots" / "0123abc"
    at.mkdir(parents=True)
    shutil.move(folder, cache / "blobs")
    for file in (cache / "blobs").iterdir():
        (at / file.name).symlink_to(f"../../blobs/{file.name}")
    folder.symlink_to(at)


def as_refined_web(folder: Path, model_type: str = "RefinedWeb") -> None:
    config = json.loads((folder / CONFIG).read_text())
    config = {REFINED_WEB.get(key, key): value for key, value in config.items()}
    config.pop("new_decoder_architecture", None)
    write_json(folder / CONFIG, {**config, "model_type": model_type})


def add(name: str, *shape: int, **options: Any) -> Apply:
    def apply(folder: Path) -> None:
        tensors = read_tensors(folder / SINGLE)
        write_tensors(folder / SINGLE, {**tensors, name: tensor(*shape, **options)})

    return apply


SOUND: dict[str, Apply] = {
    **{v: lambda at, v=v: write_falcon(at, v) for v in VARIANTS},  # type: ignore[misc]
    "sharded": lambda at: split(write_falcon(at, "40b")),
    "untied": lambda at: write_falcon(at, tie_word_embeddings=False),
    "snapshot": lambda at: snapshot(write_falcon(at)),
    "without-prefix": lambda at: renamed(
        write_falcon(at, "rw"), lambda name: name.removeprefix("transformer.")
    ),
    "head-alone": lambda at: renamed(
        write_falcon(at), lambda name: HEAD if name == EMBEDDING else name
    ),
    "falcon-7b-of-2023": lambda at: (
        write_falcon(at, num_kv_heads=None),
        edit_json(at / CONFIG, n_head=5, n_layer=2, architectures=["RWForCausalLM"]),
        as_refined_web(at, "RefinedWebModel"),
        edit_json(at / CONFIG, n_head_kv=None),
    ),
    "falcon-40b-of-2023": lambda at: as_refined_web(write_falcon(at, "40b")),
    "buffers": lambda at: (
        add("transformer.h.0.self_attention.rotary_emb.inv_freq", 8)(write_falcon(at)),
        add("transformer.h.0.attn.masked_bias", 1, dtype="I16")(at),
    ),
    "tied-head-stored": lambda at: write_tensors(
        write_falcon(at) / SINGLE,
        (held := read_tensors(at / SINGLE)) | {HEAD: held[EMBEDDING]},
    ),
    "rope-default": lambda at: write_falcon(
        at, rope_parameters={"rope_type": "default", "rope_theta": 5e5}, rope_theta=500000
    ),
    "unigram": lambda at: (
        write_falcon(at),
        edit_json(
            at / TOKENIZER,
            added_tokens=[],
            model={
                "type": "Unigram",
                "unk_id": 0,
                "vocab": [[chr(256 + i), -1.0] for i in range(9)],
            },
        ),
    ),
    "pickles-beside": lambda at: (write_falcon(at) / "pytorch_model.bin").write_bytes(b"\x80\x02"),
}
"""Folders without a finding, by what is particular about them."""
