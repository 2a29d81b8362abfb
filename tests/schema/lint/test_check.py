import json
import os
from textwrap import dedent

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.published import FOLDER, PATHS
from vacc_gen.schema.lint.check import Selection, check_paths, check_text, kind_of
from vacc_gen.schema.lint.diagnostics import Diagnostic, Severity, has_errors
from vacc_gen.schema.lint.document import load
from vacc_gen.schema.lint.reader import MAX_PROBLEMS

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
IMAGES = (FOLDER / "cv/classification/cspnet/build_in/build/timm_cspnet.yaml").read_text("utf-8")


def found(text, **options):
    return [(one.line, one.code) for one in check_text(text, "build/x.yaml", **options)]


def told(text):
    return [(one.line, one.column, one.message, one.hint) for one in check_text(text, "x.yaml")]


def with_change(text, old, new):
    assert text.count(old) == 1, (text.count(old), old)
    return text.replace(old, new)


@pytest.mark.parametrize("text", [FALCON, IMAGES])
def test_a_healthy_config_has_no_findings(text):
    assert found(text) == []


def test_a_key_at_the_wrong_level_is_told_where_it_belongs():
    text = with_change(FALCON, "    tp: 4\n", "").replace("  type: hugg", "  tp: 4\n  type: hugg")
    ((line, _, message, hint),) = told(text)
    assert line == 5
    assert message == "`tp` does not belong in `frontend`"
    assert hint.startswith("it belongs in `frontend.model_kwargs`.")


def test_a_section_of_the_neighbour_is_told_as_one_mistake():
    text = with_change(FALCON, "    type: w8a16_gptq\n", "    calibrate_mode: max\n")
    ((line, _, message, hint),) = told(text)
    assert (line, message) == (13, "this `quantize` does not belong in `frontend`")
    assert hint.startswith("by its keys it belongs in `backend`.")


def test_swapped_values_are_one_mistake():
    text = IMAGES.replace("suffix: JPEG", "suffix: 50").replace("data_num: 50", "data_num: JPEG")
    ((_, _, message, _),) = told(text)
    assert message == "the values of `suffix` and `get_data_num` are swapped"


def test_two_mistakes_are_both_found():
    text = with_change(FALCON, "  dtype: int8", "  dytpe: int8")
    text = with_change(text, "  workers: 4", "  wokers: 4")
    assert found(text) == [(18, "VG101"), (26, "VG101")]


def test_what_stands_behind_a_syntax_error_is_checked_too():
    text = with_change(FALCON, "    b2s: true\n", "     b2s: true\n")
    text = with_change(text, "  workers: 4", "  wokers: 4")
    assert found(text) == [(11, "VG001"), (26, "VG101")]


def test_what_stands_in_a_misspelled_section_is_checked_too():
    text = with_change(FALCON, "backend:", "bakcend:")
    text = with_change(text, "  dtype: int8", "  dtype: int7")
    assert found(text) == [(16, "VG101"), (18, "VG104")]


def test_no_checkpoint_is_looked_for_outside_the_file_system(tmp_path):
    weights = tmp_path / "falcon-7b-instruct"
    weights.mkdir()
    heads = {"num_attention_heads": 8, "hidden_size": 512, "multi_query": False}
    config = {"model_type": "falcon", "num_hidden_layers": 2, "vocab_size": 64, **heads}
    (weights / "config.json").write_text(json.dumps(config))
    text = with_change(FALCON, "/path/to/falcon-7b-instruct", "falcon-7b-instruct")
    assert check_text(text, str(tmp_path / "x.yaml")) == []
    config["num_attention_heads"] = 2
    (weights / "config.json").write_text(json.dumps(config))
    codes = [one.code for one in check_text(text, str(tmp_path / "x.yaml"))]
    assert codes == ["VG601", "VG602"]


# Selection and silence --------------------------------------------------------------------------


def test_rules_are_selected_by_code_beginning_or_all():
    text = with_change(FALCON, "  workers: 4", "  wokers: 4")
    assert found(text, selection=Selection(select=("VG2",))) == []
    assert found(text, selection=Selection(select=("VG101",))) == [(26, "VG101")]
    assert found(text, selection=Selection(ignore=("VG1",))) == []
    everything = found(text, selection=Selection(extend=("ALL",)))
    assert (14, "VG402") in everything
    assert (4, "VG801") in everything


def test_text_that_cannot_be_read_is_told_in_any_case():
    assert found("a: [", selection=Selection(ignore=("ALL",)))[0][1] == "VG001"


