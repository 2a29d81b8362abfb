"""How much memory the parts of a build may take, so that many can share machines.

Rough, and rather too much: what a runtime, or the closed compiler, keeps is known once it runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.vamc import Vamc
from vacc_gen.generator.plan import Plan
from vacc_gen.schema.geometry import footprint, parameter_count
from vacc_gen.schema.precision import Precision

LIBRARIES_BYTES = 1_000_000_000
"""What any stage may take: torch, transformers and ONNX Runtime, 0.6 to 0.9 GB, and buffers."""


def stage_bytes(stage: Stage, plan: Plan, precisions: Sequence[Precision], backend: str) -> int:
    """Estimate the peak memory of a stage over the jobs of `precisions`, or over all."""
    g, wanted = plan.geometry, precisions or [job.precision for job in plan.jobs]
    layer, embedding = 4 * parameter_count(g) // g.layers, 4 * g.vocab_size * g.hidden_size  # fp32
    # The runtime, and perhaps the compiler, has fp16 weights in fp32; others packed in a copy.
    copies = [footprint(g, p, 1, 1).weights_bytes * (1 + (p is Precision.FP16)) for p in wanted]
    if backend == Vamc.name:
        whole = 2 * footprint(g, Precision.FP16, 1, 1).weights_bytes
        heavy = {Stage.QUANTIZE: whole, Stage.COMPILE: whole}
    else:
        # GPTQ has a layer before and after, and a Hessian of its widest inputs and half of that.
        gptq = 2 * layer + 6 * g.ffn_hidden_size**2
        # The reference goes through the checkpoint layer by layer.
        heavy = {
            Stage.QUANTIZE: gptq if set(wanted) - {Precision.FP16} else 0,
            Stage.COMPILE: max(copies),
            Stage.VERIFY: max(copies) + layer + embedding,
        }
    return LIBRARIES_BYTES + heavy.get(stage, 0)


def worker_count(available_bytes: int, jobs: int, needs: Sequence[int]) -> int:
    """Return how many of `jobs` can share a machine: an equal part holds the largest of `needs`."""
    return max(1, min(jobs, available_bytes // max(needs)))
