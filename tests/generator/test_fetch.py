import hashlib
import json
import os
import random
import signal
import subprocess

import pytest

from tests.hub_server import Fault, git_sha1, serving
from tests.processes import VACC_GEN, eventually, start
from tests.terminals import CTRL_C, Terminal
from tests.workspaces import files_of, recipe_text
from vacc_gen.generator.fetch import ATTEMPTS, CHUNK_BYTES
from vacc_gen.presets import MODELS

FALCON = MODELS.find("falcon-7b-instruct")
SHARD = "model-00001-of-00002.safetensors"
CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

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
def hub(monkeypatch, tmp_path):
    """A local hub, which the environment names."""
    for name in [name for name in os.environ if name.startswith("HF_")]:
        monkeypatch.delenv(name)
    with serving() as hub:
        hub.repositories[f"models/{FALCON.huggingface_id}"] = dict(CHECKPOINT)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        yield hub


@pytest.fixture
def workspace(tmp_path):
    root = tmp_path / "workspace"
    root.mkdir()
    write_recipe(root)
    return root


def write_recipe(root, checkpoint="weights", **parts):
    (root / "vacc.yaml").write_text(recipe_text(FALCON.name, checkpoint, **parts))


@pytest.fixture
def waits(monkeypatch):
    """The seconds between two attempts, which pass at once."""
    waits = []
    monkeypatch.setattr("vacc_gen.generator.fetch.time.sleep", waits.append)
    return waits


@pytest.fixture
def fetch(hub, workspace, run):
    """A function that runs `vacc-gen fetch` on the workspace."""
    return lambda *options: run("fetch", workspace, *options)


def assert_complete(done, root):
    assert (done.code, done.err) == (0, "")
    assert files_of(root / "weights") == {name: CHECKPOINT[name] for name in WANTED}


def assert_clear(done, code, *parts):
    assert done.code == code
    error, hint = done.err[done.err.index("error: ") :].strip().split("\n")
    assert hint.startswith("hint: ")
    for part in parts:
        assert part in f"{error}\n{hint}"


def test_it_brings_safetensors_config_and_tokenizer_and_nothing_else(hub, workspace, fetch):
    done = fetch()
    assert_complete(done, workspace)
    *lines, empty, summary, _, following = done.out.splitlines()
    assert "fetched  tokenizer.json  1.0 kB" in lines
    assert (len(lines), empty) == (len(WANTED), "")
    assert summary == f"6 files, 6.0 MB in {workspace}/weights: 6 fetched"
    assert following == f"next: vacc-gen build {workspace}"
    assert ": 6 present\n" in fetch().out
    assert hub.ranges(SHARD) == [None]


def test_a_cut_connection_is_resumed_while_something_arrives(hub, workspace, fetch, waits):
    hub.faults[SHARD] = [Fault(cut_after=900_000)] + [Fault(cut_after=300_000)] * ATTEMPTS
    assert_complete(fetch(), workspace)
    first, *later = hub.ranges(SHARD)
    assert first is None
    starts = [int(one.removeprefix("bytes=").removesuffix("-")) for one in later]
    assert starts == [900_000 + 300_000 * count for count in range(ATTEMPTS + 1)]
    assert waits == [1] * (ATTEMPTS + 1)


def test_a_server_that_ignores_ranges_starts_the_file_again(hub, workspace, fetch, waits):
    whole = Fault(replace_with=CONTENT, cut_after=2_500_000)
    hub.faults[SHARD] = [Fault(cut_after=1_000_000), whole, Fault(replace_with=CONTENT)]
    assert_complete(fetch(), workspace)
    assert hub.ranges(SHARD) == [None, "bytes=1000000-", "bytes=2500000-"]


