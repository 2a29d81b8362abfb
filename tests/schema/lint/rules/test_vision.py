"""Branches of the rules about vision towers that their examples do not show."""

import json

from tests.schema.lint.examples import (
    LANGUAGE_MODEL,
    VISION_TOWER,
    assert_findings_on_record,
    completed,
    findings,
    findings_in,
)


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


ENTRIES = ("2:YX", "01:YX", "1:XY", '1:"YX"', "1:YX")


def test_what_is_said_of_a_layout():
    cases = [layout("0:YX", entry, "2:YX") for entry in ENTRIES]
    cases.append(layout(*(f"{number}:YX" for number in range(12))))
    assert_findings_on_record("layout.txt", {case: findings("VG705", case) for case in cases})


def of_width(width):
    return {"vision_config": {"out_hidden_size": width}}


WIDTHS = [
    *((640, 1), (641, 2), (1280, 2), (2048, 4), (3584, 6), (2048, 5), (3584, 5), (640, 0)),
    ("2048", 1),
]
CHECKPOINTS = [(of_width(width), entries, True) for width, entries in WIDTHS]
CHECKPOINTS += [(of_width(640), 2, False), ([], 1, True), ({}, 1, True)]
CHECKPOINTS.append(({"vision_config": None}, 1, True))


def test_what_is_said_of_a_layout_beside_the_checkpoint(tmp_path):
    found = {}
    for config, entries, build_visual in CHECKPOINTS:
        frontend = {"checkpoint": ".", "model_kwargs": {"build_visual": build_visual}}
        options = {"output_layout": [f"{number}:YX" for number in range(entries)]}
        example = json.dumps({"frontend": frontend, "backend": {"compile": options}})
        files = {"config.json": json.dumps(config), "visual.yaml": completed(example)}
        case = f"{entries} entries, build_visual {build_visual}, {config}"
        found[case] = findings_in(tmp_path, files, "VG705")
    assert_findings_on_record("layout_count.txt", found)


def of_tower(patches=2048, *, pins=None, checkpoint="/path/to/falcon-7b"):
    frontend = {**VISION_TOWER["frontend"], "checkpoint": checkpoint}
    frontend["shape"] = {"pixel_values": [patches, 1176]}
    frontend["model_kwargs"] = {"model_arch": "vacc", "build_visual": True}
    made = {**VISION_TOWER, "frontend": frontend, "workspace": workspace(pins)}
    return json.dumps(made, indent=1)


def of_language(pins=None):
    return json.dumps({**LANGUAGE_MODEL, "name": "language", "workspace": workspace(pins)})


def workspace(pins):
    return {"path": "./out", **({"pyenv": {"transformers": pins}} if pins else {})}


HALVES = {
    "same pins": {"t.yaml": of_tower(pins="4.51.3"), "l.yaml": of_language("4.51.3")},
    "pins of the tower alone": {"t.yaml": of_tower(pins="4.51.3"), "l.yaml": of_language()},
    "no pins": {"t.yaml": of_tower(), "l.yaml": of_language("4.51.3")},
    "other pins": {"t.yaml": of_tower(pins="4.45.0"), "l.yaml": of_language("4.51.3")},
    "4092 patches": {"t.yaml": of_tower(4092), "l.yaml": of_language()},
    "4096 patches": {"t.yaml": of_tower(4096), "l.yaml": of_language()},
    "two language models": {"a.yaml": of_language(), "b.yaml": of_language("4.51.3")},
    "other checkpoint": {"t.yaml": of_tower(9000, checkpoint="/w/x"), "l.yaml": of_language()},
    "other folder": {"c/t.yaml": of_tower(9000), "l.yaml": of_language()},
}


def test_what_is_said_of_both_halves(tmp_path):
    found = {name: findings_in(tmp_path / name, HALVES[name], "VG75") for name in HALVES}
    assert_findings_on_record("halves.txt", found)
