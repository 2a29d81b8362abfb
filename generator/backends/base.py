"""What a build is made of: stages, the steps that a backend takes in them, and the backend itself.

Running, resuming, measuring and reporting are the runner's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Protocol

from vacc_gen.generator.emit.files import SOURCE_FOLDER
from vacc_gen.generator.plan import CompileJob, Plan
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.checkpoint import WeightFolder
from vacc_gen.schema.precision import Precision


class Stage(str, Enum):
    PREFLIGHT = "preflight"
    CALIBRATE = "calibrate"
    EXPORT = "export"
    QUANTIZE = "quantize"
    COMPILE = "compile"
    VERIFY = "verify"
    REPORT = "report"


STATE_FOLDER = ".vacc-gen"
"""Where a build keeps what is not an artifact: ledger, lock, logs, unfinished work."""

BACKEND_STAGES = (Stage.CALIBRATE, Stage.EXPORT, Stage.QUANTIZE, Stage.COMPILE, Stage.VERIFY)
"""Run once for each compile job, all jobs of a stage before the next stage."""


@dataclass(frozen=True)
class Build:
    """What every step may know. Paths are absolute."""

    root: Path
    plan: Plan
    jobs: tuple[CompileJob, ...]
    """The selected ones that the backend can build: fp16, then others in the recipe's order."""
    weights: WeightFolder
    digest: Callable[[Path], str]
    """SHA-256 of a file of the workspace, read again only where it is not known."""

    @cached_property
    def checkpoint_key(self) -> tuple[object, ...]:
        """What changes when the checkpoint does: samples of its values, and its shards' times."""
        shards = {tensor.path for tensor in self.weights.tensors.values()}
        times = [(s.name, s.stat().st_size, s.stat().st_mtime_ns) for s in sorted(shards)]
        return self.weights.fingerprint(), *times

    @property
    def modeling_file(self) -> Path:
        """The torch model to compare with."""
        generated = next(source for source in self.plan.preset.sources if source.generated)
        return self.root / SOURCE_FOLDER / generated.name

    def work_dir(self, job: CompileJob) -> Path:
        """Where the stages of one job hand files to each other."""
        return self.root / STATE_FOLDER / "work" / job.name

    def deploy_dir(self, job: CompileJob) -> Path:
        """Where the embedded backend publishes what it compiled."""
        return self.root / "deploy" / job.name


@dataclass(frozen=True)
class Outcome:
    files: tuple[Path, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    """Figures for report.json; plain JSON values."""
    child_peak_rss_bytes: int = 0
    """Peak resident memory of the largest child process; 0 where the step ran in this one."""
    failure: str | None = None
    """Why the step did not reach its goal although it ran to its end."""


@dataclass(frozen=True)
class Step:
    """One stage of one job; run again when `inputs`, or an earlier step of the job, has changed."""

    inputs: Mapping[str, object]
    run: Callable[[Progress], Outcome]
    writes_bytes: int = 0
    """Disk that it takes, so that preflight can refuse a build that will not fit."""
    temporary_bytes: int = 0
    """Disk that it takes beyond that while it runs."""
    moved_to: Path | None = None
    """The folder that a later stage moves its files into, where there is such a stage."""


@dataclass(frozen=True)
class Skip:
    """A stage that a job does not need."""

    reason: str


class Backend(Protocol):
    """Something that compiles a workspace's jobs."""

    name: str
    """What `--backend` takes."""
    precisions: frozenset[Precision]
    """What it can build; jobs of other precisions are left out."""
    falcon_only: bool
    """Whether it can read no other architecture."""

    def check(self, build: Build) -> tuple[str, ...]:
        """Refuse a build that cannot succeed, before anything heavy; return notes for the user.

        Raises:
            VaccGenError: the build would fail, and this says why.
        """

    def step(self, stage: Stage, job: CompileJob, build: Build) -> Step | Skip:
        """What this backend does for `job` in `stage`, one of `BACKEND_STAGES`."""
