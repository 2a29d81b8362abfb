"""Branches of the rules about `dataset` that their examples do not show."""

from tests.schema.lint.examples import assert_findings_on_record, findings

TEXTS = "frontend: {quantize: {type: w8a16_gptq}}\nbackend: {dtype: int8}\n"
TEXTS += "dataset: {type: huggingface, path: ., name: c4, nsamples: %d}"
LENGTHS = "frontend: {dtype: int64, shape: {input_ids: [1, 128]}}\n"
LENGTHS += "dataset: {path: %s, sampler: {suffix: npz, get_data_num: 10}}"
PATHS = ("calib_384/20240816", "calib_512_384", "calib_128_384", "calib_48", "calib_384_128")
CASES = {
    "VG501": [
        "dataset: {}",
        "dataset: {type: huggingface}",
        "dataset: {type: huggingface, path: ., name: c4}",
        "dataset: {path: null, sampler: {get_data_num: 50}}",
    ],
    "VG502": [TEXTS % 9, TEXTS % 10, "dataset: {path: ., sampler: {get_data_num: 1}}"],
    "VG508": [
        "dataset: {path: ./a_384, sampler: {get_data_num: 10}}",
        *(LENGTHS % path for path in (*PATHS, "calib_100", "calib")),
    ],
}


def test_what_is_said_of_a_dataset():
    found = {f"{code} {text}": findings(code, text) for code in CASES for text in CASES[code]}
    assert_findings_on_record("dataset.txt", found)