@pytest.mark.parametrize(
    ("comment", "silent"),
    [
        ("# vacc-gen: ignore[VG101]", True),
        ("# vacc-gen: ignore[VG201, VG101]", True),
        ("# vacc-gen: ignore[VG1]", True),
        ("# vacc-gen: ignore", True),
        ("# why not  # vacc-gen: ignore[VG101]", True),
        ("# vacc-gen: ignore[VG102]", False),
        ("# vacc-gen: ignore[]", False),
    ],
)
def test_a_comment_silences_findings_on_its_line(comment, silent):
    text = with_change(FALCON, "  workers: 4", f"  wokers: 4  {comment}")
    assert (found(text) == []) is silent


# Files ------------------------------------------------------------------------------------------


def test_folders_are_searched_for_our_files_alone(tmp_path):
    (tmp_path / "docker-compose.yaml").write_text("services: {}\n")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.yaml").write_text(FALCON)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.yaml").write_text("name: x\n")
    result = check_paths([str(tmp_path)])
    assert result.checked == 1
    assert result.diagnostics == []


def test_a_named_file_is_checked_whatever_it_looks_like(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("services: {}\n")
    result = check_paths([str(path)])
    assert result.checked == 1
    assert has_errors(result.diagnostics)


def test_a_recipe_is_told_by_its_keys_or_its_name():
    assert kind_of(load("version: 2\n", "any.yaml")) == "recipe"
    assert kind_of(load("name: x\n", "some/vacc.yaml")) == "recipe"
    assert kind_of(load(FALCON, "vacc.yaml")) == "vamc"


def test_missing_and_odd_paths_are_unreadable(tmp_path):
    fifo = tmp_path / "fifo.yaml"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    missing = tmp_path / "missing.yaml"
    result = check_paths([str(fifo), str(loop), str(missing), "nul\0.yaml"])
    assert result.checked == 0
    reasons = dict(result.unreadable)
    assert reasons[str(fifo)] == "not a regular file"
    assert "symbolic" in reasons[str(loop)]
    assert reasons[str(missing)] == "no such file or directory"
    assert "null" in reasons["nul\0.yaml"]


def test_a_loop_of_links_between_folders_is_walked_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "x.yaml").write_text(FALCON)
    (tmp_path / "broken.yaml").symlink_to(tmp_path / "nowhere")
    result = check_paths([str(tmp_path)])
    assert result.checked == 1
    assert [path for path, _ in result.unreadable] == [str(tmp_path / "broken.yaml")]


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(200 << 20)
    (finding,) = check_paths([str(path)]).diagnostics
    assert (finding.code, finding.message) == (
        "VG004",
        "209,715,200 bytes; a config has at most 1,048,576",
    )


def test_weight_folders_are_checked(tmp_path):
    config = {"auto_map": {"AutoModel": "modeling_x.Model"}, "_attn_implementation": "sdpa"}
    (tmp_path / "config_vacc.json").write_text(json.dumps(config, indent=2))
    codes = [(one.line, one.code) for one in check_paths([str(tmp_path)]).diagnostics]
    assert codes == [(1, "VG923"), (3, "VG921"), (5, "VG922")]


def test_has_errors_counts_warnings_where_it_is_strict():
    warning = Diagnostic("VG502", Severity.WARNING, "x", 1, 1, 1, 2, "few")
    assert not has_errors([warning])
    assert has_errors([warning], strict=True)


# Hostile texts ----------------------------------------------------------------------------------

LINES = sorted({line for path in PATHS for line in path.read_text("utf-8").splitlines()})
ODD_LINES = [
    "  <<: *a",
    "a: &a {}",
    "- x",
    "\t- y",
    "? [a]",
    "no: yes",
    "---",
    "!!python/name:x",
    "]",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(LINES + ODD_LINES), max_size=25).map("\n".join))
def test_no_mixture_of_lines_makes_it_raise(text):
    lines = load(text).lines
    for diagnostic in check_text(text, "x.yaml", selection=Selection(extend=("ALL",))):
        assert 1 <= diagnostic.line <= len(lines)
        assert diagnostic.column >= 1
        assert (diagnostic.end_line, diagnostic.end_column) >= (diagnostic.line, diagnostic.column)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(
    (
        *("name", "frontend", "backend", "dataset", "graph", "workspace", "type", "dtype", "shape"),
        *("checkpoint", "compile", "quantize", "process_ops", "sampler", "model_kwargs", "tp"),
        *("input_ids", "path", "size", "mean", "std", "params", "extra_ops", "version", "model"),
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_no_values_make_it_raise(values):
    text = yaml.safe_dump(values)
    check_text(text, "x.yaml", selection=Selection(extend=("ALL",)))


def test_odd_numbers_and_names_are_told():
    text = dedent(
        """\
        name: no
        frontend: {type: onnx, checkpoint: 2024-01-01, shape: {input: [1e999, 0o17, .inf]}}
        backend: {type: tvm_vacc, dtype: fp16}
        workspace: {path: 1.5}
        """
    )
    lines = [line for line, code in found(text) if code == "VG103"]
    assert lines == [1, 2, 2, 2, 2, 4]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("9" * 400, "VG010"),
        ("0x" + "f" * 20_000, "VG010"),
        ("2024-13-45", "VG010"),
        ("!!timestamp 'x'", "VG007"),
        ("!include [x]", "VG007"),
        ("!include {a: x}", "VG007"),
        ("'" + "9" * 400 + "'", "VG103"),
        ("'" + "[" * 5000 + "'", "VG103"),
        ("'1" + ":59" * 5000 + "'", "VG103"),
    ],
    ids=lambda value: value[:16],
)
def test_an_impossible_value_is_one_mistake(value, code):
    assert found(with_change(FALCON, "tp: 4", f"tp: {value}")) == [(10, code)]


