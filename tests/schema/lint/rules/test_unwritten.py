"""Words for values that are still to be written, and what is not said of them on top."""

import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")


def codes(text):
    return [one.code for one in check_text(text, "x.yaml")]


def with_value(text, key, value):
    lines = text.splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if line.lstrip().startswith(f"{key}:"))
    lines[at] = lines[at].split(":")[0] + f": {value}\n"
    return "".join(lines)


@pytest.mark.parametrize("key", ["name", "checkpoint", "path"])
@pytest.mark.parametrize(
    "word", ["TODO", "none", "None", "???", "FIXME", "<path to model>", "待定", "TODO set this"]
)
@pytest.mark.parametrize("text", [FALCON, IMAGES], ids=["falcon", "images"])
def test_a_word_in_place_of_a_value_is_told_once(text, key, word):
    assert codes(with_value(text, key, word)) == ["VG119"]


@pytest.mark.parametrize("value", ["./none", "nonet-v2.onnx", "./todo-app", "xxx-large"])
def test_words_that_have_more_to_them_are_names(value):
    assert "VG119" not in codes(with_value(IMAGES, "checkpoint", value))


@pytest.mark.parametrize("kind", ["onnx", "pytorch", "keras"])
def test_a_language_model_of_another_type_is_told_once(kind):
    assert codes(FALCON.replace("huggingface", kind, 1)) == ["VG301"]


def test_an_image_model_called_huggingface_is_told_once():
    assert codes(IMAGES.replace("type: onnx", "type: huggingface", 1)) == ["VG301"]


@pytest.mark.parametrize("rest", [" ; ours", " -- ours", " /* ours */", "<br>", "&nbsp;"])
def test_remains_behind_a_path_are_told(rest):
    assert codes(with_value(IMAGES, "path", "./images" + rest)) == ["VG118"]


@pytest.mark.parametrize("path", ["./a--b", "./a b/c", "./R&D/x", "s3://b/x", "./a;b"])
def test_paths_that_merely_look_odd_are_left_alone(path):
    assert "VG118" not in codes(with_value(IMAGES, "path", path))
