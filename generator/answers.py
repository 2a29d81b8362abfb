"""An answer as text that grows: in whole characters, up to a stop string, and why it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vacc_gen.generator.backends.onnxruntime.runtime import Sampling, TextModel
from vacc_gen.generator.calibration.tokenizer import Tokenizer


class StopStrings:
    """Holds text back for as long as a stop string may begin in it."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self.held = ""
        self.found = False

    def add(self, text: str) -> str:
        """Return what can be shown: with a stop string found, what stands before it."""
        self.held += text
        places = [place for stop in self._stop if (place := self.held.find(stop)) >= 0]
        self.found = bool(places)
        end = min(places) if places else self._first_beginning()
        shown, self.held = self.held[:end], self.held[end:]
        return shown

    def _first_beginning(self) -> int:
        """Return from where on what is held may be the beginning of a stop string."""
        for place in range(len(self.held)):
            if any(stop.startswith(self.held[place:]) for stop in self._stop):
                return place
        return len(self.held)


@dataclass
class Answer:
    """What a model answers to a prompt: iterate once for one piece of text a token.

    A piece is "" where text is held back.
    """

    model: TextModel
    tokenizer: Tokenizer
    prompt: str
    sampling: Sampling
    max_tokens: int | None = None
    """None for as many as fit."""
    stop: Sequence[str] = ()
    ignore_eos: bool = False
    finish_reason: str = "length"
    times: list[float] = field(default_factory=list)
    """When it began, and when each token came: seconds of `time.monotonic`."""

    def __post_init__(self) -> None:
        self.token_ids = self.tokenizer.encode(self.prompt.encode())
        self.room = self.model.total_tokens - len(self.token_ids)
        """Tokens that an answer can have; the model refuses to begin where that is too few."""

    @property
    def tokens(self) -> int:
        """How many tokens came so far, those of a stop string too."""
        return max(0, len(self.times) - 1)

    def __iter__(self) -> Iterator[str]:
        most = self.max_tokens or max(1, self.room)
        text_of, stops = self.tokenizer.stream(), StopStrings(self.stop)
        self.times.append(time.monotonic())
        for token in self.model.generate(
            self.token_ids, most, self.sampling, ignore_eos=self.ignore_eos
        ):
            self.times.append(time.monotonic())
            yield stops.add(text_of(token))
            if stops.found:
                break
        if stops.found or self.tokens < most:
            self.finish_reason = "stop"
        if not stops.found:
            yield stops.held
