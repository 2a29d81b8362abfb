import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from tests.hub_server import Fault, git_sha1, serving
from vacc_gen.generator.fetch.hub import CHUNK_BYTES
from vacc_gen.presets import MODELS

MAIN = "from vacc_gen.generator.cli.main import main; main()"
FALCON = MODELS.find("falcon-7b-instruct")
SHARD = "model-00001-of-00002.safetensors"
CONTENT = random.Random(0).randbytes(3_000_000)

CHECKPOINT = {
    "config.json": json.dumps(FALCON.config).encode(),
    "tokenizer.json": b"{}" * 500,
    "tokenizer_config.json": b"{}",
    "model.safetensors.index.json": b"{}",
    SHARD: CONTENT,
    "model-00002-of-00002.safetensors": CONTENT[::-1],
    "pytorch_model-00001-of-00002.bin": b"pickled",
    "modeling_falcon.py": b"print('code')",
    "README.md": b"# Falcon",
    "coreml/model.safetensors": b"elsewhere",
}
WANTED = {name for name in CHECKPOINT if name.endswith(("json", "safetensors")) and "/" not in name}


@pytest.fixture
def hub():
    with serving() as hub:
        hub.repositories[f"models/{FALCON.huggingface_id}"] = dict(CHECKPOINT)
        yield hub


@pytest.fixture
def workspace(tmp_path):
    root = tmp_path / "workspace"
    root.mkdir()
    write_recipe(root)
    return root


def write_recipe(root, **parts):
    recipe = {"version": 2, "model": {"preset": FALCON.name, "checkpoint": "weights"}, **parts}
    (root / "vacc.yaml").write_text(json.dumps(recipe))


