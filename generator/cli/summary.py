"""The results of a build, for people: the table of stages, the figures, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.runtime import DECODE_GRAPH
from vacc_gen.generator.build.report import (
    REPORT_FILE,
    REPORT_PAGE,
    StageRecord,
    Status,
    merged_perplexity,
)
from vacc_gen.generator.emit.report_html import REFERENCES, greedy_text, perplexity_figures
from vacc_gen.generator.progress import size_text, time_text

STYLES = {
    Status.DONE: "green",
    Status.REUSED: "cyan",
    Status.SKIPPED: "dim",
    Status.FAILED: "bold red",
}
COLUMN_GAP = (0, 2, 0, 0)


def stage_table(records: Sequence[StageRecord]) -> Table:
    """One row for each stage of each job; a stage that no job needs takes one row."""
    table = Table(box=None, padding=COLUMN_GAP, header_style="bold", pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("job", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("peak memory", justify="right", no_wrap=True)
    table.add_column("written", no_wrap=False)
    shown = ""
    for record, jobs in _merge_skipped(records):
        name = record.stage.value
        table.add_row(
            "" if name == shown else name,
            jobs,
            Text(record.status.value, style=STYLES[record.status]),
            *_cost(record),
        )
        shown = name
    return table


def print_summary(console: Console, root: Path, records: Sequence[StageRecord]) -> None:
    """Print the stages of a finished build, its figures, and the commands that use it."""
    console.print(stage_table(records))
    console.print()
    console.print(_figures(root, records))
    commands = next_commands(root, records)
    if commands:
        console.print("\n[bold]next[/]")
    for command in commands:
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def next_commands(root: Path, records: Sequence[StageRecord]) -> list[str]:
    """What to do with what was compiled: run it here, or serve it on the card."""
    commands = []
    for record in records:
        if record.stage is Stage.COMPILE and record.precision and record.outputs:
            precision = record.precision.value
            if any(Path(output.path).name == DECODE_GRAPH for output in record.outputs):
                run = f"vacc-gen run {shlex.quote(str(root))} --precision {precision}"
                commands.append(f'{run} --prompt "In the beginning"')
            else:
                commands.append(f"{shlex.quote(str(root / 'scripts' / 'serve.sh'))} {precision}")
    return commands


def _figures(root: Path, records: Sequence[StageRecord]) -> Table:
    facts = Table.grid(padding=COLUMN_GAP)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for record in records:
        parity = record.details.get("parity")
        if isinstance(parity, Mapping) and record.precision:
            precision = record.precision.value
            facts.add_row(f"parity {precision}", _parity(precision, parity))
    caption, perplexities = perplexity_figures(merged_perplexity(records))
    if perplexities:
        values = ", ".join(f"{name} {value:.2f}" for name, value in perplexities.items())
        facts.add_row("perplexity", f"{values} {caption}")
    for record in records:
        if record.stage is Stage.COMPILE and record.outputs:
            folder = min((Path(o.path).parent for o in record.outputs), key=lambda p: len(p.parts))
            facts.add_row("compiled", escape(f"{root / folder} ({size_text(record.output_bytes)})"))
    facts.add_row("report", escape(f"{root / REPORT_PAGE}, {REPORT_FILE}"))
    return facts


def _parity(precision: str, parity: Mapping[str, Any]) -> Text:
    prefill, decode = parity["prefill_max_abs_diff"], parity["decode_max_abs_diff"]
    reference = REFERENCES.get(parity["reference"], parity["reference"])
    return Text(
        f"at most {max(prefill, decode):.2g} from {reference} "
        f"({parity['max_abs_diff_allowed']:g} allowed)\n"
        f"prefill {prefill:.2g}, {parity['decode_steps']} decode steps {decode:.2g}\n"
        f"{greedy_text(precision, parity)}"
    )


def _merge_skipped(records: Sequence[StageRecord]) -> list[tuple[StageRecord, str]]:
    """Each record with its job's name; neighbours skipped for one reason become one row."""
    rows: list[tuple[StageRecord, str]] = []
    for record in records:
        job = record.precision.value if record.precision else ""
        last = rows[-1][0] if rows else None
        if (
            last
            and record.status is last.status is Status.SKIPPED
            and (record.stage, record.reason) == (last.stage, last.reason)
        ):
            rows[-1] = (last, f"{rows[-1][1]}, {job}")
        else:
            rows.append((record, job))
    return rows


def _cost(record: StageRecord) -> tuple[str, str, RenderableType]:
    """Time, peak memory, and what was written or why nothing was."""
    if record.status is Status.SKIPPED:
        return "", "", Text(record.reason or "", style="dim")
    written: RenderableType = size_text(record.output_bytes) if record.output_bytes else ""
    if record.status is Status.FAILED:
        written = Text((record.reason or "").partition("\n")[0])
    return time_text(record.seconds), size_text(record.peak_rss_bytes), written
