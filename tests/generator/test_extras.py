"""Packages that are missing, old or broken: a stub of them is found first."""

import json
import shutil
import sys

import pytest

from tests.workspaces import FALCON_TINY, make_workspace

BROKEN = "raise OSError('libcuda.so.12: cannot open shared object file')"
IS_BROKEN = "does not load: OSError: libcuda.so.12: cannot open"
OF_ANOTHER_BUILD = "raise SystemError('compiled against ABI version 0x1000009\\n\\x1b[31m')"


@pytest.mark.parametrize(
    ("verb", "package", "stub", "problem"),
    [
        ("run", "onnxruntime", "raise ModuleNotFoundError(name=__name__)", "is not installed"),
        ("run", "onnxruntime", "__version__ = '1.0'", "is 1.0 here, not >="),
        ("run", "onnxruntime", BROKEN, IS_BROKEN),
        ("run", "onnxruntime", OF_ANOTHER_BUILD, r"SystemError: compiled against ABI"),
        ("run", "onnxruntime", "raise SystemExit(0)", "does not load: SystemExit"),
        ("run", "onnxruntime", "", "is 0 here, not >="),
        ("run", "numpy", BROKEN, IS_BROKEN),
        ("export", "torch", BROKEN, IS_BROKEN),
        ("build", "onnxruntime", BROKEN, IS_BROKEN),
        ("build", "transformers", BROKEN, IS_BROKEN),
    ],
)
def test_what_is_wrong_is_said_before_any_work_with_the_line_that_mends_it(
    tmp_path, monkeypatch, run, verb, package, stub, problem
):
    (tmp_path / "stubs").mkdir()
    (tmp_path / "stubs" / f"{package}.py").write_text(stub)
    root = make_workspace(tmp_path / "w").root
    for name in ("model.onnx", "weights.bin"):
        (root / name).touch()
    shutil.copyfile(FALCON_TINY / "tokenizer.json", root / "tokenizer.json")
    model = {"context_length": 64, "eos_token_id": [0]}
    (root / "genai_config.json").write_text(json.dumps({"model": model}))
    monkeypatch.syspath_prepend(tmp_path / "stubs")
    monkeypatch.delitem(sys.modules, package, raising=False)
    arguments = {
        "export": (FALCON_TINY, "--out", "out"),
        "build": (root, "--backend", "onnxruntime"),
        "run": (root, "--prompt", "a"),
    }
    done = run(verb, *arguments[verb])
    sys.modules.pop(package, None)
    assert done.code == 2
    error, hint = done.err.splitlines()[-2:]
    assert error.startswith("error: ") and "\x1b" not in error
    assert f" needs {package}, which " in error and problem in error
    assert hint == "hint: pip install 'vacc-gen[export]'"
    assert not (tmp_path / "out").exists()
