"""How jobs show themselves: where they are on stderr, what a build came to on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich import progress as bars
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Column
from rich.text import Text

from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.deployment import MODEL_GRAPH
from vacc_gen.generator.build.report import (
    REPORT_FILE,
    REPORT_PAGE,
    Observer,
    StageRecord,
    merged_perplexity,
)
from vacc_gen.generator.emit.report_html import REFERENCE, greedy_text, perplexity_figures
from vacc_gen.generator.progress import size_text, time_text
from vacc_gen.generator.terminal import exact
from vacc_gen.schema.errors import on_one_line, shell_command, visible
from vacc_gen.schema.precision import Precision

STYLES = {"done": "green", "reused": "green", "skipped": "", "failed": "bold red"}


class ShownConsole(Console):
    """Rich's own codes reach the terminal, those in text of others are made visible."""

    def __init__(self, stream: Any, **options: Any) -> None:
        super().__init__(file=exact(stream), markup=False, highlight=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


@contextmanager
def terminal_progress() -> Iterator[Display]:
    """Show the step that runs, on stderr where that is a terminal; a build's stages anywhere."""
    with terminal_rows([Path()]) as rows:
        yield rows[Path()]


@contextmanager
def terminal_rows(roots: Collection[Path]) -> Iterator[dict[Path, Display]]:
    """Show what is done in folders at a time; of several, rows begin with their names."""
    console = ShownConsole(sys.stderr)
    live = _Live(
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=24),
        _SizeColumn(table_column=Column(no_wrap=True)),
        bars.TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=os.isatty(1),  # a file gets its lines itself
        disable=not console.is_terminal or console.is_dumb_terminal,
    )
    with live:
        yield {root: Display(live, str(root) if len(roots) > 1 else "") for root in roots}


class _SizeColumn(bars.ProgressColumn):
    def render(self, task: bars.Task) -> RenderableType:
        if not task.total:
            return ""
        rate = f", {size_text(task.speed)}/s" if task.speed else ""
        return f"{size_text(task.completed)} of {size_text(task.total)}{rate}"


class _Live(bars.Progress):
    """A bar, and below it the last line that the step said."""

    last_line = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.last_line:
            yield Text(f"  {self.last_line}", style="dim", no_wrap=True, overflow="ellipsis")


class Display(Observer):
    """Shows a build, or any other job."""

    def __init__(self, live: _Live, name: str) -> None:
        self._live, self._name = live, name
        self._stage = ""
        self._row: bars.TaskID | None = None

    def start(self, label: str, total_bytes: int | None = None) -> None:
        self._clear()
        words = filter(None, (self._name, self._stage, label))
        self._row = self._live.add_task(" ".join(words), total=total_bytes)

    def advance(self, done_bytes: int) -> None:
        if self._row is not None:
            self._live.advance(self._row, done_bytes)

    def say(self, line: str) -> None:
        """Show the line below the step until the next one."""
        self._live.last_line = on_one_line(f"{self._name} {line}".strip())

    def stage_started(self, stage: Stage, precision: Precision | None) -> None:
        self._stage = _stage_name(stage, precision)
        self.start("")

    def stage_finished(self, record: StageRecord) -> None:
        self._clear()
        self._stage = ""
        if self._name and record.status.value == "skipped":
            return  # among many workspaces, what is not done is noise
        self._print(_stage_line(record), STYLES[record.status.value])
        notes = record.details.get("notes")
        for note in notes if isinstance(notes, list) else []:
            self._print(f"note: {note}")

    def _clear(self) -> None:
        self._live.last_line = ""
        if self._row is not None:
            self._live.remove_task(self._row)
            self._row = None

    def _print(self, line: str, style: str | None = None) -> None:
        line = f"{self._name}: {line}" if self._name else line
        self._live.console.print(on_one_line(line), style=style, soft_wrap=True)


def _stage_name(stage: Stage, precision: Precision | None) -> str:
    return f"{stage.value} {precision.value}" if precision else stage.value


def _stage_line(record: StageRecord) -> str:
    name = _stage_name(record.stage, record.precision)
    if record.status.value == "skipped":
        return f"{name}: skipped, {record.reason}"
    parts = [f"{name}: {record.status.value} in {time_text(record.seconds)}"]
    if record.status.value == "done":
        parts.append(f"peak {size_text(record.peak_rss_bytes)}")
        if record.output_bytes:
            parts.append(f"{size_text(record.output_bytes)} written")
    return ", ".join(parts)


def print_summary(root: Path, records: Sequence[StageRecord]) -> None:
    rows, commands = [], []
    for record in records:
        precision = record.precision.value if record.precision else ""
        if parity := record.details.get("parity"):
            rows.append((f"parity {precision}", _parity(precision, parity)))
        if record.stage.value == "compile" and record.outputs:
            paths = [Path(output.path) for output in record.outputs]
            folder = min((path.parent for path in paths), key=lambda path: len(path.parts))
            rows.append(("compiled", f"{root / folder} ({size_text(record.output_bytes)})"))
            commands.append(_next_command(root, precision, paths))
    caption, perplexities = perplexity_figures(merged_perplexity(records))
    if perplexities:
        values = ", ".join(map(" ".join, perplexities.items()))
        rows.append(("perplexity", f"{values} {caption}"))
    rows.append(("report", f"{root / REPORT_PAGE}, {REPORT_FILE}"))
    for name, text in rows:
        typer.echo(f"{name:13}{text}")
    if commands:
        typer.echo("\n  ".join(["\nnext:", *commands]))


def _parity(precision: str, parity: Any) -> str:
    most = max(parity["prefill_max_abs_diff"], parity["decode_max_abs_diff"])
    allowed = f"({parity['max_abs_diff_allowed']:g} allowed)"
    text = greedy_text(precision, parity)
    return f"at most {most:.2g} from {REFERENCE} {allowed}\n{'':13}{text}"


def _next_command(root: Path, precision: str, paths: Sequence[Path]) -> str:
    """Return what to do with a compiled model: run it here, or serve it on the card."""
    if any(path.name == MODEL_GRAPH for path in paths):
        run = shell_command(["vacc-gen", "run", str(root), "--precision", precision])
        return f'{run} --prompt "In the beginning"'
    return shell_command([str(root / "scripts" / "serve.sh"), precision])
