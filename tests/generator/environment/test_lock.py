"""Resolving with the real uv, against wheels that the test writes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.wheels import make_wheel, offline_settings
from vacc_gen.generator.environment.lock import (
    MADE_HERE,
    Lock,
    message_and_hint,
    preset_lock,
    resolve,
    shipped_if_same,
    version_changes,
)
from vacc_gen.generator.environment.requirements import Requirements, locked_packages
from vacc_gen.schema.errors import LockError, MissingExtraError
from vacc_gen.schema.packages import Companion, parse_pin
from vacc_gen.schema.recipe import DEFAULT_PLATFORM

uv = pytest.importorskip("uv")


def wanted(*pins: str, bounds: tuple[str, ...] = (), python: str = "3.10") -> Requirements:
    return Requirements(
        python,
        DEFAULT_PLATFORM,
        {"the test": tuple(map(parse_pin, pins))},
        tuple(Companion(parse_pin("any"), parse_pin(bound), "so it runs") for bound in bounds),
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


def versions(lock: Lock) -> dict[str, str]:
    return {name: str(version) for name, version in locked_packages(lock.text, "it").items()}


def test_everything_that_comes_along_is_locked_within_the_bounds(index, monkeypatch, tmp_path):
    settings = tmp_path / "uv.toml"  # a user's own, which must not reach the lock
    settings.write_text("[pip]\nemit-find-links = true\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    made = resolve(wanted("top==1.0", bounds=("leaf<2", "absent<2")), "mine")
    assert versions(made) == {"leaf": "1.0", "middle": "1.5", "top": "1.0"}
    assert (made.made_by, made.python, made.platform) == (MADE_HERE, "3.10", DEFAULT_PLATFORM)
    assert made.resolver.startswith("uv ")
    assert "via -r mine.in" in made.text
    assert "://" not in made.text
    assert str(index) not in made.text


def test_old_versions_stay_unless_they_no_longer_fit(index):
    old = resolve(wanted("top", "middle==1.0", "leaf<2"), "x").text
    assert versions(resolve(wanted("top"), "x", previous=old))["middle"] == "1.0"
    newer = resolve(wanted("top", "middle>1"), "x", previous=old)
    assert versions(newer) == {"leaf": "1.0", "middle": "1.5", "top": "1.0"}
    assert versions(resolve(wanted("top"), "x"))["middle"] == "1.5"


def test_the_python_asked_need_not_be_here(index):
    assert versions(resolve(wanted("old", python="3.8"), "x")) == {"old": "1.0"}
    with pytest.raises(LockError, match="old"):
        resolve(wanted("old", python="3.9"), "x")


def test_no_solution_is_reported_in_the_resolvers_words(index):
    with pytest.raises(LockError, match=r"leaf==3.* unsatisfiable"):
        resolve(wanted("leaf==3"), "x")


def test_pins_that_are_known_to_break_are_not_even_resolved(index):
    with pytest.raises(LockError, match="does not run beside") as error:
        resolve(wanted("numpy==2.2.6", "onnxruntime==1.13.1"), "x")
    assert error.value.hint == "beside onnxruntime<1.19 use numpy<2"


def test_changes_name_what_is_new_gone_and_other():
    hash_ = "--hash=sha256:" + "0" * 64
    before, after = (
        "".join(f"{pin} {hash_}\n" for pin in pins)
        for pins in (("a==1", "b==1", "c==1"), ("a==1", "b==2", "d==1"))
    )
    changed = [("b", "1", "2"), ("c", "1", None), ("d", None, "1")]
    assert list(version_changes(before, after)) == changed


def test_the_same_packages_as_shipped_are_the_shipped_lock():
    shipped = preset_lock("falcon-py310")
    assert shipped is not None
    text = shipped.text.replace("# via", "# because of")
    made = replace(shipped, text=text, made_by=MADE_HERE, resolver="uv 9")
    assert shipped_if_same(made, shipped) is shipped
    other = replace(made, text=text.replace("1.26.4", "1.26.3"))
    assert shipped_if_same(other, shipped) is other
    assert shipped_if_same(made, None) is made


def test_without_uv_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(MissingExtraError, match="needs uv") as error:
        resolve(wanted("leaf"), "x")
    assert error.value.hint == "pip install 'vacc-gen[lock]'"


def test_the_output_of_uv_is_one_sentence_and_its_hint():
    stderr = (
        "error: No solution found\n"
        "  cause: Because torch was not found, your requirements are unsatisfiable.\n"
        "hint: Packages were unavailable because the network was disabled.\n"
    )
    assert message_and_hint(stderr) == (
        "No solution found: Because torch was not found, your requirements are unsatisfiable.",
        "Packages were unavailable because the network was disabled.",
    )
