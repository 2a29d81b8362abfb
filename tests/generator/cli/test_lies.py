"""Every lie of a weight folder, told to every verb that reads weights: reported, nothing begun."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lies import ERRORS, LIES, WARNINGS, Lie
from tests.processes import make_program
from tests.weight_folders import write_falcon
from tests.workspaces import TARGET, recipe_text
from vacc_gen.generator import doctor
from vacc_gen.generator.workspace import create

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
WITHOUT_CODE = ("config-missing", "no-model-type", "other-model-type")
"""Said before the inspection: there is nothing to inspect, or it is not the recipe's model."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace on sound weights, prepared for the compiler."""
    place = tmp_path_factory.mktemp("sound")
    write_falcon(place / "falcon")
    recipe = recipe_text("falcon-11b", "../falcon", target=TARGET, precisions=["fp16"])
    create(place / "workspace", recipe)
    shutil.copytree(place / "workspace" / "source_code", place / "falcon", dirs_exist_ok=True)
    make_program(place / "bin" / "vamc", "#!/bin/sh\ntouch started\n")
    return place


@pytest.fixture
def place(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> Path:
    shutil.copytree(sound, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "1000")
    # It starts processes that import torch, and is the same whatever the weights are.
    monkeypatch.setattr(doctor, "own_environment", lambda needed: ())
    return tmp_path


def written_in(place: Path) -> set[str]:
    """What a verb has written that it should not have, reports aside."""
    patterns = ("made*", ".made*", "**/deploy", "**/started")
    return {str(path.relative_to(place)) for one in patterns for path in place.glob(one)}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_a_lie_is_reported_by_every_verb(lie: Lie, place: Path, run: Callable[..., Any]) -> None:
    lie.apply(place / "falcon")
    wrong = []
    for verb, arguments in VERBS.items():
        if lie in WARNINGS and verb.startswith(("build", "export", "new")):
            continue  # they go on
        if lie.name == "no-weights" and verb == "new":
            continue  # config.json is enough for it
        done = run(*arguments)
        printed = done.out + done.err
        # A warning may be about a file that the workspace's own are made from.
        wanted = (1, 2) if lie in ERRORS else (0, 1) if verb == "doctor" else (0,)
        is_coded = lie.code in printed or lie.name in WITHOUT_CODE
        if done.code not in wanted or lie.words not in printed or not is_coded or written_in(place):
            wrong.append(f"{verb}: {done.code}, wrote {written_in(place)}:\n{printed[:600]}")
    assert not wrong, "\n\n".join(wrong)


def test_sound_weights_are_no_lie(place: Path, run: Callable[..., Any]) -> None:
    for verb, arguments in VERBS.items():
        done = run(*arguments)
        assert "VG9" not in done.out + done.err, verb
    assert written_in(place) >= {"made", "workspace/started"}
