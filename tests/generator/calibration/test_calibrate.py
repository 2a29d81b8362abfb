import gzip
import json
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from vacc_gen.generator.calibration.calibrate import calibrate
from vacc_gen.generator.calibration.tokenizer import PIECE_CHARS, Tokenizer, pieces
from vacc_gen.generator.progress import SilentProgress
from vacc_gen.schema.calibration import Calibration, TextSource
from vacc_gen.schema.errors import CalibrationError, CheckpointError, UnreadableError

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
    ("spec", "name", "golden"),
    [
        (spec_of(*C4), "c4", "c4"),
        (spec_of(*C4, seed=1), "c4", "c4 seed 1"),
        (spec_of(*C4, packing="one_text"), "c4", "c4 one_text"),
        (spec_of("alpaca", "alpaca.json"), "alpaca", "alpaca"),
        (spec_of("ceval", "ceval-exam.zip", subjects=("art",)), "ceval", "ceval"),
        (spec_of("own", "own.txt"), "own", "own"),
        (
            spec_of(
                *C4,
                weight=3,
                mix=(
                    TextSource(set="alpaca", path="alpaca.json"),
                    TextSource(set="ceval", path="ceval-exam.zip", weight=0.5),
                ),
            ),
            "c4+alpaca+ceval",
            "mixture",
        ),
    ],
)
def test_equal_specs_make_equal_bytes_on_every_machine(falcon, sets, tmp_path, spec, name, golden):
    made = run(spec, falcon, tmp_path, sets)
    assert made.path == tmp_path / f"{name}.safetensors"
    assert made.sha256 == GOLDEN[golden]
    windows = load_file(made.path)["input_ids"]
    assert (windows.shape, windows.dtype) == ((16, 64), "int32")
    assert windows.min() >= 0
    assert windows.max() < 65_024


def test_windows_are_the_tokenizers_own_tokens(falcon, sets, tmp_path):
    from tokenizers import Tokenizer as Peer

    peer = Peer.from_file(str(falcon))
    made = run(spec_of(*C4, samples=8, packing="one_text"), falcon, tmp_path, sets)
    encoded = [peer.encode(text(n, n % 90)).ids for n in range(600)]
    for window in load_file(made.path)["input_ids"].tolist():
        assert any(
            window == ids[start : start + 64] for ids in encoded for start in range(len(ids) - 63)
        )


def test_an_end_of_text_stands_between_texts(sets, tmp_path):
    made = run(spec_of(*C4), TINY, tmp_path, sets)
    stream = load_file(made.path)["input_ids"].reshape(-1).tolist()
    texts = " ".join(map(str, stream)).split(f" {END} ")
    tokenizer = Tokenizer(TINY)
    known = {" ".join(map(str, tokenizer.encode(text(n, n % 90).encode()))) for n in range(600)}
    assert len(texts) > 5
    assert set(texts[:-1]) <= known
    manifest = json.loads(made.manifest_path.read_text())
    assert manifest["drawn"][0]["texts_used"] == len(texts)


def test_the_manifest_tells_what_was_read(sets, tmp_path):
    made = run(spec_of(*C4), TINY, tmp_path, sets)
    manifest = json.loads(made.manifest_path.read_text())
    assert manifest["sha256"] == made.sha256
    assert manifest["tokens"] == 16 * 64
    (drawn,) = manifest["drawn"]
    assert drawn["rows_read"] == 600 - 7  # seven pages are empty
    assert drawn["windows"] == 16
    (file,) = manifest["settings"]["sources"][0]["files"]
    assert file["name"] == C4[1]
    assert file["bytes"] == (sets / C4[1]).stat().st_size
    assert manifest["settings"]["spec"]["seed"] == 0


def test_a_mixture_shares_the_windows_out(sets, tmp_path):
    mix = (TextSource(set="alpaca", path="alpaca.json", weight=3),)
    made = run(spec_of(*C4, mix=mix), TINY, tmp_path, sets)
    drawn = json.loads(made.manifest_path.read_text())["drawn"]
    assert [(part["set"], part["windows"]) for part in drawn] == [("c4", 4), ("alpaca", 12)]


