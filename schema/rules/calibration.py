"""VG56: can the calibration windows be drawn from the texts that are named?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vacc_gen.schema.diagnostics import Severity
from vacc_gen.schema.errors import VaccGenError
from vacc_gen.schema.rules import rule
from vacc_gen.schema.subject import Finding, Subject


@rule("VG560", Severity.ERROR, "unusable calibration set", scope="text")
def unusable_calibration_set(subject: Subject) -> Iterator[Finding]:
    """The calibration set has no such split, or its files are there and cannot fill the windows.

    Files that are there are read no further than it takes to know: a damaged or wrong file, rows
    without text, and too little text are found, without a tokenizer and before a build. Files that
    are not there yet say nothing.

    Bad:
        version: 2
        calibration:
          set: alpaca
          split: validation
          path: /path/to/alpaca_data_cleaned.json
          seqlen: 512
    Good:
        version: 2
        calibration:
          set: alpaca
          split: train
          path: /path/to/alpaca_data_cleaned.json
          seqlen: 512
    """
    section, samples_key = ("calibration", "samples")
    if subject.kind != "recipe":
        section, samples_key = ("dataset", "nsamples")
    sources = list(_sources(subject, section))
    samples, seqlen = (subject.get(section, key) for key in (samples_key, "seqlen"))
    if seqlen is None or (samples is None and subject.has(section, samples_key)):
        return
    root = subject.folder
    if not any(_can_be_checked(source, root) for _, source in sources):
        return  # before the readers are loaded
    from vacc_gen.schema.texts import windows_by_source

    packing = subject.get(section, "packing") or "concatenate"
    shares = windows_by_source([source.weight for _, source in sources], samples or 128)
    for (steps, source), windows in zip(sources, shares, strict=True):
        fault = _fault(source, root, windows, seqlen, packing)
        if fault is not None:
            yield Finding(subject.span(*steps), fault.message, fault.hint)


@rule("VG561", Severity.ERROR, "calibration windows longer than the model", scope="recipe")
def calibration_beyond_positions(subject: Subject) -> Iterator[Finding]:
    """A calibration window is longer than the positions that the model was trained on.

    Bad:
        version: 2
        model:
          preset: falcon-7b
          checkpoint: /path/to/falcon-7b
        calibration:
          set: c4
          path: /path/to/c4-train.00000-of-01024.json.gz
          seqlen: 4096
    Good:
        version: 2
        model:
          preset: falcon-7b
          checkpoint: /path/to/falcon-7b
        calibration:
          set: c4
          path: /path/to/c4-train.00000-of-01024.json.gz
          seqlen: 1024
    """
    seqlen = subject.get("calibration", "seqlen")
    positions = (subject.geometry or {}).get("max_positions") if seqlen else None
    if isinstance(seqlen, int) and isinstance(positions, int) and seqlen > positions:
        yield Finding(
            subject.span("calibration", "seqlen"),
            f"windows of {seqlen} tokens, but the model has {positions} positions",
            f"set calibration.seqlen to {positions} or less",
        )


@dataclass(frozen=True)
class _Source:
    """One set as the readers of texts want it, without pydantic."""

    set: str
    path: str
    split: str | None
    subjects: tuple[str, ...]
    weight: float


def _fault(
    source: _Source, root: Path, windows: int, seqlen: int, packing: str
) -> VaccGenError | None:
    from vacc_gen.schema.texts import check_enough, check_source

    try:
        check_source(source)
        if _is_there(root / source.path):
            check_enough(source, root, windows, seqlen, packing)
    except VaccGenError as error:
        return error
    return None


def _can_be_checked(source: _Source, root: Path) -> bool:
    return bool(source.split or source.subjects) or _is_there(root / source.path)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder on the way may not be entered
        return False


def _sources(subject: Subject, section: str) -> Iterator[tuple[tuple[str | int, ...], _Source]]:
    """Yield the sets that are named in full, and where each name stands."""
    name_key = "set" if section == "calibration" else "name"
    keys = (name_key, "path", "split", "subjects", "weight")
    main = {key: subject.get(section, key) for key in keys}
    if section == "dataset":
        # vamc is run from a folder of the user's choice: a relative path is not ours to resolve.
        of_texts = subject.get(section, "type") == "huggingface"
        main = main if of_texts and str(main["path"]).startswith("/") else {}
    places: list[tuple[tuple[str | int, ...], Mapping[str, Any]]] = [((section, name_key), main)]
    for index, values in subject.items(section, "mix"):
        places.append(((section, "mix", index, name_key), values))
    for steps, named in places:
        name, path, weight = named.get(name_key), named.get("path"), named.get("weight")
        if name and path:
            subjects = tuple(named.get("subjects") or ())
            share = weight if weight and math.isfinite(weight) else 1.0
            yield steps, _Source(name, path, named.get("split"), subjects, share)