def test_a_length_too_large_is_one_mistake():
    text = with_change(FALCON, "[[1024], [2048]]", f"[[{'9' * 400}], [2048]]")
    ((_, _, message, _),) = told(text)
    assert message == f"`{'9' * 37}...` is a number too large for any config"


def test_tabs_beyond_count_are_told_once():
    codes = [code for _, code in found("frontend:\n" + "\ttype: onnx\n" * 600)]
    assert (codes.count("VG011"), codes.count("VG004")) == (MAX_PROBLEMS, 1)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("tp: 4", "tp:4", 10),
        ("name: ", "name:", 1),
        ("checkpoint: ", "checkpoint:", 4),
        ("dtype: int8", "dtype:int8", 18),
        ("path: ./", "path:./", 25),
        ("  type: w8", "  type:w8", 14),
        ("input_ids: ", "input_ids:", 8),
    ],
)
def test_a_blank_missing_after_the_colon_is_one_mistake(old, new, line):
    ((at, _, *words),) = told(with_change(FALCON, old, new))
    assert at == line
    assert "a blank is missing after `:`" in " ".join(words)


@pytest.mark.parametrize(
    ("old", "new", "safe"),
    [
        ("dtype: int8", "dtype: int4", False),
        ("w8a16_gptq", "w4a16_gptq", False),
        ("dtype: int8", "dtype: INT8", True),
        ("w8a16_gptq", "w8a16_gtpq", True),
        ("w8a16_gptq", "w8a61-gptq", True),
    ],
)
def test_another_number_of_bits_is_not_fixed_unasked(old, new, safe):
    (one,) = check_text(with_change(FALCON, old, new), "x.yaml")
    assert one.hint.startswith(f"did you mean `{old.removeprefix('dtype: ')}`?")
    assert one.fix.safe is safe


@pytest.mark.parametrize(
    ("name", "model", "told_apart"),
    [
        ("llama-7b", "falcon-7b", True),
        ("mistral-7b-v1", "Baichuan-7b-v1", True),
        ("llama-2", "falcon-2", True),
        ("yi-34b", "Yi-34B", False),
        ("falcon7b", "falcon-7b-instruct", False),
        ("falcon", "7b", False),
    ],
)
def test_a_size_in_common_makes_no_model_alike(name, model, told_apart):
    text = FALCON.replace("falcon-7b-instruct-int8", f"{name}-int8")
    text = text.replace("/path/to/falcon-7b-instruct", f"/path/to/{model}")
    assert [code for _, code in found(text)] == ["VG205"] * told_apart


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("path: ./", "path: './", 25),
        ("workers: 4", "workers: '4", 26),
        ("data_type: 0", 'data_type: "0', 21),
        ("model_arch: ", 'model_arch: "', 12),
        ("name: ", "name: '", 1),
    ],
)
def test_an_open_quote_is_told_where_it_opens(old, new, line):
    assert found(with_change(FALCON, old, new)) == [(line, "VG001")]


def test_a_method_in_the_wrong_section_is_not_missing_as_well():
    block = "  quantize:\n    type: w8a16_gptq\n"
    text = with_change(FALCON, block, "").replace("  merge_params", f"{block}  merge_params")
    assert found(text) == [(17, "VG107")]


@pytest.mark.parametrize("value", ["!include x", "!a {b: c}", "*missing", "9" * 400, "2024-13-45"])
@pytest.mark.parametrize("text", [FALCON, IMAGES], ids=["falcon", "images"])
def test_an_impossible_value_is_survived_wherever_it_stands(text, value):
    stack = [load(text).root]
    while stack:
        node = stack.pop()
        if isinstance(node.value, dict):
            stack += [entry.node for entry in node.value.values()]
        elif isinstance(node.value, list):
            stack += node.value
        else:
            broken = f"{text[: node.span.start]}{value}{text[node.span.end :]}"
            assert {code for _, code in found(broken)} & {"VG001", "VG007", "VG009", "VG010"}
