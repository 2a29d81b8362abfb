"""`vacc-gen build`: from the recipe to compiled, verified models."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from vacc_gen.schema.precision import Precision

StageName = Literal["preflight", "calibrate", "export", "quantize", "compile", "verify", "report"]


def build(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The workspace.")] = Path(),
    backend: Annotated[
        Literal["auto", "onnxruntime", "vamc"],
        typer.Option(help="auto: vamc where it is on the PATH, else onnxruntime."),
    ] = "auto",
    until: Annotated[StageName, typer.Option(help="The last stage to run.")] = "report",
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD",
            help="fp16, int8, int4 or kv8: build only this one; may be given several times.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run every stage again, finished or not.")
    ] = False,
) -> None:
    """Export, quantize, compile and verify.

    Reuses finished stages. Writes report.json and report.html.

    Example: vacc-gen build falcon-7b-instruct --precision int8
    """
    from rich.console import Console

    from vacc_gen.generator.backends.base import Stage
    from vacc_gen.generator.backends.onnxruntime.session import quiet_libraries
    from vacc_gen.generator.build.preflight import select_backend
    from vacc_gen.generator.build.runner import BuildOptions, run_build
    from vacc_gen.generator.cli.display import build_display
    from vacc_gen.generator.cli.summary import print_summary
    from vacc_gen.generator.workspace.workspace import load_workspace

    for number in (signal.SIGTERM, signal.SIGHUP):  # HUP: the terminal was closed
        signal.signal(number, _terminated)
    quiet_libraries()
    workspace = load_workspace(folder.absolute())
    options = BuildOptions(Stage(until), _precisions(precision or []), force)
    with build_display() as display:
        records = run_build(workspace, select_backend(backend), options, display)
    print_summary(Console(), folder, records)


def _precisions(names: list[str]) -> tuple[Precision, ...]:
    from vacc_gen.schema.errors import UsageError
    from vacc_gen.schema.precision import Precision

    known = [precision.value for precision in Precision]
    for name in names:
        if name not in known:
            raise UsageError(f"--precision: no precision {name!r}", f"choose one of {known}")
    return tuple(Precision(name) for name in names)


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    """Unwind as on Ctrl-C, so that children end and nothing half-written stays."""
    sys.exit(128 + number)
