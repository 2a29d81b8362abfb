"""Every lie of a weight folder, told to every verb that reads weights: reported, nothing begun."""

import shutil

import pytest

from tests.lies import ERRORS, LIES, WARNINGS
from tests.weight_folders import write_falcon
from vacc_gen.generator import doctor, new

OF_MODEL = {"model": "falcon-11b", "tp": 1, "prefill": 64, "total": 128}
VERBS = {
    "validate": "validate falcon",
    "validate the workspace": "validate workspace",
    "new": "new --checkpoint falcon --out made --model falcon-11b --tp 1 --prefill 64 --total 128",
    "doctor": "doctor workspace",
    "export": "export falcon --out made",
    "build": "build workspace --backend onnxruntime",
    "build with vamc": "build workspace --backend vamc",
}
WITHOUT_CODE = ("config-missing", "no-model-type", "other-model-type")
"""Said before the inspection: there is nothing to inspect, or it is not the recipe's model."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a workspace on sound weights, prepared for the compiler."""
    place = tmp_path_factory.mktemp("sound")
    write_falcon(place / "falcon")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        new(checkpoint="falcon", out="workspace", precision=["fp16"], **OF_MODEL)
    shutil.copytree(place / "workspace" / "source_code", place / "falcon", dirs_exist_ok=True)
    return place


@pytest.fixture
def place(sound, run, install_vamc, tmp_path, monkeypatch):
    shutil.copytree(sound, tmp_path, symlinks=True, dirs_exist_ok=True)
    install_vamc("touch started")
    monkeypatch.setenv("COLUMNS", "1000")
    # It starts processes that import torch, and is the same whatever the weights are.
    monkeypatch.setattr(doctor, "own_environment", lambda needed: ())
    return tmp_path


def written_in(place):
    """What a verb has written that it should not have, reports aside."""
    patterns = ("made*", ".made*", "**/deploy", "**/started")
    return {str(path.relative_to(place)) for pattern in patterns for path in place.glob(pattern)}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
def test_a_lie_is_reported_by_every_verb(lie, place, run):
    lie.apply(place / "falcon")
    wrong = []
    for verb, line in VERBS.items():
        if lie in WARNINGS and verb.startswith(("build", "export", "new")):
            continue  # they go on
        if lie.name == "no-weights" and verb == "new":
            continue  # config.json is enough for it
        code, out, err = run(*line.split())
        # A warning may be about a file that the workspace's own are made from.
        wanted = (1, 2) if lie in ERRORS else (0, 1) if verb == "doctor" else (0,)
        has_code = lie.code in out + err or lie.name in WITHOUT_CODE
        if code not in wanted or lie.words not in out + err or not has_code or written_in(place):
            wrong.append(
                f"{verb}: exit code {code}, wrote {written_in(place)}:\n{(out + err)[:600]}"
            )
    assert not wrong, "\n\n".join(wrong)


def test_sound_weights_are_no_lie(place, run):
    for line in VERBS.values():
        _, out, err = run(*line.split())
        assert "VG9" not in out + err, line
    assert written_in(place) >= {"made", "workspace/started"}
