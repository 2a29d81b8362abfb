"""`vacc-gen lock` on a workspace whose environment is small enough for wheels of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wheels import make_wheel, offline_settings
from tests.workspaces import FALCON_TINY
from vacc_gen.generator.cli.main import main
from vacc_gen.generator.workspace.workspace import create

pytest.importorskip("uv")

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PIN, OTHER = "huggingface-hub==0.99", "transformers==4.99"


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["vacc-gen", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "huggingface-hub", "0.99", requires=("tinier",))
    make_wheel(folder, "transformers", "4.99", requires=("huggingface-hub",))
    make_wheel(folder, "tinier", "1.0")
    for name, value in offline_settings(folder).items():
        monkeypatch.setenv(name, value)
    return folder


def recipe(python: str = PYTHON, pins: tuple[str, ...] = ()) -> str:
    environment = {"preset": "qwen2_5_vl-py310", "python": python, "pins": [PIN, OTHER, *pins]}
    return json.dumps(
        {
            "version": 2,
            "model": {"preset": "falcon-tiny", "checkpoint": str(FALCON_TINY)},
            "target": {"prefill": 64, "total": 128, "tp": 1},
            "environment": environment,
        }
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    create(tmp_path / "w", recipe())
    return tmp_path / "w"


def described(root: Path) -> dict:
    return json.loads((root / "env/environment.json").read_text())


def test_pins_that_no_shipped_lock_satisfies_are_locked_and_stay_current(
    root, wheels, monkeypatch, capsys
):
    assert described(root)["lock"] is None
    assert run(monkeypatch, "lock", str(root)) == 0
    lock = (root / "env/requirements.lock").read_text()
    assert [line.split()[0] for line in lock.splitlines() if line[0].isalnum()] == [
        PIN,
        "tinier==1.0",
        OTHER,
    ]
    assert described(root)["lock"]["made_by"] == "vacc-gen lock"
    assert run(monkeypatch, "lock", str(root), "--check") == 0
    assert run(monkeypatch, "generate", str(root), "--check") == 0
    assert "is current: 3 packages for Python" in capsys.readouterr().out


def test_check_asks_neither_uv_nor_an_index(root, wheels, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root)) == 0
    monkeypatch.setattr(subprocess, "run", None)
    assert run(monkeypatch, "lock", str(root), "--check") == 0
    (root / "vacc.yaml").write_text(recipe(pins=("tiktoken==0.7.0", "tinier<1")))
    assert run(monkeypatch, "lock", str(root), "--check") == 1
    said = capsys.readouterr().err
    assert "it lacks tiktoken==0.7.0; it has tinier 1.0, not tinier<1" in said
    assert f"hint: vacc-gen lock {root}" in said


def test_a_lock_that_was_changed_by_hand_is_stale(root, wheels, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root)) == 0
    path = root / "env/requirements.lock"
    path.write_text(path.read_text().replace("tinier==1.0", "tinier==1.1"))
    assert run(monkeypatch, "lock", str(root), "--check") == 1
    assert "was changed since it was made" in capsys.readouterr().err
    assert run(monkeypatch, "lock", str(root)) == 0
    assert "tinier==1.0" in path.read_text()


def test_generate_takes_a_lock_away_that_no_longer_fits(root, wheels, monkeypatch):
    assert run(monkeypatch, "lock", str(root)) == 0
    (root / "vacc.yaml").write_text(recipe(pins=("tiktoken==0.7.0",)))
    assert run(monkeypatch, "generate", str(root)) == 0
    assert not (root / "env/requirements.lock").exists()
    assert "it lacks tiktoken==0.7.0" in described(root)["no_lock"]


def test_what_cannot_be_resolved_leaves_everything_as_it_was(root, wheels, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root)) == 0
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (root / "vacc.yaml").write_text(recipe(pins=("tinier==9",)))
    assert run(monkeypatch, "lock", str(root)) == 1
    assert "tinier==9" in capsys.readouterr().err
    (root / "vacc.yaml").write_text(recipe())
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_check_stands_alone(root, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root), "--check", "--upgrade") == 2
    assert "--check writes nothing" in capsys.readouterr().err
