"""A workspace on disk: read it, make it, bring it up to date. Nothing is left half-written.

`.vacc-gen/manifest.json` has the hashes of what was generated, by which hand edits are seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from vacc_gen import presets
from vacc_gen.generator.emit.files import SCRIPTS_FOLDER, emit
from vacc_gen.generator.files import is_occupied, remove_leftovers, write_atomically
from vacc_gen.generator.lock import Lock, lock_of, read_own_lock
from vacc_gen.generator.plan import Plan, is_placeholder, make_plan
from vacc_gen.schema.checkpoint import CONFIG_FILE
from vacc_gen.schema.errors import CheckpointError, UnreadableError, UsageError, word_for_shell
from vacc_gen.schema.json_files import read_json_object
from vacc_gen.schema.lint.check import check_document, check_documents, open_weights
from vacc_gen.schema.lint.diagnostics import FindingsError, has_errors
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.files import MANIFEST_PATH, Manifest, RecipeFile, read_manifest, text_hash
from vacc_gen.schema.recipe import RECIPE_FILE

NOTHING_MADE = Manifest(version=1, made_from={}, files={})


class State(Enum):
    """How one file stands; the value is how it is called in messages."""

    CURRENT = "current"
    MISSING = "missing"
    OUTDATED = "outdated"
    EDITED = "edited by hand"
    """Neither what we want nor what we wrote."""
    LEFTOVER = "no longer wanted"
    NOT_EXECUTABLE = "not executable"


@dataclass(frozen=True)
class FileState:
    """One path: what should stand there, what does, and how they differ."""

    path: str
    state: State
    wanted: str | None
    found: str | None


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
    """What `vacc-gen lock` resolved here."""
    recipe_hash: str = ""
    """Of the text of vacc.yaml."""
    notes: tuple[str, ...] = ()
    """What whoever made it should know of how it was decided, a line each."""

    @property
    def lock(self) -> Lock | None:
        """What satisfies the recipe: its own lock, else the preset's, or None."""
        return lock_of(self.plan.recipe.environment, self.own_lock)

    def files(self) -> dict[str, str]:
        """Return what should stand in the workspace beside vacc.yaml: texts by path."""
        return emit(self.plan, self.model_config, self.own_lock)

    def states(self) -> list[FileState]:
        """Return how each generated file stands to what the recipe asks for, leftovers last."""
        manifest = read_manifest(self.root) or NOTHING_MADE
        files = self.files()
        paths = dict.fromkeys((*files, *manifest.files, *manifest.pending))
        states = [_state(self.root, path, files.get(path), manifest) for path in paths]
        return [state for state in states if state.wanted is not None or state.found is not None]

    def stale(self) -> list[FileState]:
        """Return the files that are neither what the recipe asks for nor edited by hand."""
        kept = (State.CURRENT, State.EDITED, State.NOT_EXECUTABLE)
        return [state for state in self.states() if state.state not in kept]

    def require_weights(self) -> None:
        """Raise CheckpointError where the weight folder is not there yet."""
        checkpoint = self.plan.recipe.model.checkpoint
        if is_placeholder(checkpoint):
            problem = f"model.checkpoint is still to be filled in: {checkpoint}"
            hint = "set it in vacc.yaml to the weight folder; `vacc-gen fetch` fills it"
            raise CheckpointError(problem, hint)
        if not self.checkpoint_path.exists():
            hint = f"`vacc-gen fetch {word_for_shell(str(self.root))}` downloads published weights"
            raise CheckpointError(f"the weights are not there: {self.checkpoint_path}", hint)


def _state(root: Path, path: str, wanted: str | None, manifest: Manifest) -> FileState:
    place, found = root / path, None
    # Bytes that are not UTF-8 are an edit like any other.
    if place.exists():
        found = place.read_bytes().decode("utf-8", errors="surrogateescape")
    if found is None:
        state = State.MISSING
    elif found == wanted:
        is_lacking = _is_script(path) and not place.stat().st_mode & stat.S_IXUSR
        state = State.NOT_EXECUTABLE if is_lacking else State.CURRENT
    elif not manifest.is_generated(path, found):
        state = State.EDITED
    else:
        state = State.LEFTOVER if wanted is None else State.OUTDATED
    return FileState(path, state, wanted, found)


def _is_script(path: str) -> bool:
    return Path(path).parent == Path(SCRIPTS_FOLDER)


def load_workspace(root: Path) -> Workspace:
    """Read a workspace's recipe, find its preset, and plan.

    Raises:
        UnreadableError: there is no vacc.yaml; it or the checkpoint's config.json cannot be read.
        FindingsError: the recipe has errors.
        CheckpointError: config.json is of another architecture or has no usable sizes.
    """
    path = root / RECIPE_FILE
    if not path.exists():
        hint = "vacc-gen new --model falcon-7b-instruct makes a workspace"
        raise UnreadableError(f"no {RECIPE_FILE} in {root}", hint)
    return _planned(root, path.read_bytes())


