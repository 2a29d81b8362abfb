"""Windows of every set, equal on every machine; what is refused; the stage in a build."""

import gzip
import hashlib
import json
import random
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.workspaces import FALCON_TINY, build, make_workspace, report_of
from vacc_gen.generator.backends.base import Stage
from vacc_gen.generator.backends.onnxruntime.backend import OnnxRuntimeBackend
from vacc_gen.generator.build.report import Status
from vacc_gen.generator.calibration.tokenizer import Tokenizer
from vacc_gen.generator.calibration.windows import (
    calibrate,
    check_calibration,
    read_windows,
    windows_file,
)
from vacc_gen.generator.progress import Progress, peak_rss_bytes, reset_peak_rss
from vacc_gen.schema.checkpoint import WeightFolder
from vacc_gen.schema.errors import StageError
from vacc_gen.schema.json_files import read_json_object
from vacc_gen.schema.recipe import Calibration, TextSource

WEIGHTS = WeightFolder(FALCON_TINY, read_json_object(FALCON_TINY / "config.json"), {})
SENTENCE = (
    "In the beginning God created the heaven and the earth and the earth was without form and void "
    "and darkness was upon the face of the deep 1611 times, verse 23; 约翰福音 Größe"
)
WORDS = SENTENCE.split()


def text(n, words):
    draw = random.Random(n).random
    return " ".join(WORDS[int(draw() * len(WORDS))] for _ in range(words))


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


def spec_of(name, path, **choice):
    return Calibration(**{"set": name, "path": path, "samples": 16, "seqlen": 64, **choice})


def run(spec, root, progress=None):
    calibrate(spec, WEIGHTS, root, progress or Progress())
    return windows_file(spec, root)


C4 = ("c4", "c4-train.00000-of-01024.json.gz")
ALPACA = TextSource(set="alpaca", path="alpaca.json")
CEVAL = TextSource(set="ceval", path="ceval-exam.zip", weight=0.5)


@pytest.mark.parametrize(
    ("spec", "golden"),
    [
        (spec_of(*C4), "efbc8aad2df177e5378a98055122409f"),
        (spec_of(*C4, seed=1), "f967de0cca2de53bcaf95ca7b52abf6b"),
        (spec_of(*C4, packing="one_text"), "3dd65c1188260e98ee4677bbb30f08a1"),
        (spec_of("alpaca", "alpaca.json"), "c980a6132d033e75857a3037d125628a"),
        (spec_of("ceval", "ceval-exam.zip", subjects=("art",)), "29eeca8abe592be6b441b2b399b1bfbd"),
        (spec_of("own", "own.txt"), "9e93a516f9ae1346fe1a4c8d9558790f"),
        (spec_of(*C4, weight=3, mix=(ALPACA, CEVAL)), "4c2e8699b3d2cf0ff5c8c9c05dd4483b"),
    ],
)
def test_equal_specs_make_equal_bytes_on_every_machine(sets, spec, golden):
    file = run(spec, sets)
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:32] == golden
    windows = read_windows(file)
    assert (windows.shape, windows.dtype) == ((16, 64), "int32")


