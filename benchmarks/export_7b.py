"""The whole of falcon-7b, from a checkpoint to text: time and peak memory of each stage.

The checkpoint is made here: true widths, all 32 layers, 13.8 GB of random bf16 values. It is
exported to fp16, and then built, verified and run in int8 and in int4; what is done with is
removed. Goals are for all layers, on two cores. Where the disk or the memory is too small, one
sentence says so and nothing is run.

python benchmarks/export_7b.py [--layers N] [--tokens N] [--threads N] [--folder DIR]
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from checkpoints import make_checkpoint
from processes import output_of, run, vacc_gen
from runtime import answer_of, write_prompt

BYTES_A_LAYER = {"disk": 1.25e9, "memory": 0.3e9}
VERIFY_GOAL = "goal 240 s"
RUN_GOAL = "to the first token, goals 12 s and 8.5 GB; then {:.0f} ms a token"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32, help="of each answer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to put 40 GB for a while")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if has_room(Path(name), options.layers):
            measure(Path(name), options)


def has_room(folder: Path, layers: int) -> bool:
    """Whether the machine has enough disk and memory; says what it lacks."""
    from vacc_gen.generator.progress import available_bytes

    free = {"disk": shutil.disk_usage(folder).free, "memory": available_bytes()}
    for what, needed in ((what, share * layers) for what, share in BYTES_A_LAYER.items()):
        if free[what] < needed:
            print(f"skipped: {needed / 1e9:.1f} GB of {what} needed, {free[what] / 1e9:.1f} free")
            return False
    return True


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Run each stage and print its figures at once: the whole takes most of an hour."""
    checkpoint, workspace, out = folder / "checkpoint", folder / "falcon-7b", folder / "onnx"
    started = time.perf_counter()
    size = make_checkpoint(checkpoint, options.layers)
    print(f"falcon-7b's widths, {options.layers} layers, {size / 1e9:.2f} GB; written", end=" ")
    print(f"in {time.perf_counter() - started:.0f} s\n{'':16}{'seconds':>9}{'peak memory':>14}")
    cost = run(vacc_gen("export", checkpoint, "--out", out))
    show("export fp16", cost.wall_seconds, cost.peak_rss_bytes)
    shutil.rmtree(out)
    precisions = ("int8", "int4")
    chosen = [word for precision in precisions for word in ("--precision", precision)]
    output_of(vacc_gen("new", "--checkpoint", checkpoint, "--out", workspace, *chosen))
    write_prompt(folder)
    for precision in precisions:
        build = ("build", workspace, "--backend", "onnxruntime", "--precision", precision)
        run(vacc_gen(*build), ok=(0, 1))
        for stage in json.loads((workspace / "report.json").read_text())["stages"]:
            if stage["precision"] and stage["status"] in ("done", "failed"):
                note = VERIFY_GOAL if stage["name"] == "verify" else ""
                name = f"{stage['name']} {precision}"
                show(name, stage["seconds"], stage["peak_rss_bytes"], stage.get("reason", note))
        (compiled,) = workspace.glob(f"deploy/*-{precision}-*")
        for name in ("run", "again"):  # the second finds the weights in the file cache
            started = time.perf_counter()
            found = json.loads(output_of(answer_of(compiled, folder / "prompt.txt", options)))
            first = time.perf_counter() - started - found["decode_seconds"]
            note = RUN_GOAL.format(found["decode_seconds"] / (found["tokens"] - 1) * 1e3)
            show(f"{name} {precision}", first, found["peak_rss_bytes"], note)
        shutil.rmtree(compiled)


def show(name: str, seconds: float, peak_bytes: int, note: str = "") -> None:
    print(f"{name:16}{seconds:9.1f}{peak_bytes / 1e9:11.2f} GB   {note}", flush=True)


if __name__ == "__main__":
    main()
