"""What an export writes: values bit for bit, each once, all or nothing, in bounded memory."""

import json
import math
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from packaging.version import Version

from tests.falcons import write_tokenizer
from tests.workspaces import FALCON_TINY, Recorder, falcon_tiny_with, files_of
from vacc_gen.schema.errors import CheckpointError, StageError, UnreadableError, UsageError
from vacc_gen.schema.falcon import architecture_from_config
from vacc_gen.schema.recipe import Quantization

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
safetensors = pytest.importorskip("safetensors.torch")

from tests.weight_folders import open_checkpoint
from vacc_gen.generator.backends.onnxruntime.export import (
    Deployment,
    Lengths,
    plan_export,
)
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights import source as source_module
from vacc_gen.generator.backends.onnxruntime.weights import weight_file
from vacc_gen.generator.progress import Progress

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


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """A function that returns the folder of a static export, made once. Do not change it."""

    @cache
    def export(dtype):
        recorder, out = Recorder(), tmp_path_factory.mktemp(dtype) / "out"
        assert plan_export(checkpoint, dtype, LENGTHS).write(out, progress=recorder) == {}
        assert recorder.done_bytes == recorder.total_bytes == checkpoint.folder.tensor_bytes
        return out

    return export


def stored_weights(graph):
    """External initializers of a graph, read from the file and place that it names."""
    found = {}
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        content = np.memmap(
            graph.parent / where["location"],
            dtype=onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type),
            mode="r",
            offset=int(where["offset"]),
            shape=tuple(tensor.dims),
        )
        assert content.nbytes == int(where["length"])
        assert int(where["offset"]) % weight_file.ALIGNMENT_BYTES == 0
        found[tensor.name] = np.array(content)
    return found


def assert_written_once(folder, tensors):
    """The file is as long as its values and their alignment: a second tied head would show."""
    excess = (folder / "weights.bin").stat().st_size - sum(tensor.nbytes for tensor in tensors)
    assert 0 <= excess < len(tensors) * weight_file.ALIGNMENT_BYTES


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_floats_are_the_checkpoint_cast(exported, source, dtype):
    for graph in exported(dtype).glob("*.onnx"):
        weights = stored_weights(graph)
        assert weights.keys() == source.keys()
        for name, values in weights.items():
            norm = "layernorm" in name or "ln_f" in name
            kept = torch.float32 if dtype == "fp32" or norm else torch.float16
            np.testing.assert_array_equal(values, source[name].to(kept).numpy())
    assert_written_once(exported(dtype), weights.values())


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_codes_are_within_half_a_scale(exported, source, dtype):
    """Read back as ONNX Runtime reads them: bits, groups, codes and scales of every matrix."""
    graph = exported(dtype) / "prefill.onnx"
    weights = stored_weights(graph)
    bits_of = {
        node.input[1].partition(".codes")[0]: onnx.helper.get_node_attr_value(node, "bits")
        for node in onnx.load(graph, load_external_data=False).graph.node
        if node.op_type == "MatMulNBits"
    }
    matrices = {name for name, tensor in source.items() if tensor.dim() == 2}
    assert bits_of == {EMBEDDING: 8} | {
        name: 4 for name in matrices - {EMBEDDING} if dtype == "int4"
    }
    for name, tensor in source.items():
        values = tensor.float().numpy()
        if values.ndim == 1:
            np.testing.assert_array_equal(weights[name], values)
            continue
        scales = weights[f"{name}.scales"].astype(np.float64)
        if name in bits_of:
            codes = weights[f"{name}.codes.blocks"]  # (outputs, groups, bytes)
            if bits_of[name] == 4:
                codes = np.stack([codes & 15, codes >> 4], -1).reshape(*codes.shape[:2], -1)
            codes = codes.astype(np.float64) - (1 << (bits_of[name] - 1))
            assert codes.shape[-1] == 32
        else:
            codes, scales = weights[f"{name}.codes"].T[:, None], scales[:, None]  # a group a row
        restored = (codes * scales[..., None]).reshape(values.shape)
        half = np.repeat(scales, codes.shape[-1], axis=1) / 2
        assert (np.abs(restored - values) <= half * (1 + 2e-5)).all()
    rows = weights.pop(f"{EMBEDDING}.codes")  # the same bytes as its blocks
    np.testing.assert_array_equal(rows, weights[f"{EMBEDDING}.codes.blocks"].reshape(rows.shape))
    assert_written_once(exported(dtype), weights.values())


def test_both_graphs_share_one_file_and_say_where_they_come_from(checkpoint, exported):
    folder = exported("int8")
    copied = {file.name for file in FALCON_TINY.glob("*.json")} - {"model.safetensors.index.json"}
    files = {"decode.onnx", "prefill.onnx", "weights.bin"} | copied
    assert {file.name for file in folder.iterdir()} == files
    for graph in folder.glob("*.onnx"):
        assert graph.stat().st_size < 200_000
        model = onnx.load(graph, load_external_data=False)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        assert properties.pop("vacc_gen.version") == model.producer_version
        assert properties == {
            "vacc_gen.dtype": "int8",
            "vacc_gen.checkpoint": checkpoint.folder.fingerprint(),
        }


