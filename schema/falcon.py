"""The architecture of a Falcon: its geometry, and the switches in which its variants differ.

7B    multi-query, attention and MLP side by side after one norm, rotary
40B   grouped-query (new decoder architecture), side by side after a norm each, rotary
11B   as 40B with one norm and an FFN of its own width
RW    multi-head, one after the other, ALiBi, biases
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vacc_gen.schema.errors import CheckpointError
from vacc_gen.schema.geometry import (
    FALCON_MODEL_TYPES,
    Geometry,
    geometry_from_config,
    is_falcon,
    is_new_decoder,
)

EMBEDDING = "transformer.word_embeddings.weight"
HEAD = "lm_head.weight"
FINAL_NORM = "transformer.ln_f"
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")


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

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Every parameter of the model and its shape, a tied head once (as the embedding)."""
        hidden, vocab = self.geometry.hidden_size, self.geometry.vocab_size
        shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (vocab, hidden)}
        for layer in range(self.geometry.layers):
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
            f"config.json: model_type is {config.get('model_type')!r}, not a Falcon's",
            f"the embedded backend runs Falcon alone (model_type {', '.join(FALCON_MODEL_TYPES)}); "
            "build other models with the vendor's vamc, in the workspace that `new` makes",
        )
    geometry = geometry_from_config(config)
    new_decoder = is_new_decoder(config)
    parallel = _flag(config, "parallel_attn", True)
    if new_decoder and not parallel:
        raise CheckpointError(
            "config.json: new_decoder_architecture without parallel_attn is not a Falcon"
        )
    if geometry.attention_heads % geometry.kv_heads:
        raise CheckpointError(
            f"config.json: {geometry.attention_heads} attention heads do not divide into "
            f"{geometry.kv_heads} KV heads"
        )
    norms = config.get("num_ln_in_parallel_attn")
    activation = config.get("activation", "gelu")
    if activation not in ACTIVATIONS:
        raise CheckpointError(
            f"config.json: activation {activation!r} is not supported",
            f"supported are {', '.join(ACTIVATIONS)}",
        )
    return Architecture(
        geometry=geometry,
        alibi=_flag(config, "alibi", False),
        bias=_flag(config, "bias", False),
        parallel=parallel,
        separate_norms=new_decoder and norms in (None, 2),
        tied_head=_flag(config, "tie_word_embeddings", True),
        rope_theta=_rope_theta(config),
        activation=activation,
        layer_norm_epsilon=_positive(config, "layer_norm_epsilon", 1e-5),
    )


def _rope_theta(config: Mapping[str, Any]) -> float:
    """The rotary base, where transformers 4 or 5 write it; scaled rotary is refused."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(parameters, Mapping):
        raise CheckpointError(f"config.json: rope parameters are {parameters!r}, not an object")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind != "default":
        raise CheckpointError(
            f"config.json: rope scaling {kind!r} is not supported",
            "Falcon models are published without rope scaling",
        )
    return _positive(parameters if "rope_theta" in parameters else config, "rope_theta", 10000.0)


def _positive(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise CheckpointError(f"config.json: {name} is {value!r}, not a positive number")


def _flag(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = config.get(name, default)
    if isinstance(value, bool):
        return value
    raise CheckpointError(f"config.json: {name} is {value!r}, neither true nor false")
