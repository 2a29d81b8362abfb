"""Which quantizer a build uses, what it tells of it, and the record that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vacc_gen.generator.backends.base import Build
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid, Quantizer, RoundToNearest
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.generator.calibration.calibrate import read_windows
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.precision import INT8_ACTIVATIONS_LEVEL, PER_CHANNEL, Quantization

if TYPE_CHECKING:
    from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import GptqQuantizer

GPTQ, ROUND_TO_NEAREST = "gptq", "round_to_nearest"


@contextmanager
def quantizer_of(
    build: Build, checkpoint: Checkpoint, windows_file: Path | None, progress: Progress
) -> Iterator[Quantizer]:
    """GPTQ on the windows of `windows_file`; rounding to nearest where there is none.

    Raises:
        StageError: the modeling file does not fit the checkpoint, or the device is not there.
    """
    if windows_file is None:
        yield RoundToNearest()
        return
    import torch

    from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import GptqQuantizer

    quantizer = GptqQuantizer(
        build.modeling_file,
        checkpoint,
        torch.from_numpy(read_windows(windows_file).copy()),
        build.plan.recipe.quantization,
        build.state_dir / "work",
        progress,
    )
    try:
        yield quantizer
    finally:
        quantizer.close()


def settings_told(quantizer: Quantizer, grid: Grid, settings: Quantization) -> dict[str, object]:
    """How the weights of a build came to be, for its report and its record."""
    exact = settings.accuracy_level != INT8_ACTIVATIONS_LEVEL
    told: dict[str, object] = {
        "method": ROUND_TO_NEAREST,
        "bits": grid.bits,
        "group_size": PER_CHANNEL if grid.per_channel else grid.group_size,
        "activations": "float" if exact else "int8",
        "accuracy_level": settings.accuracy_level,
    }
    gptq = _gptq(quantizer)
    return told if gptq is None else told | {"method": GPTQ} | gptq.settings_told()


def linear_errors(quantizer: Quantizer) -> list[dict[str, object]]:
    """What quantizing did to each linear layer's output, where there was data to measure it on."""
    gptq = _gptq(quantizer)
    return [] if gptq is None else [asdict(error) for error in gptq.errors]


def _gptq(quantizer: Quantizer) -> GptqQuantizer | None:
    if isinstance(quantizer, RoundToNearest):
        return None
    from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import GptqQuantizer

    return quantizer if isinstance(quantizer, GptqQuantizer) else None
