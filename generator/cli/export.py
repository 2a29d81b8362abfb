"""`vacc-gen export`: a checkpoint to ONNX graphs, without a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vacc_gen.generator.backends.onnxruntime.export import ExportResult, Lengths


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT", help="Weight folder: config.json and safetensors shards."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; new, or empty.")],
    dtype: Annotated[
        Literal["fp16", "fp32", "int8"],
        typer.Option(help="Of the weights; int8 keeps activations and cache in fp32."),
    ] = "fp16",
    prefill: Annotated[
        int | None,
        typer.Option(metavar="TOKENS", help="Prompt length in tokens, a multiple of 16."),
    ] = None,
    total: Annotated[
        int | None,
        typer.Option(metavar="TOKENS", help="Prompt and answer in tokens, a multiple of 16."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Export a Falcon checkpoint to ONNX.

    With lengths: prefill.onnx and decode.onnx, static, one text at a time. Without: one dynamic
    model.onnx. Weights lie beside them in one file, weights.bin, and so does the tokenizer.

    Example: vacc-gen export weights --out onnx --prefill 1024 --total 2048
    """
    lengths = _lengths(prefill, total)
    from vacc_gen.generator.backends.onnxruntime.export import export_graphs
    from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
    from vacc_gen.generator.cli.display import terminal_progress

    opened = open_checkpoint(checkpoint)
    with terminal_progress() as progress:
        result = export_graphs(
            opened, out, dtype=dtype, lengths=lengths, progress=progress, force=force
        )
    _report(result)


def _lengths(prefill: int | None, total: int | None) -> Lengths | None:
    from vacc_gen.generator.backends.onnxruntime.export import Lengths
    from vacc_gen.schema.errors import UsageError

    if prefill is None and total is None:
        return None
    if prefill is None or total is None:
        raise UsageError(
            "--prefill and --total go together",
            "give both for static graphs, or neither for a dynamic one",
        )
    return Lengths(prefill, total)


def _report(result: ExportResult) -> None:
    for graph in result.graphs:
        typer.echo(f"{graph}  {graph.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"{result.weights}  {result.layout.total_bytes / 1e6:.1f} MB")
    for name, count in result.overflowed.items():
        typer.echo(
            f"warning: {count} values of {name} are beyond what fp16 holds and became infinite",
            err=True,
        )
    if result.overflowed:
        typer.echo("hint: export with --dtype fp32 or int8", err=True)