def environment(hub, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    home = str(Path(hub.url).name)
    return {**kept, "HF_ENDPOINT": hub.url, "HF_HOME": f"/nonexistent/{home}", **variables}


def fetch(hub, root, *options, **variables):
    return subprocess.run(
        [sys.executable, "-c", MAIN, "fetch", str(root), *options],
        env=environment(hub, **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


def weights(root):
    return {file.name: file.read_bytes() for file in (root / "weights").iterdir()}


def assert_complete(root):
    assert weights(root) == {name: CHECKPOINT[name] for name in WANTED}


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_clear(done, code, *parts):
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    error, hint = done.stderr[done.stderr.index("error: ") :].strip().split("\n")
    assert hint.startswith("hint: ")
    for part in parts:
        assert part in f"{error}\n{hint}"


def test_it_brings_safetensors_config_and_tokenizer_and_nothing_else(hub, workspace):
    done = fetch(hub, workspace)
    assert (done.returncode, done.stderr) == (0, "")
    assert_complete(workspace)
    assert done.stdout.count("fetched ") == len(WANTED)
    again = fetch(hub, workspace)
    assert again.stdout.count("present ") == len(WANTED)
    assert hub.ranges(SHARD) == [None]


def test_a_cut_connection_is_resumed(hub, workspace):
    hub.faults[SHARD] = [Fault(cut_after=1_000_000), Fault(cut_after=900_000)]
    done = fetch(hub, workspace)
    assert done.returncode == 0, done.stderr
    assert_complete(workspace)
    first, *later = hub.ranges(SHARD)
    assert first is None
    starts = [int(one.removeprefix("bytes=").removesuffix("-")) for one in later]
    assert 1_000_000 - CHUNK_BYTES < starts[0] <= 1_000_000
    assert starts[0] + 900_000 - CHUNK_BYTES < starts[1] <= starts[0] + 900_000


def test_what_was_interrupted_goes_on_in_the_next_run(hub, workspace):
    hub.faults[SHARD] = [Fault(cut_after=2_000_000, stall=True)]
    running = subprocess.Popen(
        [sys.executable, "-c", MAIN, "fetch", str(workspace)],
        env=environment(hub),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert hub.stalled.wait(30)
    (partial,) = (workspace / "weights").glob(f".{SHARD}.*.part")
    wait_for(lambda: partial.stat().st_size > 2_000_000 - CHUNK_BYTES)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert (running.returncode, "Traceback" in said) == (130, False)
    assert not (workspace / "weights" / SHARD).exists()

    kept = partial.stat().st_size
    done = fetch(hub, workspace)
    assert done.returncode == 0, done.stderr
    assert f"resumed  {workspace / 'weights' / SHARD}" in done.stdout
    assert hub.ranges(SHARD)[-1] == f"bytes={kept}-"
    assert_complete(workspace)


def test_a_wrong_checksum_is_an_error_and_the_file_goes(hub, workspace):
    hub.faults[SHARD] = [Fault(replace_with=bytes(len(CONTENT)))]
    done = fetch(hub, workspace)
    assert_clear(done, 1, SHARD, "another checksum", hashlib.sha256(CONTENT).hexdigest())
    assert not list((workspace / "weights").glob(f"*{SHARD}*"))
    assert fetch(hub, workspace).returncode == 0
    assert_complete(workspace)


def test_a_wrong_checksum_of_a_small_file(hub, workspace):
    hub.faults["tokenizer.json"] = [Fault(replace_with=b"[]" * 500)]
    assert_clear(fetch(hub, workspace), 1, "tokenizer.json", git_sha1(CHECKPOINT["tokenizer.json"]))


def test_a_repository_that_is_not_there(hub, workspace):
    hub.repositories.clear()
    assert_clear(fetch(hub, workspace), 1, f"has no model {FALCON.huggingface_id} (404)", hub.url)
    assert not (workspace / "weights").exists()


def test_a_revision_that_is_not_there(hub, workspace):
    assert_clear(fetch(hub, workspace, "--revision", "v9"), 1, "(404)", "revision")


def test_a_repository_without_safetensors(hub, workspace):
    files = hub.repositories[f"models/{FALCON.huggingface_id}"]
    for name in [name for name in files if name.endswith(".safetensors")]:
        del files[name]
    assert_clear(fetch(hub, workspace), 1, "holds no *.safetensors")


def test_a_busy_hub_is_waited_for(hub, workspace):
    busy = Fault(status=429, headers={"Retry-After": "1"})
    hub.faults = {"api": [busy], SHARD: [busy]}
    done = fetch(hub, workspace)
    assert done.returncode == 0, done.stderr
    assert_complete(workspace)


def test_a_hub_that_wants_a_long_wait_is_not_waited_for(hub, workspace):
    hub.faults["api"] = [Fault(status=429, headers={"Retry-After": "3600"})]
    assert_clear(fetch(hub, workspace), 1, "limits requests (429)", "wait 3600 s")


@pytest.mark.parametrize("status", [401, 403])
def test_a_repository_that_is_closed(hub, workspace, status):
    hub.faults["api"] = [Fault(status=status, headers={"X-Error-Code": "GatedRepo"})]
    assert_clear(fetch(hub, workspace), 1, f"({status})", "HF_TOKEN")


def test_a_token_goes_to_the_hub_alone(hub, workspace):
    assert fetch(hub, workspace, HF_TOKEN="hf_secret").returncode == 0
    seen = {(one.host.split(":")[0], one.authorization) for one in hub.requests}
    assert seen == {("127.0.0.1", "Bearer hf_secret"), ("localhost", None)}


def test_no_network(hub, workspace):
    assert_clear(fetch(hub, workspace, HF_HUB_OFFLINE="1"), 1, "HF_ENDPOINT")
    done = fetch(hub, workspace, HF_ENDPOINT="http://127.0.0.1:9")
    assert_clear(done, 1, "http://127.0.0.1:9", "mirror")


def test_a_file_of_ones_own_is_not_written_over(hub, workspace):
    (workspace / "weights").mkdir()
    (workspace / "weights" / "tokenizer.json").write_text("{}")
    assert_clear(
        fetch(hub, workspace), 1, "tokenizer.json is there, and is not the file", "--force"
    )
    assert not list((workspace / "weights").glob("*.safetensors"))
    assert fetch(hub, workspace, "--force").returncode == 0
    assert_complete(workspace)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"model": {"preset": FALCON.name, "checkpoint": "/path/to/falcon"}}, "model.checkpoint"),
        ({"calibration": {"set": "c4", "path": "/path/to/c4", "seqlen": 64}}, "calibration.path"),
    ],
)
def test_a_placeholder_is_no_place(hub, workspace, parts, message):
    write_recipe(workspace, **parts)
    assert_clear(fetch(hub, workspace), 2, message)


def test_calibration_sets_go_where_the_recipe_looks(hub, workspace):
    files = {
        "en/c4-train.00000-of-01024.json.gz": b"train",
        "en/c4-validation.00000-of-00008.json.gz": b"validation",
    }
    hub.repositories["datasets/allenai/c4"] = files
    hub.repositories["datasets/ceval/ceval-exam"] = {"ceval-exam.zip": b"zip"}
    mix = [{"set": "ceval", "path": "data/exam.zip"}, {"set": "own", "path": "own.txt"}]
    write_recipe(workspace, calibration={"set": "c4", "path": "c4", "seqlen": 64, "mix": mix})
    done = fetch(hub, workspace, "--only", "calibration")
    assert done.returncode == 0, done.stderr
    assert (workspace / "c4/c4-train.00000-of-01024.json.gz").read_bytes() == b"train"
    assert (workspace / "data/exam.zip").read_bytes() == b"zip"
    assert done.stdout.count("fetched ") == 2
    assert not (workspace / "weights").exists()


def test_a_terminal_shows_how_far_it_is(hub, workspace):
    hub.faults[SHARD] = [Fault(cut_after=1_500_000, stall=True)]
    arguments = ["-c", MAIN, "fetch", str(workspace)]
    shown = pexpect.spawn(
        sys.executable, arguments, env=environment(hub, TERM="xterm"), encoding="utf-8", timeout=30
    )
    shown.expect(re.escape(SHARD))
    shown.expect(r"1\.\d MB of 3\.0 MB")
    shown.sendintr()
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == 130
