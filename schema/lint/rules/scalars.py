"""VG11: values that a reader takes for something else than what is seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from vacc_gen.schema.lint import fixes as edits
from vacc_gen.schema.lint.diagnostics import Severity
from vacc_gen.schema.lint.document import Node
from vacc_gen.schema.lint.rule import rule
from vacc_gen.schema.lint.rules._facts import is_huggingface, is_unwritten
from vacc_gen.schema.lint.rules._wording import dotted
from vacc_gen.schema.lint.subject import Finding, Subject

_ODD = re.compile(
    "(?P<control>[\x00-\x1f\x7f-\x9f\u2028\u2029])"
    "|(?P<hidden>[\u00a0\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff])"
    "|(?P<quote>[\u2018-\u201f\u00ab\u00bb\uff02\uff07])"
)
_MAY_BE_ODD = re.compile(
    "[\x7f-\xa0\xad\u1680\u2000-\u200f\u2018-\u202f\u205f-\u206f\u3000\ufeff\u00ab\u00bb\uff02\uff07]"
    r"""|\\|[|>][-+\d]*\s*(?:\#.*)?$|["']\s|\s["']\s*(?:$|[,\]}\#])""",
    re.MULTILINE,
)
"""What a text has where one of its values can have an odd character: most texts have none."""
_MAY_BE_BASED = re.compile(r"(?<![\w./])0[0-7bx_]|\d:[0-5]")
"""The same for numbers in another base."""

_PLAIN_QUOTES = str.maketrans(
    "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\uff02\uff07", "''''\"\"\"\"\"'"
)


def _scalars(node: Node, steps: tuple[str | int, ...] = ()) -> Iterator[tuple[str, Node]]:
    """Yield the values below a node with their paths, without what is told as wrong."""
    if node.rejected:
        return
    if isinstance(node.value, dict):
        for key, entry in node.value.items():
            yield from _scalars(entry.node, (*steps, key))
    elif isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from _scalars(item, (*steps, index))
    else:
        yield dotted(steps), node


def _all_scalars(subject: Subject) -> Iterator[tuple[str, Node]]:
    return _scalars(subject.document.root) if subject.document.root else iter(())


@rule("VG115", Severity.ERROR, "character that no path or name has", scope="text", fix="unsafe")
def odd_character(subject: Subject) -> Iterator[Finding]:
    r"""A line break, a tab or another control character is part of a value; so is, as a warning, a
    blank at its end, a character that nobody sees, or a typographic quote.

    `|` and `>` keep the line break behind the last line, `|-` and `>-` do not.

    Bad:
        name: "falcon\n7b"
    Good:
        name: falcon-7b
    """
    if not _MAY_BE_ODD.search(subject.document.text):
        return
    told = {problem.span.line for problem in subject.problems.get("slip", ())}
    for where, node in _all_scalars(subject):
        value = node.value
        if not isinstance(value, str) or node.span.line in told:
            continue
        odd = _ODD.search(value)
        if odd is not None:
            yield _odd_finding(subject, where, node, odd)
        elif value != value.strip():
            end = "begins" if value != value.lstrip() else "ends"
            yield Finding(
                node.span,
                f"`{where}` {end} with a blank" if value.strip() else f"`{where}` is blank",
                "the blank is part of the value; delete it" if value.strip() else None,
                severity=Severity.WARNING if value.strip() else Severity.ERROR,
            )


def _odd_finding(subject: Subject, where: str, node: Node, odd: re.Match[str]) -> Finding:
    mark = odd.group()
    if odd["control"]:
        if node.value.endswith("\n") and odd.start() == len(node.value) - 1:
            hint = "write the value on the line of its key, or `|-` and `>-` for `|` and `>`"
            return Finding(node.span, f"`{where}` ends with a line break", hint)
        names = {"\n": "a line break", "\t": "a tab", "\r": "a carriage return", "\x00": "NUL"}
        what = names.get(mark, f"the control character U+{ord(mark):04X}")
        return Finding(node.span, f"`{where}` has {what} in it", "write it without")
    name = unicodedata.name(mark, "unnamed").lower()
    message = f"`{where}` has U+{ord(mark):04X} in it, {name}"
    if odd["hidden"]:
        return Finding(node.span, message, "delete it", severity=Severity.WARNING)
    written = subject.document.text[node.span.start : node.span.end]
    plain = written.translate(_PLAIN_QUOTES)
    fix = edits.replace(node.span, plain, safe=False) if plain != written else None
    hint = "quotes of YAML are ' and \""
    return Finding(node.span, message, hint, fix, Severity.WARNING)


_BASE = re.compile(
    r"[-+]?(?:(?P<binary>0b)|(?P<hexadecimal>0x)|(?P<octal>0[0-7_]+$)|(?P<sexagesimal>[0-9_]+:))"
)


@rule("VG116", Severity.WARNING, "number in another base", scope="text", fix="unsafe")
def number_base(subject: Subject) -> Iterator[Finding]:
    """YAML 1.1, which the compiler's reader speaks, takes 010 for eight and 1:30 for ninety.

    Bad:
        workspace:
          path: ./vacc_deploy
          workers: 010
    Good:
        workspace:
          path: ./vacc_deploy
          workers: 10
    """
    if not _MAY_BE_BASED.search(subject.document.text):
        return
    for where, node in _all_scalars(subject):
        if type(node.value) not in (int, float):
            continue
        written = subject.document.text[node.span.start : node.span.end]
        before = subject.document.text[max(0, node.span.start - 2) : node.span.start]
        if is_huggingface(subject) and re.fullmatch(r"\d,", before):
            continue  # [1,024]: the shape is told (VG103, VG304)
        found = _BASE.match(written)
        if found is None:
            continue
        base = found.lastgroup
        node.rejected = True  # what was meant is not known: let no rule build on it
        as_seen = written.lstrip("+0") if base == "octal" else ""
        meant = as_seen.isdigit() and int(as_seen) != node.value
        other = f", or {as_seen} if that is meant" if meant else ""
        yield Finding(
            node.span,
            f"YAML reads {written} for `{where}` as {base}: {node.value}",
            f"write {node.value}{other}",
            edits.replace(node.span, as_seen or str(node.value), safe=False),
        )


