"""What every backend does: jobs, stages, artifacts, failure, interruption."""

import hashlib
import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import (
    VACC_GEN,
    eventually,
    is_group_gone,
    start,
    wait_for_line,
)
from tests.workspaces import build, make_prepared_workspace, report_of, stage_of
from vacc_gen.generator.backends.base import BACKEND_STAGES, Backend, Stage
from vacc_gen.generator.build.preflight import BACKENDS, select_backend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.workspace import Workspace
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.precision import Precision

FAKE_VAMC = """
[ ! -e broken ] || { echo "tensor does not fit"; exit 3; }
trap 'touch told; exit' INT
echo $$ > compiler
sleep "${VAMC_SECONDS:-0}" & wait
name=$(sed -n 's/^name: //p' "$2")
folder=$(sed -n '/^workspace:/,$ s/^  path: //p' "$2")/$name
mkdir -p "$folder"
echo "a model" > "$folder/mod.params"
"""


@dataclass(frozen=True)
class Case:
    """A backend, ready to run, with ways to make its first job fail and to mend that."""

    backend: Backend
    foreign: Precision
    """One that it does not build."""
    workspace: Workspace
    harm: Callable[[], object]
    mend: Callable[[], object]
    failure: str


@pytest.fixture(params=BACKENDS)
def case(request, tmp_path):
    if request.param == "vamc":
        request.getfixturevalue("install_vamc")(FAKE_VAMC)
        workspace = make_prepared_workspace(tmp_path / "workspace")
        broken = workspace.root / "broken"
        return Case(
            select_backend("vamc"), Precision.INT4, workspace, broken.touch, broken.unlink,
            "tensor does not fit",
        )  # fmt: skip
    workspace = request.getfixturevalue("built")
    modeling = next(workspace.root.rglob("modeling_falcon_vacc.py"))
    content = modeling.read_text()
    return Case(
        select_backend("onnxruntime"), Precision.KV8, workspace,
        lambda: modeling.write_text("raise RuntimeError('mine')"),
        lambda: modeling.write_text(content),
        "cannot be loaded: mine",
    )  # fmt: skip


def test_every_stage_and_artifact_is_reported(case):
    build(case.workspace, case.backend)
    report = report_of(case.workspace)
    assert (report["version"], report["backend"]) == (1, case.backend.name)
    assert [(s["name"], s["precision"]) for s in report["stages"]] == [
        ("preflight", None),
        *((stage.value, p) for stage in BACKEND_STAGES for p in ("fp16", "int8")),
        ("report", None),
    ]
    assert all(s["reason"] for s in report["stages"] if s["status"] == "skipped")
    assert stage_of(report, "compile", "int8")["status"] in ("done", "reused")
    artifacts = report["artifacts"]
    written = [s["output_bytes"] for s in report["stages"] if s["name"] == "compile"]
    assert sum(written) == sum(artifact["bytes"] for artifact in artifacts) > 0
    for job in case.workspace.plan.jobs:
        assert [a for a in artifacts if job.name in Path(a["path"]).parts]
    for artifact in artifacts:
        content = (case.workspace.root / artifact["path"]).read_bytes()
        assert artifact["bytes"] == len(content)
        assert artifact["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("harm", ["changed by the disk", "cut", "removed"])
def test_only_a_harmed_artifact_is_made_again(case, harm):
    build(case.workspace, case.backend, until=Stage.COMPILE)
    artifacts = report_of(case.workspace)["artifacts"]
    paths = [case.workspace.root / a["path"] for a in artifacts if "int8" in a["path"]]
    file = max(paths, key=lambda path: path.stat().st_size)
    content, status = file.read_bytes(), file.stat()
    if harm == "removed":
        file.unlink()
    else:
        last = b"" if harm == "cut" else bytes([content[-1] ^ 1])
        file.write_bytes(content[:-1] + last)
    if harm == "changed by the disk":
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = build(case.workspace, case.backend, until=Stage.COMPILE)
    assert again.statuses(Stage.COMPILE) == [Status.REUSED, Status.DONE]
    assert file.read_bytes() == content
    again = build(case.workspace, case.backend, until=Stage.COMPILE)
    assert again.statuses(Stage.COMPILE) == [Status.REUSED, Status.REUSED]


def test_one_precision_by_force_and_no_further_than_asked(case):
    build(case.workspace, case.backend, until=Stage.COMPILE)
    for stage, status in ((Stage.QUANTIZE, Status.SKIPPED), (Stage.COMPILE, Status.DONE)):
        recorder = build(
            case.workspace, case.backend, until=stage, precisions=(Precision.INT8,), force=True
        )
        assert {record.precision for record in recorder.records} == {None, Precision.INT8}
        assert recorder.statuses(Stage.COMPILE) == [status]
        assert bool(report_of(case.workspace)["artifacts"]) == (status is Status.DONE)


def test_a_precision_that_it_does_not_build(case, tmp_path):
    """It is left out with a note beside others, and refused alone."""
    foreign = case.foreign.value
    message = f"{foreign} is not built: the {case.backend.name} backend does not support it"
    mixed = make_prepared_workspace(tmp_path / "mixed", precisions=["fp16", foreign])
    recorder = build(mixed, case.backend, until=Stage.CALIBRATE)
    assert recorder.records[0].details["notes"][0].startswith(message)
    assert {record.precision for record in recorder.records} == {None, Precision.FP16}
    with pytest.raises(StageError) as caught:
        build(mixed, case.backend, precisions=(case.foreign,))
    assert caught.value.message == message
    others = [f"--backend {b.name}" for b in BACKENDS.values() if case.foreign in b.precisions]
    assert caught.value.hint == f"use {' or '.join(others)}"


def test_a_failure_is_reported_and_not_remembered(case):
    case.harm()
    with pytest.raises(StageError, match=case.failure):
        build(case.workspace, case.backend)
    (failed,) = (s for s in report_of(case.workspace)["stages"] if s["status"] == "failed")
    assert failed["precision"] == "fp16"
    assert case.failure in failed["reason"]
    case.mend()
    recorder = build(case.workspace, case.backend)
    assert recorder.statuses(Stage(failed["name"]))[0] is Status.DONE
    assert Status.FAILED not in {record.status for record in recorder.records}


def test_an_interrupted_build_says_so_and_can_go_on(case):
    ours = start(
        *VACC_GEN, "build", str(case.workspace.root), "--backend", case.backend.name, "--force",
        env={**os.environ, "VAMC_SECONDS": "30"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for_line(ours, "preflight: done")
    compiler = case.workspace.root / "compiler"
    if case.backend.name == "vamc":
        assert eventually(lambda: compiler.is_file() and compiler.read_text() != "")
    ours.send_signal(signal.SIGTERM)
    _, errors = ours.communicate(timeout=30)
    assert ours.returncode == 143, errors
    assert "Traceback" not in errors
    command = shlex.join(["vacc-gen", *ours.args[len(VACC_GEN) :]])
    assert errors.endswith(f"interrupted; run `{command}` again to go on\n")
    if case.backend.name == "vamc":
        assert is_group_gone(int(compiler.read_text()))
        assert compiler.with_name("told").exists()
    stages = report_of(case.workspace)["stages"]
    assert [s["reason"] for s in stages if s["status"] == "failed"] == ["interrupted"]
    recorder = build(case.workspace, case.backend, until=Stage.COMPILE)
    assert set(recorder.statuses(Stage.COMPILE)) <= {Status.DONE, Status.REUSED}


def test_auto_is_vamc_where_it_is_installed(case):
    assert (select_backend("auto").name == "vamc") is (case.backend.name == "vamc")
