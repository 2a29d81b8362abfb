"""What the ledger takes for finished; whole builds (test_runner, test_contract) show the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from vacc_gen.generator.build.ledger import Entry, Ledger, step_key


def ledger_of(folder: Path) -> Ledger:
    return Ledger(folder, folder / "state" / "build.json")


def test_a_finished_step_is_known_to_the_next_process_by_its_key(tmp_path: Path) -> None:
    made, outside = tmp_path / "weights.bin", tmp_path.parent / f"{tmp_path.name}.bin"
    for file in (made, outside):
        file.write_bytes(b"weights")
    ledger = ledger_of(tmp_path)
    outputs = (ledger.output(made), ledger.output(outside))
    assert [output.path for output in outputs] == ["weights.bin", str(outside)]
    recorded = Entry("key", 1.5, 1000, outputs, {"group_size": 64})
    ledger.record("export job", recorded)
    again = ledger_of(tmp_path)
    assert again.reusable("export job", "key") == recorded
    assert again.reusable("export job", "other") is None
    assert again.reusable("compile job", "key") is None
    again.forget("export job")
    assert ledger_of(tmp_path).reusable("export job", "key") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"version": 1, "steps": {}}', '{"export job": {"key": "key"}}']
)
def test_a_damaged_ledger_counts_as_empty(tmp_path: Path, content: str) -> None:
    file = tmp_path / "state" / "build.json"
    file.parent.mkdir()
    file.write_text(content)
    assert ledger_of(tmp_path).reusable("export job", "key") is None


def test_a_key_depends_on_everything_that_goes_in() -> None:
    keys = {
        step_key("export job", {"a": 1}, []),
        step_key("export job", {"a": 2}, []),
        step_key("export job", {"a": 1}, ["upstream"]),
        step_key("export other", {"a": 1}, []),
    }
    assert len(keys) == 4
    assert step_key("job", {"b": 1, "a": 2}, []) == step_key("job", {"a": 2, "b": 1}, [])
