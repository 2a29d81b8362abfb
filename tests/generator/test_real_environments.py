"""The environments that the facts are about, from the package index. Minutes, gigabytes."""

import subprocess
from pathlib import Path

import pytest

from vacc_gen.generator.doctor import State, compiler_environment
from vacc_gen.generator.lock import preset_lock, requirements_of, uv_path
from vacc_gen.schema.recipe import Environment

pytest.importorskip("uv")

pytestmark = pytest.mark.slow
FIND = [Path(__file__).parents[1] / "find_python.sh", "3.10"]


def installed(folder, *words):
    """Return the interpreter of a new environment with what the words install."""
    python = folder / "bin" / "python"
    found = subprocess.run(FIND, stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        pytest.skip("needs Python 3.10")
    subprocess.run([found.stdout.strip(), "-m", "venv", "--without-pip", folder], check=True)
    install = [uv_path(), "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*install, *words], check=True)
    return python


def test_onnxruntime_beside_numpy_2_dies_and_doctor_says_of_what(tmp_path):
    pins = ("onnxruntime==1.13.1", "onnx==1.14.0", "protobuf==3.20.3", "numpy==2.2.6")
    python = installed(tmp_path / "venv", *pins)
    subprocess.run([str(python), "-c", "import onnxruntime"], check=True)  # and that works
    found = compiler_environment(python, requirements_of(Environment()))
    checks = {check.name: check for check in found}
    assert checks["onnxruntime"].state is State.OK
    assert checks["numpy and onnxruntime"].state is State.PROBLEM
    assert "was killed by SIGSEGV" in checks["a session of ONNX Runtime"].message


@pytest.mark.parametrize("name", ["falcon-py310", "qwen2_vl-py310"])
def test_a_shipped_lock_is_installed_and_runs(tmp_path, name):
    lock = preset_lock(name)
    assert lock is not None
    (tmp_path / "lock.txt").write_text(lock.text)
    options = ("--require-hashes", "--requirement", tmp_path / "lock.txt")
    python = installed(tmp_path / "venv", *options)
    wanted = requirements_of(Environment.model_validate({"preset": name}))
    checks = list(compiler_environment(python, wanted))
    assert {check.state for check in checks} <= {State.OK, State.UNKNOWN}, checks
