"""The vendor's compiler, run as a program. It reads the checkpoint and does its own export."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from vacc_gen.generator.backends.base import Build, Outcome, Skip, Stage, Step
from vacc_gen.generator.backends.process import last_lines, run_logged
from vacc_gen.generator.plan import CompileJob, needs_large_stack, quantizes_first
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError

EXECUTABLE = "vamc"
SHOWN_LOG_LINES = 15
LARGE_STACK = {"VACC_STACK_SIZE": "256"}

_SKIPPED = {
    Stage.CALIBRATE: "vamc reads the set itself",
    Stage.EXPORT: "vamc reads the checkpoint",
    Stage.VERIFY: "the card alone can run it",
}


class Vamc:
    """Runs `vamc quant` and `vamc compile` in the workspace."""

    name = "vamc"

    def check(self, build: Build) -> tuple[str, ...]:
        """Refuse a machine without vamc; note what the weight folder still lacks.

        Raises:
            StageError: there is no `vamc` on the PATH, or it makes none of the jobs.
        """
        if shutil.which(EXECUTABLE) is None:
            raise StageError(
                "vamc, the vendor's compiler, is not on the PATH",
                "activate the environment that it is installed in, or build with "
                "--backend onnxruntime",
            )
        if not any(job.is_for_vamc for job in build.jobs):
            raise StageError(
                f"vamc makes no {' or '.join(job.precision.value for job in build.jobs)}",
                "build it with --backend onnxruntime",
            )
        wanted = build.plan.preset.beside_weights()
        absent = [name for name in wanted if not (build.weights.path / name).is_file()]
        if not absent:
            return ()
        return (f"{build.weights.path} lacks {', '.join(absent)}: run scripts/prepare.sh",)

    def step(self, stage: Stage, job: CompileJob, build: Build) -> Step | Skip:
        """`vamc quant` where the recipe asks for it, then `vamc compile`."""
        if not job.is_for_vamc:
            return Skip(f"vamc makes no {job.precision.value}")
        if stage is Stage.QUANTIZE:
            if not quantizes_first(build.plan, job):
                return Skip("vamc compile does it")
            verb = "quant"
        elif stage is Stage.COMPILE:
            verb = "compile"
        else:
            return Skip(_SKIPPED[stage])
        # A vision tower is compiled right after the one job of its language model.
        tower = build.plan.tower if verb == "compile" else None
        parts = (job,) if tower is None else (job, tower)
        inputs = {
            "config": [(build.root / one.config_path).read_text(encoding="utf-8") for one in parts],
            "checkpoint": build.checkpoint_key,
            "compiler": _identity(),
        }
        return Step(inputs, lambda progress: _run_all(verb, parts, build, progress))


def output_dir(job: CompileJob, build: Build) -> Path:
    """Where the compile config on disk, which may have been edited, says that the model goes."""
    config = yaml.safe_load((build.root / job.config_path).read_text(encoding="utf-8"))
    return Path(build.root, config["workspace"]["path"], config["name"])


def compiled_files(folder: Path, since_ns: int) -> tuple[Path, ...]:
    """What the compiler left: all files of every `mod*` in `folder`, or none.

    A language model may have one folder for each length and rank in between
    (`prefill_1024_rank0/mod*`). None counts where all are empty or older than `since_ns`.
    """
    modules = [*folder.glob("mod*"), *folder.glob("prefill_*/mod*"), *folder.glob("decode_*/mod*")]
    files = [
        file
        for module in modules
        for file in (module.rglob("*") if module.is_dir() else [module])
        if file.is_file()
    ]
    fresh = any(s.st_size and s.st_mtime_ns >= since_ns for s in (file.stat() for file in files))
    return tuple(sorted(files)) if fresh else ()


def _run_all(verb: str, parts: Sequence[CompileJob], build: Build, progress: Progress) -> Outcome:
    done = [_run(verb, part, build, progress) for part in parts]
    return Outcome(
        tuple(file for one in done for file in one.files),
        details=done[0].details,
        child_peak_rss_bytes=max(one.child_peak_rss_bytes for one in done),
    )


def _run(verb: str, job: CompileJob, build: Build, progress: Progress) -> Outcome:
    log = build.state_dir / "logs" / f"{job.name}.{verb}.log"
    command = [EXECUTABLE, verb, str(job.config_path)]
    progress.start(" ".join(command))
    # Whole seconds: some file systems keep no finer times.
    since_ns = int(time.time()) * 10**9
    environment = {**(LARGE_STACK if needs_large_stack(build.plan) else {}), **os.environ}
    finished = run_logged(command, cwd=build.root, env=environment, log=log, say=progress.say)
    if finished.exit_code != 0:
        raise StageError(_failure(command, finished.exit_code, log), f"the whole log is in {log}")
    files: tuple[Path, ...] = ()
    if verb == "compile":
        files = compiled_files(output_dir(job, build), since_ns)
        if not files:
            raise StageError(
                f"{' '.join(command)} ended well and left nothing: no new mod* in "
                f"{output_dir(job, build)}",
                f"its log is in {log}",
            )
    return Outcome(
        files,
        details={"log": log.relative_to(build.root).as_posix()},
        child_peak_rss_bytes=finished.peak_rss_bytes,
    )


def _failure(command: list[str], exit_code: int, log: Path) -> str:
    ended = f"was killed by signal {-exit_code}" if exit_code < 0 else f"exited {exit_code}"
    tail = [f"  {line}" for line in last_lines(log, SHOWN_LOG_LINES)]
    said = ["; the end of its log:", *tail] if tail else [" and said nothing"]
    return f"{' '.join(command)} {ended}" + "\n".join(said)


def _identity() -> str:
    """Which vamc it is, without asking it: the program's path, size and time."""
    path = Path(shutil.which(EXECUTABLE) or EXECUTABLE).resolve()
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"
