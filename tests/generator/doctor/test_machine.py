"""The machine, with programs that the test writes and a folder that stands for /dev."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workspaces import make_workspace
from vacc_gen.generator.doctor import machine
from vacc_gen.generator.doctor.check import State
from vacc_gen.generator.doctor.machine import Need, need_of
from vacc_gen.generator.plan import Plan
from vacc_gen.presets import MODELS
from vacc_gen.schema.footprint import parameter_count

MEGABYTE = 10**6


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(path: Path, first_line: str) -> None:
    path.write_text(f"{first_line}\n")
    path.chmod(0o755)


def python_with(folder: Path, packages: str) -> Path:
    """A program that answers `versions` as an interpreter with these packages would."""
    answer = f'{{"python": "3.10.13", "packages": {packages}}}'
    script = folder / "python3"
    program(script, f"#!/bin/sh\necho '{answer}'")
    return script


@pytest.mark.parametrize("first_line", [f"#!{sys.executable}", "#!/usr/bin/env python3.10 -s"])
def test_the_compilers_interpreter_is_in_its_first_line(path, first_line):
    program(path / "vamc", first_line)
    program(path / "python3.10", "")
    expected = sys.executable if "python3.10" not in first_line else str(path / "python3.10")
    assert str(machine.vamc_python()) == expected


@pytest.mark.parametrize("first_line", ["#!/bin/bash", "\x7fELF", ""])
def test_a_vamc_that_is_no_python_program_names_none(path, first_line):
    program(path / "vamc", first_line)
    assert machine.vamc_python() is None


def test_without_the_vendors_programs_it_warns_and_goes_on(path):
    checks = {check.name: check for check in machine.programs(None, None)}
    assert {name: check.state for name, check in checks.items()} == {
        "vamc": State.WARNING,
        "vastgenx": State.WARNING,
    }


def test_a_model_that_only_vamc_compiles_cannot_go_on_without_it(path, plan):
    other = replace(plan, preset=MODELS.find("Qwen2-7B"))
    check = next(check for check in machine.programs(None, other) if check.name == "vamc")
    assert check.state is State.PROBLEM
    assert check.message.endswith("the embedded backend does not run Qwen2-7B")
    program(path / "vamc", "#!/bin/sh")
    check = next(check for check in machine.programs(None, other) if check.name == "vamc")
    assert check.state is State.OK


def test_versions_are_those_of_the_compilers_environment(path, tmp_path):
    program(path / "vamc", "#!/bin/sh")
    python = python_with(tmp_path, '{"vamc": "2.3.1", "vastgenx": "1.0"}')
    checks = {check.name: check for check in machine.programs(python, None)}
    assert checks["vamc"].message == f"2.3.1 ({path / 'vamc'})"
    assert (checks["vastgenx"].state, checks["vastgenx"].message) == (State.OK, "1.0")


@pytest.mark.parametrize(("version", "words", "found"), [
    ("2.3.3", 65025, True), ("2.3.4", 65025, False), ("2.3.3", 65024, False), ("odd", 65025, False),
])  # fmt: skip
def test_an_odd_vocabulary_needs_a_newer_compiler(path, tmp_path, plan, version, words, found):
    program(path / "vamc", "#!/bin/sh")
    python = python_with(tmp_path, f'{{"vamc": "{version}"}}')
    geometry = plan.geometry.model_copy(update={"vocab_size": words})
    checks = machine.programs(python, replace(plan, geometry=geometry))
    assert ("vocabulary" in {check.name for check in checks}) is found


def test_cards_are_looked_for_among_the_devices(tmp_path):
    assert machine.cards(tmp_path).state is State.WARNING
    for name in ("vastai0", "vastai1", "null"):
        (tmp_path / name).touch()
    assert machine.cards(tmp_path).message == "2 devices: vastai0, vastai1"


def test_disk_and_memory_are_held_against_the_need(tmp_path):
    little = list(machine.room(tmp_path, Need(5_100_000, 1, "nothing")))
    assert little[0].message.endswith("this build takes about 5.1 MB")
    assert little[1].message.endswith("this build takes about 1 B")
    assert [check.state for check in little] == [State.OK, State.OK]
    much = list(machine.room(tmp_path, Need(10**18, 10**18, "the weights")))
    assert [check.state for check in much] == [State.PROBLEM, State.PROBLEM]
    assert "this build takes about 1000000 TB" in much[0].message
    assert much[1].hint == "the weights; end other programs first"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_workspace(tmp_path_factory.mktemp("plan") / "w").plan


def test_the_need_grows_with_the_model_and_is_another_with_vamc(plan):
    weights = parameter_count(plan.geometry)
    embedded, with_vamc = need_of(plan, False), need_of(plan, True)
    assert 3 * weights < embedded.disk_bytes < 3.2 * weights  # fp16, and int8 with its scales
    assert with_vamc.memory_bytes == 2 * weights
    geometry = plan.geometry.model_copy(update={"layers": 1000})
    large = need_of(replace(plan, geometry=geometry), False)
    assert large.memory_bytes - embedded.memory_bytes > parameter_count(geometry) - 10 * MEGABYTE


def test_each_precision_has_its_own_size(tmp_path_factory):
    root = tmp_path_factory.mktemp("sizes") / "w"
    plan = make_workspace(root, precisions=["int4", "kv8"]).plan
    weights = parameter_count(plan.geometry)
    # Half a byte and a scale for each 16; the cache is no part of what lies on disk.
    assert need_of(plan, False).disk_bytes == weights // 2 + weights * 2 // 16 + 2 * weights


def test_a_gpu_is_looked_for_only_where_gptq_is_to_run_on_it(tmp_path_factory, plan):
    assert list(machine.gpu(Path(sys.executable), plan)) == []
    root = tmp_path_factory.mktemp("gpu") / "w"
    wanting = make_workspace(root, quantization={"device": "cuda:7"}).plan
    (unknown,) = machine.gpu(None, wanting)
    assert unknown.state is State.UNKNOWN
    (check,) = machine.gpu(Path(sys.executable), wanting)
    assert check.state is State.PROBLEM
    assert check.message.startswith("GPTQ is to run on cuda:7: PyTorch sees ")
    assert os.sep not in check.message
