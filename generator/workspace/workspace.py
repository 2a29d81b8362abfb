"""A workspace on disk: read it, make it, bring it up to date. Nothing is left half-written."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vacc_gen import presets
from vacc_gen.generator.emit.emitted import EmittedFile
from vacc_gen.generator.environment.environment import Lock, read_own_lock
from vacc_gen.generator.plan import Plan, make_plan
from vacc_gen.generator.workspace.drift import FileState, State, compare
from vacc_gen.generator.workspace.manifest import MANIFEST_PATH, Manifest, read_manifest, text_hash
from vacc_gen.schema.errors import FindingsError, UnreadableError, UsageError
from vacc_gen.schema.recipe import RECIPE_FILE, Recipe


@dataclass(frozen=True)
class Workspace:
    """A folder with a recipe, and everything that follows from it."""

    root: Path
    plan: Plan
    checkpoint_path: Path
    """The weight folder, absolute; it need not exist yet."""
    model_config: Mapping[str, Any] | None
    """The checkpoint's config.json, or None where that is not there."""
    own_lock: Lock | None = None
    """What `vacc-gen lock` resolved or tried here."""

    def files(self) -> tuple[EmittedFile, ...]:
        """Return what should stand in the workspace beside vacc.yaml."""
        from vacc_gen.generator.emit.files import emit

        return emit(self.plan, self.model_config, self.own_lock)

    def states(self) -> list[FileState]:
        """Return how each generated file stands to what the recipe asks for."""
        return compare(self.root, self.files(), read_manifest(self.root))


