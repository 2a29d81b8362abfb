"""From texts to calibration windows: which texts are drawn, and how tokens are packed.

Shapes: a window is [seqlen] token ids, int32; a set of them [samples, seqlen].

The draw is reproducible on every machine and Python: it uses nothing but `random.Random(seed)` and
its `random()`, whose sequence the language guarantees
(docs.python.org/3/library/random.html#notes-on-reproducibility).
"""

from __future__ import annotations

import hashlib
import heapq
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

Window: TypeAlias = "array[int]"
"""Token ids of one window: array("i"), 4 bytes each."""
_Item = TypeVar("_Item")

HELD_BYTES_PER_TOKEN = 32
"""Text held for each token that is wanted: 8 times what English takes, so one pass does."""
HELD_BYTES = (1 << 20, 32 << 20)
"""Text held at once: at least, at the most."""


def generator_for(seed: int, purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that one draw does not shift another."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def shuffled(
    texts: Callable[[], Iterator[bytes]], seed: int, purpose: str, held_bytes: int
) -> Iterator[bytes]:
    """Yield all texts in random order, holding about `held_bytes` of them at a time.

    Every text draws a rank; a pass over `texts()` keeps those of the lowest ranks above the ones
    that were given out before. A consumer that stops early pays for the passes that it used.
    """
    given = (-1.0, 0)
    while True:
        draw = generator_for(seed, purpose).random
        kept: list[tuple[float, int, bytes]] = []  # a heap, the highest rank first
        kept_bytes, ceiling = 0, (2.0, 0)
        for row, text in enumerate(texts()):
            rank = (draw(), row)
            if given < rank < ceiling:
                heapq.heappush(kept, (-rank[0], -row, text))
                kept_bytes += len(text)
                while kept_bytes > held_bytes and len(kept) > 1:
                    drawn, index, dropped = heapq.heappop(kept)
                    kept_bytes -= len(dropped)
                    # What ranks above a dropped text must go too, or the order would not be random.
                    ceiling = (-drawn, -index)
        for drawn, index, text in sorted(kept, key=lambda entry: (-entry[0], -entry[1])):
            given = (-drawn, -index)
            yield text
        if ceiling == (2.0, 0):
            return


def held_bytes(tokens: int) -> int:
    """How much text to hold when `tokens` are wanted."""
    low, high = HELD_BYTES
    return max(low, min(high, tokens * HELD_BYTES_PER_TOKEN))


def concatenated(texts: Iterable[Sequence[int]], seqlen: int, end_of_text: int) -> Iterator[Window]:
    """Let texts run on, `end_of_text` after each, and cut windows without gap or overlap."""
    pending = array("i")
    for tokens in texts:
        pending.extend(tokens)
        pending.append(end_of_text)
        whole = len(pending) - len(pending) % seqlen
        for start in range(0, whole, seqlen):
            yield pending[start : start + seqlen]
        del pending[:whole]


def one_text_each(
    texts: Iterable[Sequence[int]], seqlen: int, seed: int, purpose: str
) -> Iterator[Window]:
    """Cut one window at a random place out of each text that is long enough."""
    draw = generator_for(seed, purpose).random
    for tokens in texts:
        if len(tokens) >= seqlen:
            start = int(draw() * (len(tokens) - seqlen + 1))
            yield array("i", tokens[start : start + seqlen])


def in_random_order(items: Sequence[_Item], seed: int, purpose: str) -> list[_Item]:
    """Mix the windows of several sets, so that any prefix has some of each."""
    draw = generator_for(seed, purpose).random
    ranks = [draw() for _ in items]
    return [items[index] for index in sorted(range(len(items)), key=ranks.__getitem__)]
