"""Text measured in cells of a terminal, of which a Chinese character takes two."""

from __future__ import annotations

from prompt_toolkit.utils import get_cwidth


def clip(text: str, cells: int) -> str:
    """Return text in at most so many cells; where it is cut, three dots say so."""
    if get_cwidth(text) <= cells:
        return text
    return f"{_head(text, cells - 3)}..."


def clip_start(text: str, cells: int) -> str:
    """Return the end of text, in at most so many cells; three dots stand for what comes before."""
    if get_cwidth(text) <= cells:
        return text
    return f"...{_head(text[::-1], cells - 3)[::-1]}"


def pad(text: str, cells: int) -> str:
    """Return text with blanks up to so many cells."""
    return text + " " * (cells - get_cwidth(text))


def wrap(text: str, cells: int) -> list[str]:
    """Return text in lines of at most so many cells, broken at blanks, or within longer words."""
    indent = text[: len(text) - len(text.lstrip(" "))]
    lines = [indent]
    for word in text[len(indent) :].split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1].strip() else f"{lines[-1]}{word}"
        if get_cwidth(joined) <= cells:
            lines[-1] = joined
            continue
        rest = word
        if lines[-1]:
            lines.append("")
        while get_cwidth(rest) > cells:
            lines[-1] = _head(rest, cells) or rest[0]
            rest = rest[len(lines[-1]) :]
            lines.append("")
        lines[-1] = rest
    return lines


def _head(text: str, cells: int) -> str:
    for end in range(len(text) + 1):
        if get_cwidth(text[:end]) > cells:
            return text[: end - 1]
    return text
