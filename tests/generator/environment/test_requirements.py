"""What a recipe asks, and whether a lock satisfies it."""

from __future__ import annotations

import pytest

from vacc_gen import presets
from vacc_gen.generator.environment.lock import preset_lock
from vacc_gen.generator.environment.requirements import (
    RECIPE_SOURCE,
    locked_packages,
    requirements_of,
    unsatisfied,
)
from vacc_gen.schema.errors import UnreadableError, UsageError
from vacc_gen.schema.recipe import Environment

HASH = "--hash=sha256:" + "0" * 64


def environment(**values: object) -> Environment:
    return Environment.model_validate(values)


def test_the_recipes_pins_take_the_place_of_the_presets_and_say_so():
    wanted = requirements_of(environment(pins=("torch==2.1.2", "tiktoken")))
    preset = presets.ENVIRONMENTS.find("falcon-py310")
    by_source = {source: [pin.text for pin in pins] for source, pins in wanted.by_source.items()}
    assert by_source == {
        preset.asked_source: [pin for pin in preset.asked if not pin.startswith("torch==")],
        RECIPE_SOURCE: ["torch==2.1.2", "tiktoken"],
    }


def test_bounds_follow_from_the_pins_that_are_really_asked():
    bounds = [bound.needs.text for bound in requirements_of(environment()).bounds]
    assert bounds == ["transformers<4.52", "numpy<2"]
    newer = environment(pins=("torch==2.6.0", "onnxruntime==1.20.0", "transformers==4.51.3"))
    assert requirements_of(newer).bounds == ()


def test_an_unknown_preset_is_refused():
    with pytest.raises(UsageError, match="no environment is called 'falcon-py27'"):
        requirements_of(environment(preset="falcon-py27"))


def test_locks_are_read_as_they_are_written():
    first = f"A_b[x]==1.2 \\\n    {HASH} \\\n    {HASH}\n    # via c\n"
    text = f"# by hand\n\n{first}c==2.0+cpu \\\n    {HASH}\n"
    packages = locked_packages(text, "the lock")
    assert {name: str(version) for name, version in packages.items()} == {
        "a-b": "1.2",
        "c": "2.0+cpu",
    }


@pytest.mark.parametrize(
    "text",
    ["torch>=2.1", "torch==2.1", "-r other.txt", f"torch==nightly {HASH}", "torch @ file:///x",
     f"a==1 {HASH}\nA==2 {HASH}"],
)  # fmt: skip
def test_what_is_not_a_lock_is_refused(text):
    with pytest.raises(UnreadableError, match="env/x is not a lock"):
        locked_packages(text, "env/x")


def test_a_lock_falls_short_of_other_wishes_and_says_of_which():
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


def test_a_package_that_came_along_must_keep_the_bounds():
    lock = preset_lock("falcon-py310")
    assert lock is not None
    packages = locked_packages(lock.text.replace("numpy==1.26.4", "numpy==2.2.6"), "it")
    (reason,) = unsatisfied(requirements_of(environment()), packages)
    assert reason.startswith("it has numpy 2.2.6, not numpy<2: importing it works")
