"""Every lie of a weight folder, told to every verb that reads weights: reported, nothing begun."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.lies import ERRORS, LIES, WARNINGS, Lie
from tests.processes import make_program
from tests.weight_folders import write_falcon
from vacc_gen.generator import doctor
from vacc_gen.generator.cli.main import main

OF_MODEL = ("--model", "falcon-11b", "--tp", "1", "--prefill", "64", "--total", "128")
VERBS = {
    "validate": ["validate", "falcon"],
    "validate the workspace": ["validate", "workspace"],
    "new": ["new", "--checkpoint", "falcon", "--out", "made", *OF_MODEL],
    "doctor": ["doctor", "workspace"],
    "export": ["export", "falcon", "--out", "made"],
    "build": ["build", "workspace", "--backend", "onnxruntime"],
    "build with vamc": ["build", "workspace", "--backend", "vamc"],
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace on sound weights, prepared for the compiler."""
    place = tmp_path_factory.mktemp("sound")
    write_falcon(place / "falcon")
    before = Path.cwd()
    os.chdir(place)
    try:
        command = ["new", "--checkpoint", "falcon", "--out", "workspace", *OF_MODEL]
        assert run(*command, "--precision", "fp16") in (None, 0)
    finally:
        os.chdir(before)
    for file in (place / "workspace" / "source_code").iterdir():
        shutil.copy(file, place / "falcon")
    make_program(place / "bin" / "vamc", "#!/bin/sh\ntouch started\n")
    return place


def run(*arguments: str) -> str | int | None:
    before, sys.argv = sys.argv, ["vacc-gen", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = before
    return 0


@pytest.fixture
def place(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = Path(shutil.copytree(sound, tmp_path / "place", symlinks=True))
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "1000")
    # It starts processes that import torch, and is the same whatever the weights are.
    monkeypatch.setattr(doctor, "own_environment", lambda needed: ())
    return place


def written_in(place: Path) -> set[str]:
    """What a verb has written that it should not have, reports aside."""
    found = [
        *place.glob("made*"),
        *place.glob(".made*"),
        *place.glob("**/deploy"),
        *place.glob("**/started"),
    ]
    return {str(path.relative_to(place)) for path in found}


WITHOUT_CODE = ("config-missing", "no-model-type", "other-model-type")
"""Said before the inspection: there is nothing to inspect, or it is not the recipe's model."""


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_a_lie_is_reported_by_every_verb(
    lie: Lie, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lie.apply(place / "falcon")
    wrong = []
    for verb, arguments in VERBS.items():
        if lie in WARNINGS and verb.startswith(("build", "export", "new")):
            continue  # they go on
        if lie.name == "no-weights" and verb == "new":
            continue  # config.json is enough for it
        code = run(*arguments)
        output = capsys.readouterr()
        printed = output.out + output.err
        problems = []
        # A warning may be about a file that the workspace's own are made from.
        wanted = (1, 2) if lie in ERRORS else (0, 1) if verb == "doctor" else (0,)
        if code not in wanted:
            problems.append(f"exit code {code}")
        has_code = lie.code in printed or lie.name in WITHOUT_CODE
        if lie.words not in printed or not has_code:
            problems.append("not reported")
        if written := written_in(place):
            problems.append(f"wrote {written}")
        if problems:
            wrong.append(f"{verb}: {', '.join(problems)}:\n{printed[:600]}")
    assert not wrong, "\n\n".join(wrong)


def test_sound_weights_are_no_lie(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb, arguments in VERBS.items():
        run(*arguments)
        printed = capsys.readouterr()
        assert "VG9" not in printed.out + printed.err, verb
    assert written_in(place) >= {"made", "workspace/started"}
