"""A checkpoint opened for export: checked against its architecture, read a few rows at a time.

Values are read into one reused buffer: mapped pages would count as resident memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vacc_gen.generator.files import naming
from vacc_gen.schema.checkpoint import TensorEntry, WeightFolder, have_same_bytes
from vacc_gen.schema.errors import CheckpointError, first_few
from vacc_gen.schema.falcon import EMBEDDING, HEAD, Architecture, architecture_from_config

if TYPE_CHECKING:
    import torch

CHUNK_BYTES = 8 << 20
"""Read at once: larger chunks leave the processor's caches and are no faster."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete Falcon checkpoint. `tensors` holds every parameter of `architecture` by name."""

    folder: WeightFolder
    architecture: Architecture
    tensors: dict[str, TensorEntry]

    def check_head(self) -> None:
        """Compare a head that is stored although it is tied with the embedding, byte by byte.

        Raises:
            CheckpointError: they differ.
        """
        head = self.folder.tensors.get(HEAD)
        if head is None or not self.architecture.tie_word_embeddings:
            return
        if not have_same_bytes(head, self.tensors[EMBEDDING]):
            raise CheckpointError(
                f"{head.path}: {HEAD} differs from the embedding that config.json ties it to",
                "set `tie_word_embeddings` to false in config.json, or remove the tensor",
            )

    def count_values(self, names: Iterable[str]) -> dict[str, int]:
        """Read these parameters, and count the values of each that are beyond fp16 (65504).

        Raises:
            CheckpointError: as `chunks`, or one holds NaN or infinity; those that do are named.
        """
        beyond: dict[str, int] = {}
        damaged: list[str] = []
        for name in names:
            nan = infinite = beyond[name] = 0
            for _, rows in self.chunks(name):
                nan += int(rows.isnan().sum())
                infinite += int(rows.isinf().sum())
                beyond[name] += int((rows.half().isinf() & rows.isfinite()).sum())
            if nan or infinite:
                shard = self.tensors[name].path.name
                damaged.append(f"{name} in {shard} ({nan} NaN, {infinite} infinite)")
        if damaged:
            raise CheckpointError(
                f"{self.folder.path} holds weights that are not numbers, in {len(damaged)} of "
                f"{len(self.tensors)} tensors: {first_few(damaged)}",
                "download their files again; with such weights every result is NaN",
            )
        return beyond

    def chunks(self, name: str) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield (first row, rows) of a parameter, in order, in its stored dtype.

        Each chunk is about `CHUNK_BYTES`, shape (rows, width), valid until the next is asked for;
        a vector is one row.

        Raises:
            CheckpointError: the file ends early.
        """
        import torch

        tensor = self.tensors[name]
        dtype = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}[tensor.dtype]
        rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
        row_bytes = tensor.length_bytes // rows
        rows_per_chunk = min(rows, max(1, CHUNK_BYTES // row_bytes))
        chunk = torch.empty(rows_per_chunk, row_bytes // dtype.itemsize, dtype=dtype)
        with tensor.path.open("rb") as shard, naming(tensor.path):
            shard.seek(tensor.offset_bytes)
            for first in range(0, rows, rows_per_chunk):
                part = chunk[: min(rows_per_chunk, rows - first)]
                if shard.readinto(bytes_of(part)) < part.nbytes:
                    raise CheckpointError(f"{tensor.path} was truncated inside {tensor.name}")
                yield first, part


def checkpoint_of(folder: WeightFolder) -> Checkpoint:
    """Return what is exported of an inspected weight folder."""
    architecture = architecture_from_config(folder.config)
    stored = dict(folder.tensors)
    if architecture.tie_word_embeddings and EMBEDDING not in stored:
        stored[EMBEDDING] = stored[HEAD]  # some writers keep the other name of the shared tensor
    return Checkpoint(
        folder, architecture, {name: stored[name] for name in architecture.parameters()}
    )


def bytes_of(values: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    import torch

    return memoryview(values.view(-1).view(torch.uint8).numpy())
