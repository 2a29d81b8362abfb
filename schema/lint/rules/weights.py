"""VG92: will the compiler load the right code and the right sizes from the weight folder?"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.suggestions import nearest
from vacc_gen.schema.lint.weight_files import CONFIG, INDEX, VACC_CONFIG, WeightFiles, WeightFinding

_SIZES = (
    "model_type",
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
    "kv_channels",
    "num_local_experts",
    "num_experts",
    "num_experts_per_tok",
    "vocab_size",
    "padded_vocab_size",
    "max_position_embeddings",
    "sliding_window",
    "rope_theta",
    "rope_scaling",
    "partial_rotary_factor",
    "activation",
    "hidden_act",
    "layer_norm_epsilon",
    "layer_norm_eps",
    "rms_norm_eps",
    "tie_word_embeddings",
)
_AUTO_CLASSES = (
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForImageTextToText",
    "AutoModelForVision2Seq",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoModelForQuestionAnswering",
    "AutoModelForMaskedLM",
    "AutoTokenizer",
    "AutoProcessor",
    "AutoImageProcessor",
    "AutoVideoProcessor",
    "AutoFeatureExtractor",
)
"""Classes of transformers that look into `auto_map`."""

_MOST_SIZES_TOLD = 2
"""More sizes than these are told as one mistake: the file is of another model."""


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
    if config is None:
        return
    beside = files.modeling_file()
    if "auto_map" not in config and beside is not None:
        message = f"`auto_map` is missing, so {beside} is not loaded"
        yield files.at_key(VACC_CONFIG, "auto_map", message, "name its classes in `auto_map`")
    targets = config.get("auto_map", {})
    if not isinstance(targets, dict):
        form = '{"AutoModelForCausalLM": "module.Class"}'
        message = "`auto_map` is not an object"
        yield files.at_key(VACC_CONFIG, "auto_map", message, f"write it like {form}")
        return
    told: set[str] = set()  # files with a finding
    for auto, target in targets.items():
        meant = nearest(auto, _AUTO_CLASSES)
        if meant is not None and auto not in _AUTO_CLASSES:
            message = f"`{auto}` in `auto_map` looks misspelled"
            yield files.at_key(VACC_CONFIG, auto, message, f"did you mean `{meant}`?")
        for named in target if isinstance(target, list) else [target]:
            if named is None or (isinstance(named, str) and "--" in named):
                continue  # none, or in another repository
            module, _, name = named.rpartition(".") if isinstance(named, str) else ("", "", "")
            if not re.fullmatch(r"\w+(\.\w+)*", module) or not name.isidentifier():
                message = f"`{named}` is not of the form module.Class"
                yield files.at_key(VACC_CONFIG, auto, message)
                continue
            file = f"{module.replace('.', '/')}.py"
            fault = None if file in told else _module_fault(files, file, auto, name)
            if fault is not None:
                if fault.of_file:
                    told.add(file)
                yield files.at_key(VACC_CONFIG, auto, fault.message, fault.hint)


class _Fault(NamedTuple):
    """What is wrong with a module: with the file, or with one name in it."""

    message: str
    hint: str | None = None
    of_file: bool = True


def _module_fault(files: WeightFiles, file: str, auto: str, name: str) -> _Fault | None:
    source = files.source(file)
    if source is None:
        return _Fault(
            f"`{auto}` names {file}, which is not there",
            "put the file into the folder; `scripts/prepare.sh` of a workspace does",
        )
    line = _syntax_error_line(source)
    if line is not None:
        return _Fault(f"{file} is not valid Python, line {line}")
    if not _defines(source, name):
        return _Fault(f"{file} has no class `{name}`", of_file=False)
    return None


def _syntax_error_line(source: str) -> int | None:
    """Return the line where Python cannot read a module, or None."""
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


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
    message = f"is {json.dumps(what)}, not eager" if what is not None else "is missing"
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
    other = [key for key in _SIZES if key in theirs and ours.get(key) != theirs[key]]
    many = len(other) > _MOST_SIZES_TOLD
    for key in other[:1] if many else other:
        got = "is missing" if key not in ours else f"is {json.dumps(ours[key])}"
        message = f"`{key}` {got}; config.json has {json.dumps(theirs[key])}"
        if many:
            message += f", and {len(other) - 1} more sizes differ"
        hint = "make config_vacc.json from the checkpoint's own config.json"
        yield files.at_key(VACC_CONFIG, key, message, hint)


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
    index = files.json(INDEX)
    if index is None:
        if INDEX not in files.texts:
            yield from _lone_shards(files)
        return
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict):
        yield files.at_key(INDEX, "weight_map", "`weight_map` is missing, or not an object")
        return
    tensors_of: dict[str, list[str]] = {}
    for tensor, shard in weight_map.items():
        tensors_of.setdefault(str(shard), []).append(tensor)
    absent = [shard for shard in sorted(tensors_of) if not files.has(shard)]
    if absent:
        more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
        message = f"not there: {absent[0]}{more}"
        yield files.at_key(INDEX, tensors_of[absent[0]][0], message, "download it again")
    for shard, tensors in sorted(tensors_of.items()):
        if shard in absent:
            continue
        held, fault = _held(files, shard)
        if fault is not None:
            yield files.at_key(INDEX, tensors[0], *fault)
            continue
        lacking = [tensor for tensor in tensors if tensor not in held]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            yield files.at_key(INDEX, lacking[0], f"{shard} does not hold {lacking[0]}{more}")


def _lone_shards(files: WeightFiles) -> Iterator[WeightFinding]:
    """Yield what is wrong with the shards of a folder that has no index."""
    for shard in files.shards():
        _, fault = _held(files, shard)
        if fault is not None:
            yield files.at_start(shard, *fault)


def _held(files: WeightFiles, shard: str) -> tuple[Collection[str], tuple[str, str | None] | None]:
    """Return the tensors of a shard, and what is wrong with it, if anything is."""
    from vacc_gen.schema.checkpoint import read_shard
    from vacc_gen.schema.errors import CheckpointError

    if Path(shard).name != shard:
        return (), (f"`{shard}` is not a file of this folder", None)
    try:
        return read_shard(files.folder / shard), None
    except CheckpointError as error:
        return (), (error.message, error.hint)
