"""Windows of every set, equal on every machine; what is refused; the stage in a build."""

import gzip
import hashlib
import json
import random
import shutil
import subprocess
import sys
import zipfile
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workspaces import Recorder, make_workspace
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.build.runner import BuildOptions, run_build
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.calibration.windows import (
    calibrate,
    check_calibration,
    concatenated,
    in_random_order,
    one_text_each,
    read_windows,
    shuffled,
    windows_by_source,
)
from vacc_gen.generator.progress import SilentProgress
from vacc_gen.generator.workspace.workspace import load_workspace
from vacc_gen.schema.errors import CalibrationError, VaccGenError
from vacc_gen.schema.recipe import Calibration, TextSource

DATA = Path(__file__).parents[2] / "data"
TINY = DATA / "falcon-tiny" / "tokenizer.json"
END = 11
SENTENCE = (
    "In the beginning God created the heaven and the earth and the earth was without form and void "
    "and darkness was upon the face of the deep 1611 times, verse 23; 约翰福音 Größe"
)
WORDS = SENTENCE.split()

GOLDEN = {
    "c4": "99ee7e6a62dde82c9329a21d808c5bf545bdeb22db0ab6ee7f9876122594ec8b",
    "c4 seed 1": "a152e0cf424dd0b200082f5980359915085f444b8f8776ffebc438f30d950ec6",
    "c4 one_text": "c6430e06027c51716d19b1a110aa5d220b8d0a25f6e1739b96405a44614339b5",
    "alpaca": "ef4f36e4318483b73ab529e02daed12e39000acb549e8fe6c7a74c94b6423628",
    "ceval": "aae295bb9ef6ff9b38b2bc7d48cb8decfac4028b942faf1615d4231aca2240f9",
    "own": "2f72f241f6de82a605cb6807d5e08fa57cf1f6ea605fa698b84425c5b0abe33a",
    "mixture": "7ce68ff8705189b11666410fe6fb517c83328b3b3b46c04904729ebe74a6b0a5",
}
"""sha256 of the windows that the falcon-7b tokenizer makes of the sets below."""


def text(n, words):
    draw = random.Random(n).random
    return " ".join(WORDS[int(draw() * len(WORDS))] for _ in range(words))


