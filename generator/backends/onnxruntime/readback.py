"""Reads quantized weights back from the ONNX files, and compares them with what was meant.

Nothing here shares code with what wrote the graphs: attributes, offsets and lengths are those that
ONNX Runtime will see. `cache_readback` does the same for an int8 KV cache.

Legend of shapes: M outputs (rows) of a matrix, R of them at once, K inputs, N groups a row.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from vacc_gen.generator.backends.onnxruntime.quantization_record import MeantMatrix
from vacc_gen.generator.backends.onnxruntime.weights.quantize import round_to_nearest, unpack
from vacc_gen.generator.backends.onnxruntime.weights.source import Checkpoint
from vacc_gen.schema.errors import UnreadableError

CODES_OPERATORS = ("MatMulNBits", "GatherBlockQuantized")
"""Operators that read codes; `bits` and `block_size` say how."""

LARGEST_PLAIN_VALUES = 4096
"""A float constant of two axes and more values than this is a matrix that was left as it was."""


@dataclass
class Readback:
    """What was found in a folder. `problems` is empty where all is as it was meant."""

    matrices: int = 0
    bits: Counter[int] = field(default_factory=Counter)
    """Matrices by the bits of a code."""
    group_sizes: set[int] = field(default_factory=set)
    scales: int = 0
    """Scales that were compared."""
    zero: int = 0
    """Matrices of nothing but zeros, which the checkpoint's are not."""
    left_in_float: int = 0
    """Matrices and fp16 constants that a graph reads as floats."""
    largest_error: float = 0.0
    """Of any matrix: the Frobenius norm of what rounding changed, over that of the weights."""
    problems: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Plain values, for the report."""
        return {
            "matrices": self.matrices,
            "bits": {str(bits): count for bits, count in sorted(self.bits.items())},
            "group_sizes": sorted(self.group_sizes),
            "scales": self.scales,
            "zero": self.zero,
            "left_in_float": self.left_in_float,
            "largest_error": self.largest_error,
            "problems": self.problems,
        }


@dataclass(frozen=True)
class _Stored:
    """A matrix as a graph reads it."""

    bits: int
    group_size: int
    codes: TensorProto
    scales: TensorProto


def read_back(
    folder: Path, graphs: tuple[str, ...], checkpoint: Checkpoint, meant: Mapping[str, MeantMatrix]
) -> Readback:
    """Compare the matrices that `graphs` of `folder` read with `meant` ones of `checkpoint`."""
    found = Readback()
    checked: set[tuple[object, ...]] = set()
    for graph in graphs:
        model = onnx.load(folder / graph, load_external_data=False)
        stored = _matrices(model, meant)
        found.problems += [
            f"{graph}: {name} is not quantized" for name in meant if name not in stored
        ]
        left = [f"{graph}: {problem}" for problem in _left_in_float(model, stored)]
        found.left_in_float += len(left)
        found.problems += left
        for name, matrix in stored.items():
            reading = (matrix.bits, matrix.group_size)
            seen = (name, reading, _place(matrix.codes), _place(matrix.scales))
            if seen not in checked:  # the graphs share their weights
                checked.add(seen)
                found.matrices += 1
                found.bits[matrix.bits] += 1
                found.group_sizes.add(matrix.group_size)
                found.problems += [
                    f"{graph}: {name} {problem}"
                    for problem in _compare(folder, checkpoint, name, matrix, meant[name], found)
                ]
    return found


def _matrices(model: onnx.ModelProto, meant: Mapping[str, MeantMatrix]) -> dict[str, _Stored]:
    """The quantized matrices of a graph by their parameter's name, which their codes carry."""
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    matrices = {}
    for node in model.graph.node:
        if node.op_type not in CODES_OPERATORS:
            continue
        values = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        inputs = [initializers[name] for name in node.input if name in initializers]
        codes, scales = inputs[:2]
        name = codes.name.partition(".codes")[0]
        if name in meant:
            matrices[name] = _Stored(values["bits"], values["block_size"], codes, scales)
    return matrices


