"""Slips of the pen within one line: a blank left out, a comma in excess, a full-width colon.

Each is found by its looks alone, line by line and without reading YAML, so that it is found in a
text that cannot be read. Whether it is a mistake is for `recovery` to say, which looks at the text
with and without it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from vacc_gen.schema.lint.tree import LINE_BREAK

BLANKS = "\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff"
"""Blanks that YAML takes for letters: no-break, full-width, without width."""

_WITHOUT_WIDTH = frozenset("\u200b\u200c\u200d\u2060\ufeff")
_ANY_BLANK = f"[ {BLANKS}]"
_DASHES = "\u2010-\u2015\u2022\u2212\uff0d\u00b7"
_COLONS = "\uff1a\ufe55\u2236\ua789"
_WIDE = str.maketrans(
    "\u3010\u3011\uff3b\uff3d\uff08\uff09\uff5b\uff5d\uff0c\u3001\uff0e\uff0d\uff1a",
    "[][](){},,.-:",
)
_OPENING, _CLOSING = (
    "\u201c\u201d\u2018\u2019\uff02\uff07\u300c\u300e",
    "\u201d\u201c\u2019\u2018\uff02\uff07\u300d\u300f",
)

_LEAD = re.compile(f"{_ANY_BLANK}*")
_LISTED = re.compile(r"\d+(?: ?[:.|)] ?| )(?= *(?:- )?[A-Za-z_][\w.-]*:(?: |$))")
_DASH = re.compile(
    rf"(?P<fancy>[{_DASHES}]{_ANY_BLANK}*|-[ ]*[{BLANKS}]{_ANY_BLANK}*)"
    r"|(?P<glued>-(?=[^\s-]|-\d))|(?P<right>-[ ]+)|(?P<sign>\+(?=[ ]))"
)
_KEY = re.compile(r"""(?P<quote>["']?)(?P<key>[\w./-]*\w)(?P=quote)""")
_SEPARATOR = re.compile(
    rf"""
    (?P<right> [ ]*:(?:[ ]+(?![{BLANKS}])|$))
    | (?P<wide> {_ANY_BLANK}*[{_COLONS}]{_ANY_BLANK}*)
    | (?P<invisible> {_ANY_BLANK}*:{_ANY_BLANK}*[{BLANKS}]{_ANY_BLANK}*|[{BLANKS}]+:[ ]*)
    | (?P<blank> [ ]*:(?=[^\s/]|/[^/]))
    | (?P<equals> [ ]*(?:={{1,3}}|:=|=>|[~<>!]=)[ ]*(?=\S))
    | (?P<semicolon> [ ]*[;\uff1b][ ]*)
    | (?P<colon> [ ]+(?=[^\s:=\#]))
    """,
    re.VERBOSE,
)
_PROSE = re.compile(r"[^\W\d_]+,?(?: +[^\s:\[{]+)+ *")
"""What follows the first word of a sentence; behind a key that lacks its colon is one word."""
_COMMENT = re.compile(r"(?:^|[ \t])#")
_QUOTED = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')""")
_ENTITY = re.compile(r"&#?\w+;$")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


class Slip(NamedTuple):
    """One slip: replacing the characters from `start` to `end` of a line by `text` mends it."""

    line: int  # from 1
    start: int  # in the line
    end: int
    text: str
    kind: str
    in_value: bool  # nothing but the value changes: wrong even where a text may stand


def slips(text: str) -> list[Slip]:
    """Return what looks like a slip, in the order of the text; at most one a line is of a kind."""
    found: list[Slip] = []
    depth, block = 0, -1
    for number, line in enumerate(LINE_BREAK.split(text), 1):
        indent = len(line) - len(line.lstrip(" "))
        if block >= 0 and (indent > block or not line.strip()):
            continue  # inside `key: |`
        block = -1
        code = _without_comment(line)
        if depth == 0 and code.strip(" \t"):
            found += _in_line(number, code, line)
        bare = _QUOTED.sub("", code.translate(_WIDE))
        depth = max(0, depth + len(re.findall(r"[\[{]", bare)) - len(re.findall(r"[\]}]", bare)))
        if re.search(r":[ ]+[|>][+-]?\d?[ ]*$", code):
            block = indent
    return found


def mended(line: str, found: list[Slip]) -> str:
    """Return a line with slips put right."""
    for slip in sorted(found, key=lambda slip: slip.start, reverse=True):
        line = line[: slip.start] + slip.text + line[slip.end :]
    return line


def _without_comment(line: str) -> str:
    """Return a line up to its comment, blanks before that included."""
    at = 0
    while True:
        quoted, comment = _QUOTED.search(line, at), _COMMENT.search(line, at)
        if comment is None:
            return line
        if quoted is None or comment.start() < quoted.start():
            return line[: comment.start()]
        at = quoted.end()


def _in_line(number: int, code: str, line: str) -> Iterator[Slip]:
    listed = _LISTED.match(code)
    if listed:
        yield Slip(number, 0, listed.end(), "", "number", False)
        return
    lead = _LEAD.match(code)
    assert lead is not None  # it matches nothing, too
    at = lead.end()
    if re.search(f"[{BLANKS}]", lead.group()):
        yield Slip(number, 0, at, _as_blanks(lead.group()), "invisible", False)
    has_dash = False
    dash = _DASH.match(code, at)
    if dash:
        has_dash = dash.lastgroup != "sign"
        at = dash.end()
        if dash["fancy"]:
            yield Slip(number, *dash.span(), "- ", "dash", False)
        elif dash["glued"]:
            yield Slip(number, *dash.span(), "- ", "blank-after-dash", False)
        elif dash["right"] and dash.start() == 0 and len(dash.group()) > 2:
            yield Slip(number, 0, 1, "", "sign", False)
        elif dash["sign"]:
            yield Slip(number, *dash.span(), "", "sign", False)
    key = _KEY.match(code, at)
    separator = _SEPARATOR.match(code, key.end()) if key else None
    if key and separator and not (has_dash and _is_item(separator)):
        if not key["key"].isascii():
            plain = unicodedata.normalize("NFKC", key["key"])
            if plain != key["key"] and plain.isascii():
                yield Slip(number, *key.span("key"), plain, "full-width", False)
        if not has_dash and separator["colon"] and _PROSE.fullmatch(code[separator.end() :]):
            yield Slip(number, lead.end(), lead.end(), "# ", "prose", False)
            return
        yield from _separator(number, code, separator)
        at = separator.end()
    elif not has_dash:
        return
    yield from _in_value(number, code, at, line)


def _is_item(separator: re.Match[str]) -> bool:
    """Whether behind a dash this is a text, `- some words` or `- package==1.0`, and no key."""
    return separator["colon"] is not None or "==" in (separator["equals"] or "")


def _as_blanks(text: str) -> str:
    return "".join(
        "" if mark in _WITHOUT_WIDTH else "  " if mark == "\u3000" else " " for mark in text
    )


def _separator(number: int, code: str, found: re.Match[str]) -> Iterator[Slip]:
    kind = found.lastgroup or ""
    if kind == "right":
        return
    value = code[found.end() :].strip(" ")
    if kind == "colon" and re.search(r":(?:\s|$)", value):
        return  # prose, or a key with a blank in it
    if kind == "blank" and re.match(r"[\\/][^/]", value) and found.start() == 1:
        return  # C:\weights
    right = ": " if value else ":"
    is_pin = kind == "equals" and len(found.group().strip()) > 1
    if is_pin and re.fullmatch(r"\d+(\.\d+)?", value):  # a version is text
        yield Slip(number, found.start(), found.end() + len(value), f': "{value}"', kind, False)
        return
    names = {"wide": "full-width", "blank": "blank-after-colon"}
    yield Slip(number, *found.span(), right, names.get(kind, kind), False)


def _in_value(number: int, code: str, at: int, line: str) -> Iterator[Slip]:
    """Yield slips in a value; at most one, the outermost."""
    value = code[at:].rstrip(" \t")
    end = at + len(value)
    if not value or value[0] in "|>&*!%@`":
        return
    bare = value.rstrip(f" {BLANKS[0]}\u3000\u200b\ufeff")
    if bare != value:
        yield Slip(number, at + len(bare), end, "", "invisible", True)
        return
    glued = re.search(r"(?<=[^\s#])#(?=\s)|(?<=\s)//(?=\s|\w)", value)
    if glued and not _QUOTED.match(value):
        text = " #" if glued.group() == "#" else "#"
        yield Slip(number, at + glued.start(), at + glued.end(), text, "comment", True)
        return
    body = value.rstrip(",;\uff0c\u3001\uff1b")
    if body != value and body and _closed(body) and not _ENTITY.search(value):
        yield Slip(number, at + len(body), end, "", "comma", True)
        return
    if len(value) > 2 and value[0] in _OPENING and value[-1] in _CLOSING:
        yield Slip(number, at, end, f'"{value[1:-1]}"', "full-width", True)
        return
    plain = _plain_form(value)
    if plain != value:
        kind = "bracket" if value.isascii() else "full-width"
        yield Slip(number, at, end, plain, kind, not value.isascii())
        return
    quote = value[-1]
    if quote in "\"'" and value[0] not in "\"'[{" and value.count(quote) == 1:
        yield Slip(number, end - 1, end, "", "quote", True)


def _closed(value: str) -> bool:
    """Whether the brackets of a value are closed on its line."""
    bare = _QUOTED.sub("", value.translate(_WIDE))
    return all(bare.count(left) == bare.count(right) for left, right in ("[]", "{}"))


def _plain_form(value: str) -> str:
    """Return a list or a number in the characters that YAML knows; other values as they are."""
    narrow = value.translate(_WIDE)
    if value[0] in "[(\uff08\u3010\uff3b" and re.search(r"[\])]$", narrow):
        narrow = unicodedata.normalize("NFKC", narrow)
        if re.fullmatch(r"[\[\](), \d.\w\"'-]*", narrow):
            narrow = narrow.replace("(", "[").replace(")", "]")
            return re.sub(r",(?=[^\s\]])", ", ", narrow) if not value.isascii() else narrow
        return value
    digits = unicodedata.normalize("NFKC", narrow)
    return digits if _NUMBER.fullmatch(digits) else value
