"""Branches of the rules about `dataset` that their examples do not show."""

from tests.schema.lint.examples import assert_findings_on_record, findings

DECODE, TENSOR = "{type: DecodeImage}", "{type: ToTensor}"
LONG = "{type: Resize, size: [224, -1], adaptive_side: long}"
SHORT = "{type: Resize, size: [-1, 256], adaptive_side: short}"
SQUARE = "{type: Pad, pad_to_square: true}"
CROP = "{type: CenterCrop, crop_size: [224, 200]}"
FUNCTION = "{type: CustomFunc, module_path: a.py, func_name: f}"
SPLIT = "{type: ChannelSplit, index: 0}, "
MEAN, STD = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"
GREY = "[123.675, 116.28, 103.53]"
BGR = "[0.406, 0.456, 0.485]"
IMAGE = "[1, 3, 224, 224]"


def resized(values):
    return f"{{type: Resize, size: {values}}}"


def normalized(values):
    return f"{{type: Normalize, {values}}}"


SIZES = [
    *(
        (IMAGE, ops)
        for ops in (
            *([LONG, SQUARE], [resized("[200, 224]"), SQUARE], [resized("[224, 200]"), SQUARE]),
            *([SHORT], [SHORT, SQUARE], [resized("[-1, 256]")], [FUNCTION]),
            [resized("[-1, -1], adaptive_side: long")],
            [CROP, resized("[224, 224]")],
            [resized("[224, 224]"), "{type: Clip, min: 0}"],
            [resized("[200, 200]"), "{type: Pad, size_divisor: 32, pad_val: [0, 0]}"],
            [resized("[200, 200]"), FUNCTION],
            [LONG],
        )
    ),
    ("[1, 512]", [resized("[9, 9]")]),
    (f"{IMAGE}, other: [1, 3, 9, 9]", [resized("[9, 9]")]),
    ("[1, 3, 200, 224]", [CROP]),
    ("[1, 3, 9, 9]", [CROP, SQUARE, "{type: Clip}"]),
    ("[1, 224, 200, 3]", []),
]
ADAPTIVE = (
    *("[-1, 224]", "[-1, 224], adaptive_side: null", "[-1, -1], adaptive_side: short"),
    *("[-1, 224], adaptive_side: short", "[224, 224], adaptive_side: null"),
)
RANGES = (
    f"mean: {GREY}, std: [58.4]",
    "mean: [127.5]",
    "mean: [0], std: [255]",
    "div255: true, mean: [9], std: [0.5]",
    f"div255: false, mean: {MEAN}, std: {STD}",
    "div255: false, mean: [9], std: [0.5]",
    "div255: false, mean: [0], std: [1]",
    "mean: [0], std: [1]",
    "mean: [-1.5], std: [1.5]",
    "div255: null, mean: [127.5], std: [128]",
    "norm_type: null",
)
CHANNELS = [
    ("[1, 3, 9, 9]", normalized("mean: [0.5], std: [0.5, 0.5]")),
    ("[1, 3, 9, 9]", SPLIT + normalized("mean: [0.5, 0.5]")),
    ("[1, 3, 9, 9]", normalized("norm_type: null")),
    *((shape, normalized("mean: [0.5, 0.5]")) for shape in ("[1, 4, 9, 9]", "[1, 9, 9, 4]")),
    ("[1, 2]", normalized("mean: [0.5, 0.5], std: [0.5, 0.5, 0.5]")),
]
COLOURS = (
    *(BGR, "[104, 117, 123]", "[103.939, 116.779, 123.68]"),
    *(MEAN, GREY, "[105.4, 117, 123]", "[0.5]"),
)


TEXTS = "frontend: {quantize: {type: w8a16_gptq}}\nbackend: {dtype: int8}\n"
TEXTS += "dataset: {type: huggingface, path: ., name: c4, nsamples: %d}"
LENGTHS = "frontend: {dtype: int64, shape: {input_ids: [1, 128]}}\n"
LENGTHS += "dataset: {path: %s, sampler: {suffix: npz, get_data_num: 10}}"
PATHS = ("calib_384/20240816", "calib_512_384", "calib_128_384", "calib_48", "calib_384_128")
DATASETS = {
    "VG501": [
        *("dataset: {}", "dataset: {type: huggingface}"),
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
    cases = [("VG503", shape, ", ".join((DECODE, *ops, TENSOR))) for shape, ops in SIZES]
    cases += [("VG504", IMAGE, f"{DECODE}, {resized(size)}, {TENSOR}") for size in ADAPTIVE]
    cases += [("VG505", IMAGE, normalized(values)) for values in RANGES]
    cases += [("VG505", *case) for case in CHANNELS]
    cases += [("VG509", IMAGE, normalized(f"mean: {mean}")) for mean in COLOURS]
    for code in ("RGB2BGR", "BGR2RGB"):
        convert = f"{{type: CvtColor, code: COLOR_{code}}}"
        cases.append(("VG509", IMAGE, f"{convert}, {normalized(f'mean: {BGR}')}"))
    text = "frontend: {{shape: {{input: {}}}}}\ndataset: {{process_ops: [{}]}}"
    found = {" ".join(case): findings(case[0], text.format(*case[1:])) for case in cases}
    for code, datasets in DATASETS.items():
        found |= {f"{code} {dataset}": findings(code, dataset) for dataset in datasets}
    assert_findings_on_record("dataset.txt", found)
