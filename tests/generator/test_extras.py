"""Packages that are missing, old or broken: a stub of them is found first."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workspaces import FALCON_TINY, make_workspace

STUBS = {
    "absent": ("raise ModuleNotFoundError(name=__name__)", "is not installed"),
    "old": ("__version__ = '1.0'", "is 1.0 here, not >="),
    "without a library": (
        "raise OSError('libcuda.so.12: cannot open shared object file')",
        "does not load: OSError: libcuda.so.12: cannot open",
    ),
    "of another build": (
        "raise SystemError('compiled against ABI version 0x1000009\\n\\x1b[31m')",
        r"does not load: SystemError: compiled against ABI version 0x1000009 \x1b[31m",
    ),
    "that exits": ("raise SystemExit(0)", "does not load: SystemExit"),
    "emptied": ("", "is broken: it has no version"),
}


@pytest.mark.parametrize(
    ("verb", "package", "stub"),
    [
        *(("run", "onnxruntime", stub) for stub in STUBS),
        ("export", "torch", "without a library"),
        ("build", "onnxruntime", "without a library"),
        ("build", "transformers", "without a library"),
        ("run", "numpy", "without a library"),
    ],
)
def test_what_is_wrong_is_said_before_any_work_with_the_line_that_mends_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., Any],
    verb: str,
    package: str,
    stub: str,
) -> None:
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs" / f"{package}.py").write_text(STUBS[stub][0])
    root = make_workspace(tmp_path / "w").root
    for name in ("model.onnx", "weights.bin"):
        (root / name).touch()
    shutil.copyfile(FALCON_TINY / "tokenizer.json", root / "tokenizer.json")
    model = {"context_length": 64, "eos_token_id": [0]}
    (root / "genai_config.json").write_text(json.dumps({"model": model}))
    monkeypatch.syspath_prepend(tmp_path / "stubs")
    monkeypatch.delitem(sys.modules, package, raising=False)
    done = {
        "export": lambda: run("export", FALCON_TINY, "--out", tmp_path / "out"),
        "build": lambda: run("build", root, "--backend", "onnxruntime"),
        "run": lambda: run("run", root, "--prompt", "a"),
    }[verb]()
    sys.modules.pop(package, None)
    assert done.code == 2
    error, hint = done.err.splitlines()[-2:]
    assert error.startswith("error: ")
    assert f" needs {package}, which {STUBS[stub][1]}" in error
    assert hint == "hint: pip install 'vacc-gen[export]'"
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
