"""Linear layers and the embedding, by how their weights are stored.

float   Gemm reads (outputs, inputs) as it lies.
groups  MatMulNBits and GatherBlockQuantized: codes (outputs, inputs), a scale for each group.
int8    MatMulInteger: codes (inputs, outputs) and a scale for each output, times activations that
        are rounded to 8 bits row by row. These are uint8 with their zero at 128: with int8
        activations, ONNX Runtime has no fast kernel on x86.

Legend of shapes: R rows (tokens), K inputs, M outputs.
"""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from vacc_gen.generator.backends.onnxruntime.graph.builder import CONTRIB_DOMAIN, GraphBuilder
from vacc_gen.generator.backends.onnxruntime.weights.quantize import Grid
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import Layout
from vacc_gen.schema.falcon import EMBEDDING

ZERO_CODE, MAX_CODE = 128, 127
"""Of activations: codes from 1 to 255, the same to either side of zero."""

SMALLEST_SCALE = 1e-30
"""Of a row of zeros, so that none divides by zero."""

ACCURACY_LEVELS = {"int8": 4, "float": 0}
"""What MatMulNBits calls the activations that it computes with."""


class Linears:
    """Emits products with stored matrices; a value that several share is rounded once."""

    def __init__(self, g: GraphBuilder, layout: Layout, activations: str) -> None:
        self._g, self._layout = g, layout
        self._accuracy_level = ACCURACY_LEVELS[activations]
        self._rounded: dict[str, tuple[str, str]] = {}

    def product(self, value: str, module: str) -> str:
        """`value` (R, K) times a stored matrix (M, K), plus the bias if any: (R, M)."""
        g, tensors, weight = self._g, self._layout.tensors, f"{module}.weight"
        grid, bias = self._layout.grids.get(weight), tensors.get(f"{module}.bias")
        addend = [] if bias is None else [g.weight(bias)]
        if grid is None:
            # Gemm reads [outputs, inputs] as it lies; Transpose + MatMul would be folded to a copy.
            return g.node("Gemm", value, g.weight(tensors[weight]), *addend, name=module, transB=1)
        if grid.per_channel:
            return self._integer(value, module, addend)
        return self._grouped(value, module, grid, addend)

    def embed(self, ids: str) -> str:
        """Rows of the embedding; those that a tied head reads too are the same bytes."""
        g, tensors, grid = self._g, self._layout.tensors, self._layout.grids.get(EMBEDDING)
        if grid is None:
            return g.node("Gather", g.weight(tensors[EMBEDDING]), ids, name="embeddings")
        return g.node(
            "GatherBlockQuantized",
            g.weight(tensors[f"{EMBEDDING}.codes"]),
            ids,
            g.weight(tensors[f"{EMBEDDING}.scales"]),
            name="embeddings",
            domain=CONTRIB_DOMAIN,
            bits=grid.bits,
            block_size=grid.group_size,
            gather_axis=0,
            quantize_axis=1,
        )

    def _grouped(self, value: str, module: str, grid: Grid, addend: list[str]) -> str:
        g, tensors = self._g, self._layout.tensors
        codes, scales = (tensors[f"{module}.weight.{part}"] for part in ("codes", "scales"))
        outputs, groups = scales.shape
        blocks = (outputs, groups, grid.group_size * grid.bits // 8)
        return g.node(
            "MatMulNBits",
            value,
            g.weight(codes, f"{codes.name}.blocks", blocks),
            g.weight(scales),
            *(["", "", *addend] if addend else []),
            name=module,
            domain=CONTRIB_DOMAIN,
            K=groups * grid.group_size,
            N=outputs,
            bits=grid.bits,
            block_size=grid.group_size,
            accuracy_level=self._accuracy_level,
        )

    def _integer(self, value: str, module: str, addend: list[str]) -> str:
        g, tensors = self._g, self._layout.tensors
        if value not in self._rounded:
            self._rounded[value] = self._round(value)
        rounded, row_scales = self._rounded[value]
        # MatMulInteger, and its result times the channels' scales in one go. It takes one scale
        # for all activations, so those of the rows follow.
        product = g.node(
            "MatMulIntegerToFloat",
            rounded,
            g.weight(tensors[f"{module}.weight.codes"]),
            g.constant("one", 1.0, np.float32),
            g.weight(tensors[f"{module}.weight.scales"]),
            g.constant("activations/zero_code", ZERO_CODE, np.uint8),
            name=f"{module}/product",
            domain=CONTRIB_DOMAIN,
        )
        product = g.node("Mul", product, row_scales, name=f"{module}/rows_scaled")
        return g.node("Add", product, *addend, name=module) if addend else product

    def _round(self, value: str) -> tuple[str, str]:
        """`value` (R, K) as uint8 codes, and the scale of each row (R, 1)."""
        g = self._g
        size = g.node("Abs", value, name=f"{value}/size")
        largest = g.node("ReduceMax", size, name=f"{value}/largest", axes=[1], keepdims=0)
        step = g.constant("activations/step", 1 / MAX_CODE, np.float32)
        scales = g.node("Mul", largest, step, name=f"{value}/scales_or_zero")
        smallest = g.constant("activations/smallest_scale", SMALLEST_SCALE, np.float32)
        scales = g.node("Max", scales, smallest, name=f"{value}/scales")
        zero_codes = g.node(
            "ConstantOfShape",
            g.node("Shape", scales, name=f"{value}/rows"),
            name=f"{value}/zero_codes",
            value=numpy_helper.from_array(np.array([ZERO_CODE], np.uint8)),
        )
        codes = g.node("QuantizeLinear", value, scales, zero_codes, name=f"{value}/codes", axis=0)
        return codes, g.node("Unsqueeze", scales, g.ints(1), name=f"{value}/row_scales")
