"""Branches of the rules about vision towers that their examples do not show."""

import json

import pytest

from tests.schema.lint.examples import assert_findings_on_record, completed, findings
from vacc_gen.schema.lint.check import check_text


def tower(shape, options="build_visual: true"):
    return f"frontend: {{shape: {{{shape}}}, model_kwargs: {{{options}}}}}"


PIXELS = "pixel_values: [16, 9]"
SHAPES = [
    ("VG701", f"{PIXELS}, attention_mask: [1, 16, 32]"),
    ("VG701", f"{PIXELS}, attention_mask: [1, 32, 16]"),
    ("VG701", "pixel_values: [32, 9], cos: [16, 8], sin: [16, 8]"),
    ("VG701", f"{PIXELS}, attention_mask: [16]"),
    ("VG701", f"{PIXELS}, attention_mask: [1, 16, 16], cos: [16, 80], other: [1]"),
    ("VG701", "cos: [17, 80], sin: [17, 80]"),
    ("VG701", "cos: [17, 80], sin: [16, 80]"),
    ("VG701", "other: [17]"),
]


def test_what_is_said_of_a_tower():
    options = ("build_visual: true", "build_visual: false")
    cases = [(code, tower(shape, option)) for code, shape in SHAPES for option in options]
    dies = ("build_visual: true, tp: 1", "build_visual: false, tp: 4")
    cases += [("VG703", tower(PIXELS, option)) for option in dies]
    found = {f"{code} {text}": findings(code, text) for code, text in cases}
    assert_findings_on_record("vision.txt", found)


def layout(*entries):
    return json.dumps({"backend": {"compile": {"output_layout": entries}}})


@pytest.mark.parametrize(
    ("entry", "severity"),
    [("2:YX", "error"), ("01:YX", "error"), ("1:XY", "warning"), ('1:"YX"', "warning")],
)
def test_each_output_has_its_entry(entry, severity):
    (found,) = check_text(completed(layout("0:YX", entry, "2:YX")), "visual.yaml")
    assert (found.code, found.severity) == ("VG705", severity)
    assert found.message == f"the entry of output 1 is {entry!r}"
    assert found.hint == 'write "1:YX", as in every published config'


def test_outputs_are_counted_from_0():
    assert findings("VG705", layout(*(f"{number}:YX" for number in range(12)))) == []


def checked(folder, options, vision_config, build_visual=True):
    """Return the findings of a tower whose checkpoint has this config, without places."""
    (folder / "config.json").write_text(json.dumps(vision_config))
    frontend = {"checkpoint": ".", "model_kwargs": {"build_visual": build_visual}}
    text = completed(json.dumps({"frontend": frontend, "backend": {"compile": options}}))
    found = check_text(text, str(folder / "visual.yaml"))
    return [(one.code, one.message) for one in found if one.code == "VG705"]


@pytest.mark.parametrize(("width", "parts"), [(640, 1), (641, 2), (1280, 2), (2048, 4), (3584, 6)])
def test_a_part_of_the_output_for_every_640_columns(width, parts, tmp_path):
    config = {"vision_config": {"out_hidden_size": width}}
    entries = [f"{number}:YX" for number in range(parts + 1)]
    message = f"the tower's output has {parts} parts, but `output_layout` has {parts + 1}"
    assert checked(tmp_path, {"output_layout": entries}, config) == [("VG705", message)]
    assert checked(tmp_path, {"output_layout": entries[:-1]}, config) == []
    assert checked(tmp_path, {"output_layout": entries}, config, build_visual=False) == []
    assert checked(tmp_path, {}, config) == []


@pytest.mark.parametrize(
    "config", [[], {}, {"vision_config": None}, {"vision_config": {"out_hidden_size": "2048"}}]
)
def test_a_checkpoint_that_says_nothing_about_its_tower(config, tmp_path):
    assert checked(tmp_path, {"output_layout": ["0:YX"]}, config) == []
