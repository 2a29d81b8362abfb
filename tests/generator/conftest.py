"""One finished build, shared by all tests that look at what a build leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workspaces import build, make_workspace
from vacc_gen.generator.workspace.workspace import Workspace, load_workspace


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """fp16 and int8 of falcon-tiny by the embedded backend. Do not change it."""
    from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend

    root = tmp_path_factory.mktemp("build") / "falcon-tiny"
    limits = {"max_abs_diff": {"fp16": 0.05, "int8": 1.0}}
    workspace = make_workspace(root, verification=limits)
    build(workspace, OnnxRuntimeBackend())
    return workspace


@pytest.fixture
def built(built_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the build that a test may harm; its files keep their times."""
    root = tmp_path / built_once.root.name
    shutil.copytree(built_once.root, root, copy_function=shutil.copy2)
    return load_workspace(root)
