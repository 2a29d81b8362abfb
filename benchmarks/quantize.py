"""What quantizing costs: rounding against a bare read, round and write; GPTQ against a library.

The checkpoint is made here: falcon-7b's true widths, random bf16 values, as many layers as asked.
Every figure is of a process of its own, and all of one table are of one run. The library is
gptqmodel, run by the Python of `--peer` (an environment of its own: it pins other packages), for as
long as `--peer-limit` at most. The floor is the arithmetic of each method at the speed that a large
product has here just then. The load told is how many processes wanted a processor meanwhile.

python benchmarks/quantize.py rtn [--layers N] [--runs N]
python benchmarks/quantize.py gptq [--layers N] [--windows N] [--seqlen N] [--runs N]
                                   [--peer PYTHON] [--peer-limit SECONDS] [--device cuda]
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GROUP_SIZE = 64
RATE_SIZE = 4096
TOKENIZER = Path(__file__).parents[1] / "tests" / "data" / "falcon-tiny"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["rtn", "gptq", "work"])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--runs", type=int, help="5 of rtn, 1 of gptq, unless told")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--seqlen", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer", help="a Python that has gptqmodel")
    parser.add_argument("--peer-limit", type=float, help="seconds that gptqmodel may take")
    parser.add_argument("--folder", type=Path, help="where to put a few GB for a while")
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "work":
        work(options)
        return
    from export import write_checkpoint

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        options.folder = Path(name)
        checkpoint_bytes = write_checkpoint(options.folder / "checkpoint", options.layers)
        for file in TOKENIZER.glob("tokenizer*.json"):  # the library will not load without one
            shutil.copy(file, options.folder / "checkpoint")
        print(f"{options.layers} layers of falcon-7b's widths, {checkpoint_bytes / 1e9:.2f} GB")
        options.runs = options.runs or {"rtn": 5, "gptq": 1}[options.what]
        print(f"load before {load()}", flush=True)
        compare_rtn(options) if options.what == "rtn" else compare_gptq(options)
        print(f"load after {load()}")


def compare_rtn(options: argparse.Namespace) -> None:
    """Run both in turn and print the least of each."""
    kinds = {"bare read + round + write": "bare", "export int8": "rtn"}
    taken = {name: [] for name in kinds}
    for round_number in range(options.runs):
        # In turn also as to which comes first: a file that was just removed leaves memory behind.
        for name, kind in list(kinds.items())[:: 1 if round_number % 2 else -1]:
            taken[name].append(run(options, kind))
            shutil.rmtree(options.folder / "out")
    print(f"least of {options.runs} runs in turn")
    print(f"{'':28}{'seconds':>10}{'of bare':>10}{'CPU of bare':>13}{'peak MB':>10}")
    bare = {key: min(one[key] for one in taken[next(iter(kinds))]) for key in ("seconds", "cpu")}
    for name, figures in taken.items():
        seconds, cpu = (min(one[key] for one in figures) for key in ("seconds", "cpu"))
        peak = max(one["peak_bytes"] for one in figures)
        print(
            f"{name:28}{seconds:10.2f}{seconds / bare['seconds']:10.2f}"
            f"{cpu / bare['cpu']:13.2f}{peak / 1e6:10.0f}"
        )


def compare_gptq(options: argparse.Namespace) -> None:
    """Run ours and the library in turn, with a measurement of the floor before and after each."""
    print(f"{options.windows} x {options.seqlen} tokens, 8 bits, groups of {GROUP_SIZE}")
    kinds = {"ours": "gptq"} | ({"gptqmodel": "peer"} if options.peer else {})
    taken = {name: [] for name in kinds}
    rates = [run(options, "rate")["gflops"]]
    for _ in range(options.runs):
        for name, kind in kinds.items():
            try:
                taken[name].append(run(options, kind))
            except subprocess.TimeoutExpired as expired:
                print(f"{name} was stopped after {expired.timeout:.0f} s, unfinished")
            rates.append(run(options, "rate")["gflops"])
    told = ", ".join(f"{rate:.0f}" for rate in rates)
    print(f"a product of {RATE_SIZE} x {RATE_SIZE} ran at {told} GFLOP/s before, between and after")
    least = {name: least_of(figures) for name, figures in taken.items() if figures}
    print(f"{'':28}{'s a layer':>12}{'CPU s':>10}{'peak GiB':>10}{'floor s':>10}")
    for name, figures in least.items():
        floor = operations(options, inverts=name != "ours") / max(rates) / 1e9
        seconds, cpu = (figures[key] / options.layers for key in ("seconds", "cpu"))
        peak = figures["peak_bytes"] / 2**30
        print(f"{name:28}{seconds:12.1f}{cpu:10.1f}{peak:10.2f}{floor:10.1f}")
        for line in figures.get("notes", ()):
            print(f"  {line}")
    if len(least) == 2:
        ours, peer = least["ours"], least["gptqmodel"]
        print(
            f"ours takes {ours['seconds'] / peer['seconds']:.2f} of its time, "
            f"{ours['cpu'] / peer['cpu']:.2f} of its CPU time, "
            f"and {ours['peak_bytes'] / peer['peak_bytes']:.2f} of its memory"
        )


def least_of(runs: list[dict]) -> dict:
    """The least time and CPU time of `runs`, and the highest peak."""
    least = {key: min(one[key] for one in runs) for key in ("seconds", "cpu")}
    return runs[0] | least | {"peak_bytes": max(one["peak_bytes"] for one in runs)}


def operations(options: argparse.Namespace, inverts: bool) -> float:
    """Floating-point operations of a layer: Hessians, their factors, rounding, passes.

    K is a matrix's inputs, M its outputs. A factor takes K^3 / 3; with the inverse and its factor,
    4 K^3 / 3. Rounding takes M K^2, the upper half of a Hessian tokens x K^2. One pass goes as far
    as the inputs of dense and 4h_to_h, one through the whole layer, but for the last one.
    """
    tokens = options.windows * options.seqlen
    hidden, wide = 4544, 18176
    early, late = ((4672, hidden), (wide, hidden)), ((hidden, hidden), (hidden, wide))
    total = 0.0
    for inputs in (hidden, hidden, wide):  # qkv and h_to_4h share their inputs
        total += inputs**3 * (4 / 3 if inverts else 1 / 3) + tokens * inputs**2
    for outputs, inputs in early + late:
        total += outputs * inputs**2
    passes = {early: 2 - 1 / options.layers, late: 1 - 1 / options.layers}
    for shapes, times in passes.items():
        total += times * sum(2 * tokens * outputs * inputs for outputs, inputs in shapes)
    return total


def load() -> str:
    """Processes that ran or waited to, over the last one and five minutes."""
    one, five, _ = os.getloadavg()
    return f"{one:.1f} (1 min), {five:.1f} (5 min)"


def run(options: argparse.Namespace, kind: str) -> dict:
    """Do one kind of work in a process of its own and return its figures.

    Raises:
        subprocess.TimeoutExpired: the library did not finish within its limit.
    """
    is_peer = kind == "peer"
    python = options.peer if is_peer else sys.executable
    command = [python, __file__, "work", "--kind", kind, "--folder", str(options.folder)]
    for name in ("windows", "seqlen", "device", "layers"):
        command += [f"--{name}", str(getattr(options, name))]
    limit = options.peer_limit if is_peer else None
    done = subprocess.run(command, check=True, capture_output=True, timeout=limit)
    return json.loads(done.stdout.splitlines()[-1])


def work(options: argparse.Namespace) -> None:
    """Do `options.kind` in this process and print what it cost as JSON, on the last line."""
    import torch

    figures = KINDS[options.kind](torch, options)
    print("\n" + json.dumps(figures | {"peak_bytes": peak_bytes()}))


def clock() -> tuple[float, float]:
    """Seconds, and those of CPU time."""
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float]) -> dict:
    """What it took since `started`, of which imports are no part."""
    seconds, cpu = (now - then for now, then in zip(clock(), started, strict=True))
    return {"seconds": seconds, "cpu": cpu}


def peak_bytes() -> int:
    """Peak resident memory; getrusage would count that of the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def do_rate(torch, options) -> dict:
    """The speed of a large fp32 product."""
    left = torch.randn(RATE_SIZE, RATE_SIZE, device=options.device)
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        (left @ left)[0, 0].item()
        best = max(best, 2 * RATE_SIZE**3 / (time.perf_counter() - started) / 1e9)
    return {"gflops": best}


