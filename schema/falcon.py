"""The architecture of a Falcon: its geometry, and the switches in which its variants differ.

7B    multi-query, attention and MLP side by side after one norm, rotary
40B   grouped-query (new decoder architecture), side by side after a norm each, rotary
11B   as 40B with one norm and an FFN of its own width
RW    multi-head, one after the other, ALiBi, biases
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError, Fault
from vacc_gen.schema.geometry import (
    FALCON_MODEL_TYPES,
    Geometry,
    geometry_from_config,
    is_falcon,
    is_new_decoder,
    key_of,
    shortened,
)

EMBEDDING = "transformer.word_embeddings.weight"
HEAD = "lm_head.weight"
FINAL_NORM = "transformer.ln_f"
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
SOURCE_DTYPES = ("BF16", "F16", "F32")
"""What Falcon checkpoints are published in; anything else is quantized, or no weight."""

SAME_REVISION = "config.json and the shards must be of the same model and revision"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """What a graph of the model must compute. Parameter names are transformers' own."""

    geometry: Geometry
    alibi: bool
    bias: bool
    parallel: bool
    separate_norms: bool
    tied_head: bool
    rope_theta: float
    activation: str
    layer_norm_epsilon: float

    def layer_norms(self) -> tuple[str, ...]:
        """Names of the norms of a layer: the attention's, and the MLP's where it has its own."""
        if self.separate_norms:
            return ("ln_attn", "ln_mlp")
        if self.parallel:
            return ("input_layernorm",)
        return ("input_layernorm", "post_attention_layernorm")

    def is_norm(self, parameter: str) -> bool:
        """Whether `parameter` is the weight or bias of a layer norm."""
        module = parameter.rpartition(".")[0]
        return module == FINAL_NORM or module.rpartition(".")[2] in self.layer_norms()

    def linears(self) -> dict[str, tuple[int, int]]:
        """Shapes (outputs, inputs) of the linear layers of one decoder layer, by name.

        Outputs of the fused projection: per KV head its queries, one key, one value.
        """
        g = self.geometry
        hidden, ffn = g.hidden_size, g.ffn_hidden_size
        qkv = (g.attention_heads + 2 * g.kv_heads) * g.head_size
        return {
            "self_attention.query_key_value": (qkv, hidden),
            "self_attention.dense": (hidden, hidden),
            "mlp.dense_h_to_4h": (ffn, hidden),
            "mlp.dense_4h_to_h": (hidden, ffn),
        }

    def parameters(self, layers: Iterable[int] | None = None) -> dict[str, Shape]:
        """Every parameter of the model and its shape, a tied head once (as the embedding).

        `layers`: only those; where the number of layers was not checked, all may not fit in memory.
        """
        hidden, vocab = self.geometry.hidden_size, self.geometry.vocab_size
        shapes: dict[str, Shape] = {EMBEDDING: (vocab, hidden)}
        for layer in range(self.geometry.layers) if layers is None else layers:
            prefix = f"transformer.h.{layer}."
            for norm in self.layer_norms():
                shapes[f"{prefix}{norm}.weight"] = shapes[f"{prefix}{norm}.bias"] = (hidden,)
            for linear, (outputs, inputs) in self.linears().items():
                shapes[f"{prefix}{linear}.weight"] = (outputs, inputs)
                if self.bias:
                    shapes[f"{prefix}{linear}.bias"] = (outputs,)
        shapes[f"{FINAL_NORM}.weight"] = shapes[f"{FINAL_NORM}.bias"] = (hidden,)
        if not self.tied_head:
            shapes[HEAD] = (vocab, hidden)
        return shapes


