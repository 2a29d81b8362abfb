"""What is written lands where it is said to, whatever links lie in the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import VACC_GEN, start
from tests.workspaces import make_workspace
from vacc_gen.generator.files import open_in_place, write_atomically
from vacc_gen.schema.errors import UnreadableError

WAYS: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda path, victim: path.symlink_to(victim),
    "hard link": lambda path, victim: path.hardlink_to(victim),
    "pipe": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flags", [0, os.O_TRUNC, os.O_APPEND])
def test_only_a_file_of_its_own_is_opened_to_write_in(tmp_path: Path, way: str, flags: int) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    WAYS[way](tmp_path / "file", victim)
    with pytest.raises(UnreadableError, match="is a link, or not a file"):
        open_in_place(tmp_path / "file", flags)
    assert victim.read_text() == "mine"


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "file").symlink_to(victim)
    write_atomically(tmp_path / "file", "ours")
    assert (victim.read_text(), (tmp_path / "file").read_text()) == ("mine", "ours")


STATE = ("build.lock", "build.json", "manifest.json", "logs/{job}.compile.log")


@pytest.mark.parametrize("name", STATE)
def test_a_build_writes_through_no_link_that_came_with_a_workspace(
    tmp_path: Path, name: str
) -> None:
    workspace = make_workspace(tmp_path / "w")
    program = tmp_path / "bin" / "vamc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho output; exit 3\n")
    program.chmod(0o755)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = workspace.root / ".vacc-gen" / name.format(job=workspace.plan.jobs[0].name)
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    assert start(*VACC_GEN, "build", str(workspace.root), env=environment).wait(60) in (1, 2)
    assert victim.read_text() == "mine"
