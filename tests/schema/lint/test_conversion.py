import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vacc_gen.schema.lint.conversion import of_shape, of_value, of_word
from vacc_gen.schema.lint.walk import packaged_schema

DTYPES = ("fp16", "int8")
METHODS = ("w8a16_gptq", "w16kv8")
MODES = ("percentile", "kl_divergence", "max", "mse")
ELEMENTS = ("fp32", "fp16", "int64", "int32", "int8", "uint8")
KINDS = ("huggingface", "onnx", "pytorch", "keras", "tensorflow", "darknet")


@pytest.mark.parametrize(
    ("word", "allowed", "meant", "safe"),
    [
        ("float16", DTYPES, "fp16", True),
        ("half", DTYPES, "fp16", True),
        ("FP16", DTYPES, "fp16", True),
        ("bf16", DTYPES, "fp16", False),
        ("fp32", DTYPES, "fp16", False),
        ("int-8", DTYPES, "int8", True),
        ("INT8", DTYPES, "int8", True),
        ("w8a16", DTYPES, "int8", False),
        ("int4", DTYPES, "int8", False),
        ("FP32", ELEMENTS, "fp32", True),
        ("UINT8", ELEMENTS, "uint8", True),
        ("torch.float16", DTYPES, "fp16", True),
        ("gptq", METHODS, "w8a16_gptq", True),
        ("w8a16", METHODS, "w8a16_gptq", True),
        ("w4a16_gptq", METHODS, "w8a16_gptq", False),
        ("kv8", METHODS, "w16kv8", True),
        ("Max", MODES, "max", True),
        ("minmax", MODES, "max", False),
        ("KL", MODES, "kl_divergence", True),
        ("hf", KINDS, "huggingface", True),
        ("torch", KINDS, "pytorch", True),
        ("imread", ("DecodeImage", "Resize"), "DecodeImage", True),
    ],
)
def test_words_of_other_tools_are_understood(word, allowed, meant, safe):
    assert of_word(word, allowed)[:2] == (meant, safe)


@pytest.mark.parametrize("word", ["paddle", "tp", "", "x" * 300])
def test_other_words_are_not(word):
    assert of_word(word, KINDS) is None


@pytest.mark.parametrize(
    ("value", "expected", "schema", "meant"),
    [
        ([4], ["integer"], {}, ("4", True)),
        (["4"], ["integer"], {}, ("4", False)),
        ([["4"]], ["integer"], {}, None),
        ([1, 2], ["integer"], {}, None),
        (4.0, ["integer"], {}, ("4", True)),
        (4.5, ["integer"], {}, None),
        (math.inf, ["integer"], {}, None),
        ("four", ["integer"], {}, ("4", False)),
        ("4 dies", ["integer"], {}, ("4", False)),
        ("tp4", ["integer"], {}, ("4", False)),
        ("1,024", ["integer"], {}, ("1024", True)),
        ("1e1", ["integer"], {}, ("10", True)),
        ("1e999", ["integer"], {}, None),
        ("2k", ["integer"], {}, ("2048", False)),
        ("9" * 400, ["integer"], {}, None),
        ("auto", ["integer"], {}, None),
        ("1 3 224", ["integer"], {}, ("1, 3, 224", True)),
        ("1e-3", ["number"], {}, ("1.0e-3", True)),
        ("0,5", ["number"], {}, ("0.5", False)),
        ("99.9%", ["number"], {}, ("0.999", False)),
        (1, ["boolean"], {}, ("true", True)),
        ("off", ["boolean"], {}, ("false", True)),
        ("flase", ["boolean"], {}, ("false", True)),
        ("maybe", ["boolean"], {}, None),
        (16, ["string"], {"enum": ["fp16", "int8"]}, ("fp16", True)),
        (True, ["string"], {"const": "vacc"}, None),
        (["int8"], ["string"], {"enum": ["fp16", "int8"]}, ("int8", True)),
        (256, ["array"], {"minItems": 2, "maxItems": 2}, ("[256, 256]", False)),
        ("256x128", ["array"], {"minItems": 2, "maxItems": 2}, ("[256, 128]", True)),
        ("(1, 2, 3)", ["array"], {}, ("[1, 2, 3]", True)),
        ("fp16, int8", ["array"], {}, ("[fp16, int8]", False)),
        ("a b", ["array"], {}, None),
        (None, ["array"], {}, None),
        ({}, ["array"], {}, None),
    ],
)  # fmt: skip
def test_values_of_another_kind_are_understood(value, expected, schema, meant):
    found = of_value(value, expected, schema)
    assert (found and found[:2]) == meant


@pytest.mark.parametrize(
    ("written", "values", "meant"),
    [
        ("[[[1024],[2048]]]", [[[1024], [2048]]], "[[1024], [2048]]"),
        ("[[1,024],[2,048]]", [[1, 20], [2, "048"]], "[[1024], [2048]]"),
        ("[[1024, 2048]]", [[1024, 2048]], "[[1024], [2048]]"),
        ("[1024, [2048]]", [1024, [2048]], "[[1024], [2048]]"),
        ("{prefill: 1024, total: 2048}", {"prefill": 1024, "total": 2048}, "[[1024], [2048]]"),
        ("[[1024], [2048], [4096]]", [[1024], [2048], [4096]], None),
        ("[[1024]]", [[1024]], None),
        ('[["1024"], ["2048"]]', [["1024"], ["2048"]], None),
        ('"[[1024], [2048]]"', "[[1024], [2048]]", None),
        ("{a: 1}", {"a": 1}, None),
        ("[[a], [b]]", [["a"], ["b"]], None),
    ],
)
def test_the_lengths_of_a_language_model_are_understood(written, values, meant):
    found = of_shape(written, values, language_model=True)
    assert (found and found.text) == meant


def test_a_shape_in_too_many_brackets_is_understood():
    found = of_shape("[[1, 3, 8, 8]]", [[1, 3, 8, 8]], language_model=False)
    assert found is not None
    assert found.text == "[1, 3, 8, 8]"
    assert of_shape("[[1], [2]]", [[1], [2]], language_model=False) is None


def _typed(schema, found):
    if isinstance(schema, dict):
        if "type" in schema:
            found.append(schema)
        for value in schema.values():
            _typed(value, found)
    if isinstance(schema, list):
        for value in schema:
            _typed(value, found)
    return found


SCHEMAS = _typed(packaged_schema("vamc"), [])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(VALUES, st.sampled_from(SCHEMAS))
def test_no_value_makes_it_raise(value, schema):
    found = of_value(value, [schema["type"]], schema)
    assert found is None or (found.text and "\n" not in found.text)
    of_shape(str(value), value, language_model=True)
    of_shape(str(value), value, language_model=False)


def test_a_blank_between_numbers_is_a_missing_comma_in_a_list_alone():
    schema = {"type": "integer"}
    assert of_value("1 512", ["integer"], schema) == ("1512", False, "")
    assert of_value("1 512", ["integer"], schema, in_list=True) == ("1, 512", False, "")


def test_a_point_between_numbers_of_a_list_is_a_comma():
    assert of_value("1. 384", ["integer"], {"type": "integer"}, in_list=True).text == "1, 384"
