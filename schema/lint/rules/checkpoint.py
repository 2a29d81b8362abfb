"""VG92, VG94: are the code, sizes and weights of a folder, or a compiled model, what they say?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from vacc_gen.schema.checkpoint import (
    ADAPTER_FILE,
    CONFIG_FILE,
    PICKLES,
    TensorEntry,
    have_same_bytes,
)
from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError
from vacc_gen.schema.falcon import (
    EMBEDDING,
    HEAD,
    SOURCE_DTYPES,
    Architecture,
    differences,
    is_buffer,
)
from vacc_gen.schema.geometry import shortened
from vacc_gen.schema.json_files import changed_files, read_regular
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.weight_files import VACC_CONFIG, WeightFiles

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

_SAMPLES = 64
"""Places in which a stored head is compared with the embedding; `export` compares all of it."""

_MAX_MODULE_BYTES = 1 << 20
"""Largest Python file that is looked into; modeling files have some 100 kB."""

_QUANTIZED = (".qweight", ".qzeros", ".weight_scale", ".weight_scale_inv", ".SCB", ".absmax")
_QUANTIZED_DTYPES = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "I32")


@rule("VG920", Severity.ERROR, "weight folder's JSON that cannot be read", scope="weights")
def bad_json(files: WeightFiles) -> Iterator[CheckpointError]:
    """A JSON file of the weight folder cannot be read, is not JSON, or not an object.

    A key that an object has twice and half of a surrogate pair count too: readers disagree there.

    Bad:
        # config_vacc.json
        {"insert_slice": True}
    Good:
        # config_vacc.json
        {"insert_slice": true, "_attn_implementation": "eager"}
    """
    yield from files.broken


@rule("VG921", Severity.ERROR, "auto_map names code that is not there", scope="weights")
def auto_map(files: WeightFiles) -> Iterator[CheckpointError]:
    """`auto_map` in config_vacc.json names `module.Class`, and there is no such file or class.

    Without `auto_map` a modeling file beside the weights is not loaded at all.

    Bad:
        # config_vacc.json
        {"auto_map": {"AutoModel": "modeling_falcon_vacc.FalconModel"},
         "insert_slice": true, "_attn_implementation": "eager"}
    Good:
        # modeling_falcon_vacc.py
        class FalconModel: ...
    """
    config = files.objects.get(VACC_CONFIG)
    if config is None:
        return
    targets = config.get("auto_map")
    if not isinstance(targets, dict):
        unnamed = [name for name in files.names if re.fullmatch(r"modeling_.*_vacc\.py", name)]
        if unnamed:
            message = f"`auto_map` names no class, so {unnamed[0]} is not loaded"
            hint = 'write it like {"AutoModelForCausalLM": "module.Class"}'
            yield CheckpointError(message, hint, "auto_map", file=VACC_CONFIG)
        return
    faults: dict[tuple[str, str | None], str] = {}
    for auto, target in targets.items():
        for named in target if isinstance(target, list) else [target]:
            fault = _fault_of_code(files, named)
            if fault is not None:
                faults.setdefault(fault, auto)  # of several classes in one file
    for fault, auto in faults.items():
        yield CheckpointError(*fault, auto, file=VACC_CONFIG)


def _fault_of_code(files: WeightFiles, named: Any) -> tuple[str, str | None] | None:
    """Return what is wrong with a `module.Class` of `auto_map`, and what to do."""
    if named is None or (isinstance(named, str) and "--" in named):
        return None  # none, or in another repository
    module, _, name = str(named).rpartition(".")
    if not re.fullmatch(r"\w+(\.\w+)*", module) or not name.isidentifier():
        return f"`{named}` in `auto_map` is not of the form module.Class", None
    file = f"{module.replace('.', '/')}.py"
    try:
        source = read_regular(files.folder / file, _MAX_MODULE_BYTES)
    except OSError:
        source = None
    if source is None:
        hint = "`scripts/prepare.sh` of a workspace puts its files there"
        return f"`auto_map` names {file}, which is not there", hint
    is_there = re.search(rf"\b{name}\b|import \*", source.decode(errors="replace"))
    return None if is_there else (f"{file} has no class `{name}`", None)


@rule("VG922", Severity.ERROR, "option that the compiler needs", scope="weights")
def needed_options(files: WeightFiles) -> Iterator[CheckpointError]:
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
            hint = f'write "{key}": {wanted}'
            yield CheckpointError(f"`{key}` {state}", hint, key, file=VACC_CONFIG)


@rule("VG924", Severity.ERROR, "config_vacc.json unlike config.json", scope="weights")
def other_geometry(files: WeightFiles) -> Iterator[CheckpointError]:
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
    """
    copy, original = files.objects.get(VACC_CONFIG), files.objects.get(CONFIG_FILE)
    if copy is None or original is None:
        return
    differing = [key for key in _SIZES if key in original and copy.get(key) != original[key]]
    if differing:
        key, *others = differing
        state = f"is {json.dumps(copy[key])}" if key in copy else "is missing"
        more = f", and {len(others)} more of its sizes differ" if others else ""
        message = f"`{key}` {state}; config.json has {json.dumps(original[key])}{more}"
        hint = "make config_vacc.json from the checkpoint's own config.json"
        yield CheckpointError(message, hint, key, file=VACC_CONFIG)


