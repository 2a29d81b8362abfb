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
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from vacc_gen.generator.calibration.texts import files_of, texts_of
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.extras import load
from vacc_gen.generator.files import write_atomically
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.checkpoint import WeightFolder
from vacc_gen.schema.errors import StageError
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
    name = "+".join(source.set for source in spec.sources)
    return root / CALIBRATION_FOLDER / f"{name}.safetensors"


def calibrate(spec: Calibration, weights: WeightFolder, root: Path, progress: Progress) -> None:
    """Draw, tokenize and pack the windows that `spec` asks for, in the workspace `root`.

    Equal `spec`, texts and tokenizer make equal bytes on every machine: what they made before, for
    another precision say, stays.

    Raises:
        UnreadableError: a file of the set, or tokenizer.json, is not there or is none.
        StageError: the set is damaged, not what its name says, or too small, or `seqlen` is
            more than the model's positions.
        CheckpointError: the tokenizer does not say which token ends a text.
        MissingExtraError: a library that it needs cannot be used.
    """
    load("calibration", "numpy", "safetensors")
    import numpy as np
    from safetensors.numpy import save

    shares = check_calibration(spec, geometry_from_config(weights.config).max_positions, root)
    tokenizer_json = weights.path / TOKENIZER_FILE
    tokenizer = Tokenizer(tokenizer_json)
    files = [files_of(source, root) for source in spec.sources]
    settings = {
        "version": 1,
        "tokens": spec.samples * spec.seqlen,
        "spec": spec.model_dump(mode="json"),
        "tokenizer_sha256": sha256_of(tokenizer_json),
        "tokenizers": tokenizer.library,
        "end_of_text": tokenizer.end_of_text(),
        # By name, not path, so that machines agree.
        "files": [[(file.name, sha256_of(file)) for file in of_source] for of_source in files],
    }
    path = windows_file(spec, root)
    manifest_path = path.with_suffix(".json")

    def manifest() -> str:
        content = {"sha256": sha256_of(path), **settings}
        return json.dumps(content, indent=2) + "\n"

    is_there = path.is_file() and manifest_path.is_file()
    if is_there and manifest_path.read_bytes() == manifest().encode():
        return
    windows: list[Window] = []
    for index, share in enumerate(shares):
        windows += _draw(spec, index, share, files[index], tokenizer, progress)
    if len(spec.sources) > 1:
        # Any prefix of the windows shall have some of each set.
        draw = draw_for(f"{spec.seed} order")
        ranks = [draw() for _ in windows]
        windows = [windows[index] for index in sorted(range(len(windows)), key=ranks.__getitem__)]
    manifest_path.unlink(missing_ok=True)
    write_atomically(path, save({"input_ids": np.array(windows, np.int32)}))
    write_atomically(manifest_path, manifest())


def read_windows(path: Path) -> NDArray[np.int32]:
    """Read `input_ids` [samples, seqlen] that `calibrate` wrote."""
    from safetensors.numpy import load_file

    windows: NDArray[np.int32] = load_file(path)["input_ids"]
    return windows


def check_calibration(spec: Calibration, max_positions: int, root: Path) -> list[int]:
    """Refuse what cannot end well, without a tokenizer; return each source's share of the windows.

    A set is read no further than it must. Raises as `calibrate`.
    """
    if spec.seqlen > max_positions:
        raise StageError(
            f"calibration.seqlen is {spec.seqlen}, but the model has {max_positions} positions",
            f"set calibration.seqlen to {max_positions} or less",
        )
    shares = windows_by_source([source.weight for source in spec.sources], spec.samples)
    for source, share in zip(spec.sources, shares, strict=True):
        if share == 0:
            raise StageError(
                f"{source.set} has too little weight for even one of {spec.samples} windows",
                "raise its weight, or calibration.samples",
            )
        # A byte-level tokenizer makes no more tokens of a text than it has UTF-8 bytes.
        tokens = windows = 0
        for text in (text for file in files_of(source, root) for text in texts_of(source, file)):
            tokens += len(text) + 1  # an end-of-text token follows each
            windows += len(text) >= spec.seqlen
            if spec.packing == "concatenate":
                windows = tokens // spec.seqlen
            if windows >= share:
                break
        else:
            raise _too_few_texts(spec, source.set, f"at most {windows}", share)
    return shares