@dataclass(frozen=True)
class Update:
    """What `update` did, as paths in the workspace."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    """Edited by hand, and so left alone."""


def load_workspace(root: Path) -> Workspace:
    """Read a workspace's recipe, find its preset, and plan.

    Raises:
        UnreadableError: there is no vacc.yaml; it or the checkpoint's config.json cannot be read.
        FindingsError: the recipe has errors.
        CheckpointError: config.json is of another architecture or has no usable sizes.
    """
    recipe = _read_recipe(root)
    preset = presets.MODELS.find(recipe.model.preset)
    # Not resolved: a weight folder is often a link, whose name is the model's.
    checkpoint_path = Path(os.path.abspath(root / recipe.model.checkpoint))  # noqa: PTH100
    model_config = read_model_config(checkpoint_path)
    return Workspace(
        root=root,
        plan=make_plan(recipe, preset, model_config),
        checkpoint_path=checkpoint_path,
        model_config=model_config,
        own_lock=read_own_lock(root),
    )


def read_model_config(checkpoint_path: Path) -> dict[str, Any] | None:
    """Read a checkpoint's config.json; None where there is none.

    Raises:
        UnreadableError: it cannot be read, or is no JSON object.
    """
    path = checkpoint_path / "config.json"
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise UnreadableError(f"{path} is not a JSON object")
    return config


def create(root: Path, recipe_text: str, force: bool = False) -> Workspace:
    """Make a workspace at `root`, which must not exist or be empty, or with `force` be a workspace.

    It is built beside `root` and checked there; only then does it move into place.

    Raises:
        UsageError: something else stands at `root`, or it cannot be written.
        FindingsError: what was made has errors; then nothing is left of it.
    """
    occupied = is_occupied(root)
    if occupied and not (force and (root / RECIPE_FILE).is_file()):
        raise UsageError(
            f"{root} exists and is not empty",
            hint="--force writes over an existing workspace"
            if (root / RECIPE_FILE).is_file()
            else "name another folder with --out",
        )
    target = Path(os.path.abspath(root))  # noqa: PTH100  # `.` has no folder beside it
    with _writing(root), _folder_beside(target) as partial, _named(partial, root):
        (partial / RECIPE_FILE).write_text(recipe_text, encoding="utf-8")
        update(load_workspace(partial))
        _check(partial)
        if occupied:
            (partial / RECIPE_FILE).replace(root / RECIPE_FILE)
        elif target.exists():  # empty, and perhaps where we stand: it stays the folder that it is
            for made in sorted(partial.iterdir(), key=lambda path: path.name == RECIPE_FILE):
                made.rename(target / made.name)
        else:
            partial.rename(target)
    workspace = load_workspace(root)
    if occupied:
        update(workspace, force=True)
    return workspace


def update(workspace: Workspace, force: bool = False, over: Collection[str] = ()) -> Update:
    """Bring the generated files up to date; `force` also writes over hand edits, as do `over`'s.

    New files are staged inside the workspace and then replace the old ones one by one, so that a
    failure leaves each file either old or new. Edited files that are no longer wanted stay.
    """
    root = workspace.root
    manifest = read_manifest(root)
    states = compare(root, workspace.files(), manifest)
    to_write: list[EmittedFile] = []
    removed: list[str] = []
    kept: list[str] = []
    hashes: dict[str, str] = {}
    for state in states:
        if state.state is State.LEFTOVER:
            removed.append(state.path)
        elif state.state is State.EDITED and (
            state.wanted is None or not (force or state.path in over)
        ):
            kept.append(state.path)
            # The hash of what we wrote, so that the edit is still seen as one next time.
            wanted_text = state.wanted.text if state.wanted else ""
            hashes[state.path] = manifest.files.get(state.path, text_hash(wanted_text))
        elif state.wanted is not None:
            hashes[state.path] = text_hash(state.wanted.text)
            if state.state is not State.CURRENT:
                to_write.append(state.wanted)
    new_manifest = Manifest(_made_from(workspace), hashes)
    staged = list(to_write)
    if new_manifest != manifest:
        staged.append(EmittedFile(MANIFEST_PATH, new_manifest.text()))
    with _writing(root):
        _replace(root, staged)
        for path in removed:
            (root / path).unlink()
    return Update(tuple(str(file.path) for file in to_write), tuple(removed), tuple(kept))


def _made_from(workspace: Workspace) -> dict[str, str]:
    from importlib.metadata import version

    made_from = {
        RECIPE_FILE: text_hash((workspace.root / RECIPE_FILE).read_text(encoding="utf-8")),
        "vacc-gen": version("vacc-gen"),
    }
    if workspace.model_config is not None:
        made_from["config.json"] = text_hash(json.dumps(workspace.model_config, sort_keys=True))
    return made_from


def _replace(root: Path, files: Sequence[EmittedFile]) -> None:
    """Write all files beside their places, then move them there."""
    if not files:
        return
    with _folder_beside(root / MANIFEST_PATH) as partial:
        for index, file in enumerate(files):
            staged = partial / str(index)
            staged.write_bytes(file.text.encode("utf-8"))
            if file.executable:
                mode = staged.stat().st_mode
                staged.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it
        for index, file in enumerate(files):
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            (partial / str(index)).replace(target)


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """Give a new folder next to `path`; remove what is left of it, and parents made for it."""
    missing = [folder for folder in path.parents if not folder.exists()]
    partial = path.parent / f".{path.name}.partial-{secrets.token_hex(4)}"
    try:
        partial.mkdir(parents=True)
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in missing:
            if _is_empty_folder(folder):
                folder.rmdir()
        raise
    shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _named(partial: Path, root: Path) -> Iterator[None]:
    """Let findings name the folder that was asked for, not the one that it was built in."""
    try:
        yield
    except FindingsError as error:
        findings = [
            replace(finding, path=str(root / Path(finding.path).relative_to(partial)))
            for finding in error.diagnostics
        ]
        message = error.message.replace(str(partial), str(root))
        raise FindingsError(message, findings) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a failure of the file system into an error that names it."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or path
        raise UsageError(f"cannot write {where}: {error.strerror}") from error


def is_occupied(root: Path) -> bool:
    """Whether something stands where a workspace shall be made; an empty folder does not count."""
    return root.is_symlink() or (root.exists() and not _is_empty_folder(root))


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _check(root: Path) -> None:
    """Validate a workspace as anyone would."""
    from vacc_gen.schema.lint.check import check_paths
    from vacc_gen.schema.lint.diagnostics import has_errors

    diagnostics = check_paths([str(root)], presets.KNOWN).diagnostics
    if has_errors(diagnostics):
        raise FindingsError("a workspace of these choices would not be valid", diagnostics)


def _read_recipe(root: Path) -> Recipe:
    from vacc_gen.schema.lint.check import Selection, check_document
    from vacc_gen.schema.lint.diagnostics import has_errors
    from vacc_gen.schema.lint.document import load
    from vacc_gen.schema.lint.files import RecipeFile

    path = root / RECIPE_FILE
    try:
        source = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableError(
            f"no {RECIPE_FILE} in {root}",
            hint="vacc-gen new --model falcon-7b-instruct makes a workspace",
        ) from error
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror}") from error
    # The weight folder is read next, and what cannot be read there is no fault of the recipe.
    document, selection = load(source, str(path)), Selection(ignore=("VG604",))
    diagnostics, file = check_document(document, presets.KNOWN, selection)
    if has_errors(diagnostics) or not isinstance(file, RecipeFile):
        raise FindingsError(f"{path} is not a valid recipe", diagnostics)
    return file.recipe