@rule("VG925", Severity.ERROR, "weights that are missing, damaged, or of two sets", scope="weights")
def shards(files: WeightFiles) -> Iterator[CheckpointError]:
    """A file of weights is missing, truncated or no safetensors, or the index says otherwise.

    Nothing is read but the headers. Only safetensors are read: pickle can run code. A file that is
    a link out of the folder is a warning, unless the folder is a snapshot of the hub's cache.

    Bad:
        # model.safetensors.index.json
        {"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}}
    Good:
        # model.safetensors.index.json
        {"weight_map": {}}
    """
    has_config, tensors = CONFIG_FILE in files.names, files.stored
    if not has_config and (tensors or any(name.endswith(PICKLES) for name in files.names)):
        hint = "copy it from the repository that the weights are from"
        yield CheckpointError("config.json is missing", hint)
    yield from (fault for fault in files.faults if fault.file != CONFIG_FILE)


@rule("VG929", Severity.ERROR, "no weights", scope="weights")
def no_weights(files: WeightFiles) -> Iterator[CheckpointError]:
    """A folder has a model's config.json and no file of weights.

    `vacc-gen new` needs no more than that.

    Bad:
        # config.json
        {"model_type": "falcon"}
    Good:
        # model.safetensors.index.json
        {"weight_map": {}}
    """
    if CONFIG_FILE in files.names:
        yield from (fault for fault in files.faults if fault.file == CONFIG_FILE)


@rule("VG926", Severity.ERROR, "weights that are quantized or not merged", scope="weights")
def not_plain(files: WeightFiles) -> Iterator[CheckpointError]:
    """The weights are quantized, or an adapter lies beside them that is not merged into them.

    The compiler and the embedded backend start from weights in full precision, and quantize
    themselves. An adapter beside the weights is not applied, which is a warning; so are quantized
    weights of models that are not Falcons.

    Bad:
        # config.json
        {"model_type": "falcon", "quantization_config": {"quant_method": "gptq", "bits": 4}}
    Good:
        # config.json
        {"model_type": "falcon", "quantization_config": null}
    """
    if ADAPTER_FILE in files.names and files.tensors:
        message = "an adapter lies beside the weights, and is not applied"
        yield CheckpointError(message, MERGE_ADAPTER, file=ADAPTER_FILE, is_warning=True)
    for method, key, file in islice(_signs_of_quantization(files), 1):
        message = f"the weights are quantized: {method}; weights in full precision are needed"
        hint = "take the checkpoint that they were made from; `build` quantizes by itself"
        yield CheckpointError(message, hint, key, file=file, is_warning=not files.is_falcon)


def _signs_of_quantization(files: WeightFiles) -> Iterator[tuple[str, str, str]]:
    """Yield what config.json or the tensors say of it: how, and at which key of which file."""
    for key in ("quantization_config", "compression_config"):
        said = files.config.get(key)
        options = said if isinstance(said, dict) else {}
        if said:
            method = options.get("quant_method") or options.get("quant_type") or said
            yield shortened(method).strip("'"), key, CONFIG_FILE
    for name, entry in files.tensors.items():
        is_weight = files.is_falcon and not is_buffer(name)
        if name.endswith(_QUANTIZED) or (is_weight and entry.dtype in _QUANTIZED_DTYPES):
            yield f"{name[:80]} is {entry.dtype}", entry.name, entry.path.name


