"""Workspaces on disk: what is made, what counts as an edit, and what a failure leaves."""

import json
import os
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY, recipe_text
from vacc_gen.generator.workspace import (
    MANIFEST_PATH,
    State,
    create,
    load_workspace,
    update,
)
from vacc_gen.schema.errors import UnreadableError, UsageError
from vacc_gen.schema.lint.diagnostics import FindingsError

recipe = partial(recipe_text, "falcon-7b", "/path/to/falcon-7b")


def contents(root):
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mode)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def root(tmp_path):
    """A workspace of the default recipe."""
    return create(tmp_path / "w", recipe()).root


def states_of(root):
    return {state.path: state.state for state in load_workspace(root).states()}


def test_the_same_recipe_makes_the_same_current_files(root, tmp_path):
    made = create(tmp_path / "two", recipe())
    before = contents(tmp_path / "two")
    assert contents(root) == before
    assert {path.name for path in tmp_path.iterdir()} == {"w", "two"}
    manifest = json.loads((root / MANIFEST_PATH).read_text())
    assert set(manifest["files"]) == set(before) - {"vacc.yaml", str(MANIFEST_PATH)}
    assert {state.state for state in made.states()} == {State.CURRENT}
    done = update(made)
    assert (done.written, done.removed, done.kept) == ((), (), ())
    assert contents(tmp_path / "two") == before


def test_a_checkpoint_is_found_from_the_recipe_and_its_config_used(tmp_path):
    shutil.copytree(FALCON_TINY, tmp_path / "weights")
    made = create(tmp_path / "w", recipe_text("falcon-tiny", "../weights"))
    assert made.checkpoint_path == tmp_path / "weights"
    vacc_config = json.loads((tmp_path / "w/source_code/config_vacc.json").read_text())
    published = json.loads((FALCON_TINY / "config.json").read_text())
    assert {key: vacc_config[key] for key in published} == published

    (tmp_path / "weights" / "config.json").write_text(json.dumps({**published, "vocab_size": 2064}))
    changed = load_workspace(tmp_path / "w")
    assert changed.plan.geometry.vocab_size == 2064
    drifted = [state.path for state in changed.states() if state.state is State.OUTDATED]
    assert drifted == ["source_code/config_vacc.json"]


def test_a_changed_recipe_outdates_what_depends_on_it(tmp_path):
    create(tmp_path / "w", recipe(precisions=["fp16", "kv8"]))
    (tmp_path / "w/vacc.yaml").write_text(recipe(target={"tp": 2}, precisions=["fp16", "int8"]))
    states = states_of(tmp_path / "w")
    assert states["build/hf_falcon_fp16.yaml"] is State.OUTDATED
    assert states["build/hf_falcon_int8.yaml"] is State.MISSING
    assert states["build/hf_falcon_kv8.yaml"] is State.LEFTOVER
    assert states["env/requirements.lock"] is State.CURRENT
    assert update(load_workspace(tmp_path / "w")).removed == ("build/hf_falcon_kv8.yaml",)
    create(tmp_path / "fresh", (tmp_path / "w/vacc.yaml").read_text())
    assert contents(tmp_path / "w") == contents(tmp_path / "fresh")


def test_hand_edits_are_kept_and_seen_again_until_forced(tmp_path):
    root = create(tmp_path / "w", recipe(precisions=["fp16", "kv8"])).root
    script, unwanted = root / "scripts/serve.sh", root / "build/hf_falcon_kv8.yaml"
    unwanted.write_text("mine\n")
    edited = script.read_text() + "# mine\n"
    script.write_text(edited)
    (root / "vacc.yaml").write_text(recipe(target={"tp": 2}, precisions=["fp16"]))
    for changes in (True, False):
        done = update(load_workspace(root))
        assert ("build/hf_falcon_fp16.yaml" in done.written) is changes
        assert done.kept == ("scripts/serve.sh", "build/hf_falcon_kv8.yaml")
        assert script.read_text() == edited
    done = update(load_workspace(root), force=True)
    assert (done.written, done.kept) == (("scripts/serve.sh",), ("build/hf_falcon_kv8.yaml",))
    assert ("[0,1]" in script.read_text(), unwanted.read_text()) == (True, "mine\n")
    assert os.access(script, os.X_OK)


