"""Brings a checkpoint and a calibration set to where a recipe expects them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from vacc_gen.generator.calibration.published import calibration_targets
from vacc_gen.generator.fetch.hub import Hub, RemoteFile, has_digest
from vacc_gen.generator.figures import size_text
from vacc_gen.generator.files import move_into_place
from vacc_gen.generator.progress import Progress
from vacc_gen.schema.calibration import TextSource
from vacc_gen.schema.errors import FetchError
from vacc_gen.schema.preset import CalibrationSet

WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
CONFIG_FILES = ("config.json", "generation_config.json")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "vocab.json",
)
CHECKPOINT_FILES = (*WEIGHT_FILES, *CONFIG_FILES, *TOKENIZER_FILES)
"""What a weight folder needs: no code, no .bin files, no subfolders."""
PARTIAL_SUFFIX = ".part"

State = Literal["fetched", "resumed", "present"]


@dataclass(frozen=True)
class FetchedFile:
    """A file that is now there, and how."""

    path: Path
    size_bytes: int
    state: State
    verified: bool
    """False where the hub states no digest to compare with."""


def fetch_checkpoint(
    repository: str,
    folder: Path,
    progress: Progress,
    revision: str = "main",
    force: bool = False,
) -> list[FetchedFile]:
    """Bring the safetensors, config and tokenizer files of a model repository into `folder`.

    Raises:
        FetchError: the hub does not give a file, a file is not the published one, another file
            stands in its place (without `force`), or the disk is too small.
    """
    hub = Hub(progress)
    found = hub.repository(repository, "model", revision)
    names = [
        name
        for name in found.files
        if any(fnmatch(name, pattern) for pattern in CHECKPOINT_FILES) and "/" not in name
    ]
    for needed in ("*.safetensors", "config.json"):
        if not any(fnmatch(name, needed) for name in names):
            raise FetchError(
                f"{repository} holds no {needed}",
                hint="vacc-gen reads safetensors checkpoints; is there a converted repository?",
            )
    files = [(hub.file(found, name), folder / name) for name in sorted(names)]
    return _Fetching(hub, progress, force).bring(files)


def fetch_calibration_set(
    preset: CalibrationSet,
    source: TextSource,
    root: Path,
    progress: Progress,
    force: bool = False,
) -> list[FetchedFile]:
    """Bring the files of a published set to `source.path`, a file or a folder relative to `root`.

    Raises:
        As `fetch_checkpoint`.
    """
    hub = Hub(progress)
    found = hub.repository(preset.huggingface_id, "dataset", "main")
    targets = calibration_targets(preset, source)
    files = [(hub.file(found, str(name)), root / path) for name, path in targets.items()]
    return _Fetching(hub, progress, force).bring(files)


class _Fetching:
    """One run over a list of files; space is checked before the first."""

    def __init__(self, hub: Hub, progress: Progress, force: bool) -> None:
        self._hub = hub
        self._progress = progress
        self._force = force

    def bring(self, wanted: Sequence[tuple[RemoteFile, Path]]) -> list[FetchedFile]:
        missing = [pair for pair in wanted if not self._is_there(*pair)]
        for folder in {target.parent for _, target in missing}:
            _check_space(folder, missing)
        fetched = {target: self._fetch(file, target) for file, target in missing}
        return [
            fetched.get(target)
            or FetchedFile(target, target.stat().st_size, "present", file.digest is not None)
            for file, target in wanted
        ]

    def _is_there(self, file: RemoteFile, target: Path) -> bool:
        if not target.exists():
            return False
        if file.size_bytes in (None, target.stat().st_size) and self._is_published(file, target):
            return True
        if self._force:
            return False
        raise FetchError(
            f"{target} exists and is not the file that {self._hub.endpoint} has",
            hint="move it away, or let --force replace it",
        )

    def _is_published(self, file: RemoteFile, path: Path) -> bool:
        self._progress.start(f"check {file.name}", path.stat().st_size)
        return file.digest is None or has_digest(path, file.digest, self._progress)

    def _fetch(self, file: RemoteFile, target: Path) -> FetchedFile:
        partial = partial_path(file, target)
        started_bytes = _size(partial)
        if file.size_bytes is not None and started_bytes > file.size_bytes:
            partial.unlink()
            started_bytes = 0
        self._progress.start(target.name, file.size_bytes)
        self._progress.advance(started_bytes)
        self._hub.download(file, partial)
        if not self._is_published(file, partial):
            partial.unlink()
            raise FetchError(
                f"{file.name} arrived with another checksum than the {file.digest} that "
                f"{self._hub.endpoint} states; it was removed",
                hint="run it again; if that does not help, the mirror serves another file",
            )
        move_into_place(partial, target)
        state: State = "resumed" if started_bytes else "fetched"
        return FetchedFile(target, _size(target), state, file.digest is not None)


def _check_space(folder: Path, missing: Sequence[tuple[RemoteFile, Path]]) -> None:
    """Make a folder that files go to, and refuse one without space for them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"cannot make {folder}: {error.strerror}") from error
    needed = sum(
        max((file.size_bytes or 0) - _size(partial_path(file, target)), 0)
        for file, target in missing
        if target.parent == folder
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(f"{folder} has {size_text(free)} left; {size_text(needed)} are missing")


def partial_path(file: RemoteFile, target: Path) -> Path:
    """Where a file grows. Its digest is in the name: another version is never continued."""
    version = (file.digest or "unversioned")[:12]
    return target.with_name(f".{target.name}.{version}{PARTIAL_SUFFIX}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
