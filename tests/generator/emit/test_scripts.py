"""The scripts are run, with small stand-ins for the vendor's programs on the PATH."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vacc_gen.generator.workspace.workspace import create

FALCON_TINY = Path(__file__).parents[2] / "data" / "falcon-tiny"
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
    """A folder with an awkward name, weights with another, and a PATH of our own."""
    return World(tmp_path)


class World:
    def __init__(self, folder):
        self.folder = folder
        self.root = folder / 'it\'s a "work" $HOME'
        self.weights = folder / "the weights' *"
        self.calls_path = folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in ("bash", "sed", "dirname", "cmp", "ln", "cp", "mv", "rm", "find", "grep",
                     "mkdir", "env", "cat"):  # fmt: skip
            (self.bin / tool).symlink_to(shutil.which(tool))

    def add_program(self, name, body=""):
        program = self.bin / name
        program.write_text(STAND_IN + body)
        program.chmod(0o755)

    def copy_weights(self):
        shutil.copytree(FALCON_TINY, self.weights)

    def make(self, preset="falcon-tiny", checkpoint=None, **parts):
        model = {"preset": preset, "checkpoint": checkpoint or str(self.weights)}
        target = {"prefill": 64, "total": 128, "tp": 2}
        recipe = {"version": 2, "model": model, "target": target, **parts}
        return create(self.root, json.dumps(recipe))

    def run(self, script, *arguments, cwd=None, **variables):
        return subprocess.run(
            [self.root / "scripts" / script, *arguments],
            cwd=cwd or self.folder,
            env={"PATH": str(self.bin), "CALLS": str(self.calls_path), **variables},
            capture_output=True,
            text=True,
        )

    def calls(self):
        if not self.calls_path.exists():
            return []
        return [json.loads(line) for line in self.calls_path.read_text().splitlines()]


# SC2016, SC1003: expressions in single quotes, a backslash before one. Names are literal, so yes.
ABOUT_ODD_NAMES = "--exclude=SC2016,SC1003"


@pytest.mark.parametrize("preset", ["falcon-tiny", "falcon-7b", "falcon-40b"])
@pytest.mark.parametrize(
    ("checkpoint", "options"),
    [
        ("/path/to/x", []),
        ("../the 'weights", []),
        ('/a b/$(c)`d`"e\\', [ABOUT_ODD_NAMES]),
    ],
)
def test_shellcheck_has_nothing_to_say(world, preset, checkpoint, options):
    world.make(preset, checkpoint, quantization={"separate_pass": True})
    scripts = sorted(world.root.glob("scripts/*.sh"))
    assert len(scripts) == (3 if preset == "falcon-tiny" else 4)
    done = subprocess.run([SHELLCHECK, *options, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", ["download.sh", "prepare.sh", "compile.sh", "serve.sh"])
def test_usage(world, script):
    world.make("falcon-7b")
    shown = world.run(script, "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"usage: scripts/{script}")
    assert world.run(script, "--nonsense").returncode == 2


def test_download_takes_one_pattern_a_call_and_no_pickle(world):
    world.make("falcon-7b")
    world.add_program("hf", HF)
    done = world.run("download.sh", HF_ENDPOINT="https://mirror.example/")
    assert done.returncode == 0, done.stderr
    calls = [call for call in world.calls() if call[0][0] == "download"]
    assert [arguments[arguments.index("--include") + 1] for arguments, _, _ in calls] == [
        "*.json",
        "tokenizer*",
        "*.safetensors",
    ]
    for arguments, _, endpoint in calls:
        assert arguments[:2] == ["download", "tiiuae/falcon-7b"]
        assert arguments[arguments.index("--local-dir") + 1] == str(world.weights)
        assert endpoint == "https://mirror.example"
    assert (world.weights / "config.json").exists()


def test_download_goes_to_a_folder_that_is_named(world):
    world.make("falcon-7b", "/path/to/falcon-7b")
    world.add_program("huggingface-cli", HF)
    assert world.run("download.sh").returncode == 2
    done = world.run("download.sh", "here")
    assert (done.returncode, "compares no checksums" in done.stderr) == (0, True)
    assert (world.folder / "here" / "model.safetensors").exists()


def test_download_says_what_it_needs_and_what_did_not_come(world):
    world.make("falcon-7b")
    without = world.run("download.sh")
    assert without.returncode == 2
    assert "pip install huggingface_hub" in without.stderr
    assert not world.weights.exists()
    world.add_program("hf", HF)
    pickled = world.run("download.sh", HF_HAS="*.bin")
    assert pickled.returncode == 1
    assert "*.safetensors did not arrive" in pickled.stderr


@pytest.mark.parametrize("option", [[], ["--copy"]])
def test_prepare_places_both_files_and_can_be_run_again(world, option):
    world.copy_weights()
    world.make()
    for word in ("placed", "there already"):
        done = world.run("prepare.sh", *option)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(word) == 2
        for name in ("modeling_falcon_vacc.py", "config_vacc.json"):
            ours, placed = world.root / "source_code" / name, world.weights / name
            assert placed.read_bytes() == ours.read_bytes()
            assert placed.is_symlink() == (not option)


def test_prepare_keeps_a_file_that_differs_unless_forced(world):
    world.copy_weights()
    world.make()
    theirs = world.weights / "config_vacc.json"
    theirs.write_text("theirs")
    kept = world.run("prepare.sh")
    assert kept.returncode == 1
    assert str(theirs) in kept.stderr
    assert theirs.read_text() == "theirs"
    assert not (world.weights / "modeling_falcon_vacc.py").exists()
    assert world.run("prepare.sh", "--force", "--copy", str(world.weights)).returncode == 0
    assert theirs.read_text() != "theirs"
    assert {path.name for path in world.weights.glob("*partial*")} == set()


def test_prepare_replaces_a_broken_link_only_when_forced(world):
    world.copy_weights()
    world.make()
    link = world.weights / "config_vacc.json"
    link.symlink_to("nowhere")
    assert world.run("prepare.sh").returncode == 1
    assert world.run("prepare.sh", "--force").returncode == 0
    assert link.exists()


def test_prepare_needs_the_weights(world):
    world.make()
    done = world.run("prepare.sh")
    assert done.returncode == 2
    assert str(world.weights) in done.stderr


def test_a_checkpoint_beside_the_workspace_is_found_from_anywhere(world):
    world.copy_weights()
    world.make(checkpoint=f"../{world.weights.name}")
    assert world.run("prepare.sh", cwd="/").returncode == 0
    assert (world.weights / "config_vacc.json").exists()


def test_compile_runs_each_config_in_the_workspace(world):
    world.make()
    world.add_program("vamc", VAMC)
    done = world.run("compile.sh", cwd="/")
    assert done.returncode == 0, done.stderr
    assert world.calls() == [
        [["compile", "build/hf_falcon_fp16.yaml"], str(world.root), None],
        [["compile", "build/hf_falcon_int8.yaml"], str(world.root), None],
    ]


def test_compile_quantizes_first_where_the_recipe_asks(world):
    world.make(quantization={"separate_pass": True})
    world.add_program("vamc", VAMC)
    assert world.run("compile.sh", "int8").returncode == 0
    assert [arguments for arguments, _, _ in world.calls()] == [
        ["quant", "build/hf_falcon_int8.yaml"],
        ["compile", "build/hf_falcon_int8.yaml"],
    ]


def test_compile_gives_a_large_model_a_large_stack(world):
    world.make("falcon-40b")
    world.add_program("vamc", VAMC)
    assert world.run("compile.sh", "fp16").returncode == 0
    assert world.run("compile.sh", "fp16", VACC_STACK_SIZE="512").returncode == 0
    assert [size for _, _, size in world.calls()] == ["256", "512"]


def test_compile_fails_where_nothing_was_made(world):
    world.make()
    without = world.run("compile.sh")
    assert without.returncode == 2
    assert "vamc is not on the PATH" in without.stderr
    world.add_program("vamc", VAMC)
    done = world.run("compile.sh", VAMC_MAKES_NOTHING="1")
    assert done.returncode == 1
    assert "vamc left no mod*" in done.stderr
    assert len(world.calls()) == 1


def test_compile_fails_as_vamc_does(world):
    world.make()
    world.add_program("vamc", "sys.exit(7)")
    assert world.run("compile.sh").returncode == 7


def test_compile_does_not_start_on_a_placeholder(world):
    world.make(checkpoint="/path/to/falcon-tiny")
    world.add_program("vamc", VAMC)
    done = world.run("compile.sh")
    assert done.returncode == 2
    assert "frontend.checkpoint" in done.stderr
    assert world.calls() == []


def test_serve_hands_over_folder_dies_and_options(world):
    world.make()
    world.add_program("vamc", VAMC)
    world.add_program("vastgenx")
    assert world.run("serve.sh", "int8").returncode == 2  # not compiled yet
    assert world.run("compile.sh").returncode == 0
    world.calls_path.unlink()
    done = world.run("serve.sh", "int8", "--batch_size", "4", VACC_PORT="9001")
    assert done.returncode == 0, done.stderr
    name = f"{world.weights.name}-int8-tp2-64-128"
    assert world.calls()[0][0] == [
        "serve",
        *("--model", str(world.root / "vacc_deploy" / name)),
        *("--host", "127.0.0.1"),
        *("--port", "9001"),
        *("--llm_devices", "[0,1]"),
        *("--batch_size", "4"),
    ]


VISION = {"precisions": ["fp16"], "target": {"prefill": 2048, "total": 4096, "tp": 2}}


def test_a_model_that_reads_images_is_compiled_and_served_in_two_halves(world):
    world.make("Qwen2.5-VL-3B-Instruct", **VISION)
    world.add_program("vamc", VAMC)
    world.add_program("vastgenx")
    assert world.run("compile.sh").returncode == 0
    assert world.calls() == [
        [["compile", "build/qwen2_5_vl_llm.yaml"], str(world.root), "256"],
        [["compile", "build/qwen2_5_vl_visual.yaml"], str(world.root), "256"],
    ]
    world.calls_path.unlink()
    done = world.run("serve.sh", "--min_pixels", "78400")
    assert done.returncode == 0, done.stderr
    made = world.root / "vamc_results"
    assert world.calls()[0][0][1:] == [
        *("--model", str(made / f"{world.weights.name}-fp16-tp2-2048-4096")),
        *("--host", "127.0.0.1"),
        *("--port", "9000"),
        *("--llm_devices", "[0,1]"),
        *("--vit_model", str(made / f"{world.weights.name}-visual-fp16-4096")),
        *("--vit_devices", "[2]"),
        *("--max_pixels", "802816"),
        *("--min_pixels", "78400"),
    ]


def test_scripts_of_both_halves_are_clean_and_say_what_is_missing(world):
    world.make("Qwen2.5-VL-3B-Instruct", **VISION)
    scripts = sorted(world.root.glob("scripts/*.sh"))
    done = subprocess.run([SHELLCHECK, ABOUT_ODD_NAMES, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    made = world.root / "vamc_results" / f"{world.weights.name}-fp16-tp2-2048-4096"
    made.mkdir(parents=True)
    without = world.run("serve.sh")
    assert without.returncode == 2
    assert "-visual-fp16-4096" in without.stderr


def test_scripts_need_nothing_of_ours(world):
    """Neither vacc-gen nor an absolute path of the machine that wrote them."""
    world.make("falcon-7b", "/path/to/falcon-7b")
    for script in (world.root / "scripts").iterdir():
        assert os.access(script, os.X_OK)
        text = script.read_text()
        assert "vacc_gen" not in text
        assert str(world.folder) not in text
