"""How near one model's logits are to another's, on the same text.

Legend of shapes: N compared positions, G greedy tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Trace:
    """What a model said about a text, and how it went on by itself."""

    prefill: Logits
    """(N, V), after prompts of growing length; the last is the whole prompt."""
    decode: Logits
    """(N, V), after each token of the text that follows the prompt."""
    greedy_ids: tuple[int, ...]
    """G tokens, each the likeliest after those before it."""
    greedy: Logits
    """(G, V): row g is what greedy token g was chosen from."""

    def save(self, file: Path) -> None:
        """Write it as .npz."""
        with file.open("wb") as stream:
            np.savez(
                stream,
                prefill=self.prefill,
                decode=self.decode,
                greedy_ids=np.array(self.greedy_ids),
                greedy=self.greedy,
            )


def load_trace(file: Path) -> Trace:
    """Read what `Trace.save` wrote."""
    with np.load(file) as arrays:
        ids = tuple(int(token) for token in arrays["greedy_ids"])
        return Trace(arrays["prefill"], arrays["decode"], ids, arrays["greedy"])


@dataclass(frozen=True)
class Difference:
    """Where two models first choose different tokens."""

    position: int
    """Which greedy token, from 0."""
    token: int
    reference_token: int
    logit_gap: float
    """By how much the reference prefers its own token."""


@dataclass(frozen=True)
class Parity:
    """The figures of a comparison. A relative difference is of the row's largest logit."""

    prefill_max_abs_diff: float
    prefill_max_rel_diff: float
    decode_max_abs_diff: float
    decode_max_rel_diff: float
    decode_steps: int
    greedy_tokens: int
    greedy_tokens_equal: bool
    first_difference: Difference | None

    def figures(self) -> dict[str, object]:
        """Plain values, for the report."""
        return asdict(self)

    @property
    def max_abs_diff(self) -> float:
        """The larger of prefill's and decode's."""
        return max(self.prefill_max_abs_diff, self.decode_max_abs_diff)


def compare(trace: Trace, prefill: Logits, decode: Logits, greedy: Logits) -> Parity:
    """Compare a trace with a reference's logits for the same text.

    `greedy` (G, V) are the reference's along its own continuation or along the trace's: up to
    the first difference both are the same.
    """
    difference = _first_difference(trace.greedy_ids, greedy)
    return Parity(
        prefill_max_abs_diff=_max_abs(trace.prefill, prefill),
        prefill_max_rel_diff=_max_rel(trace.prefill, prefill),
        decode_max_abs_diff=_max_abs(trace.decode, decode),
        decode_max_rel_diff=_max_rel(trace.decode, decode),
        decode_steps=len(trace.decode),
        greedy_tokens=len(trace.greedy_ids),
        greedy_tokens_equal=difference is None,
        first_difference=difference,
    )


def perplexity(logits: Logits, next_ids: Sequence[int]) -> float:
    """exp of the mean negative log-likelihood of `next_ids` (N), each after its row (N, V)."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    log_sum = top + np.log(np.exp(wide - top[:, None]).sum(axis=1))
    chosen = wide[np.arange(len(next_ids)), np.array(next_ids)]
    return float(np.exp((log_sum - chosen).mean()))


def _first_difference(greedy_ids: Sequence[int], reference: Logits) -> Difference | None:
    for position, (token, row) in enumerate(zip(greedy_ids, reference, strict=True)):
        best = int(row.argmax())
        if token != best:
            return Difference(position, token, best, float(row[best] - row[token]))
    return None


def _max_abs(ours: Logits, reference: Logits) -> float:
    return float(np.abs(ours - reference).max())


def _max_rel(ours: Logits, reference: Logits) -> float:
    scale = np.abs(reference).max(axis=1, keepdims=True)
    return float((np.abs(ours - reference) / scale).max())