def _planned(root: Path, source: bytes) -> Workspace:
    """Return the workspace that a recipe's text makes of a folder."""
    path = root / RECIPE_FILE
    result = check_document(load(source, str(path)), presets.KNOWN)
    file = next(iter(result.files), None)
    if has_errors(result.diagnostics) or not isinstance(file, RecipeFile):
        raise FindingsError(f"{path} is not a valid recipe", result.diagnostics)
    recipe = file.recipe
    preset = presets.MODELS.find(recipe.model.preset)
    # Not resolved: a weight folder is often a link, whose name is the model's.
    checkpoint_path = Path(os.path.abspath(root / recipe.model.checkpoint))  # noqa: PTH100
    config_file = checkpoint_path / CONFIG_FILE
    try:
        model_config = read_json_object(config_file) if config_file.is_file() else None
        plan = make_plan(recipe, preset, model_config)
    except (CheckpointError, UnreadableError):
        open_weights(checkpoint_path)  # which says it as every other verb does
        raise
    recipe_hash = text_hash(source.decode(errors="replace"))
    own_lock = read_own_lock(root)
    return Workspace(root, plan, checkpoint_path, model_config, own_lock, recipe_hash)


def create(root: Path, recipe_text: str, force: bool = False) -> Workspace:
    """Make a workspace at `root`, which must not exist or be empty, or with `force` be a workspace.

    All of it is checked before the first file is written, and vacc.yaml is the last: where that is
    cut short, no recipe stands beside files that are not yet its own, and the same call goes on.

    Raises:
        UsageError: something else stands at `root`.
        FindingsError: what would be made has errors.
        OSError: it cannot be written.
    """
    workspace, recipe = _planned(root, recipe_text.encode()), root / RECIPE_FILE
    is_own = _is_begun(root, recipe_text) or (force and recipe.is_file())
    if is_occupied(root) and not is_own:
        hint = "--force writes over an existing workspace"
        hint = hint if recipe.is_file() else "name another folder with --out"
        raise UsageError(f"{root} exists and is not empty", hint)
    files = {RECIPE_FILE: recipe_text, **workspace.files()}
    documents = [load(files[path], str(root / path)) for path in files if path.endswith(".yaml")]
    found = check_documents(documents, presets.KNOWN).diagnostics
    if has_errors(found):
        raise FindingsError("a workspace of these choices would not be valid", found)
    update(workspace, force)
    write_atomically(recipe, recipe_text)
    return load_workspace(root)


def _is_begun(root: Path, recipe_text: str) -> bool:
    """Whether `create` was killed here, or has done the same already."""
    recipe = root / RECIPE_FILE
    if recipe.is_file():
        return recipe.read_bytes() == recipe_text.encode()
    return (root / MANIFEST_PATH).parent.is_dir()


@dataclass(frozen=True)
class Update:
    """What `update` did, as paths in the workspace."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    """Edited by hand, and so left alone."""


def update(workspace: Workspace, force: bool = False, over: Collection[str] = ()) -> Update:
    """Bring the generated files up to date; `force` also writes over hand edits, as do `over`'s.

    Files are replaced one by one, so that a failure leaves each either old or new. The manifest has
    the hashes of both before the first is. Edited files that are no longer wanted stay.
    """
    root, manifest = workspace.root, read_manifest(workspace.root) or NOTHING_MADE
    known, hashes = dict(manifest.files), {}
    to_write: dict[str, str] = {}
    removed: list[str] = []
    kept: list[str] = []
    for state in workspace.states():
        path, wanted = state.path, state.wanted
        if state.found is not None and manifest.is_generated(path, state.found):
            known[path] = text_hash(state.found)
        if state.state is State.LEFTOVER:
            removed.append(path)
        elif state.state is State.EDITED and (wanted is None or not (force or path in over)):
            kept.append(path)
            # The hash of what we wrote, so that the edit is still seen as one next time.
            hashes[path] = manifest.files.get(path, text_hash(wanted or ""))
        elif wanted is not None:
            hashes[path] = text_hash(wanted)
            if state.state is not State.CURRENT:
                to_write[path] = wanted
    if to_write:
        pending = {path: hashes[path] for path in to_write}
        started = Manifest(version=1, made_from=manifest.made_from, files=known, pending=pending)
        write_atomically(root / MANIFEST_PATH, started.text())
    for path in manifest.pending:
        remove_leftovers(root / path)
    for path, text in to_write.items():
        write_atomically(root / path, text)
        if _is_script(path):
            mode = (root / path).stat().st_mode
            (root / path).chmod(mode | (mode & 0o444) >> 2)  # who may read may run
    for path in removed:
        (root / path).unlink()
    done = Manifest(version=1, made_from={RECIPE_FILE: workspace.recipe_hash}, files=hashes)
    if to_write or done != manifest:
        write_atomically(root / MANIFEST_PATH, done.text())
    return Update(tuple(to_write), tuple(removed), tuple(kept))
