"""What a workspace lacks, and what the machine does: environments, programs, devices of our own."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import make_program
from tests.workspaces import FALCON_TINY, make_workspace
from vacc_gen.generator import doctor, probe
from vacc_gen.generator.doctor import State, compiler_environment
from vacc_gen.generator.lock import preset_lock, requirements_of, uv_path
from vacc_gen.generator.probe import run_check
from vacc_gen.generator.workspace import load_workspace
from vacc_gen.presets import MODELS
from vacc_gen.schema.recipe import Environment

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CRASHING = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


@pytest.fixture
def workspace(tmp_path):
    """A workspace on weights of its own, which a test may damage."""
    weights = tmp_path / "weights"
    shutil.copytree(FALCON_TINY, weights)
    model = {"preset": "falcon-tiny", "checkpoint": str(weights)}
    return make_workspace(tmp_path / "w", model=model)


def checks(workspace):
    return {check.name: check for check in doctor.workspace_checks(workspace)}


def test_a_whole_workspace_lacks_nothing(workspace):
    states = {name: check.state for name, check in checks(workspace).items()}
    assert states == dict.fromkeys(("files", "lock", "checkpoint"), State.OK)


def test_a_recipe_that_changed_and_a_hand_edit_are_told_apart(workspace):
    config = next(workspace.root.glob("build/*.yaml"))
    config.write_text(config.read_text() + "# mine\n")
    check = checks(workspace)["files"]
    edited = f"build/{config.name} was edited by hand"
    assert (check.state, check.message) == (State.WARNING, edited)
    config.unlink()
    check = checks(workspace)["files"]
    assert check.state is State.PROBLEM
    assert f"build/{config.name} (missing)" in check.message
    assert "vacc-gen generate" in check.hint


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("requirements.lock", "numpy==2.0\n", "requirements.lock was changed since it was made"),
        ("requirements.lock", None, "requirements.lock: No such file or directory"),
        ("environment.json", '{"lock": []}', "environment.json is not as vacc-gen writes it"),
    ],
)
def test_a_lock_that_is_not_as_it_was_made_is_a_problem(workspace, name, text, message):
    file = workspace.root / "env" / name
    file.unlink()
    if text is not None:
        file.write_text(text)
    check = checks(load_workspace(workspace.root))["lock"]
    assert check.state is State.PROBLEM
    assert check.message.endswith(message)
    assert check.hint == f"vacc-gen lock {workspace.root}"


SOURCE_ONLY = {"preset": "qwen3_gptq-py310"}  # no fault of the workspace
UNFETCHED = {"preset": "falcon-tiny", "checkpoint": "/path/to/falcon-tiny"}


@pytest.mark.parametrize(
    ("parts", "name", "state", "message", "hint"),
    [
        ({"environment": {"pins": ["tiktoken"]}}, "lock", State.PROBLEM,
         "none for these pins: it lacks tiktoken", "vacc-gen lock"),
        ({"environment": SOURCE_ONLY}, "lock", State.WARNING,
         "gptqmodel==4.0.0 cannot be locked", "leave it out"),
        ({"model": UNFETCHED}, "checkpoint", State.PROBLEM,
         "model.checkpoint is still to be filled in: /path/to/falcon-tiny", "set it in"),
        ({"calibration": "../texts.txt"}, "calibration", State.OK, "2 windows of mine", ""),
        ({"calibration": "absent.txt"}, "calibration", State.PROBLEM,
         "the calibration set mine is not there", "`vacc-gen fetch`"),
        ({"calibration": "/path/to/texts.txt"}, "calibration", State.WARNING,
         "calibration.path is still to be filled in", "set it in"),
    ],
)  # fmt: skip
def test_what_a_recipe_names_is_looked_for(tmp_path, parts, name, state, message, hint):
    (tmp_path / "texts.txt").write_text("A long way to go. " * 2000)
    if path := parts.get("calibration"):
        parts = {"calibration": {"set": "mine", "path": path, "samples": 2, "seqlen": 32}}
    check = checks(make_workspace(tmp_path / "w", **parts))[name]
    assert check.state is state
    assert check.message.startswith(message)
    assert (check.hint or "").startswith(hint)


def test_weights_have_the_findings_of_validate(workspace):
    (workspace.checkpoint_path / "tokenizer.json").unlink()
    check = checks(workspace)["checkpoint"]
    assert (check.state, check.message.split()[0]) == (State.PROBLEM, "VG930")


# --- environments ---------------------------------------------------------------------------


class Venv:
    """An environment without pip; packages are their metadata, and a module where one is given."""

    def __init__(self, folder):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = folder / "bin" / "python"
        (self.site,) = folder.glob("lib/python*/site-packages")

    def install(self, name, version, module=None):
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        if module is not None:
            (self.site / f"{name.replace('-', '_')}.py").write_text(module)

    def checks(self, **environment):
        wanted = Environment.model_validate({"python": PYTHON, **environment})
        found = compiler_environment(self.python, requirements_of(wanted))
        return {check.name: check for check in found}


@pytest.fixture
def venv(tmp_path):
    return Venv(tmp_path / "venv")


def test_each_pinned_package_is_there_or_missing_or_another(venv):
    venv.install("protobuf", "3.20.3")
    venv.install("torch", "2.1.0+cpu")
    venv.install("transformers", "4.30.0")
    venv.install("odd", "nightly-build")  # of no form that a version may have
    checks = venv.checks()
    assert checks["Python"].state is State.OK
    assert (checks["torch"].state, checks["torch"].message) == (State.OK, "2.1.0+cpu")
    assert (checks["protobuf"].state, checks["protobuf"].hint) == (State.OK, None)
    assert checks["transformers"].state is State.PROBLEM
    assert checks["transformers"].message == "4.30.0, wanted transformers>=4.31.0"
    assert checks["onnxruntime"].message == "missing, wanted onnxruntime==1.13.1"
    assert checks["onnxruntime"].hint == "pip install onnxruntime==1.13.1"
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
    assert checks["numpy and onnxruntime"].hint == "with onnxruntime<1.19 use numpy<2"


def test_a_crash_is_a_finding_and_not_our_end(venv):
    venv.install("torch", "2.1.0", CRASHING)
    venv.install("numpy", "1.26.4", "")
    venv.install("onnx", "1.14.0", "")
    venv.install("onnxruntime", "1.13.1", CRASHING)
    checks = venv.checks()
    for name in ("torch to numpy and back", "a session of ONNX Runtime"):
        assert checks[name].state is State.PROBLEM
        assert checks[name].message.endswith(", numpy 1.26.4: was killed by SIGSEGV")


def test_our_own_packages_are_needed_where_the_compiler_is_not(monkeypatch):
    monkeypatch.setattr(doctor, "package_version", lambda package: None)
    (check,) = doctor.own_environment(needed=False)
    assert (check.state, check.message) == (State.OK, "not installed; vamc does the work")
    missing = [c for c in doctor.own_environment(needed=True) if c.state is State.PROBLEM]
    assert [check.name for check in missing] == list(doctor.PACKAGES)
    assert missing[0].hint == "pip install 'vacc-gen[export]'"


FIND = [Path(__file__).parents[1] / "find_python.sh", "3.10"]


def installed(folder, *words):
    """Return the interpreter of a new environment with what the words install, from the index."""
    pytest.importorskip("uv")
    python = folder / "bin" / "python"
    found = subprocess.run(FIND, stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        pytest.skip("needs Python 3.10")
    subprocess.run([found.stdout.strip(), "-m", "venv", "--without-pip", folder], check=True)
    install = [uv_path(), "pip", "install", "--quiet", "--python", str(python)]
    subprocess.run([*install, *words], check=True)
    return python


@pytest.mark.slow
def test_onnxruntime_beside_numpy_2_dies_and_doctor_says_of_what(tmp_path):
    pins = ("onnxruntime==1.13.1", "onnx==1.14.0", "protobuf==3.20.3", "numpy==2.2.6")
    python = installed(tmp_path / "venv", *pins)
    subprocess.run([str(python), "-c", "import onnxruntime"], check=True)  # and that works
    found = compiler_environment(python, requirements_of(Environment()))
    checks = {check.name: check for check in found}
    assert checks["onnxruntime"].state is State.OK
    assert checks["numpy and onnxruntime"].state is State.PROBLEM
    assert "was killed by SIGSEGV" in checks["a session of ONNX Runtime"].message


@pytest.mark.slow
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


# --- asking an interpreter --------------------------------------------------------------------


def test_an_interpreter_reports_its_version_and_packages():
    answer = run_check(sys.executable, "versions")
    assert answer.failure is None
    assert answer.values["python"] == sys.version.split()[0].rstrip("+")
    assert answer.values["packages"]["pytest"] == pytest.__version__
    assert "typing-extensions" in answer.values["packages"]


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("echo some words >&2; exit 3", "some words"),
        ("exit 3", "exited 3"),
        ("echo no json", "exited 0 without an answer"),
        ("", "exited 0 without an answer"),
        ("exec sleep 60", "did not end within 0 s"),
    ],
)
def test_whatever_an_interpreter_dies_of_is_a_finding(tmp_path, text, failure):
    timeout_s = 0.2 if "sleep" in text else 30
    python = make_program(tmp_path / "python", f"#!/bin/sh\n{text}\n")
    assert run_check(python, "session", timeout_s).failure == failure


def test_the_probe_needs_nothing_but_the_standard_library():
    code = (
        "import json, runpy, sys; before = set(sys.modules);"
        f"runpy.run_path({probe.__file__!r});"
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)
    assert set(json.loads(done.stdout)) <= set(sys.stdlib_module_names)


# --- the machine ----------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("plan") / "w").plan


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
    assert doctor.compiler_python(None) == (python and path.parent / python)


def test_without_a_compiler_the_interpreter_is_that_of_the_workspace(path, workspace):
    python = workspace.root / "env" / "venv" / "bin" / "python"
    assert doctor.compiler_python(workspace) is None
    python.parent.mkdir(parents=True)
    python.touch()
    assert doctor.compiler_python(workspace) == python


def compiler_checks(python, plan):
    return {check.name: check for check in doctor.programs(python, plan)}


def test_without_the_compiler_only_its_own_models_cannot_go_on(path, plan):
    states = {name: check.state for name, check in compiler_checks(None, None).items()}
    assert states == {"vamc": State.WARNING, "vastgenx": State.WARNING}
    other = replace(plan, preset=MODELS.find("Qwen2-7B"))
    check = compiler_checks(None, other)["vamc"]
    assert check.state is State.PROBLEM
    assert check.message.endswith("the embedded backend does not run Qwen2-7B")
    make_program(path / "vamc")
    check = compiler_checks(None, other)["vamc"]
    assert (check.state, check.message) == (State.OK, f"unknown version ({path / 'vamc'})")


@pytest.mark.parametrize(("version", "words", "found"), [
    ("2.3.3", 65025, True), ("2.3.4", 65025, False), ("2.3.3", 65024, False), ("odd", 65025, False),
])  # fmt: skip
def test_an_odd_vocabulary_needs_a_newer_compiler(path, tmp_path, plan, version, words, found):
    make_program(path / "vamc")
    packages = f'{{"vamc": "{version}", "vastgenx": "1.0"}}'
    answer = f'{{"python": "3.10.13", "packages": {packages}}}'
    python = make_program(tmp_path / "python3", f"#!/bin/sh\necho '{answer}'\n")
    geometry = plan.geometry.model_copy(update={"vocab_size": words})
    checks = compiler_checks(python, replace(plan, geometry=geometry))
    assert checks["vamc"].message == f"{version} ({path / 'vamc'})"
    assert (checks["vastgenx"].state, checks["vastgenx"].message) == (State.OK, "1.0")
    assert ("vocabulary" in checks) is found


def test_cards_are_looked_for_among_the_devices(tmp_path):
    assert doctor.cards(tmp_path).state is State.WARNING
    for name in ("vastai0", "vastai1", "null"):
        (tmp_path / name).touch()
    assert doctor.cards(tmp_path).message == "2 devices: vastai0, vastai1"


def test_disk_and_memory_are_held_against_the_need(tmp_path, plan):
    disk, memory = doctor.room(tmp_path, plan, "onnxruntime")
    assert (disk.state, memory.state, disk.hint, memory.hint) == (State.OK, State.OK, None, None)
    # Of 2.52 million weights, 2 bytes in fp16, 1.2 in int8.
    assert disk.message.endswith(f"free where {tmp_path} lies; this build takes about 8.1 MB")
    assert memory.message.endswith("available; this build takes about 1.0 GB")  # the libraries
    geometry = plan.geometry.model_copy(update={"layers": 10**9})
    disk, memory = doctor.room(tmp_path, replace(plan, geometry=geometry), "vamc")
    assert (disk.state, memory.state) == (State.PROBLEM, State.WARNING)
    assert disk.hint.startswith("free some, or build one")
    assert memory.hint == "end other programs first"
