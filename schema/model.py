"""The model of a recipe, and the geometry that decides what fits and what splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from vacc_gen.schema.base import Strict
from vacc_gen.schema.errors import CheckpointError

FALCON_MODEL_TYPES = ("falcon", "RefinedWeb", "RefinedWebModel")
"""`model_type` values of Falcon checkpoints; the last two are those of 2023."""

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
    parameters: int | None = Field(default=None, ge=1, description="total, as published")


class Model(Strict):
    """Which model the recipe is for, and where its weights are."""

    preset: str = Field(min_length=1, description="name of a preset; see `vacc-gen presets list`")
    checkpoint: str = Field(
        min_length=1,
        description="weight folder, absolute or relative to vacc.yaml: config.json, tokenizer.json "
        "and safetensors shards; a placeholder such as /path/to/falcon-7b-instruct is fine until "
        "`build`",
    )


def geometry_from_config(config: Mapping[str, Any]) -> Geometry:
    """Read the geometry out of a Falcon `config.json`, in the old spelling or the new one.

    falcon-7b says `num_kv_heads: 71` beside `multi_query: true`, yet its cache holds one KV head:
    `num_kv_heads` counts only in the new decoder architecture, as in transformers' FalconAttention.

    Raises:
        CheckpointError: a size is missing or is not a positive whole number.
    """
    heads = _size(config, "num_attention_heads", "n_head")
    hidden_size = _size(config, "hidden_size", "n_embed")
    if hidden_size % heads:
        raise CheckpointError(
            f"config.json: hidden_size {hidden_size} is not a multiple of {heads} attention heads"
        )
    if is_new_decoder(config):
        kv_heads = _size(config, "num_kv_heads", "n_head_kv")
    else:
        kv_heads = 1 if config.get("multi_query", True) else heads
    ffn_hidden_size = config.get("ffn_hidden_size")
    return Geometry(
        layers=_size(config, "num_hidden_layers", "n_layer"),
        hidden_size=hidden_size,
        attention_heads=heads,
        kv_heads=kv_heads,
        head_size=hidden_size // heads,
        ffn_hidden_size=(
            4 * hidden_size if ffn_hidden_size is None else _size(config, "ffn_hidden_size")
        ),
        vocab_size=_size(config, "vocab_size"),
        max_positions=(
            _size(config, "max_position_embeddings")
            if "max_position_embeddings" in config
            else 2048
        ),
    )


def is_new_decoder(config: Mapping[str, Any]) -> bool:
    """Whether the config is of the 40B and 11B kind (grouped-query, norms in parallel).

    Checkpoints of 2023 with `model_type: RefinedWeb` say so by `n_head_kv` alone.
    """
    if "new_decoder_architecture" in config:
        return bool(config["new_decoder_architecture"])
    return config.get("model_type") == "RefinedWeb" and "n_head_kv" in config


def _size(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if name in config:
            value = config[name]
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
            raise CheckpointError(f"config.json: {name} is {value!r}, not a positive whole number")
    raise CheckpointError(f"config.json: {' or '.join(names)} is missing")
