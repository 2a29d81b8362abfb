"""What an export costs against its limit: one sequential read, cast and write of as many bytes.

The checkpoint is made here: falcon-7b's true widths, random bf16 values, as many layers as asked.
Both sides are whole processes that take turns, so that they see the same disk; what importing
torch and onnx takes is subtracted from both. int8 is held against a bare run of the same rounding.

python benchmarks/export.py [--layers N] [--runs N] [--folder DIR]
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from checkpoints import make_checkpoint
from processes import Cost, run, vacc_gen

CHUNK_BYTES = 8 << 20
GROUP_SIZE = 64
DTYPES = ("fp16", "int8")
KINDS = ("export", "bare")
IMPORTS = "import torch, onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put a few GB for a while")
    parser.add_argument("--bare", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        read_cast_write(*options.bare)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        checkpoint_bytes = make_checkpoint(Path(name, "checkpoint"), options.layers)
        print(f"falcon-7b's widths, {options.layers} layers, {checkpoint_bytes / 1e9:.2f} GB")
        costs = measure(Path(name), options.runs)
    report(costs, checkpoint_bytes)


def measure(folder: Path, runs: int) -> dict[str, list[Cost]]:
    """Run the imports, and each export beside its bare run, in turn."""
    checkpoint, out = str(folder / "checkpoint"), str(folder / "out")
    commands = {IMPORTS: [sys.executable, "-c", IMPORTS]}
    for dtype in DTYPES:
        commands[f"bare {dtype}"] = [sys.executable, __file__, "--bare", checkpoint, out, dtype]
        export = vacc_gen("export", checkpoint, "--out", out, "--dtype", dtype)
        commands[f"export {dtype}"] = [*export, "--prefill", "1024", "--total", "2048"]
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(runs):
        # In turn also as to which comes first: a file that was just removed leaves memory behind.
        for name in [*commands][:: 1 if number % 2 else -1]:
            costs[name].append(run(commands[name]))
            shutil.rmtree(out, ignore_errors=True)
    return costs


def report(costs: dict[str, list[Cost]], checkpoint_bytes: int) -> None:
    """Print medians beyond the imports, as ratios."""

    def beyond(figure: str, name: str) -> float:
        mine, imports = (median(getattr(c, figure) for c in costs[key]) for key in (name, IMPORTS))
        return mine - imports

    print(f"{'':14}{'seconds':>9}{'of bare':>9}{'CPU of bare':>13}{'peak of checkpoint':>20}")
    for dtype in DTYPES:
        wall, bare_wall = (beyond("wall_seconds", f"{kind} {dtype}") for kind in KINDS)
        cpu, bare_cpu = (beyond("cpu_seconds", f"{kind} {dtype}") for kind in KINDS)
        peak = max(cost.peak_rss_bytes for cost in costs[f"export {dtype}"]) / checkpoint_bytes
        print(
            f"export {dtype:7}{wall:9.2f}{wall / bare_wall:9.2f}{cpu / bare_cpu:13.2f}{peak:20.2f}"
        )


def read_cast_write(checkpoint: str | Path, out: str | Path, dtype: str) -> None:
    """The limit: every shard from end to end, bf16 to `dtype`, in chunks, by one thread."""
    import torch

    from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid, round_to_nearest

    torch.set_num_threads(1)
    Path(out).mkdir()
    # A tensor's own memory is aligned; reading into a bytearray took nearly twice the CPU.
    source = torch.empty(CHUNK_BYTES // 2, dtype=torch.bfloat16)
    half = torch.empty(CHUNK_BYTES // 2, dtype=torch.float16)
    buffer = memoryview(source.view(torch.uint8).numpy())
    with Path(out, "weights.bin").open("wb", buffering=0) as written:
        for shard in sorted(Path(checkpoint).glob("*.safetensors")):
            with shard.open("rb", buffering=0) as stream:
                while count := stream.readinto(buffer) // (2 * GROUP_SIZE) * GROUP_SIZE:
                    if dtype == "fp16":
                        parts = [half[:count].copy_(source[:count])]
                    else:
                        rows = source[:count].view(-1, GROUP_SIZE)
                        parts = round_to_nearest(rows, Grid(8, GROUP_SIZE))
                    for part in parts:
                        written.write(memoryview(part.view(-1).numpy()).cast("B"))


if __name__ == "__main__":
    main()
