"""The scripts are run, with small stand-ins for the vendor's programs on the PATH."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.falcons import static_logits
from tests.processes import make_program
from tests.workspaces import FALCON_TINY, recipe_text
from vacc_gen.generator.workspace import create

SHELLCHECK = Path(sys.executable).parent / "shellcheck"

# Each call is noted as one line of JSON: arguments, folder, and the variable of interest.
STAND_IN = f"""#!{sys.executable}
import json, os, pathlib, sys
with open(os.environ["CALLS"], "a") as calls:
    variable = os.environ.get("VACC_STACK_SIZE") or os.environ.get("HF_ENDPOINT")
    calls.write(json.dumps([sys.argv[1:], os.getcwd(), variable]) + "\\n")
"""
VAMC = """
import yaml
if sys.argv[1] == "compile" and "VAMC_MAKES_NOTHING" not in os.environ:
    config = yaml.safe_load(open(sys.argv[2]))
    for stage in ("prefill_64_rank0", "decode_128_rank0"):
        made = pathlib.Path(config["workspace"]["path"], config["name"], stage, "mod.so")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("made")
"""
HF = """
if sys.argv[1] == "cache":
    sys.exit("no such command" if "huggingface-cli" in sys.argv[0] else 0)
folder = pathlib.Path(sys.argv[sys.argv.index("--local-dir") + 1])
pattern = sys.argv[sys.argv.index("--include") + 1]
if pattern == "*.json":
    (folder / "config.json").write_text("{}")
if pattern == os.environ.get("HF_HAS", "*.safetensors"):
    (folder / "model.safetensors").write_text("")
"""


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


class World:
    """A folder with an awkward name, weights with another, and a PATH of our own."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / 'it\'s a "work" $HOME'
        self.weights = folder / "the weights' *"
        self.calls_path = folder / "calls"
        self.calls_path.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in ("bash", "sed", "dirname", "cmp", "ln", "cp", "mv", "rm", "find", "grep",
                     "mkdir", "env", "cat"):  # fmt: skip
            (self.bin / tool).symlink_to(shutil.which(tool))

    def add_program(self, name, body=""):
        make_program(self.bin / name, STAND_IN + body)

    def copy_weights(self):
        shutil.copytree(FALCON_TINY, self.weights)

    def make(self, preset="falcon-tiny", checkpoint=None, **parts):
        parts = {"target": {"prefill": 64, "total": 128, "tp": 2}, **parts}
        return create(self.root, recipe_text(preset, checkpoint or self.weights, **parts))

    def run(self, script, *arguments, cwd=None, **variables):
        return subprocess.run(
            [self.root / "scripts" / script, *arguments],
            cwd=cwd or self.folder,
            env={"PATH": str(self.bin), "CALLS": str(self.calls_path), **variables},
            capture_output=True,
            text=True,
        )

    def fails(self, script, code, said="", **variables):
        done = self.run(script, **variables)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr

    def calls(self):
        return [json.loads(line) for line in self.calls_path.read_text().splitlines()]


# SC2016, SC1003: expressions in single quotes, a backslash before one. Names are literal, so yes.
ABOUT_ODD_NAMES = "--exclude=SC2016,SC1003"
VISION = {"precisions": ["fp16"], "target": {"prefill": 2048, "total": 4096, "tp": 2}}