def test_without_a_manifest_every_difference_is_an_edit(root):
    (root / MANIFEST_PATH).unlink()
    (root / "vacc.yaml").write_text(recipe(target={"tp": 2}))
    states = states_of(root)
    assert states["build/hf_falcon_fp16.yaml"] is State.EDITED
    assert states["env/requirements.lock"] is State.CURRENT


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"version": 9, "made_from": {}, "files": {}}',
     '{"version": 1, "made_from": {}, "files": {"../x": "1"}}'],
)  # fmt: skip
def test_a_damaged_manifest_is_named(root, text):
    (root / MANIFEST_PATH).write_text(text)
    with pytest.raises(UnreadableError, match=r"manifest\.json"):
        states_of(root)


def test_what_a_killed_update_left_is_cleared(root):
    manifest = json.loads((root / MANIFEST_PATH).read_text())
    begun = {**manifest, "pending": {"scripts/serve.sh": "0"}}
    (root / MANIFEST_PATH).write_text(json.dumps(begun))
    left = root / "scripts/.serve.sh.7.vacc-gen"
    left.touch()
    assert update(load_workspace(root)).written == ()
    assert json.loads((root / MANIFEST_PATH).read_text()) == manifest
    assert not left.exists()


def test_an_occupied_folder_is_left_alone(tmp_path):
    (tmp_path / "w").mkdir()
    for _ in range(2):  # empty is as good as absent, and what is there already is fine
        create(tmp_path / "w", recipe())
    before = contents(tmp_path / "w")
    with pytest.raises(UsageError, match="is not empty"):
        create(tmp_path / "w", recipe(target={"tp": 2}))
    assert contents(tmp_path / "w") == before

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    for force in (False, True):
        with pytest.raises(UsageError, match="is not empty"):
            create(tmp_path / "other", recipe(), force)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UsageError):
        create(tmp_path / "file", recipe(), force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"w", "other", "file"}


def test_force_writes_over_a_workspace_and_touches_nothing_else(root, tmp_path):
    (root / "scripts/serve.sh").write_text("mine")
    (root / "vacc_deploy").mkdir()
    (root / "vacc_deploy/mod.so").write_text("made in hours")
    create(root, recipe(target={"tp": 2}), force=True)
    create(tmp_path / "fresh", recipe(target={"tp": 2}))
    made = contents(root)
    assert made.pop("vacc_deploy/mod.so")[0] == b"made in hours"
    assert made == contents(tmp_path / "fresh")


class Killed(BaseException):
    """Ends a test's run where a signal would: no handler of ours may rely on catching it."""


def is_stopped(count, action, *arguments, **options):
    """Run an action; whether it came as far as the `count`-th move into place and died there."""
    moves = []

    def stopping(move):
        def wrapped(path, target):
            moves.append(target)
            if len(moves) == count:
                raise Killed
            return move(path, target)

        return wrapped

    with pytest.MonkeyPatch.context() as patched, suppress(Killed):
        for name in ("replace", "rename"):
            patched.setattr(Path, name, stopping(getattr(Path, name)))
        action(*arguments, **options)
        return False
    return True


MANY = range(1, 99)
"""More moves than any of these tests makes."""


def test_a_new_workspace_that_stops_has_no_recipe_and_the_next_run_goes_on(tmp_path):
    whole = contents(create(tmp_path / "whole", recipe()).root)
    for count in MANY[::3]:
        root = tmp_path / str(count)
        if not is_stopped(count, create, root, recipe()):
            break
        assert not (root / "vacc.yaml").exists()
        create(root, recipe())
        assert contents(root) == whole
    assert count > 10
    assert set(states_of(root).values()) == {State.CURRENT}


def test_a_forced_new_that_stops_leaves_the_old_recipe_and_nothing_by_hand(tmp_path):
    old, new = recipe(), recipe(target={"tp": 2}, precisions=["fp16", "kv8"])
    create(tmp_path / "old", old)
    create(tmp_path / "new", new)
    for count in MANY[::3]:
        create(tmp_path / "w", old, force=True)
        if not is_stopped(count, create, tmp_path / "w", new, force=True):
            break
        assert (tmp_path / "w/vacc.yaml").read_text() == old
        assert State.EDITED not in states_of(tmp_path / "w").values()
        assert update(load_workspace(tmp_path / "w")).kept == ()
        assert contents(tmp_path / "w") == contents(tmp_path / "old")
    assert count > 9
    assert contents(tmp_path / "w") == contents(tmp_path / "new")


def test_a_recipe_that_has_mistakes_is_named_and_makes_nothing(tmp_path):
    with pytest.raises(FindingsError) as error:
        create(tmp_path / "w", recipe(target={"prefil": 64, "tp": "4"}))
    assert {finding.path for finding in error.value.diagnostics} == {str(tmp_path / "w/vacc.yaml")}
    assert len(error.value.diagnostics) == 2
    assert list(tmp_path.iterdir()) == []
