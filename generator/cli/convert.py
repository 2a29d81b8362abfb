"""`vacc-gen convert`: pickled weights to safetensors, a config of `vamc build` to today's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Weight folder with *.bin, *.pt or *.pth files; or a YAML of `vamc build`.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Folder to write, new or empty; or a new YAML file."),
    ] = None,
) -> None:
    """No code in pickles is run, and what holds anything but tensors is refused.

    Configs and tokenizer are copied. Without --out a config is printed; what has no counterpart in
    `vamc compile` is named in it and on the standard error.

    Example: vacc-gen convert falcon-7b --out falcon-7b-safetensors

    Example: vacc-gen convert resnet50_build.yaml --out resnet50.yaml
    """
    if not source.is_dir():
        _convert_config(source, out)
        return
    from vacc_gen.generator.backends.onnxruntime.weights import convert as converter
    from vacc_gen.generator.cli.display import terminal_progress
    from vacc_gen.generator.progress import size_text
    from vacc_gen.schema.errors import UsageError, shell_command

    if out is None:
        raise UsageError("--out is missing", "add --out DIR, a new folder")
    with terminal_progress() as progress:
        shards = converter.convert(source, out, progress)
    for path in shards:
        typer.echo(f"{path}  {size_text(path.stat().st_size)}")
    typer.echo(f"\nnext:\n  {shell_command(['vacc-gen', 'validate', str(out)])}")


def _convert_config(source: Path, out: Path | None) -> None:
    from vacc_gen.generator.emit.older import converted
    from vacc_gen.generator.files import write_atomically
    from vacc_gen.generator.terminal import print_data
    from vacc_gen.schema.errors import UsageError, on_one_line, shell_command
    from vacc_gen.schema.lint.sources import read

    if out is not None and out.exists():
        raise UsageError(f"{out} exists", "remove it, or write another file")
    document = read(str(source))
    made = converted(document)
    for span, text in made.remarks:
        typer.echo(
            on_one_line(f"{document.path}:{span.line}:{span.column}: note: {text}"), err=True
        )
    if out is None:
        print_data(made.text)
    else:
        write_atomically(out, made.text)
        typer.echo(f"\nnext:\n  {shell_command(['vacc-gen', 'validate', str(out)])}")
