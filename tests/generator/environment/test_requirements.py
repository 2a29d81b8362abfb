"""What a recipe asks, and whether a lock answers it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen import presets
from vacc_gen.generator.environment.environment import preset_lock
from vacc_gen.generator.environment.requirements import (
    RECIPE_SOURCE,
    locked_packages,
    requirements_of,
    unanswered,
)
from vacc_gen.schema.environment import Environment
from vacc_gen.schema.errors import UnreadableError, UsageError

HASH = "--hash=sha256:" + "0" * 64


def environment(**values: object) -> Environment:
    return Environment.model_validate(values)


def test_the_recipes_pins_take_the_place_of_the_presets_and_say_so():
    wanted = requirements_of(environment(pins=("torch==2.1.2", "tiktoken")))
    by_source = wanted.by_source()
    assert by_source[RECIPE_SOURCE] == ("torch==2.1.2", "tiktoken")
    preset = presets.ENVIRONMENTS.find("falcon-py310")
    assert by_source[preset.asked_source] == tuple(
        pin for pin in preset.asked if not pin.startswith("torch==")
    )


def test_bounds_follow_from_the_pins_that_are_really_asked():
    bounds = [one.requirement for one in requirements_of(environment()).bounds]
    assert bounds == ["transformers<4.52", "numpy<2"]
    newer = environment(pins=("torch==2.6.0", "onnxruntime==1.20.0", "transformers==4.51.3"))
    assert requirements_of(newer).bounds == ()


def test_an_unknown_preset_is_refused():
    with pytest.raises(UsageError, match="no environment is called 'falcon-py27'"):
        requirements_of(environment(preset="falcon-py27"))


@given(
    st.dictionaries(
        st.text(string.ascii_lowercase, min_size=1, max_size=8),
        st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(1, 3)),
        max_size=6,
    )
)
def test_locks_are_read_as_they_are_written(packages):
    text = "# written by hand\n\n" + "".join(
        f"{name}=={major}.{minor}" + f" \\\n    {HASH}" * hashes + "\n    # via something\n"
        for name, (major, minor, hashes) in packages.items()
    )
    read = locked_packages(text, "the lock")
    assert {name: (str(one.version), one.hashes) for name, one in read.items()} == {
        name: (f"{major}.{minor}", hashes) for name, (major, minor, hashes) in packages.items()
    }


@pytest.mark.parametrize(
    "text",
    ["torch>=2.1", "torch", "-r other.txt", "torch==nightly", "torch @ file:///x", "a==1\nA==2"],
)
def test_what_is_no_lock_is_refused(text):
    with pytest.raises(UnreadableError, match="env/x is no lock"):
        locked_packages(text, "env/x")


def test_a_lock_that_answers_falls_short_of_other_wishes():
    lock = preset_lock("falcon-py310")
    assert lock is not None
    assert lock.shortcomings(requirements_of(environment())) == ()
    other = environment(
        python="3.9",
        platform="aarch64-unknown-linux-gnu",
        pins=("tiktoken", "transformers==4.40.0"),
    )
    assert lock.shortcomings(requirements_of(other)) == (
        "it was resolved for Python 3.10, not 3.9",
        "it was resolved for x86_64-unknown-linux-gnu, not aarch64-unknown-linux-gnu",
        "it lacks tiktoken",
        "it has transformers 4.51.3, not transformers==4.40.0",
    )


def test_a_package_that_came_along_must_keep_the_bounds_and_every_one_needs_a_hash():
    lock = preset_lock("falcon-py310")
    assert lock is not None
    packages = locked_packages(lock.text.replace("numpy==1.26.4", "numpy==2.2.6"), "it")
    (reason,) = unanswered(requirements_of(environment()), packages)
    assert reason.startswith("it has numpy 2.2.6, not numpy<2: importing it works")
    bare = locked_packages("torch==2.1.0", "it")
    assert "torch has no hash" in unanswered(requirements_of(environment()), bare)
