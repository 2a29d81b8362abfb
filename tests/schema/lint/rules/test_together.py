"""Configs that belong together: what one says of another."""

import pytest
import yaml

from tests.schema.lint.examples import LANGUAGE_MODEL
from vacc_gen.schema.lint.check import check_paths

GPTQ = {"type": "w8a16_gptq"}


@pytest.fixture
def check(tmp_path):
    """Return a function that writes configs and returns what is found in them."""

    def check(files, codes=("VG25", "VG75")):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        found = check_paths([str(tmp_path)]).diagnostics
        return [
            (one.path.removeprefix(f"{tmp_path}/"), one.line, one.column, one.code, one.message)
            for one in found
            if one.code.startswith(codes)
        ]

    return check


def config(name, *, dtype="fp16", **frontend):
    values = {
        **LANGUAGE_MODEL,
        "name": name,
        "frontend": {**LANGUAGE_MODEL["frontend"], **frontend},
        "backend": {"type": "tvm_vacc", "dtype": dtype},
    }
    return yaml.safe_dump(values, sort_keys=False)


def tower(patches=2048, *, pyenv="", checkpoint="/path/to/falcon-7b", folder="./out"):
    return (
        "name: tower\n"
        f"frontend:\n  checkpoint: {checkpoint}\n  type: huggingface\n"
        f"  shape:\n    pixel_values: [{patches}, 1176]\n"
        "  model_kwargs: {model_arch: vacc, build_visual: true}\n"
        "backend: {type: tvm_vacc, dtype: fp16}\n"
        f"workspace:\n  path: {folder}\n{pyenv}"
    )


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("./vacc_deploy", "vacc_deploy/", True),
        ("./vacc_deploy", "./other", False),
        ("../out", "../out", True),
    ],
)
def test_the_output_folder_is_compared_and_not_its_spelling(check, first, second, is_same):
    folders = {"a.yaml": first, "b.yaml": second}
    files = {name: config("x").replace("./vacc_deploy", folder) for name, folder in folders.items()}
    expected = [
        ("a.yaml", 1, 7, "VG250", "b.yaml writes to the same folder, x"),
        ("b.yaml", 1, 7, "VG250", "a.yaml writes to the same folder, x"),
    ]
    assert check(files) == (expected if is_same else [])


def test_the_same_name_in_another_folder_is_another_output(check):
    assert check({"a/x.yaml": config("bert"), "b/y.yaml": config("bert")}) == []


def test_the_older_name_of_the_folder_counts(check):
    older = config("x").replace("path: ./vacc_deploy", "work_dir: ./vacc_deploy")
    assert [found[0] for found in check({"a.yaml": older, "b.yaml": config("x")})] == [
        "a.yaml",
        "b.yaml",
    ]


def test_a_name_of_another_precision_is_not_two_mistakes(check):
    files = {"a.yaml": config("x-int8"), "b.yaml": config("x-int8", dtype="int8")}
    assert check(files) == []


def test_a_copied_name_needs_a_file_that_it_fits(check):
    files = {"hrnet/a.yaml": config("official_pfld_fp16"), "mtcnn/b.yaml": config("official_pfld")}
    assert check(files) == []
    files["pfld/a.yaml"] = config("official_pfld_fp16")
    assert check(files) == [
        (
            "hrnet/a.yaml", 1, 7, "VG251",
            "official_pfld_fp16 is the name of another model's config",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "line", "column", "key"),
    [
        ({"checkpoint": "/path/to/falcon-40b"}, 3, 3, "checkpoint"),
        ({"shape": {"input_ids": [[512], [2048]]}}, 6, 5, "shape.input_ids"),
        ({"model_kwargs": {"tp": 8}}, 10, 5, "model_kwargs.tp"),
    ],
)
def test_twins_agree_on_what_is_of_the_model(check, changed, line, column, key):
    frontend = {"model_kwargs": {"tp": 4}, "quantize": GPTQ, **changed}
    files = {
        "hf_x_fp16.yaml": config("x-fp16", model_kwargs={"tp": 4}),
        "hf_x_int8.yaml": config("x-int8", dtype="int8", **frontend),
    }
    message = f"`frontend.{key}` is not that of hf_x_fp16.yaml"
    assert check(files) == [("hf_x_int8.yaml", line, column, "VG252", message)]


