"""What stands beside a target while it is written, and what killed processes leave there."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.workspaces import make_prepared_workspace
from vacc_gen.generator.files import (
    naming,
    remove_leftovers,
    room_for,
    staged_file,
    staged_folder,
    write_atomically,
)
from vacc_gen.schema.errors import StageError

WRITER = """
import sys
from pathlib import Path
from vacc_gen.generator.files import staged_file, staged_folder
target = Path(sys.argv[1])
with staged_file(target / "file") as file, staged_folder(target / "folder") as folder:
    file.write(b"half")
    (folder / "half").write_bytes(b"")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process that is writing `file` and `folder` in the test's folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def hidden(folder):
    return sorted(path.name for path in folder.glob(".*"))


def test_what_a_living_process_writes_stays_and_what_a_killed_one_wrote_goes(tmp_path, writer):
    write_atomically(tmp_path / "file", "mine")
    with staged_folder(tmp_path / "folder") as folder:
        (folder / "whole").write_text("mine")
    assert hidden(tmp_path) == [f".{name}.{writer.pid}.vacc-gen" for name in ("file", "folder")]
    writer.kill()
    writer.wait(30)
    write_atomically(tmp_path / "file", "again")
    with staged_folder(tmp_path / "folder") as folder:
        (folder / "whole").write_text("again")
        assert hidden(tmp_path) == [f".folder.{os.getpid()}.vacc-gen"]
    assert hidden(tmp_path) == []
    assert (tmp_path / "file").read_text() == "again"
    assert (tmp_path / "folder" / "whole").read_text() == "again"


@pytest.mark.parametrize(
    "name", [".file.2024", ".file.7.vacc-gen.txt", ".file.x.vacc-gen", ".files.7.vacc-gen", ".file"]
)
def test_files_that_are_not_leftovers_stay(tmp_path, name):
    (tmp_path / name).write_text("a user's own")
    remove_leftovers(tmp_path / "file")
    assert hidden(tmp_path) == [name]


def test_a_folder_that_was_moved_away_for_a_new_one_comes_back(tmp_path):
    old = tmp_path / ".folder.old.7.vacc-gen"
    old.mkdir()
    (old / "whole").write_text("the last good one")
    remove_leftovers(tmp_path / "folder")
    assert (tmp_path / "folder" / "whole").read_text() == "the last good one"
    shutil.copytree(tmp_path / "folder", old)
    remove_leftovers(tmp_path / "folder")
    assert hidden(tmp_path) == []
    with staged_folder(tmp_path / "folder") as folder:
        (folder / "newer").write_text("")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["newer"]
    assert hidden(tmp_path) == []


def test_a_staged_file_keeps_permissions_and_replaces_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_atomically(link, "ours")
    assert (link.is_symlink(), target.read_text()) == (False, "old")
    with staged_file(target) as file:
        file.write(b"new")
        assert target.read_text() == "old"
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_disk_that_fills_up_names_the_file_and_what_was_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_000_000))
    message = "weights.bin: no space left on device; 2.0 MB needed, 3.0 MB free"
    with (
        pytest.raises(StageError, match=message),
        room_for(tmp_path, 2_000_000),
        naming(Path("weights.bin")),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StageError, match=r"not enough disk space in .*: 4\.0 MB needed, 3\.0 MB"):
        room_for(tmp_path, 4_000_000).__enter__()


STATE = ("build.lock", "build.json", "manifest.json", "logs/{job}.compile.log", "../report.json")


@pytest.mark.parametrize("name", STATE)
def test_a_build_writes_through_no_link_that_came_with_a_workspace(
    tmp_path, install_vamc, run, name
):
    workspace = make_prepared_workspace(tmp_path / "w")
    install_vamc("echo output; exit 3")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = workspace.root / ".vacc-gen" / name.format(job=workspace.plan.jobs[0].name)
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    done = run("build", workspace.root)
    assert (done.code in (1, 2), "is a link" in done.err) == (True, name.endswith(("lock", "log")))
    assert victim.read_text() == "mine"
