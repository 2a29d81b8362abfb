"""Pins of a recipe: what is not a pin, and what cannot be installed or does not run."""

import pytest

from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import check_text

RECIPE = """\
version: 2
model: {{preset: falcon-7b, checkpoint: /path/to/falcon-7b}}
environment:
{}
"""


def check(lines):
    return check_text(RECIPE.format(lines), "vacc.yaml", KNOWN)


@pytest.mark.parametrize(
    ("pin", "hint"),
    [
        ("torch=2.1.0", "did you mean `torch==2.1.0`?"),
        ("torch = 2.1.*", "did you mean `torch==2.1.*`?"),
        ("torch==", None),
        ("torch==2.1; python_version>'3'", None),
    ],
)
def test_a_text_that_is_not_a_pin_is_reported_with_the_pin_that_it_resembles(pin, hint):
    (one,) = check(f'  pins: [numpy==1.26.4, "{pin}"]')
    assert (one.line, one.column, one.code, one.hint) == (4, 25, "VG105", hint)
    assert one.message.startswith("`environment.pins[1]`: ")


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ("  pins: [transformers>=4.40, transformers<4.38]", ("VG186", "error", 4, 30)),
        ("  pins: [transformers>=4.40]", None),
        ("  pins: [numpy==1.26.4, torch==1.8.0]", ("VG186", "error", 4, 25)),
        ("  python: '3.13'", ("VG186", "error", 4, 11)),
        ("  pins: [gptqmodel==4.0.0]", ("VG186", "warning", 4, 10)),
        ("  pins: [numpy==2.2.6, onnxruntime==1.13.1]", ("VG187", "error", 4, 10)),
        ("  pins: [numpy==1.26.4, onnxruntime==1.13.1]", None),
    ],
)
def test_what_is_known_of_pins_is_reported_at_the_recipes_part_in_it(lines, place):
    found = [(one.code, one.severity.value, one.line, one.column) for one in check(lines)]
    assert found == ([place] if place else [])


def test_a_python_that_fits_no_pin_of_the_preset_is_one_finding():
    (one,) = check("  python: '3.13'")
    assert one.message == (
        "torch==2.1.0 has no wheels for Python 3.13, only for 3.8 to 3.11; 3 more pins likewise"
    )
    assert one.hint == "set environment.python to 3.11, or pin another version"


def test_without_facts_nothing_is_said_of_pins():
    text = RECIPE.format("  pins: [transformers>=4.40, transformers<4.38]")
    assert check_text(text, "vacc.yaml") == []