def architecture_from_config(config: Mapping[str, Any]) -> Architecture:
    """Read the architecture out of a Falcon `config.json`; defaults are FalconConfig's.

    Raises:
        CheckpointError: it is another model's; a size is missing; or it asks for what Falcon
            models do not have (rope scaling, an unknown activation, heads that do not divide).
    """
    if not is_falcon(config):
        raise CheckpointError(
            f"config.json: model_type is {shortened(config.get('model_type'))}, not a Falcon's",
            f"the embedded backend runs Falcon alone (model_type {', '.join(FALCON_MODEL_TYPES)}); "
            "build other models with the vendor's vamc, in the workspace that `new` makes",
            "model_type",
        )
    flags = {name: _flag(config, name, default) for name, default in _FLAGS.items()}
    geometry = geometry_from_config(config)
    new_decoder = is_new_decoder(config)
    _check_sizes(config, geometry, new_decoder)
    if new_decoder and not flags["parallel_attn"]:
        message = "config.json: new_decoder_architecture without parallel_attn is not a Falcon"
        raise CheckpointError(message, key="parallel_attn")
    theta = _rope_theta(config)
    if geometry.head_size % 2 and not flags["alibi"]:
        message = f"config.json: heads of {geometry.head_size} cannot be rotated in pairs"
        raise CheckpointError(message, key=key_of(config, "attention_heads"))
    return Architecture(
        geometry=geometry,
        alibi=flags["alibi"],
        bias=flags["bias"],
        parallel=flags["parallel_attn"],
        separate_norms=_norms(config, new_decoder) == 2,
        tied_head=flags["tie_word_embeddings"],
        rope_theta=theta,
        activation=_activation(config),
        layer_norm_epsilon=_positive(config, "layer_norm_epsilon", 1e-5),
    )


_FLAGS = {
    "alibi": False,
    "bias": False,
    "multi_query": True,
    "new_decoder_architecture": False,
    "parallel_attn": True,
    "tie_word_embeddings": True,
}
_OLD_NAMES = {
    "n_embed": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_head_kv": "num_kv_heads",
}
"""How the configs of 2023 call the sizes."""


def _check_sizes(config: Mapping[str, Any], geometry: Geometry, new_decoder: bool) -> None:
    """Refuse sizes that contradict each other, or that a Falcon is not read with."""
    heads, kv_heads = geometry.attention_heads, geometry.kv_heads
    if geometry.hidden_size % heads:  # whatever `head_dim` says
        message = f"hidden_size {geometry.hidden_size} is not a multiple of {heads} heads"
        raise CheckpointError(f"config.json: {message}", key=key_of(config, "attention_heads"))
    if heads % kv_heads:
        message = f"{heads} attention heads do not divide into {kv_heads} KV heads"
        raise CheckpointError(f"config.json: {message}", key="num_kv_heads")
    for old, new in _OLD_NAMES.items():
        if None not in (config.get(old), config.get(new)) and config[old] != config[new]:
            values = f"{old} is {shortened(config[old])} and {new} is {shortened(config[new])}"
            raise CheckpointError(
                f"config.json: {values}: two names of one size", f"delete {old}", old
            )
    read = {  # what transformers goes by, whatever else these keys say
        "head_dim": geometry.hidden_size // heads,
        "intermediate_size": config.get("ffn_hidden_size") or 4 * geometry.hidden_size,
        "padded_vocab_size": config.get("vocab_size"),
    }
    for key, expected in read.items():
        if config.get(key) not in (None, expected):
            message = f"config.json: {key} is {shortened(config[key])}, a Falcon's is {expected}"
            raise CheckpointError(message, f"delete {key}", key)
    for key in ("n_head_kv", "num_kv_heads"):
        value, is_unread = config.get(key), key == "num_kv_heads" and kv_heads == 1
        is_size = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if value is not None and not is_size:
            message = f"config.json: {key} is {shortened(value)}, not a positive whole number"
            raise CheckpointError(message, key=key)
        if not new_decoder and not is_unread and value not in (None, heads, kv_heads):
            raise CheckpointError(
                f"config.json: {key} is {shortened(value)}, but this model has {kv_heads} KV heads",
                'grouped-query Falcons say `"new_decoder_architecture": true`; the one of 2023 has '
                "model_type RefinedWeb, not RefinedWebModel",
                key,
            )


_PLAIN_ROPE = ("type", "rope_type", "rope_theta", "original_max_position_embeddings")


