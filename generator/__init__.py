"""What is made, and run. For programs there are `new` and `build`, as the commands of these names.

What they need loads when they are called.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

# Rooms of the same names, which Python binds here when they are first imported, and never again:
# from here on the names are those of the functions, whatever is imported later.
import vacc_gen.generator.build
import vacc_gen.generator.new  # noqa: F401

if TYPE_CHECKING:
    from vacc_gen.generator.build.report import Observer, StageRecord
    from vacc_gen.generator.workspace import Workspace

__all__ = ["build", "new"]

AnyPath = str | os.PathLike[str]
StageName = Literal["preflight", "calibrate", "export", "quantize", "compile", "verify", "report"]


def new(
    model: str | None = None,
    *,
    checkpoint: AnyPath | None = None,
    name: str | None = None,
    out: AnyPath | None = None,
    precision: Sequence[str] = (),
    prefill: int | None = None,
    total: int | None = None,
    tp: int | None = None,
    card: str | None = None,
    calibration: str | None = None,
    optimize_for: Literal["throughput", "latency"] | None = None,
    environment: str | None = None,
    align_qkv: bool = False,
    force: bool = False,
) -> Workspace:
    """Make a workspace; the options are those of `vacc-gen new`, lengths in tokens, `tp` in dies.

    `notes` of the result is what the command says of the choices.

    Raises:
        VaccGenError: a choice is impossible, the weights do not fit, or something stands at `out`.
    """
    from vacc_gen.generator.emit.files import recipe_text
    from vacc_gen.generator.new.choices import Choices
    from vacc_gen.generator.workspace import create
    from vacc_gen.schema.precision import Precision

    choices = Choices(
        model=model,
        checkpoint=None if checkpoint is None else os.fspath(checkpoint),
        name=name,
        out=None if out is None else os.fspath(out),
        precision=tuple(Precision(word).value for word in precision),
        prefill=prefill,
        total=total,
        tp=tp,
        card=card,
        calibration=calibration,
        optimize_for=optimize_for,
        environment=environment,
        align_qkv=align_qkv,
    )
    decision = choices.decide()
    text = recipe_text(decision.recipe, choices.command())
    return replace(create(decision.root, text, force=force), notes=decision.notes)


def build(
    folder: AnyPath,
    *,
    backend: Literal["auto", "onnxruntime", "vamc"] = "auto",
    until: StageName = "report",
    precision: Sequence[str] = (),
    force: bool = False,
    observer: Observer | None = None,
) -> tuple[StageRecord, ...]:
    """Build a workspace as `vacc-gen build` does; return what each stage did, in order.

    It leaves report.json, as a build that fails does. `observer` hears of stages as they run.

    Raises:
        VaccGenError: a stage failed, the workspace cannot be read, or another build holds it.
    """
    from vacc_gen.generator.backends.base import Stage
    from vacc_gen.generator.build.preflight import select_backend
    from vacc_gen.generator.build.report import Observer
    from vacc_gen.generator.build.runner import BuildOptions, run_build
    from vacc_gen.generator.workspace import load_workspace
    from vacc_gen.schema.precision import Precision

    options = BuildOptions(Stage(until), tuple(map(Precision, precision)), force)
    workspace = load_workspace(Path(folder).absolute())
    return run_build(workspace, select_backend(backend), options, observer or Observer())
