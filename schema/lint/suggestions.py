"""What was meant: near misses of keys and values."""

from __future__ import annotations

from collections.abc import Iterable

LONG_WORD = 5
"""Words from this length on may be two edits away from what was meant, shorter ones one."""


def distance(a: str, b: str, limit: int = 2) -> int:
    """Return the number of edits between two words, at most `limit` + 1.

    An edit inserts, deletes or replaces a character, or swaps two neighbours (optimal string
    alignment).
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before_last: list[int] = []
    last = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                best = min(best, before_last[j - 2] + 1)
            row.append(best)
        if min(row) > limit and min(last) > limit:  # a swap reaches over one row
            return limit + 1
        before_last, last = last, row
    return min(last[-1], limit + 1)


def _letters(word: str) -> str:
    return word.casefold().replace("-", "").replace("_", "").replace(" ", "")


def nearest_of_all(word: str, candidates: Iterable[str]) -> list[str]:
    """Return the candidates that are nearest to `word`: several where they are equally near."""
    best: list[str] = []
    least = 3
    for candidate in candidates:
        limit = 2 if min(len(word), len(candidate)) >= LONG_WORD else 1
        same = _letters(word) == _letters(candidate)
        edits = 0 if same else distance(word.casefold(), candidate.casefold(), limit)
        if edits <= limit and edits < least:
            best, least = [candidate], edits
        elif edits <= limit and edits == least:
            best.append(candidate)
    return best


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate nearest to `word`, the first of several, or None where none is near."""
    near = nearest_of_all(word, candidates)
    return near[0] if near else None
