"""`vacc-gen export`, as a user calls it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.processes import VACC_GEN
from tests.workspaces import FALCON_TINY


def export(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*VACC_GEN, "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_names_what_it_wrote(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export(FALCON_TINY, "--out", out, "--dtype", "int8")
    assert (done.returncode, done.stderr) == (0, "")
    graph, weights = done.stdout.splitlines()
    assert graph.startswith(str(out / "model.onnx"))
    assert weights == f"{out / 'weights.bin'}  2.9 MB"
    again = export(FALCON_TINY, "--out", out)
    assert (again.returncode, again.stdout) == (2, "")
    assert "is not empty" in again.stderr


@pytest.mark.parametrize(
    ("checkpoint", "options", "code", "words"),
    [
        (".", (), 1, "has no config.json"),
        ("none", (), 1, "is not a folder"),
        (FALCON_TINY, ("--total", "64"), 2, "go together"),
        (
            FALCON_TINY,
            ("--prefill", "8", "--total", "16"),
            2,
            "prefill length 8 is not a positive multiple of 16",
        ),
        (FALCON_TINY, ("--dtype", "int4"), 2, "int4"),
    ],
)
def test_refusals(
    tmp_path: Path, checkpoint: object, options: tuple[str, ...], code: int, words: str
) -> None:
    done = export(tmp_path / str(checkpoint), "--out", tmp_path / "out", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[1]", None])
def test_a_config_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    config = tmp_path / "weights" / "config.json"
    config.parent.mkdir()
    config.mkdir() if content is None else config.write_text(content)
    done = export(config.parent, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "config.json" in done.stderr
    assert "Traceback" not in done.stderr
