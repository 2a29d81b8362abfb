"""The vendor's compiler, in the shape of a small script that stands on the PATH as `vamc`."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.falcons import write_tokenizer
from tests.processes import living_with
from tests.workspaces import build, make_prepared_workspace, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.vamc import (
    TAIL_BYTES,
    Vamc,
    compiled_files,
    last_lines,
    run_logged,
)
from vacc_gen.generator.build.report import Status
from vacc_gen.presets import MODELS
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.lint.diagnostics import FindingsError

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
def workspace(tmp_path):
    return make_prepared_workspace(tmp_path / "workspace")


def calls(workspace):
    return (workspace.root / "calls").read_text().splitlines()


def log_of(workspace):
    return workspace.root / ".vacc-gen" / "logs" / f"{workspace.plan.jobs[0].name}.compile.log"


def test_each_precision_is_compiled_in_the_workspace(install_vamc, workspace):
    install_vamc(COMPILES)
    recorder = build(workspace, Vamc())
    assert calls(workspace) == [
        f"compile build/hf_falcon_{precision}.yaml in {workspace.root}, stack unset"
        for precision in ("fp16", "int8")
    ]
    assert "compiling falcon-tiny-int8" in " ".join(recorder.said)
    for job in workspace.plan.jobs:
        assert (workspace.root / "vacc_deploy" / job.name / "mod.params").is_file()
    assert recorder.records[0].details == {}
    # A newer compiler compiles again.
    install_vamc(COMPILES + "# a newer one\n")
    assert build(workspace, Vamc()).statuses(Stage.COMPILE) == [Status.DONE, Status.DONE]


def test_quant_runs_first_where_the_recipe_asks(install_vamc, tmp_path):
    install_vamc(COMPILES)
    workspace = make_prepared_workspace(tmp_path / "w", quantization={"separate_pass": True})
    recorder = build(workspace, Vamc())
    assert [call.split(" in ")[0] for call in calls(workspace)] == [
        "quant build/hf_falcon_int8.yaml",
        "compile build/hf_falcon_fp16.yaml",
        "compile build/hf_falcon_int8.yaml",
    ]
    assert recorder.statuses(Stage.QUANTIZE) == [Status.SKIPPED, Status.DONE]


@pytest.mark.parametrize(
    ("end", "words"), [("exit 3", "exited 3"), ("kill -SEGV $$", "was killed by signal 11")]
)
def test_a_failure_shows_the_end_of_the_log(install_vamc, workspace, end, words):
    install_vamc(f"seq 1 100; echo 'tensor does not fit' >&2; {end}")
    with pytest.raises(StageError) as caught:
        build(workspace, Vamc())
    message = caught.value.message
    assert f"vamc compile build/hf_falcon_fp16.yaml {words}" in message
    assert "  100\n  tensor does not fit" in message
    assert "  50\n" not in message
    assert caught.value.hint == f"the whole log is in {log_of(workspace)}"
    assert log_of(workspace).read_text().endswith("100\ntensor does not fit\n")


@pytest.mark.parametrize(
    "makes",
    ["true", "mkdir -p $d/mod", "echo a > $d/log", "echo a > $d/mod; touch -d '1 hour ago' $d/mod"],
    ids=["nothing", "empty folder", "no mod", "older than the build"],
)
def test_a_compiler_that_made_nothing_has_failed(install_vamc, workspace, makes):
    install_vamc(f"d=vacc_deploy/$(sed -n 's/^name: //p' $2); mkdir -p $d; {makes}")
    with pytest.raises(StageError, match=r"exited 0 but compiled nothing: no new mod\*"):
        build(workspace, Vamc())


def test_output_may_lie_in_folders_by_length_and_rank(tmp_path):
    files = [tmp_path / f"{part}_rank0" / "mod.so" for part in ("decode_2048", "prefill_1024")]
    for file in files:
        file.parent.mkdir()
        file.write_text("x")
    assert compiled_files(tmp_path, since_ns=0) == tuple(files)


def test_without_vamc_preflight_says_so(workspace, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StageError, match="vamc, the vendor's compiler, is not on the PATH"):
        build(workspace, Vamc())


def test_a_vision_tower_is_compiled_last_and_with_a_large_stack(install_vamc, tmp_path):
    install_vamc(COMPILES)
    geometry = MODELS.find("Qwen2.5-VL-3B-Instruct").geometry
    names = {
        "num_hidden_layers": "layers", "hidden_size": "hidden_size",
        "num_attention_heads": "attention_heads", "num_key_value_heads": "kv_heads",
        "intermediate_size": "ffn_hidden_size", "vocab_size": "vocab_size",
        "max_position_embeddings": "max_positions",
    }  # fmt: skip
    sizes = {key: getattr(geometry, name) for key, name in names.items()}
    checkpoint = tmp_path / "vl"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl", **sizes}))
    write_tokenizer(checkpoint)
    save_file({"a": np.zeros(1)}, checkpoint / "model.safetensors")
    workspace = make_workspace(
        tmp_path / "reads images",
        model={"preset": "Qwen2.5-VL-3B-Instruct", "checkpoint": str(checkpoint)},
        precisions=["fp16"],
        target={"prefill": 2048, "total": 4096},
    )
    with pytest.raises(StageError, match=r"there is no .*modeling_qwen2_5_vl_vacc\.py"):
        build(workspace, Vamc())
    for name in workspace.plan.preset.beside_weights():  # as the vendor publishes them
        (checkpoint / name).touch()
    build(workspace, Vamc())
    assert calls(workspace) == [
        f"compile {config.config_path} in {workspace.root}, stack 256"
        for config in workspace.plan.configs
    ]


def test_weights_without_the_code_that_the_compiler_loads(install_vamc, workspace):
    install_vamc(COMPILES)
    placed = workspace.checkpoint_path / "modeling_falcon_vacc.py"
    placed.write_text(placed.read_text() + "# changed\n")
    (note,) = build(workspace, Vamc(), until=Stage.PREFLIGHT).records[0].details["notes"]
    assert "modeling_falcon_vacc.py differs from the workspace's" in note
    placed.unlink()
    with pytest.raises(FindingsError) as found:  # config_vacc.json names it
        build(workspace, Vamc())
    assert "prepare.sh" in found.value.diagnostics[0].hint
    placed.with_name("config_vacc.json").unlink()
    notes = build(workspace, Vamc()).records[0].details["notes"]
    assert [note.rpartition("/")[2] for note in notes] == [placed.name, "config_vacc.json"]
    assert placed.read_text() == (workspace.root / "source_code" / placed.name).read_text()
    placed.unlink()
    placed.mkdir()
    placed.with_name("config_vacc.json").unlink()
    with pytest.raises(StageError, match=r"prepare\.sh: .* is a folder"):
        build(workspace, Vamc())
    assert len(calls(workspace)) == 2


# --- a child process with a log -------------------------------------------------------------


def run_bash(script, folder, say=print):
    """Run a script; return its exit code and its log."""
    log = folder / "log"
    environment = {**os.environ, "TEST": str(folder)}
    code, _ = run_logged(["bash", "-c", script], folder, environment, log, say)
    return code, log.read_text()


def test_output_goes_to_the_log_and_its_last_line_is_said(tmp_path):
    said = []
    (tmp_path / "log").write_text("of an earlier run")
    script = "echo one; echo two >&2; sleep 0.3; echo three; sleep 0.3; exec >&- 2>&-; exit 7"
    assert run_bash(script, tmp_path, said.append) == (7, "one\ntwo\nthree\n")
    assert said[-2:] == ["two", "three"]


PEAK_OF_A_CHILD = """
import os, sys
from pathlib import Path
from vacc_gen.generator.backends.vamc import run_logged
folder = Path(sys.argv[1])
command = [sys.executable, "-c", sys.argv[2]]
print(run_logged(command, folder, os.environ, folder / "log", lambda line: None)[1])
"""


def test_peak_memory_is_the_childs(tmp_path):
    block = 200 << 20
    script = f"b = bytearray({block}); b[::4096] = b'1' * len(b[::4096])"
    # In a process of its own: a child counts what its parent held when it forked.
    command = [sys.executable, "-c", PEAK_OF_A_CHILD, str(tmp_path), script]
    measured = subprocess.run(command, check=True, capture_output=True, text=True)
    assert block < int(measured.stdout) < 2 * block


def test_control_codes_and_progress_bars_do_not_reach_the_reader(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"\x1b[31mred\x1b[0m\n10%\r20%\r\n\n  \xff done \n")
    assert last_lines(log, 3) == ["10%", "20%", "\N{REPLACEMENT CHARACTER} done"]


STRAYS = {
    "in the background": "sleep 60 &",
    "in a session of its own": "setsid setsid sleep 60 & sleep 0.2;",
    "with its output open": "(sleep 0.1; yes) &",
}


@pytest.mark.parametrize("stray", STRAYS)
def test_what_a_compiler_leaves_ends_with_it(tmp_path, stray):
    began = time.monotonic()
    assert run_bash(f"{STRAYS[stray]} echo done", tmp_path)[0] == 0
    assert time.monotonic() - began < 10
    assert living_with(f"TEST={tmp_path}") == []


def test_an_output_without_end_or_lines_fits_into_the_log_and_the_message(
    install_vamc, workspace, monkeypatch
):
    monkeypatch.setattr("vacc_gen.generator.backends.vamc.LOG_BYTES", 1 << 20)
    install_vamc(r"head -c 5000000 /dev/zero | tr '\0' x; printf '\xff\e[31m the end'; exit 1")
    with pytest.raises(StageError) as caught:
        build(workspace, Vamc())
    assert len(caught.value.message) < 1000
    content = log_of(workspace).read_bytes()
    assert len(content) < (1 << 20) + TAIL_BYTES + 200
    assert content.endswith(b"\xff\x1b[31m the end")
    assert b"output left out by vacc-gen: a log has 1048576 bytes at most" in content
