"""The words, places and fixes of findings in real files."""

import difflib
from pathlib import Path

import pytest

from tests.published import FOLDER, PATHS
from tests.schema.lint.examples import assert_on_record
from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import check_paths, check_text
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.output import as_text
from vacc_gen.schema.lint.suggestions import nearest_of_all

FALCON = FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml"
IMAGES = FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml"
RECIPE = Path(__file__).parents[2] / "golden/falcon-7b-calibrated/vacc.yaml"
CHECKPOINT = "checkpoint: weights/falcon-7b"
PRESET = "preset: falcon-py310"

MISTAKES = [
    (FALCON, "    b2s: true", "    b2z: true"),
    (FALCON, "    b2s: true", "    b2z: [1]"),  # no value of b2s: nothing is sure
    (FALCON, "    b2s: true", "    zzz: true"),
    (FALCON, "    b2s: true", "    tpp: 2"),
    (FALCON, "backend:", "bakcend:"),
    (FALCON, "name: falcon", "model: falcon"),
    (FALCON, "    b2s: true", "    tp: 8"),
    (FALCON, "    b2s: true", "    [a, b]: 1"),
    (FALCON, "    b2s: true", "    workers: 4"),
    (FALCON, "  merge_params: true", "  b2s: false"),
    (FALCON, "    tp: 4", '    tp: "4"'),
    (FALCON, "    tp: 4", "    tp: [4]"),
    (FALCON, "    tp: 4", "    tp: 0"),
    (FALCON, "    b2s: true", "    b2s: 1"),
    (FALCON, "    data_type: 0", "    data_type: 1"),
    (FALCON, "    data_type: 0", "    data_type: true"),
    (FALCON, "name: falcon-7b-instruct-int8-tp4-1024-2048", "name: 7"),
    (FALCON, "  dtype: int8", "  dtype: int9"),
    (FALCON, "  dtype: int8", "  dtype: int4"),  # another number of bits is another thing
    (FALCON, "  type: tvm_vacc", "  type: tvm_vcac"),
    (FALCON, "  type: tvm_vacc", "  type: tensorrt"),
    (FALCON, "  type: tvm_vacc\n", ""),
    (FALCON, "  type: tvm_vacc\n  dtype: int8\n", ""),
    (FALCON, "  path: ./vacc_deploy", "  path:"),
    (FALCON, "  path: ./vacc_deploy", '  path: ""'),
    (FALCON, "    type: w8a16_gptq", "    type:w8a16_gptq"),
    (FALCON, "    type: w8a16_gptq", "    calibrate_mode: max"),
    (FALCON, "workspace:\n  path: ./vacc_deploy\n  workers: 4", "path: x\nworkers: 4"),
    (FALCON, "[[1024], [2048]]", "[[1024], [0]]"),
    (FALCON, "[[1024], [2048]]", "[[1024], 2048]"),
    (FALCON, "[[1024], [2048]]", "[]"),
    (FALCON, "  type: huggingface\n", ""),
    (FALCON, "    tp: 4\n", ""),
    (FALCON, "tp: 4", "tp:4"),
    (FALCON, "  dtype: int8", '  dtype: "int8'),
    (FALCON, "    b2s: true", "     b2s: true"),
    (FALCON, "backend:\n", "<<<<<<< ours\nbackend:\n"),
    (FALCON, "backend:\n", "```yaml\nbackend:\n"),
    (FALCON, "./vacc_deploy", "@deploy"),
    (FALCON, "./vacc_deploy", '"C:\\deploy"'),
    (FALCON, "  workers: 4", " workers: 4"),
    (FALCON, "\n  dtype: int8", "\n   dtype: int8"),
    (FALCON, "  workers: 4", "\tworkers: 4"),
    (FALCON, "name: falcon", " name: falcon"),
    (FALCON, "workers: 4", "workers： 4\n  x：y"),
    (IMAGES, "  dtype: fp32", "  dype: fp32"),
    (FALCON, "  workers: 4", "  workers 4"),
    (FALCON, "[[1024], [2048]]", "[[1024], [2048]"),
    (FALCON, "./vacc_deploy", "!!python/name:os.system ./vacc_deploy"),
    (IMAGES, "suffix: JPEG", "suffix: null"),
    (IMAGES, "type: tvm\n", "type: tvn\n"),
    (IMAGES, "type: Resize", "type: Resise"),
    (IMAGES, "- type: Resize", "- tipe: Resize"),
    (RECIPE, "version: 2", "version: 3\ntp: x"),
    (RECIPE, "total: 2048", "total: 112"),
    (RECIPE, "preset: falcon-7b", "preset: Yi-7B"),
    (RECIPE, "[fp16, int8]", "[fp61]"),
    (RECIPE, "tp: 4", "tp: x"),
    (RECIPE, "tp: 4", "card: VA61"),
    (RECIPE, "tp: 4", "card: A100"),
    (RECIPE, "tp: 4", "tp: 1\n  card: VA1-16G"),
    (RECIPE, PRESET, "preset: falcon-310"),
    (RECIPE, CHECKPOINT, "chekpoint: x"),
    (RECIPE, CHECKPOINT, "checkpoint: ~me/w"),
    (RECIPE, CHECKPOINT, "checkpoint: '~'"),
    (RECIPE, CHECKPOINT, "checkpoint: $HOME/w"),
    (RECIPE, CHECKPOINT, "checkpoint: /a/$W/b"),
    (RECIPE, "path: /path/to/en_alpaca_data.json", "path: ~/c"),
    (RECIPE, "samples: 128", "mix: [{set: b, path: ~/c}]"),
    (RECIPE, "calibration:", "verification: {text: ~/t.txt}\ncalibration:"),
    (RECIPE, PRESET, 'pins: [numpy==1.26.4, "torch=2.1.0"]'),
    (RECIPE, PRESET, 'pins: [numpy==1.26.4, "torch = 2.1.*"]'),
    (RECIPE, PRESET, 'pins: [numpy==1.26.4, "torch=="]'),
    (RECIPE, PRESET, "pins: [numpy==1.26.4, \"torch==2.1; python_version>'3'\"]"),
    (RECIPE, PRESET, "pins: [numpy==1.26.4, torch==1.8.0]"),
    (RECIPE, PRESET, "pins: [gptqmodel==4.0.0]"),
    (RECIPE, "'3.10'", "'3.13'"),
]


