"""What an export writes: values bit for bit, each once, all or nothing, in bounded memory."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vacc_gen.schema.errors import MissingExtraError, StageError, UsageError
from vacc_gen.schema.precision import Quantization

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
safetensors = pytest.importorskip("safetensors.torch")

from vacc_gen.generator.backends.onnxruntime.export import (
    GRAPH_ALLOWANCE_BYTES,
    Lengths,
    export_graphs,
    required_bytes,
)
from vacc_gen.generator.backends.onnxruntime.weights import weight_file
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.progress import SilentProgress

FALCON_TINY = Path(__file__).parents[3] / "data" / "falcon-tiny"
LENGTHS = Lengths(64, 128)
EMBEDDING = "transformer.word_embeddings.weight"


@pytest.fixture(scope="module")
def checkpoint():
    return open_checkpoint(FALCON_TINY)


@pytest.fixture(scope="module")
def source():
    """The checkpoint's tensors, as safetensors reads them."""
    tensors = {}
    for file in FALCON_TINY.glob("*.safetensors"):
        tensors |= safetensors.load_file(file)
    return tensors


def stored_weights(graph: Path) -> dict[str, np.ndarray]:
    """External initializers of a graph, read from the file and place that it names."""
    found = {}
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        content = np.memmap(
            graph.parent / where["location"],
            dtype=dtype,
            mode="r",
            offset=int(where["offset"]),
            shape=tuple(tensor.dims),
        )
        assert content.nbytes == int(where["length"])
        found[tensor.name] = np.array(content)
    return found


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_floats_are_the_checkpoint_cast(checkpoint, source, tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(
        "vacc_gen.generator.backends.onnxruntime.weights.source.CHUNK_BYTES", 50_000
    )
    result = export_graphs(checkpoint, tmp_path / "out", dtype=dtype, lengths=LENGTHS)
    for graph in result.graphs:
        weights = stored_weights(graph)
        assert weights.keys() == source.keys()
        for name, values in weights.items():
            norm = "layernorm" in name or "ln_f" in name
            kept = torch.float32 if dtype == "fp32" or norm else torch.float16
            np.testing.assert_array_equal(values, source[name].to(kept).numpy())
    assert result.overflowed == {}


def test_int8_is_within_half_a_scale(checkpoint, source, tmp_path):
    result = export_graphs(checkpoint, tmp_path / "out", dtype="int8", lengths=LENGTHS)
    assert result.layout.grid.group_size == 32
    weights = stored_weights(result.graphs[0])
    for name, tensor in source.items():
        values = tensor.float().numpy()
        if values.ndim == 1:
            np.testing.assert_array_equal(weights[name], values)
            continue
        scales = weights[f"{name}.scales"].astype(np.float64)
        codes = weights[f"{name}.codes.blocks"].astype(np.float64) - 128
        restored = (codes * scales[..., None]).reshape(values.shape)
        half = np.repeat(scales, 32, axis=1) / 2
        assert (np.abs(restored - values) <= half * (1 + 2e-5)).all()
    rows = weights[f"{EMBEDDING}.codes"]
    np.testing.assert_array_equal(rows, weights[f"{EMBEDDING}.codes.blocks"].reshape(rows.shape))


@pytest.mark.parametrize(
    ("dtype", "matrix_bytes"), [("fp32", 4), ("fp16", 2), ("int8", 1 + 4 / 32)]
)
def test_each_weight_is_written_once(checkpoint, source, tmp_path, dtype, matrix_bytes):
    """The file is as long as its values and their alignment: a second tied head would show."""
    result = export_graphs(checkpoint, tmp_path / "out", dtype=dtype, lengths=LENGTHS)
    values_bytes = sum(
        tensor.numel() * (matrix_bytes if tensor.dim() == 2 else 4) for tensor in source.values()
    )
    slack = 2 * len(source) * weight_file.ALIGNMENT_BYTES
    assert 0 <= result.weights.stat().st_size - values_bytes < slack
    assert slack < source[EMBEDDING].numel() * matrix_bytes
    assert result.weights.stat().st_size == result.weights_bytes
    assert result.weights_bytes + GRAPH_ALLOWANCE_BYTES == required_bytes(checkpoint, dtype)


def test_both_graphs_share_one_file(checkpoint, tmp_path):
    result = export_graphs(checkpoint, tmp_path / "out", dtype="int8", lengths=LENGTHS)
    assert sorted(file.name for file in result.folder.iterdir()) == [
        "config.json",
        "decode.onnx",
        "generation_config.json",
        "prefill.onnx",
        "tokenizer.json",
        "tokenizer_config.json",
        "weights.bin",
    ]
    assert all(graph.stat().st_size < 200_000 for graph in result.graphs)


def test_values_beyond_fp16_are_counted(tmp_path):
    folder = Path(shutil.copytree(FALCON_TINY, tmp_path / "falcon"))
    name = "transformer.h.1.mlp.dense_4h_to_h.weight"
    shard = open_checkpoint(folder).tensors[name].path
    tensors = safetensors.load_file(shard)
    tensors[name][3, :4] = torch.tensor([70000.0, -1e30, torch.inf, 65280.0])
    safetensors.save_file(tensors, shard)
    damaged = open_checkpoint(folder)
    halved = export_graphs(damaged, tmp_path / "fp16", dtype="fp16")
    assert halved.overflowed == {name: 2}, (
        "infinity itself and the largest bf16 that fits do not count"
    )
    assert export_graphs(damaged, tmp_path / "fp32", dtype="fp32").overflowed == {}


def test_graphs_say_where_they_come_from(checkpoint, tmp_path):
    recipe = json.dumps({"model": "falcon-tiny"})
    result = export_graphs(
        checkpoint,
        tmp_path / "out",
        dtype="fp16",
        lengths=LENGTHS,
        metadata={"vacc_gen.recipe": recipe},
    )
    for graph in result.graphs:
        model = onnx.load(graph, load_external_data=False)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        assert properties.pop("vacc_gen.version") == model.producer_version
        assert properties == {
            "vacc_gen.recipe": recipe,
            "vacc_gen.dtype": "fp16",
            "vacc_gen.checkpoint": checkpoint.folder.fingerprint(),
        }


def test_an_export_is_deterministic(checkpoint, tmp_path):
    for name in ("a", "b"):
        export_graphs(checkpoint, tmp_path / name, dtype="int8", lengths=LENGTHS)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_accuracy_level_and_group_size_reach_the_graph(checkpoint, tmp_path):
    wanted = Quantization(group_size=16, accuracy_level=1)
    result = export_graphs(checkpoint, tmp_path / "out", dtype="int8", quantization=wanted)
    nodes = onnx.load(result.graphs[0], load_external_data=False).graph.node
    found = {
        (attribute.name, attribute.i)
        for node in nodes
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name in ("block_size", "accuracy_level")
    }
    assert found == {("block_size", 16), ("accuracy_level", 1)}


def test_progress_counts_every_byte_of_the_checkpoint(checkpoint, tmp_path):
    class Counting(SilentProgress):
        total = done = 0

        def start(self, label, total_bytes=None):
            self.total = total_bytes

        def advance(self, done_bytes):
            self.done += done_bytes

    for dtype in ("fp16", "int8"):
        counting = Counting()
        export_graphs(checkpoint, tmp_path / dtype, dtype=dtype, progress=counting)
        assert counting.done == counting.total == checkpoint.folder.tensor_bytes


# --- all or nothing ---------------------------------------------------------------------------


class InterruptedProgress(SilentProgress):
    """Ctrl-C while the weights are being written."""

    def advance(self, done_bytes):
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_nothing(checkpoint, tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt):
        export_graphs(checkpoint, out, dtype="fp16", progress=InterruptedProgress())
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_interrupted_replacement_leaves_the_old_one(checkpoint, tmp_path):
    out = tmp_path / "out"
    export_graphs(checkpoint, out, dtype="int8")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        export_graphs(checkpoint, out, dtype="fp16", progress=InterruptedProgress(), force=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_used_folder_is_refused_and_an_export_replaced_by_force(checkpoint, tmp_path):
    out = tmp_path / "out"
    export_graphs(checkpoint, out, dtype="int8", lengths=LENGTHS)
    (out / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="is not empty"):
        export_graphs(checkpoint, out, dtype="fp16")
    assert (out / "decode.onnx").exists()
    export_graphs(checkpoint, out, dtype="fp16", force=True)
    assert (out / "model.onnx").exists()
    assert not (out / "decode.onnx").exists()
    assert not (out / "manifest.json").exists()
    assert list(tmp_path.iterdir()) == [out]


def test_force_takes_no_file_that_is_not_an_export_s(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds files that no export wrote: precious\.txt"):
        export_graphs(checkpoint, tmp_path / "out", dtype="int8", force=True)
    assert (tmp_path / "out" / "precious.txt").read_text() == "mine"


def test_an_empty_folder_is_used(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    export_graphs(checkpoint, tmp_path / "out", dtype="int8")
    assert (tmp_path / "out" / "model.onnx").exists()


def test_a_file_in_the_way(checkpoint, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        export_graphs(checkpoint, tmp_path / "out", dtype="int8", force=True)


@pytest.mark.parametrize("inside", [".", "..", "../.."])
def test_the_checkpoint_itself_is_never_replaced(tmp_path, inside):
    folder = Path(shutil.copytree(FALCON_TINY, tmp_path / "a" / "b" / "falcon"))
    with pytest.raises(UsageError, match="holds the checkpoint itself"):
        export_graphs(open_checkpoint(folder), folder / inside, dtype="int8", force=True)
    assert len(list(folder.iterdir())) == len(list(FALCON_TINY.iterdir()))


def test_a_full_disk_is_refused_before_anything_is_written(checkpoint, tmp_path, monkeypatch):
    needed = required_bytes(checkpoint, "fp16")
    usage = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    out = tmp_path / "deep" / "out"
    with pytest.raises(
        StageError, match=r"not enough disk space in .*: 21\.9 MB needed, 21\.9 MB free"
    ):
        export_graphs(checkpoint, out, dtype="fp16")
    assert list(tmp_path.iterdir()) == []
    usage.free = needed
    export_graphs(checkpoint, out, dtype="fp16")


def test_a_missing_package_is_named(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="export needs onnx"):
        export_graphs(checkpoint, tmp_path / "out", dtype="fp16")


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ((10, 32), "prefill length 10"),
        ((16, 40), "total length 40"),
        ((0, 16), "prefill length 0"),
        ((-16, 16), "prefill length -16"),
        ((64, 48), "prefill length 64 is greater than the total length, 48"),
    ],
)
def test_impossible_lengths(lengths, words):
    with pytest.raises(UsageError, match=words):
        Lengths(*lengths)


# --- memory -----------------------------------------------------------------------------------

PEAK_OF_EXPORT = """
import sys
from pathlib import Path
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.generator.backends.onnxruntime.export import Lengths, export_graphs
from vacc_gen.generator.build.runner import peak_rss_bytes
export_graphs(
    open_checkpoint(Path(sys.argv[1])), Path(sys.argv[2]), dtype=sys.argv[3],
    lengths=Lengths(64, 128),
)
print(peak_rss_bytes())
"""


def write_zeros(folder: Path, layers: int) -> int:
    """A sparse checkpoint of `layers` wide layers, and the bytes of one of them."""
    from vacc_gen.schema.falcon import architecture_from_config

    config = {
        "model_type": "falcon",
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_hidden_layers": layers,
        "vocab_size": 512,
    }
    header, end = {}, 0
    for name, shape in architecture_from_config(config).parameters().items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    with (folder / "model.safetensors").open("wb") as shard:
        shard.write(struct.pack("<Q", len(text)) + text)
        shard.truncate(8 + len(text) + end)
    return end // layers


@pytest.mark.parametrize("dtype", ["fp16", "int8"])
def test_memory_does_not_grow_with_layers(tmp_path, dtype):
    peaks = {}
    for layers in (2, 10):
        layer_bytes = write_zeros(tmp_path / f"{layers}", layers)
        done = subprocess.run(
            [sys.executable, "-c", PEAK_OF_EXPORT, tmp_path / f"{layers}", tmp_path / "out", dtype],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[layers] = int(done.stdout)
        shutil.rmtree(tmp_path / "out")
    assert peaks[10] - peaks[2] < 8 * layer_bytes / 4
