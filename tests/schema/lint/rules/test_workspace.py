"""Workspaces: the recipe and the manifest against the files that are there."""

import hashlib
import json
import shutil

import pytest

from vacc_gen.presets import KNOWN
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
MADE = {
    "build/hf_falcon_fp16.yaml": CONFIG,
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


@pytest.fixture
def workspace(tmp_path):
    for path, text in {"vacc.yaml": RECIPE, "weights/config.json": "{}", **MADE}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    hashes = {path: sha256(text) for path, text in MADE.items()}
    write_manifest(tmp_path, {"vacc.yaml": sha256(RECIPE)}, hashes)
    return tmp_path


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder, made_from, files):
    (folder / ".vacc-gen").mkdir(exist_ok=True)
    manifest = {"version": 1, "made_from": made_from, "files": files}
    (folder / ".vacc-gen" / "manifest.json").write_text(json.dumps(manifest))


def change(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def found(folder, codes=("VG9",)):
    """Return place, code and message of what is found."""
    return [
        (one.path.removeprefix(f"{folder}/"), one.line, one.column, one.code, one.message)
        for one in check_paths([str(folder)], KNOWN).diagnostics
        if one.code.startswith(codes)
    ]


def test_a_whole_workspace_has_no_findings(workspace):
    assert found(workspace) == []


def test_line_ends_are_not_a_change(workspace):
    recipe = workspace / "vacc.yaml"
    recipe.write_bytes(recipe.read_bytes().replace(b"\n", b"\r\n"))
    assert found(workspace) == []
    assert text_hash("a\rb\n") == sha256("a\nb\n")


def test_a_changed_recipe_is_reported(workspace):
    (workspace / "vacc.yaml").write_text(RECIPE + "# for the new card\n")
    message = "vacc.yaml was changed after the files of this workspace were made"
    assert found(workspace) == [("vacc.yaml", 1, 1, "VG904", message)]


NO_LONGER = "made from this recipe, and no longer there: "


@pytest.mark.parametrize(
    ("gone", "place"),
    [
        (
            "env/requirements.lock",
            ("vacc.yaml", 1, 1, "VG905", NO_LONGER + "env/requirements.lock"),
        ),
        (
            "build/hf_falcon_fp16.yaml",
            ("vacc.yaml", 1, 1, "VG905", NO_LONGER + "build/hf_falcon_fp16.yaml"),
        ),
        (
            "source_code/modeling_falcon_vacc.py",
            (
                "source_code/config_vacc.json", 1, 15, "VG921",
                "`auto_map` names modeling_falcon_vacc.py, which is not there",
            ),
        ),
    ],
)  # fmt: skip
def test_a_missing_file_is_reported_once(workspace, gone, place):
    (workspace / gone).unlink()
    assert found(workspace) == [place]


def test_many_missing_files_are_one_finding(workspace):
    for folder in ("build", "source_code", "env"):
        shutil.rmtree(workspace / folder)
    ((*_, message),) = found(workspace)
    named = "build/hf_falcon_fp16.yaml, source_code/modeling_falcon_vacc.py"
    assert message == f"{NO_LONGER}{named}, source_code/config_vacc.json and 1 more"


def test_a_missing_config_is_not_also_a_precision_without_one(workspace):
    change(workspace / "vacc.yaml", "[fp16]", "[fp16, int8]")
    files = {"build/hf_falcon_int8.yaml": "0", **dict.fromkeys(MADE, "0")}
    write_manifest(workspace, {}, files)
    assert [code for *_, code, _ in found(workspace)] == ["VG905"]
    del files["build/hf_falcon_int8.yaml"]
    write_manifest(workspace, {}, files)
    message = "no config in `build` compiles int8"
    assert found(workspace) == [("vacc.yaml", 3, 20, "VG902", message)]


@pytest.mark.parametrize(
    ("precisions", "quantize", "lacking"),
    [
        ("[fp16, int4]", "", None),
        ("[fp16]", "  quantize: {type: w16kv8}\n", "fp16"),
        ("[kv8]", "  quantize: {type: w16kv8}\n", None),
        ("[int8]", "", "int8"),
    ],
)
def test_a_precision_is_compiled_by_its_config(workspace, precisions, quantize, lacking):
    change(workspace / "vacc.yaml", "[fp16]", precisions)
    change(workspace / "build/hf_falcon_fp16.yaml", "backend:", f"{quantize}backend:")
    messages = [message for *_, code, message in found(workspace) if code == "VG902"]
    assert messages == ([f"no config in `build` compiles {lacking}"] if lacking else [])


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message"),
    [
        ("tp: 4", "tp: 8", 7, 22, "tp is 8 here and 4 in vacc.yaml"),
        ("[1024]", "[1008]", 6, 18, "prefill is 1008 here and 1024 in vacc.yaml"),
        ("[2048]", "[4096]", 6, 26, "total is 4096 here and 2048 in vacc.yaml"),
        ("workers: 4", "workers: 2", 9, 35, "workers is 2 here and 4 in vacc.yaml"),
        (
            "align_qkv: false", "align_qkv: true", 7, 54,
            "align_qkv is true here and false in vacc.yaml",
        ),
    ],
)  # fmt: skip
def test_a_config_against_its_recipe_is_reported_at_the_value(
    workspace, old, new, line, column, message
):
    change(workspace / "build/hf_falcon_fp16.yaml", old, new)
    place = ("build/hf_falcon_fp16.yaml", line, column, "VG901", message)
    assert found(workspace) == [place]


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("tp: 4", "tp: 8", "write 4 here, or change line 4 of vacc.yaml"),
        ("[1024]", "[16]", "write 1024 here, or set target.prefill in vacc.yaml"),
    ],
)
def test_a_contradiction_can_be_resolved_in_either_file(workspace, old, new, hint):
    change(workspace / "build/hf_falcon_fp16.yaml", old, new)
    findings = check_paths([str(workspace)]).diagnostics
    assert [one.hint for one in findings if one.code == "VG901"] == [hint]


