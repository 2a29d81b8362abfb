"""The architecture of a Falcon: its geometry, and the switches in which its variants differ.

7B    multi-query, attention and MLP side by side after one norm, rotary
40B   grouped-query (new decoder architecture), side by side after a norm each, rotary
11B   as 40B with one norm and an FFN of its own width
RW    multi-head, one after the other, ALiBi, biases
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError
from vacc_gen.schema.geometry import (
    FALCON_MODEL_TYPES,
    Count,
    Geometry,
    geometry_from_config,
    is_falcon,
    is_new_decoder,
    key_of,
    shortened,
)
from vacc_gen.schema.shards import TensorEntry

EMBEDDING = "transformer.word_embeddings.weight"
HEAD = "lm_head.weight"
FINAL_NORM = "transformer.ln_f"
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


Positive = Annotated[float, Field(gt=0)]


class FalconConfig(BaseModel):
    """What a Falcon's config.json says beside its sizes; defaults are those of transformers."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, defer_build=True)

    alibi: bool = False
    bias: bool = False
    multi_query: bool = True
    new_decoder_architecture: bool = False
    parallel_attn: bool = True
    tie_word_embeddings: bool = True
    num_ln_in_parallel_attn: Literal[1, 2] | None = None
    num_kv_heads: Count | None = None
    n_head_kv: Count | None = None
    rope_theta: Positive = 10000.0
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None
    activation: Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"] = "gelu"
    layer_norm_epsilon: Positive = 1e-5


_EXPECTED = {
    "bool_type": "neither true nor false",
    "dict_type": "not an object",
    "int_type": "not a positive whole number",
    "greater_than_equal": "not a positive whole number",
    "literal_error": "not {expected}",
}
"""How the errors of a field are said, by pydantic's types of them."""


def _read_config(config: Mapping[str, Any]) -> FalconConfig:
    try:
        return FalconConfig.model_validate(dict(config))
    except ValidationError as error:
        problem = error.errors()[0]
        key, expected = str(problem["loc"][0]), _EXPECTED.get(problem["type"])
        expected = (expected or "not a positive number").format(**problem.get("ctx", {}))
        message = f"config.json: {key} is {shortened(config[key])}, {expected}"
        raise CheckpointError(message, key=key) from error


