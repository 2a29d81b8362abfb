"""Small files that went wrong once, and what is right."""

import pytest

from tests.published import CASES
from vacc_gen.schema.lint.check import check_paths, check_text
from vacc_gen.schema.lint.document import load

FIXABLE = {"bom.yaml", "full_width.yaml", "schema_dataset.yaml", "tabs.yaml"}


@pytest.mark.parametrize(
    ("name", "findings"),
    [
        ("bom.yaml", [(1, "VG003")]),
        ("full_width.yaml", [(1, "VG014"), (3, "VG014")]),
        ("list_key.yaml", []),
        ("moved_out.yaml", [(10, "VG107")]),
        ("older_resnet.yaml", [(7, "VG121")]),
        ("older_yolov5.yaml", [(10, "VG121")]),
        ("placeholder.yaml", [(4, "VG119"), (12, "VG119")]),
        ("pod.yaml", [(1, "VG120")]),
        ("runmodel.yaml", []),
        ("schema_dataset.yaml", [(28, "VG103")]),
        ("tabs.yaml", [(11, "VG011"), (12, "VG011")]),
    ],
)
def test_each_mistake_is_one_finding_and_what_is_sure_is_whole_after_its_fix(name, findings):
    found = check_paths([str(CASES / name)]).diagnostics
    assert [(one.line, one.code) for one in found if one.severity != "info"] == findings
    fixes = [one.fix for one in found if one.fix]
    assert bool(fixes) == (name in FIXABLE)
    if fixes:
        assert all(one.fixable for one in found)
        document = load((CASES / name).read_bytes(), name)
        assert check_text(document.fixed(fixes), name) == []


@pytest.mark.parametrize(
    "value",
    [
        *("<MODEL_PATH>", "${MODELS}/x", "{{ models }}/x", '"{{ x }}"', "'<a b>/c'", "TODO"),
        *("/models/<NAME>/v1", '"TODO: ask"', "待定", "..."),
    ],
)
def test_a_placeholder_is_one_finding_quoted_or_not(value):
    text = (CASES / "list_key.yaml").read_text().replace("weights/Qwen2-7B", value)
    (one,) = check_text(text, "x.yaml")
    assert (one.line, one.column, one.code) == (3, 15, "VG119")


@pytest.mark.parametrize("value", ["/data/<1>", "$HOME/x", "a-todo-list", "/x/todo/y", "a < b > c"])
def test_what_only_looks_like_one_is_none(value):
    text = (CASES / "list_key.yaml").read_text().replace("weights/Qwen2-7B", value)
    assert "VG119" not in {one.code for one in check_text(text, "x.yaml")}


def test_keys_that_a_third_party_names_are_known():
    text = (CASES / "list_key.yaml").read_text()
    for key in ("split_embed", "onnx_cache", "from_onnx", "dump_layers", "insert_slice"):
        text = text.replace("  model_kwargs:\n", f"  model_kwargs:\n    {key}: [1]\n")
    for key in ("merge_shapes", "device", "dynamic_compile"):
        text = text.replace("backend:\n", f"backend:\n  {key}: [1]\n")
    assert check_text(text, "x.yaml") == []
