"""Workspaces on the trained checkpoint, and an observer of builds, for the tests."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vacc_gen.generator.backends.base import Backend, Build, Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build import preflight
from vacc_gen.generator.build.report import Observer, StageRecord, Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.workspace import Workspace, create
from vacc_gen.schema.json_files import sha256_of
from vacc_gen.schema.lint.check import open_weights
from vacc_gen.schema.precision import Precision

TARGET = {"prefill": 64, "total": 128, "tp": 1}
DATA = Path(__file__).parent / "data"
FALCON_TINY = DATA / "falcon-tiny"
# The King James Version, public domain: not trained on, and a third of what was.
HELD_OUT, CALIBRATION = (DATA / "texts" / name for name in ("held_out.txt", "calibration.txt"))


def recipe_text(preset: str, checkpoint: object, **parts: object) -> str:
    """The text of a recipe; `parts` are its other sections."""
    model = {"preset": preset, "checkpoint": str(checkpoint)}
    return json.dumps({"version": 2, "model": model, **parts})


def falcon_tiny_with(folder: Path, values: Mapping[str, Sequence[float]]) -> Path:
    """A copy of falcon-tiny in which some parameters begin with other values."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(FALCON_TINY, folder)
    for name, row in values.items():
        shard = open_weights(folder)[0].tensors[name].path
        tensors = load_file(shard)
        tensors[name].view(-1)[: len(row)] = torch.tensor(row)
        save_file(tensors, shard)
    return folder


def make_workspace(root: Path, **parts: object) -> Workspace:
    """A workspace for falcon-tiny, small in its lengths; `parts` are parts of the recipe."""
    return create(root, recipe_text("falcon-tiny", FALCON_TINY, **{"target": TARGET, **parts}))


def make_prepared_workspace(root: Path, **parts: object) -> Workspace:
    """One whose weights, a copy beside it, have the code beside them that the compiler loads."""
    weights = root.parent / FALCON_TINY.name
    shutil.copytree(FALCON_TINY, weights, dirs_exist_ok=True)
    made = create(root, recipe_text("falcon-tiny", weights, **{"target": TARGET, **parts}))
    shutil.copytree(root / "source_code", weights, dirs_exist_ok=True)
    return made


def files_of(root: Path) -> dict[str, bytes]:
    """Every file below a folder: its content by its path there."""
    paths = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def build_of(workspace: Workspace) -> Build:
    """What the embedded backend is given to build all of `workspace`."""
    weights, _ = preflight.check_weights(workspace, OnnxRuntimeBackend())
    return Build(workspace.root, workspace.plan, workspace.plan.jobs, weights, sha256_of)


class Recorder(Observer):
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.records: list[StageRecord] = []
        self.said: list[str] = []
        self.labels: list[str] = []
        self.total_bytes = self.done_bytes = 0

    def start(self, label: str, total_bytes: int | None = None) -> None:
        self.labels.append(label)
        self.total_bytes += total_bytes or 0

    def advance(self, done_bytes: int) -> None:
        self.done_bytes += done_bytes

    def say(self, line: str) -> None:
        self.said.append(line)

    def stage_started(self, stage: Stage, precision: Precision | None) -> None:
        self.said.append(f"{stage.value} started")

    def stage_finished(self, record: StageRecord) -> None:
        self.records.append(record)

    def statuses(self, stage: Stage) -> list[Status]:
        return [record.status for record in self.records if record.stage is stage]


def build(workspace: Workspace, backend: Backend, **options: Any) -> Recorder:
    """Build, and return what the observer heard; `options` are those of `BuildOptions`."""
    recorder = Recorder()
    run_build(workspace, backend, BuildOptions(**options), recorder)
    return recorder


def report_of(workspace: Workspace | Path) -> dict[str, Any]:
    """The report.json of a workspace, or in a folder."""
    root = workspace if isinstance(workspace, Path) else workspace.root
    report: dict[str, Any] = json.loads((root / "report.json").read_text())
    return report


def stage_of(report: dict[str, Any], name: str, precision: str | None) -> dict[str, Any]:
    """One stage of a report."""
    (stage,) = [s for s in report["stages"] if (s["name"], s["precision"]) == (name, precision)]
    found: dict[str, Any] = stage
    return found
