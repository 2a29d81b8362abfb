"""What is wrong with a text that is not YAML: the parser's complaint, or a fault that a line shows.

Nothing is rewritten to see whether it reads better. A fault is named in place of the parser's
complaint only where one look at its line shows it: a tab, a full-width mark, a merge marker, a
colon without its space, a quote or a bracket that is not closed.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from typing import TYPE_CHECKING

import yaml

from vacc_gen.schema.lint.diagnostics import Fix, Span

if TYPE_CHECKING:
    from vacc_gen.schema.lint.document import Document

FULL_WIDTH = {
    "：": ":", "，": ",", "［": "[", "］": "]", "｛": "{", "｝": "}", "【": "[", "】": "]",
    "“": '"', "”": '"', "‘": "'", "’": "'", "－": "-", "＃": "#", "\u3000": " ", "\u00a0": " ",
}  # fmt: skip
"""Marks of a Chinese or Japanese keyboard, or of a web page, and what YAML has in their place."""

_MARKS = re.compile(f"[{''.join(FULL_WIDTH)}]")
_MAY_OPEN = r"(?:^|(?<=[\s\[{:,-]))"
"""Before a quote that opens a text; without it, a line of many quotes takes time squared."""
_HIDDEN = re.compile(
    rf"""(?P<quoted>{_MAY_OPEN}(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*'))|(?:^|(?<=\s))#.*""",
    re.MULTILINE,
)
_MERGE = re.compile(r"^(?:<{7}|={7}|>{7})(?=\s|$)[^\r\n]*", re.MULTILINE)
_NO_SPACE = re.compile(r"^\s*(?:-\s+)?[\"']?([A-Za-z_][\w.-]*)[\"']?:(?=[^\s:/\\])")
_TAB_INDENT = re.compile(r"^ *\t[ \t]*(?=[^\s#])", re.MULTILINE)
_INDENT = re.compile(r"^( *)[^\s].*", re.MULTILINE)
_OPEN_QUOTE = re.compile(rf"{_MAY_OPEN}[\"']")

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


def explain(document: Document, error: yaml.YAMLError) -> None:
    """Report what is wrong with a text that the parser refuses.

    One finding, but for tabs and full-width marks: each of these where it stands.
    """
    bare = _bare(document.text)
    if _report_tabs(document, bare) or _report_full_width(document, bare):
        return
    span, reason, hint = _complaint(document, error)
    conflict = _MERGE.search(document.text)
    if conflict is not None:
        span, reason = document.span_at(*conflict.span()), "a merge conflict is left here"
        hint = "keep one of the two sides, and delete the lines with the markers"
    document.report("VG001", span, f"not valid YAML: {reason}", hint)


def _bare(text: str) -> str:
    """Return a text with what is quoted or a comment blanked out, of equal length."""
    return _HIDDEN.sub(lambda found: ("_" if found["quoted"] else " ") * len(found[0]), text)


def _report_full_width(document: Document, bare: str) -> bool:
    """Report the full-width marks outside of quotes and comments, and whether there are any."""
    spans = [document.span_at(*match.span()) for match in _MARKS.finditer(bare)]
    fixes = [Fix(span, _ascii(document.text, span.start)) for span in spans]
    is_mended = _make_yaml(document, fixes)
    for fix in fixes:
        mark = document.written(fix.span)
        name = unicodedata.name(mark, "character").lower()
        message = f"the full-width `{mark}` ({name}) is a letter to YAML"
        hint = f"write `{fix.text.strip()}`" if is_mended else "switch the keyboard to half width"
        document.report("VG014", fix.span, message, hint, fix if is_mended else None)
    return bool(fixes)


def _ascii(text: str, at: int) -> str:
    """Return what replaces a full-width mark; YAML wants a space after `:` and `,`."""
    plain, follows = FULL_WIDTH[text[at]], text[at + 1 : at + 2]
    return plain + " " if plain in ":," and follows and not follows.isspace() else plain


def _report_tabs(document: Document, bare: str) -> bool:
    """Report the indentations with tabs, to become as wide as those beside, and whether any is."""
    others = [
        (match.start(), len(match[1]), match[0].rstrip().endswith(":"))
        for match in _INDENT.finditer(bare)
        if not _TAB_INDENT.match(document.text, match.start())
    ]
    fixes = []
    for match in _TAB_INDENT.finditer(document.text):
        at = bisect(others, (match.start(),))
        _, least, opens = others[at - 1] if at else (0, 0, False)
        indent = least + 2 if opens else least
        if at < len(others) and others[at][1] > least:
            indent = others[at][1]
        fixes.append(Fix(document.span_at(*match.span()), " " * indent))
    is_mended = _make_yaml(document, fixes)
    for fix in fixes:
        message, hint = "tab in the indentation", "YAML indents with spaces"
        document.report("VG011", fix.span, message, hint, fix if is_mended else None)
    return bool(fixes)


def _make_yaml(document: Document, fixes: list[Fix]) -> bool:
    """Whether all fixes together make YAML of a text."""
    try:
        for _ in yaml.parse(document.fixed(fixes), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            pass
    except yaml.YAMLError:
        return False
    return True


def _complaint(document: Document, error: yaml.YAMLError) -> tuple[Span, str, str | None]:
    """Return where, what and a hint: the parser's complaint, or what a line near it shows."""
    lines = document.lines
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context_mark", None)
    mark = getattr(error, "problem_mark", None) or context
    if mark is None:
        return document.span_at(0, len(lines[0])), problem, None
    at = min(mark.line, len(lines) - 1)
    opened = min(context.line, at) if context is not None else at
    before = max((n for n in range(at) if _bare(lines[n]).strip()), default=at)
    for number in (opened, before, at):
        found = _visible(lines[number])
        if found is not None:
            return _in_line(document, number, *found[0]), *found[1:]
    if "could not find expected ':'" in problem and context is not None:
        place = len(lines[opened]) - len(lines[opened].lstrip()), len(lines[opened].rstrip())
        return _in_line(document, opened, *place), "a `:` is missing after the key", None
    plain = next((words for start, words in _PLAIN_WORDS if start in problem), problem)
    place = min(mark.column, len(lines[at])), min(mark.column + 1, len(lines[at]))
    return _in_line(document, at, *place), plain, f"the parser says: {problem}"


def _in_line(document: Document, number: int, start: int, end: int) -> Span:
    """Return the span between two columns of a line, all counted from 0."""
    offset = document.line_start(number + 1)
    return document.span_at(offset + start, offset + end)


def _visible(line: str) -> tuple[tuple[int, int], str, str | None] | None:
    """Return the fault that one look at a line shows: between which columns, and what; or None."""
    bare = _bare(line)
    quote = _OPEN_QUOTE.search(bare)
    if quote is not None:
        reason = f"a quote {quote[0]} is opened here and not closed on this line"
        return quote.span(), reason, None
    missing = _NO_SPACE.match(bare)
    if missing is not None:
        hint = f"write `{missing[1]}: {line[missing.end() :].rstrip()}`"
        return (missing.start(1), missing.end()), "a space is missing after the colon", hint
    unclosed: list[re.Match[str]] = []
    for bracket in re.finditer(r"[\[\]{}]", bare):
        if bracket[0] in "[{":
            unclosed.append(bracket)
        elif unclosed:
            unclosed.pop()
    if unclosed:
        reason = f"a `{unclosed[0][0]}` is opened here and not closed on this line"
        return unclosed[0].span(), reason, None
    return None
