"""VG92: will the compiler load the right code and the right sizes from the weight folder?"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from vacc_gen.schema.checkpoint import read_shard
from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.weight_files import CONFIG, INDEX, VACC_CONFIG, WeightFiles, WeightFinding

_SIZES = (
    "model_type", "num_hidden_layers", "n_layer", "num_layers", "hidden_size",
    "num_attention_heads", "n_head", "num_key_value_heads", "num_kv_heads", "n_head_kv",
    "multi_query", "multi_query_group_num", "new_decoder_architecture", "parallel_attn", "alibi",
    "bias", "head_dim", "kv_channels", "intermediate_size", "ffn_hidden_size", "num_local_experts",
    "num_experts", "num_experts_per_tok", "vocab_size", "padded_vocab_size",
    "max_position_embeddings", "sliding_window", "rope_theta", "rope_scaling",
    "partial_rotary_factor", "activation", "hidden_act", "layer_norm_epsilon", "layer_norm_eps",
    "rms_norm_eps", "tie_word_embeddings",
)  # fmt: skip
"""Keys of config.json that make a model what it is."""

_NEEDED = {"_attn_implementation": '"eager"', "insert_slice": "true"}
"""Options of config_vacc.json, and the JSON of the one value that works."""

Fault = tuple[str, str | None]
"""What is wrong, and what to do about it."""


@rule("VG920", Severity.ERROR, "weight folder's JSON that cannot be read", scope="weights")
def bad_json(files: WeightFiles) -> Iterator[WeightFinding]:
    """A JSON file of the weight folder is not JSON, or not an object.

    Bad:
        # config_vacc.json
        {"insert_slice": True}
    Good:
        # config_vacc.json
        {"insert_slice": true, "_attn_implementation": "eager"}
    """
    for name, (offset, reason) in files.broken.items():
        yield files.at_offset(name, offset, f"not valid JSON: {reason}")


@rule("VG921", Severity.ERROR, "auto_map names code that is not there", scope="weights")
def auto_map(files: WeightFiles) -> Iterator[WeightFinding]:
    """`auto_map` in config_vacc.json names `module.Class`, and there is no such file or class.

    Without `auto_map` a modeling file beside the weights is not loaded at all.

    Bad:
        # config_vacc.json
        {"auto_map": {"AutoModel": "modeling_falcon_vacc.FalconModel"},
         "insert_slice": true, "_attn_implementation": "eager"}
    Good:
        # config_vacc.json
        {"auto_map": {"AutoModel": "modeling_falcon_vacc.FalconModel"},
         "insert_slice": true, "_attn_implementation": "eager"}
        ---
        # modeling_falcon_vacc.py
        class FalconModel: ...
    """
    config = files.objects.get(VACC_CONFIG)
    if config is None:
        return
    targets = config.get("auto_map", {})
    unnamed = files.names("modeling_*_vacc.py") if "auto_map" not in config else []
    if unnamed:
        message = f"`auto_map` is missing, so {unnamed[0]} is not loaded"
        yield files.at_key(VACC_CONFIG, "auto_map", message, "name its classes in `auto_map`")
    if not isinstance(targets, dict):
        hint = 'write it like {"AutoModelForCausalLM": "module.Class"}'
        yield files.at_key(VACC_CONFIG, "auto_map", "`auto_map` is not an object", hint)
        return
    reported: set[Fault] = set()
    for auto, target in targets.items():
        for named in target if isinstance(target, list) else [target]:
            fault = _fault_of_code(files, named)
            if fault is not None and fault not in reported:
                reported.add(fault)
                yield files.at_key(VACC_CONFIG, auto, *fault)


def _fault_of_code(files: WeightFiles, named: Any) -> Fault | None:
    """Return what is wrong with a `module.Class` of `auto_map`."""
    if named is None or (isinstance(named, str) and "--" in named):
        return None  # none, or in another repository
    module, _, name = named.rpartition(".") if isinstance(named, str) else ("", "", "")
    if not re.fullmatch(r"\w+(\.\w+)*", module) or not name.isidentifier():
        return f"`{named}` in `auto_map` is not of the form module.Class", None
    file = f"{module.replace('.', '/')}.py"
    source = files.source(file)
    if source is None:
        hint = "`scripts/prepare.sh` of a workspace puts its files there"
        return f"`auto_map` names {file}, which is not there", hint
    is_there = re.search(rf"\b{name}\b|import \*", source)
    return None if is_there else (f"{file} has no class `{name}`", None)


@rule("VG922", Severity.ERROR, "option that the compiler needs", scope="weights")
def needed_options(files: WeightFiles) -> Iterator[WeightFinding]:
    """config_vacc.json says `"_attn_implementation": "eager"` and `"insert_slice": true`.

    Any other attention is one opaque operator; without the slice, the prefill returns every
    position and not the last one alone.

    Bad:
        # config_vacc.json
        {"_attn_implementation": "sdpa", "insert_slice": true}
    Good:
        # config_vacc.json
        {"_attn_implementation": "eager", "insert_slice": true}
    """
    config = files.objects.get(VACC_CONFIG)
    if config is None:
        return
    for key, wanted in _NEEDED.items():
        value = json.dumps(config.get(key))
        if value != wanted:
            state = f"is {value}, not {wanted}" if key in config else "is missing"
            yield files.at_key(VACC_CONFIG, key, f"`{key}` {state}", f'write "{key}": {wanted}')


@rule("VG924", Severity.ERROR, "config_vacc.json unlike config.json", scope="weights")
def other_geometry(files: WeightFiles) -> Iterator[WeightFinding]:
    """config_vacc.json is a copy of config.json with three additions; here a size differs.

    Bad:
        # config_vacc.json
        {"hidden_size": 4544, "_attn_implementation": "eager", "insert_slice": true}
        ---
        # config.json
        {"hidden_size": 8192}
    Good:
        # config_vacc.json
        {"hidden_size": 8192, "_attn_implementation": "eager", "insert_slice": true}
        ---
        # config.json
        {"hidden_size": 8192}
    """
    copy, original = files.objects.get(VACC_CONFIG), files.objects.get(CONFIG)
    if copy is None or original is None:
        return
    differing = [key for key in _SIZES if key in original and copy.get(key) != original[key]]
    if differing:
        key, *others = differing
        state = f"is {json.dumps(copy[key])}" if key in copy else "is missing"
        more = f", and {len(others)} more of its sizes differ" if others else ""
        message = f"`{key}` {state}; config.json has {json.dumps(original[key])}{more}"
        hint = "make config_vacc.json from the checkpoint's own config.json"
        yield files.at_key(VACC_CONFIG, key, message, hint)


@rule("VG925", Severity.ERROR, "index and shards disagree", scope="weights")
def shards(files: WeightFiles) -> Iterator[WeightFinding]:
    """The safetensors index names a shard that is missing or damaged, or a tensor that it lacks.

    Bad:
        # model.safetensors.index.json
        {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    Good:
        # model.safetensors.index.json
        {"weight_map": {}}
    """
    index = files.objects.get(INDEX)
    if index is None:
        for shard in files.names("*.safetensors") if INDEX not in files.texts else ():
            _, fault = _tensors_of(files, shard)
            if fault is not None:
                yield files.at_start(shard, *fault)
        return
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict):
        yield files.at_key(INDEX, "weight_map", "`weight_map` is missing, or not an object")
        return
    named: dict[str, list[str]] = {}
    for tensor, shard in weight_map.items():
        named.setdefault(str(shard), []).append(tensor)
    absent = sorted(named.keys() - files.names("*"))
    if absent:
        more = f", nor {len(absent) - 1} more" if len(absent) > 1 else ""
        message = f"{absent[0]} is not there{more}"
        yield files.at_key(INDEX, named[absent[0]][0], message, "download it again")
    for shard in sorted(named.keys() - absent):
        held, fault = _tensors_of(files, shard)
        lacking = [tensor for tensor in named[shard] if tensor not in held]
        if fault is not None:
            yield files.at_key(INDEX, named[shard][0], *fault)
        elif lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            yield files.at_key(INDEX, lacking[0], f"{shard} does not hold {lacking[0]}{more}")


def _tensors_of(files: WeightFiles, shard: str) -> tuple[Collection[str], Fault | None]:
    """Return the tensors of a shard, or what is wrong with it."""
    try:
        return read_shard(files.folder / shard), None
    except CheckpointError as error:
        return (), (error.message, error.hint)
