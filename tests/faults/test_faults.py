"""What a kill or a failing disk cuts short loses nothing: run again, it ends as it would have.

The default suite tries a few points of each scenario; `make test-slow` tries hundreds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.sweep import (
    BROKEN,
    FAILURES,
    FULL,
    KILLS,
    Scenario,
    Server,
    contents,
    restore,
    server_in,
    sweep,
)
from tests.texts import CALIBRATION
from tests.workspaces import FALCON_TINY

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def write_texts(folder: Path, server: Server) -> None:
    records = [{"instruction": "Go on.", "input": "", "output": line} for line in LINES]
    (folder / "alpaca.json").write_text(json.dumps(records))


def make_workspace(folder: Path, server: Server) -> None:
    write_texts(folder, server)
    made = server.run(NEW.arguments(folder), folder)
    assert made.code == 0, made.printed


def make_changed_workspace(folder: Path, server: Server) -> None:
    """A workspace whose recipe has changed since its files were generated."""
    make_workspace(folder, server)
    recipe = folder / "workspace" / "vacc.yaml"
    few = recipe.read_text().replace("samples: 128", "samples: 4").replace("512", "32")
    recipe.write_text(few.replace("prefill: 64", "prefill: 32"))


def make_small_workspace(folder: Path, server: Server) -> None:
    """One that is built in a second: with four calibration windows of 32 tokens."""
    make_changed_workspace(folder, server)
    generated = server.run(["generate", str(folder / "workspace")], folder)
    assert generated.code == 0, generated.printed


def options_of_new(folder: Path) -> list[str]:
    return [
        *("new", "--checkpoint", str(FALCON_TINY), "--out", str(folder / "workspace")),
        *("--prefill", "64", "--total", "128", "--tp", "1"),
        *("--precision", "fp16", "--precision", "int8"),
        *("--calibration", f"alpaca:{folder / 'alpaca.json'}"),
    ]


LINES = CALIBRATION.read_text().splitlines()[:200]
NEW = Scenario("new", options_of_new, write_texts)
GENERATE = Scenario(
    "generate", lambda folder: ["generate", str(folder / "workspace")], make_changed_workspace
)
EXPORT = Scenario("export", lambda f: ["export", str(FALCON_TINY), "--out", str(f / "deep/onnx")])
BUILD = Scenario(
    "build",
    lambda f: ["build", str(f / "workspace"), "--backend", "onnxruntime", "--until", "compile"],
    make_small_workspace,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_in(tmp_path_factory.mktemp("server")) as server:
        yield server


SCENARIOS = {
    NEW: ("before", "tear", FULL, BROKEN),
    GENERATE: ("before", "tear", FULL, BROKEN),
    EXPORT: ("before", "tear", FULL, BROKEN),
    BUILD: ("tear", FULL),  # each takes seconds
}
"""With the acts of the default suite, which visit a call each."""
FEW = [pytest.param(one, acts, 1, id=f"{one.name}-few") for one, acts in SCENARIOS.items()]
MANY = [
    pytest.param(one, (*KILLS, *FAILURES), 25, id=f"{one.name}-many", marks=pytest.mark.slow)
    for one in SCENARIOS
]


@pytest.mark.parametrize(("scenario", "acts", "count"), [*FEW, *MANY])
def test_nothing_is_lost(
    scenario: Scenario,
    acts: tuple[str, ...],
    count: int,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = sweep(scenario, server, tmp_path / "sweep", acts, count)
    with capsys.disabled():
        print(f"\n{scenario.name}: {result.points} points, {len(result.losses)} losses")
    assert result.losses == []


def test_files_of_a_killed_generate_do_not_count_as_edited(server: Server, tmp_path: Path) -> None:
    """Not even when the recipe has changed once more since."""
    place = tmp_path / "place"
    place.mkdir()
    make_changed_workspace(place, server)
    recipe = place / "workspace" / "vacc.yaml"
    start = shutil.copytree(place, tmp_path / "start")
    again = recipe.read_text().replace("prefill: 32", "prefill: 48")
    recipe.write_text(again)
    assert server.run(GENERATE.arguments(place), place).code == 0
    wanted = contents(place)
    kills = 0
    for at in range(1, 60, 14):
        restore(place, start)
        killed = server.run(GENERATE.arguments(place), place, at, "after")
        recipe.write_text(again)
        ended = server.run(GENERATE.arguments(place), place)
        assert (ended.code, "edited" in ended.printed) == (0, False), ended.printed
        assert contents(place) == wanted
        kills += killed.code == -9
    assert kills > 2
