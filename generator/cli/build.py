"""`vacc-gen build`: from the recipe to compiled, verified models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vacc_gen.generator.cli.options import PrecisionName

if TYPE_CHECKING:
    from vacc_gen.generator.build.runner import BuildOptions
    from vacc_gen.generator.workspace import Workspace

StageName = Literal["preflight", "calibrate", "export", "quantize", "compile", "verify", "report"]


def build(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="The workspaces.", show_default="."),
    ] = None,
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
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Processes; by default one for each of several workspaces."
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Build on the workers of this Dask scheduler."),
    ] = None,
) -> None:
    """Export, quantize, compile and verify.

    Reuses finished stages. Writes report.json and report.html.

    Example: vacc-gen build falcon-7b-instruct --precision int8
    """
    from vacc_gen.generator import build as run
    from vacc_gen.generator.cli.display import print_summary, terminal_progress
    from vacc_gen.generator.extras import quiet_libraries
    from vacc_gen.schema.errors import UsageError

    quiet_libraries()
    if jobs and cluster:
        raise UsageError("--jobs and --cluster: choose one", "a cluster has workers of its own")
    roots, names = folders or [Path()], [name.value for name in precision or ()]
    if len(set(roots)) > 1 or jobs or cluster:
        from vacc_gen.generator.backends.base import Stage
        from vacc_gen.generator.build.preflight import select_backend
        from vacc_gen.generator.build.runner import BuildOptions
        from vacc_gen.generator.workspace import load_workspace
        from vacc_gen.schema.precision import Precision

        options = BuildOptions(Stage(until), tuple(map(Precision, names)), force)
        workspaces = {root: load_workspace(root.absolute()) for root in roots}
        _build_several(workspaces, select_backend(backend).name, options, jobs, cluster)
        return
    with terminal_progress() as display:
        records = run(
            roots[0],
            backend=backend,
            until=until,
            precision=names,
            force=force,
            observer=display,
        )
    print_summary(roots[0], records)


def _build_several(
    workspaces: dict[Path, Workspace],
    backend: str,
    options: BuildOptions,
    jobs: int | None,
    address: str | None,
) -> None:
    """Build in other processes; a single workspace ends as it does without them."""
    from vacc_gen.generator.build.cluster import Builds, connected_client, local_client
    from vacc_gen.generator.build.report import REPORT_PAGE
    from vacc_gen.generator.cli.display import print_summary, terminal_rows
    from vacc_gen.schema.errors import VaccGenError, on_one_line

    with terminal_rows(workspaces) as rows:
        builds = Builds(workspaces, rows, backend, options)
        with connected_client(address) if address else local_client(builds, jobs) as client:
            results = builds.run(client)
    failed = [result for result in results if isinstance(result, VaccGenError)]
    if len(workspaces) == 1 and failed:
        raise failed[0]
    for root, result in zip(workspaces, results, strict=True):
        if isinstance(result, VaccGenError):
            first, *log = result.message.splitlines()
            hint = f"; {result.hint}" if result.hint else ""
            words = ["failed:", first, *map(str.strip, log[-1:])]
            typer.echo(on_one_line(f"{root}: {' '.join(words)}{hint}"))
        elif len(workspaces) == 1:
            print_summary(root, result)
        else:
            typer.echo(on_one_line(f"{root}: done, {root / REPORT_PAGE}"))
    if failed:
        raise typer.Exit(1)