def _rope_theta(config: Mapping[str, Any]) -> float:
    """The rotary base, where transformers 4 or 5 write it; scaled rotary is refused.

    transformers 5 applies `rope_scaling` also beside `rope_parameters`.
    """
    thetas = {"rope_theta": config["rope_theta"]} if "rope_theta" in config else {}
    for key in ("rope_scaling", "rope_parameters"):
        given = config.get(key) or {}
        if not isinstance(given, Mapping):
            message = f"config.json: {key} is {shortened(given)}, not an object"
            raise CheckpointError(message, key=key)
        kinds = [given[name] for name in ("type", "rope_type") if name in given]
        scaling = [kind for kind in kinds if kind not in (None, "default")]
        others = [name for name in given if name not in _PLAIN_ROPE]
        scaling += [f"{name} {given[name]}" for name in others if given[name] not in (None, 1)]
        if scaling:
            raise CheckpointError(
                f"config.json: rope scaling {shortened(scaling[0])} is not supported",
                "Falcon models are published without rope scaling",
                key,
            )
        if "rope_theta" in given:
            thetas[key] = _positive(given, "rope_theta", 0.0)
    found = {_positive(thetas, key, 0.0) for key in thetas}
    if len(found) > 1:
        message = f"config.json: rope_theta is {' and '.join(map(str, sorted(found)))}"
        hint = "transformers 4 and 5 read different ones: delete the wrong one"
        raise CheckpointError(message, hint, [*thetas][-1])
    return found.pop() if found else 10000.0


def _norms(config: Mapping[str, Any], new_decoder: bool) -> int:
    """How many norms a layer with parallel attention has."""
    value = config.get("num_ln_in_parallel_attn")
    if value is None:
        return 2 if new_decoder else 1
    if isinstance(value, int) and value in ((1, 2) if new_decoder else (1,)):
        return value
    message = f"config.json: num_ln_in_parallel_attn is {shortened(value)}"
    hint = "1, or 2 in the new decoder architecture"
    raise CheckpointError(message, hint, "num_ln_in_parallel_attn")


def _activation(config: Mapping[str, Any]) -> str:
    value = config.get("activation", "gelu")
    if value in ACTIVATIONS:
        return str(value)
    raise CheckpointError(
        f"config.json: activation {shortened(value)} is not supported",
        f"supported are {', '.join(ACTIVATIONS)}",
        "activation",
    )


