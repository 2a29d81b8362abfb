"""A model's geometry, read from its config.json, and what it takes of the memory of a die."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from vacc_gen.schema.errors import CheckpointError, plural
from vacc_gen.schema.precision import Precision
from vacc_gen.schema.strict import Strict, optional

FALCON_MODEL_TYPES = ("falcon", "RefinedWeb", "RefinedWebModel")
"""`model_type` values of Falcon checkpoints; the last two are those of 2023."""

TP_CHOICES = (1, 2, 4, 8, 16, 32)
"""Numbers of dies that are worth considering; published configs use 4 and 8."""

Count = Annotated[int, Field(ge=1)]


class Geometry(Strict):
    """The sizes of a decoder-only transformer. Widths and lengths in elements, not bytes."""

    layers: Count
    hidden_size: Count
    attention_heads: Count
    kv_heads: Count = Field(description="heads that the KV cache really holds (1 for multi-query)")
    head_size: Count
    ffn_hidden_size: Count
    vocab_size: Count
    max_positions: Count
    gated_mlp: bool = optional("the MLP has three matrices (gate, up, down) and not two", False)
    tied_embeddings: bool = optional("the head is the embedding's matrix", True)
    parameters: Count | None = optional("total, as published")

    def splits_evenly(self, tp: int) -> bool:
        """Whether every die has as many heads: dies share each KV head, or KV heads each die."""
        shares = self.kv_heads % tp == 0 or tp % self.kv_heads == 0
        return self.attention_heads % tp == 0 and shares

    def even_tp(self, tp: int) -> int:
        """Return the next larger tp that splits the heads evenly, or else the next smaller."""
        even = [choice for choice in TP_CHOICES if self.splits_evenly(choice)]
        return next((choice for choice in even if choice >= tp), even[-1])

    def heads_sentence(self, tp: int) -> str:
        """Return what the fullest die has, such as `18 attention heads and 1 KV head a die`."""
        attention, kv = _ceil(self.attention_heads, tp), _ceil(self.kv_heads, tp)
        heads = f"{plural(attention, 'attention head')} and {plural(kv, 'KV head')} a die"
        return heads if self.splits_evenly(tp) else f"up to {heads}"


_NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden_size": ("hidden_size", "n_embed"),
    "attention_heads": ("num_attention_heads", "n_head"),
    "ffn_hidden_size": ("ffn_hidden_size", "intermediate_size"),
    "vocab_size": ("padded_vocab_size", "vocab_size"),
    "max_positions": ("max_position_embeddings", "model_max_length", "seq_length"),
}
"""How config.json calls a size, likeliest first: LLaMA's and Falcon's names, `n_*` of Falcon in
2023, then those of ChatGLM and Baichuan2-13B."""

MAX_SIZE = 2**31 - 1  # of transformers' and the compiler's indices
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_TIED_BY_DEFAULT = (*FALCON_MODEL_TYPES, "gemma")
"""Classes whose `tie_word_embeddings` is true where config.json does not say."""


def geometry_from_config(config: Mapping[str, Any]) -> Geometry:
    """Read the geometry out of a `config.json`; defaults are those of the class in transformers.

    Raises:
        CheckpointError: a size is missing or is not a positive whole number, or the model is not
            a plain decoder (mixture of experts).
    """
    inner, falcon = config.get("text_config"), is_falcon(config)
    if isinstance(inner, Mapping) and not falcon:  # of a vision-language model
        config = {**inner, **config}
    if any(name in config for name in _EXPERTS):
        hint = "vacc-gen knows models whose layers all have one MLP"
        raise CheckpointError("config.json: a mixture of experts", hint)
    heads = _size(config, *_NAMES["attention_heads"])
    hidden_size = _size(config, *_NAMES["hidden_size"])
    defaults = {"ffn_hidden_size": 4 * hidden_size, "max_positions": 2048} if falcon else {}
    sizes = {name: _size(config, *_NAMES[name], default=defaults.get(name)) for name in _NAMES}
    tied = config.get("tie_word_embeddings")
    if tied is None:
        tied = config.get("model_type") in _TIED_BY_DEFAULT
    return Geometry(
        **sizes,
        kv_heads=_kv_heads(config, heads),
        head_size=_head_size(config, hidden_size, heads),
        gated_mlp=not falcon,
        tied_embeddings=bool(tied),
    )


def shape_difference(expected: Geometry, found: Geometry) -> str | None:
    """Return the sizes in which a checkpoint is another model, in words; None if in none.

    A fine-tune may have more words or other lengths.
    """
    own, its = expected.model_dump(), found.model_dump()
    names = ("layers", "hidden_size", "attention_heads", "kv_heads", "head_size", "ffn_hidden_size")
    differing = [f"{n} is {its[n]}, the preset's {own[n]}" for n in names if own[n] != its[n]]
    return "; ".join(differing) or None


def is_falcon(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of the Falcon architecture (Falcon3 is of LLaMA's)."""
    return config.get("model_type") in FALCON_MODEL_TYPES


