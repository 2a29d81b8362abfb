"""What the ledger takes for finished, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vacc_gen.generator.build.ledger import Entry, Ledger, step_key


@pytest.fixture
def made(tmp_path: Path) -> Path:
    file = tmp_path / "weights.bin"
    file.write_bytes(b"weights")
    return file


def ledger_of(folder: Path) -> Ledger:
    return Ledger(folder, folder / "state" / "build.json")


def record(folder: Path, *files: Path) -> Ledger:
    ledger = ledger_of(folder)
    entry = Entry("key", 1.5, 1000, tuple(map(ledger.output, files)), {"group_size": 64})
    ledger.record("export job", entry)
    return ledger


def test_a_finished_step_is_known_to_the_next_process(made: Path) -> None:
    record(made.parent, made)
    entry = ledger_of(made.parent).reusable("export job", "key")
    assert entry is not None
    assert (entry.seconds, entry.peak_rss_bytes, entry.details) == (1.5, 1000, {"group_size": 64})
    assert [output.path for output in entry.outputs] == ["weights.bin"]


def test_another_key_stage_or_job_is_not_it(made: Path) -> None:
    ledger = record(made.parent, made)
    assert ledger.reusable("export job", "other") is None
    assert ledger.reusable("compile job", "key") is None
    assert ledger.reusable("export other", "key") is None


def test_content_is_read_where_the_time_has_changed(made: Path) -> None:
    ledger = record(made.parent, made)
    os.utime(made, (1, 1))
    assert ledger.reusable("export job", "key") is not None
    made.write_bytes(b"WEIGHTS")
    assert ledger.reusable("export job", "key") is None


def test_outputs_may_have_moved_on(made: Path, tmp_path: Path) -> None:
    ledger = record(tmp_path, made)
    deploy = tmp_path / "deploy"
    deploy.mkdir()
    made.rename(deploy / made.name)
    assert ledger.reusable("export job", "key") is None
    assert ledger.reusable("export job", "key", moved_to=deploy) is not None


def test_a_forgotten_step_is_not_finished(made: Path) -> None:
    record(made.parent, made).forget("export job")
    assert ledger_of(made.parent).reusable("export job", "key") is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"version": 1, "steps": {}}', '{"export job": {"key": "key"}}'],
)
def test_a_damaged_ledger_counts_as_empty(tmp_path: Path, content: str) -> None:
    file = tmp_path / "state" / "build.json"
    file.parent.mkdir()
    file.write_text(content)
    assert ledger_of(tmp_path).reusable("export job", "key") is None


def test_files_outside_the_workspace_keep_their_paths(made: Path, tmp_path: Path) -> None:
    inside = tmp_path / "workspace"
    inside.mkdir()
    assert ledger_of(inside).output(made).path == str(made)


def test_a_key_depends_on_everything_that_goes_in() -> None:
    keys = {
        step_key("export job", {"a": 1}, []),
        step_key("export job", {"a": 2}, []),
        step_key("export job", {"a": 1}, ["upstream"]),
        step_key("export other", {"a": 1}, []),
        step_key("compile job", {"a": 1}, []),
    }
    assert len(keys) == 5
    assert step_key("export job", {"b": 1, "a": 2}, []) == step_key(
        "export job", {"a": 2, "b": 1}, []
    )
