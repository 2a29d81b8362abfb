"""What an export costs against its limit: one sequential read, cast and write of as many bytes.

The checkpoint is made here: falcon-7b's true widths, random bf16 values, as many layers as asked.
Each figure comes from processes of its own that take turns, so that both sides see the same disk.
An int8 export is held against a bare run that rounds with the same kernel as it does.

python benchmarks/export.py [--layers N] [--runs N] [--folder DIR]
"""

import argparse
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FALCON_7B = {
    "model_type": "falcon",
    "hidden_size": 4544,
    "num_attention_heads": 71,
    "num_kv_heads": 71,
    "multi_query": True,
    "parallel_attn": True,
    "vocab_size": 65024,
}
PREFILL_TOKENS, TOTAL_TOKENS = 1024, 2048
CHUNK_BYTES = 8 << 20
DTYPES = ("fp16", "fp32", "int8")
GROUP_SIZE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put a few GB for a while")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        measure(*options.work)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        checkpoint_bytes = write_checkpoint(folder / "checkpoint", options.layers)
        print(
            f"falcon-7b's widths, {options.layers} layers, {checkpoint_bytes / 1e9:.2f} GB of bf16"
        )
        compare(folder, checkpoint_bytes, options.runs)


def compare(folder: Path, checkpoint_bytes: int, runs: int) -> None:
    """Run all kinds in turn, each export beside its bare run, and print the least of each."""
    kinds = [(kind, dtype) for dtype in DTYPES for kind in ("bare", "export")]
    taken: dict[tuple[str, str], list[dict[str, float]]] = {kind: [] for kind in kinds}
    print(f"load before {os.getloadavg()[0]:.1f}", flush=True)
    for round_number in range(runs):
        # In turn also as to which comes first: a file that was just removed leaves memory behind.
        for kind, dtype in kinds[:: 1 if round_number % 2 else -1]:
            out = folder / "out"
            command = [sys.executable, __file__, "--work", kind, dtype, str(folder / "checkpoint")]
            done = subprocess.run([*command, str(out)], check=True, stdout=subprocess.PIPE)
            taken[kind, dtype].append(json.loads(done.stdout))
            shutil.rmtree(out)
    print(f"load after {os.getloadavg()[0]:.1f}")

    def least(kind: str, dtype: str, figure: str) -> float:
        return min(run[figure] for run in taken[kind, dtype])

    print(f"least of {runs} runs in turn; imports count for memory, not for time")
    print(
        f"{'':14}{'seconds':>9}{'bare s':>9}{'of bare':>9}{'CPU of bare':>13}"
        f"{'peak MB':>9}{'of checkpoint':>15}{'written':>9}"
    )
    for dtype in DTYPES:
        seconds, bare = (least(kind, dtype, "seconds") for kind in ("export", "bare"))
        cpu, bare_cpu = (least(kind, dtype, "cpu_seconds") for kind in ("export", "bare"))
        peak_bytes = max(run["peak_bytes"] for run in taken["export", dtype])
        written_bytes = least("export", dtype, "written_bytes")
        print(
            f"export {dtype:7}{seconds:9.2f}{bare:9.2f}{seconds / bare:9.2f}{cpu / bare_cpu:13.2f}"
            f"{peak_bytes / 1e6:9.0f}{peak_bytes / checkpoint_bytes:15.2f}"
            f"{written_bytes / checkpoint_bytes:9.2f}"
        )


def measure(kind: str, dtype: str, checkpoint: str, out: str) -> None:
    """Do one kind of work in this process and print what it cost, as JSON."""
    import torch  # noqa: F401

    from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
    from vacc_gen.generator.backends.onnxruntime.graph.falcon import falcon_graph  # noqa: F401
    from vacc_gen.generator.backends.onnxruntime.weights.quantize import round_to_nearest  # noqa: F401
    from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
    from vacc_gen.generator.build.runner import peak_rss_bytes

    started, cpu_started = time.perf_counter(), time.process_time()
    if kind == "bare":
        read_cast_write(Path(checkpoint), Path(out), dtype)
    else:
        lengths = Lengths(PREFILL_TOKENS, TOTAL_TOKENS)
        export_graphs(open_checkpoint(Path(checkpoint)), Path(out), dtype=dtype, lengths=lengths)
    figures = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu_started,
        "peak_bytes": peak_rss_bytes(),
        "written_bytes": sum(file.stat().st_size for file in Path(out).iterdir()),
    }
    print(json.dumps(figures))


def read_cast_write(checkpoint: Path, out: Path, dtype: str) -> None:
    """The limit: every shard from end to end, bf16 to `dtype`, in chunks, by one thread."""
    import torch

    torch.set_num_threads(1)
    out.mkdir()
    # A tensor's own memory is aligned; reading into a bytearray took nearly twice the CPU.
    source = torch.empty(CHUNK_BYTES // 2, dtype=torch.bfloat16)
    buffer = memoryview(source.view(torch.uint8).numpy())
    convert = CONVERTERS[dtype](torch)
    with (out / "weights.bin").open("wb", buffering=0) as written:
        for shard in sorted(checkpoint.glob("*.safetensors")):
            with shard.open("rb", buffering=0) as stream:
                while count := stream.readinto(buffer) // (2 * GROUP_SIZE) * GROUP_SIZE:
                    for part in convert(source[:count]):
                        written.write(memoryview(part.view(-1).numpy()).cast("B"))


def caster(torch, dtype):
    """What casts a chunk into one buffer."""
    cast = torch.empty(CHUNK_BYTES // 2, dtype=dtype)
    return lambda source: (cast[: len(source)].copy_(source),)


def rounder():
    """What makes codes and scales of a chunk."""
    from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid, round_to_nearest

    grid = Grid(8, GROUP_SIZE)
    return lambda source: round_to_nearest(source.view(-1, GROUP_SIZE), grid)


CONVERTERS = {
    "fp16": lambda torch: caster(torch, torch.float16),
    "fp32": lambda torch: caster(torch, torch.float32),
    "int8": lambda torch: rounder(),
}


def write_checkpoint(folder: Path, layers: int) -> int:
    """Write a random checkpoint in one shard a layer, and return its size in bytes."""
    import torch

    from vacc_gen.schema.falcon import architecture_from_config

    folder.mkdir()
    config = {**FALCON_7B, "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config))
    shapes = architecture_from_config(config).parameters()
    names = list(shapes)
    names_per_shard = math.ceil(len(names) / layers)
    weight_map, total_bytes = {}, 0
    for first in range(0, len(names), names_per_shard):
        shard = f"model-{first:05}.safetensors"
        header, end = {}, 0
        part = names[first : first + names_per_shard]
        for name in part:
            weight_map[name] = shard
            begin, end = end, end + 2 * math.prod(shapes[name])
            header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        with (folder / shard).open("wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text)
            for name in part:
                rest = math.prod(shapes[name])
                while rest:
                    values = torch.randn(min(rest, CHUNK_BYTES)).mul_(0.02).bfloat16()
                    stream.write(values.view(torch.int16).numpy())
                    rest -= values.numel()
        total_bytes += (folder / shard).stat().st_size
    index = {"metadata": {"total_size": total_bytes}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return total_bytes


if __name__ == "__main__":
    main()
