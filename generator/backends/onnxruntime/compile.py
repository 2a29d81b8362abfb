"""The embedded compile stage: both graphs are loaded and run once, then published as a folder."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

from vacc_gen.generator.backends.base import Build, Outcome
from vacc_gen.generator.backends.onnxruntime.model import (
    KV_CACHE_FILE,
    MANIFEST_FILE,
    OnnxRuntimeModel,
)
from vacc_gen.generator.files import remove_leftovers, replace_folder, write_atomically
from vacc_gen.generator.plan import CompileJob
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.errors import StageError

MANIFEST_VERSION = 1
TRIAL_TOKEN = 0


def compile_job(build: Build, job: CompileJob, progress: Progress) -> Outcome:
    """Try the exported folder of `job`, and move it with its manifest to deploy/.

    Raises:
        UnreadableError: ONNX Runtime cannot load a graph.
        StageError: a graph runs and its logits are not numbers.
    """
    target = build.deploy_dir(job)
    # A build that was stopped just after the move has left the folder there.
    folder = next(place for place in (build.work_dir(job), target) if place.is_dir())
    progress.start("load both graphs, run a step of each")
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    _try(folder)
    progress.start("publish")
    write_atomically(folder / MANIFEST_FILE, _manifest(build, job, folder))
    if folder != target:
        remove_leftovers(target)
        replace_folder(folder, target)
    return Outcome(tuple(sorted(target.iterdir())))


def _try(folder: Path) -> None:
    model = OnnxRuntimeModel(folder, one_session=True)
    for graph, logits in (
        ("prefill", model.prefill([TRIAL_TOKEN])),
        ("decode", model.decode(TRIAL_TOKEN)),
    ):
        if not np.isfinite(logits).all():
            raise StageError(
                f"the {graph} graph in {folder} computes logits that are not numbers",
                "values of the checkpoint may be beyond fp16; see overflowed in report.json",
            )


def _manifest(build: Build, job: CompileJob, folder: Path) -> str:
    content = {
        "version": MANIFEST_VERSION,
        "name": job.name,
        "precision": job.precision.value,
        "tool": f"vacc-gen {version('vacc-gen')}",
        "checkpoint": build.weights.fingerprint(),
        "recipe": build.plan.recipe.model_dump(mode="json"),
        **_kv_cache(folder),
        "artifacts": [
            {"path": file.name, "bytes": file.stat().st_size, "sha256": build.digest(file)}
            for file in sorted(folder.iterdir())
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _kv_cache(folder: Path) -> dict[str, object]:
    """The scales of an int8 cache and where they are from, as export wrote them down."""
    file = folder / KV_CACHE_FILE
    return {"kv_cache": json.loads(file.read_bytes())} if file.is_file() else {}
