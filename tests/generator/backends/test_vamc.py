"""The vendor's compiler, in the shape of a small script that stands on the PATH as `vamc`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import eventually, is_group_gone
from tests.workspaces import Recorder, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.vamc import Vamc, compiled_files
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.workspace.workspace import Workspace
from vacc_gen.presets import MODELS
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.precision import Precision

COMPILES = """
echo "$1 $2 in $PWD, stack ${VACC_STACK_SIZE:-unset}" >> calls
[ "$1" = compile ] || exit 0
name=$(sed -n 's/^name: //p' "$2")
folder=$(sed -n '/^workspace:/,$ s/^  path: //p' "$2")/$name
mkdir -p "$folder"
echo compiling "$name"
echo "a model" > "$folder/mod.params"
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder at the head of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


def install(folder: Path, script: str) -> None:
    vamc = folder / "vamc"
    vamc.write_text(f"#!/usr/bin/env bash\n{script}")
    vamc.chmod(0o755)


def make_checkpoint(folder: Path, config: object) -> str:
    """A weight folder with everything but weights."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    return str(folder)


def build(workspace: Workspace, options: BuildOptions | None = None) -> Recorder:
    recorder = Recorder()
    run_build(workspace, Vamc(), options or BuildOptions(), recorder)
    return recorder


def report(workspace: Workspace) -> dict[str, object]:
    content: dict[str, object] = json.loads((workspace.root / "report.json").read_text())
    return content


def test_each_precision_is_compiled_in_the_workspace(path: Path, workspace: Workspace) -> None:
    install(path, COMPILES)
    recorder = build(workspace)
    calls = (workspace.root / "calls").read_text().splitlines()
    assert calls == [
        f"compile build/hf_falcon_{precision}.yaml in {workspace.root}, stack unset"
        for precision in ("fp16", "int8")
    ]
    assert recorder.statuses(Stage.COMPILE) == [Status.DONE, Status.DONE]
    assert recorder.statuses(Stage.EXPORT) == [Status.SKIPPED, Status.SKIPPED]
    assert any(line.startswith("compiling falcon-tiny-int8") for line in recorder.said)
    written = report(workspace)
    assert written["backend"] == "vamc"
    artifacts = written["artifacts"]
    assert isinstance(artifacts, list)
    assert [artifact["path"] for artifact in artifacts] == [
        f"vacc_deploy/{job.name}/mod.params" for job in workspace.plan.jobs
    ]
    assert all(artifact["bytes"] == len("a model\n") for artifact in artifacts)


def test_what_is_compiled_is_reused_until_it_is_harmed(path: Path, workspace: Workspace) -> None:
    install(path, COMPILES)
    build(workspace)
    assert build(workspace).statuses(Stage.COMPILE) == [Status.REUSED, Status.REUSED]
    harmed = workspace.root / "vacc_deploy" / workspace.plan.jobs[1].name / "mod.params"
    harmed.write_text("A MODEL\n")
    assert build(workspace).statuses(Stage.COMPILE) == [Status.REUSED, Status.DONE]
    assert harmed.read_text() == "a model\n"


def test_another_compiler_compiles_again(path: Path, workspace: Workspace) -> None:
    install(path, COMPILES)
    build(workspace)
    install(path, COMPILES + "# a newer one\n")
    assert build(workspace).statuses(Stage.COMPILE) == [Status.DONE, Status.DONE]


def test_quant_runs_first_where_the_recipe_asks(path: Path, tmp_path: Path) -> None:
    install(path, COMPILES)
    workspace = make_workspace(tmp_path / "w", quantization={"separate_pass": True})
    recorder = build(workspace)
    calls = [line.split(" in ")[0] for line in (workspace.root / "calls").read_text().splitlines()]
    assert calls == [
        "quant build/hf_falcon_int8.yaml",
        "compile build/hf_falcon_fp16.yaml",
        "compile build/hf_falcon_int8.yaml",
    ]
    assert recorder.statuses(Stage.QUANTIZE) == [Status.SKIPPED, Status.DONE]


def test_a_failure_shows_the_end_of_the_log(path: Path, workspace: Workspace) -> None:
    install(path, "seq 1 100; echo 'tensor does not fit' >&2; exit 3")
    with pytest.raises(StageError) as caught:
        build(workspace)
    message = caught.value.message
    assert "vamc compile build/hf_falcon_fp16.yaml exited 3" in message
    assert "  100\n  tensor does not fit" in message
    assert "  50\n" not in message
    log = workspace.root / ".vacc-gen" / "logs" / f"{workspace.plan.jobs[0].name}.compile.log"
    assert str(log) in (caught.value.hint or "")
    assert log.read_text().endswith("100\ntensor does not fit\n")
    stages = report(workspace)["stages"]
    assert isinstance(stages, list)
    assert [(s["name"], s["precision"]) for s in stages if s["status"] == "failed"] == [
        ("compile", "fp16")
    ]


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        "mkdir -p vacc_deploy/$(sed -n 's/^name: //p' $2)/mod",
        "d=vacc_deploy/$(sed -n 's/^name: //p' $2); mkdir -p $d; echo a > $d/log",
        (
            "d=vacc_deploy/$(sed -n 's/^name: //p' $2); mkdir -p $d; echo a > $d/mod; "
            "touch -d '1 hour ago' $d/mod"
        ),
    ],
    ids=["nothing", "empty folder", "no mod", "older than the build"],
)
def test_a_compiler_that_made_nothing_has_failed(
    path: Path, workspace: Workspace, script: str
) -> None:
    install(path, script)
    with pytest.raises(StageError, match=r"ended well and left nothing: no new mod\*"):
        build(workspace)


def test_output_may_lie_in_folders_by_length_and_rank(tmp_path: Path) -> None:
    files = [tmp_path / f"{part}_rank0" / "mod.so" for part in ("decode_2048", "prefill_1024")]
    for file in files:
        file.parent.mkdir()
        file.write_text("x")
    assert compiled_files(tmp_path, since_ns=0) == tuple(files)


def test_without_vamc_preflight_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StageError, match="vamc, the vendor's compiler, is not on the PATH"):
        build(workspace)


def test_a_weight_folder_that_is_not_prepared_is_noted(path: Path, workspace: Workspace) -> None:
    install(path, COMPILES)
    recorder = build(workspace)
    (preflight,) = (r for r in recorder.records if r.stage is Stage.PREFLIGHT)
    notes = preflight.details["notes"]
    assert isinstance(notes, list)
    assert "lacks modeling_falcon_vacc.py, config_vacc.json: run scripts/prepare.sh" in notes[0]


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_an_interrupted_build_takes_the_compiler_with_it(
    path: Path, workspace: Workspace, number: signal.Signals, exit_code: int
) -> None:
    install(path, "trap 'echo ended > ended; exit 1' INT TERM; echo $$ > pid; sleep 60 & wait")
    command = [sys.executable, "-m", "vacc_gen.generator.cli.main", "build", "--backend", "vamc"]
    ours = subprocess.Popen(
        [*command, str(workspace.root)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    pid_file = workspace.root / "pid"
    assert eventually(lambda: pid_file.is_file() and pid_file.read_text().endswith("\n"))
    ours.send_signal(number)
    output, _ = ours.communicate(timeout=30)
    assert ours.returncode == exit_code, output
    assert "Traceback" not in output
    assert (workspace.root / "ended").exists()
    assert is_group_gone(int(pid_file.read_text()))
    stages = report(workspace)["stages"]
    assert isinstance(stages, list)
    assert stages[-2] | {"seconds": 0, "peak_rss_bytes": 0} == {
        "name": "compile",
        "precision": "fp16",
        "status": "failed",
        "seconds": 0,
        "peak_rss_bytes": 0,
        "output_bytes": 0,
        "reason": "interrupted",
    }


def test_only_the_named_precision_is_compiled(path: Path, workspace: Workspace) -> None:
    install(path, COMPILES)
    build(workspace, BuildOptions(precisions=(Precision.INT8,)))
    assert "fp16" not in (workspace.root / "calls").read_text()


def test_large_models_get_a_large_stack(path: Path, tmp_path: Path) -> None:
    install(path, COMPILES)
    preset = MODELS.find("falcon-40b")
    checkpoint = make_checkpoint(tmp_path / "falcon-40b", preset.config)
    model = {"preset": preset.name, "checkpoint": checkpoint}
    workspace = make_workspace(tmp_path / "large", model=model)
    build(workspace)
    assert "stack 256" in (workspace.root / "calls").read_text()


def test_a_vision_tower_is_compiled_after_its_language_model(path: Path, tmp_path: Path) -> None:
    install(path, COMPILES)
    geometry = MODELS.find("Qwen2.5-VL-3B-Instruct").geometry
    config = {
        "model_type": "qwen2_5_vl",
        "num_hidden_layers": geometry.layers,
        "hidden_size": geometry.hidden_size,
        "num_attention_heads": geometry.attention_heads,
        "num_key_value_heads": geometry.kv_heads,
        "intermediate_size": geometry.ffn_hidden_size,
        "vocab_size": geometry.vocab_size,
        "max_position_embeddings": geometry.max_positions,
    }
    checkpoint = make_checkpoint(tmp_path / "vl", config)
    workspace = make_workspace(
        tmp_path / "reads images",
        model={"preset": "Qwen2.5-VL-3B-Instruct", "checkpoint": checkpoint},
        precisions=["fp16"],
        target={"prefill": 2048, "total": 4096},
    )
    build(workspace)
    calls = (workspace.root / "calls").read_text().splitlines()
    assert [call.partition(" in ")[0] for call in calls] == [
        "compile build/qwen2_5_vl_llm.yaml",
        "compile build/qwen2_5_vl_visual.yaml",
    ]
    artifacts = report(workspace)["artifacts"]
    assert [one["path"] for one in artifacts] == [
        "vamc_results/vl-fp16-tp4-2048-4096/mod.params",
        "vamc_results/vl-visual-fp16-4096/mod.params",
    ]


def test_int4_is_left_to_the_embedded_backend(path: Path, tmp_path: Path) -> None:
    install(path, COMPILES)
    workspace = make_workspace(tmp_path / "four", precisions=["fp16", "int4"])
    recorder = build(workspace)
    skipped = {r.reason for r in recorder.records if r.precision is Precision.INT4}
    assert skipped == {"vamc makes no int4"}
    with pytest.raises(StageError, match="vamc makes no int4") as raised:
        build(workspace, BuildOptions(precisions=(Precision.INT4,)))
    assert raised.value.hint == "build it with --backend onnxruntime"
