"""Resolving with the real uv, against wheels that the test writes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.wheels import make_wheel, offline_settings
from vacc_gen.generator.environment import lock as lock_module
from vacc_gen.generator.environment.environment import MADE_HERE, preset_lock
from vacc_gen.generator.environment.lock import (
    changes,
    explained,
    or_shipped,
    resolve,
    resolve_pylock,
)
from vacc_gen.generator.environment.requirements import Asked, Requirements, locked_packages
from vacc_gen.schema.compatibility import Bound
from vacc_gen.schema.environment import DEFAULT_PLATFORM
from vacc_gen.schema.errors import LockError, MissingExtraError

uv = pytest.importorskip("uv")


def wanted(*pins: str, bounds: tuple[str, ...] = (), python: str = "3.10") -> Requirements:
    return Requirements(
        python,
        DEFAULT_PLATFORM,
        tuple(Asked(pin, "the test") for pin in pins),
        tuple(Bound(bound, "the test wants it") for bound in bounds),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(folder, "top", "1.0", requires=("middle>=1",))
    make_wheel(folder, "middle", "1.0", requires=("leaf",))
    make_wheel(folder, "middle", "1.5", requires=("leaf",))
    make_wheel(folder, "leaf", "1.0")
    make_wheel(folder, "leaf", "2.0")
    make_wheel(folder, "old", "1.0", tag="cp38-cp38-manylinux2014_x86_64")
    for name, value in offline_settings(folder).items():
        monkeypatch.setenv(name, value)
    return folder


def versions(text: str) -> dict[str, str]:
    return {name: str(one.version) for name, one in locked_packages(text, "it").items()}


def test_everything_that_comes_along_is_locked_within_the_bounds(index):
    made = resolve(wanted("top==1.0", bounds=("leaf<2",)), "mine")
    assert versions(made.text) == {"leaf": "1.0", "middle": "1.5", "top": "1.0"}
    assert all(one.hashes for one in locked_packages(made.text, "it").values())
    assert (made.made_by, made.python, made.platform) == (MADE_HERE, "3.10", DEFAULT_PLATFORM)
    assert made.resolver.startswith("uv ")
    assert "via -r mine.in" in made.text
    assert "://" not in made.text
    assert str(index) not in made.text


def test_a_bound_on_what_nothing_brings_brings_nothing(index):
    assert versions(resolve(wanted("leaf", bounds=("absent<2",)), "x").text) == {"leaf": "2.0"}


def test_old_versions_stay_unless_they_no_longer_answer(index):
    old = resolve(wanted("top", "middle==1.0", "leaf<2"), "x")
    assert versions(resolve(wanted("top"), "x", previous=old.text).text)["middle"] == "1.0"
    assert versions(resolve(wanted("top", "middle>1"), "x", previous=old.text).text) == {
        "leaf": "1.0",
        "middle": "1.5",
        "top": "1.0",
    }
    assert versions(resolve(wanted("top"), "x").text)["middle"] == "1.5"


def test_the_python_asked_need_not_be_here(index):
    assert versions(resolve(wanted("old", python="3.8"), "x").text) == {"old": "1.0"}
    with pytest.raises(LockError, match="old"):
        resolve(wanted("old", python="3.9"), "x")


def test_no_solution_is_told_in_the_resolvers_words(index):
    with pytest.raises(LockError, match=r"leaf==3.* unsatisfiable"):
        resolve(wanted("leaf==3"), "x")


def test_pins_that_are_known_to_break_are_not_even_resolved(index):
    with pytest.raises(LockError, match="does not run beside") as error:
        resolve(wanted("numpy==2.2.6", "onnxruntime==1.13.1"), "x")
    assert error.value.hint == "beside onnxruntime<1.19 use numpy<2"


def test_pylock_holds_the_same_versions(index):
    asked = wanted("top", bounds=("leaf<2",))
    made = resolve(asked, "x")
    text = resolve_pylock(asked, made, "x")
    assert 'lock-version = "1.0"' in text
    for name, version in versions(made.text).items():
        assert f'name = "{name}"\nversion = "{version}"' in text


def test_a_users_own_settings_for_the_index_do_not_reach_the_lock(index, monkeypatch, tmp_path):
    settings = tmp_path / "uv.toml"
    settings.write_text("[pip]\nemit-find-links = true\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    assert str(index) not in resolve(wanted("leaf"), "x").text


def test_changes_name_what_is_new_gone_and_other():
    before = "a==1 --hash=sha256:0\nb==1\nc==1\n"
    after = "a==1 --hash=sha256:1\nb==2\nd==1\n"
    assert [(one.name, one.before, one.after) for one in changes(before, after)] == [
        ("b", "1", "2"),
        ("c", "1", None),
        ("d", None, "1"),
    ]


def test_the_same_packages_as_shipped_are_the_shipped_lock():
    shipped = preset_lock("falcon-py310")
    assert shipped is not None
    text = shipped.text.replace("# via", "# because of")
    made = lock_module.Lock(text, MADE_HERE, shipped.python, shipped.platform, "uv 9")
    assert or_shipped(made, shipped) is shipped
    other = lock_module.Lock(text.replace("1.26.4", "1.26.3"), MADE_HERE, "3.10", "x", "uv 9")
    assert or_shipped(other, shipped) is other
    assert or_shipped(made, None) is made


def test_without_uv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingExtraError, match="needs uv") as error:
        resolve(wanted("leaf"), "x")
    assert error.value.hint == "pip install 'vacc-gen[lock]'"


def test_the_words_of_uv_are_one_sentence_and_its_hint():
    said = (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because torch was not found in the cache, your requirements are unsatisfiable.\n"
        "hint: Packages were unavailable because the network was disabled.\n"
    )
    message, hint = explained(said)
    assert message == (
        "No solution found when resolving dependencies: Because torch was not found in the cache, "
        "your requirements are unsatisfiable."
    )
    assert hint == "Packages were unavailable because the network was disabled."
