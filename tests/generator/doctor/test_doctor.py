"""The packages of an interpreter, in environments that hold nothing but what pip would write."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vacc_gen.generator.doctor.check import Check, State
from vacc_gen.generator.doctor.doctor import compiler_environment
from vacc_gen.generator.environment.lock import preset_lock
from vacc_gen.generator.environment.requirements import locked_packages, requirements_of
from vacc_gen.schema.recipe import Environment

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
FALCON = preset_lock("falcon-py310")
CRASHING = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


class Venv:
    """An environment without pip; packages are their metadata, and a module where one is given."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / "bin" / "python"
        (self.site,) = folder.glob("lib/python*/site-packages")

    def install(self, name: str, version: str, module: str | None = None) -> None:
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        if module is not None:
            (self.site / f"{name.replace('-', '_')}.py").write_text(module)

    def checks(self, **environment: object) -> dict[str, Check]:
        wanted = Environment.model_validate({"python": PYTHON, **environment})
        found = compiler_environment(self.python, requirements_of(wanted), FALCON)
        return {check.name: check for check in found}


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


def test_each_pinned_package_is_there_or_missing_or_another(venv):
    venv.install("torch", "2.1.0+cpu")
    venv.install("transformers", "4.30.0")
    venv.install("Protobuf", "3.20.3")
    checks = venv.checks()
    assert checks["Python"].state is State.OK
    assert (checks["torch"].state, checks["torch"].message) == (State.OK, "2.1.0+cpu")
    assert checks["protobuf"].state is State.OK
    assert checks["transformers"].state is State.PROBLEM
    assert checks["transformers"].message == "4.30.0, wanted transformers>=4.31.0"
    assert checks["onnxruntime"].message == "missing, wanted onnxruntime==1.13.1"
    assert checks["lock"].state is State.WARNING
    assert checks["torch to numpy and back"].state is State.UNKNOWN


def test_how_to_install_is_said_once_and_installs_what_runs(venv, tmp_path):
    wanted = requirements_of(Environment.model_validate({"python": PYTHON}))
    root = tmp_path / "a workspace"

    def hints(lock):
        checks = compiler_environment(venv.python, wanted, lock, root)
        return [check.hint for check in checks if "pip install" in (check.hint or "")]

    assert hints(FALCON) == [f"pip install --require-hashes -r '{root}/env/requirements.lock'"]
    (hint,) = hints(None)
    words = shlex.split(hint)
    assert {"torch==2.1.0", "transformers>=4.31.0", "transformers<4.52", "numpy<2"} < set(words)


def test_what_is_there_already_is_not_installed_again(venv):
    pins = {"protobuf": "3.20.3", "onnx": "1.14.0", "onnxsim": "0.4.35", "accelerate": "0.25.0"}
    for name, version in (*pins.items(), ("torch", "2.1.0"), ("numpy", "1.26.4")):
        venv.install(name, version)
    venv.install("onnxruntime", "1.14.0")
    wanted = requirements_of(Environment.model_validate({"python": PYTHON}))
    checks = compiler_environment(venv.python, wanted, None)
    (hint,) = [check.hint for check in checks if "pip install" in (check.hint or "")][:1]
    assert hint == ("pip install onnxruntime==1.13.1 'transformers>=4.31.0' 'transformers<4.52'")


def test_everything_as_locked_is_fine(venv):
    for name, version in locked_packages(FALCON.text, "it").items():
        if name not in ("numpy", "torch", "onnxruntime"):
            venv.install(name, str(version))
    checks = venv.checks()
    assert "3 of 50 packages are not as locked: numpy missing" in checks["lock"].message
    assert checks["onnx"].state is checks["accelerate"].state is State.OK


def test_another_python_than_the_recipes_is_a_problem(venv):
    other = "3.10" if PYTHON != "3.10" else "3.9"
    check = venv.checks(python=other)["Python"]
    assert check.state is State.PROBLEM
    assert f"and the recipe wants {other}" in check.message


def test_packages_that_break_together_are_named_though_each_answers_its_pin(venv):
    venv.install("torch", "2.1.0")
    venv.install("transformers", "5.20.2")
    venv.install("onnxruntime", "1.13.1")
    venv.install("numpy", "2.2.6")
    checks = venv.checks()
    assert checks["transformers"].state is checks["onnxruntime"].state is State.OK
    assert checks["transformers and torch"].state is State.PROBLEM
    assert checks["numpy and onnxruntime"].state is State.PROBLEM
    assert checks["numpy and onnxruntime"].hint == "beside onnxruntime<1.19 use numpy<2"


def test_a_crash_is_a_finding_and_not_our_end(venv):
    venv.install("torch", "2.1.0", CRASHING)
    venv.install("numpy", "1.26.4", "")
    venv.install("onnx", "1.14.0", "")
    venv.install("onnxruntime", "1.13.1", CRASHING)
    checks = venv.checks()
    assert checks["torch to numpy and back"].state is State.PROBLEM
    assert "torch 2.1.0 beside numpy 1.26.4: was killed by SIGSEGV" in (
        checks["torch to numpy and back"].message
    )
    assert checks["a session of ONNX Runtime"].state is State.PROBLEM
    assert "was killed by SIGSEGV" in checks["a session of ONNX Runtime"].message


def test_a_version_that_is_not_one_of_pep_440_satisfies_no_pin(venv):
    venv.install("odd", "nightly-build")
    venv.install("torch", "nightly-build")
    check = venv.checks()["torch"]
    assert check.state is State.PROBLEM
    assert check.message == "nightly-build, wanted torch==2.1.0"


def test_an_interpreter_that_cannot_be_run_is_the_only_finding(tmp_path):
    (check,) = compiler_environment(tmp_path / "absent", None, None)
    assert check.state is State.PROBLEM
    assert "cannot be run: No such file" in check.message
    assert "Python 3.8 or newer" in check.hint
