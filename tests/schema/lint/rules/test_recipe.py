"""Recipes, and workspaces against them; test_messages.py has more of paths, cards and pins."""

import hashlib
import json
import shutil

import pytest

from tests.schema.lint.examples import assert_findings_on_record, findings_in
from tests.workspaces import FALCON_TINY
from vacc_gen.generator.emit.files import emit
from vacc_gen.generator.emit.yaml_text import recipe_text
from vacc_gen.generator.new.choices import Choices
from vacc_gen.presets import KNOWN, MODELS
from vacc_gen.schema.json_files import read_json_object
from vacc_gen.schema.lint.check import check_paths, check_text
from vacc_gen.schema.lint.files import text_hash


def changed(text, *changes):
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


RECIPE = """\
version: 2
model:
  preset: falcon-7b
  checkpoint: /path/to/falcon-7b
precisions: [fp16, int8]
target:
  tp: 4
  prefill: 128
  total: 256
environment:
  python: '3.10'
quantization:
  group_size: 64
"""
CHECKPOINTS = [
    *("/a~b/w", "./w~", "/a/100$", "C:\\w", "./w/model.onnx.d"),
    *("./w/model.onnx", "model-1.safetensors", "w/CONFIG.JSON"),
]
STRIDES = ("{window: 128, stride: 128}", "{window: 128, stride: 129}", "{stride: 64}")
SIZES = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_attention_heads": 71,
    "num_hidden_layers": 31,
    "vocab_size": 70000,
}
HERE, UNVERIFIED = (": /path/to/falcon-7b", ": ."), ("preset: falcon-7b", "preset: chatglm3-6b")
RECIPES = [
    *([("preset: falcon-7b", "preset: Falcon-7B")], [("total: 256", "total: 128")]),
    *([("total: 256", "total: 2048")], [("tp: 4", "tp: 2\n  card: VA1-16G")]),
    *(
        [("falcon-7b\n", "falcon-180B\n"), ("tp: 4", "card: VA1-16G")],
        [("fp16, int8", "int4, kv8")],
    ),
    [("python: '3.10'", "pins: [transformers>=4.40]")],
    [("python: '3.10'", "pins: [numpy==1.26.4, onnxruntime==1.13.1]")],
    [("python: '3.10'", "pins: [numpy==2.2.6, onnxruntime==1.13.1]")],
    [("quantization:", "verification: {text: null}\nquantization:")],
    *([("/path/to/falcon-7b", path)] for path in CHECKPOINTS),
    *([("quantization:", f"verification: {fields}\nquantization:")] for fields in STRIDES),
]
WITH_SIZES = [
    *(({"num_hidden_layers": 32}, [HERE]), ({}, [HERE]), ({}, [HERE, UNVERIFIED])),
    ({"ffn_hidden_size": 4600}, [HERE]),
]


def test_what_is_said_of_a_recipe(tmp_path):
    cases = [({}, changes) for changes in RECIPES] + WITH_SIZES
    found = {}
    for index, (sizes, changes) in enumerate(cases):
        files = {"vacc.yaml": changed(RECIPE, *changes)}
        if HERE in changes:
            files["config.json"] = json.dumps({**SIZES, **sizes})
        case = f"{'; '.join(new for _, new in changes)} {sizes or ''}"
        found[case] = findings_in(tmp_path / str(index), files, ("VG1", "VG2"))
    assert_findings_on_record("recipe.txt", found)


def test_what_is_known_of_nothing_is_not_judged():
    pins = ("python: '3.10'", "pins: [torch>=2, torch<1]")
    assert check_text(changed(RECIPE, ("falcon-7b\n", "none\n"), pins), "vacc.yaml") == []


FALCON = "build/hf_falcon_fp16.yaml"
MADE = {
    FALCON: """\
name: falcon-7b-fp16
frontend:
  checkpoint: ../weights
  type: huggingface
  shape:
    input_ids: [[1024], [2048]]
  model_kwargs: {tp: 4, model_arch: vacc, align_qkv: false}
backend: {type: tvm_vacc, dtype: fp16}
workspace: {path: ./out, workers: 4}
""",
    "source_code/modeling_falcon_vacc.py": "class Falcon: ...\n",
    "source_code/config_vacc.json": json.dumps(
        {
            "auto_map": {"AutoModel": "modeling_falcon_vacc.Falcon"},
            "_attn_implementation": "eager",
            "insert_slice": True,
        }
    ),
    "env/requirements.lock": "torch==2.1.0\n",
}
CONFIG = MADE[FALCON]
FILES = {
    "vacc.yaml": """\
version: 2
model: {preset: falcon-7b, checkpoint: weights}
precisions: [fp16]
target: {tp: 4, workers: 4, align_qkv: false}
""",
    "weights/config.json": "{}",
    **MADE,
}


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def manifest(**parts):
    hashes = {path: sha256(text) for path, text in MADE.items()}
    made_from = {"vacc.yaml": sha256(FILES["vacc.yaml"])}
    made = {"version": 1, "made_from": made_from, "files": hashes, **parts}
    return {".vacc-gen/manifest.json": json.dumps(made)}


def said(folder, changes=(), codes="VG9", **files):
    """Return what is found in a workspace whose files are changed: (path, old, new)."""
    made = {**FILES, **manifest(), **files}
    for path, *change in changes:
        made[path] = changed(made[path], change)
    return findings_in(folder, made, codes)


