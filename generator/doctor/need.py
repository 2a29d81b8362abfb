"""What a build takes of disk and memory. An estimate, from the sizes of the model alone."""

from __future__ import annotations

from dataclasses import dataclass

from vacc_gen.generator.plan import Plan
from vacc_gen.schema.footprint import SCALE_BYTES, WEIGHT_BITS, parameter_count
from vacc_gen.schema.geometry import Geometry
from vacc_gen.schema.precision import Precision

FP16_BYTES, FP32_BYTES = 2, 4
LIBRARIES_BYTES = 1 << 30
"""torch, transformers and ONNX Runtime, loaded: 0.6 to 0.9 GB resident on x86-64."""
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
    of int8 or int4 weights that a session packs; one is open at a time. vamc: its own need is not
    published; it reads the whole checkpoint, so that the fp16 weights are the least.
    """
    weights = parameter_count(plan.geometry)
    precisions = plan.recipe.precisions
    disk_bytes = sum(_deployed_bytes(weights, precision) for precision in precisions)
    if with_vamc:
        return Need(disk_bytes, weights * FP16_BYTES, "the least: the checkpoint's weights in fp16")
    packed = [_deployed_bytes(weights, kind) for kind in precisions if kind in WEIGHT_BITS]
    packed_bytes = max(packed, default=0)
    part_bytes = 2 * FP32_BYTES * _widest_part(plan.geometry)
    return Need(
        disk_bytes,
        LIBRARIES_BYTES + max(packed_bytes, part_bytes),
        "a session packs the quantized weights"
        if packed_bytes > part_bytes
        else "the widest part of the model in fp32",
    )


def _deployed_bytes(weights: int, precision: Precision) -> int:
    bits = WEIGHT_BITS.get(precision)
    if bits is None:
        return weights * FP16_BYTES
    return weights * bits // 8 + weights * SCALE_BYTES // NARROWEST_GROUP


def _widest_part(geometry: Geometry) -> int:
    """Weights of the embedding or of a block, whichever has more."""
    embedding = geometry.vocab_size * geometry.hidden_size
    matrices = 1 if geometry.tied_embeddings else 2
    blocks = parameter_count(geometry) - matrices * embedding
    return max(embedding, blocks // geometry.layers)