def test_messages_are_those_on_record():
    written = []
    for path, old, new in MISTAKES:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, (path.name, old, text.count(old))
        changed = text.replace(old, new)
        found = check_text(changed, path.name, KNOWN)
        assert found, new
        document = load(changed, path.name)
        shown = as_text(found, {path.name: document}, 1).rsplit("\n\n", 1)[0]
        right = document.fixed([one.fix for one in found if one.fixable])
        difference = difflib.unified_diff(changed.split("\n"), right.split("\n"), n=0, lineterm="")
        written.append("\n".join([shown, *[*difference][2:]]))
    assert_on_record("messages.txt", "\n\n".join(written) + "\n")


def test_what_is_wrong_in_published_configs_is_found_and_nothing_else():
    result = check_paths([str(FOLDER)], KNOWN)
    assert (result.checked, result.unreadable) == (len(PATHS), [])
    shown = as_text(result.diagnostics, {}, 0)
    assert_on_record("published.txt", shown.replace(f"{FOLDER}/", ""))


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [
        ("Data-Type", "dtype data_type", "data_type"),  # case and separators do not count
        ("gatherdata", "gather_data gatherdate", "gather_data"),
        ("int", "int8 int4 fp16", "int8 int4"),
        ("tp", "pt b2s", "pt"),
        ("workers", "path pyenv", ""),
        ("abcd", "axyd", ""),  # two edits are too many for a short word
        ("abcde", "axyde axyze", "axyde"),
    ],
)
def test_the_nearest_words_are_suggested(word, known, near):
    assert nearest_of_all(word, known.split()) == near.split()