@rule("VG927", Severity.ERROR, "config.json of no Falcon that can be exported", scope="weights")
def falcon_config(files: WeightFiles) -> Iterator[CheckpointError]:
    """config.json says what no Falcon has, contradicts itself, or asks for what is not supported.

    Scaled rotary embeddings are not: neither the modeling file nor the embedded backend has them.
    Configs of other models are left alone, unless the asker can use Falcons alone.

    Bad:
        # config.json
        {"model_type": "falcon", "hidden_size": 128, "num_attention_heads": 2,
         "num_hidden_layers": 2, "vocab_size": 100,
         "rope_scaling": {"type": "linear", "factor": 2.0}}
    Good:
        # config.json
        {"model_type": "falcon", "hidden_size": 128, "num_attention_heads": 2,
         "num_hidden_layers": 2, "vocab_size": 100, "rope_scaling": null}
    """
    if CONFIG_FILE not in files.objects:
        return
    classes = files.config.get("architectures")
    named = [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else []
    is_named = any(name.startswith(("Falcon", "RW")) for name in named)
    error = files.architecture
    if isinstance(error, CheckpointError) and (files.is_falcon or is_named or files.falcon_only):
        yield error
    elif files.is_falcon and named and all(re.search(r"For(?!CausalLM)", name) for name in named):
        message = f"`architectures` names {shortened(named[0])}, which writes no text"
        hint = "take the causal language model that it was made from"
        yield CheckpointError(message, hint, "architectures")


@rule("VG928", Severity.ERROR, "tensors that config.json does not ask for", scope="weights")
def falcon_tensors(files: WeightFiles) -> Iterator[CheckpointError]:
    r"""The stored tensors are not exactly those of the Falcon that config.json describes.

    Layers, widths, heads, vocabulary, biases, a head of its own: what is missing stops the
    compiler, and what is stored and not used makes another model than was trained.

    Bad:
        # config.json
        {"model_type": "falcon", "hidden_size": 128, "num_attention_heads": 2,
         "num_hidden_layers": 2, "vocab_size": 100}
        ---
        # model.safetensors
        \x37\x00\x00\x00\x00\x00\x00\x00{"w": {"dtype":"F32","shape":[0],"data_offsets":[0,0]}}
    Good:
        # config.json
        {"model_type": "llama"}
    """
    architecture = files.architecture
    is_whole = all(fault.is_warning for fault in files.faults)
    is_plain = not any(_signs_of_quantization(files))
    if not isinstance(architecture, Architecture) or not is_whole or not is_plain:
        return
    if len(files.tensors) < len(files.stored):
        message = "tensors are stored twice: with and without `transformer.` before their names"
        first = next(iter(files.tensors.values()))
        yield CheckpointError(message, "delete one of them", first.name, file=first.path.name)
    faults = [*differences(architecture, files.config, files.tensors)]
    yield from faults or _value_faults(architecture, files.tensors)


def _value_faults(
    architecture: Architecture, tensors: Mapping[str, TensorEntry]
) -> Iterator[CheckpointError]:
    """Yield tensors that are no plain floats, and a tied head that is not the embedding."""
    for name, entry in tensors.items():
        if entry.dtype not in SOURCE_DTYPES and not is_buffer(name):
            message = f"{name} is stored as {entry.dtype}; supported: {', '.join(SOURCE_DTYPES)}"
            hint = "start from the checkpoint as it was published"
            yield CheckpointError(message, hint, entry.name, file=entry.path.name)
            return
    is_stored_though_tied = architecture.tie_word_embeddings and {EMBEDDING, HEAD} <= tensors.keys()
    if is_stored_though_tied and not have_same_bytes(tensors[EMBEDDING], tensors[HEAD], _SAMPLES):
        message = f"{HEAD} is stored, and is not the embedding that config.json ties it to"
        hint = 'write "tie_word_embeddings": false in config.json, or delete that tensor'
        yield CheckpointError(message, hint, "tie_word_embeddings")


@rule("VG940", Severity.ERROR, "compiled model unlike its manifest", scope="compiled")
def changed_artifacts(files: WeightFiles) -> Iterator[CheckpointError]:
    """A file of `deploy/<name>` is missing, or not the one that `build` made.

    Every file is read whole, so only folders that are named are checked.

    Bad:
        # manifest.json
        {"artifacts": [{"path": "decode.onnx", "bytes": 2, "sha256": "ab01"}]}
        ---
        # decode.onnx
        1
    Good:
        # manifest.json
        {"artifacts": []}
    """
    for name, change in changed_files(files.folder, read_content=True):
        yield CheckpointError(f"{name} {change}", "`vacc-gen build` makes it again", file=name)
