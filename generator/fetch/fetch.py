"""Brings a checkpoint and a calibration set to where a recipe expects them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from vacc_gen.generator.calibration.texts import calibration_targets
from vacc_gen.generator.fetch.hub import Hub, RemoteFile, has_digest
from vacc_gen.generator.files import move_into_place
from vacc_gen.generator.progress import Progress, size_text
from vacc_gen.schema.errors import FetchError
from vacc_gen.schema.preset import CalibrationSet
from vacc_gen.schema.recipe import TextSource

CHECKPOINT_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "merges.txt", "vocab.json",
)  # fmt: skip
"""What a weight folder needs: no code, no .bin files, no subfolders."""
PARTIAL_SUFFIX = ".part"


@dataclass(frozen=True)
class FetchedFile:
    """A file that is now there, and how."""

    path: Path
    state: Literal["fetched", "resumed", "present"]
    verified: bool
    """False where the hub states no digest to compare with."""


def fetch_checkpoint(
    repository: str, folder: Path, progress: Progress, revision: str = "main", force: bool = False
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
    return _bring({folder / name: hub.file(found, name) for name in sorted(names)}, hub, force)


def fetch_calibration_set(
    preset: CalibrationSet, source: TextSource, root: Path, progress: Progress, force: bool = False
) -> list[FetchedFile]:
    """Bring the files of a published set to `source.path`, a file or a folder relative to `root`.

    Raises:
        As `fetch_checkpoint`.
    """
    hub = Hub(progress)
    found = hub.repository(preset.huggingface_id, "dataset", "main")
    targets = calibration_targets(preset, source)
    wanted = {root / path: hub.file(found, str(name)) for name, path in targets.items()}
    return _bring(wanted, hub, force)


def _bring(wanted: dict[Path, RemoteFile], hub: Hub, force: bool) -> list[FetchedFile]:
    """Bring the files that are missing; what would not fit or is not ours fails before the first.

    `wanted` has the remote file of each path.
    """
    missing = {path: file for path, file in wanted.items() if not _is_there(path, file, hub, force)}
    for folder in {path.parent for path in missing}:
        _check_space(folder, missing)
    return [
        _fetch(path, file, hub)
        if path in missing
        else FetchedFile(path, "present", file.digest is not None)
        for path, file in wanted.items()
    ]


def _is_there(path: Path, file: RemoteFile, hub: Hub, force: bool) -> bool:
    if not path.exists():
        return False
    if file.size_bytes in (None, path.stat().st_size) and has_digest(path, file, hub.progress):
        return True
    if force:
        return False
    raise FetchError(
        f"{path} exists and is not the file that {hub.endpoint} has",
        hint="move it away, or let --force replace it",
    )


def _check_space(folder: Path, missing: dict[Path, RemoteFile]) -> None:
    """Make a folder that files go to, and refuse one without space for them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(f"cannot make {folder}: {error.strerror}") from error
    needed = sum(
        max((file.size_bytes or 0) - _size(partial_path(path, file)), 0)
        for path, file in missing.items()
        if path.parent == folder
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(f"{folder} has {size_text(free)} left; {size_text(needed)} are missing")


def _fetch(path: Path, file: RemoteFile, hub: Hub) -> FetchedFile:
    partial = partial_path(path, file)
    if file.size_bytes is None or _size(partial) > file.size_bytes:
        partial.unlink(missing_ok=True)
    started_bytes = _size(partial)
    hub.progress.start(path.name, file.size_bytes)
    hub.progress.advance(started_bytes)
    hub.download(file, partial)
    if not has_digest(partial, file, hub.progress):
        partial.unlink()
        raise FetchError(
            f"{file.name} arrived with another checksum than the {file.digest} that "
            f"{hub.endpoint} states; it was removed",
            hint="run it again; if that does not help, the mirror serves another file",
        )
    move_into_place(partial, path)
    return FetchedFile(path, "resumed" if started_bytes else "fetched", file.digest is not None)


def partial_path(path: Path, file: RemoteFile) -> Path:
    """Where a file grows. Its digest is in the name: another version is never continued."""
    version = (file.digest or "unversioned")[:12]
    return path.with_name(f".{path.name}.{version}{PARTIAL_SUFFIX}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
