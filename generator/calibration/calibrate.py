"""The stage that makes calibration windows: `calibration/<set>.safetensors` and its manifest.

Shapes: `input_ids` is [samples, seqlen], int32, never padded.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vacc_gen.generator.calibration.texts import (
    check_enough,
    files_of,
    texts_of,
    too_few_hint,
    windows_by_source,
)
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.calibration.windows import (
    Window,
    concatenated,
    held_bytes,
    in_random_order,
    one_text_each,
    shuffled,
)
from vacc_gen.generator.files import sha256_of, staged_file, write_atomically
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.calibration import Calibration, TextSource
from vacc_gen.schema.errors import CalibrationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANIFEST_VERSION = 1
TENSOR = "input_ids"


@dataclass(frozen=True)
class CalibrationResult:
    """What the stage made, or found unchanged."""

    path: Path
    """The safetensors file: `input_ids`, int32 [samples, seqlen]."""
    manifest_path: Path
    sha256: str
    """Of the safetensors file."""
    samples: int
    seqlen: int
    reused: bool
    """True where nothing had changed and nothing was written."""


def calibrate(
    spec: Calibration,
    tokenizer_json: Path,
    out_dir: Path,
    max_positions: int,
    progress: Progress,
    root: Path = Path(),
) -> CalibrationResult:
    """Draw, tokenize and pack the windows that `spec` asks for; paths in it are relative to `root`.

    Equal `spec`, texts and tokenizer make equal bytes on every machine. Everything that can be
    checked without a tokenizer is checked first.

    Raises:
        UnreadableError: a file of the set, or tokenizer.json, is not there.
        CalibrationError: the set is damaged, not what its name says, or too small, or `seqlen` is
            more than `max_positions`.
        CheckpointError: tokenizer.json is none.
        MissingExtraError: the tokenizers library is not installed.
    """
    shares = check_calibration(spec, max_positions, root)
    tokenizer = Tokenizer(tokenizer_json)
    parts = [
        _Part(source, share, files_of(source, root), f"{index} {source.set}")
        for index, (source, share) in enumerate(zip(spec.sources, shares, strict=True))
    ]
    settings = {
        "spec": spec.model_dump(mode="json"),
        "tokenizer_sha256": sha256_of(tokenizer_json),
        "tokenizers": tokenizer.library,
        "end_of_text": tokenizer.end_of_text,
        "sources": [part.describe_files(progress) for part in parts],
    }
    path = windows_file(spec, out_dir)
    manifest_path = path.with_suffix(".json")
    sha256 = _unchanged(path, manifest_path, settings)
    reused = sha256 is not None
    if sha256 is None:
        windows = [window for part in parts for window in part.windows(spec, tokenizer, progress)]
        if len(parts) > 1:
            windows = in_random_order(windows, spec.seed, "order")
        manifest_path.unlink(missing_ok=True)
        sha256 = write_windows(path, windows, spec.seqlen)
        manifest = {
            "version": MANIFEST_VERSION,
            "file": path.name,
            "sha256": sha256,
            "samples": spec.samples,
            "seqlen": spec.seqlen,
            "tokens": spec.samples * spec.seqlen,
            "settings": settings,
            "drawn": [part.drawn() for part in parts],
        }
        write_atomically(manifest_path, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return CalibrationResult(path, manifest_path, sha256, spec.samples, spec.seqlen, reused)


def windows_file(spec: Calibration, folder: Path) -> Path:
    """Where the windows of `spec` lie in `folder`."""
    return folder / f"{'+'.join(source.set for source in spec.sources)}.safetensors"


def check_calibration(spec: Calibration, max_positions: int, root: Path = Path()) -> list[int]:
    """Refuse what cannot end well, without a tokenizer; return each source's share of the windows.

    Raises:
        UnreadableError, CalibrationError: as `calibrate`.
    """
    if spec.seqlen > max_positions:
        raise CalibrationError(
            f"calibration.seqlen is {spec.seqlen}, but the model has {max_positions} positions",
            hint=f"set calibration.seqlen to {max_positions} or less",
        )
    shares = windows_by_source([source.weight for source in spec.sources], spec.samples)
    for source, share in zip(spec.sources, shares, strict=True):
        if share == 0:
            raise CalibrationError(
                f"{source.set} has too little weight for even one of {spec.samples} windows",
                hint="raise its weight, or calibration.samples",
            )
        check_enough(source, root, share, spec.seqlen, spec.packing)
    return shares


@dataclass
class _Part:
    """One set's share of the windows."""

    source: TextSource
    share: int
    files: tuple[Path, ...]
    purpose: str
    """Sets its draws apart from those of the other parts."""
    rows_read: int = 0
    texts_used: int = 0
    tokens_used: int = 0

    def describe_files(self, progress: Progress) -> dict[str, object]:
        """Names, sizes and digests; names alone, so that machines agree."""
        progress.start(f"hash {self.source.set}", sum(file.stat().st_size for file in self.files))
        described = []
        for file in self.files:
            size = file.stat().st_size
            described.append({"name": file.name, "bytes": size, "sha256": sha256_of(file)})
            progress.advance(size)
        return {"set": self.source.set, "files": described}

    def windows(
        self, spec: Calibration, tokenizer: Tokenizer, progress: Progress
    ) -> Iterator[Window]:
        """Yield exactly `share` windows.

        Raises:
            CalibrationError: the texts do not fill them.
        """
        held = held_bytes(self.share * spec.seqlen)
        # A token is a byte at least: what is shorter than a window need not be drawn for one.
        least_bytes = spec.seqlen if spec.packing == "one_text" else 0
        texts = shuffled(
            lambda: (text for text in self._texts(progress) if len(text) >= least_bytes),
            spec.seed,
            self.purpose,
            held,
        )
        tokens = self._tokens(texts, tokenizer)
        windows = (
            concatenated(tokens, spec.seqlen, tokenizer.end_of_text)
            if spec.packing == "concatenate"
            else one_text_each(tokens, spec.seqlen, spec.seed, f"{self.purpose} start")
        )
        count = 0
        for window in islice(windows, self.share):
            count += 1
            yield window
        if count < self.share:
            raise CalibrationError(
                f"{self.source.set} fills {count} of {self.share} windows of {spec.seqlen} tokens: "
                f"its {self.texts_used:,} texts have {self.tokens_used:,} tokens",
                hint=too_few_hint(spec.packing),
            )

    def drawn(self) -> dict[str, object]:
        """What came of it, for the manifest."""
        return {
            "set": self.source.set,
            "windows": self.share,
            "rows_read": self.rows_read,
            "texts_used": self.texts_used,
            "tokens_used": self.tokens_used,
        }

    def _texts(self, progress: Progress) -> Iterator[bytes]:
        """All texts once; `rows_read` is the number of them."""
        progress.start(f"read {self.source.set}", sum(file.stat().st_size for file in self.files))
        self.rows_read = 0
        for text in texts_of(self.source, self.files, progress.advance):
            self.rows_read += 1
            yield text

    def _tokens(self, texts: Iterable[bytes], tokenizer: Tokenizer) -> Iterator[Sequence[int]]:
        for text in texts:
            tokens = tokenizer.encode(text)
            self.texts_used += 1
            self.tokens_used += len(tokens)
            yield tokens


