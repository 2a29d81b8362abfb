"""How long jobs show themselves on stderr: a build's table of stages, or one bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from vacc_gen.generator.progress import Progress, SilentProgress, size_text, time_text

if TYPE_CHECKING:
    from vacc_gen.generator.backends.base import Stage
    from vacc_gen.generator.build.report import StageRecord
    from vacc_gen.generator.build.runner import Observer
    from vacc_gen.schema.precision import Precision

REFRESH_HERTZ = 10
BAR_COLUMNS = 24


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """A `Progress` that draws on stderr if that is a terminal, and is silent otherwise."""
    if not sys.stderr.isatty():
        yield SilentProgress()
        return
    console = Console(stderr=True)
    step = RunningStep(lambda line: console.print(line, markup=False, highlight=False))
    with Live(step, console=console, refresh_per_second=REFRESH_HERTZ, transient=True):
        yield step


@contextmanager
def build_display() -> Iterator[Observer]:
    """The display of a build that suits the terminal.

    The live one is gone when the context ends, and leaves its table only where the build failed.
    """
    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        live = LiveDisplay()
        try:
            with Live(live, console=console, refresh_per_second=REFRESH_HERTZ, transient=True):
                yield live
        except BaseException:
            live.print_stages(console)
            raise
        live.print_notes(console)
    else:
        yield PlainDisplay(console)


class RunningStep:
    """The step that runs: its label, a bar or the time so far, and the last line it said."""

    def __init__(self, print_line: Callable[[str], None] | None = None) -> None:
        """Print lines with `print_line`; None: show each below the step until the next one."""
        self.name = ""
        self._print_line = print_line
        self._spinner = Spinner("dots", style="cyan")
        self.start("")

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """Show a new step."""
        self._label, self._line = label, ""
        self._done_bytes, self._total_bytes = 0, total_bytes
        self._started = time.monotonic()

    def advance(self, done_bytes: int) -> None:
        """Move the bar."""
        self._done_bytes += done_bytes

    def say(self, line: str) -> None:
        """Print or show the line."""
        if self._print_line is None:
            self._line = line
        else:
            self._print_line(line)

    def __rich__(self) -> RenderableType:
        self._spinner.update(text=Text.assemble((self.name, "bold"), " ", self._label))
        seconds = time.monotonic() - self._started
        cells: list[RenderableType] = [self._spinner]
        if self._total_bytes:
            total, done = self._total_bytes, min(self._done_bytes, self._total_bytes)
            cells.append(ProgressBar(total=total, completed=done, width=BAR_COLUMNS))
            rate = f", {size_text(done / seconds)}/s" if seconds > 0.5 else ""
            cells.append(Text(f"{size_text(done)} of {size_text(total)}{rate}"))
        else:
            cells.append(Text(time_text(seconds), style="dim"))
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_row(*cells)
        if not self._line:
            return row
        line = Text(f"  {self._line}", style="dim", no_wrap=True, overflow="ellipsis")
        return Group(row, line)


class PlainDisplay(SilentProgress):
    """One line for each stage that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def stage_started(self, stage: Stage, precision: Precision | None) -> None:
        """Show nothing: the stage's end says enough."""

    def stage_finished(self, record: StageRecord) -> None:
        """Print the stage's result, cost and notes."""
        _print_line(self._console, _stage_line(record))
        _print_notes(self._console, record)


class LiveDisplay(RunningStep):
    """The table of stages so far, and below it the one that runs."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[StageRecord] = []

    def stage_started(self, stage: Stage, precision: Precision | None) -> None:
        """Name the stage that runs."""
        self.name = _stage_name(stage, precision)
        self.start("")

    def stage_finished(self, record: StageRecord) -> None:
        """Add the stage to the table."""
        self._records.append(record)
        self.name = ""

    def print_stages(self, console: Console) -> None:
        """Print the table of stages for good."""
        if self._records:
            console.print(self._table())
            self.print_notes(console)

    def print_notes(self, console: Console) -> None:
        """Print the stages' notes."""
        for record in self._records:
            _print_notes(console, record)

    def __rich__(self) -> RenderableType:
        parts = [self._table()] if self._records else []
        return Group(*parts, *([super().__rich__()] if self.name else []))

    def _table(self) -> RenderableType:
        from vacc_gen.generator.cli.summary import stage_table

        return stage_table(self._records)


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


def _print_notes(console: Console, record: StageRecord) -> None:
    notes = record.details.get("notes")
    for note in notes if isinstance(notes, list) else []:
        _print_line(console, f"note: {note}")


def _print_line(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
