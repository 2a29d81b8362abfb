"""Hidden states of all calibration windows between two layers: in memory, or on disk.

Shapes: W windows of S tokens, E hidden size; held as fp32.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch

from vacc_gen.generator.backends.onnxruntime.session import available_bytes
from vacc_gen.schema.errors import StageError

MEMORY_SHARE = 0.25
"""Of the memory that is available: what all hidden states may take before they go to disk."""

MEMORY_BYTES = 512 << 20
"""What they may take where disk has room. More is as quick there: they are read from end to end,
and the system keeps of the file what it has memory for."""


class Activations:
    """Hidden states (W, S, E), read and written a few windows at a time."""

    def __init__(self, windows: int, tokens: int, width: int, spill_to: Path) -> None:
        """Make room for them, in an unnamed file in `spill_to` where memory is short.

        Raises:
            StageError: neither memory nor disk has room.
        """
        self.shape = (windows, tokens, width)
        self._window_bytes = 4 * tokens * width
        total_bytes = windows * self._window_bytes
        self._memory: torch.Tensor | None = None
        self._file: int | None = None
        fits = total_bytes <= MEMORY_SHARE * available_bytes()
        if fits and total_bytes <= MEMORY_BYTES:
            self._memory = torch.empty(self.shape)
            return
        spill_to.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(spill_to).free < total_bytes:
            if fits:
                self._memory = torch.empty(self.shape)
                return
            raise StageError(
                f"hidden states of {windows} windows take {total_bytes / 1e9:.2f} GB, more than "
                f"memory should give, and {spill_to} has no room for them",
                "set calibration.samples or calibration.seqlen lower, or free some disk",
            )
        self._stream = tempfile.TemporaryFile(dir=spill_to, buffering=0)  # noqa: SIM115  # see close
        self._file = self._stream.fileno()

    @property
    def spilled(self) -> bool:
        """Whether they lie on disk."""
        return self._file is not None

    def read(self, first: int, count: int) -> torch.Tensor:
        """Windows `first` on, (`count`, S, E)."""
        if self._memory is not None:
            return self._memory[first : first + count]
        assert self._file is not None
        part = torch.empty(count, *self.shape[1:])
        rest, offset = memoryview(part.view(-1).numpy()).cast("B"), first * self._window_bytes
        while rest:
            done = os.preadv(self._file, [rest], offset)
            rest, offset = rest[done:], offset + done
        return part

    def write(self, first: int, states: torch.Tensor) -> None:
        """Put `states` (n, S, E), on any device, in place of windows `first` on."""
        if self._memory is not None:
            self._memory[first : first + len(states)] = states
            return
        assert self._file is not None
        contiguous = states.detach().to("cpu", torch.float32).contiguous()
        rest, offset = memoryview(contiguous.view(-1).numpy()).cast("B"), first * self._window_bytes
        while rest:
            done = os.pwrite(self._file, rest, offset)
            rest, offset = rest[done:], offset + done

    def batches(self, count: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (first window, up to `count` windows) until all were read."""
        for first in range(0, self.shape[0], count):
            yield first, self.read(first, min(count, self.shape[0] - first))

    def close(self) -> None:
        """Give memory and disk back."""
        self._memory = None
        if self._file is not None:
            self._stream.close()
            self._file = None

    def __enter__(self) -> Activations:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
