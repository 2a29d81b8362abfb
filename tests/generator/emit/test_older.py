"""Configs of the older `vamc build` become today's, without a value that is lost in silence."""

from difflib import ndiff

import pytest
import yaml

from tests.published import CASES, FOLDER
from tests.schema.lint.examples import assert_findings_on_record
from vacc_gen.generator.emit.older import converted
from vacc_gen.presets import OLDER_KEYS
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.errors import UnreadableError, on_one_line
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import FindingsError, has_errors
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.suggestions import models_at

RESNET = (CASES / "older_resnet.yaml").read_text()
TABLE = yaml.safe_load(OLDER_KEYS.read_text())
PAIRS = {  # both as published
    "older_resnet.yaml": "cv/classification/resnet/build_in/build/ppcls_resnet.yaml",
    "older_yolov5.yaml": "cv/detection/yolov5/build_in/build/ultralytics_dynamic_yolov5.yaml",
}


def outcome(text):
    """Return the config, and the remarks or errors; check the result."""
    try:
        made = converted(load(text, "old.yaml"))
    except FindingsError as refusal:
        found = [f"{one.line}:{one.column} refused: {one.message}" for one in refusal.diagnostics]
        return {}, found
    assert not has_errors(check_text(made.text, "new.yaml"))
    assert yaml.safe_load(made.text) == made.config.values
    assert all(f": {on_one_line(text)}\n" in made.text for _, text in made.remarks)
    return made.config.values, [f"{span.line}:{span.column} {text}" for span, text in made.remarks]


def test_an_older_config_becomes_the_one_of_today_that_is_published_or_differs_as_on_record():
    shown = {}
    for older, today in PAIRS.items():
        made, _ = outcome((CASES / older).read_text())
        published = yaml.safe_load((FOLDER / today).read_text())
        texts = [yaml.safe_dump(values).splitlines() for values in (published, made)]
        shown[older] = [line for line in ndiff(*texts) if line[0] in "+-"]
    assert_findings_on_record("older_and_today.txt", shown)


def test_the_table_names_keys_of_today():
    for today in filter(None, TABLE.values()):
        *section, last = today.split(".")
        parts = models_at(CompileConfig, tuple(section))
        assert parts and (last == "*" or any(last in part.model_fields for part in parts)), today


CHANGES = (
    ("do_quantization: true", "do_quantization: false"),
    ("do_quantization: true", "do_quantization: fp16"),
    ("do_quantization: true", "opt_level: 2"),
    ("type: vacc", "type: vacc\n  dtype: fp16"),
    ("type: vacc", "type: debug"),
    ("model:", "model: {}\nold:"),
    ("engine:", "engine: 5\nold:"),
    ("engine:", "engine: ["),
    ("checkpoint:", "config: a.json\n  checkpoint:"),
    ("resnet50.onnx", "resnet50"),
    ("weights/ppcls", "<WEIGHTS>"),
    ("per_channel", "calibrate_mode: max\n    per_channel"),
    ("per_channel", '"a\\nb": {c: 1}\n    per_channel'),
    ("suffix: JPEG", "suffix: null"),
    ("    get_data_num: 1000\n", ""),
    ("transform_ops", "steps"),
    ("crop_size", "img_shape: [1]\n      crop_size"),
    ("dataset:", "data:"),
    ("work_dir:", "work_dri:"),
)


def test_what_is_wrong_or_left_out_is_told_at_its_place_in_the_older_file():
    shown = {repr(after): outcome(RESNET.replace(before, after, 1))[1] for before, after in CHANGES}
    assert_findings_on_record("older_changes.txt", shown)


def test_another_file_is_not_converted():
    for name in ("pod.yaml", "runmodel.yaml", "folder/flow.yaml"):
        with pytest.raises(UnreadableError, match="not a config of the older"):
            converted(load((CASES / name).read_bytes(), name))


def test_convert_prints_or_writes_and_validate_leads_to_it(run, tmp_path):
    (tmp_path / "old.yaml").write_text(RESNET)
    assert "`vacc-gen convert` translates it" in run("validate", "old.yaml").out
    _, printed, err = run("convert", "old.yaml")
    assert "\nold.yaml:36:3: note: `workspace.save_log: true` has no counterpart\n" in err
    assert "validate build/new.yaml" in run("convert", "old.yaml", "--out", "build/new.yaml").out
    assert (tmp_path / "build" / "new.yaml").read_text() == printed
    assert run("validate", "build/new.yaml").code == 0
    assert run("convert", "old.yaml", "--out", "build/new.yaml").err.startswith("error: build/new")
    assert run("convert", "build").code == 2
    assert run("explain", "convert").out == OLDER_KEYS.read_text()
