import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.diagnostics import Severity

CONFIG = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")
NAME = "name: falcon-7b-instruct-fp16-tp4-1024-2048"
RECIPE = """\
version: 2
model:
  preset: falcon-7b
  checkpoint: CHECKPOINT
"""


def found(text, path="hf_falcon_fp16.yaml"):
    return [one for one in check_text(text, path) if not one.code.startswith("VG6")]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (r'"/weights\nfalcon"', "`model.checkpoint` has a line break in it"),
        (r'"/weights\tfalcon"', "`model.checkpoint` has a tab in it"),
        (r'"/weights\x00falcon"', "`model.checkpoint` has NUL in it"),
        (r'"/weights\x1b[31m"', "`model.checkpoint` has the control character U+001B in it"),
        (r'"/weights\x85"', "`model.checkpoint` has the control character U+0085 in it"),
        ("|\n    /weights/falcon", "`model.checkpoint` ends with a line break"),
    ],
)
def test_a_control_character_is_an_error(written, message):
    (one,) = found(RECIPE.replace("CHECKPOINT", written), "vacc.yaml")
    assert (one.code, one.severity, one.line) == ("VG115", Severity.ERROR, 4)
    assert one.message == message


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("'/weights/falcon '", "`model.checkpoint` ends with a blank"),
        ("' /weights/falcon'", "`model.checkpoint` begins with a blank"),
        ("/weights/\u200bfalcon", "`model.checkpoint` has U+200B in it, zero width space"),
        (r'"/weights/\u202efalcon"', "`model.checkpoint` has U+202E in it, right-to-left override"),
        (
            "/my \u201cown\u201d/falcon",
            "`model.checkpoint` has U+201C in it, left double quotation",
        ),
    ],
)
def test_what_is_hardly_meant_is_a_warning(written, message):
    (one,) = found(RECIPE.replace("CHECKPOINT", written), "vacc.yaml")
    assert (one.code, one.severity) == ("VG115", Severity.WARNING)
    assert one.message.startswith(message)


def test_quotes_around_a_name_are_one_mistake():
    for quotes in ("\u201c\u201d", "\u2018\u2019"):
        name = NAME.replace("name: ", f"name: {quotes[0]}") + quotes[1]
        (one,) = found(CONFIG.replace(NAME, name))
        assert one.line == 1


@pytest.mark.parametrize("path", ["/模型/权重", "/weights/für uns", "/a (b)/c's, d", "C:\\weights"])
def test_a_path_of_any_letters_is_left_alone(path):
    text = CONFIG.replace("/path/to/falcon-7b-instruct", f'"{path}/falcon-7b-instruct"')
    assert path in text
    assert [one.code for one in found(text.replace("\\", "\\\\"))] == []


@pytest.mark.parametrize(
    ("written", "read", "right"),
    [("010", 8, "8, or 10 if"), ("0x10", 16, "16"), ("1:30", 90, "90"), ("0b11", 3, "3")],
)
def test_a_number_in_another_base_is_told(written, read, right):
    (one,) = found(CONFIG.replace("workers: 4", f"workers: {written}"))
    assert (one.code, one.severity) == ("VG116", Severity.WARNING)
    assert f": {read}" in one.message
    assert one.hint.startswith(f"write {right}")


@pytest.mark.parametrize("written", ["4", "+4", "0", "1_0", "2"])
def test_a_decimal_number_is_left_alone(written):
    text = CONFIG.replace("workers: 4", f"workers: {written}")
    assert "VG116" not in [one.code for one in found(text)]


@pytest.mark.parametrize(
    ("package", "meant"),
    [
        ("transformer", "transformers"),
        ("tranformers", "transformers"),
        ("huggingface-hb", "huggingface-hub"),
        ("onnxruntme", "onnxruntime"),
        ("torchvison", "torchvision"),
        ("numy", None),
        ("transformers", None),
        ("Huggingface_Hub", None),
        ("onnxruntime-gpu", None),
        ("vllm", None),
        ("mistral-common", None),
    ],
)
def test_a_misspelled_package_is_told(package, meant):
    text = CONFIG.rstrip() + f'\n  pyenv: {{{package}: "4.51.3"}}\n'
    hints = [one.hint for one in found(text)]
    assert hints == ([f"did you mean `{meant}`?"] if meant else [])


@pytest.mark.parametrize(
    ("key", "old", "new", "code"),
    [
        ("cv/classification/resnet/build_in/build/keras_resnet.yaml", "JPEG", ".JPEG", "VG114"),
        ("cv/classification/resnet/build_in/build/keras_resnet.yaml", "JPEG", "JPGE", "VG114"),
    ],
)
def test_a_suffix_as_no_published_config_has_it_is_told(key, old, new, code):
    path = FOLDER / key
    text = path.read_text(encoding="utf-8")
    before = [one.code for one in found(text, path.name)]
    after = [one.code for one in found(text.replace(f"suffix: {old}", f"suffix: {new}"), path.name)]
    assert sorted(after) == sorted([*before, code])


@pytest.mark.parametrize("layout", ["5:XY", "5:yx", "5:YXX"])
def test_a_layout_that_nobody_has_is_told(layout):
    (path,) = FOLDER.rglob("qwen2_vl_visual.yaml")
    text = path.read_text(encoding="utf-8")
    changed = text.replace('"5:YX"', f'"{layout}"').replace("'5:YX'", f'"{layout}"')
    assert changed != text
    codes = [one.code for one in found(changed, path.name)]
    assert codes == ["VG708"]


def test_a_dataset_that_nothing_reads_is_told():
    dataset = "\ndataset: {type: huggingface, name: c4, path: /c4, nsamples: 128, seqlen: 512}\n"
    (one,) = found(CONFIG + dataset)
    assert one.code == "VG510"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("falcon 7b", "a blank in a name that becomes a folder's"),
        ("falcon*7b", "`*` in a name that becomes a folder's"),
        ("-falcon", "`-` in a name that becomes a folder's"),
        ("..", "`..` is a folder that is there already"),
        ("PP-OCRv5_mobile.det@2+x", None),
        ("模型-7b", None),
    ],
)
def test_a_name_that_a_shell_takes_otherwise_is_told(name, message):
    text = CONFIG.replace(NAME, f'name: "{name}"')
    told = [one.message for one in found(text) if one.code == "VG118"]
    assert told == ([message] if message else [])


def test_nothing_is_built_on_a_number_in_another_base():
    assert [one.code for one in found(CONFIG.replace("tp: 4", "tp: 017"))] == ["VG116"]


def test_brackets_without_end_are_one_mistake():
    assert [one.code for one in found("{" * 100_000)] == ["VG004"]