def _left_in_float(model: onnx.ModelProto, stored: Mapping[str, _Stored]) -> Iterator[str]:
    """Say which constants are matrices in floats, or fp16 of any shape."""
    scales = {matrix.scales.name for matrix in stored.values()}
    used = {name for node in model.graph.node for name in node.input}
    for tensor in model.graph.initializer:
        if tensor.name not in used:
            continue
        is_matrix = len(tensor.dims) > 1 and np.prod(tensor.dims) > LARGEST_PLAIN_VALUES
        if tensor.data_type == TensorProto.FLOAT16:
            yield f"{tensor.name} is left in fp16"
        elif tensor.data_type == TensorProto.FLOAT and is_matrix and tensor.name not in scales:
            yield f"{tensor.name} is left in fp32"


def _compare(
    folder: Path,
    checkpoint: Checkpoint,
    name: str,
    stored: _Stored,
    meant: MeantMatrix,
    found: Readback,
) -> Iterator[str]:
    """Say what of one matrix is not as it was meant."""
    if (stored.bits, stored.group_size) != (meant.bits, meant.group_size):
        yield (
            f"has {stored.bits} bits in groups of {stored.group_size}, "
            f"meant were {meant.bits} bits in groups of {meant.group_size}"
        )
        return
    grid, digest = meant.grid, hashlib.sha256()
    wrong_scales = wrong_codes = False
    is_zero, was_zero = True, True
    changed = energy = 0.0
    outputs, inputs = checkpoint.tensors[name].shape
    for first, source in checkpoint.chunks(name):
        count = len(source)
        codes = unpack(_read(folder, stored.codes, np.uint8, first, count, outputs), grid.bits)
        scales = _read(folder, stored.scales, np.float32, first, count, outputs)
        if codes.shape[1] != inputs or scales.shape[1] * grid.group_size != inputs:
            yield f"has rows of {codes.shape[1]} codes, the checkpoint has {inputs} weights"
            return
        found.scales += scales.numel()
        digest.update(memoryview(codes.contiguous().view(-1).numpy()))
        nearest, own_scales = round_to_nearest(source, grid)
        wrong_scales |= not torch.equal(scales, own_scales)
        wrong_codes |= meant.codes_sha256 is None and not torch.equal(codes, nearest)
        is_zero &= bool((codes == grid.zero_code).all())
        was_zero &= not bool(source.any())
        wide = source.float()
        energy += float(wide.square().sum(dtype=torch.float64))
        wide -= grid.restore(codes.contiguous(), scales)
        changed += float(wide.square().sum(dtype=torch.float64))
    if wrong_scales:
        yield f"has scales that are not its largest weights over {grid.max_code}"
    if wrong_codes or (meant.codes_sha256 not in (None, digest.hexdigest())):
        yield "has other codes than the quantizer made"
    if is_zero and not was_zero:
        found.zero += 1
        yield "is all zeros"
    found.largest_error = max(found.largest_error, (changed / energy) ** 0.5 if energy else 0.0)


def _place(tensor: TensorProto) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((entry.key, entry.value) for entry in tensor.external_data))


def _read(
    folder: Path,
    tensor: TensorProto,
    dtype: type[np.generic],
    first: int,
    count: int,
    rows: int,
) -> torch.Tensor:
    """Rows `first` on of an external tensor whose values are those of `rows` rows."""
    place = dict(_place(tensor))
    row_bytes = int(place["length"]) // rows
    offset_bytes = int(place["offset"]) + first * row_bytes
    with (folder / place["location"]).open("rb", buffering=0) as file:
        part = os.pread(file.fileno(), count * row_bytes, offset_bytes)
    if len(part) != count * row_bytes:
        raise UnreadableError(f"{folder / place['location']} is cut short", "build again")
    return torch.from_numpy(np.frombuffer(part, dtype).copy()).view(count, -1)
