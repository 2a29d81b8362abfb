"""What a recipe asks, and locks for it: resolved with the real uv from wheels of our own."""

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest

from tests.workspaces import FALCON_TINY, files_of, recipe_text
from vacc_gen.generator.lock import (
    MADE_HERE,
    Requirements,
    locked_packages,
    preset_lock,
    requirements_of,
    resolve,
)
from vacc_gen.generator.workspace import create
from vacc_gen.schema.errors import LockError, MissingExtraError, UnreadableError
from vacc_gen.schema.packages import Companion, parse_pin
from vacc_gen.schema.recipe import Environment

pytest.importorskip("uv")

HASH = "--hash=sha256:" + "0" * 64
PLATFORM = Environment().platform
SHIPPED = preset_lock("falcon-py310")


def test_locks_are_read_as_they_are_written():
    first = f"A_b[x]==1.2 \\\n    {HASH} \\\n    {HASH}\n    # via c\n"
    text = f"# by hand\n\n{first}c==2.0+cpu \\\n    {HASH}\n"
    assert locked_packages(text) == {"a-b": "1.2", "c": "2.0+cpu"}


@pytest.mark.parametrize("text", ["torch>=2.1", "torch==2.1", "-r other.txt", "torch @ file:///x"])
def test_what_is_not_a_lock_is_refused(text):
    with pytest.raises(UnreadableError, match="env/x is not a lock"):
        locked_packages(text, "env/x")


def test_a_lock_falls_short_of_other_wishes_and_says_of_which():
    assert SHIPPED.shortcomings(requirements_of(Environment())) == ()
    pins = ("tiktoken", "transformers==4.40.0")
    other = Environment(python="3.9", platform="aarch64-unknown-linux-gnu", pins=pins)
    assert SHIPPED.shortcomings(requirements_of(other)) == (
        "it was resolved for Python 3.10, not 3.9",
        "it was resolved for x86_64-unknown-linux-gnu, not aarch64-unknown-linux-gnu",
        "it lacks tiktoken",
        "it has transformers 4.51.3, not transformers==4.40.0",
    )


def test_a_package_that_came_along_must_keep_the_bounds():
    lock = replace(SHIPPED, text=SHIPPED.text.replace("numpy==1.26.4", "numpy==2.2.6"))
    (reason,) = lock.shortcomings(requirements_of(Environment()))
    assert reason.startswith("it has numpy 2.2.6, not numpy<2: importing it works")


def wanted(*pins, bounds=(), python="3.10"):
    return Requirements(
        python,
        PLATFORM,
        tuple(map(parse_pin, pins)),
        tuple(Companion(package="any", needs=bound, reason="so it runs") for bound in bounds),
    )


WHEELS = [
    *(("top", "1.0", ["middle>=1"]), ("middle", "1.0", ["leaf"]), ("middle", "1.5", ["leaf"])),
    *(("leaf", "1.0", []), ("leaf", "2.0", []), ("tinier", "1.0", []), ("tiktoken", "0.7.0", [])),
    *(("huggingface-hub", "0.99", ["tinier"]), ("transformers", "4.99", ["huggingface-hub"])),
]


def make_wheel(folder, name, version, requires=(), tag="py3-none-any"):
    """Write a wheel that holds what a resolver reads, and no module."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    with zipfile.ZipFile(folder / f"{distribution}-{version}-{tag}.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels, which is all that uv knows."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for wheel in WHEELS:
        make_wheel(folder, *wheel)
    make_wheel(folder, "old", "1.0", tag="cp38-cp38-manylinux2014_x86_64")
    (folder / "unbuilt-1.0.tar.gz").touch()
    settings = {"UV_FIND_LINKS": str(folder), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return folder


def packages_of(lock):
    return locked_packages(lock.text)


def test_everything_that_comes_along_is_locked_within_the_bounds(index, monkeypatch, tmp_path):
    settings = tmp_path / "uv.toml"  # a user's own, which must not reach the lock
    settings.write_text("[pip]\nemit-find-links = true\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    made = resolve(wanted("top==1.0", bounds=("leaf<2", "absent<2")), "mine")
    assert packages_of(made) == {"leaf": "1.0", "middle": "1.5", "top": "1.0"}
    assert (made.made_by, made.python, made.platform) == (MADE_HERE, "3.10", PLATFORM)
    assert made.resolver.startswith("uv ")
    assert "via -r mine.in" in made.text
    assert str(index) not in made.text


def test_old_versions_stay_unless_they_no_longer_fit(index):
    old = "".join(f"{name}==1.0 \\\n    {HASH}\n" for name in ("leaf", "middle", "top"))
    assert packages_of(resolve(wanted("top"), "x", previous=old))["middle"] == "1.0"
    newer = resolve(wanted("top", "middle>1"), "x", previous=old)
    assert packages_of(newer) == {"leaf": "1.0", "middle": "1.5", "top": "1.0"}


def test_no_solution_is_reported_in_the_resolvers_words_and_its_hint(index):
    with pytest.raises(LockError, match=r"^No solution found.*absent.* unsatisfiable") as error:
        resolve(wanted("absent==3"), "x")
    assert "network was disabled" in error.value.hint


def test_what_has_no_wheel_is_passed_over(index):
    with pytest.raises(LockError, match="no usable wheels"):
        resolve(wanted("unbuilt"), "x")


def test_the_python_asked_need_not_be_here(index):
    assert packages_of(resolve(wanted("old", python="3.8"), "x")) == {"old": "1.0"}
    with pytest.raises(LockError, match="old"):
        resolve(wanted("old", python="3.9"), "x")


def test_pins_that_are_known_to_break_are_not_even_resolved():
    with pytest.raises(LockError, match="does not run with") as error:
        resolve(wanted("numpy==2.2.6", "onnxruntime==1.13.1"), "x")
    assert error.value.hint == "with onnxruntime<1.19 use numpy<2"


def test_without_uv_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(MissingExtraError, match="needs uv") as error:
        resolve(wanted("leaf"), "x")
    assert error.value.hint == "pip install 'vacc-gen[lock]'"


# --- the verb, on a workspace ------------------------------------------------------------------

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PIN, OTHER = "huggingface-hub==0.99", "transformers==4.99"


def recipe(*pins):
    environment = {"preset": "qwen2_5_vl-py310", "python": PYTHON, "pins": [PIN, OTHER, *pins]}
    target = {"prefill": 64, "total": 128, "tp": 1}
    return recipe_text("falcon-tiny", FALCON_TINY, target=target, environment=environment)


@pytest.fixture
def locked(tmp_path, index, run):
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


def test_changes_name_what_is_new_gone_and_other(locked, index, run):
    make_wheel(index, "tinier", "2.0")
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
