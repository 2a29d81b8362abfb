"""What a build takes of disk and memory. An estimate, from the sizes of the model alone."""

from __future__ import annotations

from dataclasses import dataclass

from vacc_gen.generator.plan import Plan
from vacc_gen.schema.footprint import SCALE_BYTES, parameter_count
from vacc_gen.schema.model import Geometry
from vacc_gen.schema.precision import Precision

FP16_BYTES, FP32_BYTES = 2, 4
LIBRARIES_BYTES = 1 << 30
"""torch, transformers and ONNX Runtime, loaded: 0.6 to 0.9 GB resident on x86-64."""
PACKED_SESSIONS = 2
"""Prefill and decode: each packs int8 weights into a copy of its own."""
NARROWEST_GROUP = 16


@dataclass(frozen=True)
class Need:
    """Bytes that a build of all the recipe's precisions takes at its worst moment."""

    disk_bytes: int
    memory_bytes: int
    reason: str
    """What takes the memory."""


def need_of(plan: Plan, with_vamc: bool) -> Need:
    """Estimate what `build` takes.

    Embedded: export streams, so memory is that of the widest part in fp32 while it is verified, and
    of int8 weights that both sessions pack. vamc: its own need is not published; it reads the whole
    checkpoint, so that the fp16 weights are the least.
    """
    weights = parameter_count(plan.geometry)
    precisions = plan.recipe.precisions
    disk_bytes = sum(_deployed_bytes(weights, precision) for precision in precisions)
    if with_vamc:
        return Need(disk_bytes, weights * FP16_BYTES, "the least: the checkpoint's weights in fp16")
    packed_bytes = 0
    if Precision.INT8 in precisions:
        packed_bytes = PACKED_SESSIONS * _deployed_bytes(weights, Precision.INT8)
    part_bytes = 2 * FP32_BYTES * _widest_part(plan.geometry)
    return Need(
        disk_bytes,
        LIBRARIES_BYTES + max(packed_bytes, part_bytes),
        "both sessions pack the int8 weights"
        if packed_bytes > part_bytes
        else "the widest part of the model in fp32",
    )


def _deployed_bytes(weights: int, precision: Precision) -> int:
    if precision is Precision.FP16:
        return weights * FP16_BYTES
    return weights + weights * SCALE_BYTES // NARROWEST_GROUP


def _widest_part(geometry: Geometry) -> int:
    """Weights of the embedding or of a block, whichever has more."""
    embedding = geometry.vocab_size * geometry.hidden_size
    matrices = 1 if geometry.tied_embeddings else 2
    blocks = parameter_count(geometry) - matrices * embedding
    return max(embedding, blocks // geometry.layers)