def test_an_end_of_text_stands_between_texts_and_the_manifest_says_what_was_read(sets):
    file = run(spec_of(*C4), sets)
    ids = read_windows(file).reshape(-1).tolist()
    texts = Tokenizer(FALCON_TINY / "tokenizer.json").decode(ids)
    first, *others, _ = texts.split("<|endoftext|>")
    assert len(others) > 5
    assert {first, *others} <= {text(n, n % 90) for n in range(600)}
    manifest = json.loads(file.with_suffix(".json").read_text())
    assert manifest["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (manifest["tokens"], manifest["spec"]["seed"]) == (16 * 64, 0)
    source = hashlib.sha256((sets / C4[1]).read_bytes()).hexdigest()
    assert manifest["files"] == [[[C4[1], source]]]


def test_nothing_is_made_twice(sets, tmp_path):
    shutil.copy(sets / "own.txt", tmp_path)

    def times_read(seed=0):
        progress = Steps()
        run(spec_of("own", "own.txt", seed=seed), tmp_path, progress)
        return len(progress.steps)

    assert (times_read(), times_read()) == (1, 0)
    file = tmp_path / "calibration/own.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    assert (times_read(), times_read(seed=3)) == (1, 1)
    with (tmp_path / "own.txt").open("a") as texts:
        texts.write("one more line\n")
    assert times_read(seed=3) == 1
    assert sorted(entry.name for entry in file.parent.iterdir()) == ["own.json", "own.safetensors"]


class Steps(Progress):
    """Keeps [label, total bytes, bytes done] of every step; `stop` ends the run at the first."""

    def __init__(self, stop=False):
        self.steps = []
        self.stop = stop

    def start(self, label, total_bytes=None):
        if self.stop:
            raise KeyboardInterrupt
        self.steps.append([label, total_bytes, 0])

    def advance(self, done_bytes):
        self.steps[-1][2] += done_bytes


def test_progress_adds_up_and_an_interrupted_run_leaves_nothing_half_made(sets, tmp_path):
    shutil.copy(sets / C4[1], tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(spec_of(*C4), tmp_path, Steps(stop=True))
    assert not (tmp_path / "calibration").exists()
    progress = Steps()
    run(spec_of(*C4), tmp_path, progress)
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
        (spec_of("c4", "damaged.json.gz", samples=1), "is damaged: CRC check failed"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_written(sets, tmp_path, spec, message):
    root = Path(shutil.copytree(sets, tmp_path / "sets", ignore=lambda *_: ["calibration"]))
    content = (root / C4[1]).read_bytes()
    (root / "damaged.json.gz").write_bytes(content[:-8] + b"\x00" * 8)  # at the very end
    with pytest.raises(StageError, match=message):
        run(spec, root)
    assert not (root / "calibration").exists()


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
    except StageError as error:
        shares = error.message
    assert (shares == [samples]) is enough, shares


def test_the_check_reads_no_further_than_it_must(tmp_path):
    content = "".join(json.dumps({"text": f"{n} " * 200}) + "\n" for n in range(5_000)).encode()
    (tmp_path / "c4-train.0.json.gz").write_bytes(gzip.compress(content, 1)[:-100])
    assert check_calibration(spec_of("c4", ".", samples=8), 2048, tmp_path) == [8]


@pytest.mark.parametrize("megabytes", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_file(tmp_path, megabytes):
    pages = [json.dumps({"text": text(n, n * 4), "url": str(n)}) + "\n" for n in range(400)]
    block = "".join(pages).encode()
    with gzip.open(tmp_path / "c4.json.gz", "wb", compresslevel=1) as file:
        for _ in range(megabytes * 1_000_000 // len(block)):
            file.write(block)
    run(spec_of("c4", "c4.json.gz", seqlen=1024, samples=1), tmp_path)
    reset_peak_rss()
    before = peak_rss_bytes()
    run(spec_of("c4", "c4.json.gz", seqlen=1024, samples=32), tmp_path)
    assert peak_rss_bytes() - before < 30e6


def test_a_build_leaves_windows_and_draws_them_once(tmp_path):
    root = tmp_path / "w"
    own = {"set": "own", "path": "own.txt", "samples": 4, "seqlen": 32}
    workspace = make_workspace(root, precisions=["int8"], calibration=own)
    texts = root / "own.txt"
    for line, statuses in (
        ("In the beginning God created. ", [Status.DONE, Status.REUSED]),
        ("And the earth was without form. ", [Status.DONE]),
    ):
        texts.write_text(line * 40)
        for status in statuses:
            recorder = build(workspace, OnnxRuntimeBackend(), until=Stage.CALIBRATE)
            assert recorder.statuses(Stage.CALIBRATE) == [status]
    texts.write_text("too little")
    with pytest.raises(StageError, match=r"own has .* it fills at most 0 of 4 windows"):
        build(workspace, OnnxRuntimeBackend())
    assert [stage["name"] for stage in report_of(workspace)["stages"]] == ["preflight", "report"]
