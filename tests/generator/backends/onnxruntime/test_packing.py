"""Packed weights: used where they are what this processor would pack, and only there."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.workspaces import FALCON_TINY

pytest.importorskip("onnxruntime")
from vacc_gen.generator.backends.onnxruntime.export import Deployment, plan_export
from vacc_gen.generator.backends.onnxruntime.runtime import OnnxRuntimeModel
from vacc_gen.generator.backends.onnxruntime.weights.source import open_checkpoint
from vacc_gen.schema.errors import UnreadableError

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


def entries(folder, change=None):
    """Where packed forms lie, (offset, length); `change` alters the entries of the graph."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    found = [
        entry
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key.startswith("prepacked_")
    ]
    for entry in found if change else ():
        entry.value = change(entry.value)
    if change:
        (folder / "model.onnx").write_bytes(model.SerializeToString())
    places = [place.split(";") for entry in found for place in entry.value.split("|")[1:]]
    return [(int(offset), int(length)) for offset, length, _ in places]


def test_packed_forms_take_the_room_for_them_and_change_nothing(folders):
    plain, packed = folders
    assert not list(packed.glob("packing*"))
    assert len(entries(packed)) >= 17  # four layers of four matrices, and the head
    assert entries(plain) == []
    np.testing.assert_array_equal(logits(packed), logits(plain))


def test_a_packed_form_that_was_changed_is_refused(folders, tmp_path):
    _, packed = folders
    folder = Path(shutil.copytree(packed, tmp_path / "zeroed"))
    offset, length = entries(folder)[3]
    with (folder / "weights.bin").open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))
    with pytest.raises(UnreadableError, match="do not match the buffers"):
        logits(folder)


def test_those_of_another_processor_are_left_alone(folders, tmp_path):
    """Their bytes have another hash than what is packed here."""
    plain, packed = folders
    folder = Path(shutil.copytree(packed, tmp_path / "other"))
    entries(folder, change=lambda value: value.replace("+", "+1", 1))
    with (folder / "weights.bin").open("r+b") as file:
        file.seek(entries(folder)[0][0])
        file.write(bytes(1000))
    np.testing.assert_array_equal(logits(folder), logits(plain))
