"""How a build shows itself: a live table on a terminal, plain lines elsewhere. All on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.build.report import StageRecord, Status
from vacc_gen.generator.build.runner import Observer
from vacc_gen.generator.cli.summary import stage_table
from vacc_gen.generator.progress import size_text, time_text
from vacc_gen.schema.precision import Precision

REFRESH_HERTZ = 10
BAR_COLUMNS = 24


@contextmanager
def build_display() -> Iterator[Observer]:
    """The display that suits the terminal.

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


class PlainDisplay:
    """One line for each stage that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """Show nothing: the stage's end says enough."""

    def advance(self, done_bytes: int) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Show nothing: whoever says lines keeps them in a log."""

    def stage_started(self, stage: Stage, precision: Precision | None) -> None:
        """Show nothing."""

    def stage_finished(self, record: StageRecord) -> None:
        """Print what the stage came to."""
        self._console.print(_plain_line(record), markup=False, highlight=False, soft_wrap=True)
        _print_notes(record, self._console)


class LiveDisplay:
    """The table of stages so far, and below it the one that runs."""

    def __init__(self) -> None:
        self._records: list[StageRecord] = []
        self._spinner = Spinner("dots", style="cyan")
        self._running = ""
        self._label = ""
        self._line = ""
        self._done_bytes = 0
        self._total_bytes: int | None = None
        self._started = time.monotonic()

    def start(self, label: str, total_bytes: int | None = None) -> None:
        """Show a new step of the running stage."""
        self._label, self._line = label, ""
        self._done_bytes, self._total_bytes = 0, total_bytes
        self._started = time.monotonic()

    def advance(self, done_bytes: int) -> None:
        """Move the bar."""
        self._done_bytes += done_bytes

    def say(self, line: str) -> None:
        """Show the line until the next one."""
        self._line = line

    def stage_started(self, stage: Stage, precision: Precision | None) -> None:
        """Name the stage that runs."""
        self._running = " ".join(filter(None, [stage.value, precision and precision.value]))
        self.start("")

    def stage_finished(self, record: StageRecord) -> None:
        """Add the stage to the table."""
        self._records.append(record)
        self._running = ""

    def print_stages(self, console: Console) -> None:
        """Print the table of stages for good."""
        if self._records:
            console.print(stage_table(self._records))
            self.print_notes(console)

    def print_notes(self, console: Console) -> None:
        """Print what the stages noted."""
        for record in self._records:
            _print_notes(record, console)

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = [stage_table(self._records)] if self._records else []
        if self._running:
            parts.append(self._running_row())
            if self._line:
                parts.append(
                    Text(f"  {self._line}", style="dim", no_wrap=True, overflow="ellipsis")
                )
        return Group(*parts)

    def _running_row(self) -> RenderableType:
        seconds = time.monotonic() - self._started
        self._spinner.update(text=f"[bold]{self._running}[/] {escape(self._label)}")
        cells: list[RenderableType] = [self._spinner]
        if self._total_bytes:
            total, done = self._total_bytes, min(self._done_bytes, self._total_bytes)
            cells.append(ProgressBar(total=total, completed=done, width=BAR_COLUMNS))
            cells.append(
                Text(f"{size_text(done)} of {size_text(total)}, {size_text(done / seconds)}/s")
                if seconds > 0.5
                else Text(f"{size_text(done)} of {size_text(total)}")
            )
        else:
            cells.append(Text(time_text(seconds), style="dim"))
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_row(*cells)
        return row


def _plain_line(record: StageRecord) -> str:
    name = " ".join(filter(None, [record.stage.value, record.precision and record.precision.value]))
    if record.status is Status.SKIPPED:
        return f"{name}: skipped, {record.reason}"
    parts = [f"{name}: {record.status.value} in {time_text(record.seconds)}"]
    if record.status is Status.DONE:
        parts.append(f"peak {size_text(record.peak_rss_bytes)}")
    if record.output_bytes:
        parts.append(f"{size_text(record.output_bytes)} made")
    return ", ".join(parts)


def _print_notes(record: StageRecord, console: Console) -> None:
    notes = record.details.get("notes")
    for note in notes if isinstance(notes, list) else []:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
