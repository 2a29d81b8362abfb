"""VG92: will the compiler load the right code and the right sizes from the weight folder?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vacc_gen.schema.diagnostics import Severity
from vacc_gen.schema.rules import rule
from vacc_gen.schema.weight_files import CONFIG, INDEX, VACC_CONFIG, WeightFiles, WeightFinding

_SIZES = (
    "num_hidden_layers",
    "n_layer",
    "num_layers",
    "hidden_size",
    "num_attention_heads",
    "n_head",
    "num_key_value_heads",
    "num_kv_heads",
    "n_head_kv",
    "multi_query",
    "multi_query_group_num",
    "new_decoder_architecture",
    "parallel_attn",
    "alibi",
    "bias",
    "head_dim",
    "intermediate_size",
    "ffn_hidden_size",
    "vocab_size",
    "max_position_embeddings",
    "rope_theta",
    "tie_word_embeddings",
    "model_type",
)


@rule("VG920", Severity.ERROR, "weight folder's JSON that cannot be read", scope="weights")
def bad_json(files: WeightFiles) -> Iterator[WeightFinding]:
    """A JSON file of the weight folder is no JSON, or not an object.

    Bad:
        # config_vacc.json
        {"insert_slice": true,}
    Good:
        # config_vacc.json
        {"insert_slice": true, "_attn_implementation": "eager"}
    """
    for name, broken in files.broken.items():
        yield files.at_offset(name, broken.offset, f"not valid JSON: {broken.reason}")


@rule("VG921", Severity.ERROR, "auto_map names code that is not there", scope="weights")
def auto_map(files: WeightFiles) -> Iterator[WeightFinding]:
    """`auto_map` in config_vacc.json names `module.Class`, and the folder has no such file, or the
    file no such class.

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
        class FalconModel:
            pass
    """
    config = files.json(VACC_CONFIG)
    targets = config.get("auto_map") if config is not None else None
    if not isinstance(targets, dict):
        return
    for auto, target in targets.items():
        for named in target if isinstance(target, list) else [target]:
            if not isinstance(named, str) or "--" in named:  # null, or in another repository
                continue
            module, _, name = named.rpartition(".")
            file = f"{module.replace('.', '/')}.py"
            source = files.source(file) if re.fullmatch(r"\w+(\.\w+)*", module) else None
            if not re.fullmatch(r"\w+(\.\w+)*", module):
                yield files.at_key(VACC_CONFIG, auto, f"`{named}` is not of the form module.Class")
            elif source is None:
                yield files.at_key(
                    VACC_CONFIG,
                    auto,
                    f"`{auto}` names {file}, which is not there",
                    "put the file into the folder; `scripts/prepare.sh` of a workspace does",
                )
            elif not _defines(source, name):
                yield files.at_key(VACC_CONFIG, auto, f"{file} has no class `{name}`")


def _defines(source: str, name: str) -> bool:
    """Whether a module has a name, as a class, an assignment, or an import."""
    word = re.escape(name)
    return bool(
        re.search(rf"^(class\s+{word}\b|{word}\s*=|(from|import)\b[^#]*\b{word}\b)", source, re.M)
    ) or (bool(re.search(rf"^\s+{word},?\s*$", source, re.M)))


@rule("VG922", Severity.ERROR, "attention that the compiler cannot read", scope="weights")
def eager_attention(files: WeightFiles) -> Iterator[WeightFinding]:
    """config_vacc.json has `"_attn_implementation": "eager"`; others are one opaque operator.

    Bad:
        # config_vacc.json
        {"_attn_implementation": "sdpa", "insert_slice": true}
    Good:
        # config_vacc.json
        {"_attn_implementation": "eager", "insert_slice": true}
    """
    config = files.json(VACC_CONFIG)
    if config is None or config.get("_attn_implementation") == "eager":
        return
    what = config.get("_attn_implementation")
    message = f"is {what!r}, not eager" if what is not None else "is missing"
    yield files.at_key(
        VACC_CONFIG,
        "_attn_implementation",
        f"`_attn_implementation` {message}",
        'write "_attn_implementation": "eager"',
    )


@rule("VG923", Severity.ERROR, "insert_slice missing", scope="weights")
def insert_slice(files: WeightFiles) -> Iterator[WeightFinding]:
    """config_vacc.json has `"insert_slice": true`: the prefill returns the last position alone.

    Bad:
        # config_vacc.json
        {"_attn_implementation": "eager"}
    Good:
        # config_vacc.json
        {"_attn_implementation": "eager", "insert_slice": true}
    """
    config = files.json(VACC_CONFIG)
    if config is None or config.get("insert_slice") is True:
        return
    what = "is not true" if "insert_slice" in config else "is missing"
    yield files.at_key(
        VACC_CONFIG, "insert_slice", f"`insert_slice` {what}", 'write "insert_slice": true'
    )


@rule(
    "VG924", Severity.ERROR, "config_vacc.json of another model than config.json", scope="weights"
)
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
    ours, theirs = files.json(VACC_CONFIG), files.json(CONFIG)
    if ours is None or theirs is None:
        return
    for key in _SIZES:
        if key in theirs and ours.get(key) != theirs[key]:
            got = "is missing" if key not in ours else f"is {ours[key]!r}"
            yield files.at_key(
                VACC_CONFIG,
                key,
                f"`{key}` {got}; config.json has {theirs[key]!r}",
                "make config_vacc.json from the checkpoint's own config.json",
            )


@rule("VG925", Severity.ERROR, "index and shards disagree", scope="weights")
def shards(files: WeightFiles) -> Iterator[WeightFinding]:
    """The safetensors index names a shard that is missing or damaged, or a tensor that its shard
    does not have.

    Only headers are read, whatever the size of the weights.

    Bad:
        # model.safetensors.index.json
        {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    Good:
        # model.safetensors.index.json
        {"weight_map": {}}
    """
    from vacc_gen.schema.errors import CheckpointError
    from vacc_gen.schema.weights import read_shard

    index = files.json(INDEX)
    weight_map = index.get("weight_map") if index is not None else None
    if index is not None and not isinstance(weight_map, dict):
        yield files.at_key(INDEX, "weight_map", "`weight_map` is missing, or not an object")
        return
    tensors_of: dict[str, list[str]] = {}
    for tensor, shard in (weight_map or {}).items():
        tensors_of.setdefault(str(shard), []).append(tensor)
    for shard, tensors in sorted(tensors_of.items()):
        path = files.folder / shard
        if path.name != shard:
            yield files.at_key(INDEX, tensors[0], f"`{shard}` is not a file of this folder")
        elif not path.is_file():
            yield files.at_key(INDEX, tensors[0], f"{shard} is not there", "download it again")
        else:
            try:
                held = read_shard(path)
            except CheckpointError as error:
                yield files.at_key(INDEX, tensors[0], error.message, error.hint)
                continue
            absent = [tensor for tensor in tensors if tensor not in held]
            if absent:
                more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
                yield files.at_key(INDEX, absent[0], f"{shard} does not hold {absent[0]}{more}")
