"""`vacc-gen lock` on a workspace whose environment is small enough for wheels of our own."""

import json
import subprocess
import sys

import pytest

from tests.wheels import make_wheel, offline_settings
from tests.workspaces import FALCON_TINY, files_of, recipe_text
from vacc_gen.generator.workspace import create

pytest.importorskip("uv")

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PIN, OTHER = "huggingface-hub==0.99", "transformers==4.99"


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    folder = tmp_path / "wheels"
    make_wheel(folder, "huggingface-hub", "0.99", requires=("tinier",))
    make_wheel(folder, "transformers", "4.99", requires=("huggingface-hub",))
    make_wheel(folder, "tinier", "1.0")
    make_wheel(folder, "tiktoken", "0.7.0")
    for name, value in offline_settings(folder).items():
        monkeypatch.setenv(name, value)


def recipe(*pins):
    environment = {"preset": "qwen2_5_vl-py310", "python": PYTHON, "pins": [PIN, OTHER, *pins]}
    target = {"prefill": 64, "total": 128, "tp": 1}
    return recipe_text("falcon-tiny", FALCON_TINY, target=target, environment=environment)


@pytest.fixture
def locked(tmp_path, wheels, run):
    """A workspace that no shipped lock fits, with one of its own."""
    root = create(tmp_path / "w", recipe()).root
    assert described(root)["lock"] is None
    assert run("lock", root)[0] == 0
    return root


def described(root):
    return json.loads((root / "env/environment.json").read_text())


def test_what_was_locked_stays_current(locked, run):
    lock = (locked / "env/requirements.lock").read_text()
    packages = [line.split()[0] for line in lock.splitlines() if line[0].isalnum()]
    assert packages == [PIN, "tinier==1.0", OTHER]
    assert described(locked)["lock"]["made_by"] == "vacc-gen lock"
    code, out, _ = run("lock", locked, "--check")
    assert code == 0
    assert "is current: 3 packages for Python" in out
    assert run("generate", locked, "--check")[0] == 0


def test_changes_name_what_is_new_gone_and_other(locked, run, tmp_path):
    make_wheel(tmp_path / "wheels", "tinier", "2.0")
    (locked / "vacc.yaml").write_text(recipe("tiktoken"))
    _, out, _ = run("lock", locked, "--upgrade")
    assert out.splitlines()[:2] == ["  tiktoken (new) -> 0.7.0", "  tinier 1.0 -> 2.0"]
    (locked / "vacc.yaml").write_text(recipe())
    assert "  tiktoken 0.7.0 -> (gone)" in run("lock", locked).out.splitlines()
    assert run("lock", locked).out == "nothing to write: the lock is current\n"


def test_check_asks_neither_uv_nor_an_index(locked, run, monkeypatch):
    assert run("lock", locked, "--check", "--upgrade").code == 2
    monkeypatch.setattr(subprocess, "run", None)
    assert run("lock", locked, "--check")[0] == 0
    (locked / "vacc.yaml").write_text(recipe("tiktoken==0.7.0", "tinier<1"))
    code, _, err = run("lock", locked, "--check")
    assert code == 1
    assert "it lacks tiktoken==0.7.0; it has tinier 1.0, not tinier<1" in err
    assert f"hint: vacc-gen lock {locked}" in err
    path = locked / "env/requirements.lock"
    path.write_text(path.read_text().replace("tinier==1.0", "tinier==1.1"))
    code, _, err = run("lock", locked, "--check")
    assert (code, "was changed since it was made" in err) == (1, True)


def test_generate_takes_a_lock_away_that_no_longer_fits(locked, run):
    (locked / "vacc.yaml").write_text(recipe("tiktoken==0.7.0"))
    assert run("generate", locked)[0] == 0
    assert not (locked / "env/requirements.lock").exists()
    reason = "it lacks tiktoken==0.7.0"
    assert described(locked)["lock"] is None
    assert reason in described(locked)["no_lock"]
    assert "tiktoken==0.7.0" in described(locked)["asked"]
    assert reason in (locked / "README.md").read_text()


def test_what_cannot_be_resolved_leaves_everything_as_it_was(locked, run):
    (locked / "vacc.yaml").write_text(recipe("tinier==9"))
    before = files_of(locked)
    code, _, err = run("lock", locked)
    assert code == 1
    assert "tinier==9" in err
    assert files_of(locked) == before
