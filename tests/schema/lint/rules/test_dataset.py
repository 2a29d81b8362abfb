"""Branches of the rules about `dataset` that their examples do not show."""

import pytest

from tests.schema.lint.examples import findings

LACKS = "`dataset` lacks `path` and {} | say where the data is, and which of it to take"
TEXTS = "frontend: {quantize: {type: w8a16_gptq}}\nbackend: {dtype: int8}\n"
TEXTS += "dataset: {type: huggingface, path: ., name: c4, nsamples: %d}"
ONE_SAMPLE = "dataset: {path: ., sampler: {get_data_num: 1}}"


@pytest.mark.parametrize(
    ("code", "text", "found"),
    [
        ("VG501", "dataset: {}", LACKS.format("`sampler`")),
        ("VG501", "dataset: {type: huggingface}", LACKS.format("`name`")),
        ("VG501", "dataset: {type: huggingface, path: ., name: c4}", None),
        ("VG501", "dataset: {path: null, sampler: {get_data_num: 50}}", None),
        ("VG502", TEXTS % 9, "only 9 calibration samples for int8 | take 10 or more"),
        ("VG502", TEXTS % 10, None),
        ("VG502", ONE_SAMPLE, None),  # fp16 needs none
        ("VG508", "dataset: {path: ./a_384, sampler: {get_data_num: 10}}", None),  # images
    ],
)
def test_what_is_said_of_a_dataset(code, text, found):
    assert [one.split(" ", 1)[1] for one in findings(code, text)] == ([found] if found else [])


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("calib_384/20240816", "384"),
        ("calib_512_384", "384"),
        *((path, None) for path in ("calib_128_384", "calib_48", "calib_384_128", "calib_100")),
        ("calib", None),
    ],
)
def test_a_length_in_the_path_is_the_inputs(path, named):
    text = "frontend: {dtype: int64, shape: {input_ids: [1, 128]}}\n"
    text += f"dataset: {{path: {path}, sampler: {{suffix: npz, get_data_num: 10}}}}"
    message = f"16:9 by its path the data is of length {named}, but the inputs are 128"
    hint = "take data of length 128, or change the shape"
    assert findings("VG508", text) == ([f"{message} | {hint}"] if named else [])
