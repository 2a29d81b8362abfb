"""What a recipe asks, and locks for it: resolved with the real uv from wheels of our own."""

import shutil
from dataclasses import replace

import pytest

from tests.wheels import make_wheel, offline_settings
from vacc_gen.generator.lock import (
    MADE_HERE,
    Requirements,
    locked_packages,
    preset_lock,
    requirements_of,
    resolve,
)
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


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    make_wheel(folder, "top", "1.0", requires=("middle>=1",))
    make_wheel(folder, "middle", "1.0", requires=("leaf",))
    make_wheel(folder, "middle", "1.5", requires=("leaf",))
    make_wheel(folder, "leaf", "1.0")
    make_wheel(folder, "leaf", "2.0")
    make_wheel(folder, "old", "1.0", tag="cp38-cp38-manylinux2014_x86_64")
    (folder / "unbuilt-1.0.tar.gz").touch()
    return folder


@pytest.fixture
def index(wheels, monkeypatch):
    for name, value in offline_settings(wheels).items():
        monkeypatch.setenv(name, value)
    return wheels


def locked(lock):
    return locked_packages(lock.text)


def test_everything_that_comes_along_is_locked_within_the_bounds(index, monkeypatch, tmp_path):
    settings = tmp_path / "uv.toml"  # a user's own, which must not reach the lock
    settings.write_text("[pip]\nemit-find-links = true\n")
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    made = resolve(wanted("top==1.0", bounds=("leaf<2", "absent<2")), "mine")
    assert locked(made) == {"leaf": "1.0", "middle": "1.5", "top": "1.0"}
    assert (made.made_by, made.python, made.platform) == (MADE_HERE, "3.10", PLATFORM)
    assert made.resolver.startswith("uv ")
    assert "via -r mine.in" in made.text
    assert str(index) not in made.text


def test_old_versions_stay_unless_they_no_longer_fit(index):
    old = "".join(f"{name}==1.0 \\\n    {HASH}\n" for name in ("leaf", "middle", "top"))
    assert locked(resolve(wanted("top"), "x", previous=old))["middle"] == "1.0"
    newer = resolve(wanted("top", "middle>1"), "x", previous=old)
    assert locked(newer) == {"leaf": "1.0", "middle": "1.5", "top": "1.0"}


def test_no_solution_is_reported_in_the_resolvers_words_and_its_hint(index):
    with pytest.raises(LockError, match=r"^No solution found.*absent.* unsatisfiable") as error:
        resolve(wanted("absent==3"), "x")
    assert "network was disabled" in error.value.hint


def test_what_has_no_wheel_is_passed_over(index):
    with pytest.raises(LockError, match="no usable wheels"):
        resolve(wanted("unbuilt"), "x")


def test_the_python_asked_need_not_be_here(index):
    assert locked(resolve(wanted("old", python="3.8"), "x")) == {"old": "1.0"}
    with pytest.raises(LockError, match="old"):
        resolve(wanted("old", python="3.9"), "x")


def test_pins_that_are_known_to_break_are_not_even_resolved():
    with pytest.raises(LockError, match="does not run beside") as error:
        resolve(wanted("numpy==2.2.6", "onnxruntime==1.13.1"), "x")
    assert error.value.hint == "beside onnxruntime<1.19 use numpy<2"


def test_without_uv_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(MissingExtraError, match="needs uv") as error:
        resolve(wanted("leaf"), "x")
    assert error.value.hint == "pip install 'vacc-gen[lock]'"
