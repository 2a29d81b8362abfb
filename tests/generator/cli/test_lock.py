"""`vacc-gen lock` on a workspace whose environment is small enough for wheels of our own."""

from __future__ import annotations

import json
import platform
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


def test_pins_that_no_shipped_lock_answers_are_locked_and_stay_current(
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
    assert "3 packages for Python" in capsys.readouterr().out


def test_check_asks_neither_uv_nor_an_index(root, wheels, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root)) == 0
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "")
    assert run(monkeypatch, "lock", str(root), "--check") == 0
    (root / "vacc.yaml").write_text(recipe(pins=("tiktoken==0.7.0", "tinier<1")))
    assert run(monkeypatch, "lock", str(root), "--check") == 1
    said = capsys.readouterr().err
    assert "it lacks tiktoken==0.7.0; it has tinier 1.0, not tinier<1" in said
    assert f"hint: vacc-gen lock {root}" in said


def test_a_lock_that_was_changed_by_hand_is_no_answer(root, wheels, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root)) == 0
    path = root / "env/requirements.lock"
    path.write_text(path.read_text().replace("tinier==1.0", "tinier==1.1"))
    assert run(monkeypatch, "lock", str(root), "--check") == 1
    assert "was changed since it was made" in capsys.readouterr().err
    assert run(monkeypatch, "lock", str(root)) == 0
    assert "tinier==1.0" in path.read_text()


def test_generate_takes_a_lock_away_that_no_longer_answers(root, wheels, monkeypatch):
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


def test_pylock_is_written_beside_the_lock_and_belongs_to_no_manifest(root, wheels, monkeypatch):
    assert run(monkeypatch, "lock", str(root), "--pylock") == 0
    assert 'name = "tinier"' in (root / "env/pylock.toml").read_text()
    assert "pylock" not in (root / ".vacc-gen/manifest.json").read_text()
    assert run(monkeypatch, "generate", str(root), "--check") == 0


needs_this_platform = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="the lock's platform"
)


@needs_this_platform
def test_a_lock_is_called_tested_when_it_was_installed_and_ran(root, wheels, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root)) == 0
    told = f"not tested yet: `vacc-gen lock {root} --test` installs it"
    assert told in capsys.readouterr().err
    assert run(monkeypatch, "lock", str(root), "--test") == 0
    trial = described(root)["lock"]["trial"]
    assert trial["python"].startswith(PYTHON)
    assert trial["failed"] == []
    assert trial["passed"] == [
        "installed 3 packages with --require-hashes into a fresh environment",
        "import huggingface-hub, transformers",
    ]
    assert run(monkeypatch, "generate", str(root), "--check") == 0
    capsys.readouterr()
    assert run(monkeypatch, "lock", str(root)) == 0  # the same again: what was tried is still so
    assert described(root)["lock"]["trial"] == trial


@needs_this_platform
def test_a_crash_in_an_import_is_a_finding_and_is_recorded(root, wheels, monkeypatch, capsys):
    make_wheel(
        wheels,
        "transformers",
        "4.99",
        requires=("huggingface-hub",),
        modules={"transformers.py": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n"},
    )
    monkeypatch.setenv("UV_NO_CACHE", "1")
    assert run(monkeypatch, "lock", str(root)) == 0
    assert run(monkeypatch, "lock", str(root), "--test", "--venv", str(root / "other")) == 1
    assert "was killed by SIGSEGV" in capsys.readouterr().out
    assert described(root)["lock"]["trial"]["failed"] == [
        "import huggingface-hub, transformers: was killed by SIGSEGV"
    ]


@needs_this_platform
def test_a_file_that_is_not_the_locked_one_is_not_installed(root, wheels, monkeypatch, capsys):
    assert run(monkeypatch, "lock", str(root)) == 0
    make_wheel(wheels, "tinier", "1.0", modules={"tinier.py": "print('other')\n"})
    monkeypatch.setenv("UV_NO_CACHE", "1")
    assert run(monkeypatch, "lock", str(root), "--test") == 1
    assert "ash" in capsys.readouterr().err  # "hash mismatch", in uv's words
    assert not (root / "env/venv").exists()
    assert "trial" not in described(root)["lock"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--check", "--test"), "--check writes nothing and stands alone"),
        (("--test", "--upgrade"), "--test tries the lock that is there"),
        (("--venv", "x"), "--venv belongs to --test"),
    ],
)
def test_options_that_exclude_each_other(root, monkeypatch, capsys, words, message):
    assert run(monkeypatch, "lock", str(root), *words) == 2
    assert message in capsys.readouterr().err


def test_a_python_that_is_not_here_is_named(tmp_path, wheels, monkeypatch, capsys):
    if PYTHON == "3.8":
        pytest.skip("it is here")
    create(tmp_path / "w", recipe(python="3.9"))
    assert run(monkeypatch, "lock", str(tmp_path / "w")) == 0
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path))
    assert run(monkeypatch, "lock", str(tmp_path / "w"), "--test") == 2
    said = capsys.readouterr().err
    assert "the lock is for Python 3.9, which is not on this machine" in said
    assert "uv python install 3.9" in said
