"""report.json: what a build did, what it cost, how near the results are, and what it left.

Other programs read it; docs/report.md says what its fields mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.build.ledger import Output
from vacc_gen.generator.emit.report_html import report_html
from vacc_gen.generator.files import write_atomically
from vacc_gen.schema.precision import Precision

REPORT_FILE = "report.json"
REPORT_PAGE = "report.html"
REPORT_VERSION = 1

PARITY_FIGURES = ("prefill_max_abs_diff", "decode_max_abs_diff", "greedy_tokens_equal")


class Status(str, Enum):
    """How a stage ended."""

    DONE = "done"
    REUSED = "reused"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class StageRecord:
    """One stage of one job (or of the whole build, where `precision` is None)."""

    stage: Stage
    precision: Precision | None
    status: Status
    seconds: float = 0.0
    """In this build; for a reused stage, what finding that out took."""
    peak_rss_bytes: int = 0
    reason: str | None = None
    """Why it was skipped or failed."""
    outputs: tuple[Output, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def output_bytes(self) -> int:
        """Size of everything that the stage made."""
        return sum(output.bytes for output in self.outputs)

    def as_json(self) -> dict[str, object]:
        """The stage's entry in report.json."""
        entry: dict[str, object] = {
            "name": self.stage.value,
            "precision": self.precision.value if self.precision else None,
            "status": self.status.value,
            "seconds": round(self.seconds, 3),
            "peak_rss_bytes": self.peak_rss_bytes,
            "output_bytes": self.output_bytes,
        }
        if self.reason:
            entry["reason"] = self.reason
        return entry | {name: value for name, value in self.details.items() if name not in _APART}


_APART = ("parity", "perplexity")
"""Details of the verify stage that have a place of their own in the report."""


def write_report(root: Path, model: str, backend: str, records: Sequence[StageRecord]) -> None:
    """Replace the workspace's report.json and report.html."""
    report = make_report(model, backend, records)
    write_atomically(root / REPORT_FILE, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    write_atomically(root / REPORT_PAGE, report_html(report))


def make_report(model: str, backend: str, records: Sequence[StageRecord]) -> dict[str, object]:
    """The report as plain JSON values; `model` is what compiled models are called after."""
    return {
        "version": REPORT_VERSION,
        "model": model,
        "backend": backend,
        "stages": [record.as_json() for record in records],
        "parity": _parity(records),
        "perplexity": merged_perplexity(records),
        "artifacts": [
            {"path": output.path, "bytes": output.bytes, "sha256": output.sha256}
            for record in records
            if record.stage is Stage.COMPILE and record.status is not Status.FAILED
            for output in record.outputs
        ],
    }


def _parity(records: Sequence[StageRecord]) -> dict[str, object]:
    """The figures of the first verified job, and those of each job by precision."""
    by_precision = {
        record.precision.value: record.details["parity"]
        for record in records
        if record.precision and "parity" in record.details
    }
    first = next(iter(by_precision.values()), {})
    figures = first if isinstance(first, Mapping) else {}
    return {name: figures.get(name) for name in PARITY_FIGURES} | {"precisions": by_precision}


def merged_perplexity(records: Sequence[StageRecord]) -> dict[str, object]:
    """Figures by name; those on windows of text, which every precision has some of, together."""
    merged: dict[str, object] = {}
    scores: list[object] = []
    for record in records:
        figures = record.details.get("perplexity")
        if not isinstance(figures, Mapping):
            continue
        merged |= figures
        if "windows" in figures:
            scores += figures["windows"]["scores"]
            merged["windows"] = {**figures["windows"], "scores": scores}
    return merged
