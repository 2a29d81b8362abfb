"""What GPTQ costs, against its arithmetic; `export.py` times rounding to nearest.

The checkpoint is made here: falcon-7b's true widths, random bf16 values, as many layers as asked.
The export is a process of its own. The floor is the method's arithmetic at the speed that a
large product has here just then.

python benchmarks/quantize.py [--layers N] [--windows N] [--seqlen N] [--device cuda]
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATE_SIZE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--seqlen", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="where to put a few GB for a while")
    parser.add_argument("--export", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        print("\n" + json.dumps(export_by_gptq(options) | {"peak_bytes": peak_bytes()}))
        return
    from export import write_checkpoint

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        options.folder = Path(name)
        size_bytes = write_checkpoint(options.folder / "checkpoint", options.layers)
        print(f"{options.layers} layers of falcon-7b's widths, {size_bytes / 1e9:.2f} GB")
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Run GPTQ, and measure the processor's speed before and after."""
    print(f"{options.windows} x {options.seqlen} tokens, 8 bits, groups of 64")
    before = product_speed(options.device)
    figures = run(options)
    after = product_speed(options.device)
    print(f"a product of {RATE_SIZE} x {RATE_SIZE}: {before:.0f} and {after:.0f} GFLOP/s")
    seconds, cpu = (figures[key] / options.layers for key in ("seconds", "cpu"))
    floor = operations(options) / max(before, after) / 1e9
    peak = figures["peak_bytes"] / 2**30
    print(f"{seconds:.1f} s a layer, {cpu:.1f} CPU s, floor {floor:.1f} s, peak {peak:.2f} GiB")
    for row in figures["errors"]:
        print(
            f"  layer {row['layer']} {row['linear']}: {row['gptq'] / row['rtn']:.2f} of rounding's"
        )


def operations(options: argparse.Namespace) -> float:
    """Floating-point operations of a layer: Hessians, their factors, rounding, passes.

    K is a matrix's inputs, M its outputs. A factor takes K^3 / 3, rounding M K^2, the upper half of
    a Hessian tokens x K^2. One pass goes as far as the inputs of dense and 4h_to_h, one through the
    whole layer, but for the last one.
    """
    tokens = options.windows * options.seqlen
    hidden, wide = 4544, 18176
    early, late = ((4672, hidden), (wide, hidden)), ((hidden, hidden), (hidden, wide))
    total = 0.0
    for inputs in (hidden, hidden, wide):  # qkv and h_to_4h share their inputs
        total += inputs**3 / 3 + tokens * inputs**2
    for outputs, inputs in early + late:
        total += outputs * inputs**2
    passes = {early: 2 - 1 / options.layers, late: 1 - 1 / options.layers}
    for shapes, times in passes.items():
        total += times * sum(2 * tokens * outputs * inputs for outputs, inputs in shapes)
    return total


def run(options: argparse.Namespace) -> dict:
    """Export in a process of its own and return its figures."""
    command = [sys.executable, __file__, "--export", "--folder", str(options.folder)]
    for name in ("windows", "seqlen", "device", "layers"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def peak_bytes() -> int:
    """Peak resident memory; getrusage would count that of the process that started this one."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def timed(work) -> dict:
    """Seconds and CPU seconds of `work`, of which imports are no part."""
    started, cpu_started = time.perf_counter(), time.process_time()
    work()
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu_started}


def product_speed(device: str) -> float:
    """Return the GFLOP/s of a large product."""
    import torch

    left = torch.randn(RATE_SIZE, RATE_SIZE, device=device)
    least = min(timed(lambda: (left @ left)[0, 0].item())["seconds"] for _ in range(5))
    return 2 * RATE_SIZE**3 / least / 1e9


def export_by_gptq(options) -> dict:
    """Export int8, on random windows whose words are as frequent as real ones."""
    from importlib.resources import files

    import torch

    from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
    from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import GptqQuantizer
    from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
    from vacc_gen.generator.progress import SilentProgress
    from vacc_gen.schema.precision import Quantization

    draw = torch.rand(options.windows, options.seqlen, generator=torch.Generator().manual_seed(0))
    windows = (12 * torch.exp(draw * math.log(65024 / 12))).int().clamp_max(65023)
    checkpoint, out = open_checkpoint(options.folder / "checkpoint"), options.folder / "out"
    quantizer = GptqQuantizer(
        Path(str(files("vacc_gen.generator"))) / "templates" / "modeling_falcon_vacc.py",
        checkpoint,
        windows,
        Quantization(device=options.device),
        options.folder / "work",
        SilentProgress(),
    )
    chosen = {"dtype": "int8", "lengths": Lengths(1024, 2048), "quantizer": quantizer}
    figures = timed(lambda: export_graphs(checkpoint, out, **chosen))
    return figures | {"errors": quantizer.errors}


if __name__ == "__main__":
    main()
