"""Which quantizer a build uses, and what its report says of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vacc_gen.generator.backends.base import Build
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid, Quantizer, RoundToNearest
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.calibration.windows import read_windows
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.precision import INT8_ACTIVATIONS_LEVEL, PER_CHANNEL, Quantization


def quantizer_of(
    build: Build, checkpoint: Checkpoint, windows_file: Path | None, progress: Progress
) -> Quantizer:
    """GPTQ on the windows of `windows_file`; rounding to nearest where there is none.

    Raises:
        StageError: the modeling file does not fit the checkpoint, or the device is not there.
    """
    if windows_file is None:
        return RoundToNearest(checkpoint)
    import torch

    from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import GptqQuantizer

    return GptqQuantizer(
        build.modeling_file,
        checkpoint,
        torch.from_numpy(read_windows(windows_file)),
        build.plan.recipe.quantization,
        build.state_dir / "work",
        progress,
    )


def quantization_details(
    quantizer: Quantizer, grid: Grid, settings: Quantization
) -> Mapping[str, object]:
    """How the weights of a build were made, for its report."""
    group_size = PER_CHANNEL if grid.per_channel else grid.group_size
    is_int8 = settings.accuracy_level == INT8_ACTIVATIONS_LEVEL
    return {
        "quantization": {
            "bits": grid.bits,
            "group_size": group_size,
            "activations": "int8" if is_int8 else "float",
            "accuracy_level": settings.accuracy_level,
            **quantizer.settings(),
        },
        "linear_errors": quantizer.errors,
    }
