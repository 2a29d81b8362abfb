"""scripts/download.sh with the hub's real client, against a hub on this machine."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_server import Fault, serving
from vacc_gen.generator.workspace.workspace import create

SHARD = "model.safetensors"
CONTENT = random.Random(0).randbytes(500_000)
CHECKPOINT = {
    "config.json": b"{}",
    "tokenizer.json": b"{}" * 100,
    SHARD: CONTENT,
    "pytorch_model.bin": b"pickled",
    "coreml/x.json": b"{}",
    "modeling_falcon.py": b"code",
}
TEXTS = {"en/c4-train.00000-of-01024.json.gz": b"some texts", "en/other.json.gz": b"others"}


@pytest.fixture
def hub():
    with serving() as hub:
        hub.repositories["models/tiiuae/falcon-7b"] = dict(CHECKPOINT)
        hub.repositories["datasets/allenai/c4"] = dict(TEXTS)
        yield hub


@pytest.fixture
def root(tmp_path):
    recipe = {
        "version": 2,
        "model": {"preset": "falcon-7b", "checkpoint": "weights"},
        "calibration": {"set": "c4", "path": "texts/c4.json.gz", "seqlen": 64},
    }
    return create(tmp_path / "a workspace", json.dumps(recipe)).root


def download(hub, root):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    tools = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return subprocess.run(
        [root / "scripts" / "download.sh"],
        env={**kept, "PATH": tools, "HF_ENDPOINT": hub.url, "HF_HOME": str(root / "home")},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_brings_what_vacc_gen_fetch_brings(hub, root):
    hub.faults[SHARD] = [Fault(status=429, headers={"Retry-After": "0"}), Fault(cut_after=100_000)]
    done = download(hub, root)
    assert done.returncode == 0, done.stderr
    weights = {file.name: file.read_bytes() for file in (root / "weights").glob("[!.]*")}
    assert weights == {name: CHECKPOINT[name] for name in ("config.json", "tokenizer.json", SHARD)}
    assert {file.name: file.read_bytes() for file in (root / "texts").iterdir()} == {
        "c4.json.gz": b"some texts"
    }
    contents = [one for one in hub.requests if one.path.startswith("/cdn/")]
    assert download(hub, root).returncode == 0
    assert [one for one in hub.requests if one.path.startswith("/cdn/")] == contents


def test_it_goes_on_where_it_was_stopped(hub, root):
    weights = root / "weights"
    weights.mkdir()
    (weights / f"{SHARD}.part").write_bytes(CONTENT[:300_000])
    part = root / "texts" / "c4.json.gz.download" / "en" / "c4-train.00000-of-01024.json.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"some")
    assert download(hub, root).returncode == 0
    assert hub.ranges(SHARD) == ["bytes=300000-"]
    assert hub.ranges("en/c4-train.00000-of-01024.json.gz") == ["bytes=4-"]
    assert (weights / SHARD).read_bytes() == CONTENT
    assert (root / "texts" / "c4.json.gz").read_bytes() == b"some texts"
    assert not list(root.rglob("*.part"))


def test_a_connection_that_is_cut_again_and_again_loses_nothing(hub, root):
    hub.faults[SHARD] = [Fault(cut_after=50_000)] * 5
    done = download(hub, root)
    assert done.returncode == 1
    assert f"error: tiiuae/falcon-7b/resolve/main/{SHARD} was cut off" in done.stderr
    assert (root / "weights" / f"{SHARD}.part").read_bytes() == CONTENT[:250_000]
    assert download(hub, root).returncode == 0
    assert hub.ranges(SHARD)[-1] == "bytes=250000-"
    assert (root / "weights" / SHARD).read_bytes() == CONTENT


def test_the_rest_of_another_file_is_not_kept(hub, root):
    (root / "weights").mkdir()
    (root / "weights" / f"{SHARD}.part").write_bytes(bytes(1000))
    assert download(hub, root).returncode == 0
    assert (root / "weights" / SHARD).read_bytes() == CONTENT


def test_shards_are_those_of_the_index(hub, root):
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    files = hub.repositories["models/tiiuae/falcon-7b"]
    del files[SHARD]
    files["model.safetensors.index.json"] = json.dumps(
        {"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}, indent=2
    ).encode()
    files |= {name: CONTENT[n:] for n, name in enumerate(names)}
    hub.faults[names[1]] = [Fault(cut_after=1000)]
    assert download(hub, root).returncode == 0
    assert [hub.ranges(name) for name in names] == [[None], [None, "bytes=1000-"]]
    assert all((root / "weights" / name).read_bytes() == files[name] for name in names)


@pytest.mark.parametrize("times", [1, 2])
def test_a_wrong_checksum_is_mended_once(hub, root, times):
    hub.faults[SHARD] = [Fault(replace_with=bytes(len(CONTENT)))] * times
    done = download(hub, root)
    if times == 1:
        assert done.returncode == 0
        assert (root / "weights" / SHARD).read_bytes() == CONTENT
    else:
        assert done.returncode == 1
        assert f"a file in {root / 'weights'} is not the one that tiiuae/falcon-7b" in done.stderr


def test_a_repository_that_is_not_there(hub, root):
    hub.repositories.clear()
    done = download(hub, root)
    assert done.returncode != 0
    assert "not found" in done.stderr.lower()
