"""The first lines that a newcomer types, as written, on a hub of this machine.

The preset falcon-7b-instruct is that of falcon-tiny in a copy of the package: a small model in the
place of the large one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import serving
from tests.processes import make_program
from tests.workspaces import FALCON_TINY

REPOSITORY = Path(__file__).parents[1]
NAME = "falcon-7b-instruct"
LINES = (
    "vacc-gen new --model falcon-7b-instruct && vacc-gen validate falcon-7b-instruct && "
    "vacc-gen fetch falcon-7b-instruct && vacc-gen build falcon-7b-instruct && "
    'vacc-gen run falcon-7b-instruct --prompt "The capital of France is"'
)


@pytest.fixture
def small(tmp_path):
    """The folder of a package in which falcon-7b-instruct is small."""
    package = tmp_path / "python" / "vacc_gen"
    shutil.copytree(REPOSITORY / "presets", package / "presets")
    for room in ("schema", "generator"):
        (package / room).symlink_to(REPOSITORY / room)
    models = package / "presets" / "models"
    text = (models / "falcon-tiny.yaml").read_text()
    named = text.replace("name: falcon-tiny", f"name: {NAME}\nhuggingface_id: tiiuae/{NAME}", 1)
    (models / f"{NAME}.yaml").write_text(named)
    return package.parent


def test_from_nothing_to_text(tmp_path, small):
    program = make_program(
        tmp_path / "bin" / "vacc-gen",
        f'#!/bin/sh\nexec {sys.executable} -m vacc_gen.generator.cli.main "$@"\n',
    )
    with serving() as hub:
        files = {path.name: path.read_bytes() for path in FALCON_TINY.iterdir()}
        files["config.json"] = files["config.json"].replace(b"{", b'{"_name_or_path": "x",', 1)
        hub.repositories[f"models/tiiuae/{NAME}"] = files
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment = {"PYTHONPATH": str(small), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        path = f"{program.parent}{os.pathsep}{kept['PATH']}"
        done = subprocess.run(
            ["bash", "-c", LINES],
            cwd=tmp_path,
            env={**kept, **environment, "PATH": path},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    for step in ("fetch", "build", f'run {NAME} --prompt "In the beginning"'):
        assert f"  vacc-gen {step}" in said
    assert "which is not there yet (not ready: 1 thing missing)\n" in said
    assert f"\nnext: vacc-gen fetch {NAME}" in said
    assert f"fetched  {NAME}/weights/{NAME}/tokenizer.json  126 kB\n" in said
    assert f"\n8 files, 5.2 MB: 8 fetched\nwrote {NAME}/source_code/config_vacc.json\n" in said
    assert f"\nnext: vacc-gen build {NAME}\n" in said
    assert len(said[said.rindex("--prompt") :].splitlines()[1:]) > 0, "no text"
