"""report.json: what a build did, what it cost, how near the results are, and what it left.

Other programs read it; docs/reference/report.md says what its fields mean.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any

from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.emit.report_html import report_html
from vacc_gen.generator.extras import package_version
from vacc_gen.generator.files import write_atomically
from vacc_gen.generator.plan import Plan, model_name
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.precision import Precision

REPORT_FILE = "report.json"
REPORT_PAGE = "report.html"
LAST_GOOD = "last-good-"
"""Before the names of a report that a failed build would have replaced."""
REPORT_VERSION = 1

PACKAGES = ("vacc-gen", "torch", "transformers", "onnxruntime", "onnxruntime-genai")
"""Those whose versions are in the report, where they are installed."""

PARITY_FIGURES = ("prefill_max_abs_diff", "decode_max_abs_diff", "greedy_tokens_equal")
APART = ("parity", "perplexity")
"""Details of the verify stage that have a place of their own in the report."""


class Status(str, Enum):
    DONE = "done"
    REUSED = "reused"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Output:
    """A file that a stage made; `path` is relative to the workspace where it lies inside."""

    path: str
    bytes: int
    sha256: str


@dataclass
class StageRecord:
    """One stage of one job (or of the whole build, where `precision` is None)."""

    stage: Stage
    precision: Precision | None
    status: Status = Status.DONE
    seconds: float = 0.0
    """In this build; for a reused stage, what finding that out took."""
    peak_rss_bytes: int = 0
    reason: str | None = None
    """Why it was skipped or failed."""
    outputs: tuple[Output, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def output_bytes(self) -> int:
        return sum(output.bytes for output in self.outputs)

    def as_json(self) -> dict[str, object]:
        entry = {
            "name": self.stage.value,
            "precision": self.precision.value if self.precision else None,
            "status": self.status.value,
            "seconds": round(self.seconds, 3),
            "peak_rss_bytes": self.peak_rss_bytes,
            "output_bytes": self.output_bytes,
        }
        reason = {"reason": self.reason} if self.reason else {}
        return entry | reason | {k: v for k, v in self.details.items() if k not in APART}


class Observer(Progress):
    """A `Progress` that also hears of the stages of a build; this one ignores everything."""

    def stage_started(self, stage: Stage, precision: Precision | None) -> None: ...

    def stage_finished(self, record: StageRecord) -> None: ...


def write_report(root: Path, plan: Plan, backend: str, records: Sequence[StageRecord]) -> None:
    """Replace report.json and report.html; a failed build leaves the last good ones beside them."""
    good = not any(record.status is Status.FAILED for record in records)
    names = (REPORT_FILE, REPORT_PAGE)
    if not good and _is_good(root / REPORT_FILE):
        for name in names:
            with suppress(FileNotFoundError):
                (root / name).replace(root / f"{LAST_GOOD}{name}")
    target = plan.recipe.target.model_dump(include={"card", "tp", "prefill", "total"})
    report = {
        "version": REPORT_VERSION,
        "model": model_name(plan.recipe, plan.preset),
        "backend": backend,
        "recipe": {"preset": plan.preset.name, **target},
        "made": _circumstances(),
        "stages": [record.as_json() for record in records],
        "parity": _parity(records),
        "perplexity": merged_perplexity(records),
        "artifacts": [
            asdict(output)
            for record in records
            if record.stage is Stage.COMPILE and record.status is not Status.FAILED
            for output in record.outputs
        ],
    }
    write_atomically(root / REPORT_FILE, json.dumps(report, indent=2) + "\n")
    write_atomically(root / REPORT_PAGE, report_html(report))
    if good:
        for name in names:
            (root / f"{LAST_GOOD}{name}").unlink(missing_ok=True)


def _circumstances() -> dict[str, Any]:
    """When, with what and on what; of the machine not its name."""
    versions = {package: package_version(package) for package in PACKAGES}
    cpuinfo = Path("/proc/cpuinfo")  # Linux; elsewhere the architecture must do
    named = re.search(r"model name\s*: (.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {name: version for name, version in versions.items() if version},
        "machine": {
            "system": platform.system(),
            "processor": named[1] if named else platform.machine(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
    }


def _is_good(file: Path) -> bool:
    """Whether there is a report of a build that did not fail."""
    try:
        stages = json.loads(file.read_bytes())["stages"]
        return all(stage["status"] != Status.FAILED for stage in stages)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _parity(records: Sequence[StageRecord]) -> dict[str, Any]:
    """The figures of the first verified job, and those of each job by precision."""
    by_precision = {
        record.precision.value: record.details["parity"]
        for record in records
        if record.precision and "parity" in record.details
    }
    first: Mapping[str, Any] = next(iter(by_precision.values()), {})
    return {name: first.get(name) for name in PARITY_FIGURES} | {"precisions": by_precision}


def merged_perplexity(records: Sequence[StageRecord]) -> dict[str, Any]:
    """Figures by name; those on windows of text, which every precision has some of, together."""
    merged: dict[str, Any] = {}
    scores: list[object] = []
    for record in records:
        figures = record.details.get("perplexity", {})
        merged |= figures
        if "windows" in figures:
            scores += figures["windows"]["scores"]
            merged["windows"] = {**figures["windows"], "scores": scores}
    return merged
