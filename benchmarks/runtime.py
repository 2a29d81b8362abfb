"""A prompt and its answer on a processor: ours against the engines that one would otherwise take.

Ours is built by `vacc-gen new` and `build` from falcon-7b's true widths with random values. Peers
are installed from the package index into environments of their own, which stay for the next time;
one that cannot be is named and left out. llama-cpp-python is compiled there: 10 minutes.

Each run is a process of its own, and they take turns. Prefill is the time from a loaded model to
the first token; memory is anonymous memory at the end, which mapped weights are no part of; "of
reading" is the time that reading the weights once takes at the bandwidth measured here, over the
time a token.

python benchmarks/runtime.py [--shape 40b] [--layers N] [--runs N] [--tokens N] [--threads N]
    [--precision int8 --precision int4] [--peer NAME|none] [--folder DIR] [--environments DIR]
"""

import argparse
import json
import re
import subprocess
import sysconfig
import tempfile
import timeit
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import peers
from checkpoints import SHAPES, make_checkpoint
from processes import output_of, vacc_gen

PROMPT_TOKENS = 120
TEXT = Path(__file__).parents[1] / "tests" / "data" / "texts" / "held_out.txt"
PACKAGES = {"ctranslate2": ["ctranslate2==4.8.*"], "llama.cpp": ["llama-cpp-python", "gguf"]}
ARRAY_BYTES = 1 << 30
GOALS = {"prefill": 0.8, "decode": 0.95, "anonymous": 0.9}


@dataclass(frozen=True)
class Engine:
    """A way to run the model: `command` prints figures, a JSON object on its last line."""

    name: str
    package: str
    command: Sequence[str]
    read_bytes: int
    """Of weights, for a token."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32, help="of the answer, 136 at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", action="append", help="of ours [default: int8]")
    parser.add_argument(
        "--peer", action="append", choices=[*PACKAGES, "none"], help="[default: all]"
    )
    parser.add_argument("--folder", type=Path, help="where to put a few GB for a while")
    kept = Path(tempfile.gettempdir(), "vacc-gen-peers")
    parser.add_argument("--environments", type=Path, default=kept, help="[default: %(default)s]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        size = make_checkpoint(Path(name, "checkpoint"), options.layers, options.shape)
        print(f"falcon-{options.shape}'s widths, {options.layers} layers, {size / 1e9:.2f} GB")
        print(f"{processor()}, {options.threads} threads")
        ids = write_prompt(Path(name))
        engines = build_ours(Path(name), options)
        for peer in () if options.peer == ["none"] else options.peer or PACKAGES:
            try:
                engines.append(prepare(peer, Path(name), ids, options))
            except (OSError, subprocess.SubprocessError) as error:  # noqa: PERF203
                said = str(getattr(error, "stderr", None) or error).strip()
                print(f"{peer}: left out, {said.splitlines()[-1]}")
        before = read_bandwidth(options.threads)
        medians = measure(engines, options.runs)
        after = read_bandwidth(options.threads)
        print(f"memory is read at {before / 1e9:.1f} GB/s before, {after / 1e9:.1f} after")
        print(f"{PROMPT_TOKENS} tokens, then {options.tokens}; medians of {options.runs} runs")
        report(engines, medians, max(before, after))


def write_prompt(folder: Path) -> list[int]:
    """Write prompt.txt, a text of as many tokens as the prompt has, and return them."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "checkpoint" / "tokenizer.json"))
    ids: list[int] = tokenizer.encode(TEXT.read_text()).ids[:PROMPT_TOKENS]
    (folder / "prompt.txt").write_text(tokenizer.decode(ids))
    return ids


def answer_of(compiled: Path, prompt: Path, options: argparse.Namespace) -> list[str]:
    """The command that lets ours answer a prompt, as long as asked, and print figures."""
    counts = ("--max-tokens", options.tokens, "--threads", options.threads)
    return vacc_gen("run", compiled, "--prompt-file", prompt, *counts, "--ignore-eos", "--json")


def build_ours(folder: Path, options: argparse.Namespace) -> list[Engine]:
    """Build the checkpoint in each precision, as far as `compile`."""
    precisions, workspace = options.precision or ["int8"], folder / "falcon"
    chosen = [word for precision in precisions for word in ("--precision", precision)]
    chosen += ["--prefill", 128, "--total", 256, "--out", workspace]
    output_of(vacc_gen("new", "--checkpoint", folder / "checkpoint", *chosen))
    output_of(vacc_gen("build", workspace, "--backend", "onnxruntime", "--until", "compile"))
    engines = []
    for precision in precisions:
        (compiled,) = workspace.glob(f"deploy/*-{precision}-*")
        command = answer_of(compiled, folder / "prompt.txt", options)
        package = f"onnxruntime {version('onnxruntime')}"
        engines.append(Engine(f"ours {precision}", package, command, packed_bytes(compiled)))
    return engines