@pytest.fixture(scope="module")
def falcon(tmp_path_factory):
    """The published tokenizer of falcon-7b: 65,024 entries."""
    path = tmp_path_factory.mktemp("falcon") / "tokenizer.json"
    path.write_bytes(gzip.decompress((DATA / "falcon-tokenizer.json.gz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Small files of each set, the same bytes everywhere."""
    root = tmp_path_factory.mktemp("sets")
    pages = "".join(json.dumps({"text": text(n, n % 90), "url": str(n)}) + "\n" for n in range(600))
    (root / "c4-train.00000-of-01024.json.gz").write_bytes(gzip.compress(pages.encode(), mtime=0))
    rows = [
        {"instruction": text(n, 5), "input": text(n, n % 2 * 4), "output": text(n, 30)}
        for n in range(300)
    ]
    (root / "alpaca.json").write_text(json.dumps(rows))
    with zipfile.ZipFile(root / "ceval-exam.zip", "w") as archive:
        for subject in ("law", "art"):
            lines = [f"{n},{text(n, 9)},甲,乙,丙,丁,B\n" for n in range(50)]
            entry = zipfile.ZipInfo(f"val/{subject}_val.csv")
            archive.writestr(entry, "id,question,A,B,C,D,answer\n" + "".join(lines))
    (root / "own.txt").write_text("".join(f"{text(n, 12)}\n" for n in range(900)))
    return root


def run(spec, tokenizer, out, root, progress=None):
    return calibrate(spec, tokenizer, out, 2048, progress or SilentProgress(), root=root)


def spec_of(name, path, **choice):
    return Calibration(**{"set": name, "path": path, "samples": 16, "seqlen": 64, **choice})


C4 = ("c4", "c4-train.00000-of-01024.json.gz")


@pytest.mark.parametrize(
    ("spec", "golden"),
    [
        (spec_of(*C4), "c4"),
        (spec_of(*C4, seed=1), "c4 seed 1"),
        (spec_of(*C4, packing="one_text"), "c4 one_text"),
        (spec_of("alpaca", "alpaca.json"), "alpaca"),
        (spec_of("ceval", "ceval-exam.zip", subjects=("art",)), "ceval"),
        (spec_of("own", "own.txt"), "own"),
        (
            spec_of(
                *C4,
                weight=3,
                mix=(
                    TextSource(set="alpaca", path="alpaca.json"),
                    TextSource(set="ceval", path="ceval-exam.zip", weight=0.5),
                ),
            ),
            "mixture",
        ),
    ],
)
def test_equal_specs_make_equal_bytes_on_every_machine(falcon, sets, tmp_path, spec, golden):
    made = run(spec, falcon, tmp_path, sets)
    assert hashlib.sha256(made.path.read_bytes()).hexdigest() == GOLDEN[golden]
    windows = read_windows(made.path)
    assert (windows.shape, windows.dtype) == ((16, 64), "int32")
    assert windows.max() < 65_024


def test_an_end_of_text_stands_between_texts_and_the_manifest_says_what_was_read(sets, tmp_path):
    made = run(spec_of(*C4), TINY, tmp_path, sets)
    stream = read_windows(made.path).reshape(-1).tolist()
    texts = " ".join(map(str, stream)).split(f" {END} ")
    tokenizer = Tokenizer(TINY)
    known = {" ".join(map(str, tokenizer.encode(text(n, n % 90).encode()))) for n in range(600)}
    assert len(texts) > 5
    assert set(texts[:-1]) <= known
    manifest = json.loads(made.manifest_path.read_text())
    assert manifest["sha256"] == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert manifest["tokens"] == 16 * 64
    (file,) = manifest["settings"]["sources"][0]["files"]
    assert (file["name"], file["bytes"]) == (C4[1], (sets / C4[1]).stat().st_size)


def test_nothing_is_made_twice(sets, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(sets, root)
    out = tmp_path / "out"
    first = run(spec_of("own", "own.txt"), TINY, out, root)
    assert not first.reused
    assert run(spec_of("own", "own.txt"), TINY, out, root).reused
    first.path.write_bytes(first.path.read_bytes()[:-1] + b"\x07")
    assert not run(spec_of("own", "own.txt"), TINY, out, root).reused
    assert not run(spec_of("own", "own.txt", seed=3), TINY, out, root).reused
    with (root / "own.txt").open("a") as file:
        file.write("one more line\n")
    assert not run(spec_of("own", "own.txt", seed=3), TINY, out, root).reused
    assert sorted(file.name for file in out.iterdir()) == ["own.json", "own.safetensors"]


class Steps(SilentProgress):
    """Keeps [label, total bytes, bytes done] of every step; may stop at one."""

    def __init__(self, stop_at=None):
        self.steps = []
        self.stop_at = stop_at

    def start(self, label, total_bytes=None):
        if label == self.stop_at:
            raise KeyboardInterrupt
        self.steps.append([label, total_bytes, 0])

    def advance(self, done_bytes):
        self.steps[-1][2] += done_bytes


def test_an_interrupted_run_leaves_nothing_half_made(sets, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(spec_of(*C4), TINY, tmp_path / "out", sets, Steps(stop_at="read c4"))
    assert not (tmp_path / "out").exists()


def test_progress_adds_up(sets, tmp_path):
    progress = Steps()
    run(spec_of(*C4), TINY, tmp_path, sets, progress)
    size = (sets / C4[1]).stat().st_size
    assert progress.steps == [["read c4", size, size]]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (spec_of(*C4, seqlen=4096), "seqlen is 4096, but the model has 2048 positions"),
        (spec_of(*C4, samples=99_999), "c4 has too little text: it fills at most .* of 99999 win"),
        (spec_of(*C4, samples=2000), "c4 has too little text: it fills .* of 2000 windows of 64"),
        (spec_of(*C4, samples=500, packing="one_text"), "c4 has .* it fills .* of 500 windows"),
        (spec_of("c4", "ceval-exam.zip"), "ceval-exam.zip is not a file of c4"),
        (
            spec_of(*C4, samples=2, mix=(TextSource(set="own", path="own.txt", weight=0.01),)),
            "own has too little weight for even one of 2 windows",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_written(sets, tmp_path, spec, message):
    with pytest.raises(CalibrationError, match=message):
        run(spec, TINY, tmp_path / "out", sets)
    assert not (tmp_path / "out").exists()


def test_damage_at_the_very_end_of_a_set_is_found(sets, tmp_path):
    content = (sets / C4[1]).read_bytes()
    (tmp_path / C4[1]).write_bytes(content[:-8] + b"\x00" * 8)
    with pytest.raises(CalibrationError, match="is damaged: CRC check failed"):
        run(spec_of(*C4, samples=1), TINY, tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("packing", "samples", "seqlen", "enough"),
    [
        ("concatenate", 3, 36, True),  # 10 texts of 10 bytes and an end-of-text token: 110
        ("concatenate", 3, 37, False),
        ("one_text", 10, 10, True),
        ("one_text", 11, 10, False),
    ],
)
def test_too_few_texts_are_known_without_a_tokenizer(tmp_path, packing, samples, seqlen, enough):
    (tmp_path / "a.jsonl").write_text('{"text": "0123456789"}\n' * 10)
    spec = spec_of("mine", "a.jsonl", packing=packing, samples=samples, seqlen=seqlen)
    try:
        shares = check_calibration(spec, 2048, tmp_path)
    except CalibrationError as error:
        shares = error.message
    assert (shares == [samples]) is enough, shares


def test_the_check_reads_no_further_than_it_must(tmp_path):
    content = "".join(json.dumps({"text": f"{n} " * 200}) + "\n" for n in range(5_000)).encode()
    (tmp_path / "c4-train.0.json.gz").write_bytes(gzip.compress(content, 1)[:-100])
    assert check_calibration(spec_of("c4", ".", samples=8), 2048, tmp_path) == [8]


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=6), samples=st.integers(1, 1000))
def test_windows_are_shared_out_to_the_last_one(weights, samples):
    shares = windows_by_source(weights, samples)
    assert sum(shares) == samples
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - samples * weight / sum(weights)) < 1


texts_of_tokens = st.lists(st.lists(st.integers(12, 99), max_size=30), max_size=20)


@given(texts=st.lists(st.binary(max_size=20), max_size=60), seed=st.integers(0, 5))
def test_the_order_does_not_depend_on_how_much_is_held(texts, seed):
    orders = [
        list(shuffled(lambda: iter(texts), seed, "draw", held)) for held in (1, 50, 300, 10_000)
    ]
    assert all(order == orders[0] for order in orders)
    assert sorted(orders[0]) == sorted(texts)


def test_what_is_held_stays_within_bounds_however_long_the_texts():
    held = []

    def endless():
        for n in range(2000):
            held.append(n)
            yield b"x" * 1000

    drawn = shuffled(endless, 0, "draw", 20_000)
    assert [len(next(drawn)) for _ in range(20)] == [1000] * 20
    assert len(held) == 2000  # one pass gave twenty
    next(drawn)
    assert len(held) == 4000


@given(texts=texts_of_tokens, seqlen=st.integers(1, 16))
def test_concatenated_windows_are_the_stream_cut(texts, seqlen):
    stream = [token for text in texts for token in [*text, END]]
    windows = list(concatenated(texts, seqlen, END))
    assert [token for window in windows for token in window] == (
        stream[: len(stream) // seqlen * seqlen]
    )
    assert all(len(window) == seqlen and window.itemsize == 4 for window in windows)


@given(texts=texts_of_tokens, seqlen=st.integers(1, 16), seed=st.integers(0, 3))
def test_a_window_of_one_text_is_a_run_of_it(texts, seqlen, seed):
    windows = list(one_text_each(texts, seqlen, seed, "start"))
    long_enough = [text for text in texts if len(text) >= seqlen]
    assert len(windows) == len(long_enough)
    for window, text in zip(windows, long_enough, strict=True):
        runs = [text[start : start + seqlen] for start in range(len(text) - seqlen + 1)]
        assert window.tolist() in runs


def test_mixing_keeps_every_window_once():
    windows = [array("i", [n]) for n in range(50)]
    mixed = in_random_order(windows, 0, "order")
    assert sorted(window[0] for window in mixed) == list(range(50))
    assert mixed != windows


MEASURED = """
import sys
from pathlib import Path
from vacc_gen.generator.calibration.windows import calibrate
from vacc_gen.generator.progress import SilentProgress
from vacc_gen.schema.recipe import Calibration
spec = Calibration(set="c4", path=sys.argv[1], samples=128, seqlen=1024, packing=sys.argv[3])
calibrate(spec, Path(sys.argv[2]), Path(sys.argv[1]).parent / sys.argv[3], 2048, SilentProgress())
# ru_maxrss would count what the test's own process held when it forked.
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
"""


@pytest.mark.parametrize("megabytes", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_file(tmp_path, megabytes):
    path = tmp_path / "c4-train.00000-of-01024.json.gz"
    pages = [json.dumps({"text": text(n, n * 4), "url": str(n)}) + "\n" for n in range(400)]
    block = "".join(pages).encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(megabytes * 1_000_000 // len(block)):
            file.write(block)
    for packing in ("concatenate", "one_text"):
        command = [sys.executable, "-c", MEASURED, str(path), str(TINY), packing]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        assert int(done.stdout) * 1024 < 150e6


OWN = {"set": "own", "path": "own.txt", "samples": 4, "seqlen": 32}


def calibrated(root, calibration, text="In the beginning God created the heaven. " * 40):
    workspace = make_workspace(root, precisions=["int8"], calibration=calibration)
    (root / "own.txt").write_text(text)
    return build(workspace)


def build(workspace):
    recorder = Recorder()
    try:
        run_build(workspace, OnnxRuntimeBackend(), BuildOptions(until=Stage.CALIBRATE), recorder)
    except VaccGenError as error:
        recorder.say(error.message)
    return recorder


def test_a_build_leaves_windows_and_draws_them_once(tmp_path):
    root = tmp_path / "workspace"
    assert calibrated(root, OWN).statuses(Stage.CALIBRATE) == [Status.DONE]
    manifest = json.loads((root / "calibration/own.json").read_text())
    assert manifest["tokens"] == 128
    report = json.loads((root / "report.json").read_text())
    (stage,) = [one for one in report["stages"] if one["name"] == "calibrate"]
    assert (stage["windows"], stage["seqlen"]) == (4, 32)
    assert build(load_workspace(root)).statuses(Stage.CALIBRATE) == [Status.REUSED]
    (root / "own.txt").write_text("And the earth was without form, and void. " * 40)
    assert build(load_workspace(root)).statuses(Stage.CALIBRATE) == [Status.DONE]
    assert json.loads((root / "calibration/own.json").read_text())["sha256"] != manifest["sha256"]


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ({**OWN, "samples": 4000}, "own has too little text: it fills at most 51 of 4000 windows"),
        ({**OWN, "path": "other.txt"}, "the calibration set own is not there"),
        ({**OWN, "set": "c4"}, "own.txt is not a file of c4"),
    ],
)
def test_what_cannot_be_calibrated_ends_before_anything_else_runs(tmp_path, calibration, message):
    recorder = calibrated(tmp_path / "workspace", calibration)
    assert [one.stage for one in recorder.records if one.status is Status.FAILED] == [
        Stage.PREFLIGHT
    ]
    assert any(message in line for line in recorder.said)
    assert not (tmp_path / "workspace/calibration").exists()
