"""Workspaces: the recipe and the manifest against the files that are there."""

import hashlib
import json
import shutil

import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.generator.emit.files import emit
from vacc_gen.generator.emit.yaml_text import recipe_text
from vacc_gen.generator.new.choices import Choices
from vacc_gen.presets import KNOWN, MODELS
from vacc_gen.schema.checkpoint import read_config
from vacc_gen.schema.lint.check import check_paths
from vacc_gen.schema.lint.workspace import text_hash

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


@pytest.fixture
def workspace(tmp_path):
    for path, text in {"vacc.yaml": RECIPE, "weights/config.json": "{}", **MADE}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    write_manifest(tmp_path)
    return tmp_path


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
    assert [code for *_, code, _ in found(workspace)] == ["VG901", "VG905"]


NO_LONGER = "made from this recipe, and no longer there:"


@pytest.mark.parametrize(
    ("gone", "place"),
    [
        ([FALCON], ("vacc.yaml", 1, 1, "VG905", f"{NO_LONGER} {FALCON}")),
        (MADE, ("vacc.yaml", 1, 1, "VG905", f"{NO_LONGER} {FALCON}, env/requirements.lock, source_code/config_vacc.json and 1 more")),  # noqa: E501
    ],
)  # fmt: skip
def test_missing_files_are_one_finding(workspace, gone, place):
    for path in gone:
        (workspace / path).unlink()
    assert found(workspace) == [place]


@pytest.mark.parametrize(
    ("old", "new", "place", "hint"),
    [
        ("tp: 4", "tp: 8", (7, 22, "tp is 8 here and 4 in vacc.yaml"), "write 4 here, or change line 4 of vacc.yaml"),  # noqa: E501
        ("[1024]", "[1008]", (6, 18, "prefill is 1008 here and 1024 in vacc.yaml"), "write 1024 here, or set target.prefill in vacc.yaml"),  # noqa: E501
        ("[2048]", "[4096]", (6, 26, "total is 4096 here and 2048 in vacc.yaml"), "write 2048 here, or set target.total in vacc.yaml"),  # noqa: E501
        ("workers: 4", "workers: 2", (9, 35, "workers is 2 here and 4 in vacc.yaml"), "write 4 here, or change line 4 of vacc.yaml"),  # noqa: E501
        ("align_qkv: false", "align_qkv: true", (7, 54, "align_qkv is true here and false in vacc.yaml"), "write false here, or change line 4 of vacc.yaml"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_config_against_its_recipe_is_reported_at_the_value(workspace, old, new, place, hint):
    change(workspace / FALCON, (old, new))
    (one,) = [one for one in check_paths([str(workspace)]).diagnostics if one.code[:3] == "VG9"]
    assert (one.code, one.hint) == ("VG901", hint)
    assert (one.line, one.column, one.message) == place


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


VENDORS = "the vendor's `modeling_chatglm3_vacc.py` and `config_vacc.json` are missing"
TEXT = ("target", "verification: {text: t.txt}\ntarget")
CALIBRATION = (
    "{set: c4, seqlen: 16, path: weights/c4, mix: [{set: a, path: weights}, "
    "{set: b, path: /path/to/b}]}"
)
FETCH = "`vacc-gen fetch` downloads published weights and texts"
TO_FILL = "write the path where it is, or where `vacc-gen fetch` is to put it"


@pytest.mark.parametrize(
    ("changes", "things"),
    [
        ([(": weights", ": /path/to/w")], [(2, 40, "`model.checkpoint` is still to be filled in", TO_FILL)]),  # noqa: E501
        ([(": weights", ": w")], [(2, 40, "`model.checkpoint` names w, which is not there", FETCH)]),  # noqa: E501
        (
            [("target", f"calibration: {CALIBRATION}\ntarget")],
            [
                (4, 42, "`calibration.path` names weights/c4, which is not there", FETCH),
                (4, 100, "`calibration.mix[1].path` is still to be filled in", TO_FILL),
            ],
        ),
        (
            [TEXT, ("falcon-7b,", "chatglm3-6b,")],
            [
                (2, 17, VENDORS, "copy what is missing from the vendor's model zoo into source_code/"),  # noqa: E501
                (4, 22, "`verification.text` names t.txt, which is not there", None),
            ],
        ),
        (
            [TEXT, ("t.txt", "/path/to/t.txt")],
            [(4, 22, "`verification.text` is still to be filled in", "write the path where it is")],
        ),
    ],
    ids=["placeholder", "nowhere", "calibration", "vendor", "text"],
)  # fmt: skip
def test_what_a_workspace_lacks_is_said_and_counted(workspace, changes, things):
    change(workspace / "vacc.yaml", *changes)
    shutil.rmtree(workspace / "source_code")
    write_manifest(workspace, files={})
    findings = check_paths([str(workspace)], KNOWN).diagnostics
    lacks = [one for one in findings if one.code == "VG907"]
    count = "1 thing" if len(things) == 1 else f"{len(things)} things"
    messages = [message for _, _, message, _ in things]
    messages[-1] += f" (not ready: {count} missing)"
    assert [one.message for one in lacks] == messages
    places = [(line, column, hint) for line, column, _, hint in things]
    assert [(one.line, one.column, one.hint) for one in lacks] == places


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
        config = read_config(FALCON_TINY) if model.any_size else None
        made = {str(file.path): file.text for file in emit(plan, config)}
        for path, text in {**made, "vacc.yaml": recipe_text(plan.recipe, [])}.items():
            (tmp_path / model.name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / model.name / path).write_text(text)
    result = check_paths([str(tmp_path)], KNOWN)
    assert result.checked > 2 * len(MODELS.all())
    assert [one for one in result.diagnostics if one.severity.value != "info"] == []
