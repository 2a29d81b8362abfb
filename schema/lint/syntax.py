"""What is wrong with a text that is not YAML: the parser's complaint, or a fault that a line shows.

Nothing is rewritten to see whether it reads better. A fault is named in place of the parser's
complaint only where one look at its line shows it: a tab, a full-width mark, a merge marker, a
`{{ name }}`, a colon without its space, a quote or a bracket that is not closed.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from typing import NamedTuple

import yaml

from vacc_gen.schema.lint.diagnostics import Fault, Finding, Fix, Span
from vacc_gen.schema.lint.reader import LINE_BREAK

FULL_WIDTH = {
    "：": ":", "，": ",", "［": "[", "］": "]", "｛": "{", "｝": "}", "【": "[", "】": "]",
    "“": '"', "”": '"', "‘": "'", "’": "'", "－": "-", "＃": "#", "\u3000": " ", "\u00a0": " ",
}  # fmt: skip
"""Marks of a Chinese or Japanese keyboard, or of a web page, and what YAML has in their place."""

_MARKS = re.compile(f"[{''.join(FULL_WIDTH)}]")
_TEMPLATE = re.compile(r"[^\s\[\],]*\{\{[^{}\n]*\}\}[^\s\[\],]*")
_MERGE = re.compile(r"<{7}(?=\s|$)|={7}(?=\s|$)|>{7}(?=\s|$)")
_NO_SPACE = re.compile(r"^\s*(?:-\s+)?[\"']?([A-Za-z_][\w.-]*)[\"']?:(?=[^\s:/\\])")
_TAB_INDENT = re.compile(r"^[ ]*\t[ \t]*(?=[^\s#])")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")

_PLAIN_WORDS = (
    ("mapping values are not allowed", "a second `:` in one value, or a wrong indentation"),
    ("did not find expected key", "the indentation does not match the lines above"),
    ("expected <document start>", "the lines above are indented further than this one"),
    ("did not find expected '-' indicator", "the indentation does not match the list above"),
    ("could not find expected ':'", "a `:` is missing after the key"),
    ("did not find expected ',' or ']'", "a `]` or a `,` is missing"),
    ("did not find expected ',' or '}'", "a `}` or a `,` is missing"),
    ("did not find expected node content", "a value is missing"),
    ("block sequence entries are not allowed", "a `-` that starts no list"),
    ("cannot start any token", "this character cannot start a value; put the value in quotes"),
    ("alphabetic or numeric", "a value that begins with `*` or `&` needs quotes"),
    ("unknown escape", "a `\\` in double quotes begins an escape: use single quotes"),
)


class _Line(NamedTuple):
    """A line of the text: its number from 1, the offset that it starts at, and what it says."""

    number: int
    start: int
    text: str

    @property
    def bare(self) -> str:
        """The line with quoted texts and the comment blanked out, of equal length."""
        hidden = _QUOTED.sub(lambda found: "_" * len(found.group()), self.text)
        return _COMMENT.sub(lambda found: " " * len(found.group()), hidden)

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip(" "))

    def span(self, start: int, end: int) -> Span:
        """Return the span between two columns, counted from 0."""
        number, offset = self.number, self.start
        return Span(number, start + 1, number, end + 1, offset + start, offset + end)

    def whole(self) -> Span:
        """Return the span of the line without the spaces around it."""
        return self.span(len(self.text) - len(self.text.lstrip()), len(self.text.rstrip()))


def _lines(text: str) -> list[_Line]:
    starts = [0, *(found.end() for found in LINE_BREAK.finditer(text))]
    return [_Line(n, starts[n - 1], line) for n, line in enumerate(LINE_BREAK.split(text), 1)]


def templates(text: str) -> list[Span]:
    """Return the values that hold a `{{ name }}` without quotes, the first of each line."""
    found = ((line, _TEMPLATE.search(line.bare)) for line in _lines(text))
    return [line.span(*match.span()) for line, match in found if match]


def _not_yaml(span: Span, reason: str, hint: str | None = None) -> Fault:
    return Fault("VG001", Finding(span, f"not valid YAML: {reason}", hint))


def explain(text: str, error: yaml.YAMLError) -> list[Fault]:
    """Return what is wrong with a text that the parser refuses.

    One fault, but for tabs and full-width marks: each of these where it stands.
    """
    lines = _lines(text)
    found = _tabs(text, lines) or _full_width(text, lines)
    if found:
        return found
    for line in lines:
        if _MERGE.match(line.text):
            hint = "keep one of the two sides, and delete the lines with the markers"
            return [_not_yaml(line.whole(), "a merge conflict is left here", hint)]
    return [_complaint(lines, error)]


def _full_width(text: str, lines: list[_Line]) -> list[Fault]:
    """Return the full-width marks outside of quotes and comments, and what replaces them."""
    spans = [line.span(*m.span()) for line in lines for m in _MARKS.finditer(line.bare)]
    found = []
    for span, fix in _mended(text, spans, [_ascii(text, span.start) for span in spans]):
        mark = text[span.start]
        name = unicodedata.name(mark, "character").lower()
        message = f"the full-width `{mark}` ({name}) is a letter to YAML"
        hint = f"write `{fix.text.strip()}`" if fix else "switch the keyboard to half width"
        found.append(Fault("VG014", Finding(span, message, hint, fix)))
    return found


def _ascii(text: str, at: int) -> str:
    """Return what replaces a full-width mark; YAML wants a space after `:` and `,`."""
    plain = FULL_WIDTH[text[at]]
    follows = text[at + 1 : at + 2]
    return plain + " " if plain in ":," and follows and not follows.isspace() else plain


def _tabs(text: str, lines: list[_Line]) -> list[Fault]:
    """Return the indentations with tabs, with the spaces that their neighbours are indented by."""
    found = [(line, match) for line in lines if (match := _TAB_INDENT.match(line.text))]
    spans = [line.span(*match.span()) for line, match in found]
    tabbed = {line.number for line, _ in found}
    others = [line for line in lines if line.bare.strip() and line.number not in tabbed]
    spaces = [" " * _indentation(others, line) for line, _ in found]
    message, hint = "tab in the indentation", "YAML indents with spaces"
    mended = _mended(text, spans, spaces)
    return [Fault("VG011", Finding(span, message, hint, fix)) for span, fix in mended]


def _indentation(others: list[_Line], tab: _Line) -> int:
    """Return by how many spaces a line belongs: as its next neighbour, else below its header."""
    at = bisect(others, tab)
    header, follows = others[max(at - 1, 0) : at], others[at : at + 1]
    least = header[0].indent if header else 0
    if follows and follows[0].indent > least:
        return follows[0].indent
    opens = header and header[0].bare.rstrip().endswith(":")
    return least + 2 if opens else least


def _mended(text: str, spans: list[Span], texts: list[str]) -> list[tuple[Span, Fix | None]]:
    """Return each place with its text as a fix, or with None where all of them make no YAML."""
    made = [Fix(span, other) for span, other in zip(spans, texts, strict=True)]
    for fix in reversed(made):
        text = text[: fix.span.start] + fix.text + text[fix.span.end :]
    try:
        for _ in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            pass
    except yaml.YAMLError:
        return [(span, None) for span in spans]
    return list(zip(spans, made, strict=True))


def _complaint(lines: list[_Line], error: yaml.YAMLError) -> Fault:
    """Return the parser's complaint, or what a line near it shows at once."""
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context_mark", None)
    mark = getattr(error, "problem_mark", None) or context
    if mark is None:
        return _not_yaml(lines[0].whole(), problem)
    at = min(mark.line, len(lines) - 1)
    opened = min(context.line, at) if context is not None else at
    before = max((n for n in range(at) if lines[n].bare.strip()), default=at)
    for number in (opened, before, at):
        fault = _visible(lines[number])
        if fault is not None:
            return fault
    if "could not find expected ':'" in problem and context is not None:
        return _not_yaml(lines[opened].whole(), "a `:` is missing after the key")
    plain = next((words for start, words in _PLAIN_WORDS if start in problem), problem)
    width = len(lines[at].text)
    span = lines[at].span(min(mark.column, width), min(mark.column + 1, width))
    return _not_yaml(span, plain, f"the parser says: {problem}")


def _visible(line: _Line) -> Fault | None:
    """Return the fault that one look at a line shows, or None."""
    bare = line.bare
    quote = re.search(r"(?:^|[\s\[{:,-])([\"'])", bare)
    if quote is not None:
        reason = f"a quote {quote[1]} is opened here and not closed on this line"
        return _not_yaml(line.span(quote.start(1), quote.end(1)), reason)
    missing = _NO_SPACE.match(bare)
    if missing is not None:
        rest = line.text[missing.end() :].rstrip()
        hint = f"write `{missing[1]}: {rest}`"
        span = line.span(missing.start(1), missing.end())
        return _not_yaml(span, "a space is missing after the colon", hint)
    unclosed: list[re.Match[str]] = []
    for bracket in re.finditer(r"[\[\]{}]", bare):
        if bracket.group() in "[{":
            unclosed.append(bracket)
        elif unclosed:
            unclosed.pop()
    if unclosed:
        reason = f"a `{unclosed[0].group()}` is opened here and not closed on this line"
        return _not_yaml(line.span(*unclosed[0].span()), reason)
    return None