_PACKAGES = (
    *("transformers", "huggingface-hub", "tokenizers", "safetensors", "accelerate", "torch"),
    *("torchvision", "torchaudio", "numpy", "scipy", "pandas", "onnx", "onnxsim", "onnxruntime"),
    *("onnxruntime-gpu", "onnxscript", "protobuf", "sentencepiece", "tiktoken", "einops", "timm"),
    *("pillow", "opencv-python", "peft", "datasets", "optimum", "auto-gptq", "autoawq"),
    *("gptqmodel", "bitsandbytes", "flash-attn", "qwen-vl-utils", "modelscope", "requests"),
    *("pyyaml", "tqdm", "packaging", "setuptools", "wheel", "pip", "psutil", "filelock", "fsspec"),
    *("regex", "jinja2", "sympy", "networkx", "librosa", "soundfile", "decord", "av"),
)
_LEAST_LETTERS = 5
"""Shorter names are near too many others."""


@rule("VG117", Severity.WARNING, "package that looks misspelled", scope="vamc", fix="safe")
def misspelled_package(subject: Subject) -> Iterator[Finding]:
    """A package of `workspace.pyenv` is nearly one that models need: pip would look for another.

    Bad:
        workspace:
          path: ./vacc_deploy
          pyenv:
            transformer: 4.51.3
    Good:
        workspace:
          path: ./vacc_deploy
          pyenv:
            transformers: 4.51.3
    """
    from vacc_gen.schema.lint.suggestions import distance

    pyenv = subject.node("workspace", "pyenv")
    if pyenv is None or not isinstance(pyenv.value, dict):
        return
    for package, entry in pyenv.value.items():
        plain = re.sub(r"[-_.]+", "-", package).lower()
        if plain in _PACKAGES or len(plain) < _LEAST_LETTERS:
            continue
        limit = 2 if len(plain) > 2 * _LEAST_LETTERS else 1
        near = sorted((distance(plain, known, limit), known) for known in _PACKAGES)
        if near[0][0] <= limit:
            yield Finding(
                entry.key_span,
                f"the package `{package}` looks misspelled",
                f"did you mean `{near[0][1]}`?",
                edits.replace(entry.key_span, near[0][1]),
            )


_FREE_TEXTS = (
    ("name",),
    ("frontend", "checkpoint"),
    ("dataset", "path"),
    ("workspace", "path"),
)


@rule("VG119", Severity.ERROR, "word in place of a value")
def unwritten(subject: Subject) -> Iterator[Finding]:
    """A word stands for a value that is still to be written; the compiler takes it as it is.

    Bad:
        frontend:
          type: onnx
          checkpoint: TODO
    Good:
        frontend:
          type: onnx
          checkpoint: ./weights/resnet50.onnx
    """
    for steps in _FREE_TEXTS:
        value = subject.get(*steps)
        if isinstance(value, str) and is_unwritten(value):
            where = dotted(steps)
            yield Finding(subject.span(*steps), f"`{where}` is still to be written: {value}")


_NO_PATH = re.compile(r"(?<=\s)(?:;|--|//|/\*)(?=\s|\w|$)|<\w+ ?/?>|&\w+;")
"""A comment of another language, or markup, behind a path or around it."""
_FOLDER_NAME = re.compile(r"(?!-)[^\s*?\"'`<>|:;&$(){}!#%~\\]+")


@rule("VG118", Severity.WARNING, "name or path that a shell takes otherwise")
def odd_name(subject: Subject) -> Iterator[Finding]:
    """The name becomes a folder, which scripts and servers are called with.

    A blank in it makes two words of it, `*` a pattern, a dash at its head an option; `.` and `..`
    are folders that are there already. In a path, ` ;`, ` --`, `/*` and `<br>` are remains of a
    comment or a web page.

    Bad:
        name: falcon 7b fp16
    Good:
        name: falcon-7b-fp16
    """
    for steps in _FREE_TEXTS[1:]:
        path = subject.get(*steps)
        found = _NO_PATH.search(path) if isinstance(path, str) else None
        if found:
            yield Finding(
                subject.span(*steps),
                f"`{found.group()}` in a path",
                "a comment begins with a blank and `#`; anything else is part of the value",
            )
    name = subject.get("name")
    if not isinstance(name, str) or _ODD.search(name) or is_unwritten(name):
        return  # VG115, VG119
    if name in (".", ".."):
        yield Finding(subject.span("name"), f"`{name}` is a folder that is there already")
    elif name == name.strip() and not _FOLDER_NAME.fullmatch(name):
        odd = next((mark for mark in name if not _FOLDER_NAME.fullmatch(mark)), name[0])
        what = "a blank" if odd == " " else f"`{odd}`"
        yield Finding(
            subject.span("name"),
            f"{what} in a name that becomes a folder's",
            "letters, digits, `-`, `_` and `.` are safe everywhere",
        )
