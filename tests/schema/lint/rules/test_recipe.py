import pytest

from vacc_gen.presets import KNOWN
from vacc_gen.schema.lint.check import check_text

RECIPE = """\
version: 2
model:
  preset: falcon-7b
  checkpoint: /path/to/falcon-7b
precisions: [fp16, int8]
target:
  tp: 1
  prefill: 128
  total: 256
environment:
  python: '3.10'
quantization:
  damp_percent: 0.01
"""


def found(old="", new="", path="vacc.yaml"):
    assert old in RECIPE
    text = RECIPE.replace(old, new)
    return [
        (one.line, one.column, one.code, one.hint) for one in check_text(text, path, KNOWN)
    ]


def test_a_healthy_recipe_has_no_findings():
    assert found() == []


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("version: 2", "version: 2.0", (1, 10, "VG103", "write 2: a whole number has no point")),
        ("version: 2", "version: two", (1, 10, "VG103", "did you mean `2`?")),
        ("python: '3.10'", "python: 3.10", (11, 11, "VG103", 'in quotes it is text: "3.10"')),
        ("damp_percent: 0.01", "damp_percent: 1", (13, 17, "VG105", None)),
        ("damp_percent: 0.01", "damp_percent: 1%", (13, 17, "VG103", "did you mean `0.01`?")),
        ("[fp16, int8]", "[fp16, fp16]", (5, 20, "VG198", "delete one")),
        ("[fp16, int8]", "fp16, int8", (5, 13, "VG103", "did you mean `[fp16, int8]`?")),
    ],
)
def test_a_mistake_is_told_at_its_value(old, new, place):
    assert found(old, new) == [place]


@pytest.mark.parametrize("path", ["~/w", "~me/w", "$HOME/w", "/a/${W}/b"])
def test_a_path_for_a_shell_is_told(path):
    ((line, column, code, _),) = found("/path/to/falcon-7b", path)
    assert (line, column, code) == (4, 15, "VG197")


@pytest.mark.parametrize("path", ["/a~b/w", "./w~", "/a/100$", "C:\\w"])
def test_a_path_that_only_looks_like_one_is_not(path):
    assert found("/path/to/falcon-7b", path) == []


@pytest.mark.parametrize("path", ["TODO", '"NULL"', "./w/model.onnx", "model-1.safetensors"])
def test_what_cannot_be_a_weight_folder_is_told(path):
    ((line, column, code, _),) = found("/path/to/falcon-7b", path)
    assert (line, column, code) == (4, 15, "VG199")


def test_a_path_beyond_all_length_is_an_error():
    assert [code for _, _, code, _ in found("/path/to/falcon-7b", "/x" * 3000)] == ["VG197"]


def test_lengths_are_not_compared_with_a_default_that_may_be_none():
    assert [code for _, _, code, _ in found("  prefill: 128", "  prompt_max: 128")] == ["VG101"]


def test_a_recipe_stays_one_with_a_section_of_a_config_in_it():
    assert [code for _, _, code, _ in found("target:", "frontend: {}\ntarget:")] == ["VG101"]