NARROW = "transformer.h.1.mlp.dense_4h_to_h.weight"
NORM = "transformer.h.0.input_layernorm.bias"


@pytest.mark.parametrize("dtype", ["fp16", "fp32", "int8", "int4"])
def test_weights_that_are_not_numbers_are_counted_and_never_published(tmp_path, dtype):
    values = {NARROW: [math.nan, math.inf, -math.inf, 70000.0], NORM: [math.nan]}
    damaged = open_checkpoint(falcon_tiny_with(tmp_path / "falcon", values))
    with pytest.raises(CheckpointError) as caught:
        plan_export(damaged, dtype).write(tmp_path / "out")
    assert caught.value.message == (
        f"{tmp_path / 'falcon'} holds weights that are not numbers, in 2 of 27 tensors: "
        f"{NORM} in model-00001-of-00003.safetensors (1 NaN, 0 infinite), "
        f"{NARROW} in model-00001-of-00003.safetensors (1 NaN, 2 infinite)"
    )
    assert list(tmp_path.iterdir()) == [tmp_path / "falcon"]


def test_an_export_is_the_same_whatever_the_chunks(checkpoint, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "CHUNK_BYTES", 50_000)
    for dtype in ("fp16", "int8"):
        plan_export(checkpoint, dtype, LENGTHS).write(tmp_path / dtype)
        assert files_of(tmp_path / dtype) == files_of(exported(dtype))


def test_activations_and_group_size_reach_the_graph(checkpoint):
    for activations, level in (("float", 0), ("int8", 4)):
        wanted = Quantization(group_size=16, activations=activations)
        graph = plan_export(checkpoint, "int4", quantization=wanted).files["model.onnx"]
        for node in onnx.load_from_string(graph).graph.node:
            if node.op_type == "MatMulNBits":
                assert onnx.helper.get_node_attr_value(node, "block_size") == 16
                assert onnx.helper.get_node_attr_value(node, "accuracy_level") == level


# --- all or nothing ---------------------------------------------------------------------------


class InterruptedProgress(Progress):
    """Ctrl-C while the weights are being written."""

    def advance(self, done_bytes):
        raise KeyboardInterrupt


def test_an_interrupted_export_leaves_what_was_there(checkpoint, tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt):
        plan_export(checkpoint, "fp16").write(out, progress=InterruptedProgress())
    assert list(out.parent.iterdir()) == []
    plan_export(checkpoint, "int8").write(out)
    before = files_of(out)
    with pytest.raises(KeyboardInterrupt):
        plan_export(checkpoint, "fp16").write(out, progress=InterruptedProgress(), force=True)
    assert files_of(out) == before
    assert list((tmp_path / "deep").iterdir()) == [out]


def test_a_used_folder_is_refused_and_an_export_replaced_by_force(checkpoint, tmp_path):
    out = tmp_path / "out"
    out.mkdir()  # an empty one will do
    plan_export(checkpoint, "int8", LENGTHS).write(out)
    for name in ("manifest.json", "vocab.json"):  # the latter by 0.2.0
        (out / name).write_text("{}")
    with pytest.raises(UsageError, match="is not empty"):
        plan_export(checkpoint, "fp16").write(out)
    assert (out / "decode.onnx").exists()
    plan_export(checkpoint, "fp16").write(out, force=True)
    assert (out / "model.onnx").exists()
    assert not (out / "decode.onnx").exists()
    assert not (out / "manifest.json").exists()
    assert list(tmp_path.iterdir()) == [out]
    (out / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds files that no export wrote: precious\.txt"):
        plan_export(checkpoint, "int8").write(out, force=True)
    assert (out / "precious.txt").read_text() == "mine"
    with pytest.raises(UnreadableError, match="Not a directory"):
        plan_export(checkpoint, "int8").write(out / "precious.txt", force=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: next(folder.glob("*.safetensors")).touch(),
        lambda folder: (folder / "generation_config.json").write_text("{}"),
    ],
)
def test_an_export_that_is_there_counts_unless_the_checkpoint_changed_since(tmp_path, change):
    """As a process that was killed right behind the last rename leaves it."""
    weights = Path(shutil.copytree(FALCON_TINY, tmp_path / "weights"))
    out = tmp_path / "out"
    plan_export(open_checkpoint(weights), "int8").write(out)
    made = (out / "weights.bin").stat()
    plan_export(open_checkpoint(weights), "int8").write(out)
    assert (out / "weights.bin").stat() == made
    change(weights)
    with pytest.raises(UsageError, match="is not empty"):
        plan_export(open_checkpoint(weights), "int8").write(out)


