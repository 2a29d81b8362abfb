import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

CONFIG = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")
RECIPE = "version: 2\nmodel: {preset: falcon-7b, checkpoint: /path/to/falcon-7b}\n"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("target: {prefil: 128}\n", "did you mean `prefill`?"),
        ("target: {preset: falcon-py310}\n", "it belongs in `environment`."),
    ],
)
def test_no_compiler_ignores_the_keys_of_a_recipe(line, hint):
    (one,) = check_text(RECIPE + line, "vacc.yaml")
    assert one.hint == hint


def test_the_compiler_ignores_those_of_its_configs():
    found = check_text(CONFIG.replace("  workers: 4", "  wokers: 4"), "hf_falcon_fp16.yaml")
    (hint,) = [one.hint for one in found if one.code == "VG101"]
    assert hint == "did you mean `workers`? The compiler ignores keys that it does not know."


def test_a_mistake_in_a_whole_text_on_one_line_is_no_cut():
    text = '{"version": 2, "model": {"preset": "falcon-7b", "chekpoint": "/x"}}'
    assert [one.code for one in check_text(text, "vacc.yaml")] == ["VG101"]


@pytest.mark.parametrize("text", [" \n\n\t", "\t", "\n", "# nothing\n"])
def test_a_text_of_nothing_is_one_mistake(text):
    assert len(check_text(text, "x.yaml")) == 1
