import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.published import FALCON, PATHS
from vacc_gen.schema.compile_yaml.config import CompileConfig
from vacc_gen.schema.lint.check import Selection, check_paths, check_text
from vacc_gen.schema.lint.document import Kind, kind_of, load
from vacc_gen.schema.lint.suggestions import sections
from vacc_gen.schema.recipe import Recipe

MISSPELLED = FALCON.replace("  workers: 4", "  wokers: 4")


def found(text, **options):
    return [(one.line, one.code) for one in check_text(text, "build/x.yaml", **options)]


def test_rules_are_selected_by_code_or_its_beginning():
    assert found(MISSPELLED) == [(26, "VG101")]
    assert found(MISSPELLED, selection=Selection(select=("VG2",))) == []
    assert found(MISSPELLED, selection=Selection(select=("VG101",))) == [(26, "VG101")]
    assert found(MISSPELLED, selection=Selection(select=("VG",), ignore=("VG1",))) == []
    # What cannot be read is reported in any case.
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
    assert found(f"backend: [ {comment}") == [(1, "VG001")]


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
        ("frontend: [\n", "any.yaml", Kind.CONFIG),
        ("name: x\ndataset: {}\n", "any.yaml", Kind.CONFIG),
        ("version: 2\nmodel: {}\n", "any.yaml", Kind.RECIPE),
        ("nonsense: x\n", "some/vacc.yaml", Kind.RECIPE),
        ("frontend: [\n", "vacc.yaml", Kind.RECIPE),
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
    ("text", "path", "code"),
    [
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "x.yaml", "VG120"),
        ("\ufeffname: ci\non: push\n", "x.yaml", "VG120"),
        ("services:\n  web: 1\n  web: 1\n", "x.yaml", "VG120"),
        ("key: !Ref other\n", "x.yaml", "VG120"),
        ("services:\n\tweb: 1\n", "x.yaml", "VG011"),  # nor is one that is not YAML
        ("frontend:\n  type: onnx\n\tdtype: [fp32\n", "x.yaml", "VG011"),  # no spaces mend it
        ("- a\n", "vacc.yaml", "VG103"),
        ("4\n", "vacc.yaml", "VG103"),
    ],
)
def test_a_file_of_another_tool_is_one_finding_and_never_changed(text, path, code):
    (one,) = check_text(text, path)
    assert (one.code, one.fix) == (code, None)
    assert code != "VG103" or one.message.endswith("not a mapping")


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
        "venv/c.yaml": "frontend:\nbackend:\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "build" / "up").symlink_to(tmp_path)  # a loop, which is not followed
    result = check_paths([str(tmp_path), str(tmp_path / "build/a.yaml")])
    assert result.checked == 4
    assert [(one.path, one.code) for one in result.findings] == [
        (str(tmp_path / "old.yaml"), "VG121")
    ]
    named = str(tmp_path / "frontend.yaml")
    assert check_paths([str(tmp_path), named]).checked == 5


def test_missing_and_odd_paths_are_unreadable(tmp_path):
    fifo, loop, missing = (str(tmp_path / f"{name}.yaml") for name in ("fifo", "loop", "missing"))
    os.mkfifo(fifo)
    Path(loop).symlink_to(loop)
    result = check_paths([fifo, loop, missing, "nul\0.yaml"])
    assert result.checked == 0
    assert result.unreadable == [
        (fifo, "not a regular file"),
        (loop, "too many levels of symbolic links"),
        (missing, "no such file or directory"),
        ("nul\0.yaml", "not the name of a file"),
    ]
    assert [path for path, _ in check_paths([str(tmp_path)]).unreadable] == [fifo, loop]


# Hostile texts ----------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
MODELS = [
    model for root in (CompileConfig, Recipe) for row in sections(root).values() for model in row
]
KEYS = st.sampled_from(sorted({key for model in MODELS for key in model.model_fields}))
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
        line = lines.pop(number)
        changes = [line.replace("e", "ee", 1), "\t" + line.lstrip(), line.replace(": ", "：", 1)]
        lines.insert(number, rng.choice(changes))
        lines.insert(rng.choice((number, rng.randrange(len(lines)))), lines.pop(number))
    return "\n".join(lines) + "\n"


@given(st.sampled_from(PATHS), st.randoms(use_true_random=False))
def test_every_fixable_finding_is_gone_after_its_fix(path, rng):
    text = mutated(path.read_text(encoding="utf-8"), rng)
    findings = check_text(text, "build/x.yaml")
    for one in findings:
        assert (1, 1) <= (one.line, one.column) <= (one.end_line, one.end_column)
    after = load(text).fixed(one.fix for one in findings if one.fixable)
    left = {(one.code, one.message) for one in check_text(after, "build/x.yaml")}
    kept = {(one.code, one.message) for one in findings if not one.fixable}
    assert not {(one.code, one.message) for one in findings if one.fixable} & left - kept


def test_marks_in_comments_and_quotes_are_nobodys_business():
    text = FALCON.replace("  workers: 4", '  x: "四：四"  # 四：四\n workers: 4')
    assert found(text) == [(27, "VG001")]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("2024-13-45", "VG007"),
        ("'" + "[" * 5000 + "'", "VG103"),
        ("'1" + ":59" * 5000 + "'", "VG103"),
        ("2024-01-01", "VG103"),
        (2**64, "VG007"),
        ("{{ tp }}", "VG119"),
    ],
    ids=lambda value: str(value)[:16],
)
def test_an_impossible_value_is_one_mistake(value, code):
    assert found(FALCON.replace("tp: 4", f"tp: {value}")) == [(10, code)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  dtype: int8", "  dtype: &precision itn8"),
        ("backend:\n", "x-all: &all {detype: int8}\nbackend:\n  <<: *all\n"),
        ("  dtype: int8", "  dtype: !!str itn8"),
        ("  dtype: int8", "  x-dtype: int8"),  # put aside by its writer
        ("  dtype: int8", "  dtype: |-\n    itn8"),
    ],
)
def test_what_is_shared_or_more_than_a_word_is_not_fixed(old, new):
    text = FALCON.replace(old, new)
    text = text.replace("  dtype: int8\n", "") if "<<" in new else text
    (one,) = check_text(text, "build/x.yaml")
    assert one.code in ("VG101", "VG104")
    assert one.fix is None


def test_an_anchor_elsewhere_hinders_no_fix():
    text = FALCON.replace("tp: 4", "tp: &tp 4").replace("dtype: int8", "dtype: itn8")
    (one,) = check_text(text, "build/x.yaml")
    assert one.fixable