def architecture_from_config(config: Mapping[str, Any]) -> Architecture:
    """Read the architecture out of a Falcon `config.json`.

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
    said = _read_config(config)
    geometry = geometry_from_config(config)
    _check_names(config, geometry)
    _check_heads(config, said, geometry)
    new_decoder = is_new_decoder(config)
    if new_decoder and not said.parallel_attn:
        message = "config.json: new_decoder_architecture without parallel_attn is not a Falcon"
        raise CheckpointError(message, key="parallel_attn")
    if said.num_ln_in_parallel_attn == 2 and not new_decoder:
        message = "config.json: num_ln_in_parallel_attn is 2 without new_decoder_architecture"
        raise CheckpointError(message, key="num_ln_in_parallel_attn")
    return Architecture(
        geometry=geometry,
        alibi=said.alibi,
        bias=said.bias,
        parallel=said.parallel_attn,
        separate_norms=new_decoder and said.num_ln_in_parallel_attn != 1,
        tied_head=said.tie_word_embeddings,
        rope_theta=_rope_theta(said),
        activation=said.activation,
        layer_norm_epsilon=said.layer_norm_epsilon,
    )


_OLD_NAMES = {
    "n_embed": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_head_kv": "num_kv_heads",
}
"""How the configs of 2023 call the sizes."""


def _check_names(config: Mapping[str, Any], geometry: Geometry) -> None:
    """Refuse sizes by two names that differ, and by names that transformers does not go by."""
    for old, new in _OLD_NAMES.items():
        if None not in (config.get(old), config.get(new)) and config[old] != config[new]:
            values = f"{old} is {shortened(config[old])} and {new} is {shortened(config[new])}"
            message = f"config.json: {values}: two names of one size"
            raise CheckpointError(message, f"delete {old}", old)
    used = {
        "head_dim": geometry.hidden_size / geometry.attention_heads,
        "intermediate_size": config.get("ffn_hidden_size") or 4 * geometry.hidden_size,
    }
    for key, expected in used.items():
        if config.get(key) not in (None, expected):
            message = f"{key} is {shortened(config[key])}, a Falcon's is {expected:g}"
            raise CheckpointError(f"config.json: {message}", f"delete {key}", key)


def _check_heads(config: Mapping[str, Any], said: FalconConfig, geometry: Geometry) -> None:
    heads, kv_heads = geometry.attention_heads, geometry.kv_heads
    if heads % kv_heads:
        message = f"{heads} attention heads do not divide into {kv_heads} KV heads"
        raise CheckpointError(f"config.json: {message}", key="num_kv_heads")
    if geometry.head_size % 2 and not said.alibi:
        message = f"config.json: heads of {geometry.head_size} cannot be rotated in pairs"
        raise CheckpointError(message, key=key_of(config, "attention_heads"))
    for key, value in (("n_head_kv", said.n_head_kv), ("num_kv_heads", said.num_kv_heads)):
        is_unread = key == "num_kv_heads" and kv_heads == 1
        if not is_new_decoder(config) and not is_unread and value not in (None, heads, kv_heads):
            raise CheckpointError(
                f"config.json: {key} is {value}, but this model has {kv_heads} KV heads",
                'grouped-query Falcons say `"new_decoder_architecture": true`; the one of 2023 has '
                "model_type RefinedWeb, not RefinedWebModel",
                key,
            )


_PLAIN_ROPE = ("type", "rope_type", "rope_theta", "original_max_position_embeddings")


def _rope_theta(said: FalconConfig) -> float:
    """The rotary base, where transformers 4 or 5 write it; scaled rotary is refused.

    transformers 5 applies `rope_scaling` also beside `rope_parameters`.
    """
    thetas = {"rope_theta": said.rope_theta} if "rope_theta" in said.model_fields_set else {}
    for key in ("rope_scaling", "rope_parameters"):
        given = getattr(said, key) or {}
        scaling = [given.get(name) for name in ("type", "rope_type")]
        scaling = [kind for kind in scaling if kind not in (None, "default")]
        others = [name for name in given if name not in _PLAIN_ROPE]
        scaling += [f"{name} {given[name]}" for name in others if given[name] not in (None, 1)]
        if scaling:
            message = f"config.json: rope scaling {shortened(scaling[0])} is not supported"
            hint = "Falcon models are published without rope scaling"
            raise CheckpointError(message, hint, key)
        if "rope_theta" in given:
            thetas[key] = _read_config({"rope_theta": given["rope_theta"]}).rope_theta
    found = sorted({*thetas.values()})
    if len(found) > 1:
        message = f"config.json: rope_theta is {' and '.join(map(str, found))}"
        hint = "transformers 4 and 5 read different ones: delete the wrong one"
        raise CheckpointError(message, hint, [*thetas][-1])
    return found[0] if found else said.rope_theta


_LAYER = re.compile(r"transformer\.h\.(\d{1,9})\.(.+)")
_BUFFERS = re.compile(r"(inv_freq|masked_bias|attn\.bias|attention\.mask)$")

_FOREIGN = {
    r"base_model\.|.*\.lora_": (
        "the weights of an adapter; a merged model is needed",
        MERGE_ADAPTER,
    ),
    r"(score|classifier|qa_outputs)\.": (
        "a classifier's head; a model that writes text is needed",
        "take the causal language model that it was made from",
    ),
    r"(?!transformer\.w).*word_embeddings\.weight": (
        "not the name of a parameter",
        f"transformers' names begin like {EMBEDDING}: save the model itself, not what wraps it",
    ),
}
"""Names of tensors that no Falcon has, what they say, and what to do."""

_DECIDED_BY = {
    r"lm_head\.": "tie_word_embeddings",
    r".*(layernorm|ln_attn|ln_mlp)\.": "new_decoder_architecture",
    r".*(attention|mlp)\..*\.bias": "bias",
}
"""The key of config.json that says whether there are such parameters."""

_SIZED_BY = {
    "word_embeddings": "vocab_size",
    "lm_head": "vocab_size",
    "mlp.": "ffn_hidden_size",
    "query_key_value": "kv_heads",
}
"""The size, beside hidden_size, that such parameters have."""


def is_buffer(name: str) -> bool:
    """Whether a tensor is what older code stored beside the parameters, and is computed anew."""
    return _BUFFERS.search(name) is not None


def differences(
    architecture: Architecture, config: Mapping[str, Any], stored: Mapping[str, TensorEntry]
) -> Iterator[CheckpointError]:
    """Yield where stored tensors, by their whole names, are not those that config.json asks for.

    Takes no longer than `stored` is.
    """
    for pattern, (problem, hint) in _FOREIGN.items():
        foreign = [name for name in stored if re.match(pattern, name)]
        if foreign:
            yield _at_tensor(stored[foreign[0]], f"{_some(foreign)}: {problem}", hint)
            return
    numbers = {int(match[1]) for match in map(_LAYER.fullmatch, stored) if match}
    if not numbers and not {EMBEDDING, HEAD} & stored.keys():
        message = f"config.json is a Falcon's, the tensors are not: {_some([*stored])}"
        yield CheckpointError(message, SAME_REVISION, "model_type")
        return
    layers, highest = architecture.geometry.layers, max(numbers, default=-1)
    if len(numbers) != layers or highest >= layers:
        gap = "" if highest + 1 == len(numbers) else f", up to {highest}"
        message = f"config.json asks for {layers} layers, the weights hold {len(numbers)}{gap}"
        yield CheckpointError(message, SAME_REVISION, key_of(config, "layers"))
    expected = architecture.parameters(sorted(number for number in numbers if number < layers))
    if architecture.tied_head and HEAD in stored:
        expected[HEAD] = expected[EMBEDDING]
        if EMBEDDING not in stored:  # some writers keep the other name of the shared tensor
            del expected[EMBEDDING]
    fault = _name_difference(expected, stored, layers)
    if fault is not None:
        yield fault
    if fault is None or fault.key != "new_decoder_architecture":
        yield from _shape_differences(config, expected, stored)


def _name_difference(
    expected: Mapping[str, Shape], stored: Mapping[str, TensorEntry], layers: int
) -> CheckpointError | None:
    """Return what parameters are not stored, or else what tensors are no parameter."""
    names = [name for name in expected if name not in stored]
    problem = "of the tensors that config.json asks for are missing"
    if not names:
        problem = "stored tensors are not used with this config.json"
        names = [name for name in stored if name not in expected and not is_buffer(name)]
        found = ((name, _LAYER.fullmatch(name)) for name in names)
        names = [name for name, layer in found if layer is None or int(layer[1]) < layers]
        if not names:
            return None
    message = f"{len(names)} {problem}: {_some(names)}"
    key = next((key for pattern, key in _DECIDED_BY.items() if re.match(pattern, names[0])), None)
    if key is None and names[0] in stored:
        return _at_tensor(stored[names[0]], message, SAME_REVISION)
    return CheckpointError(message, SAME_REVISION, key)


def _shape_differences(
    config: Mapping[str, Any], expected: Mapping[str, Shape], stored: Mapping[str, TensorEntry]
) -> Iterator[CheckpointError]:
    """Yield each key of config.json that shapes contradict, with the first such tensor."""
    wrong: dict[str, list[str]] = {}
    for name, shape in expected.items():
        if name in stored and stored[name].shape != shape:
            wrong.setdefault(_size_of(name, stored[name].shape, shape), []).append(name)
    if "hidden_size" in wrong:  # the other widths follow from it
        wrong = {"hidden_size": wrong["hidden_size"]}
    for size, names in wrong.items():
        found, asked = list(stored[names[0]].shape), list(expected[names[0]])
        message = f"{names[0]} has shape {shortened(found)}, config.json asks for {asked}"
        more = f" (and {len(names) - 1} more tensors)" if len(names) > 1 else ""
        yield CheckpointError(message + more, SAME_REVISION, key_of(config, size))


def _size_of(name: str, found: Shape, asked: Shape) -> str:
    """Return the size that a shape contradicts: where neither side agrees, the width."""
    is_half_right = found[:1] == asked[:1] or found[1:] == asked[1:] != ()
    sizes = [size for part, size in _SIZED_BY.items() if part in name and is_half_right]
    return sizes[0] if sizes else "hidden_size"


def _at_tensor(entry: TensorEntry, message: str, hint: str) -> CheckpointError:
    return CheckpointError(message, hint, entry.name, file=entry.path.name)


def _some(names: list[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[:80] for name in names[:3]) + more
