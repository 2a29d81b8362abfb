"""Weights read back from the ONNX files: what was meant, and every way to differ from it."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from tests.workspaces import FALCON_TINY
from vacc_gen.schema.errors import UnreadableError
from vacc_gen.schema.precision import Quantization

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
from vacc_gen.generator.backends.onnxruntime.quantization_record import (
    GPTQ,
    meant_matrices,
    read_record,
    write_record,
)
from vacc_gen.generator.backends.onnxruntime.readback import read_back
from vacc_gen.generator.backends.onnxruntime.weights.gptq.layerwise import GptqQuantizer
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress

MODELING = Path(str(files("vacc_gen.generator").joinpath("templates/modeling_falcon_vacc.py")))
GRAPHS = ("prefill.onnx", "decode.onnx")
DOWN = "transformer.h.2.mlp.dense_4h_to_h.weight"


@pytest.fixture(scope="module")
def checkpoint():
    return open_checkpoint(FALCON_TINY)


def build(checkpoint, folder, dtype, gptq, **settings):
    """Export to `folder`, and return (layout, what was meant)."""
    settings = Quantization(**settings)
    quantizer = None
    if gptq:
        windows = torch.randint(2048, (4, 32), generator=torch.Generator().manual_seed(0)).int()
        quantizer = GptqQuantizer(
            MODELING, checkpoint, windows, settings, folder.parent, SilentProgress()
        )
    result = export_graphs(
        checkpoint,
        folder,
        dtype=dtype,
        lengths=Lengths(16, 32),
        quantization=settings,
        quantizer=quantizer,
    )
    digests = quantizer.digests if quantizer else {}
    return result.layout, meant_matrices(checkpoint.architecture, result.layout, digests)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("gptq", [False, True])
@pytest.mark.parametrize("group_size", [None, -1, 16])
def test_what_was_written_is_what_was_meant(checkpoint, tmp_path, dtype, gptq, group_size):
    _, meant = build(checkpoint, tmp_path / "out", dtype, gptq, group_size=group_size)
    found = read_back(tmp_path / "out", GRAPHS, checkpoint, meant)
    assert found.problems == []
    assert found.matrices == len(meant) == 17  # four a layer, and the embedding
    assert 0 < found.largest_error < {"int8": 0.05, "int4": 0.6}[dtype]
    assert (meant[DOWN].method == GPTQ) is gptq
    assert meant[DOWN].bits == {"int8": 8, "int4": 4}[dtype]
    assert meant["transformer.word_embeddings.weight"].bits == 8


def test_the_record_is_read_as_it_was_written(checkpoint, tmp_path):
    _, meant = build(checkpoint, tmp_path / "out", "int8", gptq=True)
    assert read_record(tmp_path / "out") is None
    write_record(tmp_path / "out", {"method": "gptq"}, meant)
    assert read_record(tmp_path / "out") == meant
    (tmp_path / "out" / "quantization.json").write_text('{"matrices": {"a": {"b": 1}}}')
    with pytest.raises(UnreadableError, match=r"quantization\.json cannot be read"):
        read_record(tmp_path / "out")


@pytest.fixture(params=[False, True], ids=["rounded", "gptq"])
def built(request, checkpoint, tmp_path):
    """(folder, layout, meant) of an int8 export that a test may spoil."""
    layout, meant = build(checkpoint, tmp_path / "out", "int8", request.param)
    return tmp_path / "out", layout, meant


def overwrite(folder, tensor, values, offset_bytes=0):
    with (folder / "weights.bin").open("rb+") as file:
        os.pwrite(file.fileno(), values.tobytes(), tensor.offset_bytes + offset_bytes)


def problems(folder, checkpoint, meant):
    return read_back(folder, GRAPHS, checkpoint, meant).problems


def test_one_code_that_changed(built, checkpoint):
    folder, layout, meant = built
    codes = layout.tensors[f"{DOWN}.codes"]
    with (folder / "weights.bin").open("rb") as file:
        old = os.pread(file.fileno(), 1, codes.offset_bytes + 777)[0]
    overwrite(folder, codes, np.uint8([old ^ 1]), 777)
    assert problems(folder, checkpoint, meant) == [
        f"prefill.onnx: {DOWN} has other codes than the quantizer made"
    ]


def test_one_scale_that_changed(built, checkpoint):
    folder, layout, meant = built
    overwrite(folder, layout.tensors[f"{DOWN}.scales"], np.float32([np.nan]), 4 * 9)
    assert problems(folder, checkpoint, meant) == [
        f"prefill.onnx: {DOWN} has scales that are not its largest weights over 127"
    ]


def test_a_layer_of_zeros(built, checkpoint):
    folder, layout, meant = built
    codes = layout.tensors[f"{DOWN}.codes"]
    overwrite(folder, codes, np.full(codes.length_bytes, 128, np.uint8))
    assert f"prefill.onnx: {DOWN} is all zeros" in problems(folder, checkpoint, meant)


def edit(folder, graph, change):
    model = onnx.load(folder / graph, load_external_data=False)
    change(model)
    (folder / graph).write_bytes(model.SerializeToString())


def test_an_attribute_that_changed(built, checkpoint):
    folder, _, meant = built

    def change(model):
        node = next(n for n in model.graph.node if n.name == DOWN.removesuffix(".weight"))
        next(a for a in node.attribute if a.name == "block_size").i = 16

    edit(folder, "decode.onnx", change)
    assert problems(folder, checkpoint, meant) == [
        f"decode.onnx: {DOWN} has 8 bits in groups of 16, meant were 8 bits in groups of 32"
    ]


def test_a_layer_that_stayed_in_floats(built, checkpoint):
    folder, _, meant = built

    def change(model):
        node = next(n for n in model.graph.node if n.name == DOWN.removesuffix(".weight"))
        weight = np.zeros((896, 224), np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "plain"))
        half = onnx.numpy_helper.from_array(np.zeros(3, np.float16), "half")
        model.graph.initializer.append(half)
        model.graph.node.append(onnx.helper.make_node("Identity", ["half"], ["copy"]))
        plain = onnx.helper.make_node("MatMul", [node.input[0], "plain"], list(node.output))
        node.CopyFrom(plain)

    edit(folder, "decode.onnx", change)
    assert problems(folder, checkpoint, meant) == [
        f"decode.onnx: {DOWN} is not quantized",
        "decode.onnx: plain is left in fp32",
        "decode.onnx: half is left in fp16",
    ]


def test_another_meaning(built, checkpoint):
    folder, _, meant = built
    other = {**meant, DOWN: replace(meant[DOWN], per_channel=True)}
    assert f"prefill.onnx: {DOWN} has scales that are not its largest weights over 127" in (
        problems(folder, checkpoint, other)
    )


def test_a_file_that_is_cut_short(built, checkpoint):
    folder, layout, meant = built
    os.truncate(folder / "weights.bin", layout.total_bytes // 2)
    with pytest.raises(UnreadableError, match=r"weights\.bin is cut short"):
        problems(folder, checkpoint, meant)
