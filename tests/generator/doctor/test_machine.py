"""The machine: environments that hold what pip would write, programs and devices of our own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import make_program
from tests.workspaces import make_workspace
from vacc_gen.generator.doctor import machine
from vacc_gen.generator.doctor.machine import Check, State, compiler_environment, needed_bytes
from vacc_gen.generator.lock import locked_packages, preset_lock, requirements_of
from vacc_gen.generator.plan import Plan
from vacc_gen.presets import MODELS
from vacc_gen.schema.geometry import parameter_count
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
        root = Path("a workspace")
        found = compiler_environment(self.python, requirements_of(wanted), FALCON, root)
        return {check.name: check for check in found}


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


def test_each_pinned_package_is_there_or_missing_or_another(venv):
    for name, version in locked_packages(FALCON.text).items():
        if name not in ("numpy", "torch", "onnxruntime", "transformers"):
            venv.install(name, version)
    venv.install("torch", "2.1.0+cpu")
    venv.install("transformers", "4.30.0")
    venv.install("odd", "nightly-build")  # of no form that a version may have
    checks = venv.checks()
    assert checks["Python"].state is State.OK
    assert (checks["torch"].state, checks["torch"].message) == (State.OK, "2.1.0+cpu")
    assert checks["protobuf"].state is checks["accelerate"].state is State.OK
    assert checks["transformers"].state is State.PROBLEM
    assert checks["transformers"].message == "4.30.0, wanted transformers>=4.31.0"
    assert checks["onnxruntime"].message == "missing, wanted onnxruntime==1.13.1"
    assert checks["lock"].state is State.WARNING
    assert "4 of 50 packages are not as locked: numpy missing" in checks["lock"].message
    lock = "pip install --require-hashes -r 'a workspace/env/requirements.lock'"
    assert [check.hint for check in checks.values() if check.hint] == [lock]
    assert checks["torch to numpy and back"].state is State.UNKNOWN


def test_packages_that_break_together_are_named_though_each_answers_its_pin(venv):
    venv.install("torch", "2.1.0")
    venv.install("transformers", "5.20.2")
    venv.install("onnxruntime", "1.13.1")
    venv.install("numpy", "2.2.6")
    other = "3.10" if PYTHON != "3.10" else "3.9"
    checks = venv.checks(python=other)
    assert checks["Python"].state is State.PROBLEM
    assert f"and the recipe wants {other}" in checks["Python"].message
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
    for name in ("torch to numpy and back", "a session of ONNX Runtime"):
        assert checks[name].state is State.PROBLEM
        assert checks[name].message.endswith(" beside numpy 1.26.4: was killed by SIGSEGV")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_workspace(tmp_path_factory.mktemp("plan") / "w").plan


def python_with(folder: Path, packages: str) -> Path:
    """A program that answers `versions` as an interpreter with these packages would."""
    answer = f'{{"python": "3.10.13", "packages": {packages}}}'
    return make_program(folder / "python3", f"#!/bin/sh\necho '{answer}'\n")


@pytest.mark.parametrize(
    ("first_line", "python"),
    [
        (f"#!{sys.executable}", sys.executable),
        ("#!/usr/bin/env python3.10 -s", "bin/python3.10"),
        ("#!/bin/bash", None),
        ("\x7fELF", None),
    ],
)
def test_the_compilers_interpreter_is_in_its_first_line(path, first_line, python):
    make_program(path / "vamc", first_line)
    make_program(path / "python3.10")
    assert machine.vamc_python() == (python and path.parent / python)


def programs(python: Path | None, plan: Plan | None) -> dict[str, Check]:
    return {check.name: check for check in machine.programs(python, plan)}


def test_without_the_vendors_programs_it_warns_and_goes_on(path):
    states = {name: check.state for name, check in programs(None, None).items()}
    assert states == {"vamc": State.WARNING, "vastgenx": State.WARNING}


def test_a_model_that_only_vamc_compiles_cannot_go_on_without_it(path, plan):
    other = replace(plan, preset=MODELS.find("Qwen2-7B"))
    check = programs(None, other)["vamc"]
    assert check.state is State.PROBLEM
    assert check.message.endswith("the embedded backend does not run Qwen2-7B")
    make_program(path / "vamc")
    assert programs(None, other)["vamc"].state is State.OK


def test_versions_are_those_of_the_compilers_environment(path, tmp_path):
    make_program(path / "vamc")
    checks = programs(python_with(tmp_path, '{"vamc": "2.3.1", "vastgenx": "1.0"}'), None)
    assert checks["vamc"].message == f"2.3.1 ({path / 'vamc'})"
    assert (checks["vastgenx"].state, checks["vastgenx"].message) == (State.OK, "1.0")


@pytest.mark.parametrize(("version", "words", "found"), [
    ("2.3.3", 65025, True), ("2.3.4", 65025, False), ("2.3.3", 65024, False), ("odd", 65025, False),
])  # fmt: skip
def test_an_odd_vocabulary_needs_a_newer_compiler(path, tmp_path, plan, version, words, found):
    make_program(path / "vamc")
    python = python_with(tmp_path, f'{{"vamc": "{version}"}}')
    geometry = plan.geometry.model_copy(update={"vocab_size": words})
    assert ("vocabulary" in programs(python, replace(plan, geometry=geometry))) is found


def test_cards_are_looked_for_among_the_devices(tmp_path):
    assert machine.cards(tmp_path).state is State.WARNING
    for name in ("vastai0", "vastai1", "null"):
        (tmp_path / name).touch()
    assert machine.cards(tmp_path).message == "2 devices: vastai0, vastai1"


def test_disk_and_memory_are_held_against_the_need(tmp_path):
    little = list(machine.room(tmp_path, 5_100_000, 1))
    assert little[0].message.endswith("this build takes about 5.1 MB")
    assert little[1].message.endswith("this build takes about 1 B")
    assert [check.state for check in little] == [State.OK, State.OK]
    much = list(machine.room(tmp_path, 10**18, 10**18))
    assert [check.state for check in much] == [State.PROBLEM, State.PROBLEM]
    assert "this build takes about 1000000 TB" in much[0].message


def test_the_need_grows_with_the_model_and_is_another_with_vamc(plan):
    weights = parameter_count(plan.geometry)
    disk_bytes, memory_bytes = needed_bytes(plan, False)
    assert 3 * weights < disk_bytes < 3.5 * weights  # fp16, and int8 with its scales
    assert needed_bytes(plan, True) == (disk_bytes, 2 * weights)
    geometry = plan.geometry.model_copy(update={"layers": 1000})
    _, large_bytes = needed_bytes(replace(plan, geometry=geometry), False)
    assert large_bytes - memory_bytes > parameter_count(geometry) - 10_000_000
