"""The architecture of a Falcon: its geometry, and the switches in which its variants differ.

7B    multi-query, attention and MLP side by side after one norm, rotary
40B   grouped-query (new decoder architecture), side by side after a norm each, rotary
11B   as 40B with one norm and an FFN of its own width
RW    multi-head, one after the other, ALiBi, biases
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vacc_gen.schema.checkpoint import TensorEntry
from vacc_gen.schema.errors import MERGE_ADAPTER, CheckpointError, first_few
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

EMBEDDING = "transformer.word_embeddings.weight"
HEAD = "lm_head.weight"
FINAL_NORM = "transformer.ln_f"
SOURCE_DTYPES = ("BF16", "F16", "F32")
"""What Falcon checkpoints are published in; anything else is quantized, or no weight."""

SAME_REVISION = "config.json and the shards must be of the same model and revision"

Shape = tuple[int, ...]
Positive = Annotated[float, Field(gt=0)]


class Rope(BaseModel):
    """Rotary positions that are not scaled, as Falcon models have them."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", defer_build=True)

    type: Literal["default"] | None = None
    rope_type: Literal["default"] | None = None
    factor: Literal[1] | None = None
    partial_rotary_factor: Literal[1] | None = None
    original_max_position_embeddings: Any = None
    rope_theta: Positive | None = None


class Architecture(BaseModel):
    """What a graph of the model must compute: sizes, and what config.json says beside them.

    Names and defaults are those of transformers, as are the names of parameters.
    """

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True, defer_build=True)

    geometry: Geometry
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
    rope_scaling: Rope | None = None
    rope_parameters: Rope | None = None
    activation: Literal["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"] = "gelu"
    layer_norm_epsilon: Positive = 1e-5

    @property
    def separate_norms(self) -> bool:
        return self.new_decoder_architecture and self.num_ln_in_parallel_attn != 1

    def rotary_bases(self) -> list[float]:
        """Bases where transformers 4 and 5 write them; 5 reads `rope_scaling` in any case."""
        bases = [self.rope_theta] if "rope_theta" in self.model_fields_set else []
        ropes = (self.rope_scaling, self.rope_parameters)
        return bases + [rope.rope_theta for rope in ropes if rope and rope.rope_theta]

    def layer_norms(self) -> tuple[str, ...]:
        """Names of the norms of a layer: the attention's, and the MLP's where it has its own."""
        if self.separate_norms:
            return ("ln_attn", "ln_mlp")
        if self.parallel_attn:
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
        if not self.tie_word_embeddings:
            shapes[HEAD] = (vocab, hidden)
        return shapes


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
    derived = {"new_decoder_architecture": is_new_decoder(config)}
    geometry = geometry_from_config(config)
    try:
        read = Architecture.model_validate({**derived, **config, "geometry": geometry})
    except ValidationError as error:
        raise _refusal(error) from error
    for key, message, hint in _contradictions(config, read):
        raise CheckpointError(f"config.json: {message}", hint, key)
    return read.model_copy(update={"rope_theta": next(iter(read.rotary_bases()), read.rope_theta)})


def _refusal(error: ValidationError) -> CheckpointError:
    problem = error.errors()[0]
    (key, *inner), found = map(str, problem["loc"]), shortened(problem["input"])
    if key in ("rope_scaling", "rope_parameters"):
        message = f"config.json: rope scaling {' '.join([*inner, found])} is not supported"
        return CheckpointError(message, "Falcon models are published without rope scaling", key)
    _, _, must = problem["msg"].partition(" should ")
    return CheckpointError(f"config.json: {key} is {found}, and must {must}", key=key)


def _contradictions(
    config: Mapping[str, Any], read: Architecture
) -> Iterator[tuple[str, str, str | None]]:
    """Yield a key, what of it is true of no Falcon, and what to do about it."""
    head_size, grouped = read.geometry.head_size, read.new_decoder_architecture
    heads, kv_heads = read.geometry.attention_heads, read.geometry.kv_heads
    if heads % kv_heads:
        yield "num_kv_heads", f"{heads} heads do not divide into {kv_heads} KV heads", None
    if head_size % 2 and not read.alibi:
        key = key_of(config, "attention_heads")
        yield key, f"heads of {head_size} cannot be rotated in pairs", None
    if grouped and not read.parallel_attn:
        yield "parallel_attn", "new_decoder_architecture needs parallel_attn", None
    if read.num_ln_in_parallel_attn == 2 and not grouped:
        key = "num_ln_in_parallel_attn"
        yield key, f"{key} is 2 without new_decoder_architecture", None
    counted = {"n_head_kv": read.n_head_kv, "num_kv_heads": kv_heads > 1 and read.num_kv_heads}
    for key, value in counted.items():
        if value and not grouped and value not in (heads, kv_heads):
            hint = "grouped queries need new_decoder_architecture, or in 2023 model_type RefinedWeb"
            yield key, f"{key} is {value}, but this model has {kv_heads} KV heads", hint
    bases = sorted({*read.rotary_bases()})
    if len(bases) > 1:
        hint = "transformers 4 and 5 read different ones: delete the wrong one"
        yield "rope_theta", f"rope_theta is {' and '.join(map(str, bases))}", hint


