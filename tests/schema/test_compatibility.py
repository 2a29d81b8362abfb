"""What is known of packages, applied to pins."""

from __future__ import annotations

import pytest

from vacc_gen import presets
from vacc_gen.schema.compatibility import (
    PYTHONS,
    PinFacts,
    added_bounds,
    effective_pins,
    pin_problems,
)
from vacc_gen.schema.packages import parse_pin, parse_version

FACTS = presets.pin_facts()


def problems(*pins: str, python: str = "3.10") -> list[tuple[str, str]]:
    found = pin_problems([parse_pin(pin) for pin in pins], python, FACTS)
    return [(problem.kind, problem.pins[0].text) for problem in found]


def bounds(*pins: str) -> list[str]:
    return [bound.requirement for bound in added_bounds(map(parse_pin, pins), FACTS)]


def test_the_published_falcon_pins_need_two_bounds():
    asked = presets.ENVIRONMENTS.find("falcon-py310").asked
    assert bounds(*asked) == ["transformers<4.52", "numpy<2"]
    assert problems(*asked) == []


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        (("torch==2.1.0", "transformers==4.40.0", "numpy==1.26.4"), []),
        (("torch==2.6.0",), []),
        (("torch>=2.1",), []),
        (("onnxruntime==1.13.1",), ["numpy<2"]),
        (("torch==2.2.1",), ["numpy<2"]),
        (("transformers>=5",), ["torch>=2.6"]),
    ],
)
def test_a_bound_is_added_only_where_it_takes_something_away(pins, expected):
    assert bounds(*pins) == expected


@pytest.mark.parametrize(
    ("pins", "python", "expected"),
    [
        (("onnxruntime==1.13.1",), "3.11", [("python", "onnxruntime==1.13.1")]),
        (("onnxruntime==1.13.1",), "3.10", []),
        (("onnxruntime>=1.13.1",), "3.11", []),
        (("torch==2.1.0",), "3.12", [("python", "torch==2.1.0")]),
        (("torch>=2.0,<2.2",), "3.12", [("python", "torch>=2.0,<2.2")]),
        (("torch>=2.0,<2.3",), "3.12", []),
        (("torch==2.1.0", "torch==2.2.0"), "3.10", [("contradiction", "torch==2.2.0")]),
        (("numpy==2.2.6", "torch==2.1.0"), "3.10", [("companion", "numpy==2.2.6")]),
        (("numpy>=1.26", "torch==2.1.0"), "3.10", []),
        (("torch==2.1.0", "transformers==5.20.2"), "3.10", [("companion", "transformers==5.20.2")]),
        (("torch==2.1.0", "transformers==4.52.4"), "3.10", [("companion", "transformers==4.52.4")]),
        (("torch==2.1.0", "transformers==4.51.3"), "3.10", []),
        (("gptqmodel==4.0.0",), "3.10", [("source-only", "gptqmodel==4.0.0")]),
        (
            ("numpy==2.2.6", "torch==2.1.0", "onnxruntime==1.13.1"),
            "3.11",
            [("python", "onnxruntime==1.13.1"), ("companion", "numpy==2.2.6")],
        ),
    ],
)
def test_what_cannot_be_installed_or_will_not_run_is_found(pins, python, expected):
    assert problems(*pins, python=python) == expected


def test_a_python_without_wheels_is_answered_with_one_that_has_them():
    (problem,) = pin_problems([parse_pin("onnxruntime==1.13.1")], "3.11", FACTS)
    assert "only for 3.8 to 3.10" in problem.message
    assert problem.hint == "set environment.python to 3.10, or pin another version"


def test_a_recipes_pin_takes_the_place_of_its_presets():
    merged = effective_pins(
        [parse_pin("torch==2.1.0"), parse_pin("Onnx==1.14.0")],
        [parse_pin("torch>=2.2"), parse_pin("torch<2.4"), parse_pin("tiktoken")],
    )
    assert [pin.text for pin in merged] == ["Onnx==1.14.0", "torch>=2.2", "torch<2.4", "tiktoken"]


def test_without_facts_only_contradictions_are_found():
    pins = [parse_pin(text) for text in ("torch==2.1.0", "numpy==2.2.6", "numpy<2")]
    assert [problem.kind for problem in pin_problems(pins, "3.13", PinFacts())] == ["contradiction"]


def test_facts_are_of_versions_that_exist_and_of_pythons_that_a_recipe_may_name():
    for fact in FACTS.wheels:
        assert fact.package.versions
        assert any(parse_version(python) in fact.pythons for python in PYTHONS)
    for companion in FACTS.companions:
        assert companion.reason
        assert companion.package.name != companion.needs.name
