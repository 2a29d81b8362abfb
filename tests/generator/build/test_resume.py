"""A build that was killed continues where it was; two builds keep out of each other's way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import VACC_GEN, eventually, start, wait_for_line
from tests.workspaces import Recorder, build, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import build_lock
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import StageError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


def kill_at(workspace: Workspace, line: str) -> None:
    """Run a build, and kill it when it has printed a line that begins so."""
    process = start(
        *(*VACC_GEN, "build", str(workspace.root), "--backend", "onnxruntime"),
        *("--until", "compile"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_for_line(process, line)
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode < 0, "it was not killed but ended"


def resume(workspace: Workspace) -> Recorder:
    return build(workspace, OnnxRuntimeBackend(), until=Stage.COMPILE)


def assert_whole(workspace: Workspace) -> None:
    for job in workspace.plan.jobs:
        folder = workspace.root / "deploy" / job.name
        for artifact in json.loads((folder / "manifest.json").read_text())["artifacts"]:
            content = (folder / artifact["path"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    for place in ("deploy", ".vacc-gen/work"):
        assert list((workspace.root / place).glob(".*")) == []


def test_what_was_done_before_a_kill_is_reused(workspace: Workspace) -> None:
    kill_at(workspace, "compile fp16: done")
    recorder = resume(workspace)
    assert recorder.statuses(Stage.EXPORT) == [Status.REUSED, Status.SKIPPED]
    assert recorder.statuses(Stage.COMPILE)[0] is Status.REUSED
    assert_whole(workspace)
    assert resume(workspace).statuses(Stage.COMPILE) == [Status.REUSED, Status.REUSED]


HOLDER = """
import sys, time
from pathlib import Path
from vacc_gen.generator.build.runner import build_lock
with build_lock(Path(sys.argv[1])):
    time.sleep(60)
"""


def test_a_second_build_is_refused_while_the_first_lives(workspace: Workspace) -> None:
    lock = workspace.root / ".vacc-gen" / "build.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)])
    assert eventually(lambda: lock.is_file() and str(holder.pid) in lock.read_text())
    with pytest.raises(StageError, match=f"process {holder.pid} on"):
        resume(workspace)
    assert not (workspace.root / "report.json").exists()
    holder.kill()
    holder.wait(30)
    with build_lock(lock):
        assert f"process {os.getpid()} on " in lock.read_text()
