"""`vacc-gen convert`: pickled weights to safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    weights: Annotated[
        Path, typer.Argument(metavar="DIR", help="Weight folder with *.bin, *.pt or *.pth files.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write; new, or empty.")],
) -> None:
    """Write pickled weights as safetensors, without running code that may be in them.

    Pickles that hold anything but tensors are refused. Configs and tokenizer are copied.

    Example: vacc-gen convert falcon-7b --out falcon-7b-safetensors
    """
    from vacc_gen.generator.backends.onnxruntime.weights import convert as converter
    from vacc_gen.generator.cli.display import terminal_progress

    with terminal_progress() as progress:
        shards = converter.convert(weights, out, progress)
    for path in shards:
        typer.echo(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    typer.echo(f"\nnext:\n  vacc-gen validate {out}")