def do_bare(torch, options) -> dict:
    """Every shard from end to end in one thread: 8 MB read, rounded by our own kernel, written."""
    from export import read_cast_write

    started = clock()
    read_cast_write(options.folder / "checkpoint", options.folder / "out", "int8")
    return since(started)


def do_rtn(torch, options) -> dict:
    """Our export of int8, rounded to nearest."""
    return export(options, None)


def do_gptq(torch, options) -> dict:
    """Our export of int8 by GPTQ."""
    from importlib.resources import files

    from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import GptqQuantizer
    from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
    from vacc_gen.generator.progress import SilentProgress
    from vacc_gen.schema.precision import Quantization

    windows = torch.tensor(token_ids(torch, options), dtype=torch.int32)
    quantizer = GptqQuantizer(
        Path(str(files("vacc_gen.generator"))) / "templates" / "modeling_falcon_vacc.py",
        open_checkpoint(options.folder / "checkpoint"),
        windows,
        Quantization(device=options.device),
        options.folder / "spill",
        SilentProgress(),
    )
    cost = export(options, quantizer)
    notes = [
        f"layer {e.layer} {e.linear}: {e.gptq / e.rtn:.2f} of the error of rounding to nearest"
        for e in quantizer.errors
    ]
    if options.device != "cpu":
        notes.append(f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB of the device's memory")
    shutil.rmtree(options.folder / "out")
    return cost | {"notes": notes}


def export(options: argparse.Namespace, quantizer: object) -> dict:
    """What an export costs; torch and onnx are loaded before."""
    from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
    from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint

    checkpoint = open_checkpoint(options.folder / "checkpoint")
    started = clock()
    export_graphs(
        checkpoint,
        options.folder / "out",
        dtype="int8",
        lengths=Lengths(1024, 2048),
        quantizer=quantizer,
    )
    return since(started)


def do_peer(torch, options) -> dict:
    """gptqmodel on the same checkpoint and tokens."""
    os.environ["GPTQMODEL_CPU_WORKERS"] = "2"  # without it, it does not start on two cores
    from gptqmodel import GPTQModel, QuantizeConfig

    settings = QuantizeConfig(
        bits=8, group_size=GROUP_SIZE, sym=True, desc_act=False, device=options.device
    )
    model = GPTQModel.load(str(options.folder / "checkpoint"), settings)
    ids = token_ids(torch, options)
    data = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids]
    batch = max(1, 2048 // options.seqlen)
    os.chdir(options.folder)  # it writes beside itself
    started = clock()
    model.quantize(data, batch_size=min(batch, len(data)))
    return since(started)


def token_ids(torch, options) -> list[list[int]]:
    """The same random windows for both; their logarithms are even, as ranks of words nearly are."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.windows, options.seqlen)
    draw = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (12 * torch.exp(draw * math.log(65024 / 12))).long().clamp_max(65023).tolist()


KINDS = {"rate": do_rate, "bare": do_bare, "rtn": do_rtn, "gptq": do_gptq, "peer": do_peer}

if __name__ == "__main__":
    main()