def test_what_was_interrupted_is_resumed_by_the_next_run(hub, workspace, fetch):
    hub.faults[SHARD] = [Fault(cut_after=2_000_000, stall=True)]
    running = start(*VACC_GEN, "fetch", str(workspace), stderr=subprocess.PIPE)
    assert hub.stalled.wait(30)
    (partial,) = (workspace / "weights").glob(f".{SHARD}.*.part")
    assert eventually(lambda: partial.stat().st_size > 2_000_000 - CHUNK_BYTES)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said == f"interrupted; run `vacc-gen fetch {workspace}` again to go on\n"
    assert not (workspace / "weights" / SHARD).exists()

    kept = partial.stat().st_size
    done = fetch()
    assert_complete(done, workspace)
    assert f"resumed  {SHARD}" in done.out
    assert ": 1 present, 1 resumed, 4 fetched\n" in done.out
    assert hub.ranges(SHARD)[-1] == f"bytes={kept}-"


@pytest.mark.parametrize(
    ("name", "sent", "size", "parts"),
    [
        (SHARD, bytes(len(CONTENT)), "3000000", (SHARD, "another checksum", SHA256)),
        (SHARD, CONTENT, "2999999", (SHARD, "another checksum", SHA256)),
        (SHARD, None, "3000001", (SHARD, "fails to serve", "(416)")),
        (SHARD, None, "-1", (SHARD, "states no size", "'-1'")),
        (SHARD, None, "9" * 18, ("not enough disk space",)),
        ("tokenizer.json", b"[]" * 500, "", ("another checksum", git_sha1(b"{}" * 500))),
    ],
)
def test_a_file_that_is_not_as_the_hub_states(
    hub, workspace, fetch, waits, name, sent, size, parts
):
    hub.faults[name] = [Fault(replace_with=sent)] if sent else []
    hub.lies[name] = {"X-Linked-Size": size}
    assert_clear(fetch(), 1, *parts)
    assert not (workspace / "weights" / name).exists()
    hub.lies.clear()
    assert_complete(fetch(), workspace)


def test_a_hub_that_states_no_checksum_is_named(hub, workspace, fetch):
    hub.lies[SHARD] = {"X-Linked-Etag": '"made-up"'}
    done = fetch()
    assert_complete(done, workspace)
    assert f"fetched  {SHARD}  3.0 MB  (the hub states no checksum)\n" in done.out


def test_a_repository_without_safetensors(hub, workspace, fetch):
    files = hub.repositories[f"models/{FALCON.huggingface_id}"]
    for name in [name for name in files if name.endswith(".safetensors")]:
        del files[name]
    assert_clear(fetch(), 1, "holds no *.safetensors")
    assert not (workspace / "weights").exists()


def test_a_busy_hub_is_waited_for(hub, workspace, fetch, waits):
    busy = Fault(status=429, headers={"Retry-After": "7"})
    hub.faults = {"api": [busy], SHARD: [Fault(status=503)] * (ATTEMPTS - 1)}
    assert_complete(fetch(), workspace)
    assert waits == [7, 1, 2, 4]


@pytest.mark.parametrize(
    ("faults", "parts"),
    [
        ([Fault(status=503)] * ATTEMPTS, ("fails to serve", "(503)", "run it again to resume")),
        ([Fault(status=429, headers={"Retry-After": "61"})], ("(429)", "wait 61 s, then run")),
        ([Fault(status=429, headers={"Retry-After": "9" * 5000})] * ATTEMPTS, ("(429)",)),
        ([Fault(status=404)], (f"has no model {FALCON.huggingface_id} (404)", "revision")),
        ([Fault(status=401)], ("does not give out", "(401)", "HF_TOKEN")),
        ([Fault(status=403)], ("does not give out", "(403)", "HF_TOKEN")),
        ([Fault(status=200, headers={"Content-Type": "text/html"})], ("a web page", "log in")),
        ([Fault(status=302, headers={"Location": "/api/models"})] * 20, ("(302)",)),
        ([Fault(replace_with=b"[" * 100_000)], ("something else than its files", "HF_ENDPOINT")),
        ([Fault(replace_with=b'{"siblings": [{"rfilename": null}]}')], ("something else",)),
        ([Fault(replace_with=b'{"sha": "../../x", "siblings": []}')], ("something else",)),
    ],
)
def test_a_hub_that_refuses_says_why(hub, fetch, waits, faults, parts):
    hub.faults["api"] = list(faults)
    assert_clear(fetch(), 1, *parts)
    assert sum(waits) < 60


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/tmp/evil.safetensors", "..", "\x1b[31m\nevil.safetensors"]
)
def test_names_that_lead_elsewhere_are_not_fetched(hub, workspace, fetch, name):
    hub.repositories[f"models/{FALCON.huggingface_id}"][name] = b"evil"
    assert_complete(fetch(), workspace)
    assert not list(workspace.parent.rglob("evil*"))


