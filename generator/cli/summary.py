"""What a build came to, for people: the table of stages, the figures, and what to do next."""

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
from vacc_gen.generator.backends.onnxruntime.model import DECODE_GRAPH
from vacc_gen.generator.build.report import REPORT_FILE, REPORT_PAGE, StageRecord, Status
from vacc_gen.generator.progress import size_text, time_text

STYLES = {
    Status.DONE: "green",
    Status.REUSED: "cyan",
    Status.SKIPPED: "dim",
    Status.FAILED: "bold red",
}
REFERENCES = {"torch": "torch in fp32"}
COLUMN_GAP = (0, 2, 0, 0)


def stage_table(records: Sequence[StageRecord]) -> Table:
    """One row for each stage of each job; a stage that no job needs takes one row."""
    table = Table(box=None, padding=COLUMN_GAP, header_style="bold", pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("job", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("peak memory", justify="right", no_wrap=True)
    table.add_column("made", no_wrap=False)
    shown = ""
    for record, jobs in _merge_skipped(records):
        name = record.stage.value
        table.add_row(
            "" if name == shown else name,
            jobs,
            Text(record.status.value, style=STYLES[record.status]),
            *_cost(record),
            _made(record),
        )
        shown = name
    return table


def print_summary(
    console: Console, root: Path, records: Sequence[StageRecord], next_commands: Sequence[str]
) -> None:
    """Print everything that a person wants to know of a finished build."""
    console.print(stage_table(records))
    console.print()
    facts = Table.grid(padding=COLUMN_GAP)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for record in records:
        parity = record.details.get("parity")
        if isinstance(parity, Mapping) and record.precision:
            facts.add_row(f"parity {record.precision.value}", _parity(parity))
    perplexity = _perplexity(records)
    if perplexity:
        facts.add_row("perplexity", perplexity)
    for record in records:
        if record.stage is Stage.COMPILE and record.outputs:
            folder = escape(str(_common_folder(root, record)))
            facts.add_row("compiled", f"{folder} ({size_text(record.output_bytes)})")
    facts.add_row("report", escape(f"{root / REPORT_PAGE}, {REPORT_FILE}"))
    console.print(facts)
    if next_commands:
        console.print("\n[bold]next[/]")
    for command in next_commands:
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


def _cost(record: StageRecord) -> tuple[str, str]:
    if record.status is Status.SKIPPED:
        return "", ""
    return time_text(record.seconds), size_text(record.peak_rss_bytes)


def _made(record: StageRecord) -> RenderableType:
    if record.status is Status.SKIPPED:
        return Text(record.reason or "", style="dim")
    if record.status is Status.FAILED:
        return Text((record.reason or "").partition("\n")[0])
    return size_text(record.output_bytes) if record.output_bytes else ""


def _parity(parity: Mapping[str, Any]) -> RenderableType:
    worst = max(parity["prefill_max_abs_diff"], parity["decode_max_abs_diff"])
    reference = REFERENCES.get(parity["reference"], parity["reference"])
    lines = [
        f"{worst:.2g} from {reference} at most ({parity['max_abs_diff_allowed']:g} allowed)",
        (
            f"prefill {parity['prefill_max_abs_diff']:.2g}, {parity['decode_steps']} decode steps "
            f"{parity['decode_max_abs_diff']:.2g}"
        ),
    ]
    difference = parity["first_difference"]
    if difference is None:
        lines.append(f"{parity['greedy_tokens']} greedy tokens equal")
    else:
        lines.append(
            f"greedy token {difference['position'] + 1} is {difference['token']!r}, there "
            f"{difference['reference_token']!r}, preferred by {difference['logit_gap']:.2g}"
        )
    return Text("\n".join(lines))


def _perplexity(records: Sequence[StageRecord]) -> str:
    """On windows of text where it fills some, else on the few tokens that torch was given too."""
    figures: dict[str, object] = {}
    built: dict[str, object] = {}
    where = ""
    for record in records:
        found = record.details.get("perplexity")
        if not isinstance(found, Mapping):
            continue
        figures |= found
        if isinstance(windows := found.get("windows"), Mapping):
            scores = [score for score in windows["scores"] if score["built"]]
            built |= {score["precision"]: score["perplexity"] for score in scores}
            where = f" on {windows['windows']} windows of {windows['window_tokens']} tokens"
    told = built or figures
    values = [f"{name} {value:.2f}" for name, value in told.items() if isinstance(value, float)]
    return ", ".join(values) + where


def _common_folder(root: Path, record: StageRecord) -> Path:
    parents = [Path(output.path).parent for output in record.outputs]
    shortest = min(parents, key=lambda parent: len(parent.parts))
    return root / shortest
