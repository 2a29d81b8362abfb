"""Branches of the rules about `dataset` that their examples do not show."""

import pytest

from tests.schema.lint.examples import findings

GPTQ = "frontend: {quantize: {type: w8a16_gptq}}\nbackend: {dtype: int8}\n"


@pytest.mark.parametrize(
    ("dataset", "missing"),
    [
        ("{}", "`path` and `sampler`"),
        ("{type: huggingface}", "`path` and `name`"),
        ("{type: huggingface, path: ., name: c4}", None),
        ("{path: null, sampler: {get_data_num: 50}}", None),
    ],
)
def test_a_dataset_says_which_data(dataset, missing):
    hint = "say where the data is, and which of it to take"
    found = [one.split(" ", 1)[1] for one in findings("VG501", f"dataset: {dataset}")]
    assert found == ([f"`dataset` lacks {missing} | {hint}"] if missing else [])


def test_texts_are_counted_like_files():
    text = GPTQ + "dataset: {type: huggingface, path: ., name: c4, nsamples: %d}"
    (found,) = findings("VG502", text % 9)
    assert found.endswith(" only 9 calibration samples for int8 | take 10 or more")
    assert findings("VG502", text % 10) == []


def test_fp16_needs_no_samples():
    assert findings("VG502", "dataset: {path: ., sampler: {get_data_num: 1}}") == []


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("calib_384/20240816", "384"),
        ("calib_512_384", "384"),
        ("calib_128_384", None),
        ("calib_48", None),
        ("calib_384_128", None),
        ("calib_100", None),
        ("calib", None),
    ],
)
def test_a_length_in_the_path_is_the_inputs(path, named):
    text = "frontend: {dtype: int64, shape: {input_ids: [1, 128]}}\n"
    text += f"dataset: {{path: {path}, sampler: {{suffix: npz, get_data_num: 10}}}}"
    message = f"16:9 by its path the data is of length {named}, but the inputs are 128"
    hint = "take data of length 128, or change the shape"
    assert findings("VG508", text) == ([f"{message} | {hint}"] if named else [])


def test_images_have_no_length():
    assert findings("VG508", "dataset: {path: ./a_384, sampler: {get_data_num: 10}}") == []
