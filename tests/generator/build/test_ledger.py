"""What the ledger takes for finished; whole builds (test_runner, test_contract) show the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from vacc_gen.generator.build.ledger import Ledger


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"export job": ["key"]}',
        '{"version": 1, "steps": {}}',
        '{"export job": {"key": "key"}}',
    ],
)
def test_a_damaged_ledger_counts_as_empty(tmp_path: Path, content: str) -> None:
    file = tmp_path / ".vacc-gen" / "build.json"
    file.parent.mkdir()
    file.write_text(content)
    assert Ledger(tmp_path).reusable("export job", "key") is None
