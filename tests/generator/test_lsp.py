"""The language server: the real process, as an editor talks to it."""

import json
import re
import subprocess
import sys

import pytest

from tests.processes import VACC_GEN
from tests.published import CASES, FALCON


class Editor:
    """One, as far as a server sees it: JSON-RPC over pipes. One file is open at a time."""

    def __init__(self, folder, encoding="utf-16"):
        self.folder, self.asked = folder, 0
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen((*VACC_GEN, "lsp"), cwd=folder, **pipes)
        can = {"general": {"positionEncodings": [encoding]}}
        self.ask("initialize", processId=None, rootUri=folder.as_uri(), capabilities=can)
        self.tell("initialized")

    def open(self, name, text):
        """Open a file, which need not exist, and return what is found in it."""
        self.document, self.text = {"uri": (self.folder / name).as_uri(), "version": 1}, text
        opened = {**self.document, "languageId": "yaml", "text": text}
        self.tell("textDocument/didOpen", textDocument=opened)
        return self.published()

    def change(self, text):
        self.document["version"] += 1
        changes = [{"text": text}]
        self.tell("textDocument/didChange", textDocument=self.document, contentChanges=changes)
        return self.published()

    def published(self):
        sent = self._read(lambda one: one.get("method") == "textDocument/publishDiagnostics")
        return sent["params"]["diagnostics"]

    def at(self, feature, line, character, **more):
        place = {"position": {"line": line, "character": character}, **more}
        return self.ask(f"textDocument/{feature}", textDocument=self.document, **place)

    def ask(self, method, **params):
        self.asked += 1
        self._write({"id": self.asked, "method": method, "params": params or None})
        return self._read(lambda one: "method" not in one and one["id"] == self.asked)["result"]

    def tell(self, method, **params):
        self._write({"method": method, "params": params or None})

    def close(self):
        """End the server; return its exit code and what it said beside the protocol."""
        self.ask("shutdown")
        self.tell("exit")
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out + err

    def _write(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def _read(self, is_wanted):
        """Return the first message that is wanted; an empty line ends its headers."""
        while line := self.process.stdout.readline():
            if line.startswith(b"Content-Length: "):
                length = int(line.split()[1])
            elif line == b"\r\n":
                message = json.loads(self.process.stdout.read(length))
                if is_wanted(message):
                    return message
        raise AssertionError(self.process.stderr.read().decode())


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
