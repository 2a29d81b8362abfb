"""`vacc-gen build`: from the recipe to compiled, verified models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vacc_gen.generator.cli.options import PrecisionName, WorkspaceFolder

StageName = Literal["preflight", "calibrate", "export", "quantize", "compile", "verify", "report"]


def build(
    folder: WorkspaceFolder = Path(),
    backend: Annotated[
        Literal["auto", "onnxruntime", "vamc"],
        typer.Option(help="auto: vamc where it is on the PATH, else onnxruntime."),
    ] = "auto",
    until: Annotated[StageName, typer.Option(help="The last stage to run.")] = "report",
    precision: Annotated[
        list[PrecisionName] | None,
        typer.Option(help="Build only this one; may be given several times."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Run every stage again, finished or not.")
    ] = False,
) -> None:
    """Export, quantize, compile and verify.

    Reuses finished stages. Writes report.json and report.html.

    Example: vacc-gen build falcon-7b-instruct --precision int8
    """
    from vacc_gen.generator import build as run
    from vacc_gen.generator.backends.onnxruntime.session import quiet_libraries
    from vacc_gen.generator.cli.display import print_summary, terminal_progress

    quiet_libraries()
    with terminal_progress() as display:
        records = run(
            folder,
            backend=backend,
            until=until,
            precision=[name.value for name in precision or ()],
            force=force,
            observer=display,
        )
    print_summary(folder, records)