_LAYER = re.compile(r"transformer\.h\.(\d{1,9})\.(.+)")
_BUFFERS = re.compile(r"(inv_freq|masked_bias|attn\.bias|attention\.mask)$")

_FOREIGN = {
    r"base_model\.|.*\.lora_": ("an adapter's weights; a merged model is needed", MERGE_ADAPTER),
    r"(score|classifier|qa_outputs)\.": (
        "a classifier's head; a model that writes text is needed",
        "take the causal language model that it was made from",
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
            name, message = foreign[0], f"{_some(foreign)}: {problem}"
            yield CheckpointError(message, hint, name, file=stored[name].path.name)
            return
    numbers = {int(match[1]) for match in map(_LAYER.fullmatch, stored) if match}
    if not numbers and not {EMBEDDING, HEAD} & stored.keys():
        message = "the files of weights hold no tensors"
        if stored:
            message = f"config.json is a Falcon's, the tensors are not: {_some(stored)}"
        yield CheckpointError(message, SAME_REVISION, "model_type")
        return
    layers, highest = architecture.geometry.layers, max(numbers, default=-1)
    if len(numbers) != layers or highest >= layers:
        gap = "" if highest + 1 == len(numbers) else f", up to {highest}"
        message = f"config.json asks for {layers} layers, the weights hold {len(numbers)}{gap}"
        yield CheckpointError(message, SAME_REVISION, key_of(config, "layers"))
    expected = architecture.parameters(sorted(number for number in numbers if number < layers))
    if architecture.tie_word_embeddings and HEAD in stored:
        expected[HEAD] = expected[EMBEDDING]
        if EMBEDDING not in stored:  # some writers keep the other name of the shared tensor
            del expected[EMBEDDING]
    fault = _name_difference(expected, stored, layers)
    if fault := fault or _shape_difference(config, expected, stored):
        yield fault


def _name_difference(
    expected: Mapping[str, Shape], stored: Mapping[str, TensorEntry], layers: int
) -> CheckpointError | None:
    """Return what parameters are not stored, or else what tensors are no parameter."""
    names = [name for name in expected if name not in stored]
    problem = "of the tensors that config.json asks for are missing"
    if not names:
        problem = "stored tensors are not used with this config.json"
        unused = [name for name in stored if name not in expected and not is_buffer(name)]
        names = [n for n in unused if not (layer := _LAYER.match(n)) or int(layer[1]) < layers]
    if not names:
        return None
    message = f"{len(names)} {problem}: {_some(names)}"
    key = next((key for pattern, key in _DECIDED_BY.items() if re.match(pattern, names[0])), None)
    if key is None and names[0] in stored:
        file = stored[names[0]].path.name
        return CheckpointError(message, SAME_REVISION, names[0], file=file)
    return CheckpointError(message, SAME_REVISION, key)


def _shape_difference(
    config: Mapping[str, Any], expected: Mapping[str, Shape], stored: Mapping[str, TensorEntry]
) -> CheckpointError | None:
    """Return the first tensor of another shape, and the key of config.json that it contradicts."""
    wrong = [name for name in expected if name in stored and stored[name].shape != expected[name]]
    if not wrong:
        return None
    found, asked = stored[wrong[0]].shape, expected[wrong[0]]
    message = f"{wrong[0]} has shape {shortened([*found])}, config.json asks for {[*asked]}"
    more = f" (and {len(wrong) - 1} more tensors)" if len(wrong) > 1 else ""
    size = next((size for part, size in _SIZED_BY.items() if part in wrong[0]), "hidden_size")
    width = 0 if "4h_to_h" in wrong[0] else -1  # where its hidden size stands
    if len(found) != len(asked) or found[width] != asked[width]:
        size = "hidden_size"
    return CheckpointError(message + more, SAME_REVISION, key_of(config, size))


def _some(names: Iterable[str]) -> str:
    return first_few([name[:80] for name in names])
