"""Packages that are missing, old or broken, in processes that find a stub of them first."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.processes import VACC_GEN
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


def without(package: str, stub: str, folder: Path, *arguments: object) -> tuple[int, str]:
    """Run vacc-gen where `package` is one of STUBS; return its exit code and stderr."""
    (folder / "stubs" / package).mkdir(parents=True)
    (folder / "stubs" / package / "__init__.py").write_text(STUBS[stub][0])
    paths = [str(folder / "stubs"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [*VACC_GEN, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def assert_said(done: tuple[int, str], package: str, stub: str) -> None:
    code, said = done
    assert code == 2
    error, hint = said.splitlines()
    assert error.startswith("error: ")
    assert f" needs {package}, which {STUBS[stub][1]}" in error
    assert hint == "hint: pip install 'vacc-gen[export]'"


@pytest.mark.parametrize("stub", STUBS)
def test_what_is_wrong_is_said_with_the_line_that_mends_it(tmp_path: Path, stub: str) -> None:
    (tmp_path / "decode.onnx").touch()
    done = without("onnxruntime", stub, tmp_path, "run", tmp_path, "--prompt", "a")
    assert_said(done, "onnxruntime", stub)


@pytest.mark.parametrize(
    ("verb", "package"),
    [("export", "torch"), ("build", "onnxruntime"), ("build", "transformers"), ("run", "numpy")],
)
def test_each_verb_says_it_before_any_work(tmp_path: Path, verb: str, package: str) -> None:
    root = make_workspace(tmp_path / "w").root
    (root / "decode.onnx").touch()
    arguments = {
        "export": (FALCON_TINY, "--out", tmp_path / "out"),
        "build": (root, "--backend", "onnxruntime"),
        "run": (root, "--prompt", "a"),
    }[verb]
    code, said = without(package, "without a library", tmp_path, verb, *arguments)
    assert_said((code, "".join(said.splitlines(keepends=True)[-2:])), package, "without a library")
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
