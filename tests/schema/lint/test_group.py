"""Workspaces: what the manifest says of the last generation, held against what is there."""

import json
import shutil

import pytest

from vacc_gen.generator.workspace.drift import text_hash as written_hash
from vacc_gen.schema.lint.check import Selection, check_paths
from vacc_gen.schema.lint.group import text_hash

RECIPE = (
    "version: 2\nmodel: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}\nprecisions: [fp16]\n"
)
CONFIG = """\
name: falcon-7b-fp16-tp4-1024-2048
frontend:
  checkpoint: {checkpoint}
  type: huggingface
  shape:
    input_ids: [[1024], [2048]]
  model_kwargs: {{tp: 4, model_arch: vacc, align_qkv: false}}
backend: {{type: tvm_vacc, dtype: fp16}}
workspace: {{path: ./out, workers: 4}}
"""
FILES = {
    "build/hf_falcon_fp16.yaml": CONFIG.format(checkpoint="/path/to/falcon-7b"),
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
    (tmp_path / "vacc.yaml").write_text(RECIPE)
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    manifest = {
        "version": 1,
        "made_from": {"vacc.yaml": written_hash(RECIPE)},
        "files": {path: written_hash(text) for path, text in FILES.items()},
    }
    (tmp_path / ".vacc-gen").mkdir()
    (tmp_path / ".vacc-gen" / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def found(folder, *, extend=()):
    return [
        (one.path.removeprefix(f"{folder}/"), one.line, one.code)
        for one in check_paths([str(folder)], selection=Selection(extend=extend)).diagnostics
    ]


def test_a_whole_workspace_has_no_findings(workspace):
    assert found(workspace, extend=("VG9",)) == []
    assert text_hash("a\r\nb\n") == written_hash("a\nb\n")


def test_a_changed_recipe_is_told(workspace):
    (workspace / "vacc.yaml").write_text(RECIPE + "# for the new card\n")
    assert found(workspace) == [("vacc.yaml", 1, "VG904")]


@pytest.mark.parametrize(
    ("gone", "place"),
    [
        ("env/requirements.lock", ("vacc.yaml", 1, "VG905")),
        ("build/hf_falcon_fp16.yaml", ("vacc.yaml", 1, "VG905")),
        ("source_code/modeling_falcon_vacc.py", ("source_code/config_vacc.json", 1, "VG921")),
    ],
)
def test_a_missing_file_is_told_once(workspace, gone, place):
    (workspace / gone).unlink()
    assert found(workspace) == [place]


def test_a_folder_that_is_gone_is_one_mistake(workspace):
    shutil.rmtree(workspace / "build")
    assert found(workspace) == [("vacc.yaml", 1, "VG905")]


def test_an_edited_file_is_told_where_asked(workspace):
    (workspace / "env" / "requirements.lock").write_text("torch==2.2.0\n")
    assert found(workspace) == []
    assert found(workspace, extend=("VG906",)) == [("vacc.yaml", 1, "VG906")]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("tp: 4", "tp: 8", 7),
        ("workers: 4", "workers: 2", 9),
        ("align_qkv: false", "align_qkv: true", 7),
    ],
)
def test_a_config_against_its_recipe_is_told_at_the_value(workspace, old, new, line):
    target = "target: {tp: 4, workers: 4, align_qkv: false}\n"
    (workspace / "vacc.yaml").write_text(RECIPE + target)
    config = workspace / "build" / "hf_falcon_fp16.yaml"
    config.write_text(config.read_text().replace(old, new).replace("-tp4", ""))
    contradictions = [place for place in found(workspace) if place[2] == "VG901"]
    assert contradictions == [("build/hf_falcon_fp16.yaml", line, "VG901")]


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", '{"version": 2}', '{"version": 1, "made_from": [], "files": {}}', "\x00",
     '{"version": 1, "made_from": {}, "files": {"../../etc/passwd": "0", "/etc/x": "0"}}'],
)  # fmt: skip
def test_an_odd_manifest_says_nothing(workspace, manifest):
    (workspace / ".vacc-gen" / "manifest.json").write_text(manifest)
    assert found(workspace, extend=("VG9",)) == []


def test_a_relative_checkpoint_is_looked_for_in_the_workspace(workspace):
    """As the scripts do: they compile in the workspace's folder."""
    sizes = {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 8}
    sizes |= {"num_hidden_layers": 2, "num_key_value_heads": 2, "intermediate_size": 128}
    sizes |= {"vocab_size": 64, "max_position_embeddings": 4096}
    (workspace / "weights").mkdir()
    (workspace / "weights" / "config.json").write_text(json.dumps(sizes))
    config = workspace / "build" / "hf_falcon_fp16.yaml"
    config.write_text(CONFIG.format(checkpoint="weights").replace("align_qkv: false", "b2s: true"))
    assert ("build/hf_falcon_fp16.yaml", 7, "VG601") in found(workspace)
    (workspace / "vacc.yaml").unlink()
    assert "VG601" not in {code for _, _, code in found(workspace)}
