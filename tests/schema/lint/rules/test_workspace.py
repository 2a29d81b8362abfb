"""Workspaces: the recipe and the manifest against the files that are there."""

import hashlib
import json
import shutil

import pytest

from tests.schema.lint.examples import assert_findings_on_record
from tests.workspaces import FALCON_TINY
from vacc_gen.generator.emit.files import emit
from vacc_gen.generator.emit.yaml_text import recipe_text
from vacc_gen.generator.new.choices import Choices
from vacc_gen.presets import KNOWN, MODELS
from vacc_gen.schema.json_files import read_json_object
from vacc_gen.schema.lint.check import check_paths
from vacc_gen.schema.lint.files import text_hash

RECIPE = """\
version: 2
model: {preset: falcon-7b, checkpoint: weights}
precisions: [fp16]
target: {tp: 4, workers: 4, align_qkv: false}
"""
CONFIG = """\
name: falcon-7b-fp16
frontend:
  checkpoint: ../weights
  type: huggingface
  shape:
    input_ids: [[1024], [2048]]
  model_kwargs: {tp: 4, model_arch: vacc, align_qkv: false}
backend: {type: tvm_vacc, dtype: fp16}
workspace: {path: ./out, workers: 4}
"""
FALCON = "build/hf_falcon_fp16.yaml"
VACC_CONFIG = {
    "auto_map": {"AutoModel": "modeling_falcon_vacc.Falcon"},
    "_attn_implementation": "eager",
    "insert_slice": True,
}
MADE = {
    FALCON: CONFIG,
    "source_code/modeling_falcon_vacc.py": "class Falcon: ...\n",
    "source_code/config_vacc.json": json.dumps(VACC_CONFIG),
    "env/requirements.lock": "torch==2.1.0\n",
}


def workspace_in(folder):
    for path, text in {"vacc.yaml": RECIPE, "weights/config.json": "{}", **MADE}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    write_manifest(folder)
    return folder


@pytest.fixture
def workspace(tmp_path):
    return workspace_in(tmp_path)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder, **parts):
    hashes = {path: sha256(text) for path, text in MADE.items()}
    made = {"version": 1, "made_from": {"vacc.yaml": sha256(RECIPE)}, "files": hashes, **parts}
    (folder / ".vacc-gen").mkdir(exist_ok=True)
    (folder / ".vacc-gen" / "manifest.json").write_text(json.dumps(made))


def change(file, *changes):
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def found(folder, code="VG9"):
    """Return place, code and message of what is found."""
    return [
        (one.path.removeprefix(f"{folder}/"), one.line, one.column, one.code, one.message)
        for one in check_paths([str(folder)], KNOWN).diagnostics
        if one.code.startswith(code)
    ]


def texts(folder, code):
    """Return findings in full."""
    return [
        f"{one.path.removeprefix(f'{folder}/')}:{one.line}:{one.column} {one.code} {one.message}"
        f" | {one.hint}"
        for one in check_paths([str(folder)], KNOWN).diagnostics
        if one.code.startswith(code)
    ]


def test_a_whole_workspace_has_no_findings_whatever_ends_its_lines(workspace):
    assert found(workspace, "") == []
    for path in ("vacc.yaml", FALCON):
        crlf = (workspace / path).read_bytes().replace(b"\n", b"\r\n")
        (workspace / path).write_bytes(crlf)
    assert found(workspace) == []
    assert text_hash("a\rb\n") == sha256("a\nb\n")


CHANGED = "vacc.yaml was changed after the files of this workspace were made"


@pytest.mark.parametrize("change_of", [("tp: 4", "tp: 8"), ("version: 2", "version: 2  # mine")])
def test_a_changed_recipe_is_one_finding(workspace, change_of):
    change(workspace / "vacc.yaml", change_of)
    assert found(workspace) == [("vacc.yaml", 1, 1, "VG904", CHANGED)]


def test_a_config_that_follows_a_changed_recipe_is_not_blamed(workspace):
    other, edited = CONFIG.replace("fp16", "int8"), CONFIG.replace("tp: 4", "tp: 2")
    (workspace / "build/hf_falcon_int8.yaml").write_text(other)
    (workspace / FALCON).write_text(edited)
    hashes = {"build/hf_falcon_int8.yaml": sha256(other), FALCON: sha256(CONFIG)}
    write_manifest(workspace, files=hashes)
    change(workspace / "vacc.yaml", ("tp: 4", "tp: 8"))
    message = "tp is 2 here and 8 in vacc.yaml"
    places = [(FALCON, 7, 22, "VG901", message), ("vacc.yaml", 1, 1, "VG904", CHANGED)]
    assert found(workspace) == places


