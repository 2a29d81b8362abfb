"""scripts/download.sh with the hub's real client, against a hub on this machine."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import Fault, serving
from tests.processes import make_program
from tests.workspaces import files_of, recipe_text
from vacc_gen.generator.workspace import create

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
CONTENT = random.Random(0).randbytes(500_000)
WANTED = {
    "config.json": b"{}",
    "tokenizer.json": b"{}" * 100,
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[0]}}, indent=2
    ).encode(),
    SHARDS[0]: CONTENT,
    SHARDS[1]: CONTENT[1:],
}
OTHERS = {"pytorch_model.bin": b"pickled", "coreml/x.json": b"{}", "modeling_falcon.py": b"code"}
TEXTS = "en/c4-train.00000-of-01024.json.gz"


@pytest.fixture
def hub():
    with serving() as hub:
        hub.repositories["models/tiiuae/falcon-7b"] = {**WANTED, **OTHERS}
        hub.repositories["datasets/allenai/c4"] = {TEXTS: b"some texts", "en/x.gz": b"others"}
        yield hub


def make(folder, **parts):
    return create(folder / "a workspace", recipe_text("falcon-7b", "weights", **parts)).root


@pytest.fixture
def root(tmp_path):
    return make(tmp_path)


def download(hub, root):
    """Run the script, whose pauses pass at once."""
    pause = make_program(root.parent / "bin" / "sleep")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    tools = os.pathsep.join((str(pause.parent), str(Path(sys.executable).parent), kept["PATH"]))
    home = {"HF_HOME": str(root / "home"), "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    return subprocess.run(
        [root / "scripts" / "download.sh"],
        env={**kept, "PATH": tools, "HF_ENDPOINT": hub.url, **home},
        capture_output=True,
        text=True,
        timeout=120,
    )


def weights(root):
    return {file.name: file.read_bytes() for file in (root / "weights").glob("[!.]*")}


def test_it_brings_what_vacc_gen_fetch_brings_and_goes_on_where_it_was_stopped(hub, tmp_path):
    root = make(tmp_path, calibration={"set": "c4", "path": "texts/c4.json.gz", "seqlen": 64})
    part = root / "texts" / "c4.json.gz.download" / f"{TEXTS}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"some")
    (root / "weights").mkdir()
    (root / "weights" / f"{SHARDS[0]}.part").write_bytes(CONTENT[:300_000])
    (root / "weights" / f"{SHARDS[1]}.part").write_bytes(bytes(1000))  # of another file
    hub.faults[SHARDS[0]] = [Fault(status=429, headers={"Retry-After": "0"})]
    done = download(hub, root)
    assert done.returncode == 0, done.stderr
    assert weights(root) == WANTED
    assert hub.ranges(SHARDS[0]) == ["bytes=300000-"] * 2
    assert hub.ranges(SHARDS[1])[0] == "bytes=1000-"
    assert hub.ranges(TEXTS) == ["bytes=4-"]
    assert files_of(root / "texts") == {"c4.json.gz": b"some texts"}
    assert not list(root.rglob("*.part"))

    contents = [one for one in hub.requests if one.path.startswith("/cdn/")]
    assert download(hub, root).returncode == 0
    assert [one for one in hub.requests if one.path.startswith("/cdn/")] == contents


def test_a_connection_that_is_cut_again_and_again_loses_nothing(hub, root):
    hub.faults[SHARDS[0]] = [Fault(cut_after=50_000)] * 5
    done = download(hub, root)
    assert done.returncode == 1
    assert f"error: tiiuae/falcon-7b/resolve/main/{SHARDS[0]} was cut off" in done.stderr
    assert (root / "weights" / f"{SHARDS[0]}.part").read_bytes() == CONTENT[:250_000]
    hub.faults[SHARDS[0]] = [Fault(cut_after=50_000)]
    assert download(hub, root).returncode == 0
    assert hub.ranges(SHARDS[0])[-2:] == ["bytes=250000-", "bytes=300000-"]
    assert weights(root) == WANTED


def test_a_checksum_that_stays_wrong_is_an_error(hub, root):
    hub.faults[SHARDS[0]] = [Fault(replace_with=bytes(len(CONTENT)))] * 2
    done = download(hub, root)
    assert done.returncode == 1
    assert f"a file in {root / 'weights'} is not the one that tiiuae/falcon-7b" in done.stderr


def test_a_hub_that_refuses_is_one_error_as_of_fetch(hub, root):
    check = "hint: check the name"
    for status, said in (
        (404, f"has no model tiiuae/falcon-7b (404)\n{check}"),
        (403, f"does not give out model tiiuae/falcon-7b (403)\n{check}"),
        (418, "fails to serve model tiiuae/falcon-7b (418)\nhint: run this again"),
    ):
        hub.faults["api"] = [Fault(status=status)]
        done = download(hub, root)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {hub.url} {said}")
        assert not (root / "weights").exists()
