import json
import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.published import FOLDER, PATHS
from vacc_gen.schema.lint.check import Selection, check_paths, check_text
from vacc_gen.schema.lint.document import Kind, kind_of, load

FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")
MISSPELLED = FALCON.replace("  workers: 4", "  wokers: 4")


def found(text, **options):
    return [(one.line, one.code) for one in check_text(text, "build/x.yaml", **options)]


def test_rules_are_selected_by_code_or_its_beginning():
    assert found(MISSPELLED) == [(26, "VG101")]
    assert found(MISSPELLED, selection=Selection(select=("VG2",))) == []
    assert found(MISSPELLED, selection=Selection(select=("VG101",))) == [(26, "VG101")]
    assert found(MISSPELLED, selection=Selection(select=("VG",))) == [(26, "VG101")]
    assert found(MISSPELLED, selection=Selection(ignore=("VG1",))) == []


def test_text_that_cannot_be_read_is_reported_in_any_case():
    assert found("backend: [", selection=Selection(ignore=("VG",))) == [(1, "VG001")]


@pytest.mark.parametrize(
    ("comment", "silent"),
    [
        ("# vacc-gen: ignore[VG101]", True),
        ("# vacc-gen: ignore[VG201, VG101]", True),
        ("# vacc-gen: ignore[VG1]", True),
        ("# why not  # vacc-gen: ignore", True),
        ("# vacc-gen: ignore[VG102]", False),
        ("# vacc-gen: ignore[]", False),
    ],
)
def test_a_comment_silences_findings_on_its_line(comment, silent):
    assert (found(MISSPELLED.replace("wokers: 4", f"wokers: 4  {comment}")) == []) is silent


def test_a_top_level_key_for_anchors_is_allowed():
    text = "x-common: &all {tp: 4}\n" + FALCON.replace("    tp: 4\n", "    <<: *all\n")
    assert found(text) == []


def test_meaning_waits_for_form():
    assert found(MISSPELLED.replace("-int8-", "-fp16-")) == [(26, "VG101")]


# Kinds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        (FALCON, "any.yaml", Kind.CONFIG),
        (FALCON, "vacc.yaml", Kind.CONFIG),
        ("version: 2\nmodel: {}\n", "any.yaml", Kind.RECIPE),
        ("nonsense: x\n", "some/vacc.yaml", Kind.RECIPE),
        ("- a\n", "vacc.yaml", Kind.RECIPE),
        ("model: {}\nengine: {}\n", "x.yaml", Kind.OLDER),
        ("apiVersion: v1\nkind: Pod\n", "x.yaml", Kind.OTHER),
        ("name: ci\non: push\njobs: {}\n", "x.yaml", Kind.OTHER),
        ("- a\n- b\n", "x.yaml", Kind.OTHER),
    ],
)
def test_a_file_is_what_its_keys_and_its_name_say(text, name, kind):
    assert kind_of(load(text, name)) is kind


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n",
        "\ufeffname: ci\non: push\n",
        "services:\n  web: 1\n  web: 1\n",
        "key: !Ref other\n",
    ],
)
def test_a_file_of_another_tool_is_one_finding_and_never_changed(text):
    (one,) = check_text(text, "x.yaml")
    assert (one.code, one.line, one.fix) == ("VG120", 1, None)


@pytest.mark.parametrize("text", ["- a\n", "a\n", "4\n"])
def test_a_recipe_that_is_no_mapping_is_one_finding(text):
    (one,) = check_text(text, "vacc.yaml")
    assert (one.code, one.line, one.message.endswith("not a mapping")) == ("VG103", 1, True)


@pytest.mark.parametrize(
    "text", ["services:\n\tweb: 1\n", "frontend:\n  type: onnx\n\tdtype: [fp32\n"]
)
def test_a_tab_in_a_file_that_no_spaces_mend_gets_no_fix(text):
    findings = check_text(text, "x.yaml")
    assert [(one.code, one.fix) for one in findings] == [("VG011", None)]


