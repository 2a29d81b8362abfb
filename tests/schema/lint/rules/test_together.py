"""Configs that belong together: what one says of another."""

import pytest
import yaml

from tests.schema.lint.examples import LANGUAGE_MODEL
from vacc_gen.schema.lint.check import check_paths


@pytest.fixture
def check(tmp_path):
    """Return a function that writes configs and returns what is found in them."""

    def check(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return [
            (one.path.removeprefix(f"{tmp_path}/"), one.line, one.column, one.code, one.message)
            for one in check_paths([str(tmp_path)]).diagnostics
            if one.code.startswith(("VG25", "VG75"))
        ]

    return check


def config(name, **sections):
    return yaml.safe_dump({**LANGUAGE_MODEL, "name": name, **sections}, sort_keys=False)


def tower(patches=2048, *, pyenv="", checkpoint="/path/to/falcon-7b"):
    return (
        "name: tower\n"
        f"frontend:\n  checkpoint: {checkpoint}\n  type: huggingface\n"
        f"  shape:\n    pixel_values: [{patches}, 1176]\n"
        "  model_kwargs: {model_arch: vacc, build_visual: true}\n"
        "backend: {type: tvm_vacc, dtype: fp16}\n"
        f"workspace:\n  path: ./out\n{pyenv}"
    )


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ({"path": "./out"}, {"path": "out/"}, True),
        ({"path": "./out"}, {"path": "./other"}, False),
        ({"path": "../out"}, {"path": "../out"}, True),
        ({"work_dir": "./out"}, {"path": "out"}, True),
    ],
)
def test_the_output_folder_is_compared_and_not_its_spelling(check, first, second, is_same):
    files = {"a.yaml": config("x", workspace=first), "b.yaml": config("x", workspace=second)}
    expected = [
        ("a.yaml", 1, 7, "VG250", "b.yaml writes to the same folder, x"),
        ("b.yaml", 1, 7, "VG250", "a.yaml writes to the same folder, x"),
    ]
    assert check(files) == (expected if is_same else [])


def test_what_is_not_two_configs_of_one_output(check):
    int8 = config("x-int8", backend={"type": "tvm_vacc", "dtype": "int8"})
    files = {"a/x.yaml": config("bert"), "b/y.yaml": config("bert")}
    assert check({**files, "c/a.yaml": config("x-int8"), "c/b.yaml": int8}) == []  # VG201


def test_a_copied_name_needs_a_file_that_it_fits(check):
    files = {"hrnet/a.yaml": config("official_pfld_fp16"), "mtcnn/b.yaml": config("official_pfld")}
    assert check(files) == []
    files["pfld/a.yaml"] = config("official_pfld_fp16")
    message = "official_pfld_fp16 is the name of another model's config"
    assert check(files) == [("hrnet/a.yaml", 1, 7, "VG251", message)]


PINS = "  pyenv: {{transformers: {}}}\n"
LANGUAGE = config("language")
WANTED = "l.yaml has transformers 4.51.3"


@pytest.mark.parametrize(
    ("tower_pins", "language_pins", "place"),
    [
        ("4.51.3", "4.51.3", None),
        ("4.51.3", None, None),
        (None, "4.51.3", (9, 1, f"`pyenv` is missing; {WANTED}")),
        ("4.45.0", "4.51.3", (11, 3, f"`pyenv` is transformers 4.45.0; {WANTED}")),
    ],
)
def test_both_halves_have_the_same_pins(check, tower_pins, language_pins, place):
    own, wanted = (PINS.format(pins) if pins else "" for pins in (tower_pins, language_pins))
    found = check({"t.yaml": tower(pyenv=own), "l.yaml": LANGUAGE + wanted})
    assert found == ([("t.yaml", *place[:2], "VG750", place[2])] if place else [])


@pytest.mark.parametrize(("patches", "is_reported"), [(4092, False), (4096, True)])
def test_a_quarter_of_the_patches_is_less_than_the_prefill(check, patches, is_reported):
    message = "4096 patches are 1024 tokens, and the prefill of l.yaml is 1024"
    expected = [("t.yaml", 6, 20, "VG751", message)] if is_reported else []
    assert check({"t.yaml": tower(patches), "l.yaml": LANGUAGE}) == expected


def test_halves_are_a_tower_and_a_language_model_of_one_checkpoint_in_one_folder(check):
    pinned = LANGUAGE.replace("language", "pinned") + PINS.format("4.51.3")
    assert check({"a.yaml": LANGUAGE, "b.yaml": pinned}) == []
    assert check({"t.yaml": tower(9000, checkpoint="/w/other"), "c/t.yaml": tower(9000)}) == []