def test_what_a_killed_generate_was_writing_is_neither_edited_nor_missing(workspace):
    change(workspace / FALCON, ("tp: 4", "tp: 8"))
    pending = {FALCON: sha256((workspace / FALCON).read_text()), "env/requirements.lock": "0"}
    write_manifest(workspace, pending=pending)
    (workspace / "env/requirements.lock").unlink()
    assert found(workspace) == []
    write_manifest(workspace)
    assert [code for *_, code, _ in found(workspace)] == ["VG901", "VG904"]


NO_LONGER = "made from this recipe, and no longer there:"


@pytest.mark.parametrize(
    ("gone", "place"),
    [
        ([FALCON], ("vacc.yaml", 1, 1, "VG904", f"{NO_LONGER} {FALCON}")),
        (MADE, ("vacc.yaml", 1, 1, "VG904", f"{NO_LONGER} {FALCON}, env/requirements.lock, source_code/config_vacc.json and 1 more")),  # noqa: E501
    ],
)  # fmt: skip
def test_missing_files_are_one_finding(workspace, gone, place):
    for path in gone:
        (workspace / path).unlink()
    assert found(workspace) == [place]


EDITS = [
    *(("tp: 4", "tp: 8"), ("[1024]", "[1008]"), ("[2048]", "[4096]")),
    *(("workers: 4", "workers: 2"), ("align_qkv: false", "align_qkv: true")),
]
TEXT = ("target", "verification: {text: t.txt}\ntarget")
CALIBRATION = (
    "{set: c4, seqlen: 16, path: weights/c4, mix: [{set: a, path: weights}, "
    "{set: b, path: /path/to/b}]}"
)
LACKS = [
    [(": weights", ": /path/to/w")],
    [(": weights", ": w")],
    [("target", f"calibration: {CALIBRATION}\ntarget")],
    [TEXT, ("falcon-7b,", "chatglm3-6b,")],
    [TEXT, ("t.txt", "/path/to/t.txt")],
]


def test_what_is_said_of_edited_configs_and_of_what_a_workspace_lacks(tmp_path):
    said = {}
    for index, edit in enumerate(EDITS):
        folder = workspace_in(tmp_path / f"edit{index}")
        change(folder / FALCON, edit)
        said[f"{FALCON}: {edit[1]}"] = texts(folder, "VG9")
    for index, changes in enumerate(LACKS):
        folder = workspace_in(tmp_path / f"lack{index}")
        change(folder / "vacc.yaml", *changes)
        shutil.rmtree(folder / "source_code")
        write_manifest(folder, files={})
        said[f"vacc.yaml: {'; '.join(new for _, new in changes)}"] = texts(folder, "VG907")
    assert_findings_on_record("workspace.txt", said)


@pytest.mark.parametrize(
    ("old", "new"),
    [("../weights", "/w/another"), ("tp: 4, ", ""), ("input_ids: [[1024], [2048]]", "x: [1, 8]")],
)
def test_a_config_for_something_else_does_not_contradict(workspace, old, new):
    change(workspace / "vacc.yaml", ("tp: 4", "tp: 8"))
    change(workspace / FALCON, (old, new))
    assert found(workspace, "VG901") == []


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", '{"version": 2}', '{"version": 1, "made_from": [], "files": {}}', "\x00",
     '{"version": 1, "files": {"../../etc/passwd": "0", "/etc/x": "0"}, "pending": {}}'],
)  # fmt: skip
def test_an_odd_manifest_says_nothing(workspace, manifest):
    (workspace / ".vacc-gen" / "manifest.json").write_text(manifest)
    assert found(workspace) == []


@pytest.mark.parametrize("folder", ["source_code", "weights"])
def test_the_vendors_files_may_be_in_either_folder(workspace, folder):
    change(workspace / "vacc.yaml", ("falcon-7b,", "chatglm3-6b,"))
    (workspace / folder / "config_vacc.json").write_text("{}")
    (workspace / folder / "modeling_chatglm3_vacc.py").write_text("")
    assert found(workspace, "VG907") == []


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
