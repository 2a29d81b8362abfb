"""Markdown pages: their fenced blocks, and the commands in them with what these print.

`python -m tests.documents` writes the blocks of each English page into its Chinese one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what is said after that, and its text."""

    language: str
    note: str
    text: str

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """What stands after each `$`, with the lines that it prints."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line.rstrip())
        return found


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(match[1], match[2] or "", match[3]) for match in _FENCED.finditer(text)]


def links_of(page: Path) -> list[str]:
    """Return where a page's links lead, without those in blocks."""
    return _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))


def headings_of(page: Path) -> list[str]:
    """Return a page's headings, blocks left out."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"^#+ .+$", text, re.MULTILINE)


def is_printed(expected: list[str], printed: str) -> bool:
    """Whether a command printed what a page says.

    `...` in a line stands for anything, and alone in a line for any number of lines.
    """
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in expected
    )
    lines = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, lines) is not None


def in_chinese(root: Path) -> list[tuple[Path, Path]]:
    """Return the pages that are there in Chinese too, each with its English one before it."""
    chinese = [*root.glob("*.zh-CN.md"), *root.glob("docs/*.zh-CN.md")]
    return [(page.with_name(page.name.replace(".zh-CN", "")), page) for page in sorted(chinese)]


def _copy_blocks(english: Path, chinese: Path) -> None:
    """Put each block of one page in the place of the block of the same number in the other."""
    blocks = iter([match[0] for match in _FENCED.finditer(english.read_text(encoding="utf-8"))])
    text = _FENCED.sub(lambda match: next(blocks), chinese.read_text(encoding="utf-8"))
    assert next(blocks, None) is None, f"{chinese} has fewer blocks than {english}"
    chinese.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for pages in in_chinese(Path(__file__).parents[1]):
        _copy_blocks(*pages)
