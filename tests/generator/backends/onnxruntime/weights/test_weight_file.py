"""weights.bin: where each tensor lies, and that it holds the checkpoint's values."""

from __future__ import annotations

import numpy as np
import pytest

from tests.falcons import make_falcon

torch = pytest.importorskip("torch")
from vacc_gen.generator.backends.onnxruntime.weights import source as source_module
from vacc_gen.generator.backends.onnxruntime.weights.quantize import (
    Grid,
    Quantizer,
    pack,
    round_to_nearest,
)
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.backends.onnxruntime.weights.weight_file import plan_layout, write_weights
from vacc_gen.generator.progress import SilentProgress

WIDE = 4160
"""An FFN beyond one page of 4,096 bytes, and beyond one chunk."""

EMBEDDING = "transformer.word_embeddings.weight"
GRIDS = {"fp16": None, "fp32": None, "int8": Grid(8, 16), "int4": Grid(4, 16, per_channel=True)}
NUMPY = {"fp16": np.float16, "fp32": np.float32, "uint8": np.uint8}


@pytest.fixture(scope="module")
def falcon(tmp_path_factory):
    """(checkpoint, {name: value}) of a biased model of one layer with a wide FFN, fp32."""
    folder = tmp_path_factory.mktemp("falcon")
    oracle = make_falcon("rw", folder, num_hidden_layers=1, ffn_hidden_size=WIDE)
    return open_checkpoint(folder), dict(oracle.named_parameters())


@pytest.mark.parametrize("dtype", GRIDS)
def test_every_tensor_is_where_the_layout_says(falcon, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "CHUNK_BYTES", 5000)
    checkpoint, values = falcon
    layout = plan_layout(checkpoint.architecture, dtype, GRIDS[dtype])
    file = tmp_path / "weights.bin"
    overflowed = write_weights(file, layout, checkpoint, Quantizer(checkpoint), SilentProgress())
    assert (overflowed, file.stat().st_size) == ({}, layout.total_bytes)
    end = 0
    for stored in layout.tensors.values():
        assert (stored.offset_bytes % 4096, stored.offset_bytes >= end) == (0, True)
        end = stored.offset_bytes + stored.length_bytes
    assert end == layout.total_bytes

    def read(name):
        stored = layout.tensors[name]
        shape, offset = stored.shape, stored.offset_bytes
        return torch.from_numpy(np.memmap(file, NUMPY[stored.dtype], "c", offset, shape))

    for name, value in values.items():
        grid = layout.grids.get(name)
        assert (grid is None) == (GRIDS[dtype] is None or value.dim() == 1)
        if grid is None:
            assert torch.equal(read(name), value.detach().to(read(name).dtype))
        else:
            assert grid.bits == (8 if name == EMBEDDING else GRIDS[dtype].bits)
            codes, scales = round_to_nearest(value.detach(), grid)
            assert torch.equal(read(f"{name}.codes"), pack(codes, grid.bits))
            assert torch.equal(read(f"{name}.scales"), scales)
    halves = {name for name, stored in layout.tensors.items() if stored.dtype == "fp16"}
    norms = {name for name in values if checkpoint.architecture.is_norm(name)}
    assert halves == (set(values) - norms if dtype == "fp16" else set())


def test_values_beyond_fp16_are_counted(tmp_path):
    oracle = make_falcon("7b", tmp_path, num_hidden_layers=1)
    with torch.no_grad():
        oracle.transformer.word_embeddings.weight[3, :2] = torch.tensor([70000.0, -1e9])
        oracle.transformer.word_embeddings.weight[4, 0] = float("inf")
    oracle.save_pretrained(tmp_path, max_shard_size="100KB")
    checkpoint = open_checkpoint(tmp_path)
    layout = plan_layout(checkpoint.architecture, "fp16", None)
    out = tmp_path / "weights.bin"
    overflowed = write_weights(out, layout, checkpoint, Quantizer(checkpoint), SilentProgress())
    assert overflowed == {EMBEDDING: 2}
