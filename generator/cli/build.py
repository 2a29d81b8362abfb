"""`vacc-gen build`: from the recipe to compiled, verified models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from vacc_gen.generator import StageName
from vacc_gen.generator.cli.options import Precisions


def build(
    folders: Annotated[
        list[Path] | None, Argument(metavar="DIR", help="The workspaces.", show_default=".")
    ] = None,
    backend: Annotated[
        Literal["auto", "onnxruntime", "vamc"],
        Option(help="auto: vamc where it is on the PATH, else onnxruntime."),
    ] = "auto",
    until: Annotated[StageName, Option(help="The last stage to run.")] = "report",
    precision: Precisions = None,
    force: Annotated[bool, Option("--force", help="Run finished stages again, too.")] = False,
    jobs: Annotated[
        int | None, Option(metavar="N", min=1, help="Processes. [default: one a workspace]")
    ] = None,
    cluster: Annotated[
        str | None, Option(metavar="ADDRESS", help="Build on the workers of this Dask scheduler.")
    ] = None,
) -> None:
    """Reuses finished stages. Writes report.json and report.html.

    Example: vacc-gen build falcon-7b-instruct --precision int8
    """
    from vacc_gen.generator.backends.base import Stage
    from vacc_gen.generator.build.preflight import select_backend
    from vacc_gen.generator.build.report import REPORT_PAGE
    from vacc_gen.generator.build.runner import BuildOptions, run_build
    from vacc_gen.generator.cli.display import print_summary, terminal_rows
    from vacc_gen.generator.extras import quiet_libraries
    from vacc_gen.generator.workspace import load_workspace
    from vacc_gen.schema.errors import UsageError, VaccGenError, on_one_line

    quiet_libraries()
    if jobs and cluster:
        raise UsageError("--jobs and --cluster: choose one", "a cluster has workers of its own")
    options = BuildOptions(Stage(until), tuple(precision or ()), force)
    workspaces = {root: load_workspace(root.absolute()) for root in folders or [Path()]}
    chosen = select_backend(backend)
    results: list[Any]
    with terminal_rows(workspaces) as rows:
        if len(workspaces) > 1 or jobs or cluster:
            from vacc_gen.generator.build.cluster import Builds, connected_client, local_client

            builds = Builds(workspaces, rows, chosen.name, options)
            with connected_client(cluster) if cluster else local_client(builds, jobs) as client:
                results = builds.run(client)
        else:
            ((root, workspace),) = workspaces.items()
            results = [run_build(workspace, chosen, options, rows[root])]
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
