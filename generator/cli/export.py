"""`vacc-gen export`: a checkpoint to ONNX graphs, without a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from vacc_gen.generator.cli.options import Prefill, Total
from vacc_gen.schema.errors import UsageError


def export(
    checkpoint: Annotated[
        Path,
        Argument(metavar="CHECKPOINT", help="Weight folder: config.json and safetensors shards."),
    ],
    out: Annotated[Path, Option(metavar="DIR", help="Folder to write; new, or empty.")],
    dtype: Annotated[
        Literal["fp16", "fp32", "int8"],
        Option(help="Type of the weights; int8 keeps activations and cache in fp32."),
    ] = "fp16",
    prefill: Prefill = None,
    total: Total = None,
    force: Annotated[bool, Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """With lengths: prefill.onnx and decode.onnx, static, one text at a time.

    Without: one dynamic model.onnx. Weights lie beside them in one file, weights.bin, and so does
    the tokenizer.

    Example: vacc-gen export weights --out onnx --prefill 1024 --total 2048
    """
    from vacc_gen.generator.backends.onnxruntime.export import (
        Lengths,
        overflow_warnings,
        plan_export,
    )
    from vacc_gen.generator.backends.onnxruntime.weights.source import checkpoint_of
    from vacc_gen.generator.backends.onnxruntime.weights.weight_file import WEIGHTS_FILE
    from vacc_gen.generator.calibration.tokenizer import check_tokenizer
    from vacc_gen.generator.cli.display import terminal_progress
    from vacc_gen.generator.cli.findings import print_findings
    from vacc_gen.generator.progress import size_text
    from vacc_gen.schema.lint.check import open_weights

    if (prefill is None) != (total is None):
        raise UsageError(
            "--prefill and --total go together",
            "give both for static graphs, or neither for a dynamic one",
        )
    lengths = None if prefill is None or total is None else Lengths(prefill, total)
    weights, warnings = open_weights(checkpoint, falcon_only=True)
    print_findings(warnings)
    check_tokenizer(checkpoint)
    planned = plan_export(checkpoint_of(weights), dtype, lengths)
    with terminal_progress() as progress:
        overflowed = planned.write(out, progress=progress, force=force)
    for path in (*sorted(out.glob("*.onnx")), out / WEIGHTS_FILE):
        typer.echo(f"{path}  {size_text(path.stat().st_size)}")
    for warning in overflow_warnings(overflowed):
        typer.echo(f"warning: {warning}", err=True)
    if overflowed:
        typer.echo("hint: export with --dtype fp32 or int8", err=True)
