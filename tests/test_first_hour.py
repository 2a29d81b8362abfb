"""The first lines that a newcomer types, on a hub of this machine.

The preset falcon-7b-instruct is that of falcon-tiny in a copy of the package: a small model in the
place of the large one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def make_small_package(package):
    """A package in which falcon-7b-instruct is small."""
    shutil.copytree(REPOSITORY / "presets", package / "presets")
    for room in ("schema", "generator"):
        (package / room).symlink_to(REPOSITORY / room)
    models = package / "presets" / "models"
    text = (models / "falcon-tiny.yaml").read_text()
    named = text.replace("name: falcon-tiny", f"name: {NAME}\nhuggingface_id: tiiuae/{NAME}", 1)
    (models / f"{NAME}.yaml").write_text(named)


def test_from_nothing_to_text(tmp_path):
    make_small_package(tmp_path / "python" / "vacc_gen")
    command = f'exec {sys.executable} -m vacc_gen.generator.cli.main "$@"'
    program = make_program(tmp_path / "bin" / "vacc-gen", f"#!/bin/sh\n{command}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    kept |= {"PYTHONPATH": str(tmp_path / "python"), "HF_HOME": str(tmp_path)}
    kept["PATH"] = f"{program.parent}{os.pathsep}{kept['PATH']}"
    with serving() as hub:
        files = {path.name: path.read_bytes() for path in FALCON_TINY.iterdir()}
        files["config.json"] = files["config.json"].replace(b"{", b'{"_name_or_path": "x",', 1)
        hub.repositories[f"models/tiiuae/{NAME}"] = files
        variables = {**kept, "HF_ENDPOINT": hub.url}
        bash = ["bash", "-c", LINES]
        done = subprocess.run(bash, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for said in (
        f'  vacc-gen build {NAME}\n  vacc-gen run {NAME} --prompt "In the beginning"\n',
        "which is not there yet (not ready: 1 thing missing)\n",
        f"\nnext: vacc-gen fetch {NAME}",
        "fetched  tokenizer.json  126 kB\n",
        f"\n8 files, 5.2 MB in {NAME}/weights/{NAME}: 8 fetched\nwrote {NAME}/source_code/config_",
        f"\nnext: vacc-gen build {NAME}\n",
    ):
        assert said in done.stdout
    assert "prompt 10 tokens, answer 64 tokens" in done.stderr
