"""The environments that the facts are about, from the package index. Minutes, gigabytes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vacc_gen.generator.doctor.check import State
from vacc_gen.generator.doctor.packages import compiler_environment
from vacc_gen.generator.environment.environment import preset_lock
from vacc_gen.generator.environment.lock import uv_path
from vacc_gen.generator.environment.requirements import requirements_of
from vacc_gen.generator.environment.trial import try_lock
from vacc_gen.generator.progress import SilentProgress
from vacc_gen.schema.environment import Environment

pytest.importorskip("uv")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("python3.10") is None, reason="needs python3.10 on the PATH"),
]


def test_onnxruntime_beside_numpy_2_dies_and_doctor_says_of_what(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    making = ["python3.10", "-m", "venv", "--without-pip", str(tmp_path / "venv")]
    subprocess.run(making, check=True)
    subprocess.run(
        [uv_path(), "pip", "install", "--quiet", "--python", str(python), "onnxruntime==1.13.1",
         "onnx==1.14.0", "protobuf==3.20.3", "numpy==2.2.6"],
        check=True,
    )  # fmt: skip
    subprocess.run([str(python), "-c", "import onnxruntime"], check=True)  # and that works
    found = compiler_environment(python, requirements_of(Environment()), None)
    checks = {check.name: check for check in found}
    assert checks["onnxruntime"].state is State.OK
    assert checks["numpy and onnxruntime"].state is State.PROBLEM
    assert "was killed by SIGSEGV" in checks["a session of ONNX Runtime"].message


@pytest.mark.parametrize("name", ["falcon-py310", "qwen2_vl-py310"])
def test_a_shipped_lock_is_installed_and_runs(tmp_path: Path, name: str) -> None:
    lock = preset_lock(name)
    assert lock is not None
    trial = try_lock(lock, tmp_path / "venv", SilentProgress())
    assert trial.python.startswith("3.10.")
    assert trial.failed == ()
    assert any("export to ONNX" in passed for passed in trial.passed) == (name == "falcon-py310")
