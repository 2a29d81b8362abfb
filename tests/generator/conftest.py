"""The command line in the test's own process, and one finished build that tests share."""

import os
import shutil
import sys
from typing import NamedTuple

import pytest

from tests.processes import make_program
from tests.workspaces import build, make_workspace
from vacc_gen.generator.cli.main import main
from vacc_gen.generator.workspace import load_workspace


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run vacc-gen in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vacc-gen", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Done(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def install_vamc(tmp_path, monkeypatch):
    """Put a script of bash on the PATH as the compiler."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return lambda script: make_program(tmp_path / "bin" / "vamc", f"#!/bin/bash\n{script}\n")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory):
    """fp16 and int8 of falcon-tiny by the embedded backend. Do not change it."""
    from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend

    root = tmp_path_factory.mktemp("build") / "falcon-tiny"
    limits = {"max_abs_diff": {"fp16": 0.05, "int8": 1.0}}
    workspace = make_workspace(root, verification=limits)
    build(workspace, OnnxRuntimeBackend())
    return workspace


@pytest.fixture
def built(built_once, tmp_path):
    """A copy of the build that a test may harm; its files keep their times."""
    root = tmp_path / built_once.root.name
    shutil.copytree(built_once.root, root, copy_function=shutil.copy2)
    return load_workspace(root)