def _positive(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and 0 < value <= sys.float_info.max:
        return float(value)
    message = f"config.json: {name} is {shortened(value)}, not a positive number"
    raise CheckpointError(message, key=name)


def _flag(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = config.get(name, default)
    if isinstance(value, bool):
        return value
    message = f"config.json: {name} is {shortened(value)}, neither true nor false"
    raise CheckpointError(message, key=name)


_LAYER = re.compile(r"transformer\.h\.(\d{1,9})\.(.+)")
_BUFFERS = re.compile(r"(inv_freq|masked_bias|attn\.bias|attention\.mask)$")
_OTHER_HEADS = ("score.", "classifier.", "qa_outputs.")


RENAME = f"transformers' names begin like {EMBEDDING}: save the model itself, not what wraps it"


def is_buffer(name: str) -> bool:
    """Whether a tensor is what older code stored beside the parameters, and is computed anew."""
    return _BUFFERS.search(name) is not None


def differences(
    architecture: Architecture, config: Mapping[str, Any], stored: Mapping[str, Shape]
) -> Iterator[Fault]:
    """Yield where stored tensors, by their whole names, are not those that config.json asks for.

    Places are keys of config.json, or tensors. Takes no longer than `stored` is.
    """
    adapted = [name for name in stored if name.startswith("base_model.") or ".lora_" in name]
    named = [name for name in stored if name.endswith("word_embeddings.weight")]
    if adapted:
        message = f"{_some(adapted)}: the weights of an adapter; a merged model is needed"
        yield Fault(None, message, MERGE_ADAPTER, adapted[0])
        return
    if named and EMBEDDING not in stored:
        yield Fault(None, f"{_some(named)} is not the name of a parameter", RENAME, named[0])
        return
    heads = [name for name in stored if name.startswith(_OTHER_HEADS)]
    if heads:
        message = f"the model has a classifier's head ({heads[0]}), and is not one that writes text"
        yield Fault(None, message, "take the causal language model that it was made from", heads[0])
    numbers = {int(match[1]) for match in map(_LAYER.fullmatch, stored) if match}
    if not numbers and not {EMBEDDING, HEAD} & stored.keys():
        message = "the files of weights hold no tensors"
        if stored:
            message = f"config.json is a Falcon's, the tensors are not: {_some([*stored])}"
        yield Fault("config.json", message, SAME_REVISION, "model_type")
        return
    layers = architecture.geometry.layers
    if len(numbers) != layers or max(numbers, default=0) >= layers:
        yield _other_layers(config, layers, numbers)
    present = {name: shape for name, shape in stored.items() if name not in heads}
    if architecture.tied_head and EMBEDDING not in stored and HEAD in stored:
        present[EMBEDDING] = present[HEAD]  # some writers keep the other name of the shared tensor
    expected = architecture.parameters(sorted(number for number in numbers if number < layers))
    if architecture.tied_head and HEAD in stored:
        expected[HEAD] = expected[EMBEDDING]
    by_name = [*_name_differences(expected, present, layers)]
    yield from by_name
    if not any(fault.key == "new_decoder_architecture" for fault in by_name):
        yield from _shape_differences(config, expected, present)


def _other_layers(config: Mapping[str, Any], layers: int, numbers: set[int]) -> Fault:
    highest = max(numbers, default=-1)
    held = f"{len(numbers)}" if highest + 1 == len(numbers) else f"{len(numbers)}, up to {highest}"
    message = f"config.json asks for {layers} layers, the weights hold {held}"
    return Fault("config.json", message, SAME_REVISION, key_of(config, "layers"))


def _shape_differences(
    config: Mapping[str, Any], expected: Mapping[str, Shape], stored: Mapping[str, Shape]
) -> Iterator[Fault]:
    """Yield each key of config.json that shapes contradict, with the first such tensor."""
    wrong: dict[str, list[str]] = {}
    for name, shape in expected.items():
        if name in stored and stored[name] != shape:
            wrong.setdefault(_key_of_shape(name, stored[name], shape, config), []).append(name)
    if "hidden_size" in wrong:  # the other widths follow from it
        wrong = {"hidden_size": wrong["hidden_size"]}
    for key, names in wrong.items():
        found, asked = list(stored[names[0]]), list(expected[names[0]])
        message = f"{names[0]} has shape {shortened(found)}, config.json asks for {asked}"
        more = f" (and {len(names) - 1} more tensors)" if len(names) > 1 else ""
        yield Fault("config.json", message + more, SAME_REVISION, key)


def _key_of_shape(name: str, found: Shape, asked: Shape, config: Mapping[str, Any]) -> str:
    if name in (EMBEDDING, HEAD):
        return key_of(config, "vocab_size" if found[1:] == asked[1:] else "hidden_size")
    if "mlp." in name:
        is_same_width = found[-1:] == asked[-1:] or found[:1] == asked[:1]
        return "ffn_hidden_size" if is_same_width else key_of(config, "hidden_size")
    if "query_key_value" in name and found[1:] == asked[1:]:
        if is_new_decoder(config):
            return "num_kv_heads" if "num_kv_heads" in config else "n_head_kv"
        return "multi_query" if "multi_query" in config else key_of(config, "attention_heads")
    return key_of(config, "hidden_size")


def _name_differences(
    expected: Mapping[str, Shape], stored: Mapping[str, Shape], layers: int
) -> Iterator[Fault]:
    """Yield the parameters that are not stored, or else the tensors that are no parameter."""
    missing = [name for name in expected if name not in stored]
    if missing:
        message = f"{len(missing)} of the tensors that config.json asks for are missing: "
        yield Fault("config.json", message + _some(missing), SAME_REVISION, _key_of_names(missing))
        return
    unused = [
        name
        for name in stored
        if name not in expected
        and not is_buffer(name)
        and not ((match := _LAYER.fullmatch(name)) and int(match[1]) >= layers)
    ]
    if unused:
        message = f"{len(unused)} stored tensors are not used with this config.json: "
        key = _key_of_names(unused)
        file = "config.json" if key else None
        yield Fault(file, message + _some(unused), SAME_REVISION, key or unused[0])


def _key_of_names(names: list[str]) -> str | None:
    """Return the key of config.json that decides whether there are such parameters."""
    modules = [name.rpartition(".")[0].rpartition(".")[2] for name in names]
    if all(name == HEAD for name in names):
        return "tie_word_embeddings"
    if any("layernorm" in module or module.startswith("ln_") for module in modules):
        return "new_decoder_architecture" if "ln_f" not in modules else None
    return "bias" if all(name.endswith(".bias") for name in names) else None


def _some(names: list[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[:80] for name in names[:3]) + more
