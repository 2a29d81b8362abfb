"""What GPTQ costs, against its arithmetic; `export.py` times rounding to nearest.

The checkpoint is made here: falcon-7b's true widths, random bf16 values, as many layers as asked.
The floor is the method's arithmetic at the speed that a large product has here just then.

python benchmarks/quantize.py [--layers N] [--windows N] [--seqlen N] [--device cuda]
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from checkpoints import make_checkpoint

RATE_SIZE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--seqlen", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="where to put a few GB for a while")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        options.folder = Path(name)
        size_bytes = make_checkpoint(options.folder / "checkpoint", options.layers)
        print(f"{options.layers} layers of falcon-7b's widths, {size_bytes / 1e9:.2f} GB")
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Run GPTQ, and measure the processor's speed before and after."""
    from vacc_gen.generator.progress import peak_rss_bytes, reset_peak_rss

    print(f"{options.windows} x {options.seqlen} tokens, 8 bits, groups of 64")
    before = product_speed(options.device)
    reset_peak_rss()
    seconds, cpu = export_by_gptq(options)
    peak = peak_rss_bytes() / 2**30
    after = product_speed(options.device)
    print(f"a product of {RATE_SIZE} x {RATE_SIZE}: {before:.0f} and {after:.0f} GFLOP/s")
    floor = operations(options) / max(before, after) / 1e9
    print(
        f"{seconds / options.layers:.1f} s a layer, {cpu / options.layers:.1f} CPU s, "
        f"floor {floor:.1f} s, peak {peak:.2f} GiB"
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


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and CPU seconds of `work`, of which imports are no part."""
    started, cpu_started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu_started


def product_speed(device: str) -> float:
    """Return the GFLOP/s of a large product."""
    import torch

    left = torch.randn(RATE_SIZE, RATE_SIZE, device=device)
    least, _ = min(timed(lambda: (left @ left)[0, 0].item()) for _ in range(5))
    return 2 * RATE_SIZE**3 / least / 1e9


def export_by_gptq(options: argparse.Namespace) -> tuple[float, float]:
    """Export int8, on random windows whose words are as frequent as real ones.

    Return its seconds and its CPU seconds.
    """
    from importlib.resources import files

    import torch

    from vacc_gen.generator.backends.onnxruntime.export import Lengths, plan_export
    from vacc_gen.generator.backends.onnxruntime.weights.gptq import GptqQuantizer
    from vacc_gen.generator.backends.onnxruntime.weights.source import checkpoint_of
    from vacc_gen.generator.progress import Progress
    from vacc_gen.schema.lint.check import open_weights
    from vacc_gen.schema.recipe import Quantization

    draw = torch.rand(options.windows, options.seqlen, generator=torch.Generator().manual_seed(0))
    windows = (12 * torch.exp(draw * math.log(65024 / 12))).int().clamp_max(65023)
    weights, _ = open_weights(options.folder / "checkpoint")
    checkpoint, out = checkpoint_of(weights), options.folder / "out"
    quantizer = GptqQuantizer(
        Path(str(files("vacc_gen.generator"))) / "templates" / "modeling_falcon_vacc.py",
        checkpoint,
        windows,
        Quantization(device=options.device),
        options.folder / "work",
        Progress(),
    )
    export = plan_export(checkpoint, "int8", Lengths(1024, 2048))
    return timed(lambda: export.write(out, quantizer=quantizer))


if __name__ == "__main__":
    main()
