"""What was meant: near misses of keys and values."""

from __future__ import annotations

from collections.abc import Iterable


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


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")


def _letters(word: str) -> str:
    return _plain(word).replace("_", "")


def tolerance(word: str) -> int:
    """Return how many edits a word of this length may be away from what was meant."""
    return 1 if len(word) < 5 else 2 if len(word) < 12 else 3


def ranked(word: str, candidates: Iterable[str]) -> list[tuple[int, str]]:
    """Return the candidates near enough to `word`, with their distances, the nearest first."""
    near = []
    for position, candidate in enumerate(candidates):
        if _letters(word) == _letters(candidate):
            near.append((0, position, candidate))
            continue
        limit = tolerance(max(word, candidate, key=len))
        edits = distance(_plain(word), _plain(candidate), limit)
        if edits <= limit:
            near.append((edits, position, candidate))
    return [(edits, candidate) for edits, _, candidate in sorted(near)]


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate nearest to `word`, or None where none is near."""
    near = ranked(word, candidates)
    return near[0][1] if near else None