def test_twins_may_have_their_weights_elsewhere_and_say_less(check):
    files = {
        "hf_x_fp16.yaml": config("x-fp16", model_kwargs={"tp": 4}),
        "hf_x_int8.yaml": config("x-int8", dtype="int8", checkpoint="/w/falcon-7b", quantize=GPTQ),
        "b/hf_x_int8.yaml": config("z-int8", dtype="int8", checkpoint="/w/y", quantize=GPTQ),
        "hf_y_int8.yaml": config("y-int8", dtype="int8", checkpoint="/w/y", quantize=GPTQ),
    }
    assert check(files) == []


RECIPE = "version: 2\nmodel: {{preset: falcon-7b, checkpoint: {}}}\ntarget: {{tp: {}}}\n"


@pytest.mark.parametrize(
    ("tp", "accused", "column"), [(4, "hf_x_int8.yaml", 9), (8, "hf_x_fp16.yaml", 9)]
)
def test_only_the_twin_that_contradicts_the_recipe_is_reported(check, tp, accused, column):
    files = {
        "vacc.yaml": RECIPE.format("/path/to/falcon-7b", tp),
        "build/hf_x_fp16.yaml": config("x-fp16", model_kwargs={"tp": 4}),
        "build/hf_x_int8.yaml": config(
            "x-int8", dtype="int8", model_kwargs={"tp": 8}, quantize=GPTQ
        ),
    }
    message = f"tp is {12 - tp} here and {tp} in vacc.yaml"
    assert check(files, ("VG25", "VG90")) == [
        (f"build/{accused}", 10, column, "VG901", message),
    ]


@pytest.mark.parametrize(
    ("checkpoint", "accused", "other"),
    [("/w/a", "hf_x_int8.yaml", "hf_x_fp16.yaml"), ("/w/b/", "hf_x_fp16.yaml", "hf_x_int8.yaml")],
)
def test_the_recipe_says_which_twin_has_the_checkpoint(check, checkpoint, accused, other):
    files = {
        "vacc.yaml": RECIPE.format(checkpoint, 4),
        "build/hf_x_fp16.yaml": config("x-fp16", checkpoint="/w/a"),
        "build/hf_x_int8.yaml": config("x-int8", dtype="int8", checkpoint="b", quantize=GPTQ),
    }
    message = f"`frontend.checkpoint` is not that of {other}"
    assert check(files) == [(f"build/{accused}", 3, 3, "VG252", message)]


PINS = "  pyenv: {{transformers: {}}}\n"
LANGUAGE = "name: language\n" + config("x").partition("\n")[2]


@pytest.mark.parametrize(
    ("of_the_tower", "of_the_language", "place"),
    [
        ("4.51.3", "4.51.3", None),
        ("4.51.3", None, None),
        (None, "4.51.3", (9, 1, "`pyenv` is missing; l.yaml has transformers 4.51.3")),
        (
            "4.45.0",
            "4.51.3",
            (11, 3, "`pyenv` is transformers 4.45.0; l.yaml has transformers 4.51.3"),
        ),
    ],
)
def test_both_halves_have_the_same_pins(check, of_the_tower, of_the_language, place):
    own, wanted = (
        PINS.format(version) if version else "" for version in (of_the_tower, of_the_language)
    )
    found = check({"t.yaml": tower(pyenv=own), "l.yaml": LANGUAGE + wanted})
    expected = place and [("t.yaml", *place[:2], "VG750", place[2])]
    assert found == (expected or [])


@pytest.mark.parametrize(("patches", "is_reported"), [(4092, False), (4096, True)])
def test_a_quarter_of_the_patches_is_less_than_the_prefill(check, patches, is_reported):
    message = "4096 patches are 1024 tokens, and the prefill of l.yaml is 1024"
    expected = [("t.yaml", 6, 20, "VG751", message)] if is_reported else []
    assert check({"t.yaml": tower(patches), "l.yaml": LANGUAGE}) == expected


def test_two_language_models_are_not_two_halves(check):
    pinned = LANGUAGE.replace("name: language", "name: pinned") + PINS.format("4.51.3")
    assert check({"a.yaml": LANGUAGE, "b.yaml": pinned}) == []
    assert check({"c.yaml": pinned.replace("name: pinned", "name: c")}) == []


def test_halves_are_of_one_checkpoint_in_one_folder(check):
    assert check({"t.yaml": tower(9000, checkpoint="/w/other"), "l.yaml": LANGUAGE}) == []
    assert check({"a/t.yaml": tower(9000), "b/l.yaml": LANGUAGE, "t.yaml": ""}) == []