def windows_by_source(weights: Sequence[float], samples: int) -> list[int]:
    """Share `samples` windows out by weight."""
    ends = [round(samples * total / sum(weights)) for total in accumulate(weights, initial=0)]
    return [end - start for start, end in pairwise(ends)]


def _draw(
    spec: Calibration,
    index: int,
    share: int,
    files: Sequence[Path],
    tokenizer: Tokenizer,
    progress: Progress,
) -> list[Window]:
    """Draw `share` windows out of the `files` of the source with that `index`.

    Raises:
        StageError: the texts do not fill them.
    """
    source = spec.sources[index]
    key = f"{spec.seed} {index} {source.set}"
    # A token is a byte at least: what is shorter than a window need not be drawn for one.
    least_bytes = spec.seqlen if spec.packing == "one_text" else 0

    def texts() -> Iterator[bytes]:
        progress.start(f"read {source.set}", sum(file.stat().st_size for file in files))
        for file in files:
            yield from (text for text in texts_of(source, file) if len(text) >= least_bytes)
            progress.advance(file.stat().st_size)

    tokens = map(tokenizer.encode, shuffled(texts, key, HELD_BYTES))
    if spec.packing == "concatenate":
        windows = concatenated(tokens, spec.seqlen, tokenizer.end_of_text())
    else:
        windows = one_text_each(tokens, spec.seqlen, f"{key} start")
    drawn = list(islice(windows, share))
    if len(drawn) < share:
        raise _too_few_texts(spec, source.set, str(len(drawn)), share)
    return drawn


def _too_few_texts(spec: Calibration, name: str, filled: str, share: int) -> StageError:
    packing = ", `packing: concatenate`" if spec.packing == "one_text" else ""
    return StageError(
        f"{name} has too little text: it fills {filled} of {share} windows of {spec.seqlen} tokens",
        f"ask for fewer samples, a shorter seqlen{packing}, or bring more text",
    )


def draw_for(key: str) -> Callable[[], float]:
    """A sequence of its own for each seed and purpose, so that one draw does not shift another."""
    digest = hashlib.sha256(key.encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big")).random


def shuffled(texts: Callable[[], Iterator[bytes]], key: str, held_bytes: int) -> Iterator[bytes]:
    """Yield all texts in random order, holding about `held_bytes` of them at a time.

    Every text draws a rank; a pass over `texts()` keeps those of the lowest ranks above the ones
    that were given out before. A consumer that stops early pays for the passes that it used.
    """
    given, ceiling = -1.0, 0.0
    while ceiling < 1:
        draw = draw_for(key)
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


def concatenated(texts: Iterable[Sequence[int]], seqlen: int, end_of_text: int) -> Iterator[Window]:
    """Let texts run on, `end_of_text` after each, and cut windows without gap or overlap."""
    pending = array("i")
    for tokens in texts:
        pending.extend(tokens)
        pending.append(end_of_text)
        whole = len(pending) - len(pending) % seqlen
        for start in range(0, whole, seqlen):
            yield pending[start : start + seqlen]
        del pending[:whole]


def one_text_each(texts: Iterable[Sequence[int]], seqlen: int, key: str) -> Iterator[Window]:
    """Cut one window at a random place out of each text that is long enough."""
    draw = draw_for(key)
    for tokens in texts:
        if len(tokens) >= seqlen:
            start = int(draw() * (len(tokens) - seqlen + 1))
            yield array("i", tokens[start : start + seqlen])