@pytest.mark.parametrize(
    ("old", "new"),
    [("../weights", "/w/another"), ("tp: 4, ", ""), ("input_ids: [[1024], [2048]]", "x: [1, 8]")],
)
def test_a_config_for_something_else_does_not_contradict(workspace, old, new):
    change(workspace / "vacc.yaml", "tp: 4", "tp: 8")
    change(workspace / "build/hf_falcon_fp16.yaml", old, new)
    assert found(workspace, ("VG901",)) == []


@pytest.mark.parametrize(("preset", "is_reported"), [("falcon-40b", True), ("falcon-11B", False)])
def test_only_a_large_model_needs_a_larger_stack(workspace, preset, is_reported):
    (workspace / "scripts").mkdir()
    (workspace / "scripts" / "compile.sh").write_text("vamc compile\n")
    change(workspace / "vacc.yaml", "falcon-7b", preset)
    message = "scripts/compile.sh does not set VACC_STACK_SIZE"
    expected = [("vacc.yaml", 2, 17, "VG903", message)] if is_reported else []
    assert found(workspace, ("VG903",)) == expected


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", '{"version": 2}', '{"version": 1, "made_from": [], "files": {}}', "\x00",
     '{"version": 1, "made_from": {}, "files": {"../../etc/passwd": "0", "/etc/x": "0"}}'],
)  # fmt: skip
def test_an_odd_manifest_says_nothing(workspace, manifest):
    (workspace / ".vacc-gen" / "manifest.json").write_text(manifest)
    assert found(workspace) == []


VENDORS = "the vendor's `modeling_chatglm3_vacc.py` and `config_vacc.json` are missing"


@pytest.mark.parametrize(
    ("changes", "things"),
    [
        (
            {"checkpoint: weights": "checkpoint: /path/to/falcon-7b"},
            [(2, 40, "`model.checkpoint` is still to be filled in")],
        ),
        (
            {"checkpoint: weights": "checkpoint: w"},
            [(2, 40, "`model.checkpoint` names w, which is not there")],
        ),
        (
            {
                "checkpoint: weights": "checkpoint: w",
                "target": "calibration: {set: c4, seqlen: 16, path: weights/c4, mix: ["
                "{set: a, path: weights}, {set: b, path: /path/to/b}]}\ntarget",
            },
            [
                (2, 40, "`model.checkpoint` names w, which is not there"),
                (4, 42, "`calibration.path` names weights/c4, which is not there"),
                (4, 100, "`calibration.mix[1].path` is still to be filled in"),
            ],
        ),
        ({"falcon-7b,": "chatglm3-6b,"}, [(2, 17, VENDORS)]),
        (
            {"target": "verification: {text: t.txt}\ntarget", "falcon-7b,": "chatglm3-6b,"},
            [(2, 17, VENDORS), (4, 22, "`verification.text` names t.txt, which is not there")],
        ),
    ],
    ids=["placeholder", "nowhere", "calibration", "vendor", "text"],
)
def test_what_a_workspace_lacks_is_said_and_counted(workspace, changes, things):
    for old, new in changes.items():
        change(workspace / "vacc.yaml", old, new)
    shutil.rmtree(workspace / "source_code")
    write_manifest(workspace, {}, {})
    count = "1 thing" if len(things) == 1 else f"{len(things)} things"
    expected = [("vacc.yaml", line, column, "VG907", message) for line, column, message in things]
    expected[-1] = (*expected[-1][:4], f"{expected[-1][4]} (not ready: {count} missing)")
    assert found(workspace, ("VG907",)) == expected


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("weights", "w", "`vacc-gen fetch` downloads published weights and texts"),
        (
            "weights", "/path/to/w",
            "write the path where it is, or where `vacc-gen fetch` is to put it",
        ),
        ("target", "verification: {text: t.txt}\ntarget", None),
        (
            "target", "verification: {text: /path/to/t.txt}\ntarget",
            "write the path where it is",
        ),
    ],
)  # fmt: skip
def test_what_can_be_fetched_is_said(workspace, old, new, hint):
    change(workspace / "vacc.yaml", old, new)
    findings = check_paths([str(workspace)]).diagnostics
    assert [one.hint for one in findings if one.code == "VG907"] == [hint]


@pytest.mark.parametrize("folder", ["source_code", "weights"])
def test_the_vendors_files_may_be_in_either_folder(workspace, folder):
    change(workspace / "vacc.yaml", "falcon-7b,", "chatglm3-6b,")
    (workspace / folder / "config_vacc.json").write_text("{}")
    (workspace / folder / "modeling_chatglm3_vacc.py").write_text("")
    assert found(workspace, ("VG907",)) == []


def test_a_recipe_alone_is_not_a_workspace_that_lacks_something(workspace):
    change(workspace / "vacc.yaml", "weights", "/path/to/falcon-7b")
    assert found(workspace, ("VG907",))
    recipe = str(workspace / "vacc.yaml")
    assert "VG907" not in {one.code for one in check_paths([recipe]).diagnostics}