def write_windows(path: Path, windows: Sequence[Window], seqlen: int) -> str:
    """Write `input_ids` [len(windows), seqlen] as safetensors, atomically; return its sha256.

    Format: an 8-byte little-endian length, that many bytes of JSON padded with spaces to a multiple
    of 8, the tensor (github.com/huggingface/safetensors, README).
    """
    size_bytes = len(windows) * seqlen * 4
    tensor = {"dtype": "I32", "shape": [len(windows), seqlen], "data_offsets": [0, size_bytes]}
    header = json.dumps({TENSOR: tensor}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    digest = hashlib.sha256()
    with staged_file(path) as file:
        for block in (struct.pack("<Q", len(header)), header, *map(_little_endian, windows)):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def read_windows(path: Path) -> NDArray[np.int32]:
    """Read `input_ids` [samples, seqlen] that `write_windows` wrote."""
    import numpy as np

    with path.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        shape = json.loads(file.read(header_bytes))[TENSOR]["shape"]
        return np.frombuffer(file.read(), "<i4").reshape(shape)


def _little_endian(window: Window) -> bytes:
    if sys.byteorder == "big":
        window = window[:]
        window.byteswap()
    return window.tobytes()


def _unchanged(path: Path, manifest_path: Path, settings: Mapping[str, object]) -> str | None:
    """The digest of the windows that are there, if these very settings made them."""
    try:
        manifest = json.loads(manifest_path.read_bytes())
        made = (manifest["version"], manifest["settings"]) == (MANIFEST_VERSION, settings)
        return manifest["sha256"] if made and sha256_of(path) == manifest["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
