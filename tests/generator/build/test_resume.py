"""A build that was killed goes on where it was; two builds keep out of each other's way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import eventually
from tests.workspaces import Recorder, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.lock import build_lock
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.workspace.workspace import Workspace
from vacc_gen.schema.errors import StageError

UNTIL_COMPILE = ("--backend", "onnxruntime", "--until", "compile")
KILLS = 6


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


def start(workspace: Workspace) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vacc_gen.generator.cli.main", "build", str(workspace.root)]
    return subprocess.Popen(
        [*command, *UNTIL_COMPILE],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def resume(workspace: Workspace) -> Recorder:
    recorder = Recorder()
    run_build(workspace, OnnxRuntimeBackend(), BuildOptions(until=Stage.COMPILE), recorder)
    return recorder


def assert_whole(workspace: Workspace) -> None:
    for job in workspace.plan.jobs:
        folder = workspace.root / "deploy" / job.name
        for artifact in json.loads((folder / "manifest.json").read_text())["artifacts"]:
            content = (folder / artifact["path"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    left = [file for place in ("deploy", ".vacc-gen/work") for file in
            (workspace.root / place).glob(".*")]  # fmt: skip
    assert left == []


@pytest.mark.parametrize(
    ("line", "reused"),
    [
        ("export fp16: done", {(Stage.EXPORT, "fp16")}),
        (
            "compile fp16: done",
            {(Stage.EXPORT, "fp16"), (Stage.QUANTIZE, "int8"), (Stage.COMPILE, "fp16")},
        ),
    ],
)
def test_finished_stages_are_reused_after_a_kill(
    workspace: Workspace, line: str, reused: set[tuple[Stage, str]]
) -> None:
    process = start(workspace)
    assert process.stderr is not None
    assert any(said.startswith(line) for said in process.stderr)
    process.kill()
    process.communicate(timeout=30)
    records = resume(workspace).records
    assert {
        (record.stage, record.precision.value)
        for record in records
        if record.precision and record.status is Status.REUSED
    } >= reused
    assert_whole(workspace)


def test_kills_at_any_moment_leave_nothing_broken(workspace: Workspace) -> None:
    for kill in range(KILLS):
        process = start(workspace)
        # Later and later, from before the first stage to about the end of the last.
        try:
            process.wait(0.3 + 0.25 * kill)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate(timeout=30)
    resume(workspace)
    assert_whole(workspace)
    assert set(resume(workspace).statuses(Stage.COMPILE)) == {Status.REUSED}


def test_sigterm_leaves_a_report(workspace: Workspace) -> None:
    process = start(workspace)
    assert process.stderr is not None
    assert next(iter(process.stderr)).startswith("preflight: done")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    stages = json.loads((workspace.root / "report.json").read_text())["stages"]
    assert [s.get("reason") for s in stages if s["status"] == "failed"] == ["interrupted"]


def test_a_second_build_is_refused_while_the_first_runs(workspace: Workspace) -> None:
    lock = workspace.root / ".vacc-gen" / "build.lock"
    with build_lock(lock), pytest.raises(StageError) as caught:
        resume(workspace)
    assert f"process {os.getpid()} on " in caught.value.message
    assert not (workspace.root / "report.json").exists()


def test_the_lock_of_a_dead_process_holds_nobody(tmp_path: Path) -> None:
    lock = tmp_path / "build.lock"
    script = (
        "import sys, time; from pathlib import Path\n"
        "from vacc_gen.generator.build.lock import build_lock\n"
        "with build_lock(Path(sys.argv[1])): time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(lock)])
    assert eventually(lambda: lock.is_file() and str(holder.pid) in lock.read_text())
    with pytest.raises(StageError, match=f"process {holder.pid} on"), build_lock(lock):
        pass
    holder.kill()
    holder.wait(30)
    started = time.monotonic()
    with build_lock(lock):
        assert time.monotonic() - started < 1