def test_a_token_that_is_none_is_not_sent_nor_shown(hub, fetch, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_a\nX-Injected: 1")
    done = fetch()
    assert_clear(done, 1, "token")
    assert ("hf_" in done.err, hub.requests) == (False, [])


def test_a_token_goes_to_the_hub_alone(hub, fetch, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("hf_secret\n")  # as `hf auth login` leaves it
    elsewhere = {"Location": f"/{FALCON.huggingface_id}/resolve/main/config.json"}
    hub.faults["config.json"] = [Fault(status=307, headers=elsewhere)]
    assert fetch().code == 0
    seen = {(one.host.split(":")[0], one.authorization) for one in hub.requests}
    assert seen == {("127.0.0.1", "Bearer hf_secret"), ("localhost", None)}


def test_no_network(fetch, waits, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert_clear(fetch(), 1, "http://127.0.0.1:9 failed: Connection refused", "mirror")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert_clear(fetch(), 1, "HF_HUB_OFFLINE")


def test_a_file_of_ones_own_is_not_overwritten(workspace, fetch):
    (workspace / "weights").mkdir()
    (workspace / "weights" / "tokenizer.json").write_text("{}")
    assert_clear(fetch(), 1, "tokenizer.json exists and is not the file", "--force")
    assert not list((workspace / "weights").glob("*.safetensors"))
    assert_complete(fetch("--force"), workspace)


def test_a_placeholder_is_not_a_place(workspace, fetch):
    write_recipe(workspace, calibration={"set": "c4", "path": "/path/to/c4", "seqlen": 64})
    assert_clear(fetch(), 2, "calibration.path")
    write_recipe(workspace, checkpoint="/path/to/falcon")
    assert_clear(fetch(), 2, "model.checkpoint")


def test_calibration_sets_go_where_the_recipe_looks(hub, workspace, fetch):
    files = {
        "en/c4-train.00000-of-01024.json.gz": b"train",
        "en/c4-validation.00000-of-00008.json.gz": b"validation",
    }
    hub.repositories["datasets/allenai/c4"] = files
    hub.repositories["datasets/ceval/ceval-exam"] = {"ceval-exam.zip": b"zip"}
    mix = [{"set": "ceval", "path": "data/exam.zip"}, {"set": "own", "path": "own.txt"}]
    write_recipe(workspace, calibration={"set": "c4", "path": "c4", "seqlen": 64, "mix": mix})
    done = fetch()
    assert done.code == 0, done.err
    assert (workspace / "c4/c4-train.00000-of-01024.json.gz").read_bytes() == b"train"
    assert (workspace / "data/exam.zip").read_bytes() == b"zip"
    assert f" and {workspace}/c4 and {workspace}/data: " in done.out


def test_a_terminal_shows_the_progress(hub, workspace):
    hub.faults[SHARD] = [Fault(cut_after=1_500_000, stall=True)]
    terminal = Terminal(workspace, "fetch")
    terminal.wait_for(SHARD)
    terminal.wait_for(" MB of 6.0 MB")
    assert "fetching ━" in terminal.screen
    terminal.send(CTRL_C)
    assert terminal.exit_code() == 130
