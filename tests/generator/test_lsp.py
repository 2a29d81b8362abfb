"""The language server: the real process, as an editor talks to it."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.language_client import Editor
from tests.published import FOLDER

CASES = Path(__file__).parents[1] / "data" / "cases"
FALCON = (FOLDER / "llm/falcon/build_in/build/hf_falcon_int8.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    editor = Editor(tmp_path_factory.mktemp("open"))
    yield editor
    assert editor.close() == (0, b"")


def applied(editor, edit):
    """Return the open text with an edit, whose columns are of ASCII."""
    starts = [0, *(found.end() for found in re.finditer("\n", editor.text))]
    start, end = (starts[at["line"]] + at["character"] for at in edit["range"].values())
    return editor.text[:start] + edit["newText"] + editor.text[end:]


def only_fix(editor, finding):
    context = {"diagnostics": [finding]}
    (fix,) = editor.at("codeAction", 0, 0, range=finding["range"], context=context)
    ((edit,),) = fix["edit"]["changes"].values()
    return fix, applied(editor, edit)


@pytest.mark.parametrize(
    "name", ["full_width", "moved_out", "placeholder", "schema_dataset", "tabs"]
)
def test_findings_are_those_of_validate(editor, run, name):
    path = CASES / f"{name}.yaml"
    found = json.loads(run("validate", path, "--format", "json").out)["findings"]
    shown = editor.open("x.yaml", path.read_text(encoding="utf-8"))
    assert [one["message"].partition("\n")[0] for one in shown] == [one["message"] for one in found]
    assert [(one["code"], *one["range"]["end"].values()) for one in shown] == [
        (one["code"], one["end_line"] - 1, one["end_column"] - 1) for one in found
    ]


def test_findings_come_while_typing_and_go_with_the_mistake(editor):
    assert editor.open("x.yaml", FALCON) == []
    (found,) = editor.change(FALCON.replace("dtype", "dtpe"))
    assert (found["code"], found["severity"], found["source"]) == ("VG101", 1, "vacc-gen")
    (found,) = editor.change(FALCON.replace("int8\n  merge", "int8: [\n  merge"))
    assert found["code"] == "VG001"
    assert editor.change(FALCON) == []
    editor.change(FALCON.replace("dtype", "dtpe"))
    editor.tell("textDocument/didClose", textDocument=editor.document)
    assert editor.published() == []


@pytest.mark.parametrize("text", ["kind: Pod\nmetadata: {name: x}\n", "- name\n", "{{ x }}"])
def test_other_tools_yaml_is_left_alone(editor, text):
    assert editor.open("deployment.yaml", text) == []
    assert editor.at("hover", 0, 3) is None
    assert editor.at("completion", 1, 0) == []


@pytest.mark.parametrize(("encoding", "before"), [("utf-16", 3), ("utf-8", 6)])
def test_places_are_in_the_units_that_the_editor_asks_for(tmp_path, encoding, before):
    editor = Editor(tmp_path, encoding)
    line = '  model_kwargs: {"\U0001f600é": 1, b2z: true}'
    text = re.sub("  model_kwargs:(\n    .*)+", line, FALCON)
    _, found = editor.open("x.yaml", f"# one line to editors\u2028# and two to YAML\n{text}")
    assert found["range"]["start"] == {"line": 9, "character": 24 + before}
    assert found["range"]["end"] == {"line": 9, "character": 27 + before}
    assert editor.close() == (0, b"")


def test_a_safe_fix_is_preferred_and_an_unsafe_one_says_so(editor):
    (found,) = editor.open("x.yaml", FALCON.replace("b2s", "b2z"))
    fix, text = only_fix(editor, found)
    assert (fix["title"], fix["kind"], fix["isPreferred"]) == (
        "VG101: write `b2s`",
        "quickfix",
        True,
    )
    assert (fix["diagnostics"], text) == ([found], FALCON)
    found, *_ = editor.open("x.yaml", FALCON.replace("[[1024]", "[[1000]"))
    fix, _ = only_fix(editor, found)
    title = "VG302: write `1008` (unsafe: changes what is compiled)"
    assert (fix["title"], fix["isPreferred"]) == (title, False)
    recipe = "version: 2\nmodel: {preset: falcon-7b, checkpiont: x}\n"
    (found,) = editor.open("vacc.yaml", recipe)
    assert only_fix(editor, found)[1] == recipe.replace("piont", "point")


def test_hover_has_the_page_of_the_rule(editor, run):
    (found,) = editor.open("x.yaml", FALCON.replace("type: w8a16_gptq", "type: w8a16"))
    shown = editor.at("hover", *found["range"]["start"].values())["contents"]
    assert shown == {"kind": "markdown", "value": run("explain", found["code"]).out}


def test_completion_replaces_the_word_in_text_that_is_no_yaml(editor):
    editor.open("x.yaml", "name: [\nfrontend:\n  type: hugg\n  che: x\n  sh")
    for line, label, written in (
        (2, "huggingface", "  type: huggingface"),
        (3, "checkpoint", "  checkpoint: x"),
        (4, "shape", "  shape: "),
    ):
        items = editor.at("completion", line, 8 if line == 2 else 4)
        (edit,) = [one["textEdit"] for one in items if one["label"] == label]
        assert applied(editor, edit).split("\n")[line] == written


def test_without_the_extra_the_pip_line_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygls", None)
    monkeypatch.delitem(sys.modules, "vacc_gen.generator.lsp", raising=False)
    done = run("lsp")
    assert done.code == 2
    assert done.err.startswith("error: `vacc-gen lsp` needs pygls, which does not load: ")
    assert done.err.endswith("hint: pip install 'vacc-gen[lsp]'\n")