@pytest.mark.parametrize("inside", [".", "..", "../.."])
def test_the_checkpoint_itself_is_never_replaced(tmp_path, inside):
    folder = Path(shutil.copytree(FALCON_TINY, tmp_path / "a" / "b" / "falcon"))
    with pytest.raises(UsageError, match="holds the checkpoint itself"):
        plan_export(open_checkpoint(folder), "int8").write(folder / inside, force=True)
    assert len(list(folder.iterdir())) == len(list(FALCON_TINY.iterdir()))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_disk_is_checked_for_what_is_written(checkpoint, tmp_path, monkeypatch, lengths):
    needed = plan_export(checkpoint, "int8", lengths).total_bytes
    usage = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    out = tmp_path / "deep" / "out"
    with pytest.raises(StageError, match=r"not enough disk space in .*: 2\.\d MB needed, 2\.\d MB"):
        plan_export(checkpoint, "int8", lengths).write(out)
    assert list(tmp_path.iterdir()) == []
    usage.free += 1
    plan_export(checkpoint, "int8", lengths).write(out)
    assert sum(file.stat().st_size for file in out.iterdir()) == needed


# --- packed weights ---------------------------------------------------------------------------

PROMPT = list(range(100, 110))


@pytest.fixture(scope="module", params=["int8", "int4"])
def folders(request, tmp_path_factory):
    """(a deployed folder whose graph names no packed forms, one as it is deployed)."""
    packed = tmp_path_factory.mktemp(request.param) / "packed"
    checkpoint = open_checkpoint(FALCON_TINY)
    plan_export(checkpoint, request.param, Deployment(48)).write(packed)
    plain = Path(shutil.copytree(packed, packed.with_name("plain")))
    graph = plan_export(checkpoint, request.param, Deployment(48)).files["model.onnx"]
    (plain / "model.onnx").write_bytes(graph)
    return plain, packed


def logits(folder):
    model = OnnxRuntimeModel(folder, threads=1)
    return np.stack([model.prefill(PROMPT), model.decode(5)])


def entries(model):
    """What names packed forms in a graph."""
    tensors = model.graph.initializer
    return [e for tensor in tensors for e in tensor.external_data if e.key == "prepacked_0"]


def test_packed_forms_take_the_room_for_them_and_change_nothing(folders):
    plain, packed = folders
    assert not list(packed.glob("packing*"))
    found = [len(entries(onnx.load(f / "model.onnx", load_external_data=False))) for f in folders]
    assert found == [0, 17]  # four layers of four matrices, and the head
    np.testing.assert_array_equal(logits(packed), logits(plain))


def test_a_form_that_was_changed_is_refused_and_one_of_another_processor_left_alone(
    folders, tmp_path
):
    plain, packed = folders
    folder = Path(shutil.copytree(packed, tmp_path / "changed"))
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    offset, length, _ = entries(model)[3].value.split("|")[1].split(";")
    with (folder / "weights.bin").open("r+b") as file:
        file.seek(int(offset))
        file.write(bytes(int(length)))
    if Version(onnxruntime.__version__) >= Version("1.32"):  # older ones take what they find
        with pytest.raises(UnreadableError, match="do not match the buffers"):
            logits(folder)
    for entry in entries(model):  # another hash than that of what is packed here
        entry.value = entry.value.replace("+", "+1", 1)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.testing.assert_array_equal(logits(folder), logits(plain))


# --- memory -----------------------------------------------------------------------------------

PEAKS_OF_EXPORTS = """
import sys
from pathlib import Path
from vacc_gen.generator.backends.onnxruntime.weights.source import checkpoint_of
from vacc_gen.generator.backends.onnxruntime.export import Lengths, plan_export
from vacc_gen.generator.progress import peak_rss_bytes, reset_peak_rss
from vacc_gen.schema.lint.check import open_weights
for dtype in ("fp16", "int8"):
    for checkpoint in sys.argv[2:]:
        reset_peak_rss()
        weights, _ = open_weights(Path(checkpoint))
        plan = plan_export(checkpoint_of(weights), dtype, Lengths(64, 128))
        plan.write(Path(sys.argv[1]), force=True)
        print(peak_rss_bytes())
"""


def write_zeros(folder, layers):
    """A checkpoint of `layers` wide layers, and the bytes of one of them."""
    shape = {"hidden_size": 1024, "num_attention_heads": 16, "vocab_size": 512}
    config = {"model_type": "falcon", "num_hidden_layers": layers, **shape}
    shapes = architecture_from_config(config).parameters()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {name: torch.zeros(sizes, dtype=torch.bfloat16) for name, sizes in shapes.items()}
    safetensors.save_file(tensors, folder / "model.safetensors")
    write_tokenizer(folder)
    return sum(tensor.nbytes for tensor in tensors.values()) // layers


def test_memory_does_not_grow_with_layers(tmp_path):
    layer_bytes = write_zeros(tmp_path / "2", 2)
    write_zeros(tmp_path / "6", 6)
    command = [sys.executable, "-c", PEAKS_OF_EXPORTS]
    command += [tmp_path / name for name in ("out", "2", "6")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    fp16_2, fp16_6, int8_2, int8_6 = map(int, done.stdout.split())
    assert fp16_2 > 50 << 20
    assert fp16_6 - fp16_2 < 2 * layer_bytes
    assert int8_6 - int8_2 < 2 * layer_bytes
