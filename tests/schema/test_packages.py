"""Reading pins, and what is known of packages applied to them."""

import pytest

from vacc_gen import presets
from vacc_gen.schema.packages import (
    added_bounds,
    effective_pins,
    parse_pin,
    pin_problems,
)

FACTS = presets.pin_facts()


def test_a_pin_is_a_normalized_name_and_its_versions():
    pin = parse_pin(" Hugging_Face.Hub[a, B_c] >= 0.9,<1 ")
    assert (pin.text, pin.name) == ("Hugging_Face.Hub[a, B_c] >= 0.9,<1", "hugging-face-hub")
    assert [version in pin.versions for version in ("0.99", "1.0")] == [True, False]
    assert "2.0rc1" in parse_pin("tiktoken").versions


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *(
            (text, "is not a requirement such as `torch==2.1.0`")
            for text in ("", "torch=2.1", "torch==", "torch 2.1", "torch>=2.*", "torch==nightly")
        ),
        ("torch===2.1", "use `==`"),
        ("torch; python_version < '3.9'", "no marker"),
        ("torch @ https://example.org/torch.whl", "no URL"),
    ],
)
def test_what_no_lock_can_hold_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_pin(text)


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        (presets.ENVIRONMENTS.find("falcon-py310").asked, ["transformers<4.52", "numpy<2"]),
        (("torch==2.1.0", "transformers==4.40.0", "numpy==1.26.4"), []),
        (("torch>=2.1",), []),
        (("onnxruntime==1.13.1",), ["numpy<2"]),
        (("transformers>=5",), ["torch>=2.6"]),
    ],
)
def test_a_bound_is_added_only_where_it_takes_something_away(pins, expected):
    assert [bound.needs.text for bound in added_bounds(map(parse_pin, pins), FACTS)] == expected


@pytest.mark.parametrize(
    ("pins", "python", "expected"),
    [
        (presets.ENVIRONMENTS.find("falcon-py310").asked, "3.10", []),
        (("onnxruntime==1.13.1",), "3.11", [("python", "onnxruntime==1.13.1")]),
        (("onnxruntime==1.13.1",), "3.10", []),
        (("onnxruntime>=1.13.1",), "3.11", []),
        (("torch>=2.0,<2.2",), "3.12", [("python", "torch>=2.0,<2.2")]),
        (("torch>=2.0,<2.3",), "3.12", []),
        (("torch==2.1.0", "torch==2.2.0"), "3.10", [("contradiction", "torch==2.2.0")]),
        (("numpy==2.2.6", "torch==2.1.0"), "3.10", [("companion", "numpy==2.2.6")]),
        (("numpy>=1.26", "torch==2.1.0"), "3.10", []),
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
    found = pin_problems([parse_pin(pin) for pin in pins], python, FACTS)
    assert [(problem.kind, problem.pins[0].text) for problem in found] == expected


def test_a_recipes_pin_takes_the_place_of_its_presets():
    preset, own = ("torch==2.1.0", "Onnx==1.14.0"), ("torch>=2.2", "torch<2.4", "tiktoken")
    merged = effective_pins(map(parse_pin, preset), map(parse_pin, own))
    assert [pin.text for pin in merged] == ["Onnx==1.14.0", *own]