def test_nothing_is_made_twice(sets, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(sets, root)
    out = tmp_path / "out"
    first = run(spec_of("own", "own.txt"), TINY, out, root)
    again = run(spec_of("own", "own.txt"), TINY, out, root)
    assert (first.reused, again.reused, again.sha256) == (False, True, first.sha256)
    first.path.write_bytes(first.path.read_bytes()[:-1] + b"\x07")
    assert not run(spec_of("own", "own.txt"), TINY, out, root).reused
    assert not run(spec_of("own", "own.txt", seed=3), TINY, out, root).reused
    with (root / "own.txt").open("a") as file:
        file.write("one more line\n")
    assert not run(spec_of("own", "own.txt", seed=3), TINY, out, root).reused
    assert sorted(file.name for file in out.iterdir()) == ["own.json", "own.safetensors"]


def test_an_interrupted_run_leaves_nothing_half_made(sets, tmp_path):
    class Interrupting(SilentProgress):
        def start(self, label, total_bytes=None):
            if label.startswith("read"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec_of(*C4), TINY, tmp_path / "out", sets, Interrupting())
    assert not (tmp_path / "out").exists()


def test_progress_adds_up(sets, tmp_path):
    class Recording(SilentProgress):
        def __init__(self):
            self.steps = []

        def start(self, label, total_bytes=None):
            self.steps.append([label, total_bytes, 0])

        def advance(self, done_bytes):
            self.steps[-1][2] += done_bytes

    progress = Recording()
    run(spec_of(*C4), TINY, tmp_path, sets, progress)
    assert [step[0] for step in progress.steps] == ["hash c4", "read c4"]
    assert all(total == done for _, total, done in progress.steps)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (spec_of(*C4, seqlen=4096), "seqlen is 4096, but the model has 2048 positions"),
        (spec_of(*C4, samples=99_999), "cannot fill 99999 windows of 64 tokens"),
        (spec_of(*C4, samples=2000), "cannot fill 2000 windows|fills .* of 2000 windows"),
        (spec_of(*C4, samples=500, packing="one_text"), "c4 fills .* of 500 windows of 64 tokens"),
        (spec_of("c4", "ceval-exam.zip"), "is a zip archive, but c4"),
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
    with pytest.raises(CalibrationError, match="damaged compressed file: CRC check failed"):
        run(spec_of(*C4, samples=1), TINY, tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_is_none(sets, tmp_path):
    with pytest.raises(UnreadableError, match=r"tokenizer\.json is not there"):
        run(spec_of(*C4), tmp_path / "tokenizer.json", tmp_path, sets)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        run(spec_of(*C4), tmp_path / "tokenizer.json", tmp_path, sets)


def test_a_tokenizer_that_does_not_say_how_texts_end(tmp_path):
    content = json.loads(TINY.read_text())
    content["added_tokens"] = []
    del content["model"]["vocab"]["<|endoftext|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="does not say which token ends a text"):
        Tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("eos", [">>TITLE<<", {"content": ">>TITLE<<", "lstrip": False}])
def test_the_tokenizers_config_names_the_end_of_a_text(tmp_path, eos):
    shutil.copy(TINY, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
    assert Tokenizer(tmp_path / "tokenizer.json").end_of_text == 0


def test_a_long_text_is_encoded_in_pieces_to_the_same_tokens(falcon):
    from tokenizers import Tokenizer as Peer

    long = text(7, 40_000)
    assert len(pieces(long)) > 3
    assert max(map(len, pieces(long))) <= PIECE_CHARS
    assert "".join(pieces("x" * 200_000)) == "x" * 200_000
    assert Tokenizer(falcon).encode(long.encode()) == Peer.from_file(str(falcon)).encode(long).ids


MEASURED = """
import sys
from pathlib import Path
from vacc_gen.generator.calibration.calibrate import calibrate
from vacc_gen.generator.progress import SilentProgress
from vacc_gen.schema.calibration import Calibration
spec = Calibration(set="c4", path=sys.argv[1], samples=128, seqlen=1024, packing=sys.argv[3])
calibrate(spec, Path(sys.argv[2]), Path(sys.argv[1]).parent / sys.argv[3], 2048, SilentProgress())
# ru_maxrss would count what the test's own process held when it forked.
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
"""


@pytest.mark.parametrize(
    "megabytes", [pytest.param(60, id="60MB"), pytest.param(1000, id="1GB", marks=pytest.mark.slow)]
)
def test_memory_does_not_grow_with_the_file(falcon, tmp_path, megabytes):
    path = tmp_path / "c4-train.00000-of-01024.json.gz"
    pages = [json.dumps({"text": text(n, n * 4), "url": str(n)}) + "\n" for n in range(400)]
    block = "".join(pages).encode()
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(megabytes * 1_000_000 // len(block)):
            file.write(block)
    for packing in ("concatenate", "one_text"):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(path), str(falcon), packing],
            capture_output=True,
            text=True,
            check=True,
        )
        peak_bytes = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
        assert peak_bytes < 200e6