def prepare(name: str, folder: Path, ids: list[int], options: argparse.Namespace) -> Engine:
    """Install a peer where it is not yet, and convert the checkpoint for it."""
    home, model = options.environments.absolute() / name, folder / name
    python = str(home / "bin" / "python")
    if not (home / "installed").exists():
        print(f"{name}: installing into {home}", flush=True)
        venv.create(home, clear=True, with_pip=True)
        output_of([python, "-m", "pip", "install", "--quiet", *PACKAGES[name]])
        (home / "installed").touch()
    convert = [python, peers.__file__, name, "convert", str(folder / "checkpoint"), str(model)]
    output_of(convert, PYTHONPATH=sysconfig.get_path("purelib"))
    package = PACKAGES[name][0].split("==")[0]
    ask = f"from importlib.metadata import version; print({package!r}, version({package!r}))"
    counts = [json.dumps(ids), str(options.tokens), str(options.threads)]
    command = [python, "-E", peers.__file__, name, "run", str(model), *counts]
    weights = model / "model.bin" if model.is_dir() else model
    return Engine(name, output_of([python, "-c", ask]).strip(), command, weights.stat().st_size)


def packed_bytes(compiled: Path) -> int:
    """Return the bytes of what a session maps of weights.bin, which holds each matrix twice."""
    import onnx

    initializers = onnx.load(compiled / "model.onnx", load_external_data=False).graph.initializer
    entries = (entry for tensor in initializers for entry in tensor.external_data)
    packed = [entry.value.split(";")[1] for entry in entries if entry.key.startswith("prepacked_")]
    return sum(map(int, packed)) or (compiled / "weights.bin").stat().st_size


def read_bandwidth(threads: int) -> float:
    """Return the bytes a second at which `threads` threads read a large array."""
    import torch

    torch.set_num_threads(threads)
    array = torch.ones(ARRAY_BYTES // 4)
    return ARRAY_BYTES / min(timeit.repeat(array.max, number=1))


def measure(engines: Sequence[Engine], runs: int) -> dict[str, dict[str, float]]:
    """Run the engines in turn and return medians; a first round more fills the file cache."""
    rounds = [{engine.name: figures_of(engine) for engine in engines} for _ in range(runs + 1)][1:]
    return {
        name: {key: median(found[name][key] for found in rounds) for key in figures}
        for name, figures in rounds[0].items()
    }


def figures_of(engine: Engine) -> dict[str, float]:
    """Run an engine; times in ms, memory in MiB."""
    found = json.loads(output_of(engine.command).splitlines()[-1])
    assert found["prompt_tokens"] == PROMPT_TOKENS, found
    return {
        "prefill": found["prefill_seconds"] * 1e3,
        "decode": found["decode_seconds"] / (found["tokens"] - 1) * 1e3,
        "anonymous": found["anonymous_bytes"] / 2**20,
        "load": found["load_seconds"] * 1e3,
    }


def report(
    engines: Sequence[Engine], medians: Mapping[str, Mapping[str, float]], bandwidth: float
) -> None:
    """Print a line for each engine, then what our first one is over each peer."""
    print(f"{'':14}{'prefill':>10}{'a token':>10}{'of reading':>12}{'memory':>12}{'load':>10}")
    for engine in engines:
        found = medians[engine.name]
        reading = engine.read_bytes / bandwidth * 1e3 / found["decode"]
        print(
            f"{engine.name:14}{found['prefill']:7.0f} ms{found['decode']:7.1f} ms{reading:12.2f}"
            f"{found['anonymous']:8.0f} MiB{found['load']:7.0f} ms  {engine.package}"
        )
    name, ours = next(iter(medians.items()))
    for peer in (engine.name for engine in engines if engine.name in PACKAGES):
        ratios = [
            f"{key} {ours[key] / medians[peer][key]:.2f} (goal {GOALS[key]})" for key in GOALS
        ]
        print(f"{name} / {peer}: {', '.join(ratios)}")


def processor() -> str:
    """Return the processor's name, and what it has for products of 8-bit integers."""
    described = Path("/proc/cpuinfo").read_text()
    names = re.findall(r"model name\s*: (.*)", described) or ["a processor"]
    return " ".join([names[0], *sorted({*re.findall(r"\b\w+_vnni\b|\bamx_int8\b", described)})])


if __name__ == "__main__":
    main()