def test_folders_are_searched_for_our_files_alone(tmp_path):
    texts = {
        "docker-compose.yaml": "services: {}\n",
        "frontend.yaml": "frontend: {port: 80}\n",
        "version.yaml": "version: 2\nmodel: {}\n",
        "build/a.yaml": FALCON,
        "build/b.YML": FALCON.replace("-int8-", "-int8-b-"),
        "flow.yaml": json.dumps(yaml.safe_load(FALCON.replace("-int8-", "-int8-c-"))),
        "old.yaml": "model: {name: x}\nengine: {type: vacc}\n",
        ".hidden/c.yaml": "frontend:\nbackend:\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    result = check_paths([str(tmp_path)])
    assert result.checked == 4
    assert [(one.path, one.code) for one in result.diagnostics] == [
        (str(tmp_path / "old.yaml"), "VG121")
    ]


def test_missing_and_odd_paths_are_unreadable(tmp_path):
    fifo, loop, missing = (tmp_path / f"{name}.yaml" for name in ("fifo", "loop", "missing"))
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    result = check_paths([str(fifo), str(loop), str(missing), "nul\0.yaml"])
    reasons = dict(result.unreadable)
    assert result.checked == 0
    assert reasons[str(fifo)] == "not a regular file"
    assert "symbolic" in reasons[str(loop)]
    assert reasons[str(missing)] == "no such file or directory"
    assert reasons["nul\0.yaml"] == "not the name of a file"


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
    message = "larger than 1,048,576 bytes, the most that a config may have"
    assert (finding.code, finding.message) == ("VG004", message)


# Hostile texts ----------------------------------------------------------------------------------

LINES = sorted({line for path in PATHS for line in path.read_text("utf-8").splitlines()})
ODD_LINES = ["  <<: *a", "a: &a {}", "- x", "\t- y", "? [a]", "no: yes", "---", "!!python/name:x"]


@given(st.lists(st.sampled_from(LINES + ODD_LINES), max_size=25).map("\n".join))
def test_no_mixture_of_lines_makes_it_raise(text):
    lines = load(text).lines
    for one in check_text(text, "x.yaml"):
        assert 1 <= one.line <= len(lines)
        assert one.column >= 1
        assert (one.end_line, one.end_column) >= (one.line, one.column)


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


@given(st.dictionaries(KEYS, TREES, max_size=6), st.sampled_from(("x.yaml", "vacc.yaml")))
def test_no_values_make_it_raise(values, name):
    check_text(yaml.safe_dump(values), name)


def mutated(text, rng):
    """Misspell a few keys, move some lines, change some indentation."""
    lines = text.splitlines()
    for _ in range(rng.randrange(1, 4)):
        number = rng.randrange(len(lines))
        kind = rng.randrange(4)
        if kind == 0:
            lines[number] = lines[number].replace("e", "ee", 1)
        elif kind == 1:
            lines.insert(rng.randrange(len(lines)), lines.pop(number))
        elif kind == 2:
            lines[number] = "\t" + lines[number].lstrip()
        else:
            lines[number] = lines[number].replace(": ", "：", 1)
    return "\n".join(lines) + "\n"


@given(st.sampled_from(PATHS), st.randoms(use_true_random=False))
def test_every_fixable_finding_is_gone_after_its_fix(path, rng):
    text = mutated(path.read_text(encoding="utf-8"), rng)
    findings = check_text(text, "build/x.yaml")
    safe = [one for one in findings if one.fixable]
    after = load(text).fixed([one.fix for one in safe])
    left = {(one.code, one.message) for one in check_text(after, "build/x.yaml")}
    kept = {(one.code, one.message) for one in findings if not one.fixable}
    assert not {(one.code, one.message) for one in safe} & left - kept


def test_marks_in_comments_and_quotes_are_nobodys_business():
    text = FALCON.replace("  workers: 4", '  x: "四：四"  # 四：四\n workers: 4')
    assert found(text) == [(27, "VG001")]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("9" * 400, "VG010"),
        ("2024-13-45", "VG010"),
        ("!!timestamp 'x'", "VG007"),
        ("!include {a: x}", "VG007"),
        ("'" + "[" * 5000 + "'", "VG103"),
        ("'1" + ":59" * 5000 + "'", "VG103"),
        ("2024-01-01", "VG103"),
        ("<TP>", "VG119"),
        ("{{ tp }}", "VG119"),
        ("todo", "VG119"),
    ],
    ids=lambda value: value[:16],
)
def test_an_impossible_value_is_one_mistake(value, code):
    assert found(FALCON.replace("tp: 4", f"tp: {value}")) == [(10, code)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  dtype: int8", "  dtype: &precision itn8"),  # an alias may follow
        ("backend:\n", "x-all: &all {detype: int8}\nbackend:\n  <<: *all\n"),  # of others, too
    ],
)
def test_what_an_anchor_shares_is_not_fixed(old, new):
    text = FALCON.replace(old, new)
    if "<<" in new:
        text = text.replace("  dtype: int8\n", "")
    (one,) = check_text(text, "build/x.yaml")
    assert one.code in ("VG101", "VG104")
    assert one.fix is None