def is_new_decoder(config: Mapping[str, Any]) -> bool:
    """Whether the config is of the 40B and 11B kind (grouped-query, norms in parallel).

    Checkpoints of 2023 with `model_type: RefinedWeb` say so by `n_head_kv` alone.
    """
    if "new_decoder_architecture" in config:
        return bool(config["new_decoder_architecture"])
    return config.get("model_type") == "RefinedWeb" and "n_head_kv" in config


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    """Return how many heads the cache really holds.

    falcon-7b says `num_kv_heads: 71` beside `multi_query: true`, yet its cache holds one KV head:
    `num_kv_heads` counts only in the new decoder architecture, as in transformers' FalconAttention.
    """
    if is_falcon(config):
        if is_new_decoder(config):
            return _size(config, *_kv_names(config), default=heads)
        return 1 if config.get("multi_query", True) else heads
    if "multi_query_attention" in config:  # chatglm
        return _size(config, "multi_query_group_num") if config["multi_query_attention"] else heads
    return _size(config, "num_key_value_heads", default=heads)


def _kv_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys that say how many KV heads a Falcon has."""
    return ("num_kv_heads", "n_head_kv") if is_new_decoder(config) else ("multi_query",)


def _head_size(config: Mapping[str, Any], hidden_size: int, heads: int) -> int:
    names = () if is_falcon(config) else ("head_dim", "kv_channels")
    if hidden_size % heads and not any(config.get(name) for name in names):
        message = f"hidden_size {hidden_size} is not a multiple of {heads} attention heads"
        raise CheckpointError(f"config.json: {message}", key=key_of(config, "attention_heads"))
    return _size(config, *names, default=hidden_size // heads)


def _size(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    """Return the first of `names` that is there and not null, or else the default."""
    name = next((name for name in names if config.get(name) is not None), None)
    value = default if name is None else config[name]
    if value is None:
        raise CheckpointError(f"config.json: {' or '.join(names)} is missing")
    if type(value) is int and 0 < value <= MAX_SIZE:
        return value
    message = f"{name} is {shortened(value)}, not a whole number from 1 to {MAX_SIZE}"
    raise CheckpointError(f"config.json: {message}", key=name)


def key_of(config: Mapping[str, Any], size: str) -> str:
    """Return the key by which a config.json gives one of the sizes, `layers` for example."""
    names = _NAMES.get(size) or _kv_names(config)
    return next((name for name in names if config.get(name) is not None), names[0])


def shortened(value: Any) -> str:
    """Return a value of a config.json for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


SERVED_BATCH = 16
"""Requests that `vastgenx serve` takes at once unless told otherwise (tools/vastgenx/README.md)."""

FP16_BYTES = 2
WEIGHT_BITS = {"int8": 8, "int4": 4}  # of a linear layer
GROUP_SIZE = 64  # of such weights, for which there is one fp16 scale


@dataclass(frozen=True)
class Footprint:
    """Memory of the fullest die, in bytes."""

    precision: Precision
    tp: int
    weights_bytes: int
    kv_cache_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes


def footprint(geometry: Geometry, precision: Precision, tp: int, total_tokens: int) -> Footprint:
    """Estimate the memory of the fullest die; `total_tokens` are those of prompt and answer.

    The compiler is closed: how it splits a tensor, and what else it keeps (activations, buffers,
    code), is not published. docs/explanation/memory.md has the formula.
    """
    linear, embedding = _weights(geometry, tp)
    linear_bytes = linear * FP16_BYTES
    if precision in WEIGHT_BITS:
        linear_bytes = linear * WEIGHT_BITS[precision] // 8 + linear * FP16_BYTES // GROUP_SIZE
    kv_heads = _ceil(geometry.kv_heads, tp)  # a die holds whole heads, copies where they are fewer
    cache_values = 2 * geometry.layers * kv_heads * geometry.head_size * total_tokens * SERVED_BATCH
    return Footprint(
        precision=precision,
        tp=tp,
        weights_bytes=linear_bytes + embedding * FP16_BYTES,
        kv_cache_bytes=cache_values * (1 if precision == "kv8" else FP16_BYTES),
    )


def least_tp(
    geometry: Geometry, precision: Precision, total_tokens: int, die_memory_bytes: int
) -> int | None:
    """Return the least of `TP_CHOICES` with which a model fits dies; None where none does."""
    estimates = (footprint(geometry, precision, tp, total_tokens) for tp in TP_CHOICES)
    return next((one.tp for one in estimates if one.total_bytes <= die_memory_bytes), None)


def parameter_count(geometry: Geometry) -> int:
    """Number of weights with a tied head counted once; norms and biases are left out."""
    return sum(_weights(geometry, dies=1))


def _weights(g: Geometry, dies: int) -> tuple[int, int]:
    """Count the weights of the fullest die: in the linear layers, and in embedding and head."""
    heads, kv_heads = _ceil(g.attention_heads, dies), _ceil(g.kv_heads, dies)
    attention = g.hidden_size * (2 * heads + 2 * kv_heads) * g.head_size
    mlp = (3 if g.gated_mlp else 2) * g.hidden_size * _ceil(g.ffn_hidden_size, dies)
    matrices = 1 if g.tied_embeddings else 2
    return g.layers * (attention + mlp), matrices * g.hidden_size * _ceil(g.vocab_size, dies)


def _ceil(count: int, parts: int) -> int:
    return -(-count // parts)