def test_a_whole_workspace_has_no_findings_whatever_ends_its_lines(tmp_path):
    assert said(tmp_path, codes="VG") == []
    for path in ("vacc.yaml", FALCON):
        (tmp_path / path).write_bytes(FILES[path].replace("\n", "\r\n").encode())
    assert findings_in(tmp_path, {}, "VG9") == []
    assert text_hash("a\rb\n") == sha256("a\nb\n")


TP_8 = ("vacc.yaml", "tp: 4", "tp: 8")
CALIBRATION = (
    "{set: c4, seqlen: 16, path: weights/c4, mix: [{set: a, path: weights}, "
    "{set: b, path: /path/to/b}]}"
)
TEXT = ("vacc.yaml", "target", "verification: {text: t.txt}\ntarget")
CHANGES = [
    *([TP_8], [("vacc.yaml", "version: 2", "version: 2  # mine")]),
    *([(FALCON, "tp: 4", "tp: 8")], [(FALCON, "[1024]", "[1008]")]),
    *([(FALCON, "[2048]", "[4096]")], [(FALCON, "workers: 4", "workers: 2")]),
    [(FALCON, "align_qkv: false", "align_qkv: true")],
    # Configs for something else do not contradict.
    *([TP_8, (FALCON, "../weights", "/w/another")], [TP_8, (FALCON, "tp: 4, ", "")]),
    [TP_8, (FALCON, "input_ids: [[1024], [2048]]", "x: [1, 8]")],
]
LACKS = [
    *([("vacc.yaml", ": weights", ": /path/to/w")], [("vacc.yaml", ": weights", ": w")]),
    [("vacc.yaml", "target", f"calibration: {CALIBRATION}\ntarget")],
    [TEXT, ("vacc.yaml", "falcon-7b,", "chatglm3-6b,")],
    [TEXT, ("vacc.yaml", "t.txt", "/path/to/t.txt")],
]


def test_what_is_said_of_a_workspace(tmp_path):
    found = {}
    for index, changes in enumerate([*CHANGES, *LACKS]):
        case = f"{index}: {'; '.join(f'{path}: {new}' for path, _, new in changes)}"
        found[case] = said(tmp_path / str(index), changes)
    for index, gone in enumerate(([FALCON], [*MADE][1:], MADE)):
        folder = tmp_path / f"gone{index}"
        said(folder, [("vacc.yaml", "falcon-7b,", "chatglm3-6b,")])
        for path in gone:
            (folder / path).unlink()
        found[f"without {', '.join(gone)}"] = findings_in(folder, {}, "VG9")
    assert_findings_on_record("workspace.txt", found)


def test_a_config_that_follows_a_changed_recipe_is_not_blamed(tmp_path):
    int8 = "build/hf_falcon_int8.yaml"
    files = {int8: changed(CONFIG, ("fp16", "int8")), FALCON: changed(CONFIG, ("tp: 4", "tp: 2"))}
    hashes = manifest(files={int8: sha256(files[int8]), FALCON: sha256(CONFIG)})
    found = said(tmp_path, [TP_8], **files, **hashes)
    assert [(line.split()[0], line[-7:]) for line in found] == [
        (f"{FALCON}:7:22", "[VG901]"),
        ("vacc.yaml:1:1", "[VG904]"),
    ]


def test_what_a_killed_generate_was_writing_is_neither_edited_nor_missing(tmp_path):
    edited = changed(CONFIG, ("tp: 4", "tp: 8"))
    pending = manifest(pending={FALCON: sha256(edited), "env/requirements.lock": "0"})
    said(tmp_path)
    (tmp_path / "env/requirements.lock").unlink()
    assert findings_in(tmp_path, {FALCON: edited, **pending}, "VG9") == []
    found = findings_in(tmp_path, manifest(), "VG9")
    assert [line[-7:] for line in found] == ["[VG901]", "[VG904]"]


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", '{"version": 2}', '{"version": 1, "made_from": [], "files": {}}', "\x00",
     '{"version": 1, "files": {"../../etc/passwd": "0", "/etc/x": "0"}, "pending": {}}'],
)  # fmt: skip
def test_an_odd_manifest_says_nothing(tmp_path, manifest):
    assert said(tmp_path, **{".vacc-gen/manifest.json": manifest}) == []


@pytest.mark.parametrize("folder", ["source_code", "weights"])
def test_the_vendors_files_may_be_in_either_folder(tmp_path, folder):
    said(tmp_path, [("vacc.yaml", "falcon-7b,", "chatglm3-6b,")])
    shutil.rmtree(tmp_path / "source_code")
    vendors = {f"{folder}/config_vacc.json": "{}", f"{folder}/modeling_chatglm3_vacc.py": ""}
    assert findings_in(tmp_path, vendors, "VG907") == []


def test_what_is_made_of_any_preset_as_recommended_has_no_error_and_no_warning(tmp_path):
    for model in MODELS.all():
        checkpoint = str(FALCON_TINY) if model.any_size else None
        plan = Choices(model=model.name, checkpoint=checkpoint).decide().plan
        config = read_json_object(FALCON_TINY / "config.json") if model.any_size else None
        made = {str(file.path): file.text for file in emit(plan, config)}
        for path, text in {**made, "vacc.yaml": recipe_text(plan.recipe, [])}.items():
            (tmp_path / model.name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / model.name / path).write_text(text)
    result = check_paths([str(tmp_path)], KNOWN)
    assert result.checked > 2 * len(MODELS.all())
    assert [one for one in result.diagnostics if one.severity.value != "info"] == []
