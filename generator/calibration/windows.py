"""Calibration windows: `calibration/<set>.safetensors` and the manifest that says what is in it.

Shapes: a window is [seqlen] token ids, int32, never padded; `input_ids` is [samples, seqlen].

The draw is reproducible on every machine and Python: it uses nothing but `random.Random(seed)` and
its `random()`, whose sequence the language guarantees
(docs.python.org/3/library/random.html#notes-on-reproducibility).
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vacc_gen.generator.calibration.texts import files_of, texts_of
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.extras import load
from vacc_gen.generator.files import write_atomically
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.checkpoint import WeightFolder
from vacc_gen.schema.errors import CalibrationError
from vacc_gen.schema.geometry import geometry_from_config
from vacc_gen.schema.json_files import sha256_of
from vacc_gen.schema.recipe import Calibration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION_FOLDER = "calibration"

HELD_BYTES = 8 << 20
"""Text held at once: what 1024 windows of 2048 tokens of English take."""

Window: TypeAlias = "array[int]"  # of token ids, 4 bytes each


def windows_file(spec: Calibration, root: Path) -> Path:
    """Where the windows of `spec` lie in the workspace `root`, their manifest (.json) beside."""
    return root / CALIBRATION_FOLDER / f"{spec.set}.safetensors"


def calibrate(spec: Calibration, weights: WeightFolder, root: Path, progress: Progress) -> None:
    """Draw, tokenize and pack the windows that `spec` asks for, in the workspace `root`.

    Equal `spec`, texts and tokenizer make equal bytes on every machine: what they made before, for
    another precision say, stays.

    Raises:
        UnreadableError: a file of the set, or tokenizer.json, is not there or is none.
        CalibrationError: the set is damaged, not what its name says, or too small, or `seqlen` is
            more than the model's positions.
        CheckpointError: the tokenizer does not say which token ends a text.
        MissingExtraError: a library that it needs cannot be used.
    """
    load("calibration", "numpy", "safetensors")
    import numpy as np
    from safetensors.numpy import save

    check_calibration(spec, geometry_from_config(weights.config).max_positions, root)
    tokenizer_json = weights.path / TOKENIZER_FILE
    tokenizer = Tokenizer(tokenizer_json)
    files = files_of(spec, root)
    settings = {
        "version": 1,
        "tokens": spec.samples * spec.seqlen,
        "spec": spec.model_dump(mode="json"),
        "tokenizer_sha256": sha256_of(tokenizer_json),
        "tokenizers": tokenizer.library,
        "end_of_text": tokenizer.end_of_text(),
        # By name, not path, so that machines agree.
        "files": [(file.name, sha256_of(file)) for file in files],
    }
    path = windows_file(spec, root)
    manifest_path = path.with_suffix(".json")

    def manifest() -> str:
        content = {"sha256": sha256_of(path), **settings}
        return json.dumps(content, indent=2) + "\n"

    is_there = path.is_file() and manifest_path.is_file()
    if is_there and manifest_path.read_bytes() == manifest().encode():
        return
    windows = _draw(spec, files, tokenizer, progress)
    manifest_path.unlink(missing_ok=True)
    write_atomically(path, save({"input_ids": np.array(windows, np.int32)}))
    write_atomically(manifest_path, manifest())


def read_windows(path: Path) -> NDArray[np.int32]:
    """Read `input_ids` [samples, seqlen] that `calibrate` wrote."""
    from safetensors.numpy import load_file

    windows: NDArray[np.int32] = load_file(path)["input_ids"]
    return windows


def check_calibration(spec: Calibration, max_positions: int, root: Path) -> None:
    """Refuse what cannot end well, without a tokenizer, and reading no further than it must.

    Raises as `calibrate`.
    """
    if spec.seqlen > max_positions:
        raise CalibrationError(
            f"calibration.seqlen is {spec.seqlen}, but the model has {max_positions} positions",
            f"set calibration.seqlen to {max_positions} or less",
        )
    # A byte-level tokenizer makes no more tokens of a text than it has UTF-8 bytes.
    tokens = 0
    for file in files_of(spec, root):
        for text in texts_of(spec, file):
            tokens += len(text) + 1  # an end-of-text token follows each
            if tokens >= spec.samples * spec.seqlen:
                return
    raise _too_few_texts(spec, f"at most {tokens // spec.seqlen}")


def _draw(
    spec: Calibration, files: Sequence[Path], tokenizer: Tokenizer, progress: Progress
) -> list[Window]:
    """Draw windows: texts run on, an end-of-text token after each, without gap or overlap."""

    def texts() -> Iterator[bytes]:
        progress.start(f"read {spec.set}", sum(file.stat().st_size for file in files))
        for file in files:
            yield from texts_of(spec, file)
            progress.advance(file.stat().st_size)

    end_of_text, windows = tokenizer.end_of_text(), list[Window]()
    pending = array("i")
    for text in shuffled(texts, f"{spec.seed} 0 {spec.set}", HELD_BYTES):
        pending.extend(tokenizer.encode(text))
        pending.append(end_of_text)
        whole = len(pending) - len(pending) % spec.seqlen
        windows += [pending[i : i + spec.seqlen] for i in range(0, whole, spec.seqlen)]
        del pending[:whole]
        if len(windows) >= spec.samples:
            return windows[: spec.samples]
    raise _too_few_texts(spec, str(len(windows)))


def _too_few_texts(spec: Calibration, filled: str) -> CalibrationError:
    return CalibrationError(
        f"{spec.set} has too little text: it fills {filled} of {spec.samples} windows of "
        f"{spec.seqlen} tokens",
        "ask for fewer samples, a shorter seqlen, or bring more text",
    )


def shuffled(texts: Callable[[], Iterator[bytes]], key: str, held_bytes: int) -> Iterator[bytes]:
    """Yield all texts in random order, holding about `held_bytes` of them at a time.

    Every text draws a rank; a pass over `texts()` keeps those of the lowest ranks above the ones
    that were given out before. A consumer that stops early pays for the passes that it used.
    """
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    given, ceiling = -1.0, 0.0
    while ceiling < 1:
        draw = random.Random(seed).random
        kept: list[tuple[float, bytes]] = []  # a heap of negative ranks, so the highest is first
        kept_bytes, ceiling = 0, 1.0
        for text in texts():
            rank = draw()  # of 53 bits: no two texts share one
            if given < rank < ceiling:
                heapq.heappush(kept, (-rank, text))
                kept_bytes += len(text)
                while kept_bytes > held_bytes and len(kept) > 1:
                    # What ranks above a dropped text must go too, or the order would not be random.
                    negative, dropped = heapq.heappop(kept)
                    kept_bytes -= len(dropped)
                    ceiling = -negative
        for negative, text in sorted(kept, reverse=True):
            given = -negative
            yield text
