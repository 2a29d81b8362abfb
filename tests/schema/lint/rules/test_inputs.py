import pytest

from tests.published import FOLDER
from vacc_gen.schema.lint.check import check_text

SHAPES = """\
  shape:
    input_ids: [1, 256]
    attention_mask: [1, 256]
    token_type_ids: [1, 256]
"""
BERT = f"""\
name: bert_fp16
frontend:
  type: pytorch
  checkpoint: /models/bert.pt
{SHAPES}  dtype: int64
backend: {{type: tvm_vacc, dtype: fp16}}
workspace: {{path: ./out}}
"""
LANGUAGE = (FOLDER / "llm/falcon/build_in/build/hf_falcon_fp16.yaml").read_text(encoding="utf-8")


def found(text, ignored=("VG6",)):
    return [
        (one.line, one.column, one.code, one.hint)
        for one in check_text(text, "bert_fp16.yaml")
        if not one.code.startswith(ignored)
    ]


def test_a_healthy_encoder_has_no_findings():
    assert found(BERT) == []


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("attention_mask: [1, 256]", "attention_mask: [1, 128]", (7, 25)),
        ("token_type_ids: [1, 256]", "token_type_ids: [1, 255]", (8, 25)),
        ("input_ids: [1, 256]", "input_ids: [1, 512]", (6, 20)),
        ("input_ids: [1, 256]", "input_ids: [2, 256]", (6, 17)),
        ("input_ids: [1, 256]", "input_ids: [256]", (6, 16)),
        ("input_ids: [1, 256]", "input_ids: [1, 256, 1]", (6, 16)),
        ("attention_mask: [1, 256]", "attention_mask: [1, 1, 128]", (7, 21)),
    ],
)
def test_inputs_of_unequal_shape_are_told_at_the_odd_one(old, new, place):
    ((line, column, code, _),) = found(BERT.replace(old, new))
    assert (line, column, code) == (*place, "VG310")


@pytest.mark.parametrize("shape", ["[1, 1, 256]", "[1, 1, 256, 256]", "[256]"])
def test_a_mask_may_have_axes_of_its_own(shape):
    assert found(BERT.replace("attention_mask: [1, 256]", f"attention_mask: {shape}")) == []


def test_a_mask_over_a_cache_may_be_longer():
    text = BERT.replace("attention_mask: [1, 256]", "attention_mask: [1, 512]")
    assert found(text.replace("token_type_ids", "past_key")) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("input_id", "input_ids"),
        ("inptu_ids", "input_ids"),
        ("Input_Ids", "input_ids"),
        ("input-ids", "input_ids"),
        ("attention_maks", "attention_mask"),
        ("attention_masks_1", "attention_mask_1"),
        ("token_type_id", "token_type_ids"),
        ("pixel_value", "pixel_values"),
        ("iamges", "images"),
    ],
)
def test_a_misspelled_input_is_told_with_its_name(name, meant):
    text = BERT.replace(SHAPES, f"  shape:\n    {name}: [1, 3, 64, 64]\n")
    assert (6, 5, "VG311", f"did you mean `{meant}`?") in found(text, ("VG3", "VG5")[1:])


@pytest.mark.parametrize(
    "name",
    [
        *("input", "input.1", "input_1", "inputs", "image", "images", "img", "x", "y_hat", "data"),
        *("input_ids_1", "segment_ids_2", "att_mask", "mask", "text", "onnx::Reshape_2979"),
        *("/9/Add_output_0", "voxel_coords_xyz", "points", "position_ids", "batched_inputs.1"),
    ],
)
def test_a_name_that_models_have_is_left_alone(name):
    text = BERT.replace(SHAPES, f'  shape:\n    "{name}": [1, 256]\n')
    assert [one for one in found(text) if one[2] == "VG311"] == []


def test_a_language_model_has_the_one_input():
    assert found(LANGUAGE) == []
    for name, hint in (("input_idss", "did you mean `input_ids`?"), ("tokens", "its one input is")):
        text = LANGUAGE.replace("    input_ids:", f"    {name}:")
        ((_, column, code, told),) = found(text)
        assert (column, code) == (5, "VG311")
        assert told.startswith(hint)