@pytest.mark.parametrize(
    ("preset", "checkpoint", "parts"),
    [
        ("falcon-tiny", "../the 'weights", {}),
        ("falcon-7b", "/path/to/x", {"quantization": {"separate_pass": True}}),
        ("falcon-40b", '/a b/$(c)`d`"e\\', {"quantization": {"separate_pass": True}}),
        ("Qwen2.5-VL-3B-Instruct", "/path/to/x", VISION),
    ],
)
def test_scripts_are_clean_and_need_nothing_of_ours(world, preset, checkpoint, parts):
    """Neither vacc-gen nor an absolute path of the machine that wrote them."""
    world.make(preset, checkpoint, **parts)
    scripts = sorted(world.root.glob("scripts/*.sh"))
    assert len(scripts) == (3 if preset == "falcon-tiny" else 4)
    options = [ABOUT_ODD_NAMES] if "$(" in checkpoint or "VL" in preset else []
    done = subprocess.run([SHELLCHECK, *options, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for script in (world.root / "scripts").iterdir():
        assert os.access(script, os.X_OK)
        assert "vacc_gen" not in script.read_text()
        assert str(world.folder) not in script.read_text()


def test_usage(world):
    world.make("falcon-7b")
    for script in ("download.sh", "prepare.sh", "compile.sh", "serve.sh"):
        shown = world.run(script, "--help")
        assert shown.returncode == 0
        assert shown.stdout.startswith(f"usage: scripts/{script}")
        assert world.run(script, "--nonsense").returncode == 2
    for script in ("compile.sh", "serve.sh"):
        wrong = world.run(script, "int7").stderr
        assert wrong.startswith("error: no precision 'int7'\nhint: vacc.yaml has fp16, int8")


def test_download_says_what_it_needs_and_what_did_not_come(world):
    world.make("falcon-7b", "/path/to/falcon-7b")
    world.fails("download.sh", 2)
    without = world.run("download.sh", "here")
    assert without.returncode == 2
    assert "pip install huggingface_hub" in without.stderr
    assert not (world.folder / "here").exists()
    world.add_program("huggingface-cli", HF)
    pickled = world.run("download.sh", "here", HF_HAS="*.bin")
    assert pickled.returncode == 1
    assert "*.safetensors did not arrive" in pickled.stderr
    done = world.run("download.sh", "here", HF_ENDPOINT="https://mirror.example/")
    assert (done.returncode, "compares no checksums" in done.stderr) == (0, True)
    assert (world.folder / "here" / "model.safetensors").exists()
    assert world.calls()[-1][2] == "https://mirror.example"


@pytest.mark.parametrize("option", [[], ["--copy"]])
def test_prepare_places_both_files_and_can_be_run_again(world, option):
    world.copy_weights()
    world.make(checkpoint=f"../{world.weights.name}")
    for word in ("placed", "there already"):
        done = world.run("prepare.sh", *option, cwd="/")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(word) == 2
        for name in ("modeling_falcon_vacc.py", "config_vacc.json"):
            ours, placed = world.root / "source_code" / name, world.weights / name
            assert placed.read_bytes() == ours.read_bytes()
            assert placed.is_symlink() == (not option)


def test_prepare_replaces_what_differs_only_when_forced(world):
    world.make()
    world.fails("prepare.sh", 2, str(world.weights))
    world.copy_weights()
    theirs = world.weights / "config_vacc.json"
    theirs.write_text("theirs")
    world.fails("prepare.sh", 1, str(theirs))
    assert theirs.read_text() == "theirs"
    assert not (world.weights / "modeling_falcon_vacc.py").exists()
    assert world.run("prepare.sh", "--force", "--copy", str(world.weights)).returncode == 0
    assert theirs.read_text() != "theirs"
    assert {path.name for path in world.weights.glob("*partial*")} == set()
    theirs.unlink()
    theirs.symlink_to("nowhere")
    world.fails("prepare.sh", 1)
    assert world.run("prepare.sh", "--force").returncode == 0
    assert theirs.exists()


@pytest.mark.parametrize(
    ("preset", "separate_pass", "variable", "stack"),
    [
        ("falcon-tiny", False, {}, None),
        ("falcon-tiny", True, {}, None),
        ("falcon-40b", False, {}, "256"),
        ("falcon-40b", False, {"VACC_STACK_SIZE": "512"}, "512"),
    ],
)
def test_compile_runs_vamc_on_each_config_in_the_workspace(
    world, preset, separate_pass, variable, stack
):
    world.weights.mkdir()
    world.make(preset, quantization={"separate_pass": separate_pass})
    world.add_program("vamc", VAMC)
    done = world.run("compile.sh", cwd="/", **variable)
    assert done.returncode == 0, done.stderr
    first = [("quant", "int8")] if separate_pass else []
    assert world.calls() == [
        [[verb, f"build/hf_falcon_{precision}.yaml"], str(world.root), stack]
        for verb, precision in [("compile", "fp16"), *first, ("compile", "int8")]
    ]


def test_compile_fails_without_vamc_as_vamc_does_and_where_nothing_was_made(world):
    world.make()
    world.fails("compile.sh", 2, "vamc is not on the PATH")
    world.add_program("vamc", VAMC)
    world.fails("compile.sh", 2, str(world.weights))
    assert world.calls() == []
    world.weights.mkdir()
    world.fails("compile.sh", 1, "vamc left no mod*", VAMC_MAKES_NOTHING="1")
    assert len(world.calls()) == 1
    world.add_program("vamc", "sys.exit(7)")
    world.fails("compile.sh", 7)
    config = world.root / "build" / "hf_falcon_fp16.yaml"
    config.write_text(config.read_text().replace(str(world.weights), "/path/to/weights"))
    world.fails("compile.sh", 2, "frontend.checkpoint")


def test_serve_hands_over_folder_dies_and_options(world):
    world.weights.mkdir()
    world.make()
    world.add_program("vamc", VAMC)
    world.add_program("vastgenx")
    assert world.run("serve.sh", "int8").returncode == 2  # not compiled yet
    assert world.run("compile.sh").returncode == 0
    world.calls_path.unlink()
    done = world.run("serve.sh", "int8", "--batch_size", "4", VACC_PORT="9001")
    assert done.returncode == 0, done.stderr
    model = world.root / "vacc_deploy" / f"{world.weights.name}-int8-tp2-64-128"
    assert world.calls()[0][0] == [
        *("serve", "--model", str(model), "--host", "127.0.0.1", "--port", "9001"),
        *("--llm_devices", "[0,1]", "--batch_size", "4"),
    ]


def test_a_model_that_reads_images_is_compiled_and_served_in_two_halves(world):
    world.weights.mkdir()
    world.make("Qwen2.5-VL-3B-Instruct", **VISION)
    world.add_program("vamc", VAMC)
    world.add_program("vastgenx")
    made = world.root / "vamc_results"
    language, tower = (
        made / f"{world.weights.name}-{half}" for half in ("fp16-tp2-2048-4096", "visual-fp16-4096")
    )
    language.mkdir(parents=True)
    world.fails("serve.sh", 2, tower.name)
    assert world.run("compile.sh").returncode == 0
    assert world.calls() == [
        [["compile", f"build/qwen2_5_vl_{half}.yaml"], str(world.root), "256"]
        for half in ("llm", "visual")
    ]
    world.calls_path.unlink()
    done = world.run("serve.sh", "--min_pixels", "78400")
    assert done.returncode == 0, done.stderr
    assert world.calls()[0][0] == [
        *("serve", "--model", str(language), "--host", "127.0.0.1", "--port", "9000"),
        *("--llm_devices", "[0,1]", "--vit_model", str(tower), "--vit_devices", "[2]"),
        *("--max_pixels", "802816", "--min_pixels", "78400"),
    ]


def test_exported_graphs_agree_with_transformers(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    shutil.copytree(FALCON_TINY, tmp_path / "weights")
    workspace = create(tmp_path / "w", recipe_text("falcon-tiny", "../weights"))
    exported = tmp_path / "graphs"
    done = subprocess.run(
        [sys.executable, workspace.root / "scripts/export.py", "--checkpoint", tmp_path / "weights",
         "--out", exported, "--prefill", "16", "--total", "32"],
        env={**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = {path.name: path.stat().st_size for path in exported.iterdir()}
    assert set(files) == {"prefill.onnx", "decode.onnx", "weights.bin"}
    stored = sum(path.stat().st_size for path in FALCON_TINY.glob("*.safetensors"))  # bf16
    assert files["weights.bin"] < 2.1 * stored  # once, in fp32
    reference = transformers.FalconForCausalLM.from_pretrained(FALCON_TINY, dtype=torch.float32)
    ids = [37 * index % 2000 + 5 for index in range(32)]
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0].numpy()
    logits = static_logits(exported, ids, 16)
    np.testing.assert_allclose(logits, expected[15:], atol=1e-3)
